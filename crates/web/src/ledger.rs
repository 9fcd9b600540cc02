//! A tenant's ledger at one moment, as the SQL engine reads it.
//!
//! Entries are read from the log, up to the one that was the newest when the question came: whoever reads twice reads
//! the same.

use indelible_collector::{Collector, CollectorError};
use indelible_query::{Records, Segment};
use indelible_record::entry::Entry;
use indelible_segment::columns::Row;
use indelible_verify::directory::OPERATIONS;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// One tenant's records, and no other's.
pub(crate) struct Ledger {
    collector: Arc<Collector>,
    tenant: String,
    /// The newest entry that belongs to it. `None`: there is none.
    newest_seq: Option<u64>,
}

impl Ledger {
    /// The ledger as it is now. `None` for the tenant means the only one there is, or `default`. Blocks.
    pub(crate) fn now(collector: Arc<Collector>, tenant: Option<&str>) -> Result<Self, CollectorError> {
        let known = &collector.config().tenants;
        let tenant = match (tenant, known.as_slice()) {
            (Some(tenant), _) => tenant.to_owned(),
            (None, [only]) => only.clone(),
            (None, _) => "default".to_owned(),
        };
        if tenant != OPERATIONS && !known.contains(&tenant) {
            return Err(CollectorError::UnknownTenant(tenant));
        }
        let newest = collector.reader().newest(1, |_, owner, _| owner == tenant)?;
        let newest_seq = newest.first().map(|found| found.entry.seq);
        Ok(Self { collector, tenant, newest_seq })
    }

    /// Whose it is.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }
}

impl Records for Ledger {
    fn segments(&self) -> Vec<Segment> {
        Vec::new()
    }

    fn tail(&self, row: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let Some(newest_seq) = self.newest_seq else { return Ok(()) };
        let mut unreadable = None;
        let read = self.collector.reader().entries(|tenant, bytes| {
            if tenant != self.tenant {
                return true;
            }
            // Entries in the log are canonical: recovery and the sequencer see to that. Only their fields are needed.
            let (entry, bytes) = match (serde_json::from_slice::<Entry>(bytes), std::str::from_utf8(bytes)) {
                (Ok(entry), Ok(bytes)) => (entry, bytes),
                (Err(error), _) => {
                    unreadable = Some(error.to_string());
                    return false;
                }
                (_, Err(error)) => {
                    unreadable = Some(error.to_string());
                    return false;
                }
            };
            let last = entry.seq >= newest_seq;
            row(Row { entry: &entry, bytes, payload: None }).is_continue() && !last
        });
        read.map_err(io::Error::other)?;
        unreadable.map_or(Ok(()), |why| Err(io::Error::other(format!("a malformed entry: {why}"))))
    }

    fn subject(&self, user: &str) -> io::Result<Option<String>> {
        self.collector.subject(&self.tenant, user).map_err(io::Error::other)
    }

    fn shown(&self, text: &str) -> io::Result<String> {
        Ok(self.collector.shown(&self.tenant, text))
    }
}
