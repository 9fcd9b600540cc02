//! Records into sealed segments: from a source's first batch until everything stands in a segment.

use super::watch::Watch;
use super::{SEED, bytes_below, memory_goal, segments_in_words};
use crate::bench::collector::{link, spool_key};
use crate::bench::indelible::{SOURCE, Site, TENANT};
use crate::bench::process::{self, Process};
use crate::bench::report::{Section, Table, grouped, mebibytes};
use crate::bench::{Outcome, say};
use crate::corpus::ship;
use indelible_corpus::spool::{Counts, Spool};
use indelible_corpus::{Call, Corpus, Options};
use indelible_gateway::ship::{Link as _, Shipment};
use indelible_record::shipping::Acknowledged;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Request ids that are kept, of all of the corpus, to look up later.
const SAMPLE: u64 = 4000;

/// Fills the store. Gives request ids to look up, spread over all of it.
pub(super) fn measure(site: &Site, collector: &Process, records: u64) -> Outcome<(Section, Vec<String>)> {
    say(&format!("store, ingesting {} records", grouped(records as f64)));
    let sample = Arc::new(Mutex::new(Vec::new()));
    let (kept, every) = (sample.clone(), (records / SAMPLE).max(1));
    let calls = Corpus::new(Options::new(SEED, records)).enumerate().map(move |(number, call)| {
        if (number as u64).is_multiple_of(every)
            && let Some(id) = &call.start.facts.request_id
        {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
        }
        call
    });
    let watch = Watch::start(collector.id());
    let cpu = process::cpu_seconds(collector.id());
    let started = Instant::now();
    let counts = post(site, calls)?;
    let acknowledged_s = started.elapsed().as_secs_f64();
    say("store, sealing what is left");
    site.seal()?;
    let sealed_s = started.elapsed().as_secs_f64();
    let cpu_s = process::cpu_seconds(collector.id()) - cpu;
    let rss = watch.most();
    let mut section = Section::new("Store: ingest");
    section.note(format!(
        "{} records of the everyday corpus (`cargo xtask corpus`, seed {SEED}), {} MB of bodies. One source, HTTP/2 \
         over mutual TLS, one batch under way at a time; sealing by the default settings, and what is left at the end \
         by `indelible seal`. The corpus is made meanwhile on the same cores.",
        grouped(counts.calls as f64),
        grouped(counts.body_bytes as f64 / 1e6)
    ));
    let mut table = Table::new(&["from the first batch until", "seconds", "records/s", "MB/s of bodies"]);
    for (what, seconds) in [("the last is acknowledged", acknowledged_s), ("all is in segments", sealed_s)] {
        table.row(vec![
            what.to_owned(),
            format!("{seconds:.1}"),
            grouped(counts.calls as f64 / seconds),
            grouped(counts.body_bytes as f64 / 1e6 / seconds),
        ]);
    }
    section.tables.push(table);
    section.tables.push(on_disk(site, &counts));
    section.note(format!(
        "Collector: {cpu_s:.0} CPU seconds, {:.0} µs a record; most resident memory {}.",
        1e6 * cpu_s / counts.calls as f64,
        mebibytes(rss)
    ));
    section.goals.push(memory_goal("collector, memory, most while ingesting and sealing", rss));
    let sample = std::mem::take(&mut *sample.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((section, sample))
}

/// Ships calls to the running collector, as a gateway does.
pub(crate) fn post(site: &Site, calls: impl Iterator<Item = Call> + Send + 'static) -> Outcome<Counts> {
    let link = link(site)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let spool = Spool::new(calls, SOURCE, spool_key(site)?).map_err(|error| error.to_string())?;
    ship(spool, |batch, acknowledged| {
        let body = [&batch.header[..], &batch.frames].concat();
        let shipment = Shipment { body: body.into(), acknowledged, receipts: false };
        let ack = runtime.block_on(link.send(shipment)).map_err(|error| error.to_string())?;
        Ok(Acknowledged { seq: ack.seq, token: ack.token })
    })
}

/// Holds the ledger against what was shipped.
pub(super) fn check(site: &Site, section: &mut Section, records: u64) -> Outcome<()> {
    say("store, verifying");
    let started = Instant::now();
    let verdict = site.verify(&[])?;
    section.note(format!(
        "`indelible verify`: **{}**, {} entries, in {:.0} s.",
        verdict.words,
        grouped(verdict.entries as f64),
        started.elapsed().as_secs_f64()
    ));
    // The ledger begins with its genesis.
    if !verdict.holds() || verdict.entries != records + 1 {
        section.note("**The ledger does not account for the records: the figures are not valid.**");
    }
    Ok(())
}

fn on_disk(site: &Site, counts: &Counts) -> Table {
    let mut table = Table::new(&["on disk", "MB", "bytes a record", "of the bodies"]);
    let ledger = site.segments().join(format!("tenant={TENANT}"));
    let segments = segments_in_words(site, TENANT);
    let files = ["entries.parquet", "payload.frames", "ids.idx", "segment.json"];
    let parts = files.map(|name| (name.to_owned(), bytes_below(&ledger, Some(name))));
    let whole = [
        (segments, bytes_below(&ledger, None)),
        ("log".to_owned(), bytes_below(&site.data().join("wal"), None)),
    ];
    for (name, bytes) in parts.into_iter().chain(whole) {
        table.row(vec![
            name,
            grouped(bytes / 1e6),
            grouped(bytes / counts.calls as f64),
            format!("{:.3}", bytes / counts.body_bytes as f64),
        ]);
    }
    table
}
