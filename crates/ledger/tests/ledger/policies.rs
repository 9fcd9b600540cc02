//! Policies: what is one, and what it accepts.

use indelible_ledger::policy::{Accepted, PolicyRefusal};
use indelible_ledger::{Checkpoint, Cosigner, Ed25519Signer, Hash, Note, NoteError, Policy};

const ORIGIN: &str = "log.example/one";
const TIME: u64 = 1_790_000_000;

fn log() -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[1; 32]).expect("a usable name")
}

fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness.example/{number}"), &[100 + number; 32]).expect("a usable name")
}

/// A signed checkpoint, cosigned by these.
fn cosigned(by: &[u8]) -> Note {
    let checkpoint = Checkpoint::new(ORIGIN, 7, Hash([7; 32])).expect("well formed");
    let note = Note::parse(checkpoint.sign(&log()).expect("well formed").as_bytes()).expect("well formed");
    let mut lines = note.signatures().to_vec();
    for number in by {
        lines.push(witness(*number).cosign(note.text(), TIME + u64::from(*number)).expect("well formed"));
    }
    Note::new(note.text().to_owned(), lines).expect("well formed")
}

/// A policy about the log and witnesses 1 to 5, with these lines behind them.
fn policy(rest: &str) -> Policy {
    let mut text = format!("# trust\n\nlog {} https://log.example/\n", log().verifier_key());
    for number in 1..=5 {
        text += &format!("witness w{number}\t{}\n", witness(number).verifier_key());
    }
    Policy::parse(format!("{text}{rest}").as_bytes()).expect("well formed")
}

fn accepts(policy: &Policy, by: &[u8]) -> bool {
    match policy.open(cosigned(by).to_string().as_bytes(), ORIGIN) {
        Ok(_) => true,
        Err(PolicyRefusal::Quorum { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_quorum_is_what_the_groups_say() {
    let none = policy("quorum none\n");
    assert!(accepts(&none, &[]));
    let one = policy("quorum w2\n");
    assert!(accepts(&one, &[1, 2]) && !accepts(&one, &[1, 3, 4, 5]));
    let nested = policy("group a 2 w1 w2 w3\ngroup b any w4 w5\ngroup both all a b\nquorum both\n");
    for (by, enough) in [
        (&[1, 2, 4][..], true),
        (&[1, 3, 5], true),
        (&[1, 2, 3], false),
        (&[1, 4, 5], false),
        (&[], false),
        (&[1, 2, 3, 4, 5], true),
    ] {
        assert_eq!(accepts(&nested, by), enough, "{by:?}");
    }
}

#[test]
fn a_cosignature_says_when() {
    let policy = policy("group g 1 w1 w3\nquorum g\n");
    let accepted = policy.open(cosigned(&[3, 1]).to_string().as_bytes(), ORIGIN);
    let Ok(Accepted { checkpoint, cosigned }) = accepted else { panic!("{accepted:?}") };
    assert_eq!(checkpoint.size(), 7);
    assert_eq!(cosigned, [("w3".to_owned(), TIME + 3), ("w1".to_owned(), TIME + 1)]);
}

#[test]
fn a_witness_does_not_count_twice() {
    let note = cosigned(&[1]);
    let again = Note::new(
        note.text().to_owned(),
        [note.signatures(), &[witness(1).cosign(note.text(), TIME + 9).unwrap()]].concat(),
    );
    let policy = policy("group g 2 w1 w2\nquorum g\n");
    let refused = policy.open(again.unwrap().to_string().as_bytes(), ORIGIN);
    assert!(matches!(refused, Err(PolicyRefusal::Quorum { cosigned: 1, .. })), "{refused:?}");
}

#[test]
fn a_line_of_a_known_witness_that_is_wrong_spoils_it() {
    let policy = policy("quorum none\n");
    let (note, other) = (cosigned(&[1]), Checkpoint::new(ORIGIN, 8, Hash([8; 32])).unwrap());
    // Of another checkpoint; at another time than it says.
    let stolen = witness(1).cosign(&other.body(), TIME).unwrap();
    let mut bytes = note.signatures()[1].bytes().to_vec();
    bytes[7] ^= 1;
    let moved = indelible_ledger::NoteSignature::new("witness.example/1", stolen.key_id(), bytes).unwrap();
    for line in [stolen, moved] {
        let forged = Note::new(note.text().to_owned(), vec![note.signatures()[0].clone(), line]).unwrap();
        let refused = policy.open(forged.to_string().as_bytes(), ORIGIN);
        assert!(
            matches!(refused, Err(PolicyRefusal::Cosignature(NoteError::BadSignature { .. }))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_witness_does_not_speak_for_the_log() {
    // One that is called as the log is, and whose key is of the right bytes.
    let cosigner = Cosigner::from_seed(ORIGIN, &[1; 32]).unwrap();
    let text = Checkpoint::new(ORIGIN, 7, Hash([7; 32])).unwrap().body();
    let note = Note::new(text.clone(), vec![cosigner.cosign(&text, TIME).unwrap()]).unwrap();
    let keys = [cosigner.verifier_key().clone(), log().verifier_key().clone()];
    assert!(Checkpoint::open(note.to_string().as_bytes(), ORIGIN, &keys).is_err());
    assert_ne!(keys[0].key_id(), keys[1].key_id());
}

#[test]
fn another_log_is_not_this_one() {
    let policy = policy("quorum none\n");
    let note = cosigned(&[]).to_string();
    assert!(policy.open(note.as_bytes(), "log.example/other").is_err());
    assert!(policy.log_keys("log.example/other", 7).is_empty());
}

#[test]
fn a_key_signs_only_the_sizes_that_the_policy_says() {
    let log = log();
    let note = cosigned(&[]).to_string();
    for (sizes, accepted) in [
        ("#sizes 7 7\n", true),
        ("#sizes 0 7\n", true),
        ("#sizes 7 -\n", true),
        ("#sizes 0 -\n# a comment between\n", true),
        ("#sizes: 0 6\n", true), // Some other comment.
        ("#sizes 0 6\n", false),
        ("#sizes 8 -\n", false),
        ("# first\n\n#sizes\t8  9\n\n", false),
    ] {
        let text = format!("{sizes}log {}\nquorum none\n", log.verifier_key());
        let policy = Policy::parse(text.as_bytes()).expect(sizes);
        assert_eq!(policy.open(note.as_bytes(), ORIGIN).is_ok(), accepted, "{sizes}");
    }
    // Only the line that follows is meant.
    let other = Ed25519Signer::from_seed("log.example/two", &[2; 32]).unwrap();
    let text = format!("#sizes 0 6\nlog {}\nlog {}\nquorum none\n", other.verifier_key(), log.verifier_key());
    assert!(Policy::parse(text.as_bytes()).unwrap().open(note.as_bytes(), ORIGIN).is_ok());
}

#[test]
fn a_list_of_files_is_signed_by_a_key_that_was_not_retired_before() {
    let key = |seed| Ed25519Signer::from_seed(ORIGIN, &[seed; 32]).unwrap().verifier_key().clone();
    let (old, new, always) = (key(1), key(2), key(3));
    let elsewhere = Ed25519Signer::from_seed("log.example/two", &[4; 32]).unwrap();
    let text = format!(
        "#sizes 0 7\nlog {old}\n#sizes 7 {}\nlog {new}\nlog {always}\nlog {}\nquorum none\n",
        u64::MAX - 1,
        elsewhere.verifier_key()
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    for (size, log_keys, manifest_keys) in [
        (0, vec![&old, &always], vec![&old, &new, &always]),
        (6, vec![&old, &always], vec![&old, &new, &always]),
        (7, vec![&old, &new, &always], vec![&old, &new, &always]),
        (8, vec![&new, &always], vec![&new, &always]),
        (u64::MAX - 1, vec![&new, &always], vec![&new, &always]),
        (u64::MAX, vec![&always], vec![&always]),
    ] {
        assert_eq!(policy.log_keys(ORIGIN, size).iter().collect::<Vec<_>>(), log_keys, "{size}");
        assert_eq!(policy.manifest_keys(ORIGIN, size).iter().collect::<Vec<_>>(), manifest_keys, "{size}");
    }
}

#[test]
fn what_is_no_policy_is_refused_with_its_line() {
    let (log, one, two) = (log(), witness(1), witness(2));
    let (log, one, two) = (log.verifier_key(), one.verifier_key(), two.verifier_key());
    for (text, line) in [
        (String::new(), 0),
        ("# nothing\n".to_owned(), 0),
        ("quorum none\nquorum none\n".to_owned(), 2),
        ("quorum w1\n".to_owned(), 1),
        (format!("witness none {one}\nquorum none\n"), 1),
        (format!("witness a {one}\nwitness a {two}\nquorum a\n"), 2),
        (format!("witness a {one}\nwitness b {one}\nquorum a\n"), 2),
        (format!("log {log}\nlog {log}\nquorum none\n"), 2),
        (format!("log {one}\nquorum none\n"), 1),
        (format!("witness a {log}\nquorum none\n"), 1),
        (format!("log {log} u v\nquorum none\n"), 1),
        (format!("witness a {one}\ngroup g all\nquorum g\n"), 2),
        (format!("witness a {one}\ngroup g 0 a\nquorum g\n"), 2),
        (format!("witness a {one}\ngroup g 2 a\nquorum g\n"), 2),
        (format!("witness a {one}\ngroup g 01 a\nquorum g\n"), 2),
        (format!("witness a {one}\ngroup g any a a\nquorum g\n"), 2),
        (format!("witness a {one}\ngroup g any a\ngroup h any a\nquorum h\n"), 3),
        (format!("witness a {one}\ngroup g any g\nquorum g\n"), 2),
        (format!("witness a {one}\ngroup g any none\nquorum g\n"), 2),
        (format!("#sizes 1\nlog {log}\nquorum none\n"), 1),
        (format!("#sizes 1 2 3\nlog {log}\nquorum none\n"), 1),
        (format!("#sizes 2 1\nlog {log}\nquorum none\n"), 1),
        (format!("#sizes 01 2\nlog {log}\nquorum none\n"), 1),
        (format!("#sizes - 2\nlog {log}\nquorum none\n"), 1),
        (format!("#sizes\nlog {log}\nquorum none\n"), 1),
        (format!("#sizes 0 18446744073709551616\nlog {log}\nquorum none\n"), 1),
        (format!("#sizes 0 1\n#sizes 2 3\nlog {log}\nquorum none\n"), 2),
        (format!("log {log}\n#sizes 0 1\nquorum none\n"), 0),
        ("nonsense\nquorum none\n".to_owned(), 1),
        ("log x\nquorum none\n".to_owned(), 1),
        ("quorum none\r\n".to_owned(), 0),
        ("quorum\u{b}none\n".to_owned(), 0),
    ] {
        let refused = Policy::parse(text.as_bytes()).expect_err(&text);
        assert_eq!(refused.line, line, "{text:?}: {refused}");
    }
    assert!(Policy::parse(&[b"# \xff\nquorum none\n"[..].to_vec()].concat()).is_err());
    let mut many = String::new();
    for number in 0..=u8::MAX {
        let seed = [[number; 16], [9; 16]].concat().try_into().unwrap();
        many += &format!("witness w{number} {}\n", Cosigner::from_seed("w", &seed).unwrap().verifier_key());
    }
    assert!(Policy::parse(format!("{many}quorum w7\n").as_bytes()).is_ok());
    assert!(Policy::parse(format!("{many}witness more {one}\nquorum w7\n").as_bytes()).is_err());
}
