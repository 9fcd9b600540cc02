//! What was measured, as tables and notes.

use super::half::{self, Half, added};
use super::paced::Pace;
use super::stage::{Cost, DRAIN_LIMIT, Run, Stage};
use super::target::{Shape, TARGETS, Target};
use super::{CONNECTIONS, MAIN_CONNECTIONS, Runs};
use crate::bench::report::{Section, Table, grouped, mebibytes, median, millis, ratio};
use std::collections::BTreeMap;

/// Of one core. A gateway that can only wait for its collector has next to nothing to do.
const WAITING_SHARE_MAX: f64 = 0.25;

/// How it was measured.
pub(super) fn describe(section: &mut Section, stage: &Stage<'_>, rounds: usize) {
    let effort = stage.bench.effort;
    section.note(format!(
        "`wrk -t1 -c{MAIN_CONNECTIONS} -d{}s`, {} s with other numbers of connections; medians of {rounds} rounds, in \
         which the targets take turns. LiteLLM and Aegis: {} s, one round. Load generator, model server and proxy \
         share the machine's cores.",
        effort.load_s, effort.side_load_s, effort.slow_load_s
    ));
    section.note(
        "Upstream: `indelible-standin` with answers made beforehand. Requests are prose in JSON. Indelible \
         captures request, response and headers whole, encrypts them and syncs them to its spool, and ships them \
         over mutual TLS to a collector process. Everything that was answered has arrived there before the next \
         load begins.",
    );
    section.note(
        "*Collector elsewhere*: the collector's process is held (`SIGSTOP`) while the load is on, since its place is \
         another machine, and goes on after it. Requests a second and latency then include capture, encryption, \
         `fdatasync` and the spool, and a first batch under way; **not** reading back and sending the rest, which \
         comes after the load. What that costs the gateway is in its CPU column, and apart beside it; how long it \
         took is the ship lag. *Collector on the same cores*: shipping and the collector run while the load is on.",
    );
    section.note(
        "CPU: user and system seconds per 1,000 requests, shipping included. Ship lag: from the end of the load until \
         the collector had everything. Memory: resident right after a load, the most of all rounds.",
    );
    for peer in stage.peers() {
        section.note(&peer.words);
    }
    for words in &stage.absent {
        section.note(words);
    }
}

/// As hard as it goes: all numbers of connections of one shape.
pub(super) fn full(runs: &Runs, shape: Shape) -> Table {
    let mut table = Table::new(&[
        shape.as_str(),
        "c",
        "requests/s",
        "min – max",
        "of nginx",
        "of direct",
        "p50 ms",
        "p99 ms",
        "CPU s, proxy",
        "of it shipping",
        "CPU s, collector",
        "ship lag s",
        "memory",
    ]);
    for connections in CONNECTIONS {
        let rate = |target| runs.rate(shape, connections, target);
        for target in TARGETS {
            let found = runs.of(shape, connections, target);
            if found.is_empty() {
                continue;
            }
            let rates = || found.iter().map(|run| run.sample.per_second);
            let last = half::middle(found, |run| Some(run.sample.last));
            let cost = |number: fn(&Cost) -> f64| {
                let per_thousand = |run: &Run| {
                    let cost = run.cost.as_ref().filter(|_| run.sample.requests > 0.0)?;
                    Some(1000.0 * number(cost) / run.sample.requests)
                };
                let seconds = median(found.iter().filter_map(per_thousand));
                if seconds > 0.0 { format!("{seconds:.3}") } else { "–".to_owned() }
            };
            let costs = || found.iter().filter_map(|run| run.cost.as_ref());
            let lags = || costs().filter_map(|cost| cost.drained.as_ref()).map(|drained| drained.seconds);
            let most = costs().map(|cost| cost.rss).fold(0.0, f64::max);
            table.row(vec![
                target.name(),
                connections.to_string(),
                grouped(rate(target)),
                format!(
                    "{} – {}",
                    grouped(rates().fold(f64::INFINITY, f64::min)),
                    grouped(rates().fold(0.0, f64::max))
                ),
                ratio(rate(target), rate(Target::Nginx)),
                ratio(rate(target), rate(Target::Direct)),
                millis(last.p50_us),
                millis(last.p99_us),
                cost(|cost| cost.cpu_s),
                cost(|cost| cost.ship_cpu_s),
                cost(|cost| cost.collector_cpu_s),
                lags().next().map_or_else(|| "–".to_owned(), |_| format!("{:.1}", median(lags()))),
                if most > 0.0 { mebibytes(most) } else { "–".to_owned() },
            ]);
        }
    }
    table
}

/// Plain answers at half load.
pub(super) fn half(half: &Half) -> Table {
    let shape = Shape::Small;
    let mut table = Table::new(&[
        &format!("half load: {}, {}", shape.as_str(), words(half.plain)),
        "requests/s",
        "p50 ms",
        "p99 ms",
        "added p50 ms",
        "added p99 ms",
    ]);
    for (target, rate) in rates(half, shape) {
        let last = half.last(shape, target);
        let added = added(last, half.last(shape, Target::Direct));
        let unless_direct = |us| if target == Target::Direct { "–".to_owned() } else { millis(us) };
        table.row(vec![
            target.name(),
            grouped(rate),
            millis(last.p50_us),
            millis(last.p99_us),
            unless_direct(added.p50_us),
            unless_direct(added.p99_us),
        ]);
    }
    table
}

/// Streams at half load: until the first byte and the last.
pub(super) fn first_byte(half: &Half) -> Table {
    let shape = Shape::Stream;
    let mut table = Table::new(&[
        &format!("first and last byte: {}, {}", shape.as_str(), words(half.streamed)),
        "requests/s",
        "first p50 ms",
        "first p99 ms",
        "last p50 ms",
        "last p99 ms",
        "added, first p50",
        "added, first p99",
        "added, last p99",
    ]);
    for (target, rate) in rates(half, shape) {
        let (first, last) = (half.first(shape, target), half.last(shape, target));
        let more = added(first, half.first(shape, Target::Direct));
        let more_last = added(last, half.last(shape, Target::Direct));
        let unless_direct = |us| if target == Target::Direct { "–".to_owned() } else { millis(us) };
        table.row(vec![
            target.name(),
            grouped(rate),
            millis(first.p50_us),
            millis(first.p99_us),
            millis(last.p50_us),
            millis(last.p99_us),
            unless_direct(more.p50_us),
            unless_direct(more.p99_us),
            unless_direct(more_last.p99_us),
        ]);
    }
    table
}

fn words(pace: Pace) -> String {
    let Pace { connections, per_second, model_ms, .. } = pace;
    format!("{} a second over {connections} connections, the model takes {model_ms} ms", grouped(per_second))
}

fn rates(half: &Half, shape: Shape) -> impl Iterator<Item = (Target, f64)> {
    half::TARGETS.into_iter().filter_map(move |target| {
        let runs = half.of(shape, target);
        let rate = median(runs.iter().map(|run| run.sample.per_second));
        (!runs.is_empty()).then_some((target, rate))
    })
}

/// Resident memory of the proxies over all loads, and of the collector.
pub(super) fn memory(runs: &Runs, stage: &Stage<'_>) -> Table {
    let mut table = Table::new(&["resident memory", "idle", "most after a load"]);
    for target in TARGETS {
        let costs = || {
            let of_target = runs.all().filter(move |(of, _)| *of == target);
            of_target.filter_map(|(_, run)| run.cost.as_ref())
        };
        if costs().next().is_some() {
            let idle = median(costs().map(|cost| cost.idle_rss));
            let most = costs().map(|cost| cost.rss).fold(0.0, f64::max);
            table.row(vec![target.name(), mebibytes(idle), mebibytes(most)]);
        }
    }
    table.row(vec![
        "Indelible's collector, after all loads".to_owned(),
        mebibytes(stage.collector_idle_rss),
        mebibytes(stage.collector_rss()),
    ]);
    table
}

/// Errors, loads whose records the collector did not have in time, gateways that did not wait quietly.
pub(super) fn note_problems<'a>(
    section: &mut Section,
    runs: &'a Runs,
    others: impl Iterator<Item = (Target, &'a Run)>,
) {
    let mut errors = BTreeMap::<Target, (f64, f64)>::new();
    let mut waiting = BTreeMap::<Target, f64>::new();
    for (target, run) in runs.all().chain(others) {
        let (wrong, all) = errors.entry(target).or_default();
        *wrong += run.sample.errors;
        *all += run.sample.requests;
        let Some(cost) = &run.cost else { continue };
        if let Some(drained) = cost.drained.as_ref().filter(|drained| !drained.whole) {
            section.note(format!(
                "**{}: {DRAIN_LIMIT:?} after a load the collector still lacked frames; {} were unshipped at the end of \
                 the load**",
                target.name(),
                grouped(drained.behind)
            ));
        }
        let share = waiting.entry(target).or_default();
        *share = cost.waiting_share.unwrap_or(0.0).max(*share);
    }
    for (target, share) in waiting.into_iter().filter(|(_, share)| *share > WAITING_SHARE_MAX) {
        section.note(format!(
            "**{}: the gateway took {:.0} % of a core while it could only wait for the collector**",
            target.name(),
            100.0 * share
        ));
    }
    for (target, (wrong, all)) in errors.into_iter().filter(|(_, (wrong, _))| *wrong > 0.0) {
        section.note(format!(
            "**{}: {} errors (status or socket) beside {} answers**",
            target.name(),
            grouped(wrong),
            grouped(all)
        ));
    }
}
