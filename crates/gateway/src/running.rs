//! What is under way: requests, sessions, drained answers. Waited for at shutdown, and told when time is up.
//!
//! Whoever writes a terminal record holds an [`Underway`] until it is written. So when none is left, the
//! spool can be closed, and no request of this process is left for the collector to close as `interrupted`.

use tokio::sync::watch;

/// Everything that is under way.
pub(crate) struct Running {
    /// `true` once time is up. Its receivers are what is under way.
    cut: watch::Sender<bool>,
}

/// One thing that is under way, until it is dropped.
pub(crate) struct Underway(watch::Receiver<bool>);

impl Running {
    pub(crate) fn new() -> Self {
        Self { cut: watch::Sender::new(false) }
    }

    /// Something begins.
    pub(crate) fn enter(&self) -> Underway {
        Underway(self.cut.subscribe())
    }

    /// How much is under way.
    pub(crate) fn count(&self) -> usize {
        self.cut.receiver_count()
    }

    /// Time is up: what is under way has to end now.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Waits until nothing is under way.
    pub(crate) async fn idle(&self) {
        self.cut.closed().await;
    }
}

impl Underway {
    /// Whether time is up.
    pub(crate) fn is_cut(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until time is up.
    pub(crate) async fn cut(&mut self) {
        // An error would mean that nobody is left to say so.
        if self.0.wait_for(|cut| *cut).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn idle_waits_for_all_and_each_is_told_when_time_is_up() {
        let running = Running::new();
        running.idle().await;
        let (mut first, second) = (running.enter(), running.enter());
        assert_eq!(running.count(), 2);
        assert!(tokio::time::timeout(Duration::from_millis(10), running.idle()).await.is_err());
        assert!(!first.is_cut());
        assert!(tokio::time::timeout(Duration::from_millis(10), first.cut()).await.is_err());
        running.cut();
        first.cut().await;
        assert!(first.is_cut() && second.is_cut() && running.enter().is_cut());
        drop((first, second));
        running.idle().await;
    }
}
