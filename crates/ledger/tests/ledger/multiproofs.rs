//! One proof for many entries: every choice of entries in small trees, every range in larger ones.

use std::convert::Infallible;

use indelible_ledger::{
    Hash, ProofError, ProveError, leaf_hash, prove_entries, prove_inclusion, root_from_entries, root_of,
};

const STRANGER: Hash = Hash([0x5a; 32]);

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn nodes_of(leaves: &[Hash]) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> {
    |level, index| Ok(root_of(&leaves[(index << level) as usize..((index + 1) << level) as usize]))
}

fn chosen(indexes: &[u64], leaves: &[Hash]) -> Vec<(u64, Hash)> {
    indexes.iter().map(|index| (*index, leaves[*index as usize])).collect()
}

#[test]
fn every_choice_of_entries_is_shown_and_no_other() {
    for size in 1..=9u64 {
        let leaves = leaves(size);
        let root = root_of(&leaves);
        for choice in 1u32..1 << size {
            let indexes: Vec<u64> = (0..size).filter(|index| choice >> index & 1 == 1).collect();
            let proof = prove_entries(&indexes, size, nodes_of(&leaves)).unwrap();
            let entries = chosen(&indexes, &leaves);
            assert_eq!(root_from_entries(&proof, &entries, size), Ok(root), "{indexes:?} in {size}");
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at] = STRANGER;
                assert_ne!(root_from_entries(&altered, &entries, size), Ok(root), "{indexes:?} in {size}");
                altered.remove(at);
                assert_eq!(root_from_entries(&altered, &entries, size), Err(ProofError::Length));
            }
            let longer = [&proof[..], &[STRANGER]].concat();
            assert_eq!(root_from_entries(&longer, &entries, size), Err(ProofError::Length));
            for at in 0..entries.len() {
                let mut altered = entries.clone();
                altered[at].1 = STRANGER;
                assert_ne!(root_from_entries(&proof, &altered, size), Ok(root), "{indexes:?} in {size}");
                // An entry less never fits the same proof.
                altered.remove(at);
                assert_ne!(root_from_entries(&proof, &altered, size), Ok(root), "{indexes:?} in {size}");
            }
        }
    }
}

#[test]
fn a_range_takes_few_hashes() {
    let size = 300;
    let leaves = leaves(size);
    let root = root_of(&leaves);
    for from in 0..size {
        for to in (from + 1..=size).step_by(7) {
            let indexes: Vec<u64> = (from..to).collect();
            let proof = prove_entries(&indexes, size, nodes_of(&leaves)).unwrap();
            assert!(proof.len() <= 2 * 9, "{from}..{to}: {}", proof.len());
            assert_eq!(root_from_entries(&proof, &chosen(&indexes, &leaves), size), Ok(root));
        }
    }
}

#[test]
fn one_entry_has_the_hashes_of_its_inclusion_proof() {
    let leaves = leaves(77);
    for index in 0..77 {
        let mut one = prove_entries(&[index], 77, nodes_of(&leaves)).unwrap();
        let mut inclusion = prove_inclusion(index, 77, nodes_of(&leaves)).unwrap();
        one.sort();
        inclusion.sort();
        assert_eq!(one, inclusion);
    }
}

#[test]
fn what_is_no_choice_of_entries_is_refused() {
    let leaves = leaves(5);
    for indexes in [&[][..], &[5], &[1, 1], &[2, 1], &[0, 9]] {
        let proof = prove_entries(indexes, 5, nodes_of(&leaves));
        assert!(matches!(proof, Err(ProveError::Index { .. })), "{indexes:?}");
        let entries: Vec<_> = indexes.iter().map(|index| (*index, STRANGER)).collect();
        let root = root_from_entries(&[STRANGER; 3], &entries, 5);
        assert!(matches!(root, Err(ProofError::Index { .. })), "{indexes:?}");
    }
    assert!(root_from_entries(&[], &[(u64::MAX - 1, STRANGER)], u64::MAX).is_err());
}
