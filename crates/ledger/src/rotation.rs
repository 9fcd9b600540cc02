//! The keys of a log over time: which one signs which sizes, and the statement with which one takes over from another.
//!
//! A log keeps its origin when its key changes. The entry that says so is followed by one checkpoint that both keys
//! sign, the handover; smaller sizes are the old key's, larger ones the new key's. A thief of a retired key can
//! therefore sign nothing newer than the handover, and what is older is pinned by witnesses and anchors.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::key::{KeyError, KeyKind, Signer, VerifierKey};
use crate::note::{Note, NoteError};
use crate::text;

/// Most keys of one log.
pub const KEYS_MAX: usize = 256;
/// First line of a rotation.
pub const ROTATION_LINE: &str = "indelible key rotation v1";
/// First line of a succession.
pub const SUCCESSION_LINE: &str = "indelible succession v1";

/// The keys of one log, oldest first. There is always one.
///
/// As text: a verifier key on each line; behind each but the first a space and the size of its handover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHistory {
    first: VerifierKey,
    /// Later keys, and the size that each shares with the one before it.
    later: Vec<(VerifierKey, u64)>,
}

impl KeyHistory {
    /// One key for all sizes.
    pub fn new(key: VerifierKey) -> KeyHistory {
        KeyHistory { first: key, later: Vec::new() }
    }

    /// Ends the reign of the newest key: it and `key` sign the checkpoint of `size`, `key` alone larger ones.
    ///
    /// # Errors
    /// [`KeyHistoryError`] if the key has another name or kind, was one of the log's before, or if the size is not beyond the
    /// last handover.
    pub fn hand_over(&mut self, key: VerifierKey, size: u64) -> Result<(), KeyHistoryError> {
        if key.name() != self.first.name() || key.kind() != KeyKind::Ed25519 {
            return Err(KeyHistoryError::Name);
        }
        if self.keys().any(|known| known.public_key() == key.public_key()) {
            return Err(KeyHistoryError::Again);
        }
        if size <= self.later.last().map_or(0, |(_, before)| *before) {
            return Err(KeyHistoryError::Size);
        }
        if self.later.len() + 1 >= KEYS_MAX {
            return Err(KeyHistoryError::TooMany);
        }
        self.later.push((key, size));
        Ok(())
    }

    /// The name of all of them.
    pub fn origin(&self) -> &str {
        self.first.name()
    }

    /// The key that signs now.
    pub fn newest(&self) -> &VerifierKey {
        self.later.last().map_or(&self.first, |(key, _)| key)
    }

    /// All keys, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        std::iter::once(&self.first).chain(self.later.iter().map(|(key, _)| key))
    }

    /// Each key with the first and the last size that it signs; `None` is without end.
    pub fn periods(&self) -> impl Iterator<Item = (&VerifierKey, u64, Option<u64>)> {
        let begins = std::iter::once(0).chain(self.later.iter().map(|(_, size)| *size));
        let ends = self.later.iter().map(|(_, size)| Some(*size)).chain(std::iter::once(None));
        self.keys().zip(begins).zip(ends).map(|((key, from), to)| (key, from, to))
    }

    /// The keys that may sign a checkpoint of this size: one, or at a handover two.
    pub fn at(&self, size: u64) -> Vec<VerifierKey> {
        self.periods()
            .filter(|(_, from, to)| *from <= size && to.is_none_or(|to| size <= to))
            .map(|(key, _, _)| key.clone())
            .collect()
    }

    /// The key that takes over at this size, if one does.
    pub fn handover_at(&self, size: u64) -> Option<&VerifierKey> {
        self.later.iter().find(|(_, at)| *at == size).map(|(key, _)| key)
    }

    /// Opens a checkpoint that a key in force at its size signed.
    ///
    /// # Errors
    /// As for [`Checkpoint::open`].
    pub fn open(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let claimed = Checkpoint::parse_body(Note::parse(note)?.text())?;
        Checkpoint::open(note, self.origin(), &self.at(claimed.size()))
    }
}

impl fmt::Display for KeyHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.first)?;
        self.later.iter().try_for_each(|(key, size)| writeln!(f, "{key} {size}"))
    }
}

impl FromStr for KeyHistory {
    type Err = KeyHistoryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text.lines();
        let first: VerifierKey = lines.next().unwrap_or_default().parse()?;
        if first.kind() != KeyKind::Ed25519 {
            return Err(KeyHistoryError::Name);
        }
        let mut this = KeyHistory::new(first);
        for line in lines {
            let (key, size) = line.rsplit_once(' ').ok_or(KeyHistoryError::Size)?;
            this.hand_over(key.parse()?, text::decimal(size).ok_or(KeyHistoryError::Size)?)?;
        }
        Ok(this)
    }
}

/// Keys are not those of one log in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyHistoryError {
    /// Another name, or the key of a witness.
    #[error("the keys of a log are Ed25519 keys with its origin as their name")]
    Name,
    /// A key comes back.
    #[error("this key was one of the log's before")]
    Again,
    /// The handover is missing, malformed, or not behind the last one.
    #[error("each handover is at a larger size than the one before it")]
    Size,
    /// Too many keys.
    #[error("a log has at most {KEYS_MAX} keys")]
    TooMany,
    /// Not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What the entry of a new key holds: old and new key and the size at which the one takes over from the other, signed by both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Entries up to and with the one that holds this: the checkpoint of this size is signed by both.
    pub size: u64,
    /// The key that goes.
    pub old: VerifierKey,
    /// The key that comes.
    pub new: VerifierKey,
}

impl Rotation {
    /// The text that both sign.
    pub fn text(&self) -> String {
        format!("{ROTATION_LINE}\n{}\n{}\n{}\n{}\n", self.old.name(), self.size, self.old, self.new)
    }

    /// Signs with both keys.
    ///
    /// # Errors
    /// [`RotationError`] if signing fails.
    pub fn sign(&self, old: &dyn Signer, new: &dyn Signer) -> Result<String, RotationError> {
        Ok(Note::sign(self.text(), &[old, new])?.to_string())
    }

    /// Reads a rotation that both of the keys in it signed. Whether the old one is the log's is for the caller to say.
    ///
    /// # Errors
    /// [`RotationError`] if it is malformed, or a signature is missing or wrong.
    pub fn open(note: &[u8]) -> Result<Rotation, RotationError> {
        let note = Note::parse(note)?;
        let lines: Vec<&str> = note.text().lines().collect();
        let [ROTATION_LINE, origin, size, old, new] = lines[..] else { return Err(RotationError::Form) };
        let size = text::decimal(size).filter(|size| *size > 0).ok_or(RotationError::Form)?;
        let this = Rotation { size, old: old.parse()?, new: new.parse()? };
        let of_the_log = |key: &VerifierKey| key.kind() == KeyKind::Ed25519 && key.name() == origin;
        if !of_the_log(&this.old)
            || !of_the_log(&this.new)
            || this.old == this.new
            || note.text() != this.text()
        {
            return Err(RotationError::Form);
        }
        both_signed(&note, &this.old, &this.new)?;
        Ok(this)
    }
}

/// What the first entry of a ledger holds that goes on where another one was lost: where that one ended, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// Origin of the ledger before.
    pub origin: String,
    /// How many entries of it are known to have existed.
    pub size: u64,
    /// Its root at that size.
    pub root: Hash,
    /// The first key of the new ledger.
    pub new: VerifierKey,
}

impl Succession {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let Succession { origin, size, root, new } = self;
        format!("{SUCCESSION_LINE}\n{origin}\n{size}\n{}\n{new}\n", root.to_base64())
    }

    /// Signs with the key of the new ledger, and with the old one's where that can still be trusted.
    ///
    /// # Errors
    /// [`RotationError`] if signing fails.
    pub fn sign(&self, old: Option<&dyn Signer>, new: &dyn Signer) -> Result<String, RotationError> {
        let signers: Vec<&dyn Signer> = old.into_iter().chain([new]).collect();
        Ok(Note::sign(self.text(), &signers)?.to_string())
    }

    /// Reads a succession that the new ledger's key signed, and says whether one of `old` did as well.
    ///
    /// # Errors
    /// [`RotationError`] if it is malformed, or a signature is missing or wrong.
    pub fn open(note: &[u8], old: &[VerifierKey]) -> Result<(Succession, bool), RotationError> {
        let note = Note::parse(note)?;
        let lines: Vec<&str> = note.text().lines().collect();
        let [SUCCESSION_LINE, origin, size, root, new] = lines[..] else { return Err(RotationError::Form) };
        let size = text::decimal(size).ok_or(RotationError::Form)?;
        let root = Hash::from_base64(root).map_err(|_| RotationError::Form)?;
        let this = Succession { origin: origin.to_owned(), size, root, new: new.parse()? };
        if this.new.name() == origin || this.new.kind() != KeyKind::Ed25519 || note.text() != this.text() {
            return Err(RotationError::Form);
        }
        note.verify(std::slice::from_ref(&this.new))?;
        let by_old = match note.verify(old) {
            Ok(verified) => verified.iter().any(|signature| signature.key.name() == origin),
            Err(NoteError::NoKnownSignature) => false,
            Err(error) => return Err(error.into()),
        };
        Ok((this, by_old))
    }
}

fn both_signed(note: &Note, old: &VerifierKey, new: &VerifierKey) -> Result<(), NoteError> {
    note.verify(std::slice::from_ref(old))?;
    note.verify(std::slice::from_ref(new)).map(drop)
}

/// A rotation or succession cannot be made, or is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Other lines than it has, or keys that cannot follow each other.
    #[error("not the statement of a change of keys")]
    Form,
    /// A key in it is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The note around it, or a signature.
    #[error(transparent)]
    Note(#[from] NoteError),
}
