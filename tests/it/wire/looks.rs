//! Looking at records: by which ids and filters, the same running or stopped, and each look recorded
//! (invariant 11).

use super::identity::{USER, personal};
use super::*;

#[test]
fn an_id_shows_all_its_records_and_says_when_it_cannot_tell_which() {
    let model = ModelServer::start();
    let site = Site::new();
    let mut up = site.up(&model.url, &[]);
    let ask = |id: &str, prompt: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Request-Id", id)];
        request(up.listen, &message("POST", CHAT, &headers, &chat(prompt, false))).event_id().to_owned()
    };
    let ids: Vec<String> = ["one", "two", "three"].map(|prompt| ask("req-thrice", prompt)).into();
    ask("req-other", "four");
    up.wait_shipped();
    for running in [true, false] {
        if !running {
            assert_eq!(up.stop(), 0);
        }
        let shown: Vec<String> = site
            .shown("req-thrice")
            .iter()
            .map(|record| record["entry"]["event_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(shown, ids, "oldest first, running: {running}");
        let raw = site.run(&["show", "req-thrice", "--raw", "response"]);
        assert_eq!(raw.status.code(), Some(3), "{}", text(&raw.stderr));
        assert!(raw.stdout.is_empty());
        for id in &ids {
            assert!(text(&raw.stderr).contains(id), "names the event ids: {}", text(&raw.stderr));
        }
        assert!(text(&raw.stderr).contains("hint: "), "{}", text(&raw.stderr));
        assert_eq!(site.raw(&ids[1], "request"), chat("two", false));
        for arguments in [&["show", "req-nobody"][..], &["show", "req-nobody", "--raw", "request"]] {
            let unknown = site.run(arguments);
            assert_eq!(unknown.status.code(), Some(1), "{}", text(&unknown.stderr));
            assert!(text(&unknown.stderr).contains("\"req-nobody\""), "{}", text(&unknown.stderr));
        }
    }
}

#[test]
fn list_finds_by_user_session_model_type_and_time() {
    let model = ModelServer::start();
    let site = Site::new();
    let mut up = site.up(&model.url, &[]);
    let ask = |path: &str, headers: &[(&str, &str)], body: Value| {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        let answer = request(up.listen, &message("POST", path, &headers, body.to_string().as_bytes()));
        assert_eq!(answer.status, 200, "{}", text(&answer.body));
        answer.event_id().to_owned()
    };
    let chat = |model: &str| json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] });
    let jane = ask(CHAT, &[("X-User-Id", USER), ("X-Session-Id", "s-1")], chat("model-a"));
    let john = ask(CHAT, &[("X-User-Id", "john"), ("X-Session-Id", "s-2")], chat("model-b"));
    let embedding =
        ask("/v1/embeddings", &[("X-User-Id", USER)], json!({ "model": "model-a", "input": "x" }));
    up.wait_shipped();
    let at = site.record(&john)["entry"]["timestamp"].as_str().unwrap().to_owned();
    let cases: [(&[&str], &[&String]); 11] = [
        (&[], &[&embedding, &john, &jane]),
        (&["--user", USER], &[&embedding, &jane]),
        (&["--user", "nobody@example.com"], &[]),
        (&["--session", "s-2"], &[&john]),
        (&["--model", "model-a"], &[&embedding, &jane]),
        (&["--type", "embedding"], &[&embedding]),
        (&["--type", "llm_request", "--user", USER], &[&jane]),
        (&["--since", &at], &[&embedding, &john]),
        (&["--until", &at], &[&jane]),
        (&["--since", "2001-01-01", "--until", "2001-01-02"], &[]),
        (&["--limit", "1"], &[&embedding]),
    ];
    for running in [true, false] {
        if !running {
            assert_eq!(up.stop(), 0);
        }
        for (filters, expected) in cases {
            let answer = site.json(&[&["list", "--json", "--tenant", "default"], filters].concat());
            let records = answer["records"].as_array().unwrap();
            let found: Vec<&str> = records
                .iter()
                .map(|record| &record["entry"])
                .filter(|entry| entry["event_type"] != "genesis")
                .map(|entry| entry["event_id"].as_str().unwrap())
                .collect();
            assert_eq!(
                found,
                expected.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
                "{filters:?} {running}"
            );
        }
        let bad = site.run(&["list", "--since", "yesterday"]);
        assert_eq!(bad.status.code(), Some(2), "{}", text(&bad.stderr));
        assert!(text(&bad.stderr).starts_with("error: since: not a moment in time"), "{}", text(&bad.stderr));
    }
}

#[test]
fn looks_give_the_same_whether_the_server_runs_or_not() {
    let model = ModelServer::start();
    let site = Site::new();
    let mut up = site.up(&model.url, &[]);
    let answer = request(up.listen, &personal("req-1"));
    let id = answer.event_id().to_owned();
    wait_until("the record to be signed", || site.record(&id)["level"] == "signed");
    let looks: [&[&str]; 6] = [
        &["show", &id, "--json"],
        &["show", &id],
        &["show", "req-1", "--json"],
        &["show", &id, "--raw", "request"],
        &["show", &id, "--raw", "response"],
        &["list", "--json", "--tenant", "default"],
    ];
    let all = || looks.map(|look| text(&site.run(look).stdout));
    let running = all();
    assert_eq!(up.stop(), 0);
    for (at, (running, stopped)) in running.into_iter().zip(all()).enumerate() {
        assert!(!running.is_empty());
        assert_eq!(running, stopped, "{:?}", looks[at]);
    }
    assert_eq!(site.verify().0, 0);
}

#[test]
fn every_look_is_recorded_and_its_question_is_not_readable() {
    let model = ModelServer::start();
    let site = Site::new();
    let mut up = site.up(&model.url, &[]);
    let answer = request(up.listen, &personal("req-1"));
    site.record(answer.event_id());
    let purpose = "complaint of Aunt Wilhelmina no 4711";
    let looks: [(&[&str], &str, u64); 7] = [
        (&["list", "--user", USER], "list", 1),
        (&["list", "--session", "no such session at all"], "list", 0),
        (&["show", answer.event_id()], "show", 1),
        (&["show", "req-1", "--json"], "show", 1),
        (&["show", answer.event_id(), "--raw", "response"], "show", 1),
        (&["show", "nobody knows this id"], "show", 0),
        (&["show", "nobody knows this id", "--raw", "request"], "show", 0),
    ];
    let accesses = || {
        let entries = site.entries_of("operations").into_iter();
        entries.filter(|entry| entry["event_type"] == "access").collect::<Vec<_>>()
    };
    for running in [true, false] {
        if !running {
            assert_eq!(up.stop(), 0);
        }
        for (look, action, results) in looks {
            let before = accesses().len();
            let _ = site.run(&[look, &["--purpose", purpose]].concat());
            let after = accesses();
            assert_eq!(after.len(), before + 1, "{look:?} leaves one entry, running: {running}");
            let entry = after.last().unwrap();
            assert_eq!(
                (&entry["action"], &entry["detail"]["results"]),
                (&json!(action), &json!(results)),
                "{look:?}"
            );
        }
        for needle in [purpose, USER, "no such session", "nobody knows"] {
            let found = grep(site.dir.path(), needle);
            assert!(found.is_empty(), "{needle:?} stands in {found:?}");
        }
    }
    let last = accesses().pop().unwrap();
    let shown = &site.shown(last["event_id"].as_str().unwrap())[0];
    let asked = shown["payload"]["originals"]["asked"].as_str().unwrap();
    assert!(asked.contains(purpose) && asked.contains("nobody knows this id"), "{asked}");
}
