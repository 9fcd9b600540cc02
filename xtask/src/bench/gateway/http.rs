//! An answer of HTTP/1.1 as it comes in: where its body begins, and whether it is whole (RFC 9112 §6, §7.1).

use std::io::{Error, ErrorKind, Result};

/// A head, or a line of a chunk's size, is far smaller.
const HEAD_MAX_BYTES: usize = 64 << 10;

/// What has come in of one answer.
#[derive(Default)]
pub(super) struct Answer {
    at: At,
    /// A head or a line of which the end is not here yet.
    unread: Vec<u8>,
    body_bytes: usize,
}

/// What comes next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// So many bytes of a body whose length was said.
    Sized(usize),
    ChunkSize,
    /// So many bytes of a chunk, the line end behind it included.
    Chunk(usize),
    /// Lines up to an empty one.
    Trailer,
    Whole,
}

impl Answer {
    /// Takes what was read; nothing means that the peer hung up. An error for anything but a status of 200.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the connection ended within an answer"));
        }
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Head => self.text(bytes, b"\r\n\r\n", Self::head)?,
                At::ChunkSize => self.text(bytes, b"\r\n", Self::chunk_size)?,
                At::Trailer => self.text(bytes, b"\r\n", Self::trailer)?,
                At::Sized(left) => {
                    let here = left.min(bytes.len());
                    self.body_bytes += here;
                    self.at = if here == left { At::Whole } else { At::Sized(left - here) };
                    &bytes[here..]
                }
                At::Chunk(left) => {
                    let here = left.min(bytes.len());
                    self.body_bytes += here.min(left.saturating_sub(2));
                    self.at = if here == left { At::ChunkSize } else { At::Chunk(left - here) };
                    &bytes[here..]
                }
                At::Whole => return Err(bad("bytes behind the answer")),
            };
        }
        Ok(())
    }

    /// Whether its last byte is here.
    pub(super) fn is_whole(&self) -> bool {
        self.at == At::Whole
    }

    /// Bytes of its body that are here.
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Gathers up to `end`, then has it read; gives what stands behind it.
    fn text<'a>(
        &mut self,
        bytes: &'a [u8],
        end: &[u8],
        read: impl Fn(&str) -> Result<At>,
    ) -> Result<&'a [u8]> {
        let before = self.unread.len();
        self.unread.extend_from_slice(bytes);
        let Some(found) = self.unread.windows(end.len()).position(|window| window == end) else {
            return if self.unread.len() > HEAD_MAX_BYTES { Err(bad("too long a head")) } else { Ok(&[]) };
        };
        let text = std::str::from_utf8(&self.unread[..found]).map_err(|_| bad("a head that is not ASCII"))?;
        self.at = read(text)?;
        self.unread.clear();
        Ok(&bytes[found + end.len() - before..])
    }

    fn head(text: &str) -> Result<At> {
        let (status, headers) = text.split_once("\r\n").unwrap_or((text, ""));
        if status.split(' ').nth(1) != Some("200") {
            return Err(bad(status));
        }
        for line in headers.split("\r\n") {
            let (name, value) = line.split_once(':').unwrap_or_default();
            let value = value.trim();
            if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
                return Ok(At::ChunkSize);
            }
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| bad(line))?;
                return Ok(if length == 0 { At::Whole } else { At::Sized(length) });
            }
        }
        Err(bad("a body of unknown length"))
    }

    fn chunk_size(text: &str) -> Result<At> {
        let size = text.split(';').next().unwrap_or_default().trim();
        match usize::from_str_radix(size, 16) {
            Ok(0) => Ok(At::Trailer),
            Ok(size) if size <= usize::MAX - 2 => Ok(At::Chunk(size + 2)),
            _ => Err(bad(text)),
        }
    }

    fn trailer(text: &str) -> Result<At> {
        Ok(if text.is_empty() { At::Whole } else { At::Trailer })
    }
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhe\r\nl\r\n1\r\nl\r\n0\r\na: b\r\n\r\n";
    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nx: y\r\n\r\nhello!";

    #[test]
    fn an_answer_cut_anywhere_is_read_the_same() {
        for whole in [CHUNKED, SIZED] {
            for cut in 1..whole.len() {
                let mut answer = Answer::default();
                answer.take(&whole[..cut]).unwrap();
                assert!(!answer.is_whole(), "cut at {cut}");
                answer.take(&whole[cut..]).unwrap();
                assert!(answer.is_whole(), "cut at {cut}");
                assert_eq!(answer.body_bytes(), 6, "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_body_begins_with_its_own_first_byte() {
        for (whole, head) in [(CHUNKED, b"chunked\r\n\r\n5;x=y\r\n".as_slice()), (SIZED, b"y\r\n\r\n")] {
            let begins = whole.windows(head.len()).position(|window| window == head).unwrap() + head.len();
            let mut answer = Answer::default();
            answer.take(&whole[..begins]).unwrap();
            assert_eq!(answer.body_bytes(), 0);
            answer.take(&whole[begins..=begins]).unwrap();
            assert_eq!(answer.body_bytes(), 1);
        }
    }

    #[test]
    fn what_is_not_a_whole_good_answer_is_an_error() {
        let bad: [&[u8]; 5] = [
            b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nz\r\n",
            b"",
        ];
        for bytes in bad {
            assert!(Answer::default().take(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
