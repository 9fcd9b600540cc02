//! What a key of the gateway looks like.
//!
//! ```text
//! idk_ ┬ 43 characters: 256 random bits ┬ 6 characters: checksum
//! ```
//!
//! Base62, most significant digit first. The prefix lets scanners find a key that leaked into a repository
//! or a log; the checksum tells a key that was mistyped or cut off from one that is unknown, and lets a
//! scanner be sure. It is the first four bytes of SHA-256 over everything before it, so any language can
//! check it. Random bits need no slow hash: see `docs/formats/api-keys.md`.

use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// What every key begins with.
pub const PREFIX: &str = "idk_";
/// Length of a key.
pub const KEY_BYTES: usize = PREFIX.len() + BODY_BYTES + CHECK_BYTES;

const BODY_BYTES: usize = 43;
const CHECK_BYTES: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What somebody sent as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Of the gateway's form, checksum included.
    Whole,
    /// Begins like one, and is none.
    Broken,
    /// Something else: a model server's key, a placeholder.
    Foreign,
}

/// Makes a key of 32 random bytes.
pub fn of_bytes(random: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(KEY_BYTES));
    text.push_str(PREFIX);
    push_base62::<BODY_BYTES>(&mut text, random);
    let check = checksum(text.as_bytes());
    push_base62::<CHECK_BYTES>(&mut text, &check);
    text
}

/// Whether this is a key of the gateway's, by its form alone.
pub fn form_of(sent: &[u8]) -> Form {
    if !sent.starts_with(PREFIX.as_bytes()) {
        return Form::Foreign;
    }
    if sent.len() != KEY_BYTES || !sent[PREFIX.len()..].iter().all(|byte| DIGITS.contains(byte)) {
        return Form::Broken;
    }
    let (body, check) = sent.split_at(KEY_BYTES - CHECK_BYTES);
    let mut expected = String::new();
    push_base62::<CHECK_BYTES>(&mut expected, &checksum(body));
    if expected.as_bytes() == check { Form::Whole } else { Form::Broken }
}

fn checksum(body: &[u8]) -> [u8; 4] {
    let mut first = [0; 4];
    first.copy_from_slice(&digest(&SHA256, body).as_ref()[..4]);
    first
}

/// Appends a big-endian number as `N` digits.
fn push_base62<const N: usize>(text: &mut String, number: &[u8]) {
    let mut rest = Zeroizing::new(number.to_vec());
    let mut digits = Zeroizing::new([b'0'; N]);
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0;
        for byte in rest.iter_mut() {
            let value = remainder << 8 | usize::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = DIGITS[remainder];
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_is_known_by_its_form_and_any_typo_is_noticed(random: [u8; 32], at in 0..KEY_BYTES, to in 0usize..62) {
            let key = of_bytes(&random);
            prop_assert_eq!(key.len(), KEY_BYTES);
            prop_assert_eq!(form_of(key.as_bytes()), Form::Whole);
            let mut typo = key.as_bytes().to_vec();
            prop_assume!(typo[at] != DIGITS[to]);
            typo[at] = DIGITS[to];
            prop_assert_ne!(form_of(&typo), Form::Whole);
            prop_assert_ne!(form_of(&key.as_bytes()[..at]), Form::Whole);
        }

        #[test]
        fn anything_may_be_sent(bytes: Vec<u8>) {
            let _ = form_of(&bytes);
            let _ = form_of(&[PREFIX.as_bytes(), &bytes].concat());
        }

        #[test]
        fn different_bits_are_different_keys(one: [u8; 32], other: [u8; 32]) {
            prop_assert_eq!(one == other, of_bytes(&one) == of_bytes(&other));
        }
    }

    #[test]
    fn the_largest_number_fits() {
        assert_eq!(form_of(of_bytes(&[0xff; 32]).as_bytes()), Form::Whole);
        assert_eq!(&of_bytes(&[0; 32])[..47], format!("idk_{}", "0".repeat(43)));
    }
}
