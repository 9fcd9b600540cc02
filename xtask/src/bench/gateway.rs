//! The gateway beside no proxy at all and beside nginx: the same model server, the same load.
//!
//! Every load of Indelible gets a fresh gateway process with an empty spool, which ships over mutual TLS
//! to one collector process that stays. After each load everything must reach the collector before the
//! next one begins, so that nobody is measured while another still works. At the end `indelible verify`
//! has to say HOLDS, and the ledger has to have an entry for every request that was answered.

use super::indelible::{Drained, Mode, Site, stop_collector};
use super::machine::Machine;
use super::peers::Nginx;
use super::process::{self, Process};
use super::report::{Goal, Section, Table, grouped, mebibytes, median, millis, ratio};
use super::{Bench, Outcome, say};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_TIMEOUT: Duration = Duration::from_secs(10);
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Connections of a full load and of a paced one.
const CONNECTIONS: usize = 32;
/// Connections of a light load.
const LIGHT_CONNECTIONS: usize = 4;
const SHAPES: [Shape; 3] = [Shape::Small, Shape::Stream, Shape::Large];
const TARGETS: [Target; 5] = [
    Target::Direct,
    Target::Nginx,
    Target::Indelible(Mode::Durable),
    Target::Indelible(Mode::Relaxed),
    Target::Indelible(Mode::Receipt),
];

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// 4 KiB up, 2 KiB down.
    Small,
    /// 4 KiB up, 100 frames down.
    Stream,
    /// 100 KiB up, 2 KiB down.
    Large,
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Direct,
    Nginx,
    Indelible(Mode),
}

/// How hard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Load {
    /// As many requests as 32 connections get answered.
    Full,
    /// As many as 4 get answered.
    Light,
    /// 32 connections, and a model server that takes so many milliseconds: about half of what the gateway
    /// can do.
    Half(u64),
}

/// What one load came to.
struct Run {
    requests: f64,
    errors: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Of the proxy, shipping included; 0 for no proxy.
    proxy_cpu_s: f64,
    collector_cpu_s: f64,
    /// Idle, and right after the load.
    proxy_rss: (f64, f64),
    drained: Option<Drained>,
}

type Runs = BTreeMap<(Shape, Load, Target), Vec<Run>>;

/// The processes that stay for the whole measurement.
struct Stage<'a> {
    bench: &'a Bench,
    wrk: PathBuf,
    standin: Process,
    upstream: u16,
    nginx: Option<Nginx>,
    site: Site,
    collector: Process,
    collector_idle_rss: f64,
}

/// Measures, and hands over the collector's directory for `verify`.
pub(crate) fn measure(bench: &Bench, machine: &Machine) -> Outcome<(Section, Option<Site>)> {
    let mut section = Section::new("Gateway");
    let Some(wrk) = process::find("wrk") else {
        section.note("wrk (the load generator): not found, skipped");
        return Ok((section, None));
    };
    let stage = Stage::set(bench, wrk)?;
    let mut runs = Runs::new();
    let rounds = stage.full_loads(&mut runs)?;
    let half = stage.light_loads(&mut runs)?;
    describe(&mut section, &stage, rounds);
    for shape in SHAPES {
        section.tables.push(full_table(&runs, shape));
    }
    for load in [Load::Light, half] {
        section.tables.push(latency_table(&runs, load));
    }
    section.tables.push(memory_table(&runs, &stage));
    section.goals = goals(&runs, half, machine, &stage);
    note_problems(&mut section, &runs);
    let site = stage.strike(&mut section, &runs)?;
    Ok((section, Some(site)))
}

impl<'a> Stage<'a> {
    fn set(bench: &'a Bench, wrk: PathBuf) -> Outcome<Self> {
        let upstream = process::free_port()?;
        let mut command = Command::new(&bench.standin);
        command.args(["--listen", &format!("127.0.0.1:{upstream}")]);
        let mut standin =
            Process::start("indelible-standin", &mut command, &bench.dir().join("standin.log"))?;
        standin.wait_until(START_TIMEOUT, || process::http_get(upstream, "/health").is_some())?;
        let nginx = Nginx::start(bench, upstream)?;
        let site = Site::create(bench, "gateway")?;
        let collector = site.start_collector()?;
        let collector_idle_rss = process::rss_bytes(collector.id());
        Ok(Self { bench, wrk, standin, upstream, nginx, site, collector, collector_idle_rss })
    }

    /// All shapes and targets as hard as they go; says how many rounds there was time for.
    fn full_loads(&self, runs: &mut Runs) -> Outcome<usize> {
        let effort = self.bench.effort;
        for round in 0..effort.rounds {
            if round > 0 && !self.bench.has_time(effort.gateway_until * 3 / 4) {
                return Ok(round);
            }
            say(&format!("gateway, full load, round {} of {}", round + 1, effort.rounds));
            for shape in SHAPES {
                self.all_targets(runs, shape, Load::Full, effort.load_s)?;
            }
        }
        Ok(effort.rounds)
    }

    /// Latency while there is room to spare; says how the half load was paced.
    fn light_loads(&self, runs: &mut Runs) -> Outcome<Load> {
        let effort = self.bench.effort;
        let durable = (Shape::Small, Load::Full, Target::Indelible(Mode::Durable));
        let most = of(runs, durable, |run| run.per_second);
        let half = Load::Half((2000.0 * CONNECTIONS as f64 / most.max(1.0)).ceil().max(1.0) as u64);
        for round in 0..effort.rounds {
            if round > 0 && !self.bench.has_time(effort.gateway_until) {
                break;
            }
            say(&format!("gateway, light loads, round {} of {}", round + 1, effort.rounds));
            for load in [Load::Light, half] {
                self.all_targets(runs, Shape::Small, load, effort.light_load_s)?;
            }
        }
        Ok(half)
    }

    fn all_targets(&self, runs: &mut Runs, shape: Shape, load: Load, seconds: u64) -> Outcome<()> {
        for target in TARGETS {
            if let Some(run) = self.run(shape, load, target, seconds)? {
                runs.entry((shape, load, target)).or_default().push(run);
            }
        }
        Ok(())
    }

    /// `None`: that peer is not here.
    fn run(&self, shape: Shape, load: Load, target: Target, seconds: u64) -> Outcome<Option<Run>> {
        match (target, &self.nginx) {
            (Target::Direct, _) => self.wrk(self.upstream, shape, load, seconds).map(Some),
            (Target::Nginx, None) => Ok(None),
            (Target::Nginx, Some(nginx)) => {
                let port = if shape == Shape::Stream { nginx.stream_port } else { nginx.port };
                let (id, idle) = (nginx.process.id(), process::rss_bytes(nginx.process.id()));
                let cpu = process::cpu_seconds(id);
                let mut run = self.wrk(port, shape, load, seconds)?;
                run.proxy_cpu_s = process::cpu_seconds(id) - cpu;
                run.proxy_rss = (idle, process::rss_bytes(id));
                Ok(Some(run))
            }
            (Target::Indelible(mode), _) => self.run_indelible(mode, shape, load, seconds).map(Some),
        }
    }

    fn run_indelible(&self, mode: Mode, shape: Shape, load: Load, seconds: u64) -> Outcome<Run> {
        let gateway = self.site.start_gateway(mode, self.upstream)?;
        let (id, collector) = (gateway.process.id(), self.collector.id());
        let idle = process::rss_bytes(id);
        let cpu = (process::cpu_seconds(id), process::cpu_seconds(collector));
        let mut run = self.wrk(gateway.port, shape, load, seconds)?;
        run.proxy_rss = (idle, process::rss_bytes(id));
        let drained = gateway.drain(DRAIN_LIMIT);
        run.proxy_cpu_s = process::cpu_seconds(id) - cpu.0;
        run.collector_cpu_s = process::cpu_seconds(collector) - cpu.1;
        gateway.stop(drained.whole)?;
        run.drained = Some(drained);
        Ok(run)
    }

    fn wrk(&self, port: u16, shape: Shape, load: Load, seconds: u64) -> Outcome<Run> {
        let script = script(self.bench.dir(), shape, load)?;
        let connections = load.connections();
        let mut command = Command::new(&self.wrk);
        command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "10s"]);
        command.arg("-s").arg(&script).arg(format!("http://127.0.0.1:{port}/v1/chat/completions"));
        let said = process::output("wrk", &mut command)?;
        let line = said.lines().find_map(|line| line.strip_prefix("bench: "));
        let line = line.ok_or_else(|| format!("wrk said nothing that can be read: {said}"))?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [requests, duration_us, p50_us, p99_us, errors] = numbers[..] else {
            return Err(format!("wrk said nothing that can be read: {line}"));
        };
        Ok(Run {
            requests,
            errors,
            per_second: requests / (duration_us / 1e6),
            p50_us,
            p99_us,
            proxy_cpu_s: 0.0,
            collector_cpu_s: 0.0,
            proxy_rss: (0.0, 0.0),
            drained: None,
        })
    }

    /// Ends everything in good order and lets the auditor look.
    fn strike(self, section: &mut Section, runs: &Runs) -> Outcome<Site> {
        say("gateway: stopping, verifying");
        stop_collector(self.collector)?;
        self.standin.stop("TERM", START_TIMEOUT)?;
        let verdict = self.site.verify(&[])?;
        let recorded = verdict.entries.saturating_sub(1);
        let through = runs.iter().filter(|((_, _, target), _)| matches!(target, Target::Indelible(_)));
        let (mut answered, mut in_flight) = (0.0, 0);
        for ((_, load, _), runs) in through {
            answered += runs.iter().map(|run| run.requests).sum::<f64>();
            in_flight += runs.len() * load.connections();
        }
        let more = recorded as f64 - answered;
        let complete = (0.0..=in_flight as f64).contains(&more);
        section.note(format!(
            "`indelible verify` over all of it: **{}** ({} bytes). Entries: {}; answers that wrk counted: {}; \
             the {} more are requests that wrk hung up on at the end of a load (at most {in_flight}): {}.",
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

impl Shape {
    fn as_str(self) -> &'static str {
        match self {
            Self::Small => "4 KiB → 2 KiB",
            Self::Stream => "4 KiB → stream of 100 frames",
            Self::Large => "100 KiB → 2 KiB",
        }
    }

    fn request_bytes(self) -> usize {
        match self {
            Self::Small | Self::Stream => 4 << 10,
            Self::Large => 100 << 10,
        }
    }

    /// Least share of nginx's requests a second that `durable` is held to.
    fn goal(self) -> f64 {
        match self {
            Self::Small | Self::Stream => 0.6,
            Self::Large => 0.25,
        }
    }
}

impl Target {
    fn name(self) -> String {
        match self {
            Self::Direct => "direct, no proxy".to_owned(),
            Self::Nginx => "nginx, no capture".to_owned(),
            Self::Indelible(mode) => format!("Indelible, {}", mode.as_str()),
        }
    }
}

impl Load {
    fn connections(self) -> usize {
        match self {
            Self::Full | Self::Half(_) => CONNECTIONS,
            Self::Light => LIGHT_CONNECTIONS,
        }
    }
}

/// Writes the request's body and the script that sends it; wrk reports through `done`.
fn script(dir: &Path, shape: Shape, load: Load) -> Outcome<PathBuf> {
    let (body, script) = (dir.join("request.json"), dir.join("load.lua"));
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    std::fs::write(&body, request(shape)).map_err(fail)?;
    let mut controls = match shape {
        Shape::Stream => "fixed-stream=100".to_owned(),
        Shape::Small | Shape::Large => "fixed=2048".to_owned(),
    };
    if let Load::Half(delay_ms) = load {
        controls.push_str(&format!(",delay={delay_ms}"));
    }
    let text = format!(
        "wrk.method = 'POST'\n\
         wrk.headers['content-type'] = 'application/json'\n\
         wrk.headers['x-standin'] = '{controls}'\n\
         local file = io.open('{}', 'rb')\n\
         wrk.body = file:read('*a')\n\
         file:close()\n\
         done = function(summary, latency)\n\
         \x20 local e = summary.errors\n\
         \x20 local errors = e.connect + e.read + e.write + e.status + e.timeout\n\
         \x20 io.write(string.format('bench: %d %d %d %d %d\\n', summary.requests, summary.duration,\n\
         \x20   latency:percentile(50), latency:percentile(99), errors))\n\
         end\n",
        body.display()
    );
    std::fs::write(&script, text).map_err(fail)?;
    Ok(script)
}

/// A chat of the wanted size, in words that compress as text does.
fn request(shape: Shape) -> String {
    let stream = if shape == Shape::Stream { ",\"stream\":true" } else { "" };
    let frame = |text: &str| {
        format!(
            "{{\"model\":\"llama-3-8b-instruct\"{stream},\"temperature\":0.2,\"user\":\"bench-user\",\"messages\":[\
             {{\"role\":\"system\",\"content\":\"Be brief.\"}},{{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
        )
    };
    let room = shape.request_bytes() - frame("").len();
    frame(&super::collector::prose(1, room))
}

fn of(runs: &Runs, key: (Shape, Load, Target), number: impl Fn(&Run) -> f64) -> f64 {
    median(runs.get(&key).into_iter().flatten().map(number))
}

fn describe(section: &mut Section, stage: &Stage<'_>, rounds: usize) {
    let seconds = stage.bench.effort.load_s;
    section.note(format!(
        "`wrk -t1 -c{CONNECTIONS} -d{seconds}s` for full load; medians of {rounds} rounds, in which the targets \
         take turns. Load generator, model server, gateway and collector share the machine's cores."
    ));
    section.note(
        "Upstream: `indelible-standin` with answers made beforehand. Requests are prose in JSON. Indelible \
         captures request, response and headers whole, and a gateway process ships them over mutual TLS to a \
         collector process. \"CPU\" is user and system time per 1,000 requests until all is shipped; \"ship \
         lag\" is how long after the end of the load the collector had everything.",
    );
    match &stage.nginx {
        Some(nginx) => section.note(format!(
            "{}: 2 workers, `access_log off`, keep-alive to the upstream; `proxy_buffering off` for the stream",
            nginx.version
        )),
        None => section.note("nginx: not found, skipped"),
    }
    section.note("Envoy, LiteLLM, Aegis: not found, skipped. Time to first token: not measured, wrk cannot.");
}

fn full_table(runs: &Runs, shape: Shape) -> Table {
    let mut table = Table::new(&[
        &format!("{}, c = {CONNECTIONS}", shape.as_str()),
        "requests/s",
        "min – max",
        "of nginx",
        "of direct",
        "p50 ms",
        "p99 ms",
        "CPU s, proxy",
        "CPU s, collector",
        "ship lag s",
    ]);
    let rate = |target| of(runs, (shape, Load::Full, target), |run| run.per_second);
    for (target, found) in
        TARGETS.iter().filter_map(|target| Some((*target, runs.get(&(shape, Load::Full, *target))?)))
    {
        let key = (shape, Load::Full, target);
        let rates = || found.iter().map(|run| run.per_second);
        let per_thousand = |cpu: fn(&Run) -> f64| {
            let seconds = of(runs, key, |run| 1000.0 * cpu(run) / run.requests.max(1.0));
            if seconds > 0.0 { format!("{seconds:.3}") } else { "–".to_owned() }
        };
        let lag = found.iter().filter_map(|run| run.drained.as_ref()).map(|drained| drained.seconds);
        let lag = if found.iter().any(|run| run.drained.is_some()) {
            format!("{:.1}", median(lag))
        } else {
            "–".to_owned()
        };
        table.row(vec![
            target.name(),
            grouped(rate(target)),
            format!(
                "{} – {}",
                grouped(rates().fold(f64::INFINITY, f64::min)),
                grouped(rates().fold(0.0, f64::max))
            ),
            ratio(rate(target), rate(Target::Nginx)),
            ratio(rate(target), rate(Target::Direct)),
            millis(of(runs, key, |run| run.p50_us)),
            millis(of(runs, key, |run| run.p99_us)),
            per_thousand(|run| run.proxy_cpu_s),
            per_thousand(|run| run.collector_cpu_s),
            lag,
        ]);
    }
    table
}

fn latency_table(runs: &Runs, load: Load) -> Table {
    let what = match load {
        Load::Half(delay_ms) => format!("half load: c = {CONNECTIONS}, the model takes {delay_ms} ms"),
        other => format!("light load: c = {}, as fast as it goes", other.connections()),
    };
    let mut table = Table::new(&[&what, "requests/s", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms"]);
    for target in TARGETS.iter().filter(|target| runs.contains_key(&(Shape::Small, load, **target))) {
        let key = (Shape::Small, load, *target);
        let added = |number: fn(&Run) -> f64| match target {
            Target::Direct => "–".to_owned(),
            _ => millis(added(runs, load, *target, number)),
        };
        table.row(vec![
            target.name(),
            grouped(of(runs, key, |run| run.per_second)),
            millis(of(runs, key, |run| run.p50_us)),
            millis(of(runs, key, |run| run.p99_us)),
            added(|run| run.p50_us),
            added(|run| run.p99_us),
        ]);
    }
    table
}

/// What a proxy adds: its quantile less that of no proxy.
fn added(runs: &Runs, load: Load, target: Target, number: fn(&Run) -> f64) -> f64 {
    of(runs, (Shape::Small, load, target), number) - of(runs, (Shape::Small, load, Target::Direct), number)
}

fn memory_table(runs: &Runs, stage: &Stage<'_>) -> Table {
    let mut table = Table::new(&["resident memory", "idle", "most after a load"]);
    for target in TARGETS.into_iter().filter(|target| *target != Target::Direct) {
        let found = || runs.iter().filter(|((_, _, of), _)| *of == target).flat_map(|(_, runs)| runs);
        if found().next().is_some() {
            let idle = median(found().map(|run| run.proxy_rss.0));
            let most = found().map(|run| run.proxy_rss.1).fold(0.0, f64::max);
            table.row(vec![target.name(), mebibytes(idle), mebibytes(most)]);
        }
    }
    let after = process::rss_bytes(stage.collector.id());
    let collector = vec![mebibytes(stage.collector_idle_rss), mebibytes(after)];
    table.row([vec!["Indelible, collector, after all loads".to_owned()], collector].concat());
    table
}

fn goals(runs: &Runs, half: Load, machine: &Machine, stage: &Stage<'_>) -> Vec<Goal> {
    let mut goals = Vec::new();
    let durable = Target::Indelible(Mode::Durable);
    for shape in SHAPES.into_iter().filter(|_| stage.nginx.is_some()) {
        let rate = |target| of(runs, (shape, Load::Full, target), |run| run.per_second);
        goals.push(Goal {
            what: format!("gateway, durable, {}, requests/s", shape.as_str()),
            wanted: format!("≥ {} × nginx", shape.goal()),
            found: ratio(rate(durable), rate(Target::Nginx)),
            met: rate(durable) >= shape.goal() * rate(Target::Nginx),
        });
    }
    let sync_ms = machine.quiet.p99_us / 1000.0;
    for (mode, most_ms) in [(Mode::Relaxed, 1.0), (Mode::Durable, 1.0 + 2.0 * sync_ms)] {
        let ms = added(runs, half, Target::Indelible(mode), |run| run.p99_us) / 1000.0;
        goals.push(Goal {
            what: format!("gateway, {}, p99 added at half load", mode.as_str()),
            wanted: format!("≤ {most_ms:.2} ms"),
            found: format!("{ms:.2} ms"),
            met: ms <= most_ms,
        });
    }
    let indelible = || runs.iter().filter(|((_, _, target), _)| matches!(target, Target::Indelible(_)));
    let idle = indelible().flat_map(|(_, runs)| runs).map(|run| run.proxy_rss.0).fold(0.0, f64::max);
    let collector = process::rss_bytes(stage.collector.id());
    for (what, most, found) in [
        ("gateway, memory, idle", 64.0, idle),
        ("collector, memory, after all loads of the gateway", 512.0, collector),
    ] {
        goals.push(Goal {
            what: what.to_owned(),
            wanted: format!("< {most} MiB"),
            found: mebibytes(found),
            met: found < most * f64::from(1 << 20),
        });
    }
    goals
}

/// Errors, and loads whose records the collector did not have in time.
fn note_problems(section: &mut Section, runs: &Runs) {
    for ((shape, _, target), runs) in runs {
        let errors: f64 = runs.iter().map(|run| run.errors).sum();
        if errors > 0.0 {
            let (target, shape) = (target.name(), shape.as_str());
            section
                .note(format!("**{target}, {shape}: {errors} errors (status or socket) that wrk counted**"));
        }
        for drained in runs.iter().filter_map(|run| run.drained.as_ref()).filter(|drained| !drained.whole) {
            section.note(format!(
                "**{}, {}: after {DRAIN_LIMIT:?} the collector still lacked frames; {} were unshipped at the end \
                 of the load**",
                target.name(),
                shape.as_str(),
                grouped(drained.behind)
            ));
        }
    }
}
