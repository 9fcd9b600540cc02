//! Checks what was recorded, without trusting who recorded it.
//!
//! * [`ledger`]: entries one by one against chain, tree and signed checkpoints. Needs the entries and a
//!   public key, nothing else.
//! * [`succession`]: what a ledger says of the one that it goes on from
//! * [`timestamp`]: what an RFC 3161 response says.
//! * [`text`]: text of others, fit for a terminal.
//! * [`evidence`]: a bundle of records with their proofs, as an auditor gets it.
//! * `directory` (feature): a whole data directory, file by file, byte by byte.
//!
//! Nothing here writes, locks or needs a secret. Findings name the place and what is wrong there, and
//! keep three verdicts apart: it holds, it is broken, it could not be told.

#![forbid(unsafe_code)]

pub mod date;
#[cfg(feature = "directory")]
pub mod directory;
pub mod evidence;
pub mod ledger;
pub mod succession;
pub mod text;
pub mod timestamp;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything that was looked at holds.
    Holds,
    /// Something could not be read or judged.
    Unsure,
    /// Something is not what was signed.
    Broken,
}

impl Verdict {
    /// Exit code: 0 holds, 1 broken, 2 could not tell.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Holds => 0,
            Self::Broken => 1,
            Self::Unsure => 2,
        }
    }

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Unsure => "could not tell",
            Self::Broken => "broken",
        }
    }
}
