//! OpenAI embeddings: text in, vectors out, as numbers or base64. The vectors are passed over.

use super::Dialect;
use super::openai::{ANSWERER, CALLER, ERROR, USAGE};
use super::plan::Rows;
use super::request::Asks;

pub(super) static DIALECT: Dialect = Dialect::new(&[CALLER, REQUEST], &[ANSWERER, USAGE, ERROR]);

const REQUEST: Rows<Asks> = &[
    ("dimensions", Asks::Number("dimensions")),
    ("encoding_format", Asks::Word("encoding_format")),
    ("truncate_prompt_tokens", Asks::Number("truncate_prompt_tokens")),
];
