//! Records of a ledger from a number on, oldest first: for what goes through all of them.
//!
//! What is wanted by id is looked up; what is wanted by model or type is looked for in those columns first, and
//! segments of other days are passed over. Memory is one batch of rows, whatever the ledger's size.

use super::{BLOCK_ROWS, Found, Place, Reader, candidates, found, parse};
use crate::CollectorError;
use crate::parts::Parts;
use crate::query::Wanted;
use crate::store::segment::Segment;
use indelible_spool::wal::{Record, Ref};
use std::collections::HashSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// What going forward comes upon.
pub enum Ahead {
    /// A record that is wanted.
    Record(Box<Found>),
    /// Nothing that is wanted stands before this number.
    At(u64),
}

type Visit<'v> = dyn FnMut(Ahead) -> Result<ControlFlow<()>, CollectorError> + 'v;

impl Reader<'_> {
    /// Hands the records of `tenant` that are wanted, with a number within `range`, to `visit`, oldest first, until it
    /// breaks off. In between it is told how far it is.
    pub(crate) fn forward(
        &self,
        wanted: &Wanted,
        tenant: &str,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, CollectorError> {
        let mut walk = Walk { wanted, tenant, range, visit };
        let hashes = wanted.hashes(tenant);
        let may_have: Option<HashSet<u64>> = hashes.as_ref().map(|hashes| {
            let all = self.view.segments(tenant).iter().collect();
            self.view.may_have(all, hashes).iter().map(|segment| segment.manifest().first).collect()
        });
        for segment in self.view.segments(tenant) {
            let manifest = segment.manifest();
            let end = manifest.end().unwrap_or(manifest.first);
            if end <= walk.range.start || manifest.first >= walk.range.end {
                continue;
            }
            if wanted.overlaps(manifest)
                && may_have.as_ref().is_none_or(|some| some.contains(&manifest.first))
            {
                let flow = match &hashes {
                    Some(hashes) => walk.rows(segment, hashes)?,
                    None => walk.segment(segment)?,
                };
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            if (walk.visit)(Ahead::At(end.min(walk.range.end)))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.forward_in_log(&mut walk, hashes.as_deref())
    }

    fn forward_in_log(
        &self,
        walk: &mut Walk<'_, '_>,
        hashes: Option<&[u64]>,
    ) -> Result<ControlFlow<()>, CollectorError> {
        let from = self.view.sealed(walk.tenant).max(walk.range.start);
        let mut log = Parts::new(self.view.clone(), self.vault);
        for file in self.view.files() {
            let entries = match hashes {
                Some(hashes) => file.entries_with(hashes, Some(walk.tenant), |_| from),
                None => file.entries(Some(walk.tenant), |_| from),
            };
            for entry in entries {
                if entry.seq >= walk.range.end {
                    return Ok(ControlFlow::Continue(()));
                }
                if !walk.wanted.accepts_time(entry.at_us) {
                    continue;
                }
                let at = Ref { file_no: file.number(), offset: entry.offset.into() };
                let one = match log.record(at)? {
                    Some(Record::Entry { event_id, refs, entry, .. }) => {
                        found(event_id, entry, Place::Log { at, refs })?
                    }
                    _ => {
                        let what = format!("entry {} of ledger {} cannot be read", entry.seq, walk.tenant);
                        return Err(CollectorError::Refused(format!("{what}: run indelible verify")));
                    }
                };
                if walk.take(one)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

struct Walk<'a, 'v> {
    wanted: &'a Wanted,
    tenant: &'a str,
    range: Range<u64>,
    visit: &'a mut Visit<'v>,
}

impl Walk<'_, '_> {
    fn take(&mut self, found: Found) -> Result<ControlFlow<()>, CollectorError> {
        let wanted = self.range.contains(&found.entry.seq)
            && self.wanted.accepts(&found.event_id, &found.entry.tenant_id, &found.entry);
        if wanted { (self.visit)(Ahead::Record(Box::new(found))) } else { Ok(ControlFlow::Continue(())) }
    }

    fn take_row(
        &mut self,
        segment: &Arc<Segment>,
        row: u64,
        bytes: Vec<u8>,
    ) -> Result<ControlFlow<()>, CollectorError> {
        let entry: indelible_record::Entry = parse(&bytes)?;
        let event_id = entry.event_id.parse().unwrap_or_default();
        self.take(Found { entry, bytes, event_id, place: Place::Segment { segment: segment.clone(), row } })
    }

    /// Rows of a segment that have one of these ids.
    fn rows(&mut self, segment: &Arc<Segment>, hashes: &[u64]) -> Result<ControlFlow<()>, CollectorError> {
        for row in segment.rows_with(hashes)? {
            // The range is looked at before the row is read.
            let inside = self.range.contains(&(segment.manifest().first + row));
            if inside && self.take_row(segment, row, segment.entry(row)?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Rows of a segment, a batch at a time, and no batch in which nothing can be wanted.
    fn segment(&mut self, segment: &Arc<Segment>) -> Result<ControlFlow<()>, CollectorError> {
        let first = segment.manifest().first;
        let from = self.range.start.saturating_sub(first);
        let to = self.range.end - first;
        let entries = segment.entries()?;
        for (group, rows) in entries.groups() {
            if rows.end <= from || rows.start >= to {
                continue;
            }
            let may = candidates(segment, &entries, group, &rows, self.wanted, self.tenant)?;
            let mut block = rows.start;
            while block < rows.end.min(to) {
                let end = (block + BLOCK_ROWS).min(rows.end);
                let within = |row: u64| (row - rows.start) as usize;
                let wanted = &may[within(block)..within(end)];
                let mut read = Vec::new();
                if end > from && wanted.contains(&true) {
                    segment.visit_from(block.max(from), |row, bytes| {
                        if row < end && may[within(row)] {
                            read.push((row, bytes.to_vec()));
                        }
                        Ok(row + 1 < end)
                    })?;
                }
                for (row, bytes) in read {
                    if self.take_row(segment, row, bytes)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                if (self.visit)(Ahead::At(first + end.min(to)))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                block = end;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
