//! The gateway beside no proxy at all, and beside the peers: the same model server, the same load.
//!
//! * `target`: what is asked, of whom
//! * `stage`: the processes, and one load on one of them
//! * `wrk`, `paced`, `http`: who asks: as fast as it goes, or at a fixed rate and watching the first byte
//! * `half`: latency at half load; `slow_sync`: a disk that takes 4 ms more; `slow_clients`: memory
//! * `tables`, `goals`: what is said of it
//!
//! At the end `indelible verify` has to say HOLDS, and the ledger has to have an entry for every request that
//! was answered.

mod goals;
mod half;
mod http;
mod paced;
mod slow_clients;
mod slow_sync;
mod stage;
mod tables;
mod target;
mod wrk;

use super::indelible::Site;
use super::machine::Machine;
use super::process;
use super::report::{Section, median};
use super::{Bench, Outcome, say};
use stage::{Run, Stage};
use std::collections::BTreeMap;
use target::{SHAPES, Shape, TARGETS, Target};

/// Connections of a load. With the one in the middle everything is measured, with the others what matters most.
const CONNECTIONS: [usize; 3] = [1, MAIN_CONNECTIONS, 256];
const MAIN_CONNECTIONS: usize = 32;
/// With these, the goals hold.
const GOAL_CONNECTIONS: [usize; 2] = [MAIN_CONNECTIONS, 256];

/// Loads as hard as they go.
#[derive(Default)]
struct Runs(BTreeMap<(Shape, usize, Target), Vec<Run>>);

/// Measures, and hands over the collector's directory for `verify`.
pub(crate) fn measure(bench: &Bench, machine: &Machine) -> Outcome<(Section, Option<Site>)> {
    let mut section = Section::new("Gateway");
    let Some(wrk) = process::find("wrk") else {
        section.note("wrk (the load generator): not found, skipped");
        return Ok((section, None));
    };
    let stage = Stage::set(bench, wrk)?;
    let mut runs = Runs::default();
    let rounds = full_loads(&stage, &mut runs)?;
    let half = half::measure(&stage, &runs)?;
    let slow_sync = slow_sync::measure(&stage)?;
    let slow_clients = slow_clients::measure(&stage)?;
    tables::describe(&mut section, &stage, rounds);
    section.tables.extend(SHAPES.map(|shape| tables::full(&runs, shape)));
    section.tables.extend([tables::half(&half), tables::first_byte(&half)]);
    section.tables.extend(slow_sync.as_ref().map(|found| found.table(&runs)));
    section.tables.push(slow_clients::table(&slow_clients));
    section.tables.push(tables::memory(&runs, &stage));
    section.goals = goals::all(&runs, &half, machine, &stage);
    match &slow_sync {
        None => section.note("Slow `fdatasync`: `cc` not found, skipped"),
        Some(found) if !found.took_effect() => {
            section.note("**The slow `fdatasync` had no effect: its figures are not valid.**");
        }
        Some(_) => {}
    }
    let sparse = slow_sync.iter().flat_map(slow_sync::SlowSync::runs);
    tables::note_problems(
        &mut section,
        &runs,
        half.runs().chain(sparse).chain(slow_clients::runs(&slow_clients)),
    );
    let site = stage.strike(&mut section)?;
    Ok((section, Some(site)))
}

/// All shapes, connections and targets as hard as they go; says how many rounds there was time for.
fn full_loads(stage: &Stage<'_>, runs: &mut Runs) -> Outcome<usize> {
    let effort = stage.bench.effort;
    for round in 0..effort.rounds {
        if round > 0 && !stage.bench.has_time(effort.full_loads_until) {
            return Ok(round);
        }
        for shape in SHAPES {
            for connections in CONNECTIONS {
                let of = effort.rounds;
                say(&format!("gateway, {}, c = {connections}, round {} of {of}", shape.as_str(), round + 1));
                for target in TARGETS.into_iter().filter(|target| takes_part(*target, connections, round)) {
                    let seconds = match connections {
                        _ if target.is_slow() => effort.slow_load_s,
                        MAIN_CONNECTIONS => effort.load_s,
                        _ => effort.side_load_s,
                    };
                    let dir = stage.bench.dir();
                    let run = stage.run(target, shape, |front| {
                        wrk::load(&stage.wrk, dir, front.port, shape, connections, seconds)
                    })?;
                    runs.0.entry((shape, connections, target)).or_default().extend(run);
                }
            }
        }
    }
    Ok(effort.rounds)
}

/// Bounds the time that all of it takes.
fn takes_part(target: Target, connections: usize, round: usize) -> bool {
    match target {
        Target::LiteLlm | Target::Aegis => connections == MAIN_CONNECTIONS && round == 0,
        _ if target == Target::Direct || target == Target::Nginx || target == Target::DURABLE => true,
        _ => connections == MAIN_CONNECTIONS,
    }
}

impl Runs {
    fn of(&self, shape: Shape, connections: usize, target: Target) -> &[Run] {
        self.0.get(&(shape, connections, target)).map_or(&[], Vec::as_slice)
    }

    /// Requests a second, the median of the rounds; 0 for what was not measured.
    fn rate(&self, shape: Shape, connections: usize, target: Target) -> f64 {
        median(self.of(shape, connections, target).iter().map(|run| run.sample.per_second))
    }

    fn all(&self) -> impl Iterator<Item = (Target, &Run)> {
        self.0.iter().flat_map(|((_, _, target), runs)| runs.iter().map(|run| (*target, run)))
    }
}
