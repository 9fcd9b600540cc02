//! `cargo xtask bench`: the numbers of DESIGN §8, beside the peers found on this machine, in one run.
//!
//! * `gateway`: requests a second, latency, CPU and memory against no proxy at all and against other proxies
//! * `collector`: events a second against PostgreSQL with a hash-chain trigger, and against a bare loop
//! * `store`: segments against DuckDB, ClickHouse and PostgreSQL, on a corpus of its own; measured apart
//! * `verify`: full verification against programs that hash the same bytes; of a corpus of its own, measured apart
//! * `peers`, `indelible`: what it is measured beside, and our own servers, as processes
//! * `machine`, `process`, `report`: what was measured on, with, and how it is said
//!
//! Rounds alternate between what is compared, so that a busy minute of a shared machine hits all of it;
//! medians are reported. Never a test: nothing here fails because a number is low.

mod collector;
mod gateway;
mod indelible;
mod machine;
mod peers;
pub(crate) mod process;
pub(crate) mod report;
mod store;
mod verify;

use machine::Machine;
use report::Report;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What a bench comes to; errors are words for whoever ran it.
pub(crate) type Outcome<T> = Result<T, String>;

const USAGE: &str = "\
usage: cargo xtask bench [gateway|collector|all] [--quick|--short] [--write]
       cargo xtask bench store|verify [--records N] [--quick] [--write]
       cargo xtask bench peers

  peers     install Envoy, LiteLLM and Aegis with pip, each into an environment under target/bench-peers; and DuckDB
            and chdb into one
  store     not part of all. DuckDB and chdb are installed if they are not there
  verify    not part of all, which verifies its own logs: entries, their directory and an evidence bundle
  --records how many records the store is filled with, or are verified (1000000)
  --short   fewer and shorter rounds, in nine minutes
  --quick   one short round of everything, in four minutes; for trying the bench, not for numbers
  --write   also put the tables into docs/benchmarks.md

The measured files lie in the system's temporary directory (TMPDIR): have it on the disk you mean.";

/// What is to be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Gateway,
    Collector,
    All,
    /// The store, on this many records.
    Store(u64),
    /// Verification of this many records.
    Verify(u64),
    /// Nothing: only to install what it is measured beside.
    Peers,
}

/// What every part needs.
pub(crate) struct Bench {
    /// The workspace.
    root: PathBuf,
    /// The release binaries.
    indelible: PathBuf,
    standin: PathBuf,
    verifier: PathBuf,
    /// Private, removed at the end.
    dir: TempDir,
    effort: Effort,
    started: Instant,
}

/// How much is measured. Bounds time: what does not fit any more is left out, and the report says so.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    rounds: usize,
    /// Length of one load as hard as it goes, in seconds.
    load_s: u64,
    /// The same with another number of connections than most are measured with.
    side_load_s: u64,
    /// The same for peers that answer tens of requests a second.
    slow_load_s: u64,
    /// Length of one load at a fixed rate, in seconds.
    light_load_s: u64,
    /// Events or rows a round.
    events: usize,
    /// When, after the start, no new round is begun: of the gateway's full loads, of its others, of anything.
    full_loads_until: Duration,
    gateway_until: Duration,
    until: Duration,
}

const FULL: Effort = Effort {
    rounds: 3,
    load_s: 4,
    side_load_s: 2,
    slow_load_s: 10,
    light_load_s: 3,
    events: 50_000,
    full_loads_until: Duration::from_secs(520),
    gateway_until: Duration::from_secs(800),
    until: Duration::from_secs(1000),
};
const SHORT: Effort = Effort {
    rounds: 2,
    load_s: 3,
    side_load_s: 1,
    slow_load_s: 6,
    light_load_s: 2,
    events: 50_000,
    full_loads_until: Duration::from_secs(230),
    gateway_until: Duration::from_secs(330),
    until: Duration::from_secs(420),
};
const QUICK: Effort = Effort {
    rounds: 1,
    load_s: 1,
    side_load_s: 1,
    slow_load_s: 3,
    light_load_s: 1,
    events: 10_000,
    full_loads_until: Duration::from_secs(60),
    gateway_until: Duration::from_secs(60),
    until: Duration::from_secs(90),
};

/// Runs what `args` ask for and prints the report.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let Some((part, effort, write)) = parse(args)? else {
        println!("{USAGE}");
        return Ok(());
    };
    if part == Part::Peers {
        return peers::prepare(&workspace()?);
    }
    if cfg!(debug_assertions) {
        return crate::machine::again_optimised("bench", args);
    }
    let bench = Bench::prepare(effort, matches!(part, Part::Store(_)))?;
    let machine = Machine::look(bench.dir())?;
    let mut report = Report::default();
    let mut sites = Vec::new();
    if matches!(part, Part::Gateway | Part::All) {
        let (section, site) = gateway::measure(&bench, &machine)?;
        report.sections.push(section);
        sites.extend(site);
    }
    if let Part::Store(records) = part {
        report.sections.extend(store::measure(&bench, records)?);
    }
    if let Part::Verify(records) = part {
        report.sections.push(verify::measure_corpus(&bench, records)?);
    }
    if matches!(part, Part::Collector | Part::All) {
        let (section, site) = collector::measure(&bench)?;
        report.sections.push(section);
        sites.push(site);
    }
    if part == Part::All {
        report.sections.push(verify::measure(&bench, &sites)?);
    }
    let command =
        ["cargo xtask bench"].into_iter().chain(args.iter().map(String::as_str)).collect::<Vec<_>>();
    let command = command.join(" ");
    let seconds = bench.started.elapsed().as_secs_f64();
    report.sections.insert(0, machine.section(bench.dir(), &command, seconds)?);
    println!("{}", report.to_markdown());
    if write {
        let marks = match part {
            Part::Store(_) => report::STORE_MARKS,
            Part::Verify(_) => report::VERIFY_MARKS,
            _ => report::MARKS,
        };
        report.write(&bench.root.join("docs/benchmarks.md"), marks)?;
    }
    Ok(())
}

/// `None`: help was asked for.
fn parse(args: &[String]) -> Outcome<Option<(Part, Effort, bool)>> {
    let (mut part, mut effort, mut quick, mut write) = (Part::All, FULL, false, false);
    let mut args = args.iter();
    let mut records = None;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--records" => {
                let count = args.next().and_then(|count| count.parse().ok());
                records = Some(count.ok_or_else(|| format!("--records needs a number\n\n{USAGE}"))?);
            }
            "store" => part = Part::Store(0),
            "gateway" => part = Part::Gateway,
            "collector" => part = Part::Collector,
            "verify" => part = Part::Verify(0),
            "all" => part = Part::All,
            "peers" => part = Part::Peers,
            "--quick" => (effort, quick) = (QUICK, true),
            "--short" => effort = SHORT,
            "--write" => write = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other:?} is not known here\n\n{USAGE}")),
        }
    }
    part = match (part, records) {
        (Part::Store(_), records) => {
            Part::Store(records.unwrap_or(if quick { store::QUICK_RECORDS } else { store::RECORDS }))
        }
        (Part::Verify(_), records) => {
            Part::Verify(records.unwrap_or(if quick { verify::QUICK_RECORDS } else { verify::RECORDS }))
        }
        (_, Some(_)) => return Err(format!("--records is for store and verify\n\n{USAGE}")),
        (other, None) => other,
    };
    if quick && write {
        return Err("--quick is not for numbers that are kept: leave out --write".to_owned());
    }
    Ok(Some((part, effort, write)))
}

impl Bench {
    /// `sql`: the SQL engine, too, which is most of a release build and no part of what asks no questions.
    fn prepare(effort: Effort, sql: bool) -> Outcome<Self> {
        let root = workspace()?;
        say("building the release binaries (minutes, the first time)");
        let built = Command::new("cargo")
            .args(["build", "--release", "--quiet"])
            .args(["-p", "indelible", "-p", "indelible-standin", "-p", "indelible-verify"])
            .args(["--no-default-features", "--features"])
            .arg(if sql { "indelible/demo,indelible/s3,indelible/sql" } else { "indelible/demo" })
            .current_dir(&root)
            .status()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if !built.success() {
            return Err("the release build failed".to_owned());
        }
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let release = target.join("release");
        let binary = |name: &str| {
            let path = release.join(name);
            path.is_file().then_some(path).ok_or_else(|| format!("no {name} in {}", release.display()))
        };
        Ok(Self {
            indelible: binary("indelible")?,
            standin: binary("indelible-standin")?,
            verifier: binary("indelible-verify")?,
            root,
            dir: TempDir::make()?,
            effort,
            started: Instant::now(),
        })
    }

    /// The run's own directory.
    fn dir(&self) -> &Path {
        &self.dir.0
    }

    /// Whether another round may begin that has to be over by `until`.
    fn has_time(&self, until: Duration) -> bool {
        self.started.elapsed() < until
    }
}

/// A directory that goes away with its owner.
struct TempDir(PathBuf);

impl TempDir {
    fn make() -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("indelible-bench-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed is the system's temporary directory's to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The workspace that the current directory is in.
fn workspace() -> Outcome<PathBuf> {
    let here = std::env::current_dir().map_err(|error| format!("no current directory: {error}"))?;
    let found = here.ancestors().find(|dir| dir.join("Cargo.lock").is_file() && dir.join("xtask").is_dir());
    found.map(Path::to_owned).ok_or_else(|| "run this inside the Indelible workspace".to_owned())
}

/// Progress, on standard error.
fn say(what: &str) {
    eprintln!("bench: {what}");
}
