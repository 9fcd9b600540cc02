//! Taking values out of JSON of unknown shape.

use crate::model::{Media, Part, Problem, Tool};
use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A member that is a string.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str()
}

/// A member that is a string, as an own one.
pub(crate) fn owned(value: &Value, name: &str) -> Option<String> {
    text(value, name).map(str::to_owned)
}

/// A member that is a list.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Whether there is nothing in it to be shown.
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A string as it is, anything else as JSON.
pub(crate) fn text_or_json(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Adds text to the parts; of nothing, nothing.
pub(crate) fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::text(text));
    }
}

/// Adds members that have no place elsewhere.
pub(crate) fn push_rest(parts: &mut Vec<Part>, value: &Value, known: &[&str]) {
    for (name, value) in value.as_object().into_iter().flatten() {
        if !known.contains(&name.as_str()) && !is_nothing(value) {
            parts.push(Part::other(name.clone(), value));
        }
    }
}

/// Media that is in the body, in base64.
pub(crate) fn inline(kind: &str, media_type: Option<&str>, base64: &str) -> Media {
    // What does not decode is told apart by its text.
    let decoded = base64::engine::general_purpose::STANDARD.decode(base64.trim_end());
    let bytes = decoded.as_deref().unwrap_or(base64.as_bytes());
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(hex, "{byte:02x}");
    }
    Media {
        kind: kind.to_owned(),
        media_type: media_type.map(str::to_owned),
        bytes: Some(bytes.len() as u64),
        sha256: Some(hex),
        base64: Some(base64.to_owned()),
        ..Media::default()
    }
}

/// Media by its address, which may be a `data:` URL (RFC 2397).
pub(crate) fn by_url(kind: &str, url: &str) -> Media {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match data {
        Some((media_type, base64)) => inline(kind, Some(media_type).filter(|text| !text.is_empty()), base64),
        None => Media { kind: kind.to_owned(), url: Some(url.to_owned()), ..Media::default() },
    }
}

/// A tool in any of the shapes that APIs have for it.
pub(crate) fn tool(value: &Value) -> Tool {
    let inner = if value["function"].is_object() { &value["function"] } else { value };
    let schema = ["parameters", "input_schema", "parametersJsonSchema", "format"];
    Tool {
        name: owned(inner, "name").or_else(|| owned(value, "type")).unwrap_or_else(|| value.to_string()),
        description: owned(inner, "description"),
        parameters: schema.iter().map(|name| &inner[*name]).find(|schema| schema.is_object()).cloned(),
    }
}

/// What an answer says went wrong, in the shapes that servers have for it: OpenAI, Anthropic, Gemini, Ollama, FastAPI.
pub(crate) fn problem(value: &Value) -> Option<Problem> {
    let of = |error: &Value| {
        let kind = ["type", "code", "status"].iter().map(|name| &error[*name]).find(|kind| !is_nothing(kind));
        let message = [&error["message"], &error["detail"]].into_iter().find(|message| !is_nothing(message));
        let message = message.map_or_else(|| text_or_json(error), text_or_json);
        Problem { kind: kind.map(text_or_json), message }
    };
    match &value["error"] {
        Value::String(message) if !message.is_empty() => {
            return Some(Problem { kind: owned(value, "error_type"), message: message.clone() });
        }
        error @ Value::Object(_) => return Some(of(error)),
        _ => {}
    }
    if value["object"] == "error" || (value["type"] == "error" && !value["message"].is_null()) {
        return Some(of(value));
    }
    let only = value.as_object().is_some_and(|members| members.len() == 1);
    (only && !is_nothing(&value["detail"]))
        .then(|| Problem { kind: None, message: text_or_json(&value["detail"]) })
}
