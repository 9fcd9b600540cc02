//! Questions to a ledger, through a running collector and on its directory: the answers are the same, each is on
//! record, and none of them gets in the way of what is being recorded.

#![cfg(feature = "sql")]

use crate::common::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Output;

const CHAT: &str = "/v1/chat/completions";

/// Calls of three users with two models; every one is in the ledger when this returns.
fn recorded(site: &Site, calls: usize) -> (Process, RawServer) {
    let body = br#"{"model":"answered","usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let upstream = RawServer::answering([head.as_bytes(), body].concat());
    let up = site.up(&upstream.url, &[]);
    for n in 0..calls {
        let user = format!("user-{}@example.com", n % 3);
        let model = ["one", "two"][n % 2];
        let body = json!({ "model": model, "messages": [] }).to_string();
        let answer = post(up.listen, CHAT, &[("x-user-id", &user), ("x-session-id", "s-1")], body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    up.wait_shipped();
    wait_until("all calls in the ledger", || {
        site.entries().iter().filter(|entry| entry["event_type"] == "llm_request").count() == calls
    });
    (up, upstream)
}

fn answer(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Looks that the operations ledger has, of one kind.
fn looks(site: &Site, action: &str) -> Vec<Value> {
    let mut entries = site.entries_of("operations");
    entries.retain(|entry| entry["event_type"] == "access" && entry["action"] == action);
    entries
}

#[test]
fn collector_and_directory_answer_alike_and_every_question_is_on_record() {
    let site = Site::new();
    let (mut up, _upstream) = recorded(&site, 7);
    let by_model = "SELECT model, count(*) AS n, sum(completion_tokens) AS t FROM inferences GROUP BY model ORDER BY model";
    let of_user = "SELECT seq FROM inferences WHERE subject_ref = subject('user-1@example.com') ORDER BY seq";
    let of_nobody = "SELECT seq FROM inferences WHERE subject_ref = subject('nobody@example.com')";
    let ask = |sql: &str| answer(&site.run(&["query", sql, "--format", "csv", "--purpose", "ticket 4711"]));
    let asked = |_: &str| (ask(by_model), ask(of_user), ask(of_nobody));
    let running = asked("running");
    assert_eq!(running.0, "model,n,t\none,4,16\ntwo,3,12\n");
    assert_eq!((running.1.lines().count(), running.2.as_str()), (3, "seq\n"));
    let looked = looks(&site, "query");
    assert_eq!(
        looked.iter().map(|look| look["detail"]["results"].clone()).collect::<Vec<_>>(),
        [2, 2, 0].map(|n| json!(n))
    );
    let shown = site.record(looked[1]["event_id"].as_str().unwrap());
    let said: Value = serde_json::from_str(shown["payload"]["originals"]["asked"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&said["sql"], &said["purpose"], &said["more"]),
        (&json!(of_user), &json!("ticket 4711"), &json!(false))
    );
    assert_eq!(
        grep(&site.data, "user-1@example.com"),
        Vec::<std::path::PathBuf>::new(),
        "the question names a person"
    );
    assert_eq!(up.stop(), 0);
    assert_eq!(asked("stopped"), running);
    assert_eq!(looks(&site, "query").len(), 6);
    assert_eq!(site.verify().0, 0);
}

#[test]
fn searches_are_listed_run_and_replaced_by_ones_own() {
    let site = Site::new();
    let (mut up, _upstream) = recorded(&site, 4);
    assert!(answer(&site.run(&["search", "--list"])).contains("errors-by-model"));
    let shown = answer(&site.run(&["search", "--show", "records-of-user"]));
    assert!(shown.contains("user (text, must be given)") && shown.contains("GDPR Art. 15"), "{shown}");
    let errors = site.json(&["search", "errors-by-model", "--json"]);
    assert_eq!(errors["rows"][0]["requests"], 2);
    let user = answer(&site.run(&[
        "search",
        "records-of-user",
        "--param",
        "user=user-0@example.com",
        "--format",
        "jsonl",
    ]));
    assert_eq!(user.lines().count(), 2);
    let log = site.json(&["search", "access-log", "--json"]);
    assert_eq!(
        log["rows"].as_array().unwrap().iter().filter(|row| row["resource_type"] == "search").count(),
        2
    );
    let own = site.dir.path().join("searches");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(
        own.join("a.sql"),
        "-- name: errors-by-model\n-- title: ours\n-- param: n int = 5\nSELECT $n + 1 AS x",
    )
    .unwrap();
    let own = own.to_str().unwrap();
    let ours = answer(&site.run(&[
        "search",
        "errors-by-model",
        "--searches",
        own,
        "--param",
        "n=6",
        "--format",
        "csv",
    ]));
    assert_eq!(ours, "x\n7\n");
    for (arguments, code) in [
        (&["search", "no-such"][..], 1),
        (&["search", "records-of-user"], 2),
        (&["search", "errors-by-model", "--param", "sense=now"], 2),
        (&["search", "errors-by-model", "--param", "since=yesterday"], 2),
        (&["search", "errors-by-model", "--searches", "/no/such/dir"], 2),
    ] {
        assert_eq!(site.run(arguments).status.code(), Some(code), "{arguments:?}");
    }
    assert_eq!(up.stop(), 0);
    assert_eq!(site.json(&["search", "errors-by-model", "--json"])["rows"], errors["rows"]);
}

/// The issue's own words: a runaway cross join is stopped with a clear error while ingest goes on unharmed.
#[test]
fn a_runaway_query_is_stopped_while_calls_are_recorded() {
    let site = Site::new();
    let (up, _upstream) = recorded(&site, 12);
    // Two sides of some 400,000 rows each: they fit into memory, and their pairs take hours.
    let side = "SELECT a.seq * b.seq * c.seq * d.seq * e.seq AS product FROM events a, events b, events c, events d, events e";
    let sql = format!("SELECT count(*) FROM ({side}) l, ({side}) r WHERE l.product * r.product = 5");
    let mut running = site
        .command(&["query", &sql, "--timeout", "8"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut meanwhile = 0;
    while running.try_wait().unwrap().is_none() {
        let answer = post(
            up.listen,
            CHAT,
            &[("x-request-id", &format!("meanwhile-{meanwhile}"))],
            br#"{"model":"one"}"#,
        );
        assert_eq!(answer.status, 200);
        assert_eq!(site.record(answer.event_id())["entry"]["status"], "completed");
        meanwhile += 1;
    }
    let output = running.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("stopped after 8 s"), "{said}");
    assert!(said.contains("hint: narrow"), "{said}");
    // The first may have been before it began, and the last after it ended.
    assert!(meanwhile > 2, "{meanwhile} calls were recorded and read while it ran");
    let looked = looks(&site, "query");
    assert_eq!((looked.len(), &looked[0]["detail"]["results"]), (1, &json!(0)));
    for (sql, code) in [
        ("DROP TABLE events", 2),
        ("SELECT * FROM '/etc/passwd'", 2),
        ("COPY events TO 'out.csv'", 2),
        ("SELECT no_such_column FROM events", 2),
    ] {
        assert_eq!(site.run(&["query", sql]).status.code(), Some(code), "{sql}");
    }
    assert_eq!(site.run(&["query", "SELECT 1", "--tenant", "other"]).status.code(), Some(1));
    assert!(!site.dir.path().join("out.csv").exists());
}

/// One engine answers for all ledgers, and keeps what it read of their segments.
#[test]
fn each_ledger_has_rows_of_its_own_however_often_they_are_asked_in_turn() {
    let site = Site::new();
    let (_up, _upstream) = recorded(&site, 6);
    site.json(&["seal", "--json"]);
    let sql = "SELECT count(*) FILTER (WHERE event_type = 'llm_request') AS calls, \
               count(*) FILTER (WHERE event_type = 'source_started') AS starts FROM events";
    let ask = |tenant: &str| answer(&site.run(&["query", sql, "--format", "csv", "--tenant", tenant]));
    for _ in 0..3 {
        assert_eq!(ask("default"), "calls,starts\n6,0\n");
        assert_eq!(ask("operations"), "calls,starts\n0,1\n");
    }
    let join = "SELECT count(*) AS n FROM events WHERE event_id IN (SELECT event_id FROM events WHERE event_type = 'source_started')";
    assert_eq!(answer(&site.run(&["query", join, "--format", "csv"])), "n\n0\n");
}

fn collector_of(site: &Site) -> (SocketAddr, String) {
    let address: Value =
        serde_json::from_slice(&std::fs::read(site.data.join("run/collector.json")).unwrap()).unwrap();
    let token = std::fs::read_to_string(site.data.join("run/operator.token")).unwrap();
    (address_of(address["url"].as_str().unwrap()), token)
}

#[test]
fn over_http_the_caller_chooses_the_form_and_is_told_what_is_wrong() {
    let site = Site::new();
    let (_up, _upstream) = recorded(&site, 6);
    let (collector, token) = collector_of(&site);
    let bearer = format!("Bearer {token}");
    let ask = |headers: &[(&str, &str)], body: &Value| {
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        post(collector, "/v1/sql", &headers, body.to_string().as_bytes())
    };
    let sql = "SELECT model, count(*) AS n FROM inferences GROUP BY model ORDER BY model";
    let as_json = ask(&[], &json!({ "sql": sql }));
    assert_eq!((as_json.status, as_json.header("content-type")), (200, Some("application/json")));
    assert_eq!(as_json.header("x-indelible-rows"), Some("2"));
    assert_eq!(
        serde_json::from_slice::<Value>(&as_json.body).unwrap()["rows"][1],
        json!({ "model": "two", "n": 3 })
    );
    let as_csv = ask(&[("Accept", "text/csv")], &json!({ "sql": sql, "limit": 1 }));
    assert_eq!(
        (text(&as_csv.body).as_str(), as_csv.header("x-indelible-more")),
        ("model,n\none,3\n", Some("true"))
    );
    let with = ask(
        &[("Accept", "application/x-ndjson")],
        &json!({
            "sql": "SELECT count(*) AS n FROM inferences WHERE model = $m AND timestamp > $t",
            "parameters": { "m": "one", "t": { "time": "2026-01-01T00:00:00Z" } },
        }),
    );
    assert_eq!(text(&with.body), "{\"n\":3}\n");
    let parquet = ask(&[], &json!({ "sql": sql, "format": "parquet" }));
    assert!(parquet.body.starts_with(b"PAR1") && parquet.body.ends_with(b"PAR1"));
    let slow = "SELECT count(*) FROM events a, events b, events c, events d, events e, events f, events g, events h, events i, events j \
                WHERE a.seq * b.seq * c.seq * d.seq * e.seq * f.seq * g.seq * h.seq * i.seq * j.seq = 3";
    for (headers, body, status) in [
        (&[][..], json!({ "sql": "SELEC 1" }), 400),
        (&[], json!({ "sql": sql, "parameters": { "x": [] } }), 400),
        (&[], json!({ "sql": sql, "format": "xml" }), 400),
        (&[], json!({ "sql": sql, "colour": "red" }), 400),
        (&[("Accept", "image/png")], json!({ "sql": sql }), 406),
        (&[], json!({ "sql": sql, "tenant": "other" }), 404),
        (&[], json!({ "sql": slow, "timeout_s": 1 }), 422),
    ] {
        let answer = ask(headers, &body);
        assert_eq!(answer.status, status, "{body}: {}", text(&answer.body));
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(said["error"]["message"].is_string() && said["error"]["hint"].is_string(), "{said}");
    }
    let nobody = post(collector, "/v1/sql", &[], json!({ "sql": sql }).to_string().as_bytes());
    assert_eq!(nobody.status, 401);
}

/// The number of rows of a long answer is not known before it goes out: one entry is made first, one at the end.
#[test]
fn a_long_answer_is_on_record_before_it_goes_out_and_when_it_has_ended() {
    let site = Site::new();
    let (_up, _upstream) = recorded(&site, 9);
    let tables: Vec<String> = (0..5).map(|n| format!("events e{n}")).collect();
    let sql = format!("SELECT e0.entry FROM {} LIMIT 20000", tables.join(", "));
    let rows = answer(&site.run(&["query", &sql, "--format", "jsonl"]));
    assert_eq!(rows.lines().count(), 20_000);
    let looked = looks(&site, "query");
    assert_eq!(looked.len(), 2);
    let results = |n: usize| looked[n]["detail"]["results"].as_u64().unwrap();
    assert!(results(0) > 0 && results(0) < 20_000, "{looked:#?}");
    assert_eq!(results(1), 20_000);
}
