//! Questions to a small ledger: some of it in segments, the rest in none yet.

mod answers;
mod hostile;
mod limits;
mod pruning;
mod searches;

use super::rows::Batch;
use super::{Answer, Engine};
use crate::{Format, Limits, QueryError, Question, Records, Segment};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::file::properties::WriterProperties;
use indelible_os::clock::Utc;
use indelible_record::entry::{Entry, Status, VERSION};
use indelible_segment::columns::Row;
use indelible_segment::{ReadAt, State, ids};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// 2026-11-01T00:00:00Z.
const START_US: i64 = 1_793_491_200_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// A ledger in memory.
#[derive(Default)]
struct Store {
    segments: Vec<Segment>,
    tail: Vec<Entry>,
    subjects: BTreeMap<String, String>,
    /// By segment, what its index has; without one, nobody can tell.
    ids: BTreeMap<String, Vec<u64>>,
}

impl Records for Store {
    fn segments(&self) -> Vec<Segment> {
        self.segments.clone()
    }

    fn may_have(&self, segments: &[Segment], hashes: &[u64]) -> Vec<bool> {
        let has = |ids: &Vec<u64>| hashes.iter().any(|hash| ids.contains(hash));
        segments.iter().map(|segment| self.ids.get(&segment.name).is_none_or(has)).collect()
    }

    fn tail(&self, row: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>) -> io::Result<()> {
        for entry in &self.tail {
            let bytes = String::from_utf8(entry.to_bytes().unwrap()).unwrap();
            if row(Row { entry, bytes: &bytes, payload: None }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn subject(&self, user: &str) -> io::Result<Option<String>> {
        Ok(self.subjects.get(user).cloned())
    }

    fn shown(&self, text: &str) -> io::Result<String> {
        Ok(if text.contains('@') { format!("h:{}", text.len()) } else { text.to_owned() })
    }
}

impl Store {
    /// Entries `per_segment` to a segment; what does not fill one is the tail.
    fn of(entries: Vec<Entry>, per_segment: usize) -> Self {
        let mut store = Self::default();
        let mut entries = entries.into_iter().peekable();
        while entries.len() >= per_segment {
            let run: Vec<Entry> = entries.by_ref().take(per_segment).collect();
            store.segments.push(sealed(&run));
        }
        store.tail = entries.collect();
        store
    }

    /// With indexes of the segments that begin with these numbers.
    fn with_indexes(mut self, entries: &[Entry], of: &[u64]) -> Self {
        for segment in self.segments.iter().filter(|segment| of.contains(&segment.first_seq)) {
            let last = segment.first_seq + segment.count - 1;
            let filed = self.ids.entry(segment.name.clone()).or_default();
            for entry in entries.iter().filter(|entry| (segment.first_seq..=last).contains(&entry.seq)) {
                ids::hashes(entry, |hash| filed.push(hash));
            }
        }
        self
    }

    fn with_subject(mut self, user: &str, subject: &str) -> Self {
        self.subjects.insert(user.to_owned(), subject.to_owned());
        self
    }
}

/// A segment of these entries, as another writer would write it: without Arrow's own description of the columns, in
/// row groups and pages small enough to be skipped.
fn sealed(entries: &[Entry]) -> Segment {
    let mut batch = Batch::new(None).unwrap();
    for entry in entries {
        let bytes = String::from_utf8(entry.to_bytes().unwrap()).unwrap();
        batch.push(&Row { entry, bytes: &bytes, payload: None });
    }
    let batch: RecordBatch = batch.take().unwrap().unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(64))
        .set_data_page_row_count_limit(16)
        .set_write_batch_size(16)
        .set_column_bloom_filter_enabled("event_id".into(), true)
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let times = entries.iter().map(|entry| entry.timestamp.parse::<Utc>().unwrap().0);
    Segment {
        name: format!("segment-{}", entries[0].seq),
        first_seq: entries[0].seq,
        count: entries.len() as u64,
        first_time_us: times.clone().min().unwrap(),
        last_time_us: times.max().unwrap(),
        entries: Arc::new(Bytes::from(file)),
    }
}

/// One call an hour: models in turn, each tenth fails, and every cost is 0.000000000000000001 US dollars.
fn calls(count: u64) -> Vec<Entry> {
    (0..count)
        .map(|seq| Entry {
            seq,
            event_id: format!("event-{seq}"),
            event_type: "llm_request".to_owned(),
            tenant_id: "default".to_owned(),
            prev_hash: "sha256:00".to_owned(),
            timestamp: Utc(START_US + seq as i64 * HOUR_US).to_string(),
            model: Some(["llama", "qwen"][seq as usize % 2].to_owned()),
            subject_ref: Some(format!("sub_{}", seq % 3)),
            session_id: Some(format!("session-{}", seq / 4)),
            status: Some(if seq % 10 == 9 { Status::UpstreamError } else { Status::Completed }),
            http_status: Some(if seq % 10 == 9 { 500 } else { 200 }),
            latency_ms: Some(seq),
            prompt_tokens: Some(10),
            completion_tokens: Some(seq),
            cost_usd: Some("0.000000000000000001".to_owned()),
            v: VERSION,
            ..Entry::default()
        })
        .collect()
}

fn engine() -> Engine {
    Engine::start(Limits { threads: 2, ..Limits::default() }).unwrap()
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// All bytes of an answer.
async fn whole(answer: &mut Answer) -> Result<Vec<u8>, QueryError> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

fn try_ask(engine: &Engine, store: &Arc<Store>, question: Question) -> Result<Vec<u8>, QueryError> {
    block(async {
        let mut answer = engine.ask(store.clone(), question).await?;
        whole(&mut answer).await
    })
}

/// The rows of an answer.
fn rows(store: Store, sql: &str) -> Vec<Value> {
    let bytes = try_ask(&engine(), &Arc::new(store), Question::new(sql, Format::Json));
    let bytes = bytes.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{sql}: {error}"));
    answer["rows"].as_array().unwrap().clone()
}

/// Counts what is read of a file.
struct Counted {
    file: Arc<dyn ReadAt>,
    reads: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_of(&self, offset: u64, len: usize) -> io::Result<(Bytes, State)> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        self.file.read_of(offset, len)
    }
}
