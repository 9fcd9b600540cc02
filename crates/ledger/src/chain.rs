//! The hash chain: every entry names the leaf hash of the one before it.
//!
//! The chain commits to nothing that the tree does not commit to. It is there because one linear pass with
//! `sha256sum` checks it, without any tree code. Its links *are* the tree's leaf hashes, and [`Chain::extend`]
//! hands back each leaf for the tree: a verifier cannot be shown one history in the chain and another in the
//! tree, which is what happens where the two are separate (CVE-2022-36111).

use crate::hash::Hash;

/// Where a chain stands: the sequence number and the `prev_hash` that the next entry must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    next_seq: u64,
    prev_hash: Hash,
}

impl Chain {
    /// The chain before its first entry: sequence number 0, `prev_hash` [`Hash::ZERO`].
    pub fn new() -> Chain {
        Chain { next_seq: 0, prev_hash: Hash::ZERO }
    }

    /// The chain after the entry `last_seq` whose leaf hash is `last_leaf`.
    ///
    /// # Errors
    /// [`ChainError::Full`] if no sequence number follows `last_seq`.
    pub fn after(last_seq: u64, last_leaf: Hash) -> Result<Chain, ChainError> {
        let next_seq = last_seq.checked_add(1).ok_or(ChainError::Full)?;
        Ok(Chain { next_seq, prev_hash: last_leaf })
    }

    /// The sequence number of the next entry; also how many entries there are.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The `prev_hash` of the next entry: the leaf hash of the entry before it, or [`Hash::ZERO`].
    pub fn prev_hash(&self) -> Hash {
        self.prev_hash
    }

    /// Takes the next entry: `seq` and `prev_hash` as the entry states them, `leaf` as computed from its
    /// bytes. Returns `leaf`. On an error the chain stands where it stood.
    ///
    /// # Errors
    /// [`ChainError::Seq`] or [`ChainError::PrevHash`] if the entry states other values than it must.
    pub fn extend(&mut self, seq: u64, prev_hash: Hash, leaf: Hash) -> Result<Hash, ChainError> {
        if seq != self.next_seq {
            return Err(ChainError::Seq { expected: self.next_seq, found: seq });
        }
        if prev_hash != self.prev_hash {
            return Err(ChainError::PrevHash { seq, expected: self.prev_hash, found: prev_hash });
        }
        *self = Chain::after(seq, leaf)?;
        Ok(leaf)
    }
}

impl Default for Chain {
    fn default() -> Self {
        Chain::new()
    }
}

/// An entry does not continue the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The entry carries another sequence number than the next one.
    #[error("expected entry {expected}, found entry {found}")]
    Seq {
        /// The number that had to come.
        expected: u64,
        /// The number that the entry states.
        found: u64,
    },
    /// The entry names another predecessor than the entry before it.
    #[error("entry {seq} states prev_hash {found}, the entry before it has leaf hash {expected}")]
    PrevHash {
        /// The entry that does not fit.
        seq: u64,
        /// The leaf hash of the entry before it.
        expected: Hash,
        /// The hash that the entry states.
        found: Hash,
    },
    /// Sequence numbers are used up.
    #[error("no sequence number is left")]
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;

    #[test]
    fn the_first_entry_has_no_predecessor() {
        let mut chain = Chain::new();
        let leaf = leaf_hash(b"first");
        assert_eq!(chain.extend(0, Hash::ZERO, leaf), Ok(leaf));
        assert_eq!(chain, Chain::after(0, leaf).unwrap());
        assert_eq!(chain.next_seq(), 1);
        assert_eq!(chain.prev_hash(), leaf);
    }

    #[test]
    fn an_entry_that_does_not_fit_leaves_the_chain_alone() {
        let (first, second) = (leaf_hash(b"first"), leaf_hash(b"second"));
        let mut chain = Chain::after(0, first).unwrap();
        assert_eq!(chain.extend(2, first, second), Err(ChainError::Seq { expected: 1, found: 2 }));
        assert_eq!(
            chain.extend(1, second, second),
            Err(ChainError::PrevHash { seq: 1, expected: first, found: second })
        );
        assert_eq!(chain, Chain::after(0, first).unwrap());
    }

    #[test]
    fn the_last_number_is_not_wrapped() {
        assert_eq!(Chain::after(u64::MAX, Hash::ZERO), Err(ChainError::Full));
    }
}
