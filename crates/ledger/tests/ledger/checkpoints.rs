//! Checkpoints: what is accepted, what is signed, whose word counts.

use indelible_ledger::{
    Checkpoint, CheckpointError, Ed25519Signer, Hash, Note, NoteError, VerifierKey, leaf_hash,
};
use proptest::prelude::*;

const ORIGIN: &str = "ledger.example/one";
/// The root of the empty tree, in base64.
const EMPTY: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn signer(name: &str, seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(name, &[seed; 32]).expect("a usable name")
}

fn keys(signers: &[&Ed25519Signer]) -> Vec<VerifierKey> {
    signers.iter().map(|signer| signer.verifier_key().clone()).collect()
}

#[test]
fn a_signed_checkpoint_opens() {
    let log = signer(ORIGIN, 1);
    let checkpoint = Checkpoint::new(ORIGIN, 42, leaf_hash(b"root")).unwrap();
    let note = checkpoint.sign(&log).unwrap();
    assert_eq!(Checkpoint::open(note.as_bytes(), ORIGIN, &keys(&[&log])), Ok(checkpoint));
}

#[test]
fn no_byte_of_it_can_be_changed() {
    let log = signer(ORIGIN, 1);
    let checkpoint = Checkpoint::new(ORIGIN, 42, leaf_hash(b"root")).unwrap();
    let note = checkpoint.sign(&log).unwrap().into_bytes();
    for at in 0..note.len() {
        for change in [0x01, 0x02, 0x20, 0x80] {
            let mut changed = note.clone();
            changed[at] ^= change;
            let opened = Checkpoint::open(&changed, ORIGIN, &keys(&[&log]));
            assert!(opened.is_err(), "byte {at} changed by {change:#x}");
        }
        assert!(Checkpoint::open(&note[..at], ORIGIN, &keys(&[&log])).is_err(), "cut at {at}");
    }
}

#[test]
fn an_empty_log_has_one_root() {
    let empty = Checkpoint::new(ORIGIN, 0, Hash::EMPTY_ROOT).unwrap();
    assert_eq!(empty.body(), format!("{ORIGIN}\n0\n{EMPTY}\n"));
    assert_eq!(Checkpoint::new(ORIGIN, 0, Hash::ZERO), Err(CheckpointError::EmptyRoot));
    let body = format!("{ORIGIN}\n0\n{}\n", Hash::ZERO.to_base64());
    assert_eq!(Checkpoint::parse_body(&body), Err(CheckpointError::EmptyRoot));
}

#[test]
fn malformed_bodies_are_refused() {
    for (body, error) in [
        (String::new(), CheckpointError::Lines),
        (format!("a\n0\n{EMPTY}"), CheckpointError::Lines),
        ("a\n0\n".into(), CheckpointError::Lines),
        (format!("a\n0\n{EMPTY}\n\n"), CheckpointError::Lines),
        (format!("a\n0\n{EMPTY}\n\nmore\n"), CheckpointError::Lines),
        (format!("\n0\n{EMPTY}\n"), CheckpointError::Origin),
        (format!("a\r\n0\n{EMPTY}\n"), CheckpointError::Origin),
        (format!("a\n00\n{EMPTY}\n"), CheckpointError::Size),
        (format!("a\n\n{EMPTY}\n"), CheckpointError::Size),
        (format!("a\n+1\n{EMPTY}\n"), CheckpointError::Size),
        (format!("a\n-1\n{EMPTY}\n"), CheckpointError::Size),
        (format!("a\n0x1\n{EMPTY}\n"), CheckpointError::Size),
        (format!("a\n18446744073709551616\n{EMPTY}\n"), CheckpointError::Size),
        (format!("a\n1 \n{EMPTY}\n"), CheckpointError::Size),
        ("a\n1\n\n".into(), CheckpointError::Root),
        (format!("a\n1\n{EMPTY}=\n"), CheckpointError::Root),
        (format!("a\n1\n {EMPTY}\n"), CheckpointError::Root),
        (format!("a\n1\n{}\n", EMPTY.replace("FU=", "FV=")), CheckpointError::Root),
        ("a\n1\nAAAA\n".into(), CheckpointError::Root),
    ] {
        assert_eq!(Checkpoint::parse_body(&body), Err(error), "{body:?}");
    }
    let largest = format!("go.sum database tree\n18446744073709551615\n{EMPTY}\n");
    assert_eq!(Checkpoint::parse_body(&largest).unwrap().body(), largest);
}

#[test]
fn extension_lines_are_read_but_not_signed() {
    let log = signer(ORIGIN, 1);
    let body = format!("{ORIGIN}\n1\n{EMPTY}\nfirst extension\nsecond\n");
    let note = Note::sign(body.clone(), &[&log]).unwrap().to_string();
    let opened = Checkpoint::open(note.as_bytes(), ORIGIN, &keys(&[&log])).unwrap();
    assert_eq!(opened.extensions(), ["first extension", "second"]);
    assert_eq!(opened.body(), body);
    assert_eq!(opened.sign(&log), Err(CheckpointError::Extensions));
}

#[test]
fn only_the_log_speaks_for_the_log() {
    let (log, witness, other) = (signer(ORIGIN, 1), signer("witness.example", 2), signer("other.example", 3));
    let checkpoint = Checkpoint::new(ORIGIN, 1, leaf_hash(b"root")).unwrap();
    let refused = CheckpointError::SignerName { name: "witness.example".into() };
    assert_eq!(checkpoint.sign(&witness), Err(refused));

    let witnessed = Note::sign(checkpoint.body(), &[&witness]).unwrap().to_string();
    let trusted = keys(&[&log, &witness]);
    assert_eq!(Checkpoint::open(witnessed.as_bytes(), ORIGIN, &trusted), Err(CheckpointError::NotTheLog));
    let both = Note::sign(checkpoint.body(), &[&witness, &log]).unwrap().to_string();
    assert_eq!(Checkpoint::open(both.as_bytes(), ORIGIN, &trusted), Ok(checkpoint));

    // A log that is asked for under another name, and one that signs under another's origin.
    let unknown = Checkpoint::open(both.as_bytes(), ORIGIN, &keys(&[&other]));
    assert_eq!(unknown, Err(NoteError::NoKnownSignature.into()));
    let elsewhere = Checkpoint::new("other.example", 1, leaf_hash(b"root")).unwrap();
    let posing = Note::sign(elsewhere.body(), &[&log]).unwrap().to_string();
    let wrong = CheckpointError::WrongOrigin { found: "other.example".into() };
    assert_eq!(Checkpoint::open(posing.as_bytes(), ORIGIN, &trusted), Err(wrong));
}

#[test]
fn an_origin_must_serve_as_a_key_name() {
    for origin in ["", "a b", "a+b", "a\nb", "a\u{2003}b", "a\u{1}b"] {
        assert_eq!(Checkpoint::new(origin, 1, Hash::ZERO), Err(CheckpointError::Origin), "{origin:?}");
    }
}

proptest! {
    #[test]
    fn bodies_round_trip(origin in "[^\\x00-\\x1f]{1,30}", size: u64, root: [u8; 32], lines in "([^\\x00-\\x1f]{1,9}\n){0,3}") {
        let root = if size == 0 { Hash::EMPTY_ROOT } else { Hash(root) };
        let body = format!("{origin}\n{size}\n{}\n{lines}", root.to_base64());
        let checkpoint = Checkpoint::parse_body(&body).unwrap();
        prop_assert_eq!((checkpoint.origin(), checkpoint.size(), checkpoint.root()), (origin.as_str(), size, root));
        prop_assert_eq!(checkpoint.body(), body);
    }

    #[test]
    fn parsing_a_body_never_panics(any in "(.|\n){0,80}", nearly in "a\n[0-9+]{0,22}\n[A-Za-z0-9+/]{42,44}={0,2}\n{0,2}") {
        for text in [any, nearly] {
            if let Ok(checkpoint) = Checkpoint::parse_body(&text) {
                prop_assert_eq!(checkpoint.body(), text);
            }
        }
    }
}
