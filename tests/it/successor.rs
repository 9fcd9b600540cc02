//! What goes on where records or head are gone: nothing by itself, and a successor that says what is not there.

use crate::common::*;
use crate::kill::TwoMachines;
use indelible_collector::seal::Faults;
use indelible_collector::successor::{self, Plan, SuccessorError};
use indelible_collector::{BatchError, Collector, Config};
use indelible_ledger::{Checkpoint, Ed25519Signer, Hash, KeyHistory, Note, Signer, Succession};
use indelible_os::durable::{Dir, FsDir};
use indelible_os::sim::SimDir;
use indelible_record::payload;
use indelible_record::shipping::{Ack, Acknowledged};
use indelible_spool::frame::{Kind, Role};
use indelible_spool::reader::{self, FileReader};
use indelible_spool::seal::SpoolPublicKey;
use indelible_spool::shared::SyncedTo;
use indelible_spool::tail::{Batch, Tail};
use indelible_spool::wal::Record;
use indelible_spool::writer::{Claim, LogWriter, Options, SealTo};
use indelible_vault::KeyStore;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

const BODY: &[u8] = br#"{"model":"m-1","messages":[{"role":"user","content":"Hello"}]}"#;
const LEDGERS: [&str; 2] = ["default", "operations"];

/// Every file of directories, and what is in it.
fn contents(dirs: &[&Path]) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = dirs.iter().flat_map(|dir| files_below(dir));
    files.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// The last frame of each source in a log.
fn marks(data: &Path) -> BTreeMap<String, u64> {
    let dir = FsDir::existing(&data.join("wal"));
    let mut marks = BTreeMap::new();
    for (_, name) in reader::list(&dir, Role::Wal.extension()).unwrap() {
        let Some(mut file) = FileReader::open(&dir, &name).unwrap() else { continue };
        while let Some(frame) = file.next_frame().unwrap() {
            let record = Record::parse(frame.kind, frame.body);
            if let Some(origin) = record.as_ref().and_then(Record::origin) {
                marks.insert(origin.incarnation.to_string(), origin.seq);
            }
        }
    }
    marks
}

fn published(data: &Path, tenant: &str) -> Vec<u8> {
    std::fs::read(data.join("ledgers").join(tenant).join("checkpoint")).unwrap()
}

fn body(note: &[u8]) -> Checkpoint {
    Checkpoint::parse_body(Note::parse(note).unwrap().text()).unwrap()
}

fn keys_of(keys: &Path, tenant: &str) -> KeyHistory {
    let all = KeyStore::key_histories(keys).unwrap();
    all.into_iter().find(|(name, _)| name == tenant).unwrap().1
}

/// What the first entry of a ledger says of the one before, checked with that one's keys.
fn said(site: &Site, tenant: &str, old: &KeyHistory) -> (Succession, bool) {
    let genesis = site.entries_of(tenant).remove(0);
    let note = genesis["detail"]["succession"].as_str().unwrap().to_owned();
    let keys: Vec<_> = old.keys().cloned().collect();
    Succession::open(note.as_bytes(), &keys).unwrap()
}

/// Keeps the published checkpoints of a directory as somebody outside would.
fn kept_outside(machines: &TwoMachines, name: &str) -> Vec<String> {
    let keep = |tenant: &&str| {
        let path = machines.site.dir.path().join(format!("{name}-{tenant}.note"));
        std::fs::write(&path, published(&machines.site.data, tenant)).unwrap();
        path.display().to_string()
    };
    LEDGERS.iter().map(keep).collect()
}

fn successor(site: &Site, to: &Path, more: &[&str]) -> Output {
    let to = to.display().to_string();
    site.run(&[&["key", "successor", "--to", &to, "--json"], more].concat())
}

/// Lets the collector's command use other directories from now on; the gateway's configuration stays.
fn move_to(machines: &mut TwoMachines, name: &str) {
    machines.site.data = machines.site.dir.path().join(name);
    machines.site.keys = machines.site.dir.path().join(format!("{name}.keys"));
}

fn gaps(site: &Site) -> Vec<Value> {
    site.entries_of("operations").into_iter().filter(|entry| entry["event_type"] == "gap").collect()
}

fn send(machines: &TwoMachines, count: usize) -> Vec<String> {
    let one = |_| post(machines.gateway, "/v1/chat/completions", &[], BODY).event_id().to_owned();
    (0..count).map(one).collect()
}

fn verify(site: &Site, more: &[&str]) -> (i32, Value) {
    let output = site.run(&[&["verify", "--json"], more].concat());
    let report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (output.status.code().unwrap(), report)
}

fn ledger<'a>(report: &'a Value, tenant: &str) -> &'a Value {
    report["ledgers"].as_array().unwrap().iter().find(|ledger| ledger["tenant"] == tenant).unwrap()
}

/// A backup of the records is put back while a gateway goes on; checkpoints of what is lost are outside.
#[test]
fn what_was_lost_is_stated_and_the_gateway_goes_on_as_it_is() {
    let model = ModelServer::start();
    let mut machines = TwoMachines::new(&model.url);
    let (old, old_keys) = (machines.site.data.clone(), machines.site.keys.clone());
    let mut collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    send(&machines, 3);
    gateway.wait_shipped();
    assert_eq!(collector.stop(), 0, "{}", collector.log());
    let backup = machines.site.dir.path().join("backup");
    copy_dir(&old, &backup);
    let mut collector = machines.start_collector();
    send(&machines, 4);
    gateway.wait_shipped();
    assert_eq!(collector.stop(), 0, "{}", collector.log());
    let outside = kept_outside(&machines, "lost");
    let (before, lost) = (marks(&backup), marks(&old));
    let (source, had) = before.iter().next().unwrap();
    assert!(lost[source] > had + 4, "{lost:?} {before:?}");
    let spooled = send(&machines, 2);
    copy_dir(&backup, &old);

    // Refused, and the way on is named.
    let mut refused = machines.site.spawn(&["collector", "--config", &machines.config], machines.collector);
    assert_eq!(refused.wait(), 4);
    assert!(refused.log().contains("indelible key successor --after CHECKPOINT --to"), "{}", refused.log());
    let evidence = contents(&[&old, &old_keys]);

    let new = machines.site.dir.path().join("next");
    let made = successor(&machines.site, &new, &["--after", &outside[0], "--after", &outside[1]]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["ledgers"][0]["predecessor"]["named"], true, "{made:#}");
    assert_eq!(contents(&[&old, &old_keys]), evidence, "the old directories stay as they are");

    move_to(&mut machines, "next");
    let mut collector = machines.start_collector();
    gateway.wait_shipped();
    let later = send(&machines, 1);
    gateway.wait_shipped();
    for id in spooled.iter().chain(&later) {
        machines.site.record(id);
    }
    // The gateway is told again by whom its frames are known, and may be started anew.
    assert_eq!(gateway.stop(), 0, "{}", gateway.log());
    let mut gateway = machines.start_gateway();
    send(&machines, 1);
    gateway.wait_shipped();
    assert_eq!(gateway.stop(), 0, "{}", gateway.log());
    assert_eq!(collector.stop(), 0, "{}", collector.log());

    let site = &machines.site;
    for tenant in LEDGERS {
        let (keys, then) = (keys_of(&old_keys, tenant), published(&old, tenant));
        let (statement, by_old) = said(site, tenant, &keys);
        let note = std::fs::read(site.dir.path().join(format!("lost-{tenant}.note"))).unwrap();
        assert!(by_old);
        assert_eq!((statement.size, statement.root), (body(&note).size(), body(&note).root()));
        assert!(statement.size > body(&then).size() || tenant == "operations");
        assert_eq!(statement.origin, keys.origin());
        assert_ne!(keys_of(&site.keys, tenant).origin(), keys.origin());
    }
    let gaps = gaps(site);
    assert_eq!(gaps.len(), 1, "{gaps:#?}");
    assert_eq!(gaps[0]["source"]["id"], "gateway-1");
    assert_eq!(gaps[0]["source"]["incarnation"], **source);
    let operations = keys_of(&old_keys, "operations");
    let stated = serde_json::json!({
        "cause": "acknowledged_by_predecessor",
        "count": lost[source],
        "first": 1,
        "last": lost[source],
        "predecessor": operations.origin(),
        "predecessor_has": had,
    });
    assert_eq!(gaps[0]["detail"], stated);
    let requests = site.entries().into_iter().filter(|entry| entry["event_type"] == "llm_request").count();
    assert_eq!(requests, 4, "what was spooled, and what came after");

    let (code, report) = site.verify();
    assert_eq!(code, 0, "{report:#}");
    let before = &ledger(&report, "default")["predecessor"];
    assert_eq!(before["origin"], keys_of(&old_keys, "default").origin(), "{report:#}");
    assert_eq!(before["signed_by_old_key"], "unknown");
    let old_dir = old.display().to_string();
    let (code, report) = verify(site, &["--predecessor", &old_dir, "--checkpoint", &outside[0]]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(ledger(&report, "default")["predecessor"]["signed_by_old_key"], "yes");
    // Sealed, too.
    site.json(&["seal", "--json"]);
    let (code, report) = verify(site, &["--predecessor", &old_dir]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(ledger(&report, "default")["predecessor"]["signed_by_old_key"], "yes");
    assert_eq!(contents(&[&old, &old_keys]), evidence);
    // Keys stay what they were for gateways, and payloads of before stay readable where they are.
    for same in ["master.key", "tls/collector.pem", "gateway-1/api-key-id.key"] {
        let read = |keys: &Path| std::fs::read(keys.join(same)).unwrap();
        assert_eq!(read(&old_keys), read(&site.keys), "{same}");
    }
}

/// Records and keys are put back together: only the source knows that there was more.
#[test]
fn a_successor_of_a_successor_knows_who_acknowledged_what() {
    let model = ModelServer::start();
    let mut machines = TwoMachines::new(&model.url);
    let first = machines.site.data.clone();
    let mut collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    send(&machines, 2);
    gateway.wait_shipped();
    assert_eq!(collector.stop(), 0, "{}", collector.log());
    let by_first = marks(&first);
    let (source, acknowledged) = by_first.iter().next().unwrap();

    // The second one never hears from the gateway.
    let second = machines.site.dir.path().join("second");
    let made = successor(&machines.site, &second, &[]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let first_operations = keys_of(&machines.site.keys, "operations");
    move_to(&mut machines, "second");
    let third = machines.site.dir.path().join("third");
    let made = successor(&machines.site, &third, &["--old-key-compromised"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let second_keys = keys_of(&machines.site.keys, "default");
    move_to(&mut machines, "third");
    let (statement, by_old) = said(&machines.site, "default", &second_keys);
    assert_eq!((statement.origin.as_str(), statement.size, by_old), (second_keys.origin(), 1, false));

    let mut collector = machines.start_collector();
    send(&machines, 2);
    gateway.wait_shipped();
    assert_eq!(collector.stop(), 0, "{}", collector.log());
    let stated = gaps(&machines.site);
    assert_eq!(stated.len(), 1, "{stated:#?}");
    assert_eq!(stated[0]["source"]["incarnation"], **source);
    assert_eq!(
        (&stated[0]["detail"]["last"], &stated[0]["detail"]["predecessor"]),
        (&(*acknowledged).into(), &first_operations.origin().into())
    );
    let (code, report) = machines.site.verify();
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(ledger(&report, "default")["predecessor"]["signed_by_old_key"], "no");

    // What it acknowledged itself is another matter: it is missed, as ever.
    let (data, keys) = (machines.site.data.clone(), machines.site.keys.clone());
    let backup = machines.site.dir.path().join("backup");
    copy_dir(&data, &backup.join("data"));
    copy_dir(&keys, &backup.join("keys"));
    let mut collector = machines.start_collector();
    send(&machines, 2);
    gateway.wait_shipped();
    assert_eq!(collector.stop(), 0, "{}", collector.log());
    copy_dir(&backup.join("data"), &data);
    copy_dir(&backup.join("keys"), &keys);
    let mut refused = machines.site.spawn(&["collector", "--config", &machines.config], machines.collector);
    refused.wait_ready();
    let spooled = send(&machines, 1);
    assert_eq!(refused.wait(), 4, "{}", refused.log());
    assert!(refused.log().contains("was acknowledged up to"), "{}", refused.log());
    assert!(refused.log().contains("indelible key successor --after"), "{}", refused.log());

    // And so on: its last log has not heard of what is lost, the gap says so.
    let had = marks(&data)[source];
    let fourth = machines.site.dir.path().join("fourth");
    let made = successor(&machines.site, &fourth, &[]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    move_to(&mut machines, "fourth");
    let mut collector = machines.start_collector();
    gateway.wait_shipped();
    machines.site.record(&spooled[0]);
    assert_eq!(gateway.stop(), 0, "{}", gateway.log());
    assert_eq!(collector.stop(), 0, "{}", collector.log());
    let stated = gaps(&machines.site);
    assert_eq!(stated.len(), 1, "{stated:#?}");
    assert_eq!(
        (&stated[0]["detail"]["first"], &stated[0]["detail"]["predecessor_has"]),
        (&1.into(), &had.into())
    );
    assert!(stated[0]["detail"]["last"].as_u64().unwrap() > had);
    assert_eq!(machines.site.verify().0, 0);
}

/// A request that is under way while the ledger changes: its beginning is with the predecessor, its end is stated.
#[test]
fn a_request_begun_before_is_stated_to_have_ended() {
    let (answer, gate) = std::sync::mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    let model = RawServer::start(move |stream| {
        use std::io::Write as _;
        // A test that is over lets go.
        let _ = gate.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    });
    let mut machines = TwoMachines::new(&model.url);
    let mut collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let address = machines.gateway;
    let asked =
        std::thread::spawn(move || post(address, "/v1/chat/completions", &[], BODY).event_id().to_owned());
    wait_until("the start to be taken in", || {
        !model.requests().is_empty() && gateway.metric("indelible_gateway_unshipped_frames") == Some(0)
    });
    collector.kill();
    let begun = marks(&machines.site.data).into_values().next().unwrap();
    let next = machines.site.dir.path().join("next");
    let made = successor(&machines.site, &next, &[]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    move_to(&mut machines, "next");
    answer.send(()).unwrap();
    let event_id = asked.join().unwrap();
    let mut collector = machines.start_collector();
    gateway.wait_shipped();
    assert_eq!(gateway.stop(), 0, "{}", gateway.log());
    assert_eq!(collector.stop(), 0, "{}", collector.log());
    let stated = gaps(&machines.site);
    assert_eq!(stated.len(), 2, "{stated:#?}");
    assert_eq!(stated[0]["detail"]["last"], begun);
    assert_eq!(stated[1]["event_id"], event_id);
    assert_eq!(stated[1]["detail"]["cause"], "begun_with_predecessor");
    assert!(stated[1]["source"]["start_seq"].as_u64().unwrap() <= begun);
    assert_eq!(machines.site.verify().0, 0);
}

/// A ledger of some requests in one process, closed in good order.
fn recorded() -> Site {
    let site = Site::new();
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    for _ in 0..3 {
        post(up.listen, "/v1/chat/completions", &[], BODY);
    }
    up.wait_shipped();
    assert_eq!(up.stop(), 0, "{}", up.log());
    site
}

#[test]
fn what_is_no_checkpoint_of_the_ledger_is_nothing_to_go_on_from() {
    let (site, other) = (recorded(), recorded());
    let evidence = contents(&[&site.data, &site.keys]);
    let good = published(&site.data, "default");
    let (origin, size) = (body(&good).origin().to_owned(), body(&good).size());
    let seed: [u8; 32] = std::fs::read(site.keys.join("ledgers/default.seed")).unwrap().try_into().unwrap();
    let own = Ed25519Signer::from_seed(&origin, &seed).unwrap();
    let stranger = Ed25519Signer::from_seed(&origin, &[9; 32]).unwrap();
    let signed = |size, by: &Ed25519Signer| {
        let checkpoint = Checkpoint::new(&origin, size, Hash([7; 32])).unwrap();
        Note::sign(checkpoint.body(), &[by as &dyn Signer]).unwrap().to_string().into_bytes()
    };
    let unsigned = good.splitn(2, |byte| *byte == 0xe2).next().unwrap().to_vec();
    let mut tampered = good.clone();
    tampered[origin.len() + 1] ^= 1;
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("another collector's", published(&other.data, "default"), "no ledger of this key directory"),
        ("unsigned", unsigned, "not a signed checkpoint"),
        ("tampered", tampered, "not signed by the key of ledger default"),
        ("by another key", signed(size + 5, &stranger), "not signed by the key of ledger default"),
        ("smaller", signed(size - 1, &own), "are known to have been signed"),
        ("of another history", signed(size, &own), "two histories"),
        ("nothing", Vec::new(), "not a signed checkpoint"),
        ("too large", vec![b'a'; 2 << 20], "not a signed checkpoint"),
    ];
    let (path, to) = (site.dir.path().join("given.note"), site.dir.path().join("next"));
    for (name, note, why) in cases {
        std::fs::write(&path, note).unwrap();
        let made = successor(&site, &to, &["--after", &path.display().to_string()]);
        assert_eq!(made.status.code(), Some(2), "{name}");
        let said: Value = serde_json::from_slice(&made.stderr).unwrap();
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.contains(why), "{name}: {message}");
        assert!(said["error"]["hint"].is_string(), "{name}");
        assert!(!to.exists() && !site.dir.path().join("next.keys").exists(), "{name}");
    }
    // Nor into what is there, within the old directories, of one tenant, or where a server runs.
    for (to, more) in [
        (site.data.clone(), &[][..]),
        (site.data.join("next"), &[]),
        (site.keys.join("next"), &[]),
        (other.data.clone(), &[]),
        (to.clone(), &["--tenant", "default"]),
        (to.clone(), &["--unknown", "default"]),
        (to.clone(), &["--unknown", "nobody"]),
    ] {
        let made = successor(&site, &to, more);
        assert_eq!(made.status.code(), Some(2), "{} {more:?}: {}", to.display(), text(&made.stderr));
    }
    assert_eq!(contents(&[&site.data, &site.keys]), evidence);
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    assert_eq!(successor(&site, &to, &[]).status.code(), Some(2));
    assert_eq!(up.stop(), 0, "{}", up.log());

    // One that is of a larger ledger, by its key, is taken; and by the stolen key's owner, one of the same size.
    let compromised: &[&str] = &["--old-key-compromised"];
    for (name, size, more) in [("larger", 100, &[][..]), ("same", published_size(&site), compromised)] {
        std::fs::write(&path, signed(size, &own)).unwrap();
        let to = site.dir.path().join(name);
        let given = path.display().to_string();
        let made = successor(&site, &to, &[&["--after", &given], more].concat());
        assert!(made.status.success(), "{name}: {}", text(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let default = &made["ledgers"][0];
        assert_eq!((&default["tenant"], &default["predecessor"]["size"]), (&"default".into(), &size.into()));
        assert_eq!(default["predecessor"]["signed"], more.is_empty());
        assert_eq!(made["ledgers"][1]["predecessor"]["named"], false, "{made:#}");
    }
}

fn published_size(site: &Site) -> u64 {
    body(&published(&site.data, "default")).size()
}

/// Of records and head nothing is left but the keys.
#[test]
fn where_nothing_is_left_that_must_be_said() {
    let site = recorded();
    let kept = published(&site.data, "default");
    std::fs::remove_dir_all(&site.data).unwrap();
    std::fs::remove_file(site.keys.join("head")).unwrap();
    let (path, to) = (site.dir.path().join("kept.note"), site.dir.path().join("next"));
    std::fs::write(&path, &kept).unwrap();
    let given = path.display().to_string();
    // It may be a name that was mistyped.
    let made = successor(&site, &to, &["--after", &given]);
    assert_eq!(made.status.code(), Some(2));
    assert!(text(&made.stderr).contains("--data-lost"), "{}", text(&made.stderr));
    let made = successor(&site, &to, &["--data-lost", "--after", &given]);
    assert_eq!(made.status.code(), Some(2));
    assert!(text(&made.stderr).contains("--unknown operations"), "{}", text(&made.stderr));
    let made = successor(&site, &to, &["--data-lost", "--after", &given, "--unknown", "operations"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(!site.data.exists());
    let new =
        Site { dir: tempfile::tempdir().unwrap(), data: to.clone(), keys: site.dir.path().join("next.keys") };
    let (operations, by_old) = said(&new, "operations", &keys_of(&site.keys, "operations"));
    assert_eq!((operations.size, operations.root, by_old), (0, Hash::EMPTY_ROOT, true));
    assert_eq!(said(&new, "default", &keys_of(&site.keys, "default")).0.size, body(&kept).size());
    assert_eq!(new.verify().0, 0, "{:#}", new.verify().1);
}

/// No ledger is left behind because its key is gone, by whatever it is known.
#[test]
fn a_ledger_whose_key_is_gone_is_not_passed_over() {
    let site = recorded();
    let to = site.dir.path().join("next");
    let public = site.keys.join("ledgers/default.vkey");
    let vkey = std::fs::read(&public).unwrap();
    let published = site.dir.path().join("published");
    copy_dir(&site.data.join("ledgers"), &published);
    for name in ["default.seed", "default.vkey"] {
        std::fs::remove_file(site.keys.join("ledgers").join(name)).unwrap();
    }
    let refused = |what: &str| {
        let made = successor(&site, &to, &[]);
        assert_eq!(made.status.code(), Some(2), "{what}: {}", text(&made.stderr));
        assert!(
            text(&made.stderr).contains("no key of the ledgers of default"),
            "{what}: {}",
            text(&made.stderr)
        );
    };
    refused("head, log and published");
    std::fs::remove_file(site.keys.join("head")).unwrap();
    refused("log and published");
    std::fs::remove_dir_all(site.data.join("ledgers")).unwrap();
    refused("the log");
    assert!(!to.exists());
    let made = successor(&site, &to, &["--unknown", "default", "--unknown", "operations"]);
    // Its log has a checkpoint of the operations ledger.
    assert!(text(&made.stderr).contains("are known to have been signed"), "{}", text(&made.stderr));
    let made = successor(&site, &to, &["--unknown", "default"]);
    assert!(made.status.success(), "{}", text(&made.stderr));

    // Who holds it against the old directory is told.
    copy_dir(&published, &site.data.join("ledgers"));
    let new = Site { dir: tempfile::tempdir().unwrap(), data: to, keys: site.dir.path().join("next.keys") };
    let old = site.data.display().to_string();
    let output = new.run(&["verify", "--predecessor", &old]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("no key of ledger default"), "{}", text(&output.stderr));
    std::fs::write(&public, vkey).unwrap();
    let (code, report) = verify(&new, &["--predecessor", &old]);
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{report:#}");
    assert!(
        text(report["findings"][0]["what"].as_str().unwrap().as_bytes()).contains("no ledger here goes on")
    );
}

/// Where it is made, something may be already that is not of it.
#[test]
fn nothing_of_others_is_removed() {
    let site = recorded();
    let to = site.dir.path().join("next");
    for name in [".next.successor", ".next.keys.successor"] {
        let own = site.dir.path().join(name).join("thesis.txt");
        std::fs::create_dir(own.parent().unwrap()).unwrap();
        std::fs::write(&own, "mine").unwrap();
        let made = successor(&site, &to, &[]);
        assert_eq!(made.status.code(), Some(2), "{}", text(&made.stderr));
        assert!(text(&made.stderr).contains("thesis.txt"), "{}", text(&made.stderr));
        assert_eq!(std::fs::read(&own).unwrap(), b"mine");
        std::fs::remove_dir_all(own.parent().unwrap()).unwrap();
    }
    let within = site.dir.path().join("p");
    let (data, keys) = (within.join("data"), within.display().to_string());
    let made = successor(&site, &data, &["--to-keys", &keys]);
    assert_eq!(made.status.code(), Some(2), "{}", text(&made.stderr));
    assert!(text(&made.stderr).contains("within each other"), "{}", text(&made.stderr));
    assert!(!within.exists(), "no secret is left there");
}

/// Gateway and collector in one process: what the gateway had not shipped goes along.
#[test]
fn what_was_not_shipped_goes_along() {
    let site = recorded();
    let evidence = contents(&[&site.data, &site.keys]);
    let to = site.dir.path().join("next");
    let made = successor(&site, &to, &[]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert_eq!(contents(&[&site.data, &site.keys]), evidence);
    let new = Site { dir: tempfile::tempdir().unwrap(), data: to, keys: site.dir.path().join("next.keys") };
    let names = |data: &Path| -> Vec<_> {
        files_below(&data.join("spool")).iter().map(|path| path.file_name().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&site.data), names(&new.data));
    let model = ModelServer::start();
    let mut up = new.up(&model.url, &[]);
    let id = post(up.listen, "/v1/chat/completions", &[], BODY).event_id().to_owned();
    up.wait_shipped();
    assert_eq!(up.stop(), 0, "{}", up.log());
    new.record(&id);
    let stated = gaps(&new);
    assert_eq!(stated.len(), 1, "{stated:#?}");
    assert_eq!(
        stated[0]["detail"]["last"], stated[0]["detail"]["predecessor_has"],
        "nothing is lost: {stated:#?}"
    );
    assert_eq!(new.verify().0, 0, "{:#}", new.verify().1);
    // Its segments lie in a place of their own.
    let segments = |data: &Path| data.join("segments");
    site.json(&["seal", "--json"]);
    copy_dir(&segments(&site.data), &segments(&new.data));
    let error = Collector::start(Config::new(&new.data)).err().expect("segments of its predecessor");
    assert!(error.exit_code() == 4 && error.to_string().contains("is of another ledger"), "{error}");
}

/// A crash at any step leaves nothing that a collector starts on, and the next run makes or ends it.
#[test]
fn a_successor_that_was_cut_off_is_made_again_or_ended() {
    let steps =
        ["after the keys are copied", "after the ledgers are begun", "after the keys have their place"];
    for step in steps {
        let site = recorded();
        let evidence = contents(&[&site.data, &site.keys]);
        let to = site.dir.path().join("next");
        let plan = Plan {
            data: site.data.clone(),
            keys: site.keys.clone(),
            to: to.clone(),
            to_keys: site.dir.path().join("next.keys"),
            after: Vec::new(),
            unknown: Vec::new(),
            data_lost: false,
            old_keys_compromised: false,
            faults: Faults::at(move |at| match at == step {
                true => Err(std::io::Error::other("cut off")),
                false => Ok(()),
            }),
        };
        let error = successor::make(&plan).expect_err(step);
        assert!(matches!(error, SuccessorError::Collector(_)), "{step}: {error}");
        assert!(!to.exists(), "{step}");
        let made = successor(&site, &to, &[]);
        assert!(made.status.success(), "{step}: {}", text(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        assert_eq!(made["finished_earlier_attempt"], step == steps[2], "{step}");
        let new = Site { dir: tempfile::tempdir().unwrap(), data: to.clone(), keys: plan.to_keys.clone() };
        assert!(said(&new, "default", &keys_of(&site.keys, "default")).1, "{step}");
        assert_eq!(new.verify().0, 0, "{step}: {:#}", new.verify().1);
        assert_eq!(contents(&[&site.data, &site.keys]), evidence, "{step}");
        let left: Vec<_> =
            std::fs::read_dir(site.dir.path()).unwrap().map(|name| name.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains(".successor")), "{step}: {left:?}");
    }
}

/// Whoever kept a later checkpoint of the old ledger shows that known history is denied.
#[test]
fn a_statement_that_denies_what_was_signed_is_broken() {
    let site = recorded();
    let (early, early_keys) = (site.dir.path().join("early"), site.dir.path().join("early.keys"));
    copy_dir(&site.data, &early);
    copy_dir(&site.keys, &early_keys);
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    post(up.listen, "/v1/chat/completions", &[], BODY);
    up.wait_shipped();
    assert_eq!(up.stop(), 0, "{}", up.log());

    let old = Site { dir: tempfile::tempdir().unwrap(), data: early, keys: early_keys };
    let to = site.dir.path().join("next");
    assert!(successor(&old, &to, &[]).status.success());
    let new = Site { dir: tempfile::tempdir().unwrap(), data: to, keys: site.dir.path().join("next.keys") };
    let of = |site: &Site| site.data.display().to_string();
    assert_eq!(verify(&new, &["--predecessor", &of(&old)]).0, 0);
    let (code, report) = verify(&new, &["--predecessor", &of(&site)]);
    assert_eq!(code, 1, "{report:#}");
    let later = site.data.join("ledgers/default/checkpoint").display().to_string();
    let (code, report) = verify(&new, &["--predecessor", &of(&old), "--checkpoint", &later]);
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(report["findings"][0]["ledger"], "default");
    assert!(report["findings"][0]["what"].as_str().unwrap().contains("goes on from"), "{report:#}");
    // A directory that none of the ledgers goes on from is a mistake.
    let other = recorded();
    let asked = new.run(&["verify", "--predecessor", &of(&other)]);
    assert_eq!(asked.status.code(), Some(2), "{}", text(&asked.stderr));
}

/// Frames of a source, each in a batch of its own.
fn batches(key: &SpoolPublicKey, count: usize) -> Vec<Batch> {
    let dir: Arc<dyn Dir> = Arc::new(SimDir::new());
    let seal = Some(SealTo { source_id: "gateway-1".to_owned(), key: key.clone() });
    let options = Options { role: Role::Spool, limit_bytes: None, file_bytes: 16 << 20, seal };
    let (mut writer, _) = LogWriter::open(dir.clone(), options, |_, _, _| Ok(()), || 0).unwrap();
    let body = payload::pack(&[], &[]);
    for _ in 0..count {
        writer.append_sealed(Kind::Heartbeat, &[0; 16], &[&body], Claim::Settle).unwrap();
    }
    writer.flush().unwrap();
    let (file_no, _, offset) = writer.current().unwrap();
    let mut tail = Tail::new(dir, Role::Spool.extension(), 0);
    let mut next = || tail.next_batch(SyncedTo { file_no, offset, seq: u64::MAX }, 1).unwrap();
    let all: Vec<_> = std::iter::from_fn(&mut next).collect();
    assert_eq!(all.len(), count);
    all
}

/// What a collector may be shown by a source that it meets for the first time, and what it makes of that.
#[test]
fn only_a_successor_goes_on_behind_frames_that_it_does_not_have() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (data, next) = (dir.path().join("data"), dir.path().join("next"));
    let collector = Collector::start(Config::new(&data)).unwrap();
    let key = collector.spool_key().unwrap().public().clone();
    let (one, two, three) = (batches(&key, 9), batches(&key, 9), batches(&key, 9));
    let show = |collector: &Collector, batch: &Batch, told: Option<Acknowledged>| {
        let body = [&batch.header[..], &batch.frames].concat();
        runtime.block_on(collector.receive(&body, None, told, false))
    };
    let token = |ack: Ack| Acknowledged { seq: ack.seq, token: ack.token };
    let mut told = None;
    for batch in one.iter().take(4) {
        told = Some(token(show(&collector, batch, told).unwrap()));
    }
    let told = told.unwrap();
    let missing = |outcome: Result<Ack, BatchError>| matches!(outcome, Err(BatchError::OutOfOrder { .. }));
    assert!(missing(show(&collector, &two[3], None)), "it has no predecessor");
    collector.stop().unwrap();

    let plan = Plan {
        data: data.clone(),
        keys: dir.path().join("data.keys"),
        to: next.clone(),
        to_keys: dir.path().join("next.keys"),
        after: Vec::new(),
        unknown: Vec::new(),
        data_lost: false,
        old_keys_compromised: false,
        faults: Faults::default(),
    };
    successor::make(&plan).unwrap();
    let collector = Collector::start(Config::new(&next)).unwrap();
    // Not by anybody's word: a token of nobody, and one of another number.
    for token in ["0".repeat(32), told.token.clone()] {
        let forged = Acknowledged { seq: 6, token };
        let outcome = show(&collector, &one[6], Some(forged));
        assert!(matches!(outcome, Err(BatchError::ForeignAck(6))), "{outcome:?}");
    }
    assert_eq!(show(&collector, &one[4], Some(told.clone())).unwrap().seq, 5);
    assert_eq!(show(&collector, &one[5], Some(told)).unwrap().seq, 6, "it is stated once");
    // A machine that lost what it was told along with files that it had removed.
    assert_eq!(show(&collector, &two[3], None).unwrap().seq, 4);
    assert!(missing(show(&collector, &two[6], None)), "it is known by now");
    assert_eq!(show(&collector, &two[4], None).unwrap().seq, 5);
    assert_eq!(show(&collector, &three[0], None).unwrap().seq, 1);
    collector.stop().unwrap();
    // The log is read back as it was written.
    let collector = Collector::start(Config::new(&next)).unwrap();
    assert_eq!(show(&collector, &one[6], None).unwrap().seq, 7);
    collector.stop().unwrap();

    let site = Site { dir, data: next.clone(), keys: plan.to_keys.clone() };
    let stated: Vec<_> = gaps(&site)
        .iter()
        .map(|gap| {
            (gap["detail"]["cause"].clone(), gap["detail"]["first"].clone(), gap["detail"]["last"].clone())
        })
        .collect();
    let gap = |cause: &str, first: u64, last: u64| (cause.into(), first.into(), last.into());
    assert_eq!(stated, [gap("acknowledged_by_predecessor", 1, 4), gap("not_offered", 1, 3)]);
    assert_eq!(site.verify().0, 0, "{:#}", site.verify().1);
}
