//! Segments read in place by what others have: DuckDB, chdb (ClickHouse), pandas, pyarrow and Spark, and the hash
//! chain and Merkle tree recomputed in Python from the Parquet files alone.
//!
//! The engines come from the package index, into an environment under `target/`. One that cannot be installed is
//! named and passed over.

use crate::{corpus, machine};
use indelible_collector::{Collector, Config};
use indelible_corpus::spool::Spool;
use indelible_corpus::{Corpus, Options};
use indelible_record::shipping::Acknowledged;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Under the workspace.
const ENVIRONMENT: &str = "target/interop";
const TENANTS: [&str; 2] = ["north", "south"];
/// Records, and segments of each ledger: everything is sealed so many times along the way.
const RECORDS: u64 = 2400;
const SEALS: u64 = 3;

/// What reads, and the package that it comes from.
const ENGINES: [(&str, &str); 5] = [
    ("duckdb", "duckdb"),
    ("chdb", "chdb"),
    ("pandas", "pandas"),
    ("pyarrow", "pyarrow"),
    ("spark", "pyspark"),
];

/// Fills a directory, seals it, and has it read by all of them.
pub(crate) fn run() -> Result<(), String> {
    let python = match environment() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("\npassed over: reading segments with other engines, because {why}");
            return Ok(());
        }
    };
    let dir = TempDir::make()?;
    eprintln!("\nsegments, read in place by other engines");
    fill(&dir.0)?;
    let truth = output(&python, "recompute.py", &[], &dir.0)?;
    check_whole(&truth)?;
    let mut wrong = Vec::new();
    for (engine, package) in ENGINES {
        if let Err(why) = install(&python, engine, package) {
            eprintln!("passed over: {engine}, because {why}");
            continue;
        }
        let found = output(&python, "read.py", &[engine], &dir.0)?;
        eprintln!("  {engine} {}", found["version"].as_str().unwrap_or("of unknown version"));
        wrong.extend(differences(engine, &found["tenants"], &truth));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Two ledgers of several segments each, made by a collector.
fn fill(dir: &Path) -> Result<(), String> {
    let tenants: Vec<String> = TENANTS.map(str::to_owned).to_vec();
    let mut config = Config::new(&dir.join("data"));
    config.tenants.clone_from(&tenants);
    let collector = Collector::start(config).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    for seed in 0..SEALS {
        let key = collector.spool_key().ok_or("the collector has no spool key")?.public().clone();
        let options = Options { tenants: tenants.clone(), ..Options::new(seed, RECORDS / SEALS) };
        let spool =
            Spool::new(Corpus::new(options), corpus::SOURCE, key).map_err(|error| error.to_string())?;
        corpus::ship(spool, |batch, acknowledged| {
            let body = [&batch.header[..], &batch.frames].concat();
            let ack = runtime.block_on(collector.receive(&body, None, acknowledged, false));
            ack.map(|ack| Acknowledged { seq: ack.seq, token: ack.token }).map_err(|error| error.to_string())
        })?;
        runtime.block_on(collector.seal()).map_err(|error| error.to_string())?;
    }
    collector.stop().map_err(|error| error.to_string())
}

/// The script found what was put there: each record, in as many segments as it was sealed into.
fn check_whole(truth: &Value) -> Result<(), String> {
    let of = |name: &str| TENANTS.iter().filter_map(|tenant| truth[*tenant][name].as_u64()).sum::<u64>();
    // Each ledger begins with its genesis.
    let (records, segments) = (RECORDS + TENANTS.len() as u64, SEALS * TENANTS.len() as u64);
    let tools =
        TENANTS.iter().all(|tenant| truth[*tenant]["tools"].as_object().is_some_and(|all| !all.is_empty()));
    if (of("count"), of("segments")) != (records, segments) || !tools {
        return Err(format!(
            "{records} entries in {segments} segments were sealed, with tools, but found: {truth}"
        ));
    }
    Ok(())
}

fn differences(engine: &str, found: &Value, truth: &Value) -> Vec<String> {
    let tenants = truth.as_object().into_iter().flatten();
    tenants
        .flat_map(|(tenant, wanted)| {
            ["count", "prompt_tokens", "completion_tokens", "cost_usd", "tools"].map(|name| {
                let (found, wanted) = (&found[tenant][name], &wanted[name]);
                (found != wanted)
                    .then(|| format!("{engine}, {tenant}: {name} is {found}, but the entries say {wanted}"))
            })
        })
        .flatten()
        .collect()
}

/// The interpreter of an environment that has what the recomputing script needs.
fn environment() -> Result<PathBuf, String> {
    machine::need("python3", "python3-venv")?;
    let dir = machine::root().join(ENVIRONMENT);
    let python = dir.join("bin/python");
    if !python.is_file() {
        quiet(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    }
    install(&python, "pyarrow", "pyarrow")?;
    Ok(python)
}

/// Sees to it that `engine` can be used.
fn install(python: &Path, engine: &str, package: &str) -> Result<(), String> {
    if engine == "spark" {
        machine::need("java", "default-jre-headless")?;
    }
    let import = format!("import {package}");
    if quiet(Command::new(python).args(["-c", &import])).is_ok() {
        return Ok(());
    }
    eprintln!("installing {package} into {ENVIRONMENT}");
    quiet(Command::new(python).args(["-m", "pip", "install", "--quiet", package]))?;
    quiet(Command::new(python).args(["-c", &import])).map(drop)
}

/// Runs a script of `tests/interop` on a data directory, and reads what it prints.
fn output(python: &Path, script: &str, arguments: &[&str], dir: &Path) -> Result<Value, String> {
    let path = machine::root().join("tests/interop").join(script);
    let mut command = Command::new(python);
    command.arg("-B").arg(path).args(arguments).arg(dir.join("data"));
    let text = quiet(&mut command)?;
    serde_json::from_str(&text).map_err(|error| format!("{script} {arguments:?}: {error}: {text}"))
}

/// Runs a command to its end; what it says is worth reading where it fails.
fn quiet(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}").replace('"', "");
    let done = command.output().map_err(|error| format!("{shown}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    let last: Vec<&str> = words.lines().rev().take(5).collect();
    Err(format!("{shown}: {}: {}", done.status, last.into_iter().rev().collect::<Vec<_>>().join(" / ")))
}

/// A directory that goes away with its owner.
struct TempDir(PathBuf);

impl TempDir {
    fn make() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("indelible-interop-{}", std::process::id()));
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
