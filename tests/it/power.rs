//! What a power cut would leave: of each file what it had when it was last synced, and of each directory the names that
//! it had then. A kernel may write more of it; a program may count on no more.

use crate::common::*;
use indelible_os::durable;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

/// The part of the disk under one directory, as it survives.
pub struct Disk {
    root: PathBuf,
    /// What files had, by the numbers of their inodes.
    copies: tempfile::TempDir,
    inodes: Mutex<HashMap<u64, Inode>>,
}

/// What survives of a file or directory. Held open, so that no other gets its number.
struct Inode {
    _held: File,
    meta: Metadata,
    /// `None`: a file.
    names: Option<Vec<Name>>,
}

struct Name {
    name: OsString,
    inode: u64,
    is_dir: bool,
}

/// All that are watched in this process.
static DISKS: Mutex<Vec<Weak<Disk>>> = Mutex::new(Vec::new());

impl Disk {
    /// Watches what is under `root` from now on. What is there now survives.
    pub fn under(root: &Path) -> Arc<Self> {
        static WATCHES: Once = Once::new();
        WATCHES.call_once(|| {
            durable::watch(|file| {
                let disks: Vec<_> = lock(&DISKS).iter().filter_map(Weak::upgrade).collect();
                disks.iter().for_each(|disk| disk.synced(file));
            });
        });
        let copies = tempfile::tempdir().unwrap();
        let disk = Arc::new(Self { root: root.to_owned(), copies, inodes: Mutex::default() });
        disk.keep_all(root);
        lock(&DISKS).push(Arc::downgrade(&disk));
        disk
    }

    fn keep_all(&self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => self.keep_all(&path),
                false => self.keep(&path, File::open(&path).unwrap()),
            }
        }
        self.keep(dir, File::open(dir).unwrap());
    }

    fn synced(&self, file: &File) {
        let open = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if std::fs::read_link(&open).is_ok_and(|path| path.starts_with(&self.root)) {
            self.keep(&open, file.try_clone().unwrap());
        }
    }

    /// What is at `path` now survives from now on.
    fn keep(&self, path: &Path, held: File) {
        let mut inodes = lock(&self.inodes);
        let meta = held.metadata().unwrap();
        let names = meta.is_dir().then(|| names_in(path));
        match &names {
            Some(here) => {
                // A directory stands in one place: it is gone from where it was when it is where it went.
                let moved = |there: &Name| here.iter().any(|name| name.is_dir && name.inode == there.inode);
                for names in inodes.values_mut().filter_map(|inode| inode.names.as_mut()) {
                    names.retain(|name| !moved(name));
                }
            }
            None => drop(std::fs::copy(path, self.copies.path().join(meta.ino().to_string())).unwrap()),
        }
        inodes.insert(meta.ino(), Inode { _held: held, meta, names });
    }

    /// Makes `to` what would be there after a power cut now.
    pub fn survivors(&self, to: &Path) {
        let inodes = lock(&self.inodes);
        self.restore(&inodes, std::fs::metadata(&self.root).unwrap().ino(), true, to);
    }

    fn restore(&self, inodes: &HashMap<u64, Inode>, number: u64, is_dir: bool, to: &Path) {
        match inodes.get(&number) {
            Some(Inode { meta, names: Some(names), .. }) => {
                DirBuilder::new().recursive(true).mode(meta.mode()).create(to).unwrap();
                for name in names {
                    self.restore(inodes, name.inode, name.is_dir, &to.join(&name.name));
                }
            }
            Some(Inode { names: None, .. }) => {
                std::fs::copy(self.copies.path().join(number.to_string()), to).unwrap();
            }
            // Its name survives, and nothing of it.
            None if is_dir => std::fs::create_dir(to).unwrap(),
            None => drop(File::create(to).unwrap()),
        }
    }
}

fn names_in(dir: &Path) -> Vec<Name> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let name = |entry: std::fs::DirEntry| {
        // One that goes away meanwhile is none of those that are synced.
        let meta = entry.metadata().ok()?;
        Some(Name { name: entry.file_name(), inode: meta.ino(), is_dir: meta.is_dir() })
    };
    entries.filter_map(name).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The model itself: what was not synced is gone.
#[test]
fn what_was_not_synced_does_not_survive() {
    let dir = tempfile::tempdir().unwrap();
    let (root, to) = (dir.path().join("disk"), dir.path().join("after"));
    std::fs::create_dir_all(root.join("before")).unwrap();
    std::fs::write(root.join("before/kept"), "old").unwrap();
    let disk = Disk::under(&root);
    std::fs::write(root.join("unsynced"), "new").unwrap();
    durable::replace(&root.join("before/replaced"), b"whole", 0o600).unwrap();
    std::fs::write(root.join("before/kept"), "longer").unwrap();
    let staged = root.join("before/staged");
    durable::make_dir(&staged).unwrap();
    for (name, synced) in [("a", true), ("b", false)] {
        let mut file = durable::create_file(&staged.join(name), 0o600).unwrap();
        std::io::Write::write_all(&mut file, b"bytes").unwrap();
        if synced {
            durable::sync_file(&file).unwrap();
        }
    }
    disk.survivors(&to);
    assert!(files_below(&to.join("before/staged")).is_empty(), "their names are synced with the directory");
    durable::publish_dir(&staged, &root.join("published")).unwrap();
    std::fs::remove_file(root.join("before/replaced")).unwrap();
    std::fs::remove_dir_all(&to).unwrap();
    disk.survivors(&to);
    let read = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
    assert_eq!([read("before/kept"), read("before/replaced")], ["old", "whole"]);
    assert_eq!([read("published/a"), read("published/b")], ["bytes", ""]);
    // Synced with the directory that it stood in, whoever asked for that.
    assert!(to.join("unsynced").exists() && read("unsynced").is_empty());
    assert!(!to.join("before/staged").exists());
}
