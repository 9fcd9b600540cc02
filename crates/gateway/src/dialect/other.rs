//! Calls of a kind that no table names: audio, images, files, batches, whatever comes. They are recorded whole;
//! what nearly all APIs say under the same names is read.

use super::Dialect;
use super::answer::Says;
use super::openai::{CALLER, ERROR, USAGE};
use super::plan::Rows;
use super::usage::Tokens;

pub(super) static DIALECT: Dialect = Dialect::new(&[CALLER], &[ANSWER, USAGE, ERROR]);

const ANSWER: Rows<Says> = &[
    ("model", Says::Model),
    // Images and transcriptions count by the later names.
    ("usage.input_tokens", Says::Tokens(Tokens::Input)),
    ("usage.output_tokens", Says::Tokens(Tokens::Output)),
];
