//! `indelible-verify`: checks evidence bundles and exported entries, offline.
//!
//! Built from the `record` and `ledger` crates alone, so that an auditor can read all of it. It trusts the policy or
//! the key that the auditor brings, and nothing in what it is shown.

mod bundle;
mod entries;
mod lines;

use indelible_verify::Verdict;
use indelible_verify::text::shown;
use std::fs::File;
use std::io::{self, Read as _};
use std::process::ExitCode;

const USAGE: &str = "\
Checks an evidence bundle, or the entries of one ledger.

Usage: indelible-verify BUNDLE.zip [--policy FILE] [--json]
       indelible-verify ENTRIES [--checkpoint FILE --key VKEY]

  BUNDLE.zip         what `indelible evidence` made
  --policy FILE      whom to trust: the log's keys, witnesses and how many of them must have
                     cosigned (C2SP tlog-policy; `indelible key policy`, handed over before the audit)
  --json             the verdict as one JSON object

  ENTRIES            one entry per line, exactly as recorded (`indelible list --entries`)
  --checkpoint FILE  the signed checkpoint that the entries must add up to
  --key VKEY         the ledger's public key, from a source you trust

Without --policy, or --checkpoint and --key, only internal consistency is checked, and the first line
says so. Exit codes: 0 holds, 1 broken, 2 could not tell or wrong usage.
";

fn main() -> ExitCode {
    let verdict = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => run(&arguments).unwrap_or_else(|problem| {
            eprintln!("error: {}", shown(&problem));
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

#[derive(Default)]
struct Arguments {
    file: String,
    checkpoint: Option<String>,
    key: Option<indelible_ledger::VerifierKey>,
    policy: Option<String>,
    json: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut this = Self::default();
        let mut file = None;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--json" => this.json = true,
                "--checkpoint" => this.checkpoint = Some(words.next().ok_or("--checkpoint needs a file")?),
                "--policy" => this.policy = Some(words.next().ok_or("--policy needs a file")?),
                "--key" => {
                    let text = words.next().ok_or("--key needs a key")?;
                    this.key = Some(text.parse().map_err(|error| format!("--key: {error}"))?);
                }
                _ if word.starts_with('-') => return Err(format!("unknown option {word}")),
                _ if file.is_none() => file = Some(word),
                _ => return Err(format!("unexpected argument {word}")),
            }
        }
        if this.checkpoint.is_some() != this.key.is_some() {
            return Err("--checkpoint and --key go together".to_owned());
        }
        this.file = file.ok_or("which bundle, or which entries?")?;
        Ok(Some(this))
    }
}

/// `Err` is for what could not be read; what is wrong with what was read is a verdict.
fn run(arguments: &Arguments) -> Result<Verdict, String> {
    let unreadable = |error: io::Error| format!("{}: {error}", arguments.file);
    let mut begin = Vec::new();
    File::open(&arguments.file).and_then(|file| file.take(2).read_to_end(&mut begin)).map_err(unreadable)?;
    let is_entries = begin == *b"{\"" || begin.is_empty() && arguments.checkpoint.is_some();
    match (is_entries && arguments.policy.is_none(), &arguments.checkpoint) {
        (true, _) if arguments.json => {
            Err("--json is for bundles: the verdict on entries is in words, and in the exit code".to_owned())
        }
        (true, _) => entries::check(&arguments.file, arguments.checkpoint.as_deref(), arguments.key.as_ref()),
        (false, None) => bundle::check(&arguments.file, arguments.policy.as_deref(), arguments.json),
        (false, Some(_)) => {
            Err("--checkpoint and --key are for entries; a bundle is checked with --policy".to_owned())
        }
    }
}

/// A file of at most `max` bytes; one byte more tells whoever parses it that it is too long.
fn read(path: &str, max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(max as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{path}: {error}"))?;
    Ok(bytes)
}
