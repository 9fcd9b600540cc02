//! Server-sent events (WHATWG HTML §9.2.6, "Interpreting an event stream") from arbitrary pieces of bytes.
//!
//! Hands on slices of the `data` fields as they pass, so that an event of any size (a base64 image in one
//! `data:` line) costs no memory. Lines end in CR, LF or CRLF, wherever the pieces were cut; comments and
//! other fields are passed over. The event's name is among them: every API that sends one repeats it inside
//! the data.
//!
//! Handing on is by call, and allocates nothing: this runs over every frame of every stream.
//!
//! One thing is not as in the standard: data that the stream leaves without a blank line is handed on as an
//! event, because a record says what was sent, not only what a browser would have dispatched.

use super::BYTE_ORDER_MARK;

const DATA_FIELD: &[u8] = b"data";
/// How nearly every data line begins.
const DATA_LINE: &[u8] = b"data: ";

/// What the parser hands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SseItem<'a> {
    /// A part of a data line.
    Data(&'a [u8]),
    /// The data line is over; a further one of the same event stands behind a newline. A line that the stream
    /// broke off has no end.
    DataLineEnd,
    /// The event is over.
    EventEnd,
}

#[derive(Clone, Copy)]
enum Line {
    /// At the start of the stream; so much of a byte order mark was seen.
    Mark(usize),
    /// So much of the field name `data` was seen.
    Field(usize),
    /// After the colon, where one space is not part of the value.
    Space,
    Data,
    Other,
}

/// Reads one stream.
pub(super) struct SseParser {
    line: Line,
    after_cr: bool,
    in_event: bool,
}

impl SseParser {
    pub(super) fn new() -> Self {
        Self { line: Line::Mark(0), after_cr: false, in_event: false }
    }

    /// Reads on.
    pub(super) fn push<'a>(&mut self, piece: &'a [u8], mut give: impl FnMut(SseItem<'a>)) {
        let mut rest = piece;
        while let Some(byte) = rest.first() {
            let taken = self.step(*byte, rest, &mut give);
            rest = &rest[taken..];
        }
    }

    /// The stream is over.
    pub(super) fn finish(self, mut give: impl FnMut(SseItem<'static>)) {
        if self.in_event || matches!(self.line, Line::Space | Line::Data) {
            give(SseItem::EventEnd);
        }
    }

    /// Reads a byte, or all that is left of a line; says how many bytes that were.
    fn step<'a>(&mut self, byte: u8, rest: &'a [u8], give: &mut impl FnMut(SseItem<'a>)) -> usize {
        let after_cr = std::mem::take(&mut self.after_cr);
        if matches!(byte, b'\r' | b'\n') {
            if !(after_cr && byte == b'\n') {
                self.end_line(give);
            }
            self.after_cr = byte == b'\r';
            return 1;
        }
        match self.line {
            Line::Mark(seen) if byte == BYTE_ORDER_MARK[seen] => {
                self.line = BYTE_ORDER_MARK.get(seen + 1).map_or(Line::Field(0), |_| Line::Mark(seen + 1));
            }
            Line::Mark(0) => {
                self.line = Line::Field(0);
                return 0;
            }
            Line::Mark(_) => self.line = Line::Other,
            Line::Field(0) if rest.starts_with(DATA_LINE) => {
                self.line = Line::Data;
                return DATA_LINE.len();
            }
            Line::Field(seen) => {
                self.line = match DATA_FIELD.get(seen) {
                    Some(letter) if *letter == byte => Line::Field(seen + 1),
                    None if byte == b':' => Line::Space,
                    _ => Line::Other,
                };
            }
            Line::Space => {
                self.line = Line::Data;
                return usize::from(byte == b' ');
            }
            Line::Data | Line::Other => return self.rest_of_line(rest, give),
        }
        1
    }

    fn rest_of_line<'a>(&mut self, rest: &'a [u8], give: &mut impl FnMut(SseItem<'a>)) -> usize {
        let run = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        if matches!(self.line, Line::Data) {
            give(SseItem::Data(&rest[..run]));
        }
        run
    }

    fn end_line<'a>(&mut self, give: &mut impl FnMut(SseItem<'a>)) {
        match self.line {
            Line::Mark(0) | Line::Field(0) => {
                if std::mem::take(&mut self.in_event) {
                    give(SseItem::EventEnd);
                }
            }
            Line::Field(seen) if seen < DATA_FIELD.len() => {}
            Line::Field(_) | Line::Space | Line::Data => {
                self.in_event = true;
                give(SseItem::DataLineEnd);
            }
            Line::Mark(_) | Line::Other => {}
        }
        self.line = Line::Field(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sse_in(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut events, mut event) = (Vec::new(), Vec::new());
        let mut take = |item: SseItem<'_>| match item {
            SseItem::Data(part) => event.extend_from_slice(part),
            SseItem::DataLineEnd => event.push(b'\n'),
            SseItem::EventEnd => events.push(std::mem::take(&mut event)),
        };
        let mut parser = SseParser::new();
        pieces.iter().for_each(|piece| parser.push(piece, &mut take));
        parser.finish(take);
        events
    }

    /// Facts from the standard's own examples, plus the ends of lines that proxies make of them.
    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let cases: [(&str, &[&str]); 10] = [
            ("data: a\n\ndata: b\n\n", &["a\n", "b\n"]),
            ("data: a\r\rdata: b\r\r", &["a\n", "b\n"]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", &["a\n", "b\n"]),
            ("data: a\r\ndata: b\r\n\r\n", &["a\nb\n"]),
            ("\u{FEFF}data:a\ndata:  b\n\n", &["a\n b\n"]),
            (": comment\n\nevent: x\nid: 1\nretry: 5\ndata: a\n\n", &["a\n"]),
            ("data\n\ndata\ndata\n\ndata:", &["\n", "\n\n", ""]),
            ("datax: no\ndat: no\n data: no\nevent: x\n\n", &[]),
            ("data: {\"ü\":\"🦀\"}", &["{\"ü\":\"🦀\"}"]),
            ("\u{FEFF}\u{FEFF}data: a\n\n\ndata: b", &["b"]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|event| event.as_bytes().to_vec()).collect();
            assert_eq!(sse_in(&text.as_bytes().chunks(1).collect::<Vec<_>>()), expected, "{text:?}");
            for at in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(at);
                assert_eq!(sse_in(&[head, tail]), expected, "{text:?} cut at {at}");
            }
        }
    }

    /// A base64 image in one event: the parser hands on slices of what it is given and keeps none.
    #[test]
    fn an_event_of_any_size_is_never_held() {
        let piece = vec![b'x'; 1 << 16];
        let mut parser = SseParser::new();
        parser.push(b"data: ", |_| {});
        let mut passed = 0;
        for _ in 0..800 {
            parser.push(&piece, |item| match item {
                SseItem::Data(part) => passed += usize::from(std::ptr::eq(part, piece.as_slice())),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(passed, 800);
    }

    proptest! {
        #[test]
        fn any_stream_reads_the_same_however_it_is_cut(
            text in "(data|event|: ?|\r|\n|\r\n|x|\u{FEFF}){0,24}",
            at: prop::sample::Index,
        ) {
            let (head, tail) = text.as_bytes().split_at(at.index(text.len() + 1));
            prop_assert_eq!(sse_in(&[head, tail]), sse_in(&[text.as_bytes()]));
        }
    }
}
