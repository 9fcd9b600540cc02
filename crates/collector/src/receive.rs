//! A batch from a source: parsed, checked and decrypted before anything of it counts.
//!
//! A batch is one spool file's header followed by frames of that file exactly as they stand there. It is
//! taken apart outside the sequencing thread, whole or not at all, so that a malformed one costs the
//! others nothing. See `docs/formats/spool.md` for the exchange.

use indelible_record::event::{ConfigChange, End, Gap, PieceMeta, Rejections, SourceNotice, Start};
use indelible_record::payload;
use indelible_record::shipping::BATCH_MAX_BYTES;
use indelible_spool::frame::{self, FRAME_HEADER_BYTES, FileHeader, Kind, Role};
use indelible_spool::seal::{FileCipher, SealedBy, SpoolPrivateKey};
use serde::Deserialize;
use uuid::Uuid;

/// A batch, checked and opened.
pub struct Batch {
    /// The source's id.
    pub source_id: String,
    /// Its incarnation.
    pub incarnation: Uuid,
    /// Its frames, in order.
    pub frames: Vec<Opened>,
}

/// One frame, opened.
pub struct Opened {
    /// Sequence number at the source.
    pub seq: u64,
    /// The event that it belongs to.
    pub event_id: Uuid,
    /// What it says.
    pub content: Content,
}

/// What a frame says. Pieces are packed, as [`payload::pack`] has them.
pub enum Content {
    /// The source came up.
    Started(SourceNotice),
    /// The source goes down.
    Stopped(SourceNotice),
    /// The source is alive.
    Heartbeat,
    /// Something was not recorded.
    Gap(Gap),
    /// The source took up another configuration.
    ConfigChanged(ConfigChange),
    /// Requests that were refused and have no record each.
    Rejections(Box<Rejections>),
    /// A request was accepted.
    Start(Box<Start>, Vec<u8>),
    /// More of the request body.
    Input(PieceMeta, Vec<u8>),
    /// More of the response body.
    Output(PieceMeta, Vec<u8>),
    /// A request ended.
    End(Box<End>, Vec<u8>),
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not a batch, or an altered one.
    #[error("malformed batch: {0}")]
    Malformed(String),
    /// Encrypted to a key that this collector does not have.
    #[error("the batch is encrypted to collector key {0}, which is not here")]
    UnknownKey(String),
    /// The source may not write as this source or for this tenant.
    #[error("{0}")]
    Forbidden(String),
    /// Frames before the batch's first are missing.
    #[error("frame {got} was sent where {expected} was expected")]
    OutOfOrder {
        /// The frame that comes next.
        expected: u64,
        /// The first frame of the batch.
        got: u64,
    },
    /// Another collector acknowledged frames to this source.
    #[error("the source was acknowledged up to {0} by another collector")]
    ForeignAck(u64),
    /// No room. What was taken before is acknowledged; the rest may be sent again later.
    #[error("no room: {0}")]
    Full(String),
    /// Too many wait.
    #[error("busy: {0}")]
    Busy(String),
    /// The collector is stopping or has failed.
    #[error("the collector is not sequencing: {0}")]
    Unavailable(String),
}

impl BatchError {
    /// The HTTP status that a source gets.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Forbidden(_) => 403,
            Self::OutOfOrder { .. } | Self::ForeignAck(_) => 409,
            Self::UnknownKey(_) => 422,
            Self::Full(_) => 507,
            Self::Busy(_) | Self::Unavailable(_) => 503,
        }
    }
}

/// Takes a batch apart. `peer` is who the connection says is sending, if it says.
pub fn open_batch(bytes: &[u8], keys: &[SpoolPrivateKey], peer: Option<&str>) -> Result<Batch, BatchError> {
    if bytes.len() > BATCH_MAX_BYTES {
        return Err(malformed("over the size limit"));
    }
    let (header, len) =
        FileHeader::parse(bytes).map_err(|error| malformed(format!("file header: {error:?}")))?;
    if header.role != Role::Spool {
        return Err(malformed("not frames of a spool"));
    }
    let sealed = SealedBy::parse(&header.ext).map_err(|error| malformed(error.to_string()))?;
    if peer.is_some_and(|peer| peer != sealed.source_id) {
        let what =
            format!("the certificate of {} cannot send for {}", peer.unwrap_or_default(), sealed.source_id);
        return Err(BatchError::Forbidden(what));
    }
    if !indelible_record::identity::may_stand_clear(&sealed.source_id) {
        return Err(malformed("a source id is 1 to 128 characters of A-Z a-z 0-9 . _ : / -"));
    }
    let key = keys
        .iter()
        .find(|key| key.public().id() == sealed.key_id)
        .ok_or_else(|| BatchError::UnknownKey(indelible_record::commitment::to_hex(&sealed.key_id)))?;
    let cipher = key.open_file(&header, &sealed).map_err(|error| malformed(error.to_string()))?;
    let mut frames: Vec<Opened> = Vec::new();
    let mut rest = &bytes[len..];
    while !rest.is_empty() {
        let (found, len) =
            frame::parse(rest, &header.file_id).map_err(|error| malformed(format!("frame: {error:?}")))?;
        let follows = frames.last().is_none_or(|last| last.seq.checked_add(1) == Some(found.seq));
        if !follows || found.seq < header.first_seq {
            return Err(malformed("frames are not consecutive"));
        }
        let (event_id, plain) = open_frame(&cipher, &rest[..FRAME_HEADER_BYTES], found)?;
        let content = parse_content(found.kind, &plain)
            .map_err(|what| malformed(format!("frame {}: {what}", found.seq)))?;
        frames.push(Opened { seq: found.seq, event_id, content });
        rest = &rest[len..];
    }
    Ok(Batch { source_id: sealed.source_id, incarnation: header.log_id, frames })
}

fn open_frame(
    cipher: &FileCipher,
    header: &[u8],
    found: frame::Frame<'_>,
) -> Result<(Uuid, Vec<u8>), BatchError> {
    let (event_id, plain) = cipher
        .open(found.seq, header, found.body)
        .map_err(|error| malformed(format!("frame {}: {error}", found.seq)))?;
    Ok((Uuid::from_bytes(event_id), plain))
}

fn parse_content(kind: Kind, plain: &[u8]) -> Result<Content, String> {
    let (meta, piece) = payload::split(plain).map_err(|error| error.to_string())?;
    if meta.len() > payload::SOURCE_META_MAX_BYTES {
        return Err("meta over the size limit".to_owned());
    }
    // Unpacked here once, so that a piece that cannot be read is refused while the source still has it.
    payload::unpack(piece).map_err(|error| format!("piece: {error}"))?;
    let piece = piece.to_vec();
    Ok(match kind {
        Kind::SourceStarted => Content::Started(from_json(meta)?),
        Kind::SourceStopped => Content::Stopped(from_json(meta)?),
        Kind::Heartbeat => Content::Heartbeat,
        Kind::Gap => Content::Gap(from_json(meta)?),
        Kind::ConfigChanged => Content::ConfigChanged(from_json(meta)?),
        Kind::Rejections => Content::Rejections(from_json(meta)?),
        Kind::Start => Content::Start(from_json(meta)?, piece),
        Kind::Input => Content::Input(piece_meta(meta)?, piece),
        Kind::Output => Content::Output(piece_meta(meta)?, piece),
        Kind::End => Content::End(from_json(meta)?, piece),
        other => return Err(format!("a source cannot send {other:?} frames")),
    })
}

/// Most pieces stand alone.
fn piece_meta(meta: &[u8]) -> Result<PieceMeta, String> {
    if meta.is_empty() { Ok(PieceMeta::default()) } else { from_json(meta) }
}

fn from_json<'a, T: Deserialize<'a>>(meta: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(meta).map_err(|error| error.to_string())
}

fn malformed(what: impl Into<String>) -> BatchError {
    BatchError::Malformed(what.into())
}
