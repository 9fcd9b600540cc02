//! JSON values in which every name is a name.
//!
//! serde_json keeps one for itself, `$serde_json::private::RawValue`: an object that begins with it is read as the value that a text
//! holds. What others write, and what other programs read, knows nothing of that.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A value.
pub(super) struct Plain(pub(super) Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

/// An object that may be absent, for fields of a struct.
pub(crate) fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Map<String, Value>>, D::Error> {
    match Option::<Plain>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Plain(Value::Object(members))) => Ok(Some(members)),
        Some(_) => Err(D::Error::custom("not an object")),
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number of JSON"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Plain(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Plain(item))) = object.next_entry::<String, Plain>()? {
            members.insert(name, item);
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::Plain;
    use serde_json::Value;

    #[test]
    fn a_value_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "-9223372036854775808",
            "1.5",
            "1e3",
            "\"a\\u00fc\"",
            "[]",
            "[1,[null]]",
            "{}",
            "{\"a\":{\"b\":[\"c\",{}]},\"a\":1,\"\":0}",
            "[1,]",
            "{\"a\"}",
            "",
            "1 2",
            "\"",
            "1e999",
        ] {
            let plain = serde_json::from_str::<Plain>(text).map(|plain| plain.0).ok();
            assert_eq!(plain, serde_json::from_str::<Value>(text).ok(), "{text}");
        }
    }

    #[test]
    fn no_name_is_another_thing_than_a_name() {
        for text in [
            "{\"$serde_json::private::RawValue\":\"[1]\"}",
            "{\"$serde_json::private::RawValue\":{\"a\":1}}",
            "[{\"$serde_json::private::Number\":\"1\"}]",
        ] {
            let Plain(value) = serde_json::from_str(text).expect("JSON");
            assert_eq!(serde_json::to_string(&value).expect("written"), text);
        }
    }
}
