//! What no single client and no lost file may do: stop the collector, or replace a ledger's key.

use crate::common::{ModelServer, Site, request, text};

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
