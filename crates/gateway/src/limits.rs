//! How long a request may take, and which of its limits it was that ended one.
//!
//! Each limit has its own word in the record, because each has its own cure: a model that is slow to begin,
//! a stream that fell silent, a client that stopped sending, a request that simply took too long.

use crate::config::Config;
use crate::exchange::Outcome;
use http::StatusCode;
use indelible_record::entry::Status;
use std::future::Future;
use std::time::{Duration, Instant};

/// The limits of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Until the head of the answer.
    head: Duration,
    /// Between two pieces of a body.
    pub(crate) idle: Duration,
    /// For the terminal record.
    pub(crate) settle: Duration,
    /// Start and end of the record wait for the same thing, the sync of this machine's disk.
    pub(crate) one_wait: bool,
    /// For all of it, and when that is over.
    total: Option<(Duration, Instant)>,
}

/// The limit that a request ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// The client did not go on with its request.
    Request(Duration),
    /// The model server did not begin to answer.
    Head(Duration),
    /// The model server did not go on with its answer.
    Idle(Duration),
    /// The request as a whole.
    Total(Duration),
}

impl Limits {
    /// The limits of a request accepted then.
    pub(crate) fn new(config: &Config, accepted: Instant) -> Self {
        Self {
            head: config.head_timeout,
            idle: config.idle_timeout,
            settle: config.receipt_timeout,
            one_wait: false,
            total: config.total_timeout.map(|total| (total, accepted + total)),
        }
    }

    /// The same, saying whether start and end of the record wait for the same thing.
    pub(crate) fn with_one_wait(self, one_wait: bool) -> Self {
        Self { one_wait, ..self }
    }

    /// Waits for the head of an answer.
    pub(crate) async fn head<T>(&self, answer: impl Future<Output = T>) -> Result<T, Late> {
        let (due, late) = self.earlier(Instant::now() + self.head, Late::Head(self.head));
        tokio::time::timeout_at(due.into(), answer).await.map_err(|_| late)
    }

    /// Waits for a piece of a request body.
    pub(crate) async fn request<T>(&self, piece: impl Future<Output = T>) -> Result<T, Late> {
        let (due, late) = self.earlier(Instant::now() + self.idle, Late::Request(self.idle));
        tokio::time::timeout_at(due.into(), piece).await.map_err(|_| late)
    }

    /// When an answer whose last piece came then is late, and by which limit.
    pub(crate) fn next_piece(&self, last: Instant) -> (Instant, Late) {
        self.earlier(last + self.idle, Late::Idle(self.idle))
    }

    /// Whether the time for all of it is over.
    pub(crate) fn over(&self, now: Instant) -> Option<Late> {
        self.total.and_then(|(total, end)| (now >= end).then_some(Late::Total(total)))
    }

    fn earlier(&self, due: Instant, late: Late) -> (Instant, Late) {
        match self.total {
            Some((total, end)) if end <= due => (end, Late::Total(total)),
            _ => (due, late),
        }
    }
}

impl Late {
    /// The status that a client gets which was not answered yet.
    pub(crate) fn http_status(self) -> StatusCode {
        match self {
            Self::Request(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Head(_) | Self::Idle(_) | Self::Total(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// How a request ends that ran into it.
    pub(crate) fn outcome(self) -> Outcome {
        let (word, error) = match self {
            Self::Request(limit) => ("request_timeout", format!("the client sent nothing for {limit:?}")),
            Self::Head(limit) => {
                ("head_timeout", format!("the model server did not answer within {limit:?}"))
            }
            Self::Idle(limit) => ("idle_timeout", format!("the model server was silent for {limit:?}")),
            Self::Total(limit) => ("total_timeout", format!("the request took longer than {limit:?}")),
        };
        Outcome::failed(Status::Timeout, word, error)
    }

    /// What to do about it.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Request(_) => "raise gateway.idle_timeout_s if clients pause that long while sending",
            Self::Head(_) => "raise gateway.head_timeout_s if answers take that long",
            Self::Idle(_) => "raise gateway.idle_timeout_s if streams pause that long",
            Self::Total(_) => "raise gateway.total_timeout_s if requests take that long",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: Option<u64>) -> (Limits, Instant) {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let total = total.map(|seconds| (second * seconds as u32, now + second * seconds as u32));
        (Limits { head: 5 * second, idle: 3 * second, settle: second, one_wait: false, total }, now)
    }

    #[test]
    fn the_limit_that_comes_first_is_the_one_that_is_named() {
        let second = Duration::from_secs(1);
        let (without, now) = limits(None);
        assert_eq!(without.next_piece(now), (now + 3 * second, Late::Idle(3 * second)));
        assert_eq!(without.over(now + 1000 * second), None);
        let (with, now) = limits(Some(10));
        assert_eq!(with.next_piece(now + 6 * second).1, Late::Idle(3 * second));
        assert_eq!(with.next_piece(now + 8 * second), (now + 10 * second, Late::Total(10 * second)));
        assert_eq!(with.over(now + 9 * second), None);
        assert_eq!(with.over(now + 10 * second), Some(Late::Total(10 * second)));
    }

    #[test]
    fn every_limit_has_its_own_word() {
        let limit = Duration::from_secs(1);
        let all = [Late::Request(limit), Late::Head(limit), Late::Idle(limit), Late::Total(limit)];
        let words: std::collections::BTreeSet<_> = all.map(|late| late.outcome().error_type).into();
        assert_eq!(words.len(), all.len());
    }
}
