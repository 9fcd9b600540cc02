//! What is exported is what was recorded: exact, whole whatever interrupts it, and on record itself.

use crate::common::*;
use indelible_collector::export::{Content, Cursor, Export, Selection};
use indelible_collector::{Collector, Config, Query};
use indelible_segment::LocalFile;
use indelible_segment::entries::EntriesReader;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TRACED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Traffic of several models, users and sessions. Half of it sealed, half not.
fn site(count: usize) -> (Site, ModelServer) {
    let site = Site::new();
    let model = ModelServer::start();
    traffic(&site, &model, 0..count / 2);
    site.json(&["seal", "--json"]);
    traffic(&site, &model, count / 2..count);
    (site, model)
}

fn traffic(site: &Site, model: &ModelServer, numbers: std::ops::Range<usize>) {
    let mut up = site.up(&model.url, &[]);
    let mut last = String::new();
    for n in numbers {
        let body = json!({"model": format!("m-{}", n % 3), "user": format!("user-{}@example.com", n % 4),
            "stream": n % 2 == 0, "messages": [{"role": "user", "content": format!("question {n}")}]});
        let session = format!("session-{}", n % 5);
        let headers = [
            ("Content-Type", "application/json"),
            ("authorization", ["Bearer key-0", "Bearer key-1"][n % 2]),
            ("traceparent", [TRACED, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"][n % 2]),
            ("x-session-id", session.as_str()),
        ];
        let body = body.to_string();
        let got = request(up.listen, &message("POST", "/v1/chat/completions", &headers, body.as_bytes()));
        assert_eq!(got.status, 200);
        last = got.event_id().to_owned();
    }
    site.record(&last);
    assert_eq!(up.stop(), 0);
}

/// Runs an export that must succeed.
fn export(site: &Site, dir: &str, more: &[&str]) -> (PathBuf, Value) {
    let arguments = [&["export", "-o", dir, "--json"], more].concat();
    let summary = site.json(&arguments);
    assert_eq!(summary["done"], true);
    (site.dir.path().join(dir), summary)
}

/// All files of an export but its state, by name.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let files = files_below(dir).into_iter().filter(|path| named(path) != "export.json");
    files.map(|path| (named(&path), std::fs::read(&path).unwrap())).collect()
}

/// Whether a file is one that is being written.
fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.ends_with(".partial") || name.ends_with(".tmp") || name == "export.json"
    })
}

fn lines(dir: &Path, tenant: &str) -> Vec<String> {
    let parts = files(dir).into_iter();
    let parts =
        parts.filter(|(name, _)| name.starts_with(&format!("{tenant}-")) && !name.contains("left-out"));
    parts.flat_map(|(_, bytes)| text(&bytes).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn values(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn entries_are_exported_to_the_byte_from_segments_and_log() {
    let (site, model) = site(40);
    let exact = text(&site.run(&["list", "--entries", "--tenant", "default"]).stdout);
    let exact: Vec<&str> = exact.lines().collect();
    let (direct, summary) = export(&site, "direct", &["--tenant", "default", "--part-records", "7"]);
    assert_eq!(lines(&direct, "default"), exact);
    assert_eq!(summary["records"], exact.len());
    assert_eq!(summary["parts"].as_array().unwrap().len(), exact.len().div_ceil(7));
    // Through a running collector: the same files.
    let up = site.up(&model.url, &[]);
    let (through, _) = export(&site, "through", &["--tenant", "default", "--part-records", "7"]);
    assert!(files(&through) == files(&direct));
    // A finished export stays as it is.
    let again = export(&site, "direct", &["--tenant", "default", "--part-records", "7"]).1;
    assert_eq!(again["records"], exact.len());
    drop(up);
}

#[test]
fn filters_select_what_a_list_shows() {
    let (site, _model) = site(40);
    let entries = site.entries();
    let middle = entries[entries.len() / 2]["timestamp"].as_str().unwrap().to_owned();
    let key = entries.iter().find_map(|entry| entry["api_key_id"].as_str()).unwrap();
    for (n, filter) in [
        vec!["--user", "user-2@example.com"],
        vec!["--session", "session-3"],
        vec!["--trace", "4bf92f3577b34da6a3ce929d0e0e4736"],
        vec!["--api-key", key],
        vec!["--api-key", key, "--session", "session-3"],
        vec!["--model", "m-1"],
        vec!["--type", "llm_request"],
        vec!["--since", &middle],
        vec!["--until", &middle, "--model", "m-2"],
        vec!["--user", "nobody@example.com"],
    ]
    .into_iter()
    .enumerate()
    {
        let filter = [filter.as_slice(), &["--tenant", "default"]].concat();
        let listed = site.json(&[&["list", "--limit", "1000", "--json"], filter.as_slice()].concat());
        let mut expected: Vec<&Value> =
            listed["records"].as_array().unwrap().iter().map(|record| &record["entry"]).collect();
        expected.reverse();
        let (dir, _) =
            export(&site, &format!("filter-{n}"), &[filter.as_slice(), &["--part-records", "4"]].concat());
        assert_eq!(json!(values(&lines(&dir, "default"))), json!(expected), "{filter:?}");
        assert_eq!(expected.is_empty(), filter[1] == "nobody@example.com", "{filter:?} selects something");
    }
}

/// Killed at many places, an export goes on to the same files as one that nothing interrupted.
#[test]
fn an_export_that_is_killed_goes_on_to_the_same_files() {
    let (site, model) = site(60);
    let selection = ["--payload", "--tenant", "default", "--part-records", "2"];
    let (expected, _) = export(&site, "unbroken", &selection);
    let expected = files(&expected);
    assert!(expected.len() >= 30);
    let mut up = None;
    for through in [false, true] {
        if through {
            up = Some(site.up(&model.url, &[]));
        }
        let dir = format!("killed-{through}");
        let path = site.dir.path().join(&dir);
        let arguments = [&["export", "-o", &dir, "--json"], selection.as_slice()].concat();
        let mut kills = 0;
        for goal in [1, 3, 9, 20] {
            let mut child = site
                .command(&arguments)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // A whole part is one without the name of an unfinished one.
            let whole = || files_below(&path).iter().filter(|path| !is_unfinished(path)).count();
            while child.try_wait().unwrap().is_none() && whole() < goal {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            kills += usize::from(child.try_wait().unwrap().is_none());
            let _ = child.kill();
            child.wait().unwrap();
        }
        assert!(kills > 0, "it was never killed");
        let (path, summary) = export(&site, &dir, &selection);
        let found = files(&path);
        let names =
            |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{summary:#}");
        assert!(found == expected);
        let begun = site.entries_of("operations");
        let phases: Vec<&Value> = begun.iter().map(|entry| &entry["detail"]["phase"]).collect();
        assert!(phases.iter().filter(|phase| **phase == "begun").count() > kills, "{phases:?}");
    }
    drop(up);
}

#[test]
fn a_directory_keeps_to_its_selection_and_its_parts() {
    let (site, _model) = site(12);
    export(&site, "out", &["--tenant", "default", "--user", "user-1@example.com", "--part-records", "2"]);
    for other in [
        vec!["--tenant", "default", "--user", "user-2@example.com", "--part-records", "2"],
        vec!["--tenant", "default", "--user", "user-1@example.com", "--part-records", "3"],
        vec!["--tenant", "default", "--user", "user-1@example.com", "--part-records", "2", "--payload"],
        vec!["--tenant", "default", "--part-records", "2"],
    ] {
        let refused = site.run(&[&["export", "-o", "out"], other.as_slice()].concat());
        assert_eq!(refused.status.code(), Some(2), "{other:?}");
        assert!(text(&refused.stderr).contains("another selection"), "{}", text(&refused.stderr));
    }
    let state = std::fs::read_to_string(site.dir.path().join("out/export.json")).unwrap();
    assert!(!state.contains("user-1@example.com"), "the state does not say whose pseudonym it is");
    let part = site.dir.path().join("out/default-00001.jsonl");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let refused = site.run(&[
        "export",
        "-o",
        "out",
        "--tenant",
        "default",
        "--user",
        "user-1@example.com",
        "--part-records",
        "2",
    ]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("not as it was written"), "{}", text(&refused.stderr));
    std::fs::create_dir(site.dir.path().join("full")).unwrap();
    std::fs::write(site.dir.path().join("full/letter.txt"), "x").unwrap();
    assert_eq!(site.run(&["export", "-o", "full"]).status.code(), Some(2));
}

#[test]
fn parquet_has_the_columns_of_segments_and_the_exact_bytes() {
    let (site, _model) = site(20);
    let exact = text(&site.run(&["list", "--entries", "--tenant", "default"]).stdout);
    let (dir, _) =
        export(&site, "columns", &["--format", "parquet", "--tenant", "default", "--part-records", "8"]);
    let mut found = Vec::new();
    for path in
        files_below(&dir).into_iter().filter(|path| path.extension().is_some_and(|of| of == "parquet"))
    {
        let file = LocalFile::open(&path).unwrap();
        let reader = EntriesReader::open(Arc::new(file)).unwrap();
        reader
            .visit_from(0, |_, bytes| {
                found.push(text(bytes));
                Ok::<bool, Box<dyn std::error::Error>>(true)
            })
            .ok();
        let ids = reader.texts(0, "event_id").unwrap();
        assert_eq!(ids.len() as u64, reader.rows());
    }
    assert_eq!(found, exact.lines().collect::<Vec<_>>());
    let refused = site.run(&["export", "-o", "x", "--format", "parquet", "--payload"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_data_set_has_each_conversation_with_its_answer() {
    let (site, _model) = site(20);
    let (dir, summary) = export(&site, "evals", &["--format", "chat", "--tenant", "default"]);
    let lines = values(&lines(&dir, "default"));
    assert_eq!(lines.len(), 20);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["messages"], json!([{"role": "user", "content": format!("question {n}")}]));
        let answer = line["answer"]["content"].as_str().unwrap();
        let id = line["metadata"]["event_id"].as_str().unwrap();
        let raw = text(&site.raw(id, "response"));
        if n % 2 == 1 {
            let body: Value = serde_json::from_str(&raw).unwrap();
            assert_eq!(body["choices"][0]["message"]["content"], answer);
        } else {
            // Streamed: every word of the answer is in the stream, in pieces.
            assert!(raw.starts_with("data: ") && !answer.is_empty());
        }
        assert_eq!(line["metadata"]["session_id"], format!("session-{}", n % 5));
    }
    // What is no conversation is counted, and named one by one.
    let left_out = summary["left_out"]["no conversation"].as_u64().unwrap();
    let named = std::fs::read_to_string(dir.join("default-00001.left-out.jsonl")).unwrap();
    assert_eq!(named.lines().count() as u64, left_out);
    assert_eq!(lines.len() as u64 + left_out, site.entries().len() as u64);
}

#[test]
fn payloads_that_cannot_be_read_are_counted_and_named() {
    let (site, _model) = site(20);
    let (whole, summary) = export(&site, "whole", &["--payload", "--tenant", "default"]);
    assert_eq!(summary["left_out"], json!({}));
    let with = values(&lines(&whole, "default"));
    let request = with.iter().find_map(|line| line["payload"]["request"]["text"].as_str()).unwrap();
    assert!(request.contains("question 0"), "{request}");
    assert!(with.iter().all(|line| line["payload"]["matches_commitments"] != false));
    // A damaged file of payloads.
    let frames = files_below(&site.data).into_iter().filter(|path| path.ends_with("payload.frames"));
    for path in frames.filter(|path| path.to_string_lossy().contains("tenant=default")) {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let (dir, summary) = export(&site, "damaged", &["--payload", "--tenant", "default"]);
    let lines = values(&lines(&dir, "default"));
    assert_eq!(lines.len(), with.len(), "the entries are all there");
    let unreadable: Vec<&Value> = lines.iter().filter(|line| line["left_out"].is_string()).collect();
    assert!(!unreadable.is_empty());
    let counted: u64 = summary["left_out"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(counted, unreadable.len() as u64);
    let named = std::fs::read_to_string(dir.join("default-00001.left-out.jsonl")).unwrap();
    for (line, unreadable) in named.lines().zip(unreadable) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["event_id"], unreadable["entry"]["event_id"]);
    }
}

#[test]
fn an_export_is_on_record_with_who_what_and_how_many() {
    let (site, model) = site(12);
    let up = site.up(&model.url, &[]);
    let selection = ["--tenant", "default", "--user", "user-1@example.com", "--purpose", "ticket 4711"];
    export(&site, "through", &selection);
    drop(up);
    export(&site, "direct", &selection);
    let entries = site.entries_of("operations");
    let exports: Vec<&Value> = entries.iter().filter(|entry| entry["event_type"] == "export").collect();
    let facts: Vec<(&Value, &Value, &Value)> = exports
        .iter()
        .map(|entry| (&entry["actor"]["kind"], &entry["detail"]["phase"], &entry["detail"]["results"]))
        .collect();
    let expected = json!([
        ["operator", "begun", null],
        ["operator", "ended", 3],
        ["operator", "begun", null],
        ["operator", "ended", 3]
    ]);
    assert_eq!(json!(facts), expected);
    assert!(
        !json!(exports).to_string().contains("4711") && !json!(exports).to_string().contains("example.com")
    );
    // What was asked is in the payload.
    let shown = site.record(exports[0]["event_id"].as_str().unwrap());
    let asked = shown["payload"]["originals"]["asked"].as_str().unwrap();
    assert!(asked.contains("user-1@example.com") && asked.contains("ticket 4711"), "{asked}");
}

/// More rows than are read at once, in several segments and the log, from any place to any other.
#[test]
fn going_forward_from_anywhere_meets_each_entry_once() {
    const RECORDS: usize = 1500;
    let site = Site::new();
    let collector = Arc::new(Collector::start(Config::new(&site.data)).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let look = async |from: usize| {
        let mut looks = tokio::task::JoinSet::new();
        for n in from..from + RECORDS {
            let collector = collector.clone();
            looks.spawn(async move {
                let looked = collector.record_access("operator", "list", None, json!({}), n as u64).await;
                looked.unwrap();
            });
        }
        looks.join_all().await;
    };
    runtime.block_on(look(0));
    assert!(runtime.block_on(collector.seal()).unwrap() > 0);
    runtime.block_on(look(RECORDS));
    assert!(runtime.block_on(collector.seal()).unwrap() > 0);
    runtime.block_on(look(2 * RECORDS));
    wait_until("signatures", || {
        let sizes = collector.signed_sizes();
        sizes.iter().any(|(tenant, size)| tenant == "operations" && *size > 3 * RECORDS as u64)
    });
    let signed = collector.signed_sizes().into_iter().find(|(tenant, _)| tenant == "operations").unwrap().1;
    let mut exact = Vec::new();
    let visited = indelible_collector::entries::visit(&site.data, "operations", |bytes| {
        exact.push(text(bytes));
        true
    });
    visited.unwrap();
    for (from, end, event_type) in [
        (0, signed, None),
        (0, 10, None),
        (511, 513, None),
        (1499, 1600, None),
        (2047, signed, None),
        (3100, signed, None),
        (100, 4000, Some("segment_sealed")),
        (0, signed, Some("access")),
    ] {
        let query = Query {
            tenant: Some("operations".to_owned()),
            event_type: event_type.map(str::to_owned),
            ..Query::default()
        };
        let selection = Selection {
            query,
            content: Content::Entries,
            sizes: [("operations".to_owned(), end)].into(),
            from: Some(Cursor { tenant: "operations".to_owned(), seq: from }),
        };
        let mut found = Vec::new();
        let export = Export::new(&collector, selection).unwrap();
        let ran = export.run(&collector, &mut |line| {
            let entry = line.strip_prefix("{\"entry\":").and_then(|line| line.strip_suffix('}'));
            found.extend(entry.map(str::to_owned));
            ControlFlow::Continue(())
        });
        let (counts, whole) = ran.unwrap();
        let mark = event_type.map(|of| format!("\"event_type\":\"{of}\""));
        let wanted = |entry: &&String| mark.as_ref().is_none_or(|mark| entry.contains(mark));
        let expected: Vec<String> =
            exact[from as usize..end as usize].iter().filter(wanted).cloned().collect();
        assert!(found == expected, "{from}..{end} {event_type:?}: {} of {}", found.len(), expected.len());
        assert!(whole && counts.records == expected.len() as u64 && counts.records > 0);
    }
    collector.stop().unwrap();
}
