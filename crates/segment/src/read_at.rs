//! Reading spans of a file of a segment, wherever it lies: a directory, an object store, memory.

use bytes::Bytes;
use indelible_os::clock::{self, Utc};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// How often a file that is being changed is read again.
const READS_MAX: usize = 3;
/// How long ago a file must have been changed last: the kernel's clock of changes may tick only every few
/// milliseconds, and it is set before a write is done.
const SETTLED_AFTER_US: i64 = if cfg!(test) { 50_000 } else { 2_000_000 };

/// A file that never changes. Reads may block.
pub trait ReadAt: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// Exactly the bytes from `offset` to `offset + len`, and what the file is that they came from; fewer is an
    /// error, and so are bytes that are not the ones that were written, where the reader can tell.
    ///
    /// The second is for who checked bytes of it once and does not want to again.
    fn read_of(&self, offset: u64, len: usize) -> io::Result<(Bytes, State)>;

    /// The bytes alone.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.read_of(offset, len).map(|(bytes, _)| bytes)
    }
}

/// What is known of the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They are in memory, or whoever read them has checked them: it reads the same ones again.
    Fixed,
    /// They came from this file.
    File(FileState),
    /// Others may be there the next time.
    Unknown,
}

/// What an open file is. Another one has another, and so has the same one once it was written to, renamed or given
/// another owner: the kernel sets the time of a change, and no call sets it otherwise. What is written through a mapping of
/// the file into memory, or past the file system, may leave it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileState {
    /// Whether its last change is long enough ago for the next one to have another time.
    fn is_settled(&self, now: Utc) -> bool {
        let changed_us = self.changed.0.saturating_mul(1_000_000).saturating_add(self.changed.1 / 1_000);
        now.0.saturating_sub(changed_us) >= SETTLED_AFTER_US
    }
}

impl From<&Metadata> for FileState {
    fn from(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_of(&self, offset: u64, len: usize) -> io::Result<(Bytes, State)> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(len).filter(|end| *end <= self.len());
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok((self.slice(start..end), State::Fixed))
    }
}

/// A file on this machine.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    size: u64,
}

impl LocalFile {
    /// Opens a file for reading.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ReadAt for LocalFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_of(&self, offset: u64, len: usize) -> io::Result<(Bytes, State)> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut before = FileState::from(&self.file.metadata()?);
        for _ in 0..READS_MAX {
            // Now, and not when it was read: reading may take any time.
            let settled = before.is_settled(clock::now());
            let mut bytes = vec![0; len];
            self.file.read_exact_at(&mut bytes, offset)?;
            let after = FileState::from(&self.file.metadata()?);
            if before == after {
                return Ok((bytes.into(), if settled { State::File(after) } else { State::Unknown }));
            }
            before = after;
        }
        Err(io::Error::other("the file is being changed while it is read"))
    }
}
