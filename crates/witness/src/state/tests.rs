//! A witness cosigns one history of each log, whatever happens to it.

use super::*;
use indelible_ledger::{Ed25519Signer, Frontier, leaf_hash, prove_consistency, root_of};
use std::convert::Infallible;

const ORIGIN: &str = "log.example/one";

fn log(seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[seed; 32]).unwrap()
}

fn policy() -> Policy {
    Policy::parse(format!("log {}\nquorum none\n", log(1).verifier_key()).as_bytes()).unwrap()
}

/// What a log sends that has entries `kind`-0, `kind`-1, …
fn request(kind: &str, old: u64, size: u64) -> Vec<u8> {
    let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(format!("{kind}-{n}").as_bytes())).collect();
    let node = |level: u8, index: u64| {
        Ok::<_, Infallible>(root_of(&leaves[(index << level) as usize..((index + 1) << level) as usize]))
    };
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.append(*leaf).unwrap());
    let note = Checkpoint::new(ORIGIN, size, tree.root()).unwrap().sign(&log(1)).unwrap();
    let proof = prove_consistency(old, size, node).unwrap();
    AddCheckpoint { old_size: old, proof, checkpoint: Note::parse(note.as_bytes()).unwrap() }
        .to_string()
        .into_bytes()
}

fn status(outcome: Result<String, NotCosigned>) -> u16 {
    match outcome {
        Ok(_) => 200,
        Err(NotCosigned::Refused(refusal)) => refusal.status(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_was_cosigned_is_remembered_and_a_second_history_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Witness::open(dir.path(), "witness.example", policy());
    let witness = open().unwrap();
    assert!(matches!(open(), Err(WitnessError::Held(_))));
    let vkey = witness.verifier_key().clone();
    let line = witness.add_checkpoint(&request("a", 0, 3)).unwrap();
    let cosigned = witness.cosigned(&hash_of(ORIGIN)).unwrap();
    assert!(cosigned.ends_with(&line));
    drop(witness);
    let witness = open().unwrap();
    assert_eq!(witness.verifier_key(), &vkey);
    assert_eq!(witness.logs(), [(ORIGIN.to_owned(), 3)]);
    for (body, expected) in [
        (request("a", 0, 5), 409),
        (request("b", 3, 5), 422),
        (request("b", 3, 3), 422),
        (request("a", 3, 3), 200),
        (request("a", 3, 5), 200),
        (request("a", 3, 5), 409),
        (b"old 0\n\nx\n".to_vec(), 400),
    ] {
        assert_eq!(status(witness.add_checkpoint(&body)), expected);
    }
    assert_eq!(witness.logs(), [(ORIGIN.to_owned(), 5)]);
    drop(witness);
    // Under another name, it is another witness.
    assert!(matches!(
        Witness::open(dir.path(), "other.example", policy()),
        Err(WitnessError::Damaged { .. })
    ));
    // Without its memory, or with one that was altered, it does not start.
    let heads = dir.path().join("heads");
    let bytes = std::fs::read(&heads).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&heads, changed).unwrap();
        // The log's signature is not this witness's to judge; the text and its own signature are.
        if let Ok(witness) = open() {
            assert_eq!(witness.logs(), [(ORIGIN.to_owned(), 5)], "byte {at}");
        }
    }
    // Wherever it was cut, at the end of a head and to nothing as well.
    for length in 0..bytes.len() {
        std::fs::write(&heads, &bytes[..length]).unwrap();
        assert!(matches!(open(), Err(WitnessError::Damaged { .. })), "{length} bytes");
    }
    std::fs::remove_file(&heads).unwrap();
    assert!(matches!(open(), Err(WitnessError::Io { .. })));
}

#[test]
fn a_log_that_is_not_known_is_not_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    let other = Ed25519Signer::from_seed("log.example/other", &[7; 32]).unwrap();
    let policy = Policy::parse(format!("log {}\nquorum none\n", other.verifier_key()).as_bytes()).unwrap();
    let witness = Witness::open(dir.path(), "witness.example", policy).unwrap();
    assert_eq!(status(witness.add_checkpoint(&request("a", 0, 3))), 404);
    // A log of that name with another key.
    let dir = tempfile::tempdir().unwrap();
    let stranger = Policy::parse(format!("log {}\nquorum none\n", log(9).verifier_key()).as_bytes()).unwrap();
    let witness = Witness::open(dir.path(), "witness.example", stranger).unwrap();
    assert_eq!(status(witness.add_checkpoint(&request("a", 0, 3))), 403);
}

#[test]
fn of_many_at_once_one_history_is_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Witness::open(dir.path(), "witness.example", policy()).unwrap();
    let cosigned = std::thread::scope(|threads| {
        let run = |kind: &'static str| {
            let witness = &witness;
            threads.spawn(move || u64::from(status(witness.add_checkpoint(&request(kind, 0, 4))) == 200))
        };
        let running: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    });
    assert_eq!(cosigned, 1);
}

#[test]
fn after_a_failed_write_nothing_is_cosigned_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Witness::open(dir.path(), "witness.example", policy()).unwrap();
    witness.add_checkpoint(&request("a", 0, 3)).unwrap();
    // The directory goes away: whatever is asked, nothing can be kept.
    let moved = dir.path().with_extension("moved");
    std::process::Command::new("mv").args([dir.path(), &moved]).status().unwrap();
    assert!(matches!(witness.add_checkpoint(&request("a", 3, 5)), Err(NotCosigned::Disk(_))));
    std::process::Command::new("mv").args([&moved, dir.path()]).status().unwrap();
    assert!(matches!(witness.add_checkpoint(&request("a", 3, 5)), Err(NotCosigned::Disk(_))));
    drop(witness);
    let witness = Witness::open(dir.path(), "witness.example", policy()).unwrap();
    assert_eq!(status(witness.add_checkpoint(&request("a", 3, 5))), 200);
}
