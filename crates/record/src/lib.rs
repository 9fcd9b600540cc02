//! What Indelible records: events, entries, payloads, and the bytes they are made of.
//!
//! An *event* is what a source reports ([`event`]). The collector turns it into an *entry* ([`entry`]):
//! one line of canonical JSON ([`canonical`]) that holds no personal data ([`identity`]) and commits to
//! what was said without revealing it ([`commitment`]). What was said is the *payload* ([`payload`]),
//! which can be erased; the entry cannot.
//!
//! Nothing here does I/O, reads a clock or draws randomness.

#![forbid(unsafe_code)]

pub mod canonical;
pub mod commitment;
pub mod entry;
pub mod event;
pub mod identity;
#[cfg(feature = "payload")]
pub mod payload;
pub mod shipping;
pub mod view;

pub use commitment::{Commitment, Committer};
pub use entry::Entry;
pub use view::EntryView;
