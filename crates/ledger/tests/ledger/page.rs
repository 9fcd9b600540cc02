//! The vectors in `docs/formats/checkpoint.md` are what this crate does: a fenced block whose info string is
//! `vector NAME` is checked here, and one that no test knows fails.

use std::convert::Infallible;

use indelible_ledger::{
    Chain, Checkpoint, Ed25519Signer, Frontier, Hash, Note, NoteSignature, Succession, Tile, TileKind,
    VerifierKey, encode_bundle, leaf_hash, prove_consistency, prove_inclusion, root_of, verify_consistency,
    verify_inclusion,
};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../../../../docs/formats/checkpoint.md");

const NAMES: [&str; 14] = [
    "seed",
    "public-key",
    "origin",
    "vkey",
    "entries",
    "leaves",
    "roots",
    "checkpoint-7",
    "checkpoint-0",
    "succession",
    "inclusion-5-of-7",
    "consistency-3-to-7",
    "tile-paths",
    "tile-contents",
];

/// The lines of the block called `name`, the last line end left out.
fn vector(name: &str) -> &'static str {
    let (_, after) = PAGE.split_once(&format!("\n```vector {name}\n")).expect("a block of that name");
    after.split_once("\n```").expect("an end of the block").0
}

fn seed() -> [u8; 32] {
    *Hash::from_hex(vector("seed")).expect("32 bytes in hex").as_bytes()
}

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(vector("origin"), &seed()).expect("a usable origin")
}

/// The eight entries by the rule that the page states.
fn entries() -> Vec<String> {
    let mut chain = Chain::new();
    let next = |seq| {
        let entry = format!(r#"{{"prev_hash":"{}","seq":{seq}}}"#, chain.prev_hash());
        chain.extend(seq, chain.prev_hash(), leaf_hash(entry.as_bytes())).expect("the next entry");
        entry
    };
    (0..8).map(next).collect()
}

fn leaves() -> Vec<Hash> {
    entries().iter().map(|entry| leaf_hash(entry.as_bytes())).collect()
}

fn numbered(hashes: &[Hash]) -> String {
    let lines: Vec<String> = hashes.iter().enumerate().map(|(n, hash)| format!("{n} {hash}")).collect();
    lines.join("\n")
}

fn proof(name: &str) -> Vec<Hash> {
    vector(name).lines().map(|line| Hash::from_base64(line).expect("a hash in base64")).collect()
}

fn nodes(level: u8, index: u64) -> Result<Hash, Infallible> {
    Ok(root_of(&leaves()[(index << level) as usize..((index + 1) << level) as usize]))
}

#[test]
fn every_vector_is_tested() {
    let named: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("```vector ")).collect();
    assert_eq!(named, NAMES);
}

#[test]
fn keys() {
    let key: VerifierKey = vector("vkey").parse().unwrap();
    assert_eq!(signer().verifier_key(), &key);
    assert_eq!(key.to_string(), vector("vkey"));
    assert_eq!(Hash(*key.public_key()).to_hex(), vector("public-key"));
}

#[test]
fn entries_leaves_and_roots() {
    assert_eq!(entries()[..3].join("\n"), vector("entries"));
    assert_eq!(numbered(&leaves()), vector("leaves"));

    let mut frontier = Frontier::new();
    let mut roots = vec![frontier.root()];
    for leaf in leaves() {
        frontier.append(leaf).unwrap();
        roots.push(frontier.root());
    }
    assert_eq!(numbered(&roots), vector("roots"));
}

#[test]
fn checkpoints() {
    let keys = [vector("vkey").parse().unwrap()];
    for (name, size) in [("checkpoint-7", 7), ("checkpoint-0", 0)] {
        let published = format!("{}\n", vector(name));
        let expected = Checkpoint::new(vector("origin"), size, root_of(&leaves()[..size as usize])).unwrap();
        assert_eq!(expected.sign(&signer()).unwrap(), published);
        assert_eq!(Checkpoint::open(published.as_bytes(), vector("origin"), &keys), Ok(expected));
    }
}

#[test]
fn refused_checkpoints() {
    let keys = [vector("vkey").parse().unwrap()];
    let opens = |note: &[u8]| Checkpoint::open(note, vector("origin"), &keys).is_ok();
    let published = format!("{}\n", vector("checkpoint-7"));
    for at in 0..published.len() {
        let mut changed = published.clone().into_bytes();
        changed[at] ^= 1;
        assert!(!opens(&changed), "byte {at} changed");
        assert!(!opens(&published.as_bytes()[..at]), "cut at {at}");
    }
    assert!(!opens(published.replace("\n7\n", "\n07\n").as_bytes()));

    // Size written `07` under a good signature, a spoiled line before a good one, a stranger's line alone.
    let note = Note::parse(published.as_bytes()).unwrap();
    let zeros = Note::sign(note.text().replace("\n7\n", "\n07\n"), &[&signer()]).unwrap();
    assert!(!opens(zeros.to_string().as_bytes()));
    let line = note.signatures()[0].clone();
    let mut bytes = line.bytes().to_vec();
    bytes[63] ^= 1;
    let spoiled = NoteSignature::new(line.name(), line.key_id(), bytes).unwrap();
    assert!(!opens(Note::new(note.text().to_owned(), vec![spoiled, line]).unwrap().to_string().as_bytes()));
    let stranger = Ed25519Signer::from_seed(vector("origin"), &[9; 32]).unwrap();
    assert!(!opens(Note::sign(note.text().to_owned(), &[&stranger]).unwrap().to_string().as_bytes()));
}

#[test]
fn proofs() {
    let root = |size: usize| root_of(&leaves()[..size]);
    let inclusion = proof("inclusion-5-of-7");
    assert_eq!(prove_inclusion(5, 7, nodes), Ok(inclusion.clone()));
    assert_eq!(verify_inclusion(&inclusion, 5, 7, &leaves()[5], &root(7)), Ok(()));
    let consistency = proof("consistency-3-to-7");
    assert_eq!(prove_consistency(3, 7, nodes), Ok(consistency.clone()));
    assert_eq!(verify_consistency(&consistency, 3, 7, &root(3), &root(7)), Ok(()));
}

#[test]
fn tiles() {
    for line in vector("tile-paths").lines() {
        let [kind, index, width, path] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("four words: {line}")
        };
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().unwrap()),
        };
        let tile = Tile::new(kind, index.parse().unwrap(), width.parse().unwrap()).unwrap();
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }

    let hashes = Tile::at(TileKind::Hashes(0), 0, 7).unwrap();
    let entries = entries();
    let contents = [
        (hashes, hashes.encode(&leaves()[..7]).unwrap()),
        (
            Tile::at(TileKind::Entries, 0, 3).unwrap(),
            encode_bundle(entries[..3].iter().map(|e| e.as_bytes())).unwrap(),
        ),
    ];
    let lines = contents.map(|(tile, bytes)| format!("{tile} {}", Hash(Sha256::digest(bytes).into())));
    assert_eq!(lines.join("\n"), vector("tile-contents"));
}

#[test]
fn succession() {
    let seed: [u8; 32] = std::array::from_fn(|n| 0x20 + n as u8);
    let new = Ed25519Signer::from_seed("ledger.example/0198f3a2-6c1d-7e40-9b52-3f0a7d5c8e12", &seed).unwrap();
    let statement = Succession {
        origin: vector("origin").to_owned(),
        size: 7,
        root: root_of(&leaves()[..7]),
        new: new.verifier_key().clone(),
    };
    let published = format!("{}\n", vector("succession"));
    assert_eq!(statement.sign(Some(&signer()), &new), Ok(published.clone()));
    let old = [vector("vkey").parse().unwrap()];
    assert_eq!(Succession::open(published.as_bytes(), &old), Ok((statement, true)));
}
