//! Slowing sources down where sealing does not keep up with them.
//!
//! Of each entry that stands in no segment the ids are in memory, and the log is on disk. Sealing is work, and a source
//! may send faster than it is done: without a bound, memory would follow how long that goes on. So batches then wait
//! before they are taken, one after the other and the longer the more there is, and what comes meanwhile waits in
//! the sources' spools. They are never stopped: where sealing fails, its own error says so, and records are worth more
//! than memory.

use crate::seal::Sealing;
use crate::store::View;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

/// Entries that stand in no segment, from which on sources are slowed: three segments of the largest size.
const SLOW_FROM_ENTRIES: u64 = 3 << 18;
/// How long a batch waits at most, with twice as many.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// How long it waits at most for those before it: sources give an exchange up after half a minute.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Lets batches in.
pub(crate) struct Pace {
    /// Bytes of log from which on sealing is late.
    late_from_bytes: u64,
    turn: Mutex<()>,
    slowed: AtomicU64,
}

impl Pace {
    /// For a collector that seals by itself, when `sealing` says.
    pub(crate) fn new(sealing: &Sealing) -> Self {
        let late_from_bytes = sealing.max_bytes.saturating_mul(2);
        Self { late_from_bytes, turn: Mutex::default(), slowed: AtomicU64::new(0) }
    }

    /// Waits for the turn of a batch.
    pub(crate) async fn wait(&self, view: &View) {
        let (entries, bytes) = view.logged();
        self.take_turn(self.wait_at(entries, bytes)).await;
    }

    async fn take_turn(&self, wait: Duration) {
        if !wait.is_zero() {
            self.slowed.fetch_add(1, Ordering::Relaxed);
            if let Ok(_turn) = timeout(TURN_WAIT_MAX, self.turn.lock()).await {
                sleep(wait).await;
            }
        }
    }

    /// Batches that had to wait.
    pub(crate) fn slowed(&self) -> u64 {
        self.slowed.load(Ordering::Relaxed)
    }

    fn wait_at(&self, entries: u64, bytes: u64) -> Duration {
        if bytes < self.late_from_bytes {
            return Duration::ZERO;
        }
        let over = entries.saturating_sub(SLOW_FROM_ENTRIES).min(SLOW_FROM_ENTRIES);
        WAIT_MAX.mul_f64(over as f64 / SLOW_FROM_ENTRIES as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn sources_wait_the_longer_the_more_is_unsealed() {
        let sealing = Sealing::default();
        let pace = Pace::new(&sealing);
        let late = 2 * sealing.max_bytes;
        assert_eq!(pace.wait_at(SLOW_FROM_ENTRIES, late), Duration::ZERO);
        assert_eq!(pace.wait_at(SLOW_FROM_ENTRIES * 3 / 2, late), WAIT_MAX / 2);
        assert_eq!(pace.wait_at(SLOW_FROM_ENTRIES * 2, late), WAIT_MAX);
        assert_eq!(pace.wait_at(u64::MAX, late), WAIT_MAX, "and never for longer");
        assert_eq!(pace.wait_at(u64::MAX, late - 1), Duration::ZERO, "what is not due is not late");
    }

    #[tokio::test]
    async fn batches_wait_one_after_the_other() {
        let pace = Pace::new(&Sealing { max_bytes: 0, ..Sealing::default() });
        pace.wait(&View::default()).await;
        assert_eq!(pace.slowed(), 0, "nothing is unsealed: nobody waits");
        let wait = Duration::from_millis(30);
        let started = Instant::now();
        tokio::join!(pace.take_turn(wait), pace.take_turn(wait), pace.take_turn(wait));
        assert!(started.elapsed() >= wait * 3);
        assert_eq!(pace.slowed(), 3);
    }
}
