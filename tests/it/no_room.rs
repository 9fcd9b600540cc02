//! A collector whose disk is full refuses, keeps what it took, and goes on when there is room.

use crate::common::*;
use indelible_collector::seal::Faults;
use indelible_collector::{Collector, Config};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file of the log is closed at the first checkpoint behind 96 MiB.
const LOOK_BYTES: usize = 2_000_000;
const LOOKS_MAX: usize = 64;

#[test]
fn without_room_for_the_next_file_of_the_log_looks_are_refused_and_nothing_ends() {
    let site = Site::new();
    let full = Arc::new(AtomicBool::new(true));
    let mut config = Config::new(&site.data);
    config.seals_by_itself = false;
    let is_full = full.clone();
    config.faults = Faults::at(move |step| {
        match step == "before the next file is begun" && is_full.load(Ordering::Relaxed) {
            true => Err(ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    });
    let collector = Collector::start(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = serde_json::Value::from("x".repeat(LOOK_BYTES));
    let longer = serde_json::Value::from("x".repeat(8 << 20));
    let error = runtime.block_on(collector.record_access("operator", "list", None, longer, 0)).unwrap_err();
    assert!(error.to_string().contains("over the limit"), "{error}");
    let look = || runtime.block_on(collector.record_access("operator", "list", None, asked.clone(), 0));
    let mut taken = 0;
    let refused = loop {
        match look() {
            Ok(_) => taken += 1,
            Err(error) => break error.to_string(),
        }
        assert!(taken < LOOKS_MAX, "{taken} looks were taken without room for them");
    };
    assert!(refused.contains("no room"), "{refused}, {:?}", collector.failure());
    assert!((48..60).contains(&taken), "{taken}: as many as one file has");
    for _ in 0..3 {
        assert!(look().is_err());
    }
    assert_eq!(collector.failure(), None);
    full.store(false, Ordering::Relaxed);
    wait_until("room to be noticed", || look().is_ok());
    collector.stop().unwrap();
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
    let looks = site.entries_of("operations");
    assert_eq!(looks.iter().filter(|entry| entry["event_type"] == "access").count(), taken + 1);
}
