//! Tests of the whole program: the real binary, real sockets, real files, real signals.
//!
//! Each module is named after what must not go wrong. Tests share nothing: each has its own directories
//! and ports.

// Tables of cases read better in place than behind a type.
#![allow(clippy::type_complexity, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod access;
mod anchors;
mod bad_input;
mod cheats;
mod common;
mod drill;
mod evidence;
mod export;
mod fencing;
mod filters;
mod images;
mod keys;
mod kill;
mod limits;
mod machines;
mod no_room;
mod places;
mod power;
mod prices;
mod proofs;
mod query;
mod read;
mod reading;
mod resume;
mod segments;
#[cfg(feature = "s3")]
mod store_s3;
mod successor;
mod tamper;
mod wire;
mod witness;
