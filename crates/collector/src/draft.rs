//! From what a source reported to an entry that names nobody.
//!
//! The rule (invariant 8): a string that a client chose stands in the entry only if it looks like an
//! identifier and like nothing personal; otherwise the entry has a keyed hash, and the original goes
//! into the encrypted payload. The user is always a pseudonym. Look-ups use the same functions, so what
//! was recorded is found again.

use indelible_os::clock::Utc;
use indelible_record::canonical::INTEGER_MAX;
use indelible_record::commitment::{Commitment, from_hex};
use indelible_record::entry::{self, Entry, Param, Side, Source, event_type};
use indelible_record::event::{Answer, Conversation, End, Facts, Private, Start};
use indelible_record::identity;
use indelible_vault::subjects::Basis;
use indelible_vault::{SubjectRef, Vault, VaultError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Most names in one entry's list, and most parameters.
const NAMES_MAX: usize = 64;
/// Most stretches of a body that an entry names.
const WITHHELD_MAX: usize = 64;
/// Most tags in one entry.
const TAGS_MAX: usize = 16;

/// The subject of a call: its user, failing that its session, failing that a day of its route.
pub fn subject_of(vault: &mut Vault, start: &Start, now: Utc) -> Result<SubjectRef, VaultError> {
    let facts = &start.facts;
    match (&facts.user_id, &facts.session_id) {
        (Some(user), _) => vault.subject(&start.tenant, Basis::User, user),
        (None, Some(session)) => vault.subject(&start.tenant, Basis::Session, session),
        (None, None) => {
            vault.subject(&start.tenant, Basis::RouteDay, &format!("{}/{}", facts.route, now.day()))
        }
    }
}

/// The entry as far as the start of a call tells. Originals that may not stand in it go to `private`.
pub fn from_start(
    vault: &mut Vault,
    event_id: Uuid,
    start: &Start,
    subject: SubjectRef,
    private: &mut Private,
) -> Entry {
    let mut entry = Entry {
        event_id: event_id.to_string(),
        event_type: event_type_of(&start.facts.operation).to_owned(),
        subject_ref: Some(subject.to_string()),
        tenant_id: start.tenant.clone(),
        v: entry::VERSION,
        ..Entry::default()
    };
    apply_facts(vault, &mut entry, &start.facts, private);
    if let Some(rewrite) = &start.private.rewrite {
        let name = clear_or_hashed(vault, &start.tenant, &rewrite.name);
        let sent = side(&rewrite.sent, None, false);
        let rewrite = json!({ "name": name, "sent": { "bytes": sent.bytes, "commitment": sent.commitment } });
        entry.detail.get_or_insert_default().insert("rewrite".to_owned(), rewrite);
    }
    entry.input =
        start.private.input.as_ref().map(|input| side(input, start.private.input_type.as_deref(), false));
    entry
}

/// Adds what the end of a call tells.
pub fn apply_end(vault: &mut Vault, entry: &mut Entry, end: &End, private: &mut Private) {
    entry.status = Some(end.status);
    entry.http_status = end.http_status;
    entry.latency_ms = count(Some(end.latency_us / 1000));
    entry.ttft_ms = count(end.ttft_us.map(|us| us / 1000));
    let mut clear = Clear { vault, tenant: &entry.tenant_id.clone(), private };
    entry.error_type = clear.field("error_type", end.error_type.as_deref());
    if let Some(hangup) = clear.field("hangup", end.hangup.as_deref()) {
        entry.detail.get_or_insert_default().insert("hangup".to_owned(), hangup.into());
    }
    if let Some(input) = &end.private.input {
        let kind = end.private.input_type.as_deref();
        entry.input = Some(side(input, kind, end.input_partial));
    }
    if let Some(output) = &end.private.output {
        let kind = end.private.output_type.as_deref();
        entry.output = Some(side(output, kind, end.output_partial));
    }
    if let Some(late) = &end.late {
        apply_late(&mut clear, entry, late);
    }
    apply_answer(&mut clear, entry, &end.answer);
    if !end.withheld.is_empty() {
        let counts = end.withheld.iter().filter(|(at, len)| (*at).max(*len) <= INTEGER_MAX);
        let stretches: Vec<_> = counts.take(WITHHELD_MAX).map(|(at, len)| json!([at, len])).collect();
        entry.detail.get_or_insert_default().insert("withheld".to_owned(), stretches.into());
    }
    if let Some(us) = end.first_token_us.filter(|us| Some(us / 1000) != entry.ttft_ms) {
        let detail = entry.detail.get_or_insert_default();
        detail.insert("first_token_ms".to_owned(), (us / 1000).min(INTEGER_MAX).into());
    }
    if let Some(conversation) = &end.websocket {
        let detail = entry.detail.get_or_insert_default();
        detail.insert("websocket".to_owned(), counted(conversation));
    }
    if entry.output.as_ref().is_some_and(|output| output.bytes != end.delivered_bytes) {
        let detail = entry.detail.get_or_insert_default();
        detail.insert("delivered_bytes".to_owned(), end.delivered_bytes.min(INTEGER_MAX).into());
    }
}

/// Where an event came from.
pub fn source(id: &str, incarnation: Uuid, seq: u64, start_seq: Option<u64>, time: Option<i64>) -> Source {
    Source {
        id: id.to_owned(),
        incarnation: incarnation.to_string(),
        seq,
        start_seq,
        time: time.map(|micros| Utc(micros).to_string()),
    }
}

/// One side of an exchange, as an entry has it.
pub fn side(commitment: &Commitment, content_type: Option<&str>, partial: bool) -> Side {
    let media_type = content_type
        .map(|text| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase())
        .filter(|text| is_media_type(text));
    Side {
        bytes: commitment.bytes.min(INTEGER_MAX),
        commitment: commitment.to_text(),
        content_type: media_type,
        partial,
    }
}

/// A client's string as an entry has it: itself, or its keyed hash.
pub fn clear_or_hashed(vault: &mut Vault, tenant: &str, text: &str) -> String {
    if identity::may_stand_clear(text) { text.to_owned() } else { vault.hashed(tenant, text) }
}

fn apply_facts(vault: &mut Vault, entry: &mut Entry, facts: &Facts, private: &mut Private) {
    if let Some(user) = &facts.user_id {
        private.originals.insert("user_id".to_owned(), user.clone());
    }
    let mut clear = Clear { vault, tenant: &entry.tenant_id.clone(), private };
    entry.route = clear.field("route", Some(&facts.route));
    entry.environment = clear.field("environment", facts.environment.as_deref());
    entry.app_version = clear.field("app_version", facts.app_version.as_deref());
    entry.operation = clear.field("operation", Some(&facts.operation));
    entry.provider = clear.field("provider", facts.provider.as_deref());
    entry.model = clear.field("model", facts.model.as_deref());
    entry.session_id = clear.field("session_id", facts.session_id.as_deref());
    entry.request_id = clear.field("request_id", facts.request_id.as_deref());
    entry.api_key_id = clear.field("api_key_id", facts.api_key_id.as_deref());
    entry.trace_id = clear.field("trace_id", facts.trace_id.as_deref());
    entry.span_id = clear.field("span_id", facts.span_id.as_deref());
    entry.tools = clear.names("tools", &facts.tools);
    entry.retention_class = clear.field("retention_class", facts.retention_class.as_deref());
    entry.stream = facts.stream;
    entry.attempt = facts.attempt;
    entry.params = params(facts);
    apply_detail(&mut clear, entry, facts);
}

fn params(facts: &Facts) -> BTreeMap<String, Param> {
    let params = facts.params.iter().filter(|(name, value)| is_param(name, value));
    params.take(NAMES_MAX).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What a request says that has no field of its own.
fn apply_detail(clear: &mut Clear<'_>, entry: &mut Entry, facts: &Facts) {
    clear.detail(entry, "previous_response_id", facts.previous_response_id.as_deref());
    clear.detail(entry, "response_id", facts.response_id.as_deref());
    clear.detail(entry, "request_unread", facts.unread.as_deref());
    let user = facts.user_id.as_deref();
    for tag in facts.tags.iter().filter(|tag| may_be_a_tag(tag, user)) {
        let detail = entry.detail.get_or_insert_default();
        let tags = detail.entry("tags").or_insert_with(|| Vec::<Value>::new().into()).as_array_mut();
        if let Some(tags) =
            tags.filter(|tags| tags.len() < TAGS_MAX && !tags.iter().any(|other| other == tag))
        {
            tags.push(tag.clone().into());
        }
    }
}

/// The payload has all tags; one that may not stand here is left out, since nobody looks for its hash.
fn may_be_a_tag(tag: &str, user: Option<&str>) -> bool {
    identity::tag_may_stand_clear(tag) && !tag.split(':').any(|part| Some(part) == user)
}

/// What the whole of a large request body says outranks what its beginning said: of doubled members the last
/// counts. Whose payload it is was settled before.
fn apply_late(clear: &mut Clear<'_>, entry: &mut Entry, late: &Facts) {
    entry.model = clear.field("model", late.model.as_deref()).or(entry.model.take());
    entry.stream = late.stream.or(entry.stream);
    if entry.session_id.is_none() {
        entry.session_id = clear.field("session_id", late.session_id.as_deref());
    }
    entry.tools = clear.names("tools", &late.tools);
    entry.params = params(late);
    apply_detail(clear, entry, late);
}

fn apply_answer(clear: &mut Clear<'_>, entry: &mut Entry, answer: &Answer) {
    entry.model_returned = clear.field("model_returned", answer.model.as_deref());
    entry.system_fingerprint = clear.field("system_fingerprint", answer.system_fingerprint.as_deref());
    entry.finish_reason = clear.field("finish_reason", answer.finish_reason.as_deref());
    entry.prompt_tokens = count(answer.prompt_tokens);
    entry.completion_tokens = count(answer.completion_tokens);
    entry.cached_tokens = count(answer.cached_tokens);
    entry.reasoning_tokens = count(answer.reasoning_tokens);
    if entry.prompt_tokens.is_some() || entry.completion_tokens.is_some() {
        entry.usage_source = Some("provider".to_owned());
    } else if entry.event_type != event_type::REQUEST {
        entry.usage_source = Some("missing".to_owned());
    }
    clear.detail(entry, "response_id", answer.response_id.as_deref());
    clear.detail(entry, "service_tier", answer.service_tier.as_deref());
    clear.detail(entry, "provider_error", answer.error_type.as_deref());
    clear.detail(entry, "provider_error_code", answer.error_code.as_deref());
    clear.detail(entry, "answer_unread", answer.unread.as_deref());
    let request_id =
        answer.provider_request_id.as_deref().filter(|id| entry.request_id.as_deref() != Some(*id));
    clear.detail(entry, "provider_request_id", request_id);
    if let Some(tokens) = count(answer.cache_creation_tokens).filter(|tokens| *tokens > 0) {
        entry.detail.get_or_insert_default().insert("cache_creation_tokens".to_owned(), tokens.into());
    }
    if answer.refused {
        entry.detail.get_or_insert_default().insert("refused".to_owned(), true.into());
    }
    if !answer.tool_calls.is_empty() {
        let names = clear.names("tool_calls", &answer.tool_calls);
        let detail = entry.detail.get_or_insert_default();
        detail.insert("tool_calls".to_owned(), names.into());
    }
}

/// Applies the rule to one event's strings.
struct Clear<'a> {
    vault: &'a mut Vault,
    tenant: &'a str,
    private: &'a mut Private,
}

impl Clear<'_> {
    fn field(&mut self, name: &str, text: Option<&str>) -> Option<String> {
        let text = text.filter(|text| !text.is_empty())?;
        // A keyed id that the gateway made is no string that a client chose.
        if name == "api_key_id" && is_key_id(text) {
            return Some(text.to_owned());
        }
        let shown = clear_or_hashed(self.vault, self.tenant, text);
        if shown != text {
            self.private.originals.insert(name.to_owned(), text.to_owned());
        }
        Some(shown)
    }

    /// The same, for a string that has no field of its own.
    fn detail(&mut self, entry: &mut Entry, name: &str, text: Option<&str>) {
        if let Some(shown) = self.field(name, text) {
            entry.detail.get_or_insert_default().insert(name.to_owned(), shown.into());
        }
    }

    fn names(&mut self, list: &str, names: &[String]) -> Vec<String> {
        let shown = names.iter().take(NAMES_MAX).enumerate();
        shown.filter_map(|(n, name)| self.field(&format!("{list}.{n}"), Some(name))).collect()
    }
}

/// A conversation, as `detail.websocket` has it.
fn counted(conversation: &Conversation) -> serde_json::Value {
    let mut counted = serde_json::Map::new();
    counted.insert("client_messages".to_owned(), conversation.client_messages.min(INTEGER_MAX).into());
    counted.insert("server_messages".to_owned(), conversation.server_messages.min(INTEGER_MAX).into());
    for (name, code) in
        [("client_close", conversation.client_close), ("server_close", conversation.server_close)]
    {
        counted.extend(code.map(|code| (name.to_owned(), code.into())));
    }
    if conversation.unreadable {
        counted.insert("unreadable".to_owned(), true.into());
    }
    counted.into()
}

fn event_type_of(operation: &str) -> &'static str {
    match operation {
        "chat" | "text_completion" | "generate_content" | "realtime" => event_type::LLM_REQUEST,
        "embeddings" => event_type::EMBEDDING,
        _ => event_type::REQUEST,
    }
}

fn is_param(name: &str, value: &Param) -> bool {
    identity::may_stand_clear(name)
        && match value {
            Param::Bool(_) => true,
            Param::Integer(n) => n.unsigned_abs() <= INTEGER_MAX,
            Param::Text(text) => identity::may_stand_clear(text) || is_number(text),
        }
}

/// `k:` and 32 hex digits, as a gateway makes of an API key.
pub fn is_key_id(text: &str) -> bool {
    text.strip_prefix("k:").is_some_and(|hex| from_hex::<16>(hex).is_some())
}

/// A JSON number, kept as it was received; more digits than a person's number has are still a number here.
fn is_number(text: &str) -> bool {
    text.len() <= 64
        && text.parse::<f64>().is_ok()
        && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
}

/// A media type (RFC 6838 §4.2) of a registered kind, whose subtype looks like nobody's name or number.
fn is_media_type(text: &str) -> bool {
    const KINDS: [&str; 8] =
        ["application", "audio", "font", "image", "message", "multipart", "text", "video"];
    text.split_once('/').is_some_and(|(kind, subtype)| {
        KINDS.contains(&kind) && identity::may_stand_clear(&subtype.replace('+', "-"))
    })
}

fn count(tokens: Option<u64>) -> Option<u64> {
    tokens.filter(|&count| count <= INTEGER_MAX)
}

#[cfg(test)]
mod tests;
