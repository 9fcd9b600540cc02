//! An entry as a verifier reads it: its form checked to the last byte, and nothing copied.
//!
//! [`Entry::parse`] makes an entry with everything in it, and then compares what that is written as. [`EntryView::parse`] takes and
//! refuses the same bytes in one pass, and keeps what verification asks for. Tests and the fuzz target `record` hold the two against
//! each other.

use crate::canonical::plain;
use crate::canonical::reader::{Members, Read, Reader, Refused};
use crate::entry::{ENTRY_MAX_BYTES, Entry, NotAnEntry, Status, VERSION};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Within how many containers a member of an entry stands.
const DEPTH: usize = 1;

/// What verification asks of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // One table in docs/formats/entry.md, and no second one to drift from it.
pub struct EntryView<'a> {
    pub api_key_id: Option<Cow<'a, str>>,
    detail: Option<&'a str>,
    pub event_id: Cow<'a, str>,
    pub event_type: Cow<'a, str>,
    pub input: Option<SideView<'a>>,
    pub output: Option<SideView<'a>>,
    pub parent_event_id: Option<Cow<'a, str>>,
    pub prev_hash: Cow<'a, str>,
    pub request_id: Option<Cow<'a, str>>,
    pub resource: Option<ResourceView<'a>>,
    pub seq: u64,
    pub session_id: Option<Cow<'a, str>>,
    pub subject_ref: Option<Cow<'a, str>>,
    pub tenant_id: Cow<'a, str>,
    pub timestamp: Cow<'a, str>,
    pub trace_id: Option<Cow<'a, str>>,
}

/// What an entry says of one side of an exchange; see [`crate::entry::Side`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideView<'a> {
    /// Length of the body in bytes.
    pub bytes: u64,
    /// `SHA-256(salt ‖ body)` as `sha256:<hex>`.
    pub commitment: Cow<'a, str>,
}

/// What was acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceView<'a> {
    /// Its id.
    pub id: Cow<'a, str>,
    /// Its type.
    pub kind: Cow<'a, str>,
}

impl<'a> EntryView<'a> {
    /// Reads an entry, and only from its canonical bytes.
    ///
    /// # Errors
    /// Those of [`Entry::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotAnEntry> {
        if bytes.len() > ENTRY_MAX_BYTES {
            return Err(NotAnEntry::TooLarge(bytes.len()));
        }
        Self::read(bytes).map_err(|Refused| Entry::why_not(bytes))
    }

    /// The member `detail`, made anew by each call.
    pub fn detail(&self) -> Option<Map<String, Value>> {
        plain::object(&mut serde_json::Deserializer::from_str(self.detail?)).ok()?
    }

    fn read(bytes: &'a [u8]) -> Read<Self> {
        let mut reader = Reader::new(bytes)?;
        let this = reader.members(Self::read_members)?;
        reader.end()?;
        Ok(this)
    }

    /// Every member of [`Entry`], in the order in which they are declared there.
    fn read_members(of: &mut Members<'_, 'a>) -> Read<Self> {
        of.optional("action", pass)?;
        of.optional("actor", actor)?;
        let api_key_id = of.optional("api_key_id", text)?;
        of.optional("app_version", pass)?;
        of.optional("attempt", |reader| reader.natural_up_to(u32::MAX.into()))?;
        of.optional("cached_tokens", Reader::natural)?;
        of.optional("completion_tokens", Reader::natural)?;
        of.optional("cost_usd", pass)?;
        let detail = of.optional("detail", filled)?;
        of.optional("environment", pass)?;
        of.optional("error_type", pass)?;
        let event_id = of.required("event_id", text)?;
        let event_type = of.required("event_type", text)?;
        of.optional("finish_reason", pass)?;
        of.optional("http_status", |reader| reader.natural_up_to(u16::MAX.into()))?;
        let input = of.optional("input", side)?;
        of.optional("latency_ms", Reader::natural)?;
        of.optional("model", pass)?;
        of.optional("model_checksum", pass)?;
        of.optional("model_returned", pass)?;
        of.optional("operation", pass)?;
        let output = of.optional("output", side)?;
        of.optional("params", params)?;
        let parent_event_id = of.optional("parent_event_id", text)?;
        let prev_hash = of.required("prev_hash", text)?;
        of.optional("price_ref", pass)?;
        of.optional("prompt_tokens", Reader::natural)?;
        of.optional("provider", pass)?;
        of.optional("reasoning_tokens", Reader::natural)?;
        of.optional("redaction", redaction)?;
        of.optional("refs", texts)?;
        of.optional("region", pass)?;
        let request_id = of.optional("request_id", text)?;
        let resource = of.optional("resource", resource)?;
        of.optional("retention_class", pass)?;
        of.optional("route", pass)?;
        let seq = of.required("seq", Reader::natural)?;
        let session_id = of.optional("session_id", text)?;
        of.optional("source", source)?;
        of.optional("span_id", pass)?;
        of.optional("status", status)?;
        of.optional("stream", Reader::boolean)?;
        let subject_ref = of.optional("subject_ref", text)?;
        of.optional("system_fingerprint", pass)?;
        let tenant_id = of.required("tenant_id", text)?;
        let timestamp = of.required("timestamp", text)?;
        of.optional("tools", texts)?;
        let trace_id = of.optional("trace_id", text)?;
        of.optional("ttft_ms", Reader::natural)?;
        of.optional("usage_source", pass)?;
        if of.required("v", Reader::natural)? != u64::from(VERSION) {
            return Err(Refused);
        }
        Ok(Self {
            api_key_id,
            detail,
            event_id,
            event_type,
            input,
            output,
            parent_event_id,
            prev_hash,
            request_id,
            resource,
            seq,
            session_id,
            subject_ref,
            tenant_id,
            timestamp,
            trace_id,
        })
    }
}

/// A string that is asked for.
fn text<'a>(reader: &mut Reader<'a>) -> Read<Cow<'a, str>> {
    reader.text().map(|text| text.read())
}

/// A string that nothing asks for.
fn pass(reader: &mut Reader<'_>) -> Read<()> {
    reader.text().map(drop)
}

/// A list of strings, which is left out where it would be empty.
fn texts(reader: &mut Reader<'_>) -> Read<()> {
    not_empty(reader.list(DEPTH, |reader, _| pass(reader))?)
}

/// An object of any members, which is left out where it would be empty.
fn filled<'a>(reader: &mut Reader<'a>) -> Read<&'a str> {
    reader.object(DEPTH).and_then(|text| if text == "{}" { Err(Refused) } else { Ok(text) })
}

fn not_empty(count: usize) -> Read<()> {
    if count > 0 { Ok(()) } else { Err(Refused) }
}

fn params(reader: &mut Reader<'_>) -> Read<()> {
    not_empty(reader.map(DEPTH, |reader, _| reader.scalar())?)
}

fn status(reader: &mut Reader<'_>) -> Read<()> {
    let word = reader.text()?.as_spelled();
    let is_one = Status::ALL.iter().any(|status| word == Some(status.as_str()));
    if is_one { Ok(()) } else { Err(Refused) }
}

fn actor(reader: &mut Reader<'_>) -> Read<()> {
    reader.members(|of| {
        of.required("id", pass)?;
        of.required("kind", pass)
    })
}

fn side<'a>(reader: &mut Reader<'a>) -> Read<SideView<'a>> {
    reader.members(|of| {
        let bytes = of.required("bytes", Reader::natural)?;
        let commitment = of.required("commitment", text)?;
        of.optional("content_type", pass)?;
        of.optional("partial", Reader::only_true)?;
        Ok(SideView { bytes, commitment })
    })
}

fn redaction(reader: &mut Reader<'_>) -> Read<()> {
    reader.members(|of| {
        of.required("counts", |reader| {
            not_empty(reader.map(DEPTH + 1, |reader, _| reader.natural().map(drop))?)
        })?;
        of.required("policy", pass)
    })
}

fn resource<'a>(reader: &mut Reader<'a>) -> Read<ResourceView<'a>> {
    reader.members(|of| {
        let id = of.required("id", text)?;
        let kind = of.required("type", text)?;
        Ok(ResourceView { id, kind })
    })
}

fn source(reader: &mut Reader<'_>) -> Read<()> {
    reader.members(|of| {
        of.required("id", pass)?;
        of.required("incarnation", pass)?;
        of.required("seq", Reader::natural)?;
        of.optional("start_seq", Reader::natural)?;
        of.optional("time", pass)?;
        Ok(())
    })
}
