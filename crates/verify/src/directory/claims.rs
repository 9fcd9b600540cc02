//! What is claimed to be signed: the head, and the checkpoints that are published beside the log.
//!
//! Claims are read before the entries that they are about, which can only have grown since.

use super::{Cause, Checker};
use crate::Verdict;
use indelible_ledger::{Checkpoint, Note};
use std::path::PathBuf;

impl Checker<'_> {
    /// Reads what is claimed to be signed, before the entries that the claims are about.
    pub(super) fn read_claims(&mut self) {
        for (tenant, note) in &self.trust.head {
            let path = PathBuf::from("head");
            self.read_claim(tenant, path, note.as_bytes());
        }
        let ledgers = self.dir.join("ledgers");
        let Ok(names) = std::fs::read_dir(&ledgers) else { return };
        for name in names.flatten() {
            let tenant = name.file_name().to_string_lossy().into_owned();
            for file in ["checkpoint", "checkpoint.witnessed"] {
                let path = name.path().join(file);
                match std::fs::read(&path) {
                    Ok(note) => self.read_claim(&tenant, path, &note),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => self.unsure(&path, None, format!("cannot be read: {error}")),
                }
            }
        }
    }

    fn read_claim(&mut self, tenant: &str, path: PathBuf, note: &[u8]) {
        if !self.trust.keys.iter().any(|(known, _)| known == tenant) {
            self.unsure(&path, Some(tenant), "there is no public key to check this ledger with");
            return self.because(Cause::NoKey);
        }
        // Who may have signed it, the entries say.
        let claimed = Note::parse(note).ok().and_then(|note| Checkpoint::parse_body(note.text()).ok());
        if let Some(claimed) = claimed {
            self.ledger(tenant).check.await_root(claimed.size());
        }
        self.claims.push((tenant.to_owned(), path, note.to_vec()));
    }

    /// Holds the claims against the entries that were read since.
    pub(super) fn check_claims(&mut self) {
        for (tenant, path, note) in std::mem::take(&mut self.claims) {
            let state = self.ledger(&tenant);
            let Some(opened) = state.check.keys().map(|keys| keys.open(&note)) else { continue };
            let checkpoint = match opened {
                Ok(checkpoint) => checkpoint,
                Err(error) => {
                    self.broken(&path, Some(&tenant), format!("checkpoint: {error}"));
                    continue;
                }
            };
            if state.broken {
                continue;
            }
            if !state.can_tell(checkpoint.size()) {
                let what = "is about entries that were not read";
                self.unsure(&path, Some(&tenant), what);
                self.because(Cause::Unread);
                continue;
            }
            let state = self.ledger(&tenant);
            match state.check.check_claim(&checkpoint) {
                Ok(()) => state.signed = state.signed.max(checkpoint.size()),
                Err(what) => {
                    let seq = state.check.size().min(checkpoint.size());
                    self.add(Verdict::Broken, Some(&tenant), Some(seq), &path, None, what);
                }
            }
        }
        let unsigned: Vec<_> = self
            .ledgers
            .iter()
            .filter(|(_, state)| !state.broken && state.signed < state.check.size())
            .map(|(tenant, state)| (tenant.clone(), state.signed, state.check.size()))
            .collect();
        if !self.running {
            for (tenant, signed, size) in unsigned {
                let what = format!("{} entries are not covered by any signature yet", size - signed);
                self.add(Verdict::Unsure, Some(&tenant), Some(signed), &self.dir.join("wal"), None, what);
            }
        }
    }
}
