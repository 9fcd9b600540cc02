//! Going down: what runs may end, what does not end in time is cut and has its record all the same.

use super::*;

/// A model server that sends `frames` events, a tenth of a second apart, then ends; `None`: never.
fn slow(frames: Option<usize>) -> RawServer {
    RawServer::start(move |stream| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        for n in 0..frames.unwrap_or(usize::MAX) {
            let data = format!("data: {{\"n\":{n}}}\n\n");
            if write!(stream, "{:x}\r\n{data}\r\n", data.len()).is_err() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let _ = stream.write_all(b"0\r\n\r\n");
    })
}

#[test]
fn a_running_stream_ends_whole_before_the_gateway_goes_down() {
    let upstream = slow(Some(20));
    let site = Site::new();
    let mut up = site.up(&upstream.url, &[]);
    let mut client =
        send(up.listen, &message("POST", CHAT, &[("X-Request-Id", "req-drained")], &chat("x", true)));
    let mut got = read_until(&mut client, b"{\"n\":1}");
    up.signal("TERM");
    wait_until("the port to be closed", || TcpStream::connect(up.listen).is_err());
    client.read_to_end(&mut got).unwrap();
    let answer = parse_answer(&got);
    assert!(!answer.broke_off && text(&answer.body).contains("{\"n\":19}"), "{}", text(&answer.body));
    assert_eq!(up.wait(), 0, "{}", up.log());
    let record = only(&site, "req-drained");
    assert_eq!(record["entry"]["status"], "completed", "{:#}", record["entry"]);
    assert_faithful(&record);
    assert_eq!(site.raw("req-drained", "response"), answer.body);
}

#[test]
fn a_stream_that_outlasts_the_drain_is_cut_and_recorded_not_left_interrupted() {
    let upstream = slow(None);
    let machines = TwoMachines::with(&upstream.url, "drain_timeout_s = 1", "");
    let mut collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let site = &machines.site;
    let mut client =
        send(gateway.listen, &message("POST", CHAT, &[("X-Request-Id", "req-cut")], &chat("x", true)));
    let mut got = read_until(&mut client, b"{\"n\":1}");
    gateway.signal("TERM");
    client.read_to_end(&mut got).unwrap();
    let answer = parse_answer(&got);
    assert!(answer.broke_off, "the client can tell that this was not all");
    assert_eq!(gateway.wait(), 0, "{}", gateway.log());
    let record = only(site, "req-cut");
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["error_type"]), (&json!("cancelled"), &json!("gateway_stopped")));
    assert_eq!(entry["output"]["partial"], true);
    assert_faithful(&record);
    assert!(site.raw("req-cut", "response").starts_with(&answer.body), "what the client has is recorded");
    let stopped = site.entries_of("operations");
    assert!(
        stopped.iter().any(|entry| entry["event_type"] == "source_stopped"),
        "the source says that it went down in good order"
    );
    assert_eq!(collector.stop(), 0);
    assert_eq!(site.verify().0, 0);
}
