//! Parts of payloads, in the log: the frames that an entry names, read and decrypted one by one.

use crate::CollectorError;
use crate::sequencer::{lock, part_context};
use crate::store::View;
use indelible_record::event::{PieceMeta, Private};
use indelible_record::payload;
use indelible_spool::Role;
use indelible_spool::reader::{FramesAt, file_name};
use indelible_spool::wal::{Record, Ref, Stream};
use indelible_vault::{Vault, VaultError, seal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// A decrypted part, as it was written.
pub struct Part {
    /// Which body its bytes belong to.
    pub stream: Stream,
    /// Whether it is one of many pieces of a body, rather than what begins or ends an event.
    pub is_piece: bool,
    /// JSON: of a piece its [`PieceMeta`], else what the entry may not name. May be empty.
    pub meta: Vec<u8>,
    /// Bytes of the body.
    pub bytes: Vec<u8>,
}

impl Part {
    /// What stands before a piece.
    pub fn piece_meta(&self) -> Result<PieceMeta, serde_json::Error> {
        if self.is_piece && !self.meta.is_empty() {
            serde_json::from_slice(&self.meta)
        } else {
            Ok(PieceMeta::default())
        }
    }

    /// What the entry may not name.
    pub fn private(&self) -> Result<Private, serde_json::Error> {
        if self.is_piece || self.meta.is_empty() {
            Ok(Private::default())
        } else {
            serde_json::from_slice(&self.meta)
        }
    }
}

/// Reads parts from the log files of a view.
pub struct Parts<'a> {
    view: Arc<View>,
    vault: &'a Mutex<Vault>,
    files: BTreeMap<u64, FramesAt>,
}

impl<'a> Parts<'a> {
    /// A reader of the log as `view` has it.
    pub fn new(view: Arc<View>, vault: &'a Mutex<Vault>) -> Self {
        Self { view, vault, files: BTreeMap::new() }
    }

    /// The part in the frame at `place`, if that frame is in the log, belongs to the event and has one.
    pub fn read(&mut self, place: Ref, tenant: &str, event_id: Uuid) -> Result<Option<Part>, CollectorError> {
        let vault = self.vault;
        let Some(record) = self.record(place)? else { return Ok(None) };
        let record = match record {
            Record::Kept(inner) => *inner,
            record => record,
        };
        let (origin, owner, stream, part) = match &record {
            Record::Open { origin, event_id, part, .. } => (*origin, *event_id, Stream::Input, *part),
            Record::Part { origin, event_id, stream, part } => (*origin, *event_id, *stream, *part),
            Record::Entry { origin, event_id, part, .. } => (*origin, *event_id, Stream::Output, *part),
            _ => return Ok(None),
        };
        if owner != event_id || part.is_empty() {
            return Ok(None);
        }
        let is_piece = matches!(record, Record::Part { .. });
        let (subject, month) = seal::owner(part).ok_or(VaultError::Sealed)?;
        let key = lock(vault)
            .find_data_key(tenant, subject, month)?
            .ok_or_else(|| VaultError::NoKey(format!("the data key of {subject} is gone")))?;
        let plain = seal::open(&key, &part_context(tenant, event_id, origin), part)?;
        let damaged = |source| CollectorError::Io { path: file_name(place.file_no, "wal").into(), source };
        let (meta, piece) = payload::split(&plain).map_err(damaged)?;
        let bytes = payload::unpack(piece).map_err(damaged)?;
        Ok(Some(Part { stream, is_piece, meta: meta.to_vec(), bytes }))
    }

    /// The record in the frame at `place`.
    pub fn record(&mut self, place: Ref) -> Result<Option<Record<'_>>, CollectorError> {
        if !self.files.contains_key(&place.file_no) {
            let Some(file) = self.view.files().iter().find(|file| file.number() == place.file_no) else {
                return Ok(None);
            };
            let name = file_name(place.file_no, Role::Wal.extension());
            let Some(frames) = FramesAt::over(file.file().clone(), &name)? else { return Ok(None) };
            self.files.insert(place.file_no, frames);
        }
        let Some(frames) = self.files.get_mut(&place.file_no) else { return Ok(None) };
        Ok(frames.read(place.offset)?.and_then(|frame| Record::parse(frame.kind, frame.body)))
    }
}
