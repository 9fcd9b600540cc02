//! Exported entries against a signed checkpoint.

use crate::lines::Lines;
use crate::read;
use indelible_ledger::note::NOTE_MAX_BYTES;
use indelible_ledger::{Checkpoint, VerifierKey};
use indelible_record::EntryView;
use indelible_verify::Verdict;
use indelible_verify::ledger::LedgerCheck;
use indelible_verify::text::shown;
use std::fs::File;

/// `Err` is for what could not be read; what is wrong with the entries is a verdict.
pub(crate) fn check(
    file: &str,
    checkpoint: Option<&str>,
    key: Option<&VerifierKey>,
) -> Result<Verdict, String> {
    let path = file;
    let signed = match (checkpoint, key) {
        (Some(path), Some(key)) => {
            match Checkpoint::open(&read(path, NOTE_MAX_BYTES)?, key.name(), std::slice::from_ref(key)) {
                Ok(checkpoint) => Some(checkpoint),
                Err(what) => {
                    println!("BROKEN: {path}: {}", shown(&what.to_string()));
                    return Ok(Verdict::Broken);
                }
            }
        }
        _ => {
            println!("IDENTITY NOT CHECKED: no key was given");
            None
        }
    };
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let mut lines = Lines::of(file);
    let mut check: Option<LedgerCheck> = None;
    for number in 1u64.. {
        let line = lines.next().map_err(|error| format!("{path}: {error}"))?;
        let Some(bytes) = line else { break };
        let check = check.get_or_insert_with(|| {
            let tenant = EntryView::parse(bytes).map(|entry| entry.tenant_id).unwrap_or_default();
            let mut check = LedgerCheck::new(&tenant, None);
            if let Some(checkpoint) = &signed {
                check.await_root(checkpoint.size());
            }
            check
        });
        if let Err(what) = check.push(bytes) {
            println!("BROKEN at line {number} (entry {}): {}", check.size(), shown(&what.to_string()));
            return Ok(Verdict::Broken);
        }
    }
    let Some(check) = check else {
        println!("COULD NOT TELL: there are no entries");
        return Ok(Verdict::Unsure);
    };
    if let Some(checkpoint) = &signed {
        if let Err(what) = check.check_claim(checkpoint) {
            println!("BROKEN: {}", shown(&what.to_string()));
            return Ok(Verdict::Broken);
        }
        if checkpoint.size() < check.size() {
            println!("{} entries are newer than the checkpoint", check.size() - checkpoint.size());
        }
    }
    println!("HOLDS: {} entries of {}, root {}", check.size(), shown(check.tenant()), check.root());
    if let Some(before) = check.succeeded() {
        let (origin, size) = (shown(&before.statement.origin), before.statement.size);
        println!("successor of {origin} at size {size} (root {})", before.statement.root);
    }
    if let Some((first, last)) = check.span() {
        let (first, last) = (shown(first), shown(last));
        println!("complete up to entry {} as of {last} (first {first})", check.size() - 1);
    }
    Ok(Verdict::Holds)
}
