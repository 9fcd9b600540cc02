//! One ledger, entry by entry.
//!
//! [`LedgerCheck`] is fed the exact bytes of each entry in order. It recomputes every leaf hash, the
//! chain and the Merkle tree, and compares roots wherever someone claims one: a signed checkpoint, or
//! the head. Chain and tree share the leaf hash, and both are recomputed in full, so neither can be
//! shown without the other (compare CVE-2022-36111, where only the ends of a chain were checked).

use crate::succession::Succeeded;
use indelible_ledger::{Chain, Checkpoint, Frontier, Hash, KeyHistory, Rotation, leaf_hash};
use indelible_record::EntryView;
use indelible_record::entry::event_type;
use std::collections::BTreeMap;

/// The state of checking one ledger.
#[derive(Clone, Debug)]
pub struct LedgerCheck {
    tenant: String,
    /// Without them, nothing is said of who signed.
    keys: Option<KeyHistory>,
    chain: Chain,
    tree: Frontier,
    /// Roots at sizes that someone asked for beforehand.
    awaited: BTreeMap<u64, Option<Hash>>,
    succeeded: Option<Succeeded>,
    first_timestamp: Option<String>,
    last_timestamp: Option<String>,
}

impl LedgerCheck {
    /// A ledger of which nothing has been seen. Its keys are those that it is trusted to have had; where an entry says that
    /// another one follows the last of them, that one is taken on.
    pub fn new(tenant: &str, keys: Option<KeyHistory>) -> Self {
        Self {
            tenant: tenant.to_owned(),
            keys,
            chain: Chain::new(),
            tree: Frontier::new(),
            awaited: BTreeMap::new(),
            succeeded: None,
            first_timestamp: None,
            last_timestamp: None,
        }
    }

    /// Goes on behind entries that were not seen, as if they had come to this. Nothing is said of them: what the check
    /// finds from here on holds only if they did.
    pub fn resume(&mut self, tree: Frontier, last_leaf: Hash) {
        self.chain = tree
            .size()
            .checked_sub(1)
            .and_then(|last| Chain::after(last, last_leaf).ok())
            .unwrap_or_default();
        self.tree = tree;
        if let Some(slot) = self.awaited.get_mut(&self.tree.size()) {
            *slot = Some(self.tree.root());
        }
    }

    /// Asks for the root at `size` to be kept when the ledger reaches it.
    pub fn await_root(&mut self, size: u64) {
        let known = (size == self.tree.size()).then(|| self.tree.root());
        self.awaited.insert(size, known);
    }

    /// Whether a root is asked for at a size beyond `first` and before `end`.
    pub fn awaits_within(&self, first: u64, end: u64) -> bool {
        self.awaited.range(first.saturating_add(1)..end.max(first.saturating_add(1))).next().is_some()
    }

    /// The root at a size asked for, if the ledger got that far.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        if size == self.tree.size() {
            Some(self.tree.root())
        } else {
            self.awaited.get(&size).copied().flatten()
        }
    }

    /// Takes the next entry. An error names what is wrong with it; the check cannot go on behind it.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Result<EntryView<'a>, String> {
        let entry = EntryView::parse(bytes).map_err(|error| error.to_string())?;
        if entry.tenant_id != self.tenant {
            return Err(format!("entry of tenant {} in the ledger of {}", entry.tenant_id, self.tenant));
        }
        if (entry.seq == 0) != (entry.event_type == event_type::GENESIS) {
            return Err("the first entry, and no other, is genesis".to_owned());
        }
        let prev: Hash = entry.prev_hash.parse().map_err(|_| "prev_hash is not a hash".to_owned())?;
        self.check_keys(&entry)?;
        if entry.seq == 0 {
            self.succeeded = Succeeded::of_genesis(&entry, self.keys.as_ref())?;
        }
        let leaf = self
            .chain
            .extend(entry.seq, prev, leaf_hash(bytes))
            .map_err(|error| format!("the chain is broken: {error}"))?;
        self.tree.append(leaf).map_err(|error| error.to_string())?;
        if let Some(slot) = self.awaited.get_mut(&self.tree.size()) {
            *slot = Some(self.tree.root());
        }
        self.first_timestamp.get_or_insert_with(|| entry.timestamp.to_string());
        let last = self.last_timestamp.get_or_insert_default();
        last.clear();
        last.push_str(&entry.timestamp);
        Ok(entry)
    }

    /// An entry says that the key changes where it does, and nowhere else.
    fn check_keys(&mut self, entry: &EntryView<'_>) -> Result<(), String> {
        let Some(keys) = &mut self.keys else { return Ok(()) };
        let size = entry.seq.saturating_add(1);
        if entry.event_type != event_type::KEY_ROTATED {
            return match keys.handover_at(size) {
                Some(key) => Err(format!("key {} takes over here, but no entry says so", key.key_id())),
                None => Ok(()),
            };
        }
        let detail = entry.detail();
        let note = detail.as_ref().and_then(|detail| detail.get("note")?.as_str());
        let note = note.ok_or("the entry of a new key does not hold what the keys signed")?;
        let rotation =
            Rotation::open(note.as_bytes()).map_err(|error| format!("the change of keys: {error}"))?;
        if rotation.size != size || keys.at(entry.seq).last() != Some(&rotation.old) {
            return Err("the change of keys is not one of this ledger at this place".to_owned());
        }
        match keys.handover_at(size) {
            Some(known) if *known == rotation.new => Ok(()),
            Some(_) => Err("another key takes over here than the one that is known".to_owned()),
            None => keys
                .hand_over(rotation.new, size)
                .map_err(|error| format!("the change of keys is not among those known: {error}")),
        }
    }

    /// The keys that it had, as far as is known by now.
    pub fn keys(&self) -> Option<&KeyHistory> {
        self.keys.as_ref()
    }

    /// What it says of the ledger that it goes on from, if it goes on from one.
    pub fn succeeded(&self) -> Option<&Succeeded> {
        self.succeeded.as_ref()
    }

    /// Checks a checkpoint whose signature was already checked.
    pub fn check_claim(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        let size = checkpoint.size();
        if size > self.tree.size() {
            let have = self.tree.size();
            return Err(format!("{size} entries were signed, but only {have} are here: the end was cut off"));
        }
        match self.root_at(size) {
            Some(root) if root == checkpoint.root() => Ok(()),
            Some(_) => Err(format!("the tree of the first {size} entries is not the one that was signed")),
            None => Err(format!("a checkpoint of size {size} appears out of place")),
        }
    }

    /// Leaf hash of the last entry seen.
    pub fn last_leaf(&self) -> Hash {
        self.chain.prev_hash()
    }

    /// The tree over the entries seen.
    pub fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// Whose ledger it is.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Entries seen.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Root over the entries seen.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The collector's time of the first and of the last entry.
    pub fn span(&self) -> Option<(&str, &str)> {
        Some((self.first_timestamp.as_deref()?, self.last_timestamp.as_deref()?))
    }
}
