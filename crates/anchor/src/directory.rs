//! An anchor that is a directory: each checkpoint a file of its own, `DIR/<SHA-256 of the origin>/<size>.note`, never
//! written again.

use indelible_ledger::note::NOTE_MAX_BYTES;
use indelible_ledger::{Checkpoint, KeyHistory, Note};
use indelible_os::durable;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A directory may be on a machine that does not answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Of a size in a name: as many as the largest has.
const SIZE_DIGITS: usize = 20;
/// Notes that are read to find one that the log signed.
const NOTES_MAX: usize = 64;

/// A directory, best on another machine.
pub struct Directory {
    dir: PathBuf,
    /// One at a time is written: one that hangs keeps a thread, and must not get company.
    writing: Arc<Semaphore>,
}

/// What became of a note.
pub(crate) enum Kept {
    /// It is there, now or since before.
    Here,
    /// Another text is there at its size, and stays.
    Other { path: PathBuf, bytes: Vec<u8> },
}

impl Directory {
    /// A directory that is made when the first note is.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, writing: Arc::new(Semaphore::new(1)) }
    }

    /// Writes a note that was not there.
    ///
    /// # Errors
    /// Words on why that is not known to have been done.
    pub(crate) async fn keep(&self, checkpoint: &Checkpoint, note: &str) -> Result<Kept, String> {
        let late = || format!("{} does not answer", self.dir.display());
        let writing = self.writing.clone().try_acquire_owned().map_err(|_| late())?;
        let (path, note) = (file_of(&self.dir, checkpoint), note.to_owned());
        let written = tokio::task::spawn_blocking(move || {
            let _writing = writing;
            keep(&path, note.as_bytes())
        });
        let written = tokio::time::timeout(TIMEOUT, written).await.map_err(|_| late())?;
        written.map_err(|error| error.to_string())?
    }

    /// Of each of these logs the checkpoint of the largest size that is there and that its keys signed, in their order.
    ///
    /// # Errors
    /// Words on why that cannot be told. A log of which nothing is there is no error.
    pub(crate) async fn newest(&self, logs: Vec<KeyHistory>) -> Result<Vec<Option<Checkpoint>>, String> {
        let late = || format!("{} does not answer", self.dir.display());
        let reading = self.writing.clone().try_acquire_owned().map_err(|_| late())?;
        let dir = self.dir.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _reading = reading;
            logs.iter().map(|keys| newest(&dir_of(&dir, keys.origin()), keys)).collect()
        });
        let read = tokio::time::timeout(TIMEOUT, read).await.map_err(|_| late())?;
        read.map_err(|error| error.to_string())?
    }
}

/// Blocks. Whoever may write there may have added files: what the log did not sign, and what has another size than its name says, is
/// passed over.
fn newest(dir: &Path, keys: &KeyHistory) -> Result<Option<Checkpoint>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let files = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        files => files.map_err(failed)?,
    };
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_note(name)).collect();
    // The same number of digits each: by name is by size.
    names.sort_unstable_by(|a, b| b.cmp(a));
    for name in names.iter().take(NOTES_MAX) {
        match read(&dir.join(name)).map(|note| keys.open(&note)) {
            Ok(Ok(checkpoint)) if file_name(&checkpoint) == *name => return Ok(Some(checkpoint)),
            Ok(Ok(_)) => {
                tracing::warn!(dir = %dir.display(), name, "an anchor under the name of another size is passed over")
            }
            Ok(Err(error)) => {
                tracing::warn!(dir = %dir.display(), name, %error, "an anchor that the ledger did not sign is passed over")
            }
            Err(error) => {
                tracing::warn!(dir = %dir.display(), name, %error, "an anchor that cannot be read is passed over")
            }
        }
    }
    match names.len() > NOTES_MAX {
        true => Err(format!("{}: none of the {NOTES_MAX} largest notes is of the ledger", dir.display())),
        false => Ok(None),
    }
}

/// A regular file of the length of a note: a pipe would hold up whoever opens it.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidData, "not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(NOTE_MAX_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_note(name: &str) -> bool {
    let size = name.strip_suffix(".note").unwrap_or_default();
    size.len() == SIZE_DIGITS && size.bytes().all(|byte| byte.is_ascii_digit())
}

fn dir_of(dir: &Path, origin: &str) -> PathBuf {
    let hash = Sha256::digest(origin).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    dir.join(hash)
}

fn file_of(dir: &Path, checkpoint: &Checkpoint) -> PathBuf {
    dir_of(dir, checkpoint.origin()).join(file_name(checkpoint))
}

fn file_name(checkpoint: &Checkpoint) -> String {
    format!("{:0SIZE_DIGITS$}.note", checkpoint.size())
}

/// Blocks.
fn keep(path: &Path, note: &[u8]) -> Result<Kept, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(dir) = path.parent() {
        durable::make_dir(dir).map_err(failed)?;
    }
    match durable::create(path, note, durable::MODE_SHARED) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let bytes = std::fs::read(path).map_err(failed)?;
            // Cosignatures may differ, what was signed may not.
            let same = signed_text(&bytes) == signed_text(note);
            Ok(if same { Kept::Here } else { Kept::Other { path: path.to_owned(), bytes } })
        }
        outcome => outcome.map(|()| Kept::Here).map_err(failed),
    }
}

fn signed_text(note: &[u8]) -> Option<String> {
    Note::parse(note).ok().map(|note| note.text().to_owned())
}
