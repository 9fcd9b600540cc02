//! Reading canonical JSON in one pass over its bytes.
//!
//! [`canonical::parse`](super::parse) and serde read any JSON, and then compare what it is written as. Whoever verifies millions of
//! entries wants neither a value nor a second pass: this reader knows what comes next, takes nothing but its one spelling, and
//! hands out text where it stands. It says no reason for a refusal; the slower way does.
//!
//! What it takes is what they take. Numbers are integers within ±(2⁵³−1) and nothing is `null` ([`canonical`](super)); nesting ends
//! where serde_json ends it.

use super::INTEGER_MAX;
use super::text::{Text, escape_len, plain_len};
use std::cmp::Ordering;

/// Containers within each other, all counted, of which serde_json refuses the last.
const DEPTH_END: usize = 128;

/// The bytes are not what had to come, in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// What reading comes to.
pub(crate) type Read<T> = Result<T, Refused>;

/// Where reading has come to.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins with the first byte; what is no UTF-8 is refused.
    pub(crate) fn new(bytes: &'a [u8]) -> Read<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| Refused)?;
        Ok(Self { text, at: 0 })
    }

    /// Nothing may come any more.
    pub(crate) fn end(&self) -> Read<()> {
        if self.at == self.text.len() { Ok(()) } else { Err(Refused) }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes one byte if it is this.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn take(&mut self, byte: u8) -> Read<()> {
        if self.takes(byte) { Ok(()) } else { Err(Refused) }
    }

    fn word(&mut self, word: &str) -> Read<()> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(Refused);
        }
        self.at += word.len();
        Ok(())
    }

    /// A string.
    #[inline]
    pub(crate) fn text(&mut self) -> Read<Text<'a>> {
        self.take(b'"')?;
        let start = self.at;
        self.at += plain_len(self.rest());
        if self.peek() != Some(b'"') {
            return self.escaped_text(start);
        }
        let spelled = self.text.get(start..self.at).ok_or(Refused)?;
        self.at += 1;
        Ok(Text::new(spelled, false))
    }

    /// The string that begins at `start`, of which reading has come to an escape.
    #[cold]
    fn escaped_text(&mut self, start: usize) -> Read<Text<'a>> {
        while self.peek() != Some(b'"') {
            self.at += escape_len(self.rest()).ok_or(Refused)?;
            self.at += plain_len(self.rest());
        }
        let spelled = self.text.get(start..self.at).ok_or(Refused)?;
        self.at += 1;
        Ok(Text::new(spelled, true))
    }

    /// A name of a member, with the colon behind it.
    #[inline]
    fn name(&mut self) -> Read<Text<'a>> {
        let name = self.text()?;
        self.take(b':')?;
        Ok(name)
    }

    /// A natural number of at most 2⁵³−1.
    pub(crate) fn natural(&mut self) -> Read<u64> {
        let mut number = 0;
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number * 10 + u64::from(digit - b'0');
            self.at += 1;
            // Far below where it could overflow. A zero stands alone.
            if number > INTEGER_MAX || number == 0 {
                break;
            }
        }
        if self.at == start || number > INTEGER_MAX { Err(Refused) } else { Ok(number) }
    }

    /// A natural number of at most `max`.
    pub(crate) fn natural_up_to(&mut self, max: u64) -> Read<u64> {
        self.natural().and_then(|number| if number <= max { Ok(number) } else { Err(Refused) })
    }

    /// An integer within ±(2⁵³−1).
    fn integer(&mut self) -> Read<()> {
        let is_negative = self.takes(b'-');
        match self.natural() {
            Ok(0) if is_negative => Err(Refused),
            read => read.map(drop),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Read<bool> {
        let is_true = self.peek() == Some(b't');
        self.word(if is_true { "true" } else { "false" })?;
        Ok(is_true)
    }

    /// `true`.
    pub(crate) fn only_true(&mut self) -> Read<()> {
        self.word("true")
    }

    /// A string, an integer or a boolean.
    pub(crate) fn scalar(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'"') => self.text().map(drop),
            Some(b't' | b'f') => self.boolean().map(drop),
            _ => self.integer(),
        }
    }

    /// Anything, itself within `depth` containers.
    fn value(&mut self, depth: usize) -> Read<()> {
        match self.peek() {
            Some(b'{') => self.object(depth).map(drop),
            Some(b'[') => self.list(depth, |this, depth| this.value(depth)).map(drop),
            _ => self.scalar(),
        }
    }

    /// An object of anything, itself within `depth` containers: how it is spelled.
    pub(crate) fn object(&mut self, depth: usize) -> Read<&'a str> {
        let start = self.at;
        self.map(depth, |this, depth| this.value(depth))?;
        self.text.get(start..self.at).ok_or(Refused)
    }

    /// An object with any names, and how many it has. `value` is told within how many containers it reads.
    pub(crate) fn map(
        &mut self,
        depth: usize,
        mut value: impl FnMut(&mut Self, usize) -> Read<()>,
    ) -> Read<usize> {
        let mut last: Option<Text<'a>> = None;
        self.items(depth, *b"{}", |this, depth| {
            let name = this.name()?;
            if last.is_some_and(|last| last.cmp_utf16(&name) != Ordering::Less) {
                return Err(Refused);
            }
            last = Some(name);
            value(this, depth)
        })
    }

    /// A list, and how many items it has. `item` is told within how many containers it reads.
    pub(crate) fn list(
        &mut self,
        depth: usize,
        item: impl FnMut(&mut Self, usize) -> Read<()>,
    ) -> Read<usize> {
        self.items(depth, *b"[]", item)
    }

    fn items(
        &mut self,
        depth: usize,
        [begin, end]: [u8; 2],
        mut item: impl FnMut(&mut Self, usize) -> Read<()>,
    ) -> Read<usize> {
        self.take(begin)?;
        let depth = depth + 1;
        if depth == DEPTH_END {
            return Err(Refused);
        }
        if self.takes(end) {
            return Ok(0);
        }
        for count in 1.. {
            item(self, depth)?;
            if !self.takes(b',') {
                self.take(end)?;
                return Ok(count);
            }
        }
        Err(Refused)
    }

    /// The members of an object with names that are known. `read` asks for all of them in canonical order; what is left then, being
    /// unknown, doubled or out of order, is refused. At least one is there.
    pub(crate) fn members<T>(&mut self, read: impl FnOnce(&mut Members<'_, 'a>) -> Read<T>) -> Read<T> {
        self.take(b'{')?;
        self.take(b'"')?;
        let mut members = Members { reader: self, is_over: false };
        let value = read(&mut members)?;
        if members.is_over { Ok(value) } else { Err(Refused) }
    }
}

/// The members of an object, one after the other. Before its end the reader stands behind the first quote of a name.
pub(crate) struct Members<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// The end of the object was read.
    is_over: bool,
}

impl<'a> Members<'_, 'a> {
    /// The value of the member with this name; none if another one comes next. Names are compared where they stand: inlined,
    /// most of the absent ones cost a comparison of a word.
    #[inline(always)]
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Reader<'a>) -> Read<T>,
    ) -> Read<Option<T>> {
        let rest = self.reader.rest().strip_prefix(name.as_bytes());
        if !rest.is_some_and(|rest| rest.starts_with(b"\":")) {
            return Ok(None);
        }
        if self.is_over {
            return Err(Refused);
        }
        self.reader.at += name.len() + 2;
        let value = value(self.reader)?;
        self.go_on()?;
        Ok(Some(value))
    }

    /// The value of the member with this name, which has to come next.
    #[inline(always)]
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Reader<'a>) -> Read<T>,
    ) -> Read<T> {
        self.optional(name, value)?.ok_or(Refused)
    }

    /// Behind a value another member follows, or the end.
    #[inline]
    fn go_on(&mut self) -> Read<()> {
        if self.reader.takes(b',') {
            return self.reader.take(b'"');
        }
        self.is_over = true;
        self.reader.take(b'}')
    }
}
