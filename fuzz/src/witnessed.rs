//! Policies, proofs as files, what logs and witnesses send each other, and cosignatures: cases of the target `ledger`.

use crate::Input;
use indelible_ledger::cosignature::time_of;
use indelible_ledger::policy::{POLICY_ITEMS_MAX, POLICY_MAX_BYTES, PolicyRefusal};
use indelible_ledger::witness::{AddCheckpoint, PROOF_MAX_HASHES, Refusal, cosignatures};
use indelible_ledger::*;
use std::convert::Infallible;
use std::sync::LazyLock;

/// What the log of these cases is called.
const ORIGIN: &str = "log.example/fuzz";
/// How many witnesses and logs stand ready for policies.
const KEYS: usize = 12;
/// The longest inclusion proof of a file.
const INCLUSION_MAX_HASHES: usize = 64;

static LOG: LazyLock<Ed25519Signer> = LazyLock::new(|| Ed25519Signer::from_seed(ORIGIN, &[7; 32]).unwrap());
static LOGS: LazyLock<Vec<VerifierKey>> = LazyLock::new(|| {
    let key = |n: usize| Ed25519Signer::from_seed(ORIGIN, &[n as u8 + 7; 32]).unwrap().verifier_key().clone();
    (0..KEYS).map(key).collect()
});
static WITNESSES: LazyLock<Vec<Cosigner>> = LazyLock::new(|| {
    (0..KEYS)
        .map(|n| Cosigner::from_seed(&format!("witness.example/{n}"), &[n as u8 + 70; 32]).unwrap())
        .collect()
});

/// A policy as it stands there.
pub fn policy(bytes: &[u8]) {
    let Ok(policy) = Policy::parse(bytes) else { return };
    assert!(policy.logs().count() <= POLICY_ITEMS_MAX && policy.witnesses().len() <= POLICY_ITEMS_MAX);
    assert!(policy.logs().all(|(key, _)| key.kind() == KeyKind::Ed25519));
    assert!(policy.witnesses().iter().all(|witness| witness.key.kind() == KeyKind::Cosignature));
    // How it is spaced and what is noted beside it changes nothing.
    let text = std::str::from_utf8(bytes).unwrap();
    let spaced: String =
        text.lines().map(|line| format!("\n# noted\n \t{}\t\n", line.replace(' ', "\t "))).collect();
    if spaced.len() <= POLICY_MAX_BYTES {
        assert_eq!(
            format!("{:?}", Policy::parse(spaced.as_bytes())),
            format!("{:?}", Ok::<_, PolicyError>(policy))
        );
    }
}

/// A policy with keys where bytes beyond ASCII stand, held against who cosigned: more witnesses never make less of a
/// quorum, all of them are one, and nobody is one only where none is asked for.
pub fn quorum(input: &mut Input<'_>) {
    let (who, more, time) = (input.number(), input.number(), u64::from(input.number()) + 1);
    let text = with_keys(input.rest());
    policy(text.as_bytes());
    let Ok(policy) = Policy::parse(text.as_bytes()) else { return };
    let named = |mask: u16| -> Vec<(String, u64)> {
        let chosen = policy.witnesses().iter().enumerate().filter(|(n, _)| mask >> (n % 16) & 1 == 1);
        chosen.map(|(_, witness)| (witness.name.clone(), time)).collect()
    };
    let is_quorum = |mask: u16| policy.is_satisfied_by(&named(mask));
    assert!(is_quorum(u16::MAX));
    assert!(!is_quorum(who) || is_quorum(who | more));
    let asks_for_none = is_quorum(0);

    // The same of a checkpoint that these witnesses cosigned.
    let body = format!("{ORIGIN}\n1\n{}\n", Hash([3; 32]).to_base64());
    let mut lines = Note::sign(body.clone(), &[&*LOG]).unwrap().signatures().to_vec();
    let cosigners = WITNESSES.iter().enumerate().filter(|(n, _)| who >> n & 1 == 1);
    lines.extend(cosigners.map(|(_, witness)| witness.cosign(&body, time).unwrap()));
    let note = Note::new(body, lines).unwrap();
    let cosigned = policy.cosigned(&note).unwrap();
    let trusted = |key: &VerifierKey| policy.witnesses().iter().any(|witness| witness.key == *key);
    let expected =
        WITNESSES.iter().enumerate().filter(|(n, one)| who >> n & 1 == 1 && trusted(one.verifier_key()));
    assert_eq!(cosigned.len(), expected.count());
    assert!(cosigned.iter().all(|(_, at)| *at == time));
    match policy.open(note.to_string().as_bytes(), ORIGIN) {
        Ok(accepted) => {
            assert_eq!(accepted.cosigned, cosigned);
            assert!(asks_for_none || !cosigned.is_empty());
            assert!(policy.is_satisfied_by(&cosigned));
        }
        Err(PolicyRefusal::Quorum { .. }) => assert!(!policy.is_satisfied_by(&cosigned)),
        Err(PolicyRefusal::Checkpoint(_)) => {
            assert!(!policy.log_keys(ORIGIN, 1).contains(LOG.verifier_key()));
        }
        Err(PolicyRefusal::Cosignature(error)) => panic!("{error}"),
    }
}

/// The text, with the keys of logs and witnesses for the bytes that are not ASCII: nobody guesses a key's id.
fn with_keys(bytes: &[u8]) -> String {
    let text = |byte: &u8| match byte {
        0..0x80 => char::from(*byte).to_string(),
        0x80..0xc0 => LOGS[usize::from(*byte) % KEYS].to_string(),
        _ => WITNESSES[usize::from(*byte) % KEYS].verifier_key().to_string(),
    };
    bytes.iter().map(text).collect()
}

/// A proof as a file has one spelling.
pub fn proof_file(bytes: &[u8]) {
    let Ok(proof) = ProofFile::parse(bytes) else { return };
    assert_eq!(proof.to_string().as_bytes(), bytes);
    assert!(proof.hashes.len() <= INCLUSION_MAX_HASHES);
    let entry = proof.extra.as_deref().unwrap_or_default();
    if let Ok(checkpoint) = proof.verify(entry) {
        let root = root_from_inclusion(&proof.hashes, proof.index, checkpoint.size(), &leaf_hash(entry));
        assert_eq!(root, Ok(checkpoint.root()));
        assert!(proof.verify(&[entry, b"x"].concat()).is_err());
    }
}

/// What is written as a file shows its entry, and with anything changed in it no longer does.
pub fn made_proof_file(leaves: &mut [Hash], input: &mut Input<'_>) {
    let size = leaves.len() as u64;
    let index = u64::from(input.byte()) % size;
    let (other, flip) = (u64::from(input.byte()) % size, input.number());
    // Longer than what the other leaves are made of: two that are the same may change places.
    let entry = &[b"entry ", input.rest()].concat()[..];
    leaves[index as usize] = leaf_hash(entry);
    let root = root_of(leaves);
    let hashes = prove_inclusion(index, size, node(leaves)).unwrap();
    let checkpoint = Note::sign(format!("{ORIGIN}\n{size}\n{}\n", root.to_base64()), &[&*LOG]).unwrap();
    let proof = ProofFile { extra: Some(entry.to_vec()), index, hashes, checkpoint };
    assert_eq!(ProofFile::parse(proof.to_string().as_bytes()).as_ref(), Ok(&proof));
    assert_eq!(proof.verify(entry).map(|checkpoint| checkpoint.root()), Ok(root));
    let moved = ProofFile { index: other, ..proof.clone() };
    assert_eq!(moved.verify(entry).is_ok(), other == index);
    if let Some(hash) = proof.hashes.first().copied() {
        let mut changed = proof.clone();
        changed.hashes[0] = flipped(hash, flip);
        assert!(changed.verify(entry).is_err());
    }
}

/// What a log sends to a witness, as anybody may send it.
pub fn request(bytes: &[u8]) {
    let Ok(request) = AddCheckpoint::parse(bytes) else { return };
    assert_eq!(request.to_string().as_bytes(), bytes);
    assert!(request.proof.len() <= PROOF_MAX_HASHES);
    assert_eq!(Some(request.origin()), request.checkpoint.text().lines().next());
    // Nobody guesses a signature.
    let refusal = request.check(request.origin(), &[LOG.verifier_key().clone()], None).unwrap_err();
    assert!([400, 403, 422].contains(&refusal.status()));
}

/// A request that a log makes is answered with a cosignature, and one that asks for another thing is refused for it.
pub fn made_request(leaves: &[Hash], input: &mut Input<'_>) {
    let size = leaves.len() as u64;
    let old_size = u64::from(input.byte()) % (size + 1);
    let (seen_size, flip) = (u64::from(input.byte()) % (size + 1), input.number());
    let (old, new) = (root_of(&leaves[..old_size as usize]), root_of(leaves));
    let proof = prove_consistency(old_size, size, node(leaves)).unwrap();
    let checkpoint = Note::sign(format!("{ORIGIN}\n{size}\n{}\n", new.to_base64()), &[&*LOG]).unwrap();
    let request = AddCheckpoint { old_size, proof, checkpoint };
    assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()).as_ref(), Ok(&request));
    let keys = [LOG.verifier_key().clone()];
    let check = |request: &AddCheckpoint, seen| request.check(ORIGIN, &keys, seen);
    assert_eq!(check(&request, Some((old_size, old))).map(|checkpoint| checkpoint.root()), Ok(new));
    if seen_size != old_size {
        let seen = root_of(&leaves[..seen_size as usize]);
        assert_eq!(check(&request, Some((seen_size, seen))), Err(Refusal::Conflict { size: seen_size }));
    }
    assert_eq!(check(&request, Some((old_size, flipped(old, flip)))), Err(Refusal::Proof));
    assert_eq!(request.check(ORIGIN, &LOGS[1..], Some((old_size, old))), Err(Refusal::Signature));
    let beyond = AddCheckpoint { old_size: size + 1 + u64::from(flip), ..request.clone() };
    assert!(matches!(check(&beyond, Some((old_size, old))), Err(Refusal::Form(_))));
    if let Some(hash) = request.proof.last().copied() {
        let mut changed = request.clone();
        *changed.proof.last_mut().unwrap() = flipped(hash, flip);
        assert_eq!(check(&changed, Some((old_size, old))), Err(Refusal::Proof));
    }
}

/// What a witness answers, as anybody may answer it: no line is taken for a witness's.
pub fn answer(bytes: &[u8]) {
    let checkpoint = Note::sign(
        "log.example/fuzz\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".to_owned(),
        &[&*LOG],
    );
    let keys = [WITNESSES[0].verifier_key().clone()];
    assert!(cosignatures(&checkpoint.unwrap(), bytes, &keys).is_err());
}

/// Lines of witnesses: those of the keys that are trusted are taken, and each says when.
pub fn cosigned(input: &mut Input<'_>) {
    let (who, trusted, flip) = (input.number(), input.number(), input.number());
    let time = u64::from_be_bytes(std::array::from_fn(|_| input.byte()));
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    let Ok(checkpoint) = Note::sign(text.to_owned(), &[&*LOG]) else { return };
    let in_time = time != 0 && i64::try_from(time).is_ok();
    let mut lines = Vec::new();
    for (n, witness) in WITNESSES.iter().enumerate().filter(|(n, _)| who >> n & 1 == 1) {
        match witness.cosign(text, time) {
            Ok(line) => lines.push((n, line)),
            Err(_) => return assert!(!in_time),
        }
    }
    assert!(in_time || lines.is_empty());
    let keys = WITNESSES.iter().enumerate().filter(|(n, _)| trusted >> n & 1 == 1);
    let keys: Vec<VerifierKey> = keys.map(|(_, witness)| witness.verifier_key().clone()).collect();
    let known: Vec<NoteSignature> =
        lines.iter().filter(|(n, _)| trusted >> n & 1 == 1).map(|(_, line)| line.clone()).collect();
    let body = |lines: &[(usize, NoteSignature)]| {
        lines.iter().map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let taken = cosignatures(&checkpoint, body(&lines).as_bytes(), &keys);
    assert_eq!(taken.as_ref().ok(), (!known.is_empty()).then_some(&known));
    assert!(known.iter().all(|line| time_of(line) == Some(time)));
    // A witness's line over a longer text is none over this one, though the two together are a note.
    let longer = WITNESSES[0].cosign(&format!("{text}\nmore\n"), 1).unwrap();
    let key = WITNESSES[0].verifier_key().clone();
    assert!(cosignatures(&checkpoint, format!("more\n\n{longer}\n").as_bytes(), &[key]).is_err());
    // One bit of a line: that line is no witness's any more, and spoils the others if it is of a key that is trusted.
    let Some((n, line)) = lines.first_mut() else { return };
    let mut bytes = line.bytes().to_vec();
    let at = usize::from(flip) % (bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    *line = NoteSignature::new(line.name(), line.key_id(), bytes).unwrap();
    let is_trusted = trusted >> *n & 1 == 1;
    let spoiled = cosignatures(&checkpoint, body(&lines).as_bytes(), &keys);
    assert_eq!(spoiled.is_err(), is_trusted || known.is_empty());
}

/// The roots of subtrees of a small tree.
pub fn node(leaves: &[Hash]) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> {
    |level, index| {
        let from = (index << level) as usize;
        Ok(root_of(&leaves[from..from + (1 << level)]))
    }
}

/// A hash with one bit changed.
pub fn flipped(Hash(mut bytes): Hash, at: u16) -> Hash {
    bytes[usize::from(at / 8) % Hash::BYTES] ^= 1 << (at % 8);
    Hash(bytes)
}
