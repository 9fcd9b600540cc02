//! What a source reports: the plaintext of spool frames.
//!
//! Everything in here is encrypted before it is written anywhere. What enters an entry is decided by the
//! collector, from [`Facts`]; what may only ever be in the payload stands in [`Private`]. A frame body is
//!
//! ```text
//! meta_len u32 (little endian) · meta JSON · piece        piece: see the payload module
//! ```
//!
//! and a frame without meta (`input` and `output`, but of a WebSocket conversation) has `meta_len` 0.

use crate::commitment::Commitment;
use crate::entry::{Param, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a source knows of a call that the ledger may name, as the client or the model server said it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Which configured route took the call.
    pub route: String,
    /// Deployment environment, such as `production`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Version of the calling application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// What kind of call: `chat`, `text_completion`, `embeddings`, `other`, …
    pub operation: String,
    /// Who serves the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Sampling parameters and the like.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// Whether the answer was asked for as a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// The person, as the application names them. Personal: becomes a pseudonym.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The client's id for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Keyed id of the API key; the key itself never leaves memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_id: Option<String>,
    /// W3C trace id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// W3C parent span id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// Names of the tools offered to the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Which attempt of a retried request this is, where headers tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long the payload is kept: a class that the route names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_class: Option<String>,
    /// What the application says of the call: `name:value`, or a bare word. May be personal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The response that the call goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_response_id: Option<String>,
    /// The response that the call asks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Why the request body was not read, or not to its end: a short word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// What is only ever in the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Private {
    /// Request method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path and query, credentials taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Headers kept, in the order received.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The client's network address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What went wrong, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Strings that an entry holds only as a keyed hash: field name to original.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub originals: BTreeMap<String, String>,
    /// The request body's commitment, with its salt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Commitment>,
    /// The response body's commitment, with its salt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Commitment>,
    /// Media type of the request body as sent, parameters included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_type: Option<String>,
    /// Media type of the response body as sent, parameters included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_type: Option<String>,
    /// The usage object exactly as the model server sent it. Where it sends one in parts, their members
    /// together; of a connection with several answers, a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// How the request was changed before it was sent on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
}

/// A change that a source made to a request body before it sent it on: at an offset, some bytes were taken out
/// and others put in. The body that the record has is the client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// What for: `include_usage`.
    pub name: String,
    /// Offset in the client's body.
    pub at: u64,
    /// Bytes taken out there.
    pub removed: u64,
    /// What was put there.
    pub inserted: String,
    /// The commitment of the body as it was sent, with its salt.
    pub sent: Commitment,
}

impl Rewrite {
    /// The body as it was sent, of the client's; `None` where it does not fit.
    pub fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        let at = usize::try_from(self.at).ok()?;
        let behind = at.checked_add(usize::try_from(self.removed).ok()?)?;
        Some([body.get(..at)?, self.inserted.as_bytes(), body.get(behind..)?].concat())
    }
}

/// When a stretch of one side of a conversation passed: how many bytes, and microseconds since the request was
/// accepted. Over both sides of one conversation these only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark(pub u64, pub u64);

/// What stands before a piece of a body in an `input` or `output` frame. Only a conversation has it, in which
/// both sides speak and their order cannot be told from the bodies. `docs/formats/websocket.md` has the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PieceMeta {
    /// The extensions that the handshake agreed on, in the conversation's first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<String>,
    /// They add up to the piece.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// A request was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Whose ledger it belongs to.
    pub tenant: String,
    /// The source's clock, microseconds since 1970.
    pub time: i64,
    /// What the ledger may name.
    pub facts: Facts,
    /// What it may not.
    pub private: Private,
}

/// A request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Sequence number of its start frame.
    pub start_seq: u64,
    /// The source's clock, microseconds since 1970.
    pub time: i64,
    /// How.
    pub status: Status,
    /// Status code that the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// A short word for what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// Microseconds from accepting the request to its end.
    pub latency_us: u64,
    /// Microseconds from accepting the request to the first byte of the response body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_us: Option<u64>,
    /// Microseconds from accepting the request to the first thing that was generated, where the answer says
    /// which that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_us: Option<u64>,
    /// Bytes of the response body that were handed to the client's connection.
    pub delivered_bytes: u64,
    /// Whether the request body broke off.
    #[serde(default)]
    pub input_partial: bool,
    /// Whether the response body broke off.
    #[serde(default)]
    pub output_partial: bool,
    /// What the answer says of itself.
    pub answer: Answer,
    /// Stretches of the response body, as offset and length, that the client did not get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<(u64, u64)>,
    /// What became of the answer once its client had hung up, where the route drains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hangup: Option<String>,
    /// What was said after a WebSocket handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket: Option<Conversation>,
    /// What a request body says that was too large to be read before it was forwarded: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<Box<Facts>>,
    /// What the ledger may not name: commitments with salts, response headers, words on errors.
    pub private: Private,
}

/// A WebSocket conversation, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// Whole messages of text or bytes from the client.
    pub client_messages: u64,
    /// And from the server.
    pub server_messages: u64,
    /// The code in the client's close frame; 1005 where it has none (RFC 6455 §7.1.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_close: Option<u16>,
    /// And in the server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_close: Option<u16>,
    /// What passed could not be read to its end as WebSocket frames.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

/// What a dialect read from a response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The model that the server says answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The server's fingerprint of model and configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    /// Why generation stopped; of several choices, the first's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Tokens in, cached ones included (OpenTelemetry GenAI `gen_ai.usage.input_tokens`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// Of the tokens in, those read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Of the tokens in, those written to a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_creation_tokens: Option<u64>,
    /// Of the tokens out, those spent on reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Names of the tools called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<String>,
    /// The provider's id for the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// The provider's id for the request, from the head of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<String>,
    /// The service tier that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// Whether the model declined to answer, where the answer says so in a field of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// The provider's word for what went wrong, in an error body or in an event of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// The provider's code for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Why the body was not read, or not to its end: a short word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// A source came up or went down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceNotice {
    /// The source's clock, microseconds since 1970.
    pub time: i64,
    /// The program's version.
    pub version: String,
    /// `sha256:<hex>` of the configuration that it came up with, where that is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// `sha256:<hex>` of the file of API keys that it came up with, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<String>,
}

/// A source could not record something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Whose ledger is short of it.
    pub tenant: String,
    /// Why: `spool_full`, …
    pub cause: String,
    /// The source's clock at the first of them, microseconds since 1970.
    pub from: i64,
    /// And at the last.
    pub to: i64,
    /// How many requests.
    pub count: u64,
}

/// A running source took up another configuration. Names and hashes alone: no value of a key ever stands here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// The source's clock, microseconds since 1970.
    pub time: i64,
    /// Which file: `configuration` or `api_keys`.
    pub file: String,
    /// `sha256:<hex>` of the file before; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// And after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Names of what changed and is in force now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Names of what changed in the file, but is in force only after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
}

/// Requests of one peer that were refused, beyond those that have a record each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejections {
    /// Whose ledger they are counted in.
    pub tenant: String,
    /// The source's clock at the first of them, microseconds since 1970.
    pub from: i64,
    /// And at the last.
    pub to: i64,
    /// How many requests.
    pub count: u64,
    /// How many for which reason, in the words of `error_type`.
    pub reasons: BTreeMap<String, u64>,
    /// The peer.
    pub private: Private,
}
