//! Pieces of bodies, compressed, and the framing of meta and piece in one buffer.
//!
//! ```text
//! body   = meta_len u32 (little endian) · meta · piece
//! piece  = (nothing) | 0 · bytes | 1 · zstd frame with content size
//! ```

use std::cell::RefCell;
use std::io;

/// Most bytes of a body in one piece, before compression.
pub const PIECE_MAX_BYTES: usize = 1 << 20;
/// Most bytes of meta in one frame.
pub const META_MAX_BYTES: usize = 1 << 20;
/// Most bytes of meta that a source sends: the collector adds what an entry may not hold to it.
pub const SOURCE_META_MAX_BYTES: usize = META_MAX_BYTES / 2;

/// Below this, compressing costs more than it saves.
const COMPRESS_MIN_BYTES: usize = 128;
/// A source runs beside GPUs and must not be felt: the fastest ordinary level. The store recompresses.
const LEVEL: i32 = 1;

thread_local! {
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// Puts `meta` (already JSON) and a piece of at most [`PIECE_MAX_BYTES`] into one frame body.
pub fn pack(meta: &[u8], piece: &[u8]) -> Vec<u8> {
    debug_assert!(piece.len() <= PIECE_MAX_BYTES);
    let mut out = Vec::with_capacity(4 + meta.len() + 1 + piece.len().min(64 << 10));
    out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    out.extend_from_slice(meta);
    if piece.is_empty() {
        return out;
    }
    let compressed = (piece.len() >= COMPRESS_MIN_BYTES).then(|| compress(piece)).flatten();
    match compressed {
        Some(bytes) if bytes.len() < piece.len() => {
            out.push(1);
            out.extend_from_slice(&bytes);
        }
        _ => {
            out.push(0);
            out.extend_from_slice(piece);
        }
    }
    out
}

/// Puts `meta` before a piece that is packed already.
pub fn join(meta: &[u8], packed: &[u8]) -> Vec<u8> {
    [&(meta.len() as u32).to_le_bytes()[..], meta, packed].concat()
}

/// Splits a frame body into meta and the piece as packed.
pub fn split(body: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "frame body without room for its meta");
    let (len, rest) = body.split_first_chunk::<4>().ok_or_else(bad)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > META_MAX_BYTES || len > rest.len() {
        return Err(bad());
    }
    Ok(rest.split_at(len))
}

/// The bytes of a packed piece. Bounded: no piece unpacks to more than [`PIECE_MAX_BYTES`].
pub fn unpack(piece: &[u8]) -> io::Result<Vec<u8>> {
    match piece.split_first() {
        None => Ok(Vec::new()),
        Some((0, bytes)) if bytes.len() <= PIECE_MAX_BYTES => Ok(bytes.to_vec()),
        Some((0, _)) => Err(io::Error::new(io::ErrorKind::InvalidData, "piece over the size limit")),
        Some((1, frame)) => zstd::bulk::decompress(frame, PIECE_MAX_BYTES),
        Some((other, _)) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("unknown piece form {other}")))
        }
    }
}

fn compress(piece: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        slot.as_mut()?.compress(piece).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_unpacks(meta: Vec<u8>, piece: Vec<u8>, repeat in 1usize..40) {
            let piece = piece.repeat(repeat);
            let body = pack(&meta, &piece);
            let (found, packed) = split(&body).unwrap();
            prop_assert_eq!(found, &meta[..]);
            prop_assert_eq!(unpack(packed).unwrap(), piece);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok((_, piece)) = split(&bytes) {
                let _ = unpack(piece);
            }
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; PIECE_MAX_BYTES + 1], 1).unwrap();
        assert!(unpack(&[&[1][..], &bomb].concat()).is_err());
        assert!(unpack(&vec![0; PIECE_MAX_BYTES + 2]).is_err());
    }
}
