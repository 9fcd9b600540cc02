//! How old the oldest record is that the collector does not have.
//!
//! Frames do not say when they were written, so samples are kept: up to which number had been written when.
//! A second apart while shipping keeps up; when a collector is away for long they thin out, and the
//! answer is as coarse as they are, never too young by more than one of them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// Most samples kept.
const SAMPLES_MAX: usize = 1024;
/// Samples are at least so far apart, in microseconds, and farther while there are many.
const INTERVAL_MIN_US: i64 = 1_000_000;

/// Samples of a spool.
#[derive(Default)]
pub(crate) struct Backlog {
    samples: Mutex<Samples>,
}

struct Samples {
    all: VecDeque<Sample>,
    interval_us: i64,
}

impl Default for Samples {
    fn default() -> Self {
        Self { all: VecDeque::new(), interval_us: INTERVAL_MIN_US }
    }
}

#[derive(Clone, Copy)]
struct Sample {
    /// The last frame that had been written.
    last: u64,
    /// When the first since the sample before had been, microseconds since 1970.
    time: i64,
}

impl Backlog {
    /// Takes note of a frame found in the spool at start: its event id, which stands in clear, says when it
    /// was made.
    pub(crate) fn found(&self, seq: u64, body: &[u8]) {
        let id = body.first_chunk::<16>().map(|bytes| Uuid::from_bytes(*bytes));
        let made = id.and_then(|id| id.get_timestamp()).map(|made| made.to_unix());
        if let Some((seconds, nanos)) = made {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            self.note(seq, 0, seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanos) / 1000));
        }
    }

    /// Takes note that frames up to `seq` had been written at `time`, and that the collector has those up to
    /// `logged`.
    pub(crate) fn note(&self, seq: u64, logged: u64, time: i64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.forget(logged);
        let interval_us = samples.interval_us;
        match samples.all.back_mut() {
            Some(back) if seq <= back.last => return,
            None if seq <= logged => return,
            Some(back) if time - back.time < interval_us => back.last = seq,
            _ => samples.all.push_back(Sample { last: seq, time }),
        }
        if samples.all.len() > SAMPLES_MAX {
            // Two become one that is as old as the older.
            let two = samples.all.make_contiguous().chunks(2);
            samples.all = two.map(|two| Sample { last: two[two.len() - 1].last, ..two[0] }).collect();
            samples.interval_us *= 2;
        }
    }

    /// How old the oldest frame behind `logged` is at `now`, in microseconds; 0 when there is none.
    pub(crate) fn oldest_us(&self, logged: u64, now: i64) -> i64 {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.forget(logged);
        samples.all.front().map_or(0, |front| (now - front.time).max(0))
    }
}

impl Samples {
    /// Forgets what the collector has.
    fn forget(&mut self, logged: u64) {
        while self.all.front().is_some_and(|front| front.last <= logged) {
            self.all.pop_front();
        }
        if self.all.is_empty() {
            self.interval_us = INTERVAL_MIN_US;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_oldest_frame_that_is_not_logged_counts() {
        let backlog = Backlog::default();
        assert_eq!(backlog.oldest_us(0, 5 * SECOND), 0);
        for second in 0..10 {
            backlog.note(second as u64 * 10 + 10, 0, second * SECOND);
        }
        assert_eq!(backlog.oldest_us(0, 20 * SECOND), 20 * SECOND);
        assert_eq!(backlog.oldest_us(55, 20 * SECOND), 15 * SECOND);
        assert_eq!(backlog.oldest_us(100, 20 * SECOND), 0);
    }

    #[test]
    fn a_long_backlog_stays_bounded_and_as_old() {
        let backlog = Backlog::default();
        for second in 0..100_000 {
            backlog.note(second as u64 + 1, 0, second * SECOND);
        }
        assert!(backlog.samples.lock().unwrap().all.len() <= SAMPLES_MAX);
        assert_eq!(backlog.oldest_us(0, 100_000 * SECOND), 100_000 * SECOND);
        let half = backlog.oldest_us(50_000, 100_000 * SECOND);
        assert!((50_000 * SECOND..51_000 * SECOND).contains(&half), "{half}");
    }

    #[test]
    fn frames_found_at_start_are_as_old_as_their_event_ids() {
        let backlog = Backlog::default();
        let mut body = Uuid::from_u128(0x019a_b2c3_1111_7abc_8def_0123_4567_89ab).as_bytes().to_vec();
        body.extend_from_slice(b"ciphertext");
        backlog.found(7, &body);
        let made = i64::from_str_radix("019ab2c31111", 16).unwrap() * 1000;
        assert_eq!(backlog.oldest_us(6, made + SECOND), SECOND);
        backlog.found(8, b"short");
        assert_eq!(backlog.oldest_us(7, made + SECOND), 0);
    }
}
