//! The most memory that a process takes meanwhile.

use crate::bench::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(100);

/// Looks at a process's resident bytes ten times a second.
pub(super) struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl Watch {
    pub(super) fn start(id: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = std::thread::spawn(move || {
            let mut most: f64 = 0.0;
            while !told.load(Ordering::Relaxed) {
                most = most.max(process::rss_bytes(id));
                std::thread::sleep(INTERVAL);
            }
            most
        });
        Self { over, thread }
    }

    /// The most that was seen.
    pub(super) fn most(self) -> f64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(f64::NAN)
    }
}
