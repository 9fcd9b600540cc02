//! Segments in a directory and in a bucket, as one storage: what is here is read here, the rest there.

use super::bucket::{Bucket, Object};
use super::cache::BlockCache;
use super::manifests::Manifests;
use crate::store::Storage;
use crate::store::local::LocalStorage;
use crate::store::location::Location;
use bytes::{Bytes, BytesMut};
use indelible_ledger::Hash;
use indelible_segment::manifest::{BLOCK_BYTES, FileFacts, MANIFEST, MANIFEST_MAX_BYTES, hash_of};
use indelible_segment::{LocalFile, Manifest, ReadAt, State};
use indelible_verify::directory::CachedManifest;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Manifests, or blocks of one read, that are fetched at once.
const FETCHES_AT_ONCE_MAX: usize = 16;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// A directory of segments and a bucket behind it.
pub struct Tiered {
    places: Arc<Places>,
    local: LocalStorage,
    manifests: Manifests,
    /// Whether the bucket answered when it was asked last.
    pub(crate) reached: AtomicBool,
    /// Attempts to upload or to let go that failed.
    pub(crate) failures: AtomicU64,
}

/// What an open file reads from, wherever its segment goes meanwhile.
struct Places {
    root: PathBuf,
    bucket: Bucket,
    cache: BlockCache,
    remote: RwLock<BTreeMap<String, Arc<Remote>>>,
}

/// A segment of the bucket.
pub(crate) struct Remote {
    files: BTreeMap<String, FileFacts>,
    /// What the listing shows of its files; `None`: it was not listed, but uploaded or remembered.
    listed: Option<BTreeMap<String, u64>>,
    manifest: CachedManifest,
    /// Whether the ledger was seen to have this manifest.
    pub(crate) proven: AtomicBool,
    /// Whether all its bytes were read back by this process.
    pub(crate) read_back: AtomicBool,
}

/// How many segments are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// On this machine alone.
    pub local: u64,
    /// On this machine and in the bucket.
    pub both: u64,
    /// In the bucket alone.
    pub remote: u64,
}

/// The state of the bucket and of what is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How many segments are where.
    pub segments: Counts,
    /// Bytes of remote segments on this machine.
    pub cache_bytes: u64,
    /// Attempts to upload or to let go that failed since the start.
    pub failures: u64,
    /// Whether the bucket answered when it was asked last.
    pub reached: bool,
}

impl Tiered {
    /// Opens the directory and lists the bucket. One that does not answer is as it was remembered.
    pub fn open(data: &Path, local: LocalStorage, location: &Location) -> io::Result<Self> {
        let cache = BlockCache::open(&data.join("cache").join("segments"), location.cache_bytes)?;
        let (manifests, known) = Manifests::open(data);
        let this = Self {
            places: Arc::new(Places {
                root: crate::seal::segments_dir(data),
                bucket: Bucket::open(location)?,
                cache,
                remote: RwLock::default(),
            }),
            local,
            manifests,
            reached: AtomicBool::new(true),
            failures: AtomicU64::new(0),
        };
        let remote = match this.bucket().list() {
            Ok(listing) => this.catalog(listing, known)?,
            Err(error) => {
                tracing::error!(%error, segments = known.len(), "the bucket does not answer: going on with what is known of it");
                this.reached.store(false, Ordering::Relaxed);
                known
                    .into_iter()
                    .filter_map(|(path, cached)| Some((path, Remote::new(cached, None, true)?)))
                    .collect()
            }
        };
        *this.places.write() = remote;
        Ok(this)
    }

    /// The segments of a listing, their manifests from here where they are the ones that are there.
    fn catalog(
        &self,
        listing: Vec<Object>,
        mut known: BTreeMap<String, CachedManifest>,
    ) -> io::Result<BTreeMap<String, Arc<Remote>>> {
        let mut found: BTreeMap<String, BTreeMap<String, Object>> = BTreeMap::new();
        for object in listing {
            if let Some((path, file)) = object.name.rsplit_once('/').filter(|(path, _)| is_segment_path(path))
            {
                found.entry(path.to_owned()).or_default().insert(file.to_owned(), object.clone());
            }
        }
        let mut remote = BTreeMap::new();
        let mut wanted = Vec::new();
        for (path, files) in found {
            let Some(manifest) = files.get(MANIFEST) else {
                tracing::info!(segment = path, "half uploaded: not a segment yet");
                continue;
            };
            let sizes = files.iter().map(|(name, object)| (name.clone(), object.bytes)).collect();
            let cached = known.remove(&path).filter(|cached| {
                cached.bytes.len() as u64 == manifest.bytes
                    && cached.tag.is_some()
                    && cached.tag == manifest.tag
            });
            match cached.and_then(|cached| Remote::new(cached, Some(&sizes), true)) {
                Some(segment) => drop(remote.insert(path, segment)),
                None => wanted.push((path, manifest.clone(), sizes)),
            }
        }
        known.keys().for_each(|gone| self.manifests.forget(gone));
        for chunk in wanted.chunks(FETCHES_AT_ONCE_MAX) {
            let fetched: Vec<io::Result<Arc<Remote>>> = std::thread::scope(|scope| {
                let threads: Vec<_> = chunk
                    .iter()
                    .map(|(_, object, sizes)| scope.spawn(|| self.fetch(object, sizes)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
            });
            for ((path, _, _), segment) in chunk.iter().zip(fetched) {
                remote.insert(path.clone(), segment?);
            }
        }
        Ok(remote)
    }

    fn fetch(&self, object: &Object, sizes: &BTreeMap<String, u64>) -> io::Result<Arc<Remote>> {
        let bytes = self.bucket().read_whole(&object.name, MANIFEST_MAX_BYTES as u64)?;
        let cached = CachedManifest { tag: object.tag.clone(), bytes: bytes.to_vec() };
        Remote::new(cached, Some(sizes), false).ok_or_else(|| {
            let what = format!("{}/{} is not a segment's manifest", self.bucket(), object.name);
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }

    /// The bucket.
    pub(crate) fn bucket(&self) -> &Bucket {
        &self.places.bucket
    }

    /// Where the segments of this machine lie.
    pub(crate) fn root(&self) -> &Path {
        &self.places.root
    }

    /// Whether this machine has a segment.
    pub(crate) fn is_local(&self, segment: &str) -> bool {
        self.root().join(segment).join(MANIFEST).exists()
    }

    /// A segment, if the bucket has it.
    pub(crate) fn remote(&self, segment: &str) -> Option<Arc<Remote>> {
        self.places.remote(segment)
    }

    /// Segments that came from the bucket and were not held against the ledger.
    pub(crate) fn unproven(&self) -> Vec<(String, Arc<Remote>)> {
        let remote = self.places.read();
        let unproven = remote.iter().filter(|(_, segment)| !segment.proven.load(Ordering::Relaxed));
        unproven.map(|(path, segment)| (path.clone(), segment.clone())).collect()
    }

    /// The ledger has this manifest: it need not be fetched again.
    pub(crate) fn set_proven(&self, path: &str, segment: &Remote) {
        segment.proven.store(true, Ordering::Relaxed);
        self.manifests.keep(path, &segment.manifest);
    }

    /// The bucket has a segment now, whole and read back, whose manifest is an entry.
    pub(crate) fn add(&self, path: &str, manifest: CachedManifest) -> io::Result<()> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a manifest");
        self.manifests.keep(path, &manifest);
        let segment = Remote::new(manifest, None, true).ok_or_else(bad)?;
        segment.read_back.store(true, Ordering::Relaxed);
        self.places.write().insert(path.to_owned(), segment);
        Ok(())
    }

    /// How many segments are where, and what is kept of the bucket.
    pub fn status<'a>(&self, segments: impl Iterator<Item = &'a str>) -> Status {
        let mut counts = Counts::default();
        for path in segments {
            match (self.is_local(path), self.remote(path).is_some()) {
                (true, true) => counts.both += 1,
                (true, false) => counts.local += 1,
                (false, _) => counts.remote += 1,
            }
        }
        Status {
            segments: counts,
            cache_bytes: self.places.cache.bytes(),
            failures: self.failures.load(Ordering::Relaxed),
            reached: self.reached.load(Ordering::Relaxed),
        }
    }
}

impl Remote {
    fn new(
        manifest: CachedManifest,
        listed: Option<&BTreeMap<String, u64>>,
        proven: bool,
    ) -> Option<Arc<Self>> {
        let files = Manifest::parse(&manifest.bytes).ok()?.files;
        Some(Arc::new(Self {
            files,
            listed: listed.cloned(),
            manifest,
            proven: AtomicBool::new(proven),
            read_back: AtomicBool::new(false),
        }))
    }

    /// Hash of the manifest's bytes.
    pub(crate) fn hash(&self) -> Hash {
        hash_of(&self.manifest.bytes)
    }

    /// The manifest's bytes.
    pub(crate) fn manifest_bytes(&self) -> &[u8] {
        &self.manifest.bytes
    }

    /// Length of a file, as far as it is known; `None`: it is missing.
    fn size(&self, file: &str) -> Option<u64> {
        match &self.listed {
            Some(listed) => listed.get(file).copied(),
            None => self.files.get(file).map(|facts| facts.bytes),
        }
    }

    /// Whether all its files were listed with the lengths that they must have.
    pub(crate) fn is_whole(&self) -> bool {
        self.files.iter().all(|(name, facts)| self.size(name) == Some(facts.bytes))
    }
}

impl Storage for Tiered {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut paths = self.local.list()?;
        paths.extend(self.places.read().keys().cloned());
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    fn open(&self, segment: &str, file: &str) -> io::Result<Arc<dyn ReadAt>> {
        let size = match self.root().join(segment).join(file).metadata() {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let remote = self.remote(segment).ok_or(error)?;
                if file == MANIFEST {
                    return Ok(Arc::new(Bytes::copy_from_slice(&remote.manifest.bytes)));
                }
                remote.size(file).ok_or_else(|| {
                    let what = format!("{}/{segment}/{file} is missing", self.bucket());
                    io::Error::new(io::ErrorKind::NotFound, what)
                })?
            }
            Err(error) => return Err(error),
        };
        let (segment, file) = (segment.to_owned(), file.to_owned());
        Ok(Arc::new(TieredFile { places: self.places.clone(), segment, file, size }))
    }

    fn publish(&self, staged: &Path, segment: &str) -> io::Result<()> {
        self.local.publish(staged, segment)
    }

    fn is_near(&self, segment: &str) -> bool {
        self.is_local(segment)
    }
}

impl Places {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Remote>>> {
        self.remote.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Remote>>> {
        self.remote.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn remote(&self, segment: &str) -> Option<Arc<Remote>> {
        self.read().get(segment).cloned()
    }
}

/// A file of a segment. It is looked for at each read: the local copy may go while this is open.
struct TieredFile {
    places: Arc<Places>,
    segment: String,
    file: String,
    size: u64,
}

impl TieredFile {
    fn read_remote(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let remote = self.places.remote(&self.segment).ok_or(io::ErrorKind::NotFound)?;
        let facts = remote.files.get(&self.file).ok_or(io::ErrorKind::NotFound)?;
        let end = offset.checked_add(len as u64).filter(|end| *end <= facts.bytes);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        let blocks: Vec<u64> = (offset / BLOCK..=(end - 1) / BLOCK).collect();
        if let [block] = blocks[..] {
            return self.read_block(facts, block, offset..end);
        }
        let mut out = BytesMut::with_capacity(len);
        for some in blocks.chunks(FETCHES_AT_ONCE_MAX) {
            let read: Vec<io::Result<Bytes>> = std::thread::scope(|scope| {
                let read = |block: u64| {
                    let (offset, end) = (offset, end);
                    scope.spawn(move || self.read_block(facts, block, offset..end))
                };
                let threads: Vec<_> = some.iter().map(|block| read(*block)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
            });
            for bytes in read {
                out.extend_from_slice(&bytes?);
            }
        }
        Ok(out.freeze())
    }

    /// What of `wanted` stands in a block.
    fn read_block(&self, facts: &FileFacts, block: u64, wanted: Range<u64>) -> io::Result<Bytes> {
        let start = block * BLOCK;
        let end = (start + BLOCK).min(facts.bytes);
        let hash = facts.blocks.get(block as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        let span = wanted.start.max(start) - start..wanted.end.min(end) - start;
        let name = format!("{}/{}", self.segment, self.file);
        let fetch = || self.places.bucket.read(&name, start..end);
        let (len, span) = ((end - start) as usize, span.start as usize..span.end as usize);
        self.places.cache.read(*hash, len, span, fetch).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => {
                let what = format!("{}/{name}: the {len} bytes from {start} on {error}", self.places.bucket);
                io::Error::new(io::ErrorKind::InvalidData, what)
            }
            _ => error,
        })
    }
}

impl ReadAt for TieredFile {
    fn size(&self) -> u64 {
        self.size
    }

    /// What comes from the bucket was held against its hash by the cache.
    fn read_of(&self, offset: u64, len: usize) -> io::Result<(Bytes, State)> {
        match LocalFile::open(&self.places.root.join(&self.segment).join(&self.file)) {
            Ok(file) => file.read_of(offset, len),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.read_remote(offset, len).map(|bytes| (bytes, State::Fixed))
            }
            Err(error) => Err(error),
        }
    }
}

/// `tenant=…/date=…/…`
pub(super) fn is_segment_path(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], [tenant, date, first]
        if tenant.starts_with("tenant=") && date.starts_with("date=") && first.bytes().all(|b| b.is_ascii_digit()))
}

fn panicked() -> io::Error {
    io::Error::other("a thread panicked")
}
