//! Keys: where they lie, who they belong to, and what is encrypted under them.
//!
//! Everything secret is in one directory (`DIR.keys`, mode 0700), apart from the records, so that a
//! backup of the one is never a backup of the other.
//!
//! ```text
//! DIR.keys/master.key              32 random bytes; all below is wrapped by or derived from it
//! DIR.keys/ledgers/TENANT.seed     Ed25519 signing seed of a tenant's ledger      TENANT.vkey its public half
//! DIR.keys/head                    the signed tree heads: the commit point of every ledger
//! DIR.keys/spool/ID.key            X25519 keys that sources encrypt their spools to, one a day
//! DIR.keys/vault.slots             subjects and their wrapped data keys
//! DIR.keys/predecessors            who went before a successor; the collector's
//! DIR.keys/tls/…                   certificates
//! ```
//!
//! * [`keystore`]: the directory, signing keys, spool keys and the head
//! * [`subjects`]: who a payload belongs to, and the data key of each subject and month
//! * [`seal`]: encrypting and opening a payload part under a data key
//!
//! This is the local-file vault. HSM, KMS and erasure fit behind [`subjects::Vault`] and
//! [`keystore::KeyStore`] without a change to who calls them.

#![forbid(unsafe_code)]

mod index;
pub mod keystore;
pub mod seal;
pub mod subjects;

pub use keystore::KeyStore;
pub use subjects::{SubjectRef, Vault};

use std::io;
use std::path::{Path, PathBuf};

/// Why a key operation failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A file of the key directory could not be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file of the key directory is not what it should be.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no such key: never made, or destroyed.
    #[error("no key: {0}")]
    NoKey(String),
    /// The ciphertext does not open: altered, or encrypted for something else.
    #[error("the payload does not decrypt: altered, or not of this record")]
    Sealed,
    /// The system gave no randomness.
    #[error("no randomness: {0}")]
    Random(String),
}

impl VaultError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    indelible_os::random::bytes().map_err(|error| VaultError::Random(error.to_string()))
}
