//! A tenant's ledger at one moment, as the SQL engine reads it.
//!
//! Segments as they were when the question came, and of the log what stood in none of them then, up to its newest entry:
//! whoever reads twice reads the same.

use bytes::Bytes;
use indelible_collector::store::View;
use indelible_collector::{Collector, CollectorError};
use indelible_os::clock::Utc;
use indelible_query::{Records, Segment};
use indelible_record::entry::Entry;
use indelible_segment::columns::Row;
use indelible_segment::manifest::ENTRIES;
use indelible_segment::{ReadAt, State};
use indelible_verify::directory::OPERATIONS;
use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

const DAY_US: i64 = 86_400_000_000;

/// One tenant's records, and no other's.
pub(crate) struct Ledger {
    collector: Arc<Collector>,
    tenant: String,
    /// Its segments, and the log.
    view: Arc<View>,
    /// The newest entry of the log that belongs to it. `None`: all entries stand in segments.
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
        let view = collector.view();
        let newest_seq = view.newest_logged(&tenant);
        Ok(Self { collector, tenant, view, newest_seq })
    }

    /// Whose it is.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }
}

impl Records for Ledger {
    fn segments(&self) -> Vec<Segment> {
        self.view.segments(&self.tenant).iter().map(|segment| shown(segment)).collect()
    }

    fn may_have(&self, segments: &[Segment], hashes: &[u64]) -> Vec<bool> {
        let names: HashSet<&str> = segments.iter().map(|one| one.name.as_str()).collect();
        let asked = self.view.segments(&self.tenant).iter().filter(|one| names.contains(one.path()));
        let may = self.view.may_have_indexed(asked.collect(), hashes);
        let may: HashSet<&str> = may.iter().map(|one| one.path()).collect();
        segments.iter().map(|one| may.contains(one.name.as_str())).collect()
    }

    fn tail(&self, row: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let Some(newest_seq) = self.newest_seq else { return Ok(()) };
        let mut unreadable = None;
        let read = self.view.visit_logged(&self.tenant, newest_seq, |bytes| {
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
            row(Row { entry: &entry, bytes, payload: None }).is_continue()
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

/// A segment as the engine sees it. All its entries are of one UTC day: that holds, whatever was done to the clock.
fn shown(segment: &indelible_collector::store::segment::Segment) -> Segment {
    let manifest = segment.manifest();
    let first_time_us = manifest.date.parse::<Utc>().map_or(i64::MIN, |start| start.0);
    Segment {
        name: segment.path().to_owned(),
        first_seq: manifest.first,
        count: manifest.count,
        first_time_us,
        last_time_us: first_time_us.saturating_add(DAY_US - 1),
        entries: segment.file(ENTRIES).unwrap_or_else(|error| {
            let size = manifest.files.get(ENTRIES).map_or(0, |facts| facts.bytes);
            Arc::new(Unreadable { size, what: format!("{}: {error}", segment.path()) })
        }),
    }
}

/// A file that cannot be opened: whoever reads it is told why.
struct Unreadable {
    size: u64,
    what: String,
}

impl ReadAt for Unreadable {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_of(&self, _: u64, _: usize) -> io::Result<(Bytes, State)> {
        Err(io::Error::other(self.what.clone()))
    }
}
