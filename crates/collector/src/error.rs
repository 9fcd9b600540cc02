//! Why a collector cannot start or cannot go on, told apart by what the operator must do.

use indelible_spool::LogError;
use indelible_vault::VaultError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a collector stopped or did not start.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// What is on disk is not what was signed, or less than what was acknowledged. Sequencing on would
    /// sign a second history; exit code 4.
    #[error("refusing to sequence: {0}")]
    Refused(String),
    /// Another process holds the directory.
    #[error("{} is in use by another process", .0.display())]
    Held(PathBuf),
    /// The directory is of another version, or not a data directory.
    #[error("{}: {what}", path.display())]
    Format {
        /// Which directory or file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// There is no such ledger.
    #[error("there is no ledger of tenant {0:?}")]
    UnknownTenant(String),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The keys failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A segment cannot be read.
    #[error("segment {path}: {what}")]
    Segment {
        /// Where it lies, relative to all segments.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The signer failed, or made something that does not verify.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// What a source reported makes no entry. Nothing was written.
    #[error("makes no entry: {0}")]
    Unfit(String),
    /// A key stays as it is. Nothing was written.
    #[error("the key was not changed: {0}")]
    KeyKept(String),
    /// The collector has stopped; a restart recovers.
    #[error("the collector has stopped: {0}")]
    Stopped(String),
}

/// What fails while the files of a segment are written or read.
impl From<io::Error> for CollectorError {
    fn from(source: io::Error) -> Self {
        Self::Io { path: "segments".into(), source }
    }
}

impl CollectorError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Exit code for a process that ends because of this: 1 unknown, 4 refused to sequence, 5
    /// storage failed, 2 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownTenant(_) => 1,
            Self::Refused(_) => 4,
            Self::Log(LogError::Poisoned(_) | LogError::Io { .. } | LogError::Full(_))
            | Self::Vault(VaultError::Io { .. })
            | Self::Io { .. }
            | Self::Stopped(_) => 5,
            _ => 2,
        }
    }
}
