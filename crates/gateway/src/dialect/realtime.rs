//! OpenAI Realtime, and Responses over WebSocket: messages instead of a body, and several responses on one
//! connection.
//!
//! Each message of the server is one event, as in a stream of Responses. A response ends with `response.done`
//! or as in Responses; its usage is its own, so that of a connection is the sum.

use super::answer::{Said, Says};
use super::openai::CALLER;
use super::pick::Picker;
use super::plan::Rows;
use super::request::Asks;
use super::usage::Tokens;
use super::{Dialect, Endpoint, responses};
use indelible_record::event::Answer;

/// Most bytes of usage objects that are kept of one connection.
const USAGE_MAX_BYTES: usize = 16 * 1024;
/// Most tool calls of one connection that are named.
const TOOL_CALLS_MAX: usize = 128;

pub(super) static DIALECT: Dialect =
    Dialect::new(&[CALLER, responses::REQUEST, REQUEST], &[responses::EVENTS, EVENTS]).ending_with(&[
        "response.done",
        responses::ENDS[0],
        responses::ENDS[1],
        responses::ENDS[2],
        responses::ENDS[3],
    ]);

const REQUEST: Rows<Asks> = &[
    ("session.model", Asks::Model),
    ("session.tools[*].name", Asks::Tool(0)),
    ("session.tools[*].type", Asks::ToolKind),
    ("response.tools[*].name", Asks::Tool(1)),
];

const EVENTS: Rows<Says> = &[
    ("session.model", Says::Model),
    ("response.status_details.error.code", Says::ErrorCode),
    ("response.status_details.error.type", Says::ErrorType),
    ("response.status_details.reason", Says::Finish),
    ("response.usage.input_token_details.cached_tokens", Says::Tokens(Tokens::CacheRead)),
    ("error.code", Says::ErrorCode),
    ("error.type", Says::ErrorType),
];

/// Reads what a server says on one connection, message by message.
pub(crate) struct MessageReader {
    dialect: &'static Dialect,
    picker: Picker<Says>,
    /// What was said of the response at hand.
    said: Said,
    /// What was said of those before.
    total: Answer,
    usages: Vec<String>,
    usage_bytes: usize,
}

impl MessageReader {
    /// A reader for one connection to `endpoint`.
    pub(crate) fn new(endpoint: &'static Endpoint) -> Self {
        Self::of(endpoint.dialect)
    }

    fn of(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            picker: Picker::new(dialect.says.plan()),
            said: Said::new(dialect),
            total: Answer::default(),
            usages: Vec::new(),
            usage_bytes: 0,
        }
    }

    /// A part of a text message, whatever its size.
    pub(crate) fn push(&mut self, part: &[u8]) {
        self.picker.push(part);
    }

    /// The message is over. Says whether a response ended with it.
    pub(crate) fn end_message(&mut self) -> bool {
        self.said.absorb(&self.picker);
        self.picker.reset();
        let ended = self.said.ended();
        if ended {
            self.end_response();
        }
        ended
    }

    /// This reader; what is left in its place has read nothing.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::of(self.dialect))
    }

    /// What the connection's answers say together, and their usage objects, as a list.
    pub(crate) fn finish(mut self) -> (Answer, Option<String>) {
        self.end_response();
        let list = (!self.usages.is_empty()).then(|| format!("[{}]", self.usages.join(",")));
        (self.total, list)
    }

    fn end_response(&mut self) {
        let said = std::mem::replace(&mut self.said, Said::new(self.dialect));
        let (answer, usage) = said.finish();
        let Answer { tool_calls, .. } = &mut self.total;
        let room = TOOL_CALLS_MAX.saturating_sub(tool_calls.len());
        tool_calls.extend(answer.tool_calls.iter().take(room).cloned());
        let tool_calls = std::mem::take(tool_calls);
        let before = std::mem::take(&mut self.total);
        self.total = Answer {
            prompt_tokens: sum(before.prompt_tokens, answer.prompt_tokens),
            completion_tokens: sum(before.completion_tokens, answer.completion_tokens),
            cached_tokens: sum(before.cached_tokens, answer.cached_tokens),
            reasoning_tokens: sum(before.reasoning_tokens, answer.reasoning_tokens),
            model: answer.model.or(before.model),
            service_tier: answer.service_tier.or(before.service_tier),
            finish_reason: answer.finish_reason.or(before.finish_reason),
            response_id: answer.response_id.or(before.response_id),
            error_type: answer.error_type.or(before.error_type),
            error_code: answer.error_code.or(before.error_code),
            refused: answer.refused || before.refused,
            tool_calls,
            ..before
        };
        let usage = usage.filter(|usage| self.usage_bytes + usage.len() <= USAGE_MAX_BYTES);
        self.usage_bytes += usage.as_ref().map_or(0, String::len);
        self.usages.extend(usage);
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => one.checked_add(other),
        (one, other) => one.or(other),
    }
}
