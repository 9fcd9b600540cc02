//! Answers whose client hung up, read to their end all the same.
//!
//! A model server that is hung up on stops generating, which saves its time, and never says what it had used.
//! A route may choose the other way (`on_hangup = "drain"`): the rest of the answer is read and recorded,
//! delivered to nobody, so that the record has the true usage. Both numbers stand in it: what was generated and
//! what was delivered. How many answers are drained at once, how much of each and for how long is bounded;
//! beyond that it is cancelled as on any other route, and the record says so.

use crate::body::RequestBody;
use crate::config::Config;
use crate::exchange::Recording;
use crate::limits::{Late, Limits};
use http::Response;
use http_body::Body as _;
use hyper::body::Incoming;
use indelible_net::upstream::{CallError, Leased};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What became of an answer whose client hung up: the words that stand in records.
mod word {
    /// It was read to its end.
    pub(super) const DRAINED: &str = "drained";
    /// It went on for too long, or was too large.
    pub(super) const LIMIT: &str = "drain_limit";
    /// The model server broke off.
    pub(super) const BROKE_OFF: &str = "drain_broke_off";
    /// Too many others were being drained.
    pub(super) const REFUSED: &str = "drain_refused";
}

/// How much may be drained.
pub(crate) struct Drains {
    permits: Arc<Semaphore>,
    max_bytes: u64,
    max_time: Duration,
}

/// The head of an answer, and the connection that the rest comes on, where that is not driven by itself.
pub(crate) type Answer = (Response<Incoming>, Option<Leased<RequestBody>>);

/// A request under way, until the head of its answer comes.
pub(crate) type Call = Pin<Box<dyn Future<Output = Result<Answer, CallError>> + Send>>;

/// An answer that is waited for, or on its way: what is left to do about it if its client hangs up.
pub(crate) enum Rest {
    /// Its head has not come.
    Call(Call),
    /// Its body has not ended.
    Body(Incoming, Option<Leased<RequestBody>>),
}

/// Waits for the head of an answer on behalf of a client, who may hang up meanwhile.
struct Waiting {
    call: Option<Call>,
    recording: Recording,
    drains: Option<Arc<Drains>>,
}

impl Drains {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.hangup_drains_max)),
            max_bytes: config.hangup_drain_max_bytes,
            max_time: config.hangup_drain_max_time,
        }
    }

    /// The client hung up: reads the rest of its answer.
    pub(crate) fn take_over(self: Arc<Self>, rest: Rest, recording: Recording) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Many clients hang up once they have read the last event: nothing is missing then.
        if recording.lock().is_whole() {
            return;
        }
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => drop(runtime.spawn(async move { self.drain(rest, recording, permit).await })),
            Err(_) => recording.lock().hung_up(word::REFUSED, false),
        }
    }

    async fn drain(&self, rest: Rest, recording: Recording, _permit: OwnedSemaphorePermit) {
        let mut underway = recording.lock().underway();
        let word = tokio::select! {
            word = tokio::time::timeout(self.max_time, self.read(rest, &recording)) => word.unwrap_or(word::LIMIT),
            // Dropping the recording says why.
            () = underway.cut() => return,
        };
        recording.lock().hung_up(word, word == word::DRAINED);
    }

    async fn read(&self, rest: Rest, recording: &Recording) -> &'static str {
        let (mut body, mut upstream) = match rest {
            Rest::Body(body, upstream) => (body, upstream),
            Rest::Call(call) => match call.await {
                Ok((answer, upstream)) => {
                    recording.lock().head(answer.status().as_u16(), answer.headers());
                    (answer.into_body(), upstream)
                }
                Err(_) => return word::BROKE_OFF,
            },
        };
        let mut left = self.max_bytes;
        loop {
            let flush = recording.lock().flush_due().unwrap_or_else(|| Instant::now() + self.max_time);
            let next = poll_fn(|cx| match &mut upstream {
                Some(upstream) => upstream.poll_frame(&mut body, cx),
                None => Pin::new(&mut body).poll_frame(cx),
            });
            let frame = tokio::select! {
                frame = next => frame,
                () = tokio::time::sleep_until(flush.into()) => {
                    if recording.lock().flush_output().is_err() {
                        return word::LIMIT;
                    }
                    continue;
                }
            };
            let frame = match frame {
                None => return word::DRAINED,
                Some(Err(_)) => return word::BROKE_OFF,
                Some(Ok(frame)) => frame,
            };
            if let Some(trailers) = frame.trailers_ref() {
                recording.lock().trailers(trailers);
            }
            if let Ok(data) = frame.into_data() {
                // What it is over the limit by is recorded, since it is here; nothing behind it is read.
                if recording.lock().output(&data, Instant::now()).is_err() || data.len() as u64 > left {
                    return word::LIMIT;
                }
                left -= data.len() as u64;
            }
        }
    }
}

/// Waits for the head of an answer. If the client hangs up before, which drops this, the answer is drained
/// where there are `drains`.
pub(crate) async fn head(
    call: Call,
    recording: Recording,
    drains: Option<Arc<Drains>>,
    limits: &Limits,
) -> (Result<Result<Answer, CallError>, Late>, Recording) {
    let mut waiting = Waiting { call: Some(call), recording, drains };
    let answer = limits.head(poll_fn(|cx| waiting.poll(cx))).await;
    waiting.call = None;
    (answer, waiting.recording.take())
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, CallError>> {
        self.call.as_mut().map_or(Poll::Pending, |call| call.as_mut().poll(cx))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let (Some(call), Some(drains)) = (self.call.take(), self.drains.take()) {
            drains.take_over(Rest::Call(call), self.recording.take());
        }
    }
}
