//! `indelible-verify`: checks exported entries against a signed checkpoint, offline.
//!
//! Built from the `record` and `ledger` crates alone, so that an auditor can read all of it. It trusts
//! the key that the auditor brings, and nothing in what it is shown.

use indelible_ledger::{Checkpoint, VerifierKey};
use indelible_record::Entry;
use indelible_verify::Verdict;
use indelible_verify::ledger::LedgerCheck;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;

const USAGE: &str = "\
Checks the entries of one ledger: every leaf hash, the whole chain, the tree, the signature.

Usage: indelible-verify ENTRIES --checkpoint FILE --key VKEY

  ENTRIES            one entry per line, exactly as recorded (`indelible list --entries`)
  --checkpoint FILE  the signed checkpoint that the entries must add up to
  --key VKEY         the ledger's public key, from a source you trust
                     (`indelible key show`, handed over before the audit)

Without --checkpoint and --key only internal consistency is checked, and the first line says so.
Exit codes: 0 holds, 1 broken, 2 could not tell or wrong usage.
";

fn main() -> ExitCode {
    let verdict = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => run(&arguments).unwrap_or_else(|problem| {
            eprintln!("error: {problem}");
            Verdict::Unsure
        }),
        Ok(None) => {
            print!("{USAGE}");
            Verdict::Holds
        }
        Err(problem) => {
            eprintln!("error: {problem}\nhint: indelible-verify --help");
            Verdict::Unsure
        }
    };
    ExitCode::from(verdict.exit_code())
}

struct Arguments {
    entries: String,
    checkpoint: Option<String>,
    key: Option<VerifierKey>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut entries, mut checkpoint, mut key) = (None, None, None);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--checkpoint" => checkpoint = Some(words.next().ok_or("--checkpoint needs a file")?),
                "--key" => {
                    let text = words.next().ok_or("--key needs a key")?;
                    key = Some(text.parse().map_err(|error| format!("--key: {error}"))?);
                }
                _ if word.starts_with('-') => return Err(format!("unknown option {word}")),
                _ if entries.is_none() => entries = Some(word),
                _ => return Err(format!("unexpected argument {word}")),
            }
        }
        if checkpoint.is_some() != key.is_some() {
            return Err("--checkpoint and --key go together".to_owned());
        }
        Ok(Some(Self { entries: entries.ok_or("which entries?")?, checkpoint, key }))
    }
}

/// `Err` is for what could not be read; what is wrong with the entries is a verdict.
fn run(arguments: &Arguments) -> Result<Verdict, String> {
    let signed = match (&arguments.checkpoint, &arguments.key) {
        (Some(path), Some(key)) => {
            match Checkpoint::open(&read_note(path)?, key.name(), std::slice::from_ref(key)) {
                Ok(checkpoint) => Some(checkpoint),
                Err(what) => {
                    println!("BROKEN: {path}: {what}");
                    return Ok(Verdict::Broken);
                }
            }
        }
        _ => {
            println!("IDENTITY NOT CHECKED: no key was given");
            None
        }
    };
    let file = File::open(&arguments.entries).map_err(|error| format!("{}: {error}", arguments.entries))?;
    let mut lines = BufReader::new(file);
    let mut check: Option<LedgerCheck> = None;
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        // One byte over the limit is enough to know that a line is no entry.
        let limit = indelible_record::entry::ENTRY_MAX_BYTES as u64 + 2;
        let read = (&mut lines)
            .take(limit)
            .read_until(b'\n', &mut line)
            .map_err(|error| format!("{}: {error}", arguments.entries))?;
        if read == 0 {
            break;
        }
        let bytes = line.strip_suffix(b"\n").unwrap_or(&line);
        let check = check.get_or_insert_with(|| {
            let tenant = Entry::parse(bytes).map(|entry| entry.tenant_id).unwrap_or_default();
            let mut check = LedgerCheck::new(&tenant);
            if let Some(checkpoint) = &signed {
                check.await_root(checkpoint.size());
            }
            check
        });
        if let Err(what) = check.push(bytes) {
            println!("BROKEN at line {number} (entry {}): {what}", check.size());
            return Ok(Verdict::Broken);
        }
    }
    let Some(check) = check else {
        println!("COULD NOT TELL: there are no entries");
        return Ok(Verdict::Unsure);
    };
    if let Some(checkpoint) = &signed {
        if let Err(what) = check.check_claim(checkpoint) {
            println!("BROKEN: {what}");
            return Ok(Verdict::Broken);
        }
        if checkpoint.size() < check.size() {
            println!("{} entries are newer than the checkpoint", check.size() - checkpoint.size());
        }
    }
    println!("HOLDS: {} entries of {}, root {}", check.size(), check.tenant(), check.root());
    if let Some((first, last)) = check.span() {
        println!("complete up to entry {} as of {last} (first {first})", check.size() - 1);
    }
    Ok(Verdict::Holds)
}

fn read_note(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(indelible_ledger::note::NOTE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{path}: {error}"))?;
    Ok(bytes)
}
