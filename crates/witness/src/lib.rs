//! A witness: it cosigns the checkpoints of logs that it knows, as long as each extends the one before (C2SP
//! tlog-witness). Whoever sees its cosignature knows that nobody was shown another history up to that size.
//!
//! * [`state`]: what it cosigned last of each log, on disk before anybody hears of it
//! * [`server`]: the HTTP interface
//!
//! It runs apart from the logs, by somebody else: it needs a policy with their keys, and a directory.

#![forbid(unsafe_code)]

pub mod server;
pub mod state;

pub use state::{Witness, WitnessError};
