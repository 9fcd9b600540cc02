//! A log that many tasks append to, with group commit and no timer.
//!
//! Appending encrypts, numbers and writes under one short lock: when [`SharedLog::append`] returns, the
//! frame survives the process. Whoever waits for the sync anyway leaves the writing to it
//! ([`SharedLog::append_for_sync`]), and many frames become one write. One thread does nothing but
//! `fdatasync`: while a sync runs, new frames gather behind it, and the next sync covers them all. Nobody
//! waits for a clock, and under load one sync serves hundreds of frames.

use crate::error::LogError;
use crate::frame::Kind;
use crate::seal::{CLEAR_BYTES, SpoolPublicKey};
use crate::watermark::Watermark;
use crate::writer::{Claim, LogWriter, Position};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use uuid::Uuid;

/// A full disk is tried again this often.
const FULL_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// A log shared by tasks and its syncing thread.
pub struct SharedLog {
    shared: Arc<Shared>,
    syncer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    dirty: Condvar,
    synced: Watermark,
    log_id: Uuid,
}

struct State {
    writer: Option<LogWriter>,
    /// Last sequence number appended.
    appended: u64,
    /// Where the synced frames of the current file end.
    synced_to: SyncedTo,
    stopping: bool,
    /// The syncing thread waits to be told that there is something to sync.
    idle: bool,
    poison: Option<String>,
}

/// How far a reader may go: file, and offset in it, up to which everything is synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncedTo {
    /// Number of the newest file. All of every older one is synced.
    pub file_no: u64,
    /// Offset in the newest file.
    pub offset: u64,
    /// Last sequence number covered.
    pub seq: u64,
}

/// How far a frame gets at once.
enum Reach {
    Memory,
    System,
}

impl SharedLog {
    /// Takes over a recovered writer, begins a file and starts the syncing thread.
    pub fn start(mut writer: LogWriter) -> Result<Self, LogError> {
        writer.begin_file()?;
        let seq = writer.sync()?;
        let shared = Arc::new(Shared {
            synced: Watermark::new(seq),
            log_id: writer.log_id(),
            state: Mutex::new(State {
                appended: seq,
                synced_to: position_of(&writer, seq),
                writer: Some(writer),
                stopping: false,
                idle: false,
                poison: None,
            }),
            dirty: Condvar::new(),
        });
        let for_thread = shared.clone();
        let syncer = std::thread::Builder::new()
            .name("spool-sync".to_owned())
            .spawn(move || for_thread.sync_until_stopped())
            .map_err(LogError::io("cannot start the syncing thread"))?;
        Ok(Self { shared, syncer: Mutex::new(Some(syncer)) })
    }

    /// Identity of the log.
    pub fn log_id(&self) -> Uuid {
        self.shared.log_id
    }

    /// Appends an encrypted frame. It survives this process when this returns, and the machine once
    /// [`SharedLog::synced`] reaches its sequence number.
    pub fn append(
        &self,
        kind: Kind,
        clear: &[u8; CLEAR_BYTES],
        plain: &[&[u8]],
        claim: Claim,
    ) -> Result<Position, LogError> {
        self.write(kind, Reach::System, |writer| writer.append_sealed(kind, clear, plain, claim))
    }

    /// Appends an encrypted frame that nobody relies on before it is synced: it reaches the file together with
    /// others, when the next sync begins at the latest, and survives nothing until then.
    pub fn append_for_sync(
        &self,
        kind: Kind,
        clear: &[u8; CLEAR_BYTES],
        plain: &[&[u8]],
        claim: Claim,
    ) -> Result<Position, LogError> {
        self.write(kind, Reach::Memory, |writer| writer.append_sealed(kind, clear, plain, claim))
    }

    /// Appends a plain control frame; nobody waits for it.
    pub fn note(&self, kind: Kind, body: &[u8]) -> Result<Position, LogError> {
        self.write(kind, Reach::System, |writer| writer.append(kind, &[body], Claim::Settle))
    }

    fn write(
        &self,
        kind: Kind,
        reach: Reach,
        append: impl FnOnce(&mut LogWriter) -> Result<Position, LogError>,
    ) -> Result<Position, LogError> {
        let mut state = self.shared.lock();
        if let Some(why) = &state.poison {
            return Err(LogError::Poisoned(why.clone()));
        }
        let writer = state.writer.as_mut().ok_or_else(closed)?;
        let appended = append(writer).and_then(|position| match reach {
            Reach::System => writer.flush().map(|()| position).inspect_err(|_| writer.undo(kind, position)),
            Reach::Memory => Ok(position),
        });
        let position = match appended {
            Ok(position) => position,
            Err(error) => {
                if let LogError::Poisoned(why) = &error {
                    self.shared.poison(&mut state, why);
                }
                return Err(error);
            }
        };
        state.appended = state.appended.max(position.seq);
        // Waking is a system call: a thread that is syncing looks again by itself.
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.shared.dirty.notify_one();
        }
        Ok(position)
    }

    /// The last sequence number that is on disk. Closed when the log is poisoned or stopped.
    pub fn synced(&self) -> &Watermark {
        &self.shared.synced
    }

    /// The last sequence number that was appended; it may not be on disk yet.
    pub fn appended(&self) -> u64 {
        self.shared.lock().appended
    }

    /// How far a reader may go.
    pub fn synced_to(&self) -> SyncedTo {
        self.shared.lock().synced_to
    }

    /// Bytes that the log takes on disk.
    pub fn used_bytes(&self) -> u64 {
        self.shared.lock().writer.as_ref().map_or(0, LogWriter::used_bytes)
    }

    /// Uses another collector key from the next file on.
    pub fn set_seal_key(&self, key: SpoolPublicKey) {
        if let Some(writer) = &mut self.shared.lock().writer {
            writer.set_seal_key(key);
        }
    }

    /// Removes whole files before `file_no`.
    pub fn remove_before(&self, file_no: u64) -> Result<usize, LogError> {
        self.shared.lock().writer.as_mut().map_or(Ok(0), |writer| writer.remove_before(file_no))
    }

    /// Closes the log in good order: everything appended is synced, and the file ends with `close`.
    pub fn stop(&self) -> Result<(), LogError> {
        let mut state = self.shared.lock();
        state.stopping = true;
        drop(state);
        self.shared.dirty.notify_one();
        if let Some(thread) = self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        let mut state = self.shared.lock();
        let outcome = match (state.poison.clone(), state.writer.take()) {
            (Some(why), _) => Err(LogError::Poisoned(why)),
            (None, Some(writer)) => {
                let appended = state.appended;
                writer.close().map(|()| self.shared.synced.advance(appended))
            }
            (None, None) => Ok(()),
        };
        self.shared.synced.close("the log was stopped");
        outcome
    }
}

impl Shared {
    fn sync_until_stopped(&self) {
        let mut state = self.lock();
        loop {
            if state.appended <= state.synced_to.seq && !state.stopping {
                // The last mark goes to the file while there is time: nothing may come for hours.
                // One that cannot be written stays pending: whoever appends next meets the error.
                let _ = state.writer.as_mut().map(LogWriter::flush);
            }
            while state.appended <= state.synced_to.seq && !state.stopping {
                state.idle = true;
                state = self.dirty.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.idle = false;
            // On a busy machine, whoever is ready to append does so first, and is covered by this sync.
            drop(state);
            std::thread::yield_now();
            state = self.lock();
            if state.stopping || state.poison.is_some() {
                return;
            }
            let target = state.appended;
            let Some(writer) = &mut state.writer else { return };
            match writer.flush() {
                Ok(()) => {}
                // Where space cannot be reserved ahead the disk may be full now. What was accepted in memory stays
                // pending, and whoever waits for it waits until there is room, or for as long as they will.
                Err(LogError::Full(_)) => {
                    let waited = self.dirty.wait_timeout(state, FULL_RETRY_INTERVAL);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                Err(error) => {
                    let why = error.to_string();
                    self.poison(&mut state, &why);
                    return;
                }
            }
            let Some((file, reach)) =
                writer.current().map(|(_, file, _)| (file.clone(), position_of(writer, target)))
            else {
                self.poison(&mut state, "the log has no file");
                return;
            };
            drop(state);
            let outcome = file.sync();
            state = self.lock();
            if let Err(error) = outcome {
                self.poison(&mut state, &error.to_string());
                return;
            }
            // A rotation in between has synced the older file as a whole: `reach` still holds.
            if (reach.file_no, reach.offset) > (state.synced_to.file_no, state.synced_to.offset) {
                state.synced_to = reach;
            }
            state.synced_to.seq = state.synced_to.seq.max(target);
            match state.writer.as_mut().map(|writer| writer.note_synced(target)) {
                // A mark says more than there was to say; without room for it nothing is lost.
                None | Some(Ok(()) | Err(LogError::Full(_))) => {}
                Some(Err(error)) => {
                    let why = error.to_string();
                    self.poison(&mut state, &why);
                    return;
                }
            }
            self.synced.advance(target);
        }
    }

    fn poison(&self, state: &mut State, why: &str) {
        state.poison = Some(why.to_owned());
        self.synced.close(why);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn position_of(writer: &LogWriter, seq: u64) -> SyncedTo {
    writer.current().map_or(SyncedTo::default(), |(file_no, _, offset)| SyncedTo { file_no, offset, seq })
}

fn closed() -> LogError {
    LogError::Full("the log is closed".to_owned())
}

impl Drop for SharedLog {
    fn drop(&mut self) {
        // Best effort: whoever cares for the outcome calls stop() first.
        let _ = self.stop();
    }
}
