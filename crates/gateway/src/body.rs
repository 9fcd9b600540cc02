//! Bodies on their way: the request to the model server, the response to the client.
//!
//! Frames pass as they come. The response's last byte, or its end where the length is not known, waits
//! until the terminal record is what the route's mode promises (invariant 2).

use crate::drain::{Drains, Rest};
use crate::exchange::{InputFailed, Outcome, Recording, SharedExchange};
use crate::limits::{Late, Limits};
use crate::recorder::Wait;
use crate::usage::Strip;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use indelible_record::entry::Status;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// What went wrong with a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request body for the model server.
pub(crate) enum RequestBody {
    /// All of it was read, and is recorded; trailers follow it.
    Whole(Option<Bytes>, Option<HeaderMap>),
    /// Its beginning was read; the rest is recorded as it passes.
    Flowing(FlowingRequest),
}

/// The rest of a large request body.
pub(crate) struct FlowingRequest {
    beginning: Option<Bytes>,
    rest: Incoming,
    exchange: SharedExchange,
    left: u64,
}

impl FlowingRequest {
    /// `beginning` is recorded already; at most `left` bytes may follow.
    pub(crate) fn new(beginning: Bytes, rest: Incoming, exchange: SharedExchange, left: u64) -> Self {
        Self { beginning: Some(beginning), rest, exchange, left }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let flowing = match &mut *self {
            Self::Whole(bytes, trailers) => {
                let next = bytes.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers));
                return Poll::Ready(next.map(Ok));
            }
            Self::Flowing(flowing) => flowing,
        };
        if let Some(beginning) = flowing.beginning.take() {
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        match ready!(Pin::new(&mut flowing.rest).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let Some(left) = flowing.left.checked_sub(data.len() as u64) else {
                        flowing.exchange.lock().fail_input(InputFailed::TooLarge);
                        return Poll::Ready(Some(Err("request body is over the limit".into())));
                    };
                    flowing.left = left;
                    let mut exchange = flowing.exchange.lock();
                    exchange.input(data)?;
                    // Where the length is known, nobody asks for more after the last byte.
                    if flowing.rest.is_end_stream() {
                        exchange.input_ended();
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                flowing.exchange.lock().fail_input(InputFailed::BrokeOff(error.to_string()));
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                flowing.exchange.lock().input_ended();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None, None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // With a length there is no place for trailers.
            Self::Whole(_, Some(_)) => SizeHint::default(),
            Self::Whole(bytes, None) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Flowing(flowing) => {
                let begun = flowing.beginning.as_ref().map_or(0, |bytes| bytes.len() as u64);
                match flowing.rest.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(begun + rest),
                    None => SizeHint::default(),
                }
            }
        }
    }
}

/// A response body for the client.
pub(crate) enum ResponseBody {
    /// Made here, and recorded already.
    Own(Option<Bytes>),
    /// The model server's, recorded as it passes.
    Relayed(Box<Relay>),
}

/// Passes a model server's response on.
pub(crate) struct Relay {
    /// `None`: handed on, as this was dropped.
    inner: Option<Incoming>,
    recording: Recording,
    /// For what is left when the client hangs up, where the route wants it.
    drains: Option<Arc<Drains>>,
    /// What takes out of it what the client did not ask for.
    strip: Option<Box<Strip>>,
    /// What it had not passed when the answer ended.
    rest: Option<Bytes>,
    /// The connection had time for what was handed on before an error.
    yielded: bool,
    /// Bytes still to come, where the head said how many.
    left: Option<u64>,
    limits: Limits,
    last_activity: Instant,
    timer: Pin<Box<Sleep>>,
    state: State,
}

enum State {
    Flowing,
    /// The terminal record is written; what is left goes out once it is durable.
    Holding(oneshot::Receiver<()>, Last),
    Releasing(Last),
    Done,
}

enum Last {
    Frame(Frame<Bytes>),
    End,
    Error(BodyError),
}

impl Relay {
    pub(crate) fn new(
        inner: Incoming,
        recording: Recording,
        limits: Limits,
        drains: Option<Arc<Drains>>,
        strip: Option<Box<Strip>>,
    ) -> Self {
        Self {
            // The length of what is left is not known beforehand.
            left: inner.size_hint().exact().filter(|_| strip.is_none()),
            inner: Some(inner),
            recording,
            drains,
            strip,
            rest: None,
            yielded: false,
            limits,
            last_activity: Instant::now(),
            timer: Box::pin(tokio::time::sleep(limits.idle)),
            state: State::Flowing,
        }
    }

    /// Writes the terminal record, and holds `last` until it is durable.
    fn settle(&mut self, outcome: Outcome, last: Last) {
        self.rest = self.strip.as_mut().and_then(|strip| strip.rest());
        let finished = {
            let mut exchange = self.recording.lock();
            exchange.delivered(self.rest.as_ref().map_or(0, |rest| rest.len() as u64));
            exchange.finish(outcome)
        };
        self.state = match finished {
            Ok(Wait::Ready) => State::Releasing(last),
            Ok(Wait::For(durable)) => {
                self.timer.as_mut().reset((Instant::now() + self.limits.settle).into());
                State::Holding(durable, last)
            }
            Err(error) => return self.withdraw(error),
        };
    }

    /// Ends an answer without what was held of it: the client must not take one for whole that has no record.
    fn withdraw(&mut self, why: impl Into<BodyError>) {
        self.rest = None;
        self.state = State::Releasing(Last::Error(why.into()));
    }

    /// Ends an answer that took too long.
    fn break_off(&mut self, late: Late) {
        let outcome = late.outcome();
        let error = outcome.error.clone().unwrap_or_default();
        self.settle(outcome, Last::Error(error.into()));
    }

    fn take_frame(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        self.last_activity = Instant::now();
        if let Some(late) = self.limits.over(self.last_activity) {
            self.break_off(late);
            return None;
        }
        let Some(data) = frame.data_ref() else {
            // Trailers are the end of the body.
            if let Some(trailers) = frame.trailers_ref() {
                self.recording.lock().trailers(trailers);
            }
            let status = self.recording.lock().http_status();
            self.settle(Outcome::passed(status), Last::Frame(frame));
            return None;
        };
        let len = data.len() as u64;
        let stripped = self.strip.as_mut().map(|strip| strip.pass(data));
        let (recorded, status) = {
            let mut exchange = self.recording.lock();
            let recorded = exchange.output(data);
            exchange.delivered(match &stripped {
                None => len,
                Some(passed) => passed.as_ref().map_or(0, |passed| passed.len() as u64),
            });
            if let Some(strip) = &self.strip {
                exchange.withheld(strip.taken());
            }
            (recorded, exchange.http_status())
        };
        if let Err(error) = recorded {
            let outcome = Outcome::failed(Status::Cancelled, "spool_full", &error);
            self.settle(outcome, Last::Error(error.into()));
            return None;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(len);
            if *left == 0 {
                self.settle(Outcome::passed(status), Last::Frame(frame));
                return None;
            }
        }
        match stripped {
            None => Some(frame),
            Some(passed) => passed.map(Frame::data),
        }
    }

    /// Nothing comes: buffered output may be due, or the answer may be late.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        loop {
            let (late_at, late) = self.limits.next_piece(self.last_activity);
            let flush_due = self.recording.lock().flush_due();
            let due = flush_due.map_or(late_at, |flush| flush.min(late_at));
            if self.timer.deadline().into_std() != due {
                self.timer.as_mut().reset(due.into());
            }
            ready!(self.timer.as_mut().poll(cx));
            if due == late_at {
                return Poll::Ready(late);
            }
            if let Err(error) = self.recording.lock().flush_output() {
                tracing::error!(%error, "output could not be recorded");
            }
        }
    }

    fn poll_flowing(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(inner) = &mut self.inner else { return Poll::Pending };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(self.take_frame(frame)),
            Poll::Ready(Some(Err(error))) => {
                let outcome = Outcome::failed(Status::UpstreamError, "upstream_broke_off", &error);
                self.settle(outcome, Last::Error(error.into()));
                Poll::Ready(None)
            }
            Poll::Ready(None) => {
                let status = self.recording.lock().http_status();
                self.settle(Outcome::passed(status), Last::End);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let late = ready!(self.poll_timer(cx));
                self.break_off(late);
                Poll::Ready(None)
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Flowing => {
                    self.state = State::Flowing;
                    if let Some(frame) = ready!(self.poll_flowing(cx)) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                State::Holding(mut durable, last) => match Pin::new(&mut durable).poll(cx) {
                    Poll::Ready(Ok(())) => self.state = State::Releasing(last),
                    Poll::Ready(Err(_)) => self.withdraw("the record could not be made durable"),
                    Poll::Pending => {
                        if self.timer.as_mut().poll(cx).is_pending() {
                            self.state = State::Holding(durable, last);
                            return Poll::Pending;
                        }
                        self.withdraw("the record was not durable in time");
                    }
                },
                State::Releasing(last) => {
                    if let Some(rest) = self.rest.take() {
                        self.state = State::Releasing(last);
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                    if matches!(last, Last::Error(_)) && !std::mem::replace(&mut self.yielded, true) {
                        // An error ends the connection at once. What was handed on before it is flushed first
                        // only while there is nothing to do.
                        self.state = State::Releasing(last);
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    return Poll::Ready(match last {
                        Last::Frame(frame) => Some(Ok(frame)),
                        Last::Error(error) => Some(Err(error)),
                        Last::End => None,
                    });
                }
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if matches!(self.state, State::Flowing)
            && let (Some(drains), Some(inner)) = (self.drains.take(), self.inner.take())
        {
            drains.take_over(Rest::Body(inner), self.recording.take());
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relay) => relay.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Relayed(relay) => matches!(relay.state, State::Done),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Relayed(relay) => match (&relay.state, relay.left) {
                (State::Flowing, Some(left)) => SizeHint::with_exact(left),
                (State::Holding(_, Last::Frame(frame)) | State::Releasing(Last::Frame(frame)), Some(_)) => {
                    SizeHint::with_exact(frame.data_ref().map_or(0, |data| data.len() as u64))
                }
                (_, Some(_)) => SizeHint::with_exact(0),
                (_, None) => SizeHint::default(),
            },
        }
    }
}
