//! `ids.idx`: from an id to the rows that have it.
//!
//! Made from the entries alone, so it can be made again. Each page stands for itself, with a checksum: one that is
//! damaged is noticed when it is read, and the reader of the segment then looks at the rows instead. Hashes are
//! spread evenly and pages are sorted, so one read finds an id, whatever the size.
//!
//! ```text
//! file   = page * · fence u64 * · pages u32 · rows u32 · crc u32 · magic 8         (fence: first hash of each page)
//! page   = crc u32 · used u16 · group *  · zeros                                    4,096 bytes
//! group  = hash u64 · count varint · first row varint · (row − the one before) varint *
//! hash   = first 8 bytes, big endian, of SHA-256(kind u8 ‖ value)
//! crc    = CRC-32C of what follows it in its page; of fences, pages and rows at the end
//! ```
//!
//! Integers are little endian, varints LEB128. A group that does not fit its page goes on in the next, under the
//! same hash.

use crate::ReadAt;
use crate::varint;
use indelible_record::{Entry, EntryView};
use sha2::{Digest, Sha256};
use std::io;
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"INDIDS\0\x01";
const PAGE_BYTES: usize = 4096;
const PAGE_HEAD_BYTES: usize = 6;
const TAIL_BYTES: usize = 4 + 4 + 4 + 8;
/// A hash, a count, a row: what a group of one row takes at most.
const GROUP_MIN_BYTES: usize = 8 + 2 + 5;

/// Which of an entry's ids. Numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum IdKind {
    /// `event_id`.
    Event = 1,
    /// `request_id`.
    Request = 2,
    /// `session_id`.
    Session = 3,
    /// `subject_ref`.
    Subject = 4,
    /// `trace_id`.
    Trace = 5,
    /// `api_key_id`.
    ApiKey = 6,
    /// `resource`: its type, a zero byte, its id.
    Resource = 7,
    /// `parent_event_id`.
    Parent = 8,
}

impl IdKind {
    /// The kind of what a column of the entries has; `None`: it is not filed, or not by itself.
    pub fn of_column(name: &str) -> Option<Self> {
        Some(match name {
            "event_id" => Self::Event,
            "request_id" => Self::Request,
            "session_id" => Self::Session,
            "subject_ref" => Self::Subject,
            "trace_id" => Self::Trace,
            "api_key_id" => Self::ApiKey,
            "parent_event_id" => Self::Parent,
            _ => return None,
        })
    }
}

/// The hash under which an id is filed.
pub fn hash(kind: IdKind, value: &str) -> u64 {
    let digest = Sha256::new_with_prefix([kind as u8]).chain_update(value.as_bytes()).finalize();
    u64::from_be_bytes(std::array::from_fn(|n| digest[n]))
}

/// The hash of a resource.
pub fn resource_hash(kind: &str, id: &str) -> u64 {
    hash(IdKind::Resource, &format!("{kind}\0{id}"))
}

/// The ids of an entry.
#[derive(Clone, Copy, Debug)]
pub struct IdsOf<'a> {
    event: &'a str,
    others: [(IdKind, Option<&'a str>); 6],
    /// Type and id.
    resource: Option<(&'a str, &'a str)>,
}

impl<'a> From<&'a Entry> for IdsOf<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            event: &entry.event_id,
            others: [
                (IdKind::Request, entry.request_id.as_deref()),
                (IdKind::Session, entry.session_id.as_deref()),
                (IdKind::Subject, entry.subject_ref.as_deref()),
                (IdKind::Trace, entry.trace_id.as_deref()),
                (IdKind::ApiKey, entry.api_key_id.as_deref()),
                (IdKind::Parent, entry.parent_event_id.as_deref()),
            ],
            resource: entry.resource.as_ref().map(|resource| (&*resource.kind, &*resource.id)),
        }
    }
}

impl<'a> From<&'a EntryView<'_>> for IdsOf<'a> {
    fn from(entry: &'a EntryView<'_>) -> Self {
        Self {
            event: &entry.event_id,
            others: [
                (IdKind::Request, entry.request_id.as_deref()),
                (IdKind::Session, entry.session_id.as_deref()),
                (IdKind::Subject, entry.subject_ref.as_deref()),
                (IdKind::Trace, entry.trace_id.as_deref()),
                (IdKind::ApiKey, entry.api_key_id.as_deref()),
                (IdKind::Parent, entry.parent_event_id.as_deref()),
            ],
            resource: entry.resource.as_ref().map(|resource| (&*resource.kind, &*resource.id)),
        }
    }
}

/// The hashes of all ids of an entry.
pub fn hashes<'a>(ids: impl Into<IdsOf<'a>>, mut put: impl FnMut(u64)) {
    let ids = ids.into();
    put(hash(IdKind::Event, ids.event));
    for (kind, value) in ids.others {
        if let Some(value) = value {
            put(hash(kind, value));
        }
    }
    if let Some((kind, id)) = ids.resource {
        put(resource_hash(kind, id));
    }
}

/// Gathers the ids of rows and writes them as a file.
#[derive(Debug, Default)]
pub struct IdsWriter {
    filed: Vec<(u64, u32)>,
}

impl IdsWriter {
    /// Files a row under the ids of its entry.
    pub fn push<'a>(&mut self, row: u32, ids: impl Into<IdsOf<'a>>) {
        hashes(ids, |hash| self.filed.push((hash, row)));
    }

    /// Files a row under one hash.
    pub fn push_hash(&mut self, hash: u64, row: u32) {
        self.filed.push((hash, row));
    }

    /// The file's bytes.
    pub fn finish(mut self, rows: u32) -> Vec<u8> {
        self.filed.sort_unstable();
        self.filed.dedup();
        let mut out = Vec::new();
        let mut fences: Vec<u64> = Vec::new();
        let mut page = Vec::with_capacity(PAGE_BYTES);
        for group in self.filed.chunk_by(|a, b| a.0 == b.0) {
            let mut rest = group;
            while let Some(((hash, _), _)) = rest.split_first() {
                if PAGE_BYTES - PAGE_HEAD_BYTES - page.len() < GROUP_MIN_BYTES {
                    close_page(&mut page, &mut out);
                }
                if page.is_empty() {
                    fences.push(*hash);
                }
                rest = put_group(rest, &mut page);
            }
        }
        if !page.is_empty() {
            close_page(&mut page, &mut out);
        }
        let fences_at = out.len();
        for fence in &fences {
            out.extend_from_slice(&fence.to_le_bytes());
        }
        out.extend_from_slice(&(fences.len() as u32).to_le_bytes());
        out.extend_from_slice(&rows.to_le_bytes());
        let crc = crc32c::crc32c(&out[fences_at..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&MAGIC);
        out
    }
}

/// Puts as many rows of a group into the page as it has room for, and hands back the others.
fn put_group<'a>(group: &'a [(u64, u32)], page: &mut Vec<u8>) -> &'a [(u64, u32)] {
    let room = PAGE_BYTES - PAGE_HEAD_BYTES - page.len() - 8 - 2;
    let mut rows = Vec::new();
    let mut taken = 0;
    let mut before = 0;
    for (_, row) in group {
        let start = rows.len();
        varint::put(&mut rows, u64::from(row - before));
        if rows.len() > room || taken == (1 << 14) - 1 {
            rows.truncate(start);
            break;
        }
        before = *row;
        taken += 1;
    }
    page.extend_from_slice(&group[0].0.to_le_bytes());
    varint::put(page, taken as u64);
    page.extend_from_slice(&rows);
    &group[taken..]
}

fn close_page(page: &mut Vec<u8>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(page.len() as u16).to_le_bytes());
    out.append(page);
    out.resize(start + PAGE_BYTES, 0);
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// An open `ids.idx`: the fences are in memory, eight bytes for each page.
pub struct Ids {
    file: Arc<dyn ReadAt>,
    fences: Vec<u64>,
    rows: u32,
}

impl Ids {
    /// Reads the end of the file.
    pub fn open(file: Arc<dyn ReadAt>) -> io::Result<Self> {
        let size = file.size();
        let tail_at = size.checked_sub(TAIL_BYTES as u64).ok_or_else(|| damaged("is cut short"))?;
        let tail = file.read_at(tail_at, TAIL_BYTES)?;
        if tail[12..] != MAGIC {
            return Err(damaged("has no end mark"));
        }
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| tail[at + n]));
        let (pages, rows, crc) = (number(0), number(4), number(8));
        let fences_bytes = pages as usize * 8;
        if pages as u64 * (PAGE_BYTES as u64 + 8) != tail_at {
            return Err(damaged("has another length than it says"));
        }
        let fences = file.read_at(tail_at - fences_bytes as u64, fences_bytes)?;
        if crc32c::crc32c_append(crc32c::crc32c(&fences), &tail[..8]) != crc {
            return Err(damaged("is damaged at its end"));
        }
        let fences =
            fences.chunks_exact(8).map(|fence| u64::from_le_bytes(std::array::from_fn(|n| fence[n])));
        Ok(Self { file, fences: fences.collect(), rows })
    }

    /// Rows filed under a hash, in order. They may include rows whose id only has the same hash: look at them.
    pub fn find(&self, hash: u64) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        for number in self.pages(hash) {
            self.search_page(number, hash, &mut found)?;
        }
        Ok(found)
    }

    /// Whether rows are filed under a hash.
    pub fn has(&self, hash: u64) -> io::Result<bool> {
        let mut found = Vec::new();
        for number in self.pages(hash) {
            self.search_page(number, hash, &mut found)?;
            if !found.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Pages that may have rows under a hash.
    fn pages(&self, hash: u64) -> std::ops::Range<usize> {
        // The page before the first that begins with the hash may end with it.
        let first = self.fences.partition_point(|fence| *fence < hash).saturating_sub(1);
        first..self.fences.partition_point(|fence| *fence <= hash)
    }

    /// Hands the hash of each id to `visit`, in order; one whose rows go on in another page more than once.
    pub fn visit_hashes(&self, mut visit: impl FnMut(u64)) -> io::Result<()> {
        for number in 0..self.fences.len() {
            let page = self.file.read_at(number as u64 * PAGE_BYTES as u64, PAGE_BYTES)?;
            walk_page(&page, |hash, _| {
                visit(hash);
                true
            })
            .map_err(|what| damaged(&format!("page {number}: {what}")))?;
        }
        Ok(())
    }

    fn search_page(&self, number: usize, hash: u64, found: &mut Vec<u32>) -> io::Result<()> {
        let page = self.file.read_at(number as u64 * PAGE_BYTES as u64, PAGE_BYTES)?;
        let mut beyond = false;
        let walked = walk_page(&page, |filed, rows| {
            if filed == hash {
                beyond |= rows.iter().any(|row| *row >= self.rows);
                found.extend_from_slice(rows);
            }
            filed <= hash
        });
        let walked = walked.and(if beyond { Err("row") } else { Ok(()) });
        walked.map_err(|what| damaged(&format!("page {number}: {what}")))
    }
}

/// Hands the groups of a page, hash and rows, to `visit` until it answers `false`.
fn walk_page(page: &[u8], mut visit: impl FnMut(u64, &[u32]) -> bool) -> Result<(), &'static str> {
    let crc = u32::from_le_bytes(std::array::from_fn(|n| page[n]));
    if crc32c::crc32c(&page[4..]) != crc {
        return Err("checksum");
    }
    let used = usize::from(u16::from_le_bytes([page[4], page[5]]));
    let mut rest = page.get(PAGE_HEAD_BYTES..PAGE_HEAD_BYTES + used).ok_or("length")?;
    let mut rows = Vec::new();
    while let Some((filed, after)) = rest.split_first_chunk::<8>() {
        rest = after;
        let count = varint::take(&mut rest).ok_or("count")?;
        rows.clear();
        let mut row = 0u32;
        for _ in 0..count {
            let step = varint::take(&mut rest).and_then(|step| u32::try_from(step).ok());
            row = step.and_then(|step| row.checked_add(step)).ok_or("row")?;
            rows.push(row);
        }
        if !visit(u64::from_le_bytes(*filed), &rows) {
            break;
        }
    }
    Ok(())
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the index of ids {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn open(bytes: Vec<u8>) -> io::Result<Ids> {
        Ids::open(Arc::new(Bytes::from(bytes)))
    }

    fn written(filed: &[(u64, u32)], rows: u32) -> Vec<u8> {
        let mut writer = IdsWriter::default();
        for (hash, row) in filed {
            writer.push_hash(*hash, *row);
        }
        writer.finish(rows)
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        assert_eq!(open(written(&[], 0)).unwrap().find(7).unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn a_hash_with_more_rows_than_a_page_holds_is_found_whole() {
        let mut filed: Vec<_> = (0..60_000u32).map(|row| (1 << 40, row * 3)).collect();
        filed.extend([(5, 1), (u64::MAX, 2), ((1 << 40) + 1, 3)]);
        let ids = open(written(&filed, 180_000)).unwrap();
        assert_eq!(ids.find(1 << 40).unwrap(), (0..60_000).map(|row| row * 3).collect::<Vec<_>>());
        assert_eq!(ids.find((1 << 40) + 1).unwrap(), [3]);
        assert_eq!(ids.find(u64::MAX).unwrap(), [2]);
        assert_eq!(ids.find(6).unwrap(), Vec::<u32>::new());
        assert!(ids.has(1 << 40).unwrap() && ids.has(u64::MAX).unwrap() && !ids.has(6).unwrap());
    }

    #[test]
    fn no_damage_goes_unnoticed_where_it_is_read() {
        let filed: Vec<_> =
            (0..2000u32).map(|row| (u64::from(row).wrapping_mul(0x9e37_79b9_7f4a_7c15), row)).collect();
        let whole = written(&filed, 2000);
        for at in (0..whole.len()).step_by(101) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let Ok(ids) = open(bytes) else { continue };
            for (hash, row) in filed.iter().step_by(7) {
                match ids.find(*hash) {
                    Ok(found) => assert_eq!(found, [*row], "byte {at}"),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_filed_is_found(filed in prop::collection::vec((0u64..500, 0u32..100_000), 0..3000)) {
            let ids = open(written(&filed, 100_000)).unwrap();
            let mut expected: BTreeMap<u64, std::collections::BTreeSet<u32>> = BTreeMap::new();
            for (hash, row) in filed {
                expected.entry(hash).or_default().insert(row);
            }
            for hash in 0..500 {
                let rows: Vec<u32> = expected.get(&hash).into_iter().flatten().copied().collect();
                prop_assert_eq!(ids.has(hash).unwrap(), !rows.is_empty());
                prop_assert_eq!(ids.find(hash).unwrap(), rows);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, hash: u64) {
            if let Ok(ids) = open(bytes) {
                let _ = ids.find(hash);
            }
        }
    }
}
