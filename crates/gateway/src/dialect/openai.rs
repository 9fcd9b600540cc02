//! What the APIs that follow OpenAI have in common. Source: the OpenAI API reference; where servers stray from
//! it, the comment names the stray.

use super::answer::Says;
use super::plan::Rows;
use super::request::Asks;
use super::usage::Tokens;

/// Who asks which model, and what the application says of it.
pub(super) const CALLER: Rows<Asks> = &[
    ("model", Asks::Model),
    ("stream", Asks::Stream),
    // `safety_identifier` is OpenAI's later name for `user`; applications also use `metadata`, and LiteLLM's
    // clients send members of their own.
    ("user", Asks::User(0)),
    ("safety_identifier", Asks::User(1)),
    ("metadata.user_id", Asks::User(2)),
    ("metadata.langfuse_user_id", Asks::User(3)),
    ("metadata.trace_user_id", Asks::User(4)),
    ("litellm_session_id", Asks::Session(0)),
    ("metadata.session_id", Asks::Session(1)),
    ("metadata.litellm_session_id", Asks::Session(2)),
    ("metadata.langfuse_session_id", Asks::Session(3)),
    ("metadata", Asks::Metadata),
    ("metadata.tags[*]", Asks::Tag),
    ("service_tier", Asks::Word("service_tier")),
];

/// How tokens are drawn. vLLM's own parameters are among them.
pub(super) const SAMPLING: Rows<Asks> = &[
    ("best_of", Asks::Number("best_of")),
    ("echo", Asks::Number("echo")),
    ("frequency_penalty", Asks::Number("frequency_penalty")),
    ("ignore_eos", Asks::Number("ignore_eos")),
    ("logprobs", Asks::Number("logprobs")),
    ("max_tokens", Asks::Number("max_tokens")),
    ("min_p", Asks::Number("min_p")),
    ("min_tokens", Asks::Number("min_tokens")),
    ("n", Asks::Number("n")),
    ("presence_penalty", Asks::Number("presence_penalty")),
    ("prompt_logprobs", Asks::Number("prompt_logprobs")),
    ("repetition_penalty", Asks::Number("repetition_penalty")),
    ("response_format.type", Asks::Word("response_format")),
    ("seed", Asks::Number("seed")),
    ("stream_options.include_usage", Asks::Number("include_usage")),
    ("temperature", Asks::Number("temperature")),
    ("top_k", Asks::Number("top_k")),
    ("top_p", Asks::Number("top_p")),
];

/// Who answers.
pub(super) const ANSWERER: Rows<Says> = &[
    ("id", Says::ResponseId),
    ("model", Says::Model),
    ("system_fingerprint", Says::Fingerprint),
    ("service_tier", Says::ServiceTier),
];

/// What it used.
pub(super) const USAGE: Rows<Says> = &[
    ("usage", Says::Usage),
    ("usage.completion_tokens", Says::Tokens(Tokens::Output)),
    ("usage.completion_tokens_details.reasoning_tokens", Says::Tokens(Tokens::Reasoning)),
    ("usage.prompt_tokens", Says::Tokens(Tokens::Input)),
    ("usage.prompt_tokens_details.cached_tokens", Says::Tokens(Tokens::CacheRead)),
    // DeepSeek.
    ("usage.prompt_cache_hit_tokens", Says::Tokens(Tokens::CacheRead)),
    // OpenRouter, and vLLM.
    ("usage.prompt_tokens_details.cache_write_tokens", Says::Tokens(Tokens::CacheWrite)),
    ("usage.prompt_tokens_details.created_cache_tokens", Says::Tokens(Tokens::CacheWrite)),
];

/// What went wrong.
pub(super) const ERROR: Rows<Says> = &[("error.type", Says::ErrorType), ("error.code", Says::ErrorCode)];
