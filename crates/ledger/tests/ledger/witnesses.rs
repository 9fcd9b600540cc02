//! What a witness checks, point by point of C2SP tlog-witness, and what a log makes of the answer.

use std::convert::Infallible;

use indelible_ledger::witness::{AddCheckpoint, PROOF_MAX_HASHES, Refusal, cosignatures};
use indelible_ledger::{
    Checkpoint, Cosigner, Ed25519Signer, Hash, Note, NoteError, VerifierKey, leaf_hash, prove_consistency,
    root_of,
};

const ORIGIN: &str = "log.example/one";

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

fn log() -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[1; 32]).expect("well formed")
}

fn keys() -> [VerifierKey; 1] {
    [log().verifier_key().clone()]
}

fn root(size: u64) -> Hash {
    root_of(&leaves(size))
}

fn signed(size: u64, root: Hash) -> Note {
    let note = Checkpoint::new(ORIGIN, size, root).expect("well formed").sign(&log()).expect("well formed");
    Note::parse(note.as_bytes()).expect("well formed")
}

fn request(old_size: u64, size: u64) -> AddCheckpoint {
    let leaves = leaves(size);
    let node = |level: u8, index: u64| {
        Ok::<_, Infallible>(root_of(&leaves[(index << level) as usize..((index + 1) << level) as usize]))
    };
    let proof = prove_consistency(old_size, size, node).expect("well formed");
    AddCheckpoint { old_size, proof, checkpoint: signed(size, root(size)) }
}

#[test]
fn a_log_that_grows_is_cosigned() {
    for (old, new) in [(0, 0), (0, 5), (5, 5), (5, 8), (4, 9), (1, 300)] {
        let request = request(old, new);
        assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()).as_ref(), Ok(&request));
        assert_eq!(request.origin(), ORIGIN);
        let seen = (old > 0).then(|| (old, root(old)));
        assert_eq!(request.check(ORIGIN, &keys(), seen).unwrap().size(), new, "{old} to {new}");
    }
}

#[test]
fn each_refusal_has_its_status() {
    let seen = Some((5, root(5)));
    let check = |request: AddCheckpoint| request.check(ORIGIN, &keys(), seen).unwrap_err();
    // Another size was cosigned last: smaller, larger, none known to the log.
    for old in [0, 4, 6] {
        assert_eq!(check(request(old, 8)), Refusal::Conflict { size: 5 });
    }
    assert_eq!(Refusal::Conflict { size: 5 }.status(), 409);
    // A rollback.
    let back = AddCheckpoint { old_size: 5, proof: vec![], checkpoint: signed(3, root(3)) };
    assert_eq!(check(back).status(), 400);
    // A fork: the same size, another root; a larger tree that is no extension; a proof that does not belong.
    let fork = AddCheckpoint { old_size: 5, proof: vec![], checkpoint: signed(5, Hash([9; 32])) };
    assert_eq!(check(fork), Refusal::Proof);
    let fork = AddCheckpoint { checkpoint: signed(8, Hash([9; 32])), ..request(5, 8) };
    assert_eq!(check(fork).status(), 422);
    let mut wrong = request(5, 8);
    wrong.proof.pop();
    assert_eq!(check(wrong), Refusal::Proof);
    // A proof where there is nothing to prove.
    let proof = vec![Hash::ZERO];
    let first = AddCheckpoint { proof, ..request(0, 8) };
    assert_eq!(first.check(ORIGIN, &keys(), None), Err(Refusal::Proof));
    // Somebody else's signature, and one that is spoiled.
    let stranger = [Ed25519Signer::from_seed(ORIGIN, &[2; 32]).unwrap().verifier_key().clone()];
    let refused = request(5, 8).check(ORIGIN, &stranger, seen).unwrap_err();
    assert_eq!((refused.status(), &refused), (403, &Refusal::Signature));
    let text = request(5, 8).to_string().replace("\n8\n", "\n9\n");
    assert_eq!(check(AddCheckpoint::parse(text.as_bytes()).unwrap()), Refusal::Signature);
    // An origin that is not the log's.
    assert_ne!(request(5, 8).check("log.example/two", &keys(), seen).unwrap_err().status(), 200);
    assert_eq!(Refusal::Unknown.status(), 404);
}

#[test]
fn what_is_no_request_is_refused() {
    let good = request(5, 8).to_string();
    for (from, to) in [
        ("old 5", "old 05"),
        ("old 5", "old -5"),
        ("old 5", "old  5"),
        ("old 5", "new 5"),
        ("old 5\n", ""),
        ("\n\n", "\n"),
        ("=\n", "\n"),
        ("— ", "- "),
    ] {
        let other = good.replacen(from, to, 1);
        assert_ne!(other, good);
        let refused = AddCheckpoint::parse(other.as_bytes()).expect_err(to);
        assert_eq!(refused.status(), 400, "{from:?} to {to:?}");
    }
    let hashes = |count: usize| format!("old 5\n{}", format!("{}\n", Hash::ZERO.to_base64()).repeat(count));
    let note = signed(8, root(8));
    for (count, fits) in [(PROOF_MAX_HASHES, true), (PROOF_MAX_HASHES + 1, false)] {
        let text = format!("{}\n{note}", hashes(count));
        assert_eq!(AddCheckpoint::parse(text.as_bytes()).is_ok(), fits, "{count}");
    }
}

#[test]
fn of_an_answer_only_lines_of_trusted_witnesses_are_taken() {
    let note = signed(8, root(8));
    let [one, two] = [1, 2].map(|n| Cosigner::from_seed(&format!("w{n}"), &[40 + n; 32]).unwrap());
    let [line_one, line_two] =
        [&one, &two].map(|witness| witness.cosign(note.text(), 1_790_000_000).unwrap());
    let trusted = [one.verifier_key().clone()];
    let answer = format!("{line_two}\n{line_one}\n");
    assert_eq!(cosignatures(&note, answer.as_bytes(), &trusted), Ok(vec![line_one.clone()]));
    let refused = cosignatures(&note, format!("{line_two}\n").as_bytes(), &trusted);
    assert_eq!(refused, Err(NoteError::NoKnownSignature));
    // Of another checkpoint.
    let stolen = one.cosign(signed(9, root(9)).text(), 1_790_000_000).unwrap();
    let refused = cosignatures(&note, format!("{stolen}\n").as_bytes(), &trusted);
    assert!(matches!(refused, Err(NoteError::BadSignature { .. })));
    // An answer that would move the end of the text.
    for answer in ["", "\n", &format!("more\n\n{line_one}\n"), &format!("{line_one}")] {
        assert!(cosignatures(&note, answer.as_bytes(), &trusted).is_err(), "{answer:?}");
    }
    for time in [0, u64::MAX, 1 << 63] {
        assert!(one.cosign(note.text(), time).is_err(), "{time}");
    }
}
