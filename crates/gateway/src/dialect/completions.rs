//! OpenAI completions: a prompt, continued. The legacy API, which vLLM serves and base models need.

use super::Dialect;
use super::answer::Says;
use super::openai::{ANSWERER, CALLER, ERROR, SAMPLING, USAGE};
use super::plan::Rows;

pub(super) static DIALECT: Dialect = Dialect::new(&[CALLER, SAMPLING], &[ANSWERER, USAGE, ERROR, CHOICES]);

const CHOICES: Rows<Says> = &[
    ("choices[*].index", Says::ChoiceIndex),
    ("choices[*].finish_reason", Says::Finish),
    ("choices[*].text", Says::Content),
];
