//! Who may use the gateway, where their requests go, and changing both while it runs.
//!
//! A key must reach neither the model server nor a disk, whoever is refused must be told and recorded, and a
//! configuration must change at once or not at all.

use crate::common::*;
use crate::kill::TwoMachines;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const KEYED: &str = "api_keys = \"api-keys.json\"";

fn chat(model: &str) -> Vec<u8> {
    json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }] }).to_string().into_bytes()
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

fn ask(gateway: &Process, key: &str) -> Answer {
    post(gateway.listen, CHAT, &[("Authorization", &bearer(key))], &chat("m"))
}

/// A model server that answers at once.
fn answering() -> RawServer {
    RawServer::answering(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".to_vec(),
    )
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes a key: itself and its id.
fn create(machines: &TwoMachines, more: &[&str]) -> (String, String) {
    let made = json_of(&machines.site.run(&[&["key", "create", "--json"], more].concat()));
    (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

/// Entries of a ledger with this type, once there are `count`.
fn wait_for(machines: &TwoMachines, tenant: &str, event_type: &str, count: usize) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    wait_until(&format!("{count} entries {event_type}"), || {
        let output = machines.site.run(&["list", "--entries", "--tenant", tenant]);
        let entries = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        found = entries.map(|line| serde_json::from_slice(line).unwrap()).collect();
        found.retain(|entry| entry["event_type"] == event_type);
        found.len() >= count
    });
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

fn rewrite(machines: &TwoMachines, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(&machines.config).unwrap();
    std::fs::write(&machines.config, change(text)).unwrap();
}

fn error_of(answer: &Answer) -> Value {
    serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].clone()
}

#[test]
fn who_has_no_valid_key_is_told_why_and_recorded_and_goes_no_further() {
    let model = answering();
    let machines = TwoMachines::with(&model.url, KEYED, "");
    let (good, _) = create(&machines, &[]);
    let (revoked, revoked_id) = create(&machines, &[]);
    assert_eq!(machines.site.run(&["key", "revoke", &revoked_id]).status.code(), Some(0));
    let (expired, _) = create(&machines, &["--expires", "2126-11-22"]);
    let file = machines.site.dir.path().join("api-keys.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, kept.replace("2126-11-22", "2025-11-22")).unwrap();
    let (unknown, _) = create(&machines, &[]);
    std::fs::write(&file, kept.replace("2126-11-22", "2025-11-22")).unwrap();

    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    assert_eq!(ask(&gateway, &good).status, 200);
    let mut typo = good.clone().into_bytes();
    typo[10] = if typo[10] == b'a' { b'b' } else { b'a' };
    let cases = [
        (revoked, "revoked_api_key"),
        (expired, "expired_api_key"),
        (unknown, "unknown_api_key"),
        (text(&typo), "malformed_api_key"),
        (good[..20].to_owned(), "malformed_api_key"),
        ("sk-somebody-elses".to_owned(), "malformed_api_key"),
        (String::new(), "no_api_key"),
    ];
    for (sent, reason) in &cases {
        let answer = ask(&gateway, sent);
        assert_eq!(answer.status, 401, "{reason}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let error = error_of(&answer);
        assert_eq!(
            (&error["code"], &error["type"]),
            (&json!("invalid_api_key"), &json!("invalid_request_error"))
        );
        assert!(
            error["message"].is_string() && error["hint"].is_string() && error["param"].is_null(),
            "{error}"
        );
        assert!(sent.is_empty() || !text(&answer.body).contains(sent.as_str()), "a key is never repeated");
        let record = machines.site.record(answer.event_id());
        let entry = &record["entry"];
        assert_eq!((&entry["status"], &entry["error_type"]), (&json!("rejected"), &json!(reason)), "{entry}");
        assert_eq!(entry["http_status"], 401);
        assert_eq!(
            (&entry["input"]["bytes"], &entry["input"]["partial"]),
            (&json!(0), &json!(true)),
            "not read"
        );
        assert_eq!(machines.site.raw(answer.event_id(), "response"), answer.body);
        assert_eq!(entry["api_key_id"].is_string(), *reason != "no_api_key");
    }
    assert_eq!(model.requests().len(), 1, "only the good key's request went on");
    assert_eq!(gateway.metric("indelible_gateway_rejected_total{reason=\"malformed_api_key\"}"), Some(3));
    assert_eq!(gateway.metric("indelible_gateway_api_keys{state=\"revoked\"}"), Some(1));
    assert_eq!(machines.site.verify().0, 0);
}

#[test]
fn a_client_that_is_still_sending_gets_the_answer_that_refuses_it() {
    let machines = TwoMachines::with("http://127.0.0.1:1", KEYED, "");
    create(&machines, &[]);
    let gateway = machines.start_gateway();
    let bytes = message("POST", CHAT, &[("Authorization", "Bearer sk-guess")], &vec![b'x'; 900 << 10]);
    for _ in 0..5 {
        let mut stream = TcpStream::connect(gateway.listen).unwrap();
        // The head and a little first: the refusal is decided before the rest is on its way.
        let (first, rest) = bytes.split_at(500);
        stream.write_all(first).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(rest).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(parse_answer(&got).status, 401);
    }
    // Who asks first is not told to go on.
    let head =
        format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 900\r\n\r\n");
    let mut stream = send(gateway.listen, head.as_bytes());
    let got = read_until(&mut stream, b"\r\n\r\n");
    assert!(got.starts_with(b"HTTP/1.1 401"), "{}", text(&got));
}

#[test]
fn a_key_reaches_neither_the_model_server_nor_any_disk() {
    let (model, other) = (answering(), answering());
    let credential = "sk-route-0123456789-not-for-any-record";
    let route = format!(
        "[[gateway.routes]]\nname = \"other\"\npath = \"/other\"\nupstream = \"{}\"\nprovider = \"anthropic\"\ncredential_file = \"other.key\"",
        other.url
    );
    let machines = TwoMachines::with(&model.url, KEYED, &route);
    let secret = machines.site.dir.path().join("other.key");
    std::fs::write(&secret, format!("{credential}\n")).unwrap();
    let readable = machines.site.run(&["gateway", "--config", &machines.config]);
    assert_eq!(readable.status.code(), Some(2));
    assert!(text(&readable.stderr).contains("chmod 600"), "{}", text(&readable.stderr));
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();

    let (key, id) = create(&machines, &[]);
    let _collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let in_query = format!("{CHAT}?key={key}&alt=sse");
    let (bearer, other_path) = (bearer(&key), format!("/other{CHAT}"));
    let sent: [(&str, &[(&str, &str)]); 5] = [
        (CHAT, &[("Authorization", &bearer), ("X-Unrelated", &key)]),
        (CHAT, &[("x-api-key", &key), ("Authorization", "Bearer sk-of-the-client")]),
        (&in_query, &[]),
        (&other_path, &[("x-api-key", &key)]),
        (&other_path, &[("Authorization", &bearer)]),
    ];
    let mut ids = Vec::new();
    for (path, headers) in sent {
        let answer = post(gateway.listen, path, headers, &chat("m"));
        assert_eq!(answer.status, 200, "{path}: {}", text(&answer.body));
        ids.push(answer.event_id().to_owned());
    }
    for request in model.requests().iter().chain(&other.requests()) {
        assert!(!text(request).contains(&key[4..]), "{}", text(request));
    }
    assert!(
        text(&model.requests()[1]).to_ascii_lowercase().contains("authorization: bearer sk-of-the-client")
    );
    assert!(text(&model.requests()[2]).starts_with(&format!("POST {CHAT}?alt=sse HTTP/1.1")));
    for request in other.requests() {
        let request = text(&request).to_ascii_lowercase();
        assert!(
            request.contains(&format!("x-api-key: {credential}")) && !request.contains("authorization"),
            "{request}"
        );
    }
    // What is encrypted on the disk is shown in clear.
    for event_id in &ids {
        let record = machines.site.record(event_id);
        assert_eq!(record["entry"]["api_key_id"], id.as_str());
        let record = record.to_string();
        assert!(!record.contains(&key) && !record.contains(credential), "{record}");
    }
    gateway.wait_shipped();
    gateway.kill();
    assert!(grep(machines.site.dir.path(), &key[4..]).is_empty());
    assert_eq!(grep(machines.site.dir.path(), credential), [secret]);
}

#[test]
fn a_key_decides_whose_ledger_whose_request_and_which_route() {
    let model = answering();
    let route =
        format!("[[gateway.routes]]\nname = \"llama\"\nmodels = [\"llama-*\"]\nupstream = \"{}\"", model.url);
    let machines = TwoMachines::with(&model.url, KEYED, &route);
    rewrite(&machines, |whole| {
        whole.replace("[collector]", "[collector]\ntenants = [\"default\", \"acme\"]")
    });
    let (key, _) = create(&machines, &["--tenant", "acme", "--user", "jane@example.com", "--route", "llama"]);
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let bearer = bearer(&key);
    let headers = [("Authorization", bearer.as_str()), ("X-User-Id", "somebody-else")];
    let answer = post(gateway.listen, CHAT, &headers, &chat("llama-3"));
    assert_eq!(answer.status, 200);
    let record = machines.site.record(answer.event_id());
    assert_eq!((&record["entry"]["tenant_id"], &record["entry"]["route"]), (&json!("acme"), &json!("llama")));
    assert_eq!(record["payload"]["originals"]["user_id"], "jane@example.com");
    let refused = post(gateway.listen, CHAT, &headers, &chat("qwen"));
    assert_eq!((refused.status, &error_of(&refused)["code"]), (403, &json!("route_not_allowed")));
    let entry = &machines.site.record(refused.event_id())["entry"];
    assert_eq!((&entry["tenant_id"], &entry["model"]), (&json!("acme"), &json!("qwen")));
    assert_eq!(
        machines.site.raw(refused.event_id(), "request"),
        chat("qwen"),
        "who has a key is recorded whole"
    );
    assert!(machines.site.entries_of("default").iter().all(|entry| entry["status"].is_null()));
    let unknown = machines.site.run(&["key", "create", "--route", "nowhere"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("the routes are default, llama"), "{}", text(&unknown.stderr));
}

#[test]
fn keys_are_made_listed_and_taken_back_by_command() {
    let machines = TwoMachines::with("http://127.0.0.1:1", "", "");
    let without = machines.site.run(&["key", "create"]);
    assert_eq!(without.status.code(), Some(2));
    assert!(text(&without.stderr).contains("api_keys = "), "{}", text(&without.stderr));
    rewrite(&machines, |whole| whole.replace("[gateway]", &format!("[gateway]\n{KEYED}")));
    // Two at once lose none.
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| create(&machines, &["--note", "load"]))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let file = machines.site.dir.path().join("api-keys.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = json_of(&machines.site.run(&["key", "list", "--json"]));
    let keys = listed["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 8);
    for (key, id) in &made {
        assert!(key.starts_with("idk_") && key.len() == 53, "{key}");
        assert!(keys.iter().any(|listed| listed["id"] == id.as_str() && listed["state"] == "active"));
        assert!(!listed.to_string().contains(&key[4..]));
    }
    // By the beginning of its id, and by the key itself.
    let (key, id) = &made[0];
    assert_eq!(machines.site.run(&["key", "revoke", &id[..20]]).status.code(), Some(0));
    assert_eq!(machines.site.run(&["key", "revoke", key]).status.code(), Some(0), "again changes nothing");
    let table = text(&machines.site.run(&["key", "list"]).stdout);
    let line = table.lines().find(|line| line.starts_with(id.as_str())).unwrap();
    assert!(line.contains("revoked") && line.contains("load"), "{table}");
    assert_eq!(
        machines.site.run(&["key", "revoke", "k:00000000000000000000000000000000"]).status.code(),
        Some(1)
    );
    assert_eq!(machines.site.run(&["key", "revoke", "k:"]).status.code(), Some(1), "never all of them");
}

#[test]
fn who_asks_too_often_waits_and_is_told_how_long() {
    let model = answering();
    let machines = TwoMachines::with(&model.url, KEYED, "");
    let (limited, _) = create(&machines, &["--requests-per-minute", "2"]);
    let (free, _) = create(&machines, &[]);
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    assert_eq!((ask(&gateway, &limited).status, ask(&gateway, &limited).status), (200, 200));
    let refused = ask(&gateway, &limited);
    assert_eq!((refused.status, &error_of(&refused)["code"]), (429, &json!("rate_limit_exceeded")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(ask(&gateway, &free).status, 200, "others do not wait");
    let entry = &machines.site.record(refused.event_id())["entry"];
    assert_eq!((&entry["status"], &entry["error_type"]), (&json!("rejected"), &json!("rate_limited")));
    assert_eq!(model.requests().len(), 3);
}

#[test]
fn no_more_requests_run_at_once_than_may_and_a_place_comes_back() {
    let (go, gate) = mpsc::sync_channel::<()>(8);
    let gate = Arc::new(Mutex::new(gate));
    let model = RawServer::start(move |stream| {
        // A test that is over lets go.
        let _ = gate.lock().unwrap().recv();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let _ = stream.write_all(answer.as_bytes());
    });
    let machines = TwoMachines::with(&model.url, "", "concurrent_requests = 1");
    let gateway = machines.start_gateway();
    let ask = || post(gateway.listen, CHAT, &[], &chat("m"));
    std::thread::scope(|scope| {
        let first = scope.spawn(ask);
        wait_until("the first request at the model server", || model.requests().len() == 1);
        assert_eq!(gateway.metric("indelible_gateway_in_flight_requests"), Some(1));
        let refused = ask();
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
    });
    wait_until("a place", || gateway.metric("indelible_gateway_in_flight_requests") == Some(0));
    go.send(()).unwrap();
    assert_eq!(ask().status, 200);
    // Whoever hangs up gives the place back, too.
    let stream = send(gateway.listen, &message("POST", CHAT, &[], &chat("m")));
    wait_until("another request at the model server", || model.requests().len() == 3);
    drop(stream);
    wait_until("a place", || gateway.metric("indelible_gateway_in_flight_requests") == Some(0));
}

#[test]
fn a_flood_of_refusals_is_ten_entries_and_one_that_counts_the_rest() {
    let model = answering();
    let machines = TwoMachines::with(&model.url, KEYED, "");
    create(&machines, &[]);
    let _collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let answers: Vec<Answer> =
        (0..50).map(|n| ask(&gateway, if n % 2 == 0 { "sk-guess" } else { "" })).collect();
    assert!(answers.iter().all(|answer| answer.status == 401));
    assert_eq!(gateway.stop(), 0, "{}", gateway.log());
    let counted = wait_for(&machines, "default", "rejections", 1).remove(0);
    assert_eq!(counted["detail"]["count"], 40);
    assert_eq!(counted["detail"]["reasons"], json!({ "malformed_api_key": 20, "no_api_key": 20 }));
    assert!(counted["detail"]["from"].as_str() < counted["detail"]["to"].as_str());
    let alone: Vec<Value> =
        machines.site.entries().into_iter().filter(|entry| entry["status"] == "rejected").collect();
    assert_eq!(alone.len(), 10);
    for (n, answer) in answers.iter().enumerate() {
        let named = if n < 10 { &alone[n]["event_id"] } else { &counted["event_id"] };
        assert_eq!(named, answer.event_id(), "each answer names the entry that it is in");
    }
    assert!(counted.get("api_key_id").is_none() && !counted.to_string().contains("127.0.0.1"), "{counted}");
    let record = machines.site.record(counted["event_id"].as_str().unwrap());
    assert_eq!(record["payload"]["request"]["peer"], "127.0.0.1", "who it was is in the payload");
    assert!(model.requests().is_empty());
    assert_eq!(machines.site.verify().0, 0);
}

#[test]
fn the_model_in_a_body_decides_where_it_goes() {
    let (plain, llama) = (answering(), answering());
    let route = format!(
        "[[gateway.routes]]\nname = \"llama\"\nmodels = [\"llama-*\", \"exact\"]\nupstream = \"{}\"\nretention_class = \"two-years\"\nenvironment = \"staging\"",
        llama.url
    );
    let machines = TwoMachines::with(&plain.url, "", &route);
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    for (model, route) in
        [("llama-3-8b", "llama"), ("exact", "llama"), ("exactly", "default"), ("qwen", "default")]
    {
        let answer = post(gateway.listen, CHAT, &[], &chat(model));
        let entry = &machines.site.record(answer.event_id())["entry"];
        assert_eq!((&entry["model"], &entry["route"]), (&json!(model), &json!(route)), "{entry}");
        let (class, environment) = match route {
            "llama" => (json!("two-years"), json!("staging")),
            _ => (Value::Null, Value::Null),
        };
        assert_eq!((&entry["retention_class"], &entry["environment"]), (&class, &environment));
    }
    assert_eq!((plain.requests().len(), llama.requests().len()), (2, 2));
    let clash = machines.site.dir.path().join("clash.toml");
    let whole = std::fs::read_to_string(&machines.config).unwrap();
    std::fs::write(
        &clash,
        whole.replace("name = \"llama\"\nmodels = [\"llama-*\", \"exact\"]", "name = \"llama\""),
    )
    .unwrap();
    let refused = machines.site.run(&["gateway", "--config", clash.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("takes the same requests as another"),
        "{}",
        text(&refused.stderr)
    );
}

/// Streams one event at once and the last one when told.
fn streaming(gate: mpsc::Receiver<()>) -> RawServer {
    let gate = Arc::new(Mutex::new(gate));
    RawServer::start(move |stream: &mut TcpStream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: old\n\n",
        );
        let _ = gate.lock().unwrap().recv();
        let _ = stream.write_all(b"data: end\n\n");
    })
}

#[test]
fn a_changed_file_is_in_force_within_seconds_and_requests_under_way_keep_the_old_one() {
    let (go, gate) = mpsc::sync_channel(8);
    let (old, new) = (streaming(gate), answering());
    let machines = TwoMachines::new(&old.url);
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let mut under_way = send(gateway.listen, &message("POST", CHAT, &[], &chat("m")));
    read_until(&mut under_way, b"data: old\n\n");
    let before = std::fs::read(&machines.config).unwrap();
    rewrite(&machines, |whole| whole.replace(&old.url, &new.url));
    wait_until("the new upstream", || {
        gateway.metric("indelible_gateway_reloads_total{outcome=\"applied\"}") == Some(1)
    });
    let answer = post(gateway.listen, CHAT, &[], &chat("m"));
    assert_eq!((answer.status, new.requests().len(), old.requests().len()), (200, 1, 1));
    go.send(()).unwrap();
    let mut rest = Vec::new();
    under_way.read_to_end(&mut rest).unwrap();
    assert!(text(&rest).contains("data: end"), "{}", text(&rest));

    let changed = wait_for(&machines, "operations", "config_changed", 1).remove(0);
    let detail = &changed["detail"];
    let hash = |bytes: &[u8]| sha256(bytes);
    assert_eq!(detail["file"], "configuration");
    assert_eq!(detail["changed"], json!(["gateway.routes.default.upstream"]));
    assert_eq!(detail["before"], hash(&before));
    assert_eq!(detail["after"], hash(&std::fs::read(&machines.config).unwrap()));
    assert_eq!(changed["source"]["id"], "gateway-1");
    assert!(!changed.to_string().contains(&new.url), "names, never values: {changed}");
    let started = wait_for(&machines, "operations", "source_started", 1).remove(0);
    assert_eq!(started["detail"]["configuration"], hash(&before));
    assert_eq!(machines.site.verify().0, 0);
}

/// As `sha256sum` has it.
fn sha256(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    let output = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
    format!("sha256:{}", text(&output.stdout).split(' ').next().unwrap())
}

#[test]
fn a_file_that_does_not_hold_changes_nothing_and_says_what_is_wrong() {
    let model = answering();
    let machines = TwoMachines::with(&model.url, "", "tenant = \"default\"");
    let collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let good = std::fs::read_to_string(&machines.config).unwrap();
    for (bad, words) in [
        (good.replace("upstream =", "upsteram ="), "upsteram"),
        (
            good.replace("name = \"default\"", "name = \"default\"\npath = \"/only\""),
            "no route takes the path /",
        ),
        (good.replace("[gateway]", "[gateway]\napi_keys = \"nowhere.json\""), "nowhere.json"),
        (good[..good.len() / 2].to_owned(), "is not a valid configuration"),
    ] {
        std::fs::write(&machines.config, bad).unwrap();
        wait_until(words, || gateway.log().contains(words));
        assert_eq!(gateway.metric("indelible_gateway_reload_refused"), Some(1));
        assert_eq!(post(gateway.listen, CHAT, &[], &chat("m")).status, 200, "the old one stays in force");
    }
    let complaint: Value = gateway
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find(|line: &Value| line["level"] == "ERROR")
        .unwrap();
    let fields = &complaint["fields"];
    assert!(
        fields["what"].is_string() && fields["detail"].is_string() && fields["hint"].is_string(),
        "{complaint}"
    );
    std::fs::write(&machines.config, good.replace("tenant = \"default\"", "environment = \"production\""))
        .unwrap();
    wait_until("the good file", || gateway.metric("indelible_gateway_reload_refused") == Some(0));
    let answer = post(gateway.listen, CHAT, &[], &chat("m"));
    assert_eq!(machines.site.record(answer.event_id())["entry"]["environment"], "production");
    let changed = wait_for(&machines, "operations", "config_changed", 1).remove(0);
    let names = json!(["gateway.routes.default.environment", "gateway.routes.default.tenant"]);
    assert_eq!(changed["detail"]["changed"], names);
    drop(collector);
}

#[test]
fn a_hangup_reloads_at_once_and_what_needs_a_restart_is_named() {
    let model = answering();
    let machines = TwoMachines::new(&model.url);
    let gateway = machines.start_gateway();
    let elsewhere = free_address();
    rewrite(&machines, |whole| {
        whole
            .replace(&format!("listen = \"{}\"", machines.gateway), &format!("listen = \"{elsewhere}\""))
            .replace("name = \"default\"", "name = \"default\"\nmode = \"relaxed\"")
    });
    gateway.signal("HUP");
    wait_until("the warning", || gateway.log().contains("these changes need a restart"));
    assert!(gateway.log().contains("gateway.listen"), "{}", gateway.log());
    assert_eq!(gateway.metric("indelible_gateway_reload_pending"), Some(1));
    assert_eq!(post(gateway.listen, CHAT, &[], &chat("m")).status, 200);
    rewrite(&machines, |whole| whole.replace(&elsewhere.to_string(), &machines.gateway.to_string()));
    wait_until("nothing pending", || gateway.metric("indelible_gateway_reload_pending") == Some(0));
    let _collector = machines.start_collector();
    let changed = wait_for(&machines, "operations", "config_changed", 1).remove(0);
    assert_eq!(changed["detail"]["changed"], json!(["gateway.routes.default.mode"]));
    assert_eq!(changed["detail"]["pending"], json!(["gateway.listen"]));
}

#[test]
fn keys_change_while_the_gateway_runs_and_each_change_is_recorded_by_id() {
    let model = answering();
    let machines = TwoMachines::with(&model.url, "", "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    assert_eq!(ask(&gateway, "sk-anything").status, 200, "without keys of its own anybody may");
    rewrite(&machines, |whole| whole.replace("[gateway]", &format!("[gateway]\n{KEYED}")));
    let (key, id) = create(&machines, &[]);
    wait_until("keys in force", || gateway.metric("indelible_gateway_api_keys_required") == Some(1));
    assert_eq!((ask(&gateway, "sk-anything").status, ask(&gateway, &key).status), (401, 200));
    assert_eq!(machines.site.run(&["key", "revoke", &id]).status.code(), Some(0));
    wait_until("the revocation", || ask(&gateway, &key).status == 401);
    let changed = wait_for(&machines, "operations", "config_changed", 3);
    let about = |file: &str| -> Vec<&Value> {
        changed.iter().map(|entry| &entry["detail"]).filter(|detail| detail["file"] == file).collect()
    };
    let [configuration] = about("configuration")[..] else { panic!("{changed:#?}") };
    assert_eq!(configuration["changed"], json!(["gateway.api_keys"]));
    let [made, revoked] = about("api_keys")[..] else { panic!("{changed:#?}") };
    let name = json!([format!("api_keys.{id}")]);
    assert_eq!((&made["changed"], &revoked["changed"]), (&name, &name));
    assert!(made["before"].is_null());
    assert_eq!(made["after"], revoked["before"]);
    assert_ne!(revoked["after"], revoked["before"]);
}

#[test]
fn another_credential_in_the_same_file_is_taken_up() {
    let model = answering();
    let machines = TwoMachines::with(&model.url, "", "credential_file = \"route.key\"");
    let secret = machines.site.dir.path().join("route.key");
    std::fs::write(&secret, "sk-first").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let shown = || {
        ask(&gateway, "sk-client");
        text(model.requests().last().unwrap()).to_ascii_lowercase()
    };
    assert!(shown().contains("authorization: bearer sk-first"));
    std::fs::write(&secret, "sk-second").unwrap();
    wait_until("the second credential", || shown().contains("authorization: bearer sk-second"));
    let changed = wait_for(&machines, "operations", "config_changed", 1).remove(0);
    assert_eq!(changed["detail"]["changed"], json!(["gateway.routes.default.credential"]));
}

#[test]
fn metrics_say_what_passes_and_what_it_costs() {
    let model = answering();
    let machines = TwoMachines::new(&model.url);
    let gateway = machines.start_gateway();
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "sk-x").status, 200);
    }
    let metric = |name: &str| gateway.metric(&format!("indelible_gateway_{name}"));
    wait_until("the last of them", || metric("in_flight_requests") == Some(0));
    assert_eq!(metric("requests_total{route=\"default\",status=\"completed\"}"), Some(3));
    assert_eq!(metric("added_seconds_bucket{le=\"+Inf\"}"), Some(3));
    assert_eq!(metric("added_seconds_count"), Some(3));
    // What the model server takes is not added.
    let slow = RawServer::start(|stream| {
        std::thread::sleep(Duration::from_secs(2));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    });
    rewrite(&machines, |whole| whole.replace(&model.url, &slow.url));
    gateway.signal("HUP");
    wait_until("the slow model server", || metric("reloads_total{outcome=\"applied\"}") == Some(1));
    assert_eq!(ask(&gateway, "sk-x").status, 200);
    wait_until("its end", || metric("added_seconds_count") == Some(4));
    assert_eq!(metric("added_seconds_bucket{le=\"1\"}"), Some(4));
    // An idle connection, and the one that asks.
    let idle = TcpStream::connect(gateway.listen).unwrap();
    wait_until("two connections", || metric("connections") == Some(2));
    drop(idle);
    wait_until("one connection", || metric("connections") == Some(1));
    // No collector runs.
    wait_until("an old backlog", || metric("spool_oldest_seconds").is_some_and(|age| age >= 1));
    assert_ne!(metric("unshipped_frames"), Some(0));
    let _collector = machines.start_collector();
    gateway.wait_shipped();
    assert_eq!(metric("spool_oldest_seconds"), Some(0));
}

#[test]
fn a_span_of_each_request_goes_to_opentelemetry_and_nothing_waits_for_it() {
    let (model, receiver) = (answering(), answering());
    let gateway_lines = format!("otlp_endpoint = \"{}\"", receiver.url);
    let machines = TwoMachines::with(&model.url, &gateway_lines, "");
    let mut gateway = machines.start_gateway();
    let traced = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    let answer = post(gateway.listen, CHAT, &traced, &chat("llama-3"));
    let spans = "indelible_gateway_spans_total";
    wait_until("the span", || gateway.metric(&format!("{spans}{{outcome=\"sent\"}}")) == Some(1));
    let request = text(&receiver.requests()[0]);
    assert!(request.starts_with("POST /v1/traces HTTP/1.1"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let span = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((&span["name"], &span["status"]["code"]), (&json!("chat llama-3"), &json!(1)));
    assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span["parentSpanId"], "b7ad6b7169203331");
    assert!(span.to_string().contains(answer.event_id()), "{span}");
    assert!(!span.to_string().contains("hello"), "nothing of what was said: {span}");
    assert_eq!(gateway.stop(), 0);

    // Nobody listens there.
    rewrite(&machines, |whole| whole.replace(&receiver.url, &format!("http://{}", free_address())));
    let gateway = machines.start_gateway();
    assert_eq!(ask(&gateway, "sk-x").status, 200);
    wait_until("the failure", || gateway.metric(&format!("{spans}{{outcome=\"failed\"}}")) == Some(1));
    assert!(gateway.log().contains("spans cannot be delivered"), "{}", gateway.log());
}
