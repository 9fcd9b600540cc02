//! What no single client and no lost file may do: stop the collector, or replace a ledger's key.

use crate::common::{ModelServer, Site, files_below, request, text};
use crate::segments::traffic;
use serde_json::Value;

/// As one frame a chunk, the places of these would not fit into any frame.
const CHUNKS: usize = 300_000;

#[test]
fn an_upload_in_very_many_very_small_chunks_is_recorded_and_stops_nobody() {
    let (site, model) = (Site::new(), ModelServer::start());
    let mut up = site.up(&model.url, &[]);
    // Larger than what is read whole, so that the rest flows.
    let beginning = vec![b'x'; 600 << 10];
    let mut bytes = format!(
        "POST /v1/files HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        beginning.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&beginning);
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&b"1\r\ny\r\n".repeat(CHUNKS));
    bytes.extend_from_slice(b"0\r\n\r\n");
    let answer = request(up.listen, &bytes);
    assert_eq!(answer.status, 404, "the stand-in does not know this path");
    let record = site.record(answer.event_id());
    assert_eq!(record["entry"]["input"]["bytes"], (beginning.len() + CHUNKS) as u64);
    assert_eq!(site.raw(answer.event_id(), "request"), [&beginning[..], &b"y".repeat(CHUNKS)].concat());
    assert_eq!(up.stop(), 0, "{}", up.log());
    assert_eq!(site.verify().0, 0);
}

#[test]
fn a_missing_signing_key_is_refused_and_never_replaced() {
    let (site, model) = (Site::new(), ModelServer::start());
    assert_eq!(site.up(&model.url, &[]).stop(), 0);
    let (seed, public) = (site.keys.join("ledgers/default.seed"), site.keys.join("ledgers/default.vkey"));
    let (kept, key) = (std::fs::read(&seed).unwrap(), std::fs::read(&public).unwrap());
    std::fs::remove_file(&seed).unwrap();
    let refused = site.run(&["list"]);
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("signing key of ledger default"), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read(&public).unwrap(), key, "the public key is still the ledger's");
    std::fs::write(&seed, vec![7; 32]).unwrap();
    assert_eq!(site.run(&["list"]).status.code(), Some(4), "another key is not taken either");
    std::fs::write(&seed, kept).unwrap();
    assert!(site.run(&["list"]).status.success());
    assert_eq!(site.verify().0, 0);
}

#[test]
fn a_request_that_is_all_headers_is_recorded_and_keeps_nobody_waiting() {
    let (site, model) = (Site::new(), ModelServer::start());
    let mut up = site.up(&model.url, &[]);
    let mut bytes =
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
            .to_vec();
    for _ in 0..63 {
        bytes.extend_from_slice(b"via: ");
        bytes.extend_from_slice(&[0xff; 4000]);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"content-type: ");
    bytes.extend_from_slice(&b"\\".repeat(100_000));
    bytes.extend_from_slice(b"\r\n\r\n{}");
    let answer = request(up.listen, &bytes);
    let record = site.record(answer.event_id());
    assert_eq!(record["payload"]["request"]["headers"][0][0], "(headers left out)", "{record:#}");
    assert_eq!(site.raw(answer.event_id(), "request"), b"{}");
    assert_eq!(up.stop(), 0, "{}", up.log());
    assert_eq!(site.verify().0, 0);
}

#[test]
fn a_missing_vault_is_refused_and_never_replaced() {
    let (site, model) = (Site::new(), ModelServer::start());
    assert_eq!(site.up(&model.url, &[]).stop(), 0);
    let vault = site.keys.join("vault.slots");
    let kept = std::fs::read(&vault).unwrap();
    std::fs::remove_file(&vault).unwrap();
    let refused = site.run(&["list"]);
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
    assert!(!vault.exists());
    std::fs::write(&vault, kept).unwrap();
    assert!(site.run(&["list"]).status.success());
}

/// What a start would refuse, or fail on with the first record, is named before it, and nothing is made in its place.
#[test]
fn doctor_names_what_of_the_keys_stands_in_the_way_of_a_start() {
    let site = Site::new();
    traffic(&site, 2);
    let doctor = || site.run(&["doctor", "--json"]);
    let other = [7u8; 32];
    let foreign = Some(&other[..]);
    let damaged = [1u8; 128];
    assert_eq!(doctor().status.code(), Some(0), "{}", text(&doctor().stdout));
    for (name, changed, expected) in [
        ("head", None, "the head is missing"),
        ("head", Some(&damaged[..]), "not a head"),
        ("ledgers/default.seed", None, "signing key of ledger default cannot be read"),
        ("ledgers/default.seed", foreign, "does not belong to its public key"),
        ("ledgers/operations.seed", None, "signing key of ledger operations cannot be read"),
        ("ledgers/default.vkey", None, "its key is missing"),
        ("ledgers/default.vkey", Some(&damaged[..]), "key"),
        ("vault.slots", None, "the vault is missing"),
        ("vault.slots", Some(&damaged[..]), "is damaged"),
        ("master.key", None, "is missing"),
        ("master.key", foreign, "is not the key"),
    ] {
        let path = site.keys.join(name);
        let kept = std::fs::read(&path).unwrap();
        match changed {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let files = files_below(&site.keys);
        let output = doctor();
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_named = |finding: &&Value| {
            finding["file"].as_str().unwrap().ends_with(name)
                && finding["what"].as_str().unwrap().contains(expected)
        };
        let finding = report["findings"].as_array().unwrap().iter().find(is_named);
        let finding = finding.unwrap_or_else(|| panic!("{name} is not named: {report:#}"));
        let remedy = finding["remedy"].as_str().unwrap();
        assert!(remedy.contains("copy of the key directory"), "{name}: {remedy}");
        let shown = text(&site.run(&["doctor"]).stdout);
        assert!(shown.contains(name) && shown.contains(remedy), "{name}: {shown}");
        assert!(!shown.contains("nothing is wrong"), "{name}: {shown}");
        assert_eq!(files_below(&site.keys), files, "{name}: nothing is made");
        std::fs::write(&path, kept).unwrap();
    }
    let keys = site.dir.path().join("elsewhere");
    indelible_os::durable::publish_dir(&site.keys, &keys).unwrap();
    let output = doctor();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("data.keys\""), "{}", text(&output.stdout));
    assert!(!site.keys.exists());
    indelible_os::durable::publish_dir(&keys, &site.keys).unwrap();
    assert_eq!(doctor().status.code(), Some(0), "{}", text(&doctor().stdout));
    assert!(site.run(&["list"]).status.success());
}
