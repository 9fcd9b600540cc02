//! Inclusion proofs (this entry is in that tree) and consistency proofs (that tree is a prefix of this one).
//!
//! A proof is a list of hashes, at most 64 of 32 bytes each. Making one needs the hashes of perfect subtrees,
//! which the caller looks up, from tiles say; checking one needs nothing but the proof and the roots.
//! Algorithms are those of RFC 9162 §2.1.3 (inclusion) and §2.1.4 (consistency).
//!
//! A proof does not vouch for a tree's *size*: some proofs fit two sizes. Take size and root together from one
//! verified checkpoint.

use std::ops::Range;

use crate::hash::{Hash, node_hash};
use crate::tree::split_point;

/// The inclusion proof of leaf `index` in the tree of `size` leaves, the leaf's sibling first.
///
/// `node(level, i)` must give the root of the perfect subtree over the leaves
/// `i·2^level .. (i+1)·2^level`; level 0 is the leaves. Only subtrees that lie wholly within `size` are
/// asked for, O(log² size) of them at most.
///
/// # Errors
/// [`ProveError::Index`] if `index` is not below `size`; [`ProveError::Node`] with the first error of `node`.
pub fn prove_inclusion<E>(
    index: u64,
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    if index >= size {
        return Err(ProveError::Index { index, size });
    }
    // From the root down to the leaf; at each step the half that the leaf is not in goes into the proof.
    let mut path = Vec::new();
    let mut within = 0..size;
    while width(&within) > 1 {
        let (left, right) = halves(&within);
        let (towards, sibling) = if left.contains(&index) { (left, right) } else { (right, left) };
        path.push(subtree_root(&sibling, &mut node)?);
        within = towards;
    }
    path.reverse();
    Ok(path)
}

/// The consistency proof from the tree of `old_size` leaves to the tree of `new_size` leaves.
///
/// Empty if `old_size` is 0 (anything extends the empty tree) or equals `new_size`. `node` is as for
/// [`prove_inclusion`].
///
/// # Errors
/// [`ProveError::Sizes`] if `old_size` exceeds `new_size`; [`ProveError::Node`] with the first error of `node`.
pub fn prove_consistency<E>(
    old_size: u64,
    new_size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    if old_size > new_size {
        return Err(ProveError::Sizes { old_size, new_size });
    }
    if old_size == 0 {
        return Ok(Vec::new());
    }
    // From the new root down to the subtree that ends where the old tree ended.
    let mut path = Vec::new();
    let mut within = 0..new_size;
    while within.end != old_size {
        let (left, right) = halves(&within);
        let (towards, sibling) = if old_size <= left.end { (left, right) } else { (right, left) };
        path.push(subtree_root(&sibling, &mut node)?);
        within = towards;
    }
    // If that subtree is the whole old tree, its root is the old root, which the verifier has.
    if within.start != 0 {
        path.push(subtree_root(&within, &mut node)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks that the entry with leaf hash `leaf` is number `index` in the tree of `size` leaves with `root`.
///
/// # Errors
/// [`ProofError`] if it is not shown: index out of range, too many or too few hashes, another root.
pub fn verify_inclusion(
    proof: &[Hash],
    index: u64,
    size: u64,
    leaf: &Hash,
    root: &Hash,
) -> Result<(), ProofError> {
    if root_from_inclusion(proof, index, size, leaf)? == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// The root that the inclusion proof leads to (RFC 9162 §2.1.3.2), to be compared with a signed one.
///
/// # Errors
/// [`ProofError::Index`] or [`ProofError::Length`] if the proof cannot be one for `index` in `size` leaves.
pub fn root_from_inclusion(proof: &[Hash], index: u64, size: u64, leaf: &Hash) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let mut climb = Climb { at: index, last: size - 1 };
    let mut root = *leaf;
    for sibling in proof {
        root = match climb.step()? {
            Side::Left => node_hash(sibling, &root),
            Side::Right => node_hash(&root, sibling),
        };
    }
    climb.finish()?;
    Ok(root)
}

/// Checks that the tree of `new_size` leaves with `new_root` begins with the tree of `old_size` leaves with
/// `old_root` (RFC 9162 §2.1.4.2).
///
/// From size 0 and between equal sizes only the empty proof is right; the roots are compared all the same,
/// so that two roots of one size are an error here.
///
/// # Errors
/// [`ProofError`] if it is not shown: sizes reversed, too many or too few hashes, another old or new root.
pub fn verify_consistency(
    proof: &[Hash],
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Sizes { old_size, new_size });
    }
    if old_size == 0 && *old_root != Hash::EMPTY_ROOT {
        return Err(ProofError::OldRoot);
    }
    if old_size == 0 || old_size == new_size {
        return match proof {
            [_, ..] => Err(ProofError::Length),
            [] if old_size == new_size && old_root != new_root => Err(ProofError::Root),
            [] => Ok(()),
        };
    }

    // An old tree that is one perfect subtree is where the climb starts; its hash is left out of the proof.
    let (first, rest) = match proof.split_first() {
        _ if old_size.is_power_of_two() => (*old_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::Length),
    };
    // Start at the root of the perfect subtree that ends where the old tree ended.
    let level = (old_size - 1).trailing_ones();
    let mut climb = Climb { at: (old_size - 1) >> level, last: (new_size - 1) >> level };
    let (mut old, mut new) = (first, first);
    for sibling in rest {
        match climb.step()? {
            Side::Left => {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            }
            Side::Right => new = node_hash(&new, sibling),
        }
    }
    climb.finish()?;
    if old != *old_root {
        return Err(ProofError::OldRoot);
    }
    if new == *new_root { Ok(()) } else { Err(ProofError::Root) }
}

/// On which side of the node that is climbed from its sibling stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root: `fn` and `sn` of RFC 9162.
struct Climb {
    /// The position of the node on its level.
    at: u64,
    /// The position of the last node on that level; 0 is the root's level.
    last: u64,
}

impl Climb {
    /// One level up, or several where the node is the last one of its level and has no sibling there.
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::Length);
        }
        let side = if self.at & 1 == 1 {
            Side::Left
        } else if self.at < self.last {
            Side::Right
        } else {
            // `at == last > 0`, so a set bit is found.
            let alone = self.at.trailing_zeros();
            self.at >>= alone;
            self.last >>= alone;
            Side::Left
        };
        self.at >>= 1;
        self.last >>= 1;
        Ok(side)
    }

    fn finish(self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::Length) }
    }
}

pub(crate) fn width(range: &Range<u64>) -> u64 {
    range.end - range.start
}

/// The two subtrees of the tree over the leaves in `range`, which has at least two.
pub(crate) fn halves(range: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let middle = range.start + split_point(width(range));
    (range.start..middle, middle..range.end)
}

/// The root over a range of leaves that is a subtree of some tree: it starts at a multiple of a power of two
/// that is at least its width. Not empty; at most 64 deep.
pub(crate) fn subtree_root<E>(
    range: &Range<u64>,
    node: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Hash, ProveError<E>> {
    let width = width(range);
    if width.is_power_of_two() {
        let level = width.trailing_zeros();
        // A level is at most 63.
        return node(level as u8, range.start >> level).map_err(ProveError::Node);
    }
    let (left, right) = halves(range);
    Ok(node_hash(&subtree_root(&left, node)?, &subtree_root(&right, node)?))
}

/// A proof could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// There is no such leaf in the tree.
    #[error("there is no entry {index} in a tree of size {size}")]
    Index {
        /// The leaf that was asked for.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The old tree is larger than the new one.
    #[error("old size {old_size} is beyond new size {new_size}")]
    Sizes {
        /// The size of the old tree.
        old_size: u64,
        /// The size of the new tree.
        new_size: u64,
    },
    /// A hash that the proof needs could not be had.
    #[error("a hash for the proof could not be read")]
    Node(#[source] E),
}

/// A proof does not show what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf in the tree.
    #[error("there is no entry {index} in a tree of size {size}")]
    Index {
        /// The leaf that the proof is said to be for.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The old tree is larger than the new one.
    #[error("old size {old_size} is beyond new size {new_size}")]
    Sizes {
        /// The size of the old tree.
        old_size: u64,
        /// The size of the new tree.
        new_size: u64,
    },
    /// The proof has too many or too few hashes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The proof does not lead to the root of the old tree.
    #[error("the proof does not lead to the old root")]
    OldRoot,
    /// The proof does not lead to the root.
    #[error("the proof does not lead to the root")]
    Root,
}
