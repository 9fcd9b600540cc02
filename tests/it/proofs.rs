//! A ledger shows to outsiders what it has: tiles, proofs, and that it only grew.

use crate::common::*;
use indelible_ledger::{Checkpoint, Ed25519Signer, Hash, ProofFile};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// The ledger's key.
fn vkey(site: &Site, tenant: &str) -> String {
    site.json(&["key", "show", "--tenant", tenant, "--json"])["key"].as_str().unwrap().to_owned()
}

fn token(site: &Site) -> String {
    std::fs::read_to_string(site.data.join("run/operator.token")).unwrap().trim().to_owned()
}

/// Where the collector listens.
fn collector(site: &Site) -> String {
    let address: Value =
        serde_json::from_slice(&std::fs::read(site.data.join("run/collector.json")).unwrap()).unwrap();
    address["url"].as_str().unwrap().to_owned()
}

/// The client that was written from the specifications alone.
fn monitor(site: &Site, tenant: &str) -> Output {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/tlog_monitor.py");
    let url = format!("{}/tenants/{tenant}", collector(site));
    let output = Command::new("python3")
        .arg(client)
        .args([&url, &vkey(site, tenant), "--token", &token(site)])
        .output();
    output.unwrap()
}

fn monitored(site: &Site, tenant: &str) -> Value {
    let output = monitor(site, tenant);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn talk(up: &Process, count: usize) -> Vec<String> {
    let body = br#"{"model":"m-1","messages":[{"role":"user","content":"Hello"}]}"#;
    let answers = (0..count)
        .map(|_| post(up.listen, "/v1/chat/completions", &[("Content-Type", "application/json")], body));
    let ids = answers.map(|answer| answer.event_id().to_owned()).collect();
    up.wait_shipped();
    ids
}

/// Waits until so many entries of the default ledger are signed.
fn wait_signed(site: &Site, size: u64) {
    let checkpoint = site.data.join("ledgers/default/checkpoint");
    let signed = || std::fs::read_to_string(&checkpoint).ok()?.lines().nth(1)?.parse::<u64>().ok();
    wait_until("signed", || signed().is_some_and(|signed| signed >= size));
}

#[test]
fn tiles_are_read_and_verified_by_a_client_that_shares_no_code() {
    let (site, model) = (Site::new(), ModelServer::start());
    let up = site.up(&model.url, &[]);
    // Two full tiles and some: across restarts, from the log and from segments.
    talk(&up, 300);
    wait_signed(&site, 301);
    let first = monitored(&site, "default");
    assert!(first["size"].as_u64().unwrap() >= 301, "{first}");
    assert_eq!(first["bundles"], 2, "{first}");
    assert!(monitored(&site, "operations")["size"].as_u64().unwrap() > 0);
    assert!(site.run(&["seal"]).status.success());
    drop(up);
    let up = site.up(&model.url, &[]);
    talk(&up, 260);
    wait_signed(&site, 561);
    let later = monitored(&site, "default");
    assert!(later["size"].as_u64().unwrap() >= 561, "{later}");
    // What is kept may go at any time, and may be damaged.
    let tile = site.data.join("cache/tiles/default/tile/0/001");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    assert_eq!(monitored(&site, "default")["root"], later["root"]);
    std::fs::remove_dir_all(site.data.join("cache/tiles")).unwrap();
    assert_eq!(monitored(&site, "default")["root"], later["root"]);
    assert!(tile.is_file(), "what was made again is kept");
}

#[test]
fn a_record_has_a_proof_that_others_can_check() {
    let (site, model) = (Site::new(), ModelServer::start());
    let up = site.up(&model.url, &[]);
    let ids = talk(&up, 5);
    wait_signed(&site, 6);
    let (proof, policy) = (site.dir.path().join("one.tlog-proof"), site.dir.path().join("auditor.policy"));
    std::fs::write(&policy, site.run(&["key", "policy"]).stdout).unwrap();
    let said = site.run(&["proof", &ids[2]]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    std::fs::write(&proof, &said.stdout).unwrap();
    let read = ProofFile::parse(&said.stdout).unwrap();
    let entry: Value = serde_json::from_slice(read.extra.as_ref().unwrap()).unwrap();
    assert_eq!((&entry["event_id"], &entry["seq"]), (&ids[2].as_str().into(), &read.index.into()));
    let check = |policy: &Path| {
        let output =
            site.run(&["proof", "--check", proof.to_str().unwrap(), "--policy", policy.to_str().unwrap()]);
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let (code, words) = check(&policy);
    assert!(code == 0 && words.starts_with("shown: entry "), "{words}");
    let output = site.run(&["proof", "--check", proof.to_str().unwrap()]);
    assert!(text(&output.stdout).starts_with("IDENTITY NOT CHECKED"), "{}", text(&output.stdout));
    // Another key of the same name, and a proof with one bit changed.
    let other = Ed25519Signer::from_seed(checkpoint_of(&read).origin(), &[3; 32]).unwrap();
    let stranger = site.dir.path().join("stranger.policy");
    std::fs::write(&stranger, format!("log {}\nquorum none\n", other.verifier_key())).unwrap();
    assert_eq!(check(&stranger).0, 1);
    let mut forged = read.clone();
    forged.hashes[0].0[0] ^= 1;
    std::fs::write(&proof, forged.to_string()).unwrap();
    assert_eq!(check(&policy).0, 1);
    // An entry that has another number, what is no entry, and none at all; text for the terminal is escaped.
    let signer = Ed25519Signer::from_seed("indelible/\u{9b}x", &[3; 32]).unwrap();
    let forged = |extra: &[u8], index: u64| {
        let leaves = [indelible_ledger::leaf_hash(b"0"), indelible_ledger::leaf_hash(extra)];
        let root = indelible_ledger::root_of(&leaves);
        let note = Checkpoint::new("indelible/\u{9b}x", 2, root).unwrap().sign(&signer).unwrap();
        let file = ProofFile {
            extra: Some(extra.to_vec()),
            index,
            hashes: vec![leaves[0]],
            checkpoint: indelible_ledger::Note::parse(note.as_bytes()).unwrap(),
        };
        std::fs::write(&proof, file.to_string()).unwrap();
        let output = site.run(&["proof", "--check", proof.to_str().unwrap()]);
        let said = text(&output.stdout);
        assert!(!said.chars().any(|c| c != '\n' && c.is_control()), "{said:?}");
        (output.status.code().unwrap(), said)
    };
    let entry = |seq: u64| {
        let entry = indelible_record::Entry {
            seq,
            prev_hash: Hash::ZERO.to_string(),
            event_id: "one\u{1b}[2J".to_owned(),
            event_type: "llm_request".to_owned(),
            tenant_id: "acme\u{202e}\nshown: entry 7".to_owned(),
            timestamp: "then".to_owned(),
            v: indelible_record::entry::VERSION,
            ..indelible_record::Entry::default()
        };
        entry.to_bytes().unwrap()
    };
    let (code, said) = forged(&entry(1), 1);
    assert!(code == 0 && said.contains("tenant acme\\u{202e}\\u{a}shown: entry 7\n"), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
    let (code, said) = forged(&entry(5), 1);
    assert!(
        code == 1 && said.contains("NOT SHOWN: the proof is of number 1, and the entry says 5"),
        "{said}"
    );
    let (code, said) = forged(b"\x1b[2J\x1b[Hshown: entry 0 is one of the first 1", 1);
    assert!(code == 1 && said.contains("NOT SHOWN: what comes with the proof is no entry"), "{said}");
    // For programs.
    let said = site.json(&["proof", &ids[2], "--json"]);
    assert!(ProofFile::parse(said["proof"].as_str().unwrap().as_bytes()).is_ok(), "{said}");
    let said = site.json(&["key", "policy", "--json"]);
    assert_eq!(said["policy"].as_str().unwrap().as_bytes(), std::fs::read(&policy).unwrap());
    // The same from the directory itself, and of what does not exist.
    drop(up);
    assert!(ProofFile::parse(&site.run(&["proof", &ids[2]]).stdout).is_ok());
    assert_eq!(site.run(&["proof", "no-such-record"]).status.code(), Some(1));
}

fn checkpoint_of(proof: &ProofFile) -> Checkpoint {
    Checkpoint::parse_body(proof.checkpoint.text()).unwrap()
}

#[test]
fn a_ledger_shows_that_it_grew_from_an_older_checkpoint() {
    let (site, model) = (Site::new(), ModelServer::start());
    let up = site.up(&model.url, &[]);
    talk(&up, 3);
    wait_signed(&site, 4);
    let old = site.dir.path().join("old.note");
    std::fs::copy(site.data.join("ledgers/default/checkpoint"), &old).unwrap();
    talk(&up, 4);
    wait_signed(&site, 8);
    let grew = |path: &Path| site.run(&["proof", "--grew-from", path.to_str().unwrap(), "--json"]);
    let shown = grew(&old);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stdout));
    let proof: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(proof["to"].as_u64() > proof["from"].as_u64() && proof["shown"] == true, "{proof}");
    // A checkpoint of a history that this ledger does not have.
    let note = std::fs::read_to_string(&old).unwrap();
    let lines: Vec<&str> = note.lines().collect();
    let forked = note.replacen(lines[2], &Hash([9; 32]).to_base64(), 1);
    let fork = site.dir.path().join("fork.note");
    std::fs::write(&fork, forked).unwrap();
    assert_eq!(grew(&fork).status.code(), Some(1));
    // And one that is ahead of it.
    let ahead = site.dir.path().join("ahead.note");
    std::fs::write(&ahead, note.replacen(&format!("\n{}\n", lines[1]), "\n4000\n", 1)).unwrap();
    assert_eq!(grew(&ahead).status.code(), Some(1));
    drop(up);
    assert_eq!(grew(&old).status.code(), Some(0));
    // Whose checkpoint it is, is asked of the policy, or of the key directory; where neither knows, that is said.
    let grew_under = |more: &[&str]| {
        let output = site.run(&[&["proof", "--grew-from", old.to_str().unwrap()], more].concat());
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let (code, said) = grew_under(&[]);
    assert!(code == 0 && said.starts_with("shown: ") && said.contains(lines[0]), "{said}");
    let policy = site.dir.path().join("auditor.policy");
    let under = ["--policy", policy.to_str().unwrap()];
    std::fs::write(&policy, site.run(&["key", "policy"]).stdout).unwrap();
    let (code, said) = grew_under(&under);
    assert!(code == 0 && said.starts_with("shown: "), "{said}");
    let stranger = Ed25519Signer::from_seed(lines[0], &[3; 32]).unwrap();
    std::fs::write(&policy, format!("log {}\nquorum none\n", stranger.verifier_key())).unwrap();
    let (code, said) = grew_under(&under);
    assert!(code == 1 && said.starts_with("NOT SHOWN: the earlier checkpoint"), "{said}");
    // The old tree under a stranger's signature: the proof alone would show it.
    let old_tree =
        Checkpoint::parse_body(indelible_ledger::Note::parse(note.as_bytes()).unwrap().text()).unwrap();
    std::fs::write(&old, old_tree.sign(&stranger).unwrap()).unwrap();
    let (code, said) = grew_under(&[]);
    assert!(code == 1 && said.starts_with("NOT SHOWN: the earlier checkpoint"), "{said}");
}
