//! The vectors in `docs/formats/websocket.md` are what this crate reads: a fenced block whose info string is
//! `vector NAME` is checked here, and one that no test knows fails.

use indelible_record::event::PieceMeta;
use indelible_websocket::{Event, Extension, Kind, Mark, Messages, Side, conversation};

const PAGE: &str = include_str!("../../../../docs/formats/websocket.md");
const NAMES: [&str; 3] = ["frames", "pieces", "messages"];

/// The lines of the block called `name`.
fn vector(name: &str) -> Vec<&'static str> {
    let (_, after) = PAGE.split_once(&format!("\n```vector {name}\n")).expect("a block of that name");
    after.split_once("\n```").expect("an end of the block").0.lines().collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0, "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn word(kind: Kind) -> String {
    format!("{kind:?}").to_lowercase()
}

/// Text, or hex where it is none.
fn shown(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) if text.chars().all(char::is_alphabetic) => text.to_owned(),
        _ => payload.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[test]
fn every_vector_is_tested() {
    let named: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("```vector ")).collect();
    assert_eq!(named, NAMES);
}

#[test]
fn frames_are_the_messages_that_the_page_says() {
    for line in vector("frames") {
        let (hex, expected) = line.split_once('\t').expect("frames and messages");
        let bytes = from_hex(hex);
        for piece in 1..=bytes.len() {
            let mut reader = Messages::new(Side::Client, Extension::negotiated("permessage-deflate"));
            let (mut said, mut under_way) = (Vec::new(), None);
            for piece in bytes.chunks(piece) {
                let heard = reader.push(piece, |event| match event {
                    Event::Begin { kind, .. } => under_way = Some((kind, Vec::new())),
                    Event::Data(part) => under_way.as_mut().unwrap().1.extend_from_slice(part),
                    Event::End => said.push(under_way.take().unwrap()),
                    Event::Control(kind, payload) => said.push((kind, payload.to_vec())),
                });
                assert_eq!(heard, Ok(()), "{line}");
            }
            let said: Vec<String> =
                said.iter().map(|(kind, payload)| format!("{} {}", word(*kind), shown(payload))).collect();
            assert_eq!(said.join(", "), expected, "{line}, in pieces of {piece}");
        }
    }
}

#[test]
fn pieces_are_the_conversation_that_the_page_says() {
    let (mut client, mut server, mut marks, mut extension) = (Vec::new(), Vec::new(), Vec::new(), None);
    for line in vector("pieces") {
        let mut columns = line.split('\t');
        let (Some(kind), Some(before), Some(hex)) = (columns.next(), columns.next(), columns.next()) else {
            panic!("three columns: {line}")
        };
        let meta: PieceMeta = serde_json::from_str(before).unwrap();
        assert_eq!(serde_json::to_string(&meta).unwrap(), before, "as a gateway writes it");
        let piece = from_hex(hex);
        assert_eq!(meta.marks.iter().map(|mark| mark.0).sum::<u64>(), piece.len() as u64, "{line}");
        let (side, stream) = match kind {
            "input" => (Side::Client, &mut client),
            _ => (Side::Server, &mut server),
        };
        stream.extend_from_slice(&piece);
        marks.extend(meta.marks.iter().map(|mark| Mark { side, bytes: mark.0, at_us: mark.1 }));
        extension = extension.or(meta.extensions);
    }
    let extension = extension.as_deref().and_then(Extension::negotiated);
    let (messages, readable) = conversation(&client, &server, &marks, extension, 1 << 20);
    assert!(readable);
    let said: Vec<String> = messages
        .iter()
        .map(|message| {
            let side = format!("{:?}", message.side).to_lowercase();
            let what = match message.close() {
                Some(close) => close.code.map_or_else(String::new, |code| code.to_string()),
                None => shown(&message.payload),
            };
            format!("{} {side} {} {what}", message.at_us, word(message.kind))
        })
        .collect();
    assert_eq!(said, vector("messages"));
}
