//! SHA-256 hashes as the ledger uses them: of one entry (a leaf) and of two subtrees (a node).
//!
//! The two are hashed under different prefix bytes, so that no node can be passed off as an entry
//! (RFC 6962 §2.1, RFC 9162 §2.1.1). The chain and the tree share the leaf hash, so that a verifier who
//! recomputes one has recomputed the other.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::text;

/// What stands before an entry when it is hashed.
const LEAF_PREFIX: [u8; 1] = [0x00];
/// What stands before two subtree hashes when they are hashed.
const NODE_PREFIX: [u8; 1] = [0x01];
/// What stands before the hex digits in text.
const TEXT_PREFIX: &str = "sha256:";

/// A SHA-256 hash, 32 bytes.
///
/// In JSON and in print it is `sha256:` and 64 lower-case hex digits; in notes and proofs it is base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; Hash::BYTES]);

impl Hash {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// All zeros: the `prev_hash` of the first entry of a ledger.
    pub const ZERO: Hash = Hash([0; Hash::BYTES]);

    /// The root of a tree without leaves, `SHA-256("")` (RFC 9162 §2.1.1).
    pub const EMPTY_ROOT: Hash = Hash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; Hash::BYTES] {
        &self.0
    }

    /// 64 lower-case hex digits, without the `sha256:` that [`Display`](fmt::Display) puts before them.
    pub fn to_hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
    }

    /// Parses [`to_hex`](Hash::to_hex): exactly 64 lower-case digits.
    ///
    /// # Errors
    /// [`HashError`] for anything else, upper-case digits included.
    pub fn from_hex(hex: &str) -> Result<Hash, HashError> {
        let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return Err(HashError) };
        let pairs: &[[u8; 2]; Hash::BYTES] = pairs.try_into().map_err(|_| HashError)?;
        let mut bytes = [0; Hash::BYTES];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Hash(bytes))
    }

    /// Standard base64 with padding, 44 characters: how checkpoints and `tlog-proof` write a hash.
    pub fn to_base64(&self) -> String {
        text::to_base64(&self.0)
    }

    /// Parses [`to_base64`](Hash::to_base64).
    ///
    /// # Errors
    /// [`HashError`] if the text is not canonical base64 of 32 bytes.
    pub fn from_base64(text: &str) -> Result<Hash, HashError> {
        let bytes = text::from_base64(text).ok_or(HashError)?;
        bytes.try_into().map(Hash).map_err(|_| HashError)
    }
}

/// The hash of an entry: `SHA-256(0x00 ‖ entry)` (RFC 9162 §2.1.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update(LEAF_PREFIX).chain_update(entry).finalize().into())
}

/// The hash of a tree from those of its two halves: `SHA-256(0x01 ‖ left ‖ right)` (RFC 9162 §2.1.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update(NODE_PREFIX).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The text is not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 hash in its one accepted spelling")]
pub struct HashError;

impl From<[u8; Hash::BYTES]> for Hash {
    fn from(bytes: [u8; Hash::BYTES]) -> Self {
        Hash(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TEXT_PREFIX}{}", self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses `sha256:` and 64 lower-case hex digits, and nothing else.
impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        Hash::from_hex(text.strip_prefix(TEXT_PREFIX).ok_or(HashError)?)
    }
}

fn nibble(digit: u8) -> Result<u8, HashError> {
    match VALUES[usize::from(digit)] {
        NO_DIGIT => Err(HashError),
        value => Ok(value),
    }
}

const NO_DIGIT: u8 = 0xff;
/// What each byte is worth as a digit: verifying reads a hash of each entry.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_constants_are_what_they_say() {
        assert_eq!(Hash::EMPTY_ROOT, Hash(Sha256::digest([]).into()));
        assert_eq!(Hash::EMPTY_ROOT.to_base64(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(Hash::ZERO.to_hex(), "0".repeat(64));
    }

    #[test]
    fn an_empty_entry_is_not_an_empty_tree() {
        let hex = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(leaf_hash(b"").to_hex(), hex);
    }

    #[test]
    fn text_has_one_spelling() {
        let text = leaf_hash(b"entry").to_string();
        assert_eq!(text.parse(), Ok(leaf_hash(b"entry")));
        let hex = &text["sha256:".len()..];
        for other in [
            hex.to_string(),
            format!("SHA256:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{}", &hex[2..]),
            format!("{text}00"),
            format!("{text}\n"),
            format!("sha256: {}", &hex[1..]),
        ] {
            assert_eq!(other.parse::<Hash>(), Err(HashError), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn hash_text_round_trips(bytes: [u8; 32]) {
            let hash = Hash(bytes);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            prop_assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));
        }

        #[test]
        fn parsing_a_hash_never_panics(text in ".{0,80}", hex in "(sha256:)?[0-9a-fA-F]{60,68}") {
            for text in [text, hex] {
                if let Ok(hash) = text.parse::<Hash>() {
                    prop_assert_eq!(hash.to_string(), text.as_str());
                }
                if let Ok(hash) = Hash::from_base64(&text) {
                    prop_assert_eq!(hash.to_base64(), text);
                }
            }
        }
    }
}
