//! A WebSocket conversation, message by message, as it was spoken. `docs/formats/websocket.md` has the format.

use super::put_bytes;
use crate::read::Payload;
use indelible_spool::wal::Stream;
use indelible_transcript::model::Part;
use indelible_websocket::{Close, Extension, Kind, Mark, Message, Side, conversation};
use serde_json::{Map, Value, json};

/// Payloads of messages are shown up to this; the record has all of it.
const SHOWN_MAX_BYTES: usize = 64 << 20;

/// The conversation in a payload, if it is one.
pub(super) fn shown(payload: &Payload) -> Option<Value> {
    let (messages, readable) = heard(payload)?;
    Some(json!({ "messages": messages.iter().map(message).collect::<Vec<_>>(), "readable": readable }))
}

/// The messages in order, with their part of the transcript.
pub(super) fn parts(payload: &Payload) -> Option<Vec<(String, Part)>> {
    let (messages, readable) = heard(payload)?;
    let mut parts: Vec<(String, Part)> = messages.iter().map(part).collect();
    if !readable {
        for (who, bytes) in [("client", &payload.request), ("server", &payload.response)] {
            parts.push((who.to_owned(), Part::unread("not all of it is WebSocket frames", None, bytes)));
        }
    }
    Some(parts)
}

fn part(message: &Message) -> (String, Part) {
    let who = if message.side == Side::Client { "client" } else { "server" };
    let whole = message.payload.len() as u64 == message.bytes;
    if let Some(Close { code, reason }) = message.close() {
        let json = json!({ "code": code, "reason": reason });
        return (who.to_owned(), Part::other("close", &json));
    }
    let part = match (message.kind, std::str::from_utf8(&message.payload)) {
        (Kind::Text, Ok(text)) if whole => Part::text(text),
        (kind, _) => Part::unread(format!("a {} message", word(kind)), None, &message.payload),
    };
    (who.to_owned(), part)
}

fn heard(payload: &Payload) -> Option<(Vec<Message>, bool)> {
    if payload.pieces.is_empty() {
        return None;
    }
    let extension = payload.pieces.iter().find_map(|(_, meta)| meta.extensions.as_deref());
    let marks: Vec<Mark> = payload
        .pieces
        .iter()
        .flat_map(|(stream, meta)| {
            let side = if *stream == Stream::Input { Side::Client } else { Side::Server };
            meta.marks.iter().map(move |mark| Mark { side, bytes: mark.0, at_us: mark.1 })
        })
        .collect();
    let extension = extension.and_then(Extension::negotiated);
    Some(conversation(&payload.request, &payload.response, &marks, extension, SHOWN_MAX_BYTES))
}

fn message(message: &Message) -> Value {
    let mut shown = Map::new();
    let from = if message.side == Side::Client { "client" } else { "server" };
    shown.insert("from".to_owned(), from.into());
    shown.insert("at_us".to_owned(), message.at_us.into());
    shown.insert("kind".to_owned(), word(message.kind).into());
    shown.insert("bytes".to_owned(), message.bytes.into());
    for (name, is) in [("compressed", message.compressed), ("partial", message.partial)] {
        if is {
            shown.insert(name.to_owned(), true.into());
        }
    }
    match message.close() {
        Some(Close { code, reason }) => {
            shown.extend(code.map(|code| ("code".to_owned(), code.into())));
            shown.insert("text".to_owned(), reason.into());
        }
        None if message.payload.len() as u64 == message.bytes => put_bytes(&mut shown, &message.payload),
        None => {
            shown.insert("left_out".to_owned(), "too large to be shown: see the raw bytes".into());
        }
    }
    shown.into()
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Binary => "binary",
        Kind::Close => "close",
        Kind::Ping => "ping",
        Kind::Pong => "pong",
    }
}
