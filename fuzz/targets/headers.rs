//! Headers and targets: who calls, what is kept, and what must not be.
//!
//! Holds: a secret in a target is in no record of it; no header that carries credentials is kept; a key of the
//! gateway's own goes no further; ids are of the form that they must have; headers of one connection do not pass.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use indelible_fuzz::Input;
use indelible_gateway::access::{Credential, key_text};
use indelible_gateway::config::Upstream;
use indelible_gateway::fuzzing;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const SECRET: &str = "S3cretThatNobodyMaySee";
/// Names of parameters that carry credentials.
const SECRET_NAMES: [&str; 8] = [
    "key",
    "api_key",
    "access-token",
    "x-goog-signature",
    "sig",
    "password",
    "client_secret",
    "authorization",
];
const NEVER_KEPT: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "set-cookie",
    "sec-websocket-protocol",
];
const OF_ONE_CONNECTION: [&str; 8] = [
    "connection",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "host",
    "expect",
];
/// Longest identifier that is taken from a header, and longest tag.
const ID_MAX_BYTES: usize = 256;
const TAG_MAX_BYTES: usize = 128;

static OWN_KEY: LazyLock<String> = LazyLock::new(|| key_text::of_bytes(&[5; 32]).to_string());

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 6 {
        0 | 1 => fields(input.rest()),
        2 => secret_target(&mut input),
        3 => any_target(input.rest()),
        4 => own_key(&mut input),
        _ => url(&mut input),
    }
});

/// Headers of lines `name: value`.
fn read(lines: &[u8]) -> HeaderMap {
    let mut head = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(100) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            head.append(name, value);
        }
    }
    head
}

fn fields(lines: &[u8]) {
    let head = read(lines);
    let (said, provider_id) = fuzzing::identity(&head);
    let ids = [&said.user_id, &said.session_id, &said.request_id, &said.app_version, &said.environment];
    for id in ids.into_iter().chain([&provider_id]).flatten() {
        assert!((1..=ID_MAX_BYTES).contains(&id.len()) && !id.chars().any(char::is_control), "{id:?}");
    }
    assert!(said.tags.len() <= 64 && said.tags.iter().all(|tag| tag.len() <= TAG_MAX_BYTES));
    assert_eq!(said.trace_id.is_some(), said.span_id.is_some());
    for (id, digits) in [(&said.trace_id, 32), (&said.span_id, 16)] {
        let is_hex = |id: &String| id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(
            id.as_ref().is_none_or(|id| id.len() == digits && is_hex(id) && id.bytes().any(|b| b != b'0'))
        );
    }
    for kept in fuzzing::kept(&head) {
        assert!(kept.len() <= 64);
        for (name, value) in kept {
            assert!(!NEVER_KEPT.contains(&name.as_str()), "{name}");
            assert!(value.len() <= 3 * (4 << 10));
        }
    }
    for credential in fuzzing::credentials(&head, None) {
        assert!(!credential.is_empty() && credential.trim_ascii() == credential);
    }
    let gone_on = fuzzing::hop(head);
    assert!(OF_ONE_CONNECTION.iter().all(|name| !gone_on.contains_key(*name)));
    assert_eq!(fuzzing::hop(gone_on.clone()), gone_on);
}

/// A name as a client may write it: letters in either case, some of them percent-encoded.
fn spelled(name: &str, mut how: u16) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        let byte = if how & 1 == 1 { byte.to_ascii_uppercase() } else { byte };
        if how & 2 == 2 {
            text.push_str(&format!("%{byte:02x}"));
        } else {
            text.push(char::from(byte));
        }
        how = how.rotate_right(2);
    }
    text
}

fn secret_target(input: &mut Input<'_>) {
    let name = spelled(SECRET_NAMES[usize::from(input.byte()) % SECRET_NAMES.len()], input.number());
    let before = String::from_utf8_lossy(input.line()).replace('?', "");
    let between = String::from_utf8_lossy(input.line()).into_owned();
    let after = String::from_utf8_lossy(input.rest()).into_owned();
    if [&before, &between, &after].iter().any(|part| part.contains(SECRET)) {
        return;
    }
    let between = if between.is_empty() { between } else { format!("{between}&") };
    let target = format!("{before}?{between}{name}={SECRET}&{after}");
    let scrubbed = fuzzing::scrub_target(&target);
    assert!(!scrubbed.contains(SECRET), "{target:?} became {scrubbed:?}");
    assert_eq!(fuzzing::scrub_target(&scrubbed), scrubbed);
}

fn any_target(bytes: &[u8]) {
    let target = String::from_utf8_lossy(bytes);
    let scrubbed = fuzzing::scrub_target(&target);
    assert_eq!(fuzzing::scrub_target(&scrubbed), scrubbed);
    assert_eq!(scrubbed.split('&').count(), target.split('&').count());
    assert_eq!(scrubbed.split('?').next(), target.split('?').next());
    if !target.contains('=') {
        assert_eq!(scrubbed, target);
    }
}

fn own_key(input: &mut Input<'_>) {
    let key = &*OWN_KEY;
    assert!(fuzzing::is_own_key(key.as_bytes()));
    let credential = Credential::new("authorization", "sk-route").unwrap();
    let target = String::from_utf8_lossy(input.line()).into_owned();
    let at = usize::from(input.number());
    let lines = input.rest();
    let (before, after) = lines.split_at(at % (lines.len() + 1));
    let head = read(&[before, key.as_bytes(), after].concat());
    let target = format!("/v1/x?{target}{key}");
    let (head, target) = fuzzing::for_upstream(head, &target, &credential);
    let holds = |bytes: &[u8]| bytes.windows(key.len()).any(|window| window == key.as_bytes());
    assert!(!holds(target.as_bytes()), "{target}");
    assert!(head.values().all(|value| !holds(value.as_bytes())), "{head:?}");
    assert_eq!(head["authorization"], "Bearer sk-route");
}

fn url(input: &mut Input<'_>) {
    let before = String::from_utf8_lossy(input.line()).into_owned();
    let after = String::from_utf8_lossy(input.line()).into_owned();
    let path = String::from_utf8_lossy(input.rest()).into_owned();
    if let Err(words) = Upstream::parse(&format!("{before}{SECRET}@{after}")) {
        let shown = words.contains(SECRET) && !before.contains(SECRET) && !after.contains(SECRET);
        assert!(!shown, "{words}");
    }
    if let Ok(upstream) = Upstream::parse(&before)
        && let Ok(uri) = upstream.uri(&path)
    {
        assert_eq!(uri.authority(), Some(&upstream.authority));
        assert_eq!(uri.scheme(), Some(&upstream.scheme));
    }
}
