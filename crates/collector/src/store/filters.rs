//! Filters of days that are over: which segments a look-up by id can leave out without opening their indexes.
//!
//! ```text
//! DIR/cache/filters/TENANT/DATE.N        over a run of the day's segments, `indelible_segment::filter`
//! ```
//!
//! All of it is made of the segments' `ids.idx` and may be deleted at any time: a segment that no filter knows is looked at. So is
//! one whose filter cannot be read.

use super::View;
use super::local::PathFile;
use super::segment::{Day, Segment};
use indelible_ledger::Hash;
use indelible_segment::filter::{self, Filter, SEGMENTS_MAX};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Fewer segments in a day are looked at one by one.
pub const SEGMENTS_MIN: usize = 8;
/// Most ids of a filter, about: 16 bits each are in memory while it is made. An entry has at most eight.
const IDS_MAX: u64 = 1 << 24;
const IDS_PER_ENTRY: u64 = 8;
/// However few ids a segment has, its bits are this share of those of the largest beside it.
const SMALLEST_SHARE: u64 = 16;

/// The filters of a data directory.
#[derive(Default)]
pub struct Filters {
    /// `None`: there are none.
    dir: Option<PathBuf>,
    /// By ledger and date, those of one day. `None`: there are none that can be read.
    days: Mutex<HashMap<Day, Option<Arc<Vec<Filter>>>>>,
    /// Days whose filters could not be made: not tried again by this process.
    failed: Mutex<HashSet<Day>>,
}

impl Filters {
    /// The filters of a data directory.
    pub fn new(data: &Path) -> Self {
        Self { dir: Some(filters_dir(data)), ..Self::default() }
    }

    /// Those of these segments of one ledger that may have one of the ids, by their hashes, in the same order.
    pub fn may_have<'a>(&self, segments: Vec<&'a Arc<Segment>>, hashes: &[u64]) -> Vec<&'a Arc<Segment>> {
        let mut without: HashSet<Hash> = HashSet::new();
        for some in segments.chunk_by(|a, b| a.day() == b.day()) {
            let Some(day) = some.first().map(|segment| segment.day()).filter(|_| some.len() >= SEGMENTS_MIN)
            else {
                continue;
            };
            for filter in self.of(day).iter().flat_map(|filters| filters.iter()) {
                match filter.without(hashes) {
                    Ok(none) => without.extend(none),
                    Err(error) => {
                        tracing::warn!(day = day.date, %error, "a filter cannot be read: it is made again");
                        self.forget(day);
                    }
                }
            }
        }
        segments.into_iter().filter(|segment| !without.contains(&segment.hash())).collect()
    }

    /// Makes the filters of one day that is over, before `today`, and has none for its segments as they are now. Answers whether
    /// there was one. Reads the indexes of those segments whole.
    pub fn make_next(&self, view: &View, today: &str) -> io::Result<bool> {
        let Some(dir) = &self.dir else { return Ok(false) };
        let mut days: BTreeMap<&Day, Vec<&Arc<Segment>>> = BTreeMap::new();
        view.all_segments().for_each(|segment| days.entry(segment.day()).or_default().push(segment));
        for (day, segments) in days {
            let failed = || self.failed.lock().unwrap_or_else(PoisonError::into_inner).contains(day);
            if segments.len() < SEGMENTS_MIN || day.date.as_str() >= today || failed() {
                continue;
            }
            let known = self
                .of(day)
                .map(|filters| filters.iter().flat_map(|filter| filter.segments()).collect::<HashSet<_>>());
            let complete =
                |known: HashSet<Hash>| segments.iter().all(|segment| known.contains(&segment.hash()));
            if !known.is_some_and(complete) {
                let made = self.make(&dir.join(&day.tenant), day, &segments);
                if made.is_err() {
                    self.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(day.clone());
                }
                return made.map(|()| true);
            }
        }
        Ok(false)
    }

    fn make(&self, dir: &Path, day: &Day, segments: &[&Arc<Segment>]) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        self.forget(day);
        for (number, some) in runs(segments).into_iter().enumerate() {
            let mut sizes = Vec::new();
            for segment in some {
                let mut ids = 0;
                segment.visit_ids(&mut |_| ids += 1)?;
                sizes.push((segment.hash(), ids));
            }
            // Not synced, nor whole at once: what there is of it is held against its checksums, and made again.
            let mut out = BufWriter::new(std::fs::File::create(path(dir, &day.date, number))?);
            filter::write(&sizes, |at, put| some.get(at).map_or(Ok(()), |one| one.visit_ids(put)), &mut out)?;
            out.flush()?;
        }
        self.days().remove(day);
        Ok(())
    }

    fn of(&self, day: &Day) -> Option<Arc<Vec<Filter>>> {
        let mut days = self.days();
        if let Some(known) = days.get(day) {
            return known.clone();
        }
        let read = self.read(day).unwrap_or_else(|error| {
            tracing::warn!(day = day.date, %error, "a filter cannot be read: it is made again");
            None
        });
        let read = read.map(Arc::new);
        days.insert(day.clone(), read.clone());
        read
    }

    fn read(&self, day: &Day) -> io::Result<Option<Vec<Filter>>> {
        let Some(dir) = self.dir.as_ref().map(|dir| dir.join(&day.tenant)) else { return Ok(None) };
        let mut filters = Vec::new();
        loop {
            match PathFile::new(path(&dir, &day.date, filters.len())) {
                Ok(file) => filters.push(Filter::open(Arc::new(file))?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        Ok((!filters.is_empty()).then_some(filters))
    }

    /// Removes those of a day.
    fn forget(&self, day: &Day) {
        let mut days = self.days();
        if let Some(dir) = self.dir.as_ref().map(|dir| dir.join(&day.tenant)) {
            let mut number = 0;
            while std::fs::remove_file(path(&dir, &day.date, number)).is_ok() {
                number += 1;
            }
        }
        days.remove(day);
    }

    fn days(&self) -> std::sync::MutexGuard<'_, HashMap<Day, Option<Arc<Vec<Filter>>>>> {
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the filters of a data directory lie.
pub fn filters_dir(data: &Path) -> PathBuf {
    data.join("cache").join("filters")
}

fn path(dir: &Path, date: &str, number: usize) -> PathBuf {
    dir.join(format!("{date}.{number}"))
}

/// Segments in runs that a filter each can be made over.
fn runs<'s, 'a>(mut segments: &'s [&'a Arc<Segment>]) -> Vec<&'s [&'a Arc<Segment>]> {
    let mut runs = Vec::new();
    while !segments.is_empty() {
        let (mut sum, mut most) = (0, 0);
        let fits = segments.iter().take(SEGMENTS_MAX).zip(1..).take_while(|(segment, number)| {
            let ids = segment.manifest().count * IDS_PER_ENTRY;
            (sum, most) = (sum + ids, ids.max(most));
            // The smallest has room for as many ids in each block as there are in 64 bits.
            sum.max(number * most / SMALLEST_SHARE) <= IDS_MAX
        });
        // One that is larger than all of it has one of its own.
        let (run, rest) = segments.split_at(fits.count().max(1));
        runs.push(run);
        segments = rest;
    }
    runs
}
