//! `permessage-deflate` (RFC 7692), undone for reading.
//!
//! A compressed message is a DEFLATE stream whose last four bytes, `00 00 ff ff`, were left out. Unless a side
//! promised not to, it compresses each message with what it said before in view, so that a reader has to
//! inflate all of them, in order. The view is 32 KiB: that, and nothing else, is what reading keeps.

use crate::Unreadable;
use flate2::{Decompress, FlushDecompress, Status};

/// What a sender leaves out at the end of each message (§7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Inflated bytes that are handed on at once.
const OUT_BYTES: usize = 4 << 10;
/// A side that makes more of less than this is not read on: it means to keep a reader busy.
const RATIO_MAX: u64 = 200;
/// Below this, any ratio will do.
const FREE_BYTES: u64 = 16 << 20;

/// What a handshake negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The client's messages are compressed each by itself.
    pub client_no_context_takeover: bool,
    /// The server's are.
    pub server_no_context_takeover: bool,
}

impl Extension {
    /// Reads the `Sec-WebSocket-Extensions` of a handshake's answer; `None` where compression was not agreed.
    pub fn negotiated(header: &str) -> Option<Self> {
        header.split(',').find_map(|extension| {
            let mut parts = extension.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
                return None;
            }
            let mut this = Self { client_no_context_takeover: false, server_no_context_takeover: false };
            // Window sizes only limit what a sender may look back to; a reader with 32 KiB takes all of them.
            for parameter in parts {
                let name = parameter.split('=').next().unwrap_or_default().trim();
                this.client_no_context_takeover |= name.eq_ignore_ascii_case("client_no_context_takeover");
                this.server_no_context_takeover |= name.eq_ignore_ascii_case("server_no_context_takeover");
            }
            Some(this)
        })
    }
}

/// Inflates the messages of one side.
pub(crate) struct Inflater {
    inner: Decompress,
    takeover: bool,
    /// Bytes that went in and came out, over all messages.
    passed: (u64, u64),
}

impl Inflater {
    pub(crate) fn new(takeover: bool) -> Self {
        Self { inner: Decompress::new(false), takeover, passed: (0, 0) }
    }

    /// Inflates more of a message.
    pub(crate) fn push(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Result<(), Unreadable> {
        let mut out = [0; OUT_BYTES];
        loop {
            let (before_in, before_out) = (self.inner.total_in(), self.inner.total_out());
            let status = self
                .inner
                .decompress(bytes, &mut out, FlushDecompress::Sync)
                .map_err(|_| Unreadable("a compressed message that is no DEFLATE stream"))?;
            let used = (self.inner.total_in() - before_in) as usize;
            let made = (self.inner.total_out() - before_out) as usize;
            bytes = &bytes[used..];
            self.passed = (self.passed.0 + used as u64, self.passed.1 + made as u64);
            if self.passed.1 > FREE_BYTES.max(self.passed.0 * RATIO_MAX) {
                return Err(Unreadable("compressed messages that inflate beyond measure"));
            }
            take(&out[..made]);
            if status == Status::StreamEnd {
                // A sender may end its stream within a message (§7.2.3.4); what follows is another one.
                self.inner.reset(false);
            } else if bytes.is_empty() && made < OUT_BYTES {
                return Ok(());
            }
            if used == 0 && made == 0 {
                return match bytes.is_empty() {
                    true => Ok(()),
                    false => Err(Unreadable("a compressed message that is no DEFLATE stream")),
                };
            }
        }
    }

    /// The message is over.
    pub(crate) fn end(&mut self, take: &mut impl FnMut(&[u8])) -> Result<(), Unreadable> {
        self.push(&TAIL, take)?;
        if !self.takeover {
            self.inner.reset(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_negotiated() {
        let both = Extension { client_no_context_takeover: true, server_no_context_takeover: true };
        let neither = Extension { client_no_context_takeover: false, server_no_context_takeover: false };
        for (header, expected) in [
            ("permessage-deflate", Some(neither)),
            ("x-other; a=1, Permessage-Deflate; server_max_window_bits=10", Some(neither)),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover ; client_max_window_bits",
                Some(both),
            ),
            ("x-webkit-deflate-frame", None),
            ("", None),
        ] {
            assert_eq!(Extension::negotiated(header), expected, "{header}");
        }
    }
}
