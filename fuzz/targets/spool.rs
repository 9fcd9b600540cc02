//! Log files, WAL records, sealed frames, and the batches that sources send.
//!
//! Holds: a reader finds exactly the frames that were written, in order, and never one that was damaged; a record
//! is written back as it was read; a batch opens to what its source sealed or to nothing; no byte of it can be
//! changed.

#![no_main]

use indelible_collector::receive::{self, Batch, Content};
use indelible_fuzz::Input;
use indelible_os::durable::Dir as _;
use indelible_os::sim::SimDir;
use indelible_record::payload;
use indelible_spool::frame::{self, FRAME_HEADER_BYTES, encode_header};
use indelible_spool::reader::{End, FileReader};
use indelible_spool::seal::{FileCipher, SealedBy, SpoolPrivateKey};
use indelible_spool::wal::Record;
use indelible_spool::{FileHeader, Kind, Role};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use uuid::Uuid;

const FILE_ID: [u8; 16] = *b"a file's own id.";
const NAME: &str = "00000001.wal";
const KINDS: [Kind; 19] = [
    Kind::Mark,
    Kind::Close,
    Kind::Acked,
    Kind::SourceStarted,
    Kind::SourceStopped,
    Kind::Heartbeat,
    Kind::Gap,
    Kind::ConfigChanged,
    Kind::Rejections,
    Kind::Start,
    Kind::Input,
    Kind::Output,
    Kind::End,
    Kind::Source,
    Kind::Taken,
    Kind::Open,
    Kind::Part,
    Kind::Entry,
    Kind::Checkpoint,
];

/// A collector's key, a header that names it, and what seals frames of that file. Drawn anew by each process:
/// nothing that is checked here depends on which it is.
struct Sealing {
    keys: [SpoolPrivateKey; 1],
    header: FileHeader,
    cipher: FileCipher,
}

static SEALING: LazyLock<Sealing> = LazyLock::new(|| {
    let key = SpoolPrivateKey::from_bytes([7; 32]).unwrap();
    let mut header = file_header(Role::Spool, 1);
    let (ext, cipher) = key.public().seal_file(&header, "gateway-1").unwrap();
    header.ext = ext;
    Sealing { keys: [key], header, cipher }
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 7 {
        0 => record(&mut input),
        1 => header(input.rest()),
        2 => any_file(&mut input),
        3 => written_file(&mut input),
        4 => any_batch(&mut input),
        5 => sealed_batch(&mut input),
        _ => changed_batch(&mut input),
    }
});

fn file_header(role: Role, first_seq: u64) -> FileHeader {
    FileHeader { role, file_no: 1, file_id: FILE_ID, log_id: Uuid::from_u128(9), first_seq, ext: Vec::new() }
}

fn kind(byte: u8) -> Kind {
    KINDS[usize::from(byte) % KINDS.len()]
}

fn record(input: &mut Input<'_>) {
    let kind = kind(input.byte());
    if let Some(record) = Record::parse(kind, input.rest()) {
        assert_eq!(record.kind(), kind);
        assert_eq!(record.encode(), input.rest());
    }
}

fn header(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    mend_header(&mut bytes);
    if let Ok((header, len)) = FileHeader::parse(&bytes) {
        assert_eq!(header.encode(), bytes[..len]);
        let _ = SealedBy::parse(&header.ext);
    }
}

/// Makes the checksum and the fixed bytes right, so that what is behind them is looked at.
fn mend_header(bytes: &mut [u8]) {
    if bytes.len() < 68 {
        return;
    }
    bytes[..8].copy_from_slice(&frame::MAGIC);
    bytes[8..10].copy_from_slice(&frame::VERSION.to_le_bytes());
    bytes[11] = 0;
    let len = 68 + usize::from(u16::from_le_bytes([bytes[12], bytes[13]])) % (bytes.len() - 67);
    bytes[12..16].copy_from_slice(&(len as u32).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..len - 4]);
    bytes[len - 4..len].copy_from_slice(&crc.to_le_bytes());
}

fn in_memory(bytes: Vec<u8>) -> SimDir {
    let dir = SimDir::new();
    dir.create(NAME).unwrap();
    dir.tamper(NAME, |file| *file = bytes);
    dir
}

/// What is left after reading a file: its frames, whether it ends in a close, and how it ends.
fn read(bytes: &[u8]) -> Option<(Vec<(Kind, u64, Vec<u8>)>, Result<End, String>)> {
    let dir = in_memory(bytes.to_vec());
    let mut reader = FileReader::open(&dir, NAME).ok()??;
    let (mut frames, mut closed) = (Vec::new(), false);
    let failed = loop {
        if closed {
            break None;
        }
        match reader.next_frame() {
            Ok(None) => break None,
            Ok(Some(frame)) => {
                closed = frame.kind == Kind::Close;
                frames.push((frame.kind, frame.seq, frame.body.to_vec()));
            }
            Err(error) => break Some(error.to_string()),
        }
    };
    assert!(reader.offset() <= bytes.len() as u64);
    let end = match failed {
        Some(error) => Err(error),
        None => {
            let _ = (reader.stands_at_padding(), reader.ends_in_damaged_close());
            reader.judge_end(closed, true).map_err(|error| error.to_string())
        }
    };
    Some((frames, end))
}

/// Bytes that nobody wrote, their checksums made right.
fn any_file(input: &mut Input<'_>) {
    let mut bytes = input.rest().to_vec();
    mend_header(&mut bytes);
    if let Ok((header, len)) = FileHeader::parse(&bytes) {
        let mut at = len;
        while bytes.len() - at >= FRAME_HEADER_BYTES {
            let body = usize::from(bytes[at]);
            bytes[at..at + 4].copy_from_slice(&(body as u32).to_le_bytes());
            let prefix = crc32c::crc32c(&bytes[at..at + 13]);
            let crc = crc32c::crc32c_append(prefix, &header.file_id);
            bytes[at + 13..at + 17].copy_from_slice(&crc.to_le_bytes());
            let (from, end) = (at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + body);
            if end + 4 > bytes.len() {
                break;
            }
            let crc = crc32c::crc32c(&bytes[from..end]);
            bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
            at = end + 4;
        }
    }
    let _ = read(&bytes);
}

/// A file as a writer leaves it, then cut off, padded or damaged at one place.
fn written_file(input: &mut Input<'_>) {
    let mut seq = u64::from(input.number());
    let mut bytes = file_header(Role::Wal, seq + 1).encode();
    let (mut written, mut ends) = (Vec::<(Kind, u64, Vec<u8>)>::new(), Vec::new());
    let (damage, at, flip) = (input.byte(), usize::from(input.number()), input.byte());
    while !input.rest().is_empty() && written.last().is_none_or(|(kind, ..)| *kind != Kind::Close) {
        let kind = kind(input.byte());
        seq += u64::from(!kind.is_control());
        let len = usize::from(input.byte()).min(input.rest().len());
        let body = input.rest()[..len].to_vec();
        input.0 = &input.0[len..];
        put_frame(&mut bytes, kind, seq, &body);
        ends.push(bytes.len());
        written.push((kind, seq, body));
    }
    let whole = bytes.len();
    let header = file_header(Role::Wal, 0).encode().len();
    let at = header + at % (whole - header + 1);
    match damage % 4 {
        0 => {}
        1 => bytes.resize(whole + at, 0),
        2 => bytes.truncate(at),
        _ if at < whole && flip != 0 => bytes[at] ^= flip,
        _ => {}
    }
    let (found, end) = read(&bytes).unwrap();
    let closed = written.last().is_some_and(|(kind, ..)| *kind == Kind::Close);
    match damage % 4 {
        0 | 1 => {
            assert_eq!(found, written);
            let padded = bytes.len() > whole;
            assert_eq!(
                end,
                Ok(if !closed {
                    End::Open
                } else if padded {
                    End::Untrimmed
                } else {
                    End::Closed
                })
            );
        }
        2 => assert_eq!(found, written[..ends.iter().filter(|end| **end <= at).count()]),
        _ => {
            let intact = ends.iter().filter(|end| **end <= at).count();
            let touched = at < whole && flip != 0;
            assert_eq!(found, written[..if touched { intact } else { written.len() }]);
            if touched {
                assert!(!matches!(end, Ok(End::Closed | End::Untrimmed)));
            }
        }
    }
}

fn put_frame(bytes: &mut Vec<u8>, kind: Kind, seq: u64, body: &[u8]) {
    bytes.extend_from_slice(&encode_header(kind, seq, body.len(), &FILE_ID));
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
}

fn any_batch(input: &mut Input<'_>) {
    let mut bytes = input.rest().to_vec();
    mend_header(&mut bytes);
    assert!(receive::open_batch(&bytes, &SEALING.keys, None).is_err());
}

/// Frames that a source could seal: the batch, and what was sealed of it.
fn seal(input: &mut Input<'_>) -> (Vec<u8>, Vec<(Kind, u64, Vec<u8>)>) {
    let Sealing { header, cipher, .. } = &*SEALING;
    let mut seq = match input.byte() {
        255 => u64::MAX - 2,
        low => u64::from(low) + 1,
    };
    let (mut bytes, mut sealed) = (header.encode(), Vec::new());
    while !input.rest().is_empty() {
        let kind = kind(input.byte());
        let len = usize::from(input.number()).min(input.rest().len());
        let plain = input.rest()[..len].to_vec();
        input.0 = &input.0[len..];
        bytes.extend_from_slice(&cipher.sealed_frame(kind, seq, &FILE_ID, [3; 16], &plain).unwrap());
        sealed.push((kind, seq, plain));
        seq = seq.wrapping_add(1);
    }
    (bytes, sealed)
}

fn sealed_batch(input: &mut Input<'_>) {
    let (bytes, sealed) = seal(input);
    assert!(receive::open_batch(&bytes, &SEALING.keys, Some("gateway-2")).is_err());
    assert!(receive::open_batch(&bytes, &[], None).is_err());
    let Ok(Batch { source_id, frames, .. }) = receive::open_batch(&bytes, &SEALING.keys, Some("gateway-1"))
    else {
        return;
    };
    assert_eq!(source_id, "gateway-1");
    assert_eq!(frames.len(), sealed.len());
    for (opened, (kind, seq, plain)) in frames.iter().zip(&sealed) {
        assert_eq!(opened.seq, *seq);
        let (meta, piece) = payload::split(plain).unwrap();
        let same = match &opened.content {
            Content::Start(_, found) | Content::End(_, found) => found == piece,
            Content::Input(_, found) | Content::Output(_, found) => found == piece,
            Content::Heartbeat => *kind == Kind::Heartbeat,
            _ => serde_json::from_slice::<serde_json::Value>(meta).is_ok(),
        };
        assert!(same, "{kind:?}");
    }
}

/// Checksums find accidents; sealing finds whoever makes the checksums right again.
fn changed_batch(input: &mut Input<'_>) {
    let (at, flip) = (usize::from(input.number()), input.byte().max(1));
    let (mut bytes, sealed) = seal(input);
    let header = SEALING.header.encode().len();
    if sealed.is_empty() {
        return;
    }
    let at = header + at % (bytes.len() - header);
    bytes[at] ^= flip;
    assert!(receive::open_batch(&bytes, &SEALING.keys, None).is_err());
    let mut from = header;
    for (_, _, plain) in &sealed {
        let end = from + FRAME_HEADER_BYTES + plain.len() + indelible_spool::seal::SEAL_OVERHEAD_BYTES;
        if (from + FRAME_HEADER_BYTES..end).contains(&at) {
            let crc = crc32c::crc32c(&bytes[from + FRAME_HEADER_BYTES..end]);
            bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
            assert!(receive::open_batch(&bytes, &SEALING.keys, None).is_err());
        }
        from = end + 4;
    }
}
