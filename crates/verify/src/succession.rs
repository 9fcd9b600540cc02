//! Whether a ledger that goes on from another one says so in the right form, and whether that holds against what is known
//! of the other.
//!
//! The statement stands in the first entry, signed by the ledger's first key. The old key's signature can be checked, and
//! known history be missed, only by who brings the old ledger's keys and checkpoints.

use indelible_ledger::{KeyHistory, Note, Succession};
use indelible_record::EntryView;
use std::fmt;

/// What a ledger says of the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succeeded {
    /// The statement.
    pub statement: Succession,
    /// Whether the old ledger's key signed it, too.
    pub by_old: ByOld,
    note: String,
}

/// Whether the old ledger's key signed a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByOld {
    /// It did.
    Yes,
    /// It did not.
    No,
    /// Somebody did in its name, and its keys are not known.
    Unknown,
}

impl fmt::Display for ByOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        })
    }
}

impl Succeeded {
    /// Reads the statement in the first entry of a ledger, if it has one. An error says why it is none.
    pub fn of_genesis(entry: &EntryView<'_>, keys: Option<&KeyHistory>) -> Result<Option<Self>, String> {
        let detail = entry.detail().unwrap_or_default();
        let Some(said) = detail.get("succession") else { return Ok(None) };
        let note = said.as_str().ok_or("the statement of succession is no text")?;
        let broken = |error: &dyn fmt::Display| format!("the statement of succession: {error}");
        let (statement, _) = Succession::open(note.as_bytes(), &[]).map_err(|error| broken(&error))?;
        let first = keys.and_then(|keys| keys.keys().next());
        let named = detail.get("keys").and_then(|keys| keys.get(0)?.as_str());
        if first.is_some_and(|first| *first != statement.new) || named != Some(&statement.new.to_string()) {
            return Err("the statement of succession is not by the ledger's first key".to_owned());
        }
        let parsed = Note::parse(note.as_bytes()).map_err(|error| broken(&error))?;
        let claimed = parsed.signatures().iter().any(|line| line.name() == statement.origin);
        let by_old = if claimed { ByOld::Unknown } else { ByOld::No };
        Ok(Some(Self { statement, by_old, note: note.to_owned() }))
    }

    /// Checks the old key's signature. One that retired before the stated size counts as nobody's.
    pub fn check_signature(&mut self, old: &KeyHistory) -> Result<(), String> {
        let size = self.statement.size;
        let in_force: Vec<_> = old
            .periods()
            .filter(|(_, _, to)| to.is_none_or(|to| size <= to))
            .map(|(key, _, _)| key.clone())
            .collect();
        self.by_old = match Succession::open(self.note.as_bytes(), &in_force) {
            Ok((_, true)) => ByOld::Yes,
            Ok((_, false)) => ByOld::No,
            Err(error) => return Err(format!("the statement of succession: {error}")),
        };
        Ok(())
    }

    /// Holds a checkpoint of the old ledger against the statement: nothing that was signed may be denied.
    pub fn check_known(&self, old: &KeyHistory, note: &[u8]) -> Result<(), String> {
        let known = old.open(note).map_err(|error| format!("checkpoint: {error}"))?;
        let Succession { size, root, .. } = &self.statement;
        if known.size() > *size {
            return Err(format!(
                "the ledger goes on from {size} entries of the one before, but {} were signed",
                known.size()
            ));
        }
        if known.size() == *size && known.root() != *root {
            return Err(format!("the ledger goes on from other {size} entries than were signed"));
        }
        Ok(())
    }
}
