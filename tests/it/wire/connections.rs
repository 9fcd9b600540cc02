//! Connections: used again, never asked twice for the same answer, and what belongs to them alone.

use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}";

/// A model server that keeps its connections open and counts them.
fn keeping(answers: usize) -> (RawServer, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let server = RawServer::start(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        for answer in 1..=answers {
            stream.write_all(OK).unwrap();
            if answer == answers || read_request(stream).is_none() {
                return;
            }
        }
    });
    (server, connections)
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let (upstream, connections) = keeping(usize::MAX);
    // Each thread has connections of its own.
    let machines = TwoMachines::with(&upstream.url, "threads = 1", "");
    let (_collector, gateway) = (machines.start_collector(), machines.start_gateway());
    for n in 0..5 {
        let text = chat(&format!("question {n}"), false);
        assert_eq!(request(gateway.listen, &message("POST", CHAT, &[], &text)).status, 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    gateway.wait_shipped();
    assert_eq!(requests_in(&machines.site).len(), 5);
}

#[test]
fn an_idle_connection_that_the_upstream_closed_costs_no_request() {
    // Each connection ends right behind its first answer, while it lies in the pool.
    let (upstream, connections) = keeping(1);
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    for n in 0..20 {
        let answer = request(up.listen, &message("POST", CHAT, &[], &chat(&format!("question {n}"), false)));
        assert_eq!(answer.status, 200, "{}", text(&answer.body));
        // Closing crosses no request here: one that was sent already could not be sent again.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 20);
    assert_eq!(upstream.requests().len(), 20, "and none of them came twice");
}

#[test]
fn a_request_that_reached_the_upstream_is_not_sent_again() {
    // The second request of a connection is read, and the connection closed: nobody knows what it led to.
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let upstream = RawServer::start(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        stream.write_all(OK).unwrap();
        if read_request(stream).is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let machines = TwoMachines::with(&upstream.url, "threads = 1", "");
    let (_collector, gateway) = (machines.start_collector(), machines.start_gateway());
    let site = &machines.site;
    let ask = |text| {
        request(gateway.listen, &message("POST", CHAT, &[("Idempotency-Key", "key-7")], &chat(text, false)))
    };
    assert_eq!(ask("first").status, 200);
    let answer = ask("second");
    assert_eq!(answer.status, 502, "{}", text(&answer.body));
    assert_eq!(seen.load(Ordering::SeqCst), 2, "each request came once");
    let record = site.record(answer.event_id());
    assert_eq!(record["entry"]["status"], "upstream_error");
    assert_eq!(record["entry"]["error_type"], "upstream_no_answer");
    let first = text(&upstream.requests()[0]).to_ascii_lowercase();
    assert!(first.contains("idempotency-key: key-7"), "who retries can say so: {first}");
}

#[test]
fn trailers_pass_both_ways() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTrailer: X-Digest, X-Request-Id\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\nX-Digest: abc\r\n\
        X-Request-Id: req-from-trailer\r\n\r\n";
    // Read here, since a request with trailers does not end as the others do.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let sent = read_until(&mut stream, b"x-checksum: 1234\r\n\r\n");
        stream.write_all(answer).unwrap();
        text(&sent).to_ascii_lowercase()
    });
    let site = Site::new();
    let up = site.up(&url, &[]);
    let body = chat("trailed", false);
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close, TE\r\nTE: trailers\r\nTrailer: X-Checksum\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        body.len()
    );
    let bytes = [head.as_bytes(), &body, b"\r\n0\r\nX-Checksum: 1234\r\n\r\n"].concat();
    let mut client = send(up.listen, &bytes);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    let sent = upstream.join().unwrap();
    assert!(sent.contains("te: trailers\r\n"), "the model server is asked for trailers, too: {sent}");
    let got = text(&got);
    assert!(got.to_ascii_lowercase().contains("0\r\nx-digest: abc\r\n"), "{got}");
    let record = site.record(parse_answer(got.as_bytes()).event_id());
    assert_faithful(&record);
    let headers = record["payload"]["response"]["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-request-id", "req-from-trailer"])), "kept by name: {headers:?}");
}

#[test]
fn multipart_and_binary_bodies_are_recorded_whole() {
    let binary: Vec<u8> = (0..=255u8).cycle().take(70_000).collect();
    let upstream = {
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            binary.len()
        )
        .into_bytes();
        answer.extend_from_slice(&binary);
        RawServer::answering(answer)
    };
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let form = [
        b"--b0undary\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n".as_slice(),
        b"--b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
          Content-Type: audio/wav\r\n\r\n",
        &binary,
        b"\r\n--b0undary--\r\n",
    ]
    .concat();
    let kind = [("Content-Type", "multipart/form-data; boundary=b0undary")];
    for bytes in [
        message("POST", "/v1/audio/transcriptions", &kind, &form),
        chunked_message("/v1/audio/transcriptions", &kind, &form, 1000),
    ] {
        let answer = request(up.listen, &bytes);
        assert!(answer.body == binary);
        let record = site.record(answer.event_id());
        assert_eq!(record["entry"]["input"]["content_type"], "multipart/form-data");
        assert_eq!(record["entry"]["output"]["content_type"], "audio/mpeg");
        assert_faithful(&record);
        assert!(site.raw(answer.event_id(), "request") == form);
        assert!(site.raw(answer.event_id(), "response") == binary);
    }
}
