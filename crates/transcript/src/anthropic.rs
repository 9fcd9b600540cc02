//! Anthropic's messages: blocks of content, plain and as typed events.

use crate::json::{self, is_nothing, list, owned, push_text, text, text_or_json};
use crate::model::{Answer, Media, Message, Part, Transcript};
use crate::sse::Texts;
use serde_json::Value;
use std::collections::BTreeMap;

/// Reads a request.
pub(crate) fn request(request: &Value, out: &mut Transcript) {
    if !is_nothing(&request["system"]) {
        out.request.push(Message::new("system", blocks(&request["system"])));
    }
    for message in list(request, "messages") {
        let role = owned(message, "role").unwrap_or_else(|| "unknown".to_owned());
        out.request.push(Message::new(role, blocks(&message["content"])));
    }
    out.tools = list(request, "tools").iter().map(json::tool).collect();
}

fn blocks(value: &Value) -> Vec<Part> {
    let mut parts = Vec::new();
    match value {
        Value::Null => {}
        Value::String(said) => push_text(&mut parts, said),
        Value::Array(list) => list.iter().for_each(|block| parts.extend(read_block(block))),
        other => parts.push(Part::other("content", other)),
    }
    parts
}

fn read_block(block: &Value) -> Vec<Part> {
    let kind = text(block, "type").unwrap_or("content");
    let part = match kind {
        "text" if block["text"].is_string() => {
            let mut parts = Vec::new();
            push_text(&mut parts, text(block, "text").unwrap_or_default());
            if !is_nothing(&block["citations"]) {
                parts.push(Part::other("citations", &block["citations"]));
            }
            return parts;
        }
        "thinking" if block["thinking"].is_string() => {
            Part::Reasoning { text: owned(block, "thinking").unwrap_or_default() }
        }
        "tool_use" | "server_tool_use" | "mcp_tool_use" => Part::ToolCall {
            id: owned(block, "id"),
            name: owned(block, "name").unwrap_or_default(),
            arguments: text_or_json(&block["input"]),
        },
        "tool_result" | "mcp_tool_result" => Part::ToolResult {
            id: owned(block, "tool_use_id"),
            name: None,
            parts: blocks(&block["content"]),
            is_error: block["is_error"] == true,
        },
        "image" | "document" => {
            let source = &block["source"];
            let media = match (text(source, "type"), text(source, "data"), text(source, "url")) {
                (Some("base64"), Some(data), _) => json::inline(kind, text(source, "media_type"), data),
                (_, _, Some(url)) => json::by_url(kind, url),
                (Some("text"), Some(said), _) => return vec![Part::text(said)],
                (Some("file"), _, _) => {
                    Media { kind: kind.to_owned(), name: owned(source, "file_id"), ..Media::default() }
                }
                _ => return vec![Part::other(kind, block)],
            };
            Part::Media(media)
        }
        _ => Part::other(kind, block),
    };
    vec![part]
}

/// Events without anything that was said.
const SILENT: [&str; 3] = ["ping", "content_block_stop", "message_stop"];

/// Reads an answer.
pub(crate) fn answer(said: &Texts, out: &mut Transcript) {
    let mut pieces: BTreeMap<u64, Block> = BTreeMap::new();
    let mut message: Option<Message> = None;
    let mut reason = None;
    for document in &said.documents {
        match text(document, "type") {
            Some("message") => {
                reason = owned(document, "stop_reason");
                message = Some(read_message(document));
            }
            Some("message_start") => message = Some(read_message(&document["message"])),
            Some("content_block_start") => {
                pieces.entry(index(document)).or_default().start = document["content_block"].clone();
            }
            Some("content_block_delta") => {
                pieces.entry(index(document)).or_default().take(&document["delta"])
            }
            Some("message_delta") => {
                reason = owned(&document["delta"], "stop_reason").or(reason);
            }
            Some(kind) if SILENT.contains(&kind) => {}
            kind => match json::problem(document) {
                Some(problem) => out.error = Some(problem),
                None => out.rest.push(Part::other(kind.unwrap_or("answer"), document)),
            },
        }
    }
    if message.is_some() || !pieces.is_empty() {
        let mut message = message.unwrap_or_else(|| Message::new("assistant", Vec::new()));
        message.parts.extend(pieces.into_values().flat_map(Block::finish));
        out.answers.push(Answer { index: 0, message, finish_reason: reason });
    }
}

fn index(event: &Value) -> u64 {
    event["index"].as_u64().unwrap_or(0)
}

fn read_message(value: &Value) -> Message {
    let role = owned(value, "role").unwrap_or_else(|| "assistant".to_owned());
    Message::new(role, blocks(&value["content"]))
}

/// A block of content, as its pieces come.
#[derive(Default)]
struct Block {
    start: Value,
    text: String,
    thinking: String,
    arguments: String,
    rest: Vec<Part>,
}

impl Block {
    fn take(&mut self, delta: &Value) {
        match text(delta, "type") {
            Some("text_delta") => self.text.push_str(text(delta, "text").unwrap_or_default()),
            Some("thinking_delta") => self.thinking.push_str(text(delta, "thinking").unwrap_or_default()),
            Some("input_json_delta") => {
                self.arguments.push_str(text(delta, "partial_json").unwrap_or_default());
            }
            // It proves a thought to the provider, and says nothing.
            Some("signature_delta") => {}
            kind => self.rest.push(Part::other(kind.unwrap_or("delta"), delta)),
        }
    }

    fn finish(self) -> Vec<Part> {
        let mut parts = match &self.start {
            Value::Null => Vec::new(),
            start => read_block(start),
        };
        match parts.first_mut() {
            Some(Part::ToolCall { arguments, .. }) if !self.arguments.is_empty() => {
                *arguments = self.arguments;
            }
            Some(Part::Reasoning { text }) => text.push_str(&self.thinking),
            Some(Part::Text { text }) => text.push_str(&self.text),
            _ => {
                if !self.thinking.is_empty() {
                    parts.push(Part::Reasoning { text: self.thinking });
                }
                push_text(&mut parts, &self.text);
                if !self.arguments.is_empty() {
                    parts.push(Part::text(self.arguments));
                }
            }
        }
        parts.extend(self.rest);
        parts
    }
}
