//! What is read of a call stands in its entry: whatever the API, the coding, the size of its body, and however
//! it failed.

use crate::common::*;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

const CHAT: &str = "/v1/chat/completions";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A model server that gives the next of `answers` to each request.
fn in_turn(answers: impl IntoIterator<Item = Vec<u8>>) -> RawServer {
    let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
    RawServer::start(move |stream| {
        let answer = answers.lock().unwrap().pop_front().expect("an answer for each request");
        let _ = stream.write_all(&answer);
    })
}

fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Path, answer, and what must be read of it; see `crates/gateway/tests/fixtures/specified/README.md`.
fn fixture(name: &str) -> (String, Vec<u8>, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/gateway/tests/fixtures/specified");
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let exchange =
        index["exchanges"].as_array().unwrap().iter().find(|exchange| exchange["name"] == name).unwrap();
    let said = &exchange["answer"];
    let mut head = format!("HTTP/1.1 {} Told\r\nConnection: close\r\n", said["status"]);
    for header in said["headers"].as_array().unwrap() {
        head.push_str(&format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap()));
    }
    // Without a length, a body ends with its connection.
    let body = std::fs::read(folder.join(said["body"].as_str().unwrap())).unwrap();
    let path = exchange["request"]["target"].as_str().unwrap().to_owned();
    (path, [head.as_bytes(), b"\r\n", &body].concat(), exchange["expected"].clone())
}

/// Points 18 to 21, from the wire to the ledger.
#[test]
fn the_answer_of_each_api_is_read_into_its_entry() {
    let names =
        ["chat-stream", "messages-stream", "responses-stream", "ollama-lines", "embeddings", "chat-error"];
    let fixtures = names.map(fixture);
    let upstream = in_turn(fixtures.iter().map(|(_, answer, _)| answer.clone()));
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    for (name, (path, _, expected)) in names.iter().zip(&fixtures) {
        let got = request(up.listen, &message("POST", path, &[JSON], br#"{"model":"asked"}"#));
        let record = site.record(got.event_id());
        let entry = &record["entry"];
        for (of_answer, of_entry) in [
            ("model", "model_returned"),
            ("system_fingerprint", "system_fingerprint"),
            ("finish_reason", "finish_reason"),
            ("prompt_tokens", "prompt_tokens"),
            ("completion_tokens", "completion_tokens"),
            ("cached_tokens", "cached_tokens"),
            ("reasoning_tokens", "reasoning_tokens"),
        ] {
            assert_eq!(entry[of_entry], expected[of_answer], "{name}: {of_entry}");
        }
        for (of_answer, of_detail) in [
            ("tool_calls", "tool_calls"),
            ("response_id", "response_id"),
            ("provider_request_id", "provider_request_id"),
            ("cache_creation_tokens", "cache_creation_tokens"),
            ("error_type", "provider_error"),
            ("error_code", "provider_error_code"),
        ] {
            assert_eq!(entry["detail"][of_detail], expected[of_answer], "{name}: {of_detail}");
        }
        let failed = *name == "chat-error";
        assert_eq!(entry["status"], if failed { "upstream_error" } else { "completed" }, "{name}");
        assert_eq!(entry["usage_source"], if failed { "missing" } else { "provider" }, "{name}");
        assert_eq!(record["payload"]["usage"].is_null(), failed || *name == "ollama-lines", "{name}");
        assert_eq!(record["payload"]["matches_commitments"], true, "{name}");
    }
}

/// vm0 #8903: usage of compressed streams was lost. The bytes themselves must go through as they came.
#[test]
fn a_compressed_stream_is_read_and_passes_untouched() {
    let body = b"data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\ndata: [DONE]\n\n";
    let coded = zstd::encode_all(&body[..], 3).unwrap();
    let bomb = zstd::encode_all(&vec![b' '; 64 << 20][..], 3).unwrap();
    let head = "Content-Type: text/event-stream\r\nContent-Encoding: zstd\r\n";
    let upstream = in_turn([answer(head, &coded), answer(head, &bomb)]);
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let got = request(up.listen, &message("POST", CHAT, &[JSON, ("Accept-Encoding", "zstd")], b"{}"));
    assert_eq!((got.body == coded, got.header("content-encoding")), (true, Some("zstd")));
    let record = site.record(got.event_id());
    assert_eq!(record["entry"]["prompt_tokens"], 5, "{record:#}");
    assert_eq!(site.raw(got.event_id(), "response"), coded);
    assert!(text(&upstream.requests()[0]).to_ascii_lowercase().contains("accept-encoding: zstd"));

    let got = request(up.listen, &message("POST", CHAT, &[JSON], b"{}"));
    assert!(got.body == bomb, "what is not read passes all the same");
    let record = site.record(got.event_id());
    assert_eq!(record["entry"]["detail"]["answer_unread"], "decoded_too_large");
    assert_eq!(
        (&record["entry"]["status"], &record["entry"]["usage_source"]),
        (&json!("completed"), &json!("missing"))
    );
}

/// Clients of OpenAI send messages first. With an image among them, the model stands behind what is read before
/// the request goes on.
#[test]
fn a_model_behind_half_a_megabyte_of_image_is_found() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let image = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(120_000));
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{image}"}}}}]}}],"model":"llama-3-8b-instruct","temperature":0.5,"tools":[{{"type":"function","function":{{"name":"f","parameters":{{}}}}}}],"metadata":{{"team":"search"}}}}"#
    );
    let got =
        request(up.listen, &message("POST", CHAT, &[JSON, ("X-LiteLLM-Tags", "prod")], body.as_bytes()));
    assert_eq!(got.status, 200, "{}", text(&got.body));
    let record = site.record(got.event_id());
    let entry = &record["entry"];
    assert_eq!(
        (&entry["model"], &entry["tools"]),
        (&json!("llama-3-8b-instruct"), &json!(["f"])),
        "{entry:#}"
    );
    assert_eq!(
        (&entry["params"], &entry["detail"]["tags"]),
        (&json!({"temperature":"0.5"}), &json!(["prod", "team:search"]))
    );
    assert!(site.raw(got.event_id(), "request") == body.as_bytes());
}

/// A stream that began with 200 said that it failed, and was recorded as if all were well.
#[test]
fn an_error_in_the_middle_of_a_stream_is_no_success() {
    let stream = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n\
        event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let failed =
        br#"{"id":"resp_9","status":"failed","model":"m","error":{"code":"server_error","message":"x"}}"#;
    let upstream = in_turn([
        answer("Content-Type: text/event-stream\r\n", stream),
        answer("Content-Type: application/json\r\n", failed),
        answer("Content-Type: application/json\r\n", failed),
    ]);
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let entry = |method: &str, path: &str| {
        let body: &[u8] = if method == "GET" { b"" } else { b"{}" };
        let got = request(up.listen, &message(method, path, &[JSON], body));
        assert_eq!(got.status, 200);
        site.record(got.event_id())["entry"].clone()
    };
    let messages = entry("POST", "/v1/messages");
    assert_eq!(
        (&messages["status"], &messages["error_type"]),
        (&json!("upstream_error"), &json!("error_in_answer"))
    );
    assert_eq!(messages["detail"]["provider_error"], "overloaded_error");
    assert!(messages["output"]["partial"].is_null(), "the answer came whole");
    assert_eq!(entry("POST", "/v1/responses")["error_type"], "error_in_answer");
    // The poll did what it was asked; it is the response that failed.
    let poll = entry("GET", "/v1/responses/resp_9");
    assert_eq!((&poll["status"], &poll["operation"]), (&json!("completed"), &json!("response_poll")));
    assert_eq!(
        (&poll["detail"]["response_id"], &poll["detail"]["provider_error_code"]),
        (&json!("resp_9"), &json!("server_error"))
    );
}

/// Points 27 and graniet/llm #115: a key in the query came out in the words of an error.
#[test]
fn a_key_in_the_query_stands_in_no_error_no_log_and_no_record() {
    const SECRET: &str = "AIzaSyVerySecret0123456789";
    let site = Site::new();
    let nobody = format!("http://{}", free_address());
    let mut up = site.up(&nobody, &[]);
    let target = format!("/v1beta/models/gemini-x:generateContent?key={SECRET}&alt=sse");
    let mut shown = String::new();
    for bytes in [
        message("POST", &target, &[JSON], b"{}"),
        message("POST", &format!("{target}&access_token={SECRET}"), &[JSON], b"{}"),
        message("POST", &format!("http://other.example{target}"), &[("X-Goog-Api-Key", SECRET)], b"{}"),
        message(
            "POST",
            &format!("{target}&%6bey={SECRET}"),
            &[("Authorization", &format!("Bearer {SECRET}"))],
            b"{}",
        ),
    ] {
        let got = request(up.listen, &bytes);
        assert_eq!(got.status, 502, "{}", text(&got.body));
        shown += &text(&got.body);
        let record = site.record(got.event_id());
        assert!(
            record["payload"]["request"]["target"].as_str().unwrap().contains("key=REDACTED"),
            "{record:#}"
        );
        assert_eq!(record["entry"]["model"], "gemini-x");
        shown += &record.to_string();
    }
    up.stop();
    shown += &up.log();
    assert!(!shown.contains(SECRET), "{shown}");
    assert_eq!(grep(site.dir.path(), SECRET), Vec::<std::path::PathBuf>::new());
}
