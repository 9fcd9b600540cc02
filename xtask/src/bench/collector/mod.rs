//! The collector beside PostgreSQL with a hash-chain trigger, and beside a bare loop.
//!
//! An event is a request body and a response body of 512 bytes each, of one of 1,000 subjects. For the
//! collector they are made beforehand into a spool and then posted as the gateway posts (`events`). The
//! clock runs from the first post to the last acknowledgement, which means: on the collector's disk.
//! `ingest` is about bytes instead: bodies of 100 KiB, beside what any store has to do with them.

mod events;
mod ingest;

pub(crate) use events::{link, prose, spool_key};

use super::indelible::{Site, stop_collector};
use super::peers::{AUDIT_SCHEMA, Postgres, ROWS_PER_COMMIT};
use super::process;
use super::report::{Goal, Section, Table, grouped, mebibytes, median, ratio};
use super::{Bench, Outcome, say};
use events::{Events, SUBJECTS, Shipped};
use indelible_os::durable::Dir as _;
use indelible_os::durable::FsDir;
use ring::digest::{Context, SHA256};
use std::path::Path;
use std::time::Instant;

/// Bytes of one body; an event has two.
const BODY_BYTES: usize = 512;
const EVENT_BYTES: usize = 2 * BODY_BYTES;
/// The bare loop reserves space as the log does.
const ALLOCATE_STEP_BYTES: u64 = 16 << 20;

/// Measures, and hands over the collector's directory.
pub(crate) fn measure(bench: &Bench) -> Outcome<(Section, Site)> {
    let events = bench.effort.events;
    let site = Site::create(bench, "collector")?;
    let collector = site.start_collector(&[])?;
    let mut postgres = Postgres::start(bench, AUDIT_SCHEMA)?;
    let (mut ours, mut inserted, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.effort.rounds {
        if round > 0 && !bench.has_time(bench.effort.until) {
            break;
        }
        say(&format!("collector, round {}", round + 1));
        let made = Events { round, count: events, request_bytes: BODY_BYTES, response_bytes: BODY_BYTES };
        let batches = events::fill_spool(&site, &bench.dir().join(format!("events-{round}")), &made)?;
        let taken = events::ship(&site, &collector, &batches)?;
        bare.push(bare_loop(bench.dir(), &made, taken.batches)?);
        ours.push(taken);
        if let Some(postgres) = &postgres {
            inserted.push(postgres.insert(&rows(&made))?);
        }
    }
    let rss = process::rss_bytes(collector.id());
    stop_collector(collector)?;
    let mut section = Section::new("Collector");
    describe(&mut section, &ours, events);
    match postgres.take() {
        Some(server) => describe_postgres(&mut section, server, inserted.len() * events)?,
        None => section.note("PostgreSQL: not found, skipped"),
    }
    let verdict = site.verify(&[])?;
    let made = ours.len() * events;
    section.note(format!(
        "`indelible verify`: **{}**, {} entries for {} events. Log on disk: {} bytes an event.",
        verdict.words,
        grouped(verdict.entries.saturating_sub(1) as f64),
        grouped(made as f64),
        grouped(verdict.bytes as f64 / made as f64)
    ));
    if !verdict.holds() || verdict.entries != made as u64 + 1 {
        section.note("**The ledger does not account for the events: the figures are not valid.**");
    }
    section.tables.push(table(&ours, events, &inserted, &bare));
    section.goals = goals(&ours, events, &inserted, &bare, rss);
    ingest::measure(bench, &mut section)?;
    Ok((section, site))
}

/// The least that any such store does: each event hashed onto the hash before it, appended, and
/// `fdatasync` after as many events as one of the collector's batches had.
fn bare_loop(dir: &Path, events: &Events, groups: usize) -> Outcome<f64> {
    let fail = |error: std::io::Error| format!("bare loop: {error}");
    let records: Vec<String> =
        (0..events.count).map(|event| events.bodies(event)).map(|(a, b)| a + &b).collect();
    let file =
        FsDir::open(dir).and_then(|dir| dir.create(&format!("bare-{}", events.round))).map_err(fail)?;
    let (mut chain, mut offset, mut reserved) = ([0; 32], 0, 0);
    let started = Instant::now();
    for group in records.chunks(events.count.div_ceil(groups.max(1))) {
        let mut bytes = Vec::with_capacity(group.len() * (EVENT_BYTES + chain.len()));
        for record in group {
            let mut context = Context::new(&SHA256);
            context.update(&chain);
            context.update(record.as_bytes());
            chain.copy_from_slice(context.finish().as_ref());
            bytes.extend_from_slice(record.as_bytes());
            bytes.extend_from_slice(&chain);
        }
        let end = offset + bytes.len() as u64;
        if end > reserved {
            reserved = end.next_multiple_of(ALLOCATE_STEP_BYTES);
            file.allocate(reserved).map_err(fail)?;
        }
        file.write_at(&bytes, offset).map_err(fail)?;
        file.sync().map_err(fail)?;
        offset = end;
    }
    Ok(events.count as f64 / started.elapsed().as_secs_f64())
}

fn rows(events: &Events) -> Vec<(String, String)> {
    (0..events.count)
        .map(|event| {
            let (request, response) = events.bodies(event);
            (events.subject(event), request + &response)
        })
        .collect()
}

fn describe(section: &mut Section, ours: &[Shipped], events: usize) {
    let batches = ours.last().map_or(1, |round| round.batches);
    let bytes = ours.last().map_or(0, |round| round.bytes);
    section.note(format!(
        "{} events a round, {} rounds in which the three take turns; medians. An event: request and response \
         of {BODY_BYTES} bytes, {SUBJECTS} subjects, each with a key of their own.",
        grouped(events as f64),
        ours.len()
    ));
    section.note(format!(
        "Indelible: one source, HTTP/2 over mutual TLS, one batch under way at a time; {} batches of {} events, \
         {} bytes shipped an event. Each event becomes an encrypted payload, a canonical entry in chain and \
         Merkle tree; checkpoints are signed every second. The client that posts shares the machine.",
        batches,
        grouped(events as f64 / batches as f64),
        grouped(bytes as f64 / events as f64)
    ));
    section.note(
        "Bare loop: in the bench's own process, no network and no TLS, no encryption: SHA-256 chained over each \
         KiB, append, `fdatasync` after as many events as one of those batches has.",
    );
}

fn describe_postgres(section: &mut Section, server: Postgres, expected: usize) -> Outcome<()> {
    let version = server.version.clone();
    let rows = server.finish()?;
    section.note(format!(
        "{version}, defaults (`fsync` and `synchronous_commit` on): `psql -f` over TCP without TLS, one \
         connection, INSERTs of {ROWS_PER_COMMIT} rows of 1 KiB, one commit each; a BEFORE INSERT trigger chains \
         `sha256()`, another refuses UPDATE and DELETE; nothing is encrypted. Afterwards: {} rows, chain whole{}.",
        grouped(rows as f64),
        if rows == expected { "" } else { ", **but not as many as were inserted**" }
    ));
    Ok(())
}

fn table(ours: &[Shipped], events: usize, postgres: &[f64], bare: &[f64]) -> Table {
    let mut table = Table::new(&[
        "durable events of 1 KiB",
        "events/s",
        "min – max",
        "of PostgreSQL",
        "of bare loop",
        "CPU s per 1,000",
    ]);
    let cpu_s = median(ours.iter().map(|round| 1000.0 * round.cpu_s / events as f64));
    let rates: Vec<f64> = ours.iter().map(|round| events as f64 / round.seconds).collect();
    for (name, rates) in [
        ("bare loop", bare),
        ("PostgreSQL, hash-chain trigger", postgres),
        ("Indelible, collector", &rates[..]),
    ] {
        if rates.is_empty() {
            continue;
        }
        let middle = median(rates.iter().copied());
        let (least, most) =
            (rates.iter().copied().fold(f64::INFINITY, f64::min), rates.iter().copied().fold(0.0, f64::max));
        table.row(vec![
            name.to_owned(),
            grouped(middle),
            format!("{} – {}", grouped(least), grouped(most)),
            ratio(middle, median(postgres.iter().copied())),
            ratio(middle, median(bare.iter().copied())),
            if name.starts_with("Indelible") { format!("{cpu_s:.3}") } else { "–".to_owned() },
        ]);
    }
    table
}

fn goals(ours: &[Shipped], events: usize, postgres: &[f64], bare: &[f64], rss: f64) -> Vec<Goal> {
    let rate = median(ours.iter().map(|round| events as f64 / round.seconds));
    let mut goals = Vec::new();
    for (peer, rates, least) in [("PostgreSQL", postgres, 3.0), ("bare loop", bare, 0.3)] {
        if rates.is_empty() {
            continue;
        }
        let theirs = median(rates.iter().copied());
        goals.push(Goal {
            what: format!("collector, durable 1 KiB events/s, beside {peer}"),
            wanted: format!("≥ {least} ×"),
            found: ratio(rate, theirs),
            met: rate >= least * theirs,
        });
    }
    goals.push(Goal {
        what: "collector, memory, after sustained ingest".to_owned(),
        wanted: "< 512 MiB".to_owned(),
        found: mebibytes(rss),
        met: rss < 512.0 * f64::from(1 << 20),
    });
    goals
}
