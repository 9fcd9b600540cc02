//! Who it was, and that nobody can read it off a disk (invariants 8 and 12).

use super::*;
use crate::kill::TwoMachines;

pub(super) const USER: &str = "jane.doe@example.com";
const API_KEY: &str = "sk-live-4f9a8b7c6d5e4f3a2b1c";
const SECRET_PROMPT: &str = "the heliotrope ledger of Aunt Wilhelmina";

pub(super) fn personal(request_id: &str) -> Vec<u8> {
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", &format!("Bearer {API_KEY}")),
        ("X-User-Id", USER),
        ("X-Session-Id", "session-7"),
        ("X-Request-Id", request_id),
        ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("X-App-Version", "1.2.3"),
        ("X-Environment", "staging"),
        ("X-Stainless-Retry-Count", "1"),
    ];
    let target = format!("{CHAT}?api_key={API_KEY}&v=1");
    message("POST", &target, &headers, &chat(SECRET_PROMPT, false))
}

#[test]
fn who_called_stands_in_the_entry_as_pseudonyms() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let ids = ["req-1", "+49 170 1234567"].map(|id| request(up.listen, &personal(id)).event_id().to_owned());
    let record = site.record(&ids[0]);
    let entry = &record["entry"];
    for (name, value) in [
        ("session_id", "session-7"),
        ("request_id", "req-1"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("span_id", "00f067aa0ba902b7"),
        ("app_version", "1.2.3"),
        ("environment", "staging"),
        ("model", MODEL),
        ("model_returned", MODEL),
        ("usage_source", "provider"),
    ] {
        assert_eq!(entry[name], value, "{name}: {entry:#}");
    }
    assert_eq!(entry["attempt"], 2);
    assert!(entry["subject_ref"].as_str().unwrap().starts_with("sub_"), "{entry:#}");
    let key_id = entry["api_key_id"].as_str().unwrap();
    assert!(key_id.starts_with("k:") && key_id.len() == 34, "{key_id}");
    assert!(record["payload"]["request"]["target"].as_str().unwrap().ends_with("?api_key=REDACTED&v=1"));
    assert_eq!(record["payload"]["originals"]["user_id"], USER, "who may read the payload may know");

    let other = site.record(&ids[1]);
    assert_eq!(other["entry"]["api_key_id"], entry["api_key_id"], "the same key has the same id");
    assert_eq!(other["entry"]["subject_ref"], entry["subject_ref"]);
    let hashed = other["entry"]["request_id"].as_str().unwrap();
    assert!(hashed.starts_with("h:"), "a phone number does not stand in an entry: {hashed}");
    assert_eq!(
        site.shown("+49 170 1234567")[0]["entry"]["event_id"],
        ids[1].as_str(),
        "it is found all the same"
    );

    let entries = site.run(&["list", "--entries"]).stdout;
    for personal in [USER, API_KEY, SECRET_PROMPT, "1234567", "127.0.0.1"] {
        assert!(!text(&entries).contains(personal), "{personal} stands in an entry");
    }
}

/// Nothing of a request or its answer stands in any file of the site: records, keys, spool, logs.
fn assert_nothing_readable(site: &Site, answer: &Answer, when: &str) {
    assert!(!grep(site.dir.path(), "INDELOG").is_empty(), "what does stand there is found");
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    let said = said["choices"][0]["message"]["content"].as_str().unwrap();
    for needle in [API_KEY, SECRET_PROMPT, USER, said] {
        let found = grep(site.dir.path(), needle);
        assert!(found.is_empty(), "{when}: {needle:?} stands in {found:?}");
    }
}

#[test]
fn no_prompt_person_or_key_ever_stands_on_a_disk() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let site = &machines.site;
    let mut gateway = machines.start_gateway();
    let answer = request(gateway.listen, &personal("req-1"));
    assert_eq!(answer.status, 200);
    assert_nothing_readable(site, &answer, "in the spool");
    let spooled = files_below(&site.dir.path().join("spool"));
    assert!(!spooled.is_empty() && !spooled.iter().all(|path| std::fs::metadata(path).unwrap().len() < 500));
    gateway.kill();
    assert_nothing_readable(site, &answer, "after a crash");
    let mut collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let record = site.record(answer.event_id());
    assert_eq!(record["payload"]["request"]["text"], text(&chat(SECRET_PROMPT, false)));
    let _ = site.run(&["list", "--user", USER, "--purpose", SECRET_PROMPT]);
    gateway.wait_shipped();
    assert_nothing_readable(site, &answer, "at the collector");
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    assert_nothing_readable(site, &answer, "after a clean stop");
}
