//! Durable writes: the one module that may call `fsync`, `rename`, `fallocate` and `unlink`.
//!
//! Three shapes are enough for the whole product.
//!
//! A **small file that changes whole** ([`replace`], [`create`]). The system calls, in order:
//!
//! ```text
//! openat(dir, ".NAME.tmp", O_CREAT|O_EXCL|O_WRONLY, mode)
//! write · fsync(file) · renameat(".NAME.tmp", "NAME") · fsync(dir)
//! ```
//!
//! When `replace` returns `Ok`, the new bytes survive power loss. When it returns an error, either the
//! old or the new bytes are there: the caller must treat the outcome as unknown.
//!
//! A **log file that only grows** ([`Dir`], [`LogFile`]). Space is allocated ahead in steps, so that a
//! full disk is met before a frame is half written, and so that `fdatasync` need not update the file's
//! length. A failed [`LogFile::sync`] must never be retried: the kernel may have dropped the dirty
//! pages and a second call would report success. The caller has to stop.
//!
//! A **directory that appears whole** ([`create_file`], [`publish_dir`]). Its files are written and synced under
//! another name, then:
//!
//! ```text
//! fsync(staged) · mkdir and fsync of each parent that is new · renameat(staged, target) · fsync(parent of target)
//! ```
//!
//! A crash leaves the staged directory, which nobody reads, or the whole one.

#![allow(clippy::disallowed_methods)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Permission bits of files that hold secrets.
pub const MODE_SECRET: u32 = 0o600;
/// Permission bits of other files.
pub const MODE_SHARED: u32 = 0o640;

/// Told of each file and directory that was synced.
type Watcher = Box<dyn Fn(&File) + Send + Sync>;

static WATCHER: OnceLock<Watcher> = OnceLock::new();

/// Calls `watcher` with each file and directory that this process has synced from now on, before the caller is told: a
/// test learns from it what a power cut would leave. The first one stays.
pub fn watch(watcher: impl Fn(&File) + Send + Sync + 'static) {
    let _ = WATCHER.set(Box::new(watcher));
}

fn tell(file: &File) {
    if let Some(watcher) = WATCHER.get() {
        watcher(file);
    }
}

/// A directory of log files. Creation and removal are durable once they return.
pub trait Dir: Send + Sync + 'static {
    /// Names in the directory that are regular files, in byte order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a new, empty file; an existing one is an error.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Opens a file for reading and for cutting its tail.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file that is written front to back.
pub trait LogFile: Send + Sync + 'static {
    /// Length in bytes, allocated space included.
    fn len(&self) -> io::Result<u64>;
    /// Fills as much of `buf` as the file has from `offset` on, and says how much that was.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`. Survives the process at once, the machine only after [`LogFile::sync`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file at least `len` bytes long with zeros and reserves the space.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts the file to `len` bytes, durably.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// `fdatasync`: everything written before this call survives power loss. Never retry it.
    fn sync(&self) -> io::Result<()>;
    /// Whether the file has no bytes at all.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A real directory.
#[derive(Clone, Debug)]
pub struct FsDir {
    path: PathBuf,
}

impl FsDir {
    /// Opens `path`, creating it (mode 0700) when it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_dir(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Opens `path` without creating or writing anything.
    pub fn existing(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Dir for FsDir {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(MODE_SHARED)
            .open(self.path.join(name))?;
        sync_dir(&self.path)?;
        Ok(Arc::new(FsFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let path = self.path.join(name);
        // A verifier may only be allowed to read; cutting a tail then fails, as it should.
        let file = OpenOptions::new().read(true).write(true).open(&path).or_else(|_| File::open(&path))?;
        Ok(Arc::new(FsFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        remove(&self.path.join(name))
    }
}

struct FsFile(File);

impl LogFile for FsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.0.read_at(&mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let at = self.0.metadata()?.len();
        if at >= len {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), at, len - at) {
            // Some file systems cannot reserve space; a longer file of zeros is all that is needed.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.0.set_len(len),
            other => Ok(other?),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        sync_all(&self.0)
    }

    fn sync(&self) -> io::Result<()> {
        sync_file(&self.0)
    }
}

/// Writes `bytes` as the whole of `path`, replacing what was there in one step.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temp = write_temp(path, bytes, mode)?;
    std::fs::rename(&temp, path)?;
    sync_dir(parent(path))
}

/// Like [`replace`], but an existing file is an error and stays as it is.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temp = write_temp(path, bytes, mode)?;
    let linked = std::fs::hard_link(&temp, path);
    std::fs::remove_file(&temp)?;
    linked?;
    sync_dir(parent(path))
}

/// Overwrites a span of an existing file in place and waits for the disk. For slots that must leave no
/// older copy behind, such as destroyed keys.
pub fn overwrite(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    sync_all(file)
}

/// Waits until everything written to `file` survives power loss. Never retry it after an error.
pub fn sync_file(file: &File) -> io::Result<()> {
    file.sync_data()?;
    tell(file);
    Ok(())
}

fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()?;
    tell(file);
    Ok(())
}

/// Removes a file, durably.
pub fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    sync_dir(parent(path))
}

/// Makes a directory and its parents, readable by the owner alone, durably. An existing one is left as it is.
pub fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if path.parent().is_some_and(|above| !above.as_os_str().is_empty()) {
        make_dir(parent(path))?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(parent(path))
}

/// Makes a new file for a staged directory. It survives power loss after [`sync_file`] and [`publish_dir`].
pub fn create_file(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

/// Gives a staged directory, whose files are synced, its place. A directory that is there already is an error, and
/// stays as it is.
pub fn publish_dir(staged: &Path, target: &Path) -> io::Result<()> {
    sync_dir(staged)?;
    make_dir(parent(target))?;
    if target.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(staged, target)?;
    sync_dir(parent(target))
}

/// Gives a staged file, which is synced, its place; what was there is replaced in one step.
pub fn publish_file(staged: &Path, target: &Path) -> io::Result<()> {
    std::fs::rename(staged, target)?;
    sync_dir(parent(target))
}

/// Removes a directory and what is in it, which nobody needs.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_dir(parent(path)),
    }
}

/// Waits until the names in a directory survive power loss.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    sync_all(&File::open(path)?)
}

fn write_temp(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let temp = path.with_file_name(format!(".{name}.tmp"));
    match std::fs::remove_file(&temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temp)?;
    file.write_all(bytes)?;
    sync_all(&file)?;
    Ok(temp)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
