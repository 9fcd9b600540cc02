//! Messages of one side: fragments joined, masks and compression undone, control frames told apart.

use crate::deflate::{Extension, Inflater};
use crate::frame::{Frames, Head, Item, Mask, Opcode};
use crate::{Side, Unreadable};

/// Longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_MAX_BYTES: usize = 125;
/// Payload bytes that are unmasked at once.
const UNMASK_BYTES: usize = 4 << 10;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// The last thing that its sender says; see [`Close`](crate::Close).
    Close,
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

/// What comes next of one side.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message of text or bytes begins.
    Begin {
        /// Text or binary.
        kind: Kind,
        /// It was compressed on the wire.
        compressed: bool,
    },
    /// Some of its payload, unmasked and inflated.
    Data(&'a [u8]),
    /// It is over.
    End,
    /// A control message, whole. It may stand within another message.
    Control(Kind, &'a [u8]),
}

/// Reads the messages of one side.
pub struct Messages {
    frames: Frames,
    frame: Option<Head>,
    /// The message under way, and whether it is compressed.
    message: Option<bool>,
    inflater: Option<Inflater>,
    control: [u8; CONTROL_MAX_BYTES],
    control_len: usize,
    failed: Option<Unreadable>,
}

impl Messages {
    /// A reader of what `side` says in a conversation with that extension.
    pub fn new(side: Side, extension: Option<Extension>) -> Self {
        let inflater = extension.map(|extension| {
            Inflater::new(match side {
                Side::Client => !extension.client_no_context_takeover,
                Side::Server => !extension.server_no_context_takeover,
            })
        });
        Self {
            frames: Frames::new(),
            frame: None,
            message: None,
            inflater,
            control: [0; CONTROL_MAX_BYTES],
            control_len: 0,
            failed: None,
        }
    }

    /// Reads on. After an error nothing more is read.
    pub fn push(&mut self, mut bytes: &[u8], mut take: impl FnMut(Event<'_>)) -> Result<(), Unreadable> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let outcome = self.read(&mut bytes, &mut take);
        self.failed = outcome.err();
        outcome
    }

    /// Whether a message was begun and is not over.
    pub fn within_message(&self) -> bool {
        self.message.is_some() || !self.frames.between_frames()
    }

    fn read(&mut self, bytes: &mut &[u8], take: &mut impl FnMut(Event<'_>)) -> Result<(), Unreadable> {
        while let Some(item) = self.frames.next(bytes)? {
            match item {
                Item::Head(head) => self.begin(head, take)?,
                Item::Payload(payload) => self.payload(payload, take)?,
                Item::End => self.end(take)?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: Head, take: &mut impl FnMut(Event<'_>)) -> Result<(), Unreadable> {
        self.frame = Some(head);
        self.control_len = 0;
        if head.opcode.is_control() {
            let whole = head.fin && head.len <= CONTROL_MAX_BYTES as u64;
            return if whole { Ok(()) } else { Err(Unreadable("a control frame that is no control frame")) };
        }
        let kind = match head.opcode {
            Opcode::Continuation if self.message.is_some() => return Ok(()),
            Opcode::Text if self.message.is_none() => Kind::Text,
            Opcode::Binary if self.message.is_none() => Kind::Binary,
            _ => return Err(Unreadable("a fragment without its message, or a message within another")),
        };
        let compressed = head.rsv1;
        if compressed && self.inflater.is_none() {
            return Err(Unreadable("a compressed message where no compression was negotiated"));
        }
        self.message = Some(compressed);
        take(Event::Begin { kind, compressed });
        Ok(())
    }

    fn payload(&mut self, payload: &[u8], take: &mut impl FnMut(Event<'_>)) -> Result<(), Unreadable> {
        let Some(head) = &mut self.frame else { return Ok(()) };
        if head.opcode.is_control() {
            let part = &mut self.control[self.control_len..self.control_len + payload.len()];
            part.copy_from_slice(payload);
            if let Some(mask) = &mut head.mask {
                mask.undo(part);
            }
            self.control_len += payload.len();
            return Ok(());
        }
        let inflater = self.inflater.as_mut().filter(|_| self.message == Some(true));
        match &mut head.mask {
            None => data(inflater, payload, take),
            Some(mask) => unmasked(mask, inflater, payload, take),
        }
    }

    fn end(&mut self, take: &mut impl FnMut(Event<'_>)) -> Result<(), Unreadable> {
        let Some(head) = self.frame.take() else { return Ok(()) };
        let control = match head.opcode {
            Opcode::Close => Kind::Close,
            Opcode::Ping => Kind::Ping,
            Opcode::Pong => Kind::Pong,
            // Reserved: passed over.
            Opcode::Other(_) => return Ok(()),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                if head.fin {
                    if self.message.take() == Some(true)
                        && let Some(inflater) = &mut self.inflater
                    {
                        inflater.end(&mut |part| take(Event::Data(part)))?;
                    }
                    take(Event::End);
                }
                return Ok(());
            }
        };
        take(Event::Control(control, &self.control[..self.control_len]));
        Ok(())
    }
}

fn unmasked(
    mask: &mut Mask,
    mut inflater: Option<&mut Inflater>,
    payload: &[u8],
    take: &mut impl FnMut(Event<'_>),
) -> Result<(), Unreadable> {
    let mut scratch = [0; UNMASK_BYTES];
    for part in payload.chunks(UNMASK_BYTES) {
        let plain = &mut scratch[..part.len()];
        plain.copy_from_slice(part);
        mask.undo(plain);
        data(inflater.as_deref_mut(), plain, take)?;
    }
    Ok(())
}

fn data(
    inflater: Option<&mut Inflater>,
    payload: &[u8],
    take: &mut impl FnMut(Event<'_>),
) -> Result<(), Unreadable> {
    match inflater {
        Some(inflater) => inflater.push(payload, &mut |part| {
            if !part.is_empty() {
                take(Event::Data(part));
            }
        }),
        None => {
            take(Event::Data(payload));
            Ok(())
        }
    }
}
