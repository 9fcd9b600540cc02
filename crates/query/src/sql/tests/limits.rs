//! One query cannot take the machine: not its memory, not its time, not the stack.

use super::*;
use crate::Kind;
use std::time::{Duration, Instant};

fn within(limits: Limits, store: Store, sql: &str) -> (QueryError, Duration) {
    let engine = Engine::start(limits).unwrap();
    let begun = Instant::now();
    match try_ask(&engine, &Arc::new(store), Question::new(sql, Format::Jsonl)) {
        Err(error) => (error, begun.elapsed()),
        Ok(_) => panic!("{sql} was answered"),
    }
}

#[test]
fn a_runaway_cross_join_is_stopped_by_the_clock_and_says_why() {
    let limits = Limits { time: Duration::from_millis(700), threads: 2, ..Limits::default() };
    let sql = "SELECT count(*) FROM events a, events b, events c, events d WHERE a.latency_ms + b.latency_ms + c.latency_ms = d.latency_ms * 7";
    let (error, took) = within(limits, Store::of(calls(1000), 500), sql);
    assert_eq!(error.kind, Kind::Limit, "{error:?}");
    assert!(error.what.contains("0.7 s") && error.hint.contains("narrow"), "{error:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn memory_ends_a_query_and_not_the_process() {
    let limits = Limits { memory_bytes: 4 << 20, threads: 2, ..Limits::default() };
    for sql in [
        "SELECT a.entry, b.event_id FROM events a, events b ORDER BY a.entry, b.event_id DESC",
        "SELECT a.event_id || b.event_id AS k, count(*) FROM events a, events b GROUP BY k",
        "SELECT array_agg(a.entry) FROM events a, events b",
    ] {
        let (error, _) = within(limits, Store::of(calls(1000), 500), sql);
        assert_eq!(error.kind, Kind::Limit, "{sql}: {error:?}");
        assert!(error.what.contains("4 MiB") && error.detail.is_some(), "{sql}: {error:?}");
    }
    let engine = Engine::start(limits).unwrap();
    let after =
        try_ask(&engine, &Arc::new(Store::of(calls(10), 5)), Question::new("SELECT 1 AS one", Format::Csv));
    assert_eq!(after.unwrap(), b"one\n1\n", "what one query held is free for the next");
}

/// The pool does not see what one call of a function makes.
#[test]
fn no_function_makes_much_of_little() {
    let long = "x".repeat(20_000);
    let layers = |make: &str, n: usize| {
        (1..=n).fold("SELECT entry AS s0 FROM events".to_owned(), |inner, layer| {
            let made = make.replace('s', &format!("s{}", layer - 1));
            format!("SELECT {made} AS s{layer} FROM ({inner})")
        })
    };
    let (doubled, joined, lists) =
        (layers("concat(s, s)", 22), layers("s || s || s || s", 12), layers("[s, s, s, s]", 12));
    let lists_joined = format!(
        "SELECT cardinality(s18) FROM ({})",
        layers("s || s", 18).replace("SELECT entry AS", "SELECT [entry] AS")
    );
    let shared = |made: &str| {
        let long = format!("SELECT concat('{long}', entry) AS long FROM events LIMIT 1");
        format!("SELECT {made} FROM ({long}), events a, events b")
    };
    let no_such = [
        "SELECT repeat('x', 2000000000)",
        "SELECT lpad('x', 2000000000, 'y')",
        "SELECT array_repeat('x', 2000000000)",
        "SELECT range(1, 100000000000)",
        "SELECT * FROM generate_series(1, 100000000000)",
        "SELECT array_agg(entry) OVER (ORDER BY seq) FROM events",
        "SELECT CAST([seq] AS BIGINT[2000000000]) FROM events",
        "SELECT TRY_CAST([[seq]] AS BIGINT[2000000000][]) FROM events",
        "SELECT arrow_cast(make_array(seq), 'FixedSizeList(2000000000, Int64)') FROM events",
        "SELECT arrow_cast(entry, 'FixedSizeBinary(2000000000)') FROM events",
        "SELECT CAST(NULL AS BIGINT[1000][1000][1000][1000])",
        "SELECT TRY_CAST([[seq]] AS BIGINT[1000][1000]) FROM events",
        "SELECT arrow_cast(arrow_cast(entry, 'Binary'), 'RunEndEncoded(\"run_ends\": non-null Int32, \"values\": FixedSizeBinary(2000000000))') FROM events",
        "SELECT arrow_cast(entry, concat('Utf', '8')) FROM events",
        "SELECT approx_percentile_cont(latency_ms, 0.5, 9000000000000) FROM events",
        "SELECT approx_percentile_cont(0.5, 9000000000000) WITHIN GROUP (ORDER BY latency_ms) FROM events",
        "SELECT approx_percentile_cont(latency_ms, 0.5, 100 * 1000000) FROM events",
        "SELECT approx_percentile_cont(latency_ms, 0.5, 9000000000000) OVER (ORDER BY seq) FROM events",
        "SELECT levenshtein(entry, entry) FROM events",
    ];
    let too_much = [
        format!("SELECT replace(entry, 'e', '{long}') FROM events"),
        format!("SELECT regexp_replace(entry, '.', '{long}', 'g') FROM events"),
        format!("SELECT length(s22) FROM ({doubled})"),
        format!("SELECT length(s12) FROM ({joined})"),
        format!("SELECT cardinality(s12) FROM ({lists})"),
        lists_joined,
        format!(
            "SELECT replace(rpad, 'x', '{0}') FROM (SELECT concat('{0}', entry) AS rpad FROM events LIMIT 1)",
            "x".repeat(4000)
        ),
        // One text that many rows share, and each would have of its own.
        shared("upper(long)"),
    ];
    let refusal =
        |sql: &str| within(Limits { threads: 2, ..Limits::default() }, Store::of(calls(100), 100), sql).0;
    for sql in no_such {
        assert_eq!(refusal(sql).kind, Kind::Question, "{sql}");
    }
    for sql in too_much {
        let error = refusal(&sql);
        assert_eq!(error.kind, Kind::Limit, "{}: {error:?}", &sql[..60]);
        assert!(
            error
                .detail
                .as_ref()
                .is_some_and(|detail| detail.contains("make more than") || detail.contains("made more than")),
            "{}: {error:?}",
            &sql[..60]
        );
    }
    // Of thousands of rows at once the texts are within the bound, and what is made of them is not.
    let text = "x".repeat(6000);
    for made in ["encode(text, 'hex')", "upper(text)", "string_to_array(text, 'y')"] {
        let sql = format!("SELECT {made} FROM (SELECT concat('{text}', event_id) AS text FROM events)");
        let store = Store::of(calls(8000), 9000);
        let error = within(Limits { threads: 2, ..Limits::default() }, store, &sql).0;
        assert!(
            error.detail.as_ref().is_some_and(|detail| detail.contains("make more than")),
            "{made}: {error:?}"
        );
    }
}

#[test]
fn the_longest_query_that_is_taken_does_not_run_out_of_stack() {
    let store = || Arc::new(Store::of(calls(3), 2));
    let many = |word: &str, n: usize| vec![word; n].join("");
    let chain = format!("SELECT count(*) FROM events WHERE seq = 1{}", many(" OR seq=1", 600));
    let sums = format!("SELECT seq{} FROM events", many("+1", 1900));
    let nested = format!("SELECT {}1{}", many("(", 4000), many(")", 4000));
    let nots = format!("SELECT {}true", many("NOT ", 1900));
    let unions = format!("SELECT 1{}", many(" UNION ALL SELECT 1", 600));
    let values = format!("SELECT count(*) FROM events WHERE seq IN (0{})", many(",1", 9000));
    for sql in [chain, sums, nested, nots, unions, values] {
        let engine = Engine::start(Limits { time: Duration::from_secs(20), ..Limits::default() }).unwrap();
        // Answered or refused, as long as the process lives.
        let _ = try_ask(&engine, &store(), Question::new(sql, Format::Csv));
    }
    let too_long = format!("SELECT 1 -- {}", many("x", 40_000));
    let (error, _) = within(Limits::default(), Store::default(), &too_long);
    assert_eq!(error.kind, Kind::Limit);
    let (error, _) = within(Limits::default(), Store::default(), &format!("SELECT {}1", many("1+", 9_000)));
    assert_eq!(error.kind, Kind::Limit);
}

#[test]
fn an_answer_with_too_many_rows_is_refused() {
    let limits = Limits { rows: 9, ..Limits::default() };
    let (error, _) = within(limits, Store::of(calls(10), 5), "SELECT seq FROM events");
    assert!(error.kind == Kind::Limit && error.what.contains("9 rows"), "{error:?}");
    let engine = Engine::start(limits).unwrap();
    let nine = try_ask(
        &engine,
        &Arc::new(Store::of(calls(9), 5)),
        Question::new("SELECT seq FROM events", Format::Csv),
    );
    assert_eq!(nine.unwrap().iter().filter(|byte| **byte == b'\n').count(), 10);
}

/// Long rows come in as many pieces as it takes.
#[test]
fn a_piece_of_an_answer_is_small_however_long_its_rows_are() {
    let long = "x".repeat(15_000);
    let sql = format!(
        "SELECT concat(t, t, t, t) AS long FROM (SELECT concat('{long}', event_id) AS t FROM events)"
    );
    let engine = engine();
    let pieces = block(async {
        let question = Question::new(sql, Format::Jsonl);
        let mut answer = engine.ask(Arc::new(Store::of(calls(500), 500)), question).await.unwrap();
        let mut pieces = Vec::new();
        while let Some(piece) = answer.next().await {
            pieces.push(piece.unwrap().len());
        }
        pieces
    });
    assert!(pieces.iter().sum::<usize>() > 500 * 60_000);
    assert!(pieces.iter().all(|bytes| *bytes < 5 << 20), "{pieces:?}");
}

/// A tail without end, which counts how often it was read on.
struct Endless(Arc<AtomicU64>);

impl Records for Endless {
    fn segments(&self) -> Vec<Segment> {
        Vec::new()
    }

    fn tail(&self, row: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let entry = calls(1).remove(0);
        loop {
            self.0.fetch_add(1, Ordering::Relaxed);
            if row(Row { entry: &entry, bytes: "{}", payload: None }).is_break() {
                return Ok(());
            }
        }
    }

    fn subject(&self, _: &str) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn shown(&self, text: &str) -> io::Result<String> {
        Ok(if text.contains('@') { format!("h:{}", text.len()) } else { text.to_owned() })
    }
}

#[test]
fn who_goes_away_stops_the_query_and_the_reading() {
    let reads = Arc::new(AtomicU64::new(0));
    let engine = Engine::start(Limits { at_once: 1, ..Limits::default() }).unwrap();
    block(async {
        for sql in ["SELECT entry FROM events", "SELECT count(*) FROM events"] {
            let records = Arc::new(Endless(reads.clone()));
            let mut answer = engine.ask(records, Question::new(sql, Format::Jsonl)).await.unwrap();
            let _ = tokio::time::timeout(Duration::from_millis(300), answer.next()).await;
            drop(answer);
            let stopped = Instant::now();
            let mut before = u64::MAX;
            while before != reads.load(Ordering::Relaxed) {
                assert!(stopped.elapsed() < Duration::from_secs(20), "{sql} is still being read");
                before = reads.load(Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        // Its place among those that run at once is free again.
        let mut answer =
            engine.ask(Arc::new(Store::default()), Question::new("SELECT 1", Format::Csv)).await.unwrap();
        assert!(whole(&mut answer).await.is_ok());
    });
}

#[test]
fn queries_wait_for_their_turn_and_not_for_ever() {
    let limits = Limits { at_once: 1, time: Duration::from_millis(400), ..Limits::default() };
    let engine = Engine::start(limits).unwrap();
    block(async {
        let first = engine
            .ask(Arc::new(Endless(Arc::default())), Question::new("SELECT entry FROM events", Format::Csv))
            .await
            .unwrap();
        let second = engine.ask(Arc::new(Store::default()), Question::new("SELECT 1", Format::Csv)).await;
        assert_eq!(second.err().map(|error| error.kind), Some(Kind::Busy));
        drop(first);
    });
}

/// A reader that takes its time must not hold up the threads that take records in: nothing of a query runs on the
/// runtime that asks.
#[test]
fn whoever_asks_is_not_kept_from_other_work() {
    let engine =
        Engine::start(Limits { threads: 1, time: Duration::from_secs(2), ..Limits::default() }).unwrap();
    let sql = "SELECT count(*) FROM events a, events b, events c WHERE a.latency_ms * b.latency_ms % 7 = c.latency_ms % 5";
    block(async {
        let mut answer =
            engine.ask(Arc::new(Store::of(calls(1000), 500)), Question::new(sql, Format::Csv)).await.unwrap();
        let mut ticks = 0;
        let ticking = async {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                ticks += 1;
            }
        };
        tokio::select! {
            _ = whole(&mut answer) => {}
            () = ticking => {}
        }
        assert!(ticks >= 20, "{ticks} ticks while the query ran");
    });
}
