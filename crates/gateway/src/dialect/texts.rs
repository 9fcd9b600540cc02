//! JSON texts one behind the other: a plain answer, lines (NDJSON), the items of a list that is sent while it
//! grows (Gemini), or texts after each other in whatever way.
//!
//! Texts are told apart by where each ends, whatever stands between them. The end of a line ends one that came
//! to no end of its own, where texts are lines.

use super::pick::Picker;
use super::plan::Meaning;

/// Where a body stands between texts and within them.
pub(super) struct Texts {
    kind: Kind,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One text, which is the answer.
    One,
    /// A text a line.
    Lines,
    /// The items of a list; or one text that is none, as errors are.
    List,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first text, and the list if there is one.
    Start,
    Between,
    Within,
    Over,
}

/// What a piece brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that has ended.
    Nothing,
    /// The end of a text, which is to be taken out of the picker.
    Text,
    /// The end of the list.
    End,
}

impl Texts {
    pub(super) fn one() -> Self {
        Self { kind: Kind::One, place: Place::Start }
    }

    pub(super) fn lines() -> Self {
        Self { kind: Kind::Lines, place: Place::Start }
    }

    pub(super) fn list() -> Self {
        Self { kind: Kind::List, place: Place::Start }
    }

    /// Whether the texts are a stream.
    pub(super) fn are_many(&self) -> bool {
        self.kind != Kind::One
    }

    /// Reads on, up to the end of a text; says how many bytes that were.
    pub(super) fn push<M: Meaning>(&mut self, piece: &[u8], picker: &mut Picker<M>) -> (usize, Found) {
        match self.place {
            Place::Over => (piece.len(), Found::Nothing),
            Place::Within if self.kind == Kind::Lines => self.within_line(piece, picker),
            Place::Within => self.within(piece, picker),
            Place::Start | Place::Between => self.between(piece[0]),
        }
    }

    fn between(&mut self, byte: u8) -> (usize, Found) {
        match (byte, self.kind, self.place) {
            (b' ' | b'\t' | b'\n' | b'\r', ..) => (1, Found::Nothing),
            (b'[', Kind::List, Place::Start) => {
                self.place = Place::Between;
                (1, Found::Nothing)
            }
            (b',', Kind::List, Place::Between) => (1, Found::Nothing),
            (b']', Kind::List, Place::Between) => {
                self.place = Place::Over;
                (1, Found::End)
            }
            _ => {
                self.place = Place::Within;
                (0, Found::Nothing)
            }
        }
    }

    fn within<M: Meaning>(&mut self, piece: &[u8], picker: &mut Picker<M>) -> (usize, Found) {
        let taken = picker.push(piece);
        if picker.complete() {
            self.place = if self.kind == Kind::One { Place::Over } else { Place::Between };
            return (taken, Found::Text);
        }
        if picker.broken() {
            self.place = Place::Over;
        }
        (taken, Found::Nothing)
    }

    fn within_line<M: Meaning>(&mut self, piece: &[u8], picker: &mut Picker<M>) -> (usize, Found) {
        let end = memchr::memchr(b'\n', piece);
        let line = &piece[..end.unwrap_or(piece.len())];
        let taken = picker.push(line);
        if picker.complete() {
            self.place = Place::Between;
            return (taken, Found::Text);
        }
        match end {
            None => (line.len(), Found::Nothing),
            Some(end) => {
                self.place = Place::Between;
                (end + 1, Found::Text)
            }
        }
    }
}
