//! The segment: an immutable, self-describing directory with a run of a ledger's entries.

#![forbid(unsafe_code)]

pub mod columns;
pub mod read_at;

pub use read_at::ReadAt;
