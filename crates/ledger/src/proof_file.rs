//! A proof as one text that anybody can check offline (C2SP tlog-proof, `.tlog-proof`).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>                 optional; nobody vouches for it: here the bytes of the entry
//! index <number>
//! <hash, base64>                 inclusion proof, the leaf's sibling first
//!
//! <signed checkpoint, with the cosignatures that there are>
//! ```

use std::fmt;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::{Hash, leaf_hash};
use crate::note::{NOTE_MAX_BYTES, Note, NoteError};
use crate::proof::{ProofError, verify_inclusion};
use crate::text;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// The longest inclusion proof: of a leaf in 2⁶⁴−1.
const HASHES_MAX: usize = 64;
/// Longest text that is read: a note, the largest entry as base64, and the proof.
const TEXT_MAX_BYTES: usize = NOTE_MAX_BYTES + (1 << 17);

/// An entry's place in a signed tree.
///
/// `Display` gives the text, [`ProofFile::parse`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// Bytes that come along and that nothing vouches for.
    pub extra: Option<Vec<u8>>,
    /// The number of the entry.
    pub index: u64,
    /// The inclusion proof.
    pub hashes: Vec<Hash>,
    /// The checkpoint that it leads to, unverified.
    pub checkpoint: Note,
}

impl ProofFile {
    /// Reads the text of a proof. Nothing is verified by this.
    ///
    /// # Errors
    /// [`ProofFileError`] that names the line that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<ProofFile, ProofFileError> {
        if bytes.len() > TEXT_MAX_BYTES {
            return Err(ProofFileError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ProofFileError::Line("not UTF-8"))?;
        let (head, note) =
            text.split_once("\n\n").ok_or(ProofFileError::Line("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(ProofFileError::Line("the first line is not that of a tlog-proof"));
        }
        let mut line = lines.next();
        let extra = match line.and_then(|line| line.strip_prefix("extra ")) {
            Some(encoded) => {
                line = lines.next();
                Some(text::from_base64(encoded).ok_or(ProofFileError::Line("extra is not base64"))?)
            }
            None => None,
        };
        let index = line.and_then(|line| text::decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(ProofFileError::Line("no index"))?;
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() == HASHES_MAX {
                return Err(ProofFileError::Line("too many hashes"));
            }
            hashes.push(Hash::from_base64(line).map_err(|_| ProofFileError::Line("not a hash"))?);
        }
        Ok(ProofFile { extra, index, hashes, checkpoint: Note::parse(note.as_bytes())? })
    }

    /// Checks that `entry` has the place that the proof says, in the tree of its checkpoint. Who signed that is for
    /// the caller to check.
    ///
    /// # Errors
    /// [`ProofFileError::Checkpoint`] if the note is no checkpoint, [`ProofFileError::Proof`] if it is not shown.
    pub fn verify(&self, entry: &[u8]) -> Result<Checkpoint, ProofFileError> {
        let checkpoint = Checkpoint::parse_body(self.checkpoint.text())?;
        verify_inclusion(&self.hashes, self.index, checkpoint.size(), &leaf_hash(entry), &checkpoint.root())?;
        Ok(checkpoint)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", text::to_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Bytes are not a proof, or it does not show what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// Longer than any proof.
    #[error("the proof is too long")]
    TooLong,
    /// A line is not what has to stand there.
    #[error("{0}")]
    Line(&'static str),
    /// What follows the empty line is not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not lead from the entry to the checkpoint.
    #[error(transparent)]
    Proof(#[from] ProofError),
}
