//! What may be said of segments that the directory does not have.
//!
//! Those of another store are checked there, if it may be read. If not, nothing is said for or against them: the check
//! goes on behind them, from what a manifest, or the log, says that they came to.

use super::elsewhere::{CachedManifest, Elsewhere};
use super::segments::{Found, Place, hash_read};
use super::{Cause, Checker, State};
use crate::Verdict;
use indelible_ledger::{Frontier, Hash};
use indelible_segment::Manifest;
use indelible_segment::manifest::{MANIFEST, MANIFEST_MAX_BYTES, hash_of};
use std::collections::HashSet;
use std::path::PathBuf;

/// Where segments may be that the directory does not have.
#[derive(Clone, Copy)]
pub enum Beyond<'a> {
    /// Nowhere that is known of.
    Unknown,
    /// In a store of this name, which is not read.
    Unread(&'a str),
    /// In this store.
    Read(&'a dyn Elsewhere),
}

impl<'a> Checker<'a> {
    /// Whether a segment that is not here may be somewhere that cannot be looked at: its name.
    pub(super) fn unread(&self) -> Option<String> {
        match self.beyond {
            Beyond::Unread(name) => Some(name.to_owned()),
            Beyond::Read(store) if !self.beyond_listed => Some(store.name()),
            _ => None,
        }
    }

    /// Segments that are not `here`; copies of those that are, are checked at once.
    pub(super) fn find_beyond(&mut self, here: &[Found<'a>]) -> Vec<Found<'a>> {
        let local: HashSet<String> = here.iter().map(|found| found.manifest.path()).collect();
        if let Beyond::Read(store) = self.beyond {
            match store.segments() {
                Ok(paths) => {
                    self.beyond_listed = true;
                    self.check_halves(store, &local);
                    return paths.iter().filter_map(|path| self.find_there(store, path, here)).collect();
                }
                Err(error) => self.unsure(&PathBuf::from(store.name()), None, error.to_string()),
            }
        }
        let known = CachedManifest::read_all(self.dir);
        let name = match self.unread() {
            Some(name) => name,
            None if known.iter().any(|(path, _)| !local.contains(path)) => "another store".to_owned(),
            None => return Vec::new(),
        };
        let unread = |(path, cached): (String, CachedManifest)| {
            let manifest = Manifest::parse(&cached.bytes).ok().filter(|manifest| manifest.path() == path)?;
            let path = PathBuf::from(format!("{name}/{path}"));
            let hash = hash_of(&cached.bytes);
            (!local.contains(&manifest.path())).then(|| Found {
                path,
                manifest,
                hash,
                place: Place::Unread(name.clone()),
            })
        };
        known.into_iter().filter_map(unread).collect()
    }

    /// Files of a segment whose manifest did not come: it comes last. While a collector runs and has the segment, it may be on its
    /// way there now.
    fn check_halves(&mut self, store: &dyn Elsewhere, local: &HashSet<String>) {
        let name = store.name();
        let halves = match store.halves() {
            Ok(halves) => halves,
            Err(error) => return self.unsure(&PathBuf::from(name), None, error.to_string()),
        };
        for path in halves {
            // It may have been made since those here were listed.
            let manifest = self.dir.join("segments").join(&path).join(MANIFEST);
            let is_here = local.contains(&path) || manifest.exists();
            if is_here && self.running {
                continue;
            }
            let what = match is_here {
                true => "half uploaded: the collector makes it whole when it starts",
                false => "half a segment, without its manifest, and no segment here has this name",
            };
            self.unsure(&PathBuf::from(format!("{name}/{path}")), None, what);
            self.because(Cause::Half);
        }
    }

    fn find_there(&mut self, store: &'a dyn Elsewhere, path: &str, here: &[Found<'a>]) -> Option<Found<'a>> {
        let shown = PathBuf::from(format!("{}/{path}", store.name()));
        let read = || -> std::io::Result<_> {
            let file = store.open(path, MANIFEST)?;
            let len = usize::try_from(file.size()).unwrap_or(usize::MAX);
            if len > MANIFEST_MAX_BYTES {
                return Err(std::io::Error::other("over the size limit"));
            }
            file.read_at(0, len)
        };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) => {
                self.unsure(&shown.join(MANIFEST), None, format!("cannot be read: {error}"));
                return None;
            }
        };
        let manifest = match Manifest::parse(&bytes) {
            Ok(manifest) if manifest.path() == path => manifest,
            Ok(manifest) => {
                self.broken(&shown, None, format!("the segment of {} under another name", manifest.path()));
                return None;
            }
            Err(error) => {
                self.broken(&shown.join(MANIFEST), None, error.to_string());
                return None;
            }
        };
        let hash = hash_of(&bytes);
        match here.iter().find(|found| found.manifest.path() == path) {
            None => Some(Found { path: shown, manifest, hash, place: Place::There(store) }),
            Some(same) => {
                self.check_copy(store, &shown, path, same, hash);
                None
            }
        }
    }

    /// A copy of a segment that is here must be one.
    fn check_copy(
        &mut self,
        store: &dyn Elsewhere,
        shown: &std::path::Path,
        path: &str,
        same: &Found<'_>,
        hash: Hash,
    ) {
        let tenant = Some(same.manifest.tenant.as_str());
        if hash != same.hash {
            return self.broken(&shown.join(MANIFEST), tenant, "is another manifest than the one here");
        }
        for (name, facts) in &same.manifest.files {
            match store.open(path, name).and_then(|file| hash_read(&*file)) {
                Ok(found) if found == *facts => {}
                Ok(_) => {
                    self.broken(&shown.join(name), tenant, "its bytes are not the ones that were sealed")
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.broken(&shown.join(name), tenant, "is missing");
                }
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    self.broken(&shown.join(name), tenant, error.to_string());
                }
                Err(error) => self.unsure(&shown.join(name), tenant, format!("cannot be read: {error}")),
            }
            self.bytes += facts.bytes;
        }
    }

    /// A segment that is not looked at: what its manifest says is taken as said.
    pub(super) fn pass_over(&mut self, found: &Found<'_>, name: &str) {
        let manifest = &found.manifest;
        let (tenant, end) = (manifest.tenant.clone(), manifest.end().unwrap_or(u64::MAX));
        let what = format!("entries {} to {} are in {name}, which was not read", manifest.first, end - 1);
        self.add(Verdict::Unsure, Some(&tenant), Some(manifest.first), &found.path, None, what);
        self.because(Cause::Unread);
        let after = Frontier::from_parts(end, manifest.after.clone());
        let state = self.ledger(&tenant);
        match after {
            Ok(after) => state.skip(after, manifest.last_leaf),
            Err(_) => state.broken = true,
        }
    }

    /// A segment that an earlier run has read.
    pub(super) fn pass_known(&mut self, found: &Found<'_>) {
        let manifest = &found.manifest;
        let after = Frontier::from_parts(manifest.end().unwrap_or(u64::MAX), manifest.after.clone());
        let state = self.ledger(&manifest.tenant);
        match after {
            Ok(after) => state.skip(after, manifest.last_leaf),
            Err(_) => state.broken = true,
        }
        if let Some(journal) = &mut self.journal {
            journal.passed += 1;
        }
    }

    /// Entries that are neither here nor known to be elsewhere. Where something could not be read they may be there:
    /// then the check goes on behind them, and this is `true`.
    pub(super) fn pass_over_hole(&mut self, tenant: &str, to: Frontier, last_leaf: Hash) -> bool {
        let Some(name) = self.unread() else { return false };
        let size = self.ledger(tenant).check.size();
        let what = format!("entries {size} to {} are not here, and {name} was not read", to.size() - 1);
        let path = PathBuf::from(name);
        self.add(Verdict::Unsure, Some(tenant), Some(size), &path, None, what);
        self.because(Cause::Unread);
        self.ledger(tenant).skip(to, last_leaf);
        true
    }
}

impl State {
    fn skip(&mut self, to: Frontier, last_leaf: Hash) {
        self.unread.push(self.check.size()..to.size());
        self.check.resume(to, last_leaf);
    }

    /// Whether an entry stands in a segment that was not read.
    pub(super) fn is_unread(&self, seq: u64) -> bool {
        self.unread.iter().any(|range| range.contains(&seq))
    }

    /// Whether the tree of this size can be told: not within a segment that was not read.
    pub(super) fn can_tell(&self, size: u64) -> bool {
        !self.unread.iter().any(|range| range.start < size && size < range.end)
    }
}
