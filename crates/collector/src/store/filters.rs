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
use std::time::{Duration, Instant};

/// Fewer segments in a day are looked at one by one.
pub const SEGMENTS_MIN: usize = 8;
/// Most ids of a filter, about: 16 bits each are in memory while it is made. An entry has at most eight.
const IDS_MAX: u64 = 1 << 24;
const IDS_PER_ENTRY: u64 = 8;
/// However few ids a segment has, its bits are this share of those of the largest beside it.
const SMALLEST_SHARE: u64 = 16;
/// Filters that are being made, by their numbers.
const STAGED: &str = ".staged";
/// How long a day whose filters could not be made is left as it is.
const RETRY_INTERVAL: Duration = Duration::from_secs(3600);

/// The filters of a data directory. One process makes them, on one thread; any number of threads ask them.
#[derive(Default)]
pub struct Filters {
    /// `None`: there are none.
    dir: Option<PathBuf>,
    /// By ledger and date, those of one day. `None`: there are none that can be read.
    days: Mutex<HashMap<Day, Option<Arc<Vec<Filter>>>>>,
    /// Days whose filters could not be made, and when that was.
    failed: Mutex<HashMap<Day, Instant>>,
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
            let Some(filters) = self.of(day) else { continue };
            for filter in filters.iter() {
                match filter.without(hashes) {
                    Ok(none) => without.extend(none),
                    Err(error) => self.unreadable(day, &filters, &error),
                }
            }
        }
        segments.into_iter().filter(|segment| !without.contains(&segment.hash())).collect()
    }

    /// Makes filters of one day that has segments without, if there is such a day: of one that is over, before `today`, or that
    /// has as many of them as are not looked at one by one. Answers whether there was one. Reads the indexes of those segments whole,
    /// while `go_on` says so.
    pub fn make_next(&self, view: &View, today: &str, go_on: &dyn Fn() -> bool) -> io::Result<bool> {
        let Some(dir) = &self.dir else { return Ok(false) };
        let mut days: BTreeMap<&Day, Vec<&Arc<Segment>>> = BTreeMap::new();
        view.all_segments().for_each(|segment| days.entry(segment.day()).or_default().push(segment));
        for (day, segments) in days {
            let failed = self.failed().get(day).is_some_and(|at| at.elapsed() < RETRY_INTERVAL);
            if segments.len() < SEGMENTS_MIN || failed {
                continue;
            }
            let Some((number, some)) = self.due(day, &segments, day.date.as_str() >= today) else { continue };
            let dir = dir.join(&day.tenant);
            let made = self.make(&dir, day, number, some, go_on);
            remove_staged(&dir);
            return match made {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
                Err(error) => {
                    self.failed().insert(day.clone(), Instant::now());
                    Err(error)
                }
                Ok(()) => Ok(true),
            };
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
        let filters = self.of(day);
        let filters = filters.as_ref().map_or(&[][..], |filters| filters);
        let known: HashSet<Hash> = filters.iter().flat_map(Filter::segments).collect();
        let is_known = |segment: &&Arc<Segment>| known.contains(&segment.hash());
        let first = segments.iter().position(|segment| !is_known(segment)).unwrap_or(segments.len());
        let rest = &segments[first..];
        let in_order = !rest.iter().any(is_known);
        if lasts && in_order {
            return (rest.len() >= SEGMENTS_MIN).then_some((filters.len(), rest));
        }
        let more = filters.len() + runs(rest).len();
        match (in_order && more <= runs(segments).len(), rest.is_empty()) {
            (true, true) => None,
            (true, false) => Some((filters.len(), rest)),
            (false, _) => Some((0, segments)),
        }
    }

    /// Makes filters of segments, from this number on: if that is 0, in place of all that there are, once they are whole.
    fn make(
        &self,
        dir: &Path,
        day: &Day,
        number: usize,
        segments: &[&Arc<Segment>],
        go_on: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        durable::make_dir(dir)?;
        let mut made = Vec::new();
        for (number, some) in (number..).zip(runs(segments)) {
            let visit = |segment: &Arc<Segment>, put: &mut dyn FnMut(u64)| match go_on() {
                true => segment.visit_ids(put),
                false => Err(io::ErrorKind::Interrupted.into()),
            };
            let mut sizes = Vec::new();
            for segment in some {
                let mut ids = 0;
                visit(segment, &mut |_| ids += 1)?;
                sizes.push((segment.hash(), ids));
            }
            let staged = dir.join(format!("{STAGED}.{number}"));
            let mut out = BufWriter::new(std::fs::File::create(&staged)?);
            filter::write(&sizes, |at, put| some.get(at).map_or(Ok(()), |one| visit(one, put)), &mut out)?;
            durable::sync_file(&out.into_inner()?)?;
            Filter::open(Arc::new(PathFile::new(staged.clone())?))?;
            made.push((staged, path(dir, &day.date, number)));
        }
        // Who has the ones before open finds that rows are not theirs, and looks at the segments.
        made.iter().try_for_each(|(staged, path)| durable::publish_file(staged, path))?;
        let mut surplus = number + made.len();
        while std::fs::remove_file(path(dir, &day.date, surplus)).is_ok() {
            surplus += 1;
        }
        self.failed().remove(day);
        self.days().remove(day);
        Ok(())
    }

    /// One of these cannot be read. If they are damaged or gone, and not others by now, they are made again.
    fn unreadable(&self, day: &Day, filters: &Arc<Vec<Filter>>, error: &io::Error) {
        let mut days = self.days();
        let same = days.get(day).is_some_and(|now| now.as_ref().is_some_and(|now| Arc::ptr_eq(now, filters)));
        let gone = [io::ErrorKind::InvalidData, io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof];
        if same && gone.contains(&error.kind()) {
            tracing::warn!(day = day.date, %error, "a filter cannot be read: it is made again");
            days.insert(day.clone(), None);
        }
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

    fn failed(&self) -> std::sync::MutexGuard<'_, HashMap<Day, Instant>> {
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

/// Removes what was being made and is not: nobody reads it.
fn remove_staged(dir: &Path) {
    let is_staged = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == STAGED);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in entries.filter(is_staged) {
        // Kept by what also keeps a filter from being made, which is said.
        let _ = std::fs::remove_file(path);
    }
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
