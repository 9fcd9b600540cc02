//! The collector: takes frames from sources, makes entries of them, signs the ledger.
//!
//! It is the only party that writes a ledger, and the only one that decides what enters an entry. The way
//! of a frame through this crate:
//!
//! * [`receive`]: a batch from a source is parsed, checked and decrypted, whole or not at all
//! * [`sequencer`]: one thread gives every event its place; commits; signs
//! * [`draft`]: what a source reported becomes an entry without personal data
//! * [`pricing`]: what a call costs, by the rules that the configuration names
//! * [`state`]: what the WAL adds up to; recovery and normal running share one `apply`
//! * [`head`], [`checkpoint`]: the commit point, and what is signed there
//! * [`claim`]: what others show that was signed, held against what is here before more is
//! * [`seal`]: closed files of the log become segments
//! * [`store`]: segments and log, as one
//! * [`hindrances`]: what of the keys keeps a collector from starting, seen without starting one
//! * [`repair`]: what is made of other files, made again
//! * `upload`: segments go to a bucket, and the oldest leave this machine
//! * [`query`], [`read`], [`parts`]: looking records up again, and opening their payloads
//! * [`reading`]: records, sessions and agent runs as people read them
//! * [`drill`]: an inference picked at random, put together again and checked
//! * [`export`]: what is taken away, oldest first
//! * [`tiles`], [`proofs`]: the tree of a ledger, and what it shows of an entry, of entries, and of an older tree
//! * [`witnessed`]: what witnesses cosigned, and how long the ledger went on without
//! * [`entries`]: the exact bytes of a ledger's entries, in order
//! * [`successor`]: a new ledger that says which one it goes on from, where records or head are gone
//! * `predecessors`: who acknowledged what before
//! * [`data_dir`]: the directory all of it lives in

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod claim;
pub mod data_dir;
pub mod draft;
pub mod drill;
pub mod entries;
pub mod export;
pub mod head;
pub mod hindrances;
mod pace;
pub mod parts;
pub mod pricing;
pub mod proofs;
pub mod query;
pub mod read;
pub mod reading;
pub mod receive;
pub mod repair;
pub mod seal;
pub mod sequencer;
pub mod state;
pub mod store;
pub mod successor;
pub mod tiles;
pub mod view;
pub mod witnessed;

mod collector;
mod error;
mod predecessors;
mod recover;
mod tiers;
#[cfg(feature = "s3")]
mod upload;

pub use collector::{Collector, Config};
pub use error::CollectorError;
pub use query::Query;
pub use receive::BatchError;
pub use sequencer::Rotated;
