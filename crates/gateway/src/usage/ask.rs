//! Where `stream_options.include_usage` goes in the JSON of a request. Everything else stays as it was, to the
//! byte: order, spaces and numbers of the client are none of the gateway's business.

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One change of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// Offset.
    pub(super) at: usize,
    /// Bytes taken out there.
    pub(super) removed: usize,
    /// What is put there instead.
    pub(super) inserted: &'static str,
}

impl Edit {
    pub(super) fn apply(&self, body: &[u8]) -> Vec<u8> {
        [&body[..self.at], self.inserted.as_bytes(), &body[self.at + self.removed..]].concat()
    }
}

/// The change that asks for usage; `None` where the body is no stream that left it open.
pub(super) fn edit(body: &[u8]) -> Option<Edit> {
    let request: Members<'_, 2> = members(body, ["stream", "stream_options"])?;
    let [stream, options] = request.found;
    if stream?.get() != "true" {
        return None;
    }
    let Some(options) = options else {
        let end = body.iter().rposition(|byte| *byte == b'}')?;
        return Some(Edit { at: end, removed: 0, inserted: ",\"stream_options\":{\"include_usage\":true}" });
    };
    let at = offset(body, options)?;
    if options.get() == "null" {
        return Some(Edit { at, removed: 4, inserted: "{\"include_usage\":true}" });
    }
    let inner: Members<'_, 1> = members(options.get().as_bytes(), ["include_usage"])?;
    match inner.found {
        [Some(said)] if said.get() == "null" => {
            Some(Edit { at: offset(body, said)?, removed: 4, inserted: "true" })
        }
        [Some(_)] => None,
        [None] if inner.empty => Some(Edit { at: at + 1, removed: 0, inserted: "\"include_usage\":true" }),
        [None] => Some(Edit { at: at + 1, removed: 0, inserted: "\"include_usage\":true," }),
    }
}

/// Where a value stands that was read from `body`.
fn offset(body: &[u8], value: &RawValue) -> Option<usize> {
    (value.get().as_ptr() as usize).checked_sub(body.as_ptr() as usize)
}

/// Members of an object, by name.
struct Members<'a, const N: usize> {
    found: [Option<&'a RawValue>; N],
    empty: bool,
}

/// Reads an object; `None` where it is none, or says one of the names twice.
fn members<'a, const N: usize>(json: &'a [u8], names: [&str; N]) -> Option<Members<'a, N>> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let members = reader.deserialize_map(ByName(names)).ok()?;
    reader.end().ok()?;
    Some(members)
}

struct ByName<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for ByName<'_, N> {
    type Value = Members<'de, N>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members { found: [None; N], empty: true };
        while let Some(Name(name)) = map.next_key()? {
            members.empty = false;
            match self.0.iter().position(|wanted| *wanted == name) {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(at) => {
                    if members.found[at].replace(map.next_value()?).is_some() {
                        return Err(serde::de::Error::custom("a member twice"));
                    }
                }
            }
        }
        Ok(members)
    }
}

/// A name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn asked(body: &str) -> Option<String> {
        edit(body.as_bytes()).map(|edit| String::from_utf8(edit.apply(body.as_bytes())).unwrap())
    }

    #[test]
    fn a_request_that_leaves_it_open_asks_for_usage_and_stays_the_same_otherwise() {
        for (open, expected) in [
            ("{\"stream\":true}\n", "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}\n"),
            (
                "{ \"stream\" : true , \"temperature\": 0.70 }",
                "{ \"stream\" : true , \"temperature\": 0.70 ,\"stream_options\":{\"include_usage\":true}}",
            ),
            (
                "{\"stream_options\": null, \"stream\": true}",
                "{\"stream_options\": {\"include_usage\":true}, \"stream\": true}",
            ),
            (
                "{\"stream_options\": { }, \"stream\": true}",
                "{\"stream_options\": {\"include_usage\":true }, \"stream\": true}",
            ),
            (
                "{\"stream_options\":{\"x\":[1]},\"stream\":true}",
                "{\"stream_options\":{\"include_usage\":true,\"x\":[1]},\"stream\":true}",
            ),
            (
                "{\"stream\":true,\"stream_options\":{\"include_usage\": null}}",
                "{\"stream\":true,\"stream_options\":{\"include_usage\": true}}",
            ),
        ] {
            assert_eq!(asked(open).as_deref(), Some(expected));
        }
    }

    #[test]
    fn who_said_something_and_what_is_no_stream_is_left_alone() {
        for closed in [
            "{}",
            "{\"stream\":false}",
            "{\"stream\":\"true\"}",
            "{\"stream\":true,\"stream_options\":{\"include_usage\":false}}",
            "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
            "{\"stream\":true,\"stream_options\":[]}",
            "{\"stream\":true,\"stream\":true}",
            "{\"stream\":true,\"stream_options\":{},\"stream_options\":{}}",
            "{\"stream\":true",
            "{\"stream\":true} {}",
            "[{\"stream\":true}]",
            "",
            "\u{feff}{\"stream\":true}",
        ] {
            assert_eq!(asked(closed), None, "{closed}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_option_changes(names in prop::collection::vec("[a-z\"\\\\{}é]{0,6}", 0..6), place in 0usize..7) {
            let mut members: Vec<String> =
                names.iter().enumerate().map(|(n, name)| format!("{}: \"}}{n}\"", json!(format!("{n}{name}")))).collect();
            members.insert(place.min(members.len()), "\"stream\":true".to_owned());
            let body = format!("{{{}}}", members.join(" ,"));
            let before: Value = serde_json::from_str(&body).unwrap();
            let mut after: Value = serde_json::from_str(&asked(&body).unwrap()).unwrap();
            let options = after.as_object_mut().unwrap().remove("stream_options");
            prop_assert_eq!(options, Some(json!({ "include_usage": true })));
            prop_assert_eq!(after, before);
        }

        #[test]
        fn arbitrary_bytes_are_left_alone_or_changed_in_place(body: Vec<u8>) {
            if let Some(edit) = edit(&body) {
                prop_assert!(edit.at + edit.removed <= body.len());
            }
        }
    }
}
