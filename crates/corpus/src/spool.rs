//! A corpus as a source ships it: frames of open calls interleaved, encrypted, in batches.
//!
//! The spool is a real one, written by the writer that gateways use and read by the reader that ships theirs. It
//! lies in memory, and what was handed out is removed.

use crate::{Call, Piece};
use indelible_os::durable::Dir;
use indelible_os::sim::SimDir;
use indelible_record::event::{End, SourceNotice};
use indelible_record::payload;
use indelible_spool::seal::SpoolPublicKey;
use indelible_spool::shared::SyncedTo;
use indelible_spool::tail::{Batch, Tail};
use indelible_spool::writer::{Claim, LogWriter, Options, SealTo};
use indelible_spool::{Kind, LogError, Role};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::iter::Peekable;
use std::sync::Arc;
use uuid::Uuid;

/// About how large a batch gets, as gateways make them.
const BATCH_BYTES: usize = 4 << 20;
/// Small files are removed sooner; all of this is memory.
const FILE_BYTES: u64 = 16 << 20;
/// A gateway that died is up again after this long.
const RESTARTS_AFTER_US: i64 = 2_000_000;
const VERSION: &str = "corpus";

/// A spool that calls are written to, a [`crate::Corpus`] or what is left of one, and shipped from.
pub struct Spool<C: Iterator<Item = Call>> {
    calls: Peekable<C>,
    writer: LogWriter,
    tail: Tail,
    /// What is still to be written of calls that were begun, by time.
    due: BinaryHeap<Reverse<(i64, u64)>>,
    open: BTreeMap<u64, Open>,
    begun: u64,
    /// When the gateway that died comes up again.
    restarts: Option<i64>,
    ended: bool,
    last_time: i64,
    counts: Counts,
}

/// What went into a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls, each of which becomes one entry once the source is stopped or has started anew.
    pub calls: u64,
    /// Calls whose end was lost with the gateway.
    pub interrupted: u64,
    /// Times that the source came up, each of which becomes an entry of the operations ledger.
    pub starts: u64,
    /// Bytes of request bodies, and of what was written of response bodies.
    pub body_bytes: u64,
}

/// A call that was begun.
struct Open {
    event_id: Uuid,
    start_seq: u64,
    pieces: std::vec::IntoIter<Piece>,
    rest: String,
    end: Option<End>,
}

impl<C: Iterator<Item = Call>> Spool<C> {
    /// The spool of `source_id`, encrypted to `key`.
    pub fn new(calls: C, source_id: &str, key: SpoolPublicKey) -> Result<Self, LogError> {
        let dir: Arc<dyn Dir> = Arc::new(SimDir::new());
        let options = Options {
            role: Role::Spool,
            limit_bytes: None,
            file_bytes: FILE_BYTES,
            seal: Some(SealTo { source_id: source_id.to_owned(), key }),
        };
        let (writer, _) = LogWriter::open(dir.clone(), options, |_, _, _| Ok(()), || 0)?;
        let mut spool = Self {
            calls: calls.peekable(),
            writer,
            tail: Tail::new(dir, Role::Spool.extension(), 0),
            due: BinaryHeap::new(),
            open: BTreeMap::new(),
            begun: 0,
            restarts: None,
            ended: false,
            last_time: crate::BEGINS_US,
            counts: Counts::default(),
        };
        spool.notice(Kind::SourceStarted)?;
        Ok(spool)
    }

    /// What has been written so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The next frames; `None` behind the last.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, LogError> {
        loop {
            if let Some((file_no, _, offset)) = self.writer.current() {
                let all = SyncedTo { file_no, offset, seq: u64::MAX };
                if let Some(batch) = self.tail.next_batch(all, BATCH_BYTES)? {
                    self.writer.remove_before(batch.file_no)?;
                    return Ok(Some(batch));
                }
            }
            if self.ended {
                return Ok(None);
            }
            let mut written = 0;
            while !self.ended && written < BATCH_BYTES {
                written += self.step()?;
            }
            self.writer.flush()?;
        }
    }

    /// Writes what comes next, and says how many bytes that were.
    fn step(&mut self) -> Result<usize, LogError> {
        let next_call = self.calls.peek().map(|call| call.start.time);
        let due = self.due.peek().map(|Reverse((time, _))| *time);
        let next = [next_call, due, self.restarts].into_iter().flatten().min();
        let Some(next) = next else {
            self.ended = true;
            return self.notice(Kind::SourceStopped);
        };
        self.last_time = next;
        if self.restarts == Some(next) {
            return self.restart();
        }
        if due == Some(next) {
            return self.go_on();
        }
        self.calls.next().map_or(Ok(0), |call| self.begin(call))
    }

    /// Writes a call's start.
    fn begin(&mut self, call: Call) -> Result<usize, LogError> {
        let meta = json(&call.start)?;
        let (start_seq, written) =
            self.append(Kind::Start, &call.event_id, &meta, call.request.as_bytes())?;
        self.counts.calls += 1;
        if call.end.is_none() {
            self.restarts = Some(call.start.time + RESTARTS_AFTER_US);
        }
        let Call { event_id, pieces, rest, end, .. } = call;
        self.open.insert(self.begun, Open { event_id, start_seq, pieces: pieces.into_iter(), rest, end });
        self.schedule(self.begun);
        self.begun += 1;
        Ok(written)
    }

    /// Notes when the next frame of an open call is due, if there is one.
    fn schedule(&mut self, number: u64) {
        let Some(open) = self.open.get(&number) else { return };
        let piece = open.pieces.as_slice().first().map(|piece| piece.time);
        if let Some(time) = piece.or(open.end.as_ref().map(|end| end.time)) {
            self.due.push(Reverse((time, number)));
        }
    }

    /// Writes the frame that is due.
    fn go_on(&mut self) -> Result<usize, LogError> {
        let Some(Reverse((_, number))) = self.due.pop() else { return Ok(0) };
        let Some(mut open) = self.open.remove(&number) else { return Ok(0) };
        if let Some(piece) = open.pieces.next() {
            let (_, written) = self.append(Kind::Output, &open.event_id, &[], piece.body.as_bytes())?;
            self.open.insert(number, open);
            self.schedule(number);
            return Ok(written);
        }
        let Some(mut end) = open.end else { return Ok(0) };
        end.start_seq = open.start_seq;
        let (_, written) = self.append(Kind::End, &open.event_id, &json(&end)?, open.rest.as_bytes())?;
        Ok(written)
    }

    /// The gateway that died comes up: what was open is lost, as far as it was not written.
    fn restart(&mut self) -> Result<usize, LogError> {
        self.restarts = None;
        self.counts.interrupted += self.open.len() as u64;
        self.open.clear();
        self.due.clear();
        self.notice(Kind::SourceStarted)
    }

    fn notice(&mut self, kind: Kind) -> Result<usize, LogError> {
        self.counts.starts += u64::from(kind == Kind::SourceStarted);
        let notice = SourceNotice {
            time: self.last_time,
            version: VERSION.to_owned(),
            configuration: None,
            api_keys: None,
        };
        self.append(kind, &Uuid::nil(), &json(&notice)?, &[]).map(|(_, written)| written)
    }

    fn append(
        &mut self,
        kind: Kind,
        event_id: &Uuid,
        meta: &[u8],
        piece: &[u8],
    ) -> Result<(u64, usize), LogError> {
        let body = payload::pack(meta, piece);
        self.counts.body_bytes += piece.len() as u64;
        let position = self.writer.append_sealed(kind, event_id.as_bytes(), &[&body], Claim::Settle)?;
        Ok((position.seq, body.len()))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, LogError> {
    serde_json::to_vec(value)
        .map_err(|error| LogError::Io { context: "a frame's meta".to_owned(), source: error.into() })
}
