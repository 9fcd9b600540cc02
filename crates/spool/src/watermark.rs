//! A number that only grows, and waiting for it.
//!
//! `spooled` and `logged` are such numbers: the last sequence number that is on the source's disk, and
//! the last that the collector acknowledged. Thousands of requests may wait, each for its own frame, so
//! each is woken once, when its number is reached, and not at every step.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;

/// A growing number with waiters.
#[derive(Debug, Default)]
pub struct Watermark {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reached: u64,
    closed: Option<String>,
    waiting: BTreeMap<(u64, Reverse<u64>), oneshot::Sender<()>>,
    tickets: u64,
}

impl Watermark {
    /// Starts at `reached`.
    pub fn new(reached: u64) -> Self {
        Self { state: Mutex::new(State { reached, ..State::default() }) }
    }

    /// The number reached so far.
    pub fn reached(&self) -> u64 {
        self.lock().reached
    }

    /// Raises the number and wakes whoever waited for it. A lower number changes nothing.
    pub fn advance(&self, to: u64) {
        let mut state = self.lock();
        if to <= state.reached {
            return;
        }
        state.reached = to;
        let later = state.waiting.split_off(&(to.saturating_add(1), Reverse(u64::MAX)));
        for (_, waiter) in std::mem::replace(&mut state.waiting, later) {
            // A waiter that went away needs no answer.
            let _ = waiter.send(());
        }
    }

    /// Gives up: the number will not grow any more. Everyone waiting, now or later, is told.
    pub fn close(&self, why: &str) {
        let mut state = self.lock();
        state.closed = Some(why.to_owned());
        state.waiting.clear();
    }

    /// A future that is ready with `Ok` once `seq` is reached, or with `Err` when it never will be.
    pub fn wait(&self, seq: u64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        if seq <= state.reached {
            let _ = sender.send(());
        } else if state.closed.is_none() {
            state.tickets += 1;
            let ticket = state.tickets;
            state.waiting.insert((seq, Reverse(ticket)), sender);
        }
        receiver
    }

    /// Why the watermark was closed, if it was.
    pub fn closed(&self) -> Option<String> {
        self.lock().closed.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_wake_at_their_own_number_and_all_learn_of_the_end() {
        let mark = Watermark::new(3);
        assert!(mark.wait(3).try_recv().is_ok());
        let (mut five, mut six) = (mark.wait(5), mark.wait(6));
        mark.advance(5);
        assert!(five.try_recv().is_ok());
        assert!(matches!(six.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        mark.close("disk gone");
        assert!(matches!(six.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(matches!(mark.wait(9).try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(mark.wait(4).try_recv().is_ok());
    }
}
