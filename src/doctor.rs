//! `indelible doctor`: what is wrong with a data directory, what to do about it, and doing what is safe to do.

use crate::cli::{Common, Doctor, Verify};
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::verify;
use indelible_collector::repair::{self, Outcome as Repaired};
use indelible_verify::Verdict;
use indelible_verify::directory::Finding;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Permission bits that nobody but the owner may have on a key directory.
const OTHERS: u32 = 0o077;

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
    let trust = verify::trust(common, &Verify::default())?;
    let bar = verify::progress_bar(common);
    let report = verify::check(common, false, &data, &trust, None, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let advice: Vec<String> = surroundings(common);
    if common.json {
        println!(
            "{}",
            json!({
                "verdict": report.verdict.as_str(),
                "findings": report.findings.iter().map(|finding| json!({
                    "verdict": finding.verdict.as_str(),
                    "file": finding.file,
                    "what": finding.what,
                    "remedy": remedy(finding),
                })).collect::<Vec<_>>(),
                "repairs": repairs.iter().map(|(file, outcome)| json!({
                    "file": file,
                    "repaired": *outcome == Repaired::Made,
                    "what": said(outcome),
                })).collect::<Vec<_>>(),
                "advice": advice,
            })
        );
        return Ok(report.verdict.exit_code());
    }
    for (file, outcome) in &repairs {
        println!("{}: {}", file.display(), said(outcome));
    }
    for finding in &report.findings {
        println!("{}", verify::line(finding));
        println!("  {}", remedy(finding));
    }
    for text in &advice {
        println!("ADVICE: {text}");
    }
    if report.verdict == Verdict::Holds {
        println!("nothing is wrong with {}", data.display());
    }
    Ok(report.verdict.exit_code())
}

fn said(outcome: &Repaired) -> &str {
    match outcome {
        Repaired::Made => "was made again from the entries",
        Repaired::Not(why) => why,
    }
}

/// What to do about a finding.
fn remedy(finding: &Finding) -> &'static str {
    let named = |name: &str| finding.file.file_name().is_some_and(|file| file == name);
    if named("ids.idx") {
        "look-ups go on, slowly: indelible doctor --repair makes it again"
    } else if finding.verdict == Verdict::Unsure {
        "start the collector again: it finishes what was begun"
    } else if named("entries.parquet") || named("payload.frames") || named("segment.json") {
        "restore this file from a copy: its bytes are known by their hash"
    } else {
        "restore it from a copy; nothing that was signed can be made again. If no copy is left: indelible key successor --help"
    }
}

/// What is not wrong with the records, and still not right.
fn surroundings(common: &Common) -> Vec<String> {
    let mut advice = Vec::new();
    let keys = common.keys();
    match std::fs::metadata(&keys) {
        Ok(meta) if meta.permissions().mode() & OTHERS != 0 => {
            advice.push(format!("{} can be read by others: chmod 700 it", keys.display()));
        }
        Ok(_) => {}
        Err(error) => advice.push(format!(
            "{}: {error}: payloads cannot be read, and no collector starts without it",
            keys.display()
        )),
    }
    if Path::new(&keys).starts_with(common.data()) {
        advice.push("the key directory lies within the data directory: one copy would hold both".to_owned());
    }
    advice
}
