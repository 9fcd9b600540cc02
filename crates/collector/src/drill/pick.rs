//! Which record a drill looks at: each signed inference of the month with the same chance.
//!
//! A segment has the entries of one UTC day, and the log's times are in memory: so how many entries a month has, and
//! where the n-th of them stands, is known without reading one. Entries are drawn until one is an inference. As each
//! entry has the same chance in each draw, so has each inference. Where inferences are rare the drawing is given up
//! after [`DRAWS_MAX`], and one is taken of all of them in one pass over the column of types, again with equal chances.

use super::draw::Draw;
use super::{INFERENCES, Month, Wish, tenants};
use crate::parts::Parts;
use crate::read::{Found, Place};
use crate::store::View;
use crate::store::segment::Segment;
use crate::store::tail::TailEntry;
use crate::{Collector, CollectorError, Query};
use indelible_os::clock::{self, Utc};
use indelible_record::Entry;
use indelible_spool::wal::{Record, Ref};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

/// Entries drawn before all are looked at.
pub const DRAWS_MAX: u64 = 64;

/// How the month came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonthTaken {
    /// It was asked for.
    Asked,
    /// None was, and this is the previous one.
    Previous,
    /// None was, the previous one has no inference, and this is that of the newest.
    Newest,
}

/// The record that was picked.
pub struct Picked {
    /// It, as it was read for picking.
    pub found: Found,
    /// Its month.
    pub month: Month,
    /// Why this month.
    pub taken: MonthTaken,
    /// Signed entries of the month, whatever their type.
    pub entries: u64,
    /// Entries that were drawn; `None`: all were looked at.
    pub draws: Option<u64>,
    /// Microseconds that it took.
    pub us: u64,
}

/// Picks a record. `None`: there is no inference in the month, or none at all. Blocks.
///
/// # Errors
/// [`CollectorError`] if the tenant is unknown or an entry cannot be read.
pub fn pick(collector: &Collector, wish: &Wish) -> Result<Option<Picked>, CollectorError> {
    let begun = Instant::now();
    let of = |month, taken| pick_of(collector, wish, month, taken, begun);
    if let Some(month) = wish.month {
        return of(month, MonthTaken::Asked);
    }
    let previous = of(Month::of(clock::now()).previous(), MonthTaken::Previous)?;
    if previous.is_some() {
        return Ok(previous);
    }
    match newest(collector, wish)? {
        Some(month) => of(month, MonthTaken::Newest),
        None => Ok(None),
    }
}

/// The month of the newest inference.
fn newest(collector: &Collector, wish: &Wish) -> Result<Option<Month>, CollectorError> {
    let mut newest = None;
    for event_type in INFERENCES {
        for tenant in tenants(collector, wish)? {
            let (event_type, tenant) = (Some(event_type.to_owned()), Some(tenant));
            let found = collector.list(&Query { event_type, tenant, ..Query::default() }, 1)?;
            let at = found.first().and_then(|one| one.entry.timestamp.parse::<Utc>().ok());
            newest = newest.max(at);
        }
    }
    Ok(newest.map(Month::of))
}

fn pick_of(
    collector: &Collector,
    wish: &Wish,
    month: Month,
    taken: MonthTaken,
    begun: Instant,
) -> Result<Option<Picked>, CollectorError> {
    // What is signed first: the view then has all of it.
    let signed = collector.signed_sizes();
    let view = collector.view();
    let mut runs = Vec::new();
    for tenant in tenants(collector, wish)? {
        let size = signed.iter().find(|(name, _)| *name == tenant).map_or(0, |(_, size)| *size);
        runs.extend(runs_of(&view, &tenant, month, size));
    }
    let entries: u64 = runs.iter().map(Run::len).sum();
    let mut draw = Draw::new(wish.seed);
    let mut reader = Reader { log: Parts::new(view, collector.vault()) };
    let mut found = None;
    let mut draws = 0;
    while found.is_none() && entries > 0 && draws < DRAWS_MAX {
        draws += 1;
        let mut number = draw.below(entries);
        for run in &runs {
            if number < run.len() {
                found = Some(reader.read(run, number)?).filter(is_inference);
                break;
            }
            number -= run.len();
        }
    }
    let mut draws = Some(draws);
    if found.is_none() && entries > 0 {
        draws = None;
        found = reader.one_of_all(&runs, &mut draw)?;
    }
    let us = begun.elapsed().as_micros() as u64;
    Ok(found.map(|found| Picked { found, month, taken, entries, draws, us }))
}

fn is_inference(found: &Found) -> bool {
    INFERENCES.contains(&found.entry.event_type.as_str())
}

/// Entries of a month, one after the other.
enum Run {
    /// All rows of a segment.
    Segment(Arc<Segment>),
    /// Some of a file of the log.
    Log(u64, Vec<TailEntry>),
}

impl Run {
    fn len(&self) -> u64 {
        match self {
            Self::Segment(segment) => segment.manifest().count,
            Self::Log(_, entries) => entries.len() as u64,
        }
    }
}

/// The signed entries of a ledger that a month has, in the order of the ledger: sealing does not change it.
fn runs_of(view: &View, tenant: &str, month: Month, signed: u64) -> Vec<Run> {
    let of_month =
        |segment: &&Arc<Segment>| segment.manifest().date.parse::<Utc>().is_ok_and(|day| month.has(day));
    let mut runs: Vec<Run> =
        view.segments(tenant).iter().filter(of_month).cloned().map(Run::Segment).collect();
    let sealed = view.sealed(tenant);
    for file in view.files() {
        let mut entries = file.entries(Some(tenant), |_| sealed);
        entries.retain(|entry| entry.seq < signed && month.has(Utc(entry.at_us)));
        if !entries.is_empty() {
            runs.push(Run::Log(file.number(), entries));
        }
    }
    runs
}

struct Reader<'a> {
    log: Parts<'a>,
}

impl Reader<'_> {
    fn read(&mut self, run: &Run, number: u64) -> Result<Found, CollectorError> {
        match run {
            Run::Segment(segment) => {
                let bytes = segment.entry(number)?;
                found(bytes, Place::Segment { segment: segment.clone(), row: number })
            }
            Run::Log(file_no, entries) => {
                let entry = usize::try_from(number).ok().and_then(|number| entries.get(number));
                let at = Ref { file_no: *file_no, offset: entry.map_or(0, |entry| entry.offset.into()) };
                match self.log.record(at)? {
                    Some(Record::Entry { refs, entry, .. }) => found(entry.to_vec(), Place::Log { at, refs }),
                    _ => {
                        let what = format!("the frame at byte {} of file {file_no}", at.offset);
                        let what = format!("{what} reads back differently: run indelible verify");
                        Err(CollectorError::Refused(what))
                    }
                }
            }
        }
    }

    /// One of all inferences: the k-th takes the place of the one before with a chance of 1 in k.
    fn one_of_all(&mut self, runs: &[Run], draw: &mut Draw) -> Result<Option<Found>, CollectorError> {
        let mut seen = 0;
        let mut taken = None;
        for run in runs {
            for number in self.inferences(run)? {
                seen += 1;
                if draw.below(seen) == 0 {
                    taken = Some((run, number));
                }
            }
        }
        taken.map(|(run, number)| self.read(run, number)).transpose()
    }

    /// Which entries of a run are inferences.
    fn inferences(&mut self, run: &Run) -> Result<Vec<u64>, CollectorError> {
        let Run::Segment(segment) = run else {
            let mut numbers = Vec::new();
            for number in 0..run.len() {
                if is_inference(&self.read(run, number)?) {
                    numbers.push(number);
                }
            }
            return Ok(numbers);
        };
        let entries = segment.entries()?;
        let mut numbers = Vec::new();
        for (group, rows) in entries.groups() {
            let types = entries.texts(group, "event_type").map_err(|error| CollectorError::Segment {
                path: segment.path().to_owned(),
                what: error.to_string(),
            })?;
            let is = |text: &[u8]| INFERENCES.iter().any(|inference| inference.as_bytes() == text);
            let wanted =
                rows.zip(types).filter(|(_, text)| text.as_ref().is_some_and(|text| is(text.data())));
            numbers.extend(wanted.map(|(row, _)| row));
        }
        Ok(numbers)
    }
}

fn found(bytes: Vec<u8>, place: Place) -> Result<Found, CollectorError> {
    let entry = Entry::parse(&bytes).map_err(|error| {
        CollectorError::Refused(format!("a malformed entry: {error}: run indelible verify"))
    })?;
    let event_id = entry.event_id.parse().unwrap_or_default();
    Ok(Found { entry, bytes, event_id, place })
}
