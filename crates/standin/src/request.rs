//! The requests that are understood, as far as an answer depends on them.
//!
//! Unknown members are ignored, as model servers do. A text may come as a string, as a list of parts or,
//! for prompts and embeddings, as token numbers; here it is text afterwards.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;

/// `POST /v1/chat/completions`.
#[derive(Deserialize)]
pub(crate) struct Chat {
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<Message>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) n: Option<usize>,
    pub(crate) tools: Option<Vec<Tool>>,
    pub(crate) tool_choice: Option<Value>,
    pub(crate) logprobs: Option<bool>,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) max_completion_tokens: Option<usize>,
}

/// One message of a chat.
#[derive(Deserialize)]
pub(crate) struct Message {
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) content: Text,
}

/// A tool that the model may call.
#[derive(Deserialize)]
pub(crate) struct Tool {
    pub(crate) function: Function,
}

/// A tool's name and the JSON schema of its arguments.
#[derive(Deserialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) parameters: Value,
}

/// Options that only a stream has.
#[derive(Deserialize)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

/// `POST /v1/completions`.
#[derive(Deserialize)]
pub(crate) struct Completion {
    pub(crate) model: Option<String>,
    pub(crate) prompt: Inputs,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) n: Option<usize>,
    pub(crate) logprobs: Option<usize>,
    pub(crate) max_tokens: Option<usize>,
}

/// `POST /v1/embeddings`.
#[derive(Deserialize)]
pub(crate) struct Embeddings {
    pub(crate) model: Option<String>,
    pub(crate) input: Inputs,
    pub(crate) dimensions: Option<usize>,
    pub(crate) encoding_format: Option<String>,
}

/// A message's content: a string, nothing, or the text parts of a list.
#[derive(Default)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, null or a list of parts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<String, A::Error> {
        let mut text = String::new();
        while let Some(Part(part)) = parts.next_element()? {
            if !text.is_empty() && !part.is_empty() {
                text.push(' ');
            }
            text.push_str(&part);
        }
        Ok(text)
    }
}

/// One part of a content list; one without text, such as an image, is empty.
struct Part(String);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(PartVisitor).map(Self)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part with a type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut text = String::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "text" {
                text = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(text)
    }
}

/// What a prompt or an embedding is made from: always a list of texts.
#[derive(Deserialize)]
#[serde(from = "OneOrMany")]
pub(crate) struct Inputs(pub(crate) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

impl From<OneOrMany> for Inputs {
    fn from(given: OneOrMany) -> Self {
        Self(match given {
            OneOrMany::Text(text) => vec![text],
            OneOrMany::Texts(texts) => texts,
            OneOrMany::Tokens(tokens) => vec![spell(&tokens)],
            OneOrMany::TokenLists(lists) => lists.iter().map(|tokens| spell(tokens)).collect(),
        })
    }
}

/// Token numbers as words, so that each still counts as one token.
fn spell(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_may_be_text_parts_or_nothing() {
        let text = |json: &str| serde_json::from_str::<Message>(json).unwrap().content.0;
        assert_eq!(text(r#"{"role":"user","content":"one two"}"#), "one two");
        assert_eq!(text(r#"{"role":"assistant","content":null,"tool_calls":[]}"#), "");
        assert_eq!(text(r#"{"role":"assistant"}"#), "");
        let parts = r#"{"role":"user","content":[{"type":"text","text":"a"},
            {"type":"image_url","image_url":{"url":"data:,"}},{"type":"text","text":"b"}]}"#;
        assert_eq!(text(parts), "a b");
    }

    #[test]
    fn inputs_come_in_four_forms() {
        let inputs = |json: &str| serde_json::from_str::<Inputs>(json).unwrap().0;
        assert_eq!(inputs(r#""a b""#), ["a b"]);
        assert_eq!(inputs(r#"["a","b"]"#), ["a", "b"]);
        assert_eq!(inputs("[1,22]"), ["1 22"]);
        assert_eq!(inputs("[[1],[2,3]]"), ["1", "2 3"]);
    }
}
