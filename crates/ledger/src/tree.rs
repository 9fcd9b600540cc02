//! The Merkle tree over the leaf hashes (RFC 9162 §2.1.1), kept as its frontier.
//!
//! A tree of any size is a row of perfect subtrees, one for each bit set in its size, the largest first. Their
//! roots are all that appending and the root need: at most 64 hashes, however long the ledger is. A restart
//! therefore never reads the whole log.

use crate::hash::{Hash, node_hash};

/// The right edge of a Merkle tree: its size and the roots of its perfect subtrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One for each bit set in `size`, largest subtree (leftmost leaves) first.
    hashes: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Frontier {
        Frontier { size: 0, hashes: Vec::new() }
    }

    /// A tree of `size` leaves from what [`hashes`](Frontier::hashes) gave for it.
    ///
    /// Only the number of hashes can be checked here; that they are the right ones shows when
    /// [`root`](Frontier::root) equals the root of a signed checkpoint of that size.
    ///
    /// # Errors
    /// [`TreeError::WrongFrontier`] if `size` needs another number of hashes.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Frontier, TreeError> {
        let (expected, found) = (size.count_ones() as usize, hashes.len());
        if expected == found {
            Ok(Frontier { size, hashes })
        } else {
            Err(TreeError::WrongFrontier { size, expected, found })
        }
    }

    /// Appends one leaf.
    ///
    /// # Errors
    /// [`TreeError::Full`] at 2⁶⁴−1 leaves; the tree is unchanged.
    pub fn append(&mut self, leaf: Hash) -> Result<(), TreeError> {
        let size = self.size.checked_add(1).ok_or(TreeError::Full)?;
        // Adding one carries through the trailing set bits of the size; each carry joins a perfect subtree
        // on the left with an equal one that the new leaf has just completed.
        let kept = self.hashes.len() - self.size.trailing_ones() as usize;
        let joined = self.hashes.drain(kept..).rev().fold(leaf, |right, left| node_hash(&left, &right));
        self.hashes.push(joined);
        self.size = size;
        Ok(())
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, largest first; as many as bits are set in the size.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The root of the tree; [`Hash::EMPTY_ROOT`] if it has no leaves.
    pub fn root(&self) -> Hash {
        let joined = self.hashes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        joined.unwrap_or(Hash::EMPTY_ROOT)
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Frontier::new()
    }
}

/// The root of the tree over `leaves`, straight from its definition (`MTH` in RFC 9162 §2.1.1).
pub fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split_point(leaves.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The largest power of two below `width`: how many leaves the left half of a tree of `width` leaves has.
/// `width` is at least 2.
pub(crate) fn split_point(width: u64) -> u64 {
    debug_assert!(width >= 2);
    1 << (width - 1).ilog2()
}

/// A tree cannot be made or extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The tree has 2⁶⁴−1 leaves.
    #[error("the tree is full")]
    Full,
    /// The number of hashes does not fit the size.
    #[error("a tree of size {size} has {expected} frontier hashes, not {found}")]
    WrongFrontier {
        /// The stated size.
        size: u64,
        /// How many hashes such a tree has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::leaf_hash;

    /// Entries and roots for sizes 1 to 8 that Certificate Transparency implementations share as test data.
    const CT_ENTRIES: [&[u8]; 8] =
        [b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"];
    const CT_ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root(), Hash::EMPTY_ROOT);
        for (entry, root) in CT_ENTRIES.iter().zip(CT_ROOTS) {
            frontier.append(leaf_hash(entry)).unwrap();
            assert_eq!(frontier.root().to_hex(), root);
        }
    }

    #[test]
    fn frontier_and_definition_agree() {
        let leaves: Vec<Hash> = (0..600u32).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::new();
        for (size, leaf) in leaves.iter().enumerate() {
            assert_eq!(frontier.root(), root_of(&leaves[..size]), "size {size}");
            frontier.append(*leaf).unwrap();
        }
    }

    #[test]
    fn a_full_tree_stays_as_it_is() {
        let full = Frontier::from_parts(u64::MAX, vec![Hash::ZERO; 64]).unwrap();
        let mut tree = full.clone();
        assert_eq!(tree.append(Hash::ZERO), Err(TreeError::Full));
        assert_eq!(tree, full);
        let mut nearly = Frontier::from_parts(u64::MAX - 1, vec![Hash::ZERO; 63]).unwrap();
        nearly.append(Hash::ZERO).unwrap();
        assert_eq!(nearly.hashes().len(), 64);
    }

    #[test]
    fn the_split_point_is_right_up_to_the_largest_size() {
        for (width, split) in [(2, 1), (3, 2), (4, 2), (5, 4), (8, 4), (9, 8), (u64::MAX, 1 << 63)] {
            assert_eq!(split_point(width), split);
        }
    }

    proptest! {
        #[test]
        fn a_frontier_survives_its_parts(size: u64, extra in 0usize..3) {
            let hashes = vec![Hash::ZERO; size.count_ones() as usize];
            let frontier = Frontier::from_parts(size, hashes.clone()).unwrap();
            prop_assert_eq!(Frontier::from_parts(frontier.size(), frontier.hashes().to_vec()), Ok(frontier));
            let wrong = vec![Hash::ZERO; hashes.len() + 1 + extra];
            prop_assert!(Frontier::from_parts(size, wrong).is_err());
        }
    }
}
