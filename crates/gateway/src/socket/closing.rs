//! Finding the close frame in what one side sends, so that it can be held back.

use indelible_websocket::frame::Mask;
use indelible_websocket::{Close, Frames, Item, Opcode};

/// Longest payload of a close frame (RFC 6455 §5.5).
const CLOSE_MAX_BYTES: u64 = 125;

/// Looks for the close frame of one side.
#[derive(Default)]
pub(super) struct Closing {
    frames: Frames,
    /// What is sent is no WebSocket, and has no close frame.
    unreadable: bool,
    /// The close frame, as far as it has come.
    last: Option<LastFrame>,
}

/// A close frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LastFrame {
    /// As on the wire: its end at least, where it came in pieces. What came of its head before it could be
    /// told for a close frame was passed on already.
    pub(super) wire: Vec<u8>,
    payload: Vec<u8>,
    mask: Option<Mask>,
}

impl LastFrame {
    /// What it says.
    pub(super) fn close(&self) -> Close {
        let mut payload = self.payload.clone();
        if let Some(mut mask) = self.mask {
            mask.undo(&mut payload);
        }
        Close::parse(&payload)
    }
}

impl Closing {
    /// What of `bytes` passes at once, and the close frame once it is whole. What stands behind one is nothing
    /// that a side may say, and is dropped.
    pub(super) fn split<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], Option<LastFrame>) {
        if self.unreadable {
            return (bytes, None);
        }
        let mut rest = bytes;
        // Where the frame began that is being read, or was when these bytes came.
        let mut began = 0;
        loop {
            let at = bytes.len() - rest.len();
            if self.frames.between_frames() && self.last.is_none() {
                began = at;
            }
            match self.frames.next(&mut rest) {
                Ok(Some(Item::Head(head))) => {
                    if head.opcode == Opcode::Close && head.fin && head.len <= CLOSE_MAX_BYTES {
                        self.last =
                            Some(LastFrame { wire: Vec::new(), payload: Vec::new(), mask: head.mask });
                    }
                }
                Ok(Some(Item::Payload(payload))) => {
                    if let Some(last) = &mut self.last {
                        last.payload.extend_from_slice(payload);
                    }
                }
                Ok(Some(Item::End)) => {
                    if let Some(mut last) = self.last.take() {
                        last.wire.extend_from_slice(&bytes[began..bytes.len() - rest.len()]);
                        return (&bytes[..began], Some(last));
                    }
                }
                Ok(None) => {
                    return match &mut self.last {
                        Some(last) => {
                            last.wire.extend_from_slice(&bytes[began..]);
                            (&bytes[..began], None)
                        }
                        None => (bytes, None),
                    };
                }
                Err(_) => {
                    self.unreadable = true;
                    return (bytes, None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text, a masked ping, a masked close with code 1000 and a word, and something behind it.
    const WIRE: &[u8] =
        b"\x81\x02hi\x89\x81\x01\x02\x03\x04\x60\x88\x86\x01\x02\x03\x04\x02\xea\x67\x6b\x6f\x67\x81\x01x";
    const CLOSE_AT: usize = 11;
    const END: usize = 23;

    #[test]
    fn a_close_frame_is_held_back_and_nothing_else_is() {
        let (open, last) = Closing::default().split(WIRE);
        let last = last.unwrap();
        assert_eq!((open, last.wire.as_slice()), (&WIRE[..CLOSE_AT], &WIRE[CLOSE_AT..END]));
        assert_eq!(last.close(), Close { code: Some(1000), reason: "done".to_owned() });
    }

    #[test]
    fn a_close_frame_in_pieces_is_never_passed_whole() {
        for first in 1..WIRE.len() {
            for second in [1, 2, 5, WIRE.len()] {
                let (mut closing, mut passed, mut found) = (Closing::default(), Vec::new(), None);
                let (begin, rest) = WIRE.split_at(first);
                for piece in std::iter::once(begin).chain(rest.chunks(second)) {
                    let (open, last) = closing.split(piece);
                    passed.extend_from_slice(open);
                    if last.is_some() {
                        found = last;
                        break;
                    }
                }
                let last = found.unwrap();
                assert_eq!(last.close().code, Some(1000), "pieces of {first}, {second}");
                assert!(passed.len() < END && !last.wire.is_empty());
                assert_eq!([passed, last.wire].concat(), &WIRE[..END], "pieces of {first}, {second}");
            }
        }
    }

    #[test]
    fn what_is_no_websocket_passes() {
        let mut closing = Closing::default();
        let broken = [0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3];
        assert_eq!(closing.split(&broken), (&broken[..], None));
        assert_eq!(closing.split(b"\x88\x00"), (&b"\x88\x00"[..], None));
    }
}
