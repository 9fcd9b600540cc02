//! The offline verifier as an auditor runs it: files in, a verdict and an exit code out.

#![allow(clippy::unwrap_used)]

use indelible_ledger::{Checkpoint, Ed25519Signer, Hash, Signer, leaf_hash, root_of};
use indelible_record::Entry;
use indelible_record::entry::{VERSION, event_type};
use std::path::{Path, PathBuf};
use std::process::Command;

const ORIGIN: &str = "indelible/test";

/// What someone does to the entries before they are checked.
type Change = fn(&mut Vec<Vec<u8>>);

struct Handed {
    dir: PathBuf,
    entries: Vec<Vec<u8>>,
}

/// What an operator hands over: entries, a checkpoint over all of them, and beforehand the key.
fn handed(name: &str, count: u64) -> Handed {
    let dir = std::env::temp_dir().join(format!("indelible-offline-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut previous = Hash::ZERO;
    let entries: Vec<Vec<u8>> = (0..count)
        .map(|seq| {
            let kind = if seq == 0 { event_type::GENESIS } else { event_type::LLM_REQUEST };
            let entry = Entry {
                seq,
                prev_hash: previous.to_string(),
                event_id: format!("event-{seq}"),
                event_type: kind.to_owned(),
                tenant_id: "default".to_owned(),
                timestamp: "2026-11-22T00:00:00.000000Z".to_owned(),
                v: VERSION,
                ..Entry::default()
            };
            let bytes = entry.to_bytes().unwrap();
            previous = leaf_hash(&bytes);
            bytes
        })
        .collect();
    let this = Handed { dir, entries };
    this.write(&this.entries);
    this.sign(&this.entries);
    this
}

impl Handed {
    fn write(&self, entries: &[Vec<u8>]) {
        let lines: Vec<u8> = entries.iter().flat_map(|entry| [entry.as_slice(), b"\n"].concat()).collect();
        std::fs::write(self.dir.join("entries.jsonl"), lines).unwrap();
    }

    fn sign(&self, entries: &[Vec<u8>]) {
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let signer = Ed25519Signer::from_seed(ORIGIN, &[7; 32]).unwrap();
        let checkpoint = Checkpoint::new(signer.name(), leaves.len() as u64, root_of(&leaves)).unwrap();
        std::fs::write(self.dir.join("checkpoint"), checkpoint.sign(&signer).unwrap()).unwrap();
    }

    fn verify(&self, key_seed: u8) -> (i32, String) {
        let key = Ed25519Signer::from_seed(ORIGIN, &[key_seed; 32]).unwrap().verifier_key().to_string();
        self.run(&["--checkpoint", path(&self.dir.join("checkpoint")), "--key", &key])
    }

    fn run(&self, more: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_indelible-verify"))
            .arg(self.dir.join("entries.jsonl"))
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_was_signed_holds_and_newer_entries_are_counted_apart() {
    let handed = handed("holds", 20);
    let (code, said) = handed.verify(7);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("HOLDS: 20 entries of default"), "{said}");
    handed.sign(&handed.entries[..15]);
    let (code, said) = handed.verify(7);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("5 entries are newer than the checkpoint"), "{said}");
}

#[test]
fn without_a_key_the_first_line_says_what_was_not_checked() {
    let (code, said) = handed("no-key", 3).run(&[]);
    assert_eq!(code, 0);
    assert!(said.starts_with("IDENTITY NOT CHECKED"), "{said}");
}

#[test]
fn every_kind_of_change_is_broken_and_named() {
    let handed = handed("broken", 20);
    let changes: [(&str, Change); 5] = [
        ("entry 5", |entries| entries[5][20] ^= 1),
        ("entry 5", |entries| drop(entries.remove(5))),
        ("entry 5", |entries| entries.swap(5, 6)),
        ("entry 6", |entries| entries.insert(6, entries[5].clone())),
        ("cut off", |entries| entries.truncate(10)),
    ];
    for (place, change) in changes {
        let mut entries = handed.entries.clone();
        change(&mut entries);
        handed.write(&entries);
        let (code, said) = handed.verify(7);
        assert_eq!(code, 1, "{place}: {said}");
        assert!(said.contains("BROKEN") && said.contains(place), "{place}: {said}");
    }
}

#[test]
fn another_key_or_another_checkpoint_is_broken() {
    let handed = handed("identity", 5);
    assert_eq!(handed.verify(8).0, 1, "a key that the auditor did not bring");
    let note = std::fs::read_to_string(handed.dir.join("checkpoint")).unwrap();
    std::fs::write(handed.dir.join("checkpoint"), note.replacen("\n5\n", "\n4\n", 1)).unwrap();
    assert_eq!(handed.verify(7).0, 1, "an altered checkpoint");
}

#[test]
fn what_cannot_be_read_is_not_called_broken() {
    let handed = handed("unreadable", 2);
    std::fs::remove_file(handed.dir.join("entries.jsonl")).unwrap();
    assert_eq!(handed.verify(7).0, 2);
    assert_eq!(handed.run(&["--nonsense"]).0, 2);
    handed.write(&[]);
    assert_eq!(handed.verify(7).0, 2, "no entries at all");
    handed.write(&handed.entries);
    let (code, said) = handed.run(&["--json"]);
    assert!(code == 2 && said.contains("--json is for bundles"), "{said}");
}

#[test]
fn an_empty_file_is_a_broken_bundle() {
    let handed = handed("empty", 1);
    handed.write(&[]);
    let (code, said) = handed.run(&[]);
    assert!(code == 1 && said.contains("BROKEN at zip"), "{said}");
    let (code, said) = handed.run(&["--json"]);
    assert!(code == 1 && said.contains(r#""check":"zip""#), "{said}");
}

#[test]
fn text_of_entries_does_not_reach_the_terminal_as_it_is() {
    let handed = handed("escapes", 1);
    let mut entry = Entry::parse(&handed.entries[0]).unwrap();
    entry.tenant_id = "acme\u{1b}[2J\nHOLDS".to_owned();
    entry.timestamp = "then\u{1b}[8m\u{202e}".to_owned();
    handed.write(&[entry.to_bytes().unwrap()]);
    let (code, said) = handed.run(&[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("of acme\\u{1b}[2J\\u{a}HOLDS, root"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{202e}']) && said.lines().count() == 3, "{said}");
}
