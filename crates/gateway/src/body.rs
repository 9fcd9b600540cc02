//! Bodies on their way: the request to the model server, the response to the client.
//!
//! Frames pass as they come. The response's first byte waits for the start record to be durable; its last
//! byte, or its end where the length is not known, waits until the terminal record is what the route's
//! mode promises (invariant 2).

use crate::drain::{Drains, Rest};
use crate::exchange::{InputFailed, Outcome, Recording, SharedExchange};
use crate::limits::{Late, Limits};
use crate::recorder::Wait;
use crate::usage::Strip;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use indelible_net::upstream::Leased;
use indelible_record::entry::Status;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// Most bytes of a response that are taken in before its start record is durable.
const HELD_MAX_BYTES: u64 = 64 << 10;

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
    /// The connection that the response comes on, where it is not driven by itself; it goes back once the
    /// response is whole.
    upstream: Option<Leased<RequestBody>>,
    recording: Recording,
    /// For what is left when the client hangs up, where the route wants it.
    drains: Option<Arc<Drains>>,
    /// What takes out of it what the client did not ask for.
    strip: Option<Box<Strip>>,
    /// What it had not passed when the answer ended.
    rest: Option<Bytes>,
    /// Bytes still to come, where the head said how many.
    left: Option<u64>,
    limits: Limits,
    last_activity: Instant,
    /// Made when something first has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// The start record on its way to the disk: nothing of the answer may leave before.
    gate: Wait,
    /// What came while the gate was shut.
    held: VecDeque<Frame<Bytes>>,
    held_bytes: u64,
    state: State,
}

/// Why a response may not begin.
pub(crate) enum Shut {
    /// The record could not be made durable.
    Failed,
    /// It was not durable in time.
    Late,
}

enum State {
    Flowing,
    /// The terminal record is written; what is left goes out once it is durable.
    Holding(oneshot::Receiver<()>, Last),
    Releasing(Last),
    /// What came before the error is on its way to the client.
    Breaking(BodyError),
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
        upstream: Option<Leased<RequestBody>>,
        recording: Recording,
        gate: Wait,
        limits: Limits,
    ) -> Self {
        Self {
            left: inner.size_hint().exact(),
            inner: Some(inner),
            upstream,
            recording,
            drains: None,
            strip: None,
            rest: None,
            limits,
            last_activity: Instant::now(),
            timer: None,
            gate,
            held: VecDeque::new(),
            held_bytes: 0,
            state: State::Flowing,
        }
    }

    /// Reads the rest of the response when the client hangs up.
    pub(crate) fn drained_by(&mut self, drains: Option<Arc<Drains>>) {
        self.drains = drains;
    }

    /// Takes out of it what the client did not ask for. The length of what is left is not known beforehand.
    pub(crate) fn stripped_by(&mut self, strip: Option<Box<Strip>>) {
        self.left = self.left.filter(|_| strip.is_none());
        self.strip = strip;
    }

    /// The record, when the response is not to begin after all.
    pub(crate) fn into_recording(mut self) -> Recording {
        self.drains = None;
        self.recording.take()
    }

    /// The response begins: from here on it is with the client and the model server.
    pub(crate) fn release(&self) {
        self.recording.lock().release();
    }

    /// Ready once the response may begin. Meanwhile what comes of one with a length is taken in: a short one is
    /// whole by then, its terminal record is on the way too, and one wait serves for both. A stream is left where
    /// it is: its client may go before the first word, and the record must say so.
    pub(crate) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Shut>> {
        loop {
            let gathers = self.left.is_some() && self.held_bytes < HELD_MAX_BYTES;
            match &mut self.state {
                State::Flowing if gathers => match self.poll_flowing(cx) {
                    Poll::Ready(Some(frame)) => {
                        self.held_bytes += data_len(&frame);
                        self.held.push_back(frame);
                    }
                    Poll::Ready(None) => {}
                    Poll::Pending => return self.poll_gate(cx),
                },
                // The end stands behind the start in the same log: whoever waits for its sync need not wait twice.
                State::Holding(..) if self.limits.one_wait => return self.poll_holding(cx),
                _ => return self.poll_gate(cx),
            }
        }
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Shut>> {
        let Wait::For(durable) = &mut self.gate else { return Poll::Ready(Ok(())) };
        let outcome = ready!(Pin::new(durable).poll(cx)).map_err(|_| Shut::Failed);
        self.gate = Wait::Ready;
        Poll::Ready(outcome)
    }

    /// Goes from holding to releasing once the terminal record is durable.
    fn poll_holding(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Shut>> {
        let State::Holding(durable, _) = &mut self.state else { return Poll::Ready(Ok(())) };
        let outcome = match Pin::new(durable).poll(cx) {
            Poll::Ready(outcome) => outcome.map_err(|_| Shut::Failed),
            Poll::Pending => {
                let due = self.last_activity + self.limits.settle;
                ready!(self.poll_until(due, cx));
                Err(Shut::Late)
            }
        };
        if let State::Holding(_, last) = std::mem::replace(&mut self.state, State::Done) {
            self.state = State::Releasing(last);
        }
        Poll::Ready(outcome)
    }

    /// Writes the terminal record, and holds `last` until it is durable.
    fn settle(&mut self, outcome: Outcome, last: Last) {
        self.rest = self.strip.as_mut().and_then(|strip| strip.rest());
        let to_go = self.held_bytes
            + self.rest.as_ref().map_or(0, |rest| rest.len() as u64)
            + if let Last::Frame(frame) = &last { data_len(frame) } else { 0 };
        let finished = {
            let mut exchange = self.recording.lock();
            exchange.delivered(to_go);
            exchange.finish(outcome)
        };
        self.last_activity = Instant::now();
        if let Some(upstream) = self.upstream.take()
            && matches!(last, Last::Frame(_) | Last::End)
        {
            upstream.release();
        }
        self.state = match finished {
            Ok(Wait::Ready) => State::Releasing(last),
            Ok(Wait::For(durable)) => State::Holding(durable, last),
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
        let passed = self.strip.as_mut().map(|strip| strip.pass(data));
        let (recorded, status) = {
            let mut exchange = self.recording.lock();
            if let Some(strip) = &self.strip {
                exchange.withheld(strip.taken());
            }
            (exchange.output(data, self.last_activity), exchange.http_status())
        };
        if let Err(error) = recorded {
            let outcome = Outcome::failed(Status::Cancelled, "spool_full", &error);
            self.settle(outcome, Last::Error(error.into()));
            return None;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(data_len(&frame));
            if *left == 0 {
                self.settle(Outcome::passed(status), Last::Frame(frame));
                return None;
            }
        }
        match passed {
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
            ready!(self.poll_until(due, cx));
            if due == late_at {
                return Poll::Ready(late);
            }
            if let Err(error) = self.recording.lock().flush_output() {
                tracing::error!(%error, "output could not be recorded");
            }
        }
    }

    fn poll_until(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        if timer.deadline().into_std() != due {
            timer.as_mut().reset(due.into());
        }
        timer.as_mut().poll(cx)
    }

    fn poll_flowing(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(inner) = &mut self.inner else { return Poll::Pending };
        let next = match &mut self.upstream {
            Some(upstream) => upstream.poll_frame(inner, cx),
            None => Pin::new(inner).poll_frame(cx),
        };
        match next {
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
        if let Some(frame) = self.held.pop_front() {
            self.held_bytes -= data_len(&frame);
            return Poll::Ready(Some(Ok(self.deliver(frame))));
        }
        loop {
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Flowing => {
                    if let Some(frame) = ready!(self.poll_flowing(cx)) {
                        return Poll::Ready(Some(Ok(self.deliver(frame))));
                    }
                }
                State::Holding(..) => {
                    let why = match ready!(self.poll_holding(cx)) {
                        Ok(()) => continue,
                        Err(Shut::Failed) => "the record could not be made durable",
                        Err(Shut::Late) => "the record was not durable in time",
                    };
                    self.withdraw(why);
                }
                State::Releasing(_) if self.rest.is_some() => {
                    return Poll::Ready(self.rest.take().map(|rest| Ok(Frame::data(rest))));
                }
                State::Releasing(_) => {
                    let State::Releasing(last) = std::mem::replace(&mut self.state, State::Done) else {
                        continue;
                    };
                    self.release();
                    match last {
                        Last::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                        Last::End => return Poll::Ready(None),
                        Last::Error(error) => {
                            // A server drops what it has gathered when a body fails: it must write first.
                            self.state = State::Breaking(error);
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                    }
                }
                State::Breaking(_) => {
                    let State::Breaking(error) = std::mem::replace(&mut self.state, State::Done) else {
                        continue;
                    };
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// Counts what goes to the client's connection. Once the terminal record is written, all that is still to
    /// go has been counted there.
    fn deliver(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if matches!(self.state, State::Flowing) {
            self.recording.lock().delivered(data_len(&frame));
        }
        frame
    }

    /// Bytes that are still to go to the client, where the head said how many.
    fn bytes_to_go(&self) -> Option<u64> {
        let left = self.left?;
        let behind = match &self.state {
            State::Holding(_, Last::Frame(frame)) | State::Releasing(Last::Frame(frame)) => data_len(frame),
            // Of a response that broke off, too, the head announced more.
            _ => left,
        };
        Some(self.held_bytes + behind)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if matches!(self.state, State::Flowing)
            && let (Some(drains), Some(inner)) = (self.drains.take(), self.inner.take())
        {
            drains.take_over(Rest::Body(inner, self.upstream.take()), self.recording.take());
        }
    }
}

fn data_len(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
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
            Self::Relayed(relay) => matches!(relay.state, State::Done) && relay.held.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Relayed(relay) => relay.bytes_to_go().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
