//! How long a collector takes until it can be asked, by how many segments its ledger has.

use super::{ingest, segments_in_words, segments_of};
use crate::bench::indelible::{Site, TENANT, stop_collector};
use crate::bench::report::{Goal, Section, Table, grouped, median};
use crate::bench::{Bench, Outcome, say};
use indelible_corpus::{Corpus, Options};
use std::time::Instant;

/// Ledgers of so many segments.
const SEGMENTS: [usize; 3] = [1, 10, 100];
/// Records of each of them.
const RECORDS: u64 = 200;
const STARTS: usize = 5;
/// That the time does not follow the ledger's size is judged by this, beside one segment's.
const GOAL: f64 = 2.0;

pub(super) fn measure(bench: &Bench, store: &Site, records: u64) -> Outcome<Section> {
    let mut section = Section::new("Store: starting");
    section.note(format!(
        "From the process's start until its address is announced, with everything recorded found, checked against the \
         head and signed; medians of {STARTS}. Segments of {RECORDS} records each, and the store that was filled above."
    ));
    let mut table = Table::new(&["ledger", "records", "ms"]);
    let site = Site::create(bench, "startup")?;
    let mut times = Vec::new();
    for wanted in SEGMENTS {
        say(&format!("store, starting with {wanted} segments"));
        let collector = site.start_collector(&[])?;
        for number in segments_of(&site, TENANT)..wanted {
            ingest::post(&site, Corpus::new(Options::new(number as u64, RECORDS)))?;
            site.seal()?;
        }
        stop_collector(collector)?;
        times.push(start(&site)?);
        let found = segments_of(&site, TENANT);
        table.row(row(segments_in_words(&site, TENANT), found as u64 * RECORDS, &times));
    }
    times.push(start(store)?);
    table.row(row(segments_in_words(store, TENANT), records, &times));
    section.tables.push(table);
    let (first, last) = (times[0], times[times.len() - 1]);
    section.goals.push(Goal {
        what: format!("start-up, {} records, beside {RECORDS}", grouped(records as f64)),
        wanted: format!("independent of size: ≤ {GOAL} ×"),
        found: format!("{:.2} ×, {:.0} ms", last / first, last * 1e3),
        met: last <= GOAL * first,
    });
    Ok(section)
}

fn row(ledger: String, records: u64, times: &[f64]) -> Vec<String> {
    let shown = times.last().map_or(String::new(), |seconds| grouped(seconds * 1e3));
    vec![ledger, grouped(records as f64), shown]
}

/// Seconds, the middle of several.
fn start(site: &Site) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let collector = site.start_collector(&[])?;
        times.push(started.elapsed().as_secs_f64());
        stop_collector(collector)?;
    }
    Ok(median(times))
}
