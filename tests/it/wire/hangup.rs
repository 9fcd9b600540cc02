//! Clients that hang up on a route that drains: what was generated is recorded, and what was delivered.

use super::*;
use std::time::Duration;

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n";
const REST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

fn machines(upstream: &RawServer, gateway: &str) -> TwoMachines {
    TwoMachines::with(&upstream.url, gateway, "on_hangup = \"drain\"")
}

fn ask(gateway: &Process, id: &str) -> TcpStream {
    send(gateway.listen, &message("POST", CHAT, &[("X-Request-Id", id)], &chat("x", true)))
}

/// A model server that sends the head and a first event, and the rest once it is told to; it says whether it was
/// hung up on before that.
fn in_two_parts() -> (RawServer, mpsc::SyncSender<()>, mpsc::Receiver<bool>) {
    let (go, told) = mpsc::sync_channel::<()>(0);
    let (say, left) = mpsc::sync_channel::<bool>(8);
    let told = Mutex::new(told);
    let upstream = RawServer::start(move |stream| {
        stream.write_all(HEAD).unwrap();
        stream.write_all(&chunk(FIRST)).unwrap();
        told.lock().unwrap().recv().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        // Nothing is sent on this connection: it is open, or it is over.
        let open =
            matches!(stream.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        let _ = stream.write_all(&[&chunk(REST)[..], b"0\r\n\r\n"].concat());
        let _ = say.send(!open);
    });
    (upstream, go, left)
}

#[test]
fn an_answer_is_drained_for_its_usage_when_the_client_hangs_up_in_mid_stream() {
    let (upstream, go, left) = in_two_parts();
    let machines = machines(&upstream, "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let mut client = ask(&gateway, "req-drained");
    read_until(&mut client, b"Hel\"}}]}\n\n");
    drop(client);
    std::thread::sleep(Duration::from_millis(300));
    go.send(()).unwrap();
    assert!(!left.recv().unwrap(), "the model server was not hung up on");
    let record = only(&machines.site, "req-drained");
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["error_type"]), (&json!("cancelled"), &json!("client_gone")));
    assert_eq!(entry["detail"]["hangup"], "drained", "{entry:#}");
    assert_eq!((&entry["prompt_tokens"], &entry["completion_tokens"]), (&json!(5), &json!(2)));
    assert_eq!(entry["finish_reason"], "stop");
    assert!(entry["output"]["partial"].is_null(), "what was generated is whole: {entry:#}");
    assert_eq!(entry["output"]["bytes"], FIRST.len() + REST.len());
    assert_eq!(entry["detail"]["delivered_bytes"], FIRST.len());
    assert_faithful(&record);
    assert_eq!(text(&machines.site.raw("req-drained", "response")), format!("{FIRST}{REST}"));
}

#[test]
fn an_answer_is_drained_when_the_client_hangs_up_before_its_head() {
    let (go, told) = mpsc::sync_channel::<()>(0);
    let told = Mutex::new(told);
    let upstream = RawServer::start(move |stream| {
        told.lock().unwrap().recv().unwrap();
        stream.write_all(&[HEAD, &chunk(FIRST), &chunk(REST), b"0\r\n\r\n"].concat()).unwrap();
    });
    let machines = machines(&upstream, "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let client = ask(&gateway, "req-early");
    wait_until("the upstream to be called", || !upstream.requests().is_empty());
    drop(client);
    std::thread::sleep(Duration::from_millis(300));
    go.send(()).unwrap();
    let record = only(&machines.site, "req-early");
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["http_status"]), (&json!("cancelled"), &json!(200)), "{entry:#}");
    assert_eq!((&entry["detail"]["hangup"], &entry["completion_tokens"]), (&json!("drained"), &json!(2)));
    assert_eq!(entry["detail"]["delivered_bytes"], 0);
    assert_faithful(&record);
}

#[test]
fn a_client_that_hangs_up_after_the_last_event_leaves_nothing_to_drain() {
    let (seen, noticed) = mpsc::sync_channel::<bool>(1);
    let upstream = RawServer::start(move |stream| {
        stream.write_all(&[HEAD, &chunk(FIRST), &chunk(REST)].concat()).unwrap();
        // The end of the body never comes.
        let _ = seen.send(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)));
    });
    let machines = machines(&upstream, "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let mut client = ask(&gateway, "req-had-all");
    read_until(&mut client, b"[DONE]\n\n");
    drop(client);
    assert!(noticed.recv().unwrap(), "nobody waits for more");
    let record = only(&machines.site, "req-had-all");
    assert_eq!(record["entry"]["status"], "completed", "{:#}", record["entry"]);
    assert!(record["entry"]["detail"]["hangup"].is_null(), "{:#}", record["entry"]);
}

#[test]
fn what_is_drained_is_bounded_in_number_bytes_and_time() {
    let endless = || {
        RawServer::start(|stream| {
            let _ = stream.write_all(HEAD);
            let _ = stream.write_all(&chunk(FIRST));
            while stream.write_all(&chunk(&format!(": {}\n\n", "x".repeat(2000)))).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let ended = |machines: &TwoMachines, id: &str| {
        let record = only(&machines.site, id);
        let entry = record["entry"].clone();
        assert_eq!((&entry["status"], &entry["output"]["partial"]), (&json!("cancelled"), &json!(true)));
        assert_faithful(&record);
        (entry["detail"]["hangup"].as_str().unwrap().to_owned(), entry["output"]["bytes"].as_u64().unwrap())
    };
    let hang_up = |gateway: &Process, id: &str| {
        let mut client = ask(gateway, id);
        read_until(&mut client, b"Hel\"}}]}\n\n");
    };

    let upstream = endless();
    let many = machines(&upstream, "hangup_drain_max_bytes = 50000\nhangup_drains_max = 1");
    let _collector = many.start_collector();
    let gateway = many.start_gateway();
    hang_up(&gateway, "req-bytes");
    std::thread::sleep(Duration::from_millis(100));
    hang_up(&gateway, "req-refused");
    assert_eq!(ended(&many, "req-refused").0, "drain_refused");
    let (word, bytes) = ended(&many, "req-bytes");
    assert_eq!(word, "drain_limit");
    assert!((50_000..70_000).contains(&bytes), "{bytes}");
    // The one that ended made room.
    hang_up(&gateway, "req-later");
    assert_eq!(ended(&many, "req-later").0, "drain_limit");

    let upstream = endless();
    let long = machines(&upstream, "hangup_drain_max_s = 1");
    let _collector = long.start_collector();
    let gateway = long.start_gateway();
    hang_up(&gateway, "req-time");
    assert_eq!(ended(&long, "req-time").0, "drain_limit");
}

#[test]
fn a_model_server_that_breaks_off_while_it_is_drained_is_no_whole_answer() {
    let upstream = RawServer::start(|stream| {
        stream.write_all(&[HEAD, &chunk(FIRST)].concat()).unwrap();
        std::thread::sleep(Duration::from_millis(800));
        let _ = stream.write_all(b"ff\r\ndata: half");
    });
    let machines = machines(&upstream, "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let mut client = ask(&gateway, "req-broken");
    read_until(&mut client, b"Hel\"}}]}\n\n");
    drop(client);
    let record = only(&machines.site, "req-broken");
    assert_eq!(record["entry"]["detail"]["hangup"], "drain_broke_off", "{:#}", record["entry"]);
    assert_eq!(record["entry"]["output"]["partial"], true);
    assert_faithful(&record);
    assert!(text(&machines.site.raw("req-broken", "response")).ends_with("data: half"));
}

#[test]
fn the_shutdown_waits_for_what_is_drained_and_cuts_it_when_time_is_up() {
    let (upstream, go, _left) = in_two_parts();
    let machines = machines(&upstream, "drain_timeout_s = 3");
    let _collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    for id in ["req-ends", "req-stays"] {
        let mut client = ask(&gateway, id);
        read_until(&mut client, b"Hel\"}}]}\n\n");
    }
    std::thread::sleep(Duration::from_millis(200));
    gateway.signal("TERM");
    wait_until("the port to be closed", || TcpStream::connect(gateway.listen).is_err());
    go.send(()).unwrap();
    assert_eq!(gateway.wait(), 0, "{}", gateway.log());
    let mut words: Vec<(Value, Value)> = ["req-ends", "req-stays"]
        .map(|id| only(&machines.site, id)["entry"].clone())
        .map(|entry| (entry["error_type"].clone(), entry["detail"]["hangup"].clone()))
        .into();
    words.sort_by_key(|(word, _)| word.to_string());
    assert_eq!(words, [(json!("client_gone"), json!("drained")), (json!("gateway_stopped"), Value::Null)]);
}
