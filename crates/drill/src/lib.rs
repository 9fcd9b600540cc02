//! Cheats on a copy of a ledger, and which check catches each.
//!
//! * [`copy`]: records and keys of one moment, beside the original
//! * [`stage`]: the copy, where in it is cheated, and putting back what was changed
//! * [`log`], [`rows`]: altering files as anyone can who may write them
//! * [`forge`]: another history, signed with the real key
//! * [`outside`]: what somebody else kept before the cheat, and what it shows
//! * [`cheats`]: each cheat, and the check that it is held against
//!
//! The original is only read. No check is made for these cheats: they are those of `verify`, of a collector's start, of
//! proofs, of witnesses and of whoever opens a payload.

#![forbid(unsafe_code)]

pub mod cheats;
pub mod copy;
pub mod forge;
pub mod log;
pub mod outside;
pub mod report;
pub mod rows;
pub mod stage;

pub use cheats::{Cheat, run};
pub use report::{Caught, Report, Row, Who};
pub use stage::{Stage, Wish};

use indelible_collector::CollectorError;
use indelible_collector::proofs::NoProof;
use indelible_spool::LogError;
use indelible_vault::VaultError;
use std::io;
use std::path::PathBuf;

/// Why a drill cannot be run: nothing is said of the ledger by it.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A file could not be used.
    #[error("{}: {_1}", _0.display())]
    Io(PathBuf, #[source] io::Error),
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The keys could not be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A collector could not be run on the copy.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// Something could not be proven on the copy.
    #[error(transparent)]
    Proof(#[from] NoProof),
    /// A segment could not be read or written.
    #[error(transparent)]
    Rows(#[from] parquet::errors::ParquetError),
    /// What is in a file cannot be worked with.
    #[error("{0}")]
    Form(String),
    /// The copy does not verify before anything was done to it.
    #[error("the copy does not verify before any cheat: {0}")]
    Broken(String),
    /// The ledger is too short to be cheated in.
    #[error("ledger {tenant} has {entries} entries: a drill needs {needed}")]
    Short {
        /// Whose.
        tenant: String,
        /// How many it has.
        entries: u64,
        /// How many it needs.
        needed: u64,
    },
    /// There is no ledger.
    #[error("there is no ledger with entries")]
    NoLedger,
}
