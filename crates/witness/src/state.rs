//! What a witness remembers, and the decision to cosign.
//!
//! ```text
//! DIR/witness.seed     32 secret bytes (0600)
//! DIR/witness.vkey     the public half, under the witness's name
//! DIR/heads            "indelible witness heads v1 N", then for each of N logs the checkpoint that was cosigned last:
//!                      its length in decimal, a line end, the note
//! ```
//!
//! Seed and heads are made together, once. A directory that has one without the other lost its memory, and so did one
//! whose heads are empty or break off: the first line says how many there are. A witness without memory would cosign a
//! second history: it does not start.

use indelible_ledger::note::NOTE_MAX_BYTES;
use indelible_ledger::witness::{AddCheckpoint, Refusal};
use indelible_ledger::{Checkpoint, Cosigner, Hash, Note, NoteError, Policy, VerifierKey};
use indelible_os::durable::{self, MODE_SECRET, MODE_SHARED};
use indelible_os::lock::DirLock;
use indelible_os::{clock, random};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

const MICROSECONDS: i64 = 1_000_000;
/// How the file of heads begins; their number follows.
const HEADS_LINE: &str = "indelible witness heads v1 ";

/// A witness with its key, its memory, and the logs that it knows.
pub struct Witness {
    heads_path: PathBuf,
    cosigner: Cosigner,
    policy: Policy,
    /// By origin: what was cosigned last. `None` once it is not known any more what stands on disk.
    heads: Mutex<Option<BTreeMap<String, Head>>>,
    _lock: DirLock,
}

#[derive(Clone)]
struct Head {
    size: u64,
    root: Hash,
    note: String,
}

/// Why a witness cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A file could not be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No key can have this name.
    #[error("a witness cannot be called {0:?}")]
    Name(String),
    /// Another witness runs on the directory.
    #[error("{} is in use by another witness", .0.display())]
    Held(PathBuf),
}

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum NotCosigned {
    /// It may not be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be: what stands on disk is not known, and only a restart tells.
    #[error("the witness cannot keep what it cosigns: {0}")]
    Disk(String),
    /// The signature could not be made.
    #[error(transparent)]
    Sign(#[from] NoteError),
}

impl Witness {
    /// Opens the directory, or makes it where there is none. `policy` names the logs and their keys.
    ///
    /// # Errors
    /// [`WitnessError`] if the directory is that of another witness, or not whole.
    pub fn open(dir: &Path, name: &str, policy: Policy) -> Result<Self, WitnessError> {
        let io_at = |path: &Path| {
            let path = path.to_owned();
            move |source| WitnessError::Io { path, source }
        };
        durable::make_dir(dir).map_err(io_at(dir))?;
        let lock = DirLock::try_acquire(dir).map_err(io_at(dir))?;
        let lock = lock.ok_or_else(|| WitnessError::Held(dir.to_owned()))?;
        let [seed_path, vkey_path, heads_path] =
            ["witness.seed", "witness.vkey", "heads"].map(|name| dir.join(name));
        // Of a seed of 32 bytes, only the name can be unfit.
        let no_name = || WitnessError::Name(name.to_owned());
        let damaged =
            |path: &Path, what: &str| WitnessError::Damaged { path: path.to_owned(), what: what.to_owned() };
        if !seed_path.exists() && !heads_path.exists() {
            let seed = Zeroizing::new(random::bytes::<32>().map_err(io_at(&seed_path))?);
            let cosigner = Cosigner::from_seed(name, &seed).map_err(|_| no_name())?;
            let line = format!("{}\n", cosigner.verifier_key());
            durable::replace(&vkey_path, line.as_bytes(), MODE_SHARED).map_err(io_at(&vkey_path))?;
            // The memory first: a seed without it is refused.
            durable::create(&heads_path, &to_bytes(&BTreeMap::new()), MODE_SHARED)
                .map_err(io_at(&heads_path))?;
            durable::create(&seed_path, &*seed, MODE_SECRET).map_err(io_at(&seed_path))?;
        }
        let seed = Zeroizing::new(std::fs::read(&seed_path).map_err(io_at(&seed_path))?);
        let seed: Zeroizing<[u8; 32]> = match seed.as_slice().try_into() {
            Ok(seed) => Zeroizing::new(seed),
            Err(_) => return Err(damaged(&seed_path, "expected 32 bytes")),
        };
        let cosigner = Cosigner::from_seed(name, &seed).map_err(|_| no_name())?;
        let public = std::fs::read_to_string(&vkey_path).map_err(io_at(&vkey_path))?;
        if public.trim_end() != cosigner.verifier_key().to_string() {
            return Err(damaged(&vkey_path, "the key of another witness, or under another name"));
        }
        let heads = std::fs::read(&heads_path).map_err(io_at(&heads_path))?;
        let heads =
            parse_heads(&heads, cosigner.verifier_key()).map_err(|what| damaged(&heads_path, &what))?;
        Ok(Self { heads_path, cosigner, policy, heads: Mutex::new(Some(heads)), _lock: lock })
    }

    /// The public key, for policies.
    pub fn verifier_key(&self) -> &VerifierKey {
        self.cosigner.verifier_key()
    }

    /// The logs that it knows, and the size that was cosigned last of each.
    pub fn logs(&self) -> Vec<(String, u64)> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let size =
            |origin: &str| heads.as_ref().and_then(|heads| heads.get(origin)).map_or(0, |head| head.size);
        let mut logs: Vec<_> =
            self.policy.logs().map(|(key, _)| (key.name().to_owned(), size(key.name()))).collect();
        logs.dedup();
        logs
    }

    /// The checkpoint that was cosigned last of the log whose origin has this SHA-256, in hex.
    pub fn cosigned(&self, origin_hash: &str) -> Option<String> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let found = heads.as_ref()?.iter().find(|(origin, _)| hash_of(origin) == origin_hash);
        found.map(|(_, head)| head.note.clone())
    }

    /// Cosigns a submitted checkpoint if it may be. What is answered with a signature is on disk. Blocks.
    ///
    /// # Errors
    /// [`NotCosigned::Refused`] with the status to answer; [`NotCosigned::Disk`] once writing has failed, from then on
    /// always.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, NotCosigned> {
        let request = AddCheckpoint::parse(body)?;
        let origin = request.origin().to_owned();
        if !self.policy.logs().any(|(key, _)| key.name() == origin) {
            return Err(Refusal::Unknown.into());
        }
        // None, where the policy's keys may not sign this size: then it is not signed by the log.
        let size = Checkpoint::parse_body(request.checkpoint.text()).map_or(0, |claimed| claimed.size());
        let keys = self.policy.log_keys(&origin, size);
        // Checked and kept in one step: of two at once the second sees what the first has kept.
        let mut guard = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let heads = guard.as_mut().ok_or_else(|| NotCosigned::Disk("it failed before".to_owned()))?;
        let seen = heads.get(&origin).map(|head| (head.size, head.root));
        let checkpoint = request.check(&origin, &keys, seen)?;
        let seconds = u64::try_from(clock::now().0 / MICROSECONDS).unwrap_or(0);
        let line = self.cosigner.cosign(request.checkpoint.text(), seconds)?;
        let log = request.checkpoint.verify(&keys)?.into_iter().map(|one| one.signature.clone());
        let note = Note::new(request.checkpoint.text().to_owned(), log.chain([line.clone()]).collect())?;
        let head = Head { size: checkpoint.size(), root: checkpoint.root(), note: note.to_string() };
        heads.insert(origin, head);
        let kept = durable::replace(&self.heads_path, &to_bytes(heads), MODE_SHARED);
        if let Err(error) = kept {
            // The old heads or the new ones: nobody can say.
            *guard = None;
            return Err(NotCosigned::Disk(error.to_string()));
        }
        Ok(format!("{line}\n"))
    }
}

fn hash_of(origin: &str) -> String {
    Sha256::digest(origin).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn to_bytes(heads: &BTreeMap<String, Head>) -> Vec<u8> {
    let mut text = format!("{HEADS_LINE}{}\n", heads.len());
    for head in heads.values() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}\n{}", head.note.len(), head.note);
    }
    text.into_bytes()
}

/// Reads the heads back. Each must carry this witness's own signature: nobody else wrote them.
fn parse_heads(bytes: &[u8], own: &VerifierKey) -> Result<BTreeMap<String, Head>, String> {
    let mut heads = BTreeMap::new();
    let (first, mut bytes) = line(bytes).ok_or("it has no first line: what was cosigned is forgotten")?;
    let count = first.strip_prefix(HEADS_LINE).and_then(|count| count.parse::<usize>().ok());
    let count = count.ok_or("it does not begin as heads do: what was cosigned is forgotten")?;
    while !bytes.is_empty() {
        let (length, rest) = line(bytes).ok_or("a length without an end")?;
        let length = length.parse().ok().filter(|length| *length <= NOTE_MAX_BYTES);
        let length: usize = length.ok_or("a length that is none")?;
        let (note, rest) = rest.split_at_checked(length).ok_or("it breaks off")?;
        bytes = rest;
        let parsed = Note::parse(note).map_err(|error| error.to_string())?;
        parsed.verify(std::slice::from_ref(own)).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::parse_body(parsed.text()).map_err(|error| error.to_string())?;
        let head = Head { size: checkpoint.size(), root: checkpoint.root(), note: parsed.to_string() };
        if heads.insert(checkpoint.origin().to_owned(), head).is_some() {
            return Err("two heads of one log".to_owned());
        }
    }
    match heads.len() == count {
        true => Ok(heads),
        false => Err(format!("{} heads of {count}: the others are forgotten", heads.len())),
    }
}

/// The first line without its end, and what follows.
fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end + 1)?;
    Some((std::str::from_utf8(line).ok()?.strip_suffix('\n')?, rest))
}

#[cfg(test)]
mod tests;
