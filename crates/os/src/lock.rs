//! One writer for a directory, and telling from outside whether there is one.
//!
//! The lock is `flock(2)` on the directory itself: it leaves no file behind, cannot go stale, and is
//! gone with the process that held it, however that process ended.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How often the list of locks is read before one is said not to be there.
const LOOKS: usize = 4;

/// Holds a directory for one writer until dropped.
#[derive(Debug)]
pub struct DirLock {
    held: File,
}

impl Drop for DirLock {
    /// Not left to the closing of the file: a child between `fork` and `exec` has it open as well.
    fn drop(&mut self) {
        let _ = self.held.unlock();
    }
}

impl DirLock {
    /// Takes the directory, or answers `None` when another process holds it.
    pub fn try_acquire(dir: &Path) -> io::Result<Option<Self>> {
        let held = File::open(dir)?;
        match held.try_lock() {
            Ok(()) => Ok(Some(Self { held })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Whether some process holds `dir`, found without taking any lock: Linux lists every lock in
/// `/proc/locks` by device and inode. `None` where that list cannot be read.
pub fn is_held(dir: &Path) -> Option<bool> {
    let meta = std::fs::metadata(dir).ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    // The list is given out in pieces while locks come and go: one that is held all the time can be missed.
    for _ in 0..LOOKS {
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        if locks.lines().any(|line| line.contains("FLOCK") && line.split(' ').any(|word| word == wanted)) {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_writer_is_refused_and_the_first_is_visible() {
        let dir = std::env::temp_dir().join(format!("indelible-lock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(is_held(&dir), Some(false));
        let first = DirLock::try_acquire(&dir).unwrap().expect("free");
        assert!(DirLock::try_acquire(&dir).unwrap().is_none());
        assert_eq!(is_held(&dir), Some(true));
        let of_a_child = first.held.try_clone().unwrap();
        drop(first);
        assert!(DirLock::try_acquire(&dir).unwrap().is_some());
        drop(of_a_child);
        std::fs::remove_dir(&dir).unwrap();
    }
}
