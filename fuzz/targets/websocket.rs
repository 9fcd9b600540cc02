//! WebSocket frames, messages, their compression, and conversations.
//!
//! Holds: what is heard does not depend on where the wire cut it; no more is made of it than the limit allows; a
//! conversation keeps no more than it was told to, and says of the rest how much it was.

#![no_main]

use indelible_fuzz::{Input, pieces};
use indelible_websocket::{Event, Extension, Frames, Item, Kind, Mark, Messages, Side, conversation};
use libfuzzer_sys::fuzz_target;

/// What messages may inflate to before their ratio counts.
const FREE_BYTES: usize = 16 << 20;

#[derive(Debug, Default, PartialEq)]
struct Heard {
    messages: Vec<(Kind, bool, Vec<u8>)>,
    under_way: Option<(Kind, bool, Vec<u8>)>,
    within: bool,
    readable: bool,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (how, seed) = (input.byte(), input.number());
    let side = if how & 1 == 0 { Side::Client } else { Side::Server };
    let plain = Extension { client_no_context_takeover: false, server_no_context_takeover: false };
    let extension = match how >> 1 & 3 {
        0 | 1 => None,
        2 => Some(plain),
        _ => Some(Extension { client_no_context_takeover: true, server_no_context_takeover: true }),
    };
    match how >> 3 & 3 {
        0 => frames(input.rest(), seed),
        1 | 2 => messages(side, extension, input.rest(), seed),
        _ => said(extension, &mut input, seed),
    }
    if let Ok(header) = std::str::from_utf8(input.rest()) {
        let _ = Extension::negotiated(header);
    }
});

/// Heads with their payloads, joined.
fn items<'a>(wire: impl Iterator<Item = &'a [u8]>) -> (Vec<(String, Vec<u8>, bool)>, bool, bool) {
    let (mut frames, mut found) = (Frames::new(), Vec::<(String, Vec<u8>, bool)>::new());
    for mut piece in wire {
        loop {
            match frames.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(Item::Head(head))) => found.push((format!("{head:?}"), Vec::new(), false)),
                Ok(Some(Item::Payload(part))) => found.last_mut().unwrap().1.extend_from_slice(part),
                Ok(Some(Item::End)) => found.last_mut().unwrap().2 = true,
                Err(_) => return (found, false, false),
            }
        }
    }
    let between = frames.between_frames();
    (found, between, true)
}

fn frames(wire: &[u8], seed: u16) {
    let whole = items([wire].into_iter());
    assert_eq!(items(pieces(wire, seed)), whole);
    let payloads: usize = whole.0.iter().map(|(_, payload, _)| payload.len()).sum();
    assert!(payloads + 2 * whole.0.len() <= wire.len());
}

fn hear<'a>(side: Side, extension: Option<Extension>, wire: impl Iterator<Item = &'a [u8]>) -> Heard {
    let mut reader = Messages::new(side, extension);
    let mut heard = Heard { readable: true, ..Heard::default() };
    for piece in wire {
        let outcome = reader.push(piece, |event| match event {
            Event::Begin { kind, compressed } => heard.under_way = Some((kind, compressed, Vec::new())),
            Event::Data(part) => heard.under_way.as_mut().unwrap().2.extend_from_slice(part),
            Event::End => heard.messages.push(heard.under_way.take().unwrap()),
            Event::Control(kind, payload) => {
                assert!(payload.len() <= 125);
                heard.messages.push((kind, false, payload.to_vec()));
            }
        });
        heard.readable &= outcome.is_ok();
    }
    heard.within = reader.within_message();
    heard
}

fn messages(side: Side, extension: Option<Extension>, wire: &[u8], seed: u16) {
    let whole = hear(side, extension, [wire].into_iter());
    let mut cut = hear(side, extension, pieces(wire, seed));
    let mut expected = whole;
    if !expected.readable {
        // Of a message that breaks off, as much is told as was there to be read.
        (expected.under_way, cut.under_way) = (None, None);
    }
    assert_eq!(cut, expected);
    let made: usize = cut.messages.iter().map(|(.., payload)| payload.len()).sum();
    assert!(made <= FREE_BYTES.max(wire.len() * 200));
}

fn said(extension: Option<Extension>, input: &mut Input<'_>, seed: u16) {
    let kept_max = usize::from(input.number());
    let count = usize::from(input.byte() % 16);
    let marks: Vec<Mark> = (0..count)
        .map(|_| {
            let (side, bytes) = (input.byte(), u64::from(input.byte()));
            let side = if side & 1 == 0 { Side::Client } else { Side::Server };
            Mark { side, bytes: if bytes == 255 { u64::MAX } else { bytes }, at_us: u64::from(input.byte()) }
        })
        .collect();
    let wire = input.rest();
    let (client, server) = wire.split_at(usize::from(seed) % (wire.len() + 1));
    let (messages, readable) = conversation(client, server, &marks, extension, kept_max);
    let kept: usize = messages.iter().map(|message| message.payload.len()).sum();
    assert!(kept <= kept_max);
    for message in &messages {
        assert!(message.payload.len() as u64 <= message.bytes);
        assert_eq!(message.close().is_some(), message.kind == Kind::Close);
    }
    let all = |side| {
        marks.iter().filter(|mark| mark.side == side).fold(0u64, |sum, mark| sum.saturating_add(mark.bytes))
    };
    if all(Side::Client) < client.len() as u64 || all(Side::Server) < server.len() as u64 {
        assert!(!readable);
    }
}
