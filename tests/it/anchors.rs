//! What was signed stands outside as well: timestamped, in somebody's syslog, in a directory, with a server.

use crate::common::*;
use crate::kill::TwoMachines;
use indelible_ledger::{Checkpoint, Ed25519Signer, Hash, Policy};
use indelible_verify::evidence;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

/// rsyslog, which takes TLS alone and writes what it gets into a file. `auth` is what it asks of clients.
fn syslog(machines: &TwoMachines, file: &Path, auth: &str) -> (Running, SocketAddr) {
    let address = free_address();
    let tls = machines.site.keys.join("tls");
    let dir = machines.site.dir.path();
    let config = format!(
        r#"global(workDirectory="{dir}" maxMessageSize="64k" defaultNetstreamDriver="ossl"
            defaultNetstreamDriverCAFile="{tls}/ca.pem" defaultNetstreamDriverCertFile="{tls}/collector.pem"
            defaultNetstreamDriverKeyFile="{tls}/collector.key")
        module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="{auth}")
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
    // A collector that is starting listens before it has one.
    wait_until("a data directory", || machines.site.data.join("wal").is_dir());
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
    let (_syslog, address) = syslog(&machines, &messages, "anon");
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
fn a_syslog_server_that_wants_a_certificate_has_nothing_of_who_shows_none() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let messages = machines.site.dir.path().join("messages");
    let (_syslog, address) = syslog(&machines, &messages, "x509/certvalid");
    let (to, keys) = (format!("localhost:{}", address.port()), machines.site.keys.display());
    let ca = format!("ca = \"{keys}/tls/ca.pem\"");
    anchor(&machines, "nobody", "syslog", &to, &ca);
    let gateway = format!("{keys}/gateway-1/gateway-1");
    let known = format!("{ca}\ncert = \"{gateway}.pem\"\nkey = \"{gateway}.key\"");
    anchor(&machines, "known", "syslog", &to, &known);
    let collector = machines.start_collector();
    let output = machines.site.run(&["anchor"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.contains("nobody  default  NOT ANCHORED: ") && said.contains("known  default  1 "),
        "{said}"
    );
    let all = anchors(&machines);
    assert!(of(&all, "nobody", "default").is_empty() && !of(&all, "known", "default").is_empty(), "{all:?}");
    // As many messages as entries say, each of those a log of others can show.
    let count = |text: &str| text.lines().filter(|line| line.contains("checkpoint@32473")).count();
    let taken = all.len();
    wait_until("messages", || count(&fs::read_to_string(&messages).unwrap_or_default()) >= taken);
    drop(collector);
}

#[test]
fn another_checkpoint_of_the_same_size_is_not_replaced_and_stops_nothing_if_nobody_signed_it() {
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
    let said = text(&output.stdout);
    assert!(
        said.contains("another checkpoint of this size is there, which this ledger's key did not sign"),
        "{said}"
    );
    for (bytes, path) in before {
        assert_eq!(fs::read(path).unwrap(), bytes);
    }
}

/// Records, keys and spool, as a backup of everything has them.
fn copy_all(machines: &TwoMachines, to: &Path) {
    for (name, from) in parts(machines) {
        copy_dir(&from, &to.join(name));
    }
}

fn put_back(machines: &TwoMachines, from: &Path) {
    for (name, to) in parts(machines) {
        fs::remove_dir_all(&to).unwrap();
        copy_dir(&from.join(name), &to);
    }
}

fn parts(machines: &TwoMachines) -> [(&'static str, PathBuf); 3] {
    let site = &machines.site;
    [("data", site.data.clone()), ("keys", site.keys.clone()), ("spool", site.dir.path().join("spool"))]
}

/// A ledger of which a second history is begun, after the first one was anchored: gives what was anchored.
fn forked(kind: &str, to: &dyn Fn(&Site) -> String) -> (ModelServer, TwoMachines, PathBuf) {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let kept = machines.site.dir.path().join("kept");
    let old = machines.site.dir.path().join("old");
    let (mut collector, mut gateway) = (machines.start_collector(), machines.start_gateway());
    ask(&machines, &gateway, 1);
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    copy_all(&machines, &old);
    let (mut collector, mut gateway) = (machines.start_collector(), machines.start_gateway());
    ask(&machines, &gateway, 3);
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    fs::copy(machines.site.data.join("ledgers/default/checkpoint"), &kept).unwrap();
    put_back(&machines, &old);
    anchor(&machines, "outside", kind, &to(&machines.site), "interval_s = 1");
    (model, machines, kept)
}

#[test]
fn a_directory_that_has_another_history_of_the_ledgers_own_key_stops_the_collector() {
    let elsewhere = |site: &Site| site.dir.path().join("elsewhere").to_str().unwrap().to_owned();
    let (_model, machines, kept) = forked("directory", &elsewhere);
    // The first history was anchored at each of its sizes: here, at the one that the second comes to.
    let note = text(&fs::read(&kept).unwrap());
    let mut lines = note.lines();
    let (origin, size) = (lines.next().unwrap(), lines.next().unwrap().parse::<u64>().unwrap());
    let hash = Sha256::digest(origin).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let place = machines.site.dir.path().join("elsewhere").join(hash).join(format!("{size:020}.note"));
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    // An old copy of everything, and the newest anchor of what is gone.
    fs::copy(&kept, &place).unwrap();
    refused_at_start(&machines, "anchor outside has more of ledger");
    // Nor does a look at it sign anything; and files that somebody adds hide nothing.
    let output = machines.site.run(&["list", "--config", &machines.config]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let added = [
        ("99999999999999999999.note", b"x".to_vec()),
        ("99999999999999999998.note", fs::read(&kept).unwrap()),
    ];
    let added = added.map(|(name, bytes)| {
        let path = place.parent().unwrap().join(name);
        fs::write(&path, bytes).unwrap();
        path
    });
    refused_at_start(&machines, "anchor outside has more of ledger");
    added.iter().for_each(|path| fs::remove_file(path).unwrap());
    // The directory was away at the start.
    fs::remove_file(&place).unwrap();
    let (mut collector, mut gateway) = (machines.start_collector(), machines.start_gateway());
    fs::copy(&kept, &place).unwrap();
    let body = br#"{"model":"m-1","messages":[{"role":"user","content":"Something else"}]}"#;
    let checkpoint = machines.site.data.join("ledgers/default/checkpoint");
    let signed = || fs::read_to_string(&checkpoint).unwrap().lines().nth(1).unwrap().parse::<u64>().unwrap();
    while signed() < size {
        let before = signed();
        post(gateway.listen, "/v1/chat/completions", &[], body);
        wait_until("signed", || signed() > before);
    }
    assert_eq!(signed(), size, "the second history has this size as well");
    assert_eq!(collector.wait(), 4, "{}", collector.log());
    assert!(collector.log().contains("anchor outside has another history of ledger"), "{}", collector.log());
    assert_eq!(text(&fs::read(&place).unwrap()), note);
    // Nobody may look the other way while it grows.
    refused_at_start(&machines, "anchor outside has another history of ledger");
    fs::remove_file(&place).unwrap();
    let mut collector = machines.start_collector();
    post(gateway.listen, "/v1/chat/completions", &[], body);
    wait_until("it grew", || signed() > size);
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    for path in files_below(place.parent().unwrap()) {
        fs::remove_file(path).unwrap();
    }
    fs::copy(&kept, &place).unwrap();
    refused_at_start(&machines, "anchor outside has another history of ledger");
}

/// It exits with 4, and nothing was signed.
fn refused_at_start(machines: &TwoMachines, why: &str) {
    let head = fs::read(machines.site.keys.join("head")).unwrap();
    let mut refused = machines.site.spawn(&["collector", "--config", &machines.config], machines.collector);
    assert_eq!(refused.wait(), 4, "{}", refused.log());
    let last = refused.log().rsplit("error: ").next().unwrap().to_owned();
    assert!(last.contains(why), "{last}");
    assert_eq!(fs::read(machines.site.keys.join("head")).unwrap(), head);
}

#[test]
fn a_server_that_shows_another_history_of_the_ledgers_own_key_stops_the_collector() {
    let shown = Arc::new(Mutex::new(b"nothing that anybody signed".to_vec()));
    let answered = shown.clone();
    let server = RawServer::start(move |stream| {
        let body = answered.lock().unwrap().clone();
        let head =
            format!("HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        drop(stream.write_all(&[head.as_bytes(), &body].concat()));
    });
    let (_model, machines, kept) = forked("http", &|_| server.url.clone());
    let mut collector = machines.start_collector();
    // A claim stops nothing.
    let output = machines.site.run(&["anchor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("which this ledger's key did not sign"),
        "{}",
        text(&output.stdout)
    );
    *shown.lock().unwrap() = fs::read(&kept).unwrap();
    machines.site.run(&["anchor"]);
    assert_eq!(collector.wait(), 4, "{}", collector.log());
    assert!(collector.log().contains("anchor outside has more of ledger"), "{}", collector.log());
}

#[test]
fn an_anchor_that_hangs_holds_up_no_other() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    // It takes connections and says nothing.
    let hangs = RawServer::start(|_| std::thread::sleep(Duration::from_secs(300)));
    anchor(&machines, "hangs", "http", &hangs.url, "");
    let elsewhere = machines.site.dir.path().join("elsewhere");
    anchor(&machines, "disk", "directory", elsewhere.to_str().unwrap(), "interval_s = 1");
    let begun = Instant::now();
    let collector = machines.start_collector();
    wait_until("anchored", || files_below(&elsewhere).len() >= 2);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // Asked for, it is waited for, and not for ever.
    let output = machines.site.run(&["anchor"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.contains("hangs  default  NOT ANCHORED") && said.contains("disk  default  1 entries"),
        "{said}"
    );
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    drop(collector);
}

/// What a made-up authority does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    OtherNonce,
    NoSigner,
    TooLarge,
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = match contents.len() {
        length @ ..0x80 => vec![length as u8],
        length @ ..0x100 => vec![0x81, length as u8],
        length => vec![0x82, (length >> 8) as u8, length as u8],
    };
    [&[tag][..], &length, &contents].concat()
}

/// A response to a query as the collector makes it, in the form of RFC 3161 and signed by nobody.
fn made_up(query: &[u8], fault: Fault) -> Vec<u8> {
    let hash_at = query.windows(2).position(|two| two == [0x04, 0x20]).unwrap() + 2;
    let hash = &query[hash_at..hash_at + 32];
    // The nonce stands before the three bytes that ask for certificates.
    let mut nonce = query[query.len() - 11..query.len() - 3].to_vec();
    if fault == Fault::OtherNonce {
        nonce[7] ^= 1;
    }
    let sha256 = der(0x30, &[&der(6, &[&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01]])]);
    let imprint = der(0x30, &[&sha256, &der(4, &[hash])]);
    let time = der(0x18, &[b"20261126080000Z"]);
    let info = [der(2, &[&[1]]), der(6, &[&[0x2a, 3]]), imprint, der(2, &[&[5]]), time, der(2, &[&nonce])];
    let info = der(0x30, &info.each_ref().map(Vec::as_slice));
    let tst_info = der(6, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04]]);
    let content = der(0x30, &[&tst_info, &der(0xa0, &[&der(4, &[&info])])]);
    let size = if fault == Fault::TooLarge { 25 << 10 } else { 100 };
    let certificates = der(0xa0, &[&der(0x30, &[&vec![0; size]])]);
    let signer = if fault == Fault::NoSigner { Vec::new() } else { der(0x30, &[&der(2, &[&[1]])]) };
    let signed =
        der(0x30, &[&der(2, &[&[3]]), &der(0x31, &[]), &content, &certificates, &der(0x31, &[&signer])]);
    let signed_data = der(6, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02]]);
    let token = der(0x30, &[&signed_data, &der(0xa0, &[&signed])]);
    der(0x30, &[&der(0x30, &[&der(2, &[&[0]])]), &token])
}

/// Answers each query at once, with this fault.
fn faulty_authority(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(request) = read_request(&mut stream) else { continue };
            let body = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let answer = made_up(&request[body..], fault);
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            drop(stream.write_all(&[head.as_bytes(), &answer].concat()));
        }
    });
    url
}

#[test]
fn a_timestamp_for_another_request_of_nobody_or_too_large_is_not_taken() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let faults = [
        (Fault::OtherNonce, "nonce", "NOT ANCHORED: it answered another request"),
        (Fault::NoSigner, "signer", "NOT ANCHORED: nobody signed its timestamp"),
        (Fault::TooLarge, "large", "NOT ANCHORED: its timestamp is too large for an entry"),
        // In form: that nobody verified it here is what the list says.
        (Fault::Nothing, "made-up", "1 entries"),
    ];
    for (fault, name, _) in faults {
        anchor(&machines, name, "rfc3161", &faulty_authority(fault), "");
    }
    let collector = machines.start_collector();
    let said = text(&machines.site.run(&["anchor"]).stdout);
    for (_, name, words) in faults {
        assert!(said.contains(&format!("{name}  default  {words}")), "{name}: {said}");
    }
    let all = anchors(&machines);
    assert!(all.iter().all(|one| one["anchor"] == "made-up" && one["stamp_verified"] == false), "{all:?}");
    let listed = text(&machines.site.run(&["anchor", "--list"]).stdout);
    assert!(
        !listed.is_empty() && listed.lines().all(|line| line.ends_with("timestamp unverified")),
        "{listed}"
    );
    drop(collector);
}

#[test]
fn without_an_anchor_or_a_ledger_the_command_says_what_is_missing() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let refused = |words: &str, arguments: &[&str]| {
        let output = machines.site.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    refused("there is no data directory", &["anchor", "--list"]);
    let mut collector = machines.start_collector();
    refused("names no anchor", &["anchor"]);
    assert_eq!(collector.stop(), 0);
    refused("names no anchor", &["anchor", "--config", &machines.config]);
}
