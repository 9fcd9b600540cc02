//! Every proof up to a size, and every small alteration of it; then sizes that no test can build.

use std::convert::Infallible;

use indelible_ledger::{
    Frontier, Hash, ProofError, ProveError, leaf_hash, node_hash, prove_consistency, prove_inclusion,
    root_from_inclusion, root_of, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

/// Trees of all sizes up to this are tried with all their leaves and all their prefixes.
const EXHAUSTIVE_SIZE_MAX: u64 = 64;

const STRANGER: Hash = Hash([0x5a; 32]);

fn leaves() -> Vec<Hash> {
    (0..EXHAUSTIVE_SIZE_MAX).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn nodes_of(leaves: &[Hash]) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> {
    |level, index| Ok(root_of(&leaves[(index << level) as usize..((index + 1) << level) as usize]))
}

/// The proof with one hash altered, dropped, doubled or moved, or with one too many.
fn alterations(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut altered = vec![[proof, &[STRANGER]].concat(), [&[STRANGER], proof].concat()];
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at].0[at] ^= 0x80;
        let mut dropped = proof.to_vec();
        dropped.remove(at);
        let mut doubled = proof.to_vec();
        doubled.insert(at, proof[at]);
        altered.extend([flipped, dropped, doubled]);
        if at > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(at - 1, at);
            altered.push(swapped);
        }
    }
    altered
}

#[test]
fn every_inclusion_proof_holds_and_no_altered_one_does() {
    let leaves = leaves();
    for size in 1..=EXHAUSTIVE_SIZE_MAX {
        let tree = &leaves[..size as usize];
        let root = root_of(tree);
        for index in 0..size {
            let leaf = &leaves[index as usize];
            let proof = prove_inclusion(index, size, nodes_of(tree)).unwrap();
            assert_eq!(verify_inclusion(&proof, index, size, leaf, &root), Ok(()), "{index} in {size}");
            for altered in alterations(&proof) {
                assert!(verify_inclusion(&altered, index, size, leaf, &root).is_err(), "{index} in {size}");
            }
            for other in (0..size + 2).filter(|other| *other != index) {
                assert!(verify_inclusion(&proof, other, size, leaf, &root).is_err(), "{index} as {other}");
            }
            assert_eq!(verify_inclusion(&proof, index, size, &STRANGER, &root), Err(ProofError::Root));
            assert_eq!(verify_inclusion(&proof, index, size, leaf, &STRANGER), Err(ProofError::Root));
        }
    }
}

#[test]
fn every_consistency_proof_holds_and_no_altered_one_does() {
    let leaves = leaves();
    let root = |size: u64| root_of(&leaves[..size as usize]);
    for new in 0..=EXHAUSTIVE_SIZE_MAX {
        for old in 0..=new {
            let (old_root, new_root) = (root(old), root(new));
            let proof = prove_consistency(old, new, nodes_of(&leaves)).unwrap();
            assert_eq!(verify_consistency(&proof, old, new, &old_root, &new_root), Ok(()), "{old} to {new}");
            for altered in alterations(&proof) {
                assert!(
                    verify_consistency(&altered, old, new, &old_root, &new_root).is_err(),
                    "{old} to {new}"
                );
            }
            assert!(verify_consistency(&proof, old, new, &STRANGER, &new_root).is_err(), "{old} to {new}");
            // Everything extends the empty tree.
            if old > 0 {
                assert!(
                    verify_consistency(&proof, old, new, &old_root, &STRANGER).is_err(),
                    "{old} to {new}"
                );
            }
            // A log that shrinks is not consistent.
            if old < new {
                let shrunk = verify_consistency(&proof, new, old, &new_root, &old_root);
                assert_eq!(shrunk, Err(ProofError::Sizes { old_size: new, new_size: old }));
            }
        }
    }
}

#[test]
fn a_rewritten_history_has_no_proof() {
    let honest = leaves();
    for old in 1..=EXHAUSTIVE_SIZE_MAX {
        let old_root = root_of(&honest[..old as usize]);
        for rewritten in [0, old / 2, old - 1] {
            let mut forged = honest.clone();
            forged[rewritten as usize] = STRANGER;
            for new in old..=EXHAUSTIVE_SIZE_MAX {
                let new_root = root_of(&forged[..new as usize]);
                let proof = prove_consistency(old, new, nodes_of(&forged)).unwrap();
                let verdict = verify_consistency(&proof, old, new, &old_root, &new_root);
                assert!(verdict.is_err(), "{old} to {new}, entry {rewritten} rewritten");
            }
        }
    }
}

#[test]
fn what_cannot_be_proved_is_an_error() {
    let none = |_, _| Err::<Hash, _>("no such node");
    assert_eq!(prove_inclusion(0, 0, none), Err(ProveError::Index { index: 0, size: 0 }));
    assert_eq!(prove_inclusion(7, 7, none), Err(ProveError::Index { index: 7, size: 7 }));
    assert_eq!(prove_consistency(3, 2, none), Err(ProveError::Sizes { old_size: 3, new_size: 2 }));
    assert_eq!(prove_inclusion(0, 2, none), Err(ProveError::Node("no such node")));
    assert_eq!(prove_consistency(1, 2, none), Err(ProveError::Node("no such node")));
    assert_eq!(prove_inclusion(0, 1, none), Ok(vec![]));
}

/// Node hashes of a tree whose leaves are all alike: one for each level, whatever the size.
fn uniform_nodes() -> Vec<Hash> {
    let parent = |node: &Hash| Some(node_hash(node, node));
    std::iter::successors(Some(leaf_hash(b"alike")), parent).take(64).collect()
}

fn uniform_root(nodes: &[Hash], size: u64) -> Hash {
    let subtrees = (0..64).rev().filter(|level| size >> level & 1 == 1).map(|level| nodes[level]);
    Frontier::from_parts(size, subtrees.collect()).expect("one hash for each bit").root()
}

proptest! {
    #[test]
    fn inclusion_works_at_any_size(a: u64, b: u64, shift in 0u32..64) {
        let (index, size) = (a.min(b) >> shift, (a.max(b) >> shift).max(1));
        prop_assume!(index < size);
        let nodes = uniform_nodes();
        let source = |level: u8, at: u64| {
            assert!((u128::from(at) + 1) << level <= u128::from(size), "asked beyond the tree");
            Ok::<_, Infallible>(nodes[usize::from(level)])
        };
        let proof = prove_inclusion(index, size, source).unwrap();
        prop_assert_eq!(root_from_inclusion(&proof, index, size, &nodes[0]), Ok(uniform_root(&nodes, size)));
    }

    #[test]
    fn consistency_works_at_any_size(a: u64, b: u64, shift in 0u32..64) {
        let (old, new) = (a.min(b) >> shift, a.max(b) >> shift);
        let nodes = uniform_nodes();
        let source = |level: u8, at: u64| {
            assert!((u128::from(at) + 1) << level <= u128::from(new), "asked beyond the tree");
            Ok::<_, Infallible>(nodes[usize::from(level)])
        };
        let proof = prove_consistency(old, new, source).unwrap();
        let (old_root, new_root) = (uniform_root(&nodes, old), uniform_root(&nodes, new));
        prop_assert_eq!(verify_consistency(&proof, old, new, &old_root, &new_root), Ok(()));
    }

    #[test]
    fn verifying_never_panics(hashes in 0usize..70, a: u64, b: u64) {
        let proof = vec![STRANGER; hashes];
        for (a, b) in [(a, b), (b, a), (a, u64::MAX), (u64::MAX, b), (a, a), (0, b), (a, 0)] {
            let _ = root_from_inclusion(&proof, a, b, &STRANGER);
            let _ = verify_consistency(&proof, a, b, &STRANGER, &STRANGER);
        }
    }
}

#[test]
fn the_largest_tree_has_proofs() {
    let nodes = uniform_nodes();
    let source = |level: u8, _| Ok::<_, Infallible>(nodes[usize::from(level)]);
    let root = uniform_root(&nodes, u64::MAX);
    for index in [0, 1, 1 << 63, u64::MAX - 1] {
        let proof = prove_inclusion(index, u64::MAX, source).unwrap();
        assert_eq!(verify_inclusion(&proof, index, u64::MAX, &nodes[0], &root), Ok(()), "{index}");
    }
    for old in [1, 1 << 63, (1 << 63) + 1, u64::MAX - 1] {
        let proof = prove_consistency(old, u64::MAX, source).unwrap();
        let old_root = uniform_root(&nodes, old);
        assert_eq!(verify_consistency(&proof, old, u64::MAX, &old_root, &root), Ok(()), "{old}");
    }
}

/// All proofs of all trees up to 300 leaves, beyond the first full tile.
#[test]
fn every_proof_holds_up_to_300_leaves() {
    const SIZE_MAX: u64 = 300;
    let mut levels = vec![(0..SIZE_MAX).map(|n| leaf_hash(&n.to_be_bytes())).collect::<Vec<_>>()];
    while let Some(below) = levels.last().filter(|below| below.len() > 1) {
        levels.push(below.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect());
    }
    let node = |level: u8, index: u64| Ok::<_, Infallible>(levels[usize::from(level)][index as usize]);
    let mut frontier = Frontier::new();
    let mut roots = vec![frontier.root()];
    for size in 1..=SIZE_MAX {
        frontier.append(levels[0][size as usize - 1]).unwrap();
        let root = frontier.root();
        roots.push(root);
        for index in 0..size {
            let leaf = &levels[0][index as usize];
            let proof = prove_inclusion(index, size, node).unwrap();
            assert_eq!(verify_inclusion(&proof, index, size, leaf, &root), Ok(()), "{index} in {size}");
            let (old, old_root) = (index, &roots[index as usize]);
            let proof = prove_consistency(old, size, node).unwrap();
            assert_eq!(verify_consistency(&proof, old, size, old_root, &root), Ok(()), "{old} to {size}");
            if old > 0 {
                let shown = verify_consistency(&proof, old, size, &STRANGER, &root);
                assert!(shown.is_err(), "another tree of {old}, to {size}");
            }
        }
    }
}
