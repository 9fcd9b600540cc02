//! Strings as canonical JSON spells them (RFC 8785 §3.2.2.2): escaped where they have to be, in one way, and nowhere else.

use std::borrow::Cow;
use std::cmp::Ordering;

/// First bytes of characters beyond U+FFFF, and nothing else, are from here on (RFC 3629 §3).
const BEYOND_BMP: u8 = 0xf0;
/// What is looked at at once.
const WORD_BYTES: usize = 8;

/// What stands between the quotes of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    spelled: &'a str,
    has_escapes: bool,
}

impl<'a> Text<'a> {
    /// `spelled` is in canonical form.
    pub(super) fn new(spelled: &'a str, has_escapes: bool) -> Self {
        Self { spelled, has_escapes }
    }

    /// The string, if it is spelled as it is.
    pub(crate) fn as_spelled(&self) -> Option<&'a str> {
        (!self.has_escapes).then_some(self.spelled)
    }

    /// The string.
    pub(crate) fn read(&self) -> Cow<'a, str> {
        match self.as_spelled() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(unescape(self.spelled)),
        }
    }

    /// Compares strings by their UTF-16 code units, as names are sorted (RFC 8785 §3.2.3).
    pub(super) fn cmp_utf16(&self, other: &Self) -> Ordering {
        let is_plain = |text: &Self| !text.has_escapes && text.spelled.bytes().all(|byte| byte < BEYOND_BMP);
        // Up to U+FFFF the order is that of UTF-8.
        if is_plain(self) && is_plain(other) {
            return self.spelled.cmp(other.spelled);
        }
        self.read().encode_utf16().cmp(other.read().encode_utf16())
    }
}

/// How many bytes a string goes on without a quote, a backslash or a control character.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    for (n, word) in words.iter().enumerate() {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return n * WORD_BYTES + special.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
    words.len() * WORD_BYTES + in_rest
}

/// Has the highest bit of the lowest byte set that is a quote, a backslash or a control character; zero if there is none. Bits of bytes
/// above that one mean nothing, since a subtraction may borrow from them.
fn specials(word: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; WORD_BYTES]);
    const HIGHEST: u64 = EACH * 0x80;
    // `"` lies two above the control characters: with that bit changed, it and they are the bytes up to 0x20, and space is not.
    let low = (word ^ (EACH * 0x02)).wrapping_sub(EACH * 0x21);
    let backslash = (word ^ (EACH * 0x5c)).wrapping_sub(EACH);
    // Bytes beyond ASCII are neither.
    (low | backslash) & !word & HIGHEST
}

/// The length of the escape that `bytes` begin with; none if canonical JSON does not have it.
pub(super) fn escape_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\\', b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        // Other control characters than those five, and no others.
        [b'\\', b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => Some(6),
        [b'\\', b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => Some(6),
        _ => None,
    }
}

/// The string that canonical JSON spells like this.
fn unescape(spelled: &str) -> String {
    let mut text = String::with_capacity(spelled.len());
    let mut rest = spelled;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = escape.chars();
        match chars.next() {
            Some('u') => {
                let code = escape.get(1..5).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                text.extend(code.and_then(char::from_u32));
                chars = escape.get(5..).unwrap_or_default().chars();
            }
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            other => text.extend(other),
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_is_plain_or_special_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let is_special = matches!(byte, b'"' | b'\\' | 0..0x20);
            // Around it what borrows and what has the highest bit.
            for beside in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                for at in 0..20 {
                    let mut bytes = [beside; 20];
                    bytes[at] = byte;
                    assert_eq!(plain_len(&bytes), if is_special { at } else { 20 }, "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn each_character_has_the_one_escape_that_is_written() {
        let ascii = (0..0x80u8).map(char::from);
        for character in ascii.chain(['\u{80}', '\u{2028}', '\u{ffff}', '\u{10ffff}']) {
            let spelled = serde_json::to_string(&character).unwrap();
            let inner = &spelled[1..spelled.len() - 1];
            assert_eq!(escape_len(inner.as_bytes()), inner.starts_with('\\').then_some(inner.len()));
            assert_eq!(unescape(inner), character.to_string());
            for digits in [format!("{:04x}", character as u32), format!("{:04X}", character as u32)] {
                let escape = format!("\\u{digits}");
                assert_eq!(escape_len(escape.as_bytes()).is_some(), escape == inner, "{escape}");
            }
        }
        for bad in ["\\", "\\/", "\\a", "\\u", "\\u000", "\\U0000", "\\u00", "\\u\u{e9}"] {
            assert_eq!(escape_len(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_string_is_read_as_it_was_written(text: String) {
            let spelled = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unescape(&spelled[1..spelled.len() - 1]), text);
        }

        #[test]
        fn names_are_ordered_by_utf_16(a in "[a\n\"\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}", b in "[a\n\"\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}") {
            let spelled = [&a, &b].map(|text| serde_json::to_string(text).unwrap());
            let [one, other] = [&spelled[0], &spelled[1]]
                .map(|spelled| Text::new(&spelled[1..spelled.len() - 1], spelled.contains('\\')));
            prop_assert_eq!(one.cmp_utf16(&other), a.encode_utf16().cmp(b.encode_utf16()));
        }
    }
}
