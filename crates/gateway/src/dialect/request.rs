//! What a request body says of the call: which model, for whom, with what.

use super::Endpoint;
use super::kept::Pick;
use super::pick::Picker;
use super::plan::{Keep, Meaning};
use super::value;
use crate::headers;
use http::HeaderMap;
use indelible_coding::Decoder;
use indelible_record::entry::Param;
use indelible_record::event::Facts;
use std::collections::BTreeMap;

/// Most tools offered that are named.
const TOOLS_MAX: usize = 64;
/// Longest tool name that is taken.
pub(super) const TOOL_NAME_MAX_BYTES: usize = 128;
/// Kinds of tools that are named by their name. A tool of another kind is named by its kind.
const NAMED_TOOLS: [&str; 3] = ["function", "custom", "namespace"];

/// What a value in a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// The model asked for.
    Model,
    /// Whether a stream is asked for.
    Stream,
    /// The person. Of several the one with the lowest rank.
    User(u8),
    /// The conversation. Of several the one with the lowest rank.
    Session(u8),
    /// A number or boolean that steers the model; under this name in entries.
    Number(&'static str),
    /// A word of a fixed set; under this name in entries.
    Word(&'static str),
    /// The name of a tool offered. Those of a lower rank stand first.
    Tool(u8),
    /// What kind of tool the tool at the same place is.
    ToolKind,
    /// What the application says of the call, an object.
    Metadata,
    /// A tag of the application's.
    Tag,
    /// The response that this call goes on from.
    PreviousResponse,
}

impl Meaning for Asks {
    fn keep(self) -> Keep {
        if self == Self::Metadata { Keep::Whole } else { Keep::Scalar }
    }
}

/// What a request says of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestFacts {
    /// The model asked for.
    pub(crate) model: Option<String>,
    /// The person, as the application names them.
    pub(crate) user_id: Option<String>,
    /// The conversation.
    pub(crate) session_id: Option<String>,
    /// Numbers, booleans and words of fixed sets that steer the model.
    pub(crate) params: BTreeMap<String, Param>,
    /// Whether a stream was asked for.
    pub(crate) stream: Option<bool>,
    /// Names of the tools offered, in the order of the request.
    pub(crate) tools: Vec<String>,
    /// What the application says of the call: `name:value`, or a bare tag. May be personal.
    pub(crate) tags: Vec<String>,
    /// The response that this call goes on from.
    pub(crate) previous_response_id: Option<String>,
    /// The response that the path names.
    pub(crate) response_id: Option<String>,
    /// Why the body was not read, or not to its end.
    pub(crate) unread: Option<String>,
}

impl From<RequestFacts> for Facts {
    /// What of it a record names; of the caller and the route nothing.
    fn from(said: RequestFacts) -> Self {
        Self {
            model: said.model,
            user_id: said.user_id,
            session_id: said.session_id,
            params: said.params,
            stream: said.stream,
            tools: said.tools,
            tags: said.tags,
            previous_response_id: said.previous_response_id,
            response_id: said.response_id,
            unread: said.unread,
            ..Self::default()
        }
    }
}

/// Reads a request body as it passes.
pub(crate) struct RequestReader {
    /// What the path says.
    from_path: RequestFacts,
    decoder: Option<Decoder>,
    picker: Picker<Asks>,
}

impl RequestReader {
    /// A reader for the body of one request to `path`.
    pub(crate) fn new(endpoint: &'static Endpoint, path: &str, headers: &HeaderMap) -> Self {
        Self {
            from_path: endpoint.facts_of_path(path),
            decoder: Decoder::new(&headers::content_encoding(headers)),
            picker: Picker::new(endpoint.dialect.asks.plan()),
        }
    }

    /// Reads on.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let Self { decoder, picker, .. } = self;
        let mut read = |piece: &[u8]| {
            picker.push(piece);
        };
        match decoder {
            None => read(piece),
            Some(decoder) => decoder.push(piece, &mut read),
        }
    }

    /// What the request says, as far as it was read.
    pub(crate) fn facts(&self) -> RequestFacts {
        let mut facts = self.from_path.clone();
        let (mut users, mut sessions) = (Ranked::default(), Ranked::default());
        let mut tools = BTreeMap::new();
        for pick in self.picker.picked() {
            match pick.meaning {
                Asks::Model => value::set_text(&mut facts.model, &pick),
                Asks::Stream => facts.stream = value::boolean(pick.raw),
                Asks::User(rank) => users.offer(rank, value::id(&pick)),
                Asks::Session(rank) => sessions.offer(rank, value::id(&pick)),
                Asks::Number(name) => facts.params.extend(named(name, value::number_param(pick.raw))),
                Asks::Word(name) => facts.params.extend(named(name, value::word_param(&pick))),
                Asks::Tool(rank) => tools.extend(tool_name(&pick).map(|name| ((rank, pick.at), name))),
                Asks::ToolKind => {}
                Asks::Metadata => facts.tags.extend(headers::tags_of_json(pick.raw)),
                Asks::Tag => facts.tags.extend(value::id(&pick)),
                Asks::PreviousResponse => value::set_text(&mut facts.previous_response_id, &pick),
            }
        }
        self.name_unnamed_tools(&mut tools);
        (facts.user_id, facts.session_id) = (users.best(), sessions.best());
        split_user(&mut facts);
        facts.tools = tools.into_values().take(TOOLS_MAX).collect();
        facts.tags.truncate(headers::TAGS_MAX);
        facts.unread = self.decoder.as_ref().and_then(Decoder::unread).map(|why| why.as_str().to_owned());
        facts
    }

    /// Tools that the provider brings (`web_search`) have a kind and no name.
    fn name_unnamed_tools(&self, tools: &mut BTreeMap<(u8, [u32; 2]), String>) {
        for pick in self.picker.picked().filter(|pick| pick.meaning == Asks::ToolKind) {
            let kind = tool_name(&pick).filter(|kind| !NAMED_TOOLS.contains(&kind.as_str()));
            if let (false, Some(kind)) = (tools.contains_key(&(0, pick.at)), kind) {
                tools.insert((0, pick.at), kind);
            }
        }
    }
}

/// Of several values the one with the lowest rank.
#[derive(Default)]
struct Ranked(Option<(u8, String)>);

impl Ranked {
    fn offer(&mut self, rank: u8, value: Option<String>) {
        let better = self.0.as_ref().is_none_or(|(best, _)| rank <= *best);
        if let Some(value) = value.filter(|_| better) {
            self.0 = Some((rank, value));
        }
    }

    fn best(self) -> Option<String> {
        self.0.map(|(_, value)| value)
    }
}

fn named(name: &str, value: Option<Param>) -> Option<(String, Param)> {
    value.map(|value| (name.to_owned(), value))
}

fn tool_name(pick: &Pick<'_, Asks>) -> Option<String> {
    pick.text().filter(|name| name.len() <= TOOL_NAME_MAX_BYTES).map(String::from)
}

/// Anthropic's command-line agent puts its session into `metadata.user_id`: as `…_session_<id>`, later as JSON
/// with `session_id`. Left in there it would make each session another person, whose records could not be
/// erased together.
fn split_user(facts: &mut RequestFacts) {
    let Some(user) = &facts.user_id else { return };
    let in_parts = user.rsplit_once("_session_").filter(|_| user.starts_with("user_"));
    let (person, session) = if let Some((person, session)) = in_parts {
        (person.to_owned(), Some(session.to_owned()))
    } else if user.starts_with('{')
        && let Ok(serde_json::Value::Object(mut members)) = serde_json::from_str(user)
    {
        let session = members.remove("session_id");
        let session = session.and_then(|session| session.as_str().map(str::to_owned));
        (serde_json::Value::Object(members).to_string(), session)
    } else {
        return;
    };
    let Some(session) = session.filter(|session| !session.is_empty()) else { return };
    if facts.session_id.is_none() {
        facts.session_id = Some(session);
    }
    facts.user_id = Some(person).filter(|person| !person.is_empty() && person != "{}");
}
