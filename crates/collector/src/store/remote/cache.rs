//! Blocks of remote segments that were read, kept on this machine within a bound.
//!
//! ```text
//! DIR/cache/segments/HH/HASH      the bytes of a block, and behind them a CRC-32C of each 4 KiB of it
//! ```
//!
//! A block is named after its hash, and nothing is handed out that was not held against it: all of it when it is
//! fetched and when it is read first after a start, and from then on by the checksums of what is read. A block that is
//! not what its name says is dropped and fetched again. What was used longest ago goes first.

use bytes::Bytes;
use indelible_ledger::Hash;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

const PAGE_BYTES: usize = 4096;
const CRC_BYTES: usize = 4;

/// Blocks on disk.
pub(super) struct BlockCache {
    dir: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
    fetched: Condvar,
}

#[derive(Default)]
struct State {
    blocks: HashMap<Hash, Block>,
    /// By when they were used last.
    order: BTreeMap<u64, Hash>,
    uses: u64,
    bytes: u64,
    fetching: HashSet<Hash>,
}

struct Block {
    /// With the checksums.
    file_bytes: u64,
    used: u64,
    /// Whether all of it was held against its hash since the start.
    checked: bool,
}

impl BlockCache {
    /// Finds what is there, and brings it within the bound.
    pub(super) fn open(dir: &Path, limit_bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut found = Vec::new();
        for group in std::fs::read_dir(dir)?.flatten().filter(|entry| entry.path().is_dir()) {
            for entry in std::fs::read_dir(group.path())?.flatten() {
                let (Ok(meta), name) = (entry.metadata(), entry.file_name()) else { continue };
                match name.to_string_lossy().parse::<Hash>() {
                    Ok(hash) => found.push(((meta.mtime(), meta.mtime_nsec()), hash, meta.len())),
                    // Nothing else belongs here; best effort, as all of this.
                    Err(_) => drop(std::fs::remove_file(entry.path())),
                }
            }
        }
        found.sort_by_key(|(when, hash, _)| (*when, hash.0));
        let this =
            Self { dir: dir.to_owned(), limit_bytes, state: Mutex::default(), fetched: Condvar::new() };
        for (_, hash, file_bytes) in found {
            this.enter(hash, file_bytes, false);
        }
        this.make_room(0);
        Ok(this)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// A span of the block with this hash and length, from here or from `fetch`.
    pub(super) fn read(
        &self,
        hash: Hash,
        len: usize,
        span: Range<usize>,
        fetch: impl FnOnce() -> io::Result<Bytes>,
    ) -> io::Result<Bytes> {
        loop {
            let mut state = self.lock();
            if let Some(checked) = state.touch(&hash) {
                drop(state);
                match self.read_here(hash, len, span.clone(), checked) {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => {
                        tracing::debug!(%hash, %error, "a cached block is dropped");
                        self.forget(&hash);
                        continue;
                    }
                }
            }
            if state.fetching.insert(hash) {
                break;
            }
            // Whoever fetches it has limits of its own.
            drop(self.fetched.wait(state).unwrap_or_else(PoisonError::into_inner));
        }
        let _fetching = Fetching { cache: self, hash };
        let bytes = fetch()?;
        if bytes.len() != len || Hash(Sha256::digest(&bytes).into()) != hash {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "are not the ones that were sealed"));
        }
        if let Err(error) = self.keep(hash, &bytes) {
            tracing::debug!(%hash, %error, "a block cannot be cached");
        }
        Ok(bytes.slice(span))
    }

    fn read_here(&self, hash: Hash, len: usize, span: Range<usize>, checked: bool) -> io::Result<Bytes> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let file = File::open(self.path(&hash))?;
        if !checked {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, 0)?;
            let mut sums = vec![0; file_bytes(len) as usize - len];
            file.read_exact_at(&mut sums, len as u64)?;
            if Hash(Sha256::digest(&bytes).into()) != hash || sums != checksums(&bytes) {
                return Err(damaged());
            }
            if let Some(block) = self.lock().blocks.get_mut(&hash) {
                block.checked = true;
            }
            return Ok(Bytes::from(bytes).slice(span));
        }
        let (first, last) = (span.start / PAGE_BYTES, span.end.div_ceil(PAGE_BYTES));
        let pages = first * PAGE_BYTES..(last * PAGE_BYTES).min(len);
        let mut bytes = vec![0; pages.len()];
        file.read_exact_at(&mut bytes, pages.start as u64)?;
        let mut sums = vec![0; (last - first) * CRC_BYTES];
        file.read_exact_at(&mut sums, (len + first * CRC_BYTES) as u64)?;
        if sums != checksums(&bytes) {
            return Err(damaged());
        }
        Ok(Bytes::from(bytes).slice(span.start - pages.start..span.end - pages.start))
    }

    fn keep(&self, hash: Hash, bytes: &[u8]) -> io::Result<()> {
        let size = file_bytes(bytes.len());
        if size > self.limit_bytes {
            return Ok(());
        }
        self.make_room(size);
        let path = self.path(&hash);
        if let Some(group) = path.parent() {
            std::fs::create_dir_all(group)?;
        }
        // Neither synced nor renamed: what is torn is not what its name says.
        let mut file = bytes.to_vec();
        file.extend_from_slice(&checksums(bytes));
        let written = std::fs::write(&path, file);
        if written.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        written.map(|()| self.enter(hash, size, true))
    }

    /// Removes what was used longest ago until `bytes` more fit.
    fn make_room(&self, bytes: u64) {
        let mut state = self.lock();
        while state.bytes + bytes > self.limit_bytes {
            let Some((_, oldest)) = state.order.first_key_value().map(|(used, hash)| (*used, *hash)) else {
                break;
            };
            state.remove(&oldest);
            let _ = std::fs::remove_file(self.path(&oldest));
        }
    }

    fn enter(&self, hash: Hash, file_bytes: u64, checked: bool) {
        let mut state = self.lock();
        state.remove(&hash);
        state.uses += 1;
        let used = state.uses;
        state.blocks.insert(hash, Block { file_bytes, used, checked });
        state.order.insert(used, hash);
        state.bytes += file_bytes;
    }

    fn forget(&self, hash: &Hash) {
        self.lock().remove(hash);
        let _ = std::fs::remove_file(self.path(hash));
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        let name = hash.to_string();
        self.dir.join(&name[..2]).join(name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes a use; says whether the block was checked. `None`: it is not here.
    fn touch(&mut self, hash: &Hash) -> Option<bool> {
        let block = self.blocks.get_mut(hash)?;
        self.uses += 1;
        self.order.remove(&block.used);
        block.used = self.uses;
        self.order.insert(self.uses, *hash);
        Some(block.checked)
    }

    fn remove(&mut self, hash: &Hash) {
        if let Some(block) = self.blocks.remove(hash) {
            self.order.remove(&block.used);
            self.bytes -= block.file_bytes;
        }
    }
}

/// While it lives, others wait for the block.
struct Fetching<'a> {
    cache: &'a BlockCache,
    hash: Hash,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.cache.lock().fetching.remove(&self.hash);
        self.cache.fetched.notify_all();
    }
}

fn file_bytes(len: usize) -> u64 {
    (len + len.div_ceil(PAGE_BYTES) * CRC_BYTES) as u64
}

fn checksums(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(PAGE_BYTES).flat_map(|page| crc32c::crc32c(page).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn block(n: u8, len: usize) -> (Hash, Bytes) {
        let bytes: Vec<u8> = (0..len).map(|at| (at / 3) as u8 ^ n).collect();
        (Hash(Sha256::digest(&bytes).into()), bytes.into())
    }

    fn never() -> io::Result<Bytes> {
        panic!("this was fetched already")
    }

    #[test]
    fn the_bound_holds_and_what_was_used_last_stays() {
        let dir = tempfile::tempdir().unwrap();
        let len = 10_000;
        let limit = file_bytes(len) * 3 + 5;
        let cache = BlockCache::open(dir.path(), limit).unwrap();
        let on_disk = || -> u64 {
            let groups = std::fs::read_dir(dir.path()).unwrap().flatten();
            groups
                .flat_map(|group| std::fs::read_dir(group.path()).unwrap().flatten())
                .map(|file| file.metadata().unwrap().len())
                .sum()
        };
        let first = block(0, len);
        for n in 0..20 {
            let (hash, bytes) = block(n, len);
            assert_eq!(cache.read(hash, len, 4090..4100, || Ok(bytes.clone())).unwrap(), bytes[4090..4100]);
            cache.read(first.0, len, 0..1, never).unwrap();
            assert!(cache.bytes() <= limit && on_disk() == cache.bytes());
        }
        drop(cache);
        let cache = BlockCache::open(dir.path(), file_bytes(len)).unwrap();
        assert_eq!(
            (cache.bytes(), on_disk()),
            (file_bytes(len), file_bytes(len)),
            "a smaller bound holds, too"
        );
        let small = BlockCache::open(dir.path(), 7).unwrap();
        assert_eq!(small.read(first.0, len, 0..len, || Ok(first.1.clone())).unwrap(), first.1);
        assert_eq!(on_disk(), 0);
    }

    #[test]
    fn a_changed_block_is_fetched_again_and_never_served() {
        let dir = tempfile::tempdir().unwrap();
        let (hash, bytes) = block(7, 9_000);
        for at in [0, 4095, 8_999, 9_001, 9_011] {
            for fresh in [false, true] {
                let mut cache = BlockCache::open(dir.path(), 1 << 20).unwrap();
                cache.read(hash, 9_000, 0..1, || Ok(bytes.clone())).unwrap();
                let path = cache.path(&hash);
                let mut file = std::fs::read(&path).unwrap();
                file[at] ^= 1;
                std::fs::write(&path, file).unwrap();
                if fresh {
                    cache = BlockCache::open(dir.path(), 1 << 20).unwrap();
                }
                let fetched = Cell::new(false);
                let got = cache.read(hash, 9_000, 0..9_000, || {
                    fetched.set(true);
                    Ok(bytes.clone())
                });
                assert!(got.unwrap() == bytes && fetched.get(), "byte {at}, fresh {fresh}");
            }
        }
        let cache = BlockCache::open(dir.path(), 1 << 20).unwrap();
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!(
            cache.read(hash, 9_000, 5..6, || Ok(bytes.clone())).unwrap(),
            bytes[5..6],
            "it may be deleted"
        );
    }

    #[test]
    fn what_was_fetched_must_be_what_was_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlockCache::open(dir.path(), 1 << 20).unwrap();
        let (hash, bytes) = block(1, 5_000);
        let other = block(2, 5_000).1;
        assert!(cache.read(hash, 5_000, 0..1, || Ok(other.clone())).is_err());
        assert!(cache.read(hash, 5_000, 0..1, || Ok(bytes.slice(1..))).is_err());
        assert_eq!(cache.bytes(), 0);
        assert_eq!(cache.read(hash, 5_000, 0..1, || Ok(bytes.clone())).unwrap(), bytes[..1]);
    }
}
