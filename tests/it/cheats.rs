//! `drill tamper`: every cheat on a copy is caught, by the check that is said to catch it, and the original stays what it was.

use crate::common::*;
use crate::segments::traffic;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A ledger of two segments and a log.
fn recorded() -> Site {
    let site = Site::new();
    for _ in 0..2 {
        traffic(&site, 12);
        site.json(&["seal", "--json"]);
    }
    traffic(&site, 12);
    site
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).unwrap());
    files_below(dir).into_iter().map(read).collect()
}

fn tamper(site: &Site, more: &[&str]) -> (Output, Value) {
    let temp = site.dir.path().join("temp");
    std::fs::create_dir_all(&temp).unwrap();
    let arguments = [&["drill", "tamper", "--json", "--temp", temp.to_str().unwrap()], more].concat();
    let output = site.run(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, report)
}

fn rows(report: &Value) -> &Vec<Value> {
    report["rows"].as_array().unwrap()
}

/// Which checks caught a row.
fn by(row: &Value) -> Vec<&str> {
    row["caught"].as_array().unwrap().iter().map(|caught| caught["by"].as_str().unwrap()).collect()
}

#[test]
fn every_cheat_is_caught_and_the_original_is_as_before() {
    let site = recorded();
    let before = [contents(&site.data), contents(&site.keys)];
    let (mut log, mut segment) = (false, false);
    for seed in ["1", "2", "3"] {
        let (output, report) = tamper(&site, &["--seed", seed]);
        assert_eq!(output.status.code(), Some(0), "{report:#} {}", text(&output.stderr));
        assert_eq!((&report["entries"], &report["sealed"]), (&37.into(), &25.into()));
        assert_eq!(report["left_out"].as_array().unwrap().len(), 0, "{report:#}");
        let names: BTreeSet<&str> = rows(&report).iter().map(|row| row["cheat"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 12, "{names:?}");
        for row in rows(&report) {
            let insider = row["who"] == "insider";
            let wanted: &[&str] = match (row["cheat"].as_str().unwrap(), insider) {
                ("forge-proof", false) => &["proof --check"],
                ("forge-proof", true) => &["proof --check --policy"],
                ("rollback", false) => &["verify", "start (exit 4)"],
                ("swap-payloads", true) => &["commitments (drill, show)"],
                ("fork", _) => &["witness", "verify --checkpoint"],
                ("replay", _) => &["witness"],
                ("new-key", _) => &["verify --key"],
                (_, false) => &["verify"],
                (_, true) => &["verify --checkpoint"],
            };
            // An insider's history must hold by itself, or the cheat shows nothing.
            assert_eq!(by(row), wanted, "{row:#}");
            if insider && row["cheat"] != "replay" {
                assert_eq!(row["holds_by_itself"], true, "{row:#}");
            }
            let done = row["done"].as_str().unwrap();
            log |= done.contains("in the log") && !insider;
            segment |= done.contains("in a segment") && !insider;
        }
    }
    assert!(log && segment, "both are cheated in");
    assert_eq!(before, [contents(&site.data), contents(&site.keys)], "the original was written");
    assert_eq!(
        std::fs::read_dir(site.dir.path().join("temp")).unwrap().count(),
        0,
        "the copy is left behind"
    );
}

/// An insider has the newest key alone; what an older one signed is known from outside.
#[test]
fn every_cheat_is_caught_after_a_change_of_keys() {
    let site = recorded();
    assert!(site.run(&["key", "rotate"]).status.success());
    traffic(&site, 4);
    let (output, report) = tamper(&site, &["--seed", "5"]);
    assert_eq!(output.status.code(), Some(0), "{report:#} {}", text(&output.stderr));
    assert!(rows(&report).iter().all(|row| !by(row).is_empty()), "{report:#}");
    let names: BTreeSet<&str> = rows(&report).iter().map(|row| row["cheat"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 12, "{names:?}");
}

#[test]
fn the_naive_cheats_name_the_place() {
    let site = recorded();
    let (_, report) = tamper(&site, &["--seed", "9", "--only", "edit", "--only", "delete"]);
    for row in rows(&report).iter().filter(|row| row["who"] == "writer") {
        let done: u64 = row["done"].as_str().unwrap().split([' ', ',']).nth(1).unwrap().parse().unwrap();
        let what = row["caught"][0]["what"].as_str().unwrap();
        // An edited entry shows in the one behind it, which is chained to it.
        let shows = if row["cheat"] == "edit" { done + 1 } else { done };
        assert!(what.starts_with(&format!("ledger default: entry {shows}: ")), "{row:#}");
    }
}

#[test]
fn what_nobody_outside_kept_goes_unnoticed_and_that_is_said() {
    let site = recorded();
    let (output, report) = tamper(&site, &["--no-outside", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    let uncaught: BTreeSet<&str> = rows(&report)
        .iter()
        .filter(|row| by(row).is_empty())
        .map(|row| {
            assert_eq!(row["who"], "insider", "{row:#}");
            row["cheat"].as_str().unwrap()
        })
        .collect();
    let insiders = [
        "backdate",
        "delete",
        "edit",
        "fork",
        "forge-proof",
        "insert",
        "new-key",
        "reorder",
        "replay",
        "rollback",
        "truncate",
    ];
    assert_eq!(uncaught, BTreeSet::from(insiders));
    let temp = site.dir.path().join("temp");
    let output =
        site.run(&["drill", "tamper", "--no-outside", "--only", "fork", "--temp", temp.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("NOT CAUGHT: 1 of 1 cheats: fork (insider)"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_running_collector_is_copied_as_it_stands() {
    let site = recorded();
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    let (stop, listen) = (std::sync::atomic::AtomicBool::new(false), up.listen);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let body = br#"{"model":"m","messages":[{"role":"user","content":"more and more"}]}"#;
            let mut sent = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sent += 1;
                // What is sealed leaves the log while it is being copied.
                if sent % 40 == 0 {
                    site.run(&["seal"]);
                }
                let headers = [("Content-Type", "application/json")];
                assert_eq!(
                    request(listen, &message("POST", "/v1/chat/completions", &headers, body)).status,
                    200
                );
            }
        });
        for seed in ["1", "2", "3", "4"] {
            let only = ["--only", "edit", "--only", "rollback", "--only", "fork"];
            let (output, report) = tamper(&site, &[&["--seed", seed][..], &only].concat());
            if seed == "4" || output.status.code() != Some(0) {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            assert_eq!(output.status.code(), Some(0), "{report:#} {}", text(&output.stderr));
        }
    });
    assert_eq!(up.stop(), 0);
    assert_eq!(site.verify().0, 0);
}

#[test]
fn a_copy_of_what_a_killed_collector_left_is_recovered() {
    let site = Site::new();
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    for n in 0..12 {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hello {n}"}}]}}"#);
        request(
            up.listen,
            &message(
                "POST",
                "/v1/chat/completions",
                &[("Content-Type", "application/json")],
                body.as_bytes(),
            ),
        );
    }
    up.wait_shipped();
    up.kill();
    let (output, report) = tamper(&site, &["--seed", "1"]);
    assert_eq!(output.status.code(), Some(0), "{report:#} {}", text(&output.stderr));
    // Nothing is sealed: that is said, and no such cheat counted.
    let left_out = report["left_out"].as_array().unwrap();
    assert!(!left_out.is_empty() && left_out.iter().all(|why| why.as_str().unwrap().contains("segment")));
}

#[test]
fn it_does_not_write_in_the_original_nor_where_there_is_nothing() {
    let site = recorded();
    for inside in [site.data.clone(), site.keys.clone(), site.data.join("wal")] {
        let output = site.run(&["drill", "tamper", "--temp", inside.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{}", inside.display());
        assert!(text(&output.stderr).contains("nothing is written there"), "{}", text(&output.stderr));
    }
    let output = site.run(&["drill", "tamper", "--tenant", "nobody"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let output = site.run(&["drill", "tamper", "--data", site.dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(site.run(&["drill", "tamper", "--only", "flattery"]).status.code(), Some(2));
    // A ledger that is broken before says so, and is cheated in no further.
    let log = site.data.join("wal").read_dir().unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let (output, _) = tamper(&site, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(site.dir.path().join("temp")).unwrap().count(), 0);
}

#[test]
fn the_copy_is_kept_when_asked_and_nobody_else_may_look_into_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = recorded();
    let (output, _) = tamper(&site, &["--keep", "--only", "replay"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let kept = site.dir.path().join("temp").read_dir().unwrap().next().unwrap().unwrap().path();
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let (data, keys) = (kept.join("data"), kept.join("data.keys"));
    let seed = keys.join("master.key").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(seed, 0o600);
    let output = site.run(&["verify", "--data", data.to_str().unwrap(), "--keys", keys.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}
