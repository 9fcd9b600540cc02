//! Signing what is on the disk, and nothing else.
//!
//! A flipped bit between hashing and storing has made a public log unserveable (Yeti, 2022). So before a
//! tree head is signed, the bytes are read back from the file: [`ReadBack`] hashes the file as it
//! stands, for the digest that is signed with it, and recomputes each leaf, which must be the one that
//! the tree was built from.

use crate::CollectorError;
use indelible_ledger::{Hash, leaf_hash};
use indelible_os::durable::LogFile;
use indelible_spool::frame::{self, FRAME_OVERHEAD_BYTES, FileHeader, FrameError, Kind};
use indelible_spool::wal::Record;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

const READ_BYTES: usize = 1 << 20;

/// Reads one WAL file back, each byte once.
pub struct ReadBack {
    file: Arc<dyn LogFile>,
    file_id: [u8; 16],
    file_no: u64,
    digest: Sha256,
    /// Bytes hashed.
    hashed: u64,
    /// Start of the next frame.
    parsed: u64,
    /// Bytes from `parsed` to `hashed`.
    rest: Vec<u8>,
    leaves: BTreeMap<String, Vec<Hash>>,
}

impl ReadBack {
    /// Begins at the start of a file.
    pub fn new(file: Arc<dyn LogFile>, header: &FileHeader) -> Self {
        Self {
            file,
            file_id: header.file_id,
            file_no: header.file_no,
            digest: Sha256::new(),
            hashed: 0,
            parsed: 0,
            rest: Vec::new(),
            leaves: BTreeMap::new(),
        }
    }

    /// Number of the file.
    pub fn file_no(&self) -> u64 {
        self.file_no
    }

    /// Reads on to `end` and returns the SHA-256 of the file up to there.
    pub fn reach(&mut self, end: u64) -> Result<[u8; 32], CollectorError> {
        while self.hashed < end {
            let had = self.rest.len();
            let take = READ_BYTES.min((end - self.hashed) as usize);
            self.rest.resize(had + take, 0);
            let read = self
                .file
                .read_at(&mut self.rest[had..], self.hashed)
                .map_err(|source| CollectorError::Io { path: "wal".into(), source })?;
            if read == 0 {
                return Err(self.differs("it is shorter than what was written"));
            }
            self.rest.truncate(had + read);
            self.digest.update(&self.rest[had..]);
            self.hashed += read as u64;
            self.parse()?;
        }
        if !self.rest.is_empty() {
            return Err(self.differs("a frame is cut short"));
        }
        Ok(self.digest.clone().finalize().into())
    }

    /// The leaves read since this was last asked, by tenant.
    pub fn take_leaves(&mut self) -> BTreeMap<String, Vec<Hash>> {
        std::mem::take(&mut self.leaves)
    }

    fn parse(&mut self) -> Result<(), CollectorError> {
        let mut at = 0;
        if self.parsed == 0 {
            match FileHeader::parse(&self.rest) {
                Ok((_, len)) => at = len,
                Err(_) => return Err(self.differs("its header is not the one that was written")),
            }
        }
        while at < self.rest.len() {
            match frame::parse(&self.rest[at..], &self.file_id) {
                Ok((found, len)) => {
                    if found.kind == Kind::Entry
                        && let Some(Record::Entry { tenant, entry, .. }) =
                            Record::parse(found.kind, found.body)
                    {
                        self.leaves.entry(tenant.to_owned()).or_default().push(leaf_hash(entry));
                    }
                    at += len;
                }
                Err(FrameError::Short { .. }) => break,
                Err(_) => return Err(self.differs("a frame reads back differently")),
            }
        }
        debug_assert!(self.rest.len() - at <= frame::BODY_MAX_BYTES + FRAME_OVERHEAD_BYTES);
        self.parsed += at as u64;
        self.rest.drain(..at);
        Ok(())
    }

    fn differs(&self, what: &str) -> CollectorError {
        CollectorError::Refused(format!("WAL file {} is not what was written: {what}", self.file_no))
    }
}
