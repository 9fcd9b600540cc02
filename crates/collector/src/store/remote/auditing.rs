//! The bucket as whoever verifies reads it: from the bucket itself, without catalog and without cache.

use super::Bucket;
use super::bucket::Object;
use super::tiered::is_segment_path;
use crate::store::Storage;
use crate::store::local::LocalStorage;
use bytes::{Bytes, BytesMut};
use indelible_segment::manifest::{BLOCK_BYTES, MANIFEST};
use indelible_segment::{ReadAt, State};
use indelible_verify::directory::Elsewhere;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Blocks of a file that are kept in memory: rows are read in small steps.
const BLOCKS_KEPT_MAX: usize = 16;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// A listing of a bucket, and its files.
pub struct Auditing {
    bucket: Arc<Bucket>,
    /// Kept from the first listing on: what is verified is one moment.
    listing: Mutex<Option<BTreeMap<String, Object>>>,
}

impl Auditing {
    /// Reads a bucket. Nothing is asked of it yet.
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket: Arc::new(bucket), listing: Mutex::default() }
    }

    fn with_listing<T>(&self, use_it: impl FnOnce(&BTreeMap<String, Object>) -> T) -> io::Result<T> {
        let mut listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if listing.is_none() {
            *listing = Some(self.bucket.list()?.into_iter().map(|one| (one.name.clone(), one)).collect());
        }
        listing.as_ref().map(use_it).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Elsewhere for Auditing {
    fn name(&self) -> String {
        self.bucket.to_string()
    }

    fn segments(&self) -> io::Result<Vec<String>> {
        self.with_listing(|listing| {
            let path = |name: &String| Some(name.strip_suffix(MANIFEST)?.strip_suffix('/')?.to_owned());
            listing.keys().filter_map(path).filter(|path| is_segment_path(path)).collect()
        })
    }

    fn halves(&self) -> io::Result<Vec<String>> {
        self.with_listing(|listing| {
            let path = |name: &String| Some(name.rsplit_once('/')?.0.to_owned());
            let paths: BTreeSet<String> =
                listing.keys().filter_map(path).filter(|path| is_segment_path(path)).collect();
            paths.into_iter().filter(|path| !listing.contains_key(&format!("{path}/{MANIFEST}"))).collect()
        })
    }

    fn open(&self, segment: &str, file: &str) -> io::Result<Arc<dyn ReadAt>> {
        let name = format!("{segment}/{file}");
        let object = self.with_listing(|listing| listing.get(&name).cloned())?;
        let object = object.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::new(BucketFile {
            bucket: self.bucket.clone(),
            name,
            bytes: object.bytes,
            blocks: Mutex::default(),
        }))
    }
}

/// Segments here and in a bucket, for a reader that keeps nothing.
pub struct Reading {
    local: LocalStorage,
    bucket: Auditing,
}

impl Reading {
    /// What is here is read here.
    pub fn new(local: LocalStorage, bucket: Auditing) -> Self {
        Self { local, bucket }
    }
}

impl Storage for Reading {
    fn list(&self) -> io::Result<Vec<String>> {
        // In this order: what is let go meanwhile is seen in both places, never in neither.
        let mut paths = self.local.list()?;
        paths.extend(self.bucket.segments()?);
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    fn open(&self, segment: &str, file: &str) -> io::Result<Arc<dyn ReadAt>> {
        match self.local.open(segment, file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.bucket.open(segment, file),
            opened => opened,
        }
    }

    fn publish(&self, _: &Path, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

struct BucketFile {
    bucket: Arc<Bucket>,
    name: String,
    bytes: u64,
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
}

impl BucketFile {
    fn block(&self, number: u64) -> io::Result<Bytes> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = blocks.iter().find(|(kept, _)| *kept == number) {
            return Ok(bytes.clone());
        }
        let start = number * BLOCK;
        let bytes = self.bucket.read(&self.name, start..(start + BLOCK).min(self.bytes))?;
        if blocks.len() == BLOCKS_KEPT_MAX {
            blocks.pop_front();
        }
        blocks.push_back((number, bytes.clone()));
        Ok(bytes)
    }
}

impl ReadAt for BucketFile {
    fn size(&self) -> u64 {
        self.bytes
    }

    fn read_of(&self, offset: u64, len: usize) -> io::Result<(Bytes, State)> {
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.bytes).ok_or_else(short)?;
        let mut out = BytesMut::with_capacity(len);
        let mut at = offset;
        while at < end {
            let block = self.block(at / BLOCK)?;
            let from = (at % BLOCK) as usize;
            let to = block.len().min(from + (end - at) as usize);
            let part = block.get(from..to).filter(|part| !part.is_empty()).ok_or_else(short)?;
            out.extend_from_slice(part);
            at += part.len() as u64;
        }
        Ok((out.freeze(), State::Unknown))
    }
}
