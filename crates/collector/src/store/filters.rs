//! Filters of days: which segments a look-up by id can leave out without opening their indexes.
//!
//! ```text
//! DIR/cache/filters/TENANT/DATE.N        over a run of the day's segments, `indelible_segment::filter`
//! ```
//!
//! While a day lasts, each eight segments more get a filter; once it is over, all of them get as few as there can be.
//!
//! All of it is made of the segments' `ids.idx` and may be deleted at any time: a segment that no filter knows is looked at. So is
//! one whose filter cannot be read.

use super::View;
use super::local::PathFile;
use super::segment::{Day, Segment};
use indelible_ledger::Hash;
use indelible_os::durable;
use indelible_segment::filter::{self, Filter, SEGMENTS_MAX};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Fewer segments in a day are looked at one by one.
pub const SEGMENTS_MIN: usize = 8;
/// Most ids of a filter, about: 16 bits each are in memory while it is made. An entry has at most eight.
const IDS_MAX: u64 = 1 << 24;
const IDS_PER_ENTRY: u64 = 8;
/// However few ids a segment has, its bits are this share of those of the largest beside it.
const SMALLEST_SHARE: u64 = 16;
/// What is being written of a filter.
const STAGED: &str = ".filter.tmp";

/// The filters of a data directory.
#[derive(Default)]
pub struct Filters {
    /// `None`: there are none.
    dir: Option<PathBuf>,
    /// By ledger and date, those of one day. `None`: there are none that can be read.
    days: Mutex<HashMap<Day, Option<Arc<Vec<Filter>>>>>,
    /// Days whose filters could not be made, and how many segments they had: not tried again by this process while they have no more.
    failed: Mutex<HashMap<Day, usize>>,
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

    /// Makes filters of one day that has segments without, if there is such a day: of one that is over, before `today`, or that
    /// has as many of them as are not looked at one by one. Answers whether there was one. Reads the indexes of those segments whole.
    pub fn make_next(&self, view: &View, today: &str) -> io::Result<bool> {
        let Some(dir) = &self.dir else { return Ok(false) };
        let mut days: BTreeMap<&Day, Vec<&Arc<Segment>>> = BTreeMap::new();
        view.all_segments().for_each(|segment| days.entry(segment.day()).or_default().push(segment));
        for (day, segments) in days {
            if segments.len() < SEGMENTS_MIN || self.failed().get(day) == Some(&segments.len()) {
                continue;
            }
            let Some((number, rest)) = self.due(day, &segments, day.date.as_str() >= today) else { continue };
            let made = self.make(&dir.join(&day.tenant), day, number, rest);
            if made.is_err() {
                self.failed().insert(day.clone(), segments.len());
            }
            return made.map(|()| true);
        }
        Ok(false)
    }

    /// Those of a day's segments that are to have filters, and the number of the first of these.
    fn due<'s, 'a>(
        &self,
        day: &Day,
        segments: &'s [&'a Arc<Segment>],
        lasts: bool,
    ) -> Option<(usize, &'s [&'a Arc<Segment>])> {
        let filters = self.of(day).unwrap_or_default();
        let known: HashSet<Hash> = filters.iter().flat_map(|filter| filter.segments()).collect();
        let is_known = |segment: &&Arc<Segment>| known.contains(&segment.hash());
        let first = segments.iter().position(|segment| !is_known(segment)).unwrap_or(segments.len());
        let rest = &segments[first..];
        if lasts && !rest.iter().any(is_known) {
            return (rest.len() >= SEGMENTS_MIN).then_some((filters.len(), rest));
        }
        let all = !lasts && rest.is_empty() && filters.len() <= runs(segments).len();
        (!all).then_some((0, segments))
    }

    /// Makes filters of segments, from this number on. From 0 on: instead of all that there are.
    fn make(&self, dir: &Path, day: &Day, number: usize, segments: &[&Arc<Segment>]) -> io::Result<()> {
        durable::make_dir(dir)?;
        if number == 0 {
            self.forget(day);
        }
        for (number, some) in (number..).zip(runs(segments)) {
            let mut sizes = Vec::new();
            for segment in some {
                let mut ids = 0;
                segment.visit_ids(&mut |_| ids += 1)?;
                sizes.push((segment.hash(), ids));
            }
            // Under its name once it is whole: one that cannot be read takes those beside it with it.
            let staged = dir.join(STAGED);
            let mut out = BufWriter::new(std::fs::File::create(&staged)?);
            filter::write(&sizes, |at, put| some.get(at).map_or(Ok(()), |one| one.visit_ids(put)), &mut out)?;
            durable::sync_file(&out.into_inner()?)?;
            durable::publish_file(&staged, &path(dir, &day.date, number))?;
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

    fn failed(&self) -> std::sync::MutexGuard<'_, HashMap<Day, usize>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
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
