//! WebSockets: both sides have what the other sent, and the record has it message by message.
//!
//! `speaking` makes the frames of the tests; one test has another implementation on both sides.

use super::*;
use indelible_websocket::Kind;
use speaking::{Say, Speaker, frame};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[path = "../../../crates/websocket/tests/websocket/speaking.rs"]
mod speaking;

const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);
const PATH: &str = "/v1/realtime?model=gpt-realtime";
const KEY: &str = "sk-test-4f9a8b7c6d5e";

fn text_of(payload: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    frame(true, false, 1, mask, payload.as_bytes())
}

fn close(code: u16, why: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    frame(true, false, 8, mask, &[&code.to_be_bytes()[..], why.as_bytes()].concat())
}

/// A server that agrees to a WebSocket, with further headers, and then does what it is told.
fn server(headers: &'static str, script: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> RawServer {
    RawServer::start(move |stream| {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        stream.write_all(format!("{head}{headers}\r\n").as_bytes()).unwrap();
        script(stream);
    })
}

/// Shakes hands, and gives the connection and the answer's head.
fn shake(address: SocketAddr, id: &str) -> (TcpStream, Answer) {
    let protocol = format!("realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1");
    let headers = [
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", &protocol),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("X-Request-Id", id),
    ];
    let bytes = text(&message("GET", PATH, &headers, b""))
        .replace("Connection: close", "Connection: keep-alive, Upgrade");
    let mut stream = send(address, bytes.as_bytes());
    stream.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    // Byte by byte: what follows is not the head's.
    while !head.ends_with(b"\r\n\r\n") {
        head.extend_from_slice(&take(&mut stream, 1));
    }
    (stream, parse_answer(&head))
}

fn take(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).unwrap();
    buffer
}

/// Reads to the end; a reset is one.
fn take_rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest
}

/// Who said what, in order.
fn spoken(record: &Value) -> Vec<(String, String, String)> {
    let messages = record["payload"]["websocket"]["messages"].as_array().expect("a conversation");
    let times: Vec<u64> = messages.iter().map(|message| message["at_us"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let word = |message: &Value, name: &str| message[name].as_str().unwrap_or_default().to_owned();
    messages.iter().map(|m| (word(m, "from"), word(m, "kind"), word(m, "text"))).collect()
}

fn assert_said(record: &Value, expected: &[(&str, &str, &str)]) {
    let spoken = spoken(record);
    let spoken: Vec<_> = spoken.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
    assert_eq!(spoken, expected, "{record:#}");
}

fn assert_ended(record: &Value, status: &str, word: Value) {
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["error_type"]), (&json!(status), &word), "{entry:#}");
    assert_eq!(entry["http_status"], 101);
    assert_faithful(record);
}

#[test]
fn a_conversation_passes_untouched_and_is_recorded_message_by_message() {
    let hello = text_of("{\"type\":\"session.created\"}", None);
    let fragments = [
        frame(false, false, 1, None, "{\"delta\":\"Gr".as_bytes()),
        frame(true, false, 9, None, b"there?"),
        frame(true, false, 0, None, "üße\"}".as_bytes()),
    ]
    .concat();
    let audio = frame(true, false, 2, None, &[0xff; 200]);
    let update = text_of("{\"type\":\"session.update\"}", MASK);
    let pong = frame(true, false, 10, MASK, b"there?");
    let goodbye = close(1000, "done", MASK);
    let reply = close(1000, "", None);
    let (to_client, to_server) =
        ([&hello[..], &fragments, &audio, &reply].concat(), [&update[..], &pong, &goodbye].concat());

    let script = {
        let (hello, fragments, audio, reply) = (hello, fragments, audio, reply);
        let (update, pong, goodbye) = (update.clone(), pong.clone(), goodbye.clone());
        move |stream: &mut TcpStream| {
            stream.write_all(&hello).unwrap();
            assert_eq!(take(stream, update.len()), update);
            stream.write_all(&fragments).unwrap();
            assert_eq!(take(stream, pong.len()), pong);
            stream.write_all(&audio).unwrap();
            assert_eq!(take(stream, goodbye.len()), goodbye);
            stream.write_all(&reply).unwrap();
        }
    };
    let upstream = server("Sec-WebSocket-Protocol: realtime\r\nX-Other: kept\r\n", script);
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let (mut client, answer) = shake(up.listen, "req-socket");
    assert_eq!(answer.status, 101);
    for (name, value) in [
        ("upgrade", "WebSocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "realtime"),
        ("x-other", "kept"),
    ] {
        assert!(answer.header(name).is_some_and(|got| got.eq_ignore_ascii_case(value)), "{name}: {answer:?}");
    }
    let mut got = take(&mut client, 27);
    client.write_all(&update).unwrap();
    got.extend_from_slice(&take(&mut client, 30));
    client.write_all(&pong).unwrap();
    got.extend_from_slice(&take(&mut client, 200));
    client.write_all(&goodbye).unwrap();
    got.extend_from_slice(&take_rest(&mut client));
    assert_eq!(text(&got), text(&to_client), "every byte, and an end");

    let asked = text(&upstream.requests()[0]);
    assert!(asked.starts_with(&format!("GET {PATH} HTTP/1.1\r\n")), "{asked}");
    for header in [
        "upgrade: WebSocket\r\n",
        "connection: Upgrade\r\n",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n",
    ] {
        assert!(asked.contains(header), "{header} in {asked}");
    }
    assert!(asked.contains(&format!("realtime, openai-insecure-api-key.{KEY}, openai-beta")), "{asked}");

    let record = only(&site, "req-socket");
    assert_ended(&record, "completed", Value::Null);
    let entry = &record["entry"];
    assert_eq!(entry["event_id"], answer.event_id());
    assert_eq!(entry["model"], "gpt-realtime");
    assert_eq!(
        entry["detail"]["websocket"],
        json!({ "client_messages": 1, "server_messages": 3, "client_close": 1000, "server_close": 1000 })
    );
    assert!(entry["input"]["partial"].is_null() && entry["output"]["partial"].is_null(), "{entry:#}");
    assert!(entry["detail"]["delivered_bytes"].is_null(), "all of it was delivered");
    assert_eq!(site.raw("req-socket", "request"), to_server, "as on the wire, masks included");
    assert_eq!(site.raw("req-socket", "response"), to_client);
    assert_said(
        &record,
        &[
            ("server", "text", "{\"type\":\"session.created\"}"),
            ("client", "text", "{\"type\":\"session.update\"}"),
            ("server", "ping", "there?"),
            ("server", "text", "{\"delta\":\"Grüße\"}"),
            ("client", "pong", "there?"),
            ("server", "binary", ""),
            ("client", "close", "done"),
            ("server", "close", ""),
        ],
    );
    assert_eq!(record["payload"]["websocket"]["readable"], true);
    let shown = text(&site.run(&["show", "req-socket"]).stdout);
    assert!(shown.contains("server text        26 bytes  {\"type\":\"session.created\"}"), "{shown}");
    assert!(shown.contains("client close        6 bytes  1000 done"), "{shown}");
    let read = text(&site.run(&["show", "req-socket", "--format", "text"]).stdout);
    assert!(read.contains("server\n    {\"type\":\"session.created\"}\n"), "{read}");
    let key_id = entry["api_key_id"].as_str().expect("the key among the subprotocols is known by its id");
    assert!(key_id.starts_with("k:"), "{key_id}");
    assert!(!record.to_string().contains(KEY), "and kept nowhere: {record:#}");
    assert_eq!(site.verify().0, 0);
}

#[test]
fn not_a_byte_waits_for_the_rest_of_its_frame() {
    let upstream = server("", |stream| {
        let (asked, answered) = (text_of("ask", MASK), text_of("answers", None));
        assert_eq!(asked.len(), answered.len());
        for (heard, said) in asked.iter().zip(&answered) {
            assert_eq!(take(stream, 1), [*heard]);
            stream.write_all(&[*said]).unwrap();
        }
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let (mut client, _) = shake(up.listen, "req-bytes");
    // Each byte is sent only after an answer to the one before.
    for byte in text_of("ask", MASK) {
        client.write_all(&[byte]).unwrap();
        take(&mut client, 1);
    }
    drop(client);
    assert_said(&only(&site, "req-bytes"), &[("client", "text", "ask"), ("server", "text", "answers")]);
}

#[test]
fn compressed_messages_pass_as_they_are_and_are_shown_as_they_were_said() {
    let say = |payload: &str, mask| Say {
        kind: Kind::Text,
        payload: payload.as_bytes().to_vec(),
        fragment: 9,
        mask,
        compress: true,
        ping: false,
    };
    // With what was said before in view, and without.
    for (extension, takeover) in
        [("permessage-deflate", true), ("permessage-deflate; server_no_context_takeover", false)]
    {
        let (first, second) = ("{\"item\":\"the same words\"}", "{\"item\":\"the same words again\"}");
        let mut speaker = Speaker::new(takeover);
        let answers =
            [speaker.say(&say(first, None)), speaker.say(&say(second, None)), close(1000, "", None)];
        let answers = answers.concat();
        let sent = answers.clone();
        let headers: &'static str = format!("Sec-WebSocket-Extensions: {extension}\r\n").leak();
        let mut client_speaker = Speaker::new(true);
        let question =
            [client_speaker.say(&say(first, MASK)), client_speaker.say(&say(first, MASK))].concat();
        let asked = question.clone();
        let upstream = server(headers, move |stream| {
            assert_eq!(take(stream, asked.len()), asked);
            stream.write_all(&sent).unwrap();
            take_rest(stream);
        });
        let site = Site::new();
        let up = site.up(&upstream.url, &[]);
        let (mut client, answer) = shake(up.listen, "req-deflate");
        assert_eq!(answer.header("sec-websocket-extensions"), Some(extension));
        client.write_all(&question).unwrap();
        assert_eq!(take(&mut client, answers.len()), answers);
        client.write_all(&close(1000, "", MASK)).unwrap();
        take_rest(&mut client);
        let record = only(&site, "req-deflate");
        assert_ended(&record, "completed", Value::Null);
        assert_said(
            &record,
            &[
                ("client", "text", first),
                ("client", "text", first),
                ("server", "text", first),
                ("server", "text", second),
                ("server", "close", ""),
                ("client", "close", ""),
            ],
        );
        assert_eq!(record["payload"]["websocket"]["messages"][0]["compressed"], true);
    }
}

#[test]
fn what_turns_out_to_be_no_websocket_passes_and_is_recorded_whole() {
    let upstream = server("", |stream| {
        let got = take(stream, 5);
        stream.write_all(&[&got[..], &[0x82, 0xff, 0xff, 0xff]].concat()).unwrap();
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let (mut client, _) = shake(up.listen, "req-odd");
    client.write_all(b"\x0bodd\xff").unwrap();
    assert_eq!(take_rest(&mut client), b"\x0bodd\xff\x82\xff\xff\xff");
    let record = only(&site, "req-odd");
    assert_ended(&record, "upstream_error", json!("upstream_broke_off"));
    assert_eq!(record["entry"]["detail"]["websocket"]["unreadable"], true);
    assert_eq!(record["payload"]["websocket"]["readable"], false);
    assert_eq!(site.raw("req-odd", "request"), b"\x0bodd\xff");
    assert_eq!(site.raw("req-odd", "response"), b"\x0bodd\xff\x82\xff\xff\xff");
}

#[test]
fn another_implementation_on_both_sides_notices_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        loop {
            match socket.read() {
                Ok(said) if said.is_text() || said.is_binary() => socket.send(said).unwrap(),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    let site = Site::new();
    let up = site.up(&url, &[]);
    let stream = TcpStream::connect(up.listen).unwrap();
    let (mut socket, response) =
        tungstenite::client(format!("ws://{}/v1/responses", up.listen), stream).unwrap();
    let id = response.headers()["x-indelible-event-id"].to_str().unwrap().to_owned();
    for n in 0..50 {
        let said = tungstenite::Message::text(format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(n * 997)));
        socket.send(said.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), said);
    }
    socket.send(tungstenite::Message::Ping(b"are you there".to_vec().into())).unwrap();
    assert!(matches!(socket.read().unwrap(), tungstenite::Message::Pong(_)));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    upstream.join().unwrap();
    let record = site.record(&id);
    assert_ended(&record, "completed", Value::Null);
    let counted = &record["entry"]["detail"]["websocket"];
    assert_eq!((&counted["client_messages"], &counted["server_messages"]), (&json!(50), &json!(50)));
    let spoken = spoken(&record);
    assert_eq!(spoken.len(), 50 * 2 + 2 + 2);
    for pair in spoken[..100].chunks(2) {
        assert_eq!((pair[0].0.as_str(), pair[1].0.as_str()), ("client", "server"));
        assert_eq!(pair[0].2, pair[1].2);
    }
}

#[test]
fn a_refused_handshake_is_an_answer_like_any_other() {
    let body = "{\"error\":{\"message\":\"no such model\"}}";
    let upstream = RawServer::answering(
        format!(
            "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    );
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let (mut client, answer) = shake(up.listen, "req-refused");
    assert_eq!((answer.status, take(&mut client, body.len())), (401, body.as_bytes().to_vec()));
    let record = only(&site, "req-refused");
    assert_eq!(record["entry"]["status"], "upstream_error");
    assert!(record["entry"]["input"]["partial"].is_null(), "{:#}", record["entry"]);
    assert_eq!(site.raw("req-refused", "response"), body.as_bytes());

    // And the other way round: nobody asked.
    let upstream = server("", |stream| drop(take_rest(stream)));
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let answer = request(up.listen, &message("GET", PATH, &[], b""));
    assert_eq!(answer.status, 502, "{}", text(&answer.body));
    assert_eq!(site.record(answer.event_id())["entry"]["error_type"], "unasked_upgrade");
}

/// What follows a handshake is the conversation: a body that is still on its way would stand in between.
#[test]
fn a_handshake_with_a_large_body_is_refused_and_recorded() {
    let upstream = server("", |_| {});
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("X-Request-Id", "req-body")];
    let bytes = message("GET", PATH, &headers, &vec![b'x'; 700_000]);
    let at = bytes.windows(17).position(|window| window == b"Connection: close").unwrap();
    let bytes = [&bytes[..at], b"Connection: Upgrade", &bytes[at + 17..]].concat();
    let mut stream = send(up.listen, &bytes);
    let head = text(&read_until(&mut stream, b"\r\n\r\n"));
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let record = only(&site, "req-body");
    let entry = &record["entry"];
    assert_eq!((&entry["status"], &entry["error_type"]), (&json!("rejected"), &json!("handshake_with_body")));
    assert!(upstream.requests().is_empty(), "the model server is not asked");
}

#[test]
fn a_server_that_closes_first_and_one_that_closes_with_an_error_are_told_apart() {
    for (code, status, word) in [
        (1000, "completed", Value::Null),
        (1001, "completed", Value::Null),
        (4001, "completed", Value::Null),
        (1011, "upstream_error", json!("closed_with_error")),
    ] {
        let upstream = server("", move |stream| {
            stream.write_all(&[text_of("bye", None), close(code, "why", None)].concat()).unwrap();
            take_rest(stream);
        });
        let site = Site::new();
        let up = site.up(&upstream.url, &[]);
        let (mut client, _) = shake(up.listen, "req-first");
        assert_eq!(take(&mut client, 12), [text_of("bye", None), close(code, "why", None)].concat());
        client.write_all(&close(1000, "mine", MASK)).unwrap();
        assert!(take_rest(&mut client).is_empty());
        let record = only(&site, "req-first");
        assert_ended(&record, status, word);
        let counted = &record["entry"]["detail"]["websocket"];
        assert_eq!((&counted["server_close"], &counted["client_close"]), (&json!(code), &json!(1000)));
        assert_said(
            &record,
            &[("server", "text", "bye"), ("server", "close", "why"), ("client", "close", "mine")],
        );
    }
}

#[test]
fn either_side_that_drops_out_is_named() {
    let upstream = server("", |stream| {
        stream.write_all(&text_of("{\"n\":1}", None)).unwrap();
        let asked = text_of("and you?", MASK);
        if take(stream, asked.len()) == asked {
            // Half a message, and gone.
            stream.write_all(&text_of("{\"n\":2}", None)[..5]).unwrap();
        }
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let (mut client, _) = shake(up.listen, "req-server-gone");
    take(&mut client, 9);
    client.write_all(&text_of("and you?", MASK)).unwrap();
    assert_eq!(take_rest(&mut client), &text_of("{\"n\":2}", None)[..5]);
    let record = only(&site, "req-server-gone");
    assert_ended(&record, "upstream_error", json!("upstream_broke_off"));
    assert_eq!(record["entry"]["output"]["partial"], true);
    let last = record["payload"]["websocket"]["messages"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["partial"], &last["text"]), (&json!(true), &json!("{\"n")));

    let (seen, noticed) = mpsc::sync_channel::<bool>(1);
    let upstream = server("", move |stream| {
        stream.write_all(&text_of("{\"n\":1}", None)).unwrap();
        let left = matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_));
        let _ = seen.send(left);
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let (mut client, _) = shake(up.listen, "req-client-gone");
    take(&mut client, 9);
    drop(client);
    assert!(noticed.recv().unwrap(), "the model server is told by its connection being closed");
    let record = only(&site, "req-client-gone");
    assert_ended(&record, "cancelled", json!("client_gone"));
    assert_said(&record, &[("server", "text", "{\"n\":1}")]);
}

#[test]
fn a_close_that_nobody_answers_is_an_end_all_the_same() {
    let upstream = server("", |stream| drop(take(stream, 8)));
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let (mut client, _) = shake(up.listen, "req-unanswered");
    client.write_all(&close(1000, "", MASK)).unwrap();
    assert!(take_rest(&mut client).is_empty());
    let record = only(&site, "req-unanswered");
    assert_ended(&record, "completed", Value::Null);
    assert!(record["entry"]["detail"]["websocket"]["server_close"].is_null());
}

#[test]
fn silence_on_both_sides_ends_in_a_timeout_and_talk_does_not() {
    let upstream = server("", |stream| {
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(700));
            stream.write_all(&frame(true, false, 9, None, b"")).unwrap();
        }
        take_rest(stream);
    });
    let machines = TwoMachines::with(&upstream.url, "websocket_idle_timeout_s = 2", "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let (mut client, _) = shake(gateway.listen, "req-idle");
    let shaken = Instant::now();
    assert_eq!(take_rest(&mut client).len(), 10, "five pings");
    assert!(shaken.elapsed() > Duration::from_millis(5300), "the clock starts anew with each of them");
    assert_ended(&only(&machines.site, "req-idle"), "timeout", json!("idle_timeout"));
}

#[test]
fn a_conversation_may_end_while_the_gateway_goes_down_and_is_cut_when_it_does_not() {
    let upstream = server("", |stream| {
        for n in 0..100 {
            if stream.write_all(&text_of(&format!("{n:03}"), None)).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let machines = TwoMachines::with(&upstream.url, "drain_timeout_s = 2", "");
    let _collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    let (mut ends, _) = shake(gateway.listen, "req-ends");
    let (mut stays, _) = shake(gateway.listen, "req-stays");
    take(&mut stays, 5);
    gateway.signal("TERM");
    wait_until("the port to be closed", || TcpStream::connect(gateway.listen).is_err());
    let after = take(&mut ends, 50);
    ends.write_all(&close(1000, "", MASK)).unwrap();
    drop(ends);
    let rest = take_rest(&mut stays);
    assert!(rest.len() > 20, "it went on for a while: {}", rest.len());
    assert_eq!(gateway.wait(), 0, "{}", gateway.log());
    let record = only(&machines.site, "req-ends");
    assert_ended(&record, "completed", Value::Null);
    assert!(machines.site.raw("req-ends", "response").starts_with(&after));
    let record = only(&machines.site, "req-stays");
    assert_ended(&record, "cancelled", json!("gateway_stopped"));
    assert_eq!(machines.site.raw("req-stays", "response"), [text_of("000", None), rest].concat());
}

#[test]
fn what_a_peer_has_seen_of_a_conversation_survives_a_kill() {
    let upstream = server("Sec-WebSocket-Extensions: permessage-deflate\r\n", |stream| {
        let asked = text_of("ask", MASK);
        assert_eq!(take(stream, asked.len()), asked);
        let mut speaker = Speaker::new(true);
        let payload = b"{\"delta\":\"seen\"}".to_vec();
        let say = Say { kind: Kind::Text, payload, fragment: 0, mask: None, compress: true, ping: false };
        stream.write_all(&speaker.say(&say)).unwrap();
        take_rest(stream);
    });
    let site = Site::new();
    let mut up = site.up(&upstream.url, &[]);
    let (mut client, _) = shake(up.listen, "req-killed");
    client.write_all(&text_of("ask", MASK)).unwrap();
    take(&mut client, 1);
    up.kill();
    let _up = site.up(&upstream.url, &[]);
    let record = only(&site, "req-killed");
    assert_eq!(record["entry"]["status"], "interrupted", "{:#}", record["entry"]);
    assert_faithful(&record);
    assert_said(&record, &[("client", "text", "ask"), ("server", "text", "{\"delta\":\"seen\"}")]);
}

#[test]
fn the_last_close_waits_for_the_record() {
    let upstream = server("", |stream| {
        let first = take(stream, 6 + 5);
        stream.write_all(&text_of("reply", None)).unwrap();
        if first == text_of("first", MASK) {
            // The server closes, and has to wait for the answer to that.
            stream.write_all(&close(1000, "", None)).unwrap();
            take_rest(stream);
        } else {
            take(stream, 8);
            stream.write_all(&close(1000, "", None)).unwrap();
        }
    });
    let machines = TwoMachines::with(&upstream.url, "", "mode = \"receipt\"");
    let gateway = machines.start_gateway();
    // The collector is away: nothing is on its disk.
    let (mut server_closes, _) = shake(gateway.listen, "req-server-closes");
    server_closes.write_all(&text_of("first", MASK)).unwrap();
    let (mut client_closes, _) = shake(gateway.listen, "req-client-closes");
    client_closes.write_all(&text_of("other", MASK)).unwrap();
    for client in [&mut server_closes, &mut client_closes] {
        assert_eq!(take(client, 7), text_of("reply", None), "what is said before does not wait");
    }
    client_closes.write_all(&close(1000, "", MASK)).unwrap();
    for client in [&mut server_closes, &mut client_closes] {
        client.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        assert!(client.read(&mut [0; 1]).is_err(), "the close does");
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    }
    let _collector = machines.start_collector();
    for client in [&mut server_closes, &mut client_closes] {
        assert_eq!(take(client, 4), close(1000, "", None));
    }
    server_closes.write_all(&close(1000, "", MASK)).unwrap();
    take_rest(&mut server_closes);
    for id in ["req-server-closes", "req-client-closes"] {
        assert_ended(&only(&machines.site, id), "completed", Value::Null);
    }
}

#[test]
fn a_relaxed_route_gathers_and_keeps_the_order_all_the_same() {
    let upstream = server("", |stream| {
        for n in 0..200 {
            let asked = text_of(&format!("ask {n:03}"), MASK);
            assert_eq!(take(stream, asked.len()), asked);
            stream.write_all(&text_of(&format!("say {n:03}"), None)).unwrap();
        }
        stream.write_all(&close(1000, "", None)).unwrap();
        take_rest(stream);
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &["--mode", "relaxed"]);
    let before = up.metric("indelible_gateway_spooled_seq").unwrap();
    let (mut client, _) = shake(up.listen, "req-relaxed");
    for n in 0..200 {
        client.write_all(&text_of(&format!("ask {n:03}"), MASK)).unwrap();
        take(&mut client, 9);
    }
    client.write_all(&close(1000, "", MASK)).unwrap();
    take_rest(&mut client);
    let record = only(&site, "req-relaxed");
    assert_ended(&record, "completed", Value::Null);
    let spoken = spoken(&record);
    for (n, pair) in spoken[..400].chunks(2).enumerate() {
        assert_eq!(
            (pair[0].2.as_str(), pair[1].2.as_str()),
            (&*format!("ask {n:03}"), &*format!("say {n:03}"))
        );
    }
    let frames = up.metric("indelible_gateway_spooled_seq").unwrap() - before;
    assert!(frames < 50, "{frames} frames for 400 messages");
}

#[test]
fn a_side_that_takes_nothing_makes_the_other_wait_and_costs_little() {
    let counted = Arc::new(AtomicUsize::new(0));
    let sent = counted.clone();
    let upstream = server("", move |stream| {
        let audio = frame(true, false, 2, None, &[0x55; 60_000]);
        while stream.write_all(&audio).is_ok() {
            sent.fetch_add(audio.len(), Ordering::SeqCst);
        }
    });
    let machines = TwoMachines::new(&upstream.url);
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let (client, _) = shake(gateway.listen, "req-slow");
    let mut before = usize::MAX;
    wait_until("the upstream to be held up", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = counted.load(Ordering::SeqCst);
        now > 0 && std::mem::replace(&mut before, now) == now
    });
    assert!(before < 64 << 20, "{before} bytes were taken for a client that reads none");
    assert!(gateway.peak_memory_bytes() < 40 << 20, "{} bytes in memory", gateway.peak_memory_bytes());
    drop(client);
    let record = only(&machines.site, "req-slow");
    assert_ended(&record, "cancelled", json!("client_gone"));
    let (said, taken) = (&record["entry"]["output"]["bytes"], &record["entry"]["detail"]["delivered_bytes"]);
    assert!(taken.is_null() || taken.as_u64() < said.as_u64(), "{said} said, {taken} delivered");
}
