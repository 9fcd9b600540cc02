//! What a ledger signed goes to parties outside, so that nobody who holds the collector can take it back.
//!
//! * [`witnesses`]: submits checkpoints to witnesses, and keeps what they cosigned
//! * [`anchors`], [`syslog`], [`directory`]: takes them to timestamp authorities, syslog servers, directories and other servers
//! * [`http`]: calling them, bounded in time and size
//!
//! A party that does not answer never stops the collector. One that can show another history does: a checkpoint that
//! this ledger's own key signed and that this ledger does not have.

#![forbid(unsafe_code)]

pub mod anchors;
pub mod directory;
pub mod http;
mod shown;
pub mod syslog;
pub mod witnesses;
