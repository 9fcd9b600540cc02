//! Streams as models send them: nothing of an event stream is tidied up, whatever it is split into.

use super::*;

/// Everything that a reader of events must take, and that a proxy must leave alone: a byte order mark, comments
/// that keep a connection alive, each kind of line end, fields beside `data`, several lines in one event, letters
/// of several bytes, and an end without an empty line.
const STREAM: &str = "\u{feff}: keep-alive\r\n\r\nevent: message_start\r\nid: 1\r\nretry: 3000\r\n\
    data: {\"type\":\"message_start\"}\r\n\r\n\
    event: content_block_delta\ndata: {\"delta\":\ndata: {\"text\":\"Grüße, 世界 🌍\"}}\n\n\
    :\rdata: one\rdata:two\r\r\
    event: ping\ndata\n\ndata: [DONE]\n\ndata: trailing without an end";

fn assert_untouched(site: &Site, answer: &Answer) {
    assert_eq!(answer.body, STREAM.as_bytes());
    let record = site.record(answer.event_id());
    assert_eq!(record["entry"]["status"], "completed", "{:#}", record["entry"]);
    assert_faithful(&record);
    assert_eq!(site.raw(answer.event_id(), "response"), STREAM.as_bytes());
}

#[test]
fn nothing_of_an_event_stream_is_reframed_wherever_it_is_split() {
    // Chunks of every size up to some: letters, line ends and fields are cut at every place.
    let upstream = RawServer::start(|stream| {
        stream.set_nodelay(true).unwrap();
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        static SIZE: AtomicUsize = AtomicUsize::new(1);
        let size = SIZE.fetch_add(1, Ordering::SeqCst);
        for chunk in STREAM.as_bytes().chunks(size) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
            stream.write_all(chunk).unwrap();
            stream.write_all(b"\r\n").unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    for _ in 1..=8 {
        let answer = request(up.listen, &message("POST", "/v1/messages", &[], &chat("x", true)));
        assert_untouched(&site, &answer);
    }
}

#[test]
fn a_stream_without_length_or_chunks_ends_with_its_connection() {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{STREAM}");
    let upstream = RawServer::answering(answer.into_bytes());
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let answer = request(up.listen, &message("POST", "/v1/messages", &[], &chat("x", true)));
    assert_untouched(&site, &answer);
}
