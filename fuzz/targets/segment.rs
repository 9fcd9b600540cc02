//! The files of a segment: manifest, index of ids, payload frames. Parquet is read by its own library.
//!
//! Holds: a manifest has one spelling; an index finds exactly what was filed, and a damaged one says so or finds
//! nothing that is out of its rows; a filter leaves out no segment that has the id; records come back from frames as they went in, wherever frames end.

#![no_main]

use bytes::Bytes;
use indelible_fuzz::Input;
use indelible_ledger::Hash;
use indelible_segment::Manifest;
use indelible_segment::columns::Place;
use indelible_segment::filter::{self, Filter};
use indelible_segment::ids::{Ids, IdsWriter};
use indelible_segment::payload::{Owner, PayloadReader, PayloadWriter, Piece, pieces};
use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use uuid::Uuid;

const ROWS: u32 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 8 {
        0 => manifest(input.rest()),
        1 => any_index(&mut input),
        2 => index(&mut input),
        3 => any_frames(&mut input),
        4 => record(input.rest()),
        5 => any_filter(&mut input),
        6 => filter(&mut input),
        _ => frames(&mut input),
    }
});

fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    assert_eq!(manifest.to_bytes().unwrap(), bytes);
    assert!(manifest.end().is_some());
}

fn any_index(input: &mut Input<'_>) {
    let hash = u64::from(input.number()) << 48;
    let bytes = input.rest();
    let rows = bytes
        .len()
        .checked_sub(16)
        .map_or(0, |at| u32::from_le_bytes(std::array::from_fn(|n| bytes.get(at + n).copied().unwrap_or(0))));
    let Ok(ids) = Ids::open(Arc::new(Bytes::copy_from_slice(bytes))) else { return };
    if let Ok(found) = ids.find(hash) {
        assert!(found.iter().all(|row| *row < rows));
    }
}

fn index(input: &mut Input<'_>) {
    let mut filed: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
    let mut writer = IdsWriter::default();
    while !input.rest().is_empty() {
        let hash = u64::from(input.byte()) << 56;
        let row = u32::from(input.number());
        writer.push_hash(hash, row);
        filed.entry(hash).or_default().insert(row);
    }
    let ids = Ids::open(Arc::new(Bytes::from(writer.finish(ROWS)))).unwrap();
    for hash in (0..=255u64).map(|byte| byte << 56) {
        let rows: Vec<u32> = filed.get(&hash).into_iter().flatten().copied().collect();
        assert_eq!(ids.find(hash).unwrap(), rows);
    }
}

fn any_filter(input: &mut Input<'_>) {
    let hash = u64::from(input.number()) << 48;
    let Ok(filter) = Filter::open(Arc::new(Bytes::copy_from_slice(input.rest()))) else { return };
    if let Ok(without) = filter.without(&[hash]) {
        let known: BTreeSet<Hash> = filter.segments().collect();
        assert!(without.iter().all(|segment| known.contains(segment)));
    }
}

fn filter(input: &mut Input<'_>) {
    let mut segments: Vec<(Hash, Vec<u64>)> = (0..4).map(|n| (Hash([n; 32]), Vec::new())).collect();
    while !input.rest().is_empty() {
        let at = usize::from(input.byte() % 4);
        // Spread as hashes are.
        segments[at].1.push(u64::from(input.number()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    let sizes: Vec<_> = segments.iter().map(|(hash, ids)| (*hash, ids.len() as u64)).collect();
    let mut bytes = Vec::new();
    let visit = |at: usize, put: &mut dyn FnMut(u64)| {
        segments[at].1.iter().for_each(|id| put(*id));
        Ok(())
    };
    filter::write(&sizes, visit, &mut bytes).unwrap();
    let filter = Filter::open(Arc::new(Bytes::from(bytes))).unwrap();
    for (hash, ids) in &segments {
        for id in ids {
            assert!(!filter.without(&[*id]).unwrap().contains(hash));
        }
    }
}

fn owner() -> Owner {
    Owner { tenant: "t".to_owned(), origin: "o".to_owned(), segment: Uuid::nil() }
}

fn plain(_: &[u8], part: &[u8]) -> io::Result<Vec<u8>> {
    Ok(part.to_vec())
}

fn any_frames(input: &mut Input<'_>) {
    let place = Place { frame: input.byte().into(), at: input.number().into(), len: input.number().into() };
    let Ok(reader) = PayloadReader::open(Arc::new(Bytes::copy_from_slice(input.rest())), owner()) else {
        return;
    };
    if let Ok(record) = reader.record(place, plain) {
        assert!(record.len() as u64 <= place.len);
        let _ = pieces(&record);
    }
}

fn record(bytes: &[u8]) {
    let Some(found) = pieces(bytes) else { return };
    let mut again = Vec::new();
    for (piece, bytes) in found {
        indelible_segment::payload::put_piece(&mut again, piece, bytes);
    }
    again.push(0);
    assert_eq!(again, bytes);
}

fn frames(input: &mut Input<'_>) {
    let mut writer = PayloadWriter::new(Vec::new(), owner()).unwrap();
    let mut written = Vec::new();
    let mut seq = 0;
    while !input.rest().is_empty() {
        let ends = input.byte().is_multiple_of(3);
        let text = input.line();
        writer.piece(seq, Piece::Input, text, &mut plain).unwrap();
        written.push((writer.end_record(seq, &mut plain).unwrap(), text));
        seq += 1;
        if ends {
            writer.end_frame(&mut plain).unwrap();
        }
    }
    writer.end_frame(&mut plain).unwrap();
    let (bytes, _) = writer.finish().unwrap();
    let reader = PayloadReader::open(Arc::new(Bytes::from(bytes)), owner()).unwrap();
    for (place, text) in written {
        let record = reader.record(place, plain).unwrap();
        assert_eq!(pieces(&record).unwrap(), [(Piece::Input, text)]);
    }
}
