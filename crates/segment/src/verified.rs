//! A file whose bytes are held against their hashes when they are read.
//!
//! The first read from a block reads and hashes all of it; later ones trust the machine to give the same bytes
//! again. So what is served was checked since the file was opened, at a cost that does not grow with use.

use crate::ReadAt;
use crate::manifest::{BLOCK_BYTES, FileFacts};
use bytes::{Bytes, BytesMut};
use indelible_ledger::Hash;
use sha2::{Digest, Sha256};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file and what its bytes must be.
pub struct Verified {
    name: String,
    file: Arc<dyn ReadAt>,
    blocks: Vec<Hash>,
    /// One bit for each block that was checked.
    checked: Vec<AtomicU64>,
}

impl Verified {
    /// Holds `file` against `facts`. Another length is noticed here, other bytes when they are read.
    pub fn new(name: &str, file: Arc<dyn ReadAt>, facts: &FileFacts) -> io::Result<Self> {
        if file.size() != facts.bytes {
            let what = format!("{name} has {} bytes, but was written with {}", file.size(), facts.bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let checked = (0..facts.blocks.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { name: name.to_owned(), file, blocks: facts.blocks.clone(), checked })
    }

    /// Hashes a block and hands it back.
    fn check(&self, block: usize) -> io::Result<Bytes> {
        let start = block as u64 * BLOCK_BYTES as u64;
        let len = (self.file.size() - start).min(BLOCK_BYTES as u64) as usize;
        let bytes = self.file.read_at(start, len)?;
        if Hash(Sha256::digest(&bytes).into()) != self.blocks[block] {
            let what =
                format!("{}: the {len} bytes from {start} on are not the ones that were written", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.checked[block / 64].fetch_or(1 << (block % 64), Ordering::Relaxed);
        Ok(bytes)
    }

    fn is_checked(&self, block: usize) -> bool {
        self.checked[block / 64].load(Ordering::Relaxed) & (1 << (block % 64)) != 0
    }
}

impl ReadAt for Verified {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.size());
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        let (first, last) =
            ((offset / BLOCK_BYTES as u64) as usize, ((end - 1) / BLOCK_BYTES as u64) as usize);
        if (first..=last).all(|block| self.is_checked(block)) {
            return self.file.read_at(offset, len);
        }
        let within = |block: usize, bytes: Bytes| {
            let start = block as u64 * BLOCK_BYTES as u64;
            let from = offset.saturating_sub(start) as usize;
            let to = (end - start).min(bytes.len() as u64) as usize;
            bytes.slice(from..to)
        };
        if first == last {
            return Ok(within(first, self.check(first)?));
        }
        let mut out = BytesMut::with_capacity(len);
        for block in first..=last {
            out.extend_from_slice(&within(block, self.check(block)?));
        }
        Ok(out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FileHasher;

    #[test]
    fn changed_bytes_are_never_handed_out() {
        let bytes: Vec<u8> = (0..BLOCK_BYTES * 2 + 77).map(|n| (n * 7 / 3) as u8).collect();
        let mut hasher = FileHasher::default();
        bytes.chunks(10_007).for_each(|chunk| hasher.update(chunk));
        let facts = hasher.finish();
        let whole = Verified::new("f", Arc::new(Bytes::from(bytes.clone())), &facts).unwrap();
        for (at, len) in
            [(0, 10), (BLOCK_BYTES - 3, 7), (5, BLOCK_BYTES * 2), (BLOCK_BYTES * 2 + 76, 1), (3, 0)]
        {
            for _ in 0..2 {
                assert_eq!(whole.read_at(at as u64, len).unwrap(), bytes[at..at + len]);
            }
        }
        assert!(whole.read_at(BLOCK_BYTES as u64 * 2, 78).is_err());
        let mut changed = bytes.clone();
        changed[BLOCK_BYTES + 9] ^= 1;
        let changed = Verified::new("f", Arc::new(Bytes::from(changed)), &facts).unwrap();
        assert!(changed.read_at(0, 10).is_ok());
        assert!(changed.read_at(BLOCK_BYTES as u64, 1).is_err());
        assert!(changed.read_at(BLOCK_BYTES as u64, 1).is_err(), "and not the second time either");
        assert!(Verified::new("f", Arc::new(Bytes::from(bytes[1..].to_vec())), &facts).is_err());
    }
}
