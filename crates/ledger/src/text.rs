//! The few text encodings that every format here shares: base64, decimal numbers, key names.
//!
//! Each is strict, because a value with two spellings gives two different signed texts that mean the same:
//! one spelling is accepted and it is the one that we write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Standard base64 with padding (RFC 4648 §4).
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes [`to_base64`]; `None` for any other spelling, unused bits that are not zero included.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Parses an ASCII decimal without sign or leading zeros (`0` itself is fine); `None` if it is not one.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    // `u64::from_str` takes a leading `+`, and zeros.
    let canonical = text == "0" || !text.starts_with('0');
    if canonical && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Whether `name` can stand on a signature line: not empty, no Unicode space, no `+`, no ASCII control
/// character (C2SP signed-note, "Format").
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(from_base64("AA=="), Some(vec![0]));
        for other in ["AA", "AA=", "AB==", "AA==\n", " AA==", "AA==AA==", "A-==", "AA==="] {
            assert_eq!(from_base64(other), None, "{other:?}");
        }
    }

    #[test]
    fn decimal_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for other in ["", "00", "01", "+1", "-1", "1 ", "18446744073709551616", "١"] {
            assert_eq!(decimal(other), None, "{other:?}");
        }
    }
}
