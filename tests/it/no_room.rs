//! A collector whose disk is full refuses, keeps what it took, and goes on when there is room.

use crate::common::*;
use crate::images::Images;
use indelible_collector::seal::Faults;
use indelible_collector::{Collector, Config};
use indelible_record::payload::META_MAX_BYTES;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file of the log is closed at the first checkpoint behind 96 MiB.
const LOOK_BYTES: usize = 2_000_000;
const LOOKS_MAX: usize = 64;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn look(collector: &Collector) -> Result<(), String> {
    let asked = serde_json::Value::from("x".repeat(LOOK_BYTES));
    let looked = runtime().block_on(collector.record_access("operator", "list", None, asked, 0));
    looked.map(drop).map_err(|error| error.to_string())
}

/// A collector whose file of the log is long enough, without room for the next one while the flag says so; how many
/// looks it took, and why it took no more.
fn cramped(site: &Site) -> (Collector, Arc<AtomicBool>, usize, String) {
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
    for taken in 0..LOOKS_MAX {
        if let Err(why) = look(&collector) {
            return (collector, full, taken, why);
        }
    }
    panic!("{LOOKS_MAX} looks were taken without room for them");
}

#[test]
fn without_room_for_the_next_file_of_the_log_looks_are_refused_and_nothing_ends() {
    let site = Site::new();
    let (collector, full, taken, refused) = cramped(&site);
    assert!(refused.contains("no room"), "{refused}, {:?}", collector.failure());
    assert!((48..60).contains(&taken), "{taken}: as many as one file has");
    for _ in 0..3 {
        assert!(look(&collector).is_err());
    }
    assert_eq!(collector.failure(), None);
    full.store(false, Ordering::Relaxed);
    wait_until("room to be noticed", || look(&collector).is_ok());
    collector.stop().unwrap();
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
    let looks = site.entries_of("operations");
    assert_eq!(looks.iter().filter(|entry| entry["event_type"] == "access").count(), taken + 1);
}

/// Every file of the log is closed behind a signature, whatever comes first once there is room.
#[test]
fn whatever_comes_first_when_there_is_room_again_the_end_of_each_file_is_signed() {
    for first in ["stop", "seal", "change of keys", "crash"] {
        let site = Site::new();
        let (collector, full, _, _) = cramped(&site);
        full.store(false, Ordering::Relaxed);
        match first {
            "seal" => drop(runtime().block_on(collector.seal()).unwrap()),
            "change of keys" => {
                drop(runtime().block_on(collector.rotate_key("operations", "operator")).unwrap())
            }
            "crash" => {
                let images = Images::of(&site);
                images.take(first);
                for (_, here) in images.taken() {
                    Collector::start(Config::new(&here.data)).unwrap().stop().unwrap();
                    let (code, report) = here.verify();
                    assert_eq!(code, 0, "{first}: {report:#}");
                }
            }
            _ => {}
        }
        collector.stop().unwrap();
        let (code, report) = site.verify();
        assert_eq!(code, 0, "{first}: {report:#}");
    }
}

/// What is longer than one frame takes is refused; what is not can be read and sealed.
#[test]
fn a_look_of_any_length_ends_nothing() {
    let site = Site::new();
    let collector = Collector::start(Config::new(&site.data)).unwrap();
    let look = |bytes: usize| {
        let asked = serde_json::Value::from("x".repeat(bytes));
        runtime().block_on(collector.record_access("operator", "list", None, asked, 0))
    };
    let longest = (0..128).map(|n| META_MAX_BYTES - n).find(|bytes| look(*bytes).is_ok()).unwrap();
    let error = look(longest + 1).unwrap_err();
    assert!(error.to_string().contains("over the limit"), "{error}");
    assert!(look(8 << 20).is_err());
    runtime().block_on(collector.seal()).unwrap();
    collector.stop().unwrap();
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
    let looks = site.entries_of("operations");
    let looks: Vec<_> = looks.iter().filter(|entry| entry["event_type"] == "access").collect();
    assert_eq!(looks.len(), 1);
    let shown = site.record(looks[0]["event_id"].as_str().unwrap());
    let asked = shown["payload"]["originals"]["asked"].as_str().unwrap();
    assert_eq!(asked.len(), longest + 2, "and its quotation marks");
}
