//! JSON scalars as entries take them.

use super::kept::Pick;
use indelible_record::canonical::INTEGER_MAX;
use indelible_record::entry::Param;

/// Longest word or number that is taken as a parameter.
const PARAM_MAX_BYTES: usize = 64;

/// Takes a text over where there is one; absent and empty say nothing. Allocates only for a new one: most
/// frames of a stream repeat what the first said.
pub(super) fn set_text<M>(field: &mut Option<String>, pick: &Pick<'_, M>) {
    // Looked at as it stands first, which is cheaper by far than making a text of it.
    let inside = pick.raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    if field.is_some() && field.as_deref().map(str::as_bytes) == inside && !pick.raw.contains(&b'\\') {
        return;
    }
    let Some(text) = pick.text() else { return };
    match field {
        Some(old) => {
            old.clear();
            old.push_str(&text);
        }
        None => *field = Some(text.into_owned()),
    }
}

/// An id: a string, or a number, as applications write them.
pub(super) fn id<M>(pick: &Pick<'_, M>) -> Option<String> {
    pick.text().map(String::from).or_else(|| number(pick.raw).map(str::to_owned))
}

pub(super) fn boolean(raw: &[u8]) -> Option<bool> {
    match raw {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// A count that an entry can hold.
pub(super) fn count(raw: &[u8]) -> Option<u64> {
    number(raw)?.parse().ok().filter(|count| *count <= INTEGER_MAX)
}

/// A JSON number (RFC 8259 §6), as it stands.
fn number(raw: &[u8]) -> Option<&str> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = raw.strip_prefix(b"-").unwrap_or(raw);
    let integer = digits(rest);
    let leads_with_zero = integer > 1 && rest.starts_with(b"0");
    rest = &rest[integer..];
    let mut complete = integer > 0 && !leads_with_zero;
    if let Some(fraction) = rest.strip_prefix(b".") {
        complete &= digits(fraction) > 0;
        rest = &fraction[digits(fraction)..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        complete &= digits(exponent) > 0;
        rest = &exponent[digits(exponent)..];
    }
    std::str::from_utf8(raw).ok().filter(|_| complete && rest.is_empty())
}

/// A parameter that is a number or a boolean. A string is not taken: `stop`, `logit_bias` and whatever else a
/// client may write freely stay in the payload.
pub(super) fn number_param(raw: &[u8]) -> Option<Param> {
    if let Some(value) = boolean(raw) {
        return Some(Param::Bool(value));
    }
    let text = number(raw)?;
    // An integer that every reader reads alike; any other number keeps its text, `-0` and `1.0` included.
    let integer = text.parse::<i64>().ok();
    match integer.filter(|n| n.unsigned_abs() <= INTEGER_MAX && n.to_string() == text) {
        Some(integer) => Some(Param::Integer(integer)),
        None => (text.len() <= PARAM_MAX_BYTES).then(|| Param::Text(text.to_owned())),
    }
}

/// A parameter that is a word of a fixed set, or a number or a boolean in its place.
pub(super) fn word_param<M>(pick: &Pick<'_, M>) -> Option<Param> {
    let word = pick.text().filter(|text| is_word(text));
    word.map(|word| Param::Text(word.into_owned())).or_else(|| number_param(pick.raw))
}

fn is_word(text: &str) -> bool {
    let fits = (1..=PARAM_MAX_BYTES).contains(&text.len());
    fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}
