//! `cargo xtask fuzz`: the targets of `fuzz/`, each for so much CPU time, from the fixtures and vectors of this
//! repository. See docs/fuzzing.md.
//!
//! * `seeds`: what a target begins with
//! * `bundles`: the same for evidence bundles
//!
//! CPU time is what is counted, because a minute on a busy machine says little. What a run has found out stays
//! in `target/fuzz/corpus`, so that the next one goes on from there.

mod bundles;
mod seeds;

use crate::machine;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A target: a file in `fuzz/targets`, and what makes its seeds.
type Target = (&'static str, seeds::Make);

const TARGETS: [Target; 12] = [
    ("codings", seeds::codings),
    ("config", seeds::config),
    ("dialects", seeds::dialects),
    ("evidence", bundles::evidence),
    ("headers", seeds::headers),
    ("ledger", seeds::ledger),
    ("prices", seeds::prices),
    ("record", seeds::record),
    ("segment", seeds::segment),
    ("spool", seeds::spool),
    ("usage", seeds::usage),
    ("websocket", seeds::websocket),
];

const SECONDS_DEFAULT: u64 = 600;
/// A shorter run is not worth its start.
const ROUND_MIN_SECONDS: u64 = 10;
/// What an input may cost: memory is bounded by configuration, never by what is sent.
const MEMORY_MAX_MB: u32 = 512;
const INPUT_MAX_SECONDS: u32 = 10;
/// Clock ticks a second in `/proc/self/stat`: `USER_HZ`, 100 on every Linux that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What came of one target.
#[derive(Default)]
struct Run {
    executions: u64,
    /// Edges of the program that were reached.
    coverage: u64,
    cpu_seconds: u64,
    /// The input that broke it, or where to read why it did not run.
    finding: Option<PathBuf>,
}

/// Runs the targets named, or all.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let Some((targets, seconds)) = parse(arguments)? else {
        TARGETS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    };
    need_fuzzer()?;
    build()?;
    println!("| target | executions | coverage, edges | CPU, s | finding |\n|---|---:|---:|---:|---|");
    let mut findings = 0;
    for (name, make) in targets {
        let dir = directory("seeds", name)?;
        for (file, seed) in make()? {
            fs::write(dir.join(&file), seed).map_err(|error| format!("{file}: {error}"))?;
        }
        let run = fuzz(name, seconds)?;
        let found = run.finding.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
        println!("| {name} | {} | {} | {} | {found} |", run.executions, run.coverage, run.cpu_seconds);
        findings += usize::from(run.finding.is_some());
    }
    match findings {
        0 => Ok(()),
        _ => Err(format!("{findings} of the targets broke; what each printed is in target/fuzz/logs")),
    }
}

/// Which targets, and for how long; `None` to list them.
fn parse(arguments: &[String]) -> Result<Option<(Vec<Target>, u64)>, String> {
    let (mut targets, mut seconds) = (Vec::new(), SECONDS_DEFAULT);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--list" => return Ok(None),
            "--seconds" => {
                let number = words.next().and_then(|number| number.parse().ok());
                seconds = number.ok_or("--seconds wants a number of seconds")?;
            }
            name => {
                let known = TARGETS.iter().find(|(known, _)| *known == name);
                targets.push(
                    *known.ok_or_else(|| format!("no fuzz target {name}; --list says which there are"))?,
                );
            }
        }
    }
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    Ok(Some((targets, seconds)))
}

/// libFuzzer comes with cargo-fuzz, and needs a nightly compiler for its instrumentation.
fn need_fuzzer() -> Result<(), String> {
    machine::need("c++", "g++")?;
    let runs = |arguments: &[&str]| {
        let quiet =
            Command::new("cargo").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    };
    if !runs(&["+nightly", "--version"]) {
        return Err("fuzzing needs a nightly compiler\n  hint: rustup toolchain install nightly".to_owned());
    }
    if !runs(&["fuzz", "--version"]) {
        return Err("fuzzing needs cargo-fuzz\n  hint: cargo install cargo-fuzz --locked".to_owned());
    }
    Ok(())
}

fn build() -> Result<(), String> {
    let mut command = cargo("cargo");
    command.args(["+nightly", "fuzz", "build", "--fuzz-dir"]).arg(path("fuzz"));
    command.arg("--target-dir").arg(path("target/fuzz/build"));
    let status = command.status().map_err(|error| format!("cargo fuzz build: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo fuzz build: {status}")) }
}

/// A program that runs cargo as if nobody had run this with cargo: build scripts that look at what cargo says of
/// the package at hand would be run again, and with them half of all that is built.
fn cargo(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Runs one target until it has had its time, or broke.
fn fuzz(name: &str, seconds: u64) -> Result<Run, String> {
    let log = directory("logs", "")?.join(format!("{name}.log"));
    let mut run = Run::default();
    while run.finding.is_none() && run.cpu_seconds < seconds {
        let before = cpu_seconds_of_children();
        let round = (seconds - run.cpu_seconds).max(ROUND_MIN_SECONDS);
        let ended_well = one_round(name, round, &log)?;
        run.cpu_seconds += cpu_seconds_of_children() - before;
        let printed = fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let printed = String::from_utf8_lossy(&printed);
        run.executions += last_number(&printed, "stat::number_of_executed_units:").unwrap_or_default();
        run.coverage = last_number(&printed, " cov:").unwrap_or(run.coverage);
        if !ended_well {
            let written = printed.lines().rev().find_map(|line| line.split_once("Test unit written to "));
            run.finding = Some(written.map_or(log.clone(), |(_, path)| PathBuf::from(path.trim())));
        }
    }
    Ok(run)
}

/// Whether the target ran for so long and held. Others on the machine come first.
fn one_round(name: &str, seconds: u64, log: &Path) -> Result<bool, String> {
    let output = File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
    let (out, err) = output.map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = cargo("nice");
    command.args(["-n", "15", "cargo", "+nightly", "fuzz", "run"]);
    command.arg("--fuzz-dir").arg(path("fuzz")).arg("--target-dir").arg(path("target/fuzz/build"));
    command.arg(name).arg(directory("corpus", name)?).arg(directory("seeds", name)?).arg("--");
    command.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
    command.arg(format!("-rss_limit_mb={MEMORY_MAX_MB}")).arg(format!("-timeout={INPUT_MAX_SECONDS}"));
    command.arg(format!("-artifact_prefix={}/", directory("artifacts", name)?.display()));
    let dictionary = path("fuzz/dictionaries").join(format!("{name}.dict"));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // What the sanitizer keeps back of freed memory is no memory of the program's.
    command.env("ASAN_OPTIONS", "detect_odr_violation=0:quarantine_size_mb=32");
    let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status();
    status.map(|status| status.success()).map_err(|error| format!("cannot run nice cargo fuzz: {error}"))
}

/// The number behind the last `label`.
fn last_number(text: &str, label: &str) -> Option<u64> {
    let (_, behind) = text.rsplit_once(label)?;
    behind.split_whitespace().next()?.parse().ok()
}

/// User time of all that this process started and waited for (proc(5), field 16 of `stat`).
fn cpu_seconds_of_children() -> u64 {
    let mut stat = String::new();
    let read = File::open("/proc/self/stat").and_then(|mut file| file.read_to_string(&mut stat));
    let behind_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Option<u64> = behind_name.split_whitespace().nth(13).and_then(|field| field.parse().ok());
    read.ok().and(ticks).unwrap_or_default() / TICKS_PER_SECOND
}

/// A directory of a target's own below `target/fuzz`.
fn directory(kind: &str, name: &str) -> Result<PathBuf, String> {
    let dir = path("target/fuzz").join(kind).join(name);
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

fn path(below_root: &str) -> PathBuf {
    machine::root().join(below_root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_target_is_listed_and_has_seeds() {
        let files = fs::read_dir(path("fuzz/targets")).unwrap();
        let files: BTreeSet<String> = files
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(files, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
        for (name, make) in TARGETS {
            let seeds = make().unwrap();
            assert!(seeds.len() >= 3, "{name}");
            assert!(seeds.iter().all(|(_, seed)| !seed.is_empty()), "{name}");
        }
    }

    #[test]
    fn what_a_run_prints_is_read() {
        let printed =
            "#1\tINITED cov: 20 ft: 21\n#9\tDONE   cov: 305 ft: 1200\nstat::number_of_executed_units: 9\n";
        assert_eq!(last_number(printed, " cov:"), Some(305));
        assert_eq!(last_number(printed, "stat::number_of_executed_units:"), Some(9));
        assert_eq!(last_number(printed, "nothing:"), None);
    }
}
