//! The credentials of a request, of which nothing is kept but a keyed hash.

use super::{CREDENTIAL_HEADERS, CREDENTIAL_PARAMETER};
use http::{HeaderMap, HeaderValue, header};

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

/// A browser cannot set headers of a WebSocket: there, OpenAI's Realtime takes the key among the subprotocols,
/// which is why those are not kept ("Realtime API with WebSockets", platform.openai.com/docs).
fn subprotocol_key(headers: &HeaderMap) -> Option<&[u8]> {
    let lines =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut protocols = lines.flat_map(|line| line.split(',')).map(str::trim);
    protocols.find_map(|protocol| credential(protocol.strip_prefix("openai-insecure-api-key.")?.as_bytes()))
}

fn credential(value: &[u8]) -> Option<&[u8]> {
    Some(value.trim_ascii()).filter(|value| !value.is_empty())
}

/// The key in a query, if there is one.
fn in_query(query: &str) -> Option<&str> {
    let mut named = query.split('&').filter_map(|pair| pair.split_once('='));
    named.find(|(name, value)| *name == CREDENTIAL_PARAMETER && !value.is_empty()).map(|(_, value)| value)
}
