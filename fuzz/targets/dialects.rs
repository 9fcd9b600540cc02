//! Every reader of requests, answers and messages, in every framing and coding.
//!
//! Holds: what is read does not depend on where the wire cut the body; what is kept is bounded; of a body that a
//! plain JSON reader takes, both read the same.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use indelible_fuzz::{Input, pieces};
use indelible_gateway::fuzzing;
use indelible_record::canonical::INTEGER_MAX;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// One of each kind of call.
const ENDPOINTS: [(&str, &str); 28] = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/responses/resp_1"),
    ("POST", "/v1/responses/resp_1/cancel"),
    ("GET", "/v1/responses"),
    ("GET", "/v1/realtime?model=m"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1beta/models/gemini-x:generateContent"),
    ("POST", "/v1beta/models/gemini-x:streamGenerateContent"),
    ("POST", "/v1beta/models/gemini-x:embedContent"),
    ("POST", "/v1beta/models/gemini-x:batchEmbedContents"),
    ("POST", "/v1beta/models/gemini-x:countTokens"),
    ("POST", "/api/chat"),
    ("POST", "/api/generate"),
    ("POST", "/api/embed"),
    ("POST", "/api/embeddings"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/score"),
    ("POST", "/rerank"),
    ("POST", "/pooling"),
    ("POST", "/classify"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/openai/deployments/gpt-4o/chat/completions?api-version=1"),
    ("DELETE", "/v1/files/file-1"),
];
const MEDIA_TYPES: [&str; 6] = [
    "text/event-stream; charset=utf-8",
    "application/json",
    "application/x-ndjson",
    "application/problem+json",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-8",
];
const CODINGS: [&str; 8] = ["", "", "", "", "gzip", "deflate", "br", "zstd"];

/// Most names, tags and tool calls of one body.
const LISTED_MAX: usize = 128;
/// Longest text of a field: a scalar of 1024 bytes, in which a byte may stand for a character of three.
const TEXT_MAX_BYTES: usize = 3 * 1024;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (what, endpoint, form) = (input.byte(), usize::from(input.byte()), input.byte());
    let seed = input.number();
    let (method, path) = ENDPOINTS[endpoint % ENDPOINTS.len()];
    let mut head = HeaderMap::new();
    let media_type = MEDIA_TYPES[usize::from(form) % MEDIA_TYPES.len()];
    head.insert("content-type", HeaderValue::from_static(media_type));
    let coding = CODINGS[usize::from(form >> 3) % CODINGS.len()];
    if !coding.is_empty() {
        head.insert(HeaderName::from_static("content-encoding"), HeaderValue::from_static(coding));
    }
    let body = input.rest();
    match what % 4 {
        0 => request((method, path), &head, body, seed),
        1 | 2 => answer((method, path), &head, body, seed),
        _ => messages(path, body, seed),
    }
});

fn request(endpoint: (&str, &str), head: &HeaderMap, body: &[u8], seed: u16) {
    let whole = fuzzing::request(endpoint, head, [body].into_iter());
    let cut = fuzzing::request(endpoint, head, pieces(body, seed));
    if is_damaged(head, whole.unread.as_deref(), cut.unread.as_deref()) {
        return;
    }
    assert_eq!(cut, whole);
    assert!(whole.tools.len() <= LISTED_MAX && whole.tags.len() <= LISTED_MAX && whole.params.len() <= 64);
    for text in whole.model.iter().chain(&whole.user_id).chain(&whole.session_id).chain(&whole.tools) {
        assert!(text.len() <= TEXT_MAX_BYTES);
    }
    if endpoint.1 == "/v1/chat/completions"
        && !head.contains_key("content-encoding")
        && let Ok(said) = serde_json::from_slice::<Value>(body)
        && said.is_object()
    {
        if let Some(model) = short(&said["model"]) {
            assert_eq!(whole.model.as_deref(), Some(model));
        }
        if let Some(stream) = said["stream"].as_bool() {
            assert_eq!(whole.stream, Some(stream));
        }
    }
}

/// Whether a body is in a coding that is damaged: then what was read of it depends on cuts. That it is damaged does not,
/// but for brotli, whose decoder notices in some cuts and not in others.
fn is_damaged(head: &HeaderMap, whole: Option<&str>, cut: Option<&str>) -> bool {
    let Some(coding) = head.get("content-encoding") else { return false };
    if coding != "br" && whole.is_some() {
        assert_eq!(cut, whole);
    }
    whole.is_some() || (coding == "br" && cut.is_some())
}

fn answer(endpoint: (&str, &str), head: &HeaderMap, body: &[u8], seed: u16) {
    let whole = fuzzing::answer(endpoint, head, [body].into_iter());
    let cut = fuzzing::answer(endpoint, head, pieces(body, seed));
    if is_damaged(head, whole.0.unread.as_deref(), cut.0.unread.as_deref()) {
        return;
    }
    assert_eq!(cut, whole);
    let (said, usage, ..) = whole;
    assert!(said.tool_calls.len() <= LISTED_MAX && usage.is_none_or(|usage| usage.len() <= 64 << 10));
    for text in said.model.iter().chain(&said.finish_reason).chain(&said.response_id).chain(&said.tool_calls)
    {
        assert!(text.len() <= TEXT_MAX_BYTES);
    }
    let is_json = head["content-type"] == "application/json" && !head.contains_key("content-encoding");
    if endpoint.1 == "/v1/chat/completions"
        && is_json
        && let Ok(plain) = serde_json::from_slice::<Value>(body)
        && plain.is_object()
    {
        for (ours, theirs) in [(&said.model, &plain["model"]), (&said.response_id, &plain["id"])] {
            if let Some(text) = short(theirs) {
                assert_eq!(ours.as_deref(), Some(text));
            }
        }
        let tokens = plain["usage"]["completion_tokens"].as_u64().filter(|count| *count <= INTEGER_MAX);
        if let Some(tokens) = tokens {
            assert_eq!(said.completion_tokens, Some(tokens));
        }
    }
}

/// A string that is kept however it was escaped.
fn short(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| (1..=150).contains(&text.len()))
}

fn messages(path: &str, body: &[u8], seed: u16) {
    let lines = || body.split(|byte| *byte == b'\n');
    let whole = fuzzing::messages(path, lines().map(|line| [line].into_iter()));
    assert_eq!(fuzzing::messages(path, lines().map(|line| pieces(line, seed))), whole);
    let (said, usage, _) = whole;
    assert!(said.tool_calls.len() <= LISTED_MAX);
    assert!(usage.is_none_or(|usage| usage.len() <= 64 << 10));
}
