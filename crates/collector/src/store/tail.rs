//! Entries of the log that stand in no segment yet, found again by their ids.
//!
//! Nothing of an entry is in memory but the hashes of its ids and where it stands: what seals bounds by size, and so
//! bounds this.

use indelible_os::durable::LogFile;
use indelible_record::Entry;
use indelible_segment::ids;
use std::sync::{Arc, PoisonError, RwLock};

/// A file of the log, held open.
pub struct WalFile {
    number: u64,
    file: Arc<dyn LogFile>,
    index: RwLock<Index>,
}

/// An entry of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailEntry {
    /// Offset of its frame.
    pub offset: u32,
    /// Which of [`Index::tenants`].
    tenant: u32,
    /// Its number in its ledger.
    pub seq: u64,
    /// The collector's time of it, in microseconds.
    pub at_us: i64,
}

#[derive(Default)]
struct Index {
    tenants: Vec<String>,
    entries: Vec<TailEntry>,
    hashes: Vec<u64>,
    /// For each hash, which entry.
    rows: Vec<u32>,
}

impl WalFile {
    /// A file in which nothing was noted yet.
    pub fn new(number: u64, file: Arc<dyn LogFile>) -> Self {
        Self { number, file, index: RwLock::default() }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The file itself.
    pub fn file(&self) -> &Arc<dyn LogFile> {
        &self.file
    }

    /// How far its last entry reaches, roughly: where that begins.
    pub fn written(&self) -> u64 {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.entries.last().map_or(0, |entry| entry.offset.into())
    }

    /// How many entries it has.
    pub fn count(&self) -> usize {
        self.index.read().unwrap_or_else(PoisonError::into_inner).entries.len()
    }

    /// No more will be noted: gives back memory that was held for more.
    pub fn set_closed(&self) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.entries.shrink_to_fit();
        index.hashes.shrink_to_fit();
        index.rows.shrink_to_fit();
    }

    /// Notes an entry whose frame stands at `offset`.
    pub fn note(&self, offset: u64, entry: &Entry) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let known = index.tenants.iter().position(|tenant| *tenant == entry.tenant_id);
        let tenant = known.unwrap_or_else(|| {
            index.tenants.push(entry.tenant_id.clone());
            index.tenants.len() - 1
        }) as u32;
        let row = index.entries.len() as u32;
        let at_us = entry.timestamp.parse::<indelible_os::clock::Utc>().map_or(0, |at| at.0);
        // Files are at most 128 MiB.
        index.entries.push(TailEntry { offset: offset as u32, tenant, seq: entry.seq, at_us });
        let index = &mut *index;
        ids::hashes(entry, |hash| {
            index.hashes.push(hash);
            index.rows.push(row);
        });
    }

    /// Entries of `tenant` (any, if none is named) from number `from(tenant)` on, oldest first.
    pub fn entries(&self, tenant: Option<&str>, from: impl Fn(&str) -> u64) -> Vec<TailEntry> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = index.wanted(tenant, from);
        index.entries.iter().filter(|entry| wanted[entry.tenant as usize] <= entry.seq).copied().collect()
    }

    /// Entries with one of these ids, oldest first; some may only have the same hash.
    pub fn entries_with(
        &self,
        hashes: &[u64],
        tenant: Option<&str>,
        from: impl Fn(&str) -> u64,
    ) -> Vec<TailEntry> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = index.wanted(tenant, from);
        let mut rows: Vec<u32> = index
            .hashes
            .iter()
            .zip(&index.rows)
            .filter(|(hash, _)| hashes.contains(hash))
            .map(|(_, row)| *row)
            .collect();
        rows.dedup();
        rows.into_iter()
            .map(|row| index.entries[row as usize])
            .filter(|entry| wanted[entry.tenant as usize] <= entry.seq)
            .collect()
    }

    /// Whether all its entries stand in segments, which have each ledger up to `sealed(tenant)`.
    pub fn is_sealed(&self, sealed: impl Fn(&str) -> u64) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let sealed: Vec<u64> = index.tenants.iter().map(|tenant| sealed(tenant)).collect();
        // Numbers of a ledger grow: its last entry in the file decides.
        index.entries.iter().rev().all(|entry| entry.seq < sealed[entry.tenant as usize])
    }

    /// Time of its oldest entry that stands in no segment yet.
    pub fn oldest_unsealed(&self, sealed: impl Fn(&str) -> u64) -> Option<i64> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let sealed: Vec<u64> = index.tenants.iter().map(|tenant| sealed(tenant)).collect();
        index.entries.iter().find(|entry| entry.seq >= sealed[entry.tenant as usize]).map(|entry| entry.at_us)
    }
}

impl Index {
    /// For each tenant, the number from which on its entries are wanted.
    fn wanted(&self, tenant: Option<&str>, from: impl Fn(&str) -> u64) -> Vec<u64> {
        let number = |name: &String| match tenant {
            Some(only) if only != name => u64::MAX,
            _ => from(name),
        };
        self.tenants.iter().map(number).collect()
    }
}
