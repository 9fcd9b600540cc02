//! What either side sends goes to the other, unchanged and at once; and how a conversation ends.
//!
//! Each direction reads no more than what its receiver takes, so a slow side slows the other one down.
//!
//! A conversation is over with its second close frame (RFC 6455 §7.1.2). That frame waits until the terminal
//! record is what the route's mode promises, as the last byte of any answer does (invariant 2). Where it is the
//! server that closes first, the client has all that it will be told before the terminal record can be written,
//! since the client's own close belongs into it: there the server's close waits until everything up to it is
//! as durable.

use super::closing::{Closing, LastFrame};
use super::record::SocketRecord;
use crate::exchange::{OUTPUT_FLUSH_INTERVAL, Outcome};
use crate::limits::{Late, Limits};
use crate::recorder::Wait;
use crate::running::Underway;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use indelible_record::entry::Status;
use indelible_spool::LogError;
use indelible_websocket::{Close, Side};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

/// Read at once from one side.
const READ_BYTES: usize = 16 << 10;
/// How long the other side may take to close, once one has.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// A conversation whose bytes are written as they come is looked at this often.
const NAP: Duration = Duration::from_secs(60);
/// How long both may take to hang up, once both have closed.
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(2);

type Reader = ReadHalf<TokioIo<Upgraded>>;
type Writer = WriteHalf<TokioIo<Upgraded>>;

/// Passes on what both say once both connections are theirs alone, and ends the record.
pub(super) async fn run(client: OnUpgrade, server: OnUpgrade, record: SocketRecord, limits: Limits) {
    let mut underway = record.underway();
    let session = Session { record: Mutex::new(record), spoke: Mutex::new(Instant::now()), limits };
    let upgraded = tokio::select! {
        upgraded = async { (client.await, server.await) } => upgraded,
        outcome = session.watch() => return session.end(outcome),
        () = underway.cut() => return session.end(Outcome::stopped()),
    };
    let (client, server) = match upgraded {
        (Ok(client), Ok(server)) => (client, server),
        (Err(_), _) => return session.end(Outcome::hung_up()),
        (Ok(_), Err(error)) => return session.end(broke_off(&error)),
    };
    let (mut client_reads, mut client_writes) = tokio::io::split(TokioIo::new(client));
    let (mut server_reads, mut server_writes) = tokio::io::split(TokioIo::new(server));
    let client = session.pass(Side::Client, &mut client_reads, &mut server_writes);
    let server = session.pass(Side::Server, &mut server_reads, &mut client_writes);
    session.converse(client, server, &mut underway).await;
    let closed = session.record().closed_by().is_some();
    drop(session);
    // A model must not go on for nobody: only who closed is waited for.
    let server = (server_reads, server_writes);
    let server = async {
        if closed {
            hang_up(server.0, server.1).await;
        }
    };
    let _ = tokio::time::timeout(HANG_UP_TIMEOUT, async {
        tokio::join!(hang_up(client_reads, client_writes), server);
    })
    .await;
}

/// Says that nothing more comes, and reads to the end: hanging up on bytes that were not read could take the
/// last ones sent away from the other side.
async fn hang_up(mut reads: Reader, mut writes: Writer) {
    let _ = writes.shutdown().await;
    let _ = tokio::io::copy(&mut reads, &mut tokio::io::sink()).await;
}

/// How a conversation ended that one side closed first.
fn closed((side, close): (Side, &Close)) -> Outcome {
    // Codes from 3000 on are the application's, and what they mean is not known here (RFC 6455 §7.4.2).
    let code = match close.code {
        None | Some(1000 | 1001 | 3000..) => return Outcome::passed(Some(101)),
        Some(code) => code,
    };
    let (status, who) = match side {
        Side::Client => (Status::Cancelled, "the client"),
        Side::Server => (Status::UpstreamError, "the model server"),
    };
    Outcome::failed(status, "closed_with_error", format!("{who} closed with {code}: {}", close.reason))
}

fn gone(error: Option<io::Error>) -> Outcome {
    match error {
        Some(error) => broke_off(&error),
        None => broke_off(&"the model server hung up without a close frame"),
    }
}

fn unrecorded(error: &LogError) -> Outcome {
    Outcome::failed(Status::Cancelled, "spool_full", error)
}

fn broke_off(error: &impl ToString) -> Outcome {
    Outcome::failed(Status::UpstreamError, "upstream_broke_off", error.to_string())
}

/// Why one direction passes nothing on any more.
enum Ended {
    /// Its sender closed, first of the two.
    Closed,
    /// Its sender closed, second of the two: the record is written.
    Over,
    /// Its sender is gone.
    Gone(Option<io::Error>),
    /// Its receiver is.
    Refused,
    /// It could not be recorded.
    Unrecorded(Outcome),
}

struct Session {
    record: Mutex<SocketRecord>,
    /// When either side last said something.
    spoke: Mutex<Instant>,
    limits: Limits,
}

impl Session {
    async fn converse(
        &self,
        client: impl Future<Output = Ended>,
        server: impl Future<Output = Ended>,
        underway: &mut Underway,
    ) {
        tokio::pin!(client, server);
        let (side, ended) = tokio::select! {
            ended = &mut client => (Side::Client, ended),
            ended = &mut server => (Side::Server, ended),
            outcome = self.watch() => return self.end(outcome),
            () = underway.cut() => return self.end(Outcome::stopped()),
        };
        match (side, ended) {
            (_, Ended::Unrecorded(outcome)) => return self.end(outcome),
            (_, Ended::Over) => return,
            (Side::Client, Ended::Gone(_)) | (Side::Server, Ended::Refused) => {
                return self.end(Outcome::hung_up());
            }
            (Side::Server, Ended::Gone(error)) => return self.end(gone(error)),
            // What the server still said is the client's, although the server takes nothing any more.
            (Side::Client, Ended::Refused) | (_, Ended::Closed) => {}
        }
        let rest = async {
            match side {
                Side::Client => server.await,
                Side::Server => client.await,
            }
        };
        let rest = tokio::select! {
            ended = tokio::time::timeout(CLOSE_TIMEOUT, rest) => ended.unwrap_or(Ended::Gone(None)),
            outcome = self.watch() => Ended::Unrecorded(outcome),
            () = underway.cut() => Ended::Gone(None),
        };
        match rest {
            Ended::Over => {}
            Ended::Unrecorded(outcome) => self.end(outcome),
            Ended::Closed | Ended::Gone(_) | Ended::Refused => {
                let outcome = self.record().closed_by().map(closed).unwrap_or_else(|| gone(None));
                self.end(outcome);
            }
        }
    }

    /// Passes on what `side` says until it ends.
    async fn pass(&self, side: Side, from: &mut Reader, to: &mut Writer) -> Ended {
        let mut buffer = vec![0; READ_BYTES];
        let mut closing = Closing::default();
        loop {
            let read = match from.read(&mut buffer).await {
                Ok(0) => return Ended::Gone(None),
                Ok(read) => read,
                Err(error) => return Ended::Gone(Some(error)),
            };
            *self.spoke.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            let (open, close) = closing.split(&buffer[..read]);
            if !open.is_empty() {
                if let Err(error) = self.record().heard(side, open) {
                    return Ended::Unrecorded(unrecorded(&error));
                }
                if self.say(side, open, to).await.is_err() {
                    return Ended::Refused;
                }
            }
            if let Some(frame) = close {
                return self.close(side, frame, to).await;
            }
        }
    }

    /// Passes a close frame on once the record is as far as it has to be.
    async fn close(&self, side: Side, last: LastFrame, to: &mut Writer) -> Ended {
        let second = self.record().closed_by().is_some();
        let wait = match self.record_close(side, second, &last) {
            Ok(wait) => wait,
            Err(error) => return Ended::Unrecorded(unrecorded(&error)),
        };
        if let Wait::For(durable) = wait
            && !matches!(tokio::time::timeout(self.limits.settle, durable).await, Ok(Ok(())))
        {
            let error = "the record was not durable in time";
            return Ended::Unrecorded(Outcome::failed(Status::Cancelled, "not_durable", error));
        }
        match (self.say(side, &last.wire, to).await, second) {
            // If nobody is there to take it, that is no other end than the one recorded.
            (_, true) => Ended::Over,
            (Ok(()), false) => Ended::Closed,
            (Err(_), false) => Ended::Refused,
        }
    }

    /// Records a close; says what its passing on has to wait for.
    fn record_close(&self, side: Side, second: bool, last: &LastFrame) -> Result<Wait, LogError> {
        let mut record = self.record();
        let seq = record.heard(side, &last.wire)?;
        record.closes(side, last.close());
        if second {
            if side == Side::Server {
                // Counted as any last byte is: handed on, once the record is there.
                record.delivered(last.wire.len() as u64);
            }
            let outcome = record.closed_by().map_or_else(Outcome::hung_up, closed);
            return record.finish(outcome);
        }
        if side == Side::Client {
            return Ok(Wait::Ready);
        }
        // In a long conversation it was only gathered, with what was said before it.
        let seq = seq.or(record.flush()?);
        Ok(record.wait(seq))
    }

    async fn say(&self, side: Side, bytes: &[u8], to: &mut Writer) -> io::Result<()> {
        to.write_all(bytes).await?;
        to.flush().await?;
        if side == Side::Server {
            self.record().delivered(bytes.len() as u64);
        }
        Ok(())
    }

    /// Writes what was gathered when it is due; ready once a limit is reached.
    async fn watch(&self) -> Outcome {
        loop {
            let spoke = *self.spoke.lock().unwrap_or_else(PoisonError::into_inner);
            let (late_at, late) = self.limits.next_piece(spoke);
            let due = self.record().flush_due().map_or(late_at, |flush| flush.min(late_at));
            let now = Instant::now();
            match late {
                _ if now < late_at => {}
                Late::Idle(limit) => {
                    let error = format!("neither side said anything for {limit:?}");
                    return Outcome::failed(Status::Timeout, "idle_timeout", error);
                }
                late => return late.outcome(),
            }
            if now >= due
                && let Err(error) = self.record().flush()
            {
                return unrecorded(&error);
            }
            // What is gathered meanwhile is due an interval after that, and no sooner.
            let nap = if self.record().gathers() { OUTPUT_FLUSH_INTERVAL } else { NAP };
            tokio::time::sleep_until(late_at.min(now + nap).into()).await;
        }
    }

    fn end(&self, outcome: Outcome) {
        if let Err(error) = self.record().finish(outcome) {
            tracing::error!(%error, "the end of a conversation could not be recorded");
        }
    }

    fn record(&self) -> MutexGuard<'_, SocketRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
