//! What a ledger's tree shows: that an entry is in it, that entries are, that it grew from an older one.
//!
//! Every proof leads to a signed checkpoint, the newest or the newest witnessed, and was checked before it is handed out. Tiles that lead elsewhere
//! were damaged: they are made again once.

use crate::query::{Query, Wanted};
use crate::read::forward::Ahead;
use crate::read::{Found, Payload, Reader};
use crate::sequencer::lock;
use crate::tiles::Tree;
use crate::{Collector, CollectorError};
use indelible_ledger::{
    Checkpoint, Hash, KeyHistory, Note, ProofFile, ProveError, Tile, TileKind, leaf_hash, prove_consistency,
    prove_entries, prove_inclusion, root_from_entries, verify_inclusion,
};
use std::ops::{ControlFlow, Range};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    /// There is no such ledger, or nothing of it was signed.
    #[error("there is no signed ledger of tenant {0:?}")]
    Unknown(String),
    /// The entry or the size is beyond what was signed.
    #[error("{number} is beyond the {size} entries that are signed")]
    Beyond {
        /// What was asked for.
        number: u64,
        /// How many entries are signed.
        size: u64,
    },
    /// The ledger could not be read.
    #[error(transparent)]
    Collector(#[from] CollectorError),
}

/// Takes a record with its payload, or why that cannot be read.
pub type VisitPayload<'v> = dyn FnMut(&Found, Result<Payload, CollectorError>) -> ControlFlow<()> + 'v;

/// A ledger as it was signed.
#[derive(Clone)]
pub struct Signed {
    /// The signed checkpoint, with its cosignatures.
    pub note: Note,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// A consistency proof to the newest signed tree.
pub struct Consistency {
    /// The tree that it leads to.
    pub signed: Signed,
    /// The root of the older tree, as it is computed now.
    pub old_root: Hash,
    /// The proof (RFC 9162 §2.1.4.1).
    pub hashes: Vec<Hash>,
}

/// That entries are in the newest signed tree.
pub struct Entries {
    /// The tree.
    pub signed: Signed,
    /// Number and exact bytes of each, ascending.
    pub entries: Vec<(u64, Vec<u8>)>,
    /// One proof for all of them, as [`indelible_ledger::root_from_entries`] reads it.
    pub hashes: Vec<Hash>,
}

impl Collector {
    /// What was signed last of a ledger.
    pub fn signed(&self, tenant: &str) -> Result<Signed, NoProof> {
        let unknown = || NoProof::Unknown(tenant.to_owned());
        let note = self.checkpoint(tenant).ok_or_else(unknown)?;
        let damaged = |what: String| CollectorError::Refused(format!("the checkpoint of {tenant}: {what}"));
        let note = Note::parse(note.as_bytes()).map_err(|error| damaged(error.to_string()))?;
        let checkpoint = Checkpoint::parse_body(note.text()).map_err(|error| damaged(error.to_string()))?;
        Ok(Signed { note, checkpoint })
    }

    /// The inclusion proof of an entry. Blocks.
    pub fn prove(&self, tenant: &str, seq: u64) -> Result<ProofFile, NoProof> {
        self.prove_twice(tenant, seq, |signed, tree| {
            let size = signed.checkpoint.size();
            let entry = entries_of(tree, seq..seq + 1, size)?.pop().unwrap_or_default();
            let hashes =
                prove_inclusion(seq, size, |level, index| tree.node(level, index)).map_err(of_prove)?;
            let shown = verify_inclusion(&hashes, seq, size, &leaf_hash(&entry), &signed.checkpoint.root());
            let proof = ProofFile { extra: Some(entry), index: seq, hashes, checkpoint: signed.note.clone() };
            Ok(shown.is_ok().then_some(proof))
        })
    }

    /// The proof that entries with these numbers (ascending) are in the ledger, and the entries. Blocks.
    pub fn prove_entries(&self, tenant: &str, numbers: &[u64]) -> Result<Entries, NoProof> {
        let last = numbers.last().copied().unwrap_or(0);
        self.prove_twice(tenant, last, |signed, tree| entries_under(numbers, signed, tree))
    }

    /// The same under a checkpoint that was signed, such as one that was anchored. Blocks.
    pub fn prove_entries_under(
        &self,
        tenant: &str,
        numbers: &[u64],
        signed: &Signed,
    ) -> Result<Entries, NoProof> {
        let view = self.view();
        let tree = Tree::new(self.tiles(), &view, tenant, signed.checkpoint.size());
        entries_under(numbers, signed, &tree)?.ok_or_else(|| not_led(tenant).into())
    }

    /// The exact bytes of the last entry that a signed checkpoint covers. Blocks.
    pub fn last_entry(&self, tenant: &str, signed: &Signed) -> Result<Vec<u8>, NoProof> {
        let size = signed.checkpoint.size();
        let view = self.view();
        let tree = Tree::new(self.tiles(), &view, tenant, size);
        Ok(entries_of(&tree, size.saturating_sub(1)..size, size)?.pop().unwrap_or_default())
    }

    /// The proof that the newest signed tree begins with the one of `old_size` entries. Blocks.
    pub fn prove_growth(&self, tenant: &str, old_size: u64) -> Result<Consistency, NoProof> {
        self.prove_twice(tenant, u64::MAX, |signed, tree| {
            let size = signed.checkpoint.size();
            if old_size > size {
                return Err(NoProof::Beyond { number: old_size, size });
            }
            let node = |level: u8, index: u64| tree.node(level, index);
            let old_root = root_at(old_size, node)?;
            let hashes = prove_consistency(old_size, size, node).map_err(of_prove)?;
            let root = signed.checkpoint.root();
            let shown = indelible_ledger::verify_consistency(&hashes, old_size, size, &old_root, &root);
            let signed = signed.clone();
            Ok(shown.is_ok().then_some(Consistency { signed, old_root, hashes }))
        })
    }

    /// The proof from one size to another, both of them signed. Blocks.
    pub fn prove_growth_to(&self, tenant: &str, from: u64, to: u64) -> Result<Vec<Hash>, NoProof> {
        let size = self.signed(tenant)?.checkpoint.size();
        if to > size || from > to {
            return Err(NoProof::Beyond { number: to.max(from), size: to.min(size) });
        }
        let view = self.view();
        let tree = Tree::new(self.tiles(), &view, tenant, to);
        prove_consistency(from, to, |level, index| tree.node(level, index)).map_err(of_prove)
    }

    /// The bytes of a tile or an entry bundle of a signed tree. `None`: there is no such tile. Blocks.
    pub fn tile(&self, tenant: &str, tile: &Tile) -> Result<Option<Vec<u8>>, NoProof> {
        let signed = self.signed(tenant)?;
        let view = self.view();
        let tree = Tree::new(self.tiles(), &view, tenant, signed.checkpoint.size());
        if tile.kind() == TileKind::Entries {
            return Ok(tree.bundle(tile)?);
        }
        let Some(hashes) = tree.hashes(tile)? else { return Ok(None) };
        let bytes = tile.encode(&hashes).map_err(|error| CollectorError::Sign(error.to_string()))?;
        Ok(Some(bytes))
    }

    /// Signs a list of files with a ledger's key. What is a checkpoint, or ends like one, is not a list.
    pub fn sign_list(&self, tenant: &str, text: String) -> Result<String, CollectorError> {
        let failed = |what: String| CollectorError::Sign(what);
        // Each line begins with a hash: no such text is a checkpoint or the digest of a file.
        if !text.lines().all(|line| line.get(..64).is_some_and(|hash| Hash::from_hex(hash).is_ok())) {
            return Err(failed("what was to be signed is no list of files".to_owned()));
        }
        let keys =
            self.ledger_keys(tenant)?.ok_or_else(|| CollectorError::UnknownTenant(tenant.to_owned()))?;
        let signer = {
            let vault = lock(self.vault());
            let signer = vault.keys().signer(tenant, keys.origin(), false)?;
            // In the middle of a change the new key has not taken its place yet.
            match signer.verifier_key() == keys.newest() {
                true => Some(signer),
                false => vault.keys().next_signer(tenant, keys.origin())?,
            }
        };
        let signer = signer
            .filter(|signer| signer.verifier_key() == keys.newest())
            .ok_or_else(|| failed(format!("the key of ledger {tenant} is just being changed: ask again")))?;
        let note = Note::sign_list(text, &signer).map_err(|error| failed(error.to_string()))?;
        Ok(note.to_string())
    }

    /// Hands the records with these numbers (ascending) to `visit`, each with its payload or why that cannot be read,
    /// until it breaks off. That they are looked at must be on record. Blocks.
    pub fn visit_payloads(
        &self,
        tenant: &str,
        numbers: &[u64],
        visit: &mut VisitPayload<'_>,
    ) -> Result<(), CollectorError> {
        let query = Query { tenant: Some(tenant.to_owned()), ..Query::default() };
        let Some(wanted) = Wanted::resolve(&query, &mut lock(self.vault()))? else { return Ok(()) };
        let reader = Reader::new(self.view(), self.vault());
        for run in runs(numbers) {
            let flow = reader.forward(&wanted, tenant, run, &mut |ahead| match ahead {
                Ahead::Record(found) => Ok(visit(&found, reader.payload(&found))),
                Ahead::At(_) => Ok(ControlFlow::Continue(())),
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The public keys of a ledger, as the key directory has them.
    pub fn ledger_keys(&self, tenant: &str) -> Result<Option<KeyHistory>, CollectorError> {
        let keys = indelible_vault::KeyStore::key_histories(&self.config().keys)?;
        Ok(keys.into_iter().find(|(name, _)| name == tenant).map(|(_, keys)| keys))
    }

    /// The signed tree that a proof of an entry shall lead to: the newest that witnesses cosigned, if it has the entry, or else the
    /// newest.
    fn signed_with(&self, tenant: &str, seq: u64) -> Result<Signed, NoProof> {
        let witnessed = self.witnessed(tenant).filter(|signed| seq < signed.checkpoint.size());
        witnessed.map_or_else(|| self.signed(tenant), Ok)
    }

    /// Makes a proof from the tiles that are kept, and if it does not lead to the root, once more from the entries.
    fn prove_twice<T>(
        &self,
        tenant: &str,
        seq: u64,
        prove: impl Fn(&Signed, &Tree<'_>) -> Result<Option<T>, NoProof>,
    ) -> Result<T, NoProof> {
        for _ in 0..2 {
            // The checkpoint first: the view then has everything that it covers.
            let signed = self.signed_with(tenant, seq)?;
            let view = self.view();
            let tree = Tree::new(self.tiles(), &view, tenant, signed.checkpoint.size());
            if let Some(proof) = prove(&signed, &tree)? {
                return Ok(proof);
            }
            tracing::warn!(tenant, "the tiles kept do not lead to the signed root: they are made again");
            self.tiles().forget(tenant);
        }
        Err(not_led(tenant).into())
    }
}

fn not_led(tenant: &str) -> CollectorError {
    let what = format!("ledger {tenant}: the entries here do not lead to the signed root");
    CollectorError::Refused(format!("{what}: run indelible verify"))
}

/// The proof of entries under one checkpoint. `None`: the tiles do not lead to its root.
fn entries_under(numbers: &[u64], signed: &Signed, tree: &Tree<'_>) -> Result<Option<Entries>, NoProof> {
    let size = signed.checkpoint.size();
    let mut entries = Vec::with_capacity(numbers.len());
    for run in runs(numbers) {
        let first = run.start;
        let here = entries_of(tree, run, size)?;
        entries.extend(here.into_iter().zip(first..).map(|(bytes, seq)| (seq, bytes)));
    }
    let hashes = prove_entries(numbers, size, |level, index| tree.node(level, index)).map_err(of_prove)?;
    let leaves: Vec<(u64, Hash)> = entries.iter().map(|(seq, bytes)| (*seq, leaf_hash(bytes))).collect();
    let root = root_from_entries(&hashes, &leaves, size);
    let signed = signed.clone();
    Ok((root == Ok(signed.checkpoint.root())).then_some(Entries { signed, entries, hashes }))
}

/// The exact bytes of the entries with these numbers.
fn entries_of(tree: &Tree<'_>, range: Range<u64>, size: u64) -> Result<Vec<Vec<u8>>, NoProof> {
    if range.end > size {
        return Err(NoProof::Beyond { number: range.end - 1, size });
    }
    Ok(tree.entries(range)?)
}

/// Ascending numbers as runs without a hole.
fn runs(numbers: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == *number => run.end += 1,
            _ => runs.push(*number..number.saturating_add(1)),
        }
    }
    runs
}

/// The root of the tree over the first `size` leaves.
pub(crate) fn root_at(
    size: u64,
    node: impl Fn(u8, u64) -> Result<Hash, CollectorError>,
) -> Result<Hash, CollectorError> {
    // Perfect subtrees, one for each bit, the largest first.
    let mut hashes = Vec::new();
    let mut first = 0u64;
    for level in (0..64u8).rev().filter(|level| size >> level & 1 == 1) {
        hashes.push(node(level, first >> level)?);
        first += 1 << level;
    }
    let tree = indelible_ledger::Frontier::from_parts(size, hashes);
    tree.map(|tree| tree.root()).map_err(|error| CollectorError::Sign(error.to_string()))
}

fn of_prove(error: ProveError<CollectorError>) -> NoProof {
    match error {
        ProveError::Node(error) => error.into(),
        ProveError::Index { index, size } => NoProof::Beyond { number: index, size },
        ProveError::Sizes { old_size, new_size } => NoProof::Beyond { number: old_size, size: new_size },
    }
}
