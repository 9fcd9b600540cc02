//! Cosignatures: a witness says that a checkpoint extends every one that it saw before, and when it looked
//! (C2SP tlog-cosignature, the Ed25519 form).
//!
//! ```text
//! signature line     — <witness> <base64 of key id u32 BE ‖ time u64 BE ‖ Ed25519 signature, 64 bytes>
//! what is signed     cosignature/v1\n
//!                    time <seconds since 1970, decimal>\n
//!                    <the whole text of the checkpoint>
//! ```
//!
//! A [`VerifierKey`] of kind [`KeyKind::Cosignature`](crate::KeyKind) checks such a line wherever a note is verified.

use crate::key::{Ed25519Signer, KeyError, SignError, Signer as _, VerifierKey};
use crate::note::{NoteError, NoteSignature};

/// Bytes of the time before the signature.
const TIME_BYTES: usize = 8;
/// The latest time that a cosignature may state.
const TIME_MAX: u64 = i64::MAX as u64;

/// A witness's key in memory. It is overwritten when dropped and does not show in `Debug`.
#[derive(Debug)]
pub struct Cosigner(Ed25519Signer);

impl Cosigner {
    /// The key that grows from a 32-byte secret seed, under the witness's name. The key must sign for nothing else:
    /// a cosignature does not cover the name.
    ///
    /// # Errors
    /// [`KeyError::Name`] if `name` cannot stand on a signature line.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Cosigner, KeyError> {
        Ed25519Signer::cosigner_from_seed(name, seed).map(Cosigner)
    }

    /// The public side.
    pub fn verifier_key(&self) -> &VerifierKey {
        self.0.verifier_key()
    }

    /// Cosigns the text of a checkpoint, seen at `time` (seconds since 1970).
    ///
    /// The caller must have made sure that it extends what was cosigned before, and that this is on disk.
    ///
    /// # Errors
    /// [`NoteError::Sign`] if `time` is 0 or beyond 2⁶³−1.
    pub fn cosign(&self, text: &str, time: u64) -> Result<NoteSignature, NoteError> {
        let failed = |source| NoteError::Sign { name: self.0.name().to_owned(), source };
        if time == 0 || time > TIME_MAX {
            return Err(failed(SignError(format!("{time} is not a time to cosign at"))));
        }
        let signature = self.0.sign(&message(time, text.as_bytes())).map_err(failed)?;
        let bytes = [&time.to_be_bytes()[..], &signature].concat();
        NoteSignature::new(self.0.name(), self.0.key_id(), bytes)
    }
}

/// When a cosignature says that it was made, in seconds since 1970. Worth something once the line is verified.
pub fn time_of(signature: &NoteSignature) -> Option<u64> {
    split(signature.bytes()).map(|(time, _)| time)
}

/// Time and signature; `None` if there is no valid time.
pub(crate) fn split(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = bytes.split_first_chunk::<TIME_BYTES>()?;
    let time = u64::from_be_bytes(*time);
    (time != 0 && time <= TIME_MAX).then_some((time, signature))
}

/// What is signed.
pub(crate) fn message(time: u64, text: &[u8]) -> Vec<u8> {
    [format!("cosignature/v1\ntime {time}\n").as_bytes(), text].concat()
}
