//! The entry: one event as a ledger holds it, for ever.
//!
//! The collector makes an entry's bytes once; from then on only the bytes count. They are the canonical
//! JSON of [`Entry`], whose fields are declared in the order in which RFC 8785 sorts them, so that
//! serialising writes canonical bytes at once (a test holds every struct here to it). A field that is
//! absent is left out. `docs/formats/entry.md` describes each field.

use crate::canonical::{self, NotCanonical, plain};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the entry format.
pub const VERSION: u32 = 1;
/// Largest entry: what fits a tlog-tiles entry bundle (65,535 bytes) with room to spare.
pub const ENTRY_MAX_BYTES: usize = 60 << 10;

/// What a character beyond U+FFFF begins with in UTF-8, and nothing else does (RFC 3629 §3).
const BEYOND_BMP: u8 = 0xF0;

/// Event types that this version makes. The set is open: a reader takes any.
pub mod event_type {
    /// The first entry of a ledger: its identity and keys.
    pub const GENESIS: &str = "genesis";
    /// Another key signs the ledger from here on.
    pub const KEY_ROTATED: &str = "key_rotated";
    /// A call of a language model.
    pub const LLM_REQUEST: &str = "llm_request";
    /// A call of an embedding model.
    pub const EMBEDDING: &str = "embedding";
    /// A request of another kind, recorded as it passed.
    pub const REQUEST: &str = "request";
    /// A source came up.
    pub const SOURCE_STARTED: &str = "source_started";
    /// A source went down in good order.
    pub const SOURCE_STOPPED: &str = "source_stopped";
    /// What a source did since the last such entry.
    pub const SOURCE_REPORT: &str = "source_report";
    /// Nothing happened, and the ledger says so.
    pub const HEARTBEAT: &str = "heartbeat";
    /// Something was not recorded.
    pub const GAP: &str = "gap";
    /// One identity was sent twice with different content.
    pub const CONFLICT: &str = "conflict";
    /// Requests were refused, more of them than have an entry each.
    pub const REJECTIONS: &str = "rejections";
    /// A running source took up another configuration.
    pub const CONFIG_CHANGED: &str = "config_changed";
    /// Entries were sealed into a segment: the hash of its manifest.
    pub const SEGMENT_SEALED: &str = "segment_sealed";
    /// Someone looked at records.
    pub const ACCESS: &str = "access";
    /// Someone took records away.
    pub const EXPORT: &str = "export";
    /// A record picked at random was put together again and checked, as if an auditor had asked for it.
    pub const DRILL: &str = "drill";
    /// A checkpoint was taken to a place outside.
    pub const ANCHOR: &str = "anchor";
    /// The keys of a person's payloads were destroyed.
    pub const ERASURE: &str = "erasure";
}

/// How a request ended. Exactly one of these stands in every terminal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The upstream answered without an error status, and the answer passed whole.
    Completed,
    /// The upstream could not be reached, broke off, or answered with an error status.
    UpstreamError,
    /// The upstream took too long.
    Timeout,
    /// The client went away before the end.
    Cancelled,
    /// The gateway refused the request.
    Rejected,
    /// The source stopped in the middle; the collector wrote this entry from what survived.
    Interrupted,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::UpstreamError,
        Self::Timeout,
        Self::Cancelled,
        Self::Rejected,
        Self::Interrupted,
    ];

    /// The word that stands in entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::UpstreamError => "upstream_error",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A parameter of a call: what steers the model and says nothing about a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Param {
    /// True or false.
    Bool(bool),
    /// An integer within ±(2⁵³−1).
    Integer(i64),
    /// A word of a fixed set, or a number that is no such integer, exactly as it was received.
    Text(String),
}

/// What an entry says of one side of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Length of the body in bytes, after transfer coding and before content coding was undone.
    pub bytes: u64,
    /// `SHA-256(salt ‖ body)` as `sha256:<hex>`.
    pub commitment: String,
    /// Media type, without parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The body broke off before its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// Where an event came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The source's id.
    pub id: String,
    /// Random id of the source's spool.
    pub incarnation: String,
    /// Sequence number of the frame that ended the event.
    pub seq: u64,
    /// Sequence number of the frame that began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_seq: Option<u64>,
    /// The source's own clock, RFC 3339. Never orders or expires anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// Who: an id, never a name.
    pub id: String,
    /// What kind of actor: operator, service, source.
    pub kind: String,
}

/// What was acted upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What redaction took out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// How many of each kind; not empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// The policy that did it.
    pub policy: String,
}

/// One entry. Fields stand in canonical order; `docs/formats/entry.md` says what each means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // One table in docs/formats/entry.md, and no second one to drift from it.
pub struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<String>,
    /// Empty is the same as none.
    #[serde(default, deserialize_with = "plain::object", skip_serializing_if = "is_nothing")]
    pub detail: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    pub event_id: String,
    pub event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_checksum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_returned: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Side>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_event_id: Option<String>,
    pub prev_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    pub seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    pub tenant_id: String,
    pub timestamp: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_source: Option<String>,
    pub v: u32,
}

/// Why bytes are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEntry {
    /// Over [`ENTRY_MAX_BYTES`].
    #[error("entry of {0} bytes is over the limit of {ENTRY_MAX_BYTES}")]
    TooLarge(usize),
    /// Not canonical JSON.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// Canonical JSON of something else.
    #[error("not an entry: {0}")]
    Shape(String),
    /// An entry of a later format.
    #[error("entry format version {0}, but this program reads version {VERSION}")]
    Version(u64),
}

impl Entry {
    /// The entry's canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NotAnEntry> {
        let shape = |error: serde_json::Error| NotAnEntry::Shape(error.to_string());
        let mut bytes = serde_json::to_vec(self).map_err(shape)?;
        // Names in maps stand in the order of their UTF-8 here, and RFC 8785 wants that of their UTF-16, which is
        // another only beyond U+FFFF.
        if has_beyond_bmp(&bytes) {
            bytes = canonical::to_vec(&serde_json::to_value(self).map_err(shape)?)?;
        }
        if bytes.len() > ENTRY_MAX_BYTES {
            return Err(NotAnEntry::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads an entry, and only from its canonical bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAnEntry> {
        if bytes.len() > ENTRY_MAX_BYTES {
            return Err(NotAnEntry::TooLarge(bytes.len()));
        }
        // Text is looked at once as a whole, and not string by string.
        match std::str::from_utf8(bytes).map(serde_json::from_str::<Self>) {
            // serde takes a struct from a list of its members as well, and what is empty for what is absent. What is written
            // back the same has one spelling, and this is it.
            Ok(Ok(entry)) if entry.v == VERSION && entry.is_spelled(bytes) => Ok(entry),
            _ => Err(Self::why_not(bytes)),
        }
    }

    /// Whether these are its canonical bytes.
    fn is_spelled(&self, bytes: &[u8]) -> bool {
        if has_beyond_bmp(bytes) {
            self.to_bytes().is_ok_and(|written| written == bytes)
        } else {
            canonical::is_written_as(self, bytes)
        }
    }

    /// What is wrong with bytes that are no entry.
    pub(crate) fn why_not(bytes: &[u8]) -> NotAnEntry {
        let value = match canonical::parse(bytes) {
            Ok(value) => value,
            Err(error) => return error.into(),
        };
        match value.get("v").and_then(serde_json::Value::as_u64) {
            Some(version) if version != u64::from(VERSION) => NotAnEntry::Version(version),
            _ => NotAnEntry::Shape(match serde_json::from_slice::<Self>(bytes) {
                Ok(_) => "another spelling of an entry".to_owned(),
                Err(error) => error.to_string(),
            }),
        }
    }
}

fn is_nothing(detail: &Option<serde_json::Map<String, serde_json::Value>>) -> bool {
    detail.as_ref().is_none_or(serde_json::Map::is_empty)
}

/// Whether there is a character beyond U+FFFF in a text.
fn has_beyond_bmp(text: &[u8]) -> bool {
    !text.is_ascii() && text.iter().any(|byte| *byte >= BEYOND_BMP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> Entry {
        let text = || Some("x".to_owned());
        let side = Side { bytes: 5, commitment: "sha256:00".to_owned(), content_type: text(), partial: true };
        Entry {
            action: text(),
            actor: Some(Actor { id: "a".to_owned(), kind: "operator".to_owned() }),
            api_key_id: text(),
            app_version: text(),
            attempt: Some(1),
            cached_tokens: Some(1),
            completion_tokens: Some(2),
            cost_usd: text(),
            detail: Some(serde_json::from_str(r#"{"b":1,"a":[true,"ü\n"]}"#).unwrap()),
            environment: text(),
            error_type: text(),
            event_id: "e".to_owned(),
            event_type: event_type::LLM_REQUEST.to_owned(),
            finish_reason: text(),
            http_status: Some(200),
            input: Some(side.clone()),
            latency_ms: Some(3),
            model: text(),
            model_checksum: text(),
            model_returned: text(),
            operation: text(),
            output: Some(side),
            params: [("n".to_owned(), Param::Integer(2)), ("a".to_owned(), Param::Text("0.70".to_owned()))]
                .into(),
            parent_event_id: text(),
            prev_hash: "p".to_owned(),
            price_ref: text(),
            prompt_tokens: Some(4),
            provider: text(),
            reasoning_tokens: Some(5),
            redaction: Some(Redaction {
                counts: [("api_key".to_owned(), 1)].into(),
                policy: "keep".to_owned(),
            }),
            refs: vec!["r".to_owned()],
            region: text(),
            request_id: text(),
            resource: Some(Resource { id: "i".to_owned(), kind: "t".to_owned() }),
            retention_class: text(),
            route: text(),
            seq: 7,
            session_id: text(),
            source: Some(Source {
                id: "g".to_owned(),
                incarnation: "i".to_owned(),
                seq: 2,
                start_seq: Some(1),
                time: text(),
            }),
            span_id: text(),
            status: Some(Status::Completed),
            stream: Some(true),
            subject_ref: text(),
            system_fingerprint: text(),
            tenant_id: "t".to_owned(),
            timestamp: "2026-11-22T00:00:00.000000Z".to_owned(),
            tools: vec!["b".to_owned(), "a".to_owned()],
            trace_id: text(),
            ttft_ms: Some(6),
            usage_source: text(),
            v: VERSION,
        }
    }

    /// serde takes a struct from a list of its members, and gives an absent member its default.
    #[test]
    fn nothing_but_the_one_spelling_is_read_as_an_entry() {
        let side = Side { bytes: 1, commitment: "c".to_owned(), content_type: None, partial: false };
        let entry = Entry { v: VERSION, input: Some(side), ..Entry::default() };
        let bytes = entry.to_bytes().unwrap();
        assert_eq!(Entry::parse(&bytes).unwrap(), entry);
        let text = String::from_utf8(bytes).unwrap();
        let input = "{\"bytes\":1,\"commitment\":\"c\"}";
        for (from, to) in [
            (input, "[1,\"c\",null,false]"),
            (input, "[1,\"c\"]"),
            (input, "{\"bytes\":1,\"commitment\":\"c\",\"partial\":false}"),
            ("\"prev_hash\"", "\"params\":{},\"prev_hash\""),
            ("\"seq\"", "\"refs\":[],\"seq\""),
            ("\"v\":1", "\"tools\":[],\"v\":1"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text, "{from}");
            assert!(Entry::parse(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn literals_that_entries_do_not_hold_are_refused_with_the_reason() {
        let is_number =
            |error: &NotAnEntry| matches!(error, NotAnEntry::NotCanonical(NotCanonical::Number(_)));
        // Beyond U+FFFF as well: such entries are written in another way.
        for beside in ["x", "\u{1f980}"] {
            let detail = serde_json::from_str(&format!(r#"{{"a":["{beside}","here"]}}"#)).unwrap();
            let entry = Entry { detail: Some(detail), v: VERSION, ..Entry::default() };
            let text = String::from_utf8(entry.to_bytes().unwrap()).unwrap();
            let with = |from: &str, to: &str| Entry::parse(text.replacen(from, to, 1).as_bytes());
            assert_eq!(with("\"here\"", "null"), Err(NotAnEntry::NotCanonical(NotCanonical::Null)));
            for number in ["1.5", "1.0", "-0", "1e5", "9007199254740992", "-9007199254740992"] {
                assert!(with("\"here\"", number).is_err_and(|error| is_number(&error)), "{number}");
            }
            for seq in ["9007199254740992", "18446744073709551615"] {
                let seq = format!("\"seq\":{seq}");
                assert!(with("\"seq\":0", &seq).is_err_and(|error| is_number(&error)), "{seq}");
            }
            assert!(with("\"here\"", "-9007199254740991").is_ok());
        }
    }

    #[test]
    fn declared_order_is_canonical_order() {
        let bytes = full().to_bytes().unwrap();
        assert_eq!(Entry::parse(&bytes).unwrap(), full());
        let bare = Entry { v: VERSION, ..Entry::default() };
        assert_eq!(Entry::parse(&bare.to_bytes().unwrap()).unwrap(), bare);
    }

    #[test]
    fn names_beyond_the_basic_plane_stand_in_canonical_order_too() {
        let detail = serde_json::from_str("{\"\u{ff5e}\":1,\"\u{1f980}\":2}").unwrap();
        let entry = Entry { detail: Some(detail), v: VERSION, ..Entry::default() };
        assert_eq!(Entry::parse(&entry.to_bytes().unwrap()), Ok(entry));
    }

    #[test]
    fn unknown_members_and_versions_are_refused() {
        let bytes = full().to_bytes().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let later = text.replace("\"v\":1}", "\"v\":2}");
        assert_eq!(Entry::parse(later.as_bytes()), Err(NotAnEntry::Version(2)));
        let more = text.replace("\"v\":1}", "\"v\":1,\"w\":1}");
        assert!(matches!(Entry::parse(more.as_bytes()), Err(NotAnEntry::Shape(_))));
    }

    proptest! {
        #[test]
        fn any_string_survives(text: String, number in 0u64..=canonical::INTEGER_MAX) {
            let entry = Entry { model: Some(text), prompt_tokens: Some(number), v: VERSION, ..Entry::default() };
            prop_assert_eq!(Entry::parse(&entry.to_bytes().unwrap()).unwrap(), entry);
        }

        #[test]
        fn no_changed_byte_reads_as_the_same_entry(at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = full().to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(Entry::parse(&bytes), Ok(full()));
        }
    }
}
