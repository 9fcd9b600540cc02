//! What witnesses cosigned of each ledger, and how long it went on without them.
//!
//! The witnessed checkpoint is published beside the newest one, never in its place: a witness that is away holds up nothing.
//!
//! The file is not believed unread: it may have been altered, or be of another copy of the ledger. What the ledger's keys
//! did not sign, what lies beyond the ledger and what too few witnesses cosigned counts as nothing, and the next submission
//! replaces it.

use crate::proofs::Signed;
use crate::{Collector, CollectorError};
use indelible_ledger::note::NOTE_MAX_BYTES;
use indelible_ledger::{Note, Policy};
use indelible_os::clock::{self, Utc};
use indelible_os::durable::{self, MODE_SHARED};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

const FILE: &str = "checkpoint.witnessed";

/// When each ledger was witnessed last, by this process, and what was read of its file.
#[derive(Default)]
pub(crate) struct Witnessed {
    times: Mutex<BTreeMap<String, Times>>,
    /// Who must have cosigned, where that is known.
    policy: OnceLock<Policy>,
    read: Mutex<BTreeMap<String, Read>>,
}

/// A file as it was read last. It is asked for often, and changes seldom.
struct Read {
    bytes: Vec<u8>,
    /// `None`: it counts as nothing, and that was said.
    signed: Option<Signed>,
}

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
    /// From now on a witnessed checkpoint is one that a quorum of this policy cosigned. The first policy stays.
    pub fn expect_witnesses(&self, policy: Policy) {
        // A second one is that of the same configuration.
        let _ = self.witnessing().policy.set(policy);
    }

    /// The newest checkpoint of a ledger that witnesses cosigned.
    pub fn witnessed(&self, tenant: &str) -> Option<Signed> {
        // Only ledgers that there are have a directory.
        self.checkpoint(tenant)?;
        let mut bytes = Vec::new();
        let file = File::open(self.witnessed_path(tenant)).ok()?;
        file.take(NOTE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
        // After the file: what is here can only have grown since it was published.
        let here = self.signed(tenant).ok()?.checkpoint;
        let mut read = self.witnessing().read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.get(tenant).filter(|known| known.bytes == bytes);
        let signed = match known.map(|known| known.signed.clone()) {
            Some(Some(signed)) => Ok(signed),
            _ => self.open_witnessed(tenant, &bytes),
        };
        let signed = signed.and_then(|signed| match signed.checkpoint.size() <= here.size() {
            true => Ok(signed),
            false => Err(format!("it has {} entries, the ledger {}", signed.checkpoint.size(), here.size())),
        });
        if let Err(why) = &signed
            && known.is_none_or(|known| known.signed.is_some())
        {
            tracing::warn!(tenant, why, "{FILE} counts as nothing: the next submission replaces it");
        }
        let signed = signed.ok();
        read.insert(tenant.to_owned(), Read { bytes, signed: signed.clone() });
        signed
    }

    /// Opens what the file has, or says why it is nothing.
    fn open_witnessed(&self, tenant: &str, bytes: &[u8]) -> Result<Signed, String> {
        let keys = self.ledger_keys(tenant).map_err(|error| error.to_string())?;
        let keys = keys.ok_or("the ledger has no public key")?;
        let checkpoint = keys.open(bytes).map_err(|error| error.to_string())?;
        let note = Note::parse(bytes).map_err(|error| error.to_string())?;
        if let Some(policy) = self.witnessing().policy.get() {
            let cosigned = policy.cosigned(&note).map_err(|error| error.to_string())?;
            if !policy.is_satisfied_by(&cosigned) {
                return Err("the witnesses that cosigned it are no quorum of the policy".to_owned());
            }
        }
        Ok(Signed { note, checkpoint })
    }

    fn witnessed_path(&self, tenant: &str) -> PathBuf {
        self.config().data.join("ledgers").join(tenant).join(FILE)
    }

    /// Publishes a checkpoint with its cosignatures. Who cosigned, and whether they are enough, was checked.
    pub fn publish_witnessed(&self, tenant: &str, note: &Note) -> Result<(), CollectorError> {
        let path = self.witnessed_path(tenant);
        durable::replace(&path, note.to_string().as_bytes(), MODE_SHARED)
            .map_err(CollectorError::io(&path))?;
        let now = clock::now();
        let mut ledgers = self.witnessing().times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = ledgers.entry(tenant.to_owned()).or_insert(Times { last: now, longest_us: 0 });
        times.longest_us = times.longest_us.max(now.0 - times.last.0);
        times.last = now;
        Ok(())
    }

    /// How each ledger with a witnessed checkpoint stands.
    pub fn witnessing_of(&self) -> Vec<(String, Witnessing)> {
        let now = clock::now();
        let ledgers = self.witnessing().times.lock().unwrap_or_else(PoisonError::into_inner);
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
