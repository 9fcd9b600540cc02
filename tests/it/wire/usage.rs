//! Asking for token counts that a client left open: it gets what it asked for, and the record has both sides.

use super::*;
use sha2::{Digest, Sha256};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn machines(upstream: &str) -> TwoMachines {
    TwoMachines::with(upstream, "", "inject_usage = true")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The events of a stream; `usage` left out, since a server that is asked for it says `null` until it has it.
fn events(body: &[u8]) -> Vec<Value> {
    let text = text(body);
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]")
        .map(|data| {
            let mut event: Value = serde_json::from_str(data).unwrap();
            event.as_object_mut().unwrap().remove("usage");
            event
        })
        .collect()
}

/// The output without what was withheld.
fn without(output: &[u8], withheld: &Value) -> Vec<u8> {
    let (mut kept, mut at) = (Vec::new(), 0);
    for stretch in withheld.as_array().unwrap() {
        let [from, len] = [0, 1].map(|n| stretch[n].as_u64().unwrap() as usize);
        kept.extend_from_slice(&output[at..from]);
        at = from + len;
    }
    kept.extend_from_slice(&output[at..]);
    kept
}

#[test]
fn usage_that_the_client_left_open_is_recorded_and_its_event_taken_out_again() {
    let model = ModelServer::start();
    let machines = machines(&model.url);
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let body = chat("how much was that?", true);
    let bytes = message("POST", CHAT, &[JSON, ("Accept-Encoding", "gzip, br")], &body);
    let direct = request(address_of(&model.url), &bytes);
    let answer = request(gateway.listen, &bytes);
    assert!(answer.status == 200 && !answer.broke_off);
    assert_eq!(events(&answer.body), events(&direct.body), "the client has the events that it asked for");
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
    assert!(!text(&answer.body).contains("\"choices\":[]"), "{}", text(&answer.body));

    let record = machines.site.record(answer.event_id());
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["usage_source"]), (&json!("completed"), &json!("provider")));
    assert!(entry["prompt_tokens"].as_u64().unwrap() > 0 && entry["completion_tokens"].as_u64().unwrap() > 0);
    assert_faithful(&record);
    assert_eq!(machines.site.raw(answer.event_id(), "request"), body, "as the client sent it");
    let output = machines.site.raw(answer.event_id(), "response");
    assert!(text(&output).contains("\"choices\":[],\"usage\":{"), "as the model server sent it");
    assert_eq!(text(&without(&output, &entry["detail"]["withheld"])), text(&answer.body));
    assert_eq!(entry["detail"]["delivered_bytes"], answer.body.len());

    assert_eq!(entry["detail"]["rewrite"]["name"], "include_usage");
    let sent = record["payload"]["request"]["sent"]["text"].as_str().unwrap().as_bytes();
    assert_eq!(model.log.seen().last().unwrap().body_sha256, sha256(sent), "what was sent is recorded, too");
    assert_eq!(entry["detail"]["rewrite"]["sent"]["bytes"], sent.len());
    let mut asked: Value = serde_json::from_slice(sent).unwrap();
    let options = asked.as_object_mut().unwrap().remove("stream_options");
    assert_eq!(options, Some(json!({ "include_usage": true })));
    assert_eq!(asked, serde_json::from_slice::<Value>(&body).unwrap());
    assert_eq!(machines.site.verify().0, 0);
}

#[test]
fn who_said_something_about_usage_or_streams_nothing_is_left_alone() {
    let model = ModelServer::start();
    let with = machines(&model.url);
    let _collector = with.start_collector();
    let gateway = with.start_gateway();
    let without = Site::new();
    let up = without.up(&model.url, &[]);
    let stream = |options: Value| {
        let message = json!([{ "role": "user", "content": "x" }]);
        let body = json!({ "model": MODEL, "stream": true, "messages": message, "stream_options": options });
        body.to_string().into_bytes()
    };
    let large = chat(&"large ".repeat(200_000), true);
    let cases: [(&str, std::net::SocketAddr, &str, Vec<u8>); 7] = [
        ("said yes", gateway.listen, CHAT, stream(json!({ "include_usage": true }))),
        ("said no", gateway.listen, CHAT, stream(json!({ "include_usage": false }))),
        ("no stream", gateway.listen, CHAT, chat("x", false)),
        ("no JSON", gateway.listen, CHAT, b"{\"stream\":true".to_vec()),
        ("another API", gateway.listen, "/v1/embeddings", br#"{"input":"x","stream":true}"#.to_vec()),
        ("too large to be read whole", gateway.listen, CHAT, large),
        ("another route", up.listen, CHAT, chat("x", true)),
    ];
    for (name, address, path, body) in cases {
        let bytes = message("POST", path, &[JSON], &body);
        let direct = request(address_of(&model.url), &bytes);
        let answer = request(address, &bytes);
        assert!(answer.body == direct.body, "{name}");
        let seen = model.log.seen();
        assert_eq!(seen[seen.len() - 1], seen[seen.len() - 2], "{name}: the model server saw the same twice");
        let site = if address == up.listen { &without } else { &with.site };
        let record = site.record(answer.event_id());
        assert!(record["entry"]["detail"]["rewrite"].is_null(), "{name}: {record:#}");
        assert!(record["entry"]["detail"]["withheld"].is_null(), "{name}");
        assert!(record["payload"]["request"]["sent"].is_null(), "{name}");
        assert_faithful(&record);
    }
}

#[test]
fn an_answer_that_is_no_plain_stream_passes_as_it_is() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    let cases = [
        ("an error", "400 Bad Request", "Content-Type: text/event-stream\r\n"),
        ("JSON", "200 OK", "Content-Type: application/json\r\n"),
        ("compressed", "200 OK", "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"),
    ];
    for (name, status, headers) in cases {
        let answer = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{usage}", usage.len());
        let upstream = RawServer::answering(answer.into_bytes());
        let machines = machines(&upstream.url);
        let _collector = machines.start_collector();
        let gateway = machines.start_gateway();
        let answer = request(gateway.listen, &message("POST", CHAT, &[JSON], &chat("x", true)));
        assert_eq!(text(&answer.body), usage, "{name}");
        assert_eq!(answer.header("content-length"), Some(&*usage.len().to_string()), "{name}");
        let record = machines.site.record(answer.event_id());
        assert_eq!(record["entry"]["detail"]["rewrite"]["name"], "include_usage", "{name}");
        assert!(record["entry"]["detail"]["withheld"].is_null(), "{name}");
    }
}

#[test]
fn the_event_is_taken_out_of_streams_of_any_framing_and_of_those_that_break_off() {
    let before = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\r\n\r\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\r\n\r\n";
    for (name, length, after) in
        [("whole", true, "data: [DONE]\r\n\r\n"), ("broken off", false, "data: {\"choices\":[{\"ind")]
    {
        let stream = format!("{before}{usage}{after}");
        let upstream = RawServer::start(move |socket| {
            let length = if length { stream.len() } else { stream.len() + 100 };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n";
            socket.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).unwrap();
            for piece in stream.as_bytes().chunks(11) {
                socket.write_all(piece).unwrap();
                socket.flush().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let machines = machines(&upstream.url);
        let _collector = machines.start_collector();
        let gateway = machines.start_gateway();
        let answer = request(gateway.listen, &message("POST", CHAT, &[JSON], &chat("x", true)));
        assert_eq!(text(&answer.body), format!("{before}{after}"), "{name}");
        assert_eq!(answer.broke_off, !length, "{name}");
        let record = machines.site.record(answer.event_id());
        let entry = &record["entry"];
        assert_eq!(entry["detail"]["withheld"], json!([[before.len(), usage.len()]]), "{name}");
        assert_eq!(entry["completion_tokens"], 1, "{name}");
        assert_eq!(entry["status"], if length { "completed" } else { "upstream_error" }, "{name}");
        assert_faithful(&record);
    }
}
