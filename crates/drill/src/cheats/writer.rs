//! What somebody can do who may write the files and has no key: everything fits but the signatures.

use super::{Cheat, Here, dated_back, edited, made_up};
use crate::Trouble;
use crate::log::{self, Body, seq_of, with_entry, with_payload_of};
use crate::outside::{self, us};
use crate::report::{Caught, Who};
use crate::rows::{self, RowOf};
use crate::stage::{Changed, start};
use indelible_collector::CollectorError;
use indelible_spool::frame::Kind;
use indelible_spool::wal::Record;
use std::path::Path;
use std::time::Instant;

/// Draws until two records with a payload are found.
const DRAWS_MAX: usize = 64;

impl Here<'_> {
    pub(super) fn by_writer(&mut self) -> Result<(), Trouble> {
        match self.cheat {
            Cheat::Edit | Cheat::Delete | Cheat::Reorder | Cheat::Insert | Cheat::Backdate => {
                self.in_log()?;
                self.in_segment()
            }
            Cheat::SwapPayloads => {
                self.swap_in_log()?;
                self.swap_in_segment()
            }
            Cheat::Truncate => self.truncate(),
            Cheat::Rollback => self.roll_back_records(),
            Cheat::ForgeProof => self.edit_proof(),
            // They need a signature.
            Cheat::Fork | Cheat::NewKey | Cheat::Replay => Ok(()),
        }
    }

    /// What becomes of an entry, by how far it stands behind the one that is cheated with.
    fn become_of(&self, bytes: &[u8], offset: Option<u64>) -> Result<Vec<Vec<u8>>, Trouble> {
        Ok(match (self.cheat, offset) {
            (Cheat::Edit, Some(0)) => vec![edited(bytes)?],
            (Cheat::Backdate, Some(0)) => vec![dated_back(bytes)?],
            (Cheat::Delete, Some(0)) => Vec::new(),
            (Cheat::Insert, Some(0)) => vec![bytes.to_vec(), made_up(bytes)?],
            _ => vec![bytes.to_vec()],
        })
    }

    fn in_log(&mut self) -> Result<(), Trouble> {
        let Some(seq) = self.stage.in_log() else {
            self.leave_out(Who::Writer, "the log has no entries that are not sealed");
            return Ok(());
        };
        let tenant = self.stage.tenant.clone();
        let (path, _) = log::find(&self.stage.copy.data, &tenant, seq)?;
        let mut failed = None;
        let mut held: Option<Vec<u8>> = None;
        let bytes = log::rewritten(&path, |kind, body| {
            let offset = seq_of(kind, body, &tenant).and_then(|found| found.checked_sub(seq));
            let whole = vec![(kind, body.to_vec())];
            if self.cheat == Cheat::Reorder {
                return match offset {
                    Some(0) => {
                        held = Some(body.to_vec());
                        Vec::new()
                    }
                    Some(1) => {
                        [whole, held.take().map(|body| (Kind::Entry, body)).into_iter().collect()].concat()
                    }
                    _ => whole,
                };
            }
            let (Some(0), Some(Record::Entry { entry, .. })) = (offset, Record::parse(kind, body)) else {
                return whole;
            };
            match self.become_of(entry, offset) {
                Ok(entries) => entries.iter().flat_map(|entry| with_entry(body, entry)).collect(),
                Err(error) => {
                    failed = Some(error);
                    whole
                }
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        if held.is_some() {
            self.leave_out(Who::Writer, "the two entries stand in two files of the log");
            return Ok(());
        }
        self.replaced(&path, &bytes, format!("entry {seq}, in the log"))
    }

    /// Puts the bytes in a file's place, verifies, and puts it back.
    fn replaced(&mut self, path: &Path, bytes: &[u8], place: String) -> Result<(), Trouble> {
        let mut changed = Changed::begin(&self.stage.dir)?;
        changed.replace(path, bytes)?;
        let caught = outside::verify(&self.stage.copy)?;
        changed.undo()?;
        self.row(Who::Writer, place, None, caught.into_iter().collect());
        Ok(())
    }

    fn in_segment(&mut self) -> Result<(), Trouble> {
        let Some((seq, path)) = self.stage.in_segment() else {
            self.leave_out(Who::Writer, "no segment has two entries");
            return Ok(());
        };
        let first = self.first_of(&path);
        let mut failed = None;
        let mut held: Option<RowOf> = None;
        let done = self.segment_rewritten(&path, |here, row, (bytes, place)| {
            let offset = (first + row).checked_sub(seq);
            match (here.cheat, offset) {
                (Cheat::Reorder, Some(0)) => {
                    held = Some((bytes, place));
                    Vec::new()
                }
                (Cheat::Reorder, Some(1)) => {
                    [Some((bytes, place)), held.take()].into_iter().flatten().collect()
                }
                _ => match here.become_of(&bytes, offset) {
                    Ok(entries) => entries.into_iter().map(|bytes| (bytes, place)).collect(),
                    Err(error) => {
                        failed = Some(error);
                        vec![(bytes, place)]
                    }
                },
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        self.row(Who::Writer, format!("entry {seq}, in a segment"), None, done);
        Ok(())
    }

    fn first_of(&self, path: &Path) -> u64 {
        self.stage.sealed.iter().find(|sealed| sealed.path == path).map_or(0, |sealed| sealed.entries.start)
    }

    /// Puts other rows in a segment's place, its manifest fitted to them, verifies, and puts it back.
    fn segment_rewritten(
        &mut self,
        path: &Path,
        mut edit: impl FnMut(&Self, u64, RowOf) -> Vec<RowOf>,
    ) -> Result<Vec<Caught>, Trouble> {
        let made = self.stage.forged_dir()?;
        rows::rewrite(path, &made, |row, of| edit(self, row, of))?;
        let mut changed = Changed::begin(&self.stage.dir)?;
        for name in ["entries.parquet", "segment.json"] {
            changed.put(&path.join(name), &made.join(name))?;
        }
        let caught = outside::verify(&self.stage.copy)?;
        changed.undo()?;
        Ok(caught.into_iter().collect())
    }

    fn swap_in_log(&mut self) -> Result<(), Trouble> {
        let tenant = self.stage.tenant.clone();
        for _ in 0..DRAWS_MAX {
            let Some(seq) = self.stage.in_log() else { break };
            let (path, body) = log::find(&self.stage.copy.data, &tenant, seq)?;
            let mut other: Option<Body> = None;
            log::rewritten(&path, |kind, found| {
                if other.is_none()
                    && seq_of(kind, found, &tenant).is_some_and(|n| n != seq)
                    && has_part(kind, found)
                {
                    other = Some((kind, found.to_vec()));
                }
                Vec::new()
            })?;
            let Some((kind, other)) = other.filter(|_| has_part(Kind::Entry, &body)) else { continue };
            let with = seq_of(kind, &other, &tenant).unwrap_or(0);
            let bytes = log::rewritten(&path, |kind, found| match seq_of(kind, found, &tenant) {
                Some(n) if n == seq => with_payload_of(found, &other),
                Some(n) if n == with => with_payload_of(found, &body),
                _ => vec![(kind, found.to_vec())],
            })?;
            return self.replaced(&path, &bytes, format!("of entries {seq} and {with}, in the log"));
        }
        self.leave_out(Who::Writer, "the log has no two entries with a payload");
        Ok(())
    }

    fn swap_in_segment(&mut self) -> Result<(), Trouble> {
        for _ in 0..DRAWS_MAX {
            let Some((seq, path)) = self.stage.in_segment() else { break };
            let row = seq - self.first_of(&path);
            let places = [rows::place(&path, row)?, rows::place(&path, row + 1)?];
            let [Some(a), Some(b)] = places else { continue };
            let done = self.segment_rewritten(&path, |_, at, (bytes, place)| {
                let place = if at == row {
                    Some(b)
                } else if at == row + 1 {
                    Some(a)
                } else {
                    place
                };
                vec![(bytes, place)]
            })?;
            self.row(Who::Writer, format!("of entries {seq} and {}, in a segment", seq + 1), None, done);
            return Ok(());
        }
        self.leave_out(Who::Writer, "no segment has two entries in a row with a payload");
        Ok(())
    }

    /// Cuts the log behind a checkpoint frame, as if it had been closed there.
    fn truncate(&mut self) -> Result<(), Trouble> {
        let Some(seq) = self.stage.in_log() else {
            self.leave_out(Who::Writer, "the log has no entries that are not sealed");
            return Ok(());
        };
        let tenant = self.stage.tenant.clone();
        let (path, _) = log::find(&self.stage.copy.data, &tenant, seq)?;
        // The last checkpoint before the entry.
        let (mut frames, mut keep, mut reached) = (0usize, 0usize, false);
        log::rewritten(&path, |kind, body| {
            frames += 1;
            reached |= seq_of(kind, body, &tenant) == Some(seq);
            if kind == Kind::Checkpoint && !reached {
                keep = frames;
            }
            Vec::new()
        })?;
        let mut at = 0usize;
        let bytes = log::rewritten(&path, |kind, body| {
            at += 1;
            match at.cmp(&(keep + 1)) {
                std::cmp::Ordering::Less => vec![(kind, body.to_vec())],
                std::cmp::Ordering::Equal => vec![(Kind::Close, Vec::new())],
                std::cmp::Ordering::Greater => Vec::new(),
            }
        })?;
        let mut changed = Changed::begin(&self.stage.dir)?;
        let later = log::files(&self.stage.copy.data)?.into_iter().filter(|file| *file > path);
        for file in later {
            changed.remove(&file)?;
        }
        changed.replace(&path, &bytes)?;
        let caught = outside::verify(&self.stage.copy)?;
        changed.undo()?;
        let done = format!("the log from before entry {seq} on");
        self.row(Who::Writer, done, None, caught.into_iter().collect());
        Ok(())
    }

    /// Records of an earlier moment beside the keys of now.
    fn roll_back_records(&mut self) -> Result<(), Trouble> {
        let (size, mut at) = self.older_copy()?;
        at.keys.clone_from(&self.stage.copy.keys);
        let mut caught: Vec<Caught> = outside::verify(&at)?.into_iter().collect();
        let begun = Instant::now();
        match start(&at) {
            Ok(collector) => collector.stop()?,
            Err(Trouble::Collector(CollectorError::Refused(what))) => {
                caught.push(Caught { by: "start (exit 4)".to_owned(), outside: false, us: us(begun), what });
            }
            Err(error) => return Err(error),
        }
        self.row(Who::Writer, format!("the records of when there were {size} entries"), None, caught);
        Ok(())
    }

    fn edit_proof(&mut self) -> Result<(), Trouble> {
        let mut proof = self.stage.proof.clone();
        let entry = edited(proof.extra.as_deref().unwrap_or_default())?;
        let done = format!("of entry {}: the entry in it was edited", proof.index);
        proof.extra = Some(entry.clone());
        let begun = Instant::now();
        let caught = proof.verify(&entry).err().map(|error| Caught {
            by: "proof --check".to_owned(),
            outside: false,
            us: us(begun),
            what: error.to_string(),
        });
        self.row(Who::Writer, done, None, caught.into_iter().collect());
        Ok(())
    }
}

fn has_part(kind: Kind, body: &[u8]) -> bool {
    matches!(Record::parse(kind, body), Some(Record::Entry { part, .. }) if !part.is_empty())
}
