//! Looking records up again, in segments and in the log, as one.
//!
//! Ids go through the index of each segment and of each log file, and what they lead to is looked at: only an entry
//! that says so is found. Everything else reads from the newest entry backwards. Memory is bounded whatever the
//! ledger's size.

pub mod forward;

use crate::CollectorError;
use crate::parts::Parts;
use crate::query::Wanted;
use crate::sequencer::lock;
use crate::store::segment::Segment;
use crate::store::{SEGMENTS_AT_ONCE_MAX, View};
use indelible_ledger::{Hash, leaf_hash};
use indelible_record::commitment::Commitment;
use indelible_record::entry::Entry;
use indelible_record::event::{PieceMeta, Private};
use indelible_segment::entries::EntriesReader;
use indelible_segment::payload::{OpenFrames, Piece, pieces};
use indelible_spool::wal::{Record, Ref, Stream};
use indelible_vault::{Vault, VaultError, seal};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Rows of a segment that are read at once, going backwards.
const BLOCK_ROWS: u64 = 512;

/// An entry as it stands in a ledger.
#[derive(Clone, Debug)]
pub struct Found {
    /// The entry, parsed.
    pub entry: Entry,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The event.
    pub event_id: Uuid,
    /// Where it stands, and so its payload.
    pub place: Place,
}

/// Where an entry stands.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the log.
    Log {
        /// Its frame.
        at: Ref,
        /// The frames with the rest of its payload.
        refs: Vec<Ref>,
    },
    /// In a segment.
    Segment {
        /// Which.
        segment: Arc<Segment>,
        /// Its row.
        row: u64,
    },
}

impl Found {
    /// The entry's leaf hash.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.bytes)
    }
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
    /// Whether there is none: what the collector notes of itself often has none.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty()
            && self.response.is_empty()
            && self.start == Private::default()
            && self.end == Private::default()
    }

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

/// Reads the records of a view.
pub struct Reader<'a> {
    view: Arc<View>,
    vault: &'a Mutex<Vault>,
    /// What was decrypted last: kept no longer than the reader.
    open: Mutex<OpenFrames>,
}

impl<'a> Reader<'a> {
    /// A reader of what `view` has.
    pub fn new(view: Arc<View>, vault: &'a Mutex<Vault>) -> Self {
        Self { view, vault, open: Mutex::default() }
    }

    /// The newest `limit` entries that are wanted, newest first.
    pub(crate) fn newest(&self, limit: usize, wanted: &Wanted) -> Result<Vec<Found>, CollectorError> {
        let mut ledgers: Vec<Vec<Found>> = Vec::new();
        for tenant in wanted.tenants() {
            let mut here = Gathered { limit, wanted, tenant, found: Vec::new() };
            match wanted.hashes(tenant) {
                Some(hashes) => self.by_ids(&hashes, &mut here)?,
                None => self.backwards(&mut here)?,
            }
            here.found.reverse();
            ledgers.push(here.found);
        }
        // Within a ledger numbers decide, between ledgers times, which are of one clock.
        let mut newest = Vec::new();
        while newest.len() < limit {
            let next = ledgers
                .iter_mut()
                .max_by_key(|ledger| ledger.last().map(|found| found.entry.timestamp.clone()))
                .and_then(Vec::pop);
            let Some(next) = next else { break };
            newest.push(next);
        }
        Ok(newest)
    }

    fn by_ids(&self, hashes: &[u64], here: &mut Gathered<'_>) -> Result<(), CollectorError> {
        let sealed = self.view.sealed(here.tenant);
        let mut log = Parts::new(self.view.clone(), self.vault);
        for file in self.view.files().iter().rev() {
            for entry in file.entries_with(hashes, Some(here.tenant), |_| sealed).into_iter().rev() {
                let at = Ref { file_no: file.number(), offset: entry.offset.into() };
                here.take_logged(&mut log, at)?;
                if here.is_full() {
                    return Ok(());
                }
            }
        }
        let segments = self.view.segments(here.tenant).iter().rev();
        let segments = segments.filter(|one| here.wanted.overlaps(one.manifest())).collect();
        let segments = self.view.may_have(segments, hashes);
        for some in segments.chunks(SEGMENTS_AT_ONCE_MAX) {
            for (segment, mut far) in some.iter().zip(look_far(some, hashes)) {
                let rows = far.take().unwrap_or_else(|| segment.rows_with(hashes))?;
                for row in rows.into_iter().rev() {
                    here.take_row(segment, row, segment.entry(row)?)?;
                    if here.is_full() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn backwards(&self, here: &mut Gathered<'_>) -> Result<(), CollectorError> {
        let sealed = self.view.sealed(here.tenant);
        let mut log = Parts::new(self.view.clone(), self.vault);
        for file in self.view.files().iter().rev() {
            for entry in file.entries(Some(here.tenant), |_| sealed).into_iter().rev() {
                if !here.wanted.accepts_time(entry.at_us) {
                    continue;
                }
                let at = Ref { file_no: file.number(), offset: entry.offset.into() };
                here.take_logged(&mut log, at)?;
                if here.is_full() {
                    return Ok(());
                }
            }
        }
        for segment in self.view.segments(here.tenant).iter().rev() {
            if here.wanted.overlaps(segment.manifest()) {
                backwards_in(segment, here)?;
            }
            if here.is_full() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The whole payload of an entry.
    pub fn payload(&self, found: &Found) -> Result<Payload, CollectorError> {
        let tenant = &found.entry.tenant_id;
        match &found.place {
            // Sealed since it was found: the log may be gone, the segment has it.
            Place::Log { .. } if found.entry.seq < self.view.sealed(tenant) => {
                let segments = self.view.segments(tenant);
                let after = segments.partition_point(|one| one.manifest().first <= found.entry.seq);
                let segment = after.checked_sub(1).and_then(|n| segments.get(n)).ok_or_else(|| {
                    CollectorError::Refused(format!("entry {} is in no segment", found.entry.seq))
                })?;
                self.sealed_payload(found, segment, found.entry.seq - segment.manifest().first)
            }
            Place::Log { at, refs } => self.logged_payload(found, *at, refs),
            Place::Segment { segment, row } => self.sealed_payload(found, segment, *row),
        }
    }

    fn logged_payload(&self, found: &Found, at: Ref, refs: &[Ref]) -> Result<Payload, CollectorError> {
        let mut log = Parts::new(self.view.clone(), self.vault);
        let mut payload = Payload::default();
        let places = refs.iter().chain([&at]).enumerate();
        for (n, place) in places {
            let Some(part) = log.read(*place, &found.entry.tenant_id, found.event_id)? else { continue };
            let meta = part.piece_meta().map_err(|error| malformed(found, &error))?;
            if meta != PieceMeta::default() {
                payload.pieces.push((part.stream, meta));
            }
            let private = part.private().map_err(|error| malformed(found, &error))?;
            if n == refs.len() {
                payload.end = private;
            } else if n == 0 {
                payload.start = private;
            }
            payload.body(part.stream).extend_from_slice(&part.bytes);
        }
        Ok(payload)
    }

    fn sealed_payload(&self, found: &Found, segment: &Segment, row: u64) -> Result<Payload, CollectorError> {
        let Some(place) = segment.place(row)? else { return Ok(Payload::default()) };
        let record = segment.record_among(place, &mut lock(&self.open), |context, part| {
            decrypt(self.vault, &found.entry.tenant_id, context, part)
        })?;
        let pieces = pieces(&record).ok_or_else(|| malformed(found, &"not a record"))?;
        let mut payload = Payload::default();
        for (piece, bytes) in pieces {
            let json = |error: serde_json::Error| malformed(found, &error);
            match piece {
                Piece::Start => payload.start = serde_json::from_slice(bytes).map_err(json)?,
                Piece::End => payload.end = serde_json::from_slice(bytes).map_err(json)?,
                Piece::InputMeta => {
                    payload.pieces.push((Stream::Input, serde_json::from_slice(bytes).map_err(json)?));
                }
                Piece::OutputMeta => {
                    payload.pieces.push((Stream::Output, serde_json::from_slice(bytes).map_err(json)?));
                }
                Piece::Input => payload.request.extend_from_slice(bytes),
                Piece::Output => payload.response.extend_from_slice(bytes),
            }
        }
        Ok(payload)
    }
}

impl Payload {
    fn body(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Input => &mut self.request,
            Stream::Output => &mut self.response,
        }
    }
}

/// Decrypts a frame of a segment: the key's owner stands at its start.
fn decrypt(
    vault: &Mutex<Vault>,
    tenant: &str,
    context: &[u8],
    part: &[u8],
) -> Result<Vec<u8>, CollectorError> {
    let (subject, month) = seal::owner(part).ok_or(VaultError::Sealed)?;
    let key = lock(vault)
        .find_data_key(tenant, subject, month)?
        .ok_or_else(|| VaultError::NoKey(format!("the data key of {subject} is gone")))?;
    Ok(seal::open(&key, context, part)?)
}

/// Rows with an id in those segments that are slow to reach, asked for side by side. `None`: it is quick to reach.
fn look_far(segments: &[&Arc<Segment>], hashes: &[u64]) -> Vec<Option<Result<Vec<u64>, CollectorError>>> {
    std::thread::scope(|scope| {
        let look = |segment: &Arc<Segment>| {
            let segment = segment.clone();
            scope.spawn(move || segment.rows_with(hashes))
        };
        let threads: Vec<_> = segments.iter().map(|one| (!one.is_near()).then(|| look(one))).collect();
        let ended = |_| Err(CollectorError::Stopped("a look-up panicked".to_owned()));
        threads.into_iter().map(|thread| Some(thread?.join().unwrap_or_else(ended))).collect()
    })
}

/// What was found in one ledger so far.
struct Gathered<'a> {
    limit: usize,
    wanted: &'a Wanted,
    tenant: &'a str,
    found: Vec<Found>,
}

impl Gathered<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    fn take_logged(&mut self, log: &mut Parts<'_>, at: Ref) -> Result<(), CollectorError> {
        let found = match log.record(at)? {
            Some(Record::Entry { event_id, refs, entry, .. }) => {
                found(event_id, entry, Place::Log { at, refs })?
            }
            _ => {
                let what =
                    format!("the frame at byte {} of file {} reads back differently", at.offset, at.file_no);
                return Err(CollectorError::Refused(format!("{what}: run indelible verify")));
            }
        };
        self.take(found);
        Ok(())
    }

    fn take_row(&mut self, segment: &Arc<Segment>, row: u64, bytes: Vec<u8>) -> Result<(), CollectorError> {
        let entry: Entry = parse(&bytes)?;
        let event_id = entry.event_id.parse().unwrap_or_default();
        self.take(Found { entry, bytes, event_id, place: Place::Segment { segment: segment.clone(), row } });
        Ok(())
    }

    fn take(&mut self, found: Found) {
        if !self.is_full() && self.wanted.accepts(&found.event_id, &found.entry.tenant_id, &found.entry) {
            self.found.push(found);
        }
    }
}

/// Looks at the rows of a segment from the last to the first, and at no block of rows in which nothing can be wanted.
fn backwards_in(segment: &Arc<Segment>, here: &mut Gathered<'_>) -> Result<(), CollectorError> {
    let entries = segment.entries()?;
    for (group, rows) in entries.groups().rev() {
        let may = candidates(segment, &entries, group, &rows, here.wanted, here.tenant)?;
        let Range { start, end } = rows;
        let blocks = (end - start).div_ceil(BLOCK_ROWS);
        for block in (0..blocks).rev() {
            let from = block * BLOCK_ROWS;
            let to = (from + BLOCK_ROWS).min(end - start);
            let candidates = &may[from as usize..to as usize];
            if !candidates.contains(&true) {
                continue;
            }
            let mut read = Vec::new();
            segment.visit_from(start + from, |row, bytes| {
                let within = (row - start - from) as usize;
                if candidates[within] {
                    read.push((row, bytes.to_vec()));
                }
                Ok(within + 1 < candidates.len())
            })?;
            for (row, bytes) in read.into_iter().rev() {
                here.take_row(segment, row, bytes)?;
                if here.is_full() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Which rows of a row group can be wanted, as far as single columns tell.
fn candidates(
    segment: &Segment,
    entries: &EntriesReader,
    group: usize,
    rows: &Range<u64>,
    wanted: &Wanted,
    tenant: &str,
) -> Result<Vec<bool>, CollectorError> {
    let unreadable = |error: parquet::errors::ParquetError| CollectorError::Segment {
        path: segment.path().to_owned(),
        what: error.to_string(),
    };
    let mut may = vec![true; usize::try_from(rows.end - rows.start).unwrap_or(0)];
    for (names, value) in wanted.columns(tenant) {
        let mut has = vec![false; may.len()];
        for name in names {
            for (row, text) in entries.texts(group, name).map_err(unreadable)?.iter().enumerate() {
                has[row] |= text.as_ref().is_some_and(|text| text.data() == value.as_bytes());
            }
        }
        may.iter_mut().zip(has).for_each(|(may, has)| *may &= has);
    }
    Ok(may)
}

fn found(event_id: Uuid, bytes: &[u8], place: Place) -> Result<Found, CollectorError> {
    Ok(Found { entry: parse(bytes)?, bytes: bytes.to_vec(), event_id, place })
}

fn parse(bytes: &[u8]) -> Result<Entry, CollectorError> {
    serde_json::from_slice(bytes)
        .map_err(|error| CollectorError::Refused(format!("a malformed entry: {error}: run indelible verify")))
}

fn malformed(found: &Found, error: &dyn std::fmt::Display) -> CollectorError {
    CollectorError::Refused(format!("the payload of event {} is malformed: {error}", found.event_id))
}
