//! Bytes into the log, beside what any store has to do with them: hash, compress, encrypt.
//!
//! The collector is kept on one core, and so is the loop, which is a single thread. Conversations of 100 KiB
//! and answers of 2 KiB arrive over mutual TLS, encrypted to the collector and compressed by their source; the
//! collector opens, checks, encrypts, appends and syncs them. The loop has the plain bodies in memory and
//! writes nothing.

use super::events::{self, Events};
use crate::bench::indelible::{Site, stop_collector};
use crate::bench::process;
use crate::bench::report::{Goal, Section, Table, grouped, median, ratio};
use crate::bench::{Bench, Outcome, say};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use std::time::Instant;

const REQUEST_BYTES: usize = 100 << 10;
const RESPONSE_BYTES: usize = 2 << 10;
/// Of the events of the other measurement: these are a hundred times as large.
const EVENTS_SHARE: usize = 50;
const LEVEL: i32 = 3;
const GOAL: f64 = 0.5;

/// Adds a table and a goal to `section`.
pub(super) fn measure(bench: &Bench, section: &mut Section) -> Outcome<()> {
    let wrapper = process::one_core();
    if wrapper.is_empty() {
        section.note("Payload ingest: skipped, taskset was not found");
        return Ok(());
    }
    let site = Site::create(bench, "ingest")?;
    let collector = site.start_collector(&wrapper)?;
    let count = bench.effort.events / EVENTS_SHARE;
    let plain = (count * (REQUEST_BYTES + RESPONSE_BYTES)) as f64;
    let (mut ours, mut loops, mut shipped) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.effort.rounds {
        say(&format!("payload ingest, round {}", round + 1));
        let made = Events { round, count, request_bytes: REQUEST_BYTES, response_bytes: RESPONSE_BYTES };
        let batches = events::fill_spool(&site, &bench.dir().join(format!("ingest-{round}")), &made)?;
        let taken = events::ship(&site, &collector, &batches)?;
        ours.push(plain / taken.seconds);
        shipped.push(taken.bytes as f64);
        loops.push(plain / bare_loop(&made)?);
    }
    stop_collector(collector)?;
    let verdict = site.verify(&[])?;
    let entries = (count * bench.effort.rounds) as u64 + 1;
    section.note(format!(
        "Payload ingest: {} events a round with a request of {} KiB and an answer of {} KiB, {:.2} bytes shipped for \
         each plain byte. The collector is on one core (`taskset`), the client that posts is not. The loop: one \
         thread, SHA-256, `zstd -{LEVEL}` and AES-256-GCM over the same bodies in memory, no network and no disk. \
         `indelible verify`: **{}**.",
        grouped(count as f64),
        REQUEST_BYTES >> 10,
        RESPONSE_BYTES >> 10,
        median(shipped) / plain,
        verdict.words
    ));
    if !verdict.holds() || verdict.entries != entries {
        section.note("**The ledger does not account for the ingested events: the figures are not valid.**");
    }
    let (rate, bare) = (median(ours.iter().copied()), median(loops.iter().copied()));
    let mut table = Table::new(&["payload bytes, one core", "MB/s", "min – max", "of the loop"]);
    for (name, rates) in [
        (format!("SHA-256 + zstd -{LEVEL} + AES-256-GCM"), &loops),
        ("Indelible, collector".to_owned(), &ours),
    ] {
        let megabytes = |rate: f64| grouped(rate / 1e6);
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        let middle = median(rates.iter().copied());
        table.row(vec![
            name,
            megabytes(middle),
            format!("{} – {}", megabytes(least), megabytes(most)),
            ratio(middle, bare),
        ]);
    }
    section.tables.push(table);
    section.goals.push(Goal {
        what: "collector, payload bytes/s, one core, beside hash + compress + encrypt".to_owned(),
        wanted: format!("≥ {GOAL} ×"),
        found: ratio(rate, bare),
        met: rate >= GOAL * bare,
    });
    Ok(())
}

/// Seconds that hashing, compressing and encrypting each body take.
fn bare_loop(events: &Events) -> Outcome<f64> {
    let bodies: Vec<String> =
        (0..events.count).map(|event| events.bodies(event)).flat_map(|(a, b)| [a, b]).collect();
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(|error| format!("zstd: {error}"))?;
    // Any key will do.
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| "no AES-256-GCM".to_owned())?;
    let key = LessSafeKey::new(key);
    let started = Instant::now();
    for (number, body) in bodies.iter().enumerate() {
        let hash = digest(&SHA256, body.as_bytes());
        let mut sealed = compressor.compress(body.as_bytes()).map_err(|error| format!("zstd: {error}"))?;
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(hash.as_ref()), &mut sealed)
            .map_err(|_| "AES-256-GCM failed".to_owned())?;
        std::hint::black_box(&sealed);
    }
    Ok(started.elapsed().as_secs_f64())
}
