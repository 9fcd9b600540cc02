//! `indelible doctor`: what is wrong with a data directory, what to do about it, and doing what is safe to do.

use crate::cli::{Common, Doctor, Verify};
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::verify;
use indelible_collector::hindrances::{self, Hindrance};
use indelible_collector::repair::{self, Outcome as Repaired};
use indelible_segment::manifest::{ENTRIES, IDS, MANIFEST, PAYLOAD};
use indelible_verify::Verdict;
use indelible_verify::directory::{Cause, Finding, Report};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Permission bits that nobody but the owner may have on a key directory.
const OTHERS: u32 = 0o077;
/// How long a running collector is given to be done with what it writes.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
const READ_KEYS: &str = "run it as the user that the collector runs as, and name the key directory with --keys. If the file is damaged, put the newest copy of the key directory in place: nothing in it can be made again";
const COPY_OF_KEYS: &str = "put the newest copy of the key directory in place, or name the one that belongs to these records with --keys; nothing in it can be made again. If no copy is left: indelible key successor --help";

/// Looks, and repairs if asked to.
pub(crate) fn run(common: &Common, arguments: &Doctor) -> Outcome {
    let data = common.data();
    if !data.is_dir() {
        return Err(Failure::new(format!("{} is not a directory", data.display()))
            .hint("name the data directory with --data"));
    }
    let mut repairs = Vec::new();
    if arguments.repair {
        repairs = repair::indexes(&data).map_err(|error| failure(&error))?;
    }
    let trust = match verify::trust(common, &Verify::default()) {
        Ok(trust) => trust,
        Err(failure) => {
            // What a start looks at says it better, file by file.
            let mut named = hindrances(&data, &common.keys(), &[], false);
            if named.is_empty() {
                return Err(failure.hint(READ_KEYS));
            }
            let what = format!("was not checked: {}", failure.what);
            let (file, verdict, cause) = (data.clone(), Verdict::Unsure, Cause::File);
            named.push((
                Finding { verdict, ledger: None, seq: None, file, offset: None, what, cause },
                READ_KEYS,
            ));
            return show(common, &named, &repairs, &data);
        }
    };
    let bar = verify::progress_bar(common);
    let report = verify::check(common, arguments.store, &data, &trust, None, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let named = named(&report, &data, &common.keys(), arguments.store);
    show(common, &named, &repairs, &data)
}

/// Prints what was found, worst first, and what was done about it.
fn show(
    common: &Common,
    named: &[(Finding, &'static str)],
    repairs: &[(PathBuf, Repaired)],
    data: &Path,
) -> Outcome {
    let verdict = named.first().map_or(Verdict::Holds, |(finding, _)| finding.verdict);
    let advice: Vec<String> = surroundings(common);
    if common.json {
        println!(
            "{}",
            json!({
                "verdict": verdict.as_str(),
                "findings": named.iter().map(|(finding, remedy)| json!({
                    "verdict": finding.verdict.as_str(),
                    "file": finding.file,
                    "what": finding.what,
                    "remedy": remedy,
                })).collect::<Vec<_>>(),
                "repairs": repairs.iter().map(|(file, outcome)| json!({
                    "file": file,
                    "repaired": *outcome == Repaired::Made,
                    "what": said(outcome),
                })).collect::<Vec<_>>(),
                "advice": advice,
            })
        );
        return Ok(verdict.exit_code());
    }
    for (file, outcome) in repairs {
        println!("{}: {}", file.display(), said(outcome));
    }
    for (finding, remedy) in named {
        println!("{}", verify::line(finding));
        println!("  {remedy}");
    }
    for text in &advice {
        println!("ADVICE: {text}");
    }
    if verdict == Verdict::Holds {
        println!("nothing is wrong with {}", data.display());
    }
    Ok(verdict.exit_code())
}

fn said(outcome: &Repaired) -> &str {
    match outcome {
        Repaired::Made => "was made again from the entries",
        Repaired::Not(why) => why,
    }
}

/// What the check found and what keeps a collector from starting, worst first, each with what to do about it.
fn named(report: &Report, data: &Path, keys: &Path, read_bucket: bool) -> Vec<(Finding, &'static str)> {
    // What a running collector is about to sign for the first time has no head yet.
    let with_entries: Vec<&str> = report
        .ledgers
        .iter()
        .filter(|ledger| ledger.signed > 0 || (ledger.entries > 0 && !report.running))
        .map(|ledger| ledger.tenant.as_str())
        .collect();
    let hindrances = hindrances(data, keys, &with_entries, report.running);
    let found = report.findings.iter().map(|finding| (finding.clone(), remedy(finding, data, read_bucket)));
    let mut named: Vec<_> = found.chain(hindrances).collect();
    named.sort_by_key(|(finding, _)| std::cmp::Reverse(finding.verdict));
    named
}

/// What keeps a collector from starting, worst first, each with what to do about it.
fn hindrances(
    data: &Path,
    keys: &Path,
    with_entries: &[&str],
    running: bool,
) -> Vec<(Finding, &'static str)> {
    let mut found = hindrances::find(data, keys, with_entries);
    if running && !found.is_empty() {
        // A collector that starts for the first time, or changes a key, writes one file after the other.
        std::thread::sleep(SETTLED_AFTER);
        let still = hindrances::find(data, keys, with_entries);
        found.retain(|hindrance| still.contains(hindrance));
    }
    let mut named: Vec<_> = found
        .into_iter()
        .map(|hindrance| {
            let remedy = remedy_of_keys(&hindrance);
            let Hindrance { file, what, unread } = hindrance;
            let verdict = if unread { Verdict::Unsure } else { Verdict::Broken };
            let cause = Cause::File;
            (Finding { verdict, ledger: None, seq: None, file, offset: None, what, cause }, remedy)
        })
        .collect();
    named.sort_by_key(|(finding, _)| std::cmp::Reverse(finding.verdict));
    named
}

/// What to do about a finding.
fn remedy(finding: &Finding, data: &Path, read_bucket: bool) -> &'static str {
    let named = |name: &str| finding.file.file_name().is_some_and(|file| file == name);
    match finding.cause {
        Cause::Unread if !read_bucket => {
            return "it is only in the bucket, which was not read: indelible doctor --store reads it there, too. The configuration names the bucket: collector.store_url";
        }
        Cause::Half if has_copy(finding, data) => {
            return "start the collector again: it uploads the rest from the copy that is here";
        }
        Cause::Half => {
            return "leave these objects as they are. If entries are missing, they are what is left of them: restore their segment.json in the bucket from a copy";
        }
        Cause::NoKey => {
            return "put the ledger's public key, TENANT.vkey, in ledgers/ of the key directory, or name the key directory with --keys";
        }
        Cause::Unread | Cause::File => {}
    }
    // The head is named by itself, not as a file of the directory.
    let is_here = finding.file.starts_with(data) || finding.file == Path::new("head");
    if !is_here || finding.cause == Cause::Unread {
        return remedy_in_bucket(finding, data);
    }
    if named(IDS) {
        "look-ups go on, slowly: indelible doctor --repair makes it again"
    } else if finding.verdict == Verdict::Unsure {
        "start the collector again: it finishes what was begun"
    } else if named(ENTRIES) || named(PAYLOAD) || named(MANIFEST) {
        "restore this file from a copy: its bytes are known by their hash"
    } else {
        "restore it from a copy; nothing that was signed can be made again. If no copy is left: indelible key successor --help"
    }
}

/// The same, of an object in the bucket, or of the bucket.
fn remedy_in_bucket(finding: &Finding, data: &Path) -> &'static str {
    if finding.verdict == Verdict::Unsure {
        "does the bucket answer, and do the keys to it list and read it? then again: indelible doctor --store"
    } else if has_copy(finding, data) {
        "see that nothing else writes to this place in the bucket; then delete the object, if it is there, and start the collector again: it uploads the copy that is here"
    } else if finding.file.file_name().is_some_and(|file| file == IDS) {
        "look-ups go on, slowly. Restore the object from a copy; or copy the objects of this segment to the same path in DIR/segments, run indelible doctor --repair, delete this object and start the collector again: it uploads what was made"
    } else {
        "restore the object from a copy, or an earlier version of it: its bytes are known by their hash"
    }
}

/// Whether the segment that a finding elsewhere is about is on this machine as well.
fn has_copy(finding: &Finding, data: &Path) -> bool {
    let parts: Vec<_> = finding.file.iter().collect();
    // The prefix in the bucket may have such a part, too: what counts is the last.
    let begin = parts.iter().rposition(|part| part.to_string_lossy().starts_with("tenant="));
    begin.and_then(|begin| parts.get(begin..begin + 3)).is_some_and(|parts| {
        let segment: PathBuf = parts.iter().collect();
        data.join("segments").join(segment).join(MANIFEST).exists()
    })
}

/// What to do about a file of the key directory.
fn remedy_of_keys(hindrance: &Hindrance) -> &'static str {
    if hindrance.unread {
        "let the user that the collector runs as read it, and nobody else"
    } else if hindrance.file.file_name().is_some_and(|file| file == "master.key") {
        "restore it from a copy of the key directory: all other secrets are under it, and without it no payload can be read and no successor be made"
    } else {
        COPY_OF_KEYS
    }
}

/// What is not wrong with the records, and still not right.
fn surroundings(common: &Common) -> Vec<String> {
    let mut advice = Vec::new();
    let keys = common.keys();
    // One that is missed is a finding.
    if std::fs::metadata(&keys).is_ok_and(|meta| meta.permissions().mode() & OTHERS != 0) {
        advice.push(format!("{} can be read by others: chmod 700 it", keys.display()));
    }
    if Path::new(&keys).starts_with(common.data()) {
        advice.push("the key directory lies within the data directory: one copy would hold both".to_owned());
    }
    advice
}
