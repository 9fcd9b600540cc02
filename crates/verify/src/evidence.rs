//! An evidence bundle: records, with everything that shows them to be the recorded ones.
//!
//! `docs/formats/evidence.md` is the contract: which files, which checks in which order, and what is said at the end. The
//! first check that fails decides. Trust comes from the policy that the auditor brings; without one only inner
//! consistency is checked, and the report says so.
//!
//! * `archive`: the one form of zip that is read
//! * `members`: which files there are, in which order
//! * `content`, `lines`: entries, openings and the statements about them
//! * `salts`: what payloads are hashed behind, ahead of that
//!
//! Nothing is unpacked, and what is held in memory does not grow with the payloads.

mod archive;
mod content;
mod lines;
mod members;
mod salts;

use crate::date::rfc3339;
use crate::timestamp;
use archive::Archive;
use content::{Contents, Scope, Selection};
use indelible_ledger::note::{NOTE_MAX_BYTES, Note};
use indelible_ledger::rotation::KEYS_MAX;
use indelible_ledger::{Checkpoint, CheckpointError, KeyKind, NoteError, Policy, VerifierKey};
use members::Members;
use serde_json::json;
use std::fmt;
use std::io::{self, Read, Seek};

pub use content::FORMAT;
pub use members::ORDER as MEMBERS;

/// Most bytes of a file that is read whole.
const SMALL_MAX_BYTES: u64 = 1 << 20;

/// What is checked, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The file is a bundle's zip, with a bundle's members.
    Zip,
    /// The manifest names each member with the hash of its bytes.
    Manifest,
    /// The scope is well formed.
    Scope,
    /// The checkpoint is one, of the ledger in the scope.
    Checkpoint,
    /// Keys of the log signed checkpoint and manifest.
    Signature,
    /// The policy's witnesses cosigned.
    Quorum,
    /// The entries are well formed, and the ones that the scope says.
    Entries,
    /// Neighbours are linked.
    Chain,
    /// The entries lead to the checkpoint's root.
    Proof,
    /// The payloads are what the entries commit to.
    Payload,
    /// Counts and statements agree with what is there.
    Counts,
    /// Timestamps are over the checkpoint.
    Timestamp,
}

impl Check {
    /// The name that reports have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Manifest => "manifest",
            Self::Scope => "scope",
            Self::Checkpoint => "checkpoint",
            Self::Signature => "signature",
            Self::Quorum => "quorum",
            Self::Entries => "entries",
            Self::Chain => "chain",
            Self::Proof => "proof",
            Self::Payload => "payload",
            Self::Counts => "counts",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Why a bundle is not accepted.
#[derive(Debug)]
pub enum Fault {
    /// A check failed.
    Broken(Check, String),
    /// The file could not be read.
    Unreadable(io::Error),
}

impl Fault {
    fn broken(check: Check, what: impl fmt::Display) -> Self {
        Self::Broken(check, what.to_string())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// What a bundle that holds shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Name of the log.
    pub origin: String,
    /// Whose ledger.
    pub tenant: String,
    /// Size of the signed tree.
    pub size: u64,
    /// When that was, by the producer's statement.
    pub as_of: String,
    /// The entries that are here without a hole, where that is shown.
    pub range: Option<(u64, u64)>,
    /// Gaps that entries here state.
    pub gaps: u64,
    /// How many there are of each.
    pub counts: Counts,
    /// Whether a policy was brought and accepted the signatures.
    pub identity_checked: bool,
    /// When a quorum of the policy had cosigned, in seconds since 1970; none if the policy asks for none.
    pub cosigned: Option<u64>,
    /// Times of the timestamps, whose signatures are not checked here.
    pub tokens: Vec<String>,
}

impl Shown {
    /// The verdict as `docs/formats/evidence.md` has it, "Verdict".
    pub fn to_json(&self) -> serde_json::Value {
        let (from, to) = self.range.map_or((None, None), |(from, to)| (Some(from), Some(to)));
        let counts = self.counts;
        json!({
            "check": null,
            "completeness": {
                "as_of": self.as_of, "from": from, "gaps": self.gaps, "proven": self.range.is_some(),
                "size": self.size, "to": to,
            },
            "counts": {
                "disclosed": counts.disclosed, "entries": counts.entries, "erased": counts.erased, "withheld": counts.withheld,
            },
            "identity": if self.identity_checked { "checked" } else { "not checked" },
            "integrity": "holds",
            "time": { "cosigned": self.cosigned.map(rfc3339), "tokens": self.tokens },
            "what": null,
        })
    }
}

/// How many entries, and what is here of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries.
    pub entries: u64,
    /// With their payload.
    pub disclosed: u64,
    /// Without it.
    pub withheld: u64,
    /// Whose keys were destroyed.
    pub erased: u64,
}

/// Checks a bundle.
///
/// # Errors
/// [`Fault::Broken`] with the first check that failed; [`Fault::Unreadable`] if the file could not be read.
pub fn check(file: impl Read + Seek, policy: Option<&Policy>) -> Result<Shown, Fault> {
    let mut archive = Archive::open(file)?;
    let members = Members::of(archive.names()).map_err(|what| Fault::Broken(Check::Zip, what))?;
    archive.hash_all()?;
    let manifest = check_manifest(&mut archive)?;
    let scope = Scope::parse(&archive.small("scope.json", Check::Scope)?)
        .map_err(|what| Fault::Broken(Check::Scope, what))?;
    let note = archive.whole("checkpoint", NOTE_MAX_BYTES as u64, Check::Checkpoint)?;
    let checkpoint = check_checkpoint(&note, &scope)?;
    check_signatures(&mut archive, &note, &checkpoint, &manifest, policy)?;
    let cosigned = check_quorum(&note, policy)?;
    let contents = Contents::check(&mut archive, &scope, &checkpoint, &members)?;
    let as_of = contents.check_statements(&mut archive, &scope, &checkpoint)?;
    let tokens = check_timestamps(&mut archive, &note, &members)?;
    Ok(Shown {
        origin: scope.ledger.origin.clone(),
        tenant: scope.ledger.tenant.clone(),
        size: checkpoint.size(),
        as_of,
        range: match scope.selection {
            Selection::Range { from, to } => Some((from, to)),
            Selection::Ids { .. } | Selection::Query { .. } => None,
        },
        gaps: contents.gaps(),
        counts: contents.counts(),
        identity_checked: policy.is_some(),
        cosigned,
        tokens,
    })
}

/// The manifest names every other member, in order, with its hash.
fn check_manifest<F: Read + Seek>(archive: &mut Archive<F>) -> Result<Note, Fault> {
    let broken = |what: String| Fault::Broken(Check::Manifest, what);
    let bytes =
        archive.whole(members::MANIFEST, indelible_ledger::note::LIST_MAX_BYTES as u64, Check::Manifest)?;
    let note = Note::parse_list(&bytes).map_err(|error| broken(error.to_string()))?;
    if note.signatures().len() != 1 {
        return Err(broken("the manifest has more than one signature".to_owned()));
    }
    let mut lines = note.text().split_terminator('\n');
    for member in archive.members().filter(|member| member.name != members::MANIFEST) {
        let expected = format!("{}  {}", indelible_record::commitment::to_hex(&member.sha256), member.name);
        if lines.next() != Some(&expected) {
            return Err(broken(format!("{} is not what the manifest says", member.name)));
        }
    }
    match lines.next() {
        None => Ok(note),
        Some(line) => Err(broken(format!("the manifest names something that is not here: {line:.100}"))),
    }
}

fn check_checkpoint(note: &[u8], scope: &Scope) -> Result<Checkpoint, Fault> {
    let broken = |what: String| Fault::Broken(Check::Checkpoint, what);
    let note = Note::parse(note).map_err(|error| broken(error.to_string()))?;
    let checkpoint = Checkpoint::parse_body(note.text()).map_err(|error| broken(error.to_string()))?;
    if checkpoint.origin() != scope.ledger.origin {
        return Err(broken(format!("the checkpoint is that of {}", checkpoint.origin())));
    }
    if checkpoint.size() == 0 {
        return Err(broken("the checkpoint covers no entry".to_owned()));
    }
    Ok(checkpoint)
}

/// The checkpoint is signed by a key of the log that may sign its size, and the manifest by one that was not retired before.
/// They need not be the same: after a change of keys the old one is destroyed, and the new one signs what is made of old records.
fn check_signatures<F: Read + Seek>(
    archive: &mut Archive<F>,
    note: &[u8],
    checkpoint: &Checkpoint,
    manifest: &Note,
    policy: Option<&Policy>,
) -> Result<(), Fault> {
    let broken = |what: String| Fault::Broken(Check::Signature, what);
    let (origin, size) = (checkpoint.origin(), checkpoint.size());
    let (of_checkpoint, of_manifest) = match policy {
        Some(policy) => (policy.log_keys(origin, size), policy.manifest_keys(origin, size)),
        None => {
            let keys = claimed_keys(&archive.small("keys.txt", Check::Signature)?, origin).map_err(broken)?;
            let newest = keys.last().cloned().into_iter().collect();
            (keys, newest)
        }
    };
    if of_checkpoint.is_empty() {
        return Err(broken(format!("the policy has no key of {origin} for a tree of this size")));
    }
    match Checkpoint::open(note, origin, &of_checkpoint) {
        Ok(_) => {}
        Err(CheckpointError::Note(NoteError::NoKnownSignature)) => {
            return Err(broken("the checkpoint is not signed by the log's key".to_owned()));
        }
        Err(error) => return Err(broken(format!("checkpoint: {error}"))),
    }
    match manifest.verify(&of_manifest) {
        Ok(_) => Ok(()),
        Err(NoteError::NoKnownSignature) => {
            Err(broken("the manifest is not signed by a key of the log that is this recent".to_owned()))
        }
        Err(error) => Err(broken(format!("manifest: {error}"))),
    }
}

/// The keys that the bundle itself names, newest last; at least one.
fn claimed_keys(bytes: &[u8], origin: &str) -> Result<Vec<VerifierKey>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "keys.txt is not UTF-8")?;
    let lines = text.strip_suffix('\n').ok_or("keys.txt does not end in a line")?;
    let mut keys = Vec::new();
    for line in lines.split('\n') {
        if keys.len() == KEYS_MAX {
            return Err(format!("keys.txt has more than {KEYS_MAX} keys"));
        }
        let key: VerifierKey = line.parse().map_err(|error| format!("keys.txt: {error}"))?;
        if key.kind() != KeyKind::Ed25519 || key.name() != origin {
            return Err("keys.txt has a key that is not the log's".to_owned());
        }
        keys.push(key);
    }
    Ok(keys)
}

fn check_quorum(note: &[u8], policy: Option<&Policy>) -> Result<Option<u64>, Fault> {
    let broken = |what: String| Fault::Broken(Check::Quorum, what);
    let Some(policy) = policy else { return Ok(None) };
    let note = Note::parse(note).map_err(|error| broken(error.to_string()))?;
    let cosigned = policy.cosigned(&note).map_err(|error| broken(error.to_string()))?;
    if !policy.is_satisfied_by(&cosigned) {
        return Err(broken(format!(
            "{} witnesses of the policy cosigned: that is no quorum",
            cosigned.len()
        )));
    }
    Ok(policy.time_of(&cosigned))
}

fn check_timestamps<F: Read + Seek>(
    archive: &mut Archive<F>,
    note: &[u8],
    members: &Members,
) -> Result<Vec<String>, Fault> {
    let mut times = Vec::new();
    for number in 0..members.timestamps {
        let response = archive.small(&format!("timestamps/{number}.tsr"), Check::Timestamp)?;
        let time = timestamp::time_over(&response, note)
            .map_err(|what| Fault::Broken(Check::Timestamp, format!("timestamps/{number}.tsr: {what}")))?;
        times.push(time);
    }
    Ok(times)
}
