//! What a log and a witness say to each other (C2SP tlog-witness, `add-checkpoint`), and what a witness must check.
//!
//! ```text
//! old <size>
//! <hash, base64>        consistency proof from the old size, at most 63
//!
//! <signed checkpoint>
//! ```
//!
//! The answer to it is signature lines. No I/O: that nothing is answered before it is on disk is for the server to see to.

use std::fmt;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::note::{NOTE_MAX_BYTES, Note, NoteError, NoteSignature};
use crate::proof::verify_consistency;
use crate::text;

/// The most hashes in a request.
pub const PROOF_MAX_HASHES: usize = 63;
/// The longest request that is read.
pub const REQUEST_MAX_BYTES: usize = NOTE_MAX_BYTES + (1 << 12);
/// The type of an answer that says which size was cosigned last.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// A checkpoint submitted to a witness. `Display` is the body of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is believed to have cosigned last.
    pub old_size: u64,
    /// That the tree of the checkpoint begins with the one of that size.
    pub proof: Vec<Hash>,
    /// The checkpoint, unverified.
    pub checkpoint: Note,
}

impl AddCheckpoint {
    /// Reads the body of a request. Nothing is verified by this.
    ///
    /// # Errors
    /// [`Refusal::Form`] with what is wrong.
    pub fn parse(body: &[u8]) -> Result<AddCheckpoint, Refusal> {
        if body.len() > REQUEST_MAX_BYTES {
            return Err(Refusal::Form("the request is too long"));
        }
        let text = std::str::from_utf8(body).map_err(|_| Refusal::Form("the request is not UTF-8"))?;
        let (head, note) =
            text.split_once("\n\n").ok_or(Refusal::Form("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| text::decimal(line.strip_prefix("old ")?));
        let old_size = old_size.ok_or(Refusal::Form("the first line is not: old <size>"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == PROOF_MAX_HASHES {
                return Err(Refusal::Form("more than 63 hashes"));
            }
            proof.push(Hash::from_base64(line).map_err(|_| Refusal::Form("not a hash"))?);
        }
        let checkpoint = Note::parse(note.as_bytes()).map_err(|_| Refusal::Form("not a signed note"))?;
        Ok(AddCheckpoint { old_size, proof, checkpoint })
    }

    /// The origin that the checkpoint names, to look up what is known of that log. Nobody vouches for it.
    pub fn origin(&self) -> &str {
        self.checkpoint.text().split('\n').next().unwrap_or_default()
    }

    /// Everything that a witness checks before it cosigns, in the order of the specification. `keys` are those that it
    /// trusts for the log, `seen` the checkpoint that it cosigned last.
    ///
    /// # Errors
    /// [`Refusal`], of which [`Refusal::status`] is the answer.
    pub fn check(
        &self,
        origin: &str,
        keys: &[VerifierKey],
        seen: Option<(u64, Hash)>,
    ) -> Result<Checkpoint, Refusal> {
        let checkpoint = match Checkpoint::open(self.checkpoint.to_string().as_bytes(), origin, keys) {
            Ok(checkpoint) => checkpoint,
            Err(
                CheckpointError::Note(NoteError::BadSignature { .. } | NoteError::NoKnownSignature)
                | CheckpointError::NotTheLog,
            ) => {
                return Err(Refusal::Signature);
            }
            // The tree without leaves has one root.
            Err(CheckpointError::EmptyRoot) => return Err(Refusal::Proof),
            Err(_) => return Err(Refusal::Form("not a checkpoint")),
        };
        if self.old_size > checkpoint.size() {
            return Err(Refusal::Form("the old size is beyond the checkpoint's"));
        }
        let (seen_size, seen_root) = seen.unwrap_or((0, Hash::EMPTY_ROOT));
        if self.old_size != seen_size {
            return Err(Refusal::Conflict { size: seen_size });
        }
        let root = checkpoint.root();
        verify_consistency(&self.proof, seen_size, checkpoint.size(), &seen_root, &root)
            .map_err(|_| Refusal::Proof)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Reads a witness's answer: the lines of the keys given that verify over the checkpoint; others are left out.
///
/// # Errors
/// [`NoteError`] if it is not lines of signatures, one of a given key does not verify, or none is of a given key.
pub fn cosignatures(
    checkpoint: &Note,
    answer: &[u8],
    keys: &[VerifierKey],
) -> Result<Vec<NoteSignature>, NoteError> {
    let note = [checkpoint.text().as_bytes(), b"\n", answer].concat();
    let note = Note::parse(&note)?;
    // The answer is taken for lines and nothing else: with an empty line in it, it would change the text.
    if note.text() != checkpoint.text() {
        return Err(NoteError::SignatureParts);
    }
    let verified = note.verify(keys)?;
    Ok(verified.into_iter().map(|one| one.signature.clone()).collect())
}

/// A witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is not one.
    #[error("{0}")]
    Form(&'static str),
    /// The log is not known here.
    #[error("this witness does not know the log")]
    Unknown,
    /// No key that is trusted for the log signed, or the signature of one does not verify.
    #[error("the checkpoint is not signed by a key of the log")]
    Signature,
    /// Another size was cosigned last.
    #[error("the checkpoint cosigned last has {size} entries")]
    Conflict {
        /// Which.
        size: u64,
    },
    /// It is not shown that the checkpoint extends the one cosigned last.
    #[error("it is not shown that the checkpoint extends the one that was cosigned last")]
    Proof,
}

impl Refusal {
    /// The HTTP status that says so.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Form(_) => 400,
            Refusal::Signature => 403,
            Refusal::Unknown => 404,
            Refusal::Conflict { .. } => 409,
            Refusal::Proof => 422,
        }
    }
}
