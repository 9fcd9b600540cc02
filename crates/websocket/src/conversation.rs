//! A conversation as it was spoken: from the two streams of its record, and the marks that say when each
//! stretch of them passed.

use crate::deflate::Extension;
use crate::frame::Close;
use crate::message::{Event, Kind, Messages};

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client of the handshake.
    Client,
    /// Its server.
    Server,
}

/// When a stretch of one side's stream passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub side: Side,
    /// How many bytes.
    pub bytes: u64,
    /// Microseconds since the request was accepted. No two marks of a conversation have the same.
    pub at_us: u64,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub side: Side,
    /// When its last byte passed, or when what there is of it did.
    pub at_us: u64,
    /// What it is.
    pub kind: Kind,
    /// It was compressed on the wire.
    pub compressed: bool,
    /// What was said; less than all of it where `bytes` is more.
    pub payload: Vec<u8>,
    /// Bytes that were said.
    pub bytes: u64,
    /// It broke off.
    pub partial: bool,
}

impl Message {
    /// What a close says.
    pub fn close(&self) -> Option<Close> {
        (self.kind == Kind::Close).then(|| Close::parse(&self.payload))
    }
}

/// Puts a conversation together: its messages in the order in which they ended, and whether all of it could be
/// read. At most `kept_max` bytes of payloads are kept.
///
/// `client` and `server` are what each side sent, and `marks` cover both from their beginnings.
pub fn conversation(
    client: &[u8],
    server: &[u8],
    marks: &[Mark],
    extension: Option<Extension>,
    kept_max: usize,
) -> (Vec<Message>, bool) {
    let mut order: Vec<&Mark> = marks.iter().collect();
    order.sort_by_key(|mark| mark.at_us);
    let mut sides = [Side::Client, Side::Server].map(|side| Speaker {
        side,
        left: if side == Side::Client { client } else { server },
        reader: Messages::new(side, extension),
        message: None,
    });
    let (mut messages, mut room, mut readable) = (Vec::new(), kept_max, true);
    for mark in order {
        let speaker = &mut sides[usize::from(mark.side == Side::Server)];
        let take = usize::try_from(mark.bytes).unwrap_or(usize::MAX).min(speaker.left.len());
        let (bytes, left) = speaker.left.split_at(take);
        speaker.left = left;
        readable &= speaker.hear(bytes, mark.at_us, &mut room, &mut messages);
    }
    for speaker in sides {
        readable &= speaker.left.is_empty();
        messages.extend(speaker.message);
    }
    (messages, readable)
}

struct Speaker<'a> {
    side: Side,
    left: &'a [u8],
    reader: Messages,
    /// The message under way.
    message: Option<Message>,
}

impl Speaker<'_> {
    fn hear(&mut self, bytes: &[u8], at_us: u64, room: &mut usize, messages: &mut Vec<Message>) -> bool {
        let Self { side, reader, message: under_way, .. } = self;
        let heard = reader.push(bytes, |event| match event {
            Event::Begin { kind, compressed } => {
                *under_way = Some(Message { compressed, ..begun(*side, at_us, kind) });
            }
            Event::Data(part) => {
                if let Some(message) = under_way {
                    message.at_us = at_us;
                    keep(message, part, room);
                }
            }
            Event::End => {
                messages.extend(under_way.take().map(|message| Message { at_us, partial: false, ..message }));
            }
            Event::Control(kind, payload) => {
                let mut message = Message { partial: false, ..begun(*side, at_us, kind) };
                keep(&mut message, payload, room);
                messages.push(message);
            }
        });
        heard.is_ok()
    }
}

fn begun(side: Side, at_us: u64, kind: Kind) -> Message {
    Message { side, at_us, kind, compressed: false, payload: Vec::new(), bytes: 0, partial: true }
}

fn keep(message: &mut Message, part: &[u8], room: &mut usize) {
    message.bytes += part.len() as u64;
    let kept = part.len().min(*room);
    message.payload.extend_from_slice(&part[..kept]);
    *room -= kept;
}
