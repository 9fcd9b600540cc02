//! The spool as a request sees it: what is admitted, what is waited for, what is owed.
//!
//! A start may be refused (the route's fail mode says what then); what was started has room reserved for
//! its end. What could not be recorded is counted, and becomes a gap frame as soon as there is room.

use crate::config::{Config, FailMode, Mode, Route};
use crate::running::Running;
use indelible_os::clock;
use indelible_record::event::{End, Gap, Private, SourceNotice, Start};
use indelible_record::payload;
use indelible_record::shipping::Acknowledged;
use indelible_spool::shared::SharedLog;
use indelible_spool::writer::Claim;
use indelible_spool::{Kind, LogError, Watermark};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// More meta than this is not kept whole; the collector takes up to twice as much.
const META_KEPT_BYTES: usize = payload::SOURCE_META_MAX_BYTES / 2;
/// A longer target is left out of a record that is too full.
const TARGET_KEPT_BYTES: usize = 16 << 10;

/// What a record has to be before an answer may go on.
pub enum Wait {
    /// It is.
    Ready,
    /// Not yet.
    For(oneshot::Receiver<()>),
}

/// Why a request may not be served.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The spool has no room.
    #[error("the record of this request cannot be kept: {0}")]
    Full(String),
    /// The collector has been out of reach for too long for this route.
    #[error("the collector has not taken records for {0} s")]
    CollectorAway(u64),
    /// The disk failed: the gateway is going down.
    #[error("the record of this request cannot be kept: {0}")]
    Failed(String),
}

/// Writes the records of all requests.
pub struct Recorder {
    log: SharedLog,
    logged: Watermark,
    gaps: Mutex<BTreeMap<String, Gap>>,
    shipping: Mutex<Shipping>,
    closed_after: Duration,
    running: Running,
}

struct Shipping {
    /// When the collector last took something, or had nothing to take.
    caught_up: Instant,
    acknowledged: Option<Acknowledged>,
}

impl Recorder {
    /// Takes over a spool; `acknowledged` is what the collector said last.
    pub fn new(log: SharedLog, config: &Config, acknowledged: Option<Acknowledged>) -> Self {
        let seq = acknowledged.as_ref().map_or(0, |told| told.seq);
        Self {
            log,
            logged: Watermark::new(seq),
            gaps: Mutex::default(),
            shipping: Mutex::new(Shipping { caught_up: Instant::now(), acknowledged }),
            closed_after: config.closed_after,
            running: Running::new(),
        }
    }

    /// Records that this process came up.
    pub fn source_started(&self, config: &Config) -> Result<u64, LogError> {
        let api_keys = config.keys.as_ref().and_then(|keys| keys.digest().map(str::to_owned));
        self.notice(Kind::SourceStarted, config.digest.clone(), api_keys)
    }

    /// Records that it goes down in good order.
    pub fn source_stopped(&self) -> Result<u64, LogError> {
        self.notice(Kind::SourceStopped, None, None)
    }

    /// Records that it is alive.
    pub fn heartbeat(&self) -> Result<u64, LogError> {
        let body = payload::pack(b"", b"");
        self.log.append(Kind::Heartbeat, Uuid::now_v7().as_bytes(), &[&body], Claim::Admit).map(|at| at.seq)
    }

    fn notice(
        &self,
        kind: Kind,
        configuration: Option<String>,
        api_keys: Option<String>,
    ) -> Result<u64, LogError> {
        let notice = SourceNotice {
            time: clock::now().0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration,
            api_keys,
        };
        let body = payload::pack(&to_json(&notice), b"");
        self.log.append(kind, Uuid::now_v7().as_bytes(), &[&body], Claim::Settle).map(|at| at.seq)
    }

    /// Records a start. When this returns `Ok(Some)`, it survives this process. `Ok(None)`: the route
    /// serves without a record, and the gap is counted.
    pub fn start(
        &self,
        route: &Route,
        event_id: Uuid,
        start: &Start,
        piece: &[u8],
    ) -> Result<Option<u64>, Refused> {
        if route.fail == FailMode::Closed {
            // While there was nothing to take, nobody was away.
            if self.logged.reached() >= self.log.synced().reached() {
                self.caught_up();
            }
            let away = self.shipping().caught_up.elapsed();
            if away > self.closed_after {
                return Err(Refused::CollectorAway(away.as_secs()));
            }
        }
        let mut meta = to_json(start);
        if meta.len() > META_KEPT_BYTES {
            let mut start = start.clone();
            leave_out(&mut start.private, meta.len());
            meta = to_json(&start);
        }
        let body = payload::pack(&meta, piece);
        match self.log.append(Kind::Start, event_id.as_bytes(), &[&body], Claim::Admit) {
            Ok(at) => Ok(Some(at.seq)),
            Err(error) if route.fail == FailMode::Open => {
                self.count_gap(&start.tenant, &error);
                Ok(None)
            }
            Err(LogError::Full(why)) => Err(Refused::Full(why)),
            Err(error) => Err(Refused::Failed(error.to_string())),
        }
    }

    /// Records more of a body.
    pub fn piece(&self, kind: Kind, event_id: Uuid, piece: &[u8]) -> Result<(), LogError> {
        for piece in piece.chunks(payload::PIECE_MAX_BYTES) {
            let body = payload::pack(b"", piece);
            self.log.append(kind, event_id.as_bytes(), &[&body], Claim::Settle)?;
        }
        Ok(())
    }

    /// Records an end, with the last of the response body. Where the last byte waits for the disk, the frame
    /// is not written before the sync that it waits for.
    pub fn end(&self, mode: Mode, event_id: Uuid, end: &End, piece: &[u8]) -> Result<u64, LogError> {
        let mut meta = to_json(end);
        if meta.len() > META_KEPT_BYTES {
            let mut end = end.clone();
            leave_out(&mut end.private, meta.len());
            meta = to_json(&end);
        }
        // A buffer that could not be written on the way may be larger than a piece.
        let (before, piece) = piece.split_at(piece.len().saturating_sub(payload::PIECE_MAX_BYTES));
        self.piece(Kind::Output, event_id, before)?;
        let body = payload::pack(&meta, piece);
        let at = match mode {
            Mode::Durable | Mode::Receipt => {
                self.log.append_for_sync(Kind::End, event_id.as_bytes(), &[&body], Claim::Settle)
            }
            Mode::Relaxed => self.log.append(Kind::End, event_id.as_bytes(), &[&body], Claim::Settle),
        };
        at.map(|at| at.seq)
    }

    /// What an answer has to wait for so that the record `seq` is what the mode promises.
    pub fn wait(&self, mode: Mode, seq: u64) -> Wait {
        let mark = match mode {
            Mode::Relaxed => return Wait::Ready,
            Mode::Durable => self.log.synced(),
            Mode::Receipt => &self.logged,
        };
        if mark.reached() >= seq { Wait::Ready } else { Wait::For(mark.wait(seq)) }
    }

    fn count_gap(&self, tenant: &str, error: &LogError) {
        let now = clock::now().0;
        let cause = if matches!(error, LogError::Full(_)) { "spool_full" } else { "spool_failed" };
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = gaps.entry(tenant.to_owned()).or_insert_with(|| Gap {
            tenant: tenant.to_owned(),
            cause: cause.to_owned(),
            from: now,
            to: now,
            count: 0,
        });
        gap.to = now;
        gap.count += 1;
    }

    /// Writes what is owed of gaps; what does not fit stays owed. [`Claim::Settle`] is for the last moment
    /// before the process ends: what is owed then is known to nobody else.
    pub fn settle_gaps(&self, claim: Claim) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        gaps.retain(|_, gap| {
            let body = payload::pack(&to_json(gap), b"");
            self.log.append(Kind::Gap, Uuid::now_v7().as_bytes(), &[&body], claim).is_err()
        });
    }

    /// Requests served without a record that no gap frame accounts for yet.
    pub fn gaps_owed(&self) -> u64 {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).values().map(|gap| gap.count).sum()
    }

    /// The collector has everything up to here.
    pub fn acknowledged(&self, told: Acknowledged) {
        self.logged.advance(told.seq);
        let mut shipping = self.shipping();
        shipping.caught_up = Instant::now();
        shipping.acknowledged = Some(told);
    }

    /// There is nothing that the collector does not have.
    pub fn caught_up(&self) {
        self.shipping().caught_up = Instant::now();
    }

    /// What the collector said last.
    pub fn last_acknowledged(&self) -> Option<Acknowledged> {
        self.shipping().acknowledged.clone()
    }

    /// How long the collector has been behind.
    pub fn behind_for(&self) -> Duration {
        self.shipping().caught_up.elapsed()
    }

    /// The spool.
    pub fn log(&self) -> &SharedLog {
        &self.log
    }

    /// Everything that has no terminal record yet.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// The last sequence number that the collector has on its disk.
    pub fn logged(&self) -> &Watermark {
        &self.logged
    }

    fn shipping(&self) -> std::sync::MutexGuard<'_, Shipping> {
        self.shipping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves headers, types and words out of a record that is full of them, and says so. Bodies are never
/// touched; this is what surrounds them, and a peer that sends half a megabyte of it must not keep the
/// record of everyone else waiting.
fn leave_out(private: &mut Private, bytes: usize) {
    private.headers = vec![("(headers left out)".to_owned(), format!("{bytes} bytes of meta"))];
    private.input_type = None;
    private.output_type = None;
    private.error = None;
    private.usage = None;
    if private.target.as_ref().is_some_and(|target| target.len() > TARGET_KEPT_BYTES) {
        private.target =
            Some(format!("(left out: {} bytes)", private.target.as_ref().map_or(0, String::len)));
    }
}

/// Our own plain structs: they have no map keys that are not strings, the one thing that could fail.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    #[allow(clippy::unwrap_used)]
    serde_json::to_vec(value).unwrap()
}
