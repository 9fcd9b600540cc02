//! The salts of openings, in the order in which they stand there, for who hashes the payloads behind them.
//!
//! A payload is hashed twice: as a member of the file, and behind its salt. Since openings stand before payloads and in their
//! order, one reading does for both. Openings were not checked by then, so this only looks for what a salt looks like; the opening
//! itself says, when it is checked, which salt it has.

use super::Check;
use super::archive::Archive;
use super::content::LINE_MAX_BYTES;
use super::lines::Lines;
use indelible_record::commitment::from_hex;
use std::collections::VecDeque;
use std::io::{Read, Seek};

/// 32 bytes.
pub(super) type Salt = [u8; 32];

/// What stands before a salt, and how long it is in hex.
const BEFORE: &str = "\"salt\":\"";
const HEX_BYTES: usize = 64;

/// Where looking for salts has come to.
pub(super) struct Salts {
    /// None when there are no more openings to be read.
    lines: Option<Lines>,
    found: VecDeque<Salt>,
}

impl Salts {
    pub(super) fn new() -> Self {
        Self { lines: Some(Lines::of("openings.jsonl", Check::Payload)), found: VecDeque::new() }
    }

    /// The next one.
    pub(super) fn next<F: Read + Seek>(&mut self, archive: &mut Archive<F>) -> Option<Salt> {
        while self.found.is_empty() {
            match self.lines.as_mut()?.next(archive, LINE_MAX_BYTES) {
                Ok(Some(line)) => self.look_through(&line),
                // What is wrong with openings is found when they are checked.
                Ok(None) | Err(_) => self.lines = None,
            }
        }
        self.found.pop_front()
    }

    fn look_through(&mut self, line: &[u8]) {
        let text = std::str::from_utf8(line).unwrap_or_default();
        let salts = text.split(BEFORE).skip(1);
        self.found.extend(salts.filter_map(|rest| from_hex(rest.get(..HEX_BYTES)?)));
    }
}
