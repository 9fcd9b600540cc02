//! The record of one request: one start frame, then exactly one terminal frame, whatever happens.
//!
//! An [`Exchange`] exists from the moment its start frame is written. The [`Recording`] that holds it moves
//! along with the request, first in the handler, then inside the response body. Whoever drops it, the
//! client by hanging up, the runtime at shutdown, a panic, ends it: a terminal frame that was not
//! written before is written then.

use crate::config::{Mode, Route};
use crate::dialect::{AnswerReader, Endpoint, MessageReader, RequestReader};
use crate::headers;
use crate::metrics::Ticket;
use crate::recorder::{Recorder, Wait};
use crate::running::Underway;
use http::HeaderMap;
use indelible_os::clock;
use indelible_record::Committer;
use indelible_record::entry::Status;
use indelible_record::event::{Answer, End, Private};
use indelible_spool::{Kind, LogError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A body is written to the spool in pieces of this size at least, whatever the sizes it comes in…
const PIECE_MIN_BYTES: usize = 64 << 10;
/// …and of at least this part of what has passed, so that no body makes more pieces than an entry can name…
const PIECE_DIVISOR: u64 = 1024;
/// …or, on the way out, at this age, so that a crash loses at most that much of a slow stream.
pub const OUTPUT_FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// How a request ended, besides what was counted along the way.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How.
    pub status: Status,
    /// A short word for what went wrong.
    pub error_type: Option<&'static str>,
    /// What went wrong, in words.
    pub error: Option<String>,
}

impl Outcome {
    /// The answer passed whole; its HTTP status decides what that means.
    pub fn passed(http_status: Option<u16>) -> Self {
        match http_status {
            Some(400..) => {
                Self { status: Status::UpstreamError, error_type: Some("http_error"), error: None }
            }
            _ => Self { status: Status::Completed, error_type: None, error: None },
        }
    }

    /// Something went wrong.
    pub fn failed(status: Status, error_type: &'static str, error: impl ToString) -> Self {
        Self { status, error_type: Some(error_type), error: Some(error.to_string()) }
    }

    /// A stream that was begun with 200 can only say in its course that it failed.
    fn with(self, endpoint: &Endpoint, answer: &Answer) -> Self {
        let failed = answer.error_type.is_some() || answer.error_code.is_some();
        match self.status {
            Status::Completed if failed && endpoint.generates() => {
                Self { status: Status::UpstreamError, error_type: Some("error_in_answer"), error: self.error }
            }
            _ => self,
        }
    }

    /// The client went away.
    pub(crate) fn hung_up() -> Self {
        Self { status: Status::Cancelled, error_type: Some("client_gone"), error: None }
    }

    /// The gateway went down, and there was no more time for it.
    pub(crate) fn stopped() -> Self {
        Self { status: Status::Cancelled, error_type: Some("gateway_stopped"), error: None }
    }
}

/// Why a request body did not come whole.
#[derive(Clone, Debug)]
pub enum InputFailed {
    /// It is over the limit.
    TooLarge,
    /// The client broke off.
    BrokeOff(String),
}

/// One request being recorded.
pub struct Exchange {
    recorder: Arc<Recorder>,
    /// `None`: the route serves without a record, and the gap is counted.
    start_seq: Option<u64>,
    event_id: Uuid,
    mode: Mode,
    accepted: Instant,
    first_byte: Option<Instant>,
    first_token: Option<Instant>,
    http_status: Option<u16>,
    input: Option<Committer>,
    input_partial: bool,
    input_buffer: Vec<u8>,
    input_failed: Option<InputFailed>,
    /// Reads on in a body that was not read whole before it was forwarded.
    request: Option<RequestReader>,
    /// The answer is the gateway's own: it is whole however the request ended.
    own_answer: bool,
    output: Committer,
    output_buffer: Vec<u8>,
    flushed: Instant,
    delivered: u64,
    endpoint: &'static Endpoint,
    answer: Option<AnswerReader>,
    private: Private,
    /// What became of the answer once its client had hung up, and whether it came whole.
    hangup: Option<(&'static str, bool)>,
    /// Stretches of the answer that the client does not get.
    withheld: Vec<(u64, u64)>,
    finished: bool,
    /// Counts the request, and holds what it takes of limits, until this is dropped.
    ticket: Option<Ticket>,
    underway: Underway,
}

/// What a record begins with.
pub(crate) struct Begun {
    /// The event's id.
    pub(crate) event_id: Uuid,
    /// The start frame; `None` where the route serves without a record.
    pub(crate) start_seq: Option<u64>,
    /// When the request came.
    pub(crate) accepted: Instant,
    /// For the response body's commitment.
    pub(crate) salt: [u8; 32],
}

impl Exchange {
    /// Begins where the start frame was written. `salt` is for the response body's commitment.
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        route: &Route,
        begun: Begun,
        endpoint: &'static Endpoint,
        ticket: Ticket,
    ) -> Self {
        let Begun { event_id, start_seq, accepted, salt } = begun;
        Self {
            underway: recorder.running().enter(),
            recorder,
            start_seq,
            event_id,
            mode: route.mode,
            accepted,
            first_byte: None,
            first_token: None,
            http_status: None,
            input: None,
            input_partial: false,
            input_buffer: Vec::new(),
            input_failed: None,
            request: None,
            own_answer: false,
            output: Committer::new(salt),
            output_buffer: Vec::new(),
            flushed: accepted,
            delivered: 0,
            endpoint,
            answer: None,
            private: Private::default(),
            hangup: None,
            withheld: Vec::new(),
            finished: false,
            ticket: Some(ticket),
        }
    }

    /// The event's id.
    pub fn event_id(&self) -> Uuid {
        self.event_id
    }

    /// What the answer's last byte waits for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What has to happen before the first byte of the answer may go out.
    pub fn wait_for_start(&self) -> Wait {
        // The start is only ever waited for here: a receipt is for the whole.
        match (self.mode, self.start_seq) {
            (Mode::Relaxed, _) | (_, None) => Wait::Ready,
            (_, Some(seq)) => self.recorder.wait(Mode::Durable, seq),
        }
    }

    /// The request body is not whole yet, or never will be: what follows is committed to, and recorded piece
    /// by piece.
    pub(crate) fn expect_input(
        &mut self,
        committer: Committer,
        reader: RequestReader,
        content_type: Option<String>,
    ) {
        self.input = Some(committer);
        self.request = Some(reader);
        self.input_partial = true;
        self.private.input_type = content_type;
    }

    /// More of the request body, before it is sent on.
    pub fn input(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if let Some(committer) = &mut self.input {
            committer.update(bytes);
        }
        if let Some(request) = &mut self.request {
            request.push(bytes);
        }
        if self.start_seq.is_none() {
            return Ok(());
        }
        self.input_buffer.extend_from_slice(bytes);
        let passed = self.input.as_ref().map_or(0, Committer::bytes);
        if self.input_buffer.len() >= piece_bytes(passed) { self.flush_input() } else { Ok(()) }
    }

    /// The request body came to its end.
    pub fn input_ended(&mut self) {
        self.input_partial = false;
    }

    fn flush_input(&mut self) -> Result<(), LogError> {
        if self.input_buffer.is_empty() || self.start_seq.is_none() {
            return Ok(());
        }
        self.recorder.piece(Kind::Input, self.event_id, &self.input_buffer)?;
        self.input_buffer.clear();
        Ok(())
    }

    /// The request body will not come to its end.
    pub fn fail_input(&mut self, why: InputFailed) {
        self.input_failed.get_or_insert(why);
    }

    /// Why the request body did not come to its end, if that is known.
    pub fn input_failed(&self) -> Option<InputFailed> {
        self.input_failed.clone()
    }

    /// The head of an answer that the gateway gives itself.
    pub fn own_head(&mut self, status: u16, headers: &HeaderMap) {
        self.own_answer = true;
        self.head(status, headers);
    }

    /// The answer's head.
    pub fn head(&mut self, status: u16, headers: &HeaderMap) {
        let text = |name: http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(ticket) = &mut self.ticket {
            ticket.hold();
        }
        self.http_status = Some(status);
        self.private.headers = headers::kept_response_headers(headers);
        self.private.output_type = text(http::header::CONTENT_TYPE).map(str::to_owned);
        self.answer = (!self.own_answer).then(|| AnswerReader::new(self.endpoint, headers));
    }

    /// What stands behind the body of the answer.
    pub fn trailers(&mut self, trailers: &HeaderMap) {
        self.private.headers.extend(headers::kept_response_headers(trailers));
    }

    /// More of the answer, which came at `now`, before it is handed to the client.
    pub fn output(&mut self, bytes: &[u8], now: Instant) -> Result<(), LogError> {
        self.first_byte.get_or_insert(now);
        self.output.update(bytes);
        if let Some(answer) = &mut self.answer {
            answer.push(bytes);
            if self.first_token.is_none() && answer.began() {
                self.first_token = Some(now);
            }
        }
        if self.start_seq.is_none() {
            return Ok(());
        }
        self.output_buffer.extend_from_slice(bytes);
        if self.output_buffer.len() >= piece_bytes(self.output.bytes())
            || now - self.flushed >= OUTPUT_FLUSH_INTERVAL
        {
            self.flush_output()?;
        }
        Ok(())
    }

    /// Writes buffered output to the spool.
    pub fn flush_output(&mut self) -> Result<(), LogError> {
        self.flushed = Instant::now();
        if self.output_buffer.is_empty() || self.start_seq.is_none() {
            return Ok(());
        }
        self.recorder.piece(Kind::Output, self.event_id, &self.output_buffer)?;
        self.output_buffer.clear();
        Ok(())
    }

    /// When buffered output has to be written at the latest.
    pub fn flush_due(&self) -> Option<Instant> {
        (!self.output_buffer.is_empty()).then(|| self.flushed + OUTPUT_FLUSH_INTERVAL)
    }

    /// So many bytes of the answer went to the client's connection.
    pub fn delivered(&mut self, bytes: u64) {
        self.delivered += bytes;
    }

    /// The client hung up, and that is what became of the rest of its answer.
    pub(crate) fn hung_up(&mut self, what: &'static str, whole: bool) {
        self.hangup = Some((what, whole));
    }

    /// These stretches of the answer, as offset and length, were taken out of what the client gets.
    pub(crate) fn withheld(&mut self, stretches: &[(u64, u64)]) {
        if stretches != self.withheld {
            self.withheld = stretches.to_vec();
        }
    }

    /// Whether the answer said itself that it is over.
    pub(crate) fn is_whole(&self) -> bool {
        self.answer.as_ref().is_some_and(AnswerReader::saw_end)
    }

    /// For whoever has to know that time is up.
    pub(crate) fn underway(&self) -> Underway {
        self.recorder.running().enter()
    }

    /// Writes the terminal frame; says what has to happen before the last byte may go out.
    pub fn finish(&mut self, outcome: Outcome) -> Result<Wait, LogError> {
        if self.finished {
            return Ok(Wait::Ready);
        }
        self.finished = true;
        let whole = matches!(outcome.error_type, None | Some("http_error"))
            || self.hangup.is_some_and(|(_, whole)| whole);
        let (answer, usage) = self.answer.take().map(AnswerReader::finish).unwrap_or_default();
        let outcome = outcome.with(self.endpoint, &answer);
        if let Some(ticket) = &mut self.ticket {
            ticket.ending(outcome.status, self.http_status);
        }
        let Some(start_seq) = self.start_seq else { return Ok(Wait::Ready) };
        let mut private = std::mem::take(&mut self.private);
        private.error = outcome.error;
        private.usage = usage;
        private.input = self.input.take().map(Committer::finish);
        private.output = Some(self.output.clone().finish());
        let end = End {
            websocket: None,
            withheld: std::mem::take(&mut self.withheld),
            hangup: self.hangup.map(|(what, _)| what.to_owned()),
            start_seq,
            time: clock::now().0,
            status: outcome.status,
            http_status: self.http_status,
            error_type: outcome.error_type.map(str::to_owned),
            latency_us: micros(self.accepted.elapsed()),
            ttft_us: self.first_byte.map(|at| micros(at - self.accepted)),
            first_token_us: self.first_token.map(|at| micros(at - self.accepted)),
            delivered_bytes: self.delivered,
            input_partial: self.input_partial,
            output_partial: !whole && self.http_status.is_some() && !self.own_answer,
            answer,
            late: self.request.take().map(|request| Box::new(request.facts().into())),
            private,
        };
        self.flush_input()?;
        let last = std::mem::take(&mut self.output_buffer);
        let seq = self.recorder.end(self.mode, self.event_id, &end, &last)?;
        Ok(self.recorder.wait(self.mode, seq))
    }

    /// The request is with the model server or the client for now.
    pub(crate) fn release(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.release();
        }
    }

    /// Hands the record over, for what follows the head is no body. Whoever takes it writes its end.
    pub(crate) fn hand_over(&mut self) -> HandedOver {
        self.finished = true;
        HandedOver {
            recorder: self.recorder.clone(),
            start_seq: self.start_seq,
            event_id: self.event_id,
            mode: self.mode,
            accepted: self.accepted,
            http_status: self.http_status,
            // A request that may be handed over was not read whole: see `expect_input`.
            input: self.input.take().unwrap_or_else(|| self.output.clone()),
            output: self.output.clone(),
            private: std::mem::take(&mut self.private),
            underway: self.recorder.running().enter(),
            ticket: self.ticket.take(),
            reader: MessageReader::new(self.endpoint),
        }
    }

    /// Status code of the answer, once its head is known.
    pub fn http_status(&self) -> Option<u16> {
        self.http_status
    }
}

/// A record that someone else brings to its end.
pub(crate) struct HandedOver {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) start_seq: Option<u64>,
    pub(crate) event_id: Uuid,
    pub(crate) mode: Mode,
    pub(crate) accepted: Instant,
    pub(crate) http_status: Option<u16>,
    pub(crate) input: Committer,
    pub(crate) output: Committer,
    pub(crate) private: Private,
    pub(crate) underway: Underway,
    /// Counts the conversation, and holds what it takes of limits, until this is dropped.
    pub(crate) ticket: Option<Ticket>,
    /// Reads what the server says.
    pub(crate) reader: MessageReader,
}

/// Whoever holds this is bringing the request to its end; dropping it ends the request.
pub struct Recording {
    shared: Arc<Mutex<Exchange>>,
    /// Someone else is in charge now.
    handed_on: bool,
}

impl Recording {
    /// Takes charge of a request.
    pub fn new(exchange: Exchange) -> Self {
        Self { shared: Arc::new(Mutex::new(exchange)), handed_on: false }
    }

    /// Hands the charge on; what is left here ends nothing.
    pub(crate) fn take(&mut self) -> Self {
        Self { shared: self.shared.clone(), handed_on: std::mem::replace(&mut self.handed_on, true) }
    }

    /// The request's record.
    pub fn lock(&self) -> MutexGuard<'_, Exchange> {
        lock(&self.shared)
    }

    /// For the request body, which is read by the connection to the model server. It adds to the record
    /// and has no say in when it ends.
    pub fn share(&self) -> SharedExchange {
        SharedExchange(self.shared.clone())
    }
}

/// A view of a request's record for its request body.
pub struct SharedExchange(Arc<Mutex<Exchange>>);

impl SharedExchange {
    /// The request's record.
    pub fn lock(&self) -> MutexGuard<'_, Exchange> {
        lock(&self.0)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.handed_on {
            return;
        }
        let mut exchange = self.lock();
        if exchange.finished {
            return;
        }
        // A client that has read `data: [DONE]` has the whole answer; many hang up right there.
        let whole = exchange.hangup.is_none() && exchange.is_whole();
        let outcome = match whole {
            true => Outcome::passed(exchange.http_status),
            false if exchange.underway.is_cut() => Outcome::stopped(),
            false => Outcome::hung_up(),
        };
        if let Err(error) = exchange.finish(outcome) {
            tracing::error!(event_id = %exchange.event_id, %error, "the end of a request could not be recorded");
        }
    }
}

fn lock(shared: &Mutex<Exchange>) -> MutexGuard<'_, Exchange> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How large a piece of a body has to be of which `passed` bytes have passed.
fn piece_bytes(passed: u64) -> usize {
    let part = usize::try_from(passed / PIECE_DIVISOR).unwrap_or(usize::MAX);
    part.clamp(PIECE_MIN_BYTES, indelible_record::payload::PIECE_MAX_BYTES)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
