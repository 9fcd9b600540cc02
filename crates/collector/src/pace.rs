//! Slowing sources down where sealing does not keep up with them.
//!
//! Of each entry in the log the ids are in memory, and the log is on disk until its entries stand in segments. Sealing is work,
//! and sources may send faster than it is done: without a bound, memory would follow how long that goes on. So batches
//! then wait before they are read, one after the other and the longer the more there is, and what comes meanwhile waits
//! in the sources' spools. They are never stopped: where sealing fails, its own error says so, and records are worth more
//! than memory.

use crate::receive::BatchError;
use crate::seal::Sealing;
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long a batch waits at most once it is its turn.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// Sources that wait at once: the last of them for 16 s, half of what a source gives an exchange.
const WAITING_MAX: usize = 64;
/// The log says so this often at most.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Lets batches in.
pub(crate) struct Pace {
    /// From so many entries and bytes of log on, sources are slowed; with twice as many of both, as much as they ever are.
    late: (u64, u64),
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<BTreeSet<String>>,
    slowed: AtomicU64,
    warned: Mutex<Option<Instant>>,
}

impl Pace {
    /// For a collector that seals by itself, when `sealing` says.
    pub(crate) fn new(sealing: &Sealing) -> Self {
        Self {
            late: (sealing.late_entries, sealing.max_bytes.saturating_mul(2)),
            turn: tokio::sync::Mutex::default(),
            waiting: Mutex::default(),
            slowed: AtomicU64::new(0),
            warned: Mutex::default(),
        }
    }

    /// Waits until the source may send. A source of which a batch waits already may not, nor may more than some.
    pub(crate) async fn wait(&self, store: &Store, source: &str) -> Result<(), BatchError> {
        let logged = || store.view().logged();
        if self.wait_at(logged()).is_zero() {
            return Ok(());
        }
        self.warn(logged().0);
        let _waiting = Waiting::begin(&self.waiting, source)?;
        self.slowed.fetch_add(1, Ordering::Relaxed);
        let _turn = self.turn.lock().await;
        sleep(self.wait_at(logged())).await;
        Ok(())
    }

    /// Batches that waited.
    pub(crate) fn slowed(&self) -> u64 {
        self.slowed.load(Ordering::Relaxed)
    }

    fn wait_at(&self, (entries, bytes): (u64, u64)) -> Duration {
        let over = |found: u64, late: u64| {
            let late = late.max(1);
            (found.saturating_sub(late) as f64 / late as f64).min(1.0)
        };
        WAIT_MAX.mul_f64(over(entries, self.late.0).min(over(bytes, self.late.1)))
    }

    fn warn(&self, entries: u64) {
        let mut warned = lock(&self.warned);
        if warned.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            *warned = Some(Instant::now());
            tracing::warn!(
                entries,
                "sealing does not keep up: sources are slowed, and keep in their spools what waits"
            );
        }
    }
}

/// A source that waits.
struct Waiting<'a> {
    all: &'a Mutex<BTreeSet<String>>,
    source: &'a str,
}

impl<'a> Waiting<'a> {
    fn begin(all: &'a Mutex<BTreeSet<String>>, source: &'a str) -> Result<Self, BatchError> {
        let mut waiting = lock(all);
        if waiting.len() >= WAITING_MAX || !waiting.insert(source.to_owned()) {
            let what = "sealing does not keep up, and others wait".to_owned();
            return Err(BatchError::Busy(what));
        }
        Ok(Self { all, source })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(self.all).remove(self.source);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(&Sealing { late_entries: 1000, max_bytes: 5000, ..Sealing::default() })
    }

    #[test]
    fn sources_wait_the_longer_the_more_is_unsealed() {
        let pace = pace();
        assert_eq!(pace.wait_at((1000, u64::MAX)), Duration::ZERO);
        assert_eq!(pace.wait_at((1500, u64::MAX)), WAIT_MAX / 2);
        assert_eq!(pace.wait_at((1500, 12_500)), WAIT_MAX / 4);
        assert_eq!(pace.wait_at((u64::MAX, u64::MAX)), WAIT_MAX, "and never for longer");
        assert_eq!(pace.wait_at((u64::MAX, 10_000)), Duration::ZERO, "what is not due is not late");
    }

    #[test]
    fn one_batch_of_a_source_waits_and_not_too_many_do() {
        let all = Mutex::default();
        let first = Waiting::begin(&all, "a").unwrap();
        assert!(Waiting::begin(&all, "a").is_err());
        drop(first);
        let names: Vec<String> = (0..WAITING_MAX).map(|n| n.to_string()).collect();
        let waiting: Vec<_> = names.iter().map(|name| Waiting::begin(&all, name).unwrap()).collect();
        assert!(matches!(Waiting::begin(&all, "a"), Err(BatchError::Busy(_))));
        drop(waiting);
        assert!(Waiting::begin(&all, "a").is_ok());
    }
}
