//! Gemini's `generateContent` and `streamGenerateContent`.

use crate::json::{self, is_nothing, list, owned, push_text, text, text_or_json};
use crate::model::{Answer, Media, Message, Part, Transcript};
use crate::sse::Texts;
use serde_json::Value;
use std::collections::BTreeMap;

/// A member by its name in JSON, or as clients in Python write it.
fn either<'a>(value: &'a Value, camel: &str, snake: &str) -> &'a Value {
    if value[camel].is_null() { &value[snake] } else { &value[camel] }
}

/// Reads a request.
pub(crate) fn request(request: &Value, out: &mut Transcript) {
    let system = either(request, "systemInstruction", "system_instruction");
    if !is_nothing(system) {
        out.request.push(Message::new("system", parts_of(system)));
    }
    match &request["contents"] {
        Value::Array(contents) => out.request.extend(contents.iter().map(content)),
        Value::Null => {}
        one => out.request.push(content(one)),
    }
    for tool in list(request, "tools") {
        match either(tool, "functionDeclarations", "function_declarations") {
            Value::Array(functions) => out.tools.extend(functions.iter().map(json::tool)),
            _ => out.tools.push(crate::model::Tool {
                name: tool.as_object().and_then(|members| members.keys().next().cloned()).unwrap_or_default(),
                description: None,
                parameters: None,
            }),
        }
    }
}

fn content(value: &Value) -> Message {
    let role = match text(value, "role") {
        Some("model") => "assistant",
        Some(role) => role,
        None => "user",
    };
    Message::new(role, parts_of(value))
}

fn parts_of(content: &Value) -> Vec<Part> {
    let mut parts = Vec::new();
    match content {
        Value::String(said) => push_text(&mut parts, said),
        _ if content["parts"].is_array() => {
            for part in list(content, "parts") {
                read_part(part, &mut parts);
            }
        }
        _ if is_nothing(&content["parts"]) => {}
        _ => parts.push(Part::other("parts", &content["parts"])),
    }
    parts
}

/// Adds a part. Texts of a stream are pieces: they become one where they follow each other.
fn read_part(part: &Value, parts: &mut Vec<Part>) {
    if let Some(said) = text(part, "text") {
        let thought = part["thought"] == true;
        match parts.last_mut() {
            _ if said.is_empty() => {}
            Some(Part::Reasoning { text }) if thought => text.push_str(said),
            Some(Part::Text { text }) if !thought => text.push_str(said),
            _ if thought => parts.push(Part::Reasoning { text: said.to_owned() }),
            _ => parts.push(Part::text(said)),
        }
        return;
    }
    let (call, result) = (
        either(part, "functionCall", "function_call"),
        either(part, "functionResponse", "function_response"),
    );
    let (inline, file) = (either(part, "inlineData", "inline_data"), either(part, "fileData", "file_data"));
    let media_type = |data: &Value| either(data, "mimeType", "mime_type").as_str().map(str::to_owned);
    parts.push(if call.is_object() {
        Part::ToolCall {
            id: owned(call, "id"),
            name: owned(call, "name").unwrap_or_default(),
            arguments: text_or_json(&call["args"]),
        }
    } else if result.is_object() {
        Part::ToolResult {
            id: owned(result, "id"),
            name: owned(result, "name"),
            parts: vec![Part::text(text_or_json(&result["response"]))],
            is_error: false,
        }
    } else if let Some(data) = text(inline, "data") {
        Part::Media(json::inline("media", media_type(inline).as_deref(), data))
    } else if file.is_object() {
        let url = either(file, "fileUri", "file_uri").as_str().map(str::to_owned);
        Part::Media(Media { kind: "file".to_owned(), media_type: media_type(file), url, ..Media::default() })
    } else {
        let kind = part.as_object().and_then(|members| members.keys().next().cloned());
        Part::other(kind.unwrap_or_else(|| "part".to_owned()), part)
    });
}

/// Reads an answer.
pub(crate) fn answer(said: &Texts, out: &mut Transcript) {
    let mut candidates: BTreeMap<u64, Answer> = BTreeMap::new();
    for document in &said.documents {
        let blocked = &document["promptFeedback"];
        if let Some(problem) = json::problem(document) {
            out.error = Some(problem);
        } else if !is_nothing(blocked) {
            out.rest.push(Part::other("promptFeedback", blocked));
        } else if !document["candidates"].is_array() && document["usageMetadata"].is_null() {
            out.rest.push(Part::other("answer", document));
        }
        for (n, candidate) in list(document, "candidates").iter().enumerate() {
            let index = candidate["index"].as_u64().unwrap_or(n as u64);
            let answer = candidates.entry(index).or_insert_with(|| Answer {
                index,
                message: Message::new("assistant", Vec::new()),
                finish_reason: None,
            });
            for part in list(&candidate["content"], "parts") {
                read_part(part, &mut answer.message.parts);
            }
            if let Some(reason) = text(candidate, "finishReason") {
                answer.finish_reason = Some(reason.to_owned());
            }
        }
    }
    out.answers = candidates.into_values().collect();
}
