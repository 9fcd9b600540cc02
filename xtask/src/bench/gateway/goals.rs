//! The gateway's numbers beside those of DESIGN §8.

use super::half::{Half, added};
use super::stage::Stage;
use super::target::{SHAPES, Shape, Target};
use super::{GOAL_CONNECTIONS, MAIN_CONNECTIONS, Runs};
use crate::bench::machine::Machine;
use crate::bench::report::{Goal, mebibytes, ratio};

const ENVOY_GOAL: f64 = 1.0;
const SLOW_PEERS_GOAL: f64 = 200.0;
const RELAXED_MS: f64 = 1.0;
const GATEWAY_IDLE_MIB: f64 = 64.0;
const COLLECTOR_MIB: f64 = 512.0;

pub(super) fn all(runs: &Runs, half: &Half, machine: &Machine, stage: &Stage<'_>) -> Vec<Goal> {
    let mut goals = Vec::new();
    for shape in SHAPES {
        for connections in GOAL_CONNECTIONS {
            goals.extend(beside(runs, shape, connections, Target::Nginx, shape.goal()));
        }
    }
    for shape in SHAPES {
        goals.extend(beside(runs, shape, MAIN_CONNECTIONS, Target::Envoy, ENVOY_GOAL));
    }
    for peer in [Target::LiteLlm, Target::Aegis] {
        goals.extend(beside(runs, Shape::Small, MAIN_CONNECTIONS, peer, SLOW_PEERS_GOAL));
    }
    goals.extend(latency(half, machine));
    goals.extend(memory(runs, stage));
    goals
}

/// `durable` beside a peer. The collector's place is another machine; what the same cores do to it stands beside.
fn beside(runs: &Runs, shape: Shape, connections: usize, peer: Target, least: f64) -> Option<Goal> {
    let rate = |target| runs.rate(shape, connections, target);
    let (theirs, ours, crowded) = (rate(peer), rate(Target::DURABLE), rate(Target::DURABLE_BESIDE));
    if theirs == 0.0 {
        return None;
    }
    let name = peer.name();
    let name = name.split(',').next().unwrap_or_default();
    let mut found = ratio(ours, theirs);
    if crowded > 0.0 {
        found = format!("{found} (collector on the same cores: {})", ratio(crowded, theirs));
    }
    Some(Goal {
        what: format!("gateway, durable, {}, c = {connections}, requests/s", shape.as_str()),
        wanted: format!("≥ {least} × {name}"),
        found,
        met: ours >= least * theirs,
    })
}

fn latency(half: &Half, machine: &Machine) -> Vec<Goal> {
    let sync_ms = machine.quiet.p99_us / 1000.0;
    let last = |target| half.last(Shape::Small, target);
    let first = |target| half.first(Shape::Stream, target);
    let mut goals = Vec::new();
    for (name, target, most_ms) in
        [("relaxed", Target::RELAXED, RELAXED_MS), ("durable", Target::DURABLE, RELAXED_MS + 2.0 * sync_ms)]
    {
        let ms = added(last(target), last(Target::Direct)).p99_us / 1000.0;
        goals.push(Goal {
            what: format!("gateway, {name}, p99 added at half load"),
            wanted: format!("≤ {most_ms:.2} ms"),
            found: format!("{ms:.2} ms"),
            met: ms <= most_ms,
        });
    }
    let model_ms = half.streamed.model_ms as f64;
    let most_ms = (sync_ms - model_ms).max(0.0);
    let ms = |target| added(first(target), first(Target::Direct)).p50_us / 1000.0;
    let nginx = half
        .of(Shape::Stream, Target::Nginx)
        .first()
        .map(|_| format!(" (nginx: {:.2} ms)", ms(Target::Nginx)));
    goals.push(Goal {
        what: "gateway, durable, time to first token, p50 added at half load".to_owned(),
        wanted: format!("≤ fdatasync − the model's {model_ms} ms, {most_ms:.2} ms"),
        found: format!("{:.2} ms{}", ms(Target::DURABLE), nginx.unwrap_or_default()),
        met: ms(Target::DURABLE) <= most_ms,
    });
    goals
}

fn memory(runs: &Runs, stage: &Stage<'_>) -> Vec<Goal> {
    let indelible = runs.all().filter(|(target, _)| target.is_indelible());
    let idle =
        indelible.filter_map(|(_, run)| run.cost.as_ref()).map(|cost| cost.idle_rss).fold(0.0, f64::max);
    let collector = stage.collector_rss();
    let rows = [
        ("gateway, memory, idle", GATEWAY_IDLE_MIB, idle),
        ("collector, memory, after all loads of the gateway", COLLECTOR_MIB, collector),
    ];
    let goal = |(what, most, found): (&str, f64, f64)| Goal {
        what: what.to_owned(),
        wanted: format!("< {most} MiB"),
        found: mebibytes(found),
        met: found < most * f64::from(1 << 20),
    };
    rows.map(goal).into()
}
