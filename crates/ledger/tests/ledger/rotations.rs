//! Keys of a log that follow each other, and the statements with which they do.

use indelible_ledger::rotation::KEYS_MAX;
use indelible_ledger::{
    Checkpoint, Cosigner, Ed25519Signer, Hash, KeyHistory, KeyHistoryError, Note, Rotation, Signer,
    Succession,
};

const ORIGIN: &str = "log.example/one";

fn key(seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[seed; 32]).expect("a usable name")
}

fn history() -> KeyHistory {
    let mut keys = KeyHistory::new(key(1).verifier_key().clone());
    keys.hand_over(key(2).verifier_key().clone(), 5).expect("it follows");
    keys.hand_over(key(3).verifier_key().clone(), 9).expect("it follows");
    keys
}

fn checkpoint(size: u64, signers: &[&dyn Signer]) -> String {
    let body = Checkpoint::new(ORIGIN, size, Hash([7; 32])).expect("well formed").body();
    Note::sign(body, signers).expect("well formed").to_string()
}

#[test]
fn each_key_signs_its_sizes_and_both_sign_the_handover() {
    let keys = history();
    for size in 1..20 {
        for seed in 1..=3 {
            let may = match seed {
                1 => size <= 5,
                2 => (5..=9).contains(&size),
                _ => size >= 9,
            };
            assert_eq!(keys.open(checkpoint(size, &[&key(seed)]).as_bytes()).is_ok(), may, "{seed} {size}");
        }
    }
    assert!(keys.open(checkpoint(5, &[&key(1), &key(2)]).as_bytes()).is_ok());
    // A line of a key that is not in force counts for nothing.
    assert!(keys.open(checkpoint(6, &[&key(1), &key(2)]).as_bytes()).is_ok());
    assert!(keys.open(checkpoint(6, &[&key(1), &key(3)]).as_bytes()).is_err());
    assert_eq!(keys.newest(), key(3).verifier_key());
    assert_eq!(keys.handover_at(5), Some(key(2).verifier_key()));
    assert_eq!(keys.handover_at(6), None);
}

#[test]
fn a_history_has_one_spelling() {
    let text = history().to_string();
    assert_eq!(text.parse::<KeyHistory>().unwrap(), history());
    let [one, two, three] = [1, 2, 3].map(|seed| key(seed).verifier_key().to_string());
    assert_eq!(text, format!("{one}\n{two} 5\n{three} 9\n"));
    // What a key directory of one key always held.
    assert_eq!(one.parse::<KeyHistory>().unwrap(), KeyHistory::new(key(1).verifier_key().clone()));
    let witness = Cosigner::from_seed(ORIGIN, &[1; 32]).unwrap().verifier_key().to_string();
    let stranger = Ed25519Signer::from_seed("log.example/two", &[2; 32]).unwrap().verifier_key().to_string();
    for wrong in [
        String::new(),
        "\n".to_owned(),
        witness.clone(),
        format!("{one} 0\n"),
        format!("{one}\n{two}\n"),
        format!("{one}\n{two} 0\n"),
        format!("{one}\n{two} 05\n"),
        format!("{one}\n{two} 5\n{three} 5\n"),
        format!("{one}\n{two} 5\n{three} 4\n"),
        format!("{one}\n{one} 5\n"),
        format!("{one}\n{two} 5\n{one} 9\n"),
        format!("{one}\n{stranger} 5\n"),
        format!("{one}\n{witness} 5\n"),
        format!("{one}\n\n{two} 5\n"),
    ] {
        assert!(wrong.parse::<KeyHistory>().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_log_has_only_so_many_keys() {
    let mut keys = KeyHistory::new(key(1).verifier_key().clone());
    let mut outcome = Ok(());
    for number in 1..=KEYS_MAX {
        let seed = [[number.to_le_bytes()[0]; 16], [9; 16]].concat().try_into().unwrap();
        let key = Ed25519Signer::from_seed(ORIGIN, &seed).unwrap().verifier_key().clone();
        outcome = keys.hand_over(key, number as u64);
    }
    assert_eq!((keys.keys().count(), outcome), (KEYS_MAX, Err(KeyHistoryError::TooMany)));
}

#[test]
fn a_rotation_is_signed_by_both_keys() {
    let (old, new) = (key(1), key(2));
    let rotation = Rotation { size: 5, old: old.verifier_key().clone(), new: new.verifier_key().clone() };
    let note = rotation.sign(&old, &new).unwrap();
    assert_eq!(Rotation::open(note.as_bytes()), Ok(rotation.clone()));
    // It cannot be taken for a checkpoint.
    assert!(Checkpoint::parse_body(&rotation.text()).is_err());
    // One bit anywhere.
    for at in 0..note.len() {
        let mut bytes = note.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(Rotation::open(&bytes).is_err(), "byte {at}");
    }
    // One signature alone, or another one's in its place.
    for signers in [&[&old as &dyn Signer][..], &[&new], &[&old, &key(3)], &[&key(3), &new]] {
        let note = Note::sign(rotation.text(), signers).unwrap().to_string();
        assert!(Rotation::open(note.as_bytes()).is_err(), "{}", signers.len());
    }
    let other = Ed25519Signer::from_seed("log.example/two", &[2; 32]).unwrap();
    let cosigner = Cosigner::from_seed(ORIGIN, &[2; 32]).unwrap();
    for new in [other.verifier_key(), cosigner.verifier_key(), old.verifier_key()] {
        let rotation = Rotation { new: new.clone(), ..rotation.clone() };
        let note = Note::sign(rotation.text(), &[&old, &other]).unwrap().to_string();
        assert!(Rotation::open(note.as_bytes()).is_err(), "{new}");
    }
    let first = Rotation { size: 0, ..rotation };
    assert!(Rotation::open(first.sign(&old, &new).unwrap().as_bytes()).is_err());
}

#[test]
fn a_succession_says_whether_the_old_key_stands_behind_it() {
    let old = key(1);
    let new = Ed25519Signer::from_seed("log.example/two", &[2; 32]).unwrap();
    let succession = Succession {
        origin: ORIGIN.to_owned(),
        size: 5,
        root: Hash([7; 32]),
        new: new.verifier_key().clone(),
    };
    let keys = [old.verifier_key().clone()];
    let by_both = succession.sign(Some(&old), &new).unwrap();
    assert_eq!(Succession::open(by_both.as_bytes(), &keys), Ok((succession.clone(), true)));
    assert_eq!(Succession::open(by_both.as_bytes(), &[]), Ok((succession.clone(), false)));
    let alone = succession.sign(None, &new).unwrap();
    assert_eq!(Succession::open(alone.as_bytes(), &keys), Ok((succession.clone(), false)));
    for at in 0..by_both.len() {
        let mut bytes = by_both.clone().into_bytes();
        bytes[at] ^= 1;
        assert_ne!(Succession::open(&bytes, &keys), Ok((succession.clone(), true)), "byte {at}");
    }
    let by_old = Note::sign(succession.text(), &[&old as &dyn Signer]).unwrap().to_string();
    assert!(Succession::open(by_old.as_bytes(), &keys).is_err());
    // A ledger does not follow itself.
    let same = Succession { new: key(2).verifier_key().clone(), ..succession };
    assert!(Succession::open(same.sign(None, &key(2)).unwrap().as_bytes(), &keys).is_err());
}
