//! An answer as server-sent events: `data: {…}` and an empty line each, `data: [DONE]` at the end.
//!
//! A choice opens with its role, goes on in pieces of text or arguments, and closes with its reason. With
//! `include_usage` every frame has `usage: null`, and one more, without choices, has the counts.

use bytes::Bytes;
use serde::Serialize;

use crate::answer::{Answer, Choice, Content};
use crate::shape::{
    CREATED, ChatLogprobs, Delta, DeltaChoice, Envelope, FINGERPRINT, TextChoice, TextLogprobs, ToolCall,
    Usage,
};

/// The last frame of every stream.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";

/// How a stream was asked for.
pub(crate) struct Wish {
    pub(crate) chunks: usize,
    pub(crate) include_usage: bool,
    pub(crate) logprobs: bool,
}

/// The frames of a chat.
pub(crate) fn chat(id: &str, model: &str, answer: &Answer, wish: &Wish) -> Vec<Bytes> {
    let mut frames = Writer::new(id, "chat.completion.chunk", model, wish);
    for (index, choice) in answer.choices.iter().enumerate() {
        frames.chat(index, opening(choice), None, None);
    }
    let cuts: Vec<Vec<&str>> =
        answer.choices.iter().map(|one| pieces(one.content.text(), wish.chunks)).collect();
    for at in 0..wish.chunks {
        for (index, (choice, cut)) in answer.choices.iter().zip(&cuts).enumerate() {
            let Some(piece) = cut.get(at) else { continue };
            let is_text = matches!(choice.content, Content::Text(_));
            let logprobs = (wish.logprobs && is_text).then_some(ChatLogprobs(piece));
            frames.chat(index, addition(choice, piece), logprobs, None);
        }
    }
    for (index, choice) in answer.choices.iter().enumerate() {
        frames.chat(index, Delta::default(), None, Some(choice.finish));
    }
    frames.end(answer)
}

/// The frames of a completion.
pub(crate) fn completion(id: &str, model: &str, answer: &Answer, wish: &Wish) -> Vec<Bytes> {
    let mut frames = Writer::new(id, "text_completion", model, wish);
    for (index, choice) in answer.choices.iter().enumerate() {
        let mut offset = 0;
        for piece in pieces(choice.content.text(), wish.chunks) {
            let logprobs = wish.logprobs.then(|| TextLogprobs::of(piece, offset));
            frames.push(vec![TextChoice { index, text: piece, logprobs, finish_reason: None }], None);
            offset += piece.len();
        }
        let last = TextChoice { index, text: "", logprobs: None, finish_reason: Some(choice.finish) };
        frames.push(vec![last], None);
    }
    frames.end(answer)
}

fn opening(choice: &Choice) -> Delta<'_> {
    match &choice.content {
        Content::Text(_) => Delta { role: Some("assistant"), content: Some(Some("")), tool_calls: None },
        Content::Call(call) => Delta {
            role: Some("assistant"),
            content: Some(None),
            tool_calls: Some([ToolCall::opening(call)]),
        },
    }
}

fn addition<'a>(choice: &Choice, piece: &'a str) -> Delta<'a> {
    match &choice.content {
        Content::Text(_) => Delta { content: Some(Some(piece)), ..Delta::default() },
        Content::Call(_) => Delta { tool_calls: Some([ToolCall::piece(piece)]), ..Delta::default() },
    }
}

/// Cuts a text into exactly `count` pieces: between words while there are enough, between characters
/// otherwise, and the last ones empty when there are too few of those.
pub(crate) fn pieces(text: &str, count: usize) -> Vec<&str> {
    let words: Vec<usize> = text.split_inclusive(' ').map(str::len).collect();
    let units = if words.len() >= count { words } else { text.chars().map(char::len_utf8).collect() };
    let mut at = 0;
    let piece = |piece| {
        let (from, to) = (units.len() * piece / count, units.len() * (piece + 1) / count);
        let start = at;
        at += units[from..to].iter().sum::<usize>();
        &text[start..at]
    };
    (0..count).map(piece).collect()
}

/// Renders frames of one stream.
struct Writer<'a> {
    id: &'a str,
    object: &'static str,
    model: &'a str,
    include_usage: bool,
    frames: Vec<Bytes>,
}

impl<'a> Writer<'a> {
    fn new(id: &'a str, object: &'static str, model: &'a str, wish: &Wish) -> Self {
        let frames = Vec::with_capacity(wish.chunks + 4);
        Self { id, object, model, include_usage: wish.include_usage, frames }
    }

    fn chat(
        &mut self,
        index: usize,
        delta: Delta<'_>,
        logprobs: Option<ChatLogprobs<'_>>,
        finish_reason: Option<&'static str>,
    ) {
        self.push(vec![DeltaChoice { index, delta, logprobs, finish_reason }], None);
    }

    fn push<C: Serialize>(&mut self, choices: Vec<C>, usage: Option<Usage>) {
        let envelope = Envelope {
            id: self.id,
            object: self.object,
            created: CREATED,
            model: self.model,
            choices,
            usage: self.include_usage.then_some(usage),
            system_fingerprint: FINGERPRINT,
        };
        self.frames.push(event(&envelope));
    }

    fn end(mut self, answer: &Answer) -> Vec<Bytes> {
        if self.include_usage {
            self.push(Vec::<()>::new(), Some(Usage::of(answer)));
        }
        self.frames.push(Bytes::from_static(DONE));
        self.frames
    }
}

/// One event; the shapes here have string keys only, so writing them cannot fail.
fn event(value: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"data: ");
    if serde_json::to_writer(&mut bytes, value).is_err() {
        bytes.extend_from_slice(b"null");
    }
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_are_as_many_as_asked() {
        for (text, count) in [("one two three four", 2), ("one two", 5), ("ab", 5), ("", 3), ("äöü ß", 4)]
        {
            let cut = pieces(text, count);
            assert_eq!(cut.len(), count);
            assert_eq!(cut.concat(), text);
        }
        assert_eq!(pieces("one two three four", 2), ["one two ", "three four"]);
    }
}
