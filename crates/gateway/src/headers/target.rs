//! Request targets without the credentials that some APIs take in the query.

/// How parameters that carry credentials are called, or end, in lower case and without `-` and `_`: Gemini's
/// `key`, `api_key` and `access_token`, the signatures of presigned URLs.
const SECRET_ENDINGS: &[&[u8]] = &[
    b"auth",
    b"authorization",
    b"credential",
    b"jwt",
    b"key",
    b"passwd",
    b"password",
    b"secret",
    b"signature",
    b"token",
];
/// The same, for a name that is too short to tell by its end.
const SECRET_NAMES: &[&[u8]] = &[b"sig"];

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
    SECRET_NAMES.contains(&plain.as_slice()) || SECRET_ENDINGS.iter().any(|ending| plain.ends_with(ending))
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
