//! Tags: what an application says of a call besides who makes it, in headers and in the `metadata` of bodies.
//!
//! A tag is `name:value`, or a bare word. All of them stand in the payload with the headers and bodies that
//! they came in; which may stand in an entry is the collector's to say.

use serde_json::Value;

/// Most tags taken of one call.
pub(crate) const TAGS_MAX: usize = 32;
/// Longest tag that is taken. Longer ones could not stand in an entry.
pub(super) const TAG_MAX_BYTES: usize = 128;

/// The members of a JSON object that are strings, numbers or booleans.
pub(crate) fn tags_of_json(object: &[u8]) -> Vec<String> {
    let Ok(Value::Object(members)) = serde_json::from_slice(object) else { return Vec::new() };
    let tags = members.iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some(format!("{name}:{text}")),
        Value::Number(_) | Value::Bool(_) => Some(format!("{name}:{value}")),
        _ => None,
    });
    tags.filter(|tag| tag.len() <= TAG_MAX_BYTES).take(TAGS_MAX).collect()
}

/// A list joined by commas.
pub(super) fn tags_of_list(list: &str) -> impl Iterator<Item = String> {
    let tags = list.split(',').map(str::trim).filter(|tag| (1..=TAG_MAX_BYTES).contains(&tag.len()));
    tags.map(str::to_owned)
}
