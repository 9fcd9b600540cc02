//! The processes that stay for the whole measurement, and one load on one of them.
//!
//! Every load of Indelible gets a fresh gateway process with an empty spool, which ships over mutual TLS
//! to one collector process that stays. After each load everything must reach the collector before the
//! next one begins, so that nobody is measured while another still works.
//!
//! "Collector elsewhere" stands for the collector's own machine: its process is held while the load is on. The
//! gateway captures, encrypts, syncs and spools as ever; its first batch waits for an answer as on a slow
//! network, so shipping is only measured after the load, when the collector goes on.

use super::target::{Collector, Shape, Target};
use super::{paced, paced::Pace};
use crate::bench::indelible::{Drained, Mode, Site, stop_collector};
use crate::bench::peers::{self, Nginx, Peer};
use crate::bench::process::{self, Process};
use crate::bench::report::{Section, grouped};
use crate::bench::{Bench, Outcome, say};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the collector may take for what a load left in the spool.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// After a load, until the gateway has nothing to do but wait for the held collector.
const SETTLE: Duration = Duration::from_millis(100);
/// How long it is then watched.
const WATCH: Duration = Duration::from_millis(300);
/// Slow peers load parts of themselves with their first requests.
const WARM_UP: Pace = Pace { connections: 2, per_second: 4.0, seconds: 2, model_ms: 0 };

/// The processes.
pub(super) struct Stage<'a> {
    pub(super) bench: &'a Bench,
    pub(super) wrk: PathBuf,
    pub(super) nginx: Option<Nginx>,
    envoy: Option<Peer>,
    litellm: Option<Peer>,
    aegis: Option<Peer>,
    /// What could not be measured beside, and why.
    pub(super) absent: Vec<String>,
    upstream: u16,
    site: Site,
    collector: Process,
    pub(super) collector_idle_rss: f64,
    standin: Process,
    tally: Cell<Tally>,
}

/// What the ledger must account for.
#[derive(Clone, Copy, Default)]
struct Tally {
    answered: f64,
    /// Requests that may be recorded, too: their client hung up or got an error.
    cut_off: usize,
}

/// The proxy that a load goes to.
pub(super) struct Front<'a> {
    pub(super) port: u16,
    /// Its resident bytes now.
    pub(super) rss: &'a dyn Fn() -> f64,
}

/// What a load generator saw.
pub(super) struct Sample {
    pub(super) requests: f64,
    pub(super) errors: f64,
    pub(super) per_second: f64,
    /// Until the first byte of the body, if that was looked at.
    pub(super) first: Option<Quantiles>,
    /// Until the last.
    pub(super) last: Quantiles,
    /// How many requests were given up, at the end of the load or for an error.
    pub(super) cut_off: usize,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Quantiles {
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// One load and what it cost.
pub(super) struct Run {
    pub(super) sample: Sample,
    /// `None`: there is no proxy.
    pub(super) cost: Option<Cost>,
}

/// What a load cost the proxy.
pub(super) struct Cost {
    /// CPU seconds, shipping included.
    pub(super) cpu_s: f64,
    /// Those of them that were used after the load, to ship what it left.
    pub(super) ship_cpu_s: f64,
    pub(super) collector_cpu_s: f64,
    pub(super) idle_rss: f64,
    /// Right after the load.
    pub(super) rss: f64,
    pub(super) drained: Option<Drained>,
    /// Share of one core that the gateway took while it could only wait for the held collector.
    pub(super) waiting_share: Option<f64>,
}

impl Quantiles {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted.get(sorted.len() * percent / 100).copied().unwrap_or(0.0);
        Self { p50_us: at(50), p99_us: at(99) }
    }
}

impl<'a> Stage<'a> {
    pub(super) fn set(bench: &'a Bench, wrk: PathBuf) -> Outcome<Self> {
        let upstream = process::free_port()?;
        let mut command = Command::new(&bench.standin);
        command.args(["--listen", &format!("127.0.0.1:{upstream}")]);
        let mut standin =
            Process::start("indelible-standin", &mut command, &bench.dir().join("standin.log"))?;
        standin.wait_until(START_TIMEOUT, || process::http_get(upstream, "/health").is_some())?;
        let site = Site::create(bench, "gateway")?;
        let collector = site.start_collector(&[])?;
        let collector_idle_rss = process::rss_bytes(collector.id());
        let mut absent = Vec::new();
        let mut found = |name: &str, outcome: Outcome<Option<Peer>>| match outcome {
            Ok(Some(peer)) => Some(peer),
            Ok(None) => {
                absent.push(format!("{name}: not found, skipped"));
                None
            }
            Err(error) => {
                absent.push(format!("{name}: did not start, skipped ({error})"));
                None
            }
        };
        say("gateway: starting the peers (LiteLLM takes its time)");
        let [plain, stream] = [Shape::Small, Shape::Stream].map(Shape::controls);
        let nginx = Nginx::start(bench, upstream, &plain, &stream)?;
        let envoy = found("Envoy", peers::start_envoy(bench, upstream));
        let models = [Shape::Small, Shape::Stream].map(|shape| (shape.model(), shape.controls()));
        let litellm = found("LiteLLM", peers::start_litellm(bench, upstream, &models));
        let aegis = found("Aegis", nginx.as_ref().map_or(Ok(None), |nginx| peers::start_aegis(bench, nginx)));
        if nginx.is_none() {
            absent.insert(0, "nginx: not found, skipped".to_owned());
        }
        for peer in litellm.iter().chain(&aegis) {
            peer.hold()?;
        }
        let tally = Cell::default();
        Ok(Self {
            bench,
            wrk,
            nginx,
            envoy,
            litellm,
            aegis,
            absent,
            upstream,
            site,
            collector,
            collector_idle_rss,
            standin,
            tally,
        })
    }

    /// What runs beside Indelible, for the report.
    pub(super) fn peers(&self) -> impl Iterator<Item = &Peer> {
        let nginx = self.nginx.as_ref().map(|nginx| &nginx.peer);
        nginx.into_iter().chain(&self.envoy).chain(&self.litellm).chain(&self.aegis)
    }

    /// What the gateway of the last load printed.
    pub(super) fn gateway_said(&self) -> String {
        self.site.gateway_said()
    }

    /// Resident bytes of the collector now.
    pub(super) fn collector_rss(&self) -> f64 {
        process::rss_bytes(self.collector.id())
    }

    /// Has `load` put on `target`. `None`: that peer is not here.
    pub(super) fn run(
        &self,
        target: Target,
        shape: Shape,
        load: impl Fn(&Front<'_>) -> Outcome<Sample>,
    ) -> Outcome<Option<Run>> {
        let peer = match target {
            Target::Direct => {
                let front = Front { port: self.upstream, rss: &|| 0.0 };
                return load(&front).map(|sample| Some(Run { sample, cost: None }));
            }
            Target::Indelible(mode, collector) => {
                return self.run_indelible(mode, collector, None, load).map(Some);
            }
            Target::Nginx => self.nginx.as_ref().map(|nginx| &nginx.peer),
            Target::Envoy => self.envoy.as_ref(),
            Target::LiteLlm => self.litellm.as_ref(),
            Target::Aegis => self.aegis.as_ref(),
        };
        let Some(peer) = peer else { return Ok(None) };
        let port = peer.port(shape == Shape::Stream);
        if target.is_slow() {
            peer.release()?;
            // What comes of it is not measured; what cannot answer shows in the load.
            let _ = paced::load(port, shape, WARM_UP);
        }
        let (idle_rss, cpu) = (peer.rss_bytes(), peer.cpu_seconds());
        let sample = load(&Front { port, rss: &|| peer.rss_bytes() })?;
        let cpu_s = peer.cpu_seconds() - cpu;
        let rss = peer.rss_bytes();
        if target.is_slow() {
            peer.hold()?;
        }
        let (ship_cpu_s, collector_cpu_s) = (0.0, 0.0);
        let (drained, waiting_share) = (None, None);
        let cost = Cost { cpu_s, ship_cpu_s, collector_cpu_s, idle_rss, rss, drained, waiting_share };
        Ok(Some(Run { sample, cost: Some(cost) }))
    }

    /// Has `load` put on a gateway of its own, which loads the library `preload` if one is given.
    pub(super) fn run_indelible(
        &self,
        mode: Mode,
        collector: Collector,
        preload: Option<&Path>,
        load: impl Fn(&Front<'_>) -> Outcome<Sample>,
    ) -> Outcome<Run> {
        let gateway = self.site.start_gateway(mode, self.upstream, preload)?;
        // What it has to say of itself is said, and the connection to the collector stands.
        gateway.drain(START_TIMEOUT);
        let id = gateway.process.id();
        let idle_rss = process::rss_bytes(id);
        if collector == Collector::Elsewhere {
            self.collector.hold()?;
        }
        let cpu = process::cpu_seconds(id);
        let collector_cpu = process::cpu_seconds(self.collector.id());
        let sample = load(&Front { port: gateway.port, rss: &|| process::rss_bytes(id) });
        let (loaded_cpu, rss) = (process::cpu_seconds(id), process::rss_bytes(id));
        let waiting_share = (collector == Collector::Elsewhere).then(|| watch(id));
        self.collector.release()?;
        let sample = sample?;
        let drained = gateway.drain(DRAIN_LIMIT);
        let cpu_s = process::cpu_seconds(id) - cpu;
        let ship_cpu_s = cpu + cpu_s - loaded_cpu;
        let collector_cpu_s = process::cpu_seconds(self.collector.id()) - collector_cpu;
        gateway.stop(drained.whole)?;
        let mut tally = self.tally.get();
        tally.answered += sample.requests;
        tally.cut_off += sample.cut_off;
        self.tally.set(tally);
        let drained = Some(drained);
        let cost = Cost { cpu_s, ship_cpu_s, collector_cpu_s, idle_rss, rss, drained, waiting_share };
        Ok(Run { sample, cost: Some(cost) })
    }

    /// Ends everything in good order and lets the auditor look.
    pub(super) fn strike(self, section: &mut Section) -> Outcome<Site> {
        say("gateway: stopping, verifying");
        let Tally { answered, cut_off } = self.tally.get();
        stop_collector(self.collector)?;
        self.standin.stop("TERM", START_TIMEOUT)?;
        let verdict = self.site.verify(&[])?;
        let recorded = verdict.entries.saturating_sub(1);
        let more = recorded as f64 - answered;
        let complete = (0.0..=cut_off as f64).contains(&more);
        section.note(format!(
            "`indelible verify` over all of it: **{}** ({} bytes). Entries: {}; answers that the load generators \
             counted: {}; the {} more are requests that they gave up at the end of a load (at most {cut_off}): {}.",
            verdict.words,
            grouped(verdict.bytes as f64),
            grouped(recorded as f64),
            grouped(answered),
            grouped(more),
            if complete { "complete" } else { "**NOT COMPLETE**" }
        ));
        if !(verdict.holds() && complete) {
            section.note("**The ledger does not account for the load: the figures above are not valid.**");
        }
        Ok(self.site)
    }
}

/// Share of one core that a gateway takes while the collector, to which it has something to send, is held.
fn watch(id: u32) -> f64 {
    thread::sleep(SETTLE);
    let (started, cpu) = (Instant::now(), process::cpu_seconds(id));
    thread::sleep(WATCH);
    (process::cpu_seconds(id) - cpu) / started.elapsed().as_secs_f64()
}
