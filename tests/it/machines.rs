//! Two machines: mutual TLS between gateway and collector, and either of them away for a while.
//!
//! What the network, a certificate or a full disk does to shipping must never lose a record, double one or
//! stop what the route's modes promise to go on (invariants 1, 2, 6 and 14).

use crate::common::*;
use crate::kill::TwoMachines;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CHAT: &str = "/v1/chat/completions";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn chat(prompt: &str) -> Vec<u8> {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": prompt }] });
    body.to_string().into_bytes()
}

fn ask(gateway: &Process, count: usize) -> Vec<String> {
    let one = |n| {
        let answer = post(gateway.listen, CHAT, &[], &chat(&format!("question {n}")));
        assert_eq!(answer.status, 200, "{}", text(&answer.body));
        answer.event_id().to_owned()
    };
    (0..count).map(one).collect()
}

/// Replaces words in the configuration.
fn edit(machines: &TwoMachines, from: &str, to: &str) {
    let whole = std::fs::read_to_string(&machines.config).unwrap();
    assert!(whole.contains(from), "{from} is not in {whole}");
    std::fs::write(&machines.config, whole.replace(from, to)).unwrap();
}

/// Event ids of the requests in a ledger, in its order.
fn recorded(machines: &TwoMachines, tenant: &str) -> Vec<String> {
    let entries = machines.site.entries_of(tenant).into_iter();
    let requests = entries.filter(|entry| entry["status"].is_string());
    requests.map(|entry| entry["event_id"].as_str().unwrap().to_owned()).collect()
}

fn spool_files(machines: &TwoMachines) -> usize {
    files_below(&machines.site.dir.path().join("spool")).len()
}

fn wait_for_log(process: &Process, words: &str) {
    wait_until(&format!("{words:?} in the log"), || process.log().contains(words));
}

fn assert_holds(machines: &TwoMachines) {
    let (code, report) = machines.site.verify();
    assert_eq!(code, 0, "{report:#}");
}

/// A second development CA in `other/`, with a certificate for `source`.
fn other_ca(machines: &TwoMachines, source: &str) -> String {
    let dir = machines.site.dir.path().join("other").display().to_string();
    let made = machines.site.run(&["key", "init", "--keys", &dir, "--source", source]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    format!("{dir}/{source}/{source}")
}

#[test]
fn a_certificate_of_another_ca_is_not_taken_and_costs_no_record() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let stranger = other_ca(&machines, "gateway-1");
    let ours = format!("{}/gateway-1/gateway-1", machines.site.keys.display());
    edit(&machines, &ours, &stranger);
    let collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let ids = ask(&gateway, 5);
    wait_for_log(&gateway, "the collector does not take records; they stay in the spool");
    wait_for_log(&collector, "invalid peer certificate");
    assert!(recorded(&machines, "default").is_empty());
    gateway.kill();
    edit(&machines, &stranger, &ours);
    let gateway = machines.start_gateway();
    gateway.wait_shipped();
    assert_eq!(recorded(&machines, "default"), ids);
    assert_holds(&machines);
}

#[test]
fn a_collector_that_the_gateway_does_not_trust_gets_nothing() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    other_ca(&machines, "gateway-1");
    let (ours, theirs) =
        (format!("{}/gateway-1/ca.pem", machines.site.keys.display()), "other/gateway-1/ca.pem");
    edit(&machines, &ours, theirs);
    let _collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let ids = ask(&gateway, 2);
    wait_for_log(&gateway, "invalid peer certificate");
    assert!(recorded(&machines, "default").is_empty());
    gateway.kill();
    edit(&machines, theirs, &ours);
    machines.start_gateway().wait_shipped();
    assert_eq!(recorded(&machines, "default"), ids);
}

#[test]
fn a_source_cannot_send_under_another_name() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "source_id = \"gateway-2\"", "");
    let own = other_ca(&machines, "gateway-2");
    let both = ["data.keys/tls/ca.pem", "other/tls/ca.pem"]
        .map(|ca| std::fs::read(machines.site.dir.path().join(ca)).unwrap());
    let bundle = machines.site.dir.path().join("both.pem");
    std::fs::write(&bundle, both.concat()).unwrap();
    edit(&machines, &format!("{}/tls/ca.pem", machines.site.keys.display()), &bundle.display().to_string());
    let collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let ids = ask(&gateway, 3);
    wait_for_log(&gateway, "403 Forbidden");
    for (log, words) in [
        (gateway.log(), "the certificate of gateway-1 cannot send for gateway-2"),
        (gateway.log(), "compare collector.tenants and the certificate"),
        (collector.log(), "the certificate of gateway-1 cannot send for gateway-2"),
    ] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
    assert!(recorded(&machines, "default").is_empty());
    gateway.kill();
    edit(&machines, &format!("{}/gateway-1/gateway-1", machines.site.keys.display()), &own);
    machines.start_gateway().wait_shipped();
    assert_eq!(recorded(&machines, "default"), ids, "with a certificate of its own nothing was lost");
}

#[test]
fn records_of_an_unknown_tenant_wait_until_it_is_known() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "", "tenant = \"acme\"");
    let mut collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let ids = ask(&gateway, 3);
    wait_for_log(&gateway, "unknown tenant");
    assert!(gateway.log().contains("acme"), "{}", gateway.log());
    assert_eq!(collector.stop(), 0);
    edit(&machines, "[collector]", "[collector]\ntenants = [\"default\", \"acme\"]");
    let _collector = machines.start_collector();
    gateway.wait_shipped();
    assert_eq!(recorded(&machines, "acme"), ids);
    assert!(recorded(&machines, "default").is_empty());
    assert_holds(&machines);
}

#[test]
fn frames_without_a_certificate_and_reads_without_a_token_are_refused() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let _collector = machines.start_collector();
    // Clear text on a TLS port gets no answer at all.
    let answer = request(machines.collector, &message("GET", "/v1/records", &[], b""));
    assert_eq!(answer.status, 0);
    let site = Site::new();
    let api = free_address();
    let (listen, api_text) = (free_address().to_string(), api.to_string());
    let _up =
        site.serve(&["up", "--upstream", &model.url, "--listen", &listen, "--api-listen", &api_text], api);
    let host = ("Host", "127.0.0.1");
    let cases: [(&str, &[(&str, &str)], u16); 5] = [
        ("/v1/records", &[host], 401),
        ("/v1/records", &[host, ("Authorization", "Bearer guess")], 401),
        ("/v1/records", &[("Host", "evil.example")], 403),
        ("/v1/source/frames", &[host], 405),
        ("/nowhere", &[host], 404),
    ];
    for (path, headers, status) in cases {
        let mut bytes = text(&message("GET", path, headers, b""));
        bytes = bytes.replacen("Host: x\r\n", "", 1);
        let answer = request(api, bytes.as_bytes());
        assert_eq!(answer.status, status, "{path} {headers:?}: {}", text(&answer.body));
        if matches!(status, 401 | 403 | 404) {
            let error: Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(error["error"]["message"].is_string() && error["error"]["hint"].is_string(), "{error}");
        }
    }
    let frames =
        text(&message("POST", "/v1/source/frames", &[host], b"frames")).replacen("Host: x\r\n", "", 1);
    assert_eq!(request(api, frames.as_bytes()).status, 401, "frames need a client certificate");
}

#[test]
fn a_record_is_at_the_collector_within_five_seconds() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let collector = machines.start_collector();
    wait_for_log(&collector, "collector is ready");
    let gateway = machines.start_gateway();
    let id = ask(&gateway, 1).remove(0);
    let answered = Instant::now();
    wait_until("the record", || recorded(&machines, "default").contains(&id));
    assert!(answered.elapsed() < Duration::from_secs(5), "{:?}", answered.elapsed());
    wait_until("its signature", || machines.site.record(&id)["level"] == "signed");
    assert!(answered.elapsed() < Duration::from_secs(5), "{:?}", answered.elapsed());
}

#[test]
fn requests_go_on_without_the_collector_and_arrive_when_it_is_back() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    // Before it ever came up, while it is away, and across restarts of either side.
    let mut gateway = machines.start_gateway();
    let mut ids = ask(&gateway, 50);
    gateway.kill();
    let mut gateway = machines.start_gateway();
    ids.extend(ask(&gateway, 50));
    gateway.kill();
    let gateway = machines.start_gateway();
    ids.extend(ask(&gateway, 50));
    assert_eq!(spool_files(&machines), 3);
    let mut collector = machines.start_collector();
    gateway.wait_shipped();
    collector.kill();
    ids.extend(ask(&gateway, 50));
    assert_ne!(gateway.metric("indelible_gateway_unshipped_frames"), Some(0));
    let mut collector = machines.start_collector();
    gateway.wait_shipped();
    assert_eq!(recorded(&machines, "default"), ids, "all of it, once, in order");
    assert_eq!(spool_files(&machines), 1, "what the collector has is removed, but for the newest file");
    assert_holds(&machines);
    drop(gateway);
    let mut gateway = machines.start_gateway();
    ids.extend(ask(&gateway, 5));
    gateway.wait_shipped();
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    assert_eq!(recorded(&machines, "default"), ids);
    assert_holds(&machines);
}

/// A large request that compression does not make small.
fn noise(mut seed: u64) -> Vec<u8> {
    let mut digits = String::new();
    while digits.len() < 60_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        digits.push_str(&format!("{seed:x}"));
    }
    chat(&digits)
}

/// Gateway alone with a small spool, filled to the brim; the requests that were still taken.
fn filled(upstream: &str, fail: &str) -> (TwoMachines, Process, usize) {
    let route = format!("fail = \"{fail}\"");
    let machines = TwoMachines::with(upstream, "spool_max_bytes = 1048576", &route);
    let gateway = machines.start_gateway();
    for taken in 0..200 {
        let answer = post(gateway.listen, CHAT, &[], &noise(taken as u64));
        let owed = gateway.metric("indelible_gateway_gaps_owed_requests").unwrap();
        if answer.status != 200 || owed > 0 {
            let used = gateway.metric("indelible_gateway_spool_bytes").unwrap();
            assert!(used <= 1_048_576, "{used} bytes");
            return (machines, gateway, taken);
        }
    }
    panic!("the spool never gets full");
}

#[test]
fn a_full_spool_refuses_until_there_is_room_again() {
    let model = ModelServer::start();
    let (machines, gateway, taken) = filled(&model.url, "spool");
    let before = model.log.count();
    let answer = post(gateway.listen, CHAT, &[], &noise(1000));
    assert_eq!(answer.status, 503);
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    let word = |name: &str| error["error"][name].as_str().unwrap().to_owned();
    assert!(word("message").contains("of 1048576 bytes are in use"), "{error}");
    assert!(word("hint").contains("spool_max_bytes"), "{error}");
    assert_eq!(model.log.count(), before, "the model server is not called for what cannot be recorded");
    let _collector = machines.start_collector();
    gateway.wait_shipped();
    // As much again, while the collector takes it: what was shipped makes room.
    for n in 0..taken as u64 {
        wait_until("room in the spool", || post(gateway.listen, CHAT, &[], &noise(n)).status == 200);
    }
    gateway.wait_shipped();
    assert_eq!(recorded(&machines, "default").len(), 2 * taken);
    assert_holds(&machines);
}

#[test]
fn an_open_route_serves_without_a_record_and_states_the_gap() {
    let model = ModelServer::start();
    let (machines, gateway, taken) = filled(&model.url, "open");
    for _ in 0..4 {
        let answer = post(gateway.listen, CHAT, &[], &noise(1000));
        assert_eq!(answer.status, 200, "{}", text(&answer.body));
    }
    assert_eq!(gateway.metric("indelible_gateway_gaps_owed_requests"), Some(5), "served without a record");
    let _collector = machines.start_collector();
    wait_until("the gap to be accounted for", || {
        gateway.metric("indelible_gateway_gaps_owed_requests") == Some(0)
    });
    gateway.wait_shipped();
    let entries = machines.site.entries();
    let gaps: Vec<&Value> = entries.iter().filter(|entry| entry["event_type"] == "gap").collect();
    let counted: u64 = gaps.iter().map(|gap| gap["detail"]["count"].as_u64().unwrap()).sum();
    assert_eq!((counted, recorded(&machines, "default").len()), (5, taken), "{gaps:#?}");
    for gap in gaps {
        let detail = &gap["detail"];
        assert_eq!(detail["cause"], "spool_full", "{gap:#}");
        assert!(detail["from"].as_str().unwrap() <= detail["to"].as_str().unwrap(), "{gap:#}");
        assert_eq!(gap["source"]["id"], "gateway-1", "{gap:#}");
    }
    assert_holds(&machines);
}

#[test]
fn a_gap_that_is_owed_survives_a_stop_in_good_order() {
    let model = ModelServer::start();
    let (machines, mut gateway, taken) = filled(&model.url, "open");
    assert_eq!(gateway.stop(), 0, "{}", gateway.log());
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    gateway.wait_shipped();
    let entries = machines.site.entries();
    let counted: u64 = entries
        .iter()
        .filter(|entry| entry["event_type"] == "gap")
        .map(|gap| gap["detail"]["count"].as_u64().unwrap())
        .sum();
    assert_eq!((counted, recorded(&machines, "default").len()), (1, taken));
}

#[test]
fn a_closed_route_refuses_once_the_collector_is_away_for_too_long() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "closed_after_s = 1", "fail = \"closed\"");
    let mut collector = machines.start_collector();
    let gateway = machines.start_gateway();
    ask(&gateway, 1);
    gateway.wait_shipped();
    // Idle for longer than that, with the collector there.
    std::thread::sleep(Duration::from_millis(1200));
    ask(&gateway, 3);
    gateway.wait_shipped();
    collector.kill();
    let mut refused = None;
    wait_until("a refusal", || {
        let answer = post(gateway.listen, CHAT, &[], &chat("x"));
        refused = (answer.status != 200).then_some(answer);
        refused.is_some()
    });
    let answer = refused.unwrap();
    assert_eq!(answer.status, 503);
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(
        error["error"]["message"].as_str().unwrap().contains("the collector has not taken records for"),
        "{error}"
    );
    assert!(error["error"]["hint"].as_str().unwrap().contains("bring the collector back"), "{error}");
    let _collector = machines.start_collector();
    wait_until("service", || post(gateway.listen, CHAT, &[], &chat("x")).status == 200);
}

/// Reads what comes within `limit`; the end of the connection, or not.
fn read_for(stream: &mut TcpStream, limit: Duration) -> (Vec<u8>, bool) {
    use std::io::Read as _;
    stream.set_read_timeout(Some(limit)).unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (got, true),
            Ok(read) => got.extend_from_slice(&buffer[..read]),
            Err(error) => return (got, error.kind() == std::io::ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn a_receipt_answer_ends_only_once_the_collector_has_the_record() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "", "mode = \"receipt\"");
    let gateway = machines.start_gateway();
    let plain = chat("x");
    let stream = json!({ "model": "m", "stream": true, "messages": [] }).to_string().into_bytes();
    let mut held: Vec<_> = [plain, stream]
        .iter()
        .map(|body| send(gateway.listen, &message("POST", CHAT, &[JSON], body)))
        .map(|mut stream| {
            let (got, ended) = read_for(&mut stream, Duration::from_millis(500));
            assert!(!ended && text(&got).starts_with("HTTP/1.1 200"), "{}", text(&got));
            (stream, got)
        })
        .collect();
    assert!(parse_answer(&held[0].1).broke_off && parse_answer(&held[1].1).broke_off, "the end is held back");
    assert!(text(&held[1].1).contains("data: {"), "but a stream flows meanwhile");
    let _collector = machines.start_collector();
    for (stream, got) in &mut held {
        let (rest, ended) = read_for(stream, Duration::from_secs(10));
        assert!(ended);
        got.extend_from_slice(&rest);
        let answer = parse_answer(got);
        assert!(!answer.broke_off, "{}", text(got));
        let shown = machines.site.run(&["show", answer.event_id(), "--json"]);
        assert!(shown.status.success(), "it is there when the answer ends: {}", text(&shown.stderr));
    }
}

#[test]
fn a_receipt_that_does_not_come_in_time_breaks_the_answer_off() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "receipt_timeout_s = 1", "mode = \"receipt\"");
    let gateway = machines.start_gateway();
    let answer = post(gateway.listen, CHAT, &[], &chat("x"));
    assert!(answer.status == 200 && answer.broke_off, "{answer:?}");
    // Answers without a body, and the gateway's own, have nothing to hold back but themselves.
    for (method, path, headers) in [("GET", "/health", &[][..]), ("POST", CHAT, &[("X-Standin", "close")])] {
        let asked = Instant::now();
        let answer = request(gateway.listen, &message(method, path, headers, b""));
        assert!(asked.elapsed() < Duration::from_secs(5), "{path}: {:?}", asked.elapsed());
        assert_eq!(answer.status, 503, "{path}");
        assert!(
            text(&answer.body).contains("the record was not durable within 1s"),
            "{}",
            text(&answer.body)
        );
        assert!(text(&answer.body).contains("\"hint\""), "{}", text(&answer.body));
    }
    let _collector = machines.start_collector();
    gateway.wait_shipped();
    assert_eq!(recorded(&machines, "default").len(), 3, "all are recorded all the same");
}

#[test]
fn a_relaxed_answer_waits_for_nothing_and_is_recorded() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "", "mode = \"relaxed\"");
    let gateway = machines.start_gateway();
    let ids = ask(&gateway, 20);
    let collector = machines.start_collector();
    wait_for_log(&collector, "collector is ready");
    wait_until("all records", || recorded(&machines, "default") == ids);
    assert_holds(&machines);
}
