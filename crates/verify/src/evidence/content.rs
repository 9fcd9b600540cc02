//! Entries, what opens their commitments, and what the producer says of them.

use super::archive::Archive;
use super::lines::Lines;
use super::members::Members;
use super::{Check, Counts, Fault};
use crate::date::is_date;
use indelible_ledger::{Checkpoint, Hash, leaf_hash, root_from_entries};
use indelible_record::commitment::{from_hex, hash_text};
use indelible_record::entry::{ENTRY_MAX_BYTES, event_type};
use indelible_record::view::SideView;
use indelible_record::{EntryView, canonical};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Seek};

/// What `scope.json` calls the format.
pub const FORMAT: &str = "indelible evidence v1";
/// Longest line of `openings.jsonl` and `custody.jsonl`.
pub(super) const LINE_MAX_BYTES: usize = 4096;
/// A hash in base64.
const HASH_LINE_BYTES: usize = 44;
/// `proof.txt` has at most so many hashes for each entry, and as many besides.
const PROOF_HASHES_PER_ENTRY: usize = 64;
/// First number that JSON does not hold exactly.
const NUMBER_END: u64 = 1 << 53;

/// `scope.json`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope {
    counts: ScopeCounts,
    format: String,
    pub(super) ledger: Ledger,
    made_at: String,
    #[serde(rename = "made_by")]
    _made_by: String,
    #[serde(rename = "purpose")]
    _purpose: String,
    pub(super) selection: Selection,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ScopeCounts {
    erased: u64,
    matched: u64,
    produced: u64,
    withheld: u64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    pub(super) origin: String,
    pub(super) tenant: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Selection {
    Range {
        from: u64,
        to: u64,
    },
    Ids {
        #[serde(rename = "text")]
        _text: String,
    },
    Query {
        #[serde(rename = "text")]
        _text: String,
    },
}

impl Scope {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let scope: Self = one_line(bytes)?;
        if scope.format != FORMAT {
            return Err("scope.json is of another format".to_owned());
        }
        if !is_date(&scope.made_at) {
            return Err("scope.json: made_at is not a time".to_owned());
        }
        match scope.selection {
            Selection::Range { from, to } if from >= to => {
                Err("scope.json: a range without an entry".to_owned())
            }
            _ => Ok(scope),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Completeness {
    as_of: String,
    gaps: Vec<Gap>,
    size: u64,
}

#[derive(Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Gap {
    count: u64,
    seq: u64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Custody {
    at: String,
    #[serde(rename = "by")]
    _by: String,
    #[serde(rename = "what")]
    _what: String,
}

/// A line of `openings.jsonl`. Members stand in canonical order, here and in [`File`].
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    #[serde(skip_serializing_if = "Option::is_none")]
    erasure: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<File>,
    seq: u64,
    state: State,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    file: String,
    salt: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Disclosed,
    Withheld,
    Erased,
}

/// What was found out about the entries and their payloads.
pub(super) struct Contents {
    leaves: Vec<(u64, Hash)>,
    /// Entries that say that keys were destroyed, ascending, and whose: SHA-256 of the subject.
    erasures: Vec<(u64, Option<[u8; 32]>)>,
    gaps: Vec<Gap>,
    counts: Counts,
    /// When the last entry got its place, as it says.
    last_timestamp: String,
}

impl Contents {
    /// Checks entries, chain, proof and payloads, in this order.
    pub(super) fn check<F: Read + Seek>(
        archive: &mut Archive<F>,
        scope: &Scope,
        checkpoint: &Checkpoint,
        members: &Members,
    ) -> Result<Self, Fault> {
        let mut this = Self {
            leaves: Vec::new(),
            erasures: Vec::new(),
            gaps: Vec::new(),
            counts: Counts::default(),
            last_timestamp: String::new(),
        };
        let chain = this.read_entries(archive, scope, checkpoint)?;
        if let Some(what) = chain {
            return Err(Fault::Broken(Check::Chain, what));
        }
        this.check_proof(archive, checkpoint)?;
        this.check_openings(archive, members)?;
        Ok(this)
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Gaps that the entries state.
    pub(super) fn gaps(&self) -> u64 {
        self.gaps.len() as u64
    }

    /// Takes the entries in. What is wrong with their chain is for the check that follows.
    fn read_entries<F: Read + Seek>(
        &mut self,
        archive: &mut Archive<F>,
        scope: &Scope,
        checkpoint: &Checkpoint,
    ) -> Result<Option<String>, Fault> {
        let broken = |what: String| Fault::Broken(Check::Entries, what);
        let mut lines = Lines::of("entries.jsonl", Check::Entries);
        let mut chain_fault = None;
        while let Some(line) = lines.next(archive, ENTRY_MAX_BYTES)? {
            let number = self.leaves.len() + 1;
            let entry = EntryView::parse(&line)
                .map_err(|error| broken(format!("entries.jsonl, line {number}: {error}")))?;
            if entry.tenant_id != scope.ledger.tenant {
                return Err(broken(format!("line {number} is of tenant {}", entry.tenant_id)));
            }
            let leaf = leaf_hash(&line);
            let last = self.leaves.last().copied();
            if last.is_some_and(|(last, _)| entry.seq <= last) || entry.seq >= checkpoint.size() {
                return Err(broken(format!(
                    "line {number}, entry {}, is out of order or beyond the checkpoint",
                    entry.seq
                )));
            }
            if chain_fault.is_none() {
                chain_fault = check_link(last, &entry).err();
            }
            match &*entry.event_type {
                event_type::ERASURE => {
                    self.erasures.push((entry.seq, subject_of(entry.subject_ref.as_deref())))
                }
                event_type::GAP => {
                    let count = entry.detail().and_then(|detail| detail.get("count")?.as_u64());
                    self.gaps.push(Gap { count: count.unwrap_or(0), seq: entry.seq });
                }
                _ => {}
            }
            self.leaves.push((entry.seq, leaf));
            self.last_timestamp.clear();
            self.last_timestamp.push_str(&entry.timestamp);
        }
        let ends = (self.leaves.first(), self.leaves.last());
        let (Some((first, _)), Some((last, _))) = ends else {
            return Err(broken("there is no entry".to_owned()));
        };
        if let Selection::Range { from, to } = scope.selection {
            let whole = *first == from && last + 1 == to && self.leaves.len() as u64 == to - from;
            if !whole {
                return Err(broken(format!("these are not the entries from {from} up to {to}, all of them")));
            }
        }
        self.counts.entries = self.leaves.len() as u64;
        Ok(chain_fault)
    }

    fn check_proof<F: Read + Seek>(
        &self,
        archive: &mut Archive<F>,
        checkpoint: &Checkpoint,
    ) -> Result<(), Fault> {
        let broken = |what: String| Fault::Broken(Check::Proof, what);
        let mut lines = Lines::of("proof.txt", Check::Proof);
        let mut hashes = Vec::new();
        let hashes_max =
            PROOF_HASHES_PER_ENTRY.saturating_mul(self.leaves.len()).saturating_add(PROOF_HASHES_PER_ENTRY);
        while let Some(line) = lines.next(archive, HASH_LINE_BYTES)? {
            if hashes.len() == hashes_max {
                return Err(broken("proof.txt has more hashes than any proof".to_owned()));
            }
            let hash = std::str::from_utf8(&line).ok().and_then(|line| Hash::from_base64(line).ok());
            hashes.push(hash.ok_or_else(|| broken("proof.txt has a line that is no hash".to_owned()))?);
        }
        let root = root_from_entries(&hashes, &self.leaves, checkpoint.size());
        match root {
            Ok(root) if root == checkpoint.root() => Ok(()),
            Ok(_) => Err(broken("the entries do not lead to the signed root".to_owned())),
            Err(error) => Err(broken(error.to_string())),
        }
    }

    /// Goes through entries and openings side by side.
    fn check_openings<F: Read + Seek>(
        &mut self,
        archive: &mut Archive<F>,
        members: &Members,
    ) -> Result<(), Fault> {
        let broken = |what: String| Fault::Broken(Check::Payload, what);
        let mut entries = Lines::of("entries.jsonl", Check::Entries);
        let mut openings = Lines::of("openings.jsonl", Check::Payload);
        let mut files = 0;
        while let Some(line) = entries.next(archive, ENTRY_MAX_BYTES)? {
            let entry = EntryView::parse(&line).map_err(|error| broken(error.to_string()))?;
            if entry.input.is_none() && entry.output.is_none() {
                continue;
            }
            let line = openings.next(archive, LINE_MAX_BYTES)?;
            let line = line.ok_or_else(|| broken(format!("entry {} has no opening", entry.seq)))?;
            let opening = Opening::parse(&line).map_err(|what| broken(format!("openings.jsonl: {what}")))?;
            if opening.seq != entry.seq {
                return Err(broken(format!(
                    "an opening of entry {} where that of {} must stand",
                    opening.seq, entry.seq
                )));
            }
            files += self.check_opening(archive, &entry, &opening)?;
        }
        if openings.next(archive, LINE_MAX_BYTES)?.is_some() {
            return Err(broken("an opening of no entry".to_owned()));
        }
        if files != members.payloads {
            return Err(broken("a payload that no opening names".to_owned()));
        }
        Ok(())
    }

    /// Answers how many files it names.
    fn check_opening<F: Read + Seek>(
        &mut self,
        archive: &mut Archive<F>,
        entry: &EntryView<'_>,
        opening: &Opening,
    ) -> Result<u64, Fault> {
        let broken = |what: String| Fault::Broken(Check::Payload, format!("entry {}: {what}", entry.seq));
        let misplaced = || broken("an opening with members that its state does not have".to_owned());
        match opening.state {
            State::Disclosed if opening.erasure.is_none() => {
                self.counts.disclosed += 1;
                let mut files = 0;
                for (side, file, name) in
                    [(&entry.input, &opening.input, "request"), (&entry.output, &opening.output, "response")]
                {
                    match (side, file) {
                        (Some(side), Some(file)) => {
                            check_side(archive, side, file, &format!("payloads/{}.{name}", entry.seq))
                                .map_err(|fault| match fault {
                                    Fault::Broken(_, what) => broken(what),
                                    unreadable => unreadable,
                                })?;
                            files += 1;
                        }
                        (None, None) => {}
                        _ => return Err(broken(format!("the {name} and its opening do not go together"))),
                    }
                }
                Ok(files)
            }
            State::Withheld if opening.erasure.is_none() && !opening.has_files() => {
                self.counts.withheld += 1;
                Ok(0)
            }
            State::Erased if !opening.has_files() => {
                self.counts.erased += 1;
                let of = opening.erasure.and_then(|seq| self.erased_by(seq));
                let of = of.ok_or_else(|| broken("erased, and no entry here says so".to_owned()))?;
                if entry.subject_ref.is_some() && of != subject_of(entry.subject_ref.as_deref()) {
                    return Err(broken("the erasure is that of another subject".to_owned()));
                }
                Ok(0)
            }
            _ => Err(misplaced()),
        }
    }

    /// Whose keys the entry with this number says were destroyed, if it says that.
    fn erased_by(&self, seq: u64) -> Option<Option<[u8; 32]>> {
        let at = self.erasures.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        self.erasures.get(at).map(|(_, of)| *of)
    }

    /// Holds what the producer says against what is here. Answers when the checkpoint was made, by that.
    pub(super) fn check_statements<F: Read + Seek>(
        &self,
        archive: &mut Archive<F>,
        scope: &Scope,
        checkpoint: &Checkpoint,
    ) -> Result<String, Fault> {
        let broken = |what: String| Fault::Broken(Check::Counts, what);
        let (counts, said) = (self.counts, &scope.counts);
        let agree = said.produced == counts.entries
            && said.withheld == counts.withheld
            && said.erased == counts.erased
            && said.matched >= said.produced;
        if !agree {
            return Err(broken("scope.json counts something else than what is here".to_owned()));
        }
        let completeness = archive.small("completeness.json", Check::Counts)?;
        let completeness: Completeness =
            one_line(&completeness).map_err(|what| broken(format!("completeness.json: {what}")))?;
        if completeness.size != checkpoint.size() || completeness.gaps != self.gaps {
            return Err(broken("completeness.json says something else than what is here".to_owned()));
        }
        let has_last = self.leaves.last().is_some_and(|(last, _)| last + 1 == checkpoint.size());
        if !is_date(&completeness.as_of) || has_last && completeness.as_of != self.last_timestamp {
            return Err(broken(
                "completeness.json: as_of is not a time, or not that of the last entry".to_owned(),
            ));
        }
        let mut custody = Lines::of("custody.jsonl", Check::Counts);
        while let Some(line) = custody.next(archive, LINE_MAX_BYTES)? {
            let custody: Custody =
                of_canonical(&line).map_err(|what| broken(format!("custody.jsonl: {what}")))?;
            if !is_date(&custody.at) {
                return Err(broken("custody.jsonl: at is not a time".to_owned()));
            }
        }
        Ok(completeness.as_of)
    }
}

impl Opening {
    fn parse(line: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(line) {
            Ok(opening) if canonical::is_written_as(&opening, line) => Ok(opening),
            // Says what is wrong.
            _ => of_canonical(line),
        }
    }

    fn has_files(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }
}

/// The subject of an entry in 32 bytes.
fn subject_of(subject_ref: Option<&str>) -> Option<[u8; 32]> {
    subject_ref.map(|subject| Sha256::digest(subject).into())
}

/// An entry is linked to the one before it, if that is here.
fn check_link(last: Option<(u64, Hash)>, entry: &EntryView<'_>) -> Result<(), String> {
    let seq = entry.seq;
    let prev: Hash = entry.prev_hash.parse().map_err(|_| format!("prev_hash of entry {seq} is no hash"))?;
    let before = match last {
        // The first of a ledger follows nothing.
        _ if seq == 0 => Some(Hash::ZERO),
        Some((last, leaf)) if last + 1 == seq => Some(leaf),
        _ => None,
    };
    match before {
        Some(before) if before != prev => Err(format!("entry {seq} does not follow the one before it")),
        _ => Ok(()),
    }
}

fn check_side<F: Read + Seek>(
    archive: &Archive<F>,
    side: &SideView<'_>,
    file: &File,
    name: &str,
) -> Result<(), Fault> {
    let broken = |what: &str| Fault::broken(Check::Payload, format!("{name} {what}"));
    if file.file != name {
        return Err(broken("has another name in its opening"));
    }
    let salt: [u8; 32] = from_hex(&file.salt).ok_or_else(|| broken("has no salt of 32 bytes"))?;
    let member = archive.member(name).ok_or_else(|| broken("is missing"))?;
    if member.size != side.bytes {
        return Err(broken("is not as long as the entry says"));
    }
    // Hashed behind the salt that stands in this place; behind another one there is another opening that is not in order.
    match member.salted {
        Some((known, hash)) if known == salt && hash_text(&hash) == side.commitment => Ok(()),
        _ => Err(broken("is not what the entry commits to")),
    }
}

/// A file of one line of canonical JSON.
fn one_line<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, String> {
    of_canonical(bytes.strip_suffix(b"\n").ok_or("it does not end in a line")?)
}

fn of_canonical<T: DeserializeOwned + Serialize>(line: &[u8]) -> Result<T, String> {
    let value = canonical::parse(line).map_err(|error| error.to_string())?;
    if !is_plain(&value) {
        return Err("a value that these files do not have".to_owned());
    }
    let read: T = serde_json::from_value(value).map_err(|error| error.to_string())?;
    // serde takes a struct from a list of its members as well.
    let again = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    if canonical::to_vec(&again).is_ok_and(|again| again == line) {
        Ok(read)
    } else {
        Err("another spelling of what these files have".to_owned())
    }
}

/// Whether it is made of text and of numbers that JSON holds exactly, and of nothing else.
fn is_plain(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) => false,
        serde_json::Value::String(_) => true,
        serde_json::Value::Number(number) => number.as_u64().is_some_and(|number| number < NUMBER_END),
        serde_json::Value::Array(items) => items.iter().all(is_plain),
        serde_json::Value::Object(members) => members.values().all(is_plain),
    }
}
