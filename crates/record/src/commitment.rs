//! Commitments: fixing what was said without revealing it.
//!
//! `commitment = SHA-256(salt ‖ bytes)` with 32 random bytes of salt, drawn by the source. The salt
//! stays in the encrypted payload. Whoever is shown salt and bytes can check them, and hash the bytes by
//! themselves; whoever is not cannot guess a short prompt from its hash, and once the payload's key is
//! destroyed nobody can.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of salt.
pub const SALT_BYTES: usize = 32;

/// A commitment together with what opens it. Belongs in payloads, never in entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// SHA-256 over salt and bytes.
    #[serde(with = "hex")]
    pub commitment: [u8; 32],
    /// The salt.
    #[serde(with = "hex")]
    pub salt: [u8; SALT_BYTES],
    /// How many bytes.
    pub bytes: u64,
}

/// Computes a commitment over bytes as they come.
#[derive(Clone)]
pub struct Committer {
    salted: Sha256,
    salt: [u8; SALT_BYTES],
    bytes: u64,
}

impl Committer {
    /// Begins with the given random salt.
    pub fn new(salt: [u8; SALT_BYTES]) -> Self {
        let mut salted = Sha256::new();
        salted.update(salt);
        Self { salted, salt, bytes: 0 }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.salted.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Bytes taken in so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The commitment over all bytes.
    pub fn finish(self) -> Commitment {
        Commitment { commitment: self.salted.finalize().into(), salt: self.salt, bytes: self.bytes }
    }
}

impl Commitment {
    /// Whether `bytes` are what was committed to.
    pub fn opens_to(&self, bytes: &[u8]) -> bool {
        let mut committer = Committer::new(self.salt);
        committer.update(bytes);
        committer.finish() == *self
    }

    /// The form an entry holds: `sha256:<lower hex>`.
    pub fn to_text(&self) -> String {
        hash_text(&self.commitment)
    }
}

/// `sha256:` and 64 lower-case hex digits.
pub fn hash_text(hash: &[u8; 32]) -> String {
    format!("sha256:{}", to_hex(hash))
}

/// Lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    let mut out = String::with_capacity(bytes.len() * 2);
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    out
}

/// Reads lower-case hex of exactly `N` bytes.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    let mut out = [0; N];
    let mut seen = 0;
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    // Looked at once, at the end: verifying reads hex by the million.
    (seen <= 0x0f).then_some(out)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// What each byte is worth as a digit; more than any digit, if it is none.
const VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::to_hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        super::from_hex(&text).ok_or_else(|| D::Error::custom("expected lower-case hex"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_opens_to_its_own_bytes_alone() {
        let mut committer = Committer::new([7; 32]);
        committer.update(b"what was ");
        committer.update(b"said");
        let commitment = committer.finish();
        assert!(commitment.opens_to(b"what was said"));
        assert!(!commitment.opens_to(b"what was sald"));
        let text = serde_json::to_string(&commitment).unwrap();
        assert_eq!(serde_json::from_str::<Commitment>(&text).unwrap(), commitment);
    }

    #[test]
    fn hex_has_one_spelling() {
        for byte in 0..=u8::MAX {
            assert_eq!(from_hex(&to_hex(&[byte, 7])), Some([byte, 7]));
        }
        for bad in ["", "a", "abc", "AB", "0g", "/0", ":0", "`0", "g0", "0 ", "+1", "\u{e9}", "abcd"] {
            assert_eq!(from_hex::<1>(bad), None, "{bad}");
        }
    }
}
