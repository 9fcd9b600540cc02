//! Good and broken bundles that an implementation of its own made (`corpus/make.py`): the verdict on each of them, under each
//! policy, is the one that verify.py and the page must come to as well.

use indelible_ledger::Policy;
use indelible_verify::evidence::{Fault, check};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Deserialize)]
struct Expected {
    /// By bundle and policy; `""` is none.
    bundles: BTreeMap<String, BTreeMap<String, Verdict>>,
    /// What cannot be read.
    refused_policies: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Verdict {
    check: Option<String>,
    exit: u8,
    /// The whole of it, where it holds.
    verdict: Option<serde_json::Value>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn verdict(bytes: &[u8], policy: Option<&Policy>) -> (Verdict, String) {
    match check(Cursor::new(bytes), policy) {
        Ok(found) => (Verdict { check: None, exit: 0, verdict: Some(found.to_json()) }, String::new()),
        Err(Fault::Broken(check, what)) => {
            (Verdict { check: Some(check.as_str().to_owned()), exit: 1, verdict: None }, what)
        }
        Err(Fault::Unreadable(error)) => (Verdict { check: None, exit: 2, verdict: None }, error.to_string()),
    }
}

/// All of the corpus: in the repository is a part of it.
fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = corpus().join("make.py");
    let made =
        Command::new("python3").arg(program).arg("--all").arg(dir.path()).output().expect("python3 starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    dir
}

#[test]
fn every_bundle_gets_the_verdict_that_all_must_come_to() {
    let made = made();
    let expected: Expected =
        serde_json::from_slice(&fs::read(made.path().join("expected.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let (mut good, mut broken) = (0, 0);
    for (bundle, verdicts) in &expected.bundles {
        let bytes = fs::read(made.path().join(bundle)).unwrap();
        for (name, expected) in verdicts {
            let found = match name.as_str() {
                "" => Ok(None),
                name => Policy::parse(&fs::read(made.path().join("policies").join(name)).unwrap()).map(Some),
            };
            let (found, what) = match found {
                Ok(policy) => verdict(&bytes, policy.as_ref()),
                Err(error) => (Verdict { check: None, exit: 2, verdict: None }, error.to_string()),
            };
            if found != *expected {
                wrong.push(format!("{bundle} under {name:?}: {found:?} ({what}), not {expected:?}"));
            }
            *if expected.exit == 0 { &mut good } else { &mut broken } += 1;
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(expected.bundles.len() > 500 && good > 50, "{good} good, {broken} broken");
}

#[test]
fn policies_that_are_none_are_refused() {
    let expected: Expected =
        serde_json::from_slice(&fs::read(corpus().join("expected.json")).unwrap()).unwrap();
    let refused = fs::read_dir(corpus().join("policies")).unwrap().filter_map(|file| {
        let file = file.unwrap();
        let read = Policy::parse(&fs::read(file.path()).unwrap());
        read.is_err().then(|| file.file_name().into_string().unwrap())
    });
    assert_eq!(refused.collect::<BTreeSet<_>>(), expected.refused_policies);
}

/// Each byte of each member and of everything around them.
#[test]
fn every_bit_that_changed_is_found() {
    let expected: Expected =
        serde_json::from_slice(&fs::read(corpus().join("expected.json")).unwrap()).unwrap();
    let good =
        expected.bundles.iter().filter(|(_, verdicts)| verdicts.get("").is_some_and(|one| one.exit == 0));
    let mut flips = 0;
    for (bundle, _) in good {
        let mut bytes = fs::read(corpus().join(bundle)).unwrap();
        if bytes.len() > 8 << 10 {
            continue;
        }
        for at in 0..bytes.len() {
            bytes[at] ^= 1 << (at % 8);
            let (found, _) = verdict(&bytes, None);
            assert_eq!(found.exit, 1, "{bundle}, byte {at}");
            bytes[at] ^= 1 << (at % 8);
            flips += 1;
        }
    }
    assert!(flips > 10_000, "{flips}");
}
