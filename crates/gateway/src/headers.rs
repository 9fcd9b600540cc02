//! Headers and request targets: which are kept, which identify the caller, and how credentials stay out.
//!
//! What is kept is listed by name. A list of what to drop would have to know every header that some proxy,
//! SDK or vendor will ever put a credential into; a list of what to keep has only to know what is worth
//! keeping. Nothing kept here enters an entry: kept headers and targets go into the encrypted payload.
//!
//! **Invariant:** the value of a credential leaves this module only as a keyed hash.

use http::{HeaderMap, HeaderName, HeaderValue, header};

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

const KEPT_OF_REQUESTS: &[&str] = &[
    "accept",
    "accept-encoding",
    "anthropic-beta",
    "anthropic-version",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "helicone-request-id",
    "helicone-session-id",
    "helicone-session-name",
    "helicone-session-path",
    "helicone-user-id",
    "idempotency-key",
    "langfuse-session-id",
    "langfuse-user-id",
    "langfuse_session_id",
    "langfuse_trace_id",
    "langfuse_trace_user_id",
    "langfuse_user_id",
    "openai-organization",
    "openai-project",
    "openai-version",
    "sec-websocket-extensions",
    "sec-websocket-version",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "user-agent",
    "via",
    "x-app-version",
    "x-client-request-id",
    "x-environment",
    "x-litellm-customer-id",
    "x-litellm-end-user-id",
    "x-litellm-session-id",
    "x-litellm-tags",
    "x-litellm-trace-id",
    "x-portkey-metadata",
    "x-portkey-trace-id",
    "x-request-id",
    "x-session-id",
    "x-stainless-arch",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-read-timeout",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-timeout",
    "x-user-id",
];

const KEPT_OF_RESPONSES: &[&str] = &[
    "cf-ray",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "openai-model",
    "openai-organization",
    "openai-processing-ms",
    "openai-project",
    "openai-version",
    "request-id",
    "retry-after",
    "sec-websocket-extensions",
    "server",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "via",
    "x-request-id",
];

/// Families of response headers: how much of a limit is left. Their values are counts and durations.
const KEPT_OF_RESPONSES_PREFIXES: &[&str] = &["anthropic-ratelimit-", "x-ratelimit-"];

// Sources of the names: LiteLLM "Request Headers" and "Customers / End-Users", Helicone "Header Directory",
// the OpenAI API reference ("Debugging requests"). Earlier names count before later ones.
const USER_HEADERS: &[&str] = &[
    "x-user-id",
    "helicone-user-id",
    "x-litellm-customer-id",
    "x-litellm-end-user-id",
    "langfuse_user_id",
    "langfuse-user-id",
    "langfuse_trace_user_id",
];
const SESSION_HEADERS: &[&str] = &[
    "x-session-id",
    "helicone-session-id",
    "x-litellm-session-id",
    "langfuse_session_id",
    "langfuse-session-id",
];
const REQUEST_ID_HEADERS: &[&str] = &["x-request-id", "x-client-request-id"];

/// Query parameters that carry credentials, in lower case and without `-` and `_`: Gemini's `key`, the
/// signatures of presigned URLs, and the usual words.
const SECRET_PARAMETERS: &[&[u8]] = &[
    b"accesstoken",
    b"apikey",
    b"authtoken",
    b"clientsecret",
    b"idtoken",
    b"key",
    b"password",
    b"refreshtoken",
    b"secret",
    b"sig",
    b"signature",
    b"subscriptionkey",
    b"token",
    b"xamzsecuritytoken",
    b"xamzsignature",
    b"xapikey",
    b"xgoogapikey",
    b"xgoogsignature",
];

/// The headers of a request that its payload keeps.
pub(crate) fn kept_request_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    kept(headers, |name| KEPT_OF_REQUESTS.contains(&name))
}

/// The headers of a response that its payload keeps.
pub(crate) fn kept_response_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let in_family = |name: &str| KEPT_OF_RESPONSES_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    kept(headers, |name| KEPT_OF_RESPONSES.contains(&name) || in_family(name))
}

fn kept(headers: &HeaderMap, keep: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| keep(name.as_str()));
    kept.take(HEADERS_MAX).map(|(name, value)| (name.to_string(), shown(value))).collect()
}

/// A value as text. One that is too long is not cut, since a cut value would pass for another one.
fn shown(value: &HeaderValue) -> String {
    match value.len() {
        0..=VALUE_MAX_BYTES => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        bytes => format!("(left out: {bytes} bytes)"),
    }
}

/// Path and query with the values of parameters that carry credentials replaced by `REDACTED`.
pub(crate) fn scrub_target(path_and_query: &str) -> String {
    let Some((path, query)) = path_and_query.split_once('?') else { return path_and_query.to_owned() };
    let scrub = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=REDACTED"),
        _ => pair.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(scrub).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn is_secret(name: &str) -> bool {
    let mut plain = percent_decoded(name.as_bytes());
    plain.retain(|byte| !matches!(byte, b'-' | b'_'));
    plain.make_ascii_lowercase();
    SECRET_PARAMETERS.contains(&plain.as_slice())
}

/// RFC 3986 §2.1; what is no escape stays as it is.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        let escape = tail.get(..2).filter(|hex| *byte == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let escaped = escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        plain.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    plain
}

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
    /// Which attempt this is, from 1, where the client's SDK counts them.
    pub(crate) attempt: Option<u32>,
}

/// Reads who calls from the headers of a request.
pub(crate) fn identity(headers: &HeaderMap) -> HeaderIdentity {
    let (trace_id, span_id) = trace_parent(headers).unzip();
    let retries = first_id(headers, &["x-stainless-retry-count"]);
    HeaderIdentity {
        user_id: first_id(headers, USER_HEADERS).or_else(|| portkey_user(headers)),
        session_id: first_id(headers, SESSION_HEADERS),
        request_id: first_id(headers, REQUEST_ID_HEADERS),
        trace_id,
        span_id,
        app_version: first_id(headers, &["x-app-version"]),
        environment: first_id(headers, &["x-environment"]),
        attempt: retries.and_then(|count| count.parse::<u32>().ok()?.checked_add(1)),
    }
}

fn first_id(headers: &HeaderMap, names: &[&str]) -> Option<String> {
    names.iter().flat_map(|name| headers.get_all(*name)).find_map(|value| as_id(value.as_bytes()))
}

/// Visible text of a length that an identifier has.
fn as_id(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let fits = (1..=ID_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// Portkey names the user in a JSON header, as `_user` ("Metadata", portkey.ai/docs).
fn portkey_user(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-portkey-metadata").filter(|value| value.len() <= VALUE_MAX_BYTES)?;
    let metadata: serde_json::Value = serde_json::from_slice(value.as_bytes()).ok()?;
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

/// What a request shows as its API key: the credentials of `Authorization: Bearer` first, then those of the
/// headers of single providers, then Gemini's `?key=`, then what browsers send among the subprotocols of a
/// WebSocket. Nothing of it leaves memory but as a keyed hash.
pub(crate) fn credentials<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> impl Iterator<Item = &'a [u8]> {
    let [_, others @ ..] = &CREDENTIAL_HEADERS;
    let others =
        others.iter().flat_map(|name| headers.get_all(name)).filter_map(|value| credential(value.as_bytes()));
    let in_query = query.and_then(in_query).map(str::as_bytes);
    let named = headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer).chain(others);
    named.chain(in_query).chain(subprotocol_key(headers))
}

/// The credentials of `Authorization: Bearer` (RFC 6750 §2.1; the scheme in any case, RFC 9110 §11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = value.as_bytes().split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| credential(rest)).flatten()
}

/// A browser cannot set headers of a WebSocket: OpenAI's Realtime takes the key among the subprotocols, which is
/// why those are not kept ("Realtime API with WebSockets", platform.openai.com/docs).
fn subprotocol_key(headers: &HeaderMap) -> Option<&[u8]> {
    let values =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut protocols = values.flat_map(|value| value.split(','));
    protocols
        .find_map(|protocol| credential(protocol.trim().strip_prefix("openai-insecure-api-key.")?.as_bytes()))
}

fn credential(value: &[u8]) -> Option<&[u8]> {
    Some(value.trim_ascii()).filter(|value| !value.is_empty())
}

/// The key in a query, if there is one.
fn in_query(query: &str) -> Option<&str> {
    let mut named = query.split('&').filter_map(|pair| pair.split_once('='));
    named.find(|(name, value)| *name == CREDENTIAL_PARAMETER && !value.is_empty()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
