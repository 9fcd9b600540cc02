//! Canonical JSON, as RFC 8785 (JCS) has it, narrowed to what an entry may hold.
//!
//! Narrowed because JSON's numbers and nulls are where two implementations part ways: an entry holds
//! integers within ±(2⁵³−1), strings, booleans, arrays and objects, and leaves out what is absent.
//! RFC 8785 §3.2.3 sorts members by UTF-16 code units, §3.2.2.2 says which characters are escaped.

pub(crate) mod plain;
pub(crate) mod reader;
pub(crate) mod text;

use plain::Plain;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use std::io;

/// Largest integer that every JSON implementation reads exactly: 2⁵³−1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why something is not canonical.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// The bytes are not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// `null` where absent means absent.
    #[error("null is not allowed; leave the member out")]
    Null,
    /// A fraction, an exponent, or an integer beyond ±(2⁵³−1).
    #[error("number {0} is not an integer within ±(2^53-1)")]
    Number(String),
    /// Valid JSON, but other bytes than the canonical ones: order, spacing, escapes or doubled members.
    #[error("valid JSON, but not in canonical form")]
    Form,
}

/// The canonical bytes of a value.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

/// Reads canonical bytes; any other form of the same value is refused.
pub fn parse(bytes: &[u8]) -> Result<Value, NotCanonical> {
    let Plain(value) =
        serde_json::from_slice(bytes).map_err(|error| NotCanonical::Syntax(error.to_string()))?;
    if to_vec(&value)? != bytes {
        return Err(NotCanonical::Form);
    }
    Ok(value)
}

/// Whether serde writes `value` as exactly these bytes, with no literal that canonical JSON does not have. For a type whose
/// members are declared in canonical order, that is whether the bytes are its canonical ones; nothing is kept of what is
/// written, and no [`Value`] is made.
pub fn is_written_as(value: &impl Serialize, bytes: &[u8]) -> bool {
    let mut serializer = Serializer::with_formatter(Rest(bytes), Narrowed);
    value.serialize(&mut serializer).is_ok() && serializer.into_inner().0.is_empty()
}

/// What has to be written next.
struct Rest<'a>(&'a [u8]);

impl io::Write for Rest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what serde_json writes, but for literals that an entry does not hold.
struct Narrowed;

impl Formatter for Narrowed {
    fn write_null<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        Err(io::ErrorKind::InvalidData.into())
    }

    fn write_u64<W: ?Sized + io::Write>(&mut self, out: &mut W, number: u64) -> io::Result<()> {
        if number > INTEGER_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        CompactFormatter.write_u64(out, number)
    }

    fn write_i64<W: ?Sized + io::Write>(&mut self, out: &mut W, number: i64) -> io::Result<()> {
        if number.unsigned_abs() > INTEGER_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        CompactFormatter.write_i64(out, number)
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, _: &mut W, _: f64) -> io::Result<()> {
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    match value {
        Value::Null => return Err(NotCanonical::Null),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let fits = number.as_i64().is_some_and(|n| n.unsigned_abs() <= INTEGER_MAX);
            if !fits {
                return Err(NotCanonical::Number(number.to_string()));
            }
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (i, (name, item)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write(item, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-(INTEGER_MAX as i64)..=INTEGER_MAX as i64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_an_independent_implementation(value in value()) {
            let ours = to_vec(&value).unwrap();
            prop_assert_eq!(&ours, &serde_json_canonicalizer::to_vec(&value).unwrap());
            prop_assert_eq!(parse(&ours).unwrap(), value);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_value_is_written_as_its_bytes_and_as_no_others(value in value(), at: prop::sample::Index) {
            let mut bytes = serde_json::to_vec(&value).unwrap();
            prop_assert!(is_written_as(&value, &bytes));
            prop_assert!(!is_written_as(&value, &bytes[..bytes.len() - 1]));
            prop_assert!(!is_written_as(&value, &[&bytes[..], b" "].concat()));
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert!(!is_written_as(&value, &bytes));
        }
    }

    #[test]
    fn literals_that_canonical_json_does_not_have_are_never_written_right() {
        for bad in [
            "null",
            "[1,null]",
            "1.5",
            "[9007199254740992]",
            "{\"a\":-9007199254740992}",
            "18446744073709551615",
        ] {
            let value: Value = serde_json::from_str(bad).unwrap();
            assert!(!is_written_as(&value, bad.as_bytes()), "{bad}");
        }
        for good in ["\"null\"", "[0,-1,9007199254740991,-9007199254740991]", "{\"n\":true}"] {
            let value: Value = serde_json::from_str(good).unwrap();
            assert!(is_written_as(&value, good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn every_other_form_of_the_same_value_is_refused() {
        for bad in [
            r#"{"b":1,"a":2}"#,
            r#"{"a": 1}"#,
            r#"{"a":1,"a":1}"#,
            "{\"a\":\"\\u0041\"}",
            r#"{"a":"\/"}"#,
            " {}",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(NotCanonical::Form), "{bad}");
        }
        assert_eq!(parse(b"{\"a\":null}"), Err(NotCanonical::Null));
        for bad in ["1.0", "1e2", "-0", "9007199254740992", "-9007199254740992", "18446744073709551615"] {
            assert!(matches!(parse(bad.as_bytes()), Err(NotCanonical::Number(_))), "{bad}");
        }
        assert!(parse(b"{\"a\":9007199254740991}").is_ok());
    }
}
