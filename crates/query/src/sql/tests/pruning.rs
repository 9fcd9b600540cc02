//! What is read of segments, and what happens when one cannot be.

use super::*;
use crate::Kind;
use serde_json::json;

/// A store whose segments count their reads.
fn counted(entries: Vec<Entry>, per_segment: usize) -> (Arc<Store>, Vec<Arc<AtomicU64>>, Arc<AtomicU64>) {
    counting(Store::of(entries, per_segment))
}

fn counting(mut store: Store) -> (Arc<Store>, Vec<Arc<AtomicU64>>, Arc<AtomicU64>) {
    let bytes = Arc::new(AtomicU64::new(0));
    let mut reads = Vec::new();
    for segment in &mut store.segments {
        let count = Arc::new(AtomicU64::new(0));
        reads.push(count.clone());
        segment.entries =
            Arc::new(Counted { file: segment.entries.clone(), reads: count, bytes: bytes.clone() });
    }
    (Arc::new(store), reads, bytes)
}

fn touched(reads: &[Arc<AtomicU64>]) -> Vec<bool> {
    reads.iter().map(|count| count.swap(0, Ordering::Relaxed) > 0).collect()
}

#[test]
fn numbers_and_times_leave_whole_segments_out() {
    let (store, reads, _) = counted(calls(500), 100);
    let engine = engine();
    let ask = |sql: &str| {
        String::from_utf8(try_ask(&engine, &store, Question::new(sql, Format::Csv)).unwrap()).unwrap()
    };
    assert_eq!(ask("SELECT model FROM events WHERE seq = 250"), "model\nllama\n");
    assert_eq!(touched(&reads), [false, false, true, false, false]);
    assert_eq!(
        ask("SELECT max(latency_ms) AS m FROM events WHERE timestamp < '2026-11-03T00:00:00Z'"),
        "m\n47\n"
    );
    assert_eq!(touched(&reads), [true, false, false, false, false]);
    assert_eq!(
        ask("SELECT count(latency_ms) AS n FROM inferences WHERE seq BETWEEN 150 AND 320 AND model = 'qwen'"),
        "n\n85\n"
    );
    assert_eq!(touched(&reads), [false, true, true, true, false]);
    assert_eq!(
        ask(
            "SELECT count(latency_ms) AS n FROM events WHERE seq < 0 OR timestamp > now() + INTERVAL '100 years'"
        ),
        "n\n0\n"
    );
    assert_eq!(touched(&reads), [false; 5]);
}

/// How many of 500 calls a filter accepts, and which of their five segments were opened for it. Those that begin with these
/// numbers have an index.
fn opened(filter: &str, indexed: &[u64]) -> (String, Vec<bool>) {
    let (store, reads, _) = counting(Store::of(calls(500), 100).with_indexes(&calls(500), indexed));
    let sql = format!("SELECT count(latency_ms) AS n FROM events WHERE {filter}");
    // Another engine has no footers yet.
    let answer = try_ask(&engine(), &store, Question::new(&*sql, Format::Csv)).unwrap();
    (String::from_utf8(answer).unwrap(), touched(&reads))
}

#[test]
fn segments_that_cannot_have_an_id_are_not_opened() {
    let of_sessions = "session_id IN ('session-1', 'session-2', 'session-3', 'session-4', 'session-100')";
    let many: Vec<String> = (0..100).map(|n| format!("'event-{n}'")).collect();
    let many = format!("event_id IN ({})", many.join(", "));
    for (filter, n, open) in [
        ("event_id = 'event-250'", 1, [false, false, true, false, false]),
        ("'session-30' = session_id", 4, [false, true, false, false, false]),
        ("event_id IN ('event-7', 'event-499')", 2, [true, false, false, false, true]),
        (of_sessions, 20, [true, false, false, false, true]),
        ("event_id = 'event-250' OR session_id = 'session-0'", 5, [true, false, true, false, false]),
        (
            "(event_id = 'event-250' AND latency_ms > 7) OR session_id = 'session-0'",
            5,
            [true, false, true, false, false],
        ),
        ("subject_ref = 'sub_1' AND event_id = 'event-301'", 1, [false, false, false, true, false]),
        ("event_id = 'event-301' AND session_id = 'session-0'", 0, [false; 5]),
        ("event_id = 'EVENT-250'", 0, [false; 5]),
        ("request_id = 'event-250'", 0, [false; 5]),
        // What names no id, or not only ids, leaves all.
        ("event_id <> 'event-250'", 499, [true; 5]),
        ("event_id NOT IN ('event-7', 'event-250')", 498, [true; 5]),
        ("event_id = 'event-250' OR latency_ms = 3", 2, [true; 5]),
        ("lower(event_id) = 'event-250'", 1, [true; 5]),
        ("model = 'llama'", 250, [true; 5]),
        (many.as_str(), 100, [true; 5]),
    ] {
        assert_eq!(
            opened(filter, &[0, 100, 200, 300, 400]),
            (format!("n\n{n}\n"), open.to_vec()),
            "{filter}"
        );
    }
}

#[test]
fn a_segment_that_cannot_tell_is_read() {
    let (answer, open) = opened("event_id = 'event-150'", &[0, 200, 400]);
    assert_eq!((answer.as_str(), open.as_slice()), ("n\n1\n", &[false, true, false, true, false][..]));
    assert_eq!(opened("event_id IN ('event-150', 'event-350')", &[]), ("n\n2\n".to_owned(), vec![true; 5]));
}

#[test]
fn an_id_is_looked_for_in_few_pages() {
    let (store, _, bytes) = counted(calls(4000), 2000);
    let engine = engine();
    let ask = |sql: &str| {
        bytes.store(0, Ordering::Relaxed);
        let answer =
            String::from_utf8(try_ask(&engine, &store, Question::new(sql, Format::Csv)).unwrap()).unwrap();
        (answer, bytes.load(Ordering::Relaxed))
    };
    // Footers are read once and kept.
    ask("SELECT count(model) FROM events");
    let (_, everything) = ask("SELECT sum(length(entry)) AS n FROM events");
    let (answer, some) =
        ask("SELECT seq, length(entry) > 0 AS there FROM events WHERE event_id = 'event-1234'");
    assert_eq!(answer, "seq,there\n1234,true\n");
    assert!(some * 5 < everything, "{some} of {everything} bytes");
}

#[test]
fn the_order_of_segments_and_a_limit_change_no_answer() {
    let store = || Store::of(calls(300), 100);
    let last = rows(store(), "SELECT seq FROM events ORDER BY timestamp DESC LIMIT 3");
    assert_eq!(last, [json!({ "seq": 299 }), json!({ "seq": 298 }), json!({ "seq": 297 })]);
    assert_eq!(rows(store(), "SELECT seq FROM events WHERE http_status = 500 LIMIT 100").len(), 30);
    assert_eq!(rows(store(), "SELECT DISTINCT http_status FROM events").len(), 2);
}

/// `bytes` with one byte after another turned over.
fn broken(segment: &Segment, at: impl Iterator<Item = usize>) -> Segment {
    let size = segment.entries.size() as usize;
    let mut bytes = segment.entries.read_at(0, size).unwrap().to_vec();
    at.for_each(|at| bytes[at] ^= 0xff);
    Segment { entries: Arc::new(Bytes::from(bytes)), ..segment.clone() }
}

fn failure(store: Store, sql: &str) -> QueryError {
    let asked = try_ask(&engine(), &Arc::new(store), Question::new(sql, Format::Jsonl));
    asked.map(|bytes| String::from_utf8(bytes).unwrap()).expect_err(sql)
}

#[test]
fn a_segment_that_cannot_be_read_is_named() {
    let sql = "SELECT sum(length(entry)) FROM events";
    let mut footer = Store::of(calls(300), 100);
    let size = footer.segments[1].entries.size() as usize;
    footer.segments[1] = broken(&footer.segments[1], size - 40..size - 8);
    let error = failure(footer, sql);
    assert!(
        error.kind == Kind::Records && error.detail.as_ref().unwrap().contains("segment-100"),
        "{error:?}"
    );
    let mut pages = Store::of(calls(300), 100);
    // All pages of all columns are before the footer and the indexes.
    pages.segments[2] = broken(&pages.segments[2], 4..size / 2);
    let error = failure(pages, sql);
    assert!(
        error.kind == Kind::Records && error.detail.as_ref().unwrap().contains("segment-200"),
        "{error:?}"
    );
    let mut short = Store::of(calls(300), 100);
    short.segments[0].entries = Arc::new(Bytes::from_static(b"PAR1"));
    let error = failure(short, sql);
    assert!(error.kind == Kind::Records && error.detail.as_ref().unwrap().contains("segment-0"), "{error:?}");
}

#[test]
fn a_bad_index_leaves_no_row_out() {
    use datafusion::parquet::file::metadata::ParquetMetaDataReader;
    let mut store = Store::of(calls(300), 300);
    let segment = store.segments.remove(0);
    let file = segment.entries.read_at(0, segment.entries.size() as usize).unwrap();
    let footer = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let mut spans = Vec::new();
    for column in footer.row_groups().iter().flat_map(|group| group.columns()) {
        let span = |at: Option<i64>, len: Option<i32>| {
            at.zip(len).map(|(at, len)| at as usize..at as usize + len as usize)
        };
        spans.extend(span(column.column_index_offset(), column.column_index_length()));
        spans.extend(span(column.offset_index_offset(), column.offset_index_length()));
        spans.extend(span(column.bloom_filter_offset(), column.bloom_filter_length()));
    }
    assert!(spans.len() > 100);
    // The header of each is what a reader trips over first.
    store.segments.push(broken(&segment, spans.iter().map(|span| span.start)));
    let found = rows(
        store,
        "SELECT seq FROM events WHERE event_id IN ('event-7', 'event-299') AND http_status IN (200, 500) ORDER BY seq",
    );
    assert_eq!(found, [json!({ "seq": 7 }), json!({ "seq": 299 })]);
}

#[test]
fn a_tail_that_cannot_be_read_is_an_error() {
    struct Torn;
    impl Records for Torn {
        fn segments(&self) -> Vec<Segment> {
            Vec::new()
        }

        fn tail(&self, row: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>) -> io::Result<()> {
            let entry = calls(1).remove(0);
            let _ = row(Row { entry: &entry, bytes: "{}", payload: None });
            Err(io::Error::other("00000007.wal: a bad frame"))
        }

        fn subject(&self, _: &str) -> io::Result<Option<String>> {
            Err(io::Error::other("the vault is gone"))
        }

        fn shown(&self, text: &str) -> io::Result<String> {
            Ok(if text.contains('@') { format!("h:{}", text.len()) } else { text.to_owned() })
        }
    }
    for (sql, why) in
        [("SELECT count(*) FROM events", "00000007.wal"), ("SELECT 1 WHERE 'x' = subject('y')", "vault")]
    {
        let error = block(async {
            let engine = engine();
            match engine.ask(Arc::new(Torn), Question::new(sql, Format::Csv)).await {
                Ok(mut answer) => whole(&mut answer).await.unwrap_err(),
                Err(error) => error,
            }
        });
        assert!(error.kind == Kind::Records && error.detail.as_ref().unwrap().contains(why), "{error:?}");
    }
}

#[test]
fn filters_are_evaluated_while_decoding_where_that_saves_something() {
    use super::super::table::picks_while_decoding;
    use datafusion::prelude::{col, lit};
    use indelible_segment::columns::index_of;
    let columns = |names: &[&str]| names.iter().map(|name| index_of(name).unwrap()).collect::<Vec<_>>();
    let short = columns(&["model", "latency_ms", "session_id"]);
    for (filter, picks) in [
        (col("status").eq(lit("completed")), false),
        (col("session_id").is_not_null(), false),
        (col("session_id").not_eq(lit("s")), false),
        (col("session_id").eq(lit("s")), true),
        (lit("s").eq(col("session_id")).and(col("model").eq(lit("llama"))), true),
        (col("request_id").in_list(vec![lit("a"), lit("b")], false), true),
        (col("request_id").in_list(vec![lit("a"), lit("b")], true), false),
    ] {
        assert_eq!(picks_while_decoding(Some(&short), std::slice::from_ref(&filter)), picks, "{filter}");
        assert!(picks_while_decoding(Some(&columns(&["model", "entry"])), std::slice::from_ref(&filter)));
        assert!(picks_while_decoding(None, &[filter]));
    }
}
