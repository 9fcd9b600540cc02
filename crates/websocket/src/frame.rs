//! Where frames begin and end (RFC 6455 §5.2), in bytes that come in pieces of any size.
//!
//! ```text
//! ┌ fin 1 rsv 3 opcode 4 ┬ mask 1 len 7 ┬ len 16 or 64 ┬ masking key 32 ┬ payload ┐
//! ```
//!
//! Payloads are handed on as they stand on the wire, with the mask that undoes them, so that whoever only
//! looks for the end of a frame touches none of it.

use crate::Unreadable;

/// Longest head: two bytes, eight of length, four of the masking key.
const HEAD_MAX_BYTES: usize = 14;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that an earlier frame began.
    Continuation,
    /// The beginning of a message of text.
    Text,
    /// The beginning of a message of bytes.
    Binary,
    /// The last thing that its sender says.
    Close,
    /// Are you there?
    Ping,
    /// I am.
    Pong,
    /// Reserved.
    Other(u8),
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The message ends with this frame.
    pub fin: bool,
    /// The first reserved bit: with `permessage-deflate`, the message is compressed.
    pub rsv1: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The masking key of a client's frame.
    pub mask: Option<Mask>,
    /// Bytes of payload.
    pub len: u64,
}

/// A masking key, and how far it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    key: [u8; 4],
    at: usize,
}

/// What comes next in a stream of frames.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A frame begins.
    Head(Head),
    /// Some of its payload, as on the wire.
    Payload(&'a [u8]),
    /// It is over.
    End,
}

/// Reads frames.
#[derive(Debug, Default)]
pub struct Frames {
    head: [u8; HEAD_MAX_BYTES],
    head_len: usize,
    /// `Some`: within a frame, with so many bytes of payload to come.
    left: Option<u64>,
}

impl Frames {
    /// A reader that begins between two frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next item off the front of `bytes`; `None` once they are used up.
    ///
    /// What is left in `bytes` after an [`Item::End`] is the next frame's, so a caller that knows how many it
    /// had can tell where each frame ends.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Item<'a>>, Unreadable> {
        match self.left {
            Some(0) => {
                self.left = None;
                Ok(Some(Item::End))
            }
            Some(left) => {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                if take == 0 {
                    return Ok(None);
                }
                let (payload, rest) = bytes.split_at(take);
                *bytes = rest;
                self.left = Some(left - take as u64);
                Ok(Some(Item::Payload(payload)))
            }
            None => self.head(bytes),
        }
    }

    /// Whether the bytes so far end between two frames.
    pub fn between_frames(&self) -> bool {
        self.left.is_none() && self.head_len == 0
    }

    fn head<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Item<'a>>, Unreadable> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.head[self.head_len] = byte;
            self.head_len += 1;
            if self.head_len == head_bytes(&self.head[..self.head_len]) {
                let head = parse(&self.head[..self.head_len])?;
                self.head_len = 0;
                self.left = Some(head.len);
                return Ok(Some(Item::Head(head)));
            }
        }
        Ok(None)
    }
}

/// How long a head is that begins so; more than there is while that cannot be told.
fn head_bytes(begun: &[u8]) -> usize {
    let Some(second) = begun.get(1) else { return 2 };
    let len = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + len + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Reads a head that is as long as [`head_bytes`] says.
fn parse(head: &[u8]) -> Result<Head, Unreadable> {
    let (first, second) = (head[0], head[1]);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let (len, behind) = match second & 0x7f {
        126 => (number(&head[2..4]), 4),
        127 => (number(&head[2..10]), 10),
        short => (u64::from(short), 2),
    };
    if len >> 63 != 0 {
        return Err(Unreadable("a frame length with its highest bit set"));
    }
    let key = head.get(behind..behind + 4).and_then(|key| key.try_into().ok());
    Ok(Head {
        fin: first & 0x80 != 0,
        rsv1: first & 0x40 != 0,
        opcode: Opcode::from(first & 0x0f),
        mask: key.map(|key| Mask { key, at: 0 }),
        len,
    })
}

impl From<u8> for Opcode {
    fn from(code: u8) -> Self {
        match code {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            other => Self::Other(other),
        }
    }
}

impl Opcode {
    /// Control frames stand by themselves, also between the fragments of a message (§5.5).
    pub fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Other(code) => code >= 0x8,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

impl Mask {
    /// Undoes the mask of the payload's next bytes (§5.3).
    pub fn undo(&mut self, payload: &mut [u8]) {
        for byte in payload.iter_mut() {
            *byte ^= self.key[self.at];
            self.at = (self.at + 1) % 4;
        }
    }
}

/// What a close frame says (§5.5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Close {
    /// The code; absent where the frame is empty.
    pub code: Option<u16>,
    /// Why, in words.
    pub reason: String,
}

impl Close {
    /// Reads the unmasked payload of a close frame.
    pub fn parse(payload: &[u8]) -> Self {
        match payload.split_first_chunk::<2>() {
            Some((code, reason)) => Self {
                code: Some(u16::from_be_bytes(*code)),
                reason: String::from_utf8_lossy(reason).into_owned(),
            },
            None => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(mut bytes: &[u8]) -> Vec<String> {
        let mut frames = Frames::new();
        let mut items = Vec::new();
        while let Some(item) = frames.next(&mut bytes).unwrap() {
            items.push(match item {
                Item::Head(head) => format!("{:?} fin={} len={}", head.opcode, head.fin, head.len),
                Item::Payload(payload) => format!("{payload:?}"),
                Item::End => "end".to_owned(),
            });
        }
        items
    }

    #[test]
    fn lengths_of_all_three_forms() {
        assert_eq!(items(&[0x89, 0x00]), ["Ping fin=true len=0", "end"]);
        assert_eq!(items(&[0x02, 0x01, 0x07]), ["Binary fin=false len=1", "[7]", "end"]);
        let medium = [&[0x82, 126, 0x01, 0x00][..], &[5; 256]].concat();
        assert_eq!(items(&medium)[0], "Binary fin=true len=256");
        let large = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[5; 65536]].concat();
        assert_eq!(items(&large)[0], "Binary fin=true len=65536");
        assert_eq!(items(&large).last().unwrap(), "end");
    }

    #[test]
    fn a_length_beyond_63_bits_is_not_believed() {
        let mut bytes: &[u8] = &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert!(Frames::new().next(&mut bytes).is_err());
    }

    #[test]
    fn between_frames_is_told_from_within() {
        let mut frames = Frames::new();
        for (piece, between) in [(&[0x81u8][..], false), (&[0x01], false), (b"x", true), (&[], true)] {
            let mut rest = piece;
            while frames.next(&mut rest).unwrap().is_some() {}
            assert_eq!(frames.between_frames(), between, "{piece:?}");
        }
    }
}
