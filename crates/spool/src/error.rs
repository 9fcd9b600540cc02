//! What can go wrong with a log, told apart by what the caller must do.

use std::io;

/// Why a log could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The bytes on disk are not what was written. Start-up stops here.
    #[error("{file}: {what} at byte {offset}")]
    Damaged {
        /// File name within the log's directory.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The log was written by a version of the format that this program does not read.
    #[error("{file}: log format version {found}, but this program reads version {expected}")]
    Version {
        /// File name within the log's directory.
        file: String,
        /// Version found in the header.
        found: u16,
        /// Version this program writes.
        expected: u16,
    },
    /// No room: the disk is full or the configured bound is reached. Nothing was written.
    #[error("no room in the log: {0}")]
    Full(String),
    /// An `fdatasync` failed earlier. What is on disk is unknown until a restart has read it.
    #[error("the log is poisoned by a failed fdatasync; restart to recover: {0}")]
    Poisoned(String),
    /// A body larger than a frame can hold.
    #[error("frame body of {0} bytes is over the limit of {max}", max = crate::frame::BODY_MAX_BYTES)]
    TooLarge(usize),
    /// The operating system refused.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl LogError {
    /// What a failed operation of the system is: no room, or a failure of the disk.
    pub fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let context = context.into();
        move |source| {
            if source.kind() == io::ErrorKind::StorageFull {
                Self::Full(format!("{context}: {source}"))
            } else {
                Self::Io { context, source }
            }
        }
    }

    pub(crate) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }
}
