//! What an answer says of itself: who answered, why it ended, what it used, which tools it calls.
//!
//! All API shapes come down to texts of JSON, one or many: a plain answer, the events of a stream, lines, the
//! items of a list. Of each field the last value counts, over all texts; of token counts, too. They are never
//! added up: servers that send them with every event send running totals (vLLM's `continuous_usage_stats`,
//! Anthropic's `message_delta`).

use super::kept::{At, Pick};
use super::pick::Picker;
use super::plan::{Keep, Meaning};
use super::request::TOOL_NAME_MAX_BYTES;
use super::sse::{SseItem, SseParser};
use super::texts::{Found, Texts};
use super::usage::{Tokens, Usage};
use super::{Dialect, Endpoint, value};
use crate::headers;
use http::{HeaderMap, header};
use indelible_coding::Decoder;
use indelible_record::event::Answer;
use std::borrow::Cow;

/// Most tool calls of an answer that are named.
const TOOL_CALLS_MAX: usize = 128;
/// What the data of the last event of a stream begins with, to the eye of OpenAI's own clients.
const END_MARK: &[u8] = b"[DONE]";
/// What stands for an error that has no word.
const ERROR: &str = "error";
/// Words for an answer that has not ended, where others say why it did.
const GOING_ON: [&str; 2] = ["in_progress", "queued"];

/// What a value in an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// The model that answered.
    Model,
    /// The server's fingerprint of model and configuration.
    Fingerprint,
    /// The provider's id for the answer.
    ResponseId,
    /// The service tier that answered.
    ServiceTier,
    /// Why generation stopped, of one choice.
    Finish,
    /// How far the answer is, which says why it stopped where nothing else does.
    Status,
    /// Which choice the values at the same place belong to. A stream sends choices one by one.
    ChoiceIndex,
    /// Which tool call, or which piece of output, the values at the same place belong to.
    CallIndex,
    /// The name of a tool called. Said again at the same place it is the same call.
    ToolName,
    /// The name of a tool called, by a call that comes in one piece: said again it is another call.
    WholeCall,
    /// What kind of output a piece is; some kinds are tool calls.
    ItemKind,
    /// The same, in an object that has all of the output: what was said piece by piece counts no more.
    FinalItemKind,
    /// The name of the tool that the piece of output at the same place calls.
    ItemName,
    /// A token count.
    Tokens(Tokens),
    /// The usage object.
    Usage,
    /// The usage object of the first event, which has what later ones leave out.
    FirstUsage,
    /// What kind of event a text is.
    Event,
    /// Whether the stream is over.
    Done,
    /// The provider's word for what went wrong.
    ErrorType,
    /// The provider's code for it.
    ErrorCode,
    /// That something went wrong, where there is no word for it.
    Error,
    /// That something was generated.
    Content,
    /// That the model declined to answer.
    Refusal,
}

impl Meaning for Says {
    fn keep(self) -> Keep {
        match self {
            Self::Usage | Self::FirstUsage => Keep::Whole,
            Self::Error | Self::Content | Self::Refusal => Keep::Presence,
            _ => Keep::Scalar,
        }
    }
}

/// Reads a response body as it passes.
pub(crate) struct AnswerReader {
    decoder: Option<Decoder>,
    form: Form,
    reading: Reading,
}

/// How the texts of an answer are told apart.
enum Form {
    Events(SseParser),
    Texts(Texts),
    /// Nothing that is known.
    Unread,
}

impl AnswerReader {
    /// A reader for the body that answers a request to `endpoint`, with the head that it came with.
    pub(crate) fn new(endpoint: &'static Endpoint, headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        let is_json = |name: &str| {
            name.get(name.len().saturating_sub(5)..).is_some_and(|end| end.eq_ignore_ascii_case("+json"))
        };
        let form = if is("text/event-stream") {
            Form::Events(SseParser::new())
        } else if ["application/x-ndjson", "application/ndjson", "application/jsonl"].into_iter().any(is) {
            Form::Texts(Texts::lines())
        } else if is("application/json") || is_json(media_type) {
            Form::Texts(if endpoint.streams { Texts::list() } else { Texts::one() })
        } else {
            Form::Unread
        };
        let mut said = Said::new(endpoint.dialect);
        said.answer.provider_request_id = headers::provider_request_id(headers);
        let picker = Picker::new(endpoint.dialect.says.plan());
        let codings = headers::content_encoding(headers);
        let decoder = if matches!(form, Form::Unread) { None } else { Decoder::new(&codings) };
        Self { decoder, form, reading: Reading { picker, said, marked: Some(0) } }
    }

    /// Reads on.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let Self { decoder, form, reading } = self;
        match decoder {
            None => form.push(piece, reading),
            Some(decoder) => decoder.push(piece, &mut |piece| form.push(piece, reading)),
        }
    }

    /// Whether the server said that its stream is over. A stream that ends without was cut, whatever TCP
    /// says.
    pub(crate) fn saw_end(&self) -> bool {
        self.reading.said.ended
    }

    /// Whether something that was generated has come: the first token, and not only a head.
    pub(crate) fn began(&self) -> bool {
        self.reading.said.began
    }

    /// What the answer says of itself, and its usage object exactly as received.
    pub(crate) fn finish(self) -> (Answer, Option<String>) {
        let Self { decoder, form, mut reading } = self;
        match form {
            Form::Events(sse) => sse.finish(|item| reading.take(item)),
            Form::Texts(_) => reading.absorb(),
            Form::Unread => {}
        }
        let mut said = reading.said;
        said.answer.unread = decoder.and_then(|decoder| decoder.unread()).map(|why| why.as_str().to_owned());
        said.finish()
    }
}

impl Form {
    fn push(&mut self, piece: &[u8], reading: &mut Reading) {
        match self {
            Self::Events(sse) => sse.push(piece, |item| reading.take(item)),
            Self::Texts(texts) => {
                let mut rest = piece;
                while !rest.is_empty() {
                    let (taken, found) = texts.push(rest, &mut reading.picker);
                    rest = &rest[taken..];
                    match found {
                        Found::Nothing => {}
                        Found::Text => reading.absorb(),
                        Found::End => reading.said.ended = true,
                    }
                }
                // An answer that is no stream has no end but that of the body.
                reading.said.ended &= texts.are_many();
            }
            Self::Unread => {}
        }
    }
}

/// The text at hand, and what those before it said.
struct Reading {
    picker: Picker<Says>,
    said: Said,
    /// How much of [`END_MARK`] the event at hand began with; `None` once it is something else.
    marked: Option<usize>,
}

impl Reading {
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
            self.said.ended |= seen + compared == END_MARK.len();
        } else {
            self.marked = None;
        }
    }

    /// Takes over what the text at hand says, and begins another.
    fn absorb(&mut self) {
        self.said.absorb(&self.picker);
        self.picker.reset();
    }
}

/// What an answer said so far.
pub(super) struct Said {
    dialect: &'static Dialect,
    answer: Answer,
    usage: Usage,
    status: Option<String>,
    calls: Vec<ToolCall>,
    ended: bool,
    began: bool,
}

struct ToolCall {
    choice: u64,
    index: u64,
    name: String,
}

impl Said {
    pub(super) fn new(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            answer: Answer::default(),
            usage: Usage::default(),
            status: None,
            calls: Vec::new(),
            ended: false,
            began: false,
        }
    }

    /// Whether it said that nothing follows.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Takes over what was picked from one text.
    pub(super) fn absorb(&mut self, picker: &Picker<Says>) {
        let mut final_items = false;
        for pick in picker.picked() {
            match pick.meaning {
                Says::Finish if choice(picker, pick.at) != 0 => {}
                Says::ToolName => self.add_call(picker, &pick, call_index(picker, pick.at), pick.text()),
                // Each is a call of its own, numbered in the order of their coming.
                Says::WholeCall => self.add_call(picker, &pick, self.calls.len() as u64, pick.text()),
                Says::ItemKind => self.take_item(picker, &pick),
                Says::FinalItemKind => {
                    if !std::mem::replace(&mut final_items, true) {
                        self.calls.clear();
                    }
                    self.take_item(picker, &pick);
                }
                _ => self.take_field(&pick),
            }
        }
    }

    fn take_field(&mut self, pick: &Pick<'_, Says>) {
        let answer = &mut self.answer;
        match pick.meaning {
            Says::Model => value::set_text(&mut answer.model, pick),
            Says::Fingerprint => value::set_text(&mut answer.system_fingerprint, pick),
            Says::ResponseId => value::set_text(&mut answer.response_id, pick),
            Says::ServiceTier => value::set_text(&mut answer.service_tier, pick),
            Says::ErrorType => value::set_text(&mut answer.error_type, pick),
            Says::ErrorCode => answer.error_code = value::id(pick),
            Says::Error if answer.error_type.is_none() => answer.error_type = Some(ERROR.to_owned()),
            Says::Refusal => (answer.refused, self.began) = (true, true),
            Says::Content => self.began = true,
            Says::Tokens(which) => self.usage.count(which, pick.raw),
            Says::Usage => self.usage.last(pick.raw),
            Says::FirstUsage => self.usage.first(pick.raw),
            Says::Finish => {
                value::set_text(&mut answer.finish_reason, pick);
                self.ended |= self.dialect.finish_ends;
            }
            Says::Status if pick.text().is_some_and(|word| !GOING_ON.contains(&&*word)) => {
                value::set_text(&mut self.status, pick);
            }
            Says::Event => {
                let Some(word) = pick.text() else { return };
                self.ended |= self.dialect.ends.contains(&&*word);
                self.began |= word.ends_with(".delta");
            }
            Says::Done => self.ended |= value::boolean(pick.raw) == Some(true),
            _ => {}
        }
    }

    fn take_item(&mut self, picker: &Picker<Says>, pick: &Pick<'_, Says>) {
        let beside = |other: &Pick<'_, Says>| {
            other.meaning == Says::ItemName && (other.parent, other.at) == (pick.parent, pick.at)
        };
        let name = picker.picked().find(beside).and_then(|name| name.text());
        let Some(kind) = pick.text() else { return };
        // Responses: `function_call`, `custom_tool_call`, `mcp_call` have a name, `web_search_call` and its like
        // have none. Messages: `tool_use`, `server_tool_use`, `mcp_tool_use`.
        let called = match kind.strip_suffix("_call") {
            Some(tool) => name.or(Some(Cow::Borrowed(tool))),
            None => name.filter(|_| kind.ends_with("tool_use")),
        };
        self.add_call(picker, pick, call_index(picker, pick.at), called);
    }

    /// Adds a call, unless its name is only said again. Another name at the same index is another call: some
    /// servers number all parallel calls 0.
    fn add_call(
        &mut self,
        picker: &Picker<Says>,
        pick: &Pick<'_, Says>,
        index: u64,
        name: Option<Cow<'_, str>>,
    ) {
        let Some(name) = name.filter(|name| name.len() <= TOOL_NAME_MAX_BYTES) else { return };
        let choice = choice(picker, pick.at);
        let same = |call: &ToolCall| (call.choice, call.index) == (choice, index) && call.name == name;
        if self.calls.len() < TOOL_CALLS_MAX && !self.calls.iter().any(same) {
            self.calls.push(ToolCall { choice, index, name: name.into_owned() });
        }
        self.began = true;
    }

    pub(super) fn finish(mut self) -> (Answer, Option<String>) {
        let mut answer = self.answer;
        answer.finish_reason = answer.finish_reason.or(self.status);
        self.calls.sort_by_key(|call| (call.choice, call.index));
        answer.tool_calls = self.calls.into_iter().map(|call| call.name).collect();
        let raw = self.usage.finish(&mut answer);
        (answer, raw)
    }
}

/// The number of the choice that a value belongs to.
fn choice(picker: &Picker<Says>, at: At) -> u64 {
    let said = |pick: &Pick<'_, Says>| pick.meaning == Says::ChoiceIndex && pick.at[0] == at[0];
    picker.picked().find(said).and_then(|pick| value::count(pick.raw)).unwrap_or(u64::from(at[0]))
}

/// The number of the call that a value belongs to, within its choice.
fn call_index(picker: &Picker<Says>, at: At) -> u64 {
    let said = |pick: &Pick<'_, Says>| pick.meaning == Says::CallIndex && pick.at == at;
    picker.picked().find(said).and_then(|pick| value::count(pick.raw)).unwrap_or(u64::from(at[1]))
}
