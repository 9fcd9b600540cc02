//! Ends: each limit, each way for an upstream to fail, and each moment for a client to go has its own word.

use super::*;
use std::time::{Duration, Instant};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn assert_ended(site: &Site, id: &str, status: &str, word: &str) -> Value {
    let record = site.record(id);
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["error_type"]), (&json!(status), &json!(word)), "{entry:#}");
    assert_faithful(&record);
    record
}

#[test]
fn a_request_that_takes_too_long_as_a_whole_is_ended_while_it_still_flows() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "total_timeout_s = 2", "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let endless = ("X-Standin", "bytes=100000,chunks=5000,pace=20");
    let answer = request(gateway.listen, &message("POST", CHAT, &[JSON, endless], &chat("endless", true)));
    assert!(answer.status == 200 && answer.broke_off && answer.body.len() > 1000, "{answer:?}");
    let record = assert_ended(&machines.site, answer.event_id(), "timeout", "total_timeout");
    assert_eq!(record["entry"]["output"]["partial"], true);
    assert!(record["entry"]["latency_ms"].as_u64().unwrap() >= 2000);
    assert_eq!(machines.site.raw(answer.event_id(), "response"), answer.body);

    let silent = ("X-Standin", "hang");
    let answer = request(gateway.listen, &message("POST", CHAT, &[JSON, silent], &chat("silent", true)));
    assert_eq!(answer.status, 504, "{}", text(&answer.body));
    assert!(text(&answer.body).contains("total_timeout_s"), "{}", text(&answer.body));
    assert_ended(&machines.site, answer.event_id(), "timeout", "total_timeout");
}

#[test]
fn a_client_that_stops_sending_is_ended_with_408() {
    let model = ModelServer::start();
    let machines = TwoMachines::with(&model.url, "idle_timeout_s = 1", "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let bytes = message("POST", CHAT, &[JSON], &chat("never finished", false));
    let mut client = send(gateway.listen, &bytes[..bytes.len() - 5]);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    let answer = parse_answer(&got);
    assert_eq!(answer.status, 408, "{}", text(&answer.body));
    let record = assert_ended(&machines.site, answer.event_id(), "timeout", "request_timeout");
    assert_eq!(record["entry"]["input"]["partial"], true);
    let sent = chat("never finished", false);
    assert_eq!(machines.site.raw(answer.event_id(), "request"), sent[..sent.len() - 5]);
    assert_eq!(model.log.count(), 0);
}

#[test]
fn an_upstream_that_does_not_take_connections_is_named_apart_from_one_that_refuses_them() {
    // Nobody accepts, and once the queue is full the system leaves further attempts without an answer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(1).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    let machines = TwoMachines::with(&format!("http://{address}"), "connect_timeout_s = 1", "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let answer = request(gateway.listen, &message("POST", CHAT, &[JSON], &chat("x", false)));
    assert_eq!(answer.status, 504, "{}", text(&answer.body));
    assert_ended(&machines.site, answer.event_id(), "timeout", "connect_timeout");

    drop((waiting, listener));
    let answer = request(gateway.listen, &message("POST", CHAT, &[JSON], &chat("x", false)));
    assert_eq!(answer.status, 502, "{}", text(&answer.body));
    assert_ended(&machines.site, answer.event_id(), "upstream_error", "upstream_unreachable");
}

#[test]
fn an_upstream_that_resets_or_breaks_the_framing_in_mid_stream_is_recorded_with_what_came() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases: [(&str, &str, bool); 3] = [
        ("a reset", "f\r\ndata: {\"n\":1}\n\n\r\n", true),
        ("a chunk without a length", "f\r\ndata: {\"n\":1}\n\n\r\nnonsense\r\ndata", false),
        ("a chunk that ends early", "f\r\ndata: {\"n\":1}\n\n\r\nff\r\n", false),
    ];
    for (name, body, resets) in cases {
        let upstream = RawServer::start(move |stream| {
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            if resets {
                // Not before the gateway has read: a reset discards what is under way.
                std::thread::sleep(Duration::from_millis(300));
                reset(stream);
            }
        });
        let site = Site::new();
        let up = site.up(&upstream.url, &[]);
        let answer = request(up.listen, &message("POST", CHAT, &[JSON], &chat(name, true)));
        assert!(answer.status == 200 && answer.broke_off, "{name}: {answer:?}");
        assert_eq!(answer.body, b"data: {\"n\":1}\n\n", "{name}: what came was passed on");
        let record = assert_ended(&site, answer.event_id(), "upstream_error", "upstream_broke_off");
        assert_eq!(record["entry"]["output"]["partial"], true, "{name}");
        assert_eq!(site.raw(answer.event_id(), "response"), answer.body, "{name}");
    }
}

#[test]
fn a_client_that_takes_nothing_makes_the_upstream_wait_and_costs_little() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let upstream = RawServer::start(move |stream| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000000000\r\n\r\n";
        stream.write_all(head).unwrap();
        while stream.write_all(&[b'x'; 64 << 10]).is_ok() {
            counted.fetch_add(64 << 10, Ordering::SeqCst);
        }
    });
    let machines = TwoMachines::new(&upstream.url);
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let client =
        send(gateway.listen, &message("POST", CHAT, &[("X-Request-Id", "req-slow")], &chat("x", true)));
    let mut before = usize::MAX;
    wait_until("the upstream to be held up", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = sent.load(Ordering::SeqCst);
        now > 0 && std::mem::replace(&mut before, now) == now
    });
    // What is under way lies in the sockets' buffers, which the system sizes.
    assert!(before < 64 << 20, "{before} bytes were taken for a client that reads none");
    assert!(gateway.peak_memory_bytes() < 40 << 20, "{} bytes in memory", gateway.peak_memory_bytes());
    drop(client);
    let record = only(&machines.site, "req-slow");
    assert_eq!(record["entry"]["status"], "cancelled", "{:#}", record["entry"]);
    assert_faithful(&record);
}

#[test]
fn a_client_that_takes_nothing_for_ever_is_given_up() {
    let (seen, noticed) = mpsc::sync_channel::<()>(1);
    let upstream = RawServer::start(move |stream| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000000000\r\n\r\n";
        stream.write_all(head).unwrap();
        while stream.write_all(&[b'x'; 64 << 10]).is_ok() {}
        let _ = seen.send(());
    });
    let machines = TwoMachines::with(&upstream.url, "idle_timeout_s = 1", "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let bytes = message("POST", CHAT, &[("X-Request-Id", "req-stuck")], &chat("x", true));
    let _client = send(gateway.listen, &bytes);
    noticed.recv().unwrap();
    let record = only(&machines.site, "req-stuck");
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["error_type"]), (&json!("cancelled"), &json!("client_gone")));
    assert_faithful(&record);
}

#[test]
fn a_client_that_hangs_up_ends_its_record_at_once() {
    let model = ModelServer::start();
    let site = Site::new();
    let up = site.up(&model.url, &[]);
    let headers = [JSON, ("X-Standin", "pace=60000"), ("X-Request-Id", "req-quick")];
    let mut client = send(up.listen, &message("POST", CHAT, &headers, &chat("x", true)));
    read_until(&mut client, b"\n\n");
    let hung_up = Instant::now();
    drop(client);
    let record = only(&site, "req-quick");
    assert!(hung_up.elapsed() < Duration::from_secs(20), "long before the next frame");
    assert_eq!(record["entry"]["status"], "cancelled");
}
