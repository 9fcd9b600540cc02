//! What somebody can do who has the keys: another history that holds by itself. What catches it was kept outside before.

use super::{Cheat, Here, dated_back, edited, made_up};
use crate::Trouble;
use crate::copy::Copy;
use crate::forge::{Forge, Keys};
use crate::outside::{self, us};
use crate::report::{Caught, Who};
use crate::stage::start;
use indelible_collector::read::Payload;
use indelible_collector::{Collector, entries};
use indelible_ledger::{Checkpoint, Frontier, Signer as _, leaf_hash};
use indelible_record::entry::event_type;
use indelible_vault::KeyStore;
use indelible_verify::directory::OPERATIONS;
use std::time::Instant;

/// What stands in an entry's place: entries, each with a payload if it shall have one.
type Instead<'p> = Vec<(Vec<u8>, Option<&'p Payload>)>;

impl Here<'_> {
    pub(super) fn by_insider(&mut self) -> Result<(), Trouble> {
        match self.cheat {
            Cheat::Edit | Cheat::Delete | Cheat::Reorder | Cheat::Insert | Cheat::Backdate => {
                match self.stage.in_log() {
                    Some(seq) => self.rewrite_from(seq, false)?,
                    None => self.leave_out(Who::Insider, "the log has no entries that are not sealed"),
                }
                match self.stage.in_segment() {
                    Some((seq, _)) => self.rewrite_from(seq, true)?,
                    None => self.leave_out(Who::Insider, "no segment has two entries"),
                }
                Ok(())
            }
            Cheat::Truncate => self.truncate_signed(),
            Cheat::Rollback => {
                let (size, at) = self.older_copy()?;
                self.held_against_checkpoint(
                    &at,
                    format!("records and keys of when there were {size} entries"),
                )
            }
            Cheat::Fork => self.fork(),
            Cheat::NewKey => self.new_key(),
            Cheat::SwapPayloads => self.swap_encrypted(),
            Cheat::Replay => self.replay(),
            Cheat::ForgeProof => self.forge_proof(),
        }
    }

    /// A history that is like the one of the copy but for what `alter` puts in an entry's place.
    fn forge<'p>(
        &self,
        keys: Keys,
        mut alter: impl FnMut(&str, u64, Vec<u8>) -> Result<Instead<'p>, Trouble>,
    ) -> Result<Copy, Trouble> {
        let mut forge = Forge::begin(&self.stage.copy, &self.stage.forged_dir()?, keys)?;
        for (tenant, _) in KeyStore::verifier_keys(&self.stage.copy.keys)? {
            let mut failed = None;
            let mut seq = 0;
            entries::visit(&self.stage.copy.data, &tenant, |bytes| {
                let instead = alter(&tenant, seq, bytes.to_vec());
                seq += 1;
                let put = instead.and_then(|instead| {
                    if !matches!(instead.as_slice(), [(same, _)] if same == bytes) {
                        forge.moved(&tenant);
                    }
                    instead.into_iter().try_for_each(|(bytes, said)| forge.entry(&tenant, bytes, said))
                });
                failed = put.err();
                failed.is_none()
            })?;
            failed.map_or(Ok(()), Err)?;
        }
        forge.finish()
    }

    /// The same, where only the ledger that is cheated in changes. What was sealed is in the log again.
    fn forge_ledger<'p>(
        &self,
        keys: Keys,
        mut alter: impl FnMut(u64, Vec<u8>) -> Result<Instead<'p>, Trouble>,
    ) -> Result<Copy, Trouble> {
        let tenant = self.stage.tenant.clone();
        self.forge(keys, |of, seq, bytes| {
            if of == OPERATIONS && tells_of_segment(&bytes) {
                return Ok(Vec::new());
            }
            if of == tenant { alter(seq, bytes) } else { Ok(vec![(bytes, None)]) }
        })
    }

    /// Everything from an entry on is made again, signed, and sealed if it was.
    fn rewrite_from(&mut self, seq: u64, sealed: bool) -> Result<(), Trouble> {
        let cheat = self.cheat;
        let mut held = None;
        let at = self.forge_ledger(Keys::Real, |n, bytes| {
            let instead = match (cheat, n.checked_sub(seq)) {
                (Cheat::Edit, Some(0)) => vec![edited(&bytes)?],
                (Cheat::Backdate, Some(0)) => vec![dated_back(&bytes)?],
                (Cheat::Delete, Some(0)) => Vec::new(),
                (Cheat::Insert, Some(0)) => vec![bytes.clone(), made_up(&bytes)?],
                (Cheat::Reorder, Some(0)) => {
                    held = Some(bytes);
                    Vec::new()
                }
                (Cheat::Reorder, Some(1)) => [Some(bytes), held.take()].into_iter().flatten().collect(),
                _ => vec![bytes],
            };
            Ok(instead.into_iter().map(|bytes| (bytes, None)).collect())
        })?;
        let place = if sealed { "sealed again" } else { "in the log" };
        if sealed {
            seal(&at)?;
        }
        self.held_against_checkpoint(
            &at,
            format!("entry {seq}, {place}; all behind it made and signed again"),
        )
    }

    fn truncate_signed(&mut self) -> Result<(), Trouble> {
        let size = self.stage.anywhere();
        let at = self.forge_ledger(Keys::Real, |n, bytes| {
            Ok(if n < size { vec![(bytes, None)] } else { Vec::new() })
        })?;
        self.held_against_checkpoint(
            &at,
            format!("entries {size} to {}, and signed the rest", self.stage.size - 1),
        )
    }

    /// All ledgers as they were when none was longer than that. What was signed then is signed now: it is the same
    /// signature.
    pub(super) fn older_copy(&mut self) -> Result<(u64, Copy), Trouble> {
        let size = self.stage.anywhere();
        let at = self.forge(Keys::Real, |ledger, n, bytes| {
            let gone = n >= size || (ledger == OPERATIONS && tells_of_segment(&bytes));
            Ok(if gone { Vec::new() } else { vec![(bytes, None)] })
        })?;
        Ok((size, at))
    }

    /// Verifies a forged directory by itself, and against the checkpoint that was kept.
    fn held_against_checkpoint(&mut self, at: &Copy, done: String) -> Result<(), Trouble> {
        let caught = outside::verify(at)?;
        let holds = caught.is_none();
        let kept = self.stage.outside.checkpoint(at)?;
        self.row(Who::Insider, done, Some(holds), caught.into_iter().chain(kept).collect());
        Ok(())
    }

    fn fork(&mut self) -> Result<(), Trouble> {
        let last = self.stage.size - 1;
        let at = self.forge_ledger(Keys::Real, |n, bytes| {
            let bytes = if n == last { edited(&bytes)? } else { bytes };
            Ok(vec![(bytes, None)])
        })?;
        let caught = outside::verify(&at)?;
        let holds = caught.is_none();
        let note = outside::published(&at, &self.stage.tenant)?;
        let witness = self.stage.outside.witness(&note)?;
        let kept = self.stage.outside.checkpoint(&at)?;
        let done = format!("a second history of {} entries, its last one another", self.stage.size);
        self.row(Who::Insider, done, Some(holds), caught.into_iter().chain(witness).chain(kept).collect());
        Ok(())
    }

    fn new_key(&mut self) -> Result<(), Trouble> {
        let at = self.forge_ledger(Keys::New, |n, bytes| {
            let bytes = if n == 1 { edited(&bytes)? } else { bytes };
            Ok(vec![(bytes, None)])
        })?;
        let caught = outside::verify(&at)?;
        let holds = caught.is_none();
        let key = self.stage.outside.public_key(&at)?;
        let done = "entry 1 edited, everything signed with a new key of the same name".to_owned();
        self.row(Who::Insider, done, Some(holds), caught.into_iter().chain(key).collect());
        Ok(())
    }

    /// Payloads are encrypted again, each for the other's entry. No entry changes: chain, tree and signatures are the
    /// true ones.
    fn swap_encrypted(&mut self) -> Result<(), Trouble> {
        let Some([a, b]) = self.stage.said.clone() else {
            self.leave_out(Who::Insider, "no two small payloads that differ were found");
            return Ok(());
        };
        let at = self.forge_ledger(Keys::Real, |n, bytes| {
            let said = if n == a.0 {
                Some(&b.1)
            } else if n == b.0 {
                Some(&a.1)
            } else {
                None
            };
            Ok(vec![(bytes, said)])
        })?;
        let caught = outside::verify(&at)?;
        let holds = caught.is_none();
        let mut caught: Vec<Caught> = caught.into_iter().collect();
        let collector = start(&at)?;
        let opened = commitments(&collector, &self.stage.tenant, a.0);
        collector.stop()?;
        caught.extend(opened?);
        self.row(
            Who::Insider,
            format!("of entries {} and {}, encrypted again", a.0, b.0),
            Some(holds),
            caught,
        );
        Ok(())
    }

    /// An older checkpoint, signed as it was then, is shown as the newest one.
    fn replay(&mut self) -> Result<(), Trouble> {
        let form = |error: &dyn std::fmt::Display| Trouble::Form(error.to_string());
        let size = self.stage.anywhere();
        let mut tree = Frontier::new();
        let mut failed = None;
        entries::visit(&self.stage.copy.data, &self.stage.tenant, |bytes| {
            failed = tree.append(leaf_hash(bytes)).err();
            failed.is_none() && tree.size() < size
        })?;
        failed.map_or(Ok(()), |error| Err(form(&error)))?;
        let origin = self.stage.outside.origin().to_owned();
        let signer = KeyStore::open(&self.stage.copy.keys)?.signer(&self.stage.tenant, &origin, false)?;
        let note = Checkpoint::new(signer.name(), size, tree.root()).and_then(|old| old.sign(&signer));
        let note = note.map_err(|error| form(&error))?;
        let caught = self.stage.outside.witness(&note)?;
        let done = format!("the checkpoint of {size} entries shown as the newest");
        self.row(Who::Insider, done, None, caught.into_iter().collect());
        Ok(())
    }

    /// A proof from a forged history is a good one: of that history.
    fn forge_proof(&mut self) -> Result<(), Trouble> {
        let seq = self.stage.proof.index;
        let at = self.forge_ledger(Keys::Real, |n, bytes| {
            let bytes = if n == seq { edited(&bytes)? } else { bytes };
            Ok(vec![(bytes, None)])
        })?;
        let collector = start(&at)?;
        let proof = collector.prove(&self.stage.tenant, seq);
        collector.stop()?;
        let proof = proof?;
        let begun = Instant::now();
        let alone = proof.verify(proof.extra.as_deref().unwrap_or_default()).err().map(|error| Caught {
            by: "proof --check".to_owned(),
            outside: false,
            us: us(begun),
            what: error.to_string(),
        });
        let holds = alone.is_none();
        let policy = self.stage.outside.policy(&proof.checkpoint.to_string());
        let done = format!("of entry {seq} edited, from a history signed again");
        self.row(Who::Insider, done, Some(holds), alone.into_iter().chain(policy).collect());
        Ok(())
    }
}

/// Whether an entry says that a segment was made: in a forged history none was.
fn tells_of_segment(bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Typed {
        event_type: String,
    }
    serde_json::from_slice::<Typed>(bytes).is_ok_and(|entry| entry.event_type == event_type::SEGMENT_SEALED)
}

/// Makes segments of a forged history, as the collector would.
fn seal(at: &Copy) -> Result<(), Trouble> {
    let collector = start(at)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let sealed = runtime
        .map_err(|error| Trouble::Form(error.to_string()))
        .and_then(|runtime| Ok(runtime.block_on(collector.seal())?));
    collector.stop()?;
    sealed.map(|_| ())
}

/// What `show`, `drill` and whoever else opens a payload does: holds it against what the entry commits to.
fn commitments(collector: &Collector, tenant: &str, seq: u64) -> Result<Option<Caught>, Trouble> {
    let begun = Instant::now();
    let mut caught = None;
    collector.visit_payloads(tenant, &[seq], &mut |found, payload| {
        let what = match payload {
            Ok(payload) if payload.matches(&found.entry) == Some(false) => {
                Some("request or response is not what the entry commits to".to_owned())
            }
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        let by = "commitments (drill, show)".to_owned();
        caught = what.map(|what| Caught { by, outside: false, us: us(begun), what });
        std::ops::ControlFlow::Break(())
    })?;
    Ok(caught)
}
