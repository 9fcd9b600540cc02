//! What a query gets, of segments and of what is in none yet, in every format.

use super::*;
use serde_json::json;

#[test]
fn segments_and_tail_are_one_table_without_a_row_twice() {
    let counted = rows(
        Store::of(calls(230), 100),
        "SELECT count(*) AS n, count(DISTINCT seq) AS d, max(seq) AS m FROM events",
    );
    assert_eq!(counted, [json!({ "n": 230, "d": 230, "m": 229 })]);
    let empty = rows(Store::default(), "SELECT count(*) AS n FROM events");
    assert_eq!(empty, [json!({ "n": 0 })]);
    let narrow = rows(Store::of(calls(5), 3), "SELECT event_id FROM events WHERE seq >= 2 ORDER BY seq");
    assert_eq!(
        narrow,
        [
            json!({ "event_id": "event-2" }),
            json!({ "event_id": "event-3" }),
            json!({ "event_id": "event-4" })
        ]
    );
}

#[test]
fn every_column_says_the_same_in_a_segment_as_in_the_tail() {
    let mut entry = calls(1).remove(0);
    entry.tools = vec!["search".to_owned(), "sum".to_owned()];
    entry.refs = vec!["a".to_owned()];
    entry.stream = Some(true);
    entry.attempt = Some(2);
    entry.detail = serde_json::from_str(r#"{"tool_calls":["sum"],"n":7}"#).unwrap();
    let sql = "SELECT * FROM events";
    let in_segment = rows(Store::of(vec![entry.clone()], 1), sql);
    let in_tail = rows(Store::of(vec![entry.clone()], 2), sql);
    assert_eq!(in_segment, in_tail);
    let row = &in_tail[0];
    assert_eq!(row["tools"], json!(["search", "sum"]));
    assert_eq!(row["timestamp"], "2026-11-01T00:00:00.000000Z");
    assert_eq!(
        (&row["stream"], &row["attempt"], &row["model_returned"]),
        (&json!(true), &json!(2), &Value::Null)
    );
    assert_eq!(row["entry"].as_str().unwrap().as_bytes(), entry.to_bytes().unwrap());
    assert_eq!(row["cost_usd"], "0.000000000000000001");
}

#[test]
fn costs_add_up_exactly() {
    let sum = rows(Store::of(calls(30), 10), "SELECT sum(cost_usd) AS s, avg(cost_usd) AS a FROM costs");
    assert_eq!(sum, [json!({ "s": "0.00000000000000003", "a": "0.000000000000000001" })]);
}

#[test]
fn a_user_is_asked_for_by_name() {
    let store = || Store::of(calls(9), 4).with_subject("jane", "sub_1");
    let of = |user: &str| {
        rows(store(), &format!("SELECT seq FROM events WHERE subject_ref = subject('{user}') ORDER BY seq"))
    };
    assert_eq!(of("jane"), [json!({ "seq": 1 }), json!({ "seq": 4 }), json!({ "seq": 7 })]);
    assert_eq!(of("nobody"), Vec::<Value>::new());
    let error = try_ask(
        &engine(),
        &Arc::new(store()),
        Question::new("SELECT subject(model) FROM events", Format::Json),
    );
    assert!(error.unwrap_err().detail.unwrap().contains("text literal"));
}

#[test]
fn rates_percentiles_and_members_of_json_are_functions() {
    let mut entries = calls(100);
    entries[0].detail = serde_json::from_str(r#"{"cause":"spool_full","count":3,"list":["x","y"]}"#).unwrap();
    entries[1].status = None;
    let store = || Store::of(entries.clone(), 64);
    // 99 rows have a status, and 10 of them failed.
    let rate = rows(
        store(),
        "SELECT error_rate(status) AS r, p50(latency_ms) AS m, p99(latency_ms) AS n FROM inferences",
    );
    assert!((rate[0]["r"].as_f64().unwrap() - 10.0 / 99.0).abs() < 1e-12, "{rate:?}");
    assert!((rate[0]["m"].as_f64().unwrap() - 49.5).abs() <= 1.0, "{rate:?}");
    assert!((rate[0]["n"].as_f64().unwrap() - 98.5).abs() <= 1.0, "{rate:?}");
    let grouped = rows(
        store(),
        "SELECT model, error_rate(status) FILTER (WHERE seq > 50) AS r FROM inferences GROUP BY model ORDER BY model",
    );
    assert_eq!(grouped[0], json!({ "model": "llama", "r": 0.0 }));
    assert!((grouped[1]["r"].as_f64().unwrap() - 0.2).abs() < 1e-12, "{grouped:?}");
    let read = rows(
        store(),
        "SELECT json_get(detail, 'cause') AS c, CAST(json_get(detail, 'count') AS BIGINT) AS n, \
         json_get(detail, 'list', '1') AS y, json_get(detail, 'no', 'such') AS z, json_list(detail, 'list') AS l \
         FROM events WHERE seq = 0",
    );
    assert_eq!(read, [json!({ "c": "spool_full", "n": 3, "y": "y", "z": null, "l": ["x", "y"] })]);
}

/// Of `llama` every even number to 100, of `qwen` the odd ones, in segments and in none.
#[test]
fn percentiles_are_exact_whatever_they_are_asked_of() {
    let ask = |what: &str, of: &str| {
        let sql = format!("SELECT {what} AS p FROM events {of}");
        let got = rows(Store::of(calls(101), 30), &sql);
        got.iter().map(|row| row["p"].as_f64()).collect::<Vec<_>>()
    };
    let by_model = "GROUP BY model ORDER BY model";
    for (what, wanted) in [
        ("percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms)", [50.0, 50.0]),
        ("percentile_cont(0.0) WITHIN GROUP (ORDER BY latency_ms)", [0.0, 1.0]),
        ("percentile_cont(1.0) WITHIN GROUP (ORDER BY latency_ms)", [100.0, 99.0]),
        ("percentile_cont(0.21) WITHIN GROUP (ORDER BY latency_ms)", [21.0, 21.58]),
        ("percentile_cont(0.21) WITHIN GROUP (ORDER BY latency_ms DESC)", [79.0, 78.42]),
        ("percentile_cont(latency_ms, 0.21)", [21.0, 21.58]),
        ("quantile_cont(latency_ms, 0.21)", [21.0, 21.58]),
        ("percentile_cont(DISTINCT latency_ms % 4, 0.5)", [1.0, 2.0]),
        ("percentile_cont(CAST(latency_ms AS REAL), 0.5)", [50.0, 50.0]),
        ("percentile_cont(nullif(latency_ms, 0), 0.5)", [51.0, 50.0]),
        ("percentile_cont(latency_ms, 0.5) FILTER (WHERE latency_ms < 20)", [9.0, 10.0]),
    ] {
        let got = ask(what, by_model);
        assert_eq!(got.len(), 2, "{what}");
        for (got, wanted) in got.iter().zip(wanted) {
            assert!((got.unwrap() - wanted).abs() < 1e-9, "{what}: {got:?} {wanted}");
        }
    }
    let middle = "percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms)";
    assert_eq!(ask(middle, ""), [Some(50.0)]);
    assert_eq!(ask(middle, "WHERE seq > 1000"), [None]);
    assert_eq!(ask("percentile_cont(0.5) WITHIN GROUP (ORDER BY NULL)", ""), [None]);
    assert_eq!(
        ask(middle, "GROUP BY seq ORDER BY seq"),
        (0..101).map(|n| Some(f64::from(n))).collect::<Vec<_>>()
    );
    let over = |frame: &str| {
        let what = format!("percentile_cont(latency_ms, 0.5) OVER (ORDER BY seq {frame})");
        ask(&what, "ORDER BY seq LIMIT 5")
    };
    assert_eq!(over(""), [0.0, 0.5, 1.0, 1.5, 2.0].map(Some));
    assert_eq!(over("ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"), [0.0, 0.5, 1.0, 2.0, 3.0].map(Some));
    for share in ["1.5", "-0.1", "NULL", "latency_ms"] {
        let sql = format!("SELECT percentile_cont(latency_ms, {share}) FROM events GROUP BY model");
        let question = Question::new(&sql, Format::Json);
        let error = try_ask(&engine(), &Arc::new(Store::of(calls(9), 4)), question).unwrap_err();
        let said = format!("{error:?}").to_lowercase();
        assert!(said.contains("percentile"), "{share}: {said}");
    }
}

#[test]
fn views_answer_the_usual_questions() {
    let mut entries = calls(8);
    entries[3].event_type = "gap".to_owned();
    entries[5].detail = serde_json::from_str(r#"{"tool_calls":["search","sum"]}"#).unwrap();
    let store = || Store::of(entries.clone(), 6);
    assert_eq!(rows(store(), "SELECT count(*) AS n FROM inferences"), [json!({ "n": 7 })]);
    let sessions = rows(store(), "SELECT * FROM sessions ORDER BY first_seq");
    assert_eq!(sessions[0]["requests"], 3);
    assert_eq!(sessions[1]["session_id"], "session-1");
    assert_eq!((&sessions[1]["completion_tokens"], &sessions[1]["subjects"]), (&json!(22), &json!(3)));
    let tools = rows(store(), "SELECT seq, tool FROM tool_calls ORDER BY tool");
    assert_eq!(tools, [json!({ "seq": 5, "tool": "search" }), json!({ "seq": 5, "tool": "sum" })]);
    let costs =
        rows(store(), "SELECT day, model, sum(cost_usd) AS c FROM costs GROUP BY day, model ORDER BY model");
    assert_eq!(
        costs[0],
        json!({ "day": "2026-11-01T00:00:00.000000Z", "model": "llama", "c": "0.000000000000000004" })
    );
    let buckets = rows(
        store(),
        "SELECT date_bin(INTERVAL '6 hours', timestamp) AS t, count(*) AS n FROM events GROUP BY t ORDER BY t",
    );
    assert_eq!(buckets[1], json!({ "t": "2026-11-01T06:00:00.000000Z", "n": 2 }));
}

fn written(sql: &str, format: Format, width: Option<usize>) -> String {
    let question = Question { width, ..Question::new(sql, format) };
    String::from_utf8(try_ask(&engine(), &Arc::new(Store::of(calls(3), 2)), question).unwrap()).unwrap()
}

#[test]
fn formats_keep_what_readers_would_round() {
    let sql = "SELECT 9007199254740991 AS a, 9007199254740993 AS b, -9007199254740993 AS c, CAST('1.50' AS DECIMAL(10,4)) AS d, \
               NULL AS e, 'x\"y,z' AS f, 0.1 AS g, CAST('NaN' AS DOUBLE) AS h, [1, NULL] AS i, '' AS j, true AS k";
    assert_eq!(
        written(sql, Format::Jsonl, None),
        "{\"a\":9007199254740991,\"b\":\"9007199254740993\",\"c\":\"-9007199254740993\",\"d\":\"1.5\",\"e\":null,\
         \"f\":\"x\\\"y,z\",\"g\":0.1,\"h\":\"NaN\",\"i\":[1,null],\"j\":\"\",\"k\":true}\n"
    );
    assert_eq!(
        written(sql, Format::Csv, None),
        "a,b,c,d,e,f,g,h,i,j,k\n9007199254740991,9007199254740993,-9007199254740993,1.5,,\"x\"\"y,z\",0.1,NaN,\"[1,null]\",\"\",true\n"
    );
    assert_eq!(written("SELECT seq FROM events WHERE seq > 9", Format::Json, None), "{\"rows\":[]}\n");
    assert_eq!(written("SELECT seq FROM events WHERE seq > 9", Format::Csv, None), "seq\n");
    assert_eq!(
        written(
            "SELECT a.seq, b.seq FROM events a JOIN events b ON a.seq = b.seq WHERE a.seq = 1",
            Format::Jsonl,
            None
        ),
        "{\"seq\":1,\"seq_2\":1}\n"
    );
}

#[test]
fn a_table_fits_the_terminal() {
    let sql = "SELECT seq, event_id, repeated AS long, model_returned FROM (SELECT *, concat(entry, entry) AS repeated FROM events) ORDER BY seq";
    let table = written(sql, Format::Table, Some(60));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{table}");
    assert!(lines[0].starts_with("SEQ  EVENT_ID  LONG"), "{table}");
    assert!(lines[1].starts_with("  0  event-0 ") && lines[1].contains('…'), "{table}");
    let whole = written(sql, Format::Table, None);
    assert!(whole.lines().nth(1).unwrap().len() > 400 && !whole.contains('…'));
}

#[test]
fn an_answer_in_parquet_is_a_table_again() {
    let question = Question::new("SELECT * FROM events ORDER BY seq", Format::Parquet);
    let store = Arc::new(Store::of(calls(3000), 1000));
    let bytes = Bytes::from(try_ask(&engine(), &store, question).unwrap());
    let again = Segment {
        name: "again".to_owned(),
        first_seq: 0,
        count: 3000,
        first_time_us: 0,
        last_time_us: i64::MAX,
        entries: Arc::new(bytes),
    };
    let store = Store { segments: vec![again], ..Store::default() };
    let sum = rows(store, "SELECT count(*) AS n, sum(seq) AS s, sum(cost_usd) AS c FROM events");
    assert_eq!(sum, [json!({ "n": 3000, "s": 4_498_500, "c": "0.000000000000003" })]);
}

#[test]
fn the_answer_stops_at_the_rows_that_are_wanted_and_says_so() {
    let store = Arc::new(Store::of(calls(30), 20));
    for (wanted, cut) in [(7, true), (30, false), (31, false), (0, true)] {
        let (bytes, said) = block(async {
            let question =
                Question { rows: Some(wanted), ..Question::new("SELECT seq FROM events", Format::Jsonl) };
            let engine = engine();
            let mut answer = engine.ask(store.clone(), question).await.unwrap();
            (whole(&mut answer).await.unwrap(), (answer.rows(), answer.cut()))
        });
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!((lines, said), (wanted.min(30), (wanted.min(30), cut)), "{wanted}");
    }
}

#[test]
fn plans_and_columns_can_be_looked_at() {
    let columns = rows(Store::default(), "DESCRIBE events");
    assert_eq!(columns.len(), indelible_segment::columns::COLUMNS.len());
    let plan = rows(Store::of(calls(9), 4), "EXPLAIN SELECT count(*) FROM events WHERE seq > 5");
    assert!(plan.iter().any(|row| row["plan"].as_str().unwrap().contains("DataSourceExec")), "{plan:?}");
}

/// DataFusion 55.2 takes the two for one, and answers 6 where 42 is right.
#[test]
fn a_computation_on_its_own_result_is_right_or_refused() {
    let inner = "SELECT s * s + s AS s FROM (SELECT latency_ms AS s FROM events WHERE seq = 2)";
    for between in ["", "WHERE s > 0", "ORDER BY s"] {
        for alias in ["", "t"] {
            let sql = format!("SELECT s * s + s AS s FROM ({inner}) {alias} {between}");
            match try_ask(&engine(), &Arc::new(Store::of(calls(3), 2)), Question::new(&sql, Format::Csv)) {
                Ok(bytes) => assert_eq!(String::from_utf8(bytes).unwrap(), "s\n42\n", "{sql}"),
                Err(error) => assert!(error.detail.unwrap().contains("other names"), "{sql}"),
            }
        }
    }
    let other_names = rows(Store::of(calls(3), 2), &format!("SELECT s * s + s AS t FROM ({inner})"));
    assert_eq!(other_names, [json!({ "t": 42 })]);
}

const PAGE: &str = include_str!("../../../../../docs/query.md");

#[test]
fn the_examples_of_the_page_run() {
    let examples: Vec<&str> =
        PAGE.split("```sql\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(examples.len() >= 6);
    let store = Arc::new(Store::of(calls(50), 20).with_subject("jane@example.com", "sub_1"));
    for sql in examples {
        let answer = try_ask(&engine(), &store, Question::new(sql, Format::Jsonl));
        assert!(answer.is_ok(), "{sql}: {answer:?}");
    }
}

#[test]
fn the_page_names_every_column_and_every_view() {
    for row in rows(Store::default(), "DESCRIBE events") {
        let name = row["column_name"].as_str().unwrap();
        assert!(PAGE.contains(&format!("| `{name}` |")), "docs/query.md lacks the column {name}");
    }
    let lacking: Vec<Value> = rows(
        Store::default(),
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_name IN ('costs', 'sessions', 'tool_calls')",
    )
    .into_iter()
    .filter(|row| !PAGE.contains(&format!("`{}`", row["column_name"].as_str().unwrap())))
    .collect();
    assert_eq!(lacking, Vec::<Value>::new());
}
