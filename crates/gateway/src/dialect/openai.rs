//! The OpenAI dialect: chat completions, completions and embeddings, as vLLM and many others serve them.
//!
//! Members are read by name wherever they stand, whatever the operation: a body of another API that says
//! `model` means the same by it. Source: the OpenAI API reference (Chat, Completions, Embeddings); where
//! servers stray from it, the comment names the stray.

use super::RequestFacts;
use super::pick::{At, Pick, Picker};
use super::plan::Plan;
use super::sse::{SseItem, SseParser};
use indelible_record::canonical::INTEGER_MAX;
use indelible_record::entry::Param;
use indelible_record::event::Answer;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Longest word or number that is taken as a parameter.
const PARAM_MAX_BYTES: usize = 64;
/// Most tools offered that are named.
const TOOLS_MAX: usize = 64;
/// Most tool calls of an answer that are named.
const TOOL_CALLS_MAX: usize = 128;
/// Longest tool name that is taken.
const TOOL_NAME_MAX_BYTES: usize = 128;

/// What the data of the last event of a stream begins with, to the eye of OpenAI's own clients.
const END_MARK: &[u8] = b"[DONE]";

/// Parameters that are words of fixed sets. All others are numbers or booleans, and a string there is not
/// taken: `stop`, `logit_bias` and whatever else a client may write freely stay in the payload.
const WORDS: [&str; 5] =
    ["encoding_format", "reasoning_effort", "response_format.type", "service_tier", "tool_choice"];

static REQUEST: LazyLock<Plan> = LazyLock::new(|| {
    let numbers = [
        "best_of",
        "dimensions",
        "echo",
        "frequency_penalty",
        "ignore_eos",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "min_p",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "stream_options.include_usage",
        "temperature",
        "top_k",
        "top_logprobs",
        "top_p",
    ];
    let others = [
        "functions[*].name",
        "metadata.session_id",
        "metadata.user_id",
        "model",
        "safety_identifier",
        "stream",
        "tools[*].custom.name",
        "tools[*].function.name",
        "tools[*].name",
        "user",
    ];
    Plan::new(&[&numbers[..], &WORDS, &others].concat(), &["metadata"])
});

static ANSWER: LazyLock<Plan> = LazyLock::new(|| {
    let scalars = [
        "choices[*].index",
        "choices[*].finish_reason",
        "choices[*].delta.function_call.name",
        "choices[*].delta.tool_calls[*].index",
        "choices[*].delta.tool_calls[*].custom.name",
        "choices[*].delta.tool_calls[*].function.name",
        "choices[*].message.function_call.name",
        "choices[*].message.tool_calls[*].custom.name",
        "choices[*].message.tool_calls[*].function.name",
        "model",
        "system_fingerprint",
        "usage.completion_tokens",
        "usage.completion_tokens_details.reasoning_tokens",
        "usage.prompt_tokens",
        "usage.prompt_tokens_details.cached_tokens",
    ];
    Plan::new(&scalars, &["usage"])
});

/// Reads a request body as it passes.
pub(crate) struct RequestReader {
    picker: Picker,
}

impl RequestReader {
    /// A reader for one body.
    pub(crate) fn new() -> Self {
        Self { picker: Picker::new(&REQUEST) }
    }

    /// Reads on.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.picker.push(piece);
    }

    /// What the body says, as far as it could be read.
    pub(crate) fn finish(self) -> RequestFacts {
        let mut facts = RequestFacts::default();
        let mut users = [None, None, None];
        let mut tools = BTreeMap::new();
        for (path, pick) in self.picker.picked() {
            match path {
                "model" => facts.model = nonempty(pick),
                "stream" => facts.stream = boolean(pick),
                // `safety_identifier` is OpenAI's later name for `user`; applications also use `metadata`.
                "user" => users[0] = id(pick),
                "safety_identifier" => users[1] = id(pick),
                "metadata.user_id" => users[2] = id(pick),
                "metadata.session_id" => facts.session_id = id(pick),
                "metadata" => facts.metadata = object(pick),
                "functions[*].name" => insert_tool(&mut tools, (1, pick.at[0]), pick),
                _ if path.starts_with("tools[*]") => insert_tool(&mut tools, (0, pick.at[0]), pick),
                _ => facts.params.extend(param(path, pick)),
            }
        }
        facts.user_id = users.into_iter().flatten().next();
        facts.tools = tools.into_values().take(TOOLS_MAX).collect();
        facts
    }
}

fn insert_tool(tools: &mut BTreeMap<(u8, u32), String>, place: (u8, u32), pick: &Pick) {
    if let Some(name) = tool_name(pick) {
        tools.insert(place, name);
    }
}

/// Reads a response body as it passes.
pub(crate) struct AnswerReader {
    form: Form,
    reading: Reading,
}

enum Form {
    Events(SseParser),
    Json,
    /// Of an unknown type, or compressed: the bytes would read as something that they are not.
    Unread,
}

impl AnswerReader {
    /// A reader for one body, whose headers say of it `content_type` and `content_encoding`.
    pub(crate) fn new(content_type: Option<&str>, content_encoding: Option<&str>) -> Self {
        let plain = content_encoding.is_none_or(|coding| {
            let coding = coding.trim();
            coding.is_empty() || coding.eq_ignore_ascii_case("identity")
        });
        let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        let form = match media_type.trim().to_ascii_lowercase().as_str() {
            _ if !plain => Form::Unread,
            "text/event-stream" => Form::Events(SseParser::new()),
            "application/json" => Form::Json,
            other if other.ends_with("+json") => Form::Json,
            _ => Form::Unread,
        };
        Self { form, reading: Reading::new() }
    }

    /// Reads on.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let Self { form, reading } = self;
        match form {
            Form::Events(sse) => sse.push(piece, |item| reading.take(item)),
            Form::Json => reading.picker.push(piece),
            Form::Unread => {}
        }
    }

    /// Whether the server said that its stream is over. A stream that ends without was cut, whatever TCP
    /// says.
    pub(crate) fn saw_end(&self) -> bool {
        self.reading.ended
    }

    /// What the answer says of itself, and its `usage` object exactly as received.
    pub(crate) fn finish(self) -> (Answer, Option<String>) {
        let Self { form, mut reading } = self;
        match form {
            Form::Events(sse) => sse.finish(|item| reading.take(item)),
            Form::Json => reading.absorb(),
            Form::Unread => {}
        }
        reading.finish()
    }
}

/// What was read of an answer: of each field the last, over all chunks. Usage is never added up: servers that
/// send it with every chunk (vLLM's `continuous_usage_stats`) send running totals.
struct Reading {
    picker: Picker,
    answer: Answer,
    usage: Option<String>,
    tools: Vec<ToolCall>,
    /// How much of [`END_MARK`] the event at hand began with; `None` once it is something else.
    marked: Option<usize>,
    ended: bool,
}

struct ToolCall {
    choice: u64,
    index: u64,
    name: String,
}

impl Reading {
    fn new() -> Self {
        Self {
            picker: Picker::new(&ANSWER),
            answer: Answer::default(),
            usage: None,
            tools: Vec::new(),
            marked: Some(0),
            ended: false,
        }
    }

    fn take(&mut self, item: SseItem<'_>) {
        match item {
            SseItem::Data(part) => {
                self.look_for_end(part);
                self.picker.push(part);
            }
            SseItem::DataLineEnd => {
                self.picker.push(b"\n");
                self.marked = None;
            }
            SseItem::EventEnd => {
                self.absorb();
                self.picker.reset();
                self.marked = Some(0);
            }
        }
    }

    fn look_for_end(&mut self, part: &[u8]) {
        let Some(seen) = self.marked else { return };
        let missing = &END_MARK[seen..];
        let compared = missing.len().min(part.len());
        if missing[..compared] == part[..compared] {
            self.marked = Some(seen + compared);
            self.ended |= seen + compared == END_MARK.len();
        } else {
            self.marked = None;
        }
    }

    /// Takes over what was picked from one chunk, or from the whole answer.
    fn absorb(&mut self) {
        let Self { picker, answer, usage, tools, .. } = self;
        // Absent and empty say nothing: Azure's first chunk has `"model":""`.
        for (path, pick) in picker.picked() {
            match path {
                "model" => set(&mut answer.model, nonempty(pick)),
                "system_fingerprint" => set(&mut answer.system_fingerprint, nonempty(pick)),
                "choices[*].finish_reason" if choice(picker, pick.at) == 0 => {
                    set(&mut answer.finish_reason, nonempty(pick));
                }
                "usage" => set(usage, object(pick)),
                "usage.prompt_tokens" => set(&mut answer.prompt_tokens, count(pick)),
                "usage.completion_tokens" => set(&mut answer.completion_tokens, count(pick)),
                "usage.prompt_tokens_details.cached_tokens" => set(&mut answer.cached_tokens, count(pick)),
                "usage.completion_tokens_details.reasoning_tokens" => {
                    set(&mut answer.reasoning_tokens, count(pick));
                }
                _ if path.ends_with(".name") => add_tool_call(tools, picker, pick),
                _ => {}
            }
        }
    }

    fn finish(mut self) -> (Answer, Option<String>) {
        self.tools.sort_by_key(|call| (call.choice, call.index));
        self.answer.tool_calls = self.tools.into_iter().map(|call| call.name).collect();
        (self.answer, self.usage)
    }
}

/// Adds a call, unless this chunk only repeats its name. Another name at the same index is another call: some
/// servers number all parallel calls 0.
fn add_tool_call(tools: &mut Vec<ToolCall>, picker: &Picker, pick: &Pick) {
    let Some(name) = tool_name(pick) else { return };
    let (choice, index) = (choice(picker, pick.at), tool_index(picker, pick.at));
    let known = tools.iter().any(|call| (call.choice, call.index) == (choice, index) && call.name == name);
    if !known && tools.len() < TOOL_CALLS_MAX {
        tools.push(ToolCall { choice, index, name });
    }
}

/// The number of the choice that a value belongs to. A stream sends choices one by one, each with its
/// `index`.
fn choice(picker: &Picker, at: At) -> u64 {
    let said = |(path, pick): &(&str, &Pick)| *path == "choices[*].index" && pick.at[0] == at[0];
    picker.picked().find(said).and_then(|(_, pick)| count(pick)).unwrap_or(u64::from(at[0]))
}

fn tool_index(picker: &Picker, at: At) -> u64 {
    let said =
        |(path, pick): &(&str, &Pick)| *path == "choices[*].delta.tool_calls[*].index" && pick.at == at;
    picker.picked().find(said).and_then(|(_, pick)| count(pick)).unwrap_or(u64::from(at[1]))
}

fn set<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

fn nonempty(pick: &Pick) -> Option<String> {
    pick.string().filter(|text| !text.is_empty())
}

fn tool_name(pick: &Pick) -> Option<String> {
    nonempty(pick).filter(|name| name.len() <= TOOL_NAME_MAX_BYTES)
}

/// An id: a string, or a number, as applications write them.
fn id(pick: &Pick) -> Option<String> {
    nonempty(pick).or_else(|| number(&pick.raw).map(str::to_owned))
}

fn object(pick: &Pick) -> Option<String> {
    pick.raw.starts_with(b"{").then(|| String::from_utf8_lossy(&pick.raw).into_owned())
}

fn boolean(pick: &Pick) -> Option<bool> {
    match pick.raw.as_slice() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// A count that an entry can hold.
fn count(pick: &Pick) -> Option<u64> {
    number(&pick.raw)?.parse().ok().filter(|count| *count <= INTEGER_MAX)
}

/// A JSON number (RFC 8259 §6), as it stands.
fn number(raw: &[u8]) -> Option<&str> {
    let begins = raw.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
    let is_json = begins && serde_json::from_slice::<&serde_json::value::RawValue>(raw).is_ok();
    std::str::from_utf8(raw).ok().filter(|_| is_json)
}

fn param(path: &str, pick: &Pick) -> Option<(String, Param)> {
    let value = match boolean(pick) {
        Some(value) => Param::Bool(value),
        None if WORDS.contains(&path) => Param::Text(pick.string().filter(|word| is_word(word))?),
        None => number_param(number(&pick.raw)?)?,
    };
    let name = match path {
        "response_format.type" => "response_format",
        "stream_options.include_usage" => "include_usage",
        name => name,
    };
    Some((name.to_owned(), value))
}

/// An integer that every reader reads alike; any other number keeps its text, `-0` and `1.0` included.
fn number_param(text: &str) -> Option<Param> {
    let integer = text.parse::<i64>().ok();
    match integer.filter(|n| n.unsigned_abs() <= INTEGER_MAX && n.to_string() == text) {
        Some(integer) => Some(Param::Integer(integer)),
        None => (text.len() <= PARAM_MAX_BYTES).then(|| Param::Text(text.to_owned())),
    }
}

fn is_word(text: &str) -> bool {
    let fits = (1..=PARAM_MAX_BYTES).contains(&text.len());
    fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}
