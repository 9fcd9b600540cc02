//! `indelible verify` beside `openssl dgst -sha256` over the same log files, one core each.
//!
//! The files are read once beforehand, so that both find them in the page cache.

use super::indelible::Site;
use super::process;
use super::report::{Goal, Section, Table, grouped, median, ratio};
use super::{Bench, Outcome, say};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// The least share of openssl's speed that full verification is held to.
const GOAL: f64 = 0.4;

/// Measures over the directories that the other parts left.
pub(crate) fn measure(bench: &Bench, sites: &[Site]) -> Outcome<Section> {
    let mut section = Section::new("Verification");
    let pinned = process::one_core();
    let openssl = process::find("openssl");
    section.note(format!(
        "The same files in turn, at most {} rounds, medians; {}. `verify` checks every frame, leaf, chain link, root and \
         signature; openssl hashes the bytes once.",
        bench.effort.rounds,
        if pinned.is_empty() { "not pinned (taskset: not found)" } else { "each on one core (`taskset`)" }
    ));
    if openssl.is_none() {
        section.note("openssl: not found, skipped");
    }
    let mut table = Table::new(&["over", "bytes", "verify MB/s", "openssl MB/s", "of openssl", "entries/s"]);
    for site in sites {
        say(&format!("verify, the data of {}", site.name));
        let files = log_files(site)?;
        let (mut ours, mut theirs, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0.0, 0.0);
        for round in 0..bench.effort.rounds {
            if round > 0 && !bench.has_time(bench.effort.until) {
                break;
            }
            if let Some(openssl) = &openssl {
                theirs.push(bytes_of(&files)? / hash(&pinned, openssl, &files)?);
            }
            let started = Instant::now();
            let verdict = site.verify(&pinned)?;
            let seconds = started.elapsed().as_secs_f64();
            (bytes, entries) = (verdict.bytes as f64, verdict.entries as f64 / seconds);
            ours.push(bytes / seconds);
        }
        let (rate, peer) = (median(ours), median(theirs));
        let megabytes = |rate: f64| if rate > 0.0 { grouped(rate / 1e6) } else { "–".to_owned() };
        table.row(vec![
            format!("log of the {} bench", site.name),
            grouped(bytes),
            megabytes(rate),
            megabytes(peer),
            ratio(rate, peer),
            grouped(entries),
        ]);
        if peer > 0.0 {
            section.goals.push(Goal {
                what: format!("full verification, log of the {} bench", site.name),
                wanted: format!("≥ {GOAL} × openssl"),
                found: ratio(rate, peer),
                met: rate >= GOAL * peer,
            });
        }
    }
    section.tables.push(table);
    Ok(section)
}

/// The log's files, read once.
fn log_files(site: &Site) -> Outcome<Vec<PathBuf>> {
    let dir = site.data().join("wal");
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir).map_err(fail)?.flatten().map(|name| name.path()).collect();
    files.sort();
    for file in &files {
        let mut reader = std::fs::File::open(file).map_err(fail)?;
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(fail)?;
    }
    Ok(files)
}

fn bytes_of(files: &[PathBuf]) -> Outcome<f64> {
    files.iter().try_fold(0.0, |sum, file| {
        let meta = file.metadata().map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(sum + meta.len() as f64)
    })
}

/// Seconds that openssl takes for all files.
fn hash(pinned: &[String], openssl: &std::path::Path, files: &[PathBuf]) -> Outcome<f64> {
    let mut words: Vec<std::ffi::OsString> = pinned.iter().map(Into::into).collect();
    words.push(openssl.into());
    let [program, rest @ ..] = &words[..] else { return Err("no program".to_owned()) };
    let mut command = Command::new(program);
    command.args(rest).args(["dgst", "-sha256"]).args(files);
    let started = Instant::now();
    process::output("openssl", &mut command)?;
    Ok(started.elapsed().as_secs_f64())
}
