//! Looking records up again, straight from the WAL.
//!
//! Scanning is bounded in memory whatever the ledger's size, and reads only what was written: entries
//! are found by walking frames, payload parts by the places that their entry names. An index would make
//! it faster and could be wrong; this cannot. (Sealed segments bring the index.)

use crate::CollectorError;
use crate::sequencer::part_context;
use indelible_ledger::{Hash, leaf_hash};
use indelible_os::durable::FsDir;
use indelible_record::commitment::Commitment;
use indelible_record::entry::Entry;
use indelible_record::event::{PieceMeta, Private};
use indelible_record::payload;
use indelible_spool::Role;
use indelible_spool::frame::Kind;
use indelible_spool::reader::{self, FileReader};
use indelible_spool::wal::{Record, Ref, Stream};
use indelible_vault::{Vault, VaultError, seal};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Files kept open while payload parts are collected.
const OPEN_FILES_MAX: usize = 16;

/// Reads a WAL directory without writing to it.
pub struct WalReader {
    path: PathBuf,
    dir: FsDir,
    files: BTreeMap<u64, FileReader>,
}

/// An entry as it stands in the log.
#[derive(Clone, Debug)]
pub struct Found {
    /// The entry, parsed.
    pub entry: Entry,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The event.
    pub event_id: Uuid,
    /// Where its frame stands.
    pub place: Ref,
    /// Where the frames with the rest of its payload stand.
    pub refs: Vec<Ref>,
}

impl Found {
    /// The entry's leaf hash.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.bytes)
    }
}

/// A decrypted payload part.
pub struct FoundPart {
    /// Which body its bytes belong to.
    pub stream: Stream,
    /// What the entry may not name, where the part has it.
    pub private: Option<Private>,
    /// What stands before a piece of a conversation.
    pub meta: PieceMeta,
    /// Bytes of the body.
    pub bytes: Vec<u8>,
}

/// A whole payload, decrypted.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// The request body.
    pub request: Vec<u8>,
    /// The response body.
    pub response: Vec<u8>,
    /// What was known at the start.
    pub start: Private,
    /// What was known at the end.
    pub end: Private,
    /// What stands before the pieces of a conversation, in the order in which they were written.
    pub pieces: Vec<(Stream, PieceMeta)>,
}

impl Payload {
    /// The request body as it was sent on, where it was changed.
    pub fn sent(&self) -> Option<Vec<u8>> {
        self.start.rewrite.as_ref()?.apply(&self.request)
    }

    /// Whether what was sent on is what the entry commits to; `true` where nothing was changed.
    fn sent_matches(&self, entry: &Entry) -> bool {
        let committed = entry.detail.as_ref().and_then(|detail| detail.get("rewrite"));
        match (committed, &self.start.rewrite, self.sent()) {
            (None, None, _) => true,
            (Some(committed), Some(rewrite), Some(sent)) => {
                committed["sent"]["commitment"] == rewrite.sent.to_text() && rewrite.sent.opens_to(&sent)
            }
            _ => false,
        }
    }

    /// Whether the bodies are what the entry commits to. `None`: the entry has no commitment.
    pub fn matches(&self, entry: &Entry) -> Option<bool> {
        let opens =
            |side: Option<&indelible_record::entry::Side>, held: Option<&Commitment>, bytes: &[u8]| {
                side.map(|side| {
                    held.is_some_and(|held| held.to_text() == side.commitment && held.opens_to(bytes))
                })
            };
        let input = self.end.input.as_ref().or(self.start.input.as_ref());
        let request = opens(entry.input.as_ref(), input, &self.request);
        let response = opens(entry.output.as_ref(), self.end.output.as_ref(), &self.response);
        match (request, response) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(true) && b.unwrap_or(true) && self.sent_matches(entry)),
        }
    }
}

impl WalReader {
    /// A reader of the WAL in `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), dir: FsDir::existing(path), files: BTreeMap::new() }
    }

    /// Hands every entry to `visit`, oldest first, until it answers `false`.
    pub fn entries(&self, mut visit: impl FnMut(&str, &[u8]) -> bool) -> Result<(), CollectorError> {
        let files = self.list()?;
        for (index, (_, name)) in files.iter().enumerate() {
            let Some(mut file) = FileReader::open(&self.dir, name)? else { continue };
            let mut closed = false;
            while let Some(frame) = file.next_frame()? {
                closed |= frame.kind == Kind::Close;
                if frame.kind == Kind::Entry
                    && let Some(Record::Entry { tenant, entry, .. }) = Record::parse(frame.kind, frame.body)
                    && !visit(tenant, entry)
                {
                    return Ok(());
                }
            }
            check_whole(&file, closed, index + 2 >= files.len())?;
        }
        Ok(())
    }

    /// The newest `limit` entries that `wanted` accepts, newest first. `wanted` sees the event id, the
    /// tenant and the parsed entry.
    pub fn newest(
        &self,
        limit: usize,
        mut wanted: impl FnMut(&Uuid, &str, &Entry) -> bool,
    ) -> Result<Vec<Found>, CollectorError> {
        let mut found = Vec::new();
        for (index, (file_no, name)) in self.list()?.into_iter().rev().enumerate() {
            let Some(mut file) = FileReader::open(&self.dir, &name)? else { continue };
            let mut here = VecDeque::new();
            let mut offset = file.offset();
            let mut closed = false;
            while let Some(frame) = file.next_frame()? {
                closed |= frame.kind == Kind::Close;
                let place = Ref { file_no, offset };
                if let Some(record) = read_entry(frame.kind, frame.body, place)?
                    && wanted(&record.event_id, &record.entry.tenant_id, &record.entry)
                {
                    here.push_back(record);
                    if here.len() > limit - found.len() {
                        here.pop_front();
                    }
                }
                offset = file.offset();
            }
            check_whole(&file, closed, index < 2)?;
            found.extend(here.into_iter().rev());
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// The decrypted part in the frame at `place`, if that frame belongs to the event and has one.
    pub fn part(
        &mut self,
        place: Ref,
        tenant: &str,
        event_id: Uuid,
        vault: &mut Vault,
    ) -> Result<Option<FoundPart>, CollectorError> {
        let name = reader::file_name(place.file_no, Role::Wal.extension());
        let Some(file) = self.file(place.file_no, &name)? else { return Ok(None) };
        // The frame's own number is not known here; the checksum and the event id are what it must have.
        file.seek_any(place.offset);
        let Some(frame) = file.next_any_frame()? else { return Ok(None) };
        let Some(record) = Record::parse(frame.kind, frame.body) else { return Ok(None) };
        let (origin, owner, stream, part) = match &record {
            Record::Open { origin, event_id, part, .. } => (*origin, *event_id, Stream::Input, *part),
            Record::Part { origin, event_id, stream, part } => (*origin, *event_id, *stream, *part),
            Record::Entry { origin, event_id, part, .. } => (*origin, *event_id, Stream::Output, *part),
            _ => return Ok(None),
        };
        let is_piece = matches!(record, Record::Part { .. });
        if owner != event_id || part.is_empty() {
            return Ok(None);
        }
        let (subject, month) = seal::owner(part).ok_or(VaultError::Sealed)?;
        let key = vault
            .find_data_key(tenant, subject, month)?
            .ok_or_else(|| VaultError::NoKey(format!("the data key of {subject} is gone")))?;
        let plain = seal::open(&key, &part_context(tenant, event_id, origin), part)?;
        let damaged = |source| CollectorError::Io { path: self.path.join(&name), source };
        let (meta, piece) = payload::split(&plain).map_err(damaged)?;
        let malformed = |error| damaged(std::io::Error::other(error));
        let (mut private, mut before) = (None, PieceMeta::default());
        match meta {
            [] => {}
            _ if is_piece => before = serde_json::from_slice(meta).map_err(malformed)?,
            _ => private = serde_json::from_slice(meta).map_err(malformed)?,
        }
        let bytes = payload::unpack(piece).map_err(damaged)?;
        Ok(Some(FoundPart { stream, private, meta: before, bytes }))
    }

    /// The whole payload of an entry.
    pub fn payload(&mut self, found: &Found, vault: &mut Vault) -> Result<Payload, CollectorError> {
        let mut payload = Payload::default();
        for (n, place) in found.refs.iter().enumerate() {
            let Some(part) = self.part(*place, &found.entry.tenant_id, found.event_id, vault)? else {
                continue;
            };
            match part.stream {
                Stream::Input => payload.request.extend_from_slice(&part.bytes),
                Stream::Output => payload.response.extend_from_slice(&part.bytes),
            }
            if part.meta != PieceMeta::default() {
                payload.pieces.push((part.stream, part.meta));
            }
            if n == 0 {
                payload.start = part.private.unwrap_or_default();
            }
        }
        if let Some(part) = self.part(found.place, &found.entry.tenant_id, found.event_id, vault)? {
            payload.response.extend_from_slice(&part.bytes);
            payload.end = part.private.unwrap_or_default();
        }
        Ok(payload)
    }

    fn list(&self) -> Result<Vec<(u64, String)>, CollectorError> {
        Ok(reader::list(&self.dir, Role::Wal.extension())?)
    }

    fn file(&mut self, file_no: u64, name: &str) -> Result<Option<&mut FileReader>, CollectorError> {
        if !self.files.contains_key(&file_no) {
            let Some(file) = FileReader::open(&self.dir, name)? else { return Ok(None) };
            if self.files.len() >= OPEN_FILES_MAX {
                self.files.pop_first();
            }
            self.files.insert(file_no, file);
        }
        Ok(self.files.get_mut(&file_no))
    }
}

/// A file that is not written to any more has to end with its close frame: one that does not would leave
/// records out without a word. The newest one may be open, and the one before it about to be closed.
fn check_whole(file: &FileReader, closed: bool, newest: bool) -> Result<(), CollectorError> {
    if closed || newest {
        return Ok(());
    }
    let what = format!("{} cannot be read behind byte {}: run indelible verify", file.name(), file.offset());
    Err(CollectorError::Refused(what))
}

fn read_entry(kind: Kind, body: &[u8], place: Ref) -> Result<Option<Found>, CollectorError> {
    if kind != Kind::Entry {
        return Ok(None);
    }
    let Some(Record::Entry { event_id, refs, entry: bytes, .. }) = Record::parse(kind, body) else {
        return Ok(None);
    };
    let entry = serde_json::from_slice(bytes).map_err(|error| {
        CollectorError::Refused(format!("entry of event {event_id} is malformed: {error}"))
    })?;
    Ok(Some(Found { entry, bytes: bytes.to_vec(), event_id, place, refs }))
}
