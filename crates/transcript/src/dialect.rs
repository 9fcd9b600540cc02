//! Which API a call speaks, and reading it.
//!
//! The end of the path says it, as it does for the gateway; where a path says nothing, the shape of the request does.

use crate::model::{Dialect, Message, Part, Transcript};
use crate::sse::Texts;
use crate::{anthropic, body, chat, gemini, json, ollama, other, responses};
use serde_json::Value;

/// One side of a call, as it was recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side<'a> {
    /// The body, after transfer-coding and before content-coding was undone.
    pub body: &'a [u8],
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`, several lines joined by commas.
    pub content_encoding: Option<&'a str>,
}

/// A call, as it was recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange<'a> {
    /// Path and query.
    pub target: Option<&'a str>,
    /// What was sent.
    pub request: Side<'a>,
    /// What was answered.
    pub response: Side<'a>,
}

/// Ends of paths. The first that fits counts.
const PATHS: [(&str, Dialect); 11] = [
    ("/chat/completions", Dialect::Chat),
    ("/completions", Dialect::Completions),
    ("/embeddings", Dialect::Embeddings),
    ("/api/embed", Dialect::Embeddings),
    ("/responses", Dialect::Responses),
    ("/v1/messages", Dialect::Messages),
    ("/v1/messages/count_tokens", Dialect::Messages),
    (":generateContent", Dialect::Gemini),
    (":streamGenerateContent", Dialect::Gemini),
    ("/api/chat", Dialect::OllamaChat),
    ("/api/generate", Dialect::OllamaGenerate),
];

/// Reads a call. Never fails: what cannot be read is in the transcript as bytes.
pub fn read(exchange: &Exchange<'_>) -> Transcript {
    let asked = body::texts(&exchange.request);
    let said = body::texts(&exchange.response);
    let dialect = by_path(exchange.target.unwrap_or_default())
        .or_else(|| by_shape(asked.documents.first()?))
        .or_else(|| by_answer(said.documents.first()?))
        .unwrap_or_default();
    let mut transcript = Transcript { dialect, ..Transcript::default() };
    read_request(&asked, exchange, &mut transcript);
    read_answer(&said, exchange, &mut transcript);
    transcript
}

fn by_path(target: &str) -> Option<Dialect> {
    let path = target.split('?').next().unwrap_or_default();
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.contains("/responses/") {
        return Some(Dialect::Responses);
    }
    PATHS.iter().find(|(end, _)| path.ends_with(end)).map(|(_, dialect)| *dialect)
}

fn by_shape(request: &Value) -> Option<Dialect> {
    let has = |name: &str| !request[name].is_null();
    if has("messages") {
        return Some(if has("system") { Dialect::Messages } else { Dialect::Chat });
    }
    [("contents", Dialect::Gemini), ("prompt", Dialect::Completions)]
        .into_iter()
        .find(|(name, _)| has(name))
        .map(|(_, dialect)| dialect)
}

fn by_answer(answer: &Value) -> Option<Dialect> {
    match json::text(answer, "object") {
        Some("chat.completion" | "chat.completion.chunk") => Some(Dialect::Chat),
        Some("text_completion") => Some(Dialect::Completions),
        Some("response") => Some(Dialect::Responses),
        _ => None,
    }
}

fn read_request(asked: &Texts, exchange: &Exchange<'_>, out: &mut Transcript) {
    // A body that is read as something else than one document is no request of these APIs.
    if let (Some(request), false) = (asked.documents.first(), asked.streamed) {
        match out.dialect {
            Dialect::Chat => chat::request(request, out),
            Dialect::Completions => chat::text_request(request, out),
            Dialect::Responses => responses::request(request, out),
            Dialect::Messages => anthropic::request(request, out),
            Dialect::Gemini => gemini::request(request, out),
            Dialect::OllamaChat => ollama::chat_request(request, out),
            Dialect::OllamaGenerate => ollama::generate_request(request, out),
            Dialect::Embeddings => other::embeddings_request(request, out),
            Dialect::WebSocket | Dialect::Other => {}
        }
    }
    let read = !out.request.is_empty();
    let mut parts = asked.unread.clone();
    if !read && parts.is_empty() {
        parts.extend(asked.documents.iter().map(|document| Part::other("request", document)));
        parts.extend(unless_blank(&exchange.request).filter(|_| asked.documents.is_empty()));
    }
    if !parts.is_empty() {
        out.request.push(Message::new("client", parts));
    }
}

/// A body in which nothing was found, though there is something.
fn unless_blank(side: &Side<'_>) -> Option<Part> {
    let blank = side.body.iter().all(u8::is_ascii_whitespace);
    (!blank).then(|| Part::unread("nothing in it says anything", side.content_type, side.body))
}

fn read_answer(said: &Texts, exchange: &Exchange<'_>, out: &mut Transcript) {
    match out.dialect {
        Dialect::Chat => chat::answer(said, out),
        Dialect::Completions => chat::text_answer(said, out),
        Dialect::Responses => responses::answer(said, out),
        Dialect::Messages => anthropic::answer(said, out),
        Dialect::Gemini => gemini::answer(said, out),
        Dialect::OllamaChat | Dialect::OllamaGenerate => ollama::answer(said, out),
        Dialect::Embeddings => other::embeddings_answer(said, out),
        Dialect::WebSocket | Dialect::Other => other::answer(said, out),
    }
    out.rest.extend(said.unread.iter().cloned());
    if out.answers.is_empty() && out.error.is_none() && out.rest.is_empty() {
        out.rest.extend(unless_blank(&exchange.response));
    }
}
