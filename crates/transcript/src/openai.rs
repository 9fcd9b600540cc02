//! A call in the form of OpenAI's chat API, whichever API it was made by: for data sets that evaluation reads.

use crate::model::{Dialect, Media, Message, Part, Transcript};
use crate::turn::Turn;
use serde_json::{Map, Value, json};

/// Why a call is in no data set of conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChat {
    /// It is of another kind.
    OtherKind,
    /// Nothing could be read of what was asked.
    NoMessages,
    /// Several texts were to be completed at once.
    SeveralPrompts,
    /// Nothing was answered.
    NoAnswer,
}

impl NoChat {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherKind => "no conversation",
            Self::NoMessages => "no message could be read",
            Self::SeveralPrompts => "several prompts in one call",
            Self::NoAnswer => "no answer",
        }
    }
}

/// Members of an entry that go into the line as they are.
const METADATA: [&str; 29] = [
    "app_version",
    "attempt",
    "cached_tokens",
    "completion_tokens",
    "cost_usd",
    "environment",
    "error_type",
    "event_id",
    "finish_reason",
    "http_status",
    "latency_ms",
    "model",
    "model_checksum",
    "model_returned",
    "params",
    "parent_event_id",
    "prompt_tokens",
    "provider",
    "reasoning_tokens",
    "request_id",
    "route",
    "seq",
    "session_id",
    "status",
    "subject_ref",
    "system_fingerprint",
    "tenant_id",
    "timestamp",
    "trace_id",
];

/// The line of a call in a data set.
pub fn line(turn: &Turn, transcript: &Transcript) -> Result<Value, NoChat> {
    match transcript.dialect {
        Dialect::Embeddings | Dialect::WebSocket | Dialect::Other => return Err(NoChat::OtherKind),
        Dialect::Completions if transcript.request.len() > 1 => return Err(NoChat::SeveralPrompts),
        _ => {}
    }
    let read = transcript.request.iter().any(|message| message.role != "client");
    if !read {
        return Err(NoChat::NoMessages);
    }
    let mut unconverted = 0;
    let mut answers = transcript
        .answers
        .iter()
        .filter(|answer| !answer.message.parts.is_empty())
        .map(|answer| assistant(&answer.message, &mut unconverted))
        .collect::<Vec<_>>()
        .into_iter();
    let answer = answers.next().ok_or(NoChat::NoAnswer)?;
    let messages: Vec<Value> =
        transcript.request.iter().flat_map(|message| converted(message, &mut unconverted)).collect();
    let mut metadata: Map<String, Value> = METADATA
        .iter()
        .filter(|name| !turn.entry[**name].is_null())
        .map(|name| ((*name).to_owned(), turn.entry[*name].clone()))
        .collect();
    if let Some(id) = &transcript.previous_response_id {
        metadata.insert("previous_response_id".to_owned(), id.clone().into());
    }
    metadata.insert("dialect".to_owned(), json!(transcript.dialect));
    for (name, is) in
        [("partial", turn.entry["output"]["partial"] == true), ("failed", transcript.error.is_some())]
    {
        if is {
            metadata.insert(name.to_owned(), true.into());
        }
    }
    if unconverted > 0 {
        metadata.insert("unconverted_parts".to_owned(), unconverted.into());
    }
    let mut line = json!({ "messages": messages, "answer": answer, "metadata": metadata });
    let others: Vec<Value> = answers.collect();
    if !others.is_empty() {
        line["alternatives"] = others.into();
    }
    if !transcript.tools.is_empty() {
        line["tools"] = transcript
            .tools
            .iter()
            .map(|tool| {
                let mut function = json!({ "name": tool.name });
                for (name, value) in [
                    ("description", tool.description.clone().map(Value::from)),
                    ("parameters", tool.parameters.clone()),
                ] {
                    if let Some(value) = value {
                        function[name] = value;
                    }
                }
                json!({ "type": "function", "function": function })
            })
            .collect();
    }
    Ok(line)
}

/// A message, and before it the results that it brings: they are messages of their own there.
fn converted(message: &Message, unconverted: &mut usize) -> Vec<Value> {
    if message.role == "assistant" {
        return vec![assistant(message, unconverted)];
    }
    let mut out = Vec::new();
    let mut rest = Vec::new();
    for part in &message.parts {
        match part {
            Part::ToolResult { id, name, parts, .. } => {
                let mut result = json!({ "role": "tool", "content": content(parts, unconverted) });
                let id = id.as_ref().or(name.as_ref());
                result["tool_call_id"] = id.map_or(Value::Null, |id| id.as_str().into());
                out.push(result);
            }
            other => rest.push(other.clone()),
        }
    }
    if !rest.is_empty() || out.is_empty() {
        let role = match message.role.as_str() {
            role @ ("system" | "developer" | "user" | "tool") => role,
            _ => "user",
        };
        let mut said = json!({ "role": role, "content": content(&rest, unconverted) });
        if let Some(name) = &message.name {
            said["name"] = name.as_str().into();
        }
        out.push(said);
    }
    out
}

fn assistant(message: &Message, unconverted: &mut usize) -> Value {
    let mut out = json!({ "role": "assistant" });
    let (mut said, mut calls) = (Vec::new(), Vec::new());
    let (mut thought, mut refusal) = (String::new(), String::new());
    for part in &message.parts {
        match part {
            Part::Reasoning { text } => thought.push_str(text),
            Part::Refusal { text } => refusal.push_str(text),
            Part::ToolCall { id, name, arguments } => calls.push(json!({
                // Gemini has no ids: a result names the tool instead.
                "id": id.as_ref().unwrap_or(name),
                "type": "function",
                "function": { "name": name, "arguments": arguments },
            })),
            other => said.push(other.clone()),
        }
    }
    out["content"] = if said.is_empty() { Value::Null } else { content(&said, unconverted) };
    for (name, text) in [("reasoning_content", thought), ("refusal", refusal)] {
        if !text.is_empty() {
            out[name] = text.into();
        }
    }
    if !calls.is_empty() {
        out["tool_calls"] = calls.into();
    }
    out
}

/// A text where it is only text, else a list of parts.
fn content(parts: &[Part], unconverted: &mut usize) -> Value {
    let texts: Option<Vec<&str>> = parts
        .iter()
        .map(|part| if let Part::Text { text } = part { Some(text.as_str()) } else { None })
        .collect();
    if let Some(texts) = texts.filter(|texts| texts.len() < 2) {
        return texts.concat().into();
    }
    parts.iter().map(|part| content_part(part, unconverted)).collect()
}

fn content_part(part: &Part, unconverted: &mut usize) -> Value {
    match part {
        Part::Text { text } | Part::Reasoning { text } => json!({ "type": "text", "text": text }),
        Part::Refusal { text } => json!({ "type": "refusal", "refusal": text }),
        Part::Media(media) => media_part(media).unwrap_or_else(|| as_text(part, unconverted)),
        Part::ToolCall { .. } | Part::ToolResult { .. } | Part::Other { .. } | Part::Unread { .. } => {
            as_text(part, unconverted)
        }
    }
}

/// What the form has no place for stands in it as JSON, and is counted.
fn as_text(part: &Part, unconverted: &mut usize) -> Value {
    *unconverted += 1;
    json!({ "type": "text", "text": json!(part).to_string() })
}

fn media_part(media: &Media) -> Option<Value> {
    let data = |fallback: &str| {
        let media_type = media.media_type.as_deref().unwrap_or(fallback);
        media.base64.as_ref().map(|base64| format!("data:{media_type};base64,{base64}"))
    };
    let is =
        |kind: &str| media.kind == kind || media.media_type.as_deref().is_some_and(|of| of.starts_with(kind));
    if is("image") {
        let url = media.url.clone().or_else(|| data("image/png"))?;
        return Some(json!({ "type": "image_url", "image_url": { "url": url } }));
    }
    if is("audio") {
        let format = media.media_type.as_deref().and_then(|of| of.split('/').nth(1)).unwrap_or("wav");
        let data = media.base64.as_ref()?;
        return Some(json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } }));
    }
    let data = data("application/octet-stream")?;
    Some(json!({ "type": "file", "file": { "file_data": data, "filename": media.name } }))
}
