//! Large bodies: passed and recorded whole, in memory that does not grow with them (invariants 3 and 14).
//!
//! `INDELIBLE_LARGE_MIB` sets how large (256 by default, 1024 for the long form).

use super::*;
use indelible_record::Committer;
use indelible_record::commitment::to_hex;
use std::net::TcpListener;

/// What gateway and collector may have in memory at their worst: far less than any of the bodies.
const MEMORY_MAX_BYTES: u64 = 128 << 20;
const BLOCK_BYTES: usize = 64 << 10;

fn large_bytes() -> usize {
    let mib = std::env::var("INDELIBLE_LARGE_MIB").ok().and_then(|text| text.parse().ok());
    mib.unwrap_or(256) << 20
}

/// Bytes that do not compress, the same for the same seed.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, block: &mut [u8]) {
        for word in block.chunks_exact_mut(8) {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&(self.0 ^ (self.0 >> 29)).to_le_bytes());
        }
    }

    /// Writes `bytes` of it, and says what they hash to.
    fn write(mut self, bytes: usize, mut write: impl FnMut(&[u8])) -> String {
        let (mut block, mut hash) = (vec![0; BLOCK_BYTES], Committer::new([0; 32]));
        for _ in 0..bytes / BLOCK_BYTES {
            self.fill(&mut block);
            hash.update(&block);
            write(&block);
        }
        to_hex(&hash.finish().commitment)
    }
}

/// Reads `bytes` and says what they hash to.
fn read_hashed(stream: &mut TcpStream, already: &[u8], bytes: usize) -> String {
    let mut hash = Committer::new([0; 32]);
    hash.update(already);
    let (mut left, mut buffer) = (bytes - already.len(), vec![0; BLOCK_BYTES]);
    while left > 0 {
        let want = left.min(BLOCK_BYTES);
        let read = stream.read(&mut buffer[..want]).unwrap();
        assert_ne!(read, 0, "ended with {left} bytes missing");
        hash.update(&buffer[..read]);
        left -= read;
    }
    to_hex(&hash.finish().commitment)
}

/// Reads a head, and gives what came behind it.
fn after_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let got = read_until(stream, b"\r\n\r\n");
    let end = got.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    (text(&got[..end]), got[end..].to_vec())
}

#[test]
fn bodies_larger_than_memory_allows_pass_whole_and_are_recorded_whole() {
    let bytes = large_bytes();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (_, begun) = after_head(&mut stream);
        let got = read_hashed(&mut stream, &begun, bytes);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let sent = Noise(2).write(bytes, |block| stream.write_all(block).unwrap());
        (got, sent)
    });
    let machines = TwoMachines::new(&url);
    let collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let mut client = TcpStream::connect(gateway.listen).unwrap();
    let head = format!(
        "POST /v1/audio/translations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    let sent = Noise(1).write(bytes, |block| client.write_all(block).unwrap());
    let (head, begun) = after_head(&mut client);
    let got = read_hashed(&mut client, &begun, bytes);
    assert_eq!(upstream.join().unwrap(), (sent.clone(), got.clone()));

    gateway.wait_shipped();
    for (name, process) in [("gateway", &gateway), ("collector", &collector)] {
        let peak = process.peak_memory_bytes();
        println!("{name}: {} MiB at most, for bodies of {} MiB", peak >> 20, bytes >> 20);
        assert!(peak < MEMORY_MAX_BYTES, "{name} had {peak} bytes in memory");
    }
    let id = parse_answer(head.as_bytes()).event_id().to_owned();
    let entry = machines.site.entries().into_iter().find(|entry| entry["event_id"] == id.as_str()).unwrap();
    assert_eq!(entry["status"], "completed", "{entry:#}");
    assert_eq!((&entry["input"]["bytes"], &entry["output"]["bytes"]), (&json!(bytes), &json!(bytes)));
    for (side, expected) in [("request", sent), ("response", got)] {
        let mut hash = Committer::new([0; 32]);
        hash.update(&machines.site.raw(&id, side));
        assert_eq!(to_hex(&hash.finish().commitment), expected, "{side}: every byte is there");
    }
}

#[test]
fn one_event_of_50_megabytes_is_neither_cut_nor_held_in_memory() {
    // As a picture in base64 comes: one line, no end of it in sight.
    let picture = 50 << 20;
    let upstream = RawServer::start(move |stream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        stream.write_all(head).unwrap();
        stream.write_all(b"data: {\"model\":\"m\",\"choices\":[{\"b64_json\":\"").unwrap();
        for _ in 0..picture / BLOCK_BYTES {
            stream.write_all(&[b'A'; BLOCK_BYTES]).unwrap();
        }
        let rest = b"\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
        stream.write_all(rest).unwrap();
    });
    let machines = TwoMachines::new(&upstream.url);
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let answer = request(gateway.listen, &message("POST", CHAT, &[], &chat("a picture", true)));
    assert!(answer.body.len() > picture && answer.body.ends_with(b"data: [DONE]\n\n"));
    let peak = gateway.peak_memory_bytes();
    assert!(peak < 24 << 20, "the gateway had {peak} bytes in memory");
    let record = machines.site.record(answer.event_id());
    assert_eq!(record["entry"]["status"], "completed");
    assert_eq!(record["entry"]["completion_tokens"], 4, "what stands behind it is read all the same");
    assert_faithful(&record);
    assert!(machines.site.raw(answer.event_id(), "response") == answer.body);
}
