//! Signed notes and keys: vectors of the specification and of Go, malformed notes, who is believed.

use indelible_ledger::note::{NOTE_MAX_BYTES, NOTE_SIGNATURES_MAX};
use indelible_ledger::{
    Ed25519Signer, KeyError, KeyId, Note, NoteError, NoteSignature, SignError, Signer, VerifierKey,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// The example of C2SP signed-note.
const SPEC_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n— example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example of Go's golang.org/x/mod/sumdb/note, and the seed in its signer key.
const GO_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_SEED: [u8; 32] = [
    0x81, 0x0a, 0x14, 0x02, 0xd5, 0x14, 0x6c, 0x8d, 0x84, 0xf2, 0x44, 0x33, 0x30, 0xf5, 0x40, 0x80, 0xeb,
    0xf9, 0x8e, 0xe1, 0x7d, 0x9c, 0x74, 0xf6, 0x25, 0x2f, 0xc5, 0xd5, 0xc7, 0x28, 0x31, 0x73,
];
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n";
const GO_LINE: &str = "— PeterNeumann \
    x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn signer(name: &str, seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(name, &[seed; 32]).expect("a usable name")
}

fn key(text: &str) -> VerifierKey {
    text.parse().expect("a verifier key")
}

fn names<'a>(note: &'a Note, keys: &'a [VerifierKey]) -> Result<Vec<&'a str>, NoteError> {
    Ok(note.verify(keys)?.iter().map(|verified| verified.key.name()).collect())
}

#[test]
fn the_notes_of_others_verify() {
    for (note, vkey) in [(SPEC_NOTE, SPEC_VKEY), (&format!("{GO_TEXT}\n{GO_LINE}"), GO_VKEY)] {
        let (parsed, key) = (Note::parse(note.as_bytes()).unwrap(), key(vkey));
        assert_eq!(key.to_string(), vkey);
        assert_eq!(parsed.to_string(), note);
        assert_eq!(names(&parsed, std::slice::from_ref(&key)), Ok(vec![key.name()]));
        let changed = note.replacen("is", "iz", 1);
        let verdict = Note::parse(changed.as_bytes()).unwrap().verify(std::slice::from_ref(&key)).map(|_| ());
        assert_eq!(verdict, Err(NoteError::BadSignature { name: key.name().into(), id: key.key_id() }));
    }
}

#[test]
fn signing_gives_the_bytes_that_go_gives() {
    let signer = Ed25519Signer::from_seed("PeterNeumann", &GO_SEED).unwrap();
    assert_eq!(signer.verifier_key().to_string(), GO_VKEY);
    let note = Note::sign(GO_TEXT.into(), &[&signer]).unwrap();
    assert_eq!(note.to_string(), format!("{GO_TEXT}\n{GO_LINE}"));
}

#[test]
fn a_seed_does_not_show_in_debug() {
    assert_eq!(format!("{:?}", signer("a", 1)), format!("Ed25519Signer({})", signer("a", 1).verifier_key()));
}

#[test]
fn malformed_notes_are_refused() {
    let line = GO_LINE;
    for (note, error) in [
        (String::new(), NoteError::NoEmptyLine),
        ("\n".into(), NoteError::NoEmptyLine),
        (format!("text\n{line}"), NoteError::NoEmptyLine),
        ("text\n\n".into(), NoteError::NoSignature),
        (format!("text\n\n{line}\n"), NoteError::NoSignature),
        (format!("text\n\n{line}more\n"), NoteError::SignatureLine { line: 1 }),
        (format!("text\n\n{}", line.trim_end()), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{line}{}", line.trim_end()), NoteError::SignatureLine { line: 1 }),
        (format!("te\txt\n\n{line}"), NoteError::ControlCharacter),
        (format!("text\r\n\n{line}"), NoteError::ControlCharacter),
        (format!("te\0xt\n\n{line}"), NoteError::ControlCharacter),
        (format!("text\n\n{}", line.replace('—', "-")), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{}", line.replace("— ", "—")), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{}", line.replace("— ", "—  ")), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{}", line.replace("Peter", "Pe+ter")), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{}", line.replace("Peter", "Pe\u{a0}ter")), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{}", line.replace("nAM=", "nAN=")), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{}", line.replace("nAM=", "nAM")), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{}", line.replace('\n', " \n")), NoteError::SignatureLine { line: 0 }),
        ("text\n\n— key x08gow==\n".into(), NoteError::SignatureLine { line: 0 }),
        ("text\n\n— key x08g\n".into(), NoteError::SignatureLine { line: 0 }),
        (format!("text\n\n{}", line.repeat(NOTE_SIGNATURES_MAX + 1)), NoteError::TooManySignatures),
        (format!("{}\n\n{line}", "x".repeat(NOTE_MAX_BYTES)), NoteError::TooLong),
    ] {
        assert_eq!(Note::parse(note.as_bytes()), Err(error), "{:?}", note.get(..80).unwrap_or(&note));
    }
    assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::NotUtf8));
}

#[test]
fn the_last_empty_line_is_the_one_that_counts() {
    let line = GO_LINE;
    for text in ["\n", "\n\n", "one\n\ntwo\n", "one\n\n", &format!("one\n\n{line}")] {
        let note = Note::parse(format!("{text}\n{line}").as_bytes()).unwrap();
        assert_eq!((note.text(), note.signatures().len()), (text, 1));
    }
    let most = format!("text\n\n{}", line.repeat(NOTE_SIGNATURES_MAX));
    assert_eq!(Note::parse(most.as_bytes()).unwrap().signatures().len(), NOTE_SIGNATURES_MAX);
}

#[test]
fn what_would_not_parse_is_not_made() {
    let line: NoteSignature = GO_LINE.trim_end().parse().unwrap();
    let new = |text: &str, lines: usize| Note::new(text.into(), vec![line.clone(); lines]).unwrap_err();
    assert_eq!(new("text", 1), NoteError::UnfinishedText);
    assert_eq!(new("", 1), NoteError::UnfinishedText);
    assert_eq!(new("te\rxt\n", 1), NoteError::ControlCharacter);
    assert_eq!(new("text\n", 0), NoteError::NoSignature);
    assert_eq!(new("text\n", NOTE_SIGNATURES_MAX + 1), NoteError::TooManySignatures);
    assert_eq!(new(&format!("{}\n", "x".repeat(NOTE_MAX_BYTES)), 1), NoteError::TooLong);
    assert_eq!(NoteSignature::new("a b", KeyId(1), vec![1]), Err(NoteError::SignatureParts));
    assert_eq!(NoteSignature::new("a", KeyId(1), vec![]), Err(NoteError::SignatureParts));
}

#[test]
fn strangers_are_ignored_and_known_keys_must_verify() {
    let (alice, bob) = (signer("alice", 1), signer("bob", 2));
    let (alice_key, bob_key) = (alice.verifier_key().clone(), bob.verifier_key().clone());
    let note = Note::sign("text\n".into(), &[&alice, &bob]).unwrap();
    let both = [bob_key.clone(), alice_key.clone()];
    assert_eq!(names(&note, &both), Ok(vec!["alice", "bob"]));
    assert_eq!(names(&note, &both[..1]), Ok(vec!["bob"]));
    assert_eq!(names(&note, &[]), Err(NoteError::NoKnownSignature));
    // The same name with another key, the same key under another name: strangers both.
    let strangers = [signer("alice", 3).verifier_key().clone(), signer("carol", 1).verifier_key().clone()];
    assert_eq!(names(&note, &strangers), Err(NoteError::NoKnownSignature));

    // Bob's line is spoiled: whoever does not know Bob is not bothered, everybody else refuses the note.
    let [good, bad] = note.signatures() else { panic!("two lines") };
    let mut bytes = bad.bytes().to_vec();
    bytes[0] ^= 1;
    let bad = NoteSignature::new(bad.name(), bad.key_id(), bytes).unwrap();
    let spoiled = Note::new("text\n".into(), vec![good.clone(), bad]).unwrap();
    assert_eq!(names(&spoiled, &both[1..]), Ok(vec!["alice"]));
    let refused = NoteError::BadSignature { name: "bob".into(), id: bob_key.key_id() };
    assert_eq!(names(&spoiled, &both), Err(refused));

    // A line said twice is one signature.
    let doubled = Note::new("text\n".into(), vec![good.clone(), good.clone()]).unwrap();
    assert_eq!(names(&doubled, &both), Ok(vec!["alice"]));
    assert_eq!(names(&doubled, &[alice_key.clone(), alice_key]), Ok(vec!["alice"]));
}

#[test]
fn a_signature_cannot_be_altered_into_another_valid_one() {
    // The order of the group; adding it to the second half gives a signature that lax verifiers take.
    let order = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let alice = signer("alice", 1);
    let mut signature = alice.sign(b"text\n").unwrap();
    assert!(alice.verifier_key().verify(b"text\n", &signature));
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + order + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert!(!alice.verifier_key().verify(b"text\n", &signature));
    for len in [0, 63, 65] {
        assert!(!alice.verifier_key().verify(b"text\n", &vec![0; len]));
    }
}

#[test]
fn keys_have_one_spelling() {
    let wrong_id = SPEC_VKEY.replace("530d903a", "530d903b");
    let upper_id = SPEC_VKEY.replace("530d903a", "530D903A");
    for (vkey, error) in [
        (String::new(), KeyError::Syntax),
        ("example.com/foo+530d903a".into(), KeyError::Syntax),
        ("example.com/foo+530d903a+".into(), KeyError::Syntax),
        (format!("{SPEC_VKEY}="), KeyError::Syntax),
        (format!("{SPEC_VKEY}\n"), KeyError::Syntax),
        (SPEC_VKEY.replace("U2k", "U2"), KeyError::Syntax),
        (SPEC_VKEY.replace("+Aek", "+Bek"), KeyError::Type(0x05)),
        ("example.com/foo+530d903a+AQ==".into(), KeyError::PublicKey),
        (SPEC_VKEY.replace("example.com/foo", ""), KeyError::Name),
        (SPEC_VKEY.replace("example.com/foo", "example com"), KeyError::Name),
        (wrong_id, KeyError::Id { expected: KeyId(0x530d_903a) }),
        (upper_id, KeyError::Id { expected: KeyId(0x530d_903a) }),
    ] {
        assert_eq!(vkey.parse::<VerifierKey>(), Err(error), "{vkey}");
    }
}

#[test]
fn keys_of_small_order_are_refused() {
    // The neutral element, and a point of order four: any message has a signature under them.
    let neutral = std::array::from_fn(|at| u8::from(at == 0));
    for weak in [neutral, [0; 32]] {
        assert_eq!(VerifierKey::from_public_key("a", &weak), Err(KeyError::PublicKey));
    }
}

#[test]
fn a_signer_that_fails_makes_no_note() {
    struct Broken;
    impl Signer for Broken {
        fn name(&self) -> &str {
            "hsm"
        }
        fn key_id(&self) -> KeyId {
            KeyId(1)
        }
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
            Err(SignError("token removed".into()))
        }
    }
    let source = SignError("token removed".into());
    let failed = Note::sign("text\n".into(), &[&signer("a", 1), &Broken]);
    assert_eq!(failed, Err(NoteError::Sign { name: "hsm".into(), source }));
}

proptest! {
    #[test]
    fn notes_round_trip(
        text in "([^\\x00-\\x1f]|\n){0,60}",
        lines in vec(("[^\\x00-\\x1f\\s+]{1,12}", any::<u32>(), vec(any::<u8>(), 1..80)), 1..5),
    ) {
        let line = |(name, id, bytes): (String, u32, Vec<u8>)| NoteSignature::new(&name, KeyId(id), bytes);
        let lines = lines.into_iter().map(line).collect::<Result<Vec<_>, _>>().unwrap();
        let note = Note::new(format!("{text}\n"), lines).unwrap();
        prop_assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
    }

    #[test]
    fn signed_notes_verify(text in "[^\\x00-\\x1f]{0,40}", seed: [u8; 32], name in "[a-z./]{1,12}") {
        let signer = Ed25519Signer::from_seed(&name, &seed).unwrap();
        let keys = [key(&signer.verifier_key().to_string())];
        let note = Note::sign(format!("{text}\n"), &[&signer]).unwrap();
        prop_assert_eq!(names(&note, &keys), Ok(vec![name.as_str()]));
    }

    #[test]
    fn parsing_a_note_never_panics(
        bytes in vec(any::<u8>(), 0..200),
        nearly in "(a|\n|— |a [A-Za-z0-9+/]{0,12}={0,2}){0,20}",
        cut in 0usize..400,
    ) {
        let _ = Note::parse(&bytes);
        let _ = Note::parse(&SPEC_NOTE.as_bytes()[..cut.min(SPEC_NOTE.len())]);
        if let Ok(note) = Note::parse(nearly.as_bytes()) {
            prop_assert_eq!(note.to_string(), nearly);
        }
    }

    #[test]
    fn parsing_a_key_never_panics(any in ".{0,80}", nearly in "[a-z]{0,4}\\+[0-9a-f]{7,9}\\+[A-Za-z0-9+/]{40,48}={0,2}") {
        for text in [any, nearly] {
            if let Ok(key) = text.parse::<VerifierKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
