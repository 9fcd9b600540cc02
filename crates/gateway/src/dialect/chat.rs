//! OpenAI chat completions, as vLLM and many others serve them.
//!
//! A stream is chunks of choices, each with its `index` and a `delta`. A tool call has its id and name once,
//! its arguments in pieces; legacy `function_call` is a call without an index. Token counts come in a last
//! chunk without choices, if they were asked for. The stream ends with `[DONE]`.

use super::Dialect;
use super::answer::Says;
use super::openai::{ANSWERER, CALLER, ERROR, SAMPLING, USAGE};
use super::plan::Rows;
use super::request::Asks;
use super::usage::Tokens;

pub(super) static DIALECT: Dialect =
    Dialect::new(&[CALLER, SAMPLING, REQUEST], &[ANSWERER, USAGE, ERROR, CHOICES, GROQ]);

const REQUEST: Rows<Asks> = &[
    ("functions[*].name", Asks::Tool(1)),
    ("max_completion_tokens", Asks::Number("max_completion_tokens")),
    ("parallel_tool_calls", Asks::Number("parallel_tool_calls")),
    ("reasoning_effort", Asks::Word("reasoning_effort")),
    ("store", Asks::Number("store")),
    ("tool_choice", Asks::Word("tool_choice")),
    ("tool_choice.type", Asks::Word("tool_choice")),
    ("tools[*].custom.name", Asks::Tool(0)),
    ("tools[*].function.name", Asks::Tool(0)),
    ("tools[*].name", Asks::Tool(0)),
    ("tools[*].type", Asks::ToolKind),
    ("top_logprobs", Asks::Number("top_logprobs")),
    ("verbosity", Asks::Word("verbosity")),
];

const CHOICES: Rows<Says> = &[
    ("choices[*].index", Says::ChoiceIndex),
    ("choices[*].finish_reason", Says::Finish),
    ("choices[*].delta.audio.data", Says::Content),
    ("choices[*].delta.content", Says::Content),
    ("choices[*].delta.function_call.name", Says::ToolName),
    // Reasoning is in no specification: `reasoning_content` at DeepSeek, `reasoning` at vLLM and OpenRouter.
    ("choices[*].delta.reasoning", Says::Content),
    ("choices[*].delta.reasoning_content", Says::Content),
    ("choices[*].delta.refusal", Says::Refusal),
    ("choices[*].delta.tool_calls[*].custom.name", Says::ToolName),
    ("choices[*].delta.tool_calls[*].function.name", Says::ToolName),
    ("choices[*].delta.tool_calls[*].index", Says::CallIndex),
    ("choices[*].message.function_call.name", Says::ToolName),
    ("choices[*].message.refusal", Says::Refusal),
    ("choices[*].message.tool_calls[*].custom.name", Says::ToolName),
    ("choices[*].message.tool_calls[*].function.name", Says::ToolName),
];

/// Groq sends usage under a name of its own where it was not asked for.
const GROQ: Rows<Says> = &[
    ("x_groq.usage", Says::Usage),
    ("x_groq.usage.completion_tokens", Says::Tokens(Tokens::Output)),
    ("x_groq.usage.prompt_tokens", Says::Tokens(Tokens::Input)),
];
