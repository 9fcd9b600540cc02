//! Making one segment: payloads first, a conversation at a time, then the entries, which name their places.

use super::Sealer;
use super::plan::{Planned, RowPlan};
use crate::CollectorError;
use crate::parts::Parts;
use crate::sequencer::{lock, random_id};
use crate::store::View;
use indelible_ledger::{Frontier, Hash, leaf_hash};
use indelible_os::clock::Utc;
use indelible_os::durable::{self, MODE_SHARED};
use indelible_record::Entry;
use indelible_segment::columns::{Place, Row};
use indelible_segment::entries::EntriesWriter;
use indelible_segment::ids::IdsWriter;
use indelible_segment::manifest::{
    ENTRIES, FileFacts, FileHasher, IDS, MANIFEST, Manifest, PAYLOAD, PayloadFacts, VERSION, WalFacts,
};
use indelible_segment::payload::{Owner, PayloadWriter, Piece};
use indelible_spool::wal::{Record, Stream};
use indelible_vault::subjects::DataKey;
use indelible_vault::{VaultError, seal};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

const BUFFER_BYTES: usize = 256 << 10;
/// Where a frame of records that belong to no conversation ends.
const UNRELATED_FRAME_BYTES: usize = 512 << 10;

/// Makes the segment and gives it its place; says which that is. `last` is the segment before it.
pub(super) fn segment(
    sealer: &Sealer,
    view: &Arc<View>,
    planned: &Planned,
    origin: &str,
    last: Option<&Manifest>,
) -> Result<String, CollectorError> {
    let id = Uuid::from_bytes(random_id()?);
    let staged = sealer.staging().join(id.to_string());
    let failed = |error| CollectorError::io(&staged)(error);
    durable::make_dir(&staged).map_err(failed)?;
    let owner = Owner { tenant: planned.tenant.clone(), origin: origin.to_owned(), segment: id };
    let mut files = BTreeMap::new();

    let payload = write_payload(sealer, view, planned, owner, &staged.join(PAYLOAD))?;
    files.insert(PAYLOAD.to_owned(), payload.file);
    sealer.faults.point("after the payloads")?;

    let before = last.map_or_else(Frontier::new, |last| {
        let end = last.end().unwrap_or(0);
        Frontier::from_parts(end, last.after.clone()).unwrap_or_default()
    });
    let prev_hash = last.map_or(Hash::ZERO, |last| last.last_leaf);
    let entries = write_entries(view, sealer, planned, &payload.places, before.clone(), prev_hash, &staged)?;
    files.insert(ENTRIES.to_owned(), entries.file);
    files.insert(IDS.to_owned(), entries.ids);
    sealer.faults.point("after the entries")?;

    let (first, last_row) = match (planned.rows.first(), planned.rows.last()) {
        (Some(first), Some(last)) => (first, last),
        _ => return Err(CollectorError::Refused("a segment without entries".to_owned())),
    };
    let manifest = Manifest {
        after: entries.tree.hashes().to_vec(),
        before: before.hashes().to_vec(),
        count: planned.rows.len() as u64,
        date: Utc(planned.day * 86_400_000_000).to_string()[..10].to_owned(),
        files,
        first: first.seq,
        from: entries.from,
        last_leaf: entries.last_leaf,
        origin: origin.to_owned(),
        payload: payload.facts,
        prev_hash,
        root: entries.tree.root(),
        segment: id.to_string(),
        tenant: planned.tenant.clone(),
        to: entries.to,
        v: VERSION,
        wal: WalFacts { from: first.at.file_no, log: sealer.log_id.clone(), to: last_row.at.file_no },
        writer: concat!("indelible ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let bytes = manifest.to_bytes().map_err(|error| CollectorError::Refused(error.to_string()))?;
    let mut file = durable::create_file(&staged.join(MANIFEST), MODE_SHARED).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| durable::sync_file(&file)).map_err(failed)?;
    sealer.faults.point("after the manifest")?;

    read_back(&staged, &manifest)?;
    let path = manifest.path();
    sealer.store.storage().publish(&staged, &path).map_err(failed)?;
    Ok(path)
}

struct PayloadMade {
    file: FileFacts,
    facts: PayloadFacts,
    /// By number of the entry.
    places: BTreeMap<u64, Place>,
}

fn write_payload(
    sealer: &Sealer,
    view: &Arc<View>,
    planned: &Planned,
    owner: Owner,
    path: &Path,
) -> Result<PayloadMade, CollectorError> {
    let failed = |error| CollectorError::io(path)(error);
    let mut order: Vec<&RowPlan> = planned.rows.iter().filter(|row| row.owner.is_some()).collect();
    // Stable: within a conversation, the order of the ledger.
    order.sort_by_key(|row| row.owner);
    let out = Hashing::create(path).map_err(failed)?;
    let mut writer = PayloadWriter::new(out, owner).map_err(failed)?;
    let mut parts = Parts::new(view.clone(), &sealer.vault);
    let mut places = BTreeMap::new();
    let mut facts = PayloadFacts::default();
    for group in order.chunk_by(|a, b| a.owner == b.owner) {
        let Some(owner) = group.first().and_then(|row| row.owner) else { continue };
        let key = lock(&sealer.vault).find_data_key(&planned.tenant, owner.subject(), owner.month)?;
        let Some(key) = key else {
            facts.erased += group.len() as u64;
            continue;
        };
        let mut encrypt = |context: &[u8], packed: &[u8]| seal_frame(&key, context, packed);
        for row in group {
            sealer.go_on()?;
            match gather(&mut parts, &mut writer, planned, row, &mut encrypt) {
                Ok(()) => {}
                // A request of two months whose first key is gone: what is left of it cannot be read as a whole.
                Err(CollectorError::Vault(VaultError::NoKey(why))) => {
                    tracing::warn!(seq = row.seq, why, "a part of a payload was erased before it was sealed");
                }
                Err(error) => return Err(error),
            }
            places.insert(row.seq, writer.end_record(row.seq, &mut encrypt)?);
            facts.records += 1;
            // Records of no conversation have little in common: a frame of many would only be slow to look into.
            if !owner.is_conversation() && writer.gathered() >= UNRELATED_FRAME_BYTES {
                writer.end_frame(&mut encrypt)?;
            }
        }
        writer.end_frame(&mut encrypt)?;
    }
    let (out, frames) = writer.finish().map_err(failed)?;
    facts.frames = frames;
    Ok(PayloadMade { file: out.finish().map_err(failed)?, facts, places })
}

fn seal_frame(key: &DataKey, context: &[u8], packed: &[u8]) -> Result<Vec<u8>, CollectorError> {
    Ok(seal::seal(key, context, packed)?)
}

/// Puts the parts of an event into its record, in the order in which they were written.
fn gather(
    parts: &mut Parts<'_>,
    writer: &mut PayloadWriter<Hashing>,
    planned: &Planned,
    row: &RowPlan,
    encrypt: &mut impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, CollectorError>,
) -> Result<(), CollectorError> {
    let last = row.refs.len();
    for (n, place) in row.refs.iter().chain([&row.at]).enumerate() {
        let Some(part) = parts.read(*place, &planned.tenant, row.event_id)? else { continue };
        let meta = match (part.is_piece, part.stream) {
            (true, Stream::Input) => Piece::InputMeta,
            (true, Stream::Output) => Piece::OutputMeta,
            (false, _) if n == last => Piece::End,
            (false, _) => Piece::Start,
        };
        if !part.meta.is_empty() {
            writer.piece(row.seq, meta, &part.meta, encrypt)?;
        }
        let body = if part.stream == Stream::Input { Piece::Input } else { Piece::Output };
        if !part.bytes.is_empty() {
            writer.piece(row.seq, body, &part.bytes, encrypt)?;
        }
    }
    Ok(())
}

struct EntriesMade {
    file: FileFacts,
    ids: FileFacts,
    tree: Frontier,
    last_leaf: Hash,
    from: String,
    to: String,
}

fn write_entries(
    view: &Arc<View>,
    sealer: &Sealer,
    planned: &Planned,
    places: &BTreeMap<u64, Place>,
    mut tree: Frontier,
    mut last_leaf: Hash,
    staged: &Path,
) -> Result<EntriesMade, CollectorError> {
    let path = staged.join(ENTRIES);
    let failed = |error| CollectorError::io(&path)(error);
    let unwritable =
        |error: parquet::errors::ParquetError| CollectorError::io(&path)(io::Error::other(error));
    let about = [("indelible.tenant", planned.tenant.clone()), ("indelible.first", tree.size().to_string())];
    let out = Hashing::create(&path).map_err(failed)?;
    let mut writer = EntriesWriter::new(out, planned.rows.len() as u64, &about).map_err(unwritable)?;
    let mut ids = IdsWriter::default();
    let mut parts = Parts::new(view.clone(), &sealer.vault);
    let (mut from, mut to) = (String::new(), String::new());
    for (n, row) in planned.rows.iter().enumerate() {
        sealer.go_on()?;
        let record = parts.record(row.at)?;
        let Some(Record::Entry { entry: bytes, .. }) = record else {
            return Err(differs(planned, row));
        };
        let entry = Entry::parse(bytes).map_err(|_| differs(planned, row))?;
        if entry.seq != tree.size() || entry.prev_hash != last_leaf.to_string() {
            return Err(differs(planned, row));
        }
        last_leaf = leaf_hash(bytes);
        tree.append(last_leaf).map_err(|error| CollectorError::Refused(error.to_string()))?;
        let text = std::str::from_utf8(bytes).map_err(|_| differs(planned, row))?;
        writer
            .push(&Row { entry: &entry, bytes: text, payload: places.get(&row.seq).copied() })
            .map_err(unwritable)?;
        ids.push(n as u32, &entry);
        if n == 0 {
            from.clone_from(&entry.timestamp);
        }
        to = entry.timestamp;
    }
    let file = writer.finish().map_err(unwritable)?.finish().map_err(failed)?;
    let mut out = Hashing::create(&staged.join(IDS)).map_err(failed)?;
    out.write_all(&ids.finish(planned.rows.len() as u32)).map_err(failed)?;
    Ok(EntriesMade { file, ids: out.finish().map_err(failed)?, tree, last_leaf, from, to })
}

fn differs(planned: &Planned, row: &RowPlan) -> CollectorError {
    CollectorError::Refused(format!(
        "ledger {}: entry {} reads back differently from file {} at byte {}",
        planned.tenant, row.seq, row.at.file_no, row.at.offset
    ))
}

/// Reads every byte of a staged segment again and holds it against the manifest: what is about to be the only copy
/// must be what was meant.
fn read_back(staged: &Path, manifest: &Manifest) -> Result<(), CollectorError> {
    for (name, facts) in &manifest.files {
        let path = staged.join(name);
        let failed = |error| CollectorError::io(&path)(error);
        let mut file = File::open(&path).map_err(failed)?;
        let mut hasher = FileHasher::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        if hasher.finish() != *facts {
            let error =
                io::Error::new(io::ErrorKind::InvalidData, "reads back differently from what was written");
            return Err(CollectorError::io(&path)(error));
        }
    }
    Ok(())
}

/// A file that is hashed while it is written.
struct Hashing {
    file: BufWriter<File>,
    hasher: FileHasher,
}

impl Hashing {
    fn create(path: &Path) -> io::Result<Self> {
        let file = durable::create_file(path, MODE_SHARED)?;
        Ok(Self { file: BufWriter::with_capacity(BUFFER_BYTES, file), hasher: FileHasher::default() })
    }

    /// Syncs the file and says what it is.
    fn finish(self) -> io::Result<FileFacts> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        durable::sync_file(&file)?;
        Ok(self.hasher.finish())
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
