//! A directory in memory that can lose power, run full and fail to sync.
//!
//! It keeps two images of every file: what a reader of the running machine sees, and what the medium
//! holds. [`SimDir::power_cut`] keeps all that was synced and, of the rest, whichever 512-byte sectors
//! the caller's chooser picks: exactly what a real disk may do with writes nobody waited for. Crash
//! tests of the spool and the WAL are built on it.

use crate::durable::{Dir, LogFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit in which unsynced bytes survive a power cut or do not.
pub const SECTOR_BYTES: usize = 512;

/// A simulated directory. Clones share the same files.
#[derive(Clone, Default)]
pub struct SimDir {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Images>>>,
    /// Bytes that may still be allocated; `None` is an endless disk.
    space_left: Option<u64>,
    sync_fails: bool,
    /// Changes that the process still gets to make before it is killed.
    fuse: Option<u64>,
    /// Changes that work before one fails.
    fault: Option<u64>,
}

#[derive(Clone, Default)]
struct Images {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

impl SimDir {
    /// An empty directory on an endless, faultless disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets only `bytes` more be allocated.
    pub fn set_space_left(&self, bytes: Option<u64>) {
        lock(&self.state).space_left = bytes;
    }

    /// Makes every later sync fail (or work again).
    pub fn set_sync_fails(&self, fails: bool) {
        lock(&self.state).sync_fails = fails;
    }

    /// Kills the process after `changes` more changes: every later one fails and changes nothing.
    pub fn set_fuse(&self, changes: Option<u64>) {
        lock(&self.state).fuse = changes;
    }

    /// Makes one change fail, after `changes` that work; those behind it work again.
    pub fn set_fault(&self, changes: Option<u64>) {
        lock(&self.state).fault = changes;
    }

    /// Whether the change that [`SimDir::set_fault`] asked for has failed, or none was asked for.
    pub fn fault_is_over(&self) -> bool {
        lock(&self.state).fault.is_none()
    }

    /// The directory as the machine finds it after losing power now. `survives(file, sector)` decides
    /// for each sector that differs from its last synced state whether the newer bytes reached the medium.
    pub fn power_cut(&self, mut survives: impl FnMut(&str, usize) -> bool) -> Self {
        let after = Self::new();
        for (name, images) in &lock(&self.state).files {
            let images = lock(images);
            let mut kept = images.durable.clone();
            // The length is metadata: allocation journals it with the file, so it is taken as seen.
            kept.resize(images.seen.len(), 0);
            for (sector, (old, new)) in
                kept.chunks_mut(SECTOR_BYTES).zip(images.seen.chunks(SECTOR_BYTES)).enumerate()
            {
                if old != new && survives(name, sector) {
                    old.copy_from_slice(new);
                }
            }
            let images = Images { seen: kept.clone(), durable: kept };
            lock(&after.state).files.insert(name.clone(), Arc::new(Mutex::new(images)));
        }
        after
    }

    /// The bytes of a file as a running reader sees them.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        lock(&self.state).files.get(name).map(|images| lock(images).seen.clone())
    }

    /// Puts bytes into a file on the medium itself, as bit rot or an attacker would.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(images) = lock(&self.state).files.get(name) {
            let mut images = lock(images);
            change(&mut images.seen);
            images.durable = images.seen.clone();
        }
    }
}

impl State {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.fault {
            Some(0) => {
                self.fault = None;
                return Err(io::Error::other("simulated fault"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("simulated kill")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Dir for SimDir {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.state).files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut state = lock(&self.state);
        state.spend()?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(name.to_owned(), Arc::default());
        drop(state);
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let images = lock(&self.state).files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { images, state: self.state.clone() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.spend()?;
        state.files.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

struct SimFile {
    images: Arc<Mutex<Images>>,
    state: Arc<Mutex<State>>,
}

impl LogFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.images).seen.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let images = lock(&self.images);
        let from = images.seen.len().min(offset as usize);
        let count = buf.len().min(images.seen.len() - from);
        buf[..count].copy_from_slice(&images.seen[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        lock(&self.state).spend()?;
        let mut images = lock(&self.images);
        let end = offset as usize + bytes.len();
        if images.seen.len() < end {
            images.seen.resize(end, 0);
        }
        images.seen[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.spend()?;
        let mut images = lock(&self.images);
        let more = len.saturating_sub(images.seen.len() as u64);
        if let Some(left) = &mut state.space_left {
            if *left < more {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *left -= more;
        }
        let len = images.seen.len().max(len as usize);
        images.seen.resize(len, 0);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        lock(&self.state).spend()?;
        let mut images = lock(&self.images);
        images.seen.truncate(len as usize);
        images.durable = images.seen.clone();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        lock(&self.state).spend()?;
        if lock(&self.state).sync_fails {
            return Err(io::Error::other("simulated fdatasync failure"));
        }
        let mut images = lock(&self.images);
        images.durable = images.seen.clone();
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
