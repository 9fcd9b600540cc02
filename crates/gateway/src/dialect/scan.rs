//! Finding the next byte that matters in a run of bytes that do not.
//!
//! Most bytes of a body are the inside of strings. Short runs are looked at eight bytes at a time right here;
//! long ones go to `memchr`, which takes the widest registers that the machine has.

/// Bytes that are looked at together.
const WORD_BYTES: usize = size_of::<u64>();
/// Runs up to this length are done before a call to `memchr` has paid for itself.
const SHORT_BYTES: usize = 4 * WORD_BYTES;

/// How many bytes at the start of `bytes` neither end a string nor escape what follows.
pub(super) fn until_string_end(bytes: &[u8]) -> usize {
    let short = &bytes[..bytes.len().min(SHORT_BYTES)];
    let run = until(short, |word| each(word, b'"') | each(word, b'\\'));
    if run < short.len() || run == bytes.len() {
        return run;
    }
    run + memchr::memchr2(b'"', b'\\', &bytes[run..]).unwrap_or(bytes.len() - run)
}

/// How many bytes at the start of `bytes`, outside strings, neither begin a string nor open or close a
/// container.
pub(super) fn until_bracket(bytes: &[u8]) -> usize {
    // Brackets and braces differ in one bit.
    until(bytes, |word| {
        let folded = word | u64::from_le_bytes([b'{' ^ b'['; WORD_BYTES]);
        each(word, b'"') | each(folded, b'{') | each(folded, b'}')
    })
}

/// How many bytes at the start of `bytes` are none that `stop` marks: it gets a little-endian word and sets
/// the highest bit of each byte to stop at. Only the first such mark need be right.
fn until(bytes: &[u8], stop: impl Fn(u64) -> u64) -> usize {
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk::<WORD_BYTES>() {
        let marks = stop(u64::from_le_bytes(*word));
        if marks != 0 {
            return bytes.len() - rest.len() + marks.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    let mut word = [0; WORD_BYTES];
    word[..rest.len()].copy_from_slice(rest);
    let clear = stop(u64::from_le_bytes(word)).trailing_zeros() as usize / 8;
    bytes.len() - rest.len() + clear.min(rest.len())
}

/// Marks the bytes of a word that are `wanted`, for [`until`]. A byte behind a marked one may be marked
/// wrongly, since subtraction borrows (Warren, "Hacker's Delight", §6-1).
fn each(word: u64, wanted: u8) -> u64 {
    let zeros = word ^ u64::from_le_bytes([wanted; WORD_BYTES]);
    zeros.wrapping_sub(u64::from_le_bytes([1; WORD_BYTES])) & !zeros & u64::from_le_bytes([0x80; WORD_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plainly(bytes: &[u8], stops: &[u8]) -> usize {
        bytes.iter().position(|byte| stops.contains(byte)).unwrap_or(bytes.len())
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(bytes in "[a-z\"\\\\{}\\[\\]ü]{0,6}", before in 0usize..80) {
            let bytes = [&vec![b'x'; before][..], bytes.as_bytes()].concat();
            prop_assert_eq!(until_string_end(&bytes), plainly(&bytes, b"\"\\"));
            prop_assert_eq!(until_bracket(&bytes), plainly(&bytes, b"\"{}[]"));
        }

        #[test]
        fn finds_it_among_any_bytes(bytes: Vec<u8>) {
            prop_assert_eq!(until_string_end(&bytes), plainly(&bytes, b"\"\\"));
            prop_assert_eq!(until_bracket(&bytes), plainly(&bytes, b"\"{}[]"));
        }
    }
}
