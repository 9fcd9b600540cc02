//! Sealing: closed files of the log become segments, and then may go.
//!
//! One thread beside the sequencer. The order is the contract:
//!
//! ```text
//! 1. read the closed files                          a crash loses nothing: nothing was changed
//! 2. write each segment under another name, sync it, read it back, hold it against its hashes
//! 3. give it its name                               a crash: the next run finds it, and makes those that are missing
//! 4. readers see the segment
//! 5. the sequencer makes an entry of each manifest's hash, and signs
//! 6. it copies frames of open requests forward, syncs, and removes the files
//! ```
//!
//! Until 6 every byte is where it was. After it, everything that the files held stands in segments that were synced,
//! read back and hashed, and whose manifests' hashes are under a signed head. Where there was no room for 5 or 6, the
//! next try begins with them, whether or not there is more to seal by then.

mod build;
mod plan;

use crate::CollectorError;
use crate::data_dir::DataDir;
use crate::sequencer::Command;
use crate::store::Store;
use crate::store::filters::Filters;
use indelible_os::{clock, durable};
use indelible_spool::LogError;
use indelible_vault::{KeyStore, Vault};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often it is looked whether something is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// After a failure it is tried again this much later: a full disk does not get better in a second.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// How often it is looked whether a day is over whose filters are those of while it lasted.
const FILTERS_INTERVAL: Duration = Duration::from_secs(60);
/// `YYYY-MM-DD`.
const DATE_CHARS: usize = 10;

/// When segments are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// Entries are sealed when the oldest is this old and there is enough of them…
    pub after: Duration,
    /// …by bytes of log. Fewer wait for the end of their UTC day.
    pub min_bytes: u64,
    /// Bytes of log that are sealed however young they are.
    pub max_bytes: u64,
    /// Most entries of a segment: what is known of each while it is made is in memory.
    pub max_rows: usize,
    /// With more entries than these in the log, and twice `max_bytes`, sources are slowed: ids of entries in the log are
    /// in memory.
    pub late_entries: u64,
}

impl Default for Sealing {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(3600),
            min_bytes: 16 << 20,
            max_bytes: 1 << 30,
            max_rows: 1 << 18,
            late_entries: 3 << 18,
        }
    }
}

/// Called at each step of sealing with its name: a test takes an image of the disk there, or lets it fail.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<FaultHook>>);

type FaultHook = dyn Fn(&'static str) -> std::io::Result<()> + Send + Sync;

impl Faults {
    /// Calls `hook` at each step. What it answers is what the disk would have answered.
    pub fn at(hook: impl Fn(&'static str) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn point(&self, step: &'static str) -> Result<(), CollectorError> {
        let outcome = self.0.as_ref().map_or(Ok(()), |hook| hook(step));
        Ok(outcome.map_err(LogError::io(step))?)
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.0.is_some()).finish()
    }
}

/// Asked to seal everything that is there now; told how many segments that made.
pub(crate) type Request = oneshot::Sender<Result<usize, CollectorError>>;

/// Makes segments.
pub(crate) struct Sealer {
    pub(crate) data: PathBuf,
    pub(crate) log_id: String,
    pub(crate) store: Arc<Store>,
    pub(crate) filters: Arc<Filters>,
    pub(crate) vault: Arc<Mutex<Vault>>,
    pub(crate) sealing: Sealing,
    pub(crate) by_itself: bool,
    pub(crate) faults: Faults,
    pub(crate) sequencer: SyncSender<Command>,
    /// Whether steps 5 and 6 are still to be done of what was made.
    pub(crate) unfinished: Arc<AtomicBool>,
    pub(crate) stopping: Arc<AtomicBool>,
}

impl Sealer {
    /// Seals what is due until the collector stops.
    pub(crate) fn run(self, requests: &Receiver<Request>) {
        let mut retry_at = Instant::now();
        let mut filters_at = Instant::now();
        while self.go_on().is_ok() {
            match requests.recv_timeout(LOOK_INTERVAL) {
                // Whoever asked and went away asked all the same.
                Ok(reply) => {
                    drop(reply.send(self.seal(true)));
                    filters_at = Instant::now();
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if !self.by_itself || Instant::now() < retry_at => {}
                Err(RecvTimeoutError::Timeout) => match self.seal(false) {
                    Ok(sealed) if sealed > 0 || Instant::now() >= filters_at => {
                        filters_at = Instant::now() + self.keep_filters()
                    }
                    Ok(_) => {}
                    // The sequencer has ended: so does everything.
                    Err(CollectorError::Stopped(_)) => return,
                    Err(error) => {
                        tracing::error!(%error, "cannot seal: the log stays as it is, and grows");
                        retry_at = Instant::now() + RETRY_INTERVAL;
                    }
                },
            }
        }
    }

    /// Makes the filters of one day, if that is due. Answers when to look again.
    fn keep_filters(&self) -> Duration {
        let today = clock::now().to_string();
        let today = today.get(..DATE_CHARS).unwrap_or_default();
        match self.filters.make_next(&self.store.view(), today, &|| self.go_on().is_ok()) {
            Ok(true) => Duration::ZERO,
            Ok(false) => FILTERS_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "the filters of a day cannot be made: look-ups go from segment to segment");
                RETRY_INTERVAL
            }
        }
    }

    fn seal(&self, all: bool) -> Result<usize, CollectorError> {
        // First what is left of the last time: it may be what makes room.
        if self.unfinished.load(Ordering::Relaxed) {
            self.replace_log(self.store.view().sealed_before())?;
        }
        let view = self.store.view();
        let Some(due) = plan::due(&view, &self.sealing, clock::now(), all)? else { return Ok(0) };
        let before = match due.rotate {
            true => self.ask(|reply| Command::Rotate { reply })?,
            false => due.before,
        };
        self.faults.point("before reading")?;
        let count = self.make(before)?;
        self.replace_log(before)?;
        Ok(count)
    }

    /// Has the manifests entered and the files before `before` removed.
    fn replace_log(&self, before: u64) -> Result<(), CollectorError> {
        self.faults.point("before the manifests are entered")?;
        // Those that a crash or a full disk left without their entry are entered now, too.
        let segments = self.store.view().all_segments().cloned().collect();
        self.ask(|reply| Command::Sealed { segments, before, reply })
    }

    /// Makes the segments of all entries in files before `before` that stand in none.
    fn make(&self, before: u64) -> Result<usize, CollectorError> {
        let origins: BTreeMap<String, String> = {
            let vault = crate::sequencer::lock(&self.vault);
            let keys = KeyStore::verifier_keys(vault.keys().dir())?;
            keys.into_iter().map(|(tenant, key)| (tenant, key.name().to_owned())).collect()
        };
        let mut count = 0;
        loop {
            let planned = plan::segments(&self.store.view(), before, self.sealing.max_rows)?;
            if planned.is_empty() {
                return Ok(count);
            }
            for planned in &planned {
                self.make_one(planned, origins.get(&planned.tenant).map_or("", String::as_str))?;
                count += 1;
            }
        }
    }

    fn make_one(&self, planned: &plan::Planned, origin: &str) -> Result<(), CollectorError> {
        let view = self.store.view();
        let last = view.segments(&planned.tenant).last();
        let outcome = build::segment(self, &view, planned, origin, last.map(|last| last.manifest()));
        if outcome.is_err() {
            // What was begun takes room that may be what was missing. A crash leaves it to the next start.
            let _ = durable::remove_dir(&self.staging());
        }
        self.store.add_segment(self.store.open_segment(&outcome?)?);
        self.unfinished.store(true, Ordering::Relaxed);
        self.faults.point("after a segment")
    }

    /// Long work ends when the collector does.
    pub(crate) fn go_on(&self) -> Result<(), CollectorError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(CollectorError::Stopped("it is stopping".to_owned()));
        }
        Ok(())
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Command,
    ) -> Result<T, CollectorError> {
        let stopped = || CollectorError::Stopped("it is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        self.sequencer.send(command(reply)).map_err(|_| stopped())?;
        answer.blocking_recv().map_err(|_| stopped())?.map_err(|why| CollectorError::Log(LogError::Full(why)))
    }

    fn staging(&self) -> PathBuf {
        crate::store::local::staging(&segments_dir(&self.data))
    }
}

/// Where segments lie in a data directory.
pub fn segments_dir(data: &Path) -> PathBuf {
    data.join("segments")
}

impl DataDir {
    /// Where segments lie.
    pub fn segments(&self) -> PathBuf {
        segments_dir(self.path())
    }
}
