//! OpenAI Responses: typed items in and out, with state that may stay at the provider.
//!
//! A stream is typed events, numbered; the last one holds the whole response, which outranks what was said
//! piece by piece. A response in the background is asked for by its id, again and again; one that goes on from
//! another names it, or a conversation that both belong to.

use super::Dialect;
use super::answer::Says;
use super::openai::CALLER;
use super::plan::Rows;
use super::request::Asks;
use super::usage::Tokens;

pub(super) static DIALECT: Dialect = Dialect::new(&[CALLER, REQUEST], &[PLAIN, EVENTS]).ending_with(&ENDS);

/// `error` stands where a response could not even fail; some servers have `response.cancelled`.
pub(super) const ENDS: [&str; 5] =
    ["response.completed", "response.failed", "response.incomplete", "response.cancelled", "error"];

pub(super) const REQUEST: Rows<Asks> = &[
    ("background", Asks::Number("background")),
    ("conversation", Asks::Session(4)),
    ("conversation.id", Asks::Session(4)),
    ("max_output_tokens", Asks::Number("max_output_tokens")),
    ("max_tool_calls", Asks::Number("max_tool_calls")),
    ("parallel_tool_calls", Asks::Number("parallel_tool_calls")),
    ("previous_response_id", Asks::PreviousResponse),
    ("reasoning.effort", Asks::Word("reasoning_effort")),
    ("seed", Asks::Number("seed")),
    ("store", Asks::Number("store")),
    ("temperature", Asks::Number("temperature")),
    ("text.format.type", Asks::Word("response_format")),
    ("text.verbosity", Asks::Word("verbosity")),
    ("tool_choice", Asks::Word("tool_choice")),
    ("tool_choice.type", Asks::Word("tool_choice")),
    ("tools[*].name", Asks::Tool(0)),
    ("tools[*].type", Asks::ToolKind),
    ("top_k", Asks::Number("top_k")),
    ("top_logprobs", Asks::Number("top_logprobs")),
    ("top_p", Asks::Number("top_p")),
    ("truncation", Asks::Word("truncation")),
];

/// The response itself, as answers that are no stream have it.
const PLAIN: Rows<Says> = &[
    ("id", Says::ResponseId),
    ("model", Says::Model),
    ("service_tier", Says::ServiceTier),
    ("status", Says::Status),
    ("incomplete_details.reason", Says::Finish),
    ("output[*].type", Says::FinalItemKind),
    ("output[*].name", Says::ItemName),
    ("output[*].content[*].refusal", Says::Refusal),
    ("usage", Says::Usage),
    ("usage.input_tokens", Says::Tokens(Tokens::Input)),
    ("usage.input_tokens_details.cache_write_tokens", Says::Tokens(Tokens::CacheWrite)),
    ("usage.input_tokens_details.cached_tokens", Says::Tokens(Tokens::CacheRead)),
    ("usage.output_tokens", Says::Tokens(Tokens::Output)),
    ("usage.output_tokens_details.reasoning_tokens", Says::Tokens(Tokens::Reasoning)),
    ("error.type", Says::ErrorType),
    ("error.code", Says::ErrorCode),
];

/// Events of a stream: pieces, and the response as far as it is.
pub(super) const EVENTS: Rows<Says> = &[
    ("type", Says::Event),
    ("code", Says::ErrorCode),
    ("refusal", Says::Refusal),
    ("output_index", Says::CallIndex),
    ("item.type", Says::ItemKind),
    ("item.name", Says::ItemName),
    ("response.id", Says::ResponseId),
    ("response.model", Says::Model),
    ("response.service_tier", Says::ServiceTier),
    ("response.status", Says::Status),
    ("response.incomplete_details.reason", Says::Finish),
    ("response.output[*].type", Says::FinalItemKind),
    ("response.output[*].name", Says::ItemName),
    ("response.output[*].content[*].refusal", Says::Refusal),
    ("response.usage", Says::Usage),
    ("response.usage.input_tokens", Says::Tokens(Tokens::Input)),
    ("response.usage.input_tokens_details.cache_write_tokens", Says::Tokens(Tokens::CacheWrite)),
    ("response.usage.input_tokens_details.cached_tokens", Says::Tokens(Tokens::CacheRead)),
    ("response.usage.output_tokens", Says::Tokens(Tokens::Output)),
    ("response.usage.output_tokens_details.reasoning_tokens", Says::Tokens(Tokens::Reasoning)),
    ("response.error.code", Says::ErrorCode),
    ("response.error.type", Says::ErrorType),
];
