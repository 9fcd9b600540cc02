//! What witnesses cosigned of each ledger, and how long it went on without them.
//!
//! The witnessed checkpoint is published beside the newest one, never in its place: a witness that is away holds up nothing.

use crate::proofs::Signed;
use crate::{Collector, CollectorError};
use indelible_ledger::{Checkpoint, Note};
use indelible_os::clock::{self, Utc};
use indelible_os::durable::{self, MODE_SHARED};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

const FILE: &str = "checkpoint.witnessed";

/// When each ledger was witnessed last, by this process.
#[derive(Default)]
pub(crate) struct Witnessed(Mutex<BTreeMap<String, Times>>);

struct Times {
    last: Utc,
    longest_us: i64,
}

/// How a ledger is witnessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnessing {
    /// Entries that the witnessed checkpoint covers.
    pub entries: u64,
    /// Signed entries that it does not cover.
    pub behind: u64,
    /// The longest time between two witnessed checkpoints, or since the last one, in microseconds; 0 before the first.
    pub longest_us: i64,
}

impl Collector {
    /// The newest checkpoint of a ledger that witnesses cosigned.
    pub fn witnessed(&self, tenant: &str) -> Option<Signed> {
        // Only ledgers that there are have a directory.
        self.checkpoint(tenant)?;
        let path = self.config().data.join("ledgers").join(tenant).join(FILE);
        let note = Note::parse(&std::fs::read(path).ok()?).ok()?;
        let checkpoint = Checkpoint::parse_body(note.text()).ok()?;
        Some(Signed { note, checkpoint })
    }

    /// Publishes a checkpoint with its cosignatures. Who cosigned, and whether they are enough, was checked.
    pub fn publish_witnessed(&self, tenant: &str, note: &Note) -> Result<(), CollectorError> {
        let path = self.config().data.join("ledgers").join(tenant).join(FILE);
        durable::replace(&path, note.to_string().as_bytes(), MODE_SHARED)
            .map_err(CollectorError::io(&path))?;
        let now = clock::now();
        let mut ledgers = self.witnessing().0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = ledgers.entry(tenant.to_owned()).or_insert(Times { last: now, longest_us: 0 });
        times.longest_us = times.longest_us.max(now.0 - times.last.0);
        times.last = now;
        Ok(())
    }

    /// How each ledger with a witnessed checkpoint stands.
    pub fn witnessing_of(&self) -> Vec<(String, Witnessing)> {
        let now = clock::now();
        let ledgers = self.witnessing().0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = self.signed_sizes().into_iter().filter_map(|(tenant, signed)| {
            let entries = self.witnessed(&tenant)?.checkpoint.size();
            let behind = signed.saturating_sub(entries);
            let longest_us = ledgers.get(&tenant).map_or(0, |times| {
                // Nothing new is not unwitnessed.
                let since = if behind > 0 { now.0 - times.last.0 } else { 0 };
                times.longest_us.max(since)
            });
            Some((tenant, Witnessing { entries, behind, longest_us }))
        });
        shown.collect()
    }
}
