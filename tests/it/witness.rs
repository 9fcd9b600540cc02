//! Witnesses: what they cosigned cannot be taken back, and when they are away nothing stops.

use crate::common::*;
use crate::kill::TwoMachines;
use indelible_ledger::policy::Accepted;
use indelible_ledger::{Cosigner, Policy};
use indelible_verify::evidence;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A collector with its gateway, and a witness on a machine of its own.
struct Witnessed {
    machines: TwoMachines,
    model: ModelServer,
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
        let this = Self { machines, model, witness: free_address() };
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
    let all = Witnessed::new();
    let _witness = all.start_witness();
    let (mut collector, mut gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    all.ask(&gateway, 2);
    all.wait_for("checkpoint.witnessed", 3);
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    all.back_up("old");
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

#[test]
fn a_fork_that_was_written_while_the_witness_was_away_stops_when_it_is_back() {
    let all = Witnessed::new();
    let mut witness = all.start_witness();
    let (mut collector, mut gateway) = (all.machines.start_collector(), all.machines.start_gateway());
    all.ask(&gateway, 2);
    all.wait_for("checkpoint.witnessed", 3);
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    all.back_up("old");
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
}

/// The same path as the collector's own, so that it is not looked at twice.
#[test]
fn a_witness_is_not_started_without_its_memory() {
    let all = Witnessed::new();
    let forget = |name: &str| std::fs::remove_file(Path::new(&all.path("witness")).join(name)).unwrap();
    forget("heads");
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
    drop(all.model);
}
