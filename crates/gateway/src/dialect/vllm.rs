//! What vLLM serves beside the APIs of others: scores, ranks, classes, pooled states, tokens. Source: the vLLM
//! documentation, "OpenAI-Compatible Server", its own APIs.

use super::Dialect;
use super::openai::{ANSWERER, CALLER, ERROR, USAGE};
use super::plan::Rows;
use super::request::Asks;

pub(super) static DIALECT: Dialect = Dialect::new(&[CALLER, REQUEST], &[ANSWERER, USAGE, ERROR]);

const REQUEST: Rows<Asks> = &[
    ("add_special_tokens", Asks::Number("add_special_tokens")),
    ("dimensions", Asks::Number("dimensions")),
    ("encoding_format", Asks::Word("encoding_format")),
    ("task", Asks::Word("task")),
    ("top_n", Asks::Number("top_n")),
    ("truncate_prompt_tokens", Asks::Number("truncate_prompt_tokens")),
];
