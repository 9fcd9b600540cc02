//! The lines of a member, a few at a time.

use super::archive::Archive;
use super::{Check, Fault};
use std::io::{Read, Seek};

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
        let mut searched = self.used;
        loop {
            let rest = self.buffer.get(searched..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n').map(|at| searched + at) {
                let line = self.buffer.get(self.used..end).unwrap_or_default().to_vec();
                self.used = end + 1;
                return if line.len() > max {
                    Err(broken("a line that is too long"))
                } else {
                    Ok(Some(line))
                };
            }
            let pending = self.buffer.len() - self.used;
            if pending > max {
                return Err(broken("a line that is too long"));
            }
            self.buffer.drain(..self.used);
            (self.used, searched) = (0, pending);
            let more = archive.read(self.name, self.at, READ_BYTES)?;
            if more.is_empty() {
                return if pending == 0 { Ok(None) } else { Err(broken("it does not end in a line")) };
            }
            self.at += more.len() as u64;
            self.buffer.extend_from_slice(&more);
        }
    }
}
