//! The life of a ledger's key: it changes without a gap in what can be checked, at whatever step the process dies.

use crate::common::*;
use crate::images::Images;
use indelible_collector::{Collector, CollectorError, Config};
use indelible_ledger::{Checkpoint, Ed25519Signer, KeyHistory, Note, Policy, Rotation, Signer};
use indelible_vault::KeyStore;
use indelible_verify::Verdict;
use indelible_verify::directory::{self, Trust};
use std::path::Path;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn keys_of(keys: &Path, tenant: &str) -> KeyHistory {
    let all = KeyStore::key_histories(keys).unwrap();
    all.into_iter().find(|(name, _)| name == tenant).unwrap().1
}

fn checkpoint(site: &Site, tenant: &str) -> Vec<u8> {
    std::fs::read(site.data.join("ledgers").join(tenant).join("checkpoint")).unwrap()
}

fn traffic(site: &Site, count: usize) -> Vec<String> {
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    let body = br#"{"model":"m-1","messages":[{"role":"user","content":"Hello"}]}"#;
    let ids = (0..count).map(|_| post(up.listen, "/v1/chat/completions", &[], body).event_id().to_owned());
    let ids = ids.collect();
    up.wait_shipped();
    assert_eq!(up.stop(), 0, "{}", up.log());
    ids
}

#[test]
fn keys_change_while_records_come_in_and_everything_still_holds() {
    let site = Site::new();
    let before = traffic(&site, 3);
    let first = keys_of(&site.keys, "default");
    let old_seed = std::fs::read(site.keys.join("ledgers/default.seed")).unwrap();

    // While it runs: through its API.
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    let body = br#"{"model":"m-1","messages":[{"role":"user","content":"Hello"}]}"#;
    post(up.listen, "/v1/chat/completions", &[], body);
    let shown = site.run(&["key", "rotate", "--json"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let during = post(up.listen, "/v1/chat/completions", &[], body).event_id().to_owned();
    up.wait_shipped();
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
    assert_eq!(up.stop(), 0, "{}", up.log());
    // And on the directory itself, one ledger.
    assert!(site.run(&["key", "rotate", "--tenant", "default"]).status.success());

    let keys = keys_of(&site.keys, "default");
    assert_eq!((keys.keys().count(), keys_of(&site.keys, "operations").keys().count()), (3, 2));
    assert_eq!(keys.keys().next(), first.keys().next());
    for path in files_below(&site.keys).into_iter().chain(files_below(&site.data)) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(32).any(|part| part == old_seed), "{}: the old key", path.display());
    }
    let changes: Vec<_> =
        site.entries().into_iter().filter(|entry| entry["event_type"] == "key_rotated").collect();
    let said: Vec<_> = changes
        .iter()
        .map(|entry| Rotation::open(entry["detail"]["note"].as_str().unwrap().as_bytes()).unwrap())
        .collect();
    assert_eq!(said.len(), 2);
    assert_eq!((&said[0].old, &said[0].new), (first.newest(), &said[1].old));
    assert_eq!(keys.handover_at(said[1].size), Some(&said[1].new));
    for (entry, said) in changes.iter().zip(&said) {
        assert_eq!(entry["seq"], said.size - 1);
    }
    let (code, report) = site.verify();
    assert_eq!(code, 0, "{report:#}");

    // The first key alone is enough: what follows is in the ledger.
    let first_alone = format!("default={}", first.newest());
    assert_eq!(site.run(&["verify", "--key", &first_alone]).status.code(), Some(0));
    // Sealed, too.
    site.json(&["seal", "--json"]);
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
    assert_eq!(site.run(&["verify", "--key", &first_alone]).status.code(), Some(0));
    for id in before.iter().chain([&during]) {
        site.record(id);
    }

    // What auditors are given says which key signs which sizes, and takes the newest checkpoint.
    let policy = site.run(&["key", "policy"]).stdout;
    let policy = Policy::parse(&policy).unwrap();
    let note = checkpoint(&site, "default");
    let accepted = policy.open(&note, keys.origin()).unwrap();
    // It is the handover still: both keys signed it.
    assert_eq!(accepted.checkpoint.size(), said[1].size);
    let both = [said[1].old.clone(), said[1].new.clone()];
    assert_eq!(Note::parse(&note).unwrap().verify(&both).unwrap().len(), 2);
    assert!(policy.log_keys(keys.origin(), accepted.checkpoint.size()).contains(keys.newest()));
    assert_eq!(policy.log_keys(keys.origin(), u64::MAX), [keys.newest().clone()]);
    assert_eq!(policy.log_keys(keys.origin(), said[0].size).len(), 2);

    let refused = site.run(&["key", "rotate", "--tenant", "nobody"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
}

/// A retired key signs nothing newer than its handover, and no key changes without an entry.
#[test]
fn a_retired_key_is_good_for_nothing_new() {
    let site = Site::new();
    traffic(&site, 2);
    let seed: [u8; 32] = std::fs::read(site.keys.join("ledgers/default.seed")).unwrap().try_into().unwrap();
    let before = keys_of(&site.keys, "default");
    assert!(site.run(&["key", "rotate"]).status.success());
    traffic(&site, 2);
    let retired = Ed25519Signer::from_seed(before.origin(), &seed).unwrap();
    assert_eq!(retired.verifier_key(), before.newest(), "it is the key that was");

    let path = site.data.join("ledgers/default/checkpoint");
    let honest = std::fs::read(&path).unwrap();
    let body = Checkpoint::parse_body(Note::parse(&honest).unwrap().text()).unwrap().body();
    let forged = Note::sign(body, &[&retired as &dyn Signer]).unwrap().to_string();
    std::fs::write(&path, forged).unwrap();
    let (code, report) = site.verify();
    assert_eq!(code, 1, "{report:#}");
    std::fs::write(&path, &honest).unwrap();
    assert_eq!(site.verify().0, 0);

    // Public keys that say that it changed elsewhere, or never.
    let now = keys_of(&site.keys, "default");
    let (newest, from, _) = now.periods().last().unwrap();
    let other = Ed25519Signer::from_seed(before.origin(), &[9; 32]).unwrap();
    for (key, size) in [(newest, from + 1), (newest, from - 1), (other.verifier_key(), from)] {
        let mut wrong = before.clone();
        wrong.hand_over(key.clone(), size).unwrap();
        let mut keys = KeyStore::key_histories(&site.keys).unwrap();
        keys.iter_mut().filter(|(tenant, _)| tenant == "default").for_each(|(_, keys)| *keys = wrong.clone());
        let report = directory::check(&site.data, &Trust { keys, head: Vec::new() }, |_, _| {});
        assert_eq!(report.verdict, Verdict::Broken, "{size}");
    }

    // An older copy of the keys does not start.
    let keys = site.keys.join("ledgers");
    std::fs::write(keys.join("default.vkey"), before.to_string()).unwrap();
    std::fs::write(keys.join("default.seed"), seed).unwrap();
    let error =
        Collector::start(Config::new(&site.data)).err().expect("the key is not the ledger's any more");
    assert_eq!(error.exit_code(), 4, "{error}");
}

/// Records that the keys' head does not know of yet, because an older copy of the keys was put in place: what is published shows
/// that they were signed. It goes on, unless what the older head says is not in them.
#[test]
fn an_older_copy_of_the_head_goes_on_with_what_was_signed_since() {
    let site = Site::new();
    traffic(&site, 2);
    let head = site.keys.join("head");
    let older = std::fs::read(&head).unwrap();
    let old = (site.dir.path().join("old-data"), site.dir.path().join("old-keys"));
    copy_dir(&site.data, &old.0);
    copy_dir(&site.keys, &old.1);
    // In the log.
    traffic(&site, 2);
    let size = site.entries_of("default").len();
    std::fs::write(&head, &older).unwrap();
    traffic(&site, 1);
    assert!(site.entries_of("default").len() > size);
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
    // In segments. What is published never becomes less, and a second start finds what the first one left.
    sealed(&site);
    traffic(&site, 1);
    let newest = std::fs::read(&head).unwrap();
    let published = checkpoint(&site, "default");
    std::fs::write(&head, &older).unwrap();
    for _ in 0..2 {
        Collector::start(Config::new(&site.data)).unwrap().stop().unwrap();
        assert_eq!(checkpoint(&site, "default"), published);
        assert_eq!(std::fs::read(&head).unwrap(), newest);
    }
    traffic(&site, 1);
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
    sealed(&site);

    // The head of another history of the same keys, shorter than this one.
    let other = Site::new();
    copy_dir(&old.0, &other.data);
    copy_dir(&old.1, &other.keys);
    traffic(&other, 2);
    std::fs::write(&head, std::fs::read(other.keys.join("head")).unwrap()).unwrap();
    let error = Collector::start(Config::new(&site.data)).err().expect("two histories were signed");
    assert_eq!(error.exit_code(), 4, "{error}");
    assert!(error.to_string().contains("are not the ones that were signed"), "{error}");
}

fn sealed(site: &Site) {
    let collector = Collector::start(Config::new(&site.data)).unwrap();
    runtime().block_on(collector.seal()).unwrap();
    collector.stop().unwrap();
}

const STEPS: [&str; 6] = [
    "after the next key is made",
    "after the change of keys is entered",
    "after the public key is written",
    "after the handover is signed",
    "after the old key is destroyed",
    "end",
];

/// Images of records and keys at each step, of the program that is killed and of a power cut, for the ledger of a tenant and for
/// that of operations, whose key signs the log, too.
#[test]
fn a_crash_at_any_step_of_a_change_of_keys_is_finished_or_given_up() {
    let crashes: [fn(&Site) -> Images; 2] = [Images::of, Images::of_power_cuts];
    for (tenant, images_of) in
        ["default", "operations"].into_iter().flat_map(|of| crashes.map(|how| (of, how)))
    {
        let site = Site::new();
        traffic(&site, 2);
        let images = images_of(&site);
        let mut config = Config::new(&site.data);
        config.faults = images.faults();
        let collector = Collector::start(config).unwrap();
        let rotated = runtime().block_on(collector.rotate_key(tenant, "operator")).unwrap();
        images.take("end");
        collector.stop().unwrap();
        assert_eq!(*keys_of(&site.keys, tenant).newest(), rotated.key);

        let images = images.taken();
        let steps: Vec<&str> = images.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, STEPS, "{tenant}");
        for (step, here) in &images {
            for start in 0..2 {
                let collector = Collector::start(Config::new(&here.data))
                    .unwrap_or_else(|error| panic!("{tenant}, {step}, start {start}: {error}"));
                collector.stop().unwrap();
                let (code, report) = here.verify();
                assert_eq!(code, 0, "{tenant}, {step}, start {start}: {report:#}");
            }
            let keys = keys_of(&here.keys, tenant);
            // Before the entry there is nothing to finish; behind it there is no way back.
            let expected = if *step == STEPS[0] { 1 } else { 2 };
            assert_eq!(keys.keys().count(), expected, "{tenant}, {step}");
            assert!(
                !here.keys.join("ledgers").join(format!("{tenant}.next.seed")).exists(),
                "{tenant}, {step}"
            );
            let entries = here.entries_of(tenant);
            let said = entries.iter().filter(|entry| entry["event_type"] == "key_rotated").count();
            assert_eq!(said, expected - 1, "{tenant}, {step}");
            // It can be changed again.
            let collector = Collector::start(Config::new(&here.data)).unwrap();
            runtime().block_on(collector.rotate_key(tenant, "operator")).unwrap();
            collector.stop().unwrap();
            assert_eq!(here.verify().0, 0, "{tenant}, {step}: {:#}", here.verify().1);
        }
    }
}

/// A key that has signed and that no head speaks of has lost what it signed: it signs no second history.
#[test]
fn records_and_head_that_are_both_gone_are_missed() {
    let site = Site::new();
    traffic(&site, 2);
    std::fs::remove_dir_all(&site.data).unwrap();
    std::fs::remove_file(site.keys.join("head")).unwrap();
    let error = Collector::start(Config::new(&site.data)).err().expect("what was signed is missed");
    assert!(matches!(error, CollectorError::Refused(_)) && error.exit_code() == 4, "{error}");
    assert!(!site.keys.join("head").exists(), "nothing was signed");
    // One ledger's head alone.
    let site = Site::new();
    traffic(&site, 2);
    let path = site.keys.join("head");
    let mut head: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    head["ledgers"].as_object_mut().unwrap().remove("default");
    std::fs::write(&path, head.to_string()).unwrap();
    let error = Collector::start(Config::new(&site.data)).err().expect("what was signed is missed");
    assert_eq!(error.exit_code(), 4, "{error}");
}
