//! A file whose bytes are held against their hashes when they are read.
//!
//! The first read from a block reads and hashes all of it; later ones trust the machine to give the same bytes
//! again, for a quarter of an hour at most and as long as the file is the same and was not changed ([`State`]).
//! Whoever opens the same file again may go on with what was checked ([`Checks`]).

use crate::manifest::{BLOCK_BYTES, FileFacts};
use crate::{ReadAt, State};
use bytes::{Bytes, BytesMut};
use indelible_ledger::Hash;
use sha2::{Digest, Sha256};
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a check holds: bytes may rot, and be read from the disk again.
const HOLDS_FOR: Duration = Duration::from_secs(15 * 60);

/// A file and what its bytes must be.
pub struct Verified {
    name: String,
    file: Arc<dyn ReadAt>,
    blocks: Vec<Hash>,
    checks: Arc<Checks>,
}

/// Which blocks of a file were held against their hashes, and what the file was then.
#[derive(Default)]
pub struct Checks(Mutex<Checked>);

struct Checked {
    state: State,
    /// When the first of them was checked.
    since: Option<Instant>,
    /// One bit for each block.
    blocks: Vec<u64>,
}

impl Default for Checked {
    fn default() -> Self {
        Self { state: State::Unknown, since: None, blocks: Vec::new() }
    }
}

impl Checked {
    fn holds(&self) -> bool {
        self.state != State::Unknown && self.since.is_some_and(|since| since.elapsed() < HOLDS_FOR)
    }
}

impl Checks {
    /// Whether all of these were checked, not too long ago. What they were checked in is answered for, once they are read.
    fn cover(&self, mut blocks: RangeInclusive<usize>) -> Option<State> {
        let checked = self.lock();
        let has =
            |block: usize| checked.blocks.get(block / 64).is_some_and(|bits| bits & (1 << (block % 64)) != 0);
        (checked.holds() && blocks.all(has)).then_some(checked.state)
    }

    /// Notes a block that came from there.
    fn add(&self, block: usize, state: State) {
        if state == State::Unknown {
            return;
        }
        let mut checked = self.lock();
        if checked.state != state || !checked.holds() {
            *checked = Checked { state, since: Some(Instant::now()), blocks: Vec::new() };
        }
        if checked.blocks.len() <= block / 64 {
            checked.blocks.resize(block / 64 + 1, 0);
        }
        checked.blocks[block / 64] |= 1 << (block % 64);
    }

    fn lock(&self) -> MutexGuard<'_, Checked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verified {
    /// Holds `file` against `facts`. Another length is noticed here, other bytes when they are read.
    pub fn new(name: &str, file: Arc<dyn ReadAt>, facts: &FileFacts) -> io::Result<Self> {
        Self::knowing(name, file, facts, Arc::default())
    }

    /// The same, of a file of which parts were checked before.
    pub fn knowing(
        name: &str,
        file: Arc<dyn ReadAt>,
        facts: &FileFacts,
        checks: Arc<Checks>,
    ) -> io::Result<Self> {
        if file.size() != facts.bytes {
            let what = format!("{name} has {} bytes, but was written with {}", file.size(), facts.bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self { name: name.to_owned(), file, blocks: facts.blocks.clone(), checks })
    }

    /// Hashes a block and hands it back.
    fn check(&self, block: usize) -> io::Result<Bytes> {
        let start = block as u64 * BLOCK_BYTES as u64;
        let len = (self.file.size() - start).min(BLOCK_BYTES as u64) as usize;
        let (bytes, state) = self.file.read_of(start, len)?;
        if Hash(Sha256::digest(&bytes).into()) != self.blocks[block] {
            let what =
                format!("{}: the {len} bytes from {start} on are not the ones that were written", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.checks.add(block, state);
        Ok(bytes)
    }
}

impl ReadAt for Verified {
    fn size(&self) -> u64 {
        self.file.size()
    }

    /// What it hands out was checked.
    fn read_of(&self, offset: u64, len: usize) -> io::Result<(Bytes, State)> {
        self.read(offset, len).map(|bytes| (bytes, State::Fixed))
    }
}

impl Verified {
    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.size());
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        let (first, last) =
            ((offset / BLOCK_BYTES as u64) as usize, ((end - 1) / BLOCK_BYTES as u64) as usize);
        if let Some(checked) = self.checks.cover(first..=last) {
            let (bytes, state) = self.file.read_of(offset, len)?;
            if state == checked {
                return Ok(bytes);
            }
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
    use indelible_os::durable;

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

    /// Longer than what a change must be ago to be trusted.
    fn settle() {
        std::thread::sleep(Duration::from_millis(80));
    }

    #[test]
    fn what_was_checked_holds_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes = vec![7; BLOCK_BYTES + 5];
        std::fs::write(&path, &bytes).unwrap();
        let mut hasher = FileHasher::default();
        hasher.update(&bytes);
        let facts = hasher.finish();
        let checks: Arc<Checks> = Arc::default();
        let open = || {
            let file = Arc::new(crate::LocalFile::open(&path).unwrap());
            Verified::knowing("f", file, &facts, checks.clone()).unwrap()
        };
        let blocks = || checks.lock().blocks.clone();
        assert!(open().read_at(3, 1).is_ok());
        assert_eq!(
            blocks(),
            [0; 0],
            "a file that was written a moment ago may be written once more unnoticed"
        );
        settle();
        assert!(open().read_at(3, 1).is_ok());
        assert_eq!(blocks(), [0b1]);
        assert!(open().read_at(BLOCK_BYTES as u64 - 1, 2).is_ok());
        assert_eq!(blocks(), [0b11], "they are known to whoever opens it next");
        let first = open();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"x", 9).unwrap();
        settle();
        for whole in [first, open()] {
            assert!(whole.read_at(9, 1).is_err(), "a block that was checked is checked again");
            assert!(whole.read_at(BLOCK_BYTES as u64, 1).is_ok(), "the other one is what it was");
        }
        assert_eq!(blocks(), [0b10]);
    }

    #[test]
    fn another_file_in_its_place_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad, here) = (dir.path().join("good"), dir.path().join("bad"), dir.path().join("here"));
        let mut hasher = FileHasher::default();
        hasher.update(b"what was written");
        let facts = hasher.finish();
        for (place, bytes) in [(&good, b"what was written"), (&bad, b"what was changed")] {
            std::fs::create_dir(place).unwrap();
            std::fs::write(place.join("f"), bytes).unwrap();
        }
        settle();
        let checks: Arc<Checks> = Arc::default();
        // The directory takes the place of another: the files in it have the times that they had.
        let read_from = |place: &std::path::Path| {
            durable::publish_dir(place, &here).unwrap();
            let file = Arc::new(crate::LocalFile::open(&here.join("f")).unwrap());
            durable::publish_dir(&here, place).unwrap();
            Verified::knowing("f", file, &facts, checks.clone()).unwrap().read_at(0, 16)
        };
        for _ in 0..2 {
            assert_eq!(&read_from(&good).unwrap()[..], b"what was written");
            assert!(read_from(&bad).is_err());
        }
    }

    #[test]
    fn a_check_does_not_hold_for_ever() {
        let checks = Checks::default();
        checks.add(3, State::Fixed);
        assert!(checks.cover(3..=3).is_some() && checks.cover(2..=3).is_none());
        checks.lock().since = Instant::now().checked_sub(HOLDS_FOR);
        assert!(checks.cover(3..=3).is_none());
        checks.add(2, State::Fixed);
        assert!(checks.cover(2..=2).is_some() && checks.cover(3..=3).is_none());
        checks.add(4, State::Unknown);
        assert!(checks.cover(4..=4).is_none(), "where others may be the next time, each read is checked");
    }
}
