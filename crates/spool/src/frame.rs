//! The bytes of a file header and of a frame, and nothing about files.
//!
//! Everything here works on slices and is bounded: a length is believed only once the checksum over it
//! holds. See the drawing in the crate documentation.

use uuid::Uuid;

/// First bytes of every log file.
pub const MAGIC: [u8; 8] = *b"INDELOG\0";
/// Version of the format that this program writes and reads.
pub const VERSION: u16 = 1;
/// Largest frame body.
pub const BODY_MAX_BYTES: usize = 4 << 20;
/// Largest file header, extension included.
pub const FILE_HEADER_MAX_BYTES: usize = 4096;
/// Bytes before a frame's body.
pub const FRAME_HEADER_BYTES: usize = 17;
/// Bytes around a frame's body.
pub const FRAME_OVERHEAD_BYTES: usize = FRAME_HEADER_BYTES + 4;

const FILE_HEADER_FIXED_BYTES: usize = 64;

/// What a log is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// A source's spool: bodies are encrypted to the collector.
    Spool = 1,
    /// The collector's write-ahead log.
    Wal = 2,
}

impl Role {
    /// Extension of the role's file names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::Wal => "wal",
        }
    }
}

/// What a frame holds. Numbers are part of the format and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Control: all frames up to the sequence number in the body are on disk.
    Mark = 1,
    /// Control: the file ends here, on purpose.
    Close = 2,
    /// Control, spool: the collector has acknowledged up to the sequence number in the body.
    Acked = 3,
    /// Spool: the process that writes this log came up.
    SourceStarted = 16,
    /// Spool: it is going down in good order.
    SourceStopped = 17,
    /// Spool: it is alive.
    Heartbeat = 18,
    /// Spool: something was not recorded, and this says what and why.
    Gap = 19,
    /// Spool: the source took up another configuration.
    ConfigChanged = 20,
    /// Spool: requests of one peer that were refused and have no record each.
    Rejections = 21,
    /// Spool: a request was accepted.
    Start = 32,
    /// Spool: more of a request body.
    Input = 33,
    /// Spool: a piece of a response body.
    Output = 34,
    /// Spool: the terminal record of a request.
    End = 35,
    /// WAL: a source introduced itself.
    Source = 48,
    /// WAL: a source's frame was taken in and left nothing else behind.
    Taken = 49,
    /// WAL: an accepted request whose entry is not made yet.
    Open = 50,
    /// WAL: an encrypted piece of an open request.
    Part = 51,
    /// WAL: an entry of a ledger, with the last of its encrypted payload.
    Entry = 52,
    /// WAL: signed tree heads and a signed digest of this file up to here.
    Checkpoint = 53,
    /// WAL: what everything before this file adds up to, at the start of a file.
    Base = 54,
    /// WAL: an [`Kind::Open`] frame of a file that is about to be removed, again.
    KeptOpen = 55,
    /// WAL: a [`Kind::Part`] frame of such a file, again.
    KeptPart = 56,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Mark,
            2 => Self::Close,
            3 => Self::Acked,
            16 => Self::SourceStarted,
            17 => Self::SourceStopped,
            18 => Self::Heartbeat,
            19 => Self::Gap,
            20 => Self::ConfigChanged,
            21 => Self::Rejections,
            32 => Self::Start,
            33 => Self::Input,
            34 => Self::Output,
            35 => Self::End,
            48 => Self::Source,
            49 => Self::Taken,
            50 => Self::Open,
            51 => Self::Part,
            52 => Self::Entry,
            53 => Self::Checkpoint,
            54 => Self::Base,
            55 => Self::KeptOpen,
            56 => Self::KeptPart,
            _ => return None,
        })
    }

    /// Control frames repeat the last data frame's sequence number and are never shipped.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Mark | Self::Close | Self::Acked)
    }
}

/// The start of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// What the log is for.
    pub role: Role,
    /// Number in the file's name.
    pub file_no: u64,
    /// Random; every frame's header checksum covers it.
    pub file_id: [u8; 16],
    /// Random, the same in all files of one log: a spool's incarnation, a WAL's store.
    pub log_id: Uuid,
    /// Sequence number that the first data frame of this file has.
    pub first_seq: u64,
    /// What the role adds: see [`crate::seal`].
    pub ext: Vec<u8>,
}

/// Why bytes are not a file header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Too few bytes yet.
    Short,
    /// Another format version.
    Version(u16),
    /// Not a header of ours, or a damaged one.
    Bad(&'static str),
}

impl FileHeader {
    /// The header's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let len = FILE_HEADER_FIXED_BYTES + self.ext.len() + 4;
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.role as u8, 0]);
        out.extend_from_slice(&(len as u32).to_le_bytes());
        out.extend_from_slice(&self.file_no.to_le_bytes());
        out.extend_from_slice(&self.file_id);
        out.extend_from_slice(self.log_id.as_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.ext);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header from the start of `bytes`; returns it and its length.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), HeaderError> {
        if bytes.len() < FILE_HEADER_FIXED_BYTES {
            return Err(HeaderError::Short);
        }
        if bytes[..8] != MAGIC {
            return Err(HeaderError::Bad("not an Indelible log file"));
        }
        let len = u32_at(bytes, 12) as usize;
        if !(FILE_HEADER_FIXED_BYTES + 4..=FILE_HEADER_MAX_BYTES).contains(&len) {
            return Err(HeaderError::Bad("impossible file header length"));
        }
        if bytes.len() < len {
            return Err(HeaderError::Short);
        }
        if crc32c::crc32c(&bytes[..len - 4]) != u32_at(bytes, len - 4) {
            return Err(HeaderError::Bad("file header checksum does not match"));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let role = match bytes[10] {
            1 => Role::Spool,
            2 => Role::Wal,
            _ => return Err(HeaderError::Bad("unknown log role")),
        };
        let header = Self {
            role,
            file_no: u64_at(bytes, 16),
            file_id: array_at(bytes, 24),
            log_id: Uuid::from_bytes(array_at(bytes, 40)),
            first_seq: u64_at(bytes, 56),
            ext: bytes[FILE_HEADER_FIXED_BYTES..len - 4].to_vec(),
        };
        Ok((header, len))
    }
}

/// One frame, borrowed from a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the body holds.
    pub kind: Kind,
    /// Sequence number within the log.
    pub seq: u64,
    /// The content.
    pub body: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// `needed` bytes from the frame's start would be needed to say.
    Short {
        /// How many.
        needed: usize,
    },
    /// Only zeros where a header would be: the log ends here.
    Padding,
    /// The header's checksum does not match, or it states something impossible.
    BadHeader,
    /// The header holds; the body's checksum does not match. Sequence number as the header has it.
    BadBody {
        /// Sequence number that the header states.
        seq: u64,
    },
}

/// The 17 bytes before a body.
pub fn encode_header(kind: Kind, seq: u64, len: usize, file_id: &[u8; 16]) -> [u8; FRAME_HEADER_BYTES] {
    let mut out = [0; FRAME_HEADER_BYTES];
    out[..4].copy_from_slice(&(len as u32).to_le_bytes());
    out[4] = kind as u8;
    out[5..13].copy_from_slice(&seq.to_le_bytes());
    let crc = header_crc(&out[..13], file_id);
    out[13..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a frame's header: kind, sequence number and body length.
pub fn parse_header(bytes: &[u8], file_id: &[u8; 16]) -> Result<(Kind, u64, usize), FrameError> {
    if bytes.len() < FRAME_HEADER_BYTES {
        return Err(FrameError::Short { needed: FRAME_HEADER_BYTES });
    }
    let header = &bytes[..FRAME_HEADER_BYTES];
    if header == [0; FRAME_HEADER_BYTES] {
        return Err(FrameError::Padding);
    }
    let len = u32_at(header, 0) as usize;
    // The cheap tests first: recovery tries this at every byte of a torn tail.
    if len > BODY_MAX_BYTES {
        return Err(FrameError::BadHeader);
    }
    let kind = Kind::from_number(header[4]).ok_or(FrameError::BadHeader)?;
    if header_crc(&header[..13], file_id) != u32_at(header, 13) {
        return Err(FrameError::BadHeader);
    }
    Ok((kind, u64_at(header, 5), len))
}

/// Reads the frame at the start of `bytes`; returns it and its length on disk.
pub fn parse<'a>(bytes: &'a [u8], file_id: &[u8; 16]) -> Result<(Frame<'a>, usize), FrameError> {
    let (kind, seq, len) = parse_header(bytes, file_id)?;
    let total = FRAME_OVERHEAD_BYTES + len;
    if bytes.len() < total {
        return Err(FrameError::Short { needed: total });
    }
    let body = &bytes[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + len];
    if crc32c::crc32c(body) != u32_at(bytes, FRAME_HEADER_BYTES + len) {
        return Err(FrameError::BadBody { seq });
    }
    Ok((Frame { kind, seq, body }, total))
}

fn header_crc(prefix: &[u8], file_id: &[u8; 16]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(prefix), file_id)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// `N` bytes from `at`; the caller has checked that they are there.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(kind: Kind, seq: u64, body: &[u8], file_id: &[u8; 16]) -> Vec<u8> {
        let mut out = encode_header(kind, seq, body.len(), file_id).to_vec();
        out.extend_from_slice(body);
        out.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
        out
    }

    proptest! {
        #[test]
        fn a_frame_reads_back(seq: u64, body: Vec<u8>, file_id: [u8; 16]) {
            let bytes = encode(Kind::Entry, seq, &body, &file_id);
            let (frame, len) = parse(&bytes, &file_id).unwrap();
            prop_assert_eq!(frame, Frame { kind: Kind::Entry, seq, body: &body });
            prop_assert_eq!(len, bytes.len());
        }

        #[test]
        fn every_flipped_bit_of_a_frame_is_noticed(seq: u64, body in prop::collection::vec(any::<u8>(), 0..64), file_id: [u8; 16], bit: prop::sample::Index) {
            let mut bytes = encode(Kind::Start, seq, &body, &file_id);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(parse(&bytes, &file_id).is_err());
        }

        #[test]
        fn a_frame_of_another_file_is_not_taken_for_ours(seq: u64, a: [u8; 16], b: [u8; 16]) {
            prop_assume!(a != b);
            let bytes = encode(Kind::End, seq, b"x", &a);
            prop_assert_eq!(parse(&bytes, &b), Err(FrameError::BadHeader));
        }

        #[test]
        fn a_file_header_reads_back_and_notices_every_flipped_bit(file_no: u64, file_id: [u8; 16], log_id: u128, first_seq: u64, ext in prop::collection::vec(any::<u8>(), 0..100), bit: prop::sample::Index) {
            let header = FileHeader { role: Role::Spool, file_no, file_id, log_id: Uuid::from_u128(log_id), first_seq, ext };
            let mut bytes = header.encode();
            prop_assert_eq!(FileHeader::parse(&bytes), Ok((header, bytes.len())));
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(FileHeader::parse(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, file_id: [u8; 16]) {
            let _ = parse(&bytes, &file_id);
            let _ = FileHeader::parse(&bytes);
        }
    }
}
