//! Which of a day's segments may have an id: one read for all of them, where each index would take one.
//!
//! A Bloom filter for each segment, cut into blocks, and the blocks of all segments that an id falls into lie side by side
//! (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007, has blocked filters). It only ever
//! leaves out segments, and can be made again from their `ids.idx`.
//!
//! ```text
//! file   = magic 8 · blocks u32 · segments u32 · segment * · crc u32 · row *
//! segment = hash of its manifest 32 · words u32                     (words of 8 bytes in each block of its own)
//! row    = word u64 * · crc u32                                     (one for each block: all segments' words, in order)
//! ```
//!
//! Integers are little endian. The first `crc` is CRC-32C of all before it, that of a row CRC-32C of the first `crc`, its number (u32)
//! and words: no row of another file passes for one of this. An id's hash is that of [`ids`](crate::ids). Its row is
//! `hash · blocks / 2^64`; in it, seven bits of each segment's words are set: bit `n` is at `(low + n · high) mod (64 · words)` for n
//! from 0, where `low` and `high | 1` are the halves of `hash · 0x9e3779b97f4a7c15`.

use crate::ReadAt;
use indelible_ledger::Hash;
use std::io::{self, Write};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"INDDAY\0\x02";
const HEAD_BYTES: usize = 8 + 4 + 4;
const SEGMENT_BYTES: usize = 32 + 4;
const CRC_BYTES: usize = 4;
const WORD_BYTES: usize = 8;
/// Bits for each id: of segments that do not have it, one in some seven hundred is looked at all the same.
const BITS_PER_ID: u64 = 16;
const BITS_SET: u64 = 7;
/// Ids of the largest segment in a block, on average: a block of it is 128 bytes.
const IDS_PER_BLOCK: u64 = 64;
/// Most segments of one filter.
pub const SEGMENTS_MAX: usize = 1 << 12;
/// Most words of one block of one segment.
const WORDS_MAX: u32 = 1 << 6;
const BLOCKS_MAX: u64 = 1 << 24;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Writes a filter over segments: the hash of each one's manifest, and how many ids it has (at most). `visit` hands the hashes of
/// the ids of the segment with a number to what it is given. Holds the bits in memory: two bytes for each id.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if there are more than [`SEGMENTS_MAX`]; what `visit` or writing answers.
pub fn write(
    segments: &[(Hash, u64)],
    mut visit: impl FnMut(usize, &mut dyn FnMut(u64)) -> io::Result<()>,
    out: &mut impl Write,
) -> io::Result<()> {
    if segments.len() > SEGMENTS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let most = segments.iter().map(|(_, ids)| *ids).max().unwrap_or(0);
    let blocks = most.div_ceil(IDS_PER_BLOCK).clamp(1, BLOCKS_MAX);
    // Where there are few blocks there is room in them: a handful of ids must not look like others.
    let least = (u64::from(WORDS_MAX) / blocks).max(1) as u32;
    let words_of = |ids: u64| {
        let bits = (ids * BITS_PER_ID).div_ceil(blocks);
        u32::try_from(bits.div_ceil(64)).map_or(WORDS_MAX, |words| words.clamp(least, WORDS_MAX))
    };
    let mut head = Vec::new();
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&(blocks as u32).to_le_bytes());
    head.extend_from_slice(&(segments.len() as u32).to_le_bytes());
    for (hash, ids) in segments {
        head.extend_from_slice(&hash.0);
        head.extend_from_slice(&words_of(*ids).to_le_bytes());
    }
    let head_crc = crc32c::crc32c(&head);
    head.extend_from_slice(&head_crc.to_le_bytes());
    out.write_all(&head)?;
    let row_words: usize = segments.iter().map(|(_, ids)| words_of(*ids) as usize).sum();
    let mut rows = vec![0u64; row_words * blocks as usize];
    let mut first = 0;
    for (number, (_, ids)) in segments.iter().enumerate() {
        let words = words_of(*ids);
        visit(number, &mut |hash| {
            let start = row_of(hash, blocks) as usize * row_words + first;
            if let Some(own) = rows.get_mut(start..start + words as usize) {
                bits(hash, words).for_each(|(word, bit)| own[word] |= bit);
            }
        })?;
        first += words as usize;
    }
    for number in 0..blocks as usize {
        let row: Vec<u8> =
            rows[number * row_words..][..row_words].iter().flat_map(|word| word.to_le_bytes()).collect();
        out.write_all(&row)?;
        out.write_all(&row_crc(head_crc, number as u32, &row).to_le_bytes())?;
    }
    Ok(())
}

/// An open filter: what it says of its segments is in memory, 36 bytes each.
pub struct Filter {
    file: Arc<dyn ReadAt>,
    head_crc: u32,
    blocks: u64,
    /// Manifest, first word in a row, words.
    segments: Vec<(Hash, usize, u32)>,
    row_bytes: usize,
    rows_at: u64,
}

impl Filter {
    /// Reads the beginning of the file.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if it is damaged.
    pub fn open(file: Arc<dyn ReadAt>) -> io::Result<Self> {
        let number = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        let size = file.size();
        if size < (HEAD_BYTES + CRC_BYTES) as u64 {
            return Err(damaged("is cut short"));
        }
        let head = file.read_at(0, HEAD_BYTES)?;
        let (blocks, count) = (u64::from(number(&head, 8)), number(&head, 12) as usize);
        if head.get(..8) != Some(&MAGIC[..]) || count > SEGMENTS_MAX || !(1..=BLOCKS_MAX).contains(&blocks) {
            return Err(damaged("has another beginning"));
        }
        let len = HEAD_BYTES + count * SEGMENT_BYTES + CRC_BYTES;
        if size < len as u64 {
            return Err(damaged("is cut short"));
        }
        let head = file.read_at(0, len)?;
        let (said, crc) = head.split_at(len - CRC_BYTES);
        let head_crc = crc32c::crc32c(said);
        if head_crc != number(crc, 0) {
            return Err(damaged("is damaged at its beginning"));
        }
        let mut segments = Vec::with_capacity(count);
        let mut first = 0;
        for segment in said[HEAD_BYTES..].chunks_exact(SEGMENT_BYTES) {
            let words = number(segment, 32);
            if !(1..=WORDS_MAX).contains(&words) {
                return Err(damaged("has a segment of no words"));
            }
            segments.push((Hash(std::array::from_fn(|at| segment[at])), first, words));
            first += words as usize;
        }
        let row_bytes = first * WORD_BYTES + CRC_BYTES;
        if size != len as u64 + blocks * row_bytes as u64 {
            return Err(damaged("has another length than it says"));
        }
        Ok(Self { file, head_crc, blocks, segments, row_bytes, rows_at: len as u64 })
    }

    /// The manifests of all its segments.
    pub fn segments(&self) -> impl Iterator<Item = Hash> {
        self.segments.iter().map(|(hash, _, _)| *hash)
    }

    /// The manifests of the segments that have none of these ids, by their hashes.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if what is read of it is damaged.
    pub fn without(&self, hashes: &[u64]) -> io::Result<Vec<Hash>> {
        let mut may = vec![false; self.segments.len()];
        for hash in hashes {
            let number = row_of(*hash, self.blocks);
            let row = self.file.read_at(self.rows_at + number * self.row_bytes as u64, self.row_bytes)?;
            let (words, crc) = row.split_at(self.row_bytes - CRC_BYTES);
            if row_crc(self.head_crc, number as u32, words).to_le_bytes() != *crc {
                return Err(damaged("has a damaged row"));
            }
            let word = |at: usize| {
                let bytes = words.get(at * WORD_BYTES..(at + 1) * WORD_BYTES);
                bytes.and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
            };
            for (may, (_, first, words)) in may.iter_mut().zip(&self.segments) {
                *may |= bits(*hash, *words).all(|(at, bit)| word(first + at) & bit != 0);
            }
        }
        let without = self.segments.iter().zip(may).filter(|(_, may)| !may);
        Ok(without.map(|((hash, _, _), _)| *hash).collect())
    }
}

fn row_of(hash: u64, blocks: u64) -> u64 {
    ((u128::from(hash) * u128::from(blocks)) >> 64) as u64
}

/// Word and bit in it, of those that an id sets in a block of so many words.
fn bits(hash: u64, words: u32) -> impl Iterator<Item = (usize, u64)> {
    let mixed = hash.wrapping_mul(MIX);
    let (low, high) = (mixed & u64::from(u32::MAX), mixed >> 32 | 1);
    let bits = u64::from(words) * 64;
    (0..BITS_SET).map(move |n| {
        let bit = (low + n * high) % bits;
        ((bit / 64) as usize, 1 << (bit % 64))
    })
}

fn row_crc(head_crc: u32, number: u32, words: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(head_crc, &number.to_le_bytes()), words)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the filter of a day {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn opened(bytes: Vec<u8>) -> io::Result<Filter> {
        Filter::open(Arc::new(Bytes::from(bytes)))
    }

    fn make(segments: &[(Hash, Vec<u64>)]) -> io::Result<Vec<u8>> {
        let sizes: Vec<_> = segments.iter().map(|(hash, ids)| (*hash, ids.len() as u64)).collect();
        let mut out = Vec::new();
        let visit = |number: usize, put: &mut dyn FnMut(u64)| {
            segments[number].1.iter().for_each(|id| put(*id));
            Ok(())
        };
        write(&sizes, visit, &mut out)?;
        Ok(out)
    }

    /// Hashes that are spread as those of ids are.
    fn spread(from: u64, count: u64) -> Vec<u64> {
        let one = |n: u64| crate::ids::hash(crate::ids::IdKind::Request, &n.to_string());
        (from..from + count).map(one).collect()
    }

    #[test]
    fn no_segment_is_left_out_that_has_the_id_and_few_others_are_looked_at() {
        let segments: Vec<_> = (0..20u8)
            .map(|n| (Hash([n; 32]), spread(u64::from(n) * 1_000_000, 200 * (1 + u64::from(n) * 5))))
            .collect();
        let filter = opened(make(&segments).expect("made")).expect("open");
        let mut others = 0;
        let mut looked = 0;
        for (hash, ids) in &segments {
            for id in ids {
                let without: BTreeSet<_> = filter.without(&[*id]).expect("read").into_iter().collect();
                assert!(!without.contains(hash));
                others += segments.len() - 1;
                looked += segments.len() - 1 - without.len();
            }
        }
        let share = looked as f64 / others as f64;
        assert!(share < 0.004, "{share}");
        // Several ids: what has one of them stays.
        let some = [segments[3].1[0], segments[7].1[1]];
        let without = filter.without(&some).expect("read");
        assert!(!without.contains(&Hash([3; 32])) && !without.contains(&Hash([7; 32])) && without.len() > 15);
    }

    #[test]
    fn every_changed_byte_is_noticed_where_it_is_read() {
        let segments =
            [(Hash([1; 32]), spread(0, 150)), (Hash([2; 32]), spread(1000, 90)), (Hash([3; 32]), Vec::new())];
        let whole = make(&segments).expect("made");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            let Ok(filter) = opened(bytes) else { continue };
            for (hash, ids) in &segments {
                for id in ids {
                    if let Ok(without) = filter.without(&[*id]) {
                        assert!(!without.contains(hash), "byte {at}");
                    }
                }
            }
        }
        for len in 0..whole.len() {
            assert!(opened(whole[..len].to_vec()).is_err(), "{len}");
        }
    }

    #[test]
    fn a_file_that_takes_the_place_of_an_open_one_is_noticed() {
        let of = |first: u8, from: u64| {
            let segments: Vec<_> =
                (first..first + 3).map(|n| (Hash([n; 32]), spread(from + 100 * u64::from(n), 90))).collect();
            (make(&segments).expect("made"), segments)
        };
        let ((one, segments), (other, _)) = (of(1, 0), of(2, 0));
        assert_eq!(one.len(), other.len());
        let head = one.len() - 2 * (3 * 32 * WORD_BYTES + CRC_BYTES);
        let mixed = [&one[..head], &other[head..]].concat();
        let filter = opened(mixed).expect("its beginning is whole");
        for id in segments.iter().flat_map(|(_, ids)| ids) {
            assert_eq!(filter.without(&[*id]).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
        }
    }

    #[test]
    fn a_day_without_ids_leaves_out_all() {
        let filter = opened(make(&[(Hash([1; 32]), Vec::new())]).expect("made")).expect("open");
        assert_eq!(filter.without(&[7]).expect("read"), [Hash([1; 32])]);
        assert_eq!(opened(make(&[]).expect("made")).expect("open").without(&[7]).expect("read"), []);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, hash: u64) {
            if let Ok(filter) = opened(bytes) {
                let _ = filter.without(&[hash]);
            }
        }
    }
}
