//! The store: a corpus ingested and sealed, looked up, queried, and what it takes on disk and in memory.
//!
//! * `storage`: bytes for each conversation, beside a compressed record each, JSONL and PostgreSQL
//! * `ingest`: records a second, from a source's batches to sealed segments
//! * `lookups`: one record by its request id
//! * `bucket`: the same once all segments are in a bucket
//! * `queries`: six questions, to SQL, DuckDB and chdb (ClickHouse) on the same files, and PostgreSQL
//! * `startup`: until a collector is ready, by how many segments there are
//! * `client`, `watch`: calling the collector, and watching its memory
//!
//! The corpus is made while it is shipped, on the same cores.

mod bucket;
mod client;
mod engines;
mod ingest;
mod lookups;
mod queries;
mod startup;
mod storage;
mod watch;

pub(crate) use ingest::post;

use super::indelible::{Site, stop_collector};
use super::report::Section;
use super::{Bench, Outcome};
use std::path::Path;

/// Records of a run that says nothing else.
pub(crate) const RECORDS: u64 = 1_000_000;
/// And of one that only tries the bench.
pub(crate) const QUICK_RECORDS: u64 = 20_000;
/// Of every corpus here.
const SEED: u64 = 1;
const MIB: f64 = (1 << 20) as f64;

/// Measures all of it. A part that fails is named, and the others are measured all the same: filling a store takes
/// long.
pub(crate) fn measure(bench: &Bench, records: u64) -> Outcome<Vec<Section>> {
    let conversations = storage::measure(bench);
    let site = Site::create(bench, "store")?;
    let collector = site.start_collector(&[])?;
    let (mut ingested, sample) = ingest::measure(&site, &collector, records)?;
    let queried = queries::measure(bench, &site, &collector);
    let looked_up = lookups::measure(&site, collector, &sample, records);
    ingest::check(&site, &mut ingested, records)?;
    let started = startup::measure(bench, &site, records);
    // The last: segments leave their directory.
    let from_bucket = bucket::measure(bench, &site, &sample, records);
    let mut sections = vec![ingested];
    for (title, measured) in [
        ("Store: bytes for each conversation", conversations),
        ("Store: one record by its request id", looked_up),
        ("Store: one record from a bucket", from_bucket),
        ("Store: six questions", queried),
        ("Store: starting", started),
    ] {
        sections.push(measured.unwrap_or_else(|why| {
            let mut section = Section::new(title);
            section.note(format!("**Not measured**: {why}"));
            section
        }));
    }
    Ok(sections)
}

fn memory_goal(what: &str, bytes: f64) -> super::report::Goal {
    super::report::Goal {
        what: what.to_owned(),
        wanted: "< 512 MiB".to_owned(),
        found: super::report::mebibytes(bytes),
        met: bytes < 512.0 * MIB,
    }
}

/// Bytes of the files named `name`, or of all files, in a directory and below it.
fn bytes_below(dir: &Path, name: Option<&str>) -> f64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path(), name),
        Ok(meta) if name.is_none_or(|name| entry.file_name() == name) => meta.len() as f64,
        _ => 0.0,
    });
    bytes.sum()
}

/// How many segments a ledger has.
fn segments_of(site: &Site, tenant: &str) -> usize {
    let days = std::fs::read_dir(site.segments().join(format!("tenant={tenant}")));
    let days = days.into_iter().flatten().flatten();
    days.map(|day| std::fs::read_dir(day.path()).map_or(0, |all| all.flatten().count())).sum()
}

/// The same in words.
fn segments_in_words(site: &Site, tenant: &str) -> String {
    match segments_of(site, tenant) {
        1 => "1 segment".to_owned(),
        count => format!("{count} segments"),
    }
}

/// Restarts a collector.
fn restart(site: &Site, running: super::process::Process) -> Outcome<super::process::Process> {
    stop_collector(running)?;
    site.start_collector(&[])
}
