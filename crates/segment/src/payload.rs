//! `payload.frames`: what belongs to persons, compressed and encrypted, a conversation beside itself.
//!
//! Turns of a conversation repeat what was said before. Records of one person, month and session therefore share
//! frames, each compressed as one and encrypted under that person's key of that month: there the space is saved,
//! and a person is erased by destroying a key.
//!
//! ```text
//! file    = (len u32 · part) * · table · table_len u32 · frames u32 · crc u32 · magic 8
//! part    = what the vault makes of a zstd frame (crates/vault, seal.rs), bound to `context`
//! table   = (plain_len u32 · part_len u32 · count varint · first seq varint · (seq − the one before) varint *) *
//! context = "indelible segment payload v1" · 0 · tenant · 0 · origin · 0 · segment 16 · frame u32 · SHA-256(seq u64 *)
//! record  = (kind u8 · len u32 · bytes) * · 0
//! ```
//!
//! A record of more than a frame begins one and goes on in the next ones, alone. The table lies in the clear:
//! numbers of entries, which stand in the entries too. `crc` is the CRC-32C of table, table_len and frames.

use crate::ReadAt;
use crate::columns::Place;
use crate::varint;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use uuid::Uuid;

/// Plain bytes of a frame.
pub const FRAME_MAX_BYTES: usize = 16 << 20;
const MAGIC: [u8; 8] = *b"INDPAY\0\x01";
const TAIL_BYTES: usize = 4 + 4 + 4 + 8;
const ZSTD_LEVEL: i32 = 9;
/// Matches reach back over a whole frame.
const ZSTD_WINDOW_LOG: u32 = 24;
/// A part is longer than its plain text by what the vault puts around it, and incompressible text by a little.
const PART_MAX_BYTES: usize = FRAME_MAX_BYTES + (1 << 20);

/// What a piece of a record is. Numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Piece {
    /// What was known at the start, as JSON.
    Start = 1,
    /// What was known at the end, as JSON.
    End = 2,
    /// What stands before the piece of the request body that follows, as JSON.
    InputMeta = 3,
    /// What stands before the piece of the response body that follows, as JSON.
    OutputMeta = 4,
    /// A piece of the request body.
    Input = 5,
    /// A piece of the response body.
    Output = 6,
}

impl Piece {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Start, Self::End, Self::InputMeta, Self::OutputMeta, Self::Input, Self::Output]
            .into_iter()
            .find(|piece| *piece as u8 == number)
    }
}

/// Whose segment it is: part of what each frame is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The tenant.
    pub tenant: String,
    /// The ledger's origin.
    pub origin: String,
    /// The segment.
    pub segment: Uuid,
}

impl Owner {
    /// What the frame `number` with the records `seqs` is bound to.
    fn context(&self, number: u32, seqs: &[u8; 32]) -> Vec<u8> {
        let mut out = b"indelible segment payload v1\0".to_vec();
        out.extend_from_slice(self.tenant.as_bytes());
        out.push(0);
        out.extend_from_slice(self.origin.as_bytes());
        out.push(0);
        out.extend_from_slice(self.segment.as_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(seqs);
        out
    }
}

/// Puts a piece of a record into a buffer.
pub fn put_piece(record: &mut Vec<u8>, piece: Piece, bytes: &[u8]) {
    record.push(piece as u8);
    record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    record.extend_from_slice(bytes);
}

/// Takes a record apart again. `None`: not a record.
pub fn pieces(record: &[u8]) -> Option<Vec<(Piece, &[u8])>> {
    let mut rest = record;
    let mut found = Vec::new();
    loop {
        let (kind, after) = rest.split_first()?;
        if *kind == 0 {
            return after.is_empty().then_some(found);
        }
        let piece = Piece::from_number(*kind)?;
        let (len, after) = after.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        found.push((piece, bytes));
        rest = after;
    }
}

/// Writes frames. `encrypt` is handed a context and a compressed frame, and answers with the part.
pub struct PayloadWriter<W: Write> {
    out: W,
    owner: Owner,
    compressor: zstd::bulk::Compressor<'static>,
    table: Vec<u8>,
    frames: u32,
    /// The frame being gathered, and the records in it.
    plain: Vec<u8>,
    seqs: Vec<u64>,
    /// The record being gathered.
    record: Vec<u8>,
    /// Where the record began, once that is settled because it is longer than a frame.
    begun: Option<(u32, u64)>,
}

impl<W: Write> PayloadWriter<W> {
    /// Begins a file.
    pub fn new(out: W, owner: Owner) -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        compressor.set_parameter(zstd::zstd_safe::CParameter::WindowLog(ZSTD_WINDOW_LOG))?;
        compressor.set_parameter(zstd::zstd_safe::CParameter::EnableLongDistanceMatching(true))?;
        Ok(Self {
            out,
            owner,
            compressor,
            table: Vec::new(),
            frames: 0,
            plain: Vec::new(),
            seqs: Vec::new(),
            record: Vec::new(),
            begun: None,
        })
    }

    /// Adds a piece to the record that is being gathered.
    pub fn piece<E: From<io::Error>>(
        &mut self,
        seq: u64,
        piece: Piece,
        bytes: &[u8],
        encrypt: &mut impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        put_piece(&mut self.record, piece, bytes);
        self.spill(seq, encrypt)
    }

    /// A record longer than a frame gets frames of its own, each written as soon as it is full.
    fn spill<E: From<io::Error>>(
        &mut self,
        seq: u64,
        encrypt: &mut impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        while self.record.len() > FRAME_MAX_BYTES {
            if self.begun.is_none() {
                self.end_frame(encrypt)?;
                self.begun = Some((self.frames, 0));
            }
            let rest = self.record.split_off(FRAME_MAX_BYTES);
            self.plain = std::mem::replace(&mut self.record, rest);
            self.seqs.push(seq);
            self.end_frame(encrypt)?;
            if let Some((_, len)) = &mut self.begun {
                *len += FRAME_MAX_BYTES as u64;
            }
        }
        Ok(())
    }

    /// Ends the record, and says where it is.
    pub fn end_record<E: From<io::Error>>(
        &mut self,
        seq: u64,
        encrypt: &mut impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Place, E> {
        self.record.push(0);
        self.spill(seq, encrypt)?;
        let len = self.record.len() as u64;
        if self.begun.is_some() || self.plain.len() + self.record.len() > FRAME_MAX_BYTES {
            self.end_frame(encrypt)?;
        }
        let at = self.plain.len() as u32;
        self.plain.append(&mut self.record);
        self.seqs.push(seq);
        match self.begun.take() {
            None => Ok(Place { frame: self.frames, at, len }),
            Some((frame, before)) => {
                self.end_frame(encrypt)?;
                Ok(Place { frame, at: 0, len: before + len })
            }
        }
    }

    /// Ends the frame: the records that follow are another's.
    pub fn end_frame<E: From<io::Error>>(
        &mut self,
        encrypt: &mut impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let packed = self.compressor.compress(&self.plain)?;
        let part = encrypt(&self.owner.context(self.frames, &hash_of(&self.seqs)), &packed)?;
        self.out.write_all(&(part.len() as u32).to_le_bytes())?;
        self.out.write_all(&part)?;
        self.table.extend_from_slice(&(self.plain.len() as u32).to_le_bytes());
        self.table.extend_from_slice(&(part.len() as u32).to_le_bytes());
        varint::put(&mut self.table, self.seqs.len() as u64);
        let mut before = 0;
        for seq in &self.seqs {
            varint::put(&mut self.table, seq - before);
            before = *seq;
        }
        self.frames += 1;
        self.plain.clear();
        self.seqs.clear();
        Ok(())
    }

    /// Plain bytes of the frame that is being gathered.
    pub fn gathered(&self) -> usize {
        self.plain.len()
    }

    /// Ends the file, behind its last frame. Says how many frames it has.
    pub fn finish(mut self) -> io::Result<(W, u32)> {
        debug_assert!(self.plain.is_empty() && self.record.is_empty());
        self.table.extend_from_slice(&(self.table.len() as u32).to_le_bytes());
        self.table.extend_from_slice(&self.frames.to_le_bytes());
        let crc = crc32c::crc32c(&self.table);
        self.table.extend_from_slice(&crc.to_le_bytes());
        self.table.extend_from_slice(&MAGIC);
        self.out.write_all(&self.table)?;
        Ok((self.out, self.frames))
    }
}

/// Most plain bytes of frames that a reader keeps open, unless the newest alone is larger.
const OPEN_MAX_BYTES: usize = 2 * FRAME_MAX_BYTES;

/// Plain frames, those opened last: records of a conversation stand in the same ones.
#[derive(Default)]
pub struct OpenFrames {
    /// Segment, number and plain bytes, the newest last.
    frames: VecDeque<(Uuid, u32, Arc<[u8]>)>,
    bytes: usize,
}

impl OpenFrames {
    fn find(&self, segment: Uuid, number: u32) -> Option<Arc<[u8]>> {
        let mut frames = self.frames.iter().rev();
        frames.find(|(of, n, _)| *of == segment && *n == number).map(|(_, _, plain)| plain.clone())
    }

    fn keep(&mut self, segment: Uuid, number: u32, plain: Vec<u8>) -> Arc<[u8]> {
        let plain: Arc<[u8]> = plain.into();
        self.bytes += plain.len();
        self.frames.push_back((segment, number, plain.clone()));
        while self.bytes > OPEN_MAX_BYTES && self.frames.len() > 1 {
            self.bytes -= self.frames.pop_front().map_or(0, |(_, _, oldest)| oldest.len());
        }
        plain
    }
}

struct FrameAt {
    offset: u64,
    part_len: u32,
    plain_len: u32,
    /// Where in the table its records stand.
    records_at: u32,
}

/// An open `payload.frames`: where each frame is, in memory.
pub struct PayloadReader {
    file: Arc<dyn ReadAt>,
    owner: Owner,
    table: Bytes,
    frames: Vec<FrameAt>,
}

impl PayloadReader {
    /// Reads the table.
    pub fn open(file: Arc<dyn ReadAt>, owner: Owner) -> io::Result<Self> {
        let size = file.size();
        let tail_at = size.checked_sub(TAIL_BYTES as u64).ok_or_else(|| damaged("is cut short"))?;
        let tail = file.read_at(tail_at, TAIL_BYTES)?;
        if tail[12..] != MAGIC {
            return Err(damaged("has no end mark"));
        }
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| tail[at + n]));
        let (table_len, count, crc) = (number(0), number(4), number(8));
        let table_at = tail_at.checked_sub(table_len.into()).ok_or_else(|| damaged("is cut short"))?;
        let table = file.read_at(table_at, table_len as usize)?;
        if crc32c::crc32c_append(crc32c::crc32c(&table), &tail[..8]) != crc {
            return Err(damaged("is damaged at its end"));
        }
        let frames = parse_table(&table, count).ok_or_else(|| damaged("has a malformed table"))?;
        let end = frames.last().map_or(0, |last| last.offset + u64::from(last.part_len));
        if end != table_at {
            return Err(damaged("has another length than it says"));
        }
        Ok(Self { file, owner, table, frames })
    }

    /// How many frames there are.
    pub fn frames(&self) -> u32 {
        self.frames.len() as u32
    }

    /// The record at `place`. `decrypt` is handed a context and a part, and answers with the compressed frame.
    pub fn record<E: From<io::Error>>(
        &self,
        place: Place,
        decrypt: impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        self.record_among(place, &mut OpenFrames::default(), decrypt)
    }

    /// Like [`record`](Self::record), for who reads many: a frame that is open already is not decrypted again.
    pub fn record_among<E: From<io::Error>>(
        &self,
        place: Place,
        open: &mut OpenFrames,
        mut decrypt: impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let mut record = Vec::new();
        let mut at = place.at as usize;
        for number in place.frame.. {
            let plain = match open.find(self.owner.segment, number) {
                Some(plain) => plain,
                None => open.keep(self.owner.segment, number, self.frame(number, &mut decrypt)?),
            };
            let here = plain.get(at..).ok_or_else(|| damaged("does not have the record"))?;
            let wanted = usize::try_from(place.len).unwrap_or(usize::MAX) - record.len();
            record.extend_from_slice(&here[..here.len().min(wanted)]);
            if record.len() as u64 >= place.len {
                break;
            }
            at = 0;
        }
        Ok(record)
    }

    fn frame<E: From<io::Error>>(
        &self,
        number: u32,
        decrypt: &mut impl FnMut(&[u8], &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let frame = self.frames.get(number as usize).ok_or_else(|| damaged("does not have the frame"))?;
        let part = self.file.read_at(frame.offset, frame.part_len as usize)?;
        let records = self.table.get(frame.records_at as usize..).unwrap_or_default();
        let records = hash_of_records(records).ok_or_else(|| damaged("has a malformed table"))?;
        let packed = decrypt(&self.owner.context(number, &records), &part)?;
        let plain = zstd::bulk::decompress(&packed, frame.plain_len as usize)?;
        Ok(plain)
    }
}

fn parse_table(table: &[u8], count: u32) -> Option<Vec<FrameAt>> {
    let mut rest = table;
    let mut frames = Vec::new();
    let mut offset = 0u64;
    for _ in 0..count {
        let (plain_len, after) = rest.split_first_chunk::<4>()?;
        let (part_len, after) = after.split_first_chunk::<4>()?;
        rest = after;
        let (plain_len, part_len) = (u32::from_le_bytes(*plain_len), u32::from_le_bytes(*part_len));
        if plain_len as usize > FRAME_MAX_BYTES || part_len as usize > PART_MAX_BYTES {
            return None;
        }
        let records_at = u32::try_from(table.len() - rest.len()).ok()?;
        let records = varint::take(&mut rest)?;
        let mut seq = 0u64;
        for _ in 0..records {
            seq = seq.checked_add(varint::take(&mut rest)?)?;
        }
        frames.push(FrameAt { offset: offset + 4, part_len, plain_len, records_at });
        offset += 4 + u64::from(part_len);
    }
    rest.is_empty().then_some(frames)
}

/// SHA-256 of the numbers of the entries whose records a frame has.
fn hash_of_records(mut table: &[u8]) -> Option<[u8; 32]> {
    let records = varint::take(&mut table)?;
    let mut hash = Sha256::new();
    let mut seq = 0u64;
    for _ in 0..records {
        seq = seq.checked_add(varint::take(&mut table)?)?;
        hash.update(seq.to_le_bytes());
    }
    Some(hash.finalize().into())
}

fn hash_of(seqs: &[u64]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for seq in seqs {
        hash.update(seq.to_le_bytes());
    }
    hash.finalize().into()
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the file of payloads {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owner() -> Owner {
        Owner { tenant: "bank".to_owned(), origin: "indelible/x".to_owned(), segment: Uuid::nil() }
    }

    /// Stands for the vault: says whether the context is the same again.
    fn encrypt(context: &[u8], packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut part = Sha256::digest(context).to_vec();
        part.extend_from_slice(packed);
        Ok(part)
    }

    fn decrypt(context: &[u8], part: &[u8]) -> io::Result<Vec<u8>> {
        assert_eq!(part[..32], Sha256::digest(context)[..]);
        Ok(part[32..].to_vec())
    }

    fn round_trip(groups: &[Vec<Vec<u8>>]) {
        let mut writer = PayloadWriter::new(Vec::new(), owner()).unwrap();
        let mut written = Vec::new();
        let mut seq = 0;
        for group in groups {
            for record in group {
                writer.piece(seq, Piece::Start, b"{}", &mut encrypt).unwrap();
                writer.piece(seq, Piece::Input, record, &mut encrypt).unwrap();
                written.push((writer.end_record(seq, &mut encrypt).unwrap(), record));
                seq += 1;
            }
            writer.end_frame(&mut encrypt).unwrap();
        }
        let (bytes, _) = writer.finish().unwrap();
        let reader = PayloadReader::open(Arc::new(Bytes::from(bytes)), owner()).unwrap();
        let mut open = OpenFrames::default();
        for (place, record) in written {
            let found = reader.record(place, decrypt).unwrap();
            assert_eq!(reader.record_among(place, &mut open, decrypt).unwrap(), found);
            assert_eq!(pieces(&found).unwrap(), [(Piece::Start, &b"{}"[..]), (Piece::Input, record)]);
        }
    }

    #[test]
    fn open_frames_are_bounded_and_those_opened_last() {
        let mut open = OpenFrames::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for number in 0..5 {
            open.keep(one, number, vec![number as u8; FRAME_MAX_BYTES / 2]);
        }
        assert!(open.bytes <= OPEN_MAX_BYTES);
        assert!(open.find(one, 0).is_none() && open.find(other, 4).is_none());
        assert_eq!(open.find(one, 4).unwrap()[0], 4);
    }

    #[test]
    fn records_of_any_length_come_back() {
        let long = |len: usize| (0..len).map(|n| (n / 999) as u8).collect::<Vec<u8>>();
        round_trip(&[
            vec![long(10), long(FRAME_MAX_BYTES - 100), long(200), long(0)],
            vec![long(3), long(2 * FRAME_MAX_BYTES + 7), long(5)],
            vec![long(FRAME_MAX_BYTES - 13), long(FRAME_MAX_BYTES - 12)],
            vec![],
            vec![long(1)],
        ]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn records_come_back(groups in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6), 0..6)) {
            round_trip(&groups);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = pieces(&bytes);
            let _ = PayloadReader::open(Arc::new(Bytes::from(bytes)), owner());
        }
    }
}
