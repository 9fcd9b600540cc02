//! OpenAI's responses: lists of items, plain and as typed events.

use crate::chat::content;
use crate::json::{self, is_nothing, list, owned, push_rest, text, text_or_json};
use crate::model::{Answer, Message, Part, Transcript};
use crate::sse::Texts;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Reads a request.
pub(crate) fn request(request: &Value, out: &mut Transcript) {
    match &request["instructions"] {
        Value::Null => {}
        instructions => out.request.push(Message::new("system", content(instructions))),
    }
    match &request["input"] {
        Value::Null => {}
        Value::Array(items) => items.iter().for_each(|item| push_item(&mut out.request, item)),
        said => out.request.push(Message::new("user", content(said))),
    }
    out.tools = list(request, "tools").iter().map(json::tool).collect();
    out.previous_response_id = owned(request, "previous_response_id");
}

/// Adds an item: what the model said in several items in a row is one message, as it is in its answer.
fn push_item(messages: &mut Vec<Message>, item: &Value) {
    let (role, mut parts) = read_item(item);
    match messages.last_mut() {
        Some(last) if role == "assistant" && last.role == role => last.parts.append(&mut parts),
        _ => messages.push(Message::new(role, parts)),
    }
}

fn read_item(item: &Value) -> (String, Vec<Part>) {
    let kind = text(item, "type").unwrap_or("message");
    let call = |arguments: &str| Part::ToolCall {
        id: owned(item, "call_id").or_else(|| owned(item, "id")),
        name: owned(item, "name").unwrap_or_default(),
        arguments: text_or_json(&item[arguments]),
    };
    let assistant = |part| ("assistant".to_owned(), vec![part]);
    match kind {
        "message" if !item["role"].is_null() || !item["content"].is_null() => {
            (owned(item, "role").unwrap_or_else(|| "assistant".to_owned()), content(&item["content"]))
        }
        "function_call" | "mcp_call" if item["arguments"].is_string() => {
            let mut parts = vec![call("arguments")];
            // What a tool at the provider answered stands in the same item.
            push_rest(
                &mut parts,
                item,
                &["type", "id", "call_id", "name", "arguments", "status", "async", "caller", "namespace"],
            );
            ("assistant".to_owned(), parts)
        }
        "custom_tool_call" => assistant(call("input")),
        "function_call_output" | "custom_tool_call_output" => {
            let parts = content(&item["output"]);
            let id = owned(item, "call_id");
            ("tool".to_owned(), vec![Part::ToolResult { id, name: None, parts, is_error: false }])
        }
        "reasoning" => {
            let thoughts: Vec<Part> = list(item, "content")
                .iter()
                .chain(list(item, "summary"))
                .filter_map(|part| text(part, "text"))
                .map(|thought| Part::Reasoning { text: thought.to_owned() })
                .collect();
            let sealed = thoughts.is_empty() && !is_nothing(&item["encrypted_content"]);
            let parts = if sealed { vec![Part::other("encrypted reasoning", item)] } else { thoughts };
            ("assistant".to_owned(), parts)
        }
        _ => assistant(Part::other(kind, item)),
    }
}

/// Events that say what other events say, too, or nothing of what was said.
const SILENT: [&str; 14] = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.done",
    "response.refusal.done",
    "response.reasoning_text.done",
    "response.reasoning_part.added",
    "response.reasoning_part.done",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done",
    "response.reasoning_summary_text.done",
    "response.function_call_arguments.done",
];

/// Reads an answer.
pub(crate) fn answer(said: &Texts, out: &mut Transcript) {
    let mut stream = Stream::default();
    for document in &said.documents {
        if document["object"] == "response" {
            stream.response = Some(document.clone());
        } else if let Some(problem) = json::problem(document) {
            out.error = Some(problem);
        } else if !stream.take(document) {
            out.rest.push(Part::other(text(document, "type").unwrap_or("answer"), document));
        }
    }
    let response = stream.response.take().unwrap_or(Value::Null);
    if response["error"].is_object() {
        out.error = json::problem(&response);
    }
    let whole = list(&response, "output");
    let items = if whole.is_empty() { stream.finish() } else { whole.to_vec() };
    let mut messages = Vec::new();
    items.iter().for_each(|item| push_item(&mut messages, item));
    if messages.is_empty() && response.is_null() {
        return;
    }
    let parts = messages.into_iter().flat_map(|message| message.parts).collect();
    let reason = owned(&response["incomplete_details"], "reason").or_else(|| owned(&response, "status"));
    out.answers = vec![Answer { index: 0, message: Message::new("assistant", parts), finish_reason: reason }];
}

/// Items, as their pieces come.
#[derive(Default)]
struct Stream {
    items: BTreeMap<u64, Item>,
    response: Option<Value>,
}

#[derive(Default)]
struct Item {
    value: Value,
    /// By the event's kind and the part's number.
    pieces: BTreeMap<(&'static str, u64), String>,
    done: bool,
}

impl Stream {
    /// Takes an event; `false`: it is none that there is a word for.
    fn take(&mut self, event: &Value) -> bool {
        let kind = text(event, "type").unwrap_or_default();
        let index = event["output_index"].as_u64().unwrap_or(0);
        let number = ["content_index", "summary_index"].iter().find_map(|name| event[*name].as_u64());
        let piece = match kind {
            "response.output_item.added" => {
                self.items.entry(index).or_default().value = event["item"].clone();
                return true;
            }
            "response.output_item.done" => {
                let item = self.items.entry(index).or_default();
                (item.value, item.done) = (event["item"].clone(), true);
                return true;
            }
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
                self.response = Some(event["response"].clone());
                return true;
            }
            "response.output_text.delta" => "output_text",
            "response.refusal.delta" => "refusal",
            "response.reasoning_text.delta" => "reasoning_text",
            "response.reasoning_summary_text.delta" => "summary_text",
            "response.function_call_arguments.delta" | "response.mcp_call_arguments.delta" => "arguments",
            "response.custom_tool_call_input.delta" => "input",
            _ => return SILENT.contains(&kind),
        };
        let item = self.items.entry(index).or_default();
        let delta = text(event, "delta").unwrap_or_default();
        item.pieces.entry((piece, number.unwrap_or(0))).or_default().push_str(delta);
        true
    }

    fn finish(self) -> Vec<Value> {
        self.items.into_values().map(Item::finish).collect()
    }
}

impl Item {
    /// The item of its pieces, where the stream broke off before it came whole.
    fn finish(self) -> Value {
        let Self { mut value, pieces, done } = self;
        if done || pieces.is_empty() {
            return value;
        }
        if !value.is_object() {
            value = json!({ "type": "message", "role": "assistant" });
        }
        let (mut content, mut summary) = (Vec::new(), Vec::new());
        for ((kind, _), said) in pieces {
            match kind {
                "arguments" | "input" => value[kind] = said.into(),
                "refusal" => content.push(json!({ "type": kind, "refusal": said })),
                "summary_text" => summary.push(json!({ "type": kind, "text": said })),
                _ => content.push(json!({ "type": kind, "text": said })),
            }
        }
        for (name, list) in [("content", content), ("summary", summary)] {
            if !list.is_empty() {
                value[name] = list.into();
            }
        }
        value
    }
}
