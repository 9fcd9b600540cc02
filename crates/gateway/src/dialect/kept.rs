//! What is kept of a text while it passes: parts being copied, and values that were picked.

use super::plan::Node;
use std::borrow::Cow;

/// Most values kept out of arrays. Values that stand in none are few by the plan and always kept: no number
/// of tools hides the model behind them.
const LISTED_PICKS_MAX: usize = 512;

/// What most texts need room for.
const PICKS_USUAL: usize = 24;
const PICKS_USUAL_BYTES: usize = 512;

/// Positions in the arrays on the way to a value, outermost first; 0 where there is no array.
pub(super) type At = [u32; 2];

/// One value, as it stood in the text.
#[derive(Clone, Copy)]
pub(super) struct Pick<'a, M> {
    /// What it means.
    pub(super) meaning: M,
    /// The object or array that it is in.
    pub(super) parent: Node,
    /// Where it stood.
    pub(super) at: At,
    /// Its bytes: valid JSON if the text was. Empty where only its presence was wanted.
    pub(super) raw: &'a [u8],
}

impl<'a, M> Pick<'a, M> {
    /// The value, if it is a string and not empty.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        let inside = self.raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let text = match unescaped(self.raw, inside) {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        };
        Some(text).filter(|text| !text.is_empty())
    }
}

/// The inside of a string, escapes undone. Where one stands for no character (a lone surrogate), all stay as
/// written.
pub(super) fn unescaped<'a>(quoted: &[u8], inside: &'a [u8]) -> Cow<'a, [u8]> {
    if inside.contains(&b'\\')
        && let Ok(text) = serde_json::from_slice::<String>(quoted)
    {
        return Cow::Owned(text.into_bytes());
    }
    Cow::Borrowed(inside)
}

/// Values that were picked, in the order of their ends.
#[derive(Default)]
pub(super) struct Picks {
    list: Vec<Kept>,
    /// Their bytes, one behind the other.
    bytes: Vec<u8>,
    listed: usize,
}

struct Kept {
    node: Node,
    listed: bool,
    at: At,
    /// One behind its last byte; its first is behind the last of the one before.
    end: usize,
}

impl Picks {
    /// Keeps a value; `listed` where it stands in an array. `null` is nothing: APIs write it for what they leave
    /// out.
    pub(super) fn keep(&mut self, node: Node, listed: bool, at: At, raw: &[u8]) {
        if raw == b"null" || listed && self.listed >= LISTED_PICKS_MAX {
            return;
        }
        if self.list.capacity() == 0 {
            self.list.reserve(PICKS_USUAL);
            self.bytes.reserve(PICKS_USUAL_BYTES);
        }
        self.listed += usize::from(listed);
        self.bytes.extend_from_slice(raw);
        self.list.push(Kept { node, listed, at, end: self.bytes.len() });
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    #[cfg(test)]
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes.len()
    }

    /// Keeps the first `count` values alone.
    pub(super) fn truncate(&mut self, count: usize) {
        let dropped = self.list.drain(count..).filter(|kept| kept.listed).count();
        self.listed -= dropped;
        self.bytes.truncate(self.list.last().map_or(0, |kept| kept.end));
    }

    /// Each value with its node and place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Node, At, &[u8])> + Clone {
        let begins = std::iter::once(0).chain(self.list.iter().map(|kept| kept.end));
        self.list.iter().zip(begins).map(|(kept, begin)| (kept.node, kept.at, &self.bytes[begin..kept.end]))
    }

    /// Drops, of the values from number `first` on, those at nodes that `drop` says, and gives their bytes back.
    pub(super) fn forget(&mut self, first: usize, drop: impl Fn(Node) -> bool) {
        let mut later = self.list.iter().skip(first);
        let Some(found) = later.position(|kept| drop(kept.node)) else { return };
        let rest = self.list.split_off(first + found);
        let mut from = self.list.last().map_or(0, |kept| kept.end);
        let mut to = from;
        for kept in rest {
            let bytes = from..kept.end;
            from = kept.end;
            if drop(kept.node) {
                self.listed -= usize::from(kept.listed);
                continue;
            }
            let len = bytes.len();
            self.bytes.copy_within(bytes, to);
            to += len;
            self.list.push(Kept { end: to, ..kept });
        }
        self.bytes.truncate(to);
    }
}

/// A part of the text that is copied out of the pieces as they pass, unless it lies in one whole.
#[derive(Default)]
pub(super) struct Clip {
    bytes: Vec<u8>,
    limit: usize,
    /// How long the part is so far, what is over the limit included.
    len: usize,
    /// Where in the piece at hand the part begins that is not counted yet.
    from: Option<usize>,
}

impl Clip {
    /// A part begins at `at`; of a longer one than `limit` nothing is kept.
    pub(super) fn start(&mut self, at: usize, limit: usize) {
        self.bytes.clear();
        (self.limit, self.len, self.from) = (limit, 0, Some(at));
    }

    fn copy(&mut self, part: &[u8]) {
        self.len = self.len.saturating_add(part.len());
        if self.len <= self.limit {
            self.bytes.extend_from_slice(part);
        }
    }

    pub(super) fn running(&self) -> bool {
        self.from.is_some()
    }

    /// The part turned out to be none.
    pub(super) fn drop(&mut self) {
        self.from = None;
    }

    /// The piece at hand is over; the part may not be.
    pub(super) fn carry(&mut self, piece: &[u8]) {
        if let Some(from) = self.from {
            self.copy(&piece[from..]);
            self.from = Some(0);
        }
    }

    /// The part is over: its bytes, unless none was being copied or it is too long.
    pub(super) fn stop<'a>(&'a mut self, piece: &'a [u8], to: usize) -> Option<&'a [u8]> {
        let part = &piece[self.from.take()?..to];
        if self.len == 0 {
            return (part.len() <= self.limit).then_some(part);
        }
        self.copy(part);
        (self.len <= self.limit).then_some(&self.bytes)
    }

    /// The part is over: how long it was.
    pub(super) fn stop_counting(&mut self, to: usize) -> usize {
        self.from.take().map_or(0, |from| self.len.saturating_add(to - from))
    }
}
