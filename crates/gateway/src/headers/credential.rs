//! The credentials of a request, of which nothing is kept but a keyed hash.

use http::{HeaderMap, HeaderName, header};
use ring::hmac;
use std::fmt::Write;

/// Bytes of the keyed hash that name a key.
const KEY_ID_BYTES: usize = 16;

/// The id that stands for the API key of a request: `k:` and 32 hex digits of HMAC-SHA-256 (RFC 2104) under a
/// key of the deployment. A bare hash would let anyone with the ledger try keys, of which many are short
/// words.
pub(crate) fn api_key_id(headers: &HeaderMap, key: &[u8; 32]) -> Option<String> {
    let named = || {
        let names = ["x-api-key", "api-key", "x-goog-api-key"].map(HeaderName::from_static);
        names.iter().find_map(|name| credential(headers.get(name)?.as_bytes()))
    };
    let api_key = bearer(headers).or_else(named).or_else(|| subprotocol_key(headers))?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), api_key);
    let mut id = String::from("k:");
    for byte in &tag.as_ref()[..KEY_ID_BYTES] {
        let _ = write!(id, "{byte:02x}"); // Writing to a String cannot fail.
    }
    Some(id)
}

/// The credentials of `Authorization: Bearer` (RFC 6750 §2.1; the scheme in any case, RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked(b"bearer ".len())?;
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
