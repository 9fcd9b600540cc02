//! Latency while there is room to spare: requests at a fixed rate, about half of what `durable` can do.

use super::paced::{self, Pace};
use super::stage::{Quantiles, Run, Stage};
use super::target::{Shape, Target};
use super::{MAIN_CONNECTIONS, Runs};
use crate::bench::report::median;
use crate::bench::{Outcome, say};
use std::collections::BTreeMap;

pub(super) const TARGETS: [Target; 6] =
    [Target::Direct, Target::Nginx, Target::Envoy, Target::DURABLE, Target::DURABLE_BESIDE, Target::RELAXED];
/// Connections, and how long the model takes: plain answers, and streams.
const PLAIN: (usize, u64) = (32, 2);
const STREAMED: (usize, u64) = (16, 5);

/// What was measured at half load.
pub(super) struct Half {
    pub(super) plain: Pace,
    pub(super) streamed: Pace,
    runs: BTreeMap<(Shape, Target), Vec<Run>>,
}

/// Plain answers of 2 KiB, and streams.
pub(super) fn measure(stage: &Stage<'_>, full: &Runs) -> Outcome<Half> {
    let effort = stage.bench.effort;
    let pace = |shape, (connections, model_ms)| {
        let most = full.rate(shape, MAIN_CONNECTIONS, Target::DURABLE);
        pace(connections, model_ms, most / 2.0, effort.light_load_s)
    };
    let mut half = Half {
        plain: pace(Shape::Small, PLAIN),
        streamed: pace(Shape::Stream, STREAMED),
        runs: BTreeMap::new(),
    };
    for round in 0..effort.rounds {
        if round > 0 && !stage.bench.has_time(effort.gateway_until) {
            break;
        }
        say(&format!("gateway, half load, round {} of {}", round + 1, effort.rounds));
        for (shape, pace) in [(Shape::Small, half.plain), (Shape::Stream, half.streamed)] {
            for target in TARGETS {
                let run = stage.run(target, shape, |front| paced::load(front.port, shape, pace))?;
                half.runs.entry((shape, target)).or_default().extend(run);
            }
        }
    }
    Ok(half)
}

/// A pace that leaves connections idle half of the time if nothing but the model takes time.
pub(super) fn pace(connections: usize, model_ms: u64, per_second: f64, seconds: u64) -> Pace {
    let most = connections as f64 * 1000.0 / (2.0 * model_ms.max(1) as f64);
    Pace { connections, per_second: per_second.clamp(1.0, most), seconds, model_ms }
}

impl Half {
    pub(super) fn of(&self, shape: Shape, target: Target) -> &[Run] {
        self.runs.get(&(shape, target)).map_or(&[], Vec::as_slice)
    }

    /// Until the last byte: the medians of the rounds.
    pub(super) fn last(&self, shape: Shape, target: Target) -> Quantiles {
        middle(self.of(shape, target), |run| Some(run.sample.last))
    }

    /// Until the first byte: the medians of the rounds.
    pub(super) fn first(&self, shape: Shape, target: Target) -> Quantiles {
        middle(self.of(shape, target), |run| run.sample.first)
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = (Target, &Run)> {
        self.runs.iter().flat_map(|((_, target), runs)| runs.iter().map(|run| (*target, run)))
    }
}

/// Medians of the rounds' quantiles.
pub(super) fn middle(runs: &[Run], quantiles: impl Fn(&Run) -> Option<Quantiles>) -> Quantiles {
    let of = |pick: fn(Quantiles) -> f64| median(runs.iter().filter_map(|run| quantiles(run).map(pick)));
    Quantiles { p50_us: of(|both| both.p50_us), p99_us: of(|both| both.p99_us) }
}

/// What `with` takes longer than `without`.
pub(super) fn added(with: Quantiles, without: Quantiles) -> Quantiles {
    Quantiles { p50_us: with.p50_us - without.p50_us, p99_us: with.p99_us - without.p99_us }
}
