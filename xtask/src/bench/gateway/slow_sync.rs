//! A disk whose `fdatasync` takes 4 ms more: some are like that.
//!
//! A library of a few lines, compiled here and loaded into the gateway's process alone, sleeps before the real
//! call. Nothing of the product knows of it.

use super::half::{added, middle, pace};
use super::paced;
use super::stage::{Quantiles, Run, Stage};
use super::target::{Collector, Shape, Target};
use super::{GOAL_CONNECTIONS, Runs, wrk};
use crate::bench::indelible::Mode;
use crate::bench::report::{Table, grouped, median, millis, ratio};
use crate::bench::{Outcome, process, say};
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("slow_sync.c");
const SLEEP_MS: u64 = 4;
/// How long the model takes at half load.
const MODEL_MS: u64 = 2;
const ROUNDS_MAX: usize = 2;

/// What was measured, by number of connections.
pub(super) struct SlowSync(Vec<Measured>);

struct Measured {
    connections: usize,
    full: Vec<Run>,
    /// How often the gateway synced meanwhile.
    syncs: Vec<f64>,
    /// Half of the rate of `full`, without a proxy and with the gateway.
    direct: Vec<Run>,
    half: Vec<Run>,
}

/// `None`: there is no C compiler here.
pub(super) fn measure(stage: &Stage<'_>) -> Outcome<Option<SlowSync>> {
    if process::find("cc").is_none() {
        return Ok(None);
    }
    let library = compile(stage.bench.dir())?;
    let effort = stage.bench.effort;
    let new =
        |connections| Measured { connections, full: vec![], syncs: vec![], direct: vec![], half: vec![] };
    let mut all = GOAL_CONNECTIONS.map(new);
    for round in 0..effort.rounds.min(ROUNDS_MAX) {
        say(&format!("gateway, fdatasync takes {SLEEP_MS} ms more, round {}", round + 1));
        for measured in &mut all {
            let connections = measured.connections;
            let full = stage.run_indelible(Mode::Durable, Collector::Elsewhere, Some(&library), |front| {
                let (dir, shape) = (stage.bench.dir(), Shape::Small);
                wrk::load(&stage.wrk, dir, front.port, shape, connections, effort.side_load_s)
            })?;
            measured.full.push(full);
            measured.syncs.push(calls(&stage.gateway_said()));
            let half = measured.rate() / 2.0;
            let pace = pace(connections, MODEL_MS, half, effort.light_load_s);
            let direct = stage
                .run(Target::Direct, Shape::Small, |front| paced::load(front.port, Shape::Small, pace))?;
            measured.direct.extend(direct);
            let half = stage.run_indelible(Mode::Durable, Collector::Elsewhere, Some(&library), |front| {
                paced::load(front.port, Shape::Small, pace)
            })?;
            measured.half.push(half);
        }
    }
    Ok(Some(SlowSync(all.into())))
}

fn compile(dir: &Path) -> Outcome<PathBuf> {
    let (source, library) = (dir.join("slow_sync.c"), dir.join("slow_sync.so"));
    std::fs::write(&source, SOURCE).map_err(|error| format!("{}: {error}", source.display()))?;
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-shared", "-fPIC", &format!("-DSLEEP_MS={SLEEP_MS}"), "-o"]);
    cc.arg(&library).arg(&source).arg("-ldl");
    process::output("cc", &mut cc)?;
    Ok(library)
}

/// How often the library was called, as it says itself when its process ends; 0 if it does not.
fn calls(said: &str) -> f64 {
    let line = said.lines().find_map(|line| line.strip_prefix("slow fdatasync: "));
    line.and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0.0)
}

impl Measured {
    fn rate(&self) -> f64 {
        median(self.full.iter().map(|run| run.sample.per_second))
    }

    fn requests_a_sync(&self) -> f64 {
        median(self.full.iter().zip(&self.syncs).map(|(run, syncs)| run.sample.requests / syncs.max(1.0)))
    }

    /// Latency that the gateway adds at half load.
    fn added(&self) -> Quantiles {
        let last = |runs: &[Run]| middle(runs, |run| Some(run.sample.last));
        added(last(&self.half), last(&self.direct))
    }
}

impl SlowSync {
    pub(super) fn table(&self, runs: &Runs) -> Table {
        let what = format!("{}, durable, fdatasync + {SLEEP_MS} ms", Shape::Small.as_str());
        let mut table = Table::new(&[
            &what,
            "requests/s",
            "min – max",
            "of it without",
            "of nginx",
            "p50 ms",
            "p99 ms",
            "requests a sync",
            "half load, requests/s",
            "added p50 ms",
            "added p99 ms",
        ]);
        for measured in &self.0 {
            let (rate, connections) = (measured.rate(), measured.connections);
            let rates = || measured.full.iter().map(|run| run.sample.per_second);
            let full = middle(&measured.full, |run| Some(run.sample.last));
            let added = measured.added();
            table.row(vec![
                format!("c = {connections}, collector elsewhere"),
                grouped(rate),
                format!(
                    "{} – {}",
                    grouped(rates().fold(f64::INFINITY, f64::min)),
                    grouped(rates().fold(0.0, f64::max))
                ),
                ratio(rate, runs.rate(Shape::Small, connections, Target::DURABLE)),
                ratio(rate, runs.rate(Shape::Small, connections, Target::Nginx)),
                millis(full.p50_us),
                millis(full.p99_us),
                format!("{:.1}", measured.requests_a_sync()),
                grouped(median(measured.half.iter().map(|run| run.sample.per_second))),
                millis(added.p50_us),
                millis(added.p99_us),
            ]);
        }
        table
    }

    /// Whether each gateway called it.
    pub(super) fn took_effect(&self) -> bool {
        self.0.iter().all(|measured| measured.syncs.iter().all(|syncs| *syncs > 0.0))
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = (Target, &Run)> {
        let indelible = self.0.iter().flat_map(|measured| measured.full.iter().chain(&measured.half));
        indelible.map(|run| (Target::DURABLE, run))
    }
}
