//! Records that are taken away: a selection of what was signed when the export began, oldest first, as lines of JSON.
//!
//! ```text
//! {"ledgers":[{"tenant":"default","size":1200,"origin":"…"}]}     first: what the selection is taken from
//! {"entry":{…}}                                                   a record; the entry's bytes are exact
//! {"entry":{…},"payload":{…}}                                     … with what was said, as `show` has it, if it has any
//! {"entry":{…},"chat":{…}}                                        … as a line of a data set
//! {"entry":{…},"left_out":"why"}                                  … of which there is no more, and why
//! {"at":{"tenant":"default","seq":512}}                           nothing more that is wanted stands before this
//! {"end":{"records":17,"left_out":1}}                             last: it was all of it
//! ```
//!
//! A ledger only grows, so the same selection of the same size is the same lines, but for payloads whose key was
//! destroyed meanwhile. An export that broke off goes on from a [`Cursor`].

use crate::query::{Query, Wanted};
use crate::read::forward::Ahead;
use crate::read::{Found, Reader};
use crate::sequencer::lock;
use crate::{Collector, CollectorError, view};
use indelible_record::shipping::Receipt;
use indelible_transcript::openai;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// How much of each record is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// The entry alone.
    Entries,
    /// The entry, and the payload decrypted.
    Payloads,
    /// The entry, and the conversation as a line of a data set.
    Chat,
}

impl Content {
    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "entries" => Some(Self::Entries),
            "payloads" => Some(Self::Payloads),
            "chat" => Some(Self::Chat),
            _ => None,
        }
    }
}

/// A ledger that a selection is taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Whose.
    pub tenant: String,
    /// Entries that count: those that were signed.
    pub size: u64,
    /// The ledger's name in its checkpoints.
    pub origin: String,
}

/// A place in a selection: everything before it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which ledger.
    pub tenant: String,
    /// The first entry that is not done.
    pub seq: u64,
}

/// What an export came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records.
    pub records: u64,
    /// How many of them lack what was wanted of them.
    pub left_out: u64,
}

/// What is to be taken away.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Which records.
    pub query: Query,
    /// What of them.
    pub content: Content,
    /// Sizes of ledgers when the export began; of those that are not named, what is signed now.
    pub sizes: BTreeMap<String, u64>,
    /// Where to go on.
    pub from: Option<Cursor>,
}

/// An export that is about to run.
pub struct Export {
    selection: Selection,
    wanted: Option<Wanted>,
    ledgers: Vec<Ledger>,
}

impl Export {
    /// Resolves the selection, and fixes the sizes of its ledgers.
    pub fn new(collector: &Collector, selection: Selection) -> Result<Self, CollectorError> {
        let wanted = Wanted::resolve(&selection.query, &mut lock(collector.vault()))?;
        let mut ledgers = Vec::new();
        for tenant in wanted.iter().flat_map(Wanted::tenants) {
            let Some(note) = collector.checkpoint(tenant) else { continue };
            let mut lines = note.lines();
            let origin = lines.next().unwrap_or_default().to_owned();
            let signed: u64 = lines.next().and_then(|size| size.parse().ok()).unwrap_or(0);
            let size = selection.sizes.get(tenant).copied().unwrap_or(signed);
            if size > signed {
                let what =
                    format!("ledger {tenant} has {signed} signed entries, and {size} are to be exported");
                return Err(CollectorError::Unfit(what));
            }
            ledgers.push(Ledger { tenant: tenant.to_owned(), size, origin });
        }
        Ok(Self { selection, wanted, ledgers })
    }

    /// What the selection is taken from.
    pub fn ledgers(&self) -> &[Ledger] {
        &self.ledgers
    }

    /// Records that it begins. Nothing is taken before this was done (invariant 11).
    pub async fn record_begin(
        &self,
        collector: &Collector,
        asked: &Value,
    ) -> Result<Receipt, CollectorError> {
        let sizes: Map<String, Value> =
            self.ledgers.iter().map(|ledger| (ledger.tenant.clone(), ledger.size.into())).collect();
        let mut detail = Map::new();
        detail.insert("content".to_owned(), json!(self.selection.content));
        detail.insert("ledgers".to_owned(), sizes.into());
        detail.insert("phase".to_owned(), "begun".into());
        if let Some(from) = &self.selection.from {
            detail.insert("from".to_owned(), json!(from));
        }
        collector.record_export("operator", "export", asked.clone(), detail).await
    }

    /// Records how far it came: `whole`, or broken off.
    pub async fn record_end(
        &self,
        collector: &Collector,
        asked: &Value,
        counts: Counts,
        whole: bool,
    ) -> Result<Receipt, CollectorError> {
        let mut detail = Map::new();
        detail.insert("left_out".to_owned(), counts.left_out.into());
        detail.insert("phase".to_owned(), if whole { "ended" } else { "broken_off" }.into());
        detail.insert("results".to_owned(), counts.records.into());
        collector.record_export("operator", "export", asked.clone(), detail).await
    }

    /// Hands each line to `take` until it breaks off. The last line, which says that it was all, is the caller's:
    /// it goes out once the end is recorded.
    pub fn run(
        &self,
        collector: &Collector,
        take: &mut dyn FnMut(String) -> ControlFlow<()>,
    ) -> Result<(Counts, bool), CollectorError> {
        let mut counts = Counts::default();
        if take(json!({ "ledgers": self.ledgers }).to_string()).is_break() {
            return Ok((counts, false));
        }
        let Some(wanted) = &self.wanted else { return Ok((counts, true)) };
        for ledger in &self.ledgers {
            let tenant = ledger.tenant.as_str();
            let first = match &self.selection.from {
                Some(from) if tenant < from.tenant.as_str() => continue,
                Some(from) if from.tenant == tenant => from.seq,
                _ => 0,
            };
            let at = |seq: u64| json!({ "at": { "tenant": tenant, "seq": seq } }).to_string();
            let reader = Reader::new(collector.view(), collector.vault());
            let flow = reader.forward(wanted, tenant, first..ledger.size.max(first), &mut |ahead| {
                let line = match ahead {
                    Ahead::At(seq) => at(seq),
                    Ahead::Record(found) => {
                        let (line, whole) = self.line(collector, &reader, &found)?;
                        counts.records += 1;
                        counts.left_out += u64::from(!whole);
                        line
                    }
                };
                Ok(take(line))
            })?;
            if flow.is_break() || take(at(ledger.size)).is_break() {
                return Ok((counts, false));
            }
        }
        Ok((counts, true))
    }

    /// The line of a record, and whether it has all that was wanted.
    fn line(
        &self,
        collector: &Collector,
        reader: &Reader<'_>,
        found: &Found,
    ) -> Result<(String, bool), CollectorError> {
        let exact = |error: &dyn std::fmt::Display| {
            CollectorError::Refused(format!("entry {} is no JSON: {error}", found.entry.seq))
        };
        let text = std::str::from_utf8(&found.bytes).map_err(|error| exact(&error))?;
        let entry: &RawValue = serde_json::from_str(text).map_err(|error| exact(&error))?;
        let mut line = Line { entry, payload: None, chat: None, left_out: None };
        let has_payload = found.entry.input.is_some() || found.entry.output.is_some();
        match self.selection.content {
            Content::Entries => {}
            Content::Payloads => match reader.payload(found) {
                Ok(payload) if payload.is_empty() => {}
                Ok(payload) => {
                    let shown = view::full(found, collector.level(&found.entry), Ok(&payload));
                    line.payload = Some(shown["payload"].clone());
                }
                Err(error) => line.left_out = Some(error.to_string()),
            },
            Content::Chat if !has_payload => line.left_out = Some("no conversation".to_owned()),
            Content::Chat => match reader.payload(found) {
                Ok(payload) => {
                    let turn = view::turn(found, collector.level(&found.entry), Ok(&payload));
                    match turn.said.as_ref().map(|transcript| openai::line(&turn, transcript)) {
                        Ok(Ok(chat)) => line.chat = Some(chat),
                        Ok(Err(why)) => line.left_out = Some(why.as_str().to_owned()),
                        Err(why) => line.left_out = Some(why.clone()),
                    }
                }
                Err(error) => line.left_out = Some(error.to_string()),
            },
        }
        let whole = line.left_out.is_none();
        let line = serde_json::to_string(&line).map_err(|error| exact(&error))?;
        Ok((line, whole))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    entry: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

/// The line that says that it was all of it.
pub fn end_line(counts: Counts) -> String {
    json!({ "end": counts }).to_string()
}
