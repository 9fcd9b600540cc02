//! A statement of succession that is not what the ledger's first key signed is found in the first entry.

#![cfg(test)]
#![allow(clippy::unwrap_used, missing_docs)]

use indelible_ledger::{Ed25519Signer, Hash, KeyHistory, Note, Signer, Succession};
use indelible_record::Entry;
use indelible_record::entry::{VERSION, event_type};
use indelible_verify::ledger::LedgerCheck;
use indelible_verify::succession::ByOld;
use serde_json::json;

const OLD: &str = "indelible/old";
const NEW: &str = "indelible/new";

fn key(name: &str, seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(name, &[seed; 32]).unwrap()
}

fn statement() -> Succession {
    let new = key(NEW, 2).verifier_key().clone();
    Succession { origin: OLD.to_owned(), size: 7, root: Hash([5; 32]), new }
}

/// What a check makes of a ledger whose first entry holds `said`.
fn check(said: serde_json::Value, trusted: Option<&Ed25519Signer>) -> Result<LedgerCheck, String> {
    let vkey = key(NEW, 2).verifier_key().to_string();
    let detail = json!({ "format": 1, "keys": [vkey], "origin": NEW, "succession": said });
    let entry = Entry {
        prev_hash: Hash::ZERO.to_string(),
        event_id: "event-0".to_owned(),
        event_type: event_type::GENESIS.to_owned(),
        tenant_id: "default".to_owned(),
        timestamp: "2026-11-22T00:00:00.000000Z".to_owned(),
        detail: detail.as_object().cloned(),
        v: VERSION,
        ..Entry::default()
    };
    let mut check =
        LedgerCheck::new("default", trusted.map(|key| KeyHistory::new(key.verifier_key().clone())));
    check.push(&entry.to_bytes().unwrap()).map(|_| check)
}

#[test]
fn only_what_the_first_key_signed_is_a_statement() {
    let (old, new) = (key(OLD, 1), key(NEW, 2));
    let good = statement().sign(Some(&old), &new).unwrap();
    let held = check(good.clone().into(), Some(&new)).unwrap();
    assert_eq!(held.succeeded().unwrap().statement, statement());
    assert_eq!(held.succeeded().unwrap().by_old, ByOld::Unknown);
    // Without a key from outside it still must be the one that the entry names.
    assert!(check(good.clone().into(), None).is_ok());

    let by_another = Succession { new: key(NEW, 3).verifier_key().clone(), ..statement() };
    let by_another = by_another.sign(Some(&old), &key(NEW, 3)).unwrap();
    let by_old_alone = Note::sign(statement().text(), &[&old as &dyn Signer]).unwrap().to_string();
    let rotation = good.replace("succession v1", "key rotation v1");
    let altered = good.replace("\n7\n", "\n6\n");
    for said in [by_another, by_old_alone, rotation, altered, good[1..].to_owned(), String::new()] {
        for trusted in [Some(&new), None] {
            assert!(check(said.clone().into(), trusted).is_err(), "{said}");
        }
    }
    assert!(check(json!([good]), None).is_err());
    // A key from outside that is not the one in the entry.
    assert!(check(good.into(), Some(&key(NEW, 3))).is_err());
}

#[test]
fn the_old_key_and_what_it_signed_are_held_against_it() {
    let (old, new) = (key(OLD, 1), key(NEW, 2));
    let keys = KeyHistory::new(old.verifier_key().clone());
    let succeeded = |by: Option<&dyn Signer>| {
        let said = statement().sign(by, &new).unwrap();
        check(said.into(), Some(&new)).unwrap().succeeded().unwrap().clone()
    };
    let mut by_both = succeeded(Some(&old));
    by_both.check_signature(&keys).unwrap();
    assert_eq!(by_both.by_old, ByOld::Yes);
    assert_eq!(succeeded(None).by_old, ByOld::No);
    let mut by_stranger = succeeded(Some(&key(OLD, 9)));
    assert_eq!(by_stranger.by_old, ByOld::Unknown);
    by_stranger.check_signature(&keys).unwrap();
    assert_eq!(by_stranger.by_old, ByOld::No);
    // One that had retired by then signs for nobody; one that came later does.
    let mut rotated = keys.clone();
    rotated.hand_over(key(OLD, 4).verifier_key().clone(), 5).unwrap();
    by_both.check_signature(&rotated).unwrap();
    assert_eq!(by_both.by_old, ByOld::No);
    let mut by_newer = succeeded(Some(&key(OLD, 4)));
    by_newer.check_signature(&rotated).unwrap();
    assert_eq!(by_newer.by_old, ByOld::Yes);

    let checkpoint = |size, root, by: &Ed25519Signer| {
        indelible_ledger::Checkpoint::new(OLD, size, root).unwrap().sign(by).unwrap().to_string()
    };
    let known = |size, root| by_both.check_known(&keys, checkpoint(size, root, &old).as_bytes());
    assert_eq!(known(7, Hash([5; 32])), Ok(()));
    assert_eq!(known(6, Hash([6; 32])), Ok(()), "whether it only grew, no single checkpoint says");
    assert!(known(8, Hash([5; 32])).is_err());
    assert!(known(7, Hash([6; 32])).is_err());
    let forged = checkpoint(9, Hash([5; 32]), &key(OLD, 9));
    assert!(by_both.check_known(&keys, forged.as_bytes()).is_err());
}
