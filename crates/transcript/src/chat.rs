//! OpenAI's chat completions and completions, plain and streamed.

use crate::json::{self, is_nothing, list, owned, push_rest, push_text, text, text_or_json};
use crate::model::{Answer, Message, Part, Transcript};
use crate::sse::Texts;
use serde_json::Value;
use std::collections::BTreeMap;

/// Members of a message that are read, or say nothing of what was said.
const MESSAGE: [&str; 13] = [
    "role",
    "content",
    "name",
    "reasoning",
    "reasoning_content",
    "thinking",
    "refusal",
    "tool_calls",
    "tool_call_id",
    "tool_name",
    "function_call",
    "images",
    "token_ids",
];

/// Reads a request.
pub(crate) fn request(request: &Value, out: &mut Transcript) {
    out.request = list(request, "messages").iter().map(message).collect();
    out.tools = list(request, "tools").iter().chain(list(request, "functions")).map(json::tool).collect();
}

/// A message of a request or an answer.
pub(crate) fn message(value: &Value) -> Message {
    let role = text(value, "role").unwrap_or("unknown").to_owned();
    let mut parts = Vec::new();
    for name in ["reasoning_content", "reasoning", "thinking"] {
        if let Some(thought) = text(value, name).filter(|thought| !thought.is_empty()) {
            parts.push(Part::Reasoning { text: thought.to_owned() });
            break;
        }
    }
    if matches!(role.as_str(), "tool" | "function") {
        let name = owned(value, "name").or_else(|| owned(value, "tool_name"));
        let id = owned(value, "tool_call_id");
        parts.push(Part::ToolResult { id, name, parts: content(&value["content"]), is_error: false });
    } else {
        parts.extend(content(&value["content"]));
    }
    if let Some(refusal) = text(value, "refusal").filter(|refusal| !refusal.is_empty()) {
        parts.push(Part::Refusal { text: refusal.to_owned() });
    }
    for image in list(value, "images") {
        parts.push(match image.as_str() {
            Some(base64) => Part::Media(json::inline("image", None, base64)),
            None => Part::other("image", image),
        });
    }
    parts.extend(list(value, "tool_calls").iter().map(tool_call));
    if !is_nothing(&value["function_call"]) {
        parts.push(call(None, &value["function_call"]));
    }
    push_rest(&mut parts, value, &MESSAGE);
    let name = if role == "tool" || role == "function" { None } else { owned(value, "name") };
    Message { role, name, parts }
}

fn tool_call(value: &Value) -> Part {
    match (&value["function"], &value["custom"]) {
        (function @ Value::Object(_), _) => call(owned(value, "id"), function),
        (_, custom @ Value::Object(_)) => call(owned(value, "id"), custom),
        _ => Part::other("tool_call", value),
    }
}

fn call(id: Option<String>, function: &Value) -> Part {
    let arguments = [&function["arguments"], &function["input"]].into_iter().find(|value| !value.is_null());
    Part::ToolCall {
        id,
        name: owned(function, "name").unwrap_or_default(),
        arguments: arguments.map_or_else(String::new, text_or_json),
    }
}

/// Content: a text, or a list of parts. Responses have the same with other names.
pub(crate) fn content(value: &Value) -> Vec<Part> {
    let mut parts = Vec::new();
    match value {
        Value::Null => {}
        Value::String(said) => push_text(&mut parts, said),
        Value::Array(list) => list.iter().for_each(|value| content_part(value, &mut parts)),
        other => parts.push(Part::other("content", other)),
    }
    parts
}

fn content_part(value: &Value, parts: &mut Vec<Part>) {
    if let Some(said) = value.as_str() {
        return push_text(parts, said);
    }
    let kind = text(value, "type").unwrap_or("content");
    let url = || {
        let url = &value[if kind == "input_image" { "image_url" } else { kind }];
        url.as_str().or_else(|| url["url"].as_str())
    };
    let part = match kind {
        "text" | "input_text" | "output_text" if value["text"].is_string() => {
            push_text(parts, text(value, "text").unwrap_or_default());
            let annotations = &value["annotations"];
            if !is_nothing(annotations) {
                parts.push(Part::other("annotations", annotations));
            }
            return;
        }
        "refusal" if value["refusal"].is_string() => {
            Part::Refusal { text: owned(value, "refusal").unwrap_or_default() }
        }
        "thinking" | "reasoning_text" | "summary_text" => {
            let thought = text(value, "text").or(text(value, "thinking"));
            Part::Reasoning { text: thought.map_or_else(|| value.to_string(), str::to_owned) }
        }
        "image_url" | "input_image" | "video_url" | "audio_url" => match url() {
            Some(url) => {
                let kind = if kind == "input_image" { "image" } else { kind.trim_end_matches("_url") };
                Part::Media(json::by_url(kind, url))
            }
            None => Part::other(kind, value),
        },
        "input_audio" => match text(&value["input_audio"], "data") {
            Some(data) => {
                let format = text(&value["input_audio"], "format").map(|format| format!("audio/{format}"));
                Part::Media(json::inline("audio", format.as_deref(), data))
            }
            None => Part::other(kind, value),
        },
        "file" | "input_file" => {
            let file = if value["file"].is_object() { &value["file"] } else { value };
            let mut media = match (text(file, "file_data"), text(file, "file_url")) {
                (Some(data), _) if data.starts_with("data:") => json::by_url("file", data),
                (Some(data), _) => json::inline("file", None, data),
                (None, Some(url)) => json::by_url("file", url),
                (None, None) => json::by_url("file", ""),
            };
            media.url = media.url.filter(|url| !url.is_empty());
            media.name = owned(file, "filename").or_else(|| owned(file, "file_id"));
            Part::Media(media)
        }
        _ => Part::other(kind, value),
    };
    parts.push(part);
}

/// Reads an answer.
pub(crate) fn answer(said: &Texts, out: &mut Transcript) {
    let mut choices: BTreeMap<u64, Choice> = BTreeMap::new();
    for document in &said.documents {
        if let Some(problem) = json::problem(document) {
            out.error = Some(problem);
        } else if !document["choices"].is_array() {
            out.rest.push(Part::other("answer", document));
        }
        for (n, choice) in list(document, "choices").iter().enumerate() {
            let index = choice["index"].as_u64().unwrap_or(n as u64);
            choices.entry(index).or_default().take(choice);
        }
    }
    out.answers = choices.into_iter().map(|(index, choice)| choice.finish(index)).collect();
}

/// One choice, as its pieces come.
#[derive(Default)]
struct Choice {
    role: Option<String>,
    reasoning: String,
    content: String,
    refusal: String,
    calls: BTreeMap<u64, Call>,
    whole: Option<Message>,
    rest: Vec<Part>,
    finish_reason: Option<String>,
}

#[derive(Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Choice {
    fn take(&mut self, choice: &Value) {
        if let Some(reason) = text(choice, "finish_reason") {
            self.finish_reason = Some(reason.to_owned());
        }
        if choice["message"].is_object() {
            self.whole = Some(message(&choice["message"]));
        }
        let delta = &choice["delta"];
        if !delta.is_object() {
            return;
        }
        if let Some(role) = text(delta, "role").filter(|role| !role.is_empty()) {
            self.role = Some(role.to_owned());
        }
        // Servers that send both send the same in both.
        let thought = ["reasoning_content", "reasoning"].iter().find_map(|name| text(delta, name));
        self.reasoning.push_str(thought.unwrap_or_default());
        match &delta["content"] {
            Value::String(said) => self.content.push_str(said),
            other => self.rest.extend(content(other)),
        }
        self.refusal.push_str(text(delta, "refusal").unwrap_or_default());
        for (n, call) in list(delta, "tool_calls").iter().enumerate() {
            self.take_call(n as u64, call);
        }
        if delta["function_call"].is_object() {
            self.calls.entry(0).or_default().take(&delta["function_call"]);
        }
        push_rest(&mut self.rest, delta, &MESSAGE);
    }

    /// A piece of a call belongs to the call of its index; servers that send none send calls whole, each with an id.
    fn take_call(&mut self, n: u64, piece: &Value) {
        let id = text(piece, "id").filter(|id| !id.is_empty());
        let index = piece["index"].as_u64().unwrap_or_else(|| match id {
            Some(id) => {
                let known = self.calls.iter().find(|(_, call)| call.id.as_deref() == Some(id));
                known.map_or(self.calls.len() as u64, |(index, _)| *index)
            }
            None => n,
        });
        let call = self.calls.entry(index).or_default();
        if let Some(id) = id {
            call.id = Some(id.to_owned());
        }
        let function = if piece["custom"].is_object() { &piece["custom"] } else { &piece["function"] };
        call.take(function);
    }

    fn finish(self, index: u64) -> Answer {
        let mut message = self.whole.unwrap_or_default();
        if message.role.is_empty() || self.role.is_some() {
            message.role = self.role.unwrap_or_else(|| "assistant".to_owned());
        }
        if !self.reasoning.is_empty() {
            message.parts.push(Part::Reasoning { text: self.reasoning });
        }
        push_text(&mut message.parts, &self.content);
        if !self.refusal.is_empty() {
            message.parts.push(Part::Refusal { text: self.refusal });
        }
        message.parts.extend(self.calls.into_values().map(|call| Part::ToolCall {
            id: call.id,
            name: call.name,
            arguments: call.arguments,
        }));
        message.parts.extend(self.rest);
        Answer { index, message, finish_reason: self.finish_reason }
    }
}

impl Call {
    fn take(&mut self, function: &Value) {
        // A name comes whole; some servers repeat it with each piece.
        if let Some(name) = text(function, "name").filter(|name| !name.is_empty()) {
            self.name = name.to_owned();
        }
        for arguments in [&function["arguments"], &function["input"]] {
            if !arguments.is_null() {
                self.arguments.push_str(&text_or_json(arguments));
            }
        }
    }
}

/// Reads a request to complete a text, or several.
pub(crate) fn text_request(request: &Value, out: &mut Transcript) {
    let prompt = &request["prompt"];
    let prompts: Vec<&Value> = match prompt {
        Value::Null => Vec::new(),
        Value::Array(several) if several.iter().all(|one| !one.is_number()) => several.iter().collect(),
        one => vec![one],
    };
    let message = |prompt: &Value| {
        let part = match prompt.as_str() {
            Some(said) => Part::text(said),
            None => Part::other("tokens", prompt),
        };
        Message::new("prompt", vec![part])
    };
    out.request = prompts.into_iter().map(message).collect();
    if let Some(suffix) = text(request, "suffix").filter(|suffix| !suffix.is_empty()) {
        out.request.push(Message::new("suffix", vec![Part::text(suffix)]));
    }
}

/// Reads completions.
pub(crate) fn text_answer(said: &Texts, out: &mut Transcript) {
    let mut choices: BTreeMap<u64, (String, Option<String>)> = BTreeMap::new();
    for document in &said.documents {
        if let Some(problem) = json::problem(document) {
            out.error = Some(problem);
        } else if !document["choices"].is_array() {
            out.rest.push(Part::other("answer", document));
        }
        for (n, choice) in list(document, "choices").iter().enumerate() {
            let here = choices.entry(choice["index"].as_u64().unwrap_or(n as u64)).or_default();
            here.0.push_str(text(choice, "text").unwrap_or_default());
            if let Some(reason) = text(choice, "finish_reason") {
                here.1 = Some(reason.to_owned());
            }
        }
    }
    out.answers = choices
        .into_iter()
        .map(|(index, (said, finish_reason))| {
            let mut parts = Vec::new();
            push_text(&mut parts, &said);
            Answer { index, message: Message::new("assistant", parts), finish_reason }
        })
        .collect();
}
