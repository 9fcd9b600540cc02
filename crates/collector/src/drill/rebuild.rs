//! The record that was picked, put together again as an auditor would ask for it, and held against what was signed.

use super::pick::MonthTaken;
use super::{Picked, Wish};
use crate::read::{Found, Payload, Place};
use crate::{Collector, CollectorError, Query};
use indelible_ledger::{Checkpoint, Hash, ProofFile, leaf_hash, verify_inclusion};
use indelible_record::Entry;
use indelible_record::entry::event_type;
use indelible_vault::VaultError;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Most turns of a conversation that are counted.
const TURNS_MAX: usize = 1000;
/// Most erasures that are looked through.
const ERASURES_MAX: usize = 1000;

/// What came of a drill.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whether every check holds.
    pub passed: bool,
    /// The first check that does not.
    pub failed: Option<String>,
    /// What the pick was drawn from.
    pub seed: u64,
    /// The month, `2026-03`.
    pub month: String,
    /// How it came about.
    pub month_taken: MonthTaken,
    /// Signed entries of the month.
    pub month_entries: u64,
    /// Entries drawn until one was an inference; absent: all were looked at.
    pub draws: Option<u64>,
    /// The record.
    pub record: Record,
    /// Where it stands in its conversation, if it is of one.
    pub turn: Option<Turn>,
    /// What became of what was said.
    pub payload: Said,
    /// Number of the erasure's entry, where the payload was erased.
    pub erasure: Option<u64>,
    /// The signed tree that the proof leads to; absent if there is no proof.
    pub tree: Option<Tree>,
    /// How long each step took.
    pub steps: Vec<Step>,
    /// All steps, in microseconds.
    pub total_us: u64,
    /// What was checked.
    pub checks: Vec<Check>,
    /// Number of the entry of the operations ledger that has this outcome; absent until it is recorded.
    pub recorded: Option<u64>,
}

/// The record that was picked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Whose ledger.
    pub ledger: String,
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// When.
    pub timestamp: String,
    /// The model asked for.
    pub model: Option<String>,
    /// How the request ended.
    pub status: Option<String>,
    /// Hash of its exact bytes.
    pub leaf_hash: String,
    /// Where it stands: `log`, or the path of a segment.
    pub place: String,
    /// Length of the request, if it could be read.
    pub request_bytes: Option<u64>,
    /// Length of the response.
    pub response_bytes: Option<u64>,
}

/// A place in a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Which turn, from 1.
    pub number: u64,
    /// How many there are.
    pub of: u64,
    /// There are older ones that were not counted.
    pub more: bool,
}

/// What became of what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It was read and decrypted.
    Read,
    /// Its key was destroyed, and an entry says so.
    Erased,
    /// It cannot be read.
    Unreadable,
}

/// A signed tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tree {
    /// The ledger's origin.
    pub origin: String,
    /// Entries in it.
    pub size: u64,
    /// Its root, base64.
    pub root: String,
    /// Hashes of the inclusion proof.
    pub hashes: u64,
}

/// A step, and how long it took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Microseconds.
    pub us: u64,
}

/// Something that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Whether it holds; absent: there was nothing to check.
    pub holds: Option<bool>,
    /// What was found.
    pub what: String,
}

impl Check {
    /// A check that something was compared in.
    pub fn of(name: &str, found: Result<String, String>) -> Self {
        let holds = Some(found.is_ok());
        Self { name: name.to_owned(), holds, what: found.unwrap_or_else(|what| what) }
    }

    /// A check that found nothing to compare.
    pub fn none(name: &str, what: &str) -> Self {
        Self { name: name.to_owned(), holds: None, what: what.to_owned() }
    }
}

/// Puts the record together again and checks it. That it is looked at must be on record. Blocks.
///
/// What cannot be read or shown is a check that does not hold: an auditor would get no answer.
pub fn rebuild(collector: &Collector, wish: &Wish, picked: &Picked) -> Report {
    let mut steps = vec![Step { name: "pick".to_owned(), us: picked.us }];
    let mut timed = |name: &str, begun: Instant| {
        steps.push(Step { name: name.to_owned(), us: begun.elapsed().as_micros() as u64 });
    };
    let entry = &picked.found.entry;
    let mut checks = Vec::new();

    let begun = Instant::now();
    let (found, by_id) = find(collector, &picked.found);
    checks.push(Check::of("find", by_id));
    timed("find", begun);

    let begun = Instant::now();
    let payload = collector.payload(&found);
    let (said, erasure, check) = commitments(collector, entry, &payload);
    timed("decrypt", begun);

    let begun = Instant::now();
    let proof = collector.prove(&entry.tenant_id, entry.seq);
    timed("prove", begun);

    let begun = Instant::now();
    checks.push(Check::of("entry", of_form(&found)));
    let tree = match &proof {
        Ok(proof) => {
            checks.extend(of_proof(collector, &found, proof));
            tree_of(proof)
        }
        Err(error) => {
            checks.push(Check::of("proof", Err(error.to_string())));
            None
        }
    };
    checks.push(check);
    checks
        .push(Check::of("chain", neighbours(collector, &found).map_err(|error| error.to_string()).flatten()));
    timed("check", begun);

    let begun = Instant::now();
    let turn = turn(collector, entry);
    timed("conversation", begun);

    let failed = checks.iter().find(|check| check.holds == Some(false)).map(|check| check.name.clone());
    let read = payload.as_ref().ok().filter(|_| said == Said::Read);
    Report {
        passed: failed.is_none(),
        failed,
        seed: wish.seed,
        month: picked.month.to_string(),
        month_taken: picked.taken,
        month_entries: picked.entries,
        draws: picked.draws,
        record: Record {
            ledger: entry.tenant_id.clone(),
            seq: entry.seq,
            event_id: entry.event_id.clone(),
            event_type: entry.event_type.clone(),
            timestamp: entry.timestamp.clone(),
            model: entry.model.clone(),
            status: entry.status.map(|status| status.as_str().to_owned()),
            leaf_hash: found.leaf_hash().to_string(),
            place: match &found.place {
                Place::Log { .. } => "log".to_owned(),
                Place::Segment { segment, .. } => segment.path().to_owned(),
            },
            request_bytes: read.map(|payload| payload.request.len() as u64),
            response_bytes: read.map(|payload| payload.response.len() as u64),
        },
        turn,
        payload: said,
        erasure,
        tree,
        total_us: steps.iter().map(|step| step.us).sum(),
        steps,
        checks,
        recorded: None,
    }
}

/// Looks the record up by its event id, as whoever asks for it would.
fn find(collector: &Collector, picked: &Found) -> (Found, Result<String, String>) {
    let id = Some(picked.entry.event_id.clone());
    let query = Query { id, tenant: Some(picked.entry.tenant_id.clone()), ..Query::default() };
    let found = match collector.list(&query, 100) {
        Ok(found) => found.into_iter().find(|one| one.entry.seq == picked.entry.seq),
        Err(error) => return (picked.clone(), Err(error.to_string())),
    };
    match found {
        Some(found) if found.bytes == picked.bytes => {
            (found, Ok("its event id leads to it, byte for byte".to_owned()))
        }
        Some(_) => (picked.clone(), Err("its event id leads to another entry of this number".to_owned())),
        None => (picked.clone(), Err("its event id does not lead to it".to_owned())),
    }
}

fn of_form(found: &Found) -> Result<String, String> {
    let entry = Entry::parse(&found.bytes).map_err(|error| error.to_string())?;
    if entry.event_id.parse() != Ok(found.event_id) {
        return Err("its event id is none".to_owned());
    }
    Ok(format!("{} bytes in canonical form", found.bytes.len()))
}

/// What the entry commits to, against what was said.
fn commitments(
    collector: &Collector,
    entry: &Entry,
    payload: &Result<Payload, CollectorError>,
) -> (Said, Option<u64>, Check) {
    let name = "commitments";
    let committed = entry.input.is_some() || entry.output.is_some();
    let gone = match payload {
        Err(CollectorError::Vault(VaultError::NoKey(why))) => Some(why.clone()),
        Ok(payload) if payload.is_empty() && committed => Some("there is no payload".to_owned()),
        _ => None,
    };
    if let Some(why) = gone {
        let erasure = erasure(collector, entry);
        return match erasure {
            Some(seq) => {
                (Said::Erased, Some(seq), Check::none(name, &format!("erased: entry {seq} says so")))
            }
            None => (Said::Unreadable, None, Check::of(name, Err(format!("{why}, and no erasure says why")))),
        };
    }
    let payload = match payload {
        Err(error) => return (Said::Unreadable, None, Check::of(name, Err(error.to_string()))),
        Ok(payload) => payload,
    };
    let check = match payload.matches(entry) {
        Some(true) => {
            Check::of(name, Ok("request and response, with their salts, are what it commits to".to_owned()))
        }
        Some(false) => {
            Check::of(name, Err("request or response is not what the entry commits to".to_owned()))
        }
        None => Check::none(name, "the entry commits to nothing"),
    };
    (Said::Read, None, check)
}

/// The erasure of the person that a record speaks of.
fn erasure(collector: &Collector, entry: &Entry) -> Option<u64> {
    let event_type = Some(event_type::ERASURE.to_owned());
    let query = Query { tenant: Some(entry.tenant_id.clone()), event_type, ..Query::default() };
    let erasures = collector.list(&query, ERASURES_MAX).ok()?;
    let of_subject = |one: &&Found| entry.subject_ref.is_some() && one.entry.subject_ref == entry.subject_ref;
    erasures.iter().find(of_subject).map(|one| one.entry.seq)
}

fn of_proof(collector: &Collector, found: &Found, proof: &ProofFile) -> [Check; 3] {
    let leaf = leaf_hash(&found.bytes);
    let same = proof.index == found.entry.seq && proof.extra.as_deref() == Some(&found.bytes[..]);
    let of_leaf = if same {
        Ok(format!("{leaf}, computed again"))
    } else {
        Err("the tree has another entry in this place".to_owned())
    };
    let checkpoint = Checkpoint::parse_body(proof.checkpoint.text());
    let led = checkpoint.as_ref().map_err(ToString::to_string).and_then(|checkpoint| {
        let (index, size, root) = (found.entry.seq, checkpoint.size(), checkpoint.root());
        let shown = verify_inclusion(&proof.hashes, index, size, &leaf, &root);
        shown.map_err(|error| error.to_string())?;
        Ok(format!("{} hashes lead to the root of {size} entries", proof.hashes.len()))
    });
    [
        Check::of("leaf", of_leaf),
        Check::of("proof", led),
        Check::of("signature", signed(collector, found, proof)),
    ]
}

fn signed(collector: &Collector, found: &Found, proof: &ProofFile) -> Result<String, String> {
    let keys = collector.ledger_keys(&found.entry.tenant_id).map_err(|error| error.to_string())?;
    let keys = keys.ok_or("there is no public key of the ledger")?;
    keys.open(proof.checkpoint.to_string().as_bytes()).map_err(|error| error.to_string())?;
    Ok(format!("the checkpoint is signed by {}", keys.origin()))
}

fn tree_of(proof: &ProofFile) -> Option<Tree> {
    let checkpoint = Checkpoint::parse_body(proof.checkpoint.text()).ok()?;
    Some(Tree {
        origin: checkpoint.origin().to_owned(),
        size: checkpoint.size(),
        root: checkpoint.root().to_base64(),
        hashes: proof.hashes.len() as u64,
    })
}

/// The entries before and behind it are chained to it.
fn neighbours(collector: &Collector, found: &Found) -> Result<Result<String, String>, CollectorError> {
    let (seq, tenant) = (found.entry.seq, &found.entry.tenant_id);
    let (mut before, mut behind) = (None, None);
    let range = seq.saturating_sub(1)..seq.saturating_add(2);
    collector.view().visit_range(tenant, range, |bytes| {
        if let Ok(entry) = Entry::parse(bytes) {
            if entry.seq.checked_add(1) == Some(seq) {
                before = Some(leaf_hash(bytes));
            } else if entry.seq.checked_sub(1) == Some(seq) {
                behind = Some(entry.prev_hash);
            }
        }
        true
    })?;
    let expected = if seq == 0 { Some(Hash::ZERO) } else { before };
    if expected.is_none_or(|leaf| leaf.to_string() != found.entry.prev_hash) {
        return Ok(Err("it is not chained to the entry before it".to_owned()));
    }
    Ok(match behind {
        None => Ok("chained to the entry before it; it is the last".to_owned()),
        Some(hash) if hash == found.leaf_hash().to_string() => {
            Ok("chained to the entry before it, and the one behind to it".to_owned())
        }
        Some(_) => Err("the entry behind it is not chained to it".to_owned()),
    })
}

/// Which turn of its conversation it is.
fn turn(collector: &Collector, entry: &Entry) -> Option<Turn> {
    let session = Some(entry.session_id.clone()?);
    let tenant = Some(entry.tenant_id.clone());
    let query = Query { tenant, session, as_shown: true, ..Query::default() };
    let found = collector.list(&query, TURNS_MAX + 1).ok()?;
    let more = found.len() > TURNS_MAX;
    let of = found.len().min(TURNS_MAX) as u64;
    // Newest first.
    let newer = found.iter().take_while(|one| one.entry.seq > entry.seq).count() as u64;
    (newer < of).then(|| Turn { number: of - newer, of, more })
}
