//! Segments in a directory of this machine.
//!
//! ```text
//! DIR/segments/tenant=T/date=D/FIRST/     segments
//! DIR/segments/staging/…                  what a crash left of one that was being made; removed at start
//! ```

use super::Storage;
use bytes::Bytes;
use indelible_os::durable;
use indelible_segment::manifest::MANIFEST;
use indelible_segment::{LocalFile, ReadAt, State};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of segments.
#[derive(Clone, Debug)]
pub struct LocalStorage {
    root: PathBuf,
}

impl LocalStorage {
    /// Opens `root`, making it when it is not there, and removes what was being made when the process ended.
    pub fn open_or_create(root: &Path) -> io::Result<Self> {
        durable::make_dir(root)?;
        durable::remove_dir(&staging(root))?;
        Ok(Self { root: root.to_owned() })
    }

    /// Opens `root` for reading alone; it need not be there.
    pub fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

/// Where segments are made.
pub fn staging(root: &Path) -> PathBuf {
    root.join("staging")
}

impl Storage for LocalStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for tenant in names(&self.root, "tenant=")? {
            for date in names(&self.root.join(&tenant), "date=")? {
                for segment in names(&self.root.join(&tenant).join(&date), "")? {
                    found.push(format!("{tenant}/{date}/{segment}"));
                }
            }
        }
        Ok(found)
    }

    fn open(&self, segment: &str, file: &str) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(PathFile::new(self.root.join(segment).join(file))?))
    }

    fn publish(&self, staged: &Path, segment: &str) -> io::Result<()> {
        debug_assert!(staged.join(MANIFEST).exists());
        durable::publish_dir(staged, &self.root.join(segment))
    }
}

/// A file that is opened for each read: a store has more files than a process may have open.
pub(super) struct PathFile {
    path: PathBuf,
    size: u64,
}

impl PathFile {
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let size = std::fs::metadata(&path)?.len();
        Ok(Self { path, size })
    }
}

impl ReadAt for PathFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_of(&self, offset: u64, len: usize) -> io::Result<(Bytes, State)> {
        LocalFile::open(&self.path)?.read_of(offset, len)
    }
}

/// Names of the directories in `path` that begin with `prefix`, in order.
fn names(path: &Path, prefix: &str) -> io::Result<Vec<String>> {
    let listing = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) && entry.file_type()?.is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
