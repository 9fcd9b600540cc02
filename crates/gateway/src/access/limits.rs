//! How many requests a key or a route may make: per minute, and at once.
//!
//! Per minute is a bucket that holds as many requests as a minute allows and refills evenly, kept as one
//! number: the moment at which it will be full again (the generic cell rate algorithm, ITU-T I.371 annex A).
//! What is kept is two numbers for each key and route of the configuration, however much traffic there is.
//! They are this process's: several gateways each allow as much.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MINUTE_NS: u64 = 60_000_000_000;

/// What a key or a route may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In the long run; all of a minute's may come at once.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Accepted and not ended.
    pub concurrent_requests: Option<NonZeroU32>,
}

/// What a key or a route has used. It outlives a configuration, so that a reload gives nothing away.
#[derive(Debug)]
pub struct Meter {
    born: Instant,
    /// When the bucket is full again, in nanoseconds since `born`.
    full_at: AtomicU64,
    running: AtomicU32,
}

impl Default for Meter {
    fn default() -> Self {
        Self { born: Instant::now(), full_at: AtomicU64::new(0), running: AtomicU32::new(0) }
    }
}

/// Why a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    /// The minute's requests are used up: one more is there after so long.
    PerMinute(Duration),
    /// As many as may run at once do.
    AtOnce,
}

/// Held while a request runs.
#[derive(Debug, Default)]
pub(crate) struct Permit {
    slots: [Option<Slot>; 2],
}

#[derive(Debug)]
struct Slot(Arc<Meter>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// Takes what both limits ask for, or nothing. The index of the error says whose limit it was.
    pub(crate) fn take(
        both: [Option<(Limits, &Arc<Meter>)>; 2],
        now: Instant,
    ) -> Result<Self, (usize, Limited)> {
        let mut permit = Self::default();
        for (index, (limits, meter)) in each(&both) {
            // Dropping what was entered before leaves it again.
            permit.slots[index] = meter.enter(limits).ok_or((index, Limited::AtOnce))?;
        }
        for (index, (limits, meter)) in each(&both) {
            if let Err(wait) = meter.spend(limits, now) {
                for (_, (limits, meter)) in each(&both).take_while(|(earlier, _)| *earlier < index) {
                    meter.give_back(limits);
                }
                return Err((index, Limited::PerMinute(wait)));
            }
        }
        Ok(permit)
    }
}

type Metered<'a> = (Limits, &'a Arc<Meter>);

fn each<'a>(both: &[Option<Metered<'a>>; 2]) -> impl Iterator<Item = (usize, Metered<'a>)> {
    both.iter().copied().enumerate().filter_map(|(index, metered)| Some((index, metered?)))
}

impl Meter {
    /// `None`: too many run already. `Some(None)`: there is no limit, and nothing to hold.
    fn enter(self: &Arc<Self>, limits: Limits) -> Option<Option<Slot>> {
        let Some(most) = limits.concurrent_requests else { return Some(None) };
        let more = |running: u32| (running < most.get()).then_some(running + 1);
        self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Some(Slot(self.clone())))
    }

    /// Takes one request out of the bucket, or says how long until there is one.
    fn spend(&self, limits: Limits, now: Instant) -> Result<(), Duration> {
        let Some(one) = interval(limits) else { return Ok(()) };
        let now = u64::try_from(now.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX);
        let mut wait = 0;
        let spent = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let full_at = full_at.max(now);
            // The bucket is empty when it takes a minute to fill it.
            wait = (full_at + one).saturating_sub(now + MINUTE_NS);
            (wait == 0).then_some(full_at + one)
        });
        spent.map(drop).map_err(|_| Duration::from_nanos(wait))
    }

    fn give_back(&self, limits: Limits) {
        if let Some(one) = interval(limits) {
            let back = |full_at: u64| Some(full_at.saturating_sub(one));
            // Always succeeds: `back` never says no.
            let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back);
        }
    }
}

/// How long one request takes to refill.
fn interval(limits: Limits) -> Option<u64> {
    limits.requests_per_minute.map(|most| MINUTE_NS / u64::from(most.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_minute: u32, at_once: u32) -> Limits {
        Limits {
            requests_per_minute: NonZeroU32::new(per_minute),
            concurrent_requests: NonZeroU32::new(at_once),
        }
    }

    fn take(limits: Limits, meter: &Arc<Meter>, now: Instant) -> Result<Permit, (usize, Limited)> {
        Permit::take([Some((limits, meter)), None], now)
    }

    #[test]
    fn a_minute_allows_what_it_says_and_the_wait_is_told() {
        let (meter, start) = (Arc::new(Meter::default()), Instant::now());
        for _ in 0..60 {
            take(limits(60, 0), &meter, start).unwrap();
        }
        let Err((0, Limited::PerMinute(wait))) = take(limits(60, 0), &meter, start) else {
            panic!("the 61st passed")
        };
        assert!(wait > Duration::from_millis(900) && wait <= Duration::from_secs(1), "{wait:?}");
        take(limits(60, 0), &meter, start + wait).unwrap();
        assert!(take(limits(60, 0), &meter, start + wait).is_err());
        // A quiet hour does not save up more than a minute's.
        let later = start + Duration::from_secs(3600);
        let passed = (0..200).filter(|_| take(limits(60, 0), &meter, later).is_ok()).count();
        assert_eq!(passed, 60);
    }

    #[test]
    fn what_runs_at_once_is_bounded_and_comes_back() {
        let (meter, now) = (Arc::new(Meter::default()), Instant::now());
        let first = take(limits(0, 2), &meter, now).unwrap();
        let _second = take(limits(0, 2), &meter, now).unwrap();
        assert_eq!(take(limits(0, 2), &meter, now).unwrap_err(), (0, Limited::AtOnce));
        drop(first);
        take(limits(0, 2), &meter, now).unwrap();
    }

    #[test]
    fn what_one_limit_refuses_costs_the_other_nothing() {
        let (key, route, now) = (Arc::new(Meter::default()), Arc::new(Meter::default()), Instant::now());
        let both = |key_limits, route_limits| {
            Permit::take([Some((key_limits, &key)), Some((route_limits, &route))], now)
        };
        drop(both(limits(2, 1), limits(1, 1)).unwrap());
        for _ in 0..5 {
            assert!(matches!(both(limits(2, 1), limits(1, 1)), Err((1, Limited::PerMinute(_)))));
        }
        drop(both(limits(2, 1), limits(0, 0)).expect("the second of the key's is still there"));
        assert!(matches!(both(limits(2, 1), limits(0, 0)), Err((0, Limited::PerMinute(_)))));
        assert_eq!(key.running.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn threads_share_one_bucket() {
        let (meter, now) = (Arc::new(Meter::default()), Instant::now());
        let passed: usize = std::thread::scope(|scope| {
            let work = || (0..1000).filter(|_| take(limits(100, 0), &meter, now).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }
}
