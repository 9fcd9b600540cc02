//! What an auditor is handed holds, by each of the ways to check it, and nothing that was altered does.

use crate::common::*;
use crate::kill::TwoMachines;
use indelible_ledger::Policy;
use indelible_verify::evidence::{Check, Fault, Shown, check};
use serde_json::Value;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Made {
    site: Site,
    up: Process,
    ids: Vec<String>,
    _model: ModelServer,
}

/// Some calls on record, and signed.
fn recorded() -> Made {
    let (site, model) = (Site::new(), ModelServer::start());
    let up = site.up(&model.url, &[]);
    let call = |n: usize| {
        let body = format!(r#"{{"model":"m-1","messages":[{{"role":"user","content":"Question {n}"}}]}}"#);
        post(up.listen, "/v1/chat/completions", &[("Content-Type", "application/json")], body.as_bytes())
    };
    let ids: Vec<String> = (0..6).map(|n| call(n).event_id().to_owned()).collect();
    up.wait_shipped();
    let checkpoint = site.data.join("ledgers/default/checkpoint");
    let signed = || std::fs::read_to_string(&checkpoint).ok()?.lines().nth(1)?.parse::<u64>().ok();
    wait_until("signed", || signed().is_some_and(|size| size >= 7));
    let policy = site.run(&["key", "policy", "--tenant", "default"]).stdout;
    std::fs::write(site.dir.path().join("auditor.policy"), policy).unwrap();
    Made { site, up, ids, _model: model }
}

impl Made {
    fn bundle(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.site.dir.path().join(name);
        let output = self.site.run(&[&["evidence", "-o", path.to_str().unwrap()], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        path
    }

    fn policy_path(&self) -> PathBuf {
        self.site.dir.path().join("auditor.policy")
    }

    fn policy(&self) -> Policy {
        Policy::parse(&std::fs::read(self.policy_path()).unwrap()).unwrap()
    }

    fn holds(&self, path: &Path) -> Shown {
        check(std::fs::File::open(path).unwrap(), Some(&self.policy()))
            .unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    /// The Python program that came with the bundle.
    fn python(&self, path: &Path) -> (i32, Value) {
        let program = self.site.dir.path().join("verify.py");
        std::fs::write(&program, member(&std::fs::read(path).unwrap(), "verify.py")).unwrap();
        let output = Command::new("python3")
            .arg(program)
            .arg(path)
            .arg("--policy")
            .arg(self.policy_path())
            .arg("--json")
            .output()
            .unwrap();
        let said =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        (output.status.code().unwrap(), said)
    }
}

/// The bytes of a member: all are stored as they are.
fn member(zip: &[u8], name: &str) -> Vec<u8> {
    let range = place(zip, name);
    zip[range].to_vec()
}

fn place(zip: &[u8], name: &str) -> std::ops::Range<usize> {
    let mut at = 0;
    loop {
        assert_eq!(zip[at..at + 4], *b"PK\x03\x04", "no {name} in it");
        let number = |from: usize| u32::from_le_bytes(zip[from..from + 4].try_into().unwrap()) as usize;
        let name_bytes = usize::from(u16::from_le_bytes(zip[at + 26..at + 28].try_into().unwrap()));
        let (start, size) = (at + 30 + name_bytes, number(at + 22));
        if zip[at + 30..start] == *name.as_bytes() {
            return start..start + size;
        }
        at = start + size;
    }
}

#[test]
fn a_bundle_holds_however_it_was_asked_for() {
    let made = recorded();
    let ids = made.bundle("ids.zip", &[&made.ids[1], &made.ids[4]]);
    let shown = made.holds(&ids);
    assert_eq!((shown.counts.entries, shown.counts.disclosed, shown.range), (2, 2, None));
    let range = made.bundle("range.zip", &["--range", "0..7"]);
    let shown = made.holds(&range);
    assert_eq!((shown.counts.entries, shown.range), (7, Some((0, 7))));
    // As of the last entry that the checkpoint covers, and not of when the bundle was made.
    let last = usize::try_from(shown.size).unwrap() - 1;
    assert_eq!(shown.as_of, made.site.entries_of("default")[last]["timestamp"]);
    let withheld = made.bundle("withheld.zip", &[&made.ids[0], "--withhold"]);
    let shown = made.holds(&withheld);
    assert_eq!((shown.counts.disclosed, shown.counts.withheld), (0, 1));
    assert!(!text(&std::fs::read(&withheld).unwrap()).contains("Question"));
    for bundle in [&ids, &range, &withheld] {
        let (code, said) = made.python(bundle);
        assert_eq!(
            (code, &said["integrity"], &said["identity"]),
            (0, &"holds".into(), &"checked".into()),
            "{said}"
        );
    }
    // The bytes in it are those that passed.
    let zip = std::fs::read(&ids).unwrap();
    let entry: Value =
        serde_json::from_slice(member(&zip, "entries.jsonl").split(|b| *b == b'\n').next().unwrap()).unwrap();
    let request = member(&zip, &format!("payloads/{}.request", entry["seq"]));
    assert_eq!(request, made.site.raw(&made.ids[1], "request"));
    // That it was made is on record, and from the directory itself the same is made.
    let exports = made.site.entries_of("operations");
    assert_eq!(exports.iter().filter(|entry| entry["event_type"] == "export").count(), 3);
    let Made { site, up, ids, _model } = made;
    drop(up);
    let path = site.dir.path().join("stopped.zip");
    let output = site.run(&["evidence", &ids[2], "-o", path.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    check(std::fs::File::open(&path).unwrap(), None).unwrap();
}

/// Clients choose request ids: two tenants may choose the same.
#[test]
fn a_record_is_bundled_by_a_request_id_that_another_tenant_used_too() {
    let model = ModelServer::start();
    let other = format!(
        "tenant = \"acme\"\n[[gateway.routes]]\nname = \"other\"\npath = \"/other\"\ntenant = \"blue\"\nupstream = \"{}\"",
        model.url
    );
    let machines = TwoMachines::with(&model.url, "", &other);
    let config = std::fs::read_to_string(&machines.config).unwrap();
    let tenants = "[collector]\ntenants = [\"acme\", \"blue\"]";
    std::fs::write(&machines.config, config.replace("[collector]", tenants)).unwrap();
    let (collector, gateway) = (machines.start_collector(), machines.start_gateway());
    let ask = |path: &str, id: &str| {
        let body = br#"{"model":"m-1","messages":[{"role":"user","content":"Hello"}]}"#;
        post(gateway.listen, path, &[("X-Request-Id", id)], body).event_id().to_owned()
    };
    let acme = ask("/v1/chat/completions", "req-42");
    let blue = ask("/other/v1/chat/completions", "req-42");
    ask("/other/v1/chat/completions", "req-43");
    gateway.wait_shipped();
    for (tenant, size) in [("acme", 2), ("blue", 3)] {
        let checkpoint = machines.site.data.join("ledgers").join(tenant).join("checkpoint");
        let signed = || std::fs::read_to_string(&checkpoint).ok()?.lines().nth(1)?.parse::<u64>().ok();
        wait_until("signed", || signed().is_some_and(|signed| signed >= size));
    }
    let bundle = |id: &str, tenant: &str| {
        let path = machines.site.dir.path().join(format!("{id}-{tenant}.zip"));
        let output = machines.site.run(&["evidence", id, "--tenant", tenant, "-o", path.to_str().unwrap()]);
        (output, path)
    };
    let all_as_expected = || {
        for (tenant, event_id) in [("acme", &acme), ("blue", &blue)] {
            let (output, path) = bundle("req-42", tenant);
            assert!(output.status.success(), "{tenant}: {}", text(&output.stderr));
            let entries = member(&std::fs::read(&path).unwrap(), "entries.jsonl");
            assert!(text(&entries).contains(event_id.as_str()), "{tenant}: {}", text(&entries));
            let shown = check(std::fs::File::open(&path).unwrap(), None).unwrap();
            assert_eq!((shown.tenant.as_str(), shown.counts.entries), (tenant, 1));
            std::fs::remove_file(path).unwrap();
        }
        let (output, _) = bundle("req-43", "acme");
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("stands in another ledger"), "{}", text(&output.stderr));
        let (output, _) = bundle("req-44", "acme");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    };
    all_as_expected();
    drop((collector, gateway));
    all_as_expected();
}

#[test]
fn what_cannot_be_made_leaves_nothing_behind() {
    let made = recorded();
    let path = made.site.dir.path().join("none.zip");
    for (arguments, code) in [
        (&["no-such-record"][..], 1),
        (&["--range", "0..4000"], 1),
        (&["--range", "0..4000", "--json"], 1),
        (&["--range", "7..7"], 6),
        (&["--range", "x"], 2),
        (&[], 2),
    ] {
        let output = made.site.run(&[&["evidence", "-o", path.to_str().unwrap()], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        let beyond = arguments.contains(&"0..4000");
        assert_eq!(text(&output.stderr).contains("end the range at"), beyond, "{}", text(&output.stderr));
        let left: Vec<_> = files_below(made.site.dir.path())
            .into_iter()
            .filter(|file| text(file.as_os_str().as_encoded_bytes()).contains("none.zip"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let there = made.bundle("there.zip", &[&made.ids[0]]);
    let again = made.site.run(&["evidence", &made.ids[1], "-o", there.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(made.holds(&there).counts.entries, 1);
}

#[test]
fn a_bit_that_changed_anywhere_is_found() {
    let made = recorded();
    let zip = std::fs::read(made.bundle("one.zip", &[&made.ids[3]])).unwrap();
    let policy = made.policy();
    // The programs in it are most of it: of them some bytes, of everything else each.
    let programs = ["README.md", "index.html", "verify.py"].map(|name| place(&zip, name));
    let mut changed = zip.clone();
    for at in 0..zip.len() {
        if at % 997 != 0 && programs.iter().any(|program| program.contains(&at)) {
            continue;
        }
        changed[at] ^= 1 << (at % 8);
        match check(Cursor::new(&changed), Some(&policy)) {
            Err(Fault::Broken(..)) => {}
            other => panic!("byte {at}: {other:?}"),
        }
        changed[at] = zip[at];
    }
    for length in [0, 21, zip.len() / 2, zip.len() - 1] {
        let cut = check(Cursor::new(&zip[..length]), Some(&policy));
        assert!(matches!(cut, Err(Fault::Broken(Check::Zip, _))), "{length}: {cut:?}");
    }
}

#[test]
fn the_manual_way_comes_to_the_same() {
    let made = recorded();
    // A policy for several ledgers, this one not the first.
    let logs = |tenant| text(&made.site.run(&["key", "policy", "--tenant", tenant]).stdout);
    let policy = logs("operations").replace("quorum none\n", "") + &logs("default");
    let by_hand = |bundle: &Path| -> Output {
        let dir = tempfile::tempdir().unwrap();
        let zip = std::fs::read(bundle).unwrap();
        let readme = String::from_utf8(member(&zip, "README.md")).unwrap();
        let script = readme.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
        std::fs::write(dir.path().join("BUNDLE.zip"), zip).unwrap();
        std::fs::write(dir.path().join("auditor.policy"), &policy).unwrap();
        Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", script])
            .current_dir(dir.path())
            .output()
            .unwrap()
    };
    for arguments in [
        &[made.ids[1].as_str(), made.ids[4].as_str()][..],
        &["--range", "0..7"],
        &[&made.ids[0], "--withhold"],
    ] {
        let bundle = made.bundle(&format!("{}.zip", arguments.join("-").replace("..", "-")), arguments);
        let output = by_hand(&bundle);
        assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).ends_with("unaltered\n"), "{}", text(&output.stdout));
    }
    // A payload exchanged, and the manifest with it: the commitment does not open. An entry altered: no way to the root.
    let bundle = made.bundle("tampered.zip", &[&made.ids[1]]);
    let zip = std::fs::read(&bundle).unwrap();
    for name in ["entries.jsonl", "MANIFEST.note", "checkpoint"] {
        let mut changed = zip.clone();
        changed[place(&zip, name).start + 70] ^= 1;
        std::fs::write(&bundle, changed).unwrap();
        assert!(!by_hand(&bundle).status.success(), "{name}");
    }
}
