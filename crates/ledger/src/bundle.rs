//! Entry bundles: up to 256 entries in one file, each behind its length (C2SP tlog-tiles, "Log entries").
//!
//! ```text
//! ┌─────────────┬────────────┬─────────────┬────────────┬─ …
//! │ len u16 BE  │ len bytes  │ len u16 BE  │ len bytes  │
//! └─────────────┴────────────┴─────────────┴────────────┴─ …
//! ```
//!
//! The length prefix caps an entry at 65,535 bytes, which is why prompts and answers are committed to by an
//! entry and never stand in one.

use crate::tile::TILE_WIDTH;

/// The longest entry that a bundle can hold, in bytes.
pub const ENTRY_MAX_BYTES: usize = u16::MAX as usize;

/// Puts entries into the bytes of a bundle.
///
/// # Errors
/// [`BundleError::EntryTooLong`] or [`BundleError::TooMany`].
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    for (position, entry) in entries.into_iter().enumerate() {
        if position == usize::from(TILE_WIDTH) {
            return Err(BundleError::TooMany);
        }
        let len = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong { len: entry.len() })?;
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries in the bytes of a bundle that must hold `width` of them, [`Tile::width`](crate::Tile::width).
///
/// # Errors
/// [`BundleError::TooMany`] if `width` exceeds 256, [`BundleError::Truncated`] or [`BundleError::Trailing`] if
/// the bytes are not just that many entries.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    if width > TILE_WIDTH {
        return Err(BundleError::TooMany);
    }
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(usize::from(width));
    for _ in 0..width {
        let (len, after) = rest.split_first_chunk().ok_or(BundleError::Truncated)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, after) = after.split_at_checked(len).ok_or(BundleError::Truncated)?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(BundleError::Trailing) }
}

/// Entries do not make a bundle, or bytes are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An entry does not fit its length prefix.
    #[error("an entry of {len} bytes exceeds {ENTRY_MAX_BYTES} bytes")]
    EntryTooLong {
        /// The length of the entry in bytes.
        len: usize,
    },
    /// More than 256 entries.
    #[error("a bundle holds at most {TILE_WIDTH} entries")]
    TooMany,
    /// The bytes end before the last entry does.
    #[error("the bundle ends before its last entry")]
    Truncated,
    /// Bytes follow the last entry.
    #[error("the bundle goes on after its last entry")]
    Trailing,
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_held() {
        let longest = vec![7; ENTRY_MAX_BYTES];
        let bytes = encode_bundle([&longest[..]]).unwrap();
        assert_eq!(decode_bundle(&bytes, 1).unwrap(), [&longest[..]]);

        let longer = vec![7; ENTRY_MAX_BYTES + 1];
        assert_eq!(encode_bundle([&longer[..]]), Err(BundleError::EntryTooLong { len: 65_536 }));
        assert_eq!(encode_bundle([&b""[..]; 257]), Err(BundleError::TooMany));
        assert_eq!(decode_bundle(&[0; 514], 257), Err(BundleError::TooMany));
    }

    #[test]
    fn a_bundle_is_all_its_bytes() {
        let bytes = encode_bundle([&b"one"[..], b"", b"three"]).unwrap();
        assert_eq!(bytes, b"\x00\x03one\x00\x00\x00\x05three");
        assert_eq!(decode_bundle(&bytes, 2), Err(BundleError::Trailing));
        assert_eq!(decode_bundle(&bytes, 4), Err(BundleError::Truncated));
        for cut in 0..bytes.len() {
            assert_eq!(decode_bundle(&bytes[..cut], 3), Err(BundleError::Truncated), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn bundles_round_trip(entries in vec(vec(any::<u8>(), 0..40), 0..=256)) {
            let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(decode_bundle(&bytes, entries.len() as u16).unwrap(), entries);
        }

        #[test]
        fn decoding_never_panics(bytes in vec(any::<u8>(), 0..600), width: u16) {
            if let Ok(entries) = decode_bundle(&bytes, width) {
                prop_assert_eq!(encode_bundle(entries), Ok(bytes));
            }
        }
    }
}
