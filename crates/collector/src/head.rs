//! The head: which tree heads have been signed. Replacing it is the commit point of every ledger.
//!
//! It lies with the keys, apart from the records, so that restoring an old copy of the records cannot
//! take it back in time with them. It is written by compare-and-swap under the directory's lock: the
//! bytes on disk must be the ones this process last saw, or someone else is signing too. An error while
//! replacing it leaves the outcome unknown, and the process ends: a restart reads what is there.

use crate::CollectorError;
use indelible_os::durable::{self, MODE_SECRET};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The head file and what it was when last read or written.
#[derive(Debug)]
pub struct Head {
    path: PathBuf,
    seen: Option<Vec<u8>>,
    content: Content,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: u32,
    /// The WAL that the heads are about.
    log: String,
    /// Tenant to signed note.
    ledgers: BTreeMap<String, String>,
}

impl Head {
    /// Reads the head; a missing file is an empty head.
    pub fn read(path: &Path) -> Result<Self, CollectorError> {
        let seen = match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(CollectorError::io(path)(error)),
        };
        let content = match &seen {
            None => Content { v: 1, ..Content::default() },
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| CollectorError::Format {
                path: path.to_owned(),
                what: format!("not a head: {error}"),
            })?,
        };
        if content.v != 1 {
            let what = format!("head of version {}, but this program reads version 1", content.v);
            return Err(CollectorError::Format { path: path.to_owned(), what });
        }
        Ok(Self { path: path.to_owned(), seen, content })
    }

    /// Each ledger's signed note.
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.content.ledgers
    }

    /// The WAL that the heads are about; empty before the first.
    pub fn log(&self) -> &str {
        &self.content.log
    }

    /// Replaces the notes of some ledgers. On an error the outcome is unknown: the process must end.
    pub fn swap(&mut self, log: &str, changed: &BTreeMap<String, String>) -> Result<(), CollectorError> {
        let now = match std::fs::read(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(CollectorError::io(&self.path)(error)),
        };
        if now != self.seen {
            let what = format!("{} was changed by someone else", self.path.display());
            return Err(CollectorError::Refused(what));
        }
        let mut next = self.content.clone();
        log.clone_into(&mut next.log);
        next.ledgers.extend(changed.iter().map(|(tenant, note)| (tenant.clone(), note.clone())));
        let mut bytes =
            serde_json::to_vec_pretty(&next).map_err(|error| CollectorError::Sign(error.to_string()))?;
        bytes.push(b'\n');
        durable::replace(&self.path, &bytes, MODE_SECRET).map_err(CollectorError::io(&self.path))?;
        self.seen = Some(bytes);
        self.content = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_noticed_before_it_is_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("head");
        let mut ours = Head::read(&path).unwrap();
        let mut theirs = Head::read(&path).unwrap();
        let note = |text: &str| BTreeMap::from([("default".to_owned(), text.to_owned())]);
        ours.swap("log", &note("one")).unwrap();
        assert!(matches!(theirs.swap("log", &note("two")), Err(CollectorError::Refused(_))));
        assert_eq!(Head::read(&path).unwrap().notes()["default"], "one");
    }
}
