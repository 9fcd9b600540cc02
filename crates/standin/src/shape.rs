//! The shapes of answers as OpenAI and vLLM have them: names, order, and what is null and what is absent.
//!
//! One envelope serves chats and completions, plain and streamed; the choices differ. Shapes follow the
//! OpenAI API reference, "Chat Completions", "Completions", "Embeddings" and "Models".

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::answer::{Answer, Call, Choice, Content, count_words};

/// Every answer was made at this second, so that the same request gets the same bytes.
pub(crate) const CREATED: u64 = 1_700_000_000;
/// Names this server's configuration, as a model server's fingerprint does.
pub(crate) const FINGERPRINT: &str = "standin-0.1";
/// Who owns the models that are listed.
const OWNER: &str = "indelible-standin";

/// What stands around the choices.
#[derive(Serialize)]
pub(crate) struct Envelope<'a, C> {
    pub(crate) id: &'a str,
    pub(crate) object: &'static str,
    pub(crate) created: u64,
    pub(crate) model: &'a str,
    pub(crate) choices: Vec<C>,
    /// `None` is absent, `Some(None)` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Option<Usage>>,
    pub(crate) system_fingerprint: &'static str,
}

/// Token counts.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: CachedTokens,
}

#[derive(Clone, Copy, Serialize)]
struct CachedTokens {
    cached_tokens: usize,
}

/// A choice of a plain chat.
#[derive(Serialize)]
pub(crate) struct ChatChoice<'a> {
    index: usize,
    message: Spoken<'a>,
    logprobs: Option<ChatLogprobs<'a>>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Spoken<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

/// A choice of a streamed chat.
#[derive(Serialize)]
pub(crate) struct DeltaChoice<'a> {
    pub(crate) index: usize,
    pub(crate) delta: Delta<'a>,
    pub(crate) logprobs: Option<ChatLogprobs<'a>>,
    pub(crate) finish_reason: Option<&'static str>,
}

/// What one frame adds to a message.
#[derive(Default, Serialize)]
pub(crate) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    /// `None` is absent, `Some(None)` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_calls: Option<[ToolCall<'a>; 1]>,
}

/// A tool call, or a piece of one in a stream.
#[derive(Serialize)]
pub(crate) struct ToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Called<'a>,
}

#[derive(Serialize)]
struct Called<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// A choice of a completion, plain or streamed.
#[derive(Serialize)]
pub(crate) struct TextChoice<'a> {
    pub(crate) index: usize,
    pub(crate) text: &'a str,
    pub(crate) logprobs: Option<TextLogprobs<'a>>,
    pub(crate) finish_reason: Option<&'static str>,
}

/// Log probabilities of a chat: one entry a token, without alternatives.
pub(crate) struct ChatLogprobs<'a>(pub(crate) &'a str);

#[derive(Serialize)]
struct ChatToken<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
    top_logprobs: [(); 0],
}

/// Log probabilities of a completion: four lists side by side.
#[derive(Serialize)]
pub(crate) struct TextLogprobs<'a> {
    text_offset: Vec<usize>,
    token_logprobs: Vec<f64>,
    tokens: Vec<&'a str>,
    top_logprobs: Option<()>,
}

impl Usage {
    /// The counts of an answer.
    pub(crate) fn of(answer: &Answer) -> Self {
        let (prompt_tokens, completion_tokens) = (answer.prompt_tokens, answer.completion_tokens());
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: CachedTokens { cached_tokens: answer.cached_tokens },
        }
    }
}

impl<'a> ChatChoice<'a> {
    pub(crate) fn of(index: usize, choice: &'a Choice, logprobs: bool) -> Self {
        let (content, tool_calls) = match &choice.content {
            Content::Text(text) => (Some(text.as_str()), None),
            Content::Call(call) => (None, Some([ToolCall::whole(call)])),
        };
        Self {
            index,
            message: Spoken { role: "assistant", content, refusal: None, tool_calls },
            logprobs: content.filter(|_| logprobs).map(ChatLogprobs),
            finish_reason: choice.finish,
        }
    }
}

impl<'a> ToolCall<'a> {
    fn whole(call: &'a Call) -> Self {
        let function = Called { name: Some(&call.name), arguments: &call.arguments };
        Self { index: None, id: Some(&call.id), kind: Some("function"), function }
    }

    /// The first piece in a stream: all but the arguments.
    pub(crate) fn opening(call: &'a Call) -> Self {
        let function = Called { name: Some(&call.name), arguments: "" };
        Self { index: Some(0), id: Some(&call.id), kind: Some("function"), function }
    }

    /// A later piece: some of the arguments.
    pub(crate) fn piece(arguments: &'a str) -> Self {
        Self { index: Some(0), id: None, kind: None, function: Called { name: None, arguments } }
    }
}

impl<'a> TextLogprobs<'a> {
    /// The lists for a text that begins `offset` bytes into the answer.
    pub(crate) fn of(text: &'a str, offset: usize) -> Self {
        let tokens: Vec<&str> = text.split_inclusive(' ').collect();
        let starts = tokens.iter().scan(offset, |at, token| {
            let start = *at;
            *at += token.len();
            Some(start)
        });
        Self {
            text_offset: starts.collect(),
            token_logprobs: tokens.iter().map(|token| logprob(token)).collect(),
            tokens,
            top_logprobs: None,
        }
    }
}

impl Serialize for ChatLogprobs<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Lists<'a> {
            content: Vec<ChatToken<'a>>,
            refusal: Option<()>,
        }
        let token =
            |token| ChatToken { token, logprob: logprob(token), bytes: token.as_bytes(), top_logprobs: [] };
        Lists { content: self.0.split_inclusive(' ').map(token).collect(), refusal: None }.serialize(to)
    }
}

/// Longer words are less likely; all that matters is that it is the same every time.
fn logprob(token: &str) -> f64 {
    -(token.len() as f64) / 16.0
}

/// Counts for embeddings, which have no completion.
pub(crate) fn embedding_usage(inputs: &[String]) -> Value {
    let tokens: usize = inputs.iter().map(|input| count_words(input)).sum();
    json!({"prompt_tokens": tokens, "total_tokens": tokens})
}

/// The list of models.
pub(crate) fn models(names: &[&str]) -> Value {
    let model = |name: &&str| json!({"id": name, "object": "model", "created": CREATED, "owned_by": OWNER});
    json!({"object": "list", "data": names.iter().map(model).collect::<Vec<_>>()})
}

/// An error as OpenAI words it.
pub(crate) fn error(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}
