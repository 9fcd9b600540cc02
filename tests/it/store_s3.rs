//! Segments in a bucket: nothing is lost on the way there or there, and what is there is found from here.
//!
//! The bucket is a Ceph radosgw, which this starts on free ports. Where it is not installed the tests are passed over,
//! and say so (Debian: `ceph-mon ceph-osd ceph-mgr radosgw ceph-common`).

mod server;

use crate::common::*;
use crate::images::Images;
use crate::segments::{shown, traffic, without_level};
use indelible_collector::seal::Faults;
use indelible_collector::store::location::Location;
use indelible_collector::store::remote::{Bucket, Put};
use indelible_collector::{Collector, Config, Query};
use serde_json::Value;
use server::{Place, place};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const KEEP: Duration = Duration::from_secs(86_400);
const CACHE_BYTES: u64 = 1 << 30;

/// A collector on a site's directory whose segments go to a place.
fn start(site: &Site, location: Location) -> Collector {
    Collector::start(with_bucket(&site.data, location)).unwrap()
}

fn with_bucket(data: &Path, location: Location) -> Config {
    let mut config = Config::new(data);
    config.bucket = Some(location);
    config
}

fn seal(collector: &Collector) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(collector.seal()).unwrap()
}

/// How many segments are on this machine alone, in both places, in the bucket alone.
fn counts(collector: &Collector) -> (u64, u64, u64) {
    let segments = collector.bucket_status().unwrap().segments;
    (segments.local, segments.both, segments.remote)
}

fn wait_counts(collector: &Collector, expected: (u64, u64, u64)) {
    wait_until(&format!("segments are where they belong: {expected:?}"), || counts(collector) == expected);
}

fn find(collector: &Collector, id: &str) -> Result<usize, String> {
    let query = Query { id: Some(id.to_owned()), ..Query::default() };
    let found = collector.list(&query, 10).map_err(|error| error.to_string())?;
    for one in &found {
        let payload = collector.payload(one).map_err(|error| error.to_string())?;
        assert_eq!(payload.matches(&one.entry), Some(true), "{id}");
    }
    Ok(found.len())
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    if dir.exists() { files_below(dir) } else { Vec::new() }
}

fn verify(site: &Site, more: &[&str]) -> (i32, Value) {
    let output = site.run(&[&["verify", "--json"], more].concat());
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("verify printed no report: {}", text(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// Exit code and report of `doctor`.
fn doctor(site: &Site, more: &[&str]) -> (i32, Value) {
    let output = site.run(&[&["doctor", "--json"], more].concat());
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("doctor printed no report: {}", text(&output.stderr)));
    (output.status.code().unwrap(), report)
}

fn says(finding: &Value, member: &str, expected: &str) -> bool {
    finding[member].as_str().unwrap().contains(expected)
}

#[test]
fn what_left_this_machine_is_found_shown_and_verified_as_before() {
    let Some(place) = place("leaves") else { return };
    let site = Site::new();
    let ids = traffic(&site, 30);
    let before: Vec<Value> = ids.iter().map(|id| shown(&site, id)).collect();
    let by_session = |site: &Site| site.json(&["list", "--session", "session-3", "--limit", "100", "--json"]);
    let by_model = |site: &Site| site.json(&["list", "--model", "m-1", "--limit", "100", "--json"]);
    let lists = [by_session(&site), by_model(&site)];

    let bound = 20_000;
    let collector = start(&site, place.location(Duration::ZERO, bound));
    assert_eq!(seal(&collector), 2);
    wait_counts(&collector, (0, 0, 2));
    wait_until("nothing is left here", || files_in(&site.data.join("segments")).is_empty());
    assert_eq!(place.names().len(), 8, "{:?}", place.names());
    ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1), "{id}"));
    collector.stop().unwrap();

    place.configure(&site, 0, bound);
    for (id, before) in ids.iter().zip(&before) {
        assert_eq!(shown(&site, id), *before);
        let cached: u64 = files_in(&site.data.join("cache/segments"))
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum();
        assert!(cached > 0 && cached <= bound, "{cached} bytes are cached");
    }
    for (list, again) in lists.iter().zip([by_session(&site), by_model(&site)]) {
        assert_eq!(without_level(list), without_level(&again));
    }
    let entries = site.entries();
    assert!(entries.iter().enumerate().all(|(n, entry)| entry["seq"] == n));

    let mut up = site.up("http://127.0.0.1:9", &[]);
    let run = site.data.join("run/collector.json");
    wait_until("the collector is ready", || run.exists());
    let run: Value = serde_json::from_slice(&std::fs::read(run).unwrap()).unwrap();
    let metrics = request(address_of(run["url"].as_str().unwrap()), &message("GET", "/metrics", &[], b""));
    let metrics = text(&metrics.body);
    assert!(metrics.contains("indelible_collector_segments{place=\"bucket\"} 2\n"), "{metrics}");
    assert!(metrics.contains("indelible_collector_bucket_reached 1\n"), "{metrics}");
    assert_eq!(up.stop(), 0);

    // A start asks for the manifests that it does not know, and for no others.
    let asked = place.reads_while(|| start(&site, place.location(KEEP, CACHE_BYTES)).stop().unwrap());
    assert_eq!(asked.iter().filter(|name| name.ends_with("segment.json")).count(), 0, "{asked:?}");
    std::fs::remove_dir_all(site.data.join("cache")).unwrap();
    let asked = place.reads_while(|| start(&site, place.location(KEEP, CACHE_BYTES)).stop().unwrap());
    assert_eq!(asked.iter().filter(|name| name.ends_with("segment.json")).count(), 2, "{asked:?}");
    shown(&site, &ids[29]);

    let (code, report) = verify(&site, &["--store"]);
    assert_eq!(code, 0, "{report:#}");
    let (code, report) = doctor(&site, &["--store"]);
    assert_eq!(code, 0, "{report:#}");
    for cached in [true, false] {
        if !cached {
            std::fs::remove_dir_all(site.data.join("cache")).unwrap();
        }
        // Nothing is wrong with them: what is to be done is to look.
        let (code, report) = doctor(&site, &[]);
        assert_eq!(code, 2, "{report:#}");
        let mut unread = report["findings"].as_array().unwrap().iter();
        assert!(unread.all(|finding| says(finding, "remedy", "doctor --store")), "{report:#}");
        let (code, report) = verify(&site, &[]);
        assert_eq!((code, &report["verdict"]), (2, &Value::from("could not tell")), "{report:#}");
        let findings = report["findings"].as_array().unwrap();
        let named = |finding: &&Value| finding["what"].as_str().unwrap().contains("was not read");
        assert!(findings.iter().filter(named).count() >= 2, "{report:#}");
    }
    // The same without a word of a bucket: what is known of the manifests is said, and nothing is called broken.
    start(&site, place.location(KEEP, CACHE_BYTES)).stop().unwrap();
    std::fs::remove_file(site.dir.path().join("indelible.toml")).unwrap();
    assert_eq!(verify(&site, &[]).0, 2);
    let output = site.run(&["list", "--entries"]);
    assert_eq!(output.status.code(), Some(4), "nothing is passed off as all there is");
    let refused = Collector::start(Config::new(&site.data)).err().unwrap().to_string();
    assert!(refused.contains("store_url"), "{refused}");
}

#[test]
fn what_the_bucket_damaged_is_named_and_never_served() {
    let Some(place) = place("damaged") else { return };
    let site = Site::new();
    let ids = traffic(&site, 12);
    let collector = start(&site, place.location(Duration::ZERO, CACHE_BYTES));
    seal(&collector);
    wait_counts(&collector, (0, 0, 2));
    collector.stop().unwrap();
    place.configure(&site, 0, CACHE_BYTES);
    let segment = "tenant=default/";
    let object = |file: &str| {
        place.names().into_iter().find(|name| name.starts_with(segment) && name.ends_with(file)).unwrap()
    };
    let fresh = || {
        std::fs::remove_dir_all(site.data.join("cache")).unwrap();
        start(&site, place.location(KEEP, CACHE_BYTES))
    };
    for (file, served) in [("ids.idx", true), ("payload.frames", false), ("entries.parquet", false)] {
        let name = object(file);
        let whole = place.get(&name);
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        for damage in ["changed", "short", "missing"] {
            match damage {
                "changed" => place.put(&name, &changed),
                "short" => place.put(&name, &whole[..middle]),
                _ => place.delete(&name),
            }
            let collector = fresh();
            for id in &ids {
                match find(&collector, id) {
                    Ok(found) => assert!(served && found == 1, "{file} {damage}: {found} found"),
                    Err(error) => {
                        assert!(!served, "{file} {damage}: {error}");
                        assert!(error.contains(segment) && error.contains(file), "{file} {damage}: {error}");
                    }
                }
            }
            collector.stop().unwrap();
            let (code, report) = verify(&site, &["--store"]);
            assert_eq!(code, 1, "{file} {damage}: {report:#}");
            assert!(report["findings"][0]["file"].as_str().unwrap().contains(file), "{report:#}");
            let (code, report) = doctor(&site, &["--store"]);
            assert_eq!(code, 1, "{file} {damage}: {report:#}");
            let finding = &report["findings"][0];
            assert!(says(finding, "file", segment) && says(finding, "file", file), "{report:#}");
            let expected = if served { "doctor --repair" } else { "restore the object from a copy" };
            assert!(says(finding, "remedy", expected), "{report:#}");
            place.put(&name, &whole);
        }
    }
    let collector = fresh();
    ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1)));
    collector.stop().unwrap();

    // A manifest that is well-formed, and not the one that the ledger has.
    let name = object("segment.json");
    let whole = place.get(&name);
    let changed = String::from_utf8(whole.clone())
        .unwrap()
        .replace("\"writer\":\"indelible ", "\"writer\":\"indelibly ");
    place.put(&name, changed.as_bytes());
    std::fs::remove_dir_all(site.data.join("cache")).unwrap();
    let refused = Collector::start(with_bucket(&site.data, place.location(KEEP, CACHE_BYTES)))
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains(segment) && refused.contains("operations ledger"), "{refused}");
    assert_eq!(verify(&site, &["--store"]).0, 1);
    place.put(&name, &whole);

    // What was cached and changed there is fetched again.
    let collector = fresh();
    ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1)));
    for file in files_in(&site.data.join("cache/segments")) {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.iter_mut().step_by(100).for_each(|byte| *byte ^= 4);
        std::fs::write(&file, bytes).unwrap();
    }
    ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1)));
    collector.stop().unwrap();
}

#[test]
fn half_an_upload_is_no_segment_and_is_made_whole() {
    let Some(place) = place("half") else { return };
    let site = Site::new();
    let ids = traffic(&site, 12);
    let collector = start(&site, place.location(KEEP, CACHE_BYTES));
    seal(&collector);
    wait_counts(&collector, (0, 2, 0));
    collector.stop().unwrap();
    let names = place.names();
    let named = |file: &str| {
        names.iter().find(|name| name.starts_with("tenant=default/") && name.ends_with(file)).unwrap()
    };
    let (manifest, entries) = (named("segment.json"), named("entries.parquet"));
    let whole = [place.get(manifest), place.get(entries)];

    // Without its manifest, and with strange bytes under a name of its.
    place.delete(manifest);
    place.put(entries, b"half of it");
    place.configure(&site, KEEP.as_secs(), CACHE_BYTES);
    let prefix = manifest.strip_suffix("/segment.json").unwrap();
    for (code, report) in [verify(&site, &["--store"]), doctor(&site, &["--store"])] {
        assert_eq!(code, 2, "{report:#}");
        assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{report:#}");
        let finding = &report["findings"][0];
        assert!(finding["file"].as_str().unwrap().ends_with(prefix), "{report:#}");
        assert!(says(finding, "what", "half uploaded"), "{report:#}");
        let remedy = finding["remedy"].as_str();
        assert!(remedy.is_none_or(|remedy| remedy.contains("start the collector again")), "{report:#}");
    }
    let collector = start(&site, place.location(KEEP, CACHE_BYTES));
    wait_counts(&collector, (0, 2, 0));
    collector.stop().unwrap();
    assert!([place.get(manifest), place.get(entries)] == whole);
    for (code, report) in [verify(&site, &["--store"]), doctor(&site, &["--store"])] {
        assert_eq!(code, 0, "{report:#}");
    }
    // Of a segment that is nowhere else it is said, too, and is not all that is.
    let here = site.data.join("segments").join(prefix);
    let aside = site.dir.path().join("aside");
    indelible_os::durable::publish_dir(&here, &aside).unwrap();
    place.delete(manifest);
    for (code, report) in [verify(&site, &["--store"]), doctor(&site, &["--store"])] {
        assert_eq!(code, 1, "{report:#}");
        let half = |finding: &&Value| says(finding, "what", "half a segment");
        let half = report["findings"].as_array().unwrap().iter().find(half).unwrap();
        let remedy = half["remedy"].as_str();
        assert!(remedy.is_none_or(|remedy| remedy.contains("segment.json")), "{report:#}");
    }
    place.put(manifest, &whole[0]);
    indelible_os::durable::publish_dir(&aside, &here).unwrap();

    // A file is gone beside a manifest.
    place.delete(entries);
    let collector = start(&site, place.location(KEEP, CACHE_BYTES));
    wait_until("the file is there again", || place.names().contains(entries));
    collector.stop().unwrap();
    assert!(place.get(entries) == whole[1]);

    // Another segment of the same name: nothing there is replaced, nothing here goes.
    let other = String::from_utf8(whole[0].clone())
        .unwrap()
        .replace("\"writer\":\"indelible ", "\"writer\":\"indelibly ");
    place.put(manifest, other.as_bytes());
    let collector = start(&site, place.location(Duration::ZERO, CACHE_BYTES));
    wait_until("the failure is counted", || collector.bucket_status().unwrap().failures > 0);
    std::thread::sleep(Duration::from_secs(1));
    ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1)));
    collector.stop().unwrap();
    assert!(place.get(manifest) == other.as_bytes());
    assert!(site.data.join("segments").join(manifest).exists());
    place.put(manifest, &whole[0]);

    // What changed there since it was uploaded is found before it would be the only copy.
    let mut changed = whole[1].clone();
    changed[100] ^= 1;
    place.put(entries, &changed);
    let collector = start(&site, place.location(Duration::ZERO, CACHE_BYTES));
    wait_until("the failure is counted", || collector.bucket_status().unwrap().failures > 0);
    std::thread::sleep(Duration::from_secs(1));
    ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1)));
    collector.stop().unwrap();
    assert!(site.data.join("segments").join(manifest).exists());
}

#[test]
fn an_index_is_made_again_while_older_segments_are_in_the_bucket_alone() {
    let Some(place) = place("repair") else { return };
    let site = Site::new();
    let ids = traffic(&site, 10);
    let collector = start(&site, place.location(Duration::ZERO, CACHE_BYTES));
    seal(&collector);
    wait_counts(&collector, (0, 0, 2));
    collector.stop().unwrap();
    place.configure(&site, KEEP.as_secs(), CACHE_BYTES);
    traffic(&site, 10);
    let collector = start(&site, place.location(KEEP, CACHE_BYTES));
    assert_eq!(seal(&collector), 2);
    wait_counts(&collector, (0, 2, 2));
    collector.stop().unwrap();
    for cached in [true, false] {
        if !cached {
            std::fs::remove_dir_all(site.data.join("cache")).unwrap();
        }
        let indexes: Vec<PathBuf> = files_in(&site.data.join("segments"))
            .into_iter()
            .filter(|file| file.ends_with("ids.idx"))
            .collect();
        assert_eq!(indexes.len(), 2);
        let whole: Vec<Vec<u8>> = indexes.iter().map(|path| std::fs::read(path).unwrap()).collect();
        indexes.iter().for_each(|path| std::fs::write(path, b"nothing").unwrap());
        let (code, report) = doctor(&site, &["--store"]);
        assert_eq!(code, 1, "{report:#}");
        assert!(says(&report["findings"][0], "remedy", "--repair"), "{report:#}");
        let (code, report) = doctor(&site, &["--repair", "--store"]);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(report["repairs"].as_array().unwrap().len(), 2, "{report:#}");
        assert!(indexes.iter().map(|path| std::fs::read(path).unwrap()).eq(whole));
    }

    // One in the bucket alone is made again here, and uploaded, as is said of it.
    let names = place.names();
    let index = names.iter().find(|name| {
        let path = site.data.join("segments").join(name);
        name.starts_with("tenant=default/") && name.ends_with("ids.idx") && !path.exists()
    });
    let index = index.unwrap();
    let whole = place.get(index);
    place.delete(index);
    let segment = index.strip_suffix("ids.idx").unwrap();
    for name in names.iter().filter(|name| name.starts_with(segment) && *name != index) {
        let path = site.data.join("segments").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, place.get(name)).unwrap();
    }
    let (_, report) = doctor(&site, &["--repair", "--store"]);
    assert_eq!(report["repairs"].as_array().unwrap().len(), 1, "{report:#}");
    let collector = start(&site, place.location(KEEP, CACHE_BYTES));
    wait_until("the index is there again", || place.names().contains(index));
    ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1)));
    collector.stop().unwrap();
    assert!(place.get(index) == whole);
    let (code, report) = doctor(&site, &["--store"]);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn a_bucket_that_is_away_delays_uploads_and_nothing_else() {
    let Some(place) = place("away") else { return };
    let site = Site::new();
    let first = traffic(&site, 10);
    let collector = start(&site, place.location(Duration::ZERO, CACHE_BYTES));
    seal(&collector);
    wait_counts(&collector, (0, 0, 2));
    collector.stop().unwrap();

    place.configure(&site, 0, CACHE_BYTES);
    let second = traffic(&site, 10);
    place.away(true);
    // Recording and sealing go on, from what is remembered of the bucket.
    let collector = start(&site, place.location(Duration::ZERO, CACHE_BYTES));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(collector.record_access("auditor", "look", None, Value::Null, 0)).unwrap();
    assert_eq!(seal(&collector), 2);
    wait_until("the failure is counted", || collector.bucket_status().unwrap().failures > 0);
    assert!(!collector.bucket_status().unwrap().reached);
    assert_eq!(counts(&collector), (2, 0, 2));
    std::fs::remove_dir_all(site.data.join("cache/segments")).unwrap();
    for id in &second {
        let tenant = Some("default".to_owned());
        let query = Query { id: Some(id.clone()), tenant, ..Query::default() };
        assert_eq!(collector.list(&query, 1).unwrap().len(), 1, "what is here is found here");
    }
    // Whether there is more of this name cannot be told, and is not.
    for id in [&first[0], &second[0]] {
        let error = find(&collector, id).unwrap_err();
        assert!(error.contains("tenant=default/") && !error.contains("SKSKSKSK"), "{error}");
    }
    place.away(false);
    wait_counts(&collector, (0, 0, 4));
    assert!(collector.bucket_status().unwrap().reached);
    first.iter().chain(&second).for_each(|id| assert_eq!(find(&collector, id), Ok(1)));
    collector.stop().unwrap();

    // Without what is remembered, and without the bucket, it cannot be known what is where.
    std::fs::remove_dir_all(site.data.join("cache")).unwrap();
    place.away(true);
    let refused =
        Collector::start(with_bucket(&site.data, place.location(Duration::ZERO, CACHE_BYTES))).err().unwrap();
    assert!(refused.to_string().contains("does not answer"), "{refused}");
    place.away(false);
    let (code, report) = verify(&site, &["--store"]);
    assert_eq!(code, 0, "{report:#}");
}

/// Whatever step of uploading and letting go the process dies at, everything is found afterwards, and it goes on.
#[test]
fn a_crash_at_any_step_of_uploading_loses_nothing() {
    let Some(place) = place("crash") else { return };
    let site = Site::new();
    let ids = traffic(&site, 15);
    let collector = Collector::start(Config::new(&site.data)).unwrap();
    seal(&collector);
    collector.stop().unwrap();

    let images = Images::of(&site);
    let copies: Arc<Mutex<Vec<Place>>> = Arc::default();
    let mut config = with_bucket(&site.data, place.location(Duration::ZERO, CACHE_BYTES));
    let (here, there, taken) = (images.clone(), place.clone(), copies.clone());
    config.faults = Faults::at(move |step| {
        let number = here.take(step);
        taken.lock().unwrap().push(there.copied(&format!("crash-image-{number}")));
        Ok(())
    });
    let collector = Collector::start(config).unwrap();
    wait_counts(&collector, (0, 0, 2));
    collector.stop().unwrap();
    let images = images.taken();
    let steps: Vec<&str> = images.iter().map(|(step, _)| *step).collect();
    for expected in [
        "before the upload",
        "after the entries are uploaded",
        "after the payloads are uploaded",
        "after the ids are uploaded",
        "after the manifest is uploaded",
        "after the bucket is read back",
        "before the local copy goes",
        "after the local copy left its place",
        "after the local copy is removed",
    ] {
        assert!(steps.contains(&expected), "no image {expected}: {steps:?}");
    }
    for ((step, here), place) in images.iter().zip(copies.lock().unwrap().iter()) {
        let collector = start(here, place.location(Duration::ZERO, CACHE_BYTES));
        ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1), "{step}: {id}"));
        wait_counts(&collector, (0, 0, 2));
        ids.iter().for_each(|id| assert_eq!(find(&collector, id), Ok(1), "{step}: {id}"));
        collector.stop().unwrap();
        place.configure(here, 0, CACHE_BYTES);
        let (code, report) = verify(here, &["--store"]);
        assert_eq!(code, 0, "{step}: {report:#}");
        assert_eq!(place.names().len(), 8, "{step}");
    }
}

#[test]
fn a_file_of_many_parts_arrives_whole_and_replaces_nothing() {
    let Some(place) = place("parts") else { return };
    let bucket = Bucket::open(&place.location(KEEP, CACHE_BYTES)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    let bytes: Vec<u8> = (0..40_000_003u32).map(|at| (at / 7) as u8 ^ (at >> 16) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let name = "tenant=default/date=2026-11-26/0000000000000000/payload.frames";
    let given_up = bucket.put_new_file(name, &path, || Err(std::io::Error::other("stopping")));
    assert!(given_up.unwrap_err().to_string().contains("stopping"));
    assert_eq!(place.names(), Vec::<String>::new(), "half of it is nothing");
    assert!(matches!(bucket.put_new_file(name, &path, || Ok(())).unwrap(), Put::Made(_)));
    assert!(place.get(name) == bytes);
    assert_eq!(bucket.put_new_file(name, &path, || Ok(())).unwrap(), Put::Exists);
    std::fs::write(&path, &bytes[1..]).unwrap();
    bucket.replace(name, &path, || Ok(())).unwrap();
    assert!(place.get(name) == bytes[1..]);
    std::fs::write(&path, b"small").unwrap();
    assert_eq!(bucket.put_new_file(name, &path, || Ok(())).unwrap(), Put::Exists);
    assert!(place.get(name) == bytes[1..]);
}

/// `cargo test --test it look_ups_from_a_bucket -- --ignored --nocapture` prints the figures of docs/store.md.
#[test]
#[ignore = "a measurement"]
fn look_ups_from_a_bucket() {
    let Some(place) = place("measure") else { return };
    let site = Site::new();
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.extend(traffic(&site, 40));
        let collector = start(&site, place.location(KEEP, CACHE_BYTES));
        seal(&collector);
        collector.stop().unwrap();
    }
    let collector = start(&site, place.location(Duration::ZERO, CACHE_BYTES));
    wait_until("all are in the bucket", || matches!(counts(&collector), (0, 0, _)));
    let segments = counts(&collector).2;
    collector.stop().unwrap();
    let bytes: usize = place.names().iter().map(|name| place.get(name).len()).sum();
    println!("{segments} segments, {bytes} bytes, {} records", ids.len());
    for delay_ms in [0, 30] {
        place.delay(Duration::from_millis(delay_ms));
        let mut cold = Vec::new();
        let mut opened = Vec::new();
        let mut warm = Vec::new();
        for n in 0..20 {
            std::fs::remove_dir_all(site.data.join("cache/segments")).unwrap();
            let collector = start(&site, place.location(Duration::ZERO, CACHE_BYTES));
            let timed = |id: &str| {
                let began = Instant::now();
                assert_eq!(find(&collector, id), Ok(1));
                began.elapsed()
            };
            cold.push(timed(&ids[n * 23 % ids.len()]));
            if n == 19 {
                opened.extend(ids.iter().step_by(3).map(|id| timed(id)));
                warm.extend(ids.iter().step_by(3).map(|id| timed(id)));
            }
            collector.stop().unwrap();
        }
        for (name, mut times) in [("cold", cold), ("first in its segment", opened), ("warm", warm)] {
            times.sort();
            let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
            println!("{delay_ms} ms away, {name}: n {}, p50 {:?}, p99 {:?}", times.len(), at(50), at(99));
        }
    }
}
