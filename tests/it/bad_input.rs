//! Bad input: one clear error (what, detail, hint), the right status or exit code, nothing recorded lost.
//!
//! Each test does something that an operator, a client, a disk or a model server will do one day, and then
//! looks at two things: what was said about it, and that everything recorded before still verifies.

use crate::common::*;
use crate::kill::TwoMachines;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

const CHAT: &str = "/v1/chat/completions";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn chat(prompt: &str) -> Vec<u8> {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": prompt }] });
    body.to_string().into_bytes()
}

/// A command failed as it should: exit code, what, and a hint.
fn assert_refused(output: &Output, code: i32, what: &[&str]) {
    assert_words(output.status.code().unwrap(), &text(&output.stderr), code, what);
}

/// A server did not start, or ended, as it should.
fn assert_ends(mut server: Process, code: i32, what: &[&str]) {
    let ended = server.wait();
    assert_words(ended, &server.log(), code, what);
}

fn assert_words(ended: i32, said: &str, code: i32, what: &[&str]) {
    let error = said.find("error: ").map_or("", |at| &said[at..]);
    assert_eq!(ended, code, "{said}");
    for what in what.iter().chain(&["\nhint: "]) {
        assert!(error.contains(what), "no {what:?} in: {said}");
    }
    assert_eq!(said.matches("error: ").count(), 1, "one error: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// The error that the gateway itself answers.
fn own_error(answer: &Answer) -> (String, String) {
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(error["error"]["code"], answer.status);
    let text = |name: &str| error["error"][name].as_str().unwrap().to_owned();
    (text("message"), text("hint"))
}

/// A site with some records, stopped in good order.
fn recorded(model: &ModelServer, requests: usize) -> (Site, Vec<String>) {
    let site = Site::new();
    let ids = record_more(&site, model, requests);
    (site, ids)
}

fn record_more(site: &Site, model: &ModelServer, requests: usize) -> Vec<String> {
    let mut up = site.up(&model.url, &[]);
    let ids = (0..requests)
        .map(|n| post(up.listen, CHAT, &[], &chat(&format!("question {n}"))).event_id().to_owned())
        .collect();
    up.wait_shipped();
    assert_eq!(up.stop(), 0, "{}", up.log());
    ids
}

fn assert_nothing_lost(site: &Site, ids: &[String]) {
    let (code, report) = site.verify();
    assert_eq!(code, 0, "{report:#}");
    let entries = site.entries();
    for id in ids {
        let count = entries.iter().filter(|entry| entry["event_id"] == id.as_str()).count();
        assert_eq!(count, 1, "{id}");
    }
}

#[test]
fn malformed_json_is_the_model_servers_to_judge_and_is_recorded() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let nested = [b"{\"messages\":".as_slice(), &b"[".repeat(100_000)].concat();
    let strange: [&[u8]; 6] = [
        b"{\"model\": \"m\",",
        b"\xff\xfe\x00\x01",
        b"null",
        b"[]",
        b"{\"model\":{\"a\":1},\"stream\":7}",
        &nested,
    ];
    for body in strange {
        let answer = post(up.listen, CHAT, &[], body);
        assert_eq!(answer.status, 400, "{}", text(&answer.body));
        assert!(text(&answer.body).contains("invalid_request_error"), "the model server's own words");
        let record = site.record(answer.event_id());
        assert_eq!(record["entry"]["status"], "upstream_error", "{:#}", record["entry"]);
        assert_eq!(record["entry"]["http_status"], 400);
        assert!(site.raw(answer.event_id(), "request") == body);
        assert_eq!(site.raw(answer.event_id(), "response"), answer.body);
    }
    assert_eq!(site.verify().0, 0);
}

#[test]
fn a_body_over_the_limit_is_refused_with_413_and_recorded() {
    let model = ModelServer::start();
    for limit in [10_000, 1_000_000] {
        let machines = TwoMachines::with(&model.url, &format!("request_max_bytes = {limit}"), "");
        let _collector = machines.start_collector();
        let gateway = machines.start_gateway();
        let before = model.log.count();
        let body = chat(&"x".repeat(limit + 200_000));
        for bytes in [message("POST", CHAT, &[JSON], &body), chunked_message(CHAT, &[JSON], &body, 50_000)] {
            let answer = request(gateway.listen, &bytes);
            assert_eq!(answer.status, 413, "limit {limit}: {}", text(&answer.body));
            let (what, hint) = own_error(&answer);
            assert_eq!(what, format!("the request body is over the limit of {limit} bytes"));
            assert!(hint.contains("request_max_bytes"), "{hint}");
            let entry = &machines.site.record(answer.event_id())["entry"];
            assert_eq!(
                (&entry["status"], &entry["http_status"]),
                (&json!("rejected"), &json!(413)),
                "{entry:#}"
            );
            assert_eq!(entry["error_type"], "request_too_large");
            assert_eq!(entry["input"]["partial"], true, "{entry:#}");
            assert_eq!(machines.site.raw(answer.event_id(), "response"), answer.body);
        }
        assert_eq!(model.log.count(), before, "the model server never saw one whole");
        let fits = chat(&"x".repeat(limit - 1000));
        assert_eq!(post(gateway.listen, CHAT, &[], &fits).status, 200);
    }
}

#[test]
fn an_upstream_that_misbehaves_is_named_and_recorded() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let cases = [
        ("close", 502, "upstream_error", json!("upstream_no_answer"), Some("does not speak HTTP")),
        ("nohttp", 502, "upstream_error", json!("upstream_no_answer"), Some("does not speak HTTP")),
        ("garbage", 200, "completed", Value::Null, None),
        ("stop=2", 200, "upstream_error", json!("upstream_broke_off"), None),
    ];
    for (control, http, status, error_type, hint) in cases {
        let body = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "x" }] });
        let answer = post(up.listen, CHAT, &[("X-Standin", control)], body.to_string().as_bytes());
        assert_eq!(answer.status, http, "{control}: {}", text(&answer.body));
        if let Some(words) = hint {
            let (what, hint) = own_error(&answer);
            assert!(
                what.starts_with("the model server gave no answer") && hint.contains(words),
                "{what} {hint}"
            );
        }
        assert_eq!(answer.broke_off, control == "stop=2", "{control}");
        let entry = &site.record(answer.event_id())["entry"];
        assert_eq!((&entry["status"], &entry["error_type"]), (&json!(status), &error_type), "{control}");
        assert_eq!(site.raw(answer.event_id(), "response"), answer.body, "{control}");
    }

    let nobody = format!("http://{}", free_address());
    let other = Site::new();
    let up = other.up(&nobody, &[]);
    let answer = post(up.listen, CHAT, &[], &chat("x"));
    assert_eq!(answer.status, 502);
    let (what, hint) = own_error(&answer);
    assert!(what.contains("refused") && hint.contains("is the model server running"), "{what}: {hint}");
    assert_eq!(other.record(answer.event_id())["entry"]["error_type"], "upstream_unreachable");
    assert_eq!(other.raw(answer.event_id(), "request"), chat("x"));
    assert_eq!(other.verify().0, 0);
}

#[test]
fn a_directory_of_another_version_or_of_a_stranger_is_left_alone() {
    let model = ModelServer::start();
    let (site, ids) = recorded(&model, 2);
    let format = site.data.join("FORMAT");
    let ours = std::fs::read(&format).unwrap();
    std::fs::write(&format, "indelible data 999\n").unwrap();
    let what = ["FORMAT", "indelible data 999", "but this program reads"];
    let upstream = ["--upstream", &model.url];
    assert_ends(site.spawn(&[&["up"], &upstream[..]].concat(), free_address()), 2, &what);
    for look in [&["list"][..], &["show", &ids[0]], &["show", &ids[0], "--raw", "request"]] {
        assert_refused(&site.run(look), 2, &what);
    }
    let (code, report) = site.verify();
    assert_ne!(code, 0, "{report:#}");
    std::fs::write(&format, ours).unwrap();
    assert_nothing_lost(&site, &ids);

    let stranger = site.dir.path().join("photos");
    std::fs::create_dir(&stranger).unwrap();
    std::fs::write(stranger.join("holiday.jpg"), "not a record").unwrap();
    let named = stranger.display().to_string();
    let data = ["--data", &named];
    let (listen, api) = (free_address().to_string(), free_address().to_string());
    let up = [&["up"], &upstream[..], &["--listen", &listen, "--api-listen", &api], &data].concat();
    assert_ends(site.spawn(&up, free_address()), 2, &["photos", "not a data directory of Indelible"]);
    assert_refused(&site.run(&[&["list"], &data[..]].concat()), 2, &["not a data directory of Indelible"]);
    assert_eq!(files_below(&stranger), [stranger.join("holiday.jpg")], "nothing was put there");
    assert!(!site.dir.path().join("photos.keys").exists());
}

#[test]
fn a_command_that_only_looks_never_makes_a_directory() {
    let site = Site::new();
    for look in [
        &["list"][..],
        &["list", "--entries"],
        &["show", "x"],
        &["show", "x", "--raw", "request"],
        &["verify"],
        &["key", "show"],
    ] {
        let output = site.run(look);
        assert_refused(&output, 2, &[]);
        assert!(text(&output.stderr).contains("data"), "names the directory: {}", text(&output.stderr));
        assert!(!site.data.exists() && !site.keys.exists(), "{look:?}");
    }
}

#[test]
fn a_second_collector_on_the_same_directory_is_refused() {
    let model = ModelServer::start();
    let site = Site::new();
    let mut up = site.up(&model.url, &[]);
    let ids = vec![post(up.listen, CHAT, &[], &chat("x")).event_id().to_owned()];
    let (listen, api) = (free_address().to_string(), free_address().to_string());
    let second = ["up", "--upstream", &model.url, "--listen", &listen, "--api-listen", &api];
    assert_ends(site.spawn(&second, free_address()), 2, &["data is in use by another process"]);
    // Nor does it take the first one's announcement away: looks still reach it.
    assert!(!site.record(&ids[0]).is_null());
    up.wait_shipped();
    assert_eq!(up.stop(), 0);
    assert_nothing_lost(&site, &ids);
}

/// What happens to the files of a WAL, oldest first.
type Damage = fn(&[PathBuf]);

fn cut(path: &Path, len: impl Fn(usize) -> usize) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..len(bytes.len())]).unwrap();
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_log_stops_the_start_and_says_where() {
    const BEHIND: &str = "entries were signed, but only";
    let model = ModelServer::start();
    let (site, mut ids) = recorded(&model, 5);
    ids.extend(record_more(&site, &model, 5));
    let cases: [(&str, Damage, i32, &[&str]); 10] = [
        ("newest cut in the middle", |wal| cut(&wal[1], |len| len / 2), 4, &["refusing to sequence", BEHIND]),
        ("newest cut to its header", |wal| cut(&wal[1], |_| 80), 4, &["refusing to sequence"]),
        ("newest emptied", |wal| cut(&wal[1], |_| 0), 4, &["refusing to sequence", BEHIND]),
        (
            "newest removed",
            |wal| std::fs::remove_file(&wal[1]).unwrap(),
            4,
            &["refusing to sequence", BEHIND],
        ),
        ("oldest removed", |wal| std::fs::remove_file(&wal[0]).unwrap(), 4, &["refusing to sequence"]),
        ("all removed", |wal| wal.iter().for_each(|file| std::fs::remove_file(file).unwrap()), 4, &[BEHIND]),
        ("oldest cut", |wal| cut(&wal[0], |len| len - 100), 4, &["00000001.wal", "at byte", BEHIND]),
        (
            "bit flipped in the newest",
            |wal| flip(&wal[1], |len| len / 2),
            4,
            &["00000002.wal", "at byte", BEHIND],
        ),
        (
            "bit flipped in the oldest",
            |wal| flip(&wal[0], |len| len / 2),
            4,
            &["00000001.wal", "at byte", BEHIND],
        ),
        (
            "bytes behind the end",
            |wal| {
                std::fs::write(&wal[1], [std::fs::read(&wal[1]).unwrap(), b"more".to_vec()].concat()).unwrap()
            },
            2,
            &["00000002.wal", "at byte", "bytes after the close frame"],
        ),
    ];
    let damaged = site.dir.path().join("damaged");
    let named = damaged.display().to_string();
    let keys = site.keys.display().to_string();
    let there = ["--data", &named, "--keys", &keys];
    for (name, damage, code, what) in cases {
        copy_dir(&site.data, &damaged);
        let wal = files_below(&damaged.join("wal"));
        assert_eq!(wal.len(), 2);
        damage(&wal);
        let left: Vec<_> =
            files_below(&damaged.join("wal")).iter().map(|file| std::fs::read(file).unwrap()).collect();
        println!("{name}");
        assert_refused(&site.run(&[&["list"], &there[..]].concat()), code, what);
        let server =
            ["up", "--upstream", &model.url, "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
        assert_ends(site.spawn(&[&server, &there[..]].concat(), free_address()), code, what);
        let verdict = site.run(&[&["verify"], &there[..]].concat());
        assert_eq!(verdict.status.code(), Some(1), "{name}: {}", text(&verdict.stdout));
        let after: Vec<_> =
            files_below(&damaged.join("wal")).iter().map(|file| std::fs::read(file).unwrap()).collect();
        // An empty newest file holds nothing that anybody was ever told; recovery removes it.
        assert!(left == after || name == "newest emptied", "{name}: a refused start changes nothing");
    }
    assert_nothing_lost(&site, &ids);
    ids.extend(record_more(&site, &model, 1));
    assert_nothing_lost(&site, &ids);
}

#[test]
fn a_tail_torn_by_a_crash_does_not_stop_the_start() {
    let model = ModelServer::start();
    let site = Site::new();
    let mut up = site.up(&model.url, &[]);
    let mut ids: Vec<String> =
        (0..5).map(|n| post(up.listen, CHAT, &[], &chat(&n.to_string())).event_id().to_owned()).collect();
    up.wait_shipped();
    wait_until("the last record to be signed", || site.record(&ids[4])["level"] == "signed");
    up.kill();
    for log in [site.data.join("wal"), site.data.join("spool")] {
        let newest = files_below(&log).pop().unwrap();
        let mut bytes = std::fs::read(&newest).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        // The beginning of a frame that the power cut short, in the space that was reserved for it.
        bytes[end + 8..end + 40].copy_from_slice(&[0xa5; 32]);
        std::fs::write(&newest, bytes).unwrap();
    }
    ids.extend(record_more(&site, &model, 3));
    assert_nothing_lost(&site, &ids);
}

#[test]
fn an_old_copy_of_the_records_is_refused_while_the_keys_know_better() {
    let model = ModelServer::start();
    let (site, mut ids) = recorded(&model, 3);
    let (old, newest) = (site.dir.path().join("old"), site.dir.path().join("newest"));
    copy_dir(&site.data, &old);
    ids.extend(record_more(&site, &model, 3));
    copy_dir(&site.data, &newest);
    copy_dir(&old, &site.data);
    let what = ["refusing to sequence", "an old copy was restored", "no second history is ever signed"];
    let server = ["up", "--upstream", &model.url, "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
    assert_ends(site.spawn(&server, free_address()), 4, &what);
    assert_refused(&site.run(&["list"]), 4, &what);
    assert_eq!(site.verify().0, 1);
    copy_dir(&newest, &site.data);
    assert_nothing_lost(&site, &ids);

    // The head alone is gone: the records cannot be told from a shortened copy.
    let head = std::fs::read(site.keys.join("head")).unwrap();
    std::fs::remove_file(site.keys.join("head")).unwrap();
    assert_ends(site.spawn(&server, free_address()), 4, &["refusing to sequence", "the head is missing"]);
    std::fs::write(site.keys.join("head"), head).unwrap();
    ids.extend(record_more(&site, &model, 1));
    assert_nothing_lost(&site, &ids);
}

#[test]
fn an_old_copy_of_records_and_keys_is_given_away_by_a_gateway() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let site = &machines.site;
    let mut gateway = machines.start_gateway();
    let mut ids = Vec::new();
    let mut ask = |gateway: &Process, count: usize| {
        for n in 0..count {
            let answer = post(gateway.listen, CHAT, &[], &chat(&format!("question {n}")));
            assert_eq!(answer.status, 200, "requests go on");
            ids.push(answer.event_id().to_owned());
        }
    };
    let copies = ["old", "newest"].map(|name| site.dir.path().join(name));
    for (round, copy) in copies.iter().enumerate() {
        let mut collector = machines.start_collector();
        ask(&gateway, 3);
        gateway.wait_shipped();
        assert_eq!(collector.stop(), 0, "round {round}: {}", collector.log());
        copy_dir(&site.data, &copy.join("data"));
        copy_dir(&site.keys, &copy.join("keys"));
    }
    // The spool remembers what it was told, also across a crash of the gateway.
    gateway.kill();
    let gateway = machines.start_gateway();
    copy_dir(&copies[0].join("data"), &site.data);
    copy_dir(&copies[0].join("keys"), &site.keys);
    let collector = machines.start_collector();
    ask(&gateway, 1);
    let what = ["source gateway-1 was acknowledged up to", "an old copy was restored"];
    assert_ends(collector, 4, &what);
    ask(&gateway, 1);

    copy_dir(&copies[1].join("data"), &site.data);
    copy_dir(&copies[1].join("keys"), &site.keys);
    let mut collector = machines.start_collector();
    gateway.wait_shipped();
    assert_eq!(collector.stop(), 0);
    assert_nothing_lost(site, &ids);
}

#[test]
fn a_bad_configuration_is_named_before_anything_starts() {
    let model = ModelServer::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("\"{}\"", taken.local_addr().unwrap());
    let junk = "\"/dev/null\"".to_owned();
    let cases: [(&str, &str, String, &[&str]); 13] = [
        (
            "gateway",
            "spool = \"spool\"",
            "spoool = \"spool\"".into(),
            &["not a valid configuration", "spoool", "line "],
        ),
        ("collector", "client_ca", "klient_ca".into(), &["not a valid configuration", "klient_ca"]),
        ("gateway", "listen = \"127", "listen = 17 #".into(), &["not a valid configuration"]),
        ("gateway", "[gateway]", "[gateway".into(), &["not a valid configuration"]),
        (
            "gateway",
            "[[gateway.routes]]",
            "[[gateway.routes]]\npath = \"/v1\"".into(),
            &["no route takes the path /"],
        ),
        ("gateway", "upstream = \"http", "upstream = \"ftp".into(), &["only http and https"]),
        (
            "gateway",
            "spool = \"spool\"",
            "spool = \"spool\"\nspool_max_bytes = 7".into(),
            &["spool_max_bytes = 7"],
        ),
        ("gateway", "api-key-id.key\"", "nowhere.key\"".into(), &["nowhere.key", "No such file"]),
        ("gateway", "collector-spool.pub\"", "gateway-1.pem\"".into(), &["gateway-1.pem", "64 hex digits"]),
        ("gateway", "listen = \"127.0.0.1:0\"", format!("listen = {taken}"), &["cannot listen on", "in use"]),
        (
            "collector",
            "listen = \"127.0.0.1:1\"",
            format!("listen = {taken}"),
            &["cannot listen on", "in use"],
        ),
        (
            "collector",
            "client_ca = ",
            format!("client_ca = {junk} #"),
            &["/dev/null", "holds no certificate"],
        ),
        (
            "collector",
            "[collector]",
            "[collector]\ntenants = [\"Not A Tenant\"]".into(),
            &["cannot be a tenant's id"],
        ),
    ];
    let machines = TwoMachines::new(&model.url);
    let site = &machines.site;
    let whole = std::fs::read_to_string(&machines.config).unwrap();
    let whole = whole.replace(&machines.gateway.to_string(), "127.0.0.1:0");
    let whole = whole.replace(&format!("listen = \"{}\"", machines.collector), "listen = \"127.0.0.1:1\"");
    for (command, from, to, what) in cases {
        assert!(whole.contains(from), "{from}");
        std::fs::write(&machines.config, whole.replacen(from, &to, 1)).unwrap();
        assert_ends(site.spawn(&[command, "--config", &machines.config], free_address()), 2, what);
    }
    let missing = ["gateway", "--config", "nowhere.toml"];
    assert_ends(
        site.spawn(&missing, free_address()),
        2,
        &["cannot read the configuration nowhere.toml", "No such file"],
    );
    assert!(!site.data.exists(), "a collector that cannot start makes no data directory");
}

#[test]
fn ports_and_addresses_that_cannot_be_listened_on_are_refused() {
    let model = ModelServer::start();
    let site = Site::new();
    let one = free_address().to_string();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--listen", &one, "--api-listen", &one], &["cannot listen on", "in use"]),
        (&["--listen", &taken, "--api-listen", "127.0.0.1:0"], &["cannot listen on", "in use"]),
        (&["--listen", "127.0.0.1:0", "--api-listen", &taken], &["cannot listen on", "in use"]),
        (
            &["--listen", "0.0.0.0:0", "--api-listen", "127.0.0.1:0"],
            &["0.0.0.0:0 is not loopback", "--insecure-listen"],
        ),
        (
            &["--listen", "127.0.0.1:0", "--api-listen", "[::]:0"],
            &["[::]:0 is not loopback", "--insecure-listen"],
        ),
    ];
    for (listen, what) in cases {
        let up = [&["up", "--upstream", &model.url], listen].concat();
        assert_ends(site.spawn(&up, free_address()), 2, what);
        assert!(!site.data.exists(), "{listen:?}: nothing was made");
    }
    assert_ends(site.spawn(&["up", "--upstream", "127.0.0.1:8000"], free_address()), 2, &["is not a URL"]);
    let forced = free_address();
    let anywhere = format!("0.0.0.0:{}", forced.port());
    let up = [
        "up",
        "--upstream",
        &model.url,
        "--listen",
        &anywhere,
        "--api-listen",
        "127.0.0.1:0",
        "--insecure-listen",
    ];
    let mut server = site.serve(&up, forced);
    assert_eq!(post(forced, CHAT, &[], &chat("x")).status, 200);
    assert_eq!(server.stop(), 0, "{}", server.log());
}

#[test]
fn an_unknown_tenant_is_named_to_whoever_looks() {
    let model = ModelServer::start();
    let (site, ids) = recorded(&model, 1);
    let mut up = site.up(&model.url, &[]);
    for running in [true, false] {
        if !running {
            assert_eq!(up.stop(), 0);
        }
        for look in [
            &["list"][..],
            &["show", &ids[0]],
            &["show", &ids[0], "--raw", "request"],
            &["list", "--entries"],
        ] {
            let output = site.run(&[look, &["--tenant", "nobody"]].concat());
            assert_refused(&output, 1, &["there is no ledger of tenant \"nobody\""]);
        }
    }
    assert_nothing_lost(&site, &ids);
}

#[test]
fn a_client_that_is_still_sending_gets_to_read_the_413() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "request_max_bytes = 1000000", "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let body = chat(&"x".repeat(30_000_000));
    for bytes in [message("POST", CHAT, &[JSON], &body), chunked_message(CHAT, &[JSON], &body, 50_000)] {
        let mut stream = std::net::TcpStream::connect(gateway.listen).unwrap();
        // Most client libraries read only once they could not write any more.
        let _ = stream.write_all(&bytes);
        let got = read_until(&mut stream, b"request_max_bytes");
        assert!(text(&got).starts_with("HTTP/1.1 413"), "{}", text(&got));
    }
}
