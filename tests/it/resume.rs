//! `verify` goes on where a run before it was broken off, and skips nothing that more depends on.

use crate::common::*;
use crate::segments::traffic;
use indelible_collector::seal::segments_dir;
use indelible_ledger::{Checkpoint, Ed25519Signer, Frontier, Hash, leaf_hash};
use indelible_vault::KeyStore;
use indelible_verify::Verdict;
use indelible_verify::directory::{self, Beyond, Journal, Report, Trust};
use std::path::{Path, PathBuf};

/// Five segments of a tenant's ledger, of which the third has a change of keys, and some records in the log.
fn recorded() -> Site {
    let site = Site::new();
    for number in 0..5 {
        traffic(&site, 3);
        if number == 2 {
            assert!(site.run(&["key", "rotate", "--tenant", "default"]).status.success());
        }
        site.json(&["seal", "--json"]);
    }
    traffic(&site, 2);
    site
}

/// A run that is killed before it takes the journal away.
fn check(site: &Site, journal: &Path) -> Report {
    let trust = Trust { keys: KeyStore::key_histories(&site.keys).unwrap(), head: Vec::new() };
    let mut journal = Journal::open(journal).unwrap();
    directory::check_on(&site.data, &trust, Beyond::Unknown, Some(&mut journal), |_, _| {})
}

fn segments(site: &Site) -> Vec<PathBuf> {
    let root = segments_dir(&site.data).join("tenant=default");
    let mut dirs: Vec<_> =
        files_below(&root).into_iter().filter(|path| path.ends_with("segment.json")).collect();
    dirs.sort();
    dirs.into_iter().map(|path| path.parent().unwrap().to_owned()).collect()
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_read_is_passed_over_and_the_ends_are_read_again() {
    let site = recorded();
    let journal = site.dir.path().join("journal");
    let first = check(&site, &journal);
    assert_eq!((first.verdict, first.resumed), (Verdict::Holds, 0), "{first:#?}");
    let again = check(&site, &journal);
    // The second and the fourth: the first, the last and the one with the change of keys are read each time.
    assert_eq!((again.verdict, again.resumed), (Verdict::Holds, 2), "{again:#?}");
    assert_eq!(again.ledgers, first.ledgers);

    let dirs = segments(&site);
    assert_eq!(dirs.len(), 5);
    for (number, dir) in dirs.iter().enumerate() {
        for name in ["payload.frames", "entries.parquet", "ids.idx", "segment.json"] {
            let whole = std::fs::read(dir.join(name)).unwrap();
            flip(&dir.join(name));
            let passed = [1, 3].contains(&number) && name != "segment.json";
            let verdict = if passed { Verdict::Holds } else { Verdict::Broken };
            assert_eq!(check(&site, &journal).verdict, verdict, "{number}, {name}");
            assert_eq!(site.verify().0, 1, "without a journal everything is read: {number}, {name}");
            std::fs::write(dir.join(name), whole).unwrap();
        }
    }
    // What was broken is not noted as read.
    let other = site.dir.path().join("other");
    flip(&dirs[1].join("payload.frames"));
    assert_eq!(check(&site, &other).verdict, Verdict::Broken);
    assert_eq!(check(&site, &other).verdict, Verdict::Broken);
}

#[test]
fn a_checkpoint_that_ends_within_a_segment_has_it_read() {
    let site = recorded();
    let journal = site.dir.path().join("journal");
    check(&site, &journal);
    let firsts: Vec<u64> = segments(&site)
        .iter()
        .map(|dir| dir.file_name().unwrap().to_string_lossy().trim_start_matches('0').parse().unwrap_or(0))
        .collect();
    let size = firsts[3] + 2;
    assert!(size < firsts[4], "{firsts:?}");
    let mut tree = Frontier::new();
    indelible_collector::entries::visit(&site.data, "default", |bytes| {
        tree.append(leaf_hash(bytes)).unwrap();
        tree.size() < size
    })
    .unwrap();
    let keys = KeyStore::key_histories(&site.keys).unwrap();
    let (_, keys) = keys.into_iter().find(|(name, _)| name == "default").unwrap();
    let seed = std::fs::read(site.keys.join("ledgers/default.seed")).unwrap().try_into().unwrap();
    let signer = Ed25519Signer::from_seed(keys.origin(), &seed).unwrap();
    for (root, verdict) in [(tree.root(), Verdict::Holds), (Hash([3; 32]), Verdict::Broken)] {
        let signed = Checkpoint::new(keys.origin(), size, root).unwrap().sign(&signer).unwrap();
        let head = vec![("default".to_owned(), signed)];
        let trust = Trust { keys: KeyStore::key_histories(&site.keys).unwrap(), head };
        let mut opened = Journal::open(&journal).unwrap();
        let report = directory::check_on(&site.data, &trust, Beyond::Unknown, Some(&mut opened), |_, _| {});
        assert_eq!((report.verdict, report.resumed), (verdict, 1), "{report:#?}");
    }
}

#[test]
fn the_command_goes_on_says_so_and_takes_its_journal_away() {
    let site = recorded();
    let journal = site.dir.path().join("journal");
    let path = journal.to_str().unwrap();
    let report = site.json(&["verify", "--resume", path, "--json"]);
    assert_eq!((&report["verdict"], &report["resumed"]), (&"holds".into(), &0.into()));
    assert!(!journal.exists());
    check(&site, &journal);
    let output = site.run(&["verify", "--resume", path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("2 segments were read by a run before this one"),
        "{}",
        text(&output.stdout)
    );
    assert!(!journal.exists());
    std::fs::write(&journal, "something else\n").unwrap();
    let output = site.run(&["verify", "--resume", path]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(std::fs::read(&journal).unwrap(), b"something else\n", "nothing of others is overwritten");
}
