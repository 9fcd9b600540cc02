//! A million records of a corpus: all of its entries as an auditor gets them, the data directory that they lie in, and
//! an evidence bundle of ten thousand of them.

use super::files_below;
use super::hashers::{Compared, Hashers};
use crate::bench::indelible::{Site, TENANT, stop_collector};
use crate::bench::report::{Section, grouped};
use crate::bench::{Bench, Outcome, process, say, store};
use indelible_corpus::{Corpus, Options};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Records of a run that says nothing else.
pub(crate) const RECORDS: u64 = 1_000_000;
/// And of one that only tries the bench.
pub(crate) const QUICK_RECORDS: u64 = 50_000;
/// Records in the bundle.
const BUNDLE_RECORDS: u64 = 10_000;
/// It is checked in a fraction of a second: so many times as often as the others.
const BUNDLE_ROUNDS: usize = 5;
const SEED: u64 = 1;
/// What of a data directory `verify` does not read: it may be deleted.
const DISPOSABLE: [&str; 2] = ["cache", "run"];

/// Makes the records and measures.
pub(crate) fn measure(bench: &Bench, records: u64) -> Outcome<Section> {
    let site = fill(bench, records)?;
    let hashers = Hashers::find();
    let rounds = bench.effort.rounds;
    let mut section = Section::new("Verification");
    section.note(format!(
        "{} Release builds. `verify` checks every byte, leaf, chain link, root and signature; the others hash the bytes once.",
        hashers.describe(rounds)
    ));
    section.note(format!(
        "Of the bundle {BUNDLE_ROUNDS} times as many rounds. By CPU time: user and system seconds of all rounds, which the clock of \
         a busy machine is not."
    ));
    section.note(format!(
        "{} records of the everyday corpus (`cargo xtask corpus`, seed {SEED}), sealed.",
        grouped(records as f64)
    ));
    let mut table = Compared::table();
    let goes_on = |round| round < rounds;

    say("verify, exported entries");
    let exported = bench.dir().join("entries.jsonl");
    site.export_entries(&exported)?;
    let (checkpoint, key) = (site.checkpoint(), site.verifier_key()?);
    let compared = hashers.compare(std::slice::from_ref(&exported), goes_on, || {
        let mut command = hashers.command(&bench.verifier);
        command.arg(&exported).arg("--checkpoint").arg(&checkpoint).args(["--key", &key]);
        // The ledger begins with its genesis.
        holds("indelible-verify", &mut command, &format!("HOLDS: {} entries", records + 1))
    })?;
    table.row(compared.row("exported entries, `indelible-verify FILE`", records + 1));
    section.goals.extend(compared.goal(format!("full verification, {} entries", grouped(records as f64))));

    say("verify, the data directory");
    let compared = hashers.compare(&data_files(&site)?, goes_on, || {
        let verdict = site.verify(&hashers.pinned)?;
        let is_whole = verdict.holds() && verdict.entries == records + 1;
        if is_whole { Ok(()) } else { Err(format!("{}, {} entries", verdict.words, verdict.entries)) }
    })?;
    table.row(compared.row("their data directory, `indelible verify`", records + 1));
    section.goals.extend(
        compared.goal(format!("full verification, data directory of {} entries", grouped(records as f64))),
    );

    let count = BUNDLE_RECORDS.min(records);
    say(&format!("verify, a bundle of {count}"));
    let bundle = bench.dir().join("bundle.zip");
    site.make_bundle(1..count + 1, &bundle)?;
    let goes_on = |round| round < rounds * BUNDLE_ROUNDS;
    let compared = hashers.compare(std::slice::from_ref(&bundle), goes_on, || {
        let mut command = hashers.command(&bench.verifier);
        holds("indelible-verify", command.arg(&bundle), &format!("HOLDS: {count} entries"))
    })?;
    table.row(compared.row(&format!("bundle of {} records, payloads and all", grouped(count as f64)), count));
    section.goals.extend(compared.goal(format!("verification, bundle of {} records", grouped(count as f64))));
    section.note(in_python(bench, &hashers, &bundle, count)?);
    section.tables.push(table);
    Ok(section)
}

/// A collector's directories with the corpus in them, all of it sealed; nothing runs on them.
fn fill(bench: &Bench, records: u64) -> Outcome<Site> {
    say(&format!("verify, making {} records", grouped(records as f64)));
    let site = Site::create(bench, "verify")?;
    let collector = site.start_collector(&[])?;
    store::post(&site, Corpus::new(Options::new(SEED, records)))?;
    site.seal()?;
    stop_collector(collector)?;
    Ok(site)
}

/// The files that `verify` reads.
fn data_files(site: &Site) -> Outcome<Vec<PathBuf>> {
    let data = site.data();
    let mut files = files_below(&data)?;
    files.retain(|file| !DISPOSABLE.iter().any(|name| file.starts_with(data.join(name))));
    Ok(files)
}

/// How long the script that every bundle brings along takes.
fn in_python(bench: &Bench, hashers: &Hashers, bundle: &Path, count: u64) -> Outcome<String> {
    let Some(python) = process::find("python3") else {
        return Ok("`verify.py`: python3 not found, skipped".to_owned());
    };
    let mut command = hashers.command(&python);
    command.arg(bench.root.join("crates/report/assets/verify.py")).arg(bundle);
    let started = Instant::now();
    holds("verify.py", &mut command, &format!("{count} entries of {TENANT}"))?;
    Ok(format!(
        "`verify.py` on the same bundle, one run on one core: {:.1} s.",
        started.elapsed().as_secs_f64()
    ))
}

/// Runs a verifier, whose answer must have these words in it.
fn holds(name: &str, command: &mut Command, words: &str) -> Outcome<()> {
    let said = process::output(name, command)?;
    if said.contains(words) { Ok(()) } else { Err(format!("{name}: {said}")) }
}
