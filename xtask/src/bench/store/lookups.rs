//! One record by its request id, payload and all, over HTTP as an operator asks for it.
//!
//! Each look is an entry of the operations ledger before its answer goes out, so that a look-up takes at least one
//! sync of the disk.

use super::client::Client;
use super::restart;
use crate::bench::indelible::{Site, TENANT, stop_collector};
use crate::bench::process::Process;
use crate::bench::report::{Goal, Section, Table, grouped, millis};
use crate::bench::{Outcome, say};
use serde_json::Value;
use std::time::Instant;

/// Look-ups of each kind. The sample holds more than all of them together: none is asked for twice.
const HOT: usize = 1000;
const RESTARTED: usize = 500;
const COLD: usize = 200;
const WARM_UP: usize = 200;
/// Writing `3` to it makes the kernel forget what it read: proc_sys_vm(5).
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";
const GOAL_MS: f64 = 10.0;
pub(super) const COLUMNS: [&str; 5] = ["look-ups", "of them", "p50 ms", "p99 ms", "most ms"];

pub(super) fn measure(site: &Site, mut collector: Process, ids: &[String], records: u64) -> Outcome<Section> {
    let mut section = Section::new("Store: one record by its request id");
    section.note(format!(
        "`GET /v1/records/ID`, one after the other, of ids drawn evenly from {} records: entry and payload, decrypted, \
         and each look recorded and synced in the operations ledger before it is answered.",
        grouped(records as f64)
    ));
    let mut shuffled = ids.to_vec();
    // Any order that is not the order of arrival.
    shuffled.sort();
    let mut left = shuffled.as_slice();
    let mut take = |most: usize| {
        // Small corpora have fewer than all look-ups would need.
        let (now, later) = left.split_at(most.min(left.len() / 2));
        left = later;
        now
    };
    let mut table = Table::new(&COLUMNS);
    say("store, look-ups");
    look_up(&Client::connect(site)?, take(WARM_UP))?;
    let hot = look_up(&Client::connect(site)?, take(HOT))?;
    collector = restart(site, collector)?;
    let restarted = look_up(&Client::connect(site)?, take(RESTARTED))?;
    let mut rows = vec![("hot", hot.clone()), ("after a restart", restarted)];
    stop_collector(collector)?;
    if drop_caches() {
        collector = site.start_collector(&[])?;
        rows.push((
            "after a restart, nothing in the page cache",
            look_up(&Client::connect(site)?, take(COLD))?,
        ));
        stop_collector(collector)?;
    } else {
        section.note("An empty page cache: skipped, since only root may empty it");
    }
    for (what, times) in rows {
        table.row(row(what, &times));
    }
    section.tables.push(table);
    section.goals.push(goal("hot", &hot, GOAL_MS, records));
    Ok(section)
}

/// A row of a table of look-ups, whose microseconds are sorted.
pub(super) fn row(what: &str, times: &[f64]) -> Vec<String> {
    let times_ms = [0.5, 0.99, 1.0].map(|share| millis(at(times, share)));
    [what.to_owned(), grouped(times.len() as f64)].into_iter().chain(times_ms).collect()
}

/// That 99 of 100 look-ups take less than so many milliseconds.
pub(super) fn goal(what: &str, times: &[f64], limit_ms: f64, records: u64) -> Goal {
    let p99_ms = at(times, 0.99) / 1e3;
    Goal {
        what: format!("look-up by request id, {what}, p99, {} records", grouped(records as f64)),
        wanted: format!("< {limit_ms} ms"),
        found: format!("{p99_ms:.2} ms"),
        met: p99_ms < limit_ms,
    }
}

/// Which of these stands at a share of them, or is the last.
fn at(times: &[f64], share: f64) -> f64 {
    times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or(f64::NAN)
}

/// Makes the kernel forget what it read, if it lets us.
pub(super) fn drop_caches() -> bool {
    std::fs::write(DROP_CACHES, "3").is_ok()
}

/// Microseconds of each, sorted.
pub(super) fn look_up(client: &Client, ids: &[String]) -> Outcome<Vec<f64>> {
    let mut times = Vec::with_capacity(ids.len());
    for id in ids {
        let started = Instant::now();
        let (status, body) = client.get(&format!("/v1/records/{id}?tenant={TENANT}"))?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let found = answer["records"].as_array().map_or(0, Vec::len);
        if !status.is_success() || found != 1 {
            return Err(format!("{id}: {status}, {found} records: {}", String::from_utf8_lossy(&body)));
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
