//! What reached the stand-in: the upstream's own account, to hold a recording against.
//!
//! A crash test kills the gateway and then asks which requests the model server really saw. Each request is
//! remembered, once its body is complete, by the SHA-256 of the body and by the header `x-test-id`. The log
//! keeps the first million; later ones are only counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::HeaderMap;

/// Requests remembered one by one.
pub const SEEN_MAX: usize = 1_000_000;
/// A longer `x-test-id` is not remembered.
pub const TEST_ID_MAX_BYTES: usize = 128;

const TEST_ID: &str = "x-test-id";

/// One request that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// SHA-256 of the body's bytes.
    pub body_sha256: [u8; 32],
    /// The header `x-test-id`, if it was there.
    pub test_id: Option<Box<str>>,
}

/// The requests of one server, in the order in which their bodies were complete.
#[derive(Debug, Default)]
pub struct Log(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: u64,
    seen: Vec<Seen>,
}

impl Log {
    /// How many requests arrived whole, remembered or not.
    pub fn count(&self) -> u64 {
        self.state().count
    }

    /// A copy of all that is remembered.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The test ids that arrived, in order; one that came twice stands twice.
    pub fn test_ids(&self) -> Vec<String> {
        self.state().seen.iter().filter_map(|seen| seen.test_id.as_deref()).map(str::to_owned).collect()
    }

    pub(crate) fn record(&self, headers: &HeaderMap, body_sha256: [u8; 32]) {
        let id = headers.get(TEST_ID).and_then(|value| value.to_str().ok());
        let test_id = id.filter(|id| id.len() <= TEST_ID_MAX_BYTES).map(Box::from);
        let mut state = self.state();
        state.count += 1;
        if state.seen.len() < SEEN_MAX {
            state.seen.push(Seen { body_sha256, test_id });
        }
    }

    /// A push either happened or did not, so a poisoned lock still holds a good state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
