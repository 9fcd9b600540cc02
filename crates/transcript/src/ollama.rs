//! Ollama's chat and `generate`: one document, or a line for each piece.

use crate::chat;
use crate::json::{self, list, push_rest, push_text, text};
use crate::model::{Answer, Message, Part, Transcript};
use crate::sse::Texts;
use serde_json::Value;

/// Reads a chat request.
pub(crate) fn chat_request(request: &Value, out: &mut Transcript) {
    chat::request(request, out);
}

/// Reads a request to go on from a prompt.
pub(crate) fn generate_request(request: &Value, out: &mut Transcript) {
    for (name, role) in [("system", "system"), ("prompt", "user"), ("suffix", "suffix")] {
        if let Some(said) = text(request, name).filter(|said| !said.is_empty()) {
            out.request.push(Message::new(role, vec![Part::text(said)]));
        }
    }
    for image in list(request, "images").iter().filter_map(Value::as_str) {
        let part = Part::Media(json::inline("image", None, image));
        match out.request.iter_mut().find(|message| message.role == "user") {
            Some(message) => message.parts.push(part),
            None => out.request.push(Message::new("user", vec![part])),
        }
    }
}

/// Reads an answer.
pub(crate) fn answer(said: &Texts, out: &mut Transcript) {
    let (mut thought, mut spoken, mut rest) = (String::new(), String::new(), Vec::new());
    let (mut any, mut reason, mut role) = (false, None, None);
    for document in &said.documents {
        if let Some(problem) = json::problem(document) {
            out.error = Some(problem);
            continue;
        }
        let message = &document["message"];
        if !message.is_object() && !document["response"].is_string() {
            out.rest.push(Part::other("answer", document));
            continue;
        }
        any = true;
        for value in [message, document] {
            thought.push_str(text(value, "thinking").unwrap_or_default());
        }
        spoken.push_str(text(message, "content").or(text(document, "response")).unwrap_or_default());
        role = role.or_else(|| json::owned(message, "role"));
        let calls = chat::message(message).parts.into_iter();
        rest.extend(calls.filter(|part| matches!(part, Part::ToolCall { .. } | Part::Media(_))));
        push_rest(&mut rest, message, &["role", "content", "thinking", "tool_calls", "images"]);
        reason = json::owned(document, "done_reason").or(reason);
    }
    if any {
        let mut parts = Vec::new();
        if !thought.is_empty() {
            parts.push(Part::Reasoning { text: thought });
        }
        push_text(&mut parts, &spoken);
        parts.extend(rest);
        let message = Message::new(role.unwrap_or_else(|| "assistant".to_owned()), parts);
        out.answers.push(Answer { index: 0, message, finish_reason: reason });
    }
}
