//! Anthropic Messages, as Anthropic, vLLM and others serve them.
//!
//! A stream begins with the message, empty, and the input side of its usage; blocks of content follow, each
//! begun, filled and ended; `message_delta` says why it stopped and has usage as a running total, of which
//! some servers repeat the input side and some do not. `input_tokens` leaves out what was read from a cache or
//! written to one. The stream ends with `message_stop`, or with `error`.
//!
//! Source: Anthropic's API reference, "Messages" and "Streaming Messages".

use super::Dialect;
use super::answer::Says;
use super::plan::Rows;
use super::request::Asks;
use super::usage::Tokens;

pub(super) static DIALECT: Dialect =
    Dialect::new(&[REQUEST], &[PLAIN, EVENTS]).ending_with(&["message_stop", "error"]);

const REQUEST: Rows<Asks> = &[
    ("model", Asks::Model),
    ("stream", Asks::Stream),
    ("max_tokens", Asks::Number("max_tokens")),
    ("metadata", Asks::Metadata),
    ("metadata.user_id", Asks::User(0)),
    ("metadata.session_id", Asks::Session(0)),
    ("output_config.effort", Asks::Word("reasoning_effort")),
    ("service_tier", Asks::Word("service_tier")),
    ("temperature", Asks::Number("temperature")),
    ("thinking.budget_tokens", Asks::Number("thinking_budget_tokens")),
    ("thinking.type", Asks::Word("thinking")),
    ("tool_choice.type", Asks::Word("tool_choice")),
    ("tools[*].name", Asks::Tool(0)),
    ("top_k", Asks::Number("top_k")),
    ("top_p", Asks::Number("top_p")),
];

const PLAIN: Rows<Says> = &[
    ("id", Says::ResponseId),
    ("model", Says::Model),
    ("stop_reason", Says::Finish),
    ("content[*].type", Says::FinalItemKind),
    ("content[*].name", Says::ItemName),
    ("usage", Says::Usage),
    ("usage.cache_creation_input_tokens", Says::Tokens(Tokens::CacheWriteBeside)),
    ("usage.cache_read_input_tokens", Says::Tokens(Tokens::CacheReadBeside)),
    ("usage.input_tokens", Says::Tokens(Tokens::Input)),
    ("usage.output_tokens", Says::Tokens(Tokens::Output)),
    ("usage.service_tier", Says::ServiceTier),
    ("error.type", Says::ErrorType),
];

const EVENTS: Rows<Says> = &[
    ("type", Says::Event),
    ("index", Says::CallIndex),
    ("content_block.type", Says::ItemKind),
    ("content_block.name", Says::ItemName),
    ("delta.partial_json", Says::Content),
    ("delta.stop_reason", Says::Finish),
    ("delta.text", Says::Content),
    ("delta.thinking", Says::Content),
    ("message.id", Says::ResponseId),
    ("message.model", Says::Model),
    ("message.usage", Says::FirstUsage),
    ("message.usage.cache_creation_input_tokens", Says::Tokens(Tokens::CacheWriteBeside)),
    ("message.usage.cache_read_input_tokens", Says::Tokens(Tokens::CacheReadBeside)),
    ("message.usage.input_tokens", Says::Tokens(Tokens::Input)),
    ("message.usage.output_tokens", Says::Tokens(Tokens::Output)),
    ("message.usage.service_tier", Says::ServiceTier),
];
