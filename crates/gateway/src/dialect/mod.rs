//! Dialects: from the bytes of a call to the fields that an entry names.
//!
//! The gateway passes and captures bytes; nothing here touches the wire. A reader is fed a copy of each
//! piece of a body as it passes, whatever its size, and keeps only what it was asked for. A body that is
//! broken, compressed or of an unknown kind yields what could be read, and is recorded whole all the same.
//!
//! ```text
//! request bytes  ─▶ RequestReader ─▶ pick                    ─▶ RequestFacts
//! response bytes ─▶ AnswerReader  ─▶ pick, or sse then pick  ─▶ Answer, usage as sent
//! ```
//!
//! **Invariant:** memory per body is a constant: no event, string or nesting is buffered to be understood.

mod openai;
mod pick;
mod plan;
mod sse;
#[cfg(test)]
mod tests;

pub(crate) use openai::{AnswerReader, RequestReader};

use indelible_record::entry::Param;
use std::collections::BTreeMap;

/// U+FEFF in UTF-8. Servers written in Python skip it before JSON, and every reader of SSE must.
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Bytes that are looked at together; see [`run_until`].
const WORD_BYTES: usize = size_of::<u64>();

/// What kind of call a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Messages in, a message out.
    Chat,
    /// A prompt in, its continuation out.
    TextCompletion,
    /// Text in, vectors out.
    Embeddings,
    /// Anything else.
    Other,
}

impl Operation {
    /// The word that stands in entries; OpenTelemetry's `gen_ai.operation.name` where it has one.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Other => "other",
        }
    }
}

/// Which operation a request is, by the end of its path. Only the end counts, because what stands before it
/// is the provider's: `/v1`, Azure's `/openai/deployments/{name}`, Gemini's `/v1beta/openai`.
pub(crate) fn operation_of(method: &str, path: &str) -> Operation {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_suffix('/').unwrap_or(path);
    if method != "POST" {
        Operation::Other
    } else if path.ends_with("/chat/completions") {
        Operation::Chat
    } else if path.ends_with("/completions") {
        Operation::TextCompletion
    } else if path.ends_with("/embeddings") {
        Operation::Embeddings
    } else {
        Operation::Other
    }
}

/// What a request body says of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestFacts {
    /// The model asked for.
    pub(crate) model: Option<String>,
    /// The person, as the application names them.
    pub(crate) user_id: Option<String>,
    /// The conversation.
    pub(crate) session_id: Option<String>,
    /// Numbers, booleans and words of fixed sets that steer the model.
    pub(crate) params: BTreeMap<String, Param>,
    /// Whether a stream was asked for.
    pub(crate) stream: Option<bool>,
    /// Names of the tools offered, in the order of the request.
    pub(crate) tools: Vec<String>,
    /// The `metadata` object, exactly as received. Personal: belongs in the payload.
    pub(crate) metadata: Option<String>,
}

/// How many bytes at the start of `bytes` are none that `stop` marks.
///
/// Most bytes of a body are the inside of long strings, so eight are looked at together: `stop` gets a
/// little-endian word and sets the highest bit of each byte to stop at; only the first such mark need be
/// right.
fn run_until(bytes: &[u8], stop: impl Fn(u64) -> u64) -> usize {
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk::<WORD_BYTES>() {
        let marks = stop(u64::from_le_bytes(*word));
        if marks != 0 {
            return bytes.len() - rest.len() + marks.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    let mut word = [0; WORD_BYTES];
    word[..rest.len()].copy_from_slice(rest);
    let clear = stop(u64::from_le_bytes(word)).trailing_zeros() as usize / 8;
    bytes.len() - rest.len() + clear.min(rest.len())
}

/// Marks the bytes of a word that are `wanted`, for [`run_until`].
fn each(word: u64, wanted: u8) -> u64 {
    each_below(word ^ u64::from_le_bytes([wanted; WORD_BYTES]), 1)
}

/// Marks the bytes of a word that are less than `limit`, itself at most 128. A byte behind a marked one may
/// be marked wrongly, since subtraction borrows (Warren, "Hacker's Delight", §6-1).
fn each_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(u64::from_le_bytes([limit; WORD_BYTES]))
        & !word
        & u64::from_le_bytes([0x80; WORD_BYTES])
}
