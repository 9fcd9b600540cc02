//! What passes the gateway passes unchanged, frame by frame, and the record is exactly that.
//!
//! Each test is named after what a recording proxy gets wrong: bytes that differ from the wire (invariant 3),
//! streams held back, ends that leave no record (invariant 4), people, keys and prompts on a disk in the
//! clear (invariants 8 and 12), looks that nobody can see afterwards (invariant 11).

mod connections;
mod ends;
mod hangup;
mod http2;
mod identity;
mod large;
mod looks;
mod shutdown;
mod streams;
mod usage;
mod websocket;

use crate::common::*;
use crate::kill::TwoMachines;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

const CHAT: &str = "/v1/chat/completions";
const MODEL: &str = "llama-3-8b-instruct";

fn chat(prompt: &str, stream: bool) -> Vec<u8> {
    let body =
        json!({ "model": MODEL, "stream": stream, "messages": [{ "role": "user", "content": prompt }] });
    body.to_string().into_bytes()
}

/// The one record of a request, by the request id that the client gave it.
fn only(site: &Site, request_id: &str) -> Value {
    let mut records = site.shown(request_id);
    assert_eq!(records.len(), 1, "{request_id} has one record");
    records.remove(0)
}

fn assert_faithful(record: &Value) {
    assert_eq!(record["payload"]["matches_commitments"], true, "{:#}", record["entry"]);
}

#[test]
fn recorded_bytes_are_those_of_the_wire() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let json = [("Content-Type", "application/json")];
    let binary: Vec<u8> = (0..=255u8).cycle().take(5000).collect();
    let missing = br#"{"model":"missing-model","messages":[]}"#;
    let plain = chat("What is your refund policy?", false);
    let stream = chat("What is your refund policy?", true);
    let cases: [(&str, Vec<u8>, &[u8], &str, u16); 9] = [
        ("plain", message("POST", CHAT, &json, &plain), &plain, "llm_request", 200),
        ("chunked request", chunked_message(CHAT, &json, &plain, 7), &plain, "llm_request", 200),
        ("chunked stream", message("POST", CHAT, &json, &stream), &stream, "llm_request", 200),
        ("error body", message("POST", CHAT, &json, missing), missing, "llm_request", 404),
        ("not JSON", message("POST", CHAT, &json, b"{\"mod"), b"{\"mod", "llm_request", 400),
        ("binary, unknown path", message("POST", "/x/y?z=%00", &[], &binary), &binary, "request", 404),
        ("empty body", message("GET", "/v1/models", &[], b""), b"", "request", 200),
        ("empty answer", message("GET", "/health?deep=1", &[], b""), b"", "request", 200),
        ("HEAD", message("HEAD", "/v1/models", &[], b""), b"", "request", 405),
    ];
    for (name, bytes, body, event_type, status) in cases {
        let direct = request(address_of(&model.url), &bytes);
        let answer = request(up.listen, &bytes);
        assert_eq!((answer.status, direct.status), (status, status), "{name}");
        assert_eq!(answer.body, direct.body, "{name}: the client has the model server's bytes");
        let record = site.record(answer.event_id());
        assert_eq!(record["entry"]["event_type"], event_type, "{name}");
        assert_eq!(record["entry"]["http_status"], status, "{name}");
        assert_eq!(record["entry"]["input"]["bytes"], body.len(), "{name}");
        assert_eq!(record["entry"]["output"]["bytes"], answer.body.len(), "{name}");
        assert_faithful(&record);
        assert_eq!(site.raw(answer.event_id(), "request"), body, "{name}");
        assert_eq!(site.raw(answer.event_id(), "response"), answer.body, "{name}");
    }
}

#[test]
fn a_body_too_large_to_hold_is_recorded_as_it_flows() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let body = chat(&"A long document. ".repeat(180_000), false);
    assert!(body.len() > 3_000_000);
    let json = [("Content-Type", "application/json"), ("X-Standin", "bytes=700000")];
    for bytes in [message("POST", CHAT, &json, &body), chunked_message(CHAT, &json, &body, 100_000)] {
        let answer = request(up.listen, &bytes);
        assert_eq!(answer.status, 200, "{}", text(&answer.body));
        assert!(answer.body.len() > 700_000 && !answer.broke_off);
        let record = site.record(answer.event_id());
        assert_faithful(&record);
        assert_eq!(record["entry"]["input"]["bytes"], body.len());
        assert!(record["entry"]["input"]["partial"].is_null(), "{}", record["entry"]);
        assert_eq!(record["entry"]["input"]["content_type"], "application/json");
        assert!(site.raw(answer.event_id(), "request") == body, "every byte of the request");
        assert!(site.raw(answer.event_id(), "response") == answer.body, "every byte of the response");
    }
    let seen = model.log.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body_sha256, seen[1].body_sha256, "the model server had the same bytes both times");
}

#[test]
fn compressed_and_trailed_answers_are_kept_as_they_came() {
    let body: Vec<u8> = (0..=255u8).rev().cycle().take(3000).collect();
    let mut answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Encoding: gzip\r\n\
        Trailer: X-Digest\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            .to_vec();
    for chunk in body.chunks(999) {
        answer.extend_from_slice(format!("{:X};ext=1\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\nX-Digest: abc\r\n\r\n");
    let upstream = RawServer::answering(answer);
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let got =
        request(up.listen, &message("POST", "/v1/audio/speech", &[("TE", "trailers")], b"\xff\xfe\x00"));
    assert!(got.body == body, "no coding is undone on the way");
    assert_eq!(got.header("content-encoding"), Some("gzip"));
    let record = site.record(got.event_id());
    assert_eq!(record["entry"]["status"], "completed");
    assert_faithful(&record);
    assert!(site.raw(got.event_id(), "response") == body);
    assert_eq!(site.raw(got.event_id(), "request"), b"\xff\xfe\x00");
}

#[test]
fn requests_of_one_connection_are_recorded_each() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let keep = |body: &[u8]| {
        let text = text(&message("POST", CHAT, &[("Content-Type", "application/json")], body));
        text.replace("Connection: close\r\n", "").into_bytes()
    };
    let (first, second) = (chat("first", false), chat("second", false));
    let mut stream = send(up.listen, &[keep(&first), keep(&second)].concat());
    let got = read_until(&mut stream, b"x-indelible-event-id");
    drop(read_until_count(&mut stream, got, b"\"finish_reason\"", 2));
    drop(stream);
    up.wait_shipped();
    let bodies: Vec<Vec<u8>> = requests_in(&site)
        .iter()
        .map(|entry| site.raw(entry["event_id"].as_str().unwrap(), "request"))
        .collect();
    assert_eq!(bodies, [first, second]);
}

fn read_until_count(stream: &mut TcpStream, mut got: Vec<u8>, needle: &[u8], count: usize) -> Vec<u8> {
    let mut buffer = [0; 4096];
    while got.windows(needle.len()).filter(|window| *window == needle).count() < count {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "ended early: {}", text(&got));
        got.extend_from_slice(&buffer[..read]);
    }
    got
}

fn requests_in(site: &Site) -> Vec<Value> {
    site.entries().into_iter().filter(|entry| entry["status"].is_string()).collect()
}

#[test]
fn a_stream_is_not_held_back_until_the_upstream_has_finished() {
    // The upstream sends each frame only after the client has the one before.
    let (release, released) = mpsc::sync_channel::<()>(0);
    let released = Mutex::new(released);
    let upstream = RawServer::start(move |stream| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        for frame in 0..5 {
            released.lock().unwrap().recv().unwrap();
            let data = format!("data: {{\"n\":{frame}}}\n\n");
            write!(stream, "{:x}\r\n{data}\r\n", data.len()).unwrap();
        }
        released.lock().unwrap().recv().unwrap();
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let mut client = send(up.listen, &message("POST", CHAT, &[], &chat("count", true)));
    let head = read_until(&mut client, b"\r\n\r\n");
    assert!(text(&head).contains("x-indelible-event-id"), "the head comes before the first frame");
    for frame in 0..5 {
        release.send(()).unwrap();
        let got = read_until(&mut client, format!("{{\"n\":{frame}}}\n\n").as_bytes());
        assert!(!text(&got).contains(&format!("\"n\":{}", frame + 1)));
    }
    release.send(()).unwrap();
    read_until(&mut client, b"0\r\n\r\n");
}

#[test]
fn only_our_own_header_is_added_to_an_answer() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    for (method, path, body) in [
        ("POST", CHAT, chat("hello", false)),
        ("POST", CHAT, chat("hello", true)),
        ("GET", "/v1/models", vec![]),
    ] {
        let bytes = message(method, path, &[("Content-Type", "application/json")], &body);
        let without_date = |answer: &Answer| {
            let mut headers: Vec<_> =
                answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
            headers.sort();
            headers
        };
        let direct = without_date(&request(address_of(&model.url), &bytes));
        let (ours, passed): (Vec<_>, Vec<_>) = without_date(&request(up.listen, &bytes))
            .into_iter()
            .partition(|(name, _)| name.starts_with("x-indelible-"));
        assert_eq!(passed, direct, "{method} {path}");
        assert_eq!(ours.len(), 1, "{ours:?}");
    }
}

#[test]
fn headers_of_one_connection_stay_on_it() {
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, X-Secret-Hop\r\nX-Secret-Hop: 1\r\n\
        Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Other: kept\r\n\r\n{}";
    let upstream = RawServer::answering(answer.to_vec());
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let headers = [
        ("Connection", "X-Hop, keep-alive"),
        ("X-Hop", "dropped"),
        ("Keep-Alive", "timeout=9"),
        ("Proxy-Authorization", "Basic eHg="),
        ("Proxy-Connection", "close"),
        ("Authorization", "Bearer sk-test-forwarded"),
        ("X-Custom", "kept"),
        ("Accept-Encoding", "br"),
    ];
    let got = request(up.listen, &message("POST", "/v1/any?q=1", &headers, b"{}"));
    let sent = text(&upstream.requests()[0]).to_ascii_lowercase();
    assert!(sent.starts_with("post /v1/any?q=1 http/1.1\r\n"), "{sent}");
    for kept in ["authorization: bearer sk-test-forwarded", "x-custom: kept", "accept-encoding: br"] {
        assert!(sent.contains(kept), "{kept} is forwarded: {sent}");
    }
    for dropped in ["x-hop", "keep-alive", "proxy-", "x-indelible"] {
        assert!(!sent.contains(dropped), "{dropped} is not forwarded: {sent}");
    }
    assert!(sent.contains(&format!("host: {}", upstream.url.trim_start_matches("http://"))), "{sent}");
    assert_eq!(got.header("x-other"), Some("kept"));
    for dropped in ["x-secret-hop", "keep-alive", "proxy-authenticate"] {
        assert_eq!(got.header(dropped), None, "{dropped} is not passed on");
    }
}

#[test]
fn a_client_that_hangs_up_before_the_head_is_recorded_as_cancelled() {
    let (seen, noticed) = mpsc::sync_channel::<bool>(1);
    let upstream = RawServer::start(move |stream| {
        // Says nothing, and waits to be left alone: the model must not go on for nobody.
        let left = matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_));
        let _ = seen.send(left);
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let client = send(up.listen, &message("POST", CHAT, &[("X-Request-Id", "req-early")], &chat("x", true)));
    wait_until("the upstream to be called", || !upstream.requests().is_empty());
    drop(client);
    assert!(noticed.recv().unwrap(), "the model server is told by its connection being closed");
    let record = only(&site, "req-early");
    assert_eq!(record["entry"]["status"], "cancelled", "{record:#}");
    assert_eq!(record["entry"]["error_type"], "client_gone");
    assert!(record["entry"]["http_status"].is_null());
    assert_faithful(&record);
}

#[test]
fn a_client_that_hangs_up_while_sending_is_recorded_as_cancelled() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let body = chat(&"long ".repeat(300_000), false);
    for (id, sent) in [("req-upload-small", 1000), ("req-upload-large", 900_000)] {
        let bytes = message("POST", CHAT, &[("X-Request-Id", id)], &body);
        let head = bytes.len() - body.len();
        let client = send(up.listen, &bytes[..head + sent]);
        client.shutdown(Shutdown::Both).unwrap();
        drop(client);
        let record = only(&site, id);
        assert_eq!(record["entry"]["status"], "cancelled", "{record:#}");
        assert_eq!(record["entry"]["input"]["partial"], true, "{record:#}");
        assert_faithful(&record);
        let kept = site.raw(id, "request");
        assert!(body.starts_with(&kept), "{id}: what came is a beginning of what was meant");
    }
    assert_eq!(model.log.count(), 0, "no request came whole");
}

#[test]
fn a_client_that_hangs_up_in_mid_stream_is_recorded_with_what_it_got() {
    let (seen, noticed) = mpsc::sync_channel::<bool>(1);
    let upstream = RawServer::start(move |stream| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        stream.write_all(b"f\r\ndata: {\"n\":1}\n\n\r\n").unwrap();
        let _ = seen.send(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)));
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let mut client =
        send(up.listen, &message("POST", CHAT, &[("X-Request-Id", "req-mid")], &chat("x", true)));
    read_until(&mut client, b"{\"n\":1}\n\n");
    drop(client);
    assert!(noticed.recv().unwrap(), "the model server's connection is closed");
    let record = only(&site, "req-mid");
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["error_type"]), (&json!("cancelled"), &json!("client_gone")));
    assert_eq!((&entry["output"]["partial"], &entry["output"]["bytes"]), (&json!(true), &json!(15)));
    assert!(entry["detail"]["delivered_bytes"].is_null(), "all that came was delivered: {entry:#}");
    assert_eq!(entry["http_status"], 200);
    assert_faithful(&record);
    assert_eq!(site.raw("req-mid", "response"), b"data: {\"n\":1}\n\n");
}

#[test]
fn a_client_that_hangs_up_after_done_has_a_completed_record() {
    let upstream = RawServer::start(|stream| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        stream.write_all(b"e\r\ndata: [DONE]\n\n\r\n").unwrap();
        // The end of the body never comes.
        let _ = stream.read(&mut [0; 16]);
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let mut client =
        send(up.listen, &message("POST", CHAT, &[("X-Request-Id", "req-done")], &chat("x", true)));
    read_until(&mut client, b"[DONE]\n\n");
    drop(client);
    let record = only(&site, "req-done");
    assert_eq!(record["entry"]["status"], "completed", "{record:#}");
    assert!(record["entry"]["output"]["partial"].is_null());
    assert_faithful(&record);
}

#[test]
fn an_upstream_that_stops_in_mid_stream_breaks_the_answer_and_is_recorded() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let headers = [("Content-Type", "application/json"), ("X-Standin", "stop=3")];
    let bytes = message("POST", CHAT, &headers, &chat("hello", true));
    let direct = request(address_of(&model.url), &bytes);
    let answer = request(up.listen, &bytes);
    assert!(direct.broke_off && answer.broke_off, "the client sees the same broken connection");
    assert_eq!(answer.body, direct.body, "and everything that came before");
    let record = site.record(answer.event_id());
    assert_eq!(record["entry"]["status"], "upstream_error");
    assert_eq!(record["entry"]["error_type"], "upstream_broke_off");
    assert_eq!(record["entry"]["output"]["partial"], true);
    assert_faithful(&record);
    assert_eq!(site.raw(answer.event_id(), "response"), direct.body);

    // The same where the length was announced.
    let short = RawServer::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".to_vec());
    let other = Site::new();
    let up = other.up(&short.url, &[]);
    let answer = request(up.listen, &message("POST", CHAT, &[], &chat("hello", false)));
    assert!(answer.broke_off);
    let record = other.record(answer.event_id());
    assert_eq!(record["entry"]["status"], "upstream_error", "{record:#}");
    assert_eq!(record["entry"]["output"]["partial"], true);
    assert_eq!(other.raw(answer.event_id(), "response"), b"only this");
}

#[test]
fn an_upstream_that_is_silent_ends_in_a_timeout() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "head_timeout_s = 1\nidle_timeout_s = 1", "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let site = &machines.site;
    let json = ("Content-Type", "application/json");
    let bytes = message("POST", CHAT, &[json, ("X-Standin", "hang")], &chat("x", false));
    let answer = request(gateway.listen, &bytes);
    assert_eq!(answer.status, 504);
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains("did not answer within 1s"), "{error}");
    assert!(error["error"]["hint"].as_str().unwrap().contains("head_timeout_s"), "{error}");
    let record = site.record(answer.event_id());
    assert_eq!(
        (&record["entry"]["status"], &record["entry"]["error_type"]),
        (&json!("timeout"), &json!("head_timeout"))
    );
    assert_eq!(
        site.raw(answer.event_id(), "response"),
        answer.body,
        "the gateway's own answer is recorded, too"
    );

    let bytes = message("POST", CHAT, &[json, ("X-Standin", "pace=60000")], &chat("x", true));
    let answer = request(gateway.listen, &bytes);
    assert!(answer.status == 200 && answer.broke_off);
    let record = site.record(answer.event_id());
    assert_eq!(
        (&record["entry"]["status"], &record["entry"]["error_type"]),
        (&json!("timeout"), &json!("idle_timeout"))
    );
    assert_eq!(record["entry"]["output"]["partial"], true);
    assert_eq!(site.raw(answer.event_id(), "response"), answer.body);
}

#[test]
fn a_request_under_way_when_the_gateway_is_killed_is_recorded_as_interrupted() {
    // A large piece, which is spooled at once, then silence.
    let piece = "x".repeat(100_000);
    let sent = piece.clone();
    let upstream = RawServer::start(move |stream| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        write!(stream, "{:x}\r\n{sent}\r\n", sent.len()).unwrap();
        let _ = stream.read(&mut [0; 16]);
    });
    let site = Site::new();
    let mut up = site.up(&upstream.url, &[]);
    let body = chat("unfinished", true);
    let mut client = send(up.listen, &message("POST", CHAT, &[("X-Request-Id", "req-killed")], &body));
    let head = read_until(&mut client, b"\r\n\r\n");
    let received = head.len() + read_until_count(&mut client, Vec::new(), b"x", 70_000).len();
    assert!(received > 70_000);
    up.kill();
    drop(client);
    let _up = site.up(&upstream.url, &[]);
    let record = only(&site, "req-killed");
    assert_eq!(record["entry"]["status"], "interrupted", "{:#}", record["entry"]);
    assert_eq!(record["entry"]["output"]["partial"], true);
    assert_faithful(&record);
    assert_eq!(
        site.raw("req-killed", "request"),
        body,
        "the start was written before the upstream was called"
    );
    let kept = site.raw("req-killed", "response");
    assert!(kept.len() > 30_000 && piece.as_bytes().starts_with(&kept), "{} bytes survived", kept.len());
}

#[test]
fn a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let body = chat("may I?", false);
    let bytes =
        message("POST", CHAT, &[("Content-Type", "application/json"), ("Expect", "100-continue")], &body);
    let head = bytes.len() - body.len();
    let mut client = send(up.listen, &bytes[..head]);
    read_until(&mut client, b"100 Continue\r\n\r\n");
    client.write_all(&bytes[head..]).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    let answer = parse_answer(&got);
    assert_eq!(answer.status, 200);
    site.record(answer.event_id());
    assert_eq!(site.raw(answer.event_id(), "request"), body);
}
