//! The record of a conversation: what each side sent, piece by piece, with the time of each stretch.
//!
//! In the modes that promise something a piece is written before its bytes are passed on: what a peer has seen
//! survives this process. A conversation that goes on and on would make more pieces than an entry can name, so
//! after many of them, and in mode `relaxed` from the start, bytes are gathered as bodies are.

use crate::config::Mode;
use crate::exchange::{HandedOver, OUTPUT_FLUSH_INTERVAL, Outcome};
use crate::recorder::{Wait, to_json};
use crate::running::Underway;
use indelible_os::clock;
use indelible_record::event::{Conversation, End, Mark, PieceMeta};
use indelible_record::payload::{self, PIECE_MAX_BYTES};
use indelible_spool::writer::Claim;
use indelible_spool::{Kind, LogError};
use indelible_websocket::{Close, Event, Extension, Messages, Side};
use std::time::{Duration, Instant};

/// So many pieces are written one by one; an entry can name 100,000.
const WRITE_THROUGH_PIECES_MAX: u64 = 40_000;
/// Gathered bytes are written at this size at least…
const GATHERED_MIN_BYTES: usize = 64 << 10;
/// …and at this part of what has passed…
const GATHERED_DIVISOR: u64 = 1024;
/// …or with so many marks…
const GATHERED_MARKS_MAX: usize = 4096;
/// …or at this part of the conversation's age, and [`OUTPUT_FLUSH_INTERVAL`] at least.
const AGE_DIVISOR: u32 = 2048;
/// The code that stands for a close frame without one (RFC 6455 §7.1.5).
const NO_CODE: u16 = 1005;

/// The record of one conversation.
pub(crate) struct SocketRecord {
    handed: HandedOver,
    /// Until the first piece has them.
    extensions: Option<String>,
    client: Speaker,
    server: Speaker,
    pieces: u64,
    last_mark_us: u64,
    first_close: Option<Side>,
    first_byte: Option<Instant>,
    delivered: u64,
    /// Something of it could not be written.
    lost: bool,
    finished: bool,
}

/// One side.
struct Speaker {
    reader: Messages,
    messages: u64,
    /// The message at hand is text.
    text: bool,
    close: Option<Close>,
    unreadable: bool,
    gathered: Vec<u8>,
    marks: Vec<Mark>,
    flushed: Instant,
}

impl SocketRecord {
    pub(crate) fn new(handed: HandedOver, extensions: Option<String>) -> Self {
        let extension = extensions.as_deref().and_then(Extension::negotiated);
        let speaker = |side| Speaker {
            reader: Messages::new(side, extension),
            messages: 0,
            text: false,
            close: None,
            unreadable: false,
            gathered: Vec::new(),
            marks: Vec::new(),
            flushed: Instant::now(),
        };
        Self {
            handed,
            extensions,
            client: speaker(Side::Client),
            server: speaker(Side::Server),
            pieces: 0,
            last_mark_us: 0,
            first_close: None,
            first_byte: None,
            delivered: 0,
            lost: false,
            finished: false,
        }
    }

    /// Records what a side sent, before it is passed on. Says which frame has it, where one has it already.
    /// At most [`PIECE_MAX_BYTES`].
    pub(crate) fn heard(&mut self, side: Side, bytes: &[u8]) -> Result<Option<u64>, LogError> {
        let passed = match side {
            Side::Client => &mut self.handed.input,
            Side::Server => {
                self.first_byte.get_or_insert_with(Instant::now);
                &mut self.handed.output
            }
        };
        passed.update(bytes);
        let passed = passed.bytes();
        let at_us = micros(self.handed.accepted.elapsed()).max(self.last_mark_us + 1);
        self.last_mark_us = at_us;
        let (gathers, interval) = (self.gathers(), self.flush_interval());
        let records = self.handed.start_seq.is_some();
        match side {
            Side::Client => self.client.read(bytes, |_| {}),
            Side::Server => {
                let (reader, mut text) = (&mut self.handed.reader, self.server.text);
                self.server.read(bytes, |event| match event {
                    Event::Begin { kind, .. } => text = *kind == indelible_websocket::Kind::Text,
                    Event::Data(part) if text => reader.push(part),
                    Event::End if text => drop(reader.end_message()),
                    _ => {}
                });
                self.server.text = text;
            }
        }
        if !records {
            return Ok(None);
        }
        if self.speaker(side).gathered.len() + bytes.len() > PIECE_MAX_BYTES {
            self.write(side)?;
        }
        let speaker = self.speaker(side);
        speaker.gathered.extend_from_slice(bytes);
        speaker.marks.push(Mark(bytes.len() as u64, at_us));
        let full = speaker.gathered.len() >= gathered_bytes(passed)
            || speaker.marks.len() >= GATHERED_MARKS_MAX
            || speaker.flushed.elapsed() >= interval;
        if gathers && !full { Ok(None) } else { self.write(side).map(Some) }
    }

    /// So many bytes went to the client.
    pub(crate) fn delivered(&mut self, bytes: u64) {
        self.delivered += bytes;
    }

    /// A side closed.
    pub(crate) fn closes(&mut self, side: Side, close: Close) {
        self.first_close.get_or_insert(side);
        self.speaker(side).close = Some(close);
    }

    /// Which side closed first, and with what words.
    pub(crate) fn closed_by(&self) -> Option<(Side, &Close)> {
        let side = self.first_close?;
        let speaker = if side == Side::Client { &self.client } else { &self.server };
        Some((side, speaker.close.as_ref()?))
    }

    /// Whether bytes are gathered before they are written.
    pub(crate) fn gathers(&self) -> bool {
        self.handed.mode == Mode::Relaxed || self.pieces >= WRITE_THROUGH_PIECES_MAX
    }

    fn flush_interval(&self) -> Duration {
        OUTPUT_FLUSH_INTERVAL.max(self.handed.accepted.elapsed() / AGE_DIVISOR)
    }

    /// When gathered bytes have to be written at the latest.
    pub(crate) fn flush_due(&self) -> Option<Instant> {
        let interval = self.flush_interval();
        let speakers = [&self.client, &self.server].into_iter().filter(|one| !one.gathered.is_empty());
        speakers.map(|speaker| speaker.flushed + interval).min()
    }

    /// Writes what was gathered; says which frame has the last of it.
    pub(crate) fn flush(&mut self) -> Result<Option<u64>, LogError> {
        let mut last = None;
        for side in [Side::Client, Side::Server] {
            if !self.speaker(side).gathered.is_empty() {
                last = Some(self.write(side)?);
            }
        }
        Ok(last)
    }

    /// What has to happen before what stands in that frame may be passed on.
    pub(crate) fn wait(&self, seq: Option<u64>) -> Wait {
        seq.map_or(Wait::Ready, |seq| self.handed.recorder.wait(self.handed.mode, seq))
    }

    /// For whoever has to know that time is up.
    pub(crate) fn underway(&self) -> Underway {
        self.handed.recorder.running().enter()
    }

    /// Writes the terminal frame; says what has to happen before the last bytes may go out.
    pub(crate) fn finish(&mut self, outcome: Outcome) -> Result<Wait, LogError> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(Wait::Ready);
        }
        if let Some(ticket) = &mut self.handed.ticket {
            ticket.ending(outcome.status, self.handed.http_status);
        }
        let Some(start_seq) = self.handed.start_seq else { return Ok(Wait::Ready) };
        // What cannot be written is missing; the end says so.
        let _ = self.flush();
        let closed = self.first_close.is_some();
        let handed = &mut self.handed;
        let mut private = std::mem::take(&mut handed.private);
        private.error = outcome.error;
        private.input = Some(handed.input.clone().finish());
        private.output = Some(handed.output.clone().finish());
        let (answer, usage) = handed.reader.take().finish();
        private.usage = usage;
        let code = |speaker: &Speaker| speaker.close.as_ref().map(|close| close.code.unwrap_or(NO_CODE));
        let end = End {
            start_seq,
            time: clock::now().0,
            status: outcome.status,
            http_status: handed.http_status,
            error_type: outcome.error_type.map(str::to_owned),
            latency_us: micros(handed.accepted.elapsed()),
            ttft_us: self.first_byte.map(|at| micros(at - handed.accepted)),
            delivered_bytes: self.delivered,
            input_partial: !closed || self.lost,
            output_partial: !closed || self.lost,
            first_token_us: None,
            late: None,
            answer,
            withheld: Vec::new(),
            hangup: None,
            websocket: Some(Conversation {
                client_messages: self.client.messages,
                server_messages: self.server.messages,
                client_close: code(&self.client),
                server_close: code(&self.server),
                unreadable: self.client.unreadable || self.server.unreadable,
            }),
            private,
        };
        let seq = handed.recorder.end(handed.mode, handed.event_id, &end, b"")?;
        Ok(handed.recorder.wait(handed.mode, seq))
    }

    fn write(&mut self, side: Side) -> Result<u64, LogError> {
        let (kind, speaker) = match side {
            Side::Client => (Kind::Input, &mut self.client),
            Side::Server => (Kind::Output, &mut self.server),
        };
        speaker.flushed = Instant::now();
        let meta = PieceMeta { extensions: self.extensions.clone(), marks: speaker.marks.clone() };
        let body = payload::pack(&to_json(&meta), &speaker.gathered);
        let log = self.handed.recorder.log();
        let at = log.append(kind, self.handed.event_id.as_bytes(), &[&body], Claim::Settle);
        self.lost |= at.is_err();
        let at = at?;
        speaker.marks.clear();
        speaker.gathered.clear();
        self.extensions = None;
        self.pieces += 1;
        Ok(at.seq)
    }

    fn speaker(&mut self, side: Side) -> &mut Speaker {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

impl Speaker {
    /// Reads along.
    fn read(&mut self, bytes: &[u8], mut hear: impl FnMut(&Event<'_>)) {
        let Self { reader, messages, unreadable, .. } = self;
        let outcome = reader.push(bytes, |event| {
            hear(&event);
            *messages += u64::from(matches!(event, Event::End));
        });
        *unreadable |= outcome.is_err();
    }
}

impl Drop for SocketRecord {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let outcome = if self.handed.underway.is_cut() { Outcome::stopped() } else { Outcome::hung_up() };
        if let Err(error) = self.finish(outcome) {
            let event_id = self.handed.event_id;
            tracing::error!(%event_id, %error, "the end of a conversation could not be recorded");
        }
    }
}

/// How much is gathered of a side of which `passed` bytes have passed.
fn gathered_bytes(passed: u64) -> usize {
    let part = usize::try_from(passed / GATHERED_DIVISOR).unwrap_or(usize::MAX);
    part.clamp(GATHERED_MIN_BYTES, PIECE_MAX_BYTES)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
