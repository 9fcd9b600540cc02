//! `indelible verify`: a whole data directory, from files and public keys alone.

use crate::cli::{Common, Verify};
use crate::failure::{Failure, Outcome};
use crate::store;
use indelible_collector::data_dir::default_keys;
use indelible_collector::head::Head;
use indelible_ledger::{KeyHistory, Note, Succession};
use indelible_vault::KeyStore;
use indelible_verify::Verdict;
use indelible_verify::directory::{self, Beyond, Finding, Journal, Predecessor, Report, Trust};
use indelible_verify::succession::Succeeded;
use indelible_verify::text::shown;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Most findings shown; the rest are counted.
const SHOWN_MAX: usize = 20;

/// Checks a data directory.
pub(crate) fn run(common: &Common, arguments: &Verify) -> Outcome {
    let data = common.data();
    if !data.is_dir() {
        return Err(Failure::new(format!("{} is not a directory", data.display()))
            .hint("name the data directory with --data"));
    }
    let predecessors = predecessors(arguments)?;
    let (theirs, ours) = split_checkpoints(arguments, &predecessors)?;
    let trust = trust(common, &Verify { key: arguments.key.clone(), checkpoint: ours, ..Verify::default() })?;
    let started = Instant::now();
    let bar = progress_bar(common);
    let mut journal = arguments.resume.as_deref().map(journal).transpose()?;
    let mut report = check(common, arguments.store, &data, &trust, journal.as_mut(), |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    if let Some(Err(error)) = journal.map(Journal::end) {
        return Err(Failure::new(format!("the journal cannot be removed: {error}"))
            .hint("remove it: the next run with it would not read everything"));
    }
    hold_against(&mut report, predecessors, theirs)?;
    if common.json {
        println!("{}", as_json(&report));
    } else {
        print(&report, &data, started.elapsed().as_secs_f64());
    }
    Ok(report.verdict.exit_code())
}

/// What the last run has read, if it was broken off.
fn journal(path: &Path) -> Result<Journal, Failure> {
    let journal = Journal::open(path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()))
            .hint("name a file that only verify --resume writes")
    })?;
    if journal.known() > 0 {
        eprintln!("going on: {} has {} segments that were read", path.display(), journal.known());
    }
    Ok(journal)
}

/// A file with a checkpoint, and its bytes.
type Checkpoints = Vec<(PathBuf, Vec<u8>)>;

/// The ledgers of the directories that are named as predecessors, each with its published checkpoints.
fn predecessors(arguments: &Verify) -> Result<Vec<(PathBuf, Vec<Predecessor>)>, Failure> {
    let of_directory = |dir: &PathBuf| {
        let keys = KeyStore::key_histories(&default_keys(dir)).map_err(Failure::new)?;
        if keys.is_empty() {
            return Err(Failure::new(format!("there are no ledger keys in {}", default_keys(dir).display()))
                .hint("--predecessor names a data directory, its key directory beside it"));
        }
        let tenants = std::fs::read_dir(dir.join("ledgers")).into_iter().flatten().flatten();
        for tenant in tenants.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
            if !keys.iter().any(|(known, _)| *known == tenant) {
                let keys = default_keys(dir);
                return Err(Failure::new(format!("{} has no key of ledger {tenant}", keys.display()))
                    .hint("without its key it cannot be told whether it is gone on from"));
            }
        }
        let mut ledgers = Vec::new();
        for (tenant, keys) in keys {
            let path = dir.join("ledgers").join(tenant).join("checkpoint");
            let notes = match std::fs::read(&path) {
                Ok(note) => vec![(path, note)],
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
            };
            ledgers.push(Predecessor { keys, notes });
        }
        Ok((dir.clone(), ledgers))
    };
    arguments.predecessor.iter().map(of_directory).collect()
}

/// Checkpoints that are of a predecessor, and the files of all others.
fn split_checkpoints(
    arguments: &Verify,
    predecessors: &[(PathBuf, Vec<Predecessor>)],
) -> Result<(Checkpoints, Vec<PathBuf>), Failure> {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for path in &arguments.checkpoint {
        let note =
            std::fs::read(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        let mut of = predecessors.iter().flat_map(|(_, ledgers)| ledgers);
        match of.any(|ledger| origin_of(&note).as_deref() == Some(ledger.keys.origin())) {
            true => theirs.push((path.clone(), note)),
            false => ours.push(path.clone()),
        }
    }
    Ok((theirs, ours))
}

fn origin_of(note: &[u8]) -> Option<String> {
    Note::parse(note).ok()?.text().lines().next().map(str::to_owned)
}

/// Holds what ledgers say of predecessors against what is known of those.
fn hold_against(
    report: &mut Report,
    predecessors: Vec<(PathBuf, Vec<Predecessor>)>,
    checkpoints: Checkpoints,
) -> Result<(), Failure> {
    for (dir, mut ledgers) in predecessors {
        for ledger in &mut ledgers {
            let theirs = checkpoints
                .iter()
                .filter(|(_, note)| origin_of(note).as_deref() == Some(ledger.keys.origin()));
            ledger.notes.extend(theirs.cloned());
        }
        if !report.hold_against_all(&ledgers) {
            return Err(Failure::new(format!("no ledger here goes on from one of {}", dir.display()))
                .hint("without --predecessor, verify names the ledger that each goes on from"));
        }
    }
    Ok(())
}

/// Checks a directory and prints the outcome as `verify` does.
#[cfg(feature = "demo")]
pub(crate) fn check_and_print(common: &Common) -> Result<Verdict, Failure> {
    let trust = trust(common, &Verify::default())?;
    let started = Instant::now();
    let report = check(common, false, &common.data(), &trust, None, |_, _| {})?;
    print(&report, &common.data(), started.elapsed().as_secs_f64());
    Ok(report.verdict)
}

/// Checks the directory, and with `read_bucket` what of it is in the configured bucket.
pub(crate) fn check(
    common: &Common,
    read_bucket: bool,
    data: &Path,
    trust: &Trust,
    journal: Option<&mut Journal>,
    progress: impl FnMut(u64, u64),
) -> Result<Report, Failure> {
    if read_bucket {
        let location = store::configured(common)?.ok_or_else(|| {
            Failure::new("the configuration names no bucket")
                .hint("set collector.store_url, or leave out --store")
        })?;
        return store::audit(&location, |bucket| {
            directory::check_on(data, trust, Beyond::Read(bucket), journal, progress)
        });
    }
    // Only its name is wanted: whoever verifies need not have the keys to it.
    Ok(match store::configured_name(common)? {
        Some(name) => directory::check_on(data, trust, Beyond::Unread(&name), journal, progress),
        None => directory::check_on(data, trust, Beyond::Unknown, journal, progress),
    })
}

/// What to check against: public keys and the head, from the key directory and from arguments.
pub(crate) fn trust(common: &Common, arguments: &Verify) -> Result<Trust, Failure> {
    let mut trust =
        Trust { keys: KeyStore::key_histories(&common.keys()).map_err(Failure::new)?, head: Vec::new() };
    for text in &arguments.key {
        let parsed = text
            .split_once('=')
            .and_then(|(tenant, key)| Some((tenant.to_owned(), KeyHistory::new(key.parse().ok()?))));
        let (tenant, key) = parsed.ok_or_else(|| {
            Failure::new(format!("{text:?} is not TENANT=VKEY"))
                .hint("indelible key show prints keys in this form")
        })?;
        trust.keys.retain(|(known, _)| *known != tenant);
        trust.keys.push((tenant, key));
    }
    let path = KeyStore::head_path(&common.keys());
    // An auditor may have the public keys alone; the head is read where it may be.
    if std::fs::File::open(&path).is_ok() {
        let head = Head::read(&path).map_err(Failure::new)?;
        trust.head = head.notes().iter().map(|(tenant, note)| (tenant.clone(), note.clone())).collect();
    }
    for path in &arguments.checkpoint {
        let bad = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| bad(&error))?;
        let note = Note::parse(&bytes).map_err(|error| bad(&error))?;
        let origin = note.text().lines().next().unwrap_or_default();
        let tenant =
            trust.keys.iter().find(|(_, keys)| keys.origin() == origin).map(|(tenant, _)| tenant.clone());
        let tenant = tenant.ok_or_else(|| bad(&format!("there is no public key for the ledger {origin}")))?;
        trust.head.push((tenant, note.to_string()));
    }
    Ok(trust)
}

fn print(report: &Report, data: &Path, seconds: f64) {
    if !report.identity_checked {
        println!("IDENTITY NOT CHECKED: there are no public keys; name them with --keys or --key");
    }
    for finding in report.findings.iter().take(SHOWN_MAX) {
        println!("{}", line(finding));
    }
    if report.findings.len() > SHOWN_MAX {
        println!("… and {} more", report.findings.len() - SHOWN_MAX);
    }
    for ledger in &report.ledgers {
        let span = ledger.span.as_ref().map_or(String::new(), |(_, last)| format!(", as of {last}"));
        println!("ledger {}: {} entries, {} signed{span}", ledger.tenant, ledger.entries, ledger.signed);
        println!("  root {}", ledger.root);
        if let Some(Succeeded { statement, by_old, .. }) = &ledger.succeeded {
            let Succession { origin, size, root, .. } = statement;
            let origin = shown(origin);
            println!("  successor of {origin} at size {size} (root {root}), signed by the old key: {by_old}");
        }
    }
    if report.resumed > 0 {
        println!("{} segments were read by a run before this one, and not again", report.resumed);
    }
    let verdict = report.verdict.as_str().to_uppercase();
    let running = if report.running { ", while it is being written" } else { "" };
    println!("{verdict}: {} ({} bytes in {seconds:.2} s{running})", data.display(), report.bytes);
}

/// A finding in one line.
pub(crate) fn line(finding: &Finding) -> String {
    let mut text = finding.verdict.as_str().to_uppercase();
    if let Some(ledger) = &finding.ledger {
        text.push_str(&format!(": ledger {ledger}"));
    }
    if let Some(seq) = finding.seq {
        text.push_str(&format!(", entry {seq}"));
    }
    text.push_str(&format!(": {}", finding.file.display()));
    if let Some(offset) = finding.offset {
        text.push_str(&format!(" at byte {offset}"));
    }
    format!("{text}: {}", finding.what)
}

fn as_json(report: &Report) -> serde_json::Value {
    json!({
        "verdict": report.verdict.as_str(),
        "identity_checked": report.identity_checked,
        "running": report.running,
        "bytes": report.bytes,
        "resumed": report.resumed,
        "ledgers": report.ledgers.iter().map(|ledger| json!({
            "tenant": ledger.tenant,
            "entries": ledger.entries,
            "signed": ledger.signed,
            "root": ledger.root.to_string(),
            "first": ledger.span.as_ref().map(|(first, _)| first),
            "last": ledger.span.as_ref().map(|(_, last)| last),
            "predecessor": ledger.succeeded.as_ref().map(|succeeded| json!({
                "origin": succeeded.statement.origin,
                "size": succeeded.statement.size,
                "root": succeeded.statement.root.to_string(),
                "signed_by_old_key": succeeded.by_old.to_string(),
            })),
        })).collect::<Vec<_>>(),
        "findings": report.findings.iter().map(|finding| json!({
            "verdict": finding.verdict.as_str(),
            "ledger": finding.ledger,
            "seq": finding.seq,
            "file": finding.file,
            "offset": finding.offset,
            "what": finding.what,
        })).collect::<Vec<_>>(),
    })
}

pub(crate) fn progress_bar(common: &Common) -> ProgressBar {
    if common.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
