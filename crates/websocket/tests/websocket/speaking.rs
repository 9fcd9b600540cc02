//! A speaker for tests: messages to frames, masked, fragmented, compressed.

use flate2::{Compress, Compression, FlushCompress};
use indelible_websocket::Kind;

/// What is said, and how.
#[derive(Clone, Debug)]
pub struct Say {
    pub kind: Kind,
    pub payload: Vec<u8>,
    /// Bytes in each fragment; 0: one frame.
    pub fragment: usize,
    pub mask: Option<[u8; 4]>,
    pub compress: bool,
    /// A ping stands behind the first fragment.
    pub ping: bool,
}

/// Compresses what one side says.
pub struct Speaker {
    compress: Compress,
    takeover: bool,
}

impl Speaker {
    pub fn new(takeover: bool) -> Self {
        Self { compress: Compress::new(Compression::best(), false), takeover }
    }

    pub fn say(&mut self, say: &Say) -> Vec<u8> {
        let control = matches!(say.kind, Kind::Close | Kind::Ping | Kind::Pong);
        let compress = say.compress && !control;
        let payload = if compress { self.deflate(&say.payload) } else { say.payload.clone() };
        let size = if say.fragment == 0 || control { payload.len().max(1) } else { say.fragment };
        let parts: Vec<&[u8]> = if payload.is_empty() { vec![&[]] } else { payload.chunks(size).collect() };
        let mut wire = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            let opcode = if n == 0 { code(say.kind) } else { 0 };
            let last = n + 1 == parts.len();
            wire.extend_from_slice(&frame(last, compress && n == 0, opcode, say.mask, part));
            if n == 0 && !last && say.ping {
                wire.extend_from_slice(&frame(true, false, 9, say.mask, b"there?"));
            }
        }
        wire
    }

    fn deflate(&mut self, payload: &[u8]) -> Vec<u8> {
        // RFC 7692 §7.2.3.6: an empty message; some implementations write nothing when they flush nothing.
        if payload.is_empty() {
            return vec![0];
        }
        let mut out = Vec::with_capacity(payload.len() + payload.len() / 8 + 256);
        let before = self.compress.total_in();
        // A flush is over when it leaves room: which implementation of DEFLATE this is, others decide.
        loop {
            let taken = (self.compress.total_in() - before) as usize;
            self.compress.compress_vec(&payload[taken..], &mut out, FlushCompress::Sync).unwrap();
            if out.len() < out.capacity() {
                break;
            }
            out.reserve(4096);
        }
        assert_eq!(self.compress.total_in() - before, payload.len() as u64);
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        if !self.takeover {
            self.compress.reset();
        }
        out
    }
}

fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Text => 1,
        Kind::Binary => 2,
        Kind::Close => 8,
        Kind::Ping => 9,
        Kind::Pong => 10,
    }
}

pub fn frame(fin: bool, rsv1: bool, opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut wire = vec![u8::from(fin) << 7 | u8::from(rsv1) << 6 | opcode];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..=125 => wire.push(masked | len as u8),
        len @ 126..=0xffff => {
            wire.push(masked | 126);
            wire.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            wire.push(masked | 127);
            wire.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    wire.extend_from_slice(mask.as_ref().map_or(&[][..], |key| key));
    wire.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    wire
}
