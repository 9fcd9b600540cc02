//! The data directory: what lies where, which format it has, and who holds it.
//!
//! ```text
//! DIR/FORMAT                      one fixed line
//! DIR/wal/                        the write-ahead log
//! DIR/ledgers/TENANT/checkpoint   newest signed tree head, for whoever reads along
//!                    checkpoint.witnessed  the newest that witnesses cosigned
//! DIR/spool/                      the gateway's spool, when both run in one process
//! DIR/cache/  DIR/run/            may be deleted at any time
//! ```

use crate::CollectorError;
use indelible_ledger::note::NOTE_MAX_BYTES;
use indelible_os::durable::{self, MODE_SHARED};
use indelible_os::lock::DirLock;
use indelible_verify::directory::FORMAT_LINE;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A data directory that this process holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: DirLock,
}

impl DataDir {
    /// Opens the directory for writing, making it when it is not there or empty.
    pub fn open_or_create(path: &Path) -> Result<Self, CollectorError> {
        durable::make_dir(path).map_err(CollectorError::io(path))?;
        let this = Self::hold(path)?;
        let format = path.join("FORMAT");
        if !format.exists() {
            let strangers = std::fs::read_dir(path)
                .map_err(CollectorError::io(path))?
                .flatten()
                .any(|name| !["run", "cache"].iter().any(|own| name.file_name() == *own));
            if strangers {
                let what = "not empty, and not a data directory of Indelible".to_owned();
                return Err(CollectorError::Format { path: path.to_owned(), what });
            }
            durable::create(&format, FORMAT_LINE.as_bytes(), MODE_SHARED)
                .map_err(CollectorError::io(&format))?;
        }
        this.check_format()?;
        Ok(this)
    }

    /// Opens an existing directory for writing.
    pub fn open(path: &Path) -> Result<Self, CollectorError> {
        if !path.join("FORMAT").exists() {
            let what = "not a data directory of Indelible".to_owned();
            return Err(CollectorError::Format { path: path.to_owned(), what });
        }
        let this = Self::hold(path)?;
        this.check_format()?;
        Ok(this)
    }

    fn hold(path: &Path) -> Result<Self, CollectorError> {
        let lock = DirLock::try_acquire(path).map_err(CollectorError::io(path))?;
        let lock = lock.ok_or_else(|| CollectorError::Held(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    fn check_format(&self) -> Result<(), CollectorError> {
        let path = self.path.join("FORMAT");
        let found = std::fs::read_to_string(&path).map_err(CollectorError::io(&path))?;
        if found == FORMAT_LINE {
            return Ok(());
        }
        let what = format!("{:?}, but this program reads {:?}", found.trim_end(), FORMAT_LINE.trim_end());
        Err(CollectorError::Format { path, what })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the WAL lies.
    pub fn wal(&self) -> PathBuf {
        self.path.join("wal")
    }

    /// Publishes a ledger's newest checkpoint. Derived from the head: redone at every start.
    pub fn publish(&self, tenant: &str, note: &str) -> Result<(), CollectorError> {
        let dir = self.path.join("ledgers").join(tenant);
        durable::make_dir(&dir).map_err(CollectorError::io(&dir))?;
        let path = dir.join("checkpoint");
        durable::replace(&path, note.as_bytes(), MODE_SHARED).map_err(CollectorError::io(&path))
    }

    /// What was published of a ledger last, whoever wrote it.
    pub fn published(&self, tenant: &str) -> Option<Vec<u8>> {
        let file = File::open(self.path.join("ledgers").join(tenant).join("checkpoint")).ok()?;
        let mut note = Vec::new();
        file.take(NOTE_MAX_BYTES as u64).read_to_end(&mut note).ok()?;
        Some(note)
    }
}

/// Where the keys lie that belong to a data directory: beside it, never in it.
pub fn default_keys(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".keys");
    PathBuf::from(name)
}

/// Whether a tenant id can be used in paths, entries and key names: `[a-z0-9][a-z0-9_-]{0,63}`.
pub fn is_tenant_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && !text.starts_with(['-', '_'])
}
