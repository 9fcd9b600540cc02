//! Taking the event with the usage out of a stream, whatever pieces it comes in.
//!
//! An event is held until its empty line, which is nearly always in the same piece as its beginning. One that
//! gets too long to be it passes as it comes.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Map;

/// The event has a few numbers and the model's name.
const HELD_MAX_BYTES: usize = 16 << 10;
/// Most stretches that are taken out of one answer.
const TAKEN_MAX: usize = 16;

/// Takes the event out.
#[derive(Debug, Default)]
pub(crate) struct Strip {
    /// The event under way, while it may be the one.
    held: BytesMut,
    /// It is not: it passes as it comes.
    passing: bool,
    line: Line,
    /// Bytes that came before the ones held.
    before: u64,
    /// The event that ended last was taken out, and a line feed may still belong to it.
    took: bool,
    taken: Vec<(u64, u64)>,
}

/// Where in a line the stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Begins,
    Within,
    /// Behind a carriage return: a line feed would belong to it. Whether the line was empty.
    Returned(bool),
}

impl Strip {
    /// What of `piece`, and of what was held before it, goes to the client now.
    pub(crate) fn pass(&mut self, piece: &Bytes) -> Option<Bytes> {
        let mut passed = BytesMut::new();
        let mut rest = &piece[..];
        // The second half of a line end goes where the first one went.
        if self.line == Line::Returned(true) && rest.first() == Some(&b'\n') {
            if self.took {
                self.take(1);
            } else {
                passed.extend_from_slice(b"\n");
                self.before += 1;
            }
            self.line = Line::Begins;
            rest = &rest[1..];
        }
        while !rest.is_empty() {
            self.took = false;
            let (event, behind, ended) = self.split(rest);
            rest = behind;
            if self.passing {
                passed.extend_from_slice(event);
                self.before += event.len() as u64;
                self.passing = !ended;
                continue;
            }
            self.held.extend_from_slice(event);
            if ended && self.taken.len() < TAKEN_MAX && is_usage(&self.held) {
                self.take(self.held.len() as u64);
                self.held.clear();
                self.took = true;
            } else if ended || self.held.len() > HELD_MAX_BYTES {
                self.before += self.held.len() as u64;
                passed.unsplit(self.held.split());
                self.passing = !ended;
            }
        }
        (!passed.is_empty()).then(|| passed.freeze())
    }

    /// What is held at the end of a stream that ends within an event.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.before += self.held.len() as u64;
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }

    /// What was taken out: offset and length of each stretch.
    pub(crate) fn taken(&self) -> &[(u64, u64)] {
        &self.taken
    }

    fn take(&mut self, bytes: u64) {
        match self.taken.last_mut() {
            Some((at, len)) if *at + *len == self.before => *len += bytes,
            _ => self.taken.push((self.before, bytes)),
        }
        self.before += bytes;
    }

    /// Up to the end of the event under way, what is behind it, and whether it ends there.
    fn split<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8], bool) {
        for (at, byte) in bytes.iter().enumerate() {
            self.line = match (self.line, byte) {
                // One line end in two bytes. That of an empty line ended the event before this one.
                (Line::Returned(_), b'\n') => Line::Begins,
                (Line::Begins | Line::Returned(_), b'\n' | b'\r') => {
                    self.line = if *byte == b'\r' { Line::Returned(true) } else { Line::Begins };
                    // The line feed that belongs to it goes with it, where it is here.
                    let pair = *byte == b'\r' && bytes.get(at + 1) == Some(&b'\n');
                    if pair {
                        self.line = Line::Begins;
                    }
                    let end = at + 1 + usize::from(pair);
                    return (&bytes[..end], &bytes[end..], true);
                }
                (Line::Within, b'\n') => Line::Begins,
                (Line::Within, b'\r') => Line::Returned(false),
                _ => Line::Within,
            };
        }
        (bytes, &[], false)
    }
}

/// Whether an event is the one that `include_usage` adds: no choices, and usage.
fn is_usage(event: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Vec<IgnoredAny>,
        usage: Map<String, serde_json::Value>,
    }
    let Ok(text) = std::str::from_utf8(event) else { return false };
    let mut data = String::new();
    for line in text.split(['\n', '\r']) {
        if let Some(value) = line.strip_prefix("data:") {
            data.push_str(value);
            data.push('\n');
        }
    }
    serde_json::from_str::<Chunk>(&data)
        .is_ok_and(|chunk| chunk.choices.is_empty() && !chunk.usage.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USAGE: &str = "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":5}}";

    /// What passes of a stream in pieces of that size, and what is taken out.
    fn strip(stream: &str, piece: usize) -> (String, Vec<(u64, u64)>) {
        let (mut strip, mut passed) = (Strip::default(), Vec::new());
        for piece in stream.as_bytes().chunks(piece.max(1)) {
            passed.extend_from_slice(&strip.pass(&Bytes::copy_from_slice(piece)).unwrap_or_default());
        }
        passed.extend_from_slice(&strip.rest().unwrap_or_default());
        (String::from_utf8(passed).unwrap(), strip.taken().to_vec())
    }

    #[test]
    fn the_event_is_taken_out_and_nothing_else_wherever_the_stream_is_split() {
        for end in ["\n", "\r\n", "\r"] {
            let event = |line: &str| format!("{line}{end}{end}");
            let before = [": hi", "data: {\"choices\":[{\"index\":0}],\"usage\":null}"].map(event).concat();
            let usage = event(USAGE);
            let after = [event("event: x\ndata: [DONE]"), "data: no end".to_owned()].concat();
            let stream = format!("{before}{usage}{after}");
            for piece in 1..stream.len() {
                let (passed, taken) = strip(&stream, piece);
                assert_eq!(passed, format!("{before}{after}"), "{end:?}, pieces of {piece}");
                assert_eq!(taken, [(before.len() as u64, usage.len() as u64)], "{end:?}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_it_passes() {
        for other in [
            "data: {\"choices\":[],\"prompt_filter_results\":[]}",
            "data: {\"choices\":[],\"usage\":null}",
            "data: {\"choices\":[],\"usage\":{}}",
            "data: {\"choices\":[{\"index\":0}],\"usage\":{\"prompt_tokens\":5}}",
            "data: {\"usage\":{\"prompt_tokens\":5}}",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5}",
            ": {\"choices\":[],\"usage\":{\"prompt_tokens\":5}}",
        ] {
            let stream = format!("{other}\n\ndata: [DONE]\n\n");
            assert_eq!(strip(&stream, stream.len()), (stream.clone(), vec![]), "{other}");
        }
    }

    #[test]
    fn whole_events_pass_at_once_and_long_ones_as_they_come() {
        let mut strip = Strip::default();
        let whole = Bytes::from_static(b"data: {\"choices\":[{}]}\n\n");
        assert_eq!(strip.pass(&whole), Some(whole.clone()));
        assert_eq!(strip.pass(&Bytes::from_static(b"data: {\"choi")), None, "this may be it");
        let long = Bytes::from(vec![b'x'; HELD_MAX_BYTES]);
        assert_eq!(strip.pass(&long).map(|passed| passed.len()), Some(12 + HELD_MAX_BYTES));
        assert_eq!(
            strip.pass(&long).map(|passed| passed.len()),
            Some(HELD_MAX_BYTES),
            "nothing is held of it"
        );
        assert_eq!(strip.pass(&Bytes::from_static(b"\n\n")).map(|passed| passed.len()), Some(2));
        assert_eq!(strip.pass(&whole), Some(whole));
    }

    proptest! {
        #[test]
        fn what_passes_and_what_is_taken_out_are_the_stream(
            lines in prop::collection::vec(
                prop::sample::select(vec![USAGE, "", "data: x", "\r", ": c", "data: [DONE]", "event: é"]), 0..20),
            end in prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n"]),
            piece in 1usize..40,
        ) {
            let stream = lines.join(end);
            let (passed, taken) = strip(&stream, piece);
            let (mut rebuilt, mut left, mut at) = (String::new(), passed.as_str(), 0);
            for (from, len) in taken {
                let (begin, rest) = left.split_at(from as usize - at);
                let end = from as usize + len as usize;
                rebuilt.push_str(begin);
                rebuilt.push_str(&stream[from as usize..end]);
                (left, at) = (rest, end);
            }
            rebuilt.push_str(left);
            prop_assert_eq!(rebuilt, stream);
        }
    }
}
