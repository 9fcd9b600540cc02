//! Segments that do not lie in the directory: another store has them, and perhaps this machine their manifests.
//!
//! ```text
//! DIR/cache/manifests/tenant=T/date=D/FIRST    one line about the object, and behind it the manifest's exact bytes
//! ```

use indelible_ledger::Hash;
use indelible_segment::ReadAt;
use indelible_segment::manifest::{MANIFEST_MAX_BYTES, hash_of};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where segments are that the directory does not have.
pub trait Elsewhere {
    /// Its name, for people.
    fn name(&self) -> String;
    /// Paths of all segments there.
    fn segments(&self) -> io::Result<Vec<String>>;
    /// Paths there that have files of a segment, and no manifest.
    fn halves(&self) -> io::Result<Vec<String>>;
    /// A file of a segment.
    fn open(&self, segment: &str, file: &str) -> io::Result<Arc<dyn ReadAt>>;
}

/// A manifest of a segment that is elsewhere, as this machine keeps it. It may be deleted at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedManifest {
    /// What changes when the object does.
    pub tag: Option<String>,
    /// The manifest's exact bytes.
    pub bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    sha256: String,
    tag: Option<String>,
}

/// Where cached manifests lie in a data directory.
pub fn manifests_dir(data: &Path) -> PathBuf {
    data.join("cache").join("manifests")
}

impl CachedManifest {
    /// Its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Head { sha256: hash_of(&self.bytes).to_string(), tag: self.tag.clone() };
        let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.bytes);
        bytes
    }

    /// Reads a file; `None`: it is not what was written.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let end = file.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&file[..end]).ok()?;
        let bytes = file[end + 1..].to_vec();
        let same = head.sha256.parse::<Hash>().ok() == Some(hash_of(&bytes));
        same.then_some(Self { tag: head.tag, bytes })
    }

    /// Reads all that a data directory has, by the segment's path; damaged ones count as absent.
    pub fn read_all(data: &Path) -> Vec<(String, Self)> {
        let root = manifests_dir(data);
        let mut found = Vec::new();
        for tenant in names(&root) {
            for date in names(&root.join(&tenant)) {
                for first in names(&root.join(&tenant).join(&date)) {
                    let path = format!("{tenant}/{date}/{first}");
                    found.extend(Self::read(&root.join(&path)).map(|cached| (path, cached)));
                }
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn read(path: &Path) -> Option<Self> {
        let mut file = Vec::new();
        // The line before the manifest is short.
        let limit = 2 * MANIFEST_MAX_BYTES as u64;
        std::fs::File::open(path).ok()?.take(limit).read_to_end(&mut file).ok()?;
        Self::parse(&file)
    }
}

fn names(path: &Path) -> Vec<String> {
    let listing = std::fs::read_dir(path).into_iter().flatten().flatten();
    listing.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_manifest_is_read_only_as_it_was_written() {
        let cached = CachedManifest { tag: Some("\"e\"".to_owned()), bytes: b"{\"v\":1}".to_vec() };
        let file = cached.to_bytes();
        assert_eq!(CachedManifest::parse(&file), Some(cached));
        let last = file.len() - 1;
        for at in [0, 12, last] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(CachedManifest::parse(&changed), None, "byte {at}");
        }
        assert_eq!(CachedManifest::parse(&file[..last]), None);
    }
}
