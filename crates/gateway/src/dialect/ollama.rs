//! Ollama's own API: chat, generate, embed.
//!
//! A stream is lines of JSON, and is what a request gets that does not say `"stream":false`. The last line says
//! `done`, why, and what was used; or it is an error, which is a sentence and no word. Tool calls come whole.
//!
//! Source: the Ollama documentation, "API", "Streaming" and "Errors".

use super::Dialect;
use super::answer::Says;
use super::plan::Rows;
use super::request::Asks;
use super::usage::Tokens;

pub(super) static DIALECT: Dialect = Dialect::new(&[REQUEST], &[ANSWER]);

const REQUEST: Rows<Asks> = &[
    ("model", Asks::Model),
    ("stream", Asks::Stream),
    ("dimensions", Asks::Number("dimensions")),
    ("format", Asks::Word("response_format")),
    ("options.frequency_penalty", Asks::Number("frequency_penalty")),
    ("options.min_p", Asks::Number("min_p")),
    ("options.num_ctx", Asks::Number("num_ctx")),
    ("options.num_predict", Asks::Number("num_predict")),
    ("options.presence_penalty", Asks::Number("presence_penalty")),
    ("options.repeat_penalty", Asks::Number("repeat_penalty")),
    ("options.seed", Asks::Number("seed")),
    ("options.temperature", Asks::Number("temperature")),
    ("options.top_k", Asks::Number("top_k")),
    ("options.top_p", Asks::Number("top_p")),
    ("raw", Asks::Number("raw")),
    ("think", Asks::Word("think")),
    ("tools[*].function.name", Asks::Tool(0)),
    ("truncate", Asks::Number("truncate")),
];

const ANSWER: Rows<Says> = &[
    ("model", Says::Model),
    ("done", Says::Done),
    ("done_reason", Says::Finish),
    ("error", Says::Error),
    ("message.content", Says::Content),
    ("message.thinking", Says::Content),
    ("message.tool_calls[*].function.name", Says::WholeCall),
    ("response", Says::Content),
    ("thinking", Says::Content),
    ("eval_count", Says::Tokens(Tokens::Output)),
    ("prompt_eval_count", Says::Tokens(Tokens::Input)),
];
