//! The lines of a member, a few at a time.

use super::archive::Archive;
use super::{Check, Fault};
use std::io::{BufRead as _, Read, Seek};

const READ_BYTES: u64 = 1 << 16;

/// Where reading a member line by line has come to.
pub(super) struct Lines {
    name: &'static str,
    check: Check,
    at: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Lines {
    /// Begins with the first line of a member. What is wrong with its lines is broken at `check`.
    pub(super) fn of(name: &'static str, check: Check) -> Self {
        Self { name, check, at: 0, buffer: Vec::new(), used: 0 }
    }

    /// The next line, of at most `max` bytes, without its end. `None`: there is none.
    pub(super) fn next<F: Read + Seek>(
        &mut self,
        archive: &mut Archive<F>,
        max: usize,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let broken = |what: &str| Fault::broken(self.check, format!("{}: {what}", self.name));
        let mut line = Vec::new();
        loop {
            let mut rest = self.buffer.get(self.used..).unwrap_or_default();
            self.used += rest.read_until(b'\n', &mut line)?;
            let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
            if line.len() > max {
                return Err(broken("a line that is too long"));
            }
            if is_whole {
                return Ok(Some(line));
            }
            self.buffer = archive.read(self.name, self.at, READ_BYTES)?;
            self.used = 0;
            self.at += self.buffer.len() as u64;
            if self.buffer.is_empty() {
                return if line.is_empty() { Ok(None) } else { Err(broken("it does not end in a line")) };
            }
        }
    }
}
