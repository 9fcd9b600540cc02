//! The audit drill: a record picked at random is found, read, proven and checked, and both look and outcome are on record.

use crate::common::*;
use crate::segments::traffic;
use indelible_collector::drill::{self, Wish};
use indelible_collector::{Collector, Config};
use indelible_drill::copy::Copy;
use indelible_drill::forge::{Forge, Keys};
use indelible_record::Entry;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Some records in a segment, some in the log.
fn recorded() -> Site {
    let site = Site::new();
    traffic(&site, 9);
    site.json(&["seal", "--json"]);
    traffic(&site, 6);
    site
}

fn this_month() -> String {
    indelible_os::clock::now().to_string()[..7].to_owned()
}

fn names(report: &Value, list: &str) -> Vec<String> {
    let list = report[list].as_array().unwrap().iter();
    list.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_drill_rebuilds_a_record_and_is_recorded_itself() {
    let site = recorded();
    let report = site.json(&["drill", "--seed", "7", "--purpose", "quarterly", "--json"]);
    assert_eq!(report["passed"], true, "{report:#}");
    assert_eq!((&report["month_taken"], &report["seed"]), (&"newest".into(), &7.into()));
    assert_eq!(report["month"], this_month());
    let checks = ["find", "entry", "leaf", "proof", "signature", "commitments", "chain"];
    assert_eq!(names(&report, "checks"), checks);
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["holds"] == true), "{report:#}");
    assert_eq!(names(&report, "steps"), ["pick", "find", "decrypt", "prove", "check", "conversation"]);
    let entry = &site.entries()[report["record"]["seq"].as_u64().unwrap() as usize];
    assert_eq!(entry["event_id"], report["record"]["event_id"]);
    assert_eq!(entry["input"]["bytes"], report["record"]["request_bytes"]);
    assert_eq!(entry["output"]["bytes"], report["record"]["response_bytes"]);
    assert_eq!(report["payload"], "read");

    let operations = site.entries_of("operations");
    let of_drill: Vec<&Value> = operations.iter().filter(|entry| entry["action"] == "drill").collect();
    assert_eq!(of_drill.len(), 2, "the look and the outcome");
    assert_eq!(
        (&of_drill[0]["event_type"], &of_drill[0]["detail"]["results"]),
        (&"access".into(), &1.into())
    );
    let outcome = of_drill[1];
    assert_eq!((&outcome["event_type"], &outcome["seq"]), (&"drill".into(), &report["recorded"]));
    assert_eq!(outcome["resource"]["id"], report["record"]["event_id"]);
    assert_eq!((&outcome["detail"]["passed"], &outcome["detail"]["seed"]), (&true.into(), &7.into()));
    assert_eq!(outcome["detail"]["total_us"], report["total_us"]);
    let shown = site.json(&["show", outcome["event_id"].as_str().unwrap(), "--json"]);
    assert!(shown["records"][0]["payload"].to_string().contains("quarterly"), "{shown:#}");

    let again = site.json(&["drill", "--seed", "7", "--json"]);
    assert_eq!(again["record"]["event_id"], report["record"]["event_id"], "the same seed, the same record");
    site.json(&["seal", "--json"]);
    let sealed = site.json(&["drill", "--seed", "7", "--json"]);
    assert_eq!(sealed["record"]["event_id"], report["record"]["event_id"], "sealed or not");
    let text = text(&site.run(&["drill", "--seed", "7"]).stdout);
    assert!(text.contains("PASSED") && text.contains("seed 7") && text.contains("newest"), "{text}");
}

#[test]
fn without_an_inference_in_the_month_it_cannot_tell() {
    let site = recorded();
    let output = site.run(&["drill", "--month", "2020-02"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no signed inference of 2020-02"), "{}", text(&output.stderr));
    let looks = site.entries_of("operations");
    assert!(looks.iter().any(|entry| entry["action"] == "drill" && entry["detail"]["results"] == 0));
    assert_eq!(site.run(&["drill", "--tenant", "nobody"]).status.code(), Some(2));
    assert_eq!(site.run(&["drill", "--month", "2026-13"]).status.code(), Some(2));
    let seed = (drill::SEED_MAX + 1).to_string();
    assert_eq!(site.run(&["drill", "--seed", &seed]).status.code(), Some(2));
}

#[test]
fn a_running_collector_is_asked() {
    let site = recorded();
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    let report = site.json(&["drill", "--seed", "3", "--month", &this_month(), "--json"]);
    assert_eq!((&report["passed"], &report["month_taken"]), (&true.into(), &"asked".into()), "{report:#}");
    let output = site.run(&["drill", "--month", "2020-02"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(up.stop(), 0);
    assert!(site.entries_of("operations").iter().any(|entry| entry["seq"] == report["recorded"]));
}

#[test]
fn a_damaged_payload_fails_the_drill() {
    let site = Site::new();
    // One record: any that is picked is the one that is damaged.
    traffic(&site, 1);
    site.json(&["seal", "--json"]);
    let payload: Vec<PathBuf> = files_below(&site.data.join("segments/tenant=default"))
        .into_iter()
        .filter(|path| path.ends_with("payload.frames"))
        .collect();
    let mut bytes = std::fs::read(&payload[0]).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&payload[0], bytes).unwrap();
    let output = site.run(&["drill", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!((&report["failed"], &report["payload"]), (&"commitments".into(), &"unreadable".into()));
    let operations = site.entries_of("operations");
    let outcome = operations.iter().find(|entry| entry["event_type"] == "drill").unwrap();
    assert_eq!(outcome["detail"]["failed"], "commitments");
}

#[test]
fn a_key_that_is_gone_without_an_erasure_fails_the_drill() {
    let site = Site::new();
    traffic(&site, 6);
    let slots = site.keys.join("vault.slots");
    let mut bytes = std::fs::read(&slots).unwrap();
    // Data keys are slots of kind 3: one of zeros is passed over.
    bytes.chunks_mut(128).filter(|slot| slot[0] == 3).for_each(|slot| slot.fill(0));
    std::fs::write(&slots, bytes).unwrap();
    let output = site.run(&["drill", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!((&report["failed"], &report["payload"]), (&"commitments".into(), &"unreadable".into()));
}

/// The exact bytes of a ledger's entries.
fn raw_entries(site: &Site, tenant: &str) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    indelible_collector::entries::visit(&site.data, tenant, |bytes| {
        entries.push(bytes.to_vec());
        true
    })
    .unwrap();
    entries
}

/// Nothing erases yet: a history is made in which somebody was erased, as if the keys had been destroyed.
#[test]
fn what_was_erased_is_said_to_be_and_does_not_fail_the_drill() {
    let site = Site::new();
    traffic(&site, 6);
    let original = Copy { data: site.data.clone(), keys: site.keys.clone() };
    let erased = Site::new();
    let mut forge = Forge::begin(&original, erased.dir.path(), Keys::Real).unwrap();
    for tenant in ["default", "operations"] {
        let entries = raw_entries(&site, tenant);
        let parsed: Vec<Entry> = entries.iter().map(|bytes| Entry::parse(bytes).unwrap()).collect();
        let subjects: BTreeSet<String> =
            parsed.iter().filter_map(|entry| entry.subject_ref.clone()).collect();
        // Without payloads, as where the keys are gone.
        entries.into_iter().for_each(|bytes| forge.entry(tenant, bytes, None).unwrap());
        forge.moved(tenant);
        for subject in subjects {
            let entry = Entry {
                event_type: "erasure".to_owned(),
                event_id: "019ab2c3-1111-7abc-8def-0123456789ab".to_owned(),
                subject_ref: Some(subject),
                ..parsed[0].clone()
            };
            forge.entry(tenant, entry.to_bytes().unwrap(), None).unwrap();
        }
    }
    forge.finish().unwrap();
    let report = erased.json(&["drill", "--json"]);
    assert_eq!((&report["passed"], &report["payload"]), (&true.into(), &"erased".into()), "{report:#}");
    let erasure = &erased.entries()[report["erasure"].as_u64().unwrap() as usize];
    let record = &erased.entries()[report["record"]["seq"].as_u64().unwrap() as usize];
    assert_eq!(
        (&erasure["event_type"], &erasure["subject_ref"]),
        (&"erasure".into(), &record["subject_ref"])
    );
    assert!(text(&erased.run(&["drill"]).stdout).contains("ERASED"));
}

/// Where nothing is asked for, it is the month before this one, if it has an inference.
#[test]
fn by_default_it_is_the_month_before_this_one() {
    let site = Site::new();
    traffic(&site, 6);
    let original = Copy { data: site.data.clone(), keys: site.keys.clone() };
    let dated_back = Site::new();
    let mut forge = Forge::begin(&original, dated_back.dir.path(), Keys::Real).unwrap();
    let month = format!("{}-01", this_month()).parse::<indelible_os::clock::Utc>().unwrap();
    let before = drill::Month::of(month).previous().to_string();
    for tenant in ["default", "operations"] {
        let entries = raw_entries(&site, tenant);
        forge.moved(tenant);
        for (at, bytes) in entries.iter().enumerate() {
            let mut entry = Entry::parse(bytes).unwrap();
            // The first half is of last month, the second of this one.
            if at < entries.len() / 2 + 1 {
                entry.timestamp = format!("{before}-11{}", &entry.timestamp[10..]);
            }
            forge.entry(tenant, entry.to_bytes().unwrap(), None).unwrap();
        }
    }
    forge.finish().unwrap();
    let older = dated_back
        .entries()
        .iter()
        .filter(|entry| entry["timestamp"].as_str().unwrap().starts_with(&before))
        .count();
    assert!((2..7).contains(&older), "{older}");
    let collector = Collector::start(Config::new(&dated_back.data)).unwrap();
    for seed in 0..20 {
        let picked = drill::pick(&collector, &Wish { seed, ..Wish::default() }).unwrap().unwrap();
        assert!(picked.found.entry.timestamp.starts_with(&before), "{}", picked.found.entry.timestamp);
        assert_eq!(picked.month.to_string(), before);
    }
    collector.stop().unwrap();
}

/// Records of before and behind a change of keys.
#[test]
fn records_of_each_key_pass() {
    let site = Site::new();
    traffic(&site, 3);
    assert!(site.run(&["key", "rotate"]).status.success());
    traffic(&site, 3);
    site.json(&["seal", "--json"]);
    assert!(site.run(&["key", "rotate"]).status.success());
    traffic(&site, 3);
    let rotated: Vec<u64> = site
        .entries()
        .iter()
        .filter(|entry| entry["event_type"] == "key_rotated")
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(rotated.len(), 2);
    let mut of_key = BTreeSet::new();
    for seed in 1..40 {
        let report = site.json(&["drill", "--seed", &seed.to_string(), "--json"]);
        assert_eq!(report["passed"], true, "{report:#}");
        let seq = report["record"]["seq"].as_u64().unwrap();
        of_key.insert(rotated.iter().filter(|at| **at < seq).count());
        if of_key.len() == 3 {
            break;
        }
    }
    assert_eq!(of_key.len(), 3, "{of_key:?}");
}

#[test]
fn each_inference_has_the_same_chance() {
    let site = recorded();
    let collector = Collector::start(Config::new(&site.data)).unwrap();
    let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
    let seeds = 3000;
    for seed in 0..seeds {
        let picked = drill::pick(&collector, &Wish { seed, ..Wish::default() }).unwrap().unwrap();
        assert_eq!(picked.entries, 16, "fifteen, and the first entry of the ledger");
        *counts.entry(picked.found.entry.seq).or_default() += 1;
    }
    collector.stop().unwrap();
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), (1..16).collect::<Vec<_>>());
    let expected = seeds as u32 / 15;
    assert!(counts.values().all(|count| count.abs_diff(expected) < expected / 3), "{counts:?}");
}

#[test]
fn a_rare_inference_is_found_among_other_requests() {
    let site = Site::new();
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    let mut last = String::new();
    for n in 0..200 {
        let got = if n == 120 {
            let body = br#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
            request(
                up.listen,
                &message("POST", "/v1/chat/completions", &[("Content-Type", "application/json")], body),
            )
        } else {
            request(up.listen, &message("GET", "/v1/models", &[], b""))
        };
        last = got.event_id().to_owned();
    }
    site.record(&last);
    assert_eq!(up.stop(), 0);
    site.json(&["seal", "--json"]);
    let collector = Collector::start(Config::new(&site.data)).unwrap();
    let mut gave_up = 0;
    for seed in 0..20 {
        let picked = drill::pick(&collector, &Wish { seed, ..Wish::default() }).unwrap().unwrap();
        assert_eq!(picked.found.entry.event_type, "llm_request");
        gave_up += u32::from(picked.draws.is_none());
    }
    collector.stop().unwrap();
    assert!((5..20).contains(&gave_up), "{gave_up} of 20");
}
