//! The files of a segment, written and read back.

#![allow(clippy::unwrap_used)] // A test may panic.

use bytes::Bytes;
use indelible_record::Entry;
use indelible_record::entry::{Param, Side, Source, Status};
use indelible_segment::columns::{Place, Row};
use indelible_segment::entries::{EntriesReader, EntriesWriter};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use std::sync::Arc;

fn entry(n: u64) -> Entry {
    let text = |text: &str| Some(format!("{text}-{n}"));
    Entry {
        event_id: format!("00000000-0000-7000-8000-{n:012x}"),
        event_type: "llm_request".to_owned(),
        tenant_id: "bank".to_owned(),
        timestamp: format!("2026-11-26T00:00:{:02}.000001Z", n % 60),
        prev_hash: format!("sha256:{n:064x}"),
        seq: n,
        request_id: text("req"),
        session_id: (!n.is_multiple_of(3)).then(|| format!("session-{}", n / 20)),
        model: Some("m".to_owned()),
        params: [("n".to_owned(), Param::Integer(2))].into(),
        prompt_tokens: n.is_multiple_of(2).then_some(n),
        cost_usd: Some("0.000000075".to_owned()),
        http_status: Some(200),
        status: Some(Status::Completed),
        stream: Some(n.is_multiple_of(2)),
        tools: (0..n % 4).map(|tool| format!("tool-{tool}")).collect(),
        input: Some(Side { bytes: n, ..Side::default() }),
        source: Some(Source {
            id: "gw".to_owned(),
            incarnation: "i".to_owned(),
            seq: n,
            start_seq: Some(n),
            time: Some("2026-11-26T00:00:00Z".to_owned()),
        }),
        v: 1,
        ..Entry::default()
    }
}

fn place(n: u64) -> Option<Place> {
    (!n.is_multiple_of(5)).then_some(Place { frame: n as u32 / 7, at: n as u32 * 3, len: n * 11 })
}

fn written(rows: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut writer = EntriesWriter::new(Vec::new(), rows, &[("about", "a test".to_owned())]).unwrap();
    let mut all = Vec::new();
    for n in 0..rows {
        let entry = entry(n);
        let bytes = entry.to_bytes().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        writer.push(&Row { entry: &entry, bytes: text, payload: place(n) }).unwrap();
        all.push(bytes);
    }
    (writer.finish().unwrap(), all)
}

#[test]
fn every_entry_comes_back_byte_for_byte_alone_and_in_order() {
    // More than one row group.
    let rows = 70_000;
    let (file, all) = written(rows);
    let reader = EntriesReader::open(Arc::new(Bytes::from(file))).unwrap();
    assert_eq!(reader.rows(), rows);
    for row in [0, 1, 127, 8191, 8192, 65_535, 65_536, 69_999] {
        assert_eq!(reader.entry(row).unwrap(), all[row as usize], "row {row}");
        assert_eq!(reader.place(row).unwrap(), place(row), "row {row}");
    }
    assert!(reader.entry(rows).is_err());
    for from in [0, 1, 65_535, 65_536, 69_999, rows] {
        let mut next = from;
        reader
            .visit_from::<ParquetError>(from, |row, bytes| {
                assert_eq!((row, bytes), (next, &all[row as usize][..]));
                next += 1;
                Ok(true)
            })
            .unwrap();
        assert_eq!(next, rows);
    }
    let sessions = reader.texts(1, "session_id").unwrap();
    assert_eq!(sessions.len(), 70_000 - 65_536);
    for (n, session) in (65_536..).zip(sessions) {
        assert_eq!(session.map(|text| text.data().to_vec()), entry(n).session_id.map(String::into_bytes));
    }
}

#[test]
fn columns_say_what_the_entry_says() {
    let (file, _) = written(20);
    let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
    for (n, row) in (0..).zip(reader.get_row_iter(None).unwrap()) {
        let row = row.unwrap();
        let expected = entry(n);
        let shown = row.to_json_value();
        assert_eq!(row.get_long(0).unwrap(), n as i64);
        assert_eq!(shown["request_id"], expected.request_id.unwrap());
        assert_eq!(shown["session_id"].as_str(), expected.session_id.as_deref());
        assert_eq!(shown["prompt_tokens"].as_u64(), expected.prompt_tokens);
        assert_eq!(shown["status"], "completed");
        assert_eq!(shown["stream"], n % 2 == 0);
        assert_eq!(shown["cost_usd"], "0.000000075000000000");
        assert_eq!(shown["payload_at"].as_u64(), place(n).map(|place| u64::from(place.at)));
        let tools: Vec<&str> =
            shown["tools"].as_array().into_iter().flatten().filter_map(|tool| tool.as_str()).collect();
        assert_eq!(tools, expected.tools);
    }
}

#[test]
fn what_is_not_a_segment_is_refused() {
    assert!(EntriesReader::open(Arc::new(Bytes::from_static(b"PAR1"))).is_err());
    let (file, _) = written(3);
    assert!(EntriesReader::open(Arc::new(Bytes::from(file[..file.len() - 1].to_vec()))).is_err());
}
