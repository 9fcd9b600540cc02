//! All records as readers see them: segments, and behind them the entries of the log that stand in none yet.
//!
//! A [`View`] is one moment of that. It holds on to what it names: a log file that is removed after its entries were
//! sealed stays readable for whoever has an older view, and a newer view has the segments instead. Nothing is ever
//! in neither; what is in both is taken from the segment.

pub mod filters;
pub mod local;
pub mod location;
#[cfg(feature = "s3")]
pub mod remote;
pub mod segment;
pub mod tail;

use crate::CollectorError;
use filters::Filters;
use indelible_record::Entry;
use indelible_segment::ReadAt;
use indelible_spool::Role;
use indelible_spool::reader::{FramesAt, file_name};
use indelible_spool::wal::{Record, Ref};
use segment::{OpenLimit, Segment};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tail::WalFile;

/// Segments whose index is asked at once, where they are slow to reach.
pub(crate) const SEGMENTS_AT_ONCE_MAX: usize = 32;

/// Where segments lie. Paths are relative: `tenant=…/date=…/…`.
pub trait Storage: Send + Sync {
    /// Paths of all segments that are whole.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A file of a segment, for reading.
    fn open(&self, segment: &str, file: &str) -> io::Result<Arc<dyn ReadAt>>;
    /// Makes a staged directory a segment. Once this returns it survives power loss; before, it is not listed.
    fn publish(&self, staged: &Path, segment: &str) -> io::Result<()>;
    /// Whether reading a segment is quick. Those that are not are read side by side.
    fn is_near(&self, _segment: &str) -> bool {
        true
    }
}

/// The records at one moment.
#[derive(Default)]
pub struct View {
    segments: BTreeMap<String, Vec<Arc<Segment>>>,
    files: Vec<Arc<WalFile>>,
    filters: Arc<Filters>,
}

impl View {
    /// Segments of a ledger, oldest first.
    pub fn segments(&self, tenant: &str) -> &[Arc<Segment>] {
        self.segments.get(tenant).map_or(&[], Vec::as_slice)
    }

    /// Those segments of one ledger that may have one of the ids, by their hashes. Others may be among them.
    pub fn may_have<'a>(&self, segments: Vec<&'a Arc<Segment>>, hashes: &[u64]) -> Vec<&'a Arc<Segment>> {
        self.filters.may_have(segments, hashes)
    }

    /// The same, once those that filters leave were asked one by one. Reads their indexes: may block.
    pub fn may_have_indexed<'a>(
        &self,
        segments: Vec<&'a Arc<Segment>>,
        hashes: &[u64],
    ) -> Vec<&'a Arc<Segment>> {
        let segments = self.may_have(segments, hashes);
        let ask = |some: &[&'a Arc<Segment>]| -> Vec<bool> {
            std::thread::scope(|scope| {
                let far = |one: &'a Arc<Segment>| {
                    (!one.is_near()).then(|| scope.spawn(move || one.may_have(hashes)))
                };
                let threads: Vec<_> = some.iter().copied().map(far).collect();
                let asked = some.iter().zip(threads).map(|(one, thread)| match thread {
                    Some(thread) => thread.join().unwrap_or(true),
                    None => one.may_have(hashes),
                });
                asked.collect()
            })
        };
        let may: Vec<bool> = segments.chunks(SEGMENTS_AT_ONCE_MAX).flat_map(ask).collect();
        segments.into_iter().zip(may).filter_map(|(segment, may)| may.then_some(segment)).collect()
    }

    /// All segments.
    pub fn all_segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.values().flatten()
    }

    /// How many entries of a ledger stand in segments.
    pub fn sealed(&self, tenant: &str) -> u64 {
        self.segments(tenant).last().and_then(|last| last.manifest().end()).unwrap_or(0)
    }

    /// Number of the newest entry of a ledger that stands in no segment. `None`: there is none.
    pub fn newest_logged(&self, tenant: &str) -> Option<u64> {
        let sealed = self.sealed(tenant);
        let mut files = self.files.iter().rev();
        files.find_map(|file| file.entries(Some(tenant), |_| sealed).last().map(|entry| entry.seq))
    }

    /// Hands the exact bytes of a ledger's entries that stand in no segment to `visit`, up to number `newest`, oldest
    /// first, until it answers `false`.
    pub fn visit_logged(
        &self,
        tenant: &str,
        newest: u64,
        visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), CollectorError> {
        self.visit_log(tenant, self.sealed(tenant)..newest.saturating_add(1), visit)
    }

    /// Hands the exact bytes of a ledger's entries with numbers in `range` to `visit`, oldest first, until it answers
    /// `false`. Those that are not there are left out.
    pub fn visit_range(
        &self,
        tenant: &str,
        range: Range<u64>,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), CollectorError> {
        for segment in self.segments(tenant) {
            let (first, end) = (segment.manifest().first, segment.manifest().end().unwrap_or(0));
            if end <= range.start || first >= range.end {
                continue;
            }
            let mut wanted = true;
            segment.visit_from(range.start.saturating_sub(first), |row, bytes| {
                wanted = first + row < range.end && visit(bytes);
                Ok(wanted && first + row + 1 < range.end)
            })?;
            if !wanted {
                return Ok(());
            }
        }
        self.visit_log(tenant, range.start.max(self.sealed(tenant))..range.end, visit)
    }

    fn visit_log(
        &self,
        tenant: &str,
        range: Range<u64>,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), CollectorError> {
        for file in &self.files {
            let name = file_name(file.number(), Role::Wal.extension());
            let Some(mut frames) = FramesAt::over(file.file().clone(), &name)? else { continue };
            for entry in file.entries(Some(tenant), |_| range.start) {
                if entry.seq >= range.end {
                    return Ok(());
                }
                let frame = frames.read(entry.offset.into())?;
                let record = frame.and_then(|frame| Record::parse(frame.kind, frame.body));
                let Some(Record::Entry { entry: bytes, .. }) = record else {
                    let what = format!("{name}: entry {} of {tenant} reads back differently", entry.seq);
                    return Err(CollectorError::Refused(format!("{what}: run indelible verify")));
                };
                if !visit(bytes) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Entries that are in files of the log, and the bytes that these have.
    pub fn logged(&self) -> (u64, u64) {
        self.files
            .iter()
            .fold((0, 0), |(entries, bytes), file| (entries + file.count() as u64, bytes + file.written()))
    }

    /// All entries in files before this one stand in segments. It is the newest at most, which is written to.
    pub fn sealed_before(&self) -> u64 {
        let unsealed = self.files.iter().find(|file| !file.is_sealed(|tenant| self.sealed(tenant)));
        unsealed.or(self.files.last()).map_or(0, |file| file.number())
    }

    /// Files of the log, oldest first.
    pub fn files(&self) -> &[Arc<WalFile>] {
        &self.files
    }
}

/// The view that holds now. One writer, the collector; any number of readers.
pub struct Store {
    storage: Arc<dyn Storage>,
    limit: Arc<OpenLimit>,
    view: RwLock<Arc<View>>,
}

impl Store {
    /// Reads the catalog from a listing.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self, CollectorError> {
        Self::with_filters(storage, Arc::default())
    }

    /// The same, with the filters that there are.
    pub fn with_filters(storage: Arc<dyn Storage>, filters: Arc<Filters>) -> Result<Self, CollectorError> {
        let mut segments: BTreeMap<String, Vec<Arc<Segment>>> = BTreeMap::new();
        let limit = Arc::new(OpenLimit::default());
        let failed = |path: &str, error: io::Error| {
            CollectorError::Refused(format!("segment {path}: {error}; restore it from a copy"))
        };
        let paths =
            storage.list().map_err(|error| CollectorError::Io { path: "segments".into(), source: error })?;
        for path in paths {
            let segment =
                Segment::open(storage.clone(), &path, limit.clone()).map_err(|error| failed(&path, error))?;
            segments.entry(segment.manifest().tenant.clone()).or_default().push(Arc::new(segment));
        }
        for (tenant, segments) in &mut segments {
            segments.sort_by_key(|segment| segment.manifest().first);
            check_chain(tenant, segments)?;
        }
        let view = RwLock::new(Arc::new(View { segments, files: Vec::new(), filters }));
        Ok(Self { storage, limit, view })
    }

    /// Where segments lie.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Opens a segment that was published.
    pub fn open_segment(&self, path: &str) -> Result<Arc<Segment>, CollectorError> {
        let opened = Segment::open(self.storage.clone(), path, self.limit.clone());
        opened
            .map(Arc::new)
            .map_err(|error| CollectorError::Segment { path: path.to_owned(), what: error.to_string() })
    }

    /// The records now.
    pub fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A file of the log was begun, or found at start.
    pub fn add_file(&self, file: WalFile) {
        if let Some(before) = self.view().files.last() {
            before.set_closed();
        }
        self.change(|view| view.files.push(Arc::new(file)));
    }

    /// An entry was appended to the newest file of the log.
    pub fn note_entry(&self, at: Ref, entry: &Entry) {
        let view = self.view();
        if let Some(file) = view.files.last().filter(|file| file.number() == at.file_no) {
            file.note(at.offset, entry);
        }
    }

    /// A segment was made. It follows the ones that are there.
    pub fn add_segment(&self, segment: Arc<Segment>) {
        self.change(|view| view.segments.entry(segment.manifest().tenant.clone()).or_default().push(segment));
    }

    /// The files of the log before `file_no` are about to be removed.
    pub fn drop_files_before(&self, file_no: u64) {
        self.change(|view| view.files.retain(|file| file.number() >= file_no));
    }

    fn change(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let filters = view.filters.clone();
        let mut next = View { segments: view.segments.clone(), files: view.files.clone(), filters };
        change(&mut next);
        *view = Arc::new(next);
    }
}

/// Segments of a ledger follow each other without a hole, and each begins with the tree that the last one ended with.
fn check_chain(tenant: &str, segments: &[Arc<Segment>]) -> Result<(), CollectorError> {
    let mut end = 0;
    let mut after: &[indelible_ledger::Hash] = &[];
    for segment in segments {
        let manifest = segment.manifest();
        if manifest.first != end {
            let what = if manifest.first > end { "are missing" } else { "stand in two segments" };
            return Err(CollectorError::Refused(format!(
                "ledger {tenant}: before segment {}, entries {} to {} {what}; restore them from a copy",
                segment.path(),
                end.min(manifest.first),
                end.max(manifest.first) - 1
            )));
        }
        if manifest.before != after {
            let what = format!("segment {} does not follow the one before it", segment.path());
            return Err(CollectorError::Refused(what));
        }
        end = manifest.end().unwrap_or(end);
        after = &manifest.after;
    }
    Ok(())
}
