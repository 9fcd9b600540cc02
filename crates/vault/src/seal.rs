//! Encrypting a payload part under a subject's data key.
//!
//! Each part has a key of its own, so that no nonce can ever repeat however many parts a subject has:
//!
//! ```text
//! part key = HKDF-SHA-256(data key, salt = 16 random bytes, info = "indelible part v1")     (RFC 5869)
//! part     = subject 16 · month u32 · salt 16 · AES-256-GCM(part key, nonce 0, aad, plaintext) · tag 16
//! aad      = subject · month · the caller's context (ledger, event, kind of part, its number)
//! ```

use crate::subjects::{DataKey, SubjectRef};
use crate::{VaultError, random};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = 16 + 4 + SALT_BYTES;
const TAG_BYTES: usize = 16;

/// Whose key a part is under: the subject and the month (`year * 12 + month - 1`).
pub fn owner(part: &[u8]) -> Option<(SubjectRef, u32)> {
    let (subject, rest) = part.split_first_chunk::<16>()?;
    let (month, rest) = rest.split_first_chunk::<4>()?;
    (rest.len() >= SALT_BYTES + TAG_BYTES).then(|| (SubjectRef(*subject), u32::from_le_bytes(*month)))
}

/// Encrypts `plain` under `key`, bound to `context`.
pub fn seal(key: &DataKey, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let salt: [u8; SALT_BYTES] = random()?;
    let mut out = Vec::with_capacity(HEAD_BYTES + plain.len() + TAG_BYTES);
    out.extend_from_slice(&key.subject().0);
    out.extend_from_slice(&key.month().to_le_bytes());
    out.extend_from_slice(&salt);
    out.extend_from_slice(plain);
    let aad = [&out[..HEAD_BYTES], context].concat();
    let tag = part_key(key, &salt)?
        .seal_in_place_separate_tag(nonce(), Aad::from(aad), &mut out[HEAD_BYTES..])
        .map_err(|_| VaultError::Sealed)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Opens what [`seal`] made with the same key and context.
pub fn open(key: &DataKey, context: &[u8], part: &[u8]) -> Result<Vec<u8>, VaultError> {
    if owner(part) != Some((key.subject(), key.month())) {
        return Err(VaultError::Sealed);
    }
    let aad = [&part[..HEAD_BYTES], context].concat();
    let mut plain = part[HEAD_BYTES..].to_vec();
    let len = part_key(key, &part[20..HEAD_BYTES])?
        .open_in_place(nonce(), Aad::from(aad), &mut plain)
        .map_err(|_| VaultError::Sealed)?
        .len();
    plain.truncate(len);
    Ok(plain)
}

fn part_key(key: &DataKey, salt: &[u8]) -> Result<LessSafeKey, VaultError> {
    let extracted = Salt::new(HKDF_SHA256, salt).extract(key.secret());
    let expanded = extracted.expand(&[b"indelible part v1"], &AES_256_GCM).map_err(|_| VaultError::Sealed)?;
    Ok(LessSafeKey::new(UnboundKey::from(expanded)))
}

/// The key is used for one message alone.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
