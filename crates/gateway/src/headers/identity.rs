//! What headers say of who calls, and within what.

use super::tags::{TAG_MAX_BYTES, TAGS_MAX, tags_of_json, tags_of_list};
use super::{PROPERTY_PREFIX, USES, Use, VALUE_MAX_BYTES, as_id};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

/// The person in Portkey's metadata counts behind all headers that name nothing else ("Metadata",
/// portkey.ai/docs).
const METADATA_USER_RANK: u8 = u8::MAX;

/// What headers say of who calls, and within what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderIdentity {
    /// The person, as the application names them. Personal.
    pub(crate) user_id: Option<String>,
    /// The conversation.
    pub(crate) session_id: Option<String>,
    /// The client's id for the request.
    pub(crate) request_id: Option<String>,
    /// W3C trace id.
    pub(crate) trace_id: Option<String>,
    /// W3C parent span id.
    pub(crate) span_id: Option<String>,
    /// Version of the calling application.
    pub(crate) app_version: Option<String>,
    /// Deployment environment.
    pub(crate) environment: Option<String>,
    /// Which attempt this is, from 1, where the client's SDK or its proxy counts them.
    pub(crate) attempt: Option<u32>,
    /// What the application says of the call: `name:value`, or a bare word. May be personal.
    pub(crate) tags: Vec<String>,
}

/// Reads who calls from the headers of a request.
pub(crate) fn identity(headers: &HeaderMap) -> HeaderIdentity {
    let (trace_id, span_id) = trace_parent(headers).unzip();
    let mut found = HeaderIdentity { trace_id, span_id, ..HeaderIdentity::default() };
    let [mut user, mut session, mut request] = [None, None, None];
    for (name, value) in headers {
        let Some(header) = USES.get(name) else {
            found.tags.extend(property(name.as_str(), value));
            continue;
        };
        match *header {
            Use::Record => {}
            Use::User(rank) => offer(&mut user, rank, value),
            Use::Session(rank) => offer(&mut session, rank, value),
            Use::RequestId(rank) => offer(&mut request, rank, value),
            Use::AppVersion => found.app_version = found.app_version.or_else(|| as_id(value.as_bytes())),
            Use::Environment => found.environment = found.environment.or_else(|| as_id(value.as_bytes())),
            Use::Retries => {
                let attempt = number(value).and_then(|retries| retries.checked_add(1));
                found.attempt = attempt.or(found.attempt);
            }
            Use::Attempt => found.attempt = found.attempt.or_else(|| number(value)),
            Use::TagList => found.tags.extend(value.to_str().into_iter().flat_map(tags_of_list)),
            Use::TagObject if value.len() > VALUE_MAX_BYTES => {}
            Use::TagObject => {
                found.tags.extend(tags_of_json(value.as_bytes()));
                if let Some(id) = metadata_user(value) {
                    user.get_or_insert((METADATA_USER_RANK, id));
                }
            }
        }
    }
    let best = |ranked: Option<(u8, String)>| ranked.map(|(_, id)| id);
    (found.user_id, found.session_id, found.request_id) = (best(user), best(session), best(request));
    found.tags.truncate(TAGS_MAX);
    found
}

/// Takes an id over if none of a lower rank, and none of the same header, came before.
fn offer(best: &mut Option<(u8, String)>, rank: u8, value: &HeaderValue) {
    if best.as_ref().is_none_or(|(taken, _)| rank < *taken)
        && let Some(id) = as_id(value.as_bytes())
    {
        *best = Some((rank, id));
    }
}

fn number(value: &HeaderValue) -> Option<u32> {
    value.to_str().ok()?.trim().parse().ok()
}

/// A tag whose name stands in the header's.
fn property(name: &str, value: &HeaderValue) -> Option<String> {
    let name = name.strip_prefix(PROPERTY_PREFIX)?;
    let tag = format!("{name}:{}", as_id(value.as_bytes())?);
    (tag.len() <= TAG_MAX_BYTES).then_some(tag)
}

fn metadata_user(value: &HeaderValue) -> Option<String> {
    let metadata: Value = serde_json::from_slice(value.as_bytes()).ok()?;
    as_id(metadata.get("_user")?.as_str()?.as_bytes())
}

/// Trace id and parent id of `traceparent`, version 00, read strictly (W3C Trace Context §3.2): lower-case
/// hex, no id all zeros, and no second header.
fn trace_parent(headers: &HeaderMap) -> Option<(String, String)> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let mut parts = value.to_str().ok()?.split('-');
    let fields = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let [version, trace_id, span_id, flags] = fields;
    let is_id = |text: &str, digits| is_lower_hex(text, digits) && text.bytes().any(|byte| byte != b'0');
    let valid = version == "00" && is_lower_hex(flags, 2) && is_id(trace_id, 32) && is_id(span_id, 16);
    (valid && parts.next().is_none()).then(|| (trace_id.to_owned(), span_id.to_owned()))
}

fn is_lower_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
