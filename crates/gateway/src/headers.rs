//! Headers: which are kept, which say who calls, and how credentials stay out.
//!
//! What is kept is listed by name. A list of what to drop would have to know every header that some proxy,
//! SDK or vendor will ever put a credential into; a list of what to keep has only to know what is worth
//! keeping. Nothing kept here enters an entry: kept headers go into the encrypted payload.
//!
//! **Invariant:** the value of a credential leaves this module only as a keyed hash.

mod credential;
mod identity;
mod tags;
mod target;

pub(crate) use credential::credentials;
pub(crate) use identity::identity;
pub(crate) use tags::{TAGS_MAX, tags_of_json};
pub(crate) use target::scrub_target;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::sync::LazyLock;

/// Longest header value that is kept.
const VALUE_MAX_BYTES: usize = 4 * 1024;
/// Most headers kept of one side.
const HEADERS_MAX: usize = 64;
/// Longest identifier taken from a header.
const ID_MAX_BYTES: usize = 256;

/// Headers that a client may send a key in, and a model server may want one in.
pub(crate) static CREDENTIAL_HEADERS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];
/// The query parameter that Gemini's clients may send a key in.
pub(crate) const CREDENTIAL_PARAMETER: &str = "key";

/// What a kept header of a request is used for. Where several have the same use, the lowest rank counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// To be read in the payload.
    Record,
    /// It names the person.
    User(u8),
    /// It names the conversation.
    Session(u8),
    /// The client's id for the request.
    RequestId(u8),
    /// How often the client's SDK has sent the request before.
    Retries,
    /// Which attempt this is.
    Attempt,
    AppVersion,
    Environment,
    /// Tags joined by commas.
    TagList,
    /// An object of tags; `_user` in it is the person.
    TagObject,
}

/// The headers of requests that are kept.
///
/// Sources: LiteLLM "Request Headers" and "Customers / End-Users", Helicone "Header Directory", Portkey
/// "Metadata", Cloudflare AI Gateway "Custom metadata", Open WebUI "Environment variables" (forwarded user
/// info), the OpenAI API reference ("Debugging requests"), and what agents send of themselves.
const OF_REQUESTS: &[(&str, Use)] = &[
    ("accept", Use::Record),
    ("accept-encoding", Use::Record),
    ("anthropic-beta", Use::Record),
    ("anthropic-version", Use::Record),
    ("cf-aig-metadata", Use::TagObject),
    ("content-encoding", Use::Record),
    ("content-length", Use::Record),
    ("content-type", Use::Record),
    ("date", Use::Record),
    ("helicone-prompt-id", Use::Record),
    ("helicone-request-id", Use::RequestId(2)),
    ("helicone-session-id", Use::Session(1)),
    ("helicone-session-name", Use::Record),
    ("helicone-session-path", Use::Record),
    ("helicone-user-id", Use::User(1)),
    ("idempotency-key", Use::Record),
    ("langfuse-session-id", Use::Session(4)),
    ("langfuse-user-id", Use::User(5)),
    ("langfuse_session_id", Use::Session(3)),
    ("langfuse_trace_id", Use::Record),
    ("langfuse_trace_name", Use::Record),
    ("langfuse_trace_user_id", Use::User(6)),
    ("langfuse_user_id", Use::User(4)),
    ("openai-beta", Use::Record),
    ("openai-organization", Use::Record),
    ("openai-project", Use::Record),
    ("openai-version", Use::Record),
    ("originator", Use::Record),
    ("sec-websocket-extensions", Use::Record),
    ("sec-websocket-version", Use::Record),
    ("session-id", Use::Session(6)),
    ("session_id", Use::Session(7)),
    ("traceparent", Use::Record),
    ("tracestate", Use::Record),
    ("transfer-encoding", Use::Record),
    ("user-agent", Use::Record),
    ("via", Use::Record),
    ("x-app", Use::Record),
    ("x-app-version", Use::AppVersion),
    ("x-claude-code-session-id", Use::Session(5)),
    ("x-client-request-id", Use::RequestId(1)),
    ("x-environment", Use::Environment),
    ("x-envoy-attempt-count", Use::Attempt),
    ("x-goog-api-client", Use::Record),
    ("x-litellm-customer-id", Use::User(2)),
    ("x-litellm-end-user-id", Use::User(3)),
    ("x-litellm-session-id", Use::Session(2)),
    ("x-litellm-spend-logs-metadata", Use::TagObject),
    ("x-litellm-tags", Use::TagList),
    ("x-litellm-trace-id", Use::Record),
    ("x-opencode-session", Use::Session(8)),
    ("x-openwebui-chat-id", Use::Session(9)),
    ("x-openwebui-user-id", Use::User(7)),
    ("x-portkey-metadata", Use::TagObject),
    ("x-portkey-trace-id", Use::Record),
    ("x-request-id", Use::RequestId(0)),
    ("x-session-id", Use::Session(0)),
    ("x-stainless-arch", Use::Record),
    ("x-stainless-lang", Use::Record),
    ("x-stainless-os", Use::Record),
    ("x-stainless-package-version", Use::Record),
    ("x-stainless-read-timeout", Use::Record),
    ("x-stainless-retry-count", Use::Retries),
    ("x-stainless-runtime", Use::Record),
    ("x-stainless-runtime-version", Use::Record),
    ("x-stainless-timeout", Use::Record),
    ("x-user-id", Use::User(0)),
];

/// A family of request headers: a tag each, with its name in the header's.
const PROPERTY_PREFIX: &str = "helicone-property-";

/// The headers of responses that are kept, and for the ids that a provider gives to a request
/// their rank: the provider's own before those of what stands in front of it.
const OF_RESPONSES: &[(&str, Option<u8>)] = &[
    ("anthropic-organization-id", None),
    ("apim-request-id", Some(3)),
    ("cf-ray", Some(9)),
    ("content-encoding", None),
    ("content-length", None),
    ("content-type", None),
    ("date", None),
    ("helicone-id", Some(7)),
    ("openai-model", None),
    ("openai-organization", None),
    ("openai-processing-ms", None),
    ("openai-project", None),
    ("openai-version", None),
    ("request-id", Some(1)),
    ("retry-after", None),
    ("retry-after-ms", None),
    ("sec-websocket-extensions", None),
    ("server", None),
    ("traceparent", None),
    ("tracestate", None),
    ("transfer-encoding", None),
    ("via", None),
    ("x-amzn-requestid", Some(2)),
    ("x-envoy-upstream-service-time", None),
    ("x-generation-id", Some(5)),
    ("x-goog-request-id", Some(4)),
    ("x-litellm-attempted-fallbacks", None),
    ("x-litellm-attempted-retries", None),
    ("x-litellm-call-id", Some(6)),
    ("x-litellm-model-id", None),
    ("x-litellm-response-cost", None),
    ("x-litellm-version", None),
    ("x-ms-region", None),
    ("x-ms-request-id", Some(8)),
    ("x-portkey-provider", None),
    ("x-portkey-retry-attempt-count", None),
    ("x-request-id", Some(0)),
    ("x-should-retry", None),
];

/// Families of response headers: how much of a limit is left. Their values are counts and durations.
const LIMIT_PREFIXES: &[&str] = &["anthropic-ratelimit-", "x-ratelimit-"];

static USES: LazyLock<HeaderMap<Use>> = LazyLock::new(|| by_name(OF_REQUESTS));
static RANKS: LazyLock<HeaderMap<Option<u8>>> = LazyLock::new(|| by_name(OF_RESPONSES));

fn by_name<T: Copy>(table: &'static [(&'static str, T)]) -> HeaderMap<T> {
    table.iter().map(|(name, value)| (HeaderName::from_static(name), *value)).collect()
}

/// The headers of a request that its payload keeps.
pub(crate) fn kept_request_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    kept(headers, |name| USES.contains_key(name) || name.as_str().starts_with(PROPERTY_PREFIX))
}

/// The headers of a response that its payload keeps.
pub(crate) fn kept_response_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let in_family = |name: &str| LIMIT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    kept(headers, |name| RANKS.contains_key(name) || in_family(name.as_str()))
}

/// The id that the provider, or what stands in front of it, gave to the request.
pub(crate) fn provider_request_id(headers: &HeaderMap) -> Option<String> {
    let ranked = headers.iter().filter_map(|(name, value)| {
        let rank = (*RANKS.get(name)?)?;
        Some((rank, as_id(value.as_bytes())?))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, id)| id)
}

/// The codings of a body, as they were applied one upon another; empty where there is none.
pub(crate) fn content_encoding(headers: &HeaderMap) -> String {
    let lines: Vec<_> =
        headers.get_all(header::CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
    lines.join(",")
}

fn kept(headers: &HeaderMap, keep: impl Fn(&HeaderName) -> bool) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| keep(name));
    kept.take(HEADERS_MAX).map(|(name, value)| (name.as_str().to_owned(), shown(value))).collect()
}

/// A value as text. One that is too long is not cut, since a cut value would pass for another one.
fn shown(value: &HeaderValue) -> String {
    match value.len() {
        0..=VALUE_MAX_BYTES => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        bytes => format!("(left out: {bytes} bytes)"),
    }
}

/// Visible text of a length that an identifier has.
fn as_id(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let fits = (1..=ID_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
