//! Altering a file of the log as anyone can who may write it: frames, numbers and checksums fit again, signatures do not.

use crate::Trouble;
use indelible_os::durable::FsDir;
use indelible_spool::frame::{self, FileHeader, Kind, encode_header};
use indelible_spool::reader;
use indelible_spool::wal::Record;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A frame: its kind and its body.
pub type Body = (Kind, Vec<u8>);

/// The bytes of a file with each frame replaced by what `edit` makes of it.
pub fn rewritten(path: &Path, mut edit: impl FnMut(Kind, &[u8]) -> Vec<Body>) -> Result<Vec<u8>, Trouble> {
    let bytes = std::fs::read(path).map_err(|error| Trouble::Io(path.to_owned(), error))?;
    let not_a_log = || Trouble::Form(format!("{}: not a file of the log", path.display()));
    let (header, mut at) = FileHeader::parse(&bytes).map_err(|_| not_a_log())?;
    let mut out = bytes.get(..at).ok_or_else(not_a_log)?.to_vec();
    let mut next = header.first_seq;
    while let Some(rest) = bytes.get(at..)
        && let Ok((frame, len)) = frame::parse(rest, &header.file_id)
    {
        for (kind, body) in edit(frame.kind, frame.body) {
            let seq = if kind.is_control() { next - 1 } else { next };
            next += u64::from(!kind.is_control());
            out.extend_from_slice(&encode_header(kind, seq, body.len(), &header.file_id));
            out.extend_from_slice(&body);
            out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        }
        at += len;
    }
    Ok(out)
}

/// The files of the log, oldest first.
pub fn files(data: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let wal = data.join("wal");
    let names = reader::list(&FsDir::existing(&wal), "wal")?;
    Ok(names.into_iter().map(|(_, name)| wal.join(name)).collect())
}

/// The number of the entry in a frame, if it is one of this ledger.
pub fn seq_of(kind: Kind, body: &[u8], tenant: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }
    match Record::parse(kind, body)? {
        Record::Entry { tenant: owner, entry, .. } if owner == tenant => {
            serde_json::from_slice::<Numbered>(entry).ok().map(|entry| entry.seq)
        }
        _ => None,
    }
}

/// The frame of an entry with other bytes of the entry.
pub fn with_entry(body: &[u8], bytes: &[u8]) -> Vec<Body> {
    match Record::parse(Kind::Entry, body) {
        Some(Record::Entry { origin, event_id, tenant, refs, part, .. }) => {
            let record = Record::Entry { origin, event_id, tenant, refs, entry: bytes, part };
            vec![(Kind::Entry, record.encode())]
        }
        _ => vec![(Kind::Entry, body.to_vec())],
    }
}

/// The frame of an entry with the payload's frames and part of another.
pub fn with_payload_of(body: &[u8], other: &[u8]) -> Vec<Body> {
    match (Record::parse(Kind::Entry, body), Record::parse(Kind::Entry, other)) {
        (
            Some(Record::Entry { origin, event_id, tenant, entry, .. }),
            Some(Record::Entry { refs, part, .. }),
        ) => {
            let record = Record::Entry { origin, event_id, tenant, refs, entry, part };
            vec![(Kind::Entry, record.encode())]
        }
        _ => vec![(Kind::Entry, body.to_vec())],
    }
}

/// The file that has the entry, and its frame's body.
pub fn find(data: &Path, tenant: &str, seq: u64) -> Result<(PathBuf, Vec<u8>), Trouble> {
    for path in files(data)? {
        let mut found = None;
        rewritten(&path, |kind, body| {
            if seq_of(kind, body, tenant) == Some(seq) {
                found = Some(body.to_vec());
            }
            Vec::new()
        })?;
        if let Some(body) = found {
            return Ok((path, body));
        }
    }
    Err(Trouble::Form(format!("entry {seq} of {tenant} is not in the log")))
}
