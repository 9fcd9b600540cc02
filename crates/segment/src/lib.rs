//! The segment: an immutable, self-describing directory with a run of a ledger's entries and their payloads.
//!
//! ```text
//! tenant=T/date=D/FIRST/entries.parquet    one row for each entry: typed columns, and the exact bytes
//!                       payload.frames     encrypted payloads, a conversation beside itself
//!                       ids.idx            from an id to rows
//!                       segment.json       numbers, tree, and the hashes of the other three
//! ```
//!
//! * [`columns`]: what of an entry has a column; the SQL engine reads the same table
//! * [`entries`], [`payload`], [`ids`], [`manifest`]: the four files, each written and read
//! * [`filter`]: which of a day's segments may have an id, made of their `ids.idx`
//! * [`verified`]: bytes that are held against their hashes when they are read
//!
//! No keys, no clock and no directories: encryption is the caller's, and where files lie is the caller's, too.
//! `docs/formats/segment.md` draws the bytes.

#![forbid(unsafe_code)]

pub mod columns;
pub mod entries;
pub mod filter;
pub mod ids;
pub mod manifest;
pub mod payload;
pub mod read_at;
mod varint;
pub mod verified;

pub use manifest::Manifest;
pub use read_at::{LocalFile, ReadAt, State};
pub use verified::{Checks, Verified};
