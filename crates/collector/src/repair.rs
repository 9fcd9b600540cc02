//! Making again what is made of other files.
//!
//! An index of ids is a function of the entries, and the manifest has its hash: what is made again is the file that
//! was there, or it is not put in place. Each segment is looked at by itself: those before it may be in a bucket alone.

use crate::CollectorError;
use crate::data_dir::DataDir;
use crate::seal::segments_dir;
use crate::store::Storage;
use crate::store::filters::filters_dir;
use crate::store::local::LocalStorage;
use crate::store::segment::{OpenLimit, Segment};
use indelible_os::durable::{self, MODE_SHARED};
use indelible_record::Entry;
use indelible_segment::ids::IdsWriter;
use indelible_segment::manifest::{FileHasher, IDS, MANIFEST};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What became of a file that was damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it was sealed.
    Made,
    /// It could not be made again.
    Not(String),
}

/// Makes the indexes of this machine's segments again that are not as they were sealed. No collector may run on the
/// directory.
pub fn indexes(data: &Path) -> Result<Vec<(PathBuf, Outcome)>, CollectorError> {
    let _held = DataDir::open(data)?;
    let root = segments_dir(data);
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::existing(&root));
    let paths = storage.list().map_err(CollectorError::io(&root))?;
    // They are made of indexes, and made again.
    let filters = filters_dir(data);
    if filters.is_dir() {
        durable::remove_dir(&filters).map_err(CollectorError::io(&filters))?;
    }
    let mut outcomes = Vec::new();
    let limit = Arc::new(OpenLimit::default());
    for segment in paths {
        let dir = root.join(&segment);
        match Segment::open(storage.clone(), &segment, limit.clone()) {
            Ok(segment) => {
                let path = dir.join(IDS);
                if !is_whole(&segment, &path) {
                    outcomes.push((path.clone(), index(&segment, &path)));
                }
            }
            Err(error) => {
                let why = format!("its segment was not looked at: {error}");
                outcomes.push((dir.join(MANIFEST), Outcome::Not(why)));
            }
        }
    }
    Ok(outcomes)
}

fn is_whole(segment: &Segment, path: &Path) -> bool {
    let mut hasher = FileHasher::default();
    std::fs::read(path).is_ok_and(|bytes| {
        hasher.update(&bytes);
        segment.manifest().files.get(IDS) == Some(&hasher.finish())
    })
}

fn index(segment: &Segment, path: &Path) -> Outcome {
    let mut ids = IdsWriter::default();
    let read = segment.visit_from(0, |row, bytes| {
        let entry: Entry = serde_json::from_slice(bytes)
            .map_err(|error| CollectorError::Refused(format!("a malformed entry: {error}")))?;
        ids.push(row as u32, &entry);
        Ok(true)
    });
    if let Err(error) = read {
        return Outcome::Not(format!("its entries cannot be read: {error}"));
    }
    let bytes = ids.finish(segment.manifest().count as u32);
    let mut hasher = FileHasher::default();
    hasher.update(&bytes);
    if segment.manifest().files.get(IDS) != Some(&hasher.finish()) {
        return Outcome::Not("the entries do not make the index that was sealed".to_owned());
    }
    match durable::replace(path, &bytes, MODE_SHARED) {
        Ok(()) => Outcome::Made,
        Err(error) => Outcome::Not(format!("it cannot be written: {error}")),
    }
}
