//! One proof for many entries of one tree.
//!
//! The tree is walked from its root, left half before right half. A subtree without a chosen entry is one hash of
//! the proof; a chosen leaf comes from its entry; everything else is computed. For one entry that is an inclusion proof
//! in another order. For a run of entries it takes O(log n) hashes, and shows as well that none was left out inside.
//! `docs/formats/evidence.md` has it as *Proof*.

use std::ops::Range;

use crate::hash::{Hash, node_hash};
use crate::proof::{ProofError, ProveError, halves, subtree_root, width};

/// The proof that the entries with these numbers are in the tree of `size` leaves.
///
/// `node` is as for [`prove_inclusion`](crate::prove_inclusion); nothing below a chosen leaf is asked for.
///
/// # Errors
/// [`ProveError::Index`] if `indexes` is empty, not ascending, or goes beyond `size`; [`ProveError::Node`] with the
/// first error of `node`.
pub fn prove_entries<E>(
    indexes: &[u64],
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    check(indexes.iter().copied(), size).map_err(|index| ProveError::Index { index, size })?;
    let mut proof = Vec::new();
    collect(indexes, 0..size, &mut node, &mut proof)?;
    Ok(proof)
}

fn collect<E>(
    indexes: &[u64],
    within: Range<u64>,
    node: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
    proof: &mut Vec<Hash>,
) -> Result<(), ProveError<E>> {
    if indexes.is_empty() {
        proof.push(subtree_root(&within, node)?);
    } else if width(&within) > 1 {
        let (left, right) = halves(&within);
        let (before, behind) = indexes.split_at(indexes.partition_point(|index| *index < left.end));
        collect(before, left, node, proof)?;
        collect(behind, right, node, proof)?;
    }
    Ok(())
}

/// The root that the proof and these entries (number and leaf hash, ascending) lead to, to be compared with a signed one.
///
/// # Errors
/// [`ProofError::Index`] if `entries` is empty, not ascending, or goes beyond `size`; [`ProofError::Length`] if the proof
/// has too many or too few hashes.
pub fn root_from_entries(proof: &[Hash], entries: &[(u64, Hash)], size: u64) -> Result<Hash, ProofError> {
    check(entries.iter().map(|(index, _)| *index), size)
        .map_err(|index| ProofError::Index { index, size })?;
    let mut rest = proof.iter();
    let root = compute(&mut rest, entries, 0..size)?;
    if rest.next().is_none() { Ok(root) } else { Err(ProofError::Length) }
}

fn compute<'p>(
    proof: &mut impl Iterator<Item = &'p Hash>,
    entries: &[(u64, Hash)],
    within: Range<u64>,
) -> Result<Hash, ProofError> {
    match entries {
        [] => proof.next().copied().ok_or(ProofError::Length),
        [(_, leaf)] if width(&within) == 1 => Ok(*leaf),
        _ => {
            let (left, right) = halves(&within);
            let (before, behind) = entries.split_at(entries.partition_point(|(index, _)| *index < left.end));
            Ok(node_hash(&compute(proof, before, left)?, &compute(proof, behind, right)?))
        }
    }
}

/// Numbers that ascend and stay below `size`, at least one. `Err` has the first that does not.
fn check(indexes: impl Iterator<Item = u64>, size: u64) -> Result<(), u64> {
    let mut least = None;
    for index in indexes {
        if index >= size || least.is_some_and(|least| index < least) {
            return Err(index);
        }
        least = Some(index + 1);
    }
    if least.is_some() { Ok(()) } else { Err(0) }
}
