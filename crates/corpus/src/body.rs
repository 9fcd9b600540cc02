//! Bodies as OpenAI's API has them: answers plain and streamed, vectors, errors.
//!
//! Written by hand and not through a serialiser: texts are escaped already, and ten million bodies are made.

use crate::draw::Draw;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// Words in one chunk of a stream.
const CHUNK_WORDS: (usize, usize) = (8, 24);
/// Numbers in a vector: as applications shorten them that keep many.
const DIMENSIONS: usize = 128;

/// What was used, as the answer says it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
    pub(crate) cached: u64,
    pub(crate) reasoning: u64,
}

/// An answer that generates text.
pub(crate) struct Completion<'a> {
    pub(crate) id: &'a str,
    pub(crate) model: &'a str,
    pub(crate) created_s: i64,
    pub(crate) fingerprint: Option<&'a str>,
    /// Escaped. Empty where tools are called.
    pub(crate) content: &'a str,
    /// The tool calls, a JSON array, where tools are called.
    pub(crate) tool_calls: Option<&'a str>,
    pub(crate) finish: &'a str,
    pub(crate) usage: Usage,
}

impl Usage {
    /// The usage object.
    pub(crate) fn json(&self) -> String {
        let Self { prompt, completion, cached, reasoning } = self;
        format!(
            "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{},\
             \"prompt_tokens_details\":{{\"cached_tokens\":{cached},\"audio_tokens\":0}},\
             \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning},\"audio_tokens\":0,\
             \"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}}}",
            prompt + completion
        )
    }
}

impl Completion<'_> {
    /// The message of the assistant: what the next request of the conversation repeats.
    pub(crate) fn message(&self) -> String {
        match self.tool_calls {
            Some(calls) => format!("{{\"role\":\"assistant\",\"content\":null,\"tool_calls\":{calls}}}"),
            None => format!("{{\"role\":\"assistant\",\"content\":\"{}\"}}", self.content),
        }
    }

    /// As one JSON object.
    pub(crate) fn plain(&self) -> String {
        let mut message = self.message();
        message.pop();
        format!(
            "{{\"id\":\"{}\",\"object\":\"chat.completion\",\"created\":{},\"model\":\"{}\",\"choices\":[{{\"index\":0,\
             \"message\":{message},\"refusal\":null,\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":\"{}\"}}],\
             \"usage\":{},\"service_tier\":\"default\",\"system_fingerprint\":{}}}",
            self.id,
            self.created_s,
            self.model,
            self.finish,
            self.usage.json(),
            self.fingerprint()
        )
    }

    /// As a stream of server-sent events, the usage in the last but one.
    pub(crate) fn stream(&self, draw: &mut Draw) -> String {
        let mut out = String::with_capacity(self.content.len() * 4 + 1024);
        self.chunk(&mut out, "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", None, None);
        if let Some(calls) = self.tool_calls {
            self.chunk(&mut out, &format!("{{\"tool_calls\":{calls}}}"), None, None);
        }
        let mut rest = self.content;
        while !rest.is_empty() {
            let words = draw.between(CHUNK_WORDS.0, CHUNK_WORDS.1);
            let end = rest.match_indices(' ').nth(words).map_or(rest.len(), |(at, _)| at);
            self.chunk(&mut out, &format!("{{\"content\":\"{}\"}}", &rest[..end]), None, None);
            rest = &rest[end..];
        }
        self.chunk(&mut out, "{}", Some(self.finish), None);
        self.chunk(&mut out, "", None, Some(&self.usage.json()));
        out.push_str("data: [DONE]\n\n");
        out
    }

    fn chunk(&self, out: &mut String, delta: &str, finish: Option<&str>, usage: Option<&str>) {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "data: {{\"id\":\"{}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":\"{}\",\
             \"system_fingerprint\":{},\"choices\":[",
            self.id,
            self.created_s,
            self.model,
            self.fingerprint()
        );
        if usage.is_none() {
            let _ = write!(out, "{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":");
            match finish {
                Some(finish) => out.push_str(&format!("\"{finish}\"}}")),
                None => out.push_str("null}"),
            }
        }
        let _ = write!(out, "],\"usage\":{}}}\n\n", usage.unwrap_or("null"));
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.map_or("null".to_owned(), |text| format!("\"{text}\""))
    }
}

/// The answer to a call for one vector.
pub(crate) fn embedding(draw: &mut Draw, model: &str, tokens: u64) -> String {
    let numbers: Vec<u8> =
        (0..DIMENSIONS).flat_map(|_| ((draw.normal() * 0.088) as f32).to_le_bytes()).collect();
    format!(
        "{{\"object\":\"list\",\"data\":[{{\"object\":\"embedding\",\"index\":0,\"embedding\":\"{}\"}}],\
         \"model\":\"{model}\",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}",
        STANDARD.encode(numbers)
    )
}

/// The request for one.
pub(crate) fn embedding_request(model: &str, text: &str) -> String {
    format!(
        "{{\"model\":\"{model}\",\"input\":\"{text}\",\"encoding_format\":\"base64\",\"dimensions\":{DIMENSIONS}}}"
    )
}

/// An error of the model server.
pub(crate) fn error(message: &str, kind: &str, code: Option<&str>) -> String {
    let code = code.map_or("null".to_owned(), |code| format!("\"{code}\""));
    format!("{{\"error\":{{\"message\":\"{message}\",\"type\":\"{kind}\",\"param\":null,\"code\":{code}}}}}")
}

/// An error of the gateway.
pub(crate) fn own_error(message: &str, status: u16) -> String {
    format!(
        "{{\"error\":{{\"code\":{status},\"hint\":\"wait as long as Retry-After says\",\"message\":\"{message}\",\
         \"type\":\"indelible_gateway_error\"}}}}"
    )
}
