//! A segment that can be read: its manifest in memory, its files opened when they are needed.

use super::Storage;
use crate::CollectorError;
use indelible_ledger::Hash;
use indelible_record::Entry;
use indelible_segment::columns::Place;
use indelible_segment::entries::EntriesReader;
use indelible_segment::ids::{self, Ids};
use indelible_segment::manifest::{ENTRIES, IDS, MANIFEST, MANIFEST_MAX_BYTES, PAYLOAD, hash_of};
use indelible_segment::payload::{OpenFrames, Owner, PayloadReader};
use indelible_segment::{Checks, Manifest, ReadAt, Verified};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A segment.
pub struct Segment {
    storage: Arc<dyn Storage>,
    path: String,
    day: Day,
    manifest: Manifest,
    hash: Hash,
    bytes: u64,
    ids: Mutex<Option<Arc<Ids>>>,
    open: Arc<OpenFiles>,
    limit: Arc<OpenLimit>,
    /// What of its files was held against the manifest.
    checks: Mutex<BTreeMap<String, Arc<Checks>>>,
    /// Whether its manifest is an entry under a signed head.
    signed: AtomicBool,
}

/// A ledger and a date, as paths of segments have them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day {
    /// Whose ledger.
    pub tenant: String,
    /// `YYYY-MM-DD`.
    pub date: String,
}

/// What a segment has in memory of its larger files.
#[derive(Default)]
struct OpenFiles {
    entries: Mutex<Option<Arc<EntriesReader>>>,
    payload: Mutex<Option<Arc<PayloadReader>>>,
}

/// Bounds what all segments have in memory: whoever was opened first is closed first.
#[derive(Default)]
pub struct OpenLimit(Mutex<VecDeque<Weak<OpenFiles>>>);

/// A footer with its page index, and the table of the payloads, take a MiB or two of a segment of the largest size.
const OPEN_SEGMENTS_MAX: usize = 64;

impl OpenLimit {
    fn opened(&self, files: &Arc<OpenFiles>) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let files = Arc::downgrade(files);
        if queue.iter().any(|open| open.ptr_eq(&files)) {
            return;
        }
        queue.push_back(files);
        let oldest = (queue.len() > OPEN_SEGMENTS_MAX).then(|| queue.pop_front()).flatten();
        drop(queue);
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            oldest.entries.lock().unwrap_or_else(PoisonError::into_inner).take();
            oldest.payload.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

impl Segment {
    /// Reads the manifest.
    pub fn open(storage: Arc<dyn Storage>, path: &str, limit: Arc<OpenLimit>) -> io::Result<Self> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let file = storage.open(path, MANIFEST)?;
        let len = usize::try_from(file.size()).unwrap_or(usize::MAX);
        if len > MANIFEST_MAX_BYTES {
            return Err(bad(format!("{MANIFEST} is over the size limit")));
        }
        let bytes = file.read_at(0, len)?;
        let manifest = Manifest::parse(&bytes).map_err(|error| bad(format!("{MANIFEST}: {error}")))?;
        if manifest.path() != path {
            return Err(bad(format!("{MANIFEST} belongs to {}", manifest.path())));
        }
        let total = manifest.files.values().map(|facts| facts.bytes).sum::<u64>() + bytes.len() as u64;
        Ok(Self {
            storage,
            path: path.to_owned(),
            day: Day {
                tenant: manifest.tenant.clone(),
                date: path
                    .split('/')
                    .find_map(|part| part.strip_prefix("date="))
                    .unwrap_or_default()
                    .to_owned(),
            },
            manifest,
            hash: hash_of(&bytes),
            bytes: total,
            ids: Mutex::default(),
            open: Arc::default(),
            limit,
            checks: Mutex::default(),
            signed: AtomicBool::new(false),
        })
    }

    /// Its path, relative to where segments lie.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its ledger, and the date that it is filed under.
    pub fn day(&self) -> &Day {
        &self.day
    }

    /// What it is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Hash of the manifest's bytes.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Whether its manifest is an entry under a signed head: it is final.
    pub fn is_signed(&self) -> bool {
        self.signed.load(Ordering::Relaxed)
    }

    /// Its manifest is an entry under a signed head.
    pub(crate) fn set_signed(&self) {
        self.signed.store(true, Ordering::Relaxed);
    }

    /// Whether reading it is quick.
    pub fn is_near(&self) -> bool {
        self.storage.is_near(&self.path)
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One of its files; what is read from it is held against the manifest, once for as long as nobody changes it.
    pub fn file(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        let facts = self.manifest.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let file = self.storage.open(&self.path, name)?;
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let checks = checks.entry(name.to_owned()).or_default().clone();
        Ok(Arc::new(Verified::knowing(name, file, facts, checks)?))
    }

    /// Its entries.
    pub fn entries(&self) -> Result<Arc<EntriesReader>, CollectorError> {
        self.opened(&self.open.entries, || {
            let reader = EntriesReader::open(self.file(ENTRIES)?).map_err(io::Error::other)?;
            if reader.rows() != self.manifest.count {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "another number of rows"));
            }
            Ok(reader)
        })
        .map_err(|error| self.failed(ENTRIES, &error))
    }

    /// The exact bytes of the entry in a row.
    pub fn entry(&self, row: u64) -> Result<Vec<u8>, CollectorError> {
        let bytes = self.entries()?.entry(row).map_err(|error| self.failed(ENTRIES, &error))?;
        Ok(bytes.to_vec())
    }

    /// Where the payload of a row is, if it is here.
    pub fn place(&self, row: u64) -> Result<Option<Place>, CollectorError> {
        self.entries()?.place(row).map_err(|error| self.failed(ENTRIES, &error))
    }

    /// The plain record of a payload, its frames among those in `open`. `decrypt` is handed a context and an encrypted
    /// part.
    ///
    /// What is encrypted answers for itself: it opens with the key it was closed with, for the segment, frame and
    /// entries that it belongs to, or not at all. Only when it does not is it held against the manifest, which says
    /// where the damage is.
    pub fn record_among(
        &self,
        place: Place,
        open: &mut OpenFrames,
        mut decrypt: impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, CollectorError>,
    ) -> Result<Vec<u8>, CollectorError> {
        let quick = self
            .opened(&self.open.payload, || {
                PayloadReader::open(self.storage.open(&self.path, PAYLOAD)?, self.owner())
            })
            .map_err(CollectorError::from)
            .and_then(|reader| reader.record_among(place, open, &mut decrypt));
        quick.or_else(|_| {
            let reader = self.file(PAYLOAD).and_then(|file| PayloadReader::open(file, self.owner()));
            let reader = reader.map_err(|error| self.failed(PAYLOAD, &error))?;
            reader.record(place, decrypt)
        })
    }

    /// Hands the hashes of all ids of its entries to `visit`, some more than once.
    pub fn visit_ids(&self, visit: &mut dyn FnMut(u64)) -> io::Result<()> {
        Ids::open(self.file(IDS)?)?.visit_hashes(visit)
    }

    /// Rows whose entry has one of these ids, by their hashes, in order; some may only have the same hash. When the
    /// index cannot be read, every row is looked at: an index can be slow, and never wrong.
    pub fn rows_with(&self, hashes: &[u64]) -> Result<Vec<u64>, CollectorError> {
        let indexed = || -> io::Result<BTreeSet<u64>> {
            // Each page of the index has a checksum of its own: it is not held against the manifest, block by block.
            let ids = kept(&self.ids, || Ids::open(self.storage.open(&self.path, IDS)?))?;
            let mut rows = BTreeSet::new();
            for hash in hashes {
                rows.extend(ids.find(*hash)?.into_iter().map(u64::from));
            }
            Ok(rows)
        };
        match indexed() {
            Ok(rows) => Ok(rows.into_iter().collect()),
            Err(error) => {
                tracing::warn!(segment = self.path, %error, "an index cannot be read: looking at every row");
                self.rows_by_looking(hashes)
            }
        }
    }

    /// Whether a row may have one of these ids, by their hashes. Nobody looks at the rows where the answer is no: the index is
    /// held against the manifest, and one that cannot be read or is another one says yes.
    pub fn may_have(&self, hashes: &[u64]) -> bool {
        let has = || -> io::Result<bool> {
            let ids = Ids::open(self.file(IDS)?)?;
            for hash in hashes {
                if ids.has(*hash)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        has().unwrap_or_else(|error| {
            tracing::warn!(segment = self.path, %error, "an index cannot be read: the segment is not left out");
            true
        })
    }

    fn rows_by_looking(&self, hashes: &[u64]) -> Result<Vec<u64>, CollectorError> {
        let mut rows = Vec::new();
        self.visit_from(0, |row, bytes| {
            let entry: Entry = serde_json::from_slice(bytes).map_err(|error| self.failed(ENTRIES, &error))?;
            let mut has = false;
            ids::hashes(&entry, |hash| has |= hashes.contains(&hash));
            if has {
                rows.push(row);
            }
            Ok(true)
        })?;
        Ok(rows)
    }

    /// Hands the exact bytes of the entries from row `from` on to `visit`, until it answers `false`.
    pub fn visit_from(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<bool, CollectorError>,
    ) -> Result<(), CollectorError> {
        let reader = self.entries()?;
        let mut outcome = Ok(());
        let read = reader.visit_from(from, |row, bytes| {
            visit(row, bytes).or_else(|error| {
                outcome = Err(error);
                Ok::<bool, parquet::errors::ParquetError>(false)
            })
        });
        read.map_err(|error| self.failed(ENTRIES, &error))?;
        outcome
    }

    /// What is kept open, within the bound of all segments. Others are closed once this one is open: to wait for one that is
    /// being opened while holding another could go round in a circle.
    fn opened<T>(
        &self,
        slot: &Mutex<Option<Arc<T>>>,
        open: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Arc<T>> {
        let mut anew = false;
        let reader = kept(slot, || {
            anew = true;
            open()
        })?;
        if anew {
            self.limit.opened(&self.open);
        }
        Ok(reader)
    }

    fn owner(&self) -> Owner {
        Owner {
            tenant: self.manifest.tenant.clone(),
            origin: self.manifest.origin.clone(),
            segment: self.manifest.segment.parse().unwrap_or_default(),
        }
    }

    fn failed(&self, file: &str, error: &dyn std::fmt::Display) -> CollectorError {
        let what = format!("{file}: {error}: run indelible verify");
        CollectorError::Segment { path: self.path.clone(), what }
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Segment").field(&self.path).finish()
    }
}

/// What is kept open, opened now if it is not.
fn kept<T>(slot: &Mutex<Option<Arc<T>>>, open: impl FnOnce() -> io::Result<T>) -> io::Result<Arc<T>> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(open) = &*slot {
        return Ok(open.clone());
    }
    let opened = Arc::new(open()?);
    *slot = Some(opened.clone());
    Ok(opened)
}
