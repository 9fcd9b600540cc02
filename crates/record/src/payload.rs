//! Pieces of bodies, compressed, and the framing of meta and piece in one buffer.
//!
//! ```text
//! body   = meta_len u32 (little endian) · meta · piece
//! piece  = (nothing) | 0 · bytes | 1 · len u32 (little endian) · LZ4 block of len bytes
//! ```
//!
//! A source runs beside GPUs and must not be felt, so compression here is the one that costs least, by a
//! third of what the fastest level of others takes. What is kept for years is compressed anew.

use std::cell::RefCell;
use std::io;

/// Most bytes of a body in one piece, before compression.
pub const PIECE_MAX_BYTES: usize = 1 << 20;
/// Most bytes of meta in one frame: who asks for an evidence bundle may name tens of thousands of records.
pub const META_MAX_BYTES: usize = 3 << 20;
/// Most bytes of meta that a source sends: the collector adds what an entry may not hold to it.
pub const SOURCE_META_MAX_BYTES: usize = 1 << 19;

/// Below this, compressing costs more than it saves.
const COMPRESS_MIN_BYTES: usize = 128;
/// A buffer that one large piece made is not kept for many small ones.
const SCRATCH_KEPT_BYTES: usize = 256 << 10;

/// Form and length.
const PACKED_OVERHEAD_BYTES: usize = 5;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Puts `meta` (already JSON) and a piece of at most [`PIECE_MAX_BYTES`] into one frame body.
pub fn pack(meta: &[u8], piece: &[u8]) -> Vec<u8> {
    debug_assert!(piece.len() <= PIECE_MAX_BYTES);
    let mut out = Vec::with_capacity(4 + meta.len() + PACKED_OVERHEAD_BYTES + piece.len());
    out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    out.extend_from_slice(meta);
    let compressed = piece.len() >= COMPRESS_MIN_BYTES && compress(piece, &mut out);
    if !compressed && !piece.is_empty() {
        out.push(PLAIN);
        out.extend_from_slice(piece);
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
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    match piece.split_first() {
        None => Ok(Vec::new()),
        Some((&PLAIN, bytes)) if bytes.len() <= PIECE_MAX_BYTES => Ok(bytes.to_vec()),
        Some((&PLAIN, _)) => Err(bad("piece over the size limit".to_owned())),
        Some((&LZ4, packed)) => {
            let (len, block) =
                packed.split_first_chunk::<4>().ok_or_else(|| bad("piece without its length".to_owned()))?;
            let len = u32::from_le_bytes(*len) as usize;
            if len > PIECE_MAX_BYTES {
                return Err(bad("piece over the size limit".to_owned()));
            }
            let mut bytes = vec![0; len];
            match lz4_flex::block::decompress_into(block, &mut bytes) {
                Ok(unpacked) if unpacked == len => Ok(bytes),
                Ok(unpacked) => Err(bad(format!("piece of {unpacked} bytes, not of {len}"))),
                Err(error) => Err(bad(format!("piece: {error}"))),
            }
        }
        Some((other, _)) => Err(bad(format!("unknown piece form {other}"))),
    }
}

/// Appends the packed piece to `out`; `false` where it would not be smaller, and then nothing is.
fn compress(piece: &[u8], out: &mut Vec<u8>) -> bool {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(scratch.len().max(lz4_flex::block::get_maximum_output_size(piece.len())), 0);
        let packed = lz4_flex::block::compress_into(piece, scratch).ok();
        let smaller = packed.filter(|packed| packed + 4 < piece.len());
        if let Some(packed) = smaller {
            out.push(LZ4);
            out.extend_from_slice(&(piece.len() as u32).to_le_bytes());
            out.extend_from_slice(&scratch[..packed]);
        }
        if scratch.len() > SCRATCH_KEPT_BYTES {
            *scratch = Vec::new();
        }
        smaller.is_some()
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
        let zeros = vec![0; PIECE_MAX_BYTES + 1];
        let block = lz4_flex::block::compress(&zeros);
        let packed = |len: usize| [&[LZ4][..], &(len as u32).to_le_bytes(), &block].concat();
        assert!(unpack(&packed(zeros.len())).is_err(), "over the limit");
        assert!(unpack(&packed(100)).is_err(), "more than it says");
        assert!(unpack(&[&[PLAIN][..], &zeros].concat()).is_err());
    }
}
