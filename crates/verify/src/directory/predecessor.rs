//! Ledgers that go on from others, held against what is known of those.

use super::{Cause, Finding, Report};
use crate::Verdict;
use indelible_ledger::KeyHistory;
use std::path::PathBuf;

/// A ledger that others go on from, as whoever checks those knows it.
#[derive(Clone, Debug)]
pub struct Predecessor {
    /// Its public keys.
    pub keys: KeyHistory,
    /// Checkpoints that are known of it, and where from.
    pub notes: Vec<(PathBuf, Vec<u8>)>,
}

impl Report {
    /// Holds what ledgers say against all that is known of the ledgers of a directory before them. `false`: no ledger goes on from
    /// any of those.
    pub fn hold_against_all(&mut self, predecessors: &[Predecessor]) -> bool {
        let (named, left): (Vec<_>, Vec<_>) = predecessors.iter().partition(|one| self.hold_against(one));
        if named.is_empty() {
            return false;
        }
        // One that has signed something cannot just be left behind.
        for (file, _) in left.iter().filter_map(|one| one.notes.first()) {
            let what = "no ledger here goes on from the one that this is of".to_owned();
            let file = file.clone();
            self.findings.push(Finding {
                verdict: Verdict::Broken,
                ledger: None,
                seq: None,
                file,
                offset: None,
                what,
                cause: Cause::File,
            });
        }
        self.judge();
        true
    }

    /// Holds what ledgers say of this predecessor against what is known of it. `false`: no ledger goes on from it.
    fn hold_against(&mut self, predecessor: &Predecessor) -> bool {
        let mut named = false;
        for ledger in &mut self.ledgers {
            let Some(succeeded) = &mut ledger.succeeded else { continue };
            if succeeded.statement.origin != predecessor.keys.origin() {
                continue;
            }
            named = true;
            let genesis = PathBuf::from("genesis");
            let signature = succeeded.check_signature(&predecessor.keys).map_err(|what| (genesis, what));
            let known = predecessor.notes.iter().map(|(path, note)| {
                succeeded.check_known(&predecessor.keys, note).map_err(|what| (path.clone(), what))
            });
            for (file, what) in std::iter::once(signature).chain(known).filter_map(Result::err) {
                let ledger = Some(ledger.tenant.clone());
                let (verdict, cause) = (Verdict::Broken, Cause::File);
                self.findings.push(Finding {
                    verdict,
                    ledger,
                    seq: Some(0),
                    file,
                    offset: None,
                    what,
                    cause,
                });
            }
        }
        self.judge();
        named
    }

    /// The worst finding decides.
    fn judge(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        self.verdict = self.findings.first().map_or(Verdict::Holds, |finding| finding.verdict);
    }
}
