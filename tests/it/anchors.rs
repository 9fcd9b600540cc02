//! What was signed stands outside as well: timestamped, in somebody's syslog, in a directory, with a server.

use crate::common::*;
use crate::kill::TwoMachines;
use indelible_ledger::{Checkpoint, Ed25519Signer, Hash, Policy};
use indelible_verify::evidence;
use serde_json::Value;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program of others, ended with the test.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listens(what: &str, address: SocketAddr) {
    wait_until(what, || TcpStream::connect(address).is_ok());
}

/// A timestamp authority: OpenSSL behind HTTP.
pub fn authority(dir: &Path) -> (Running, SocketAddr) {
    let address = free_address();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/tsa.py");
    let child = Command::new("python3")
        .arg(program)
        .arg(dir)
        .arg(address.port().to_string())
        .stdout(Stdio::null())
        .spawn();
    let running = Running(child.unwrap());
    listens("the timestamp authority", address);
    (running, address)
}

/// rsyslog, which takes TLS alone and writes what it gets into a file.
fn syslog(machines: &TwoMachines, file: &Path) -> (Running, SocketAddr) {
    let address = free_address();
    let tls = machines.site.keys.join("tls");
    let dir = machines.site.dir.path();
    let config = format!(
        r#"global(workDirectory="{dir}" maxMessageSize="64k" defaultNetstreamDriver="ossl"
            defaultNetstreamDriverCAFile="{tls}/ca.pem" defaultNetstreamDriverCertFile="{tls}/collector.pem"
            defaultNetstreamDriverKeyFile="{tls}/collector.key")
        module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
        input(type="imtcp" address="127.0.0.1" port="{port}")
        template(name="whole" type="string" string="%pri% %app-name% %msgid% %structured-data%\n")
        action(type="omfile" file="{file}" template="whole")
        "#,
        dir = dir.display(),
        tls = tls.display(),
        port = address.port(),
        file = file.display()
    );
    let path = dir.join("rsyslog.conf");
    fs::write(&path, config).unwrap();
    let log = File::create(dir.join("rsyslog.log")).unwrap();
    let child = Command::new("rsyslogd")
        .args(["-n", "-f"])
        .arg(path)
        .arg("-i")
        .arg(dir.join("rsyslog.pid"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    let running = Running(child.unwrap());
    listens("rsyslog", address);
    (running, address)
}

/// Adds a table to the configuration.
fn anchor(machines: &TwoMachines, name: &str, kind: &str, to: &str, more: &str) {
    let mut config = fs::read_to_string(&machines.config).unwrap();
    config +=
        &format!("\n[[collector.anchors]]\nname = \"{name}\"\nkind = \"{kind}\"\nto = \"{to}\"\n{more}\n");
    fs::write(&machines.config, config).unwrap();
}

fn ask(machines: &TwoMachines, gateway: &Process, count: usize) -> Vec<String> {
    let body = br#"{"model":"m-1","messages":[{"role":"user","content":"Hello"}]}"#;
    let answers = (0..count).map(|_| post(gateway.listen, "/v1/chat/completions", &[], body));
    let ids: Vec<String> = answers.map(|answer| answer.event_id().to_owned()).collect();
    gateway.wait_shipped();
    let checkpoint = machines.site.data.join("ledgers/default/checkpoint");
    let signed = || fs::read_to_string(&checkpoint).ok()?.lines().nth(1)?.parse::<usize>().ok();
    wait_until("signed", || signed().is_some_and(|size| size > count));
    ids
}

fn anchors(machines: &TwoMachines) -> Vec<Value> {
    let output = machines.site.run(&["anchor", "--list", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'v>(anchors: &'v [Value], name: &str, ledger: &str) -> Vec<&'v Value> {
    anchors.iter().filter(|one| one["anchor"] == name && one["ledger"] == ledger).collect()
}

fn openssl_accepts(dir: &Path, data: &Path, response: &Path, chain: &Path) -> bool {
    let output = Command::new("openssl")
        .args(["ts", "-verify", "-CAfile"])
        .arg(dir.join("authority.pem"))
        .arg("-data")
        .arg(data)
        .arg("-in")
        .arg(response)
        .arg("-untrusted")
        .arg(chain)
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn a_timestamp_is_kept_verifies_with_openssl_and_comes_with_evidence() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let stamps = machines.site.dir.path().join("tsa");
    let (_authority, address) = authority(&stamps);
    // One day: each ledger once, as it begins; the rest is asked for.
    anchor(&machines, "tsa", "rfc3161", &format!("http://{address}/"), "");
    let (collector, gateway) = (machines.start_collector(), machines.start_gateway());
    let ids = ask(&machines, &gateway, 4);
    wait_until("anchored", || !of(&anchors(&machines), "tsa", "default").is_empty());
    let taken = machines.site.json(&["anchor", "--json"]);
    assert!(taken["anchors"].as_array().unwrap().iter().all(|one| one["size"].is_u64()), "{taken}");
    let all = anchors(&machines);
    let newest = of(&all, "tsa", "default")[0].clone();
    assert!(newest["size"].as_u64().unwrap() >= 5 && newest["stamped"] == true, "{newest}");
    // As files, and for OpenSSL; of something else it is none.
    let saved = machines.site.dir.path().join("anchors");
    assert!(machines.site.run(&["anchor", "--save", saved.to_str().unwrap()]).status.success());
    let file = |ending: &str| saved.join(format!("{}.{ending}", newest["seq"]));
    assert!(openssl_accepts(&stamps, &file("note"), &file("tsr"), &file("pem")));
    let other = saved.join("other");
    fs::write(&other, [&fs::read(file("note")).unwrap()[..], b"x"].concat()).unwrap();
    assert!(!openssl_accepts(&stamps, &other, &file("tsr"), &file("pem")));
    // A bundle leads to the checkpoint that was stamped.
    let bundle = machines.site.dir.path().join("bundle.zip");
    let made = machines.site.run(&["evidence", &ids[1], "-o", bundle.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let policy = Policy::parse(&machines.site.run(&["key", "policy"]).stdout).unwrap();
    let shown = evidence::check(File::open(&bundle).unwrap(), Some(&policy)).unwrap();
    assert_eq!((shown.tokens.len(), shown.size), (1, newest["size"].as_u64().unwrap()), "{shown:?}");
    let unpacked = machines.site.dir.path().join("unpacked");
    let unzipped = Command::new("unzip").arg("-q").arg(&bundle).arg("-d").arg(&unpacked).status().unwrap();
    assert!(unzipped.success());
    let member = |name: &str| unpacked.join(name);
    assert!(openssl_accepts(
        &stamps,
        &member("checkpoint"),
        &member("timestamps/0.tsr"),
        &member("timestamps/0.pem")
    ));
    let (code, report) = machines.site.verify();
    assert_eq!(code, 0, "{report:#}");
    drop((collector, gateway));
}

#[test]
fn an_authority_that_answers_something_else_is_not_believed() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let stamps = machines.site.dir.path().join("tsa");
    let (_authority, address) = authority(&stamps);
    let ask_it = |query: &[u8]| {
        let headers = [("Content-Type", "application/timestamp-query")];
        request(address, &message("POST", "/", &headers, query)).body
    };
    // The right authority, and another request's answer: the same bytes again and again.
    let note = fs::read(machines.site.keys.join("tls/ca.pem")).unwrap();
    let answer = ask_it(&indelible_verify::timestamp::request(&note, [7; 8]));
    let time = indelible_verify::timestamp::time_over(&answer, &note);
    assert!(time.is_ok(), "{time:?}: {}", text(&answer));
    assert_eq!(indelible_verify::timestamp::answers(&answer, [7; 8]), Ok(true));
    assert_eq!(indelible_verify::timestamp::answers(&answer, [8; 8]), Ok(false));
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len());
    let replayer = RawServer::answering([head.as_bytes(), &answer].concat());
    anchor(&machines, "replayed", "rfc3161", &replayer.url, "");
    let collector = machines.start_collector();
    let output = machines.site.run(&["anchor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("NOT ANCHORED: over something else"), "{}", text(&output.stdout));
    assert!(anchors(&machines).is_empty());
    drop(collector);
}

#[test]
fn syslog_directory_and_server_get_what_was_signed() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let messages = machines.site.dir.path().join("messages");
    let (_syslog, address) = syslog(&machines, &messages);
    let ca = format!("ca = \"{}/tls/ca.pem\"", machines.site.keys.display());
    anchor(&machines, "syslog", "syslog", &format!("localhost:{}", address.port()), &ca);
    let elsewhere = machines.site.dir.path().join("elsewhere");
    anchor(&machines, "disk", "directory", elsewhere.to_str().unwrap(), "interval_s = 1");
    let server = RawServer::answering(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec());
    anchor(&machines, "server", "http", &server.url, "");
    let away = free_address();
    anchor(&machines, "away", "http", &format!("http://{away}/"), "");
    let (collector, gateway) = (machines.start_collector(), machines.start_gateway());
    ask(&machines, &gateway, 3);
    let output = machines.site.run(&["anchor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "one of them is away");
    let all = anchors(&machines);
    for name in ["syslog", "disk", "server"] {
        assert!(
            !of(&all, name, "default").is_empty() && !of(&all, name, "operations").is_empty(),
            "{name}: {all:?}"
        );
    }
    assert!(of(&all, "away", "default").is_empty());
    // The message has the signed checkpoint, whole.
    let key = Policy::parse(&machines.site.run(&["key", "policy", "--tenant", "default"]).stdout).unwrap();
    let (key, _) = key.logs().next().unwrap();
    let said = || fs::read_to_string(&messages).unwrap_or_default();
    wait_until("a message", || said().contains(&format!("origin=\"{}\"", key.name())));
    let line = said().lines().rfind(|line| line.contains(key.name())).unwrap().to_owned();
    assert!(line.starts_with("110 indelible checkpoint [checkpoint@32473 "), "{line}");
    let note = line.split("note=\"").nth(1).unwrap().split('"').next().unwrap();
    let note = indelible_ledger::from_base64(note).unwrap();
    let anchored = Checkpoint::open(&note, key.name(), std::slice::from_ref(key)).unwrap();
    assert!(anchored.size() >= 4);
    // The server got it as it is, the directory as a file.
    assert!(
        server
            .requests()
            .iter()
            .any(|request| text(request).contains(&format!("\n{}\n", anchored.root().to_base64())))
    );
    let files = |dir: &Path| {
        files_below(dir)
            .into_iter()
            .filter(|path| text(&fs::read(path).unwrap()).starts_with(key.name()))
            .collect::<Vec<PathBuf>>()
    };
    let newest = files(&elsewhere).into_iter().max().unwrap();
    let checked = machines.site.run(&["verify", "--checkpoint", newest.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
    drop((collector, gateway));
}

#[test]
fn another_checkpoint_of_the_same_size_is_an_alarm_and_is_not_replaced() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let elsewhere = machines.site.dir.path().join("elsewhere");
    anchor(&machines, "disk", "directory", elsewhere.to_str().unwrap(), "interval_s = 100000");
    let mut collector = machines.start_collector();
    wait_until("anchored", || !of(&anchors(&machines), "disk", "default").is_empty());
    assert_eq!(collector.stop(), 0);
    // What stands there is of a history that this ledger does not have.
    for path in files_below(&elsewhere) {
        let note = text(&fs::read(&path).unwrap());
        let mut lines = note.lines();
        let (origin, size) = (lines.next().unwrap(), lines.next().unwrap().parse().unwrap());
        let forger = Ed25519Signer::from_seed(origin, &[5; 32]).unwrap();
        fs::write(&path, Checkpoint::new(origin, size, Hash([5; 32])).unwrap().sign(&forger).unwrap())
            .unwrap();
    }
    let before: Vec<_> =
        files_below(&elsewhere).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let output = machines.site.run(&["anchor", "--config", &machines.config, "--tenant", "default"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("the ledger was forked"), "{}", text(&output.stdout));
    for (bytes, path) in before {
        assert_eq!(fs::read(path).unwrap(), bytes);
    }
}
