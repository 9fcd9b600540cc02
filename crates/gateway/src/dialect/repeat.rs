//! What the texts of a stream begin with alike.
//!
//! The chunks of a stream say the same of themselves each time, up to the one string that is new: id, model,
//! where in the message it belongs. A text that begins byte for byte as the one before is taken up where that
//! one came to its first string of content, with all that had been read by then. It reads the same as if it
//! were read from its start, for a third of the time.

use super::kept::At;
use super::pick::Frame;
use super::plan::Node;

/// Longest beginning that is remembered.
const PREFIX_MAX_BYTES: usize = 1024;

/// A beginning, and where the reading stood behind it.
#[derive(Default)]
pub(super) struct Repeat {
    prefix: Vec<u8>,
    frames: Vec<Frame>,
    place: Place,
    /// How many values had been picked.
    picks: usize,
    /// The text at hand began so, and what was picked of that stands as it was.
    holds: bool,
}

/// Where in a text a value begins.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) node: Option<Node>,
    pub(super) at: At,
    pub(super) arrays: usize,
}

impl Repeat {
    /// Remembers what a text begins with, unless that is done or it is too long.
    pub(super) fn remember(&mut self, prefix: &[u8], frames: &[Frame], place: Place, picks: usize) {
        if self.holds || prefix.len() > PREFIX_MAX_BYTES {
            return;
        }
        self.prefix.clear();
        self.prefix.extend_from_slice(prefix);
        self.frames.clear();
        self.frames.extend_from_slice(frames);
        (self.place, self.picks, self.holds) = (place, picks, true);
    }

    /// How many values are picked already of a text that begins alike.
    pub(super) fn picks(&self) -> usize {
        if self.holds { self.picks } else { 0 }
    }

    /// What was picked is no longer what such a beginning says.
    pub(super) fn forget(&mut self) {
        self.holds = false;
    }

    /// A text begins: if it does so as the last one, how long that beginning is, and where it leads.
    pub(super) fn resume(&mut self, text: &[u8], frames: &mut Vec<Frame>) -> Option<(usize, Place)> {
        self.holds &= text.starts_with(&self.prefix);
        if !self.holds {
            return None;
        }
        frames.clear();
        frames.extend_from_slice(&self.frames);
        Some((self.prefix.len(), self.place))
    }
}
