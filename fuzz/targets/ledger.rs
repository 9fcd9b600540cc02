//! Notes, checkpoints, keys, tiles, bundles and proofs, policies and what witnesses are sent and answer: what the
//! `ledger` crate reads, and an auditor with it.
//!
//! Holds: each of them has one spelling, so what is read is written back byte for byte; a proof that was made
//! verifies, and with one bit changed, in proof, leaf, root or place, it does not; a line is a witness's only if that
//! witness made it over this checkpoint, and more witnesses never make less of a quorum.

#![no_main]

use indelible_fuzz::Input;
use indelible_fuzz::witnessed::{self, flipped, node};
use indelible_ledger::*;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// Most leaves of a tree that proofs are made of.
const LEAVES_MAX: usize = 70;

static SIGNER: LazyLock<Ed25519Signer> =
    LazyLock::new(|| Ed25519Signer::from_seed("log.example/fuzz", &[7; 32]).unwrap());

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 18 {
        0 => note(input.rest()),
        1 => signed(input.rest()),
        2 => text(input.rest()),
        3 => bundle(&mut input),
        4 => tile(&mut input),
        5 => inclusion(&mut input),
        6 => consistency(&mut input),
        7 => any_proof(&mut input),
        8 => witnessed::policy(input.rest()),
        9 => witnessed::quorum(&mut input),
        10 => witnessed::proof_file(input.rest()),
        11 => witnessed::made_proof_file(&mut leaves(&mut input), &mut input),
        12 => witnessed::request(input.rest()),
        13 => witnessed::made_request(&leaves(&mut input), &mut input),
        14 => witnessed::answer(input.rest()),
        15 => witnessed::cosigned(&mut input),
        16 => entries(&mut input),
        _ => any_entries(&mut input),
    }
});

fn note(bytes: &[u8]) {
    let Ok(note) = Note::parse(bytes) else { return };
    assert_eq!(note.to_string().as_bytes(), bytes);
    assert_eq!(Note::new(note.text().to_owned(), note.signatures().to_vec()).unwrap(), note);
    if let Ok(checkpoint) = Checkpoint::parse_body(note.text()) {
        assert_eq!(checkpoint.body(), note.text());
    }
    // Nobody guesses a signature.
    let keys = [SIGNER.verifier_key().clone()];
    assert!(note.verify(&keys).is_err());
    assert!(Checkpoint::open(bytes, SIGNER.verifier_key().name(), &keys).is_err());
}

/// What is signed verifies, and as no other text.
fn signed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(note) = Note::sign(text.to_owned(), &[&*SIGNER]) else { return };
    let bytes = note.to_string().into_bytes();
    let keys = [SIGNER.verifier_key().clone()];
    assert_eq!(Note::parse(&bytes).unwrap(), note);
    assert_eq!(note.verify(&keys).unwrap().len(), 1);
    let opened = Checkpoint::open(&bytes, SIGNER.verifier_key().name(), &keys);
    if let Ok(opened) = opened {
        assert_eq!(opened.body(), text);
    }
    let other = Note::new(format!("{text}x\n"), note.signatures().to_vec()).unwrap();
    assert!(other.verify(&keys).is_err());
}

fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(tile) = text.parse::<Tile>() {
        assert_eq!(tile.to_string(), text);
    }
    if let Ok(hash) = text.parse::<Hash>() {
        assert_eq!(hash.to_string(), text);
    }
    if let Ok(hash) = Hash::from_base64(text) {
        assert_eq!(hash.to_base64(), text);
    }
    if let Ok(line) = text.parse::<NoteSignature>() {
        assert_eq!(line.to_string(), text);
    }
    if let Ok(checkpoint) = Checkpoint::parse_body(text) {
        assert_eq!(checkpoint.body(), text);
    }
}

fn bundle(input: &mut Input<'_>) {
    let width = input.number();
    if let Ok(entries) = decode_bundle(input.rest(), width) {
        assert_eq!(entries.len(), usize::from(width));
        assert_eq!(encode_bundle(entries).unwrap(), input.rest());
    }
}

fn tile(input: &mut Input<'_>) {
    let (kind, width) = (input.byte(), input.number());
    let index = u64::from(input.number()) << (input.byte() % 64);
    let kind = if kind == 255 { TileKind::Entries } else { TileKind::Hashes(kind) };
    let Ok(tile) = Tile::new(kind, index, width) else { return };
    assert_eq!(tile.to_string().parse(), Ok(tile));
    if let Ok(hashes) = tile.decode(input.rest()) {
        assert_eq!(tile.encode(&hashes).unwrap(), input.rest());
    }
    let size = u64::from(input.number()) << (input.byte() % 49);
    for level in [0, 7, 8, 63, 64, 255] {
        if let Some((tile, hashes)) = Tile::holding(level, index, size) {
            assert!(tile.exists_at(size) && hashes.end <= usize::from(tile.width()));
        }
    }
}

/// The leaves of a small tree.
fn leaves(input: &mut Input<'_>) -> Vec<Hash> {
    let count = 1 + usize::from(input.byte()) % LEAVES_MAX;
    let salt = input.byte();
    (0..count).map(|at| leaf_hash(&[salt, at as u8])).collect()
}

fn inclusion(input: &mut Input<'_>) {
    let leaves = leaves(input);
    let (size, root) = (leaves.len() as u64, root_of(&leaves));
    let index = u64::from(input.byte()) % size;
    let leaf = leaves[index as usize];
    let proof = prove_inclusion(index, size, node(&leaves)).unwrap();
    assert_eq!(verify_inclusion(&proof, index, size, &leaf, &root), Ok(()));
    let other = u64::from(input.byte()) % size;
    assert_eq!(verify_inclusion(&proof, other, size, &leaf, &root).is_ok(), other == index);
    let flip = input.number();
    assert!(verify_inclusion(&proof, index, size, &flipped(leaf, flip), &root).is_err());
    assert!(verify_inclusion(&proof, index, size, &leaf, &flipped(root, flip)).is_err());
    let changed = change(proof, input);
    if let Some(changed) = changed {
        assert!(verify_inclusion(&changed, index, size, &leaf, &root).is_err());
    }
}

fn consistency(input: &mut Input<'_>) {
    let leaves = leaves(input);
    let new_size = leaves.len() as u64;
    let old_size = u64::from(input.byte()) % (new_size + 1);
    let (old, new) = (root_of(&leaves[..old_size as usize]), root_of(&leaves));
    let proof = prove_consistency(old_size, new_size, node(&leaves)).unwrap();
    assert_eq!(verify_consistency(&proof, old_size, new_size, &old, &new), Ok(()));
    let flip = input.number();
    assert!(verify_consistency(&proof, old_size, new_size, &flipped(old, flip), &new).is_err());
    if old_size > 0 {
        assert!(verify_consistency(&proof, old_size, new_size, &old, &flipped(new, flip)).is_err());
    }
    if let Some(changed) = change(proof, input) {
        assert!(verify_consistency(&changed, old_size, new_size, &old, &new).is_err());
    }
}

/// Numbers and hashes that nobody made: refused, or they lead to the root that they lead to.
fn any_proof(input: &mut Input<'_>) {
    let mut number = || {
        let (at, low) = (u64::from(input.number()) << (input.byte() % 64), u64::from(input.byte()));
        at.wrapping_add(low).wrapping_sub(1)
    };
    let (one, other) = (number(), number());
    let (chunks, _) = input.rest().as_chunks::<{ Hash::BYTES }>();
    let hashes: Vec<Hash> = chunks.iter().copied().map(Hash).collect();
    let Some((leaf, proof)) = hashes.split_first() else { return };
    if let Ok(root) = root_from_inclusion(proof, one, other, leaf) {
        assert_eq!(verify_inclusion(proof, one, other, leaf, &root), Ok(()));
        assert!(proof.len() <= 64);
    }
    if verify_consistency(proof, one, other, leaf, leaf).is_ok() {
        assert!(one == other || one == 0);
    }
}

/// Many entries of a tree at once lead to its root; others, fewer or more do not.
fn entries(input: &mut Input<'_>) {
    let leaves = leaves(input);
    let (size, root) = (leaves.len() as u64, root_of(&leaves));
    let mask = u128::from(input.number()) << (input.byte() % 64) | u128::from(input.number());
    let chosen: Vec<u64> = (0..size).filter(|index| mask >> index & 1 == 1).collect();
    let made = prove_entries(&chosen, size, node(&leaves));
    let Some(first) = chosen.first() else { return assert!(made.is_err()) };
    let proof = made.unwrap();
    let mut with_leaves: Vec<(u64, Hash)> =
        chosen.iter().map(|index| (*index, leaves[*index as usize])).collect();
    assert_eq!(root_from_entries(&proof, &with_leaves, size), Ok(root));
    if chosen.len() == 1 {
        let mut one = prove_inclusion(*first, size, node(&leaves)).unwrap();
        one.sort();
        let mut sorted = proof.clone();
        sorted.sort();
        assert_eq!(sorted, one);
    }
    let (at, flip) = (usize::from(input.byte()) % chosen.len(), input.number());
    if let Some(changed) = change(proof.clone(), input) {
        assert_ne!(root_from_entries(&changed, &with_leaves, size), Ok(root));
    }
    let leaf = with_leaves[at].1;
    with_leaves[at].1 = flipped(leaf, flip);
    assert_ne!(root_from_entries(&proof, &with_leaves, size), Ok(root));
    with_leaves.remove(at);
    assert_ne!(root_from_entries(&proof, &with_leaves, size), Ok(root));
}

/// Numbers and hashes that nobody made, in a tree of any size.
fn any_entries(input: &mut Input<'_>) {
    let size = u64::from(input.number()) << (input.byte() % 64) | u64::from(input.byte());
    let mut entries = Vec::new();
    for _ in 0..input.byte() % 32 {
        let index = u64::from(input.number()) << (input.byte() % 64) | u64::from(input.byte());
        entries.push((index, Hash([input.byte(); Hash::BYTES])));
    }
    if input.byte() % 2 == 0 {
        entries.sort();
    }
    let (chunks, _) = input.rest().as_chunks::<{ Hash::BYTES }>();
    let proof: Vec<Hash> = chunks.iter().copied().map(Hash).collect();
    let ascending = entries.is_sorted_by(|(one, _), (other, _)| one < other);
    let within = entries.iter().all(|(index, _)| *index < size);
    match root_from_entries(&proof, &entries, size) {
        Ok(_) => assert!(ascending && within && !entries.is_empty()),
        Err(ProofError::Length) => assert!(ascending && within),
        Err(_) => assert!(!ascending || !within || entries.is_empty()),
    }
}

/// A proof with one hash changed, missing or too many; `None` where it has none to change.
fn change(mut proof: Vec<Hash>, input: &mut Input<'_>) -> Option<Vec<Hash>> {
    let (how, at, flip) = (input.byte(), usize::from(input.byte()), input.number());
    match how % 3 {
        0 => proof.push(Hash([input.byte(); Hash::BYTES])),
        _ if proof.is_empty() => return None,
        1 => drop(proof.remove(at % proof.len())),
        _ => {
            let at = at % proof.len();
            proof[at] = flipped(proof[at], flip);
        }
    }
    Some(proof)
}
