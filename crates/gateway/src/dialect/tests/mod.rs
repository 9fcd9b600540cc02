//! Readers against every way that bodies are cut, malformed or odd; most tests remember a failure of some
//! gateway.
//!
//! Whatever is read here is read again cut at every byte, and byte by byte: no test passes that depends on
//! where the network cut a body.

mod anthropic;
mod compressed;
mod fixtures;
mod framing;
mod openai;
mod others;
mod requests;
mod responses;

use super::*;
use http::{HeaderMap, HeaderName, HeaderValue};
use indelible_record::event::Answer;

const EVENTS: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Beyond this, a body is not cut at every byte.
const CUT_MAX_BYTES: usize = 4000;

/// All that is read of an answer.
#[derive(Debug, Default, PartialEq)]
struct Read {
    said: Answer,
    usage: Option<String>,
    ended: bool,
    began: bool,
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn post_to(path: &str) -> &'static Endpoint {
    endpoint_of("POST", path)
}

fn chat() -> &'static Endpoint {
    post_to("/v1/chat/completions")
}

fn read_pieces<'a>(
    endpoint: &'static Endpoint,
    head: &HeaderMap,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Read {
    let mut reader = AnswerReader::new(endpoint, head);
    for piece in pieces {
        reader.push(piece);
    }
    let (ended, began) = (reader.saw_end(), reader.began());
    let (said, usage) = reader.finish();
    Read { said, usage, ended, began }
}

/// What an answer says, which must not depend on where it was cut.
fn read_with(endpoint: &'static Endpoint, head: &HeaderMap, body: &[u8]) -> Read {
    let whole = read_pieces(endpoint, head, [body]);
    for at in 0..body.len().min(CUT_MAX_BYTES) {
        let (before, after) = body.split_at(at);
        assert_eq!(read_pieces(endpoint, head, [before, after]), whole, "cut at {at}");
    }
    assert_eq!(read_pieces(endpoint, head, body.chunks(1)), whole, "byte by byte");
    whole
}

fn read(endpoint: &'static Endpoint, content_type: &str, body: &str) -> Read {
    read_with(endpoint, &headers(&[("content-type", content_type)]), body.as_bytes())
}

/// What a stream of chunks says.
fn stream(endpoint: &'static Endpoint, chunks: &[&str]) -> Read {
    let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    read(endpoint, EVENTS, &body)
}

/// What a stream of named events says, as Anthropic and Responses send them.
fn named_stream(endpoint: &'static Endpoint, events: &[&str]) -> Read {
    let name = |event: &str| serde_json::from_str::<serde_json::Value>(event).unwrap()["type"].clone();
    let body: String = events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", name(event).as_str().unwrap()))
        .collect();
    read(endpoint, EVENTS, &body)
}

/// Prompt, completion, cached, written to a cache, reasoning.
fn tokens(said: &Answer) -> [Option<u64>; 5] {
    [
        said.prompt_tokens,
        said.completion_tokens,
        said.cached_tokens,
        said.cache_creation_tokens,
        said.reasoning_tokens,
    ]
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn every_table_can_be_planned() {
    for endpoint in ENDPOINTS.iter().chain([&OTHER]) {
        let _ = (endpoint.dialect.asks.plan(), endpoint.dialect.says.plan());
    }
}

#[test]
fn operations_are_told_by_the_end_of_the_path() {
    let of = |path: &str| post_to(path).operation();
    assert_eq!(of("/v1/chat/completions"), "chat");
    assert_eq!(of("/openai/deployments/d/chat/completions?api-version=1"), "chat");
    assert_eq!(of("/v1/completions/"), "text_completion");
    assert_eq!(of("/v1/embeddings?x=/v1/chat/completions"), "embeddings");
    assert_eq!(of("/v1/responses"), "chat");
    assert_eq!(of("/v1/responses/resp_1/cancel"), "response_cancel");
    assert_eq!(of("/v1/messages"), "chat");
    assert_eq!(of("/anthropic/v1/messages/count_tokens"), "count_tokens");
    assert_eq!(of("/v1beta/models/gemini-2.5-pro:generateContent"), "generate_content");
    assert_eq!(of("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"), "generate_content");
    assert_eq!(of("/v1beta/models/text-embedding-004:embedContent"), "embeddings");
    assert_eq!(of("/api/chat"), "chat");
    assert_eq!(of("/api/generate"), "text_completion");
    assert_eq!(of("/api/embed"), "embeddings");
    for word in ["tokenize", "score", "rerank", "pooling", "classify"] {
        assert_eq!(of(&format!("/v1/{word}")), word);
    }
    // What only looks like one.
    assert_eq!(of("/x?y=/v1/chat/completions"), "other");
    assert_eq!(of("/v1/threads/thread_1/messages"), "other");
    assert_eq!(of("/v1/responses/resp_1/input_items"), "other");
    assert_eq!(of("/v1beta/models/:generateContent"), "other");
    assert_eq!(of("/v1/audio/transcriptions"), "other");
    assert_eq!(of(""), "other");
    assert_eq!(endpoint_of("GET", "/v1/chat/completions").operation(), "other");
    assert_eq!(endpoint_of("GET", "/v1/responses/resp_1?stream=true").operation(), "response_poll");
    assert_eq!(endpoint_of("GET", "/v1/realtime?model=x").operation(), "realtime");
    assert_eq!(endpoint_of("DELETE", "/v1/responses/resp_1").operation(), "other");
}

/// Point 22: a call of a kind that nobody foresaw. Bytes are recorded elsewhere; here nothing may be made up.
#[test]
fn a_body_of_an_unknown_kind_is_read_for_what_all_kinds_say_alike() {
    let read = read(
        post_to("/v1/images/generations"),
        JSON,
        r#"{"type":"list","model":"img-1","data":[{"b64_json":"aaaa"}],
            "usage":{"input_tokens":50,"output_tokens":4160,"total_tokens":4210}}"#,
    );
    assert_eq!(read.said.model.as_deref(), Some("img-1"));
    assert_eq!(tokens(&read.said)[..2], [Some(50), Some(4160)]);
    assert_eq!((read.said.error_type, read.ended), (None, false));
    let audio = read_with(
        post_to("/v1/audio/speech"),
        &headers(&[("content-type", "audio/mpeg")]),
        b"\xFF\xFB{\"model\":\"no\"}",
    );
    assert_eq!(audio, Read::default());
}

/// Point 14: without the provider's own id for a request nobody there can help.
#[test]
fn the_providers_id_for_the_request_is_taken_from_the_head() {
    let head = headers(&[
        ("content-type", JSON),
        ("cf-ray", "8c2-FRA"),
        ("request-id", "req_011"),
        ("x-litellm-call-id", "c-1"),
    ]);
    let read = read_with(chat(), &head, b"{}");
    assert_eq!(read.said.provider_request_id.as_deref(), Some("req_011"));
}

/// The reader's own state, whatever came. Queues and caches of other gateways grew with the traffic.
#[test]
fn what_is_kept_of_any_answer_is_bounded() {
    let calls: Vec<_> =
        (0..3000).map(|n| format!(r#"{{"function":{{"name":"t{n}","arguments":"{{}}"}}}}"#)).collect();
    let body = format!(
        r#"{{"choices":[{{"message":{{"tool_calls":[{}]}}}}],"model":"m","usage":{{"x":"{}","prompt_tokens":3}}}}"#,
        calls.join(","),
        "y".repeat(10_000),
    );
    let read = read_pieces(chat(), &headers(&[("content-type", JSON)]), [body.as_bytes()]);
    assert_eq!(read.said.tool_calls.len(), 128);
    assert_eq!(read.said.model.as_deref(), Some("m"));
    assert_eq!((read.said.prompt_tokens, read.usage), (Some(3), None));
}
