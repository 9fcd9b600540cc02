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
fn list_finds_by_user_session_trace_key_model_type_and_time() {
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
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let key = ("Authorization", "Bearer sk-live-4f9a8b7c6d5e4f3a2b1c");
    let jane = ask(CHAT, &[("X-User-Id", USER), ("X-Session-Id", "s-1"), traced], chat("model-a"));
    let john = ask(CHAT, &[("X-User-Id", "john"), ("X-Session-Id", "s-2"), key], chat("model-b"));
    let embedding =
        ask("/v1/embeddings", &[("X-User-Id", USER)], json!({ "model": "model-a", "input": "x" }));
    up.wait_shipped();
    let entry = site.record(&john)["entry"].clone();
    let [at, key_id] = ["timestamp", "api_key_id"].map(|name| entry[name].as_str().unwrap());
    let nobodys = format!("k:{}", "0".repeat(32));
    let cases: [(&[&str], &[&String]); 17] = [
        (&[], &[&embedding, &john, &jane]),
        (&["--user", USER], &[&embedding, &jane]),
        (&["--user", "nobody@example.com"], &[]),
        (&["--session", "s-2"], &[&john]),
        (&["--trace", trace], &[&jane]),
        (&["--trace", "4bf92f3577b34da6a3ce929d0e0e4737"], &[]),
        (&["--api-key", key_id], &[&john]),
        (&["--api-key", &nobodys], &[]),
        (&["--api-key", key_id, "--user", USER], &[]),
        (&["--resource", "record/s-2"], &[]),
        (&["--model", "model-a"], &[&embedding, &jane]),
        (&["--type", "embedding"], &[&embedding]),
        (&["--type", "llm_request", "--user", USER], &[&jane]),
        (&["--since", at], &[&embedding, &john]),
        (&["--until", at], &[&jane]),
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
        for (filter, value, why) in [
            ("--since", "yesterday", "since: not a moment in time"),
            ("--api-key", "idk_0123456789abcdef", "api_key: not the id of an API key"),
            ("--resource", "req-42", "resource: not a type and an id"),
            ("--resource", "record/", "resource: not a type and an id"),
        ] {
            let bad = site.run(&["list", filter, value]);
            assert_eq!(bad.status.code(), Some(2), "{}", text(&bad.stderr));
            assert!(text(&bad.stderr).starts_with(&format!("error: {why}")), "{}", text(&bad.stderr));
            assert!(text(&bad.stderr).contains("hint: "), "{}", text(&bad.stderr));
        }
    }
}

#[test]
fn looks_are_found_by_what_was_looked_at() {
    let model = ModelServer::start();
    let site = Site::new();
    let mut up = site.up(&model.url, &[]);
    let looks = |resource: &str| {
        let answer = site.json(&["list", "--json", "--resource", resource]);
        answer["records"].as_array().unwrap().iter().map(|record| record["entry"].clone()).collect::<Vec<_>>()
    };
    for times in [1, 2] {
        if times == 2 {
            assert_eq!(up.stop(), 0);
        }
        for id in ["req-42", "route/7", "+49 170 1234567"] {
            site.run(&["show", id]);
            let found = looks(&format!("record/{id}"));
            assert_eq!(found.len(), times, "{id}: {found:?}");
            assert!(found.iter().all(|entry| entry["action"] == "show"), "{found:?}");
            // As entries have it: one of these is hashed.
            let shown = found[0]["resource"]["id"].as_str().unwrap();
            assert_eq!(shown.starts_with("h:"), id.starts_with('+'), "{shown}");
            assert_eq!(looks(&format!("record/{shown}")).len(), times);
        }
        assert!(looks("session/req-42").is_empty(), "of another type");
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
