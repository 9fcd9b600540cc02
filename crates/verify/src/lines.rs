//! The lines of a file, where they were read to: only those that two reads share are copied.

use indelible_record::entry::ENTRY_MAX_BYTES;
use std::io::{self, BufRead, BufReader, Read};

const READ_BYTES: usize = 1 << 18;

/// A file, line by line.
pub(crate) struct Lines<R> {
    file: BufReader<R>,
    /// Bytes of the buffer that the line handed out last takes.
    used: usize,
    /// A line that one read did not have as a whole.
    pieced: Vec<u8>,
}

impl<R: Read> Lines<R> {
    /// Begins with the first.
    pub(crate) fn of(file: R) -> Self {
        Self { file: BufReader::with_capacity(READ_BYTES, file), used: 0, pieced: Vec::new() }
    }

    /// The next line, without its end, which the last one need not have. Of one that is longer than any entry there may be a piece,
    /// which is longer than any entry, too.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.file.consume(std::mem::take(&mut self.used));
        self.pieced.clear();
        loop {
            let read = self.file.fill_buf()?;
            if read.is_empty() {
                return Ok(Some(&*self.pieced).filter(|line| !line.is_empty()));
            }
            let end = memchr::memchr(b'\n', read);
            if let (Some(end), true) = (end, self.pieced.is_empty()) {
                self.used = end + 1;
                return Ok(self.file.buffer().get(..end));
            }
            let piece = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
            self.pieced.extend_from_slice(piece);
            let used = piece.len() + usize::from(end.is_some());
            self.file.consume(used);
            if end.is_some() || self.pieced.len() > ENTRY_MAX_BYTES {
                return Ok(Some(&self.pieced));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = into.len().min(self.1);
            (&mut self.0).take(len as u64).read(into)
        }
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let text = "a\n\nbcd\n\nlonger than what is read at once\nno end";
        for text in [text, "", "\n", "a", "a\n", "\n\n"] {
            for at_once in [1, 2, 3, 7, 1000] {
                let mut lines = Lines::of(Slow(text.as_bytes(), at_once));
                for line in text.lines() {
                    assert_eq!(lines.next().expect("readable"), Some(line.as_bytes()), "{text:?}");
                }
                assert_eq!(lines.next().expect("readable"), None, "{text:?}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_held_as_a_whole() {
        let endless = vec![b'x'; READ_BYTES * 3];
        let mut lines = Lines::of(&endless[..]);
        let line = lines.next().expect("readable").expect("a line");
        assert!(line.len() > ENTRY_MAX_BYTES && line.len() <= READ_BYTES);
    }
}
