//! Where a successor is made before it has its place.

use super::known::Known;
use super::{CollectorError, Plan, SuccessorError};
use crate::predecessors::Predecessors;
use crate::seal::Faults;
use indelible_os::durable;
use indelible_vault::KeyStore;
use indelible_verify::directory::OPERATIONS;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Not copied from an old key directory: made anew.
const ANEW: [&str; 4] = ["ledgers", "head", "vault.slots", "predecessors"];
/// What a data directory has that is being made.
const OF_DATA: [&str; 7] = ["FORMAT", "wal", "ledgers", "segments", "spool", "cache", "run"];
/// Most directories within each other that are copied.
const DEPTH_MAX: usize = 8;

pub(super) struct Stage {
    plan: Plan,
    /// The data directory while it is made.
    pub(super) data: PathBuf,
    /// The key directory while it is made.
    pub(super) keys: PathBuf,
}

impl Stage {
    /// Nothing is made yet.
    pub(super) fn new(plan: &Plan) -> Result<Self, SuccessorError> {
        let old = [real(&plan.data), real(&plan.keys)];
        for new in [&plan.to, &plan.to_keys] {
            let within = |what: &str| SuccessorError::Target { path: new.clone(), what: what.to_owned() };
            if old.iter().any(|old| real(new).starts_with(old)) {
                return Err(within("lies within the old directories, which stay as they are"));
            }
        }
        let (to, to_keys) = (real(&plan.to), real(&plan.to_keys));
        if to_keys.starts_with(&to) || to.starts_with(&to_keys) {
            let what = "data and key directory lie within each other: one copy would hold both".to_owned();
            return Err(SuccessorError::Target { path: plan.to_keys.clone(), what });
        }
        Ok(Self { plan: plan.clone(), data: staged(&plan.to)?, keys: staged(&plan.to_keys)? })
    }

    /// Does the last step of an attempt that was cut off before it, and says whether there was one.
    pub(super) fn finish(&self) -> Result<bool, SuccessorError> {
        let Plan { to, to_keys, .. } = &self.plan;
        let half_way = self.data.exists() && !self.keys.exists() && to_keys.exists() && !to.exists();
        if half_way && self.belongs_to(to_keys)? {
            durable::publish_dir(&self.data, to).map_err(CollectorError::io(to))?;
            return Ok(true);
        }
        for path in [to, to_keys] {
            if path.exists() {
                let what = "is there already, and nothing is ever overwritten".to_owned();
                return Err(SuccessorError::Target { path: path.clone(), what });
            }
        }
        Ok(false)
    }

    /// Whether the records that were made are those of a key directory.
    fn belongs_to(&self, keys: &Path) -> Result<bool, SuccessorError> {
        let note = std::fs::read(self.data.join("ledgers").join(OPERATIONS).join("checkpoint"));
        let histories = KeyStore::key_histories(keys)?;
        let operations = histories.iter().find(|(tenant, _)| tenant == OPERATIONS);
        Ok(note.is_ok_and(|note| operations.is_some_and(|(_, keys)| keys.open(&note).is_ok())))
    }

    /// Makes the key directory, up to what a collector makes itself, and copies the spool. What an attempt before left
    /// is removed.
    pub(super) fn begin(&self, known: &Known) -> Result<(), SuccessorError> {
        let of_keys: Vec<OsString> =
            ANEW.iter().map(OsString::from).chain(names_in(&self.plan.keys)?).collect();
        let of_data: Vec<OsString> = OF_DATA.iter().map(OsString::from).collect();
        for (path, known) in [(&self.data, of_data), (&self.keys, of_keys)] {
            if !path.exists() {
                continue;
            }
            if let Some(strange) = names_in(path)?.into_iter().find(|name| !known.contains(name)) {
                let what = format!("is in the way, and has {:?}, which no attempt makes: remove it", strange);
                return Err(SuccessorError::Target { path: path.clone(), what });
            }
            durable::remove_dir(path).map_err(CollectorError::io(path))?;
        }
        let operations = known.ledgers.get(OPERATIONS).map_or("", |ledger| ledger.keys.origin());
        let after = Predecessors::after(&self.plan.keys, operations, known.sources.clone())?;
        copy(&self.plan.keys, &self.keys, &ANEW, 0)?;
        after.create(&self.keys)?;
        Ok(())
    }

    /// Copies what a gateway of the same process has not shipped, and gives both directories their places.
    pub(super) fn publish(&self, faults: &Faults) -> Result<(), SuccessorError> {
        let Plan { data, to, to_keys, .. } = &self.plan;
        let spool = data.join("spool");
        if spool.is_dir() {
            copy(&spool, &self.data.join("spool"), &[], 0)?;
        }
        durable::publish_dir(&self.keys, to_keys).map_err(CollectorError::io(to_keys))?;
        faults.point("after the keys have their place")?;
        durable::publish_dir(&self.data, to).map_err(CollectorError::io(to))?;
        Ok(())
    }
}

fn names_in(path: &Path) -> Result<Vec<OsString>, SuccessorError> {
    let entries = std::fs::read_dir(path).map_err(CollectorError::io(path))?;
    let names = entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>();
    Ok(names.map_err(CollectorError::io(path))?)
}

/// The name beside a directory under which it is made.
fn staged(target: &Path) -> Result<PathBuf, SuccessorError> {
    let no_name =
        || SuccessorError::Target { path: target.to_owned(), what: "is no name for a directory".to_owned() };
    let name = target.file_name().ok_or_else(no_name)?;
    let mut staged = OsStr::new(".").to_owned();
    staged.push(name);
    staged.push(".successor");
    Ok(target.with_file_name(staged))
}

/// A path without links and `..`, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for above in path.ancestors() {
        if let (Ok(above_real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return above_real.join(rest);
        }
    }
    path
}

/// Copies a directory but for some names in it, durably, with its permissions. What is neither file nor directory is left out.
fn copy(from: &Path, to: &Path, but: &[&str], depth: usize) -> Result<(), SuccessorError> {
    if depth > DEPTH_MAX {
        let what = format!("more than {DEPTH_MAX} directories within each other");
        return Err(SuccessorError::Target { path: from.to_owned(), what });
    }
    durable::make_dir(to).map_err(CollectorError::io(to))?;
    for entry in std::fs::read_dir(from).map_err(CollectorError::io(from))? {
        let entry = entry.map_err(CollectorError::io(from))?;
        let (name, path) = (entry.file_name(), entry.path());
        let half_written =
            name.to_string_lossy().starts_with('.') && name.to_string_lossy().ends_with(".tmp");
        if half_written || but.iter().any(|but| name == *but) {
            continue;
        }
        let meta = std::fs::metadata(&path).map_err(CollectorError::io(&path))?;
        let there = to.join(&name);
        if meta.is_dir() {
            copy(&path, &there, &[], depth + 1)?;
        } else if meta.is_file() {
            let mode = meta.permissions().mode() & 0o777;
            copy_file(&path, &there, mode).map_err(CollectorError::io(&path))?;
        }
    }
    durable::sync_dir(to).map_err(CollectorError::io(to))?;
    Ok(())
}

fn copy_file(from: &Path, to: &Path, mode: u32) -> std::io::Result<()> {
    let mut source = std::fs::File::open(from)?;
    let mut copy = durable::create_file(to, mode)?;
    std::io::copy(&mut source, &mut copy)?;
    durable::sync_file(&copy)
}
