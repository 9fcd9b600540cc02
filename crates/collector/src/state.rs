//! What the WAL adds up to: ledgers, how far each source is taken in, and what is open.
//!
//! [`State::apply`] is the only way any of this changes, in normal running (after a record was appended)
//! and in recovery (as it is read back). A state that recovery builds is therefore the state that the
//! process had when it wrote the last record.

use indelible_ledger::{Frontier, Hash, leaf_hash};
use indelible_record::Entry;
use indelible_record::entry::event_type;
use indelible_spool::wal::{Base, BaseLedger, BaseSource, Origin, Record, Ref};
use indelible_verify::directory::OPERATIONS;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Everything that the WAL adds up to.
#[derive(Default)]
pub struct State {
    ledgers: BTreeMap<String, Ledger>,
    sources: HashMap<Uuid, SourceState>,
    /// By source and event: no source can touch what another one opened.
    open: HashMap<(Uuid, Uuid), Open>,
    files: BTreeMap<u64, FileState>,
}

/// What has to be known of a WAL file before older ones may go.
#[derive(Clone, Copy, Debug, Default)]
struct FileState {
    /// It says at its start what the files before it add up to.
    based: bool,
    /// The oldest file that one of its entries has a part of its payload in.
    refers_to: Option<u64>,
}

/// One tenant's ledger.
pub struct Ledger {
    tree: Frontier,
    last_leaf: Hash,
    /// Leaves made since the last checkpoint, to be compared with what is read back from the disk.
    unsigned: Vec<Hash>,
    /// Sizes and roots that were signed; a root is compared when the ledger reaches the size.
    signed: BTreeMap<u64, Hash>,
    /// Entries that were not read: those of removed files.
    begun: u64,
}

/// One incarnation of a source.
#[derive(Debug, Default)]
pub struct SourceState {
    /// The source's id.
    pub id: String,
    /// Its last frame that was taken in.
    pub mark: u64,
    /// Entries made for it.
    pub entries: u64,
}

/// An accepted request that has no entry yet.
pub struct Open {
    /// The start frame.
    pub origin: Origin,
    /// Its ledger.
    pub tenant: String,
    /// The entry as far as it is known.
    pub draft: Entry,
    /// The frames that hold its payload.
    pub refs: Vec<Ref>,
    /// How many of them are copies, if they are being copied.
    copied: usize,
}

/// Why a record cannot follow the ones before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit(pub String);

impl State {
    /// Expects the ledger of `tenant` to have this root at this size: its key signed that.
    pub fn await_signed(&mut self, tenant: &str, size: u64, root: Hash) -> Result<(), Misfit> {
        match self.ledger_mut(tenant).signed.insert(size, root) {
            Some(other) if other != root => {
                Err(Misfit(format!("ledger {tenant}: two trees of {size} entries were signed")))
            }
            _ => Ok(()),
        }
    }

    /// Takes in a record that stands in the WAL at `at`.
    pub fn apply(&mut self, record: &Record<'_>, at: Ref) -> Result<(), Misfit> {
        let file = self.files.entry(at.file_no).or_default();
        match record {
            Record::Base(base) => {
                file.based = true;
                self.take_base(base)?;
            }
            Record::Kept(inner) => self.take_kept(inner, at)?,
            Record::Source { incarnation, id } => {
                self.sources.entry(*incarnation).or_default().id = (*id).to_owned();
            }
            Record::Taken(_) | Record::Checkpoint { .. } => {}
            Record::Open { origin, event_id, tenant, draft, .. } => {
                self.open(*origin, *event_id, tenant, draft, at)?;
            }
            Record::Part { origin, event_id, .. } => {
                if let Some(open) = self.open.get_mut(&(origin.incarnation, *event_id)) {
                    open.refs.push(at);
                }
            }
            Record::Entry { origin, event_id, tenant, refs, entry, .. } => {
                let oldest = refs.iter().map(|place| place.file_no).min();
                file.refers_to = file.refers_to.into_iter().chain(oldest).min();
                self.ledger_mut(tenant).extend(leaf_hash(entry))?;
                self.open.remove(&(origin.incarnation, *event_id));
                if let Some(source) = self.sources.get_mut(&origin.incarnation) {
                    source.entries += 1;
                }
            }
        }
        if let Some(origin) = record.origin() {
            let source = self.sources.entry(origin.incarnation).or_default();
            if origin.seq != source.mark + 1 && !states_gap(record, source.mark + 1) {
                let (mark, seq) = (source.mark, origin.seq);
                return Err(Misfit(format!("frame {seq} of source {} follows {mark}", source.id)));
            }
            source.mark = origin.seq;
        }
        Ok(())
    }

    fn open(
        &mut self,
        origin: Origin,
        event_id: Uuid,
        tenant: &str,
        draft: &[u8],
        at: Ref,
    ) -> Result<(), Misfit> {
        let draft = serde_json::from_slice(draft)
            .map_err(|error| Misfit(format!("the draft of event {event_id} is malformed: {error}")))?;
        let open = Open { origin, tenant: tenant.to_owned(), draft, refs: vec![at], copied: 1 };
        self.open.insert((origin.incarnation, event_id), open);
        Ok(())
    }

    /// A frame that was copied forward: from now on it is where the copy is. Where copying broke off, the frames
    /// behind stay where they are, and it begins again with the first.
    fn take_kept(&mut self, inner: &Record<'_>, at: Ref) -> Result<(), Misfit> {
        match inner {
            Record::Open { origin, event_id, tenant, draft, .. } => {
                let Some(open) = self.open.get_mut(&(origin.incarnation, *event_id)) else {
                    return self.open(*origin, *event_id, tenant, draft, at);
                };
                open.copied = 0;
                open.move_next(at);
                Ok(())
            }
            Record::Part { origin, event_id, .. } => {
                if let Some(open) = self.open.get_mut(&(origin.incarnation, *event_id)) {
                    open.move_next(at);
                }
                Ok(())
            }
            _ => Err(Misfit("a copied frame of another kind than can be copied".to_owned())),
        }
    }

    /// What a file says of the files before it. Where those were read, it must say the same.
    fn take_base(&mut self, base: &Base<'_>) -> Result<(), Misfit> {
        let fresh = self.sources.is_empty() && self.ledgers.values().all(|ledger| ledger.size() == 0);
        if !fresh {
            return if self.base() == *base {
                Ok(())
            } else {
                Err(Misfit("this file does not begin where the files before it end".to_owned()))
            };
        }
        for source in &base.sources {
            let state = SourceState { id: source.id.to_owned(), mark: source.mark, entries: source.entries };
            self.sources.insert(source.incarnation, state);
        }
        for ledger in &base.ledgers {
            let hashes = ledger.hashes.iter().copied().map(Hash).collect();
            let tree =
                Frontier::from_parts(ledger.size, hashes).map_err(|error| Misfit(error.to_string()))?;
            self.ledger_mut(ledger.tenant).begin(tree, Hash(ledger.last_leaf))?;
        }
        Ok(())
    }

    /// What the WAL adds up to by now, except for open requests.
    pub fn base(&self) -> Base<'_> {
        let mut sources: Vec<_> = self
            .sources
            .iter()
            .map(|(incarnation, source)| BaseSource {
                incarnation: *incarnation,
                mark: source.mark,
                entries: source.entries,
                id: &source.id,
            })
            .collect();
        sources.sort_by_key(|source| source.incarnation);
        let ledgers = self
            .ledgers
            .iter()
            .filter(|(_, ledger)| ledger.size() > 0)
            .map(|(tenant, ledger)| BaseLedger {
                tenant,
                size: ledger.size(),
                last_leaf: ledger.last_leaf.0,
                hashes: ledger.tree.hashes().iter().map(|hash| hash.0).collect(),
            })
            .collect();
        Base { sources, ledgers }
    }

    /// The oldest file that must stay when all entries before file `sealed_before` stand in segments, leaving open
    /// requests aside: no later entry may have a part of its payload in a file that goes, and the first file that
    /// stays must say what went before it.
    pub fn oldest_needed(&self, sealed_before: u64) -> u64 {
        let referred = self.files.range(sealed_before..).filter_map(|(_, file)| file.refers_to).min();
        let wanted = referred.map_or(sealed_before, |referred| referred.min(sealed_before));
        let based = self.files.range(..=wanted).rev().find(|(_, file)| file.based);
        based.map_or(0, |(number, _)| *number)
    }

    /// Forgets what was known of the files before `file_no`.
    pub fn forget_files_before(&mut self, file_no: u64) {
        self.files = self.files.split_off(&file_no);
    }

    /// Open requests with a frame in a file before `file_no`.
    pub fn open_before(&self, file_no: u64) -> Vec<(Uuid, Uuid)> {
        let old = |open: &Open| open.refs.iter().any(|place| place.file_no < file_no);
        self.open.iter().filter(|(_, open)| old(open)).map(|(key, _)| *key).collect()
    }

    /// The oldest file with a frame of an open request.
    pub fn oldest_open_file(&self) -> Option<u64> {
        self.open.values().flat_map(|open| &open.refs).map(|place| place.file_no).min()
    }

    /// The ledger of a tenant.
    pub fn ledger(&self, tenant: &str) -> Option<&Ledger> {
        self.ledgers.get(tenant)
    }

    /// The ledger of a tenant; an empty one when there is none.
    pub fn ledger_mut(&mut self, tenant: &str) -> &mut Ledger {
        self.ledgers.entry(tenant.to_owned()).or_insert_with(Ledger::new)
    }

    /// All ledgers.
    pub fn ledgers(&self) -> impl Iterator<Item = (&String, &Ledger)> {
        self.ledgers.iter()
    }

    /// An incarnation of a source, if anything was ever taken from it.
    pub fn source(&self, incarnation: Uuid) -> Option<&SourceState> {
        self.sources.get(&incarnation)
    }

    /// All incarnations of all sources.
    pub fn sources(&self) -> impl Iterator<Item = (&Uuid, &SourceState)> {
        self.sources.iter()
    }

    /// An open request.
    pub fn open_request(&self, incarnation: Uuid, event_id: Uuid) -> Option<&Open> {
        self.open.get(&(incarnation, event_id))
    }

    /// How many requests are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Open requests that a source which came up anew can no longer end: those before `seq` of this
    /// incarnation and all of its older ones, oldest first, as incarnation and event.
    pub fn abandoned(&self, source_id: &str, incarnation: Uuid, seq: u64) -> Vec<(Uuid, Uuid)> {
        let mut found: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| {
                let same_source =
                    self.sources.get(&open.origin.incarnation).is_some_and(|s| s.id == source_id);
                same_source && (open.origin.incarnation != incarnation || open.origin.seq < seq)
            })
            .map(|(key, open)| (open.refs.first().map(|at| (at.file_no, at.offset)), *key))
            .collect();
        found.sort();
        found.into_iter().map(|(_, key)| key).collect()
    }
}

/// Whether a record is the entry which says that frames from `first` to its own number are not here.
fn states_gap(record: &Record<'_>, first: u64) -> bool {
    let Record::Entry { origin, tenant, entry, .. } = record else { return false };
    let says = |entry: Entry| {
        let number = |name: &str| entry.detail.as_ref().and_then(|detail| detail.get(name)?.as_u64());
        entry.event_type == event_type::GAP
            && number("first") == Some(first)
            && number("last") == Some(origin.seq)
    };
    *tenant == OPERATIONS && first <= origin.seq && serde_json::from_slice(entry).is_ok_and(says)
}

impl Open {
    /// The next of its frames has a copy at `at`.
    fn move_next(&mut self, at: Ref) {
        match self.refs.get_mut(self.copied) {
            Some(place) => *place = at,
            None => self.refs.push(at),
        }
        self.copied += 1;
    }
}

impl Ledger {
    fn new() -> Self {
        Self {
            tree: Frontier::new(),
            last_leaf: Hash::ZERO,
            unsigned: Vec::new(),
            signed: BTreeMap::new(),
            begun: 0,
        }
    }

    /// Begins behind entries that are not read: those of removed files.
    fn begin(&mut self, tree: Frontier, last_leaf: Hash) -> Result<(), Misfit> {
        let size = tree.size();
        self.compare(&tree)?;
        // Files change hands at a checkpoint: what went before was signed.
        if self.awaited_size() < size {
            let signed = self.awaited_size();
            return Err(Misfit(format!("it begins behind {size} entries, but only {signed} were signed")));
        }
        (self.tree, self.last_leaf, self.begun) = (tree, last_leaf, size);
        Ok(())
    }

    fn extend(&mut self, leaf: Hash) -> Result<(), Misfit> {
        self.tree.append(leaf).map_err(|error| Misfit(error.to_string()))?;
        self.last_leaf = leaf;
        self.compare(&self.tree)?;
        // What was signed was read back before.
        if self.tree.size() > self.awaited_size() {
            self.unsigned.push(leaf);
        }
        Ok(())
    }

    /// A tree of a size that was signed has the root that was signed.
    fn compare(&self, tree: &Frontier) -> Result<(), Misfit> {
        match self.signed.get(&tree.size()) {
            Some(root) if *root != tree.root() => {
                let size = tree.size();
                Err(Misfit(format!("the first {size} entries are not the ones that were signed")))
            }
            _ => Ok(()),
        }
    }

    /// Entries in the ledger.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Root over all entries.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The tree over all entries.
    pub fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// Leaf hash of the last entry: the next entry's `prev_hash`.
    pub fn last_leaf(&self) -> Hash {
        self.last_leaf
    }

    /// The largest size that was signed: this ledger has to reach it.
    pub fn awaited_size(&self) -> u64 {
        self.signed.last_key_value().map_or(0, |(size, _)| *size)
    }

    /// Sizes and roots that were signed of what was not read: they could not be compared.
    pub fn signed_before(&self) -> impl Iterator<Item = (u64, Hash)> {
        self.signed.range(..self.begun).map(|(size, root)| (*size, *root))
    }

    /// Leaves that no signature covers yet.
    pub fn unsigned(&self) -> &[Hash] {
        &self.unsigned
    }

    /// Everything so far is covered by a signature.
    pub fn set_signed(&mut self) {
        self.unsigned.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indelible_spool::wal::Stream;

    /// No room for a copy: the frames that have none stay where they are, and a later try copies them all.
    #[test]
    fn copying_that_breaks_off_loses_no_frame() {
        let (incarnation, event_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let draft = serde_json::to_vec(&Entry::default()).unwrap();
        let origin = |seq| Origin { incarnation, seq };
        let open = || Record::Open { origin: origin(1), event_id, tenant: "t", draft: &draft, part: b"" };
        let part = |seq| Record::Part { origin: origin(seq), event_id, stream: Stream::Output, part: b"" };
        let place = |file_no, offset| Ref { file_no, offset };
        let kept = |record| Record::Kept(Box::new(record));
        let mut state = State::default();
        let mut apply = |record: Record<'_>, file_no, offset| {
            state.apply(&record, place(file_no, offset)).unwrap();
            state.open_request(incarnation, event_id).unwrap().refs.clone()
        };
        apply(open(), 1, 100);
        apply(part(2), 1, 200);
        apply(part(3), 1, 300);
        apply(kept(open()), 2, 10);
        assert_eq!(apply(kept(part(2)), 2, 20), [place(2, 10), place(2, 20), place(1, 300)]);
        assert_eq!(apply(part(4), 2, 30).last(), Some(&place(2, 30)));
        for (n, record) in [open(), part(2), part(3), part(4)].into_iter().enumerate() {
            apply(kept(record), 3, n as u64);
        }
        let all: Vec<Ref> = (0..4).map(|offset| place(3, offset)).collect();
        assert_eq!(apply(Record::Taken(origin(5)), 3, 4), all);
        // A start that has only the newest file finds the same.
        let mut again = State::default();
        for (n, record) in [open(), part(2), part(3), part(4)].into_iter().enumerate() {
            again.apply(&kept(record), place(3, n as u64)).unwrap();
        }
        assert_eq!(again.open_request(incarnation, event_id).unwrap().refs, all);
    }
}
