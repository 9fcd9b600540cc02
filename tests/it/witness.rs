//! Witnesses: what they cosigned cannot be taken back, and when they are away nothing stops.

use crate::common::*;
use crate::kill::TwoMachines;
use indelible_ledger::policy::Accepted;
use indelible_ledger::{Cosigner, Policy};
use indelible_verify::evidence;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A collector with its gateway, and a witness on a machine of its own.
struct Witnessed {
    machines: TwoMachines,
    _model: ModelServer,
    witness: SocketAddr,
}

impl Witnessed {
    /// Everything is there and nothing runs.
    fn new() -> Self {
        let model = ModelServer::start();
        let machines = TwoMachines::new(&model.url);
        // Ledgers have keys once their collector has run.
        let mut collector = machines.start_collector();
        assert_eq!(collector.stop(), 0, "{}", collector.log());
        let this = Self { machines, _model: model, witness: free_address() };
        std::fs::write(this.path("logs.policy"), this.site().run(&["key", "policy"]).stdout).unwrap();
        let mut witness = this.start_witness();
        assert_eq!(witness.stop(), 0, "{}", witness.log());
        let vkey = std::fs::read_to_string(this.path("witness/witness.vkey")).unwrap();
        let policy = format!("witness w1 {} http://{}\nquorum w1\n", vkey.trim_end(), this.witness);
        std::fs::write(this.path("witnesses.policy"), policy).unwrap();
        let config = std::fs::read_to_string(&this.machines.config).unwrap();
        let section = "[collector]\nwitness_policy = \"witnesses.policy\"\nwitness_interval_s = 1";
        std::fs::write(&this.machines.config, config.replace("[collector]", section)).unwrap();
        this
    }

    fn site(&self) -> &Site {
        &self.machines.site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site().dir.path().join(name)
    }

    fn start_witness(&self) -> Process {
        let (state, policy, listen) =
            (self.path("witness"), self.path("logs.policy"), self.witness.to_string());
        let arguments = [
            "witness",
            "--state",
            state.to_str().unwrap(),
            "--policy",
            policy.to_str().unwrap(),
            "--name",
            "witness.example/1",
            "--listen",
            &listen,
        ];
        self.site().serve(&arguments, self.witness)
    }

    fn ask(&self, gateway: &Process, count: usize) -> Vec<String> {
        let body = br#"{"model":"m-1","messages":[{"role":"user","content":"Hello"}]}"#;
        let answers = (0..count).map(|_| post(gateway.listen, "/v1/chat/completions", &[], body));
        let ids = answers.map(|answer| answer.event_id().to_owned()).collect();
        gateway.wait_shipped();
        ids
    }

    /// What auditors are given.
    fn policy(&self) -> Policy {
        let printed = self.site().run(&["key", "policy", "--config", &self.machines.config]);
        assert!(printed.status.success(), "{}", text(&printed.stderr));
        std::fs::write(self.path("auditor.policy"), &printed.stdout).unwrap();
        Policy::parse(&printed.stdout).unwrap()
    }

    fn size(&self, file: &str) -> u64 {
        let note = std::fs::read_to_string(self.site().data.join("ledgers/default").join(file));
        note.ok().and_then(|note| note.lines().nth(1)?.parse().ok()).unwrap_or(0)
    }

    fn wait_for(&self, file: &str, size: u64) {
        wait_until(&format!("{file} of {size} entries"), || self.size(file) >= size);
    }

    fn accepted(&self) -> Accepted {
        let note = std::fs::read(self.site().data.join("ledgers/default/checkpoint.witnessed")).unwrap();
        let policy = self.policy();
        let key = policy
            .logs()
            .map(|(key, _)| key.name().to_owned())
            .find(|name| text(&note).starts_with(name.as_str()));
        policy.open(&note, &key.unwrap()).unwrap()
    }

    /// Data and keys, as a backup of both has them.
    fn back_up(&self, to: &str) {
        copy_dir(&self.site().data, &self.path(to).join("data"));
        copy_dir(&self.site().keys, &self.path(to).join("keys"));
    }

    fn restore(&self, from: &str) {
        for (name, target) in [("data", &self.site().data), ("keys", &self.site().keys)] {
            std::fs::remove_dir_all(target).unwrap();
            copy_dir(&self.path(from).join(name), target);
        }
    }
}

/// Three entries, all cosigned, and a backup of that. Collector and gateway are stopped, the witness runs.
fn backed_up(to: &str) -> (Witnessed, Process) {
    let all = Witnessed::new();
    let witness = all.start_witness();
    let (mut collector, mut gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    all.ask(&gateway, 2);
    all.wait_for("checkpoint.witnessed", 3);
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    all.back_up(to);
    (all, witness)
}

#[test]
fn a_quorum_cosigns_what_was_signed_and_an_auditor_sees_when() {
    let all = Witnessed::new();
    let _witness = all.start_witness();
    let (collector, gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    let ids = all.ask(&gateway, 4);
    all.wait_for("checkpoint.witnessed", 5);
    let accepted = all.accepted();
    assert_eq!(accepted.cosigned.len(), 1);
    let bundle = all.path("bundle.zip");
    let made = all.site().run(&["evidence", &ids[2], "-o", bundle.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let shown = evidence::check(std::fs::File::open(&bundle).unwrap(), Some(&all.policy())).unwrap();
    assert!(shown.cosigned.is_some_and(|time| time >= accepted.cosigned[0].1), "{shown:?}");
    let (code, report) = all.site().verify();
    assert_eq!(code, 0, "{report:#}");
    drop((collector, gateway));
}

#[test]
fn a_timestamp_taken_while_the_witness_was_away_spoils_no_bundle() {
    let all = Witnessed::new();
    let (_authority, authority) = crate::anchors::authority(&all.path("tsa"));
    let config = std::fs::read_to_string(&all.machines.config).unwrap();
    let anchor = "[[collector.anchors]]\nname = \"tsa\"\nkind = \"rfc3161\"\ninterval_s = 100000";
    std::fs::write(&all.machines.config, format!("{config}\n{anchor}\nto = \"http://{authority}/\"\n"))
        .unwrap();
    let (collector, gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    let ids = all.ask(&gateway, 3);
    all.wait_for("checkpoint", 4);
    let anchored = || {
        let output = all.site().run(&["anchor"]);
        assert!(output.status.success(), "{}", text(&output.stdout));
    };
    let bundle = |name: &str, more: &[&str]| {
        let path = all.path(name);
        let arguments = [&["evidence", &ids[1], "-o", path.to_str().unwrap(), "--json"], more].concat();
        let output = all.site().run(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let warned = text(&output.stderr).contains("warning: no quorum of the witnesses");
        assert_eq!(said["warning"].is_string(), warned, "{said} {}", text(&output.stderr));
        (evidence::check(std::fs::File::open(&path).unwrap(), Some(&all.policy())), warned)
    };
    let unwitnessed = |made: (Result<evidence::Shown, evidence::Fault>, bool)| {
        let (checked, warned) = made;
        assert!(warned, "{checked:?}");
        assert!(matches!(checked, Err(evidence::Fault::Broken(evidence::Check::Quorum, _))), "{checked:?}");
    };
    anchored();
    // Nobody has cosigned yet: it is made, and said.
    unwitnessed(bundle("early.zip", &[]));
    let witness = all.start_witness();
    all.wait_for("checkpoint.witnessed", 4);
    // Of the newest witnessed checkpoint, though the one with a timestamp covers the record as well.
    let (shown, warned) = bundle("witnessed.zip", &[]);
    let shown = shown.unwrap();
    assert!(!warned && shown.cosigned.is_some() && shown.tokens.is_empty(), "{shown:?}");
    // With a timestamp over a checkpoint that was cosigned, of that.
    anchored();
    let (shown, warned) = bundle("stamped.zip", &[]);
    let shown = shown.unwrap();
    assert!(!warned && shown.cosigned.is_some() && shown.tokens.len() == 1, "{shown:?}");
    // Where auditors are given another policy than the collector goes by, it is refused and leaves nothing.
    let policy = std::fs::read_to_string(all.path("witnesses.policy")).unwrap();
    let stranger = Cosigner::from_seed("stranger.example/1", &[4; 32]).unwrap().verifier_key().clone();
    std::fs::write(all.path("witnesses.policy"), format!("witness w1 {stranger}\nquorum w1\n")).unwrap();
    let path = all.path("refused.zip");
    let refused = all.site().run(&["evidence", &ids[1], "-o", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stdout));
    assert!(text(&refused.stderr).contains("would be refused by its auditor"), "{}", text(&refused.stderr));
    assert!(!path.exists() && !all.path("refused.zip.partial").exists());
    std::fs::write(all.path("witnesses.policy"), policy).unwrap();
    // The same from the directory itself.
    drop((witness, collector, gateway));
    let (shown, warned) = bundle("stopped.zip", &["--config", &all.machines.config]);
    let shown = shown.unwrap();
    assert!(!warned && shown.cosigned.is_some() && shown.tokens.len() == 1, "{shown:?}");
}

#[test]
fn a_witness_that_is_away_stops_nothing_and_catches_up() {
    let all = Witnessed::new();
    let (collector, gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    all.ask(&gateway, 3);
    all.wait_for("checkpoint", 4);
    wait_until("said", || collector.log().contains("too few witnesses cosigned"));
    assert_eq!(all.size("checkpoint.witnessed"), 0);
    let mut witness = all.start_witness();
    all.wait_for("checkpoint.witnessed", 4);
    witness.kill();
    all.ask(&gateway, 3);
    all.wait_for("checkpoint", 7);
    let before = all.size("checkpoint.witnessed");
    assert!(before < 7, "{before}");
    let witness = all.start_witness();
    all.wait_for("checkpoint.witnessed", 7);
    drop((witness, collector, gateway));
}

#[test]
fn an_old_backup_of_records_and_keys_is_refused_by_what_a_witness_shows() {
    let (all, _witness) = backed_up("old");
    let (mut collector, mut gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    all.ask(&gateway, 2);
    all.wait_for("checkpoint.witnessed", 5);
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    all.restore("old");
    let signed = all.size("checkpoint");
    let mut refused =
        all.site().spawn(&["collector", "--config", &all.machines.config], all.machines.collector);
    assert_eq!(refused.wait(), 4, "{}", refused.log());
    assert!(refused.log().contains("witness w1 has more of ledger"), "{}", refused.log());
    assert_eq!(all.size("checkpoint"), signed, "nothing was signed");
}

/// Copies of records and keys, each whole: nothing on either machine can tell, the witness does.
#[test]
fn of_two_whole_copies_that_run_at_once_a_witness_lets_one_go_on() {
    let (all, _witness) = backed_up("copy");
    let (data, keys) = (all.path("copy/data"), all.path("copy/keys"));
    let listen = free_address();
    let config = std::fs::read_to_string(&all.machines.config).unwrap();
    let config = config.replace(&all.machines.collector.to_string(), &listen.to_string());
    std::fs::write(all.path("second.toml"), config).unwrap();
    let second = all.path("second.toml");
    let arguments = ["collector", "--config"].map(str::to_owned).into_iter();
    let arguments: Vec<String> = arguments
        .chain(
            [&second, Path::new("--data"), &data, Path::new("--keys"), &keys]
                .map(|path| path.display().to_string()),
        )
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let (mut first, gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    let mut second = all.site().serve(&arguments, listen);
    // Each records something else: a look at its records.
    let looks = |data: &Path| all.site().run(&["list", "--data", data.to_str().unwrap()]).status.success();
    let mut looked = 0;
    while first.is_running() && second.is_running() {
        looks(&all.site().data);
        looks(&data);
        looked += 1;
        assert!(looked < 200, "the witness lets two histories grow");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (mut lost, mut goes_on) = if first.is_running() { (second, first) } else { (first, second) };
    assert_eq!(lost.wait(), 4, "{}", lost.log());
    assert!(lost.log().contains("witness w1 has"), "{}", lost.log());
    drop(gateway);
    assert_eq!(goes_on.stop(), 0, "{}", goes_on.log());
}

#[test]
fn a_fork_that_was_written_while_the_witness_was_away_stops_when_it_is_back() {
    let (all, mut witness) = backed_up("old");
    let spool = all.path("spool");
    copy_dir(&spool, &all.path("old-spool"));
    let (mut collector, mut gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    all.ask(&gateway, 2);
    all.wait_for("checkpoint.witnessed", 5);
    assert_eq!((gateway.stop(), collector.stop(), witness.stop()), (0, 0, 0));
    // Everything that could tell is restored, the gateway's spool as well, and the witness does not answer.
    all.restore("old");
    std::fs::remove_dir_all(&spool).unwrap();
    copy_dir(&all.path("old-spool"), &spool);
    let (mut collector, gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    all.ask(&gateway, 9);
    all.wait_for("checkpoint", 12);
    let _witness = all.start_witness();
    assert_eq!(collector.wait(), 4, "{}", collector.log());
    assert!(collector.log().contains("witness w1 has another history of ledger"), "{}", collector.log());
    // Nor does it start again, though it is the longer history.
    let said = collector.log();
    let signed = all.size("checkpoint");
    let mut refused =
        all.site().spawn(&["collector", "--config", &all.machines.config], all.machines.collector);
    assert_eq!(refused.wait(), 4, "{}", refused.log());
    let starts = |log: &str| log.matches("collector is ready").count();
    assert_eq!(starts(&refused.log()), starts(&said), "{}", refused.log());
    let last = refused.log().rsplit("error: ").next().unwrap().to_owned();
    assert!(last.contains("witness w1 has another history of ledger"), "{last}");
    assert_eq!(all.size("checkpoint"), signed, "nothing was signed");
}

#[test]
fn a_witnessed_checkpoint_that_was_altered_counts_as_nothing_and_is_replaced() {
    let all = Witnessed::new();
    let witness = all.start_witness();
    let (collector, gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    let ids = all.ask(&gateway, 3);
    all.wait_for("checkpoint.witnessed", 4);
    drop(witness);
    let path = all.site().data.join("ledgers/default/checkpoint.witnessed");
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let larger = whole.replacen(&format!("\n{}\n", lines[1]), "\n99999\n", 1);
    // Another character within the last line: the witness's own.
    let mut spoiled = whole.clone().into_bytes();
    let at = spoiled.len() - 8;
    spoiled[at] = if spoiled[at] == b'A' { b'B' } else { b'A' };
    let unwitnessed = whole.lines().filter(|line| *line != lines[lines.len() - 1]);
    let unwitnessed = unwitnessed.map(|line| format!("{line}\n")).collect::<String>();
    for (number, altered) in [larger.into_bytes(), spoiled, unwitnessed.into_bytes()].iter().enumerate() {
        std::fs::write(&path, altered).unwrap();
        let answer = request_checkpoint(&all, &collector);
        assert!(answer.is_none(), "{number}: {answer:?}");
        assert!(all.site().run(&["proof", &ids[0]]).status.success(), "{number}");
        let bundle = all.path(&format!("{number}.zip"));
        let made = all.site().run(&["evidence", &ids[0], "-o", bundle.to_str().unwrap()]);
        assert!(made.status.success(), "{number}: {}", text(&made.stderr));
    }
    assert!(collector.log().contains("checkpoint.witnessed counts as nothing"), "{}", collector.log());
    // Nothing was added, and yet it is submitted again.
    let _witness = all.start_witness();
    wait_until("repaired", || request_checkpoint(&all, &collector).is_some());
    assert_eq!(all.accepted().cosigned.len(), 1);
    drop(gateway);
}

/// What the collector publishes as witnessed.
fn request_checkpoint(all: &Witnessed, collector: &Process) -> Option<String> {
    let ca = all.site().keys.join("tls/ca.pem");
    let url = format!("https://localhost:{}/tenants/default/checkpoint.witnessed", collector.listen.port());
    let output =
        std::process::Command::new("curl").args(["-sf", "--cacert"]).arg(ca).arg(url).output().unwrap();
    output.status.success().then(|| text(&output.stdout))
}

/// A signature line of a key as a policy has it, with a signature that is none.
fn unsigned_line(vkey: &str) -> String {
    let mut parts = vkey.trim_end().split('+');
    let (name, id) = (parts.next().unwrap(), parts.next().unwrap());
    let byte = |at: usize| u8::from_str_radix(&id[at..at + 2], 16).unwrap();
    let bytes = [vec![byte(0), byte(2), byte(4), byte(6)], vec![0; 7], vec![1], vec![0; 64]].concat();
    format!("\u{2014} {name} {}\n", indelible_ledger::base64(&bytes))
}

#[test]
fn a_witness_that_answers_anything_else_neither_cosigns_nor_stops_anything() {
    let all = Witnessed::new();
    let answer = Arc::new(Mutex::new(String::new()));
    let given = answer.clone();
    let faulty = RawServer::start(move |stream| {
        let answer = given.lock().unwrap().clone();
        drop(stream.write_all(answer.as_bytes()));
    });
    let set = |status: &str, media_type: &str, body: &str| {
        let length = body.len();
        *answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    };
    let vkey = std::fs::read_to_string(all.path("witness/witness.vkey")).unwrap();
    let policy = format!("witness w1 {} {}\nquorum w1\n", vkey.trim_end(), faulty.url);
    std::fs::write(all.path("witnesses.policy"), policy).unwrap();
    set("200 OK", "text/plain", "nothing\n");
    let collector = all.machines.start_collector();
    let size = "text/x.tlog.size";
    for (status, media_type, body, words) in [
        ("200 OK", "text/plain", "nothing\n", "its answer is no cosignature"),
        ("200 OK", "text/plain", &unsigned_line(&vkey), "does not verify"),
        ("409 Conflict", size, "many\n", "its answer is no size"),
        ("409 Conflict", size, "1\n", "it changed its mind"),
        ("409 Conflict", size, "99999\n", "it says that it saw another history, and shows none"),
        ("422 Unprocessable Entity", "text/plain", "", "it says that it saw another history, and shows none"),
        ("500 Internal Server Error", "text/plain", "", "it answered 500"),
    ] {
        let before = collector.log().len();
        set(status, media_type, body);
        wait_until(words, || collector.log()[before..].contains(words));
    }
    assert_eq!(all.size("checkpoint.witnessed"), 0);
    // It goes on.
    let gateway = all.machines.start_gateway();
    all.ask(&gateway, 2);
    all.wait_for("checkpoint", 3);
    drop(collector);
}

#[test]
fn witnesses_that_hang_hold_up_neither_the_start_nor_a_quorum_of_others() {
    let all = Witnessed::new();
    let _witness = all.start_witness();
    let hangs = RawServer::start(|_| std::thread::sleep(Duration::from_secs(300)));
    let mut policy = std::fs::read_to_string(all.path("witnesses.policy")).unwrap();
    for number in 0..3u8 {
        let key = Cosigner::from_seed("hangs.example", &[number; 32]).unwrap();
        let line = format!("witness hangs{number} {} {}\n", key.verifier_key(), hangs.url);
        policy = line + &policy;
    }
    std::fs::write(all.path("witnesses.policy"), policy).unwrap();
    let collector = all.machines.start_collector();
    // At the start all are waited for at once, with one time limit of 20 seconds for all ledgers; then the one that
    // answers is quorum enough. One after the other that would be minutes.
    all.wait_for("checkpoint.witnessed", 1);
    drop(collector);
}

#[test]
fn slow_requests_do_not_hold_up_others_and_are_let_go() {
    let all = Witnessed::new();
    let witness = all.start_witness();
    let head = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\no";
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..40).map(|_| send(witness.listen, head)).collect();
    // What is said at once is answered at once, whatever the answer.
    let answer = request(witness.listen, &message("POST", "/add-checkpoint", &[], b"old 0\n\nx\n"));
    assert_eq!(answer.status, 400, "{}", text(&answer.body));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    for stream in &mut slow {
        read_until(stream, b" 408 ");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

/// The same path as the collector's own, so that it is not looked at twice.
#[test]
fn a_witness_is_not_started_without_its_memory() {
    let all = Witnessed::new();
    let heads = Path::new(&all.path("witness")).join("heads");
    std::fs::write(&heads, "").unwrap();
    refused_without_memory(&all);
    std::fs::remove_file(&heads).unwrap();
    refused_without_memory(&all);
}

fn refused_without_memory(all: &Witnessed) {
    let (state, policy) = (all.path("witness"), all.path("logs.policy"));
    let output = all.site().run(&[
        "witness",
        "--state",
        state.to_str().unwrap(),
        "--policy",
        policy.to_str().unwrap(),
        "--name",
        "witness.example/1",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("must be retired"), "{}", text(&output.stderr));
}
