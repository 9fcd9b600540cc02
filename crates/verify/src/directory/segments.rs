//! Segments: every byte of every file, the entries in them as the ledger they are, and that nothing is missing.
//!
//! A segment is trusted for nothing that it says of itself. Its files must have the hashes of its manifest, its
//! manifest the hash that an entry of the operations ledger has, and its entries are checked as those of the log are.

use super::elsewhere::Elsewhere;
use super::{Cause, Checker, OpenLog};
use crate::Verdict;
use indelible_ledger::{Frontier, Hash, leaf_hash};
use indelible_record::EntryView;
use indelible_record::entry::event_type;
use indelible_segment::entries::EntriesReader;
use indelible_segment::ids::IdsWriter;
use indelible_segment::manifest::{
    ENTRIES, FileFacts, FileHasher, IDS, MANIFEST, MANIFEST_MAX_BYTES, hash_of,
};
use indelible_segment::{LocalFile, Manifest, ReadAt};
use indelible_spool::frame::Kind;
use indelible_spool::wal::Record;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const READ_BYTES: u64 = 1 << 20;

/// What was found of segments, and what entries say of them.
#[derive(Default)]
pub(super) struct Sealed {
    /// By id: where it is, the hash of its manifest, and the last log file that it was made from.
    found: BTreeMap<String, (PathBuf, Hash, u64)>,
    /// By id: whose it is, the hash of its manifest, its first entry and how many it has.
    entered: BTreeMap<String, (String, String, u64, u64)>,
}

/// A segment.
pub(super) struct Found<'a> {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    /// Hash of the manifest's bytes.
    pub(super) hash: Hash,
    pub(super) place: Place<'a>,
}

/// Where a segment lies.
pub(super) enum Place<'a> {
    Here,
    There(&'a dyn Elsewhere),
    /// Where nothing is read: its name.
    Unread(String),
}

impl Found<'_> {
    fn open(&self, name: &str) -> std::io::Result<Arc<dyn ReadAt>> {
        match &self.place {
            Place::Here => Ok(Arc::new(LocalFile::open(&self.path.join(name))?)),
            Place::There(store) => store.open(&self.manifest.path(), name),
            Place::Unread(_) => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

impl<'a> Checker<'a> {
    pub(super) fn check_segments(&mut self, log: &[OpenLog], progress: &mut dyn FnMut(u64, u64)) {
        let root = self.dir.join("segments");
        let oldest_log = log.first().map_or(u64::MAX, |file| file.number);
        let mut segments = Vec::new();
        if root.is_dir() {
            self.check_segment_names(&root);
            for path in self.segment_dirs(&root) {
                match read_manifest(&path) {
                    Ok((manifest, hash)) => segments.push(Found { path, manifest, hash, place: Place::Here }),
                    Err(what) => self.broken(&path.join(MANIFEST), None, what),
                }
            }
        }
        let beyond = self.find_beyond(&segments);
        segments.extend(beyond);
        segments.sort_by(|a, b| {
            (&a.manifest.tenant, a.manifest.first).cmp(&(&b.manifest.tenant, b.manifest.first))
        });
        let read = |found: &&Found<'_>| !matches!(found.place, Place::Unread(_));
        let total: u64 = segments.iter().filter(read).map(|found| bytes_of(&found.manifest)).sum();
        let mut segments = segments.into_iter().peekable();
        while let Some(found) = segments.next() {
            let is_last = segments.peek().is_none_or(|next| next.manifest.tenant != found.manifest.tenant);
            self.check_segment(&root, &found, oldest_log, is_last);
            if read(&&found) {
                self.bytes += bytes_of(&found.manifest);
            }
            progress(self.bytes, total);
            let Found { path, manifest, hash, .. } = found;
            self.sealed.found.insert(manifest.segment, (path, hash, manifest.wal.to));
        }
    }

    fn segment_dirs(&mut self, root: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for tenant in self.dirs_in(root, "tenant=") {
            for date in self.dirs_in(&tenant, "date=") {
                found.extend(self.dirs_in(&date, ""));
            }
        }
        found
    }

    fn dirs_in(&mut self, path: &Path, prefix: &str) -> Vec<PathBuf> {
        let listing = match std::fs::read_dir(path) {
            Ok(listing) => listing,
            Err(error) => {
                self.unsure(path, None, format!("cannot be listed: {error}"));
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for entry in listing.flatten() {
            let belongs = entry.file_name().to_string_lossy().starts_with(prefix) && entry.path().is_dir();
            let staging = entry.file_name() == "staging" && prefix == "tenant=";
            if belongs {
                found.push(entry.path());
            } else if !staging {
                self.broken(&entry.path(), None, "does not belong among segments");
            }
        }
        found.sort();
        found
    }

    /// What a crash left of a segment that was being made is nothing that was promised.
    fn check_segment_names(&mut self, root: &Path) {
        let staging = root.join("staging");
        if !self.running && std::fs::read_dir(&staging).is_ok_and(|mut names| names.next().is_some()) {
            self.unsure(&staging, None, "stopped while sealing; start the collector again");
        }
    }

    /// Whether an earlier run has read it, and nothing more than its place in the ledger is asked of it: it is one of a tenant's, in
    /// the middle, none of its entries is in the log as well, and nothing that was signed ends within it.
    fn may_pass(&mut self, found: &Found<'_>, oldest_log: u64, is_last: bool) -> bool {
        let Found { manifest, hash, .. } = found;
        let known = self.journal.as_ref().is_some_and(|journal| journal.has(hash));
        let (first, end) = (manifest.first, manifest.end().unwrap_or(u64::MAX));
        known
            && !is_last
            && manifest.tenant != super::OPERATIONS
            && manifest.wal.to < oldest_log
            && first > 0
            && first == self.ledger(&manifest.tenant).check.size()
            && !self.ledger(&manifest.tenant).check.awaits_within(first, end)
    }

    fn check_segment(&mut self, root: &Path, found: &Found<'_>, oldest_log: u64, is_last: bool) {
        let Found { path, manifest, .. } = found;
        if matches!(found.place, Place::Here) {
            self.check_segment_dir(root, path, manifest);
        }
        let passed = self.may_pass(found, oldest_log, is_last);
        let before = self.findings.len();
        let whole = passed || matches!(found.place, Place::Unread(_)) || self.check_files(found);
        let state = self.ledger(&manifest.tenant);
        if state.broken {
            return;
        }
        if !whole {
            state.broken = true;
            return;
        }
        let size = state.check.size();
        if manifest.first < size {
            state.broken = true;
            let what = format!("entries {} to {} stand in two segments", manifest.first, size - 1);
            return self.add(Verdict::Broken, Some(&manifest.tenant), Some(size), path, None, what);
        }
        if manifest.first > size
            && !self.pass_over_hole(&manifest.tenant, manifest.tree_before(), manifest.prev_hash)
        {
            self.ledger(&manifest.tenant).broken = true;
            let what = format!("the segments with entries {size} to {} are missing", manifest.first - 1);
            return self.add(Verdict::Broken, Some(&manifest.tenant), Some(size), path, None, what);
        }
        let keep = manifest.wal.to >= oldest_log;
        let checked = match &found.place {
            Place::Unread(name) => self.check_follows(manifest).map(|()| self.pass_over(found, name)),
            _ if passed => self.check_follows(manifest).map(|()| self.pass_known(found)),
            _ => self.check_rows(found, keep).map(|changes_key| {
                if self.findings.len() == before && !changes_key {
                    self.note_read(found);
                }
            }),
        };
        if let Err(what) = checked {
            let state = self.ledger(&manifest.tenant);
            state.broken = true;
            let seq = state.check.size();
            self.add(Verdict::Broken, Some(&manifest.tenant), Some(seq), &path.join(ENTRIES), None, what);
        }
    }

    fn check_segment_dir(&mut self, root: &Path, path: &Path, manifest: &Manifest) {
        if path.strip_prefix(root).ok() != Some(Path::new(&manifest.path())) {
            let what = format!("the segment of {} under another name", manifest.path());
            self.broken(path, Some(&manifest.tenant), what);
        }
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let known = name == MANIFEST || manifest.files.keys().any(|file| name == **file);
            if !known {
                self.broken(&entry.path(), Some(&manifest.tenant), "does not belong into a segment");
            }
        }
    }

    /// Reads every byte; answers whether the entries are the ones that were sealed.
    fn check_files(&mut self, found: &Found<'_>) -> bool {
        let Found { path, manifest, .. } = found;
        let mut whole = true;
        for (name, facts) in &manifest.files {
            let file = path.join(name);
            match found.open(name).and_then(|file| hash_read(&*file)) {
                Ok(found) if found == *facts => continue,
                Ok(_) => {
                    let what = "its bytes are not the ones that were sealed";
                    self.broken(&file, Some(&manifest.tenant), what);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.broken(&file, Some(&manifest.tenant), "is missing");
                }
                // A reader that holds them against the manifest itself.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    self.broken(&file, Some(&manifest.tenant), error.to_string());
                }
                Err(error) => {
                    self.unsure(&file, Some(&manifest.tenant), format!("cannot be read: {error}"));
                }
            }
            whole &= name != ENTRIES;
        }
        whole
    }

    /// A segment begins with the tree that the one before it ended with.
    fn check_follows(&mut self, manifest: &Manifest) -> Result<(), String> {
        let check = &self.ledger(&manifest.tenant).check;
        if check.tree().hashes() != manifest.before || check.last_leaf() != manifest.prev_hash {
            return Err("the segment does not follow the entries before it".to_owned());
        }
        Ok(())
    }

    fn note_read(&mut self, found: &Found<'_>) {
        if let Some(journal) = &mut self.journal
            && !journal.has(&found.hash)
        {
            journal.note(&found.hash, &found.manifest.path());
        }
    }

    /// Answers whether an entry among them changes the ledger's key: then it is read each time.
    fn check_rows(&mut self, found: &Found<'_>, keep: bool) -> Result<bool, String> {
        let Found { path, manifest, .. } = found;
        // Not hashed again: what the rows are shows in the tree, whatever this read finds.
        let file = found.open(ENTRIES).map_err(|error| error.to_string())?;
        let reader = EntriesReader::open(file).map_err(|error| error.to_string())?;
        self.check_follows(manifest)?;
        let mut ids = IdsWriter::default();
        let mut leaves = Vec::new();
        let mut changes_key = false;
        reader
            .visit_from::<RowError>(0, |row, bytes| {
                let check = &mut self.ledger(&manifest.tenant).check;
                let entry = check.push(bytes).map_err(RowError)?;
                if keep {
                    leaves.push(check.last_leaf());
                }
                ids.push(u32::try_from(row).map_err(|_| RowError("too many rows".to_owned()))?, &entry);
                changes_key |= entry.event_type == event_type::KEY_ROTATED;
                self.note_entered(&entry);
                Ok(true)
            })
            .map_err(|error| error.0)?;
        let state = self.ledger(&manifest.tenant);
        if state.check.tree().hashes() != manifest.after || Some(state.check.size()) != manifest.end() {
            return Err("the segment does not end where its manifest says".to_owned());
        }
        if state.overlap.leaves.is_empty() {
            state.overlap.first = manifest.first;
            state.overlap.tree = manifest.tree_before();
        }
        state.overlap.leaves.append(&mut leaves);
        // The index is made of the entries alone: it must be the one that they make.
        let ids = ids.finish(u32::try_from(manifest.count).unwrap_or(u32::MAX));
        let mut hasher = FileHasher::default();
        hasher.update(&ids);
        if manifest.files.get(IDS) != Some(&hasher.finish()) {
            self.broken(&path.join(IDS), Some(&manifest.tenant), "is not the index of these entries");
        }
        Ok(changes_key)
    }

    /// An entry of the log. What stands in a segment too must be the same there.
    pub(super) fn check_entry(&mut self, path: &Path, offset: u64, tenant: &str, bytes: &[u8]) {
        let state = self.ledger(tenant);
        if state.broken {
            return;
        }
        let size = state.check.size();
        // Without segments there is nothing to compare it with.
        let seq = match state.has_segments() {
            true => serde_json::from_slice::<Numbered>(bytes).map_or(u64::MAX, |entry| entry.seq),
            false => size,
        };
        if seq < size {
            if !state.is_unread(seq) && state.overlap.leaf(seq) != Some(leaf_hash(bytes)) {
                let what = "an entry of this number stands in a segment, and is another".to_owned();
                self.add(Verdict::Broken, Some(tenant), Some(seq), path, Some(offset), what);
            }
            return;
        }
        match state.check.push(bytes) {
            Ok(entry) => self.note_entered(&entry),
            Err(what) => {
                state.broken = true;
                self.add(Verdict::Broken, Some(tenant), Some(size), path, Some(offset), what);
            }
        }
    }

    fn note_entered(&mut self, entry: &EntryView<'_>) {
        if entry.event_type != event_type::SEGMENT_SEALED || entry.tenant_id != super::OPERATIONS {
            return;
        }
        let (Some(segment), Some(detail)) = (&entry.resource, entry.detail()) else { return };
        let text =
            |name: &str| detail.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let number = |name: &str| detail.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let entered = (text("ledger"), text("manifest"), number("first"), number("count"));
        self.sealed.entered.insert(segment.id.to_string(), entered);
    }

    /// The oldest log file that is here says what was in those before it: segments must have exactly that.
    pub(super) fn check_base(&mut self, path: &Path, offset: u64, kind: Kind, body: &[u8]) {
        let Some(Record::Base(base)) = Record::parse(kind, body) else {
            return self.broken_at(path, offset, "the files before this one are missing");
        };
        for ledger in &base.ledgers {
            let hashes = ledger.hashes.iter().copied().map(Hash).collect();
            let root = Frontier::from_parts(ledger.size, hashes).map(|tree| tree.root());
            let state = self.ledger(ledger.tenant);
            if state.broken {
                continue;
            }
            let size = state.check.size();
            if size < ledger.size {
                let tree = root.is_ok().then(|| {
                    let hashes = ledger.hashes.iter().copied().map(Hash).collect();
                    Frontier::from_parts(ledger.size, hashes).unwrap_or_default()
                });
                if tree.is_some_and(|tree| self.pass_over_hole(ledger.tenant, tree, Hash(ledger.last_leaf))) {
                    continue;
                }
                self.ledger(ledger.tenant).broken = true;
                let what =
                    format!("entries {size} to {} were sealed, and no segment has them", ledger.size - 1);
                self.add(Verdict::Broken, Some(ledger.tenant), Some(size), path, Some(offset), what);
            } else if size == ledger.size && root != Ok(state.check.root()) {
                let what = "the entries before this file are not the ones in the segments".to_owned();
                self.add(Verdict::Broken, Some(ledger.tenant), Some(size), path, Some(offset), what);
            }
        }
    }

    /// Each segment's manifest is an entry, and each segment that was entered is here.
    pub(super) fn check_entered(&mut self) {
        let Sealed { found, entered } = std::mem::take(&mut self.sealed);
        // Behind a broken operations ledger nothing can be said of what was entered.
        let operations = self.ledger(super::OPERATIONS);
        let known = !operations.broken && operations.unread.is_empty();
        for (segment, (path, hash, _)) in &found {
            match entered.get(segment) {
                Some((_, manifest, _, _)) if *manifest == hash.to_string() => {}
                Some(_) => self.broken(&path.join(MANIFEST), None, "is not the manifest that was entered"),
                None if self.running || !known => {}
                None => self.unsure(
                    path,
                    None,
                    "the ledger does not have this segment's manifest yet; start the collector again",
                ),
            }
        }
        let missing: Vec<_> = entered.iter().filter(|(segment, _)| !found.contains_key(*segment)).collect();
        // While a collector runs, the log goes on growing: it may tell of segments that were made since they were
        // listed. Their entries were read from the log.
        let since = if self.running && !missing.is_empty() { self.listed_now() } else { BTreeMap::new() };
        for (segment, (tenant, manifest, first, count)) in missing {
            if since.get(segment).is_none_or(|hash| hash.to_string() != *manifest) {
                let what = format!("the segment with entries {first} to {} is missing", first + count - 1);
                let path = self.dir.join("segments");
                match self.unread() {
                    Some(name) => {
                        let what = format!("{what} here, and {name} was not read");
                        self.add(Verdict::Unsure, Some(tenant), Some(*first), &path, None, what);
                        self.because(Cause::Unread);
                    }
                    None => self.add(Verdict::Broken, Some(tenant), Some(*first), &path, None, what),
                }
            }
        }
    }

    /// The segments that are there now, by id, and the hashes of their manifests.
    fn listed_now(&mut self) -> BTreeMap<String, Hash> {
        let root = self.dir.join("segments");
        let manifests = self.segment_dirs(&root).into_iter().filter_map(|path| read_manifest(&path).ok());
        manifests.map(|(manifest, hash)| (manifest.segment, hash)).collect()
    }
}

/// What is read of an entry to place it.
#[derive(serde::Deserialize)]
struct Numbered {
    seq: u64,
}

struct RowError(String);

impl<E: std::fmt::Display> From<E> for RowError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

fn bytes_of(manifest: &Manifest) -> u64 {
    manifest.files.values().map(|facts| facts.bytes).sum()
}

fn read_manifest(path: &Path) -> Result<(Manifest, Hash), String> {
    let file =
        std::fs::File::open(path.join(MANIFEST)).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let limit = MANIFEST_MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    let manifest = Manifest::parse(&bytes).map_err(|error| error.to_string())?;
    Ok((manifest, hash_of(&bytes)))
}

/// Reads all of a file.
pub(super) fn hash_read(file: &dyn ReadAt) -> std::io::Result<FileFacts> {
    let mut hasher = FileHasher::default();
    let mut at = 0;
    while at < file.size() {
        let len = (file.size() - at).min(READ_BYTES) as usize;
        hasher.update(&file.read_at(at, len)?);
        at += len as u64;
    }
    Ok(hasher.finish())
}
