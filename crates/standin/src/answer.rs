//! What is answered, before it has a shape: texts, tool calls and token counts.
//!
//! A plain answer and a stream are both rendered from the same [`Answer`], so their texts cannot differ.
//! Everything follows from a seed, the SHA-256 over the model and the messages; whether a stream was asked
//! for is no part of it.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::request::{Chat, Completion, Function, Message, Tool};
use crate::topic;

/// More choices than this are not made.
pub(crate) const CHOICES_MAX: usize = 16;

/// Said by a user to have a tool called although the choice is the model's.
const USE_A_TOOL: &str = "use a tool";
const SENTENCES: usize = 4;
const FINISH_STOP: &str = "stop";
const FINISH_LENGTH: &str = "length";
const FINISH_TOOL_CALLS: &str = "tool_calls";
/// Prefix caches of model servers work in blocks of tokens.
const CACHE_BLOCK_TOKENS: usize = 16;
/// How deep a tool's schema is followed.
const SCHEMA_DEPTH_MAX: usize = 8;

/// What all of an answer follows from.
#[derive(Clone, Copy)]
pub(crate) struct Seed([u8; 32]);

/// An answer without its shape.
pub(crate) struct Answer {
    pub(crate) seed: Seed,
    pub(crate) choices: Vec<Choice>,
    pub(crate) prompt_tokens: usize,
    pub(crate) cached_tokens: usize,
}

/// One alternative of an answer.
pub(crate) struct Choice {
    pub(crate) content: Content,
    pub(crate) finish: &'static str,
}

/// What a choice says.
pub(crate) enum Content {
    Text(String),
    Call(Call),
}

/// A tool call.
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Seed {
    /// The seed of a conversation: roles and texts, each with its length so that none runs into the next.
    pub(crate) fn of<'a>(model: &str, turns: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        part(model);
        for (role, text) in turns {
            part(role);
            part(text);
        }
        Self(hash.finalize().into())
    }

    /// The `lane`th number that follows from the seed.
    pub(crate) fn number(self, lane: u64) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        spread(u64::from_le_bytes([a, b, c, d, e, f, g, h]).wrapping_add(lane))
    }

    /// 24 hex digits for an id.
    pub(crate) fn hex(self) -> String {
        format!("{:016x}{:08x}", self.number(u64::MAX), self.number(u64::MAX - 1) >> 32)
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): neighbours in, unrelated numbers out.
pub(crate) fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Answer {
    /// Answers a chat; `bytes` sets the size of each text.
    pub(crate) fn chat(model: &str, chat: &Chat, bytes: Option<usize>) -> Self {
        let seed = Seed::of(model, chat.messages.iter().map(|message| (&*message.role, &*message.content.0)));
        let question = last_user(&chat.messages);
        let limit = chat.max_completion_tokens.or(chat.max_tokens);
        let choice = |lane| match called(chat, question) {
            Some((function, finish)) => Choice { content: Content::Call(call(seed, lane, function)), finish },
            None => said(text(seed, question, lane, bytes), limit.filter(|_| bytes.is_none())),
        };
        let words = chat.messages.iter().map(|message| count_words(&message.content.0));
        let (prompt_tokens, last) = words.fold((0, 0), |(sum, _), count| (sum + count, count));
        let cached_tokens = (prompt_tokens - last) / CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS;
        Self { seed, choices: lanes(chat.n).map(choice).collect(), prompt_tokens, cached_tokens }
    }

    /// Answers every prompt of a completion `n` times.
    pub(crate) fn completion(model: &str, asked: &Completion, bytes: Option<usize>) -> Self {
        let prompts = &asked.prompt.0;
        let seed = Seed::of(model, prompts.iter().map(|prompt| ("prompt", prompt.as_str())));
        let limit = asked.max_tokens.filter(|_| bytes.is_none());
        let choices = prompts.iter().flat_map(|prompt| lanes(asked.n).map(move |_| prompt));
        let choices = (0..).zip(choices).map(|(lane, prompt)| said(text(seed, prompt, lane, bytes), limit));
        Self {
            seed,
            choices: choices.collect(),
            prompt_tokens: prompts.iter().map(|prompt| count_words(prompt)).sum(),
            cached_tokens: 0,
        }
    }

    /// Words in all choices, a tool call's arguments included.
    pub(crate) fn completion_tokens(&self) -> usize {
        self.choices.iter().map(|choice| count_words(choice.content.text())).sum()
    }
}

impl Content {
    /// The text, or the arguments of the call.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Call(call) => &call.arguments,
        }
    }
}

/// What counts as tokens here: words between white space.
pub(crate) fn count_words(text: &str) -> usize {
    text.split_ascii_whitespace().count()
}

/// The text of one choice: sentences of the question's topic, as many as make about 40 words or `bytes`.
pub(crate) fn text(seed: Seed, question: &str, lane: u64, bytes: Option<usize>) -> String {
    let bank = &topic::of(question).answers;
    let draw = seed.number(lane);
    // An odd step through eight sentences meets each once before it repeats one.
    let mut at = draw as usize % bank.len();
    let step = ((draw >> 32) as usize % bank.len()) | 1;
    let mut text = String::with_capacity(bytes.unwrap_or(SENTENCES * 80));
    for sentence in 0.. {
        if bytes.map_or(sentence == SENTENCES, |bytes| text.len() >= bytes) {
            break;
        }
        if sentence > 0 {
            text.push(' ');
        }
        text.push_str(bank[at]);
        at = (at + step) % bank.len();
    }
    text.truncate(bytes.unwrap_or(text.len()));
    text
}

/// A text as far as the limit of tokens lets it come.
fn said(mut text: String, limit: Option<usize>) -> Choice {
    let end = limit.and_then(|limit| text.match_indices(' ').nth(limit.max(1) - 1)).map(|(end, _)| end);
    if let Some(end) = end {
        text.truncate(end);
    }
    Choice { content: Content::Text(text), finish: if end.is_some() { FINISH_LENGTH } else { FINISH_STOP } }
}

/// The tool to call, if any, and the reason that is then given for the end.
///
/// A named tool is always called, and the answer then ends in `stop`, as it does at OpenAI. A result that has
/// just come back is answered with text, so that an agent's loop ends.
fn called<'a>(chat: &'a Chat, question: &str) -> Option<(&'a Function, &'static str)> {
    let tools: &[Tool] = chat.tools.as_deref()?;
    let first = &tools.first()?.function;
    match &chat.tool_choice {
        Some(Value::Object(choice)) => {
            let name = choice.get("function")?.get("name")?.as_str()?;
            let named = tools.iter().map(|tool| &tool.function).find(|function| function.name == name);
            named.map(|function| (function, FINISH_STOP))
        }
        Some(Value::String(word)) if word == "none" => None,
        Some(Value::String(word)) if word == "required" => Some((first, FINISH_TOOL_CALLS)),
        _ => {
            let asked = chat.messages.last().is_some_and(|message| message.role == "user")
                && question.to_lowercase().contains(USE_A_TOOL);
            asked.then_some((first, FINISH_TOOL_CALLS))
        }
    }
}

fn call(seed: Seed, lane: u64, function: &Function) -> Call {
    let arguments = example(&function.parameters, "value", 0);
    let arguments = if arguments.is_object() { arguments } else { json!({}) };
    let id = format!("call_{:016x}{:08x}", seed.number(lane ^ 0xca11), seed.number(lane ^ 0x1d) >> 32);
    Call { id, name: function.name.clone(), arguments: arguments.to_string() }
}

/// A value that a JSON schema accepts: required members, the first of an enumeration, plain values else.
fn example(schema: &Value, name: &str, depth: usize) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") if depth < SCHEMA_DEPTH_MAX => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let member =
                |name: &str| (name.to_owned(), example(&schema["properties"][name], name, depth + 1));
            Value::Object(required.map(member).collect::<Map<_, _>>())
        }
        Some("object") => json!({}),
        Some("array") => json!([]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("string") => json!(format!("example {name}")),
        _ => Value::Null,
    }
}

fn last_user(messages: &[Message]) -> &str {
    messages.iter().rev().find(|message| message.role == "user").map_or("", |message| &message.content.0)
}

fn lanes(n: Option<usize>) -> impl Iterator<Item = u64> {
    0..n.unwrap_or(1).clamp(1, CHOICES_MAX) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(text: &str) -> Seed {
        Seed::of("m", std::iter::once(("user", text)))
    }

    #[test]
    fn a_text_is_as_long_as_asked_and_about_forty_words_otherwise() {
        for bytes in [0, 1, 63, 64, 5000] {
            assert_eq!(text(seed("a"), "a", 0, Some(bytes)).len(), bytes);
        }
        for question in ["my parcel", "my loan", "a tablet", "a train", "a deploy", "a poem"] {
            let words = count_words(&text(seed(question), question, 0, None));
            assert!((30..=60).contains(&words), "{question}: {words}");
        }
    }

    #[test]
    fn choices_and_questions_differ() {
        let first = text(seed("a"), "a", 0, None);
        assert_eq!(first, text(seed("a"), "a", 0, None));
        let others = (1..8).filter(|lane| text(seed("a"), "a", *lane, None) != first).count();
        assert!(others > 4);
        assert_ne!(seed("a").hex(), seed("b").hex());
        assert_eq!(seed("a").hex().len(), 24);
    }

    #[test]
    fn a_limit_cuts_at_a_word() {
        let cut = said("one two three".to_owned(), Some(2));
        assert_eq!((cut.content.text(), cut.finish), ("one two", FINISH_LENGTH));
        let whole = said("one two three".to_owned(), Some(3));
        assert_eq!((whole.content.text(), whole.finish), ("one two three", FINISH_STOP));
    }

    #[test]
    fn arguments_follow_the_schema() {
        let schema = json!({"type": "object", "required": ["city", "days", "unit"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["c", "f"]},
            "left_out": {"type": "string"}}});
        assert_eq!(example(&schema, "", 0), json!({"city": "example city", "days": 1, "unit": "c"}));
    }
}
