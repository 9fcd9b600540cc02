//! `.tlog-proof` files: their one form, and what they show.

use std::convert::Infallible;

use indelible_ledger::{
    Checkpoint, Ed25519Signer, Hash, Note, ProofFile, ProofFileError, leaf_hash, prove_inclusion, root_of,
};

const ORIGIN: &str = "log.example/one";

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

fn proof(index: u64, size: u64) -> ProofFile {
    let leaves: Vec<Hash> = (0..size).map(|number| leaf_hash(&entry(number))).collect();
    let node = |level: u8, index: u64| {
        Ok::<_, Infallible>(root_of(&leaves[(index << level) as usize..((index + 1) << level) as usize]))
    };
    let signer = Ed25519Signer::from_seed(ORIGIN, &[1; 32]).expect("well formed");
    let checkpoint = Checkpoint::new(ORIGIN, size, root_of(&leaves))
        .expect("well formed")
        .sign(&signer)
        .expect("well formed");
    ProofFile {
        extra: None,
        index,
        hashes: prove_inclusion(index, size, node).expect("well formed"),
        checkpoint: Note::parse(checkpoint.as_bytes()).expect("well formed"),
    }
}

#[test]
fn a_proof_survives_its_text_and_shows_its_entry_alone() {
    for (index, size) in [(0, 1), (0, 7), (6, 7), (3, 8)] {
        for extra in [None, Some(Vec::new()), Some(entry(index))] {
            let proof = ProofFile { extra, ..proof(index, size) };
            let read = ProofFile::parse(proof.to_string().as_bytes());
            assert_eq!(read.as_ref(), Ok(&proof));
            assert_eq!(proof.verify(&entry(index)).unwrap().size(), size);
            assert!(matches!(proof.verify(&entry(index + 1)), Err(ProofFileError::Proof(_))));
        }
    }
}

#[test]
fn the_text_is_that_of_the_specification() {
    let proof = ProofFile { extra: Some(b"agent".to_vec()), ..proof(1, 2) };
    let text = proof.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["c2sp.org/tlog-proof@v1", "extra YWdlbnQ=", "index 1"]);
    assert_eq!(lines[3], leaf_hash(&entry(0)).to_base64());
    assert_eq!(lines[4..7], ["", ORIGIN, "2"]);
}

#[test]
fn every_other_text_is_refused_or_shows_nothing() {
    let text = ProofFile { extra: Some(b"x".to_vec()), ..proof(5, 7) }.to_string();
    for (from, to) in [
        ("@v1", "@v2"),
        ("c2sp", " c2sp"),
        ("extra ", "extra"),
        ("index 5", "index 05"),
        ("index 5", "Index 5"),
        ("index 5\n", ""),
        ("\n\n", "\n"),
        ("=\n", "\n"),
        ("index", "index 5\nindex"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        assert!(ProofFile::parse(other.as_bytes()).is_err(), "{from:?} to {to:?}");
    }
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        // Extra and signatures are for others to check.
        let Ok(read) = ProofFile::parse(&bytes) else { continue };
        let same_place = read.verify(&entry(5)).is_ok();
        let original = ProofFile::parse(text.as_bytes()).unwrap();
        let unauthenticated = read.extra != original.extra
            || read.checkpoint.signatures() != original.checkpoint.signatures()
            || read.checkpoint.text().lines().next() != original.checkpoint.text().lines().next();
        assert!(!same_place || unauthenticated, "byte {at}");
    }
    let many =
        text.replacen("\n\n", &format!("\n{}\n", format!("{}\n", Hash::ZERO.to_base64()).repeat(65)), 1);
    assert!(ProofFile::parse(many.as_bytes()).is_err());
}
