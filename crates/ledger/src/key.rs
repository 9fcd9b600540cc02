//! Keys that sign notes: the private side behind [`Signer`], the public side as [`VerifierKey`].
//!
//! A key has a name and a short id made from name, type and public key; the two together pick the key that a
//! signature line is checked with (C2SP signed-note, "Signatures"). The id is a label, not a proof: whoever
//! verifies holds the whole public key. Two types are spoken here, both Ed25519: 0x01, with which logs sign, because
//! that is what the public witness network asks of them, and 0x04, with which witnesses cosign and say when
//! ([`crate::cosignature`]).

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::cosignature;
use crate::text;

/// What a key signs, and so the type byte in its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// 0x01: Ed25519 over the text of a note. A log's key.
    Ed25519,
    /// 0x04: Ed25519 over time and text of a checkpoint (C2SP tlog-cosignature). A witness's key.
    Cosignature,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            KeyKind::Ed25519 => 0x01,
            KeyKind::Cosignature => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Option<KeyKind> {
        [KeyKind::Ed25519, KeyKind::Cosignature].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The short id of a key. In text: 8 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// `SHA-256(name ‖ 0x0A ‖ type ‖ public key)`, the first four bytes, big-endian.
    fn of(name: &str, kind: KeyKind, public_key: &[u8; 32]) -> KeyId {
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', kind.byte()])
            .chain_update(public_key)
            .finalize();
        KeyId(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something that signs notes under one name: a key in memory, or one that never leaves its HSM.
pub trait Signer: Send + Sync {
    /// The key name that stands on the signature line.
    fn name(&self) -> &str;

    /// The key id that goes with the name.
    fn key_id(&self) -> KeyId;

    /// The signature over `message`, without the key id before it.
    ///
    /// # Errors
    /// [`SignError`] if the signature could not be made; then none was.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A signature could not be made; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignError(pub String);

/// An Ed25519 key in memory. It is overwritten when dropped and does not show in `Debug`.
pub struct Ed25519Signer {
    verifier: VerifierKey,
    key: SigningKey,
}

impl Ed25519Signer {
    /// The key that grows from a 32-byte secret seed (RFC 8032 §5.1.5), under `name`.
    ///
    /// The seed must come from a cryptographic random source; overwriting the caller's copy is the caller's.
    ///
    /// # Errors
    /// [`KeyError::Name`] if `name` is empty or holds a space, a `+` or a control character.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Ed25519Signer, KeyError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::from_public_key(name, key.verifying_key().as_bytes())?;
        Ok(Ed25519Signer { verifier, key })
    }

    /// The same for a witness.
    pub(crate) fn cosigner_from_seed(name: &str, seed: &[u8; 32]) -> Result<Ed25519Signer, KeyError> {
        let key = SigningKey::from_bytes(seed);
        let public_key = key.verifying_key();
        let verifier = VerifierKey::of_kind(KeyKind::Cosignature, name, public_key.as_bytes())?;
        Ok(Ed25519Signer { verifier, key })
    }

    /// The public side.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }
}

impl Signer for Ed25519Signer {
    fn name(&self) -> &str {
        self.verifier.name()
    }

    fn key_id(&self) -> KeyId {
        self.verifier.key_id()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.key.sign(message).to_vec())
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ed25519Signer").field(&self.verifier).finish()
    }
}

/// A named Ed25519 public key.
///
/// `Display` and `FromStr` are the `vkey` text: `<name>+<key id, 8 hex digits>+<base64 of type ‖ public key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    kind: KeyKind,
    name: String,
    id: KeyId,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Names a 32-byte Ed25519 public key (RFC 8032 §5.1.2).
    ///
    /// # Errors
    /// [`KeyError::Name`] for a name that no signature line can carry, [`KeyError::PublicKey`] for bytes that
    /// are no point of the curve, another spelling of one, or one of small order, under which one signature fits
    /// many messages.
    pub fn from_public_key(name: &str, public_key: &[u8; 32]) -> Result<VerifierKey, KeyError> {
        VerifierKey::of_kind(KeyKind::Ed25519, name, public_key)
    }

    /// Names a witness's 32-byte public key.
    ///
    /// # Errors
    /// As for [`from_public_key`](VerifierKey::from_public_key).
    pub fn of_cosigner(name: &str, public_key: &[u8; 32]) -> Result<VerifierKey, KeyError> {
        VerifierKey::of_kind(KeyKind::Cosignature, name, public_key)
    }

    fn of_kind(kind: KeyKind, name: &str, public_key: &[u8; 32]) -> Result<VerifierKey, KeyError> {
        if !text::is_key_name(name) {
            return Err(KeyError::Name);
        }
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| KeyError::PublicKey)?;
        if key.is_weak() || !is_reduced(public_key) {
            return Err(KeyError::PublicKey);
        }
        Ok(VerifierKey { kind, name: name.to_owned(), id: KeyId::of(name, kind, public_key), key })
    }

    /// What the key signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes of the public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether `signature`, without a key id, is this key's over the text of a note: 64 bytes, or for a witness's key
    /// 8 bytes of time and 64 bytes.
    ///
    /// Strict: signatures that can be altered into other valid ones are refused (RFC 8032 §5.1.7 leaves room).
    pub fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        match self.kind {
            KeyKind::Ed25519 => self.verify_bare(text, signature),
            KeyKind::Cosignature => cosignature::split(signature).is_some_and(|(time, signature)| {
                self.verify_bare(&cosignature::message(time, text), signature)
            }),
        }
    }

    fn verify_bare(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed: Vec<u8> = [self.kind.byte()].into_iter().chain(*self.public_key()).collect();
        write!(f, "{}+{}+{}", self.name, self.id, text::to_base64(&typed))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses a `vkey`, and checks that its key id is the one that name and key give.
impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<VerifierKey, KeyError> {
        // The base64 may hold further `+`.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Syntax);
        };
        let typed = text::from_base64(encoded).ok_or(KeyError::Syntax)?;
        let (byte, public_key) = typed.split_first().ok_or(KeyError::Syntax)?;
        let kind = KeyKind::from_byte(*byte).ok_or(KeyError::Type(*byte))?;
        let public_key = public_key.try_into().map_err(|_| KeyError::PublicKey)?;
        let key = VerifierKey::of_kind(kind, name, public_key)?;
        if key.id.to_string() == id { Ok(key) } else { Err(KeyError::Id { expected: key.id }) }
    }
}

/// Whether the coordinate that a public key states is below 2²⁵⁵−19: what goes beyond is another spelling of a smaller one
/// (RFC 8032 §5.1.3, step 1).
fn is_reduced(public_key: &[u8; 32]) -> bool {
    let [first, between @ .., last] = public_key;
    *first < 0xed || last & 0x7f != 0x7f || between.iter().any(|byte| *byte != 0xff)
}

/// A key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty or holds a space, a `+` or a control character.
    #[error("not a key name")]
    Name,
    /// The text is not `<name>+<id>+<base64>`.
    #[error("not a verifier key of the form name+id+base64")]
    Syntax,
    /// The key is of another type.
    #[error("key type {0:#04x} is not supported, only 0x01 (Ed25519) and 0x04 (a witness's)")]
    Type(u8),
    /// The public key has the wrong length, is no point of the curve or another spelling of one, or has small order.
    #[error("not a usable Ed25519 public key")]
    PublicKey,
    /// The key id is not the one of this name and key.
    #[error("the key id does not belong to this name and key, {expected} does")]
    Id {
        /// The id that name and key give.
        expected: KeyId,
    },
}
