//! What an earlier run has read of segments, for one that goes on where that one ended.
//!
//! ```text
//! indelible verify journal, format 1
//! <SHA-256 of a manifest, base64> <path of the segment>       a line each, appended once it was found whole
//! ```
//!
//! The file is the auditor's: whoever can write it can keep segments from being read. A segment is named by its manifest, which is
//! read again, and must lead from the tree before to the tree behind it; its files are what is not read again. It is no record of
//! a verdict: it goes when a run comes to its end.

use indelible_ledger::Hash;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

const FIRST_LINE: &str = "indelible verify journal, format 1";
/// Bytes of a journal that are read: some 300,000 segments.
const MAX_BYTES: u64 = 1 << 25;

/// Segments that were read and found whole.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    known: HashSet<Hash>,
    /// Segments that were not read again.
    pub(super) passed: u64,
}

impl Journal {
    /// Opens a journal, or begins one.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file is something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        (&mut file).take(MAX_BYTES).read_to_string(&mut text)?;
        let strange = || io::Error::new(io::ErrorKind::InvalidData, "not a journal of indelible verify");
        // What a crash left of a last line is none.
        let whole = text.rfind('\n').map_or("", |end| text.get(..=end).unwrap_or_default());
        let mut lines = whole.lines();
        match lines.next() {
            Some(FIRST_LINE) => {}
            None if FIRST_LINE.starts_with(&*text) => {
                file.set_len(0)?;
                file.write_all(format!("{FIRST_LINE}\n").as_bytes())?;
            }
            _ => return Err(strange()),
        }
        let mut known = HashSet::new();
        for line in lines {
            let (hash, _) = line.split_once(' ').ok_or_else(strange)?;
            known.insert(Hash::from_base64(hash).map_err(|_| strange())?);
        }
        if whole.len() < text.len() && !whole.is_empty() {
            file.set_len(whole.len() as u64)?;
        }
        Ok(Self { path: path.to_owned(), file, known, passed: 0 })
    }

    /// How many segments earlier runs have read.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    pub(super) fn has(&self, manifest: &Hash) -> bool {
        self.known.contains(manifest)
    }

    /// A segment was read and found whole. What cannot be written down is read again by the next run.
    pub(super) fn note(&mut self, manifest: &Hash, path: &str) {
        // It may fail, and costs no more than that.
        let _ = self.file.write_all(format!("{} {path}\n", manifest.to_base64()).as_bytes());
    }

    /// The run came to its end: the next one reads everything.
    ///
    /// # Errors
    /// Those of removing the file.
    pub fn end(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::Journal;
    use indelible_ledger::Hash;

    #[test]
    fn what_was_noted_is_known_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let (one, two) = (Hash([1; 32]), Hash([2; 32]));
        let mut journal = Journal::open(&path).expect("begun");
        journal.note(&one, "tenant=a/date=b/c");
        drop(journal);
        let whole = std::fs::read(&path).expect("read");
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("written");
            let mut journal = Journal::open(&path).expect("opened");
            assert_eq!(journal.known(), 0, "{cut}");
            journal.note(&two, "x");
            drop(journal);
            let journal = Journal::open(&path).expect("opened");
            assert!(journal.has(&two) && !journal.has(&one), "{cut}");
        }
        std::fs::write(&path, &whole).expect("written");
        assert!(Journal::open(&path).expect("opened").has(&one));
        for strange in
            ["{}\n", "indelible verify journal, format 2\n", "indelible verify journal, format 1\nx y\n"]
        {
            std::fs::write(&path, strange).expect("written");
            assert!(Journal::open(&path).is_err(), "{strange}");
        }
        std::fs::write(&path, &whole).expect("written");
        Journal::open(&path).expect("opened").end().expect("removed");
        assert!(!path.exists());
    }
}
