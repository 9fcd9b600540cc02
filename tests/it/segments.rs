//! Records that were sealed are the records that they were: found, shown, verified, and safe at every step on the way.

use crate::common::*;
use crate::images::Images;
use indelible_collector::seal::Faults;
use indelible_collector::{Collector, Config, Query};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Traffic of several sessions, and what `show` and `list` say of it.
pub(crate) fn traffic(site: &Site, count: usize) -> Vec<String> {
    traffic_with(site, count, |_| Vec::new())
}

/// The same, with more headers.
fn traffic_with(
    site: &Site,
    count: usize,
    more: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> Vec<String> {
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    let mut ids = Vec::new();
    for n in 0..count {
        let body = format!(
            r#"{{"model":"m-{}","user":"user-{}","messages":[{{"role":"user","content":"question {n} {}"}}]}}"#,
            n % 3,
            n % 4,
            "and so on ".repeat(n % 50)
        );
        let (request_id, session) = (format!("req-{n}"), format!("session-{}", n % 5));
        let more = more(n);
        let mut headers = vec![
            ("Content-Type", "application/json"),
            ("x-request-id", request_id.as_str()),
            ("x-session-id", session.as_str()),
        ];
        headers.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
        let got = request(up.listen, &message("POST", "/v1/chat/completions", &headers, body.as_bytes()));
        assert_eq!(got.status, 200);
        ids.push(got.event_id().to_owned());
    }
    for id in &ids {
        site.record(id);
    }
    assert_eq!(up.stop(), 0);
    ids
}

/// A record without what changes of itself.
pub(crate) fn shown(site: &Site, id: &str) -> Value {
    let mut records = site.json(&["show", id, "--json"]);
    records["records"][0]["level"] = Value::Null;
    records
}

#[test]
fn what_was_sealed_is_found_and_shown_as_before() {
    let site = Site::new();
    let ids = traffic_with(&site, 40, |n| {
        let trace = format!("00-{:032x}-{:016x}-01", n % 6 + 1, n + 1);
        vec![("authorization", format!("Bearer key-{}", n % 2)), ("traceparent", trace)]
    });
    let before: Vec<Value> = ids.iter().map(|id| shown(&site, id)).collect();
    let by_session = |site: &Site| site.json(&["list", "--session", "session-3", "--limit", "100", "--json"]);
    let by_user = |site: &Site| site.json(&["list", "--user", "user-2", "--limit", "100", "--json"]);
    let by_model = |site: &Site| site.json(&["list", "--model", "m-1", "--limit", "100", "--json"]);
    let trace = format!("{:032x}", 3);
    let by_trace = |site: &Site| site.json(&["list", "--trace", &trace, "--limit", "100", "--json"]);
    let key = before[0]["records"][0]["entry"]["api_key_id"].as_str().unwrap();
    let by_key = |site: &Site| site.json(&["list", "--api-key", key, "--limit", "100", "--json"]);
    site.run(&["show", "req-nobody"]);
    let by_resource = |site: &Site| site.json(&["list", "--resource", "record/req-nobody", "--json"]);
    let all = |site: &Site| {
        [by_session(site), by_user(site), by_model(site), by_trace(site), by_key(site), by_resource(site)]
    };
    let lists = all(&site);
    let counts = lists.each_ref().map(|list| list["records"].as_array().unwrap().len());
    assert_eq!(counts, [8, 10, 13, 7, 20, 1]);

    let made = site.json(&["seal", "--json"]);
    assert_eq!(made["segments"], 2, "one of each ledger");
    assert_eq!(
        std::fs::read_dir(site.data.join("wal")).unwrap().count(),
        1,
        "what was sealed has left the log"
    );
    for (id, before) in ids.iter().zip(&before) {
        assert_eq!(shown(&site, id), *before);
    }
    for (list, again) in lists.iter().zip(all(&site)) {
        assert_eq!(without_level(list), without_level(&again));
    }
    assert_eq!(site.raw(&ids[7], "request").len() as u64, before[7]["records"][0]["entry"]["input"]["bytes"]);
    // Numbers of the ledger go on without a hole, and so does a second segment.
    let more = traffic(&site, 5);
    site.json(&["seal", "--json"]);
    let entries = site.entries();
    assert!(entries.iter().enumerate().all(|(n, entry)| entry["seq"] == n));
    shown(&site, &more[4]);
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
}

/// What waits is not planned all at once: a full segment is made before the next one is looked for.
#[test]
fn what_is_more_than_a_segment_takes_becomes_several() {
    let site = Site::new();
    let ids = traffic(&site, 20);
    let mut config = Config::new(&site.data);
    config.sealing.max_rows = 6;
    let collector = Collector::start(config).unwrap();
    let made =
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(collector.seal()).unwrap();
    let entries = site.data.join("segments/tenant=default");
    collector.stop().unwrap();
    let segments = files_below(&entries).into_iter().filter(|path| path.ends_with("segment.json"));
    let counts: Vec<u64> = segments
        .map(|path| {
            serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["count"].as_u64().unwrap()
        })
        .collect();
    // Twenty-one entries, and what the operations ledger has.
    assert_eq!(counts.iter().sum::<u64>(), 21);
    assert!(counts.len() == 4 && counts.iter().all(|count| *count <= 6) && made > 4, "{counts:?}, {made}");
    assert_eq!(
        std::fs::read_dir(site.data.join("wal")).unwrap().count(),
        1,
        "what was sealed has left the log"
    );
    shown(&site, &ids[13]);
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
}

pub(crate) fn without_level(list: &Value) -> Value {
    let mut list = list.clone();
    for record in list["records"].as_array_mut().unwrap() {
        record["level"] = Value::Null;
    }
    list
}

/// Each step of one run: whether a segment is being made, and how many have no entry on the disk. What is entered
/// is in memory until it is signed.
const STEPS: [(&str, bool, usize); 16] = [
    ("before reading", false, 0),
    // The default ledger…
    ("after the payloads", true, 0),
    ("after the entries", true, 0),
    ("after the manifest", true, 0),
    ("after a segment", false, 1),
    // …and the operations ledger.
    ("after the payloads", true, 1),
    ("after the entries", true, 1),
    ("after the manifest", true, 1),
    ("after a segment", false, 2),
    ("before the manifests are entered", false, 2),
    ("after the manifests are entered", false, 2),
    ("after the manifests are signed", false, 0),
    ("after open requests are copied", false, 0),
    ("after a file is removed", false, 0),
    ("after a file is removed", false, 0),
    ("after the files are removed", false, 0),
];

/// What `verify` says of an image before anybody starts on it, in its order.
fn left_behind(staged: bool, without_entry: usize) -> Vec<&'static str> {
    let mut said = vec!["stopped while sealing; start the collector again"; usize::from(staged)];
    said.push("the file was not closed: the collector was killed; start it again");
    let unknown = "the ledger does not have this segment's manifest yet; start the collector again";
    said.resize(said.len() + without_entry, unknown);
    said
}

fn said<'a>(report: &'a Value, name: &str) -> Vec<&'a str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding[name].as_str().unwrap()).collect()
}

fn log_files(site: &Site) -> Vec<String> {
    let names = std::fs::read_dir(site.data.join("wal")).unwrap();
    let mut names: Vec<_> = names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn full_at(failing: &'static str, full: &Arc<AtomicBool>) -> Faults {
    let full = full.clone();
    Faults::at(move |step| match step == failing && full.load(Ordering::Relaxed) {
        true => Err(ErrorKind::StorageFull.into()),
        false => Ok(()),
    })
}

fn assert_whole(collector: &Collector, ids: &[String], step: &str) {
    for id in ids {
        let query = Query { id: Some(id.clone()), ..Query::default() };
        let found = collector.list(&query, 10).unwrap();
        assert_eq!(found.len(), 1, "{step}: {id}");
        let payload = collector.payload(&found[0]).unwrap();
        assert_eq!(payload.matches(&found[0].entry), Some(true), "{step}: {id}");
    }
}

/// The order of sealing is a contract: whatever step the process dies at, what is there is told from damage, every
/// record is found afterwards, the ledger verifies, and sealing goes on. Images of the disk are taken at each step
/// of one run.
#[test]
fn a_crash_at_any_step_of_sealing_loses_nothing() {
    let site = Site::new();
    let ids = traffic(&site, 30);
    let images = Images::of(&site);
    let mut config = Config::new(&site.data);
    config.faults = images.faults();
    // Once, and when it is asked for.
    config.seals_by_itself = false;
    let collector = Collector::start(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let in_log = collector.list(&Query { id: Some(ids[3].clone()), ..Query::default() }, 1).unwrap();
    runtime.block_on(collector.seal()).unwrap();
    // What was found in the log before has its payload still, when that file of the log is gone.
    let payload = collector.payload(&in_log[0]).unwrap();
    assert_eq!(payload.matches(&in_log[0].entry), Some(true));
    collector.stop().unwrap();
    let images = images.taken();
    let steps: Vec<&str> = images.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, STEPS.map(|(step, _, _)| step));
    let in_between = steps.iter().position(|step| *step == "after a file is removed").unwrap();
    assert_eq!(log_files(&images[in_between].1), ["00000002.wal", "00000003.wal"], "the oldest goes first");
    for ((step, here), (_, staged, without_entry)) in images.iter().zip(STEPS) {
        let expected = left_behind(staged, without_entry);
        let (code, report) = here.verify();
        assert_eq!((code, said(&report, "what")), (2, expected.clone()), "{step}: {report:#}");
        assert!(said(&report, "verdict").iter().all(|verdict| *verdict == "could not tell"), "{step}");
        let output = here.run(&["doctor", "--json"]);
        assert_eq!(output.status.code(), Some(2), "{step}: {}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said(&report, "what"), expected, "{step}");
        let remedy = "start the collector again: it finishes what was begun";
        assert!(said(&report, "remedy").iter().all(|said| *said == remedy), "{step}: {report:#}");

        let collector =
            Collector::start(Config::new(&here.data)).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_whole(&collector, &ids, step);
        runtime.block_on(collector.seal()).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_whole(&collector, &ids, step);
        collector.stop().unwrap();
        let (code, report) = here.verify();
        assert_eq!(code, 0, "{step}: {report:#}");
        let entries = here.entries();
        assert!(entries.iter().enumerate().all(|(n, entry)| entry["seq"] == n), "{step}");
    }
}

/// The same when the machine goes with the process, and takes along what was not synced.
#[test]
fn a_power_cut_at_any_step_of_sealing_loses_nothing() {
    let site = Site::new();
    let ids = traffic(&site, 30);
    let images = Images::of_power_cuts(&site);
    let mut config = Config::new(&site.data);
    config.faults = images.faults();
    config.seals_by_itself = false;
    let collector = Collector::start(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(collector.seal()).unwrap();
    images.take("sealed");
    collector.stop().unwrap();
    let images = images.taken();
    assert_eq!(images.len(), STEPS.len() + 1);
    let sealed = &images[STEPS.len()].1;
    assert!(
        !files_below(&sealed.data.join("segments/tenant=default")).is_empty(),
        "what was synced is there"
    );
    assert!(!log_files(sealed).contains(&"00000001.wal".to_owned()), "and what was removed is not");
    for (step, here) in images {
        let collector =
            Collector::start(Config::new(&here.data)).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_whole(&collector, &ids, step);
        runtime.block_on(collector.seal()).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_whole(&collector, &ids, step);
        collector.stop().unwrap();
        let (code, report) = here.verify();
        assert_eq!(code, 0, "{step}: {report:#}");
    }
}

/// No room, or another failure of the disk, while a segment is made: the log keeps everything, and the next try
/// makes the segment.
#[test]
fn a_disk_that_fails_while_sealing_costs_nothing() {
    let site = Site::new();
    let ids = traffic(&site, 12);
    let steps = [
        "before reading",
        "after the payloads",
        "after the entries",
        "after the manifest",
        "after a segment",
    ];
    for failing in steps {
        let mut config = Config::new(&site.data);
        config.faults = full_at(failing, &Arc::new(AtomicBool::new(true)));
        let collector = Collector::start(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // What was sealed by the last of these stays sealed.
        let outcome = runtime.block_on(collector.seal());
        assert!(outcome.is_err() || failing == "after a segment", "{failing}");
        assert_whole(&collector, &ids, failing);
        let left = std::fs::read_dir(site.data.join("segments/staging")).map_or(0, |names| names.count());
        assert_eq!(left, 0, "{failing}: what was begun takes room that is missing");
        collector.stop().unwrap();
        assert_eq!(site.verify().0, 0, "{failing}: {:#}", site.verify().1);
    }
    site.json(&["seal", "--json"]);
    assert_eq!(site.verify().0, 0);
    ids.iter().for_each(|id| drop(shown(&site, id)));
}

/// The same once the segments are there: what is left to do with them is done by the next try, whether or not there is
/// more to seal by then, and meanwhile records are taken.
#[test]
fn a_disk_that_fails_behind_the_segments_costs_nothing() {
    let site = Site::new();
    let ids = traffic(&site, 12);
    let images = Images::of(&site);
    for failing in [
        "before the manifests are entered",
        "after the manifests are entered",
        "after the manifests are signed",
        "after open requests are copied",
        "after a file is removed",
        "after the files are removed",
    ] {
        // Without more to seal, and with.
        images.take(failing);
        images.take(failing);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (n, (failing, here)) in images.taken().into_iter().enumerate() {
        let full = Arc::new(AtomicBool::new(true));
        let mut config = Config::new(&here.data);
        config.faults = full_at(failing, &full);
        config.seals_by_itself = false;
        let collector = Collector::start(config).unwrap();
        let refused = runtime.block_on(collector.seal()).expect_err(failing).to_string();
        assert!(refused.contains("no room") && refused.contains(failing), "{failing}: {refused}");
        assert_whole(&collector, &ids, failing);
        if n % 2 == 1 {
            let looked = collector.record_access("operator", "list", None, Value::Null, 0);
            runtime.block_on(looked).unwrap_or_else(|error| panic!("{failing}: {error}"));
        }
        full.store(false, Ordering::Relaxed);
        runtime.block_on(collector.seal()).unwrap_or_else(|error| panic!("{failing}: {error}"));
        assert_eq!(collector.failure(), None, "{failing}");
        assert_whole(&collector, &ids, failing);
        assert_eq!(log_files(&here).len(), 1, "{failing}: what was sealed has left the log");
        collector.stop().unwrap();
        let (code, report) = here.verify();
        assert_eq!(code, 0, "{failing}: {report:#}");
        let entries = here.entries_of("operations");
        let entered = entries.iter().filter(|entry| entry["event_type"] == "segment_sealed");
        let entered: Vec<_> = entered.map(|entry| entry["resource"]["id"].as_str().unwrap()).collect();
        let made = files_below(&here.data.join("segments"));
        let made = made.iter().filter(|path| path.ends_with("segment.json")).count();
        assert_eq!(entered.iter().collect::<BTreeSet<_>>().len(), entered.len(), "{failing}: entered twice");
        assert_eq!(entered.len(), made, "{failing}");
        let looks = entries.iter().filter(|entry| entry["action"] == "list").count();
        assert_eq!(looks, n % 2, "{failing}: what was recorded meanwhile");
    }
}

/// What a start found no room to finish is finished without being asked for, once.
#[test]
fn sealing_that_a_start_could_not_finish_is_finished_later() {
    let site = Site::new();
    let ids = traffic(&site, 5);
    let images = Images::of(&site);
    let mut config = Config::new(&site.data);
    config.faults = images.faults();
    let collector = Collector::start(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(collector.seal()).unwrap();
    collector.stop().unwrap();
    let before = |(step, _): &(&str, Site)| *step == "before the manifests are entered";
    let (_, here) = images.taken().into_iter().find(before).unwrap();

    let (tries, signed) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let tried = tries.clone();
    let mut config = Config::new(&here.data);
    config.faults = Faults::at(move |step| match step {
        "before the manifests are entered" => {
            tried.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        "after the manifests are signed" if signed.fetch_add(1, Ordering::Relaxed) == 0 => {
            Err(ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    });
    let collector = Collector::start(config).unwrap();
    wait_until("the log to go", || log_files(&here).len() == 1);
    // Several looks at whether something is due.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(tries.load(Ordering::Relaxed), 1, "nothing was left to do");
    assert_whole(&collector, &ids, "later");
    collector.stop().unwrap();
    assert_eq!(here.verify().0, 0, "{:#}", here.verify().1);
}

/// A request that is open while the log is sealed keeps its frames: they are copied forward, and its record is whole.
#[test]
fn a_request_that_is_open_while_the_log_is_sealed_is_recorded_whole() {
    let site = Site::new();
    let (said, hear) = std::sync::mpsc::sync_channel::<()>(0);
    let hear = Arc::new(Mutex::new(hear));
    let upstream = RawServer::start(move |stream| {
        use std::io::Write as _;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(b"data: {\"one\":1}\n\n");
        let _ = hear.lock().unwrap().recv();
        let _ = stream.write_all(b"data: [DONE]\n\n");
    });
    let mut up = site.up(&upstream.url, &[]);
    let listen = up.listen;
    let client = std::thread::spawn(move || {
        let json = [("Content-Type", "application/json")];
        request(listen, &message("POST", "/v1/chat/completions", &json, br#"{"model":"m","stream":true}"#))
    });
    wait_until("the request to be at the model server", || upstream.requests().len() == 1);
    // The collector has its frames; each seal then finds them in a file that is to go.
    up.wait_shipped();
    for _ in 0..3 {
        site.json(&["seal", "--json"]);
    }
    let files: Vec<_> =
        std::fs::read_dir(site.data.join("wal")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!files.iter().any(|name| name == "00000001.wal"), "the first file has gone: {files:?}");
    said.send(()).unwrap();
    let got = client.join().unwrap();
    let record = site.record(got.event_id());
    assert_eq!(record["entry"]["status"], "completed");
    assert_eq!(record["payload"]["matches_commitments"], true);
    assert_eq!(text(&site.raw(got.event_id(), "response")), "data: {\"one\":1}\n\ndata: [DONE]\n\n");
    assert_eq!(up.stop(), 0);
    site.json(&["seal", "--json"]);
    assert_eq!(text(&site.raw(got.event_id(), "response")), "data: {\"one\":1}\n\ndata: [DONE]\n\n");
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
}

/// `doctor` says which file it is, and what to do.
fn named_by_doctor(site: &Site, name: &str) {
    let output = site.run(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_named = |finding: &&Value| finding["file"].as_str().unwrap().ends_with(name);
    let finding = report["findings"].as_array().unwrap().iter().find(is_named);
    let finding = finding.unwrap_or_else(|| panic!("{name} is not named: {report:#}"));
    let expected = if name == "ids.idx" { "--repair" } else { "from a copy" };
    assert!(finding["remedy"].as_str().unwrap().contains(expected), "{name}: {report:#}");
}

/// Damage to any file of a segment is named; an index that is gone or wrong hides nothing, and is made again.
#[test]
fn a_damaged_or_missing_file_of_a_segment_is_named() {
    let site = Site::new();
    let ids = traffic(&site, 10);
    site.json(&["seal", "--json"]);
    let day = std::fs::read_dir(site.data.join("segments/tenant=default")).unwrap().next().unwrap().unwrap();
    let segment = day.path().join("0000000000000000");
    for name in ["entries.parquet", "payload.frames", "ids.idx", "segment.json"] {
        let path = segment.join(name);
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 9, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            std::fs::write(&path, bytes).unwrap();
            let (code, report) = site.verify();
            assert_eq!(code, 1, "{name}, byte {at}: {report:#}");
            assert!(report.to_string().contains(name), "{name}, byte {at}: {report:#}");
            named_by_doctor(&site, name);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(site.verify().0, 1, "{name} is missing: {:#}", site.verify().1);
        named_by_doctor(&site, name);
        match name {
            "segment.json" => assert_eq!(site.run(&["show", &ids[3]]).status.code(), Some(4)),
            "entries.parquet" => {
                let output = site.run(&["show", &ids[3]]);
                assert!(!output.status.success() && text(&output.stderr).contains("tenant=default"));
            }
            "payload.frames" => {
                let record = site.json(&["show", &ids[3], "--json"])["records"][0].clone();
                assert!(
                    record["payload"]["unreadable"].as_str().unwrap().contains("payload.frames"),
                    "{record:#}"
                );
            }
            _ => drop(shown(&site, &ids[3])),
        }
        std::fs::write(&path, whole).unwrap();
        assert_eq!(site.verify().0, 0);
    }
    std::fs::write(segment.join("ids.idx"), b"nothing").unwrap();
    shown(&site, &ids[3]);
    let output = site.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("ids.idx"));
    assert_eq!(site.run(&["doctor", "--repair"]).status.code(), Some(0));
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
    // A whole segment that is gone is not passed over in silence.
    std::fs::remove_dir_all(&segment).unwrap();
    assert_eq!(site.verify().0, 1);
    assert_eq!(site.run(&["show", &ids[3]]).status.code(), Some(4));
}

/// Payloads are encrypted apart: a byte that changed takes those with it that share its frame, and no others.
#[test]
fn a_damaged_payload_is_named_and_those_beside_it_are_read() {
    let site = Site::new();
    let ids = traffic(&site, 10);
    site.json(&["seal", "--json"]);
    let whole: Vec<Value> = ids.iter().map(|id| shown(&site, id)).collect();
    let frames = files_below(&site.data.join("segments/tenant=default"))
        .into_iter()
        .find(|path| path.ends_with("payload.frames"))
        .unwrap();
    let mut bytes = std::fs::read(&frames).unwrap();
    // Of the first frame, behind its length.
    bytes[60] ^= 1;
    std::fs::write(&frames, bytes).unwrap();
    let damaged: Vec<Value> = ids.iter().map(|id| shown(&site, id)).collect();
    let changed: Vec<&Value> = whole
        .iter()
        .zip(&damaged)
        .filter(|(before, after)| before != after)
        .map(|(_, after)| after)
        .collect();
    assert!(!changed.is_empty() && changed.len() < ids.len(), "{} of {}", changed.len(), ids.len());
    for records in changed {
        let why = records["records"][0]["payload"]["unreadable"].as_str().unwrap();
        assert!(
            why.contains("payload.frames: the ") && why.contains("not the ones that were written"),
            "{why}"
        );
    }
}
