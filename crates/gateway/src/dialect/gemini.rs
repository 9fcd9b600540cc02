//! Gemini's `generateContent` and its kin, at Google AI and at Vertex.
//!
//! The model stands in the path. A stream is events (`alt=sse`) or a list that grows; its items are whole
//! answers, each with what is new and a running total of usage, and it has no end mark but that the candidate
//! says why it stopped. `promptTokenCount` includes cached tokens; tokens of tool results stand beside it, and
//! thoughts stand beside `candidatesTokenCount`.
//!
//! Source: the Gemini API reference, "Generating content", `UsageMetadata`. Requests may be written in either
//! of the two spellings that protocol buffers have in JSON.

use super::Dialect;
use super::answer::Says;
use super::plan::Rows;
use super::request::Asks;
use super::usage::Tokens;

pub(super) static DIALECT: Dialect = Dialect::new(&[REQUEST, SPELLED_OUT], &[ANSWER]).ending_with_finish();

const REQUEST: Rows<Asks> = &[
    ("generationConfig.candidateCount", Asks::Number("candidate_count")),
    ("generationConfig.frequencyPenalty", Asks::Number("frequency_penalty")),
    ("generationConfig.maxOutputTokens", Asks::Number("max_output_tokens")),
    ("generationConfig.presencePenalty", Asks::Number("presence_penalty")),
    ("generationConfig.responseMimeType", Asks::Word("response_mime_type")),
    ("generationConfig.seed", Asks::Number("seed")),
    ("generationConfig.temperature", Asks::Number("temperature")),
    ("generationConfig.thinkingConfig.thinkingBudget", Asks::Number("thinking_budget_tokens")),
    ("generationConfig.thinkingConfig.thinkingLevel", Asks::Word("reasoning_effort")),
    ("generationConfig.topK", Asks::Number("top_k")),
    ("generationConfig.topP", Asks::Number("top_p")),
    ("labels", Asks::Metadata),
    ("outputDimensionality", Asks::Number("dimensions")),
    ("toolConfig.functionCallingConfig.mode", Asks::Word("tool_choice")),
    ("tools[*].functionDeclarations[*].name", Asks::Tool(0)),
];

const SPELLED_OUT: Rows<Asks> = &[
    ("generation_config.candidate_count", Asks::Number("candidate_count")),
    ("generation_config.frequency_penalty", Asks::Number("frequency_penalty")),
    ("generation_config.max_output_tokens", Asks::Number("max_output_tokens")),
    ("generation_config.presence_penalty", Asks::Number("presence_penalty")),
    ("generation_config.response_mime_type", Asks::Word("response_mime_type")),
    ("generation_config.seed", Asks::Number("seed")),
    ("generation_config.temperature", Asks::Number("temperature")),
    ("generation_config.top_k", Asks::Number("top_k")),
    ("generation_config.top_p", Asks::Number("top_p")),
    ("tools[*].function_declarations[*].name", Asks::Tool(0)),
];

const ANSWER: Rows<Says> = &[
    ("modelVersion", Says::Model),
    ("responseId", Says::ResponseId),
    ("candidates[*].index", Says::ChoiceIndex),
    ("candidates[*].finishReason", Says::Finish),
    ("candidates[*].content.parts[*].text", Says::Content),
    ("candidates[*].content.parts[*].functionCall.name", Says::WholeCall),
    // A prompt that was turned away has no candidates.
    ("promptFeedback.blockReason", Says::Finish),
    ("usageMetadata", Says::Usage),
    ("usageMetadata.cachedContentTokenCount", Says::Tokens(Tokens::CacheRead)),
    ("usageMetadata.candidatesTokenCount", Says::Tokens(Tokens::Output)),
    ("usageMetadata.promptTokenCount", Says::Tokens(Tokens::Input)),
    ("usageMetadata.thoughtsTokenCount", Says::Tokens(Tokens::ReasoningBeside)),
    ("usageMetadata.toolUsePromptTokenCount", Says::Tokens(Tokens::InputBeside)),
    ("error.status", Says::ErrorType),
    ("error.code", Says::ErrorCode),
];
