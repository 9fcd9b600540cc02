//! What of an entry has a column of its own, in `entries.parquet` and in the SQL table `events`.
//!
//! One table, so that the file, its readers and the SQL engine cannot disagree. A column is what an entry says,
//! in a type that engines compute with; the column `entry` has the exact bytes, and only those are evidence.
//! Columns that name places in `payload.frames` come last.

use indelible_os::clock::Utc;
use indelible_record::entry::{Entry, Param};
use std::borrow::Cow;

/// Digits behind the point of a [`Kind::Money`] column.
pub const MONEY_SCALE: u32 = 18;
/// All digits of a [`Kind::Money`] column.
pub const MONEY_PRECISION: u32 = 38;

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// UTF-8 that hardly ever repeats: no dictionary is made of it.
    UniqueText,
    /// UTF-8, looked for by value and seldom repeated: the column has a bloom filter.
    Id,
    /// A 64-bit integer.
    Int,
    /// A 32-bit integer.
    Short,
    /// True or false.
    Flag,
    /// Microseconds since 1970-01-01 UTC.
    Time,
    /// A decimal with [`MONEY_SCALE`] digits behind the point.
    Money,
    /// A list of UTF-8 strings; never an empty one.
    Texts,
}

/// A value of a column in one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Absent.
    Null,
    /// Of [`Kind::Text`], [`Kind::UniqueText`] and [`Kind::Id`].
    Text(Cow<'a, str>),
    /// Of [`Kind::Int`], [`Kind::Short`] and [`Kind::Time`].
    Int(i64),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Money`]: the number times 10^[`MONEY_SCALE`].
    Money(i128),
    /// Of [`Kind::Texts`].
    Texts(&'a [String]),
}

/// Where a record's payload stands in `payload.frames`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first frame that holds it.
    pub frame: u32,
    /// Where in that frame it begins, in bytes of plain text.
    pub at: u32,
    /// Its length, in bytes of plain text. A record longer than a frame goes on in the frames that follow.
    pub len: u64,
}

/// One row: an entry, its exact bytes, and where its payload is.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// Its canonical bytes.
    pub bytes: &'a str,
    /// Its payload, if it has one here.
    pub payload: Option<Place>,
}

/// A column.
pub struct Column {
    /// Its name, in the file and in SQL.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether every row has a value.
    pub required: bool,
    /// What a row has in it.
    pub cell: for<'a> fn(&Row<'a>) -> Cell<'a>,
}

/// The name of the column with the exact bytes.
pub const ENTRY: &str = "entry";

/// The columns, in file order.
pub const COLUMNS: &[Column] = &[
    required("seq", Kind::Int, |row| Cell::Int(row.entry.seq as i64)),
    required("timestamp", Kind::Time, |row| time(Some(&row.entry.timestamp))),
    required("event_id", Kind::Id, |row| text(&row.entry.event_id)),
    required("event_type", Kind::Text, |row| text(&row.entry.event_type)),
    required("tenant_id", Kind::Text, |row| text(&row.entry.tenant_id)),
    optional("request_id", Kind::Id, |row| maybe(&row.entry.request_id)),
    optional("session_id", Kind::Id, |row| maybe(&row.entry.session_id)),
    optional("subject_ref", Kind::Id, |row| maybe(&row.entry.subject_ref)),
    optional("api_key_id", Kind::Text, |row| maybe(&row.entry.api_key_id)),
    optional("trace_id", Kind::Id, |row| maybe(&row.entry.trace_id)),
    optional("span_id", Kind::UniqueText, |row| maybe(&row.entry.span_id)),
    optional("parent_event_id", Kind::Id, |row| maybe(&row.entry.parent_event_id)),
    optional("actor_id", Kind::Text, |row| opt(row.entry.actor.as_ref().map(|actor| &*actor.id))),
    optional("actor_kind", Kind::Text, |row| opt(row.entry.actor.as_ref().map(|actor| &*actor.kind))),
    optional("action", Kind::Text, |row| maybe(&row.entry.action)),
    optional("resource_id", Kind::Text, |row| opt(row.entry.resource.as_ref().map(|of| &*of.id))),
    optional("resource_type", Kind::Text, |row| opt(row.entry.resource.as_ref().map(|of| &*of.kind))),
    optional("source_id", Kind::Text, |row| opt(row.entry.source.as_ref().map(|source| &*source.id))),
    optional("source_incarnation", Kind::Text, |row| {
        opt(row.entry.source.as_ref().map(|source| &*source.incarnation))
    }),
    optional("source_start_seq", Kind::Int, |row| {
        int(row.entry.source.as_ref().and_then(|source| source.start_seq))
    }),
    optional("source_seq", Kind::Int, |row| int(row.entry.source.as_ref().map(|source| source.seq))),
    optional("source_time", Kind::Time, |row| {
        time(row.entry.source.as_ref().and_then(|source| source.time.as_deref()))
    }),
    optional("app_version", Kind::Text, |row| maybe(&row.entry.app_version)),
    optional("environment", Kind::Text, |row| maybe(&row.entry.environment)),
    optional("route", Kind::Text, |row| maybe(&row.entry.route)),
    optional("region", Kind::Text, |row| maybe(&row.entry.region)),
    optional("operation", Kind::Text, |row| maybe(&row.entry.operation)),
    optional("provider", Kind::Text, |row| maybe(&row.entry.provider)),
    optional("model", Kind::Text, |row| maybe(&row.entry.model)),
    optional("model_returned", Kind::Text, |row| maybe(&row.entry.model_returned)),
    optional("model_checksum", Kind::Text, |row| maybe(&row.entry.model_checksum)),
    optional("system_fingerprint", Kind::Text, |row| maybe(&row.entry.system_fingerprint)),
    optional("params", Kind::Text, |row| params(row.entry)),
    optional("prompt_tokens", Kind::Int, |row| int(row.entry.prompt_tokens)),
    optional("completion_tokens", Kind::Int, |row| int(row.entry.completion_tokens)),
    optional("cached_tokens", Kind::Int, |row| int(row.entry.cached_tokens)),
    optional("reasoning_tokens", Kind::Int, |row| int(row.entry.reasoning_tokens)),
    optional("usage_source", Kind::Text, |row| maybe(&row.entry.usage_source)),
    optional("cost_usd", Kind::Money, |row| money(row.entry.cost_usd.as_deref())),
    optional("price_ref", Kind::Text, |row| maybe(&row.entry.price_ref)),
    optional("latency_ms", Kind::Int, |row| int(row.entry.latency_ms)),
    optional("ttft_ms", Kind::Int, |row| int(row.entry.ttft_ms)),
    optional("status", Kind::Text, |row| opt(row.entry.status.map(|status| status.as_str()))),
    optional("http_status", Kind::Short, |row| int(row.entry.http_status.map(u64::from))),
    optional("error_type", Kind::Text, |row| maybe(&row.entry.error_type)),
    optional("finish_reason", Kind::Text, |row| maybe(&row.entry.finish_reason)),
    optional("tools", Kind::Texts, |row| texts(&row.entry.tools)),
    optional("attempt", Kind::Short, |row| int(row.entry.attempt.map(u64::from))),
    optional("stream", Kind::Flag, |row| row.entry.stream.map_or(Cell::Null, Cell::Flag)),
    optional("input_bytes", Kind::Int, |row| int(row.entry.input.as_ref().map(|side| side.bytes))),
    optional("input_content_type", Kind::Text, |row| {
        opt(row.entry.input.as_ref().and_then(|side| side.content_type.as_deref()))
    }),
    optional("output_bytes", Kind::Int, |row| int(row.entry.output.as_ref().map(|side| side.bytes))),
    optional("output_content_type", Kind::Text, |row| {
        opt(row.entry.output.as_ref().and_then(|side| side.content_type.as_deref()))
    }),
    optional("output_partial", Kind::Flag, |row| {
        row.entry.output.as_ref().map_or(Cell::Null, |side| Cell::Flag(side.partial))
    }),
    optional("redaction_policy", Kind::Text, |row| {
        opt(row.entry.redaction.as_ref().map(|redaction| &*redaction.policy))
    }),
    optional("retention_class", Kind::Text, |row| maybe(&row.entry.retention_class)),
    optional("refs", Kind::Texts, |row| texts(&row.entry.refs)),
    optional("detail", Kind::Text, |row| detail(row.entry)),
    optional("payload_frame", Kind::Int, |row| int(row.payload.map(|place| place.frame.into()))),
    optional("payload_at", Kind::Int, |row| int(row.payload.map(|place| place.at.into()))),
    optional("payload_len", Kind::Int, |row| int(row.payload.map(|place| place.len))),
    required(ENTRY, Kind::UniqueText, |row| Cell::Text(Cow::Borrowed(row.bytes))),
];

/// The number of a column by its name.
pub fn index_of(name: &str) -> Option<usize> {
    COLUMNS.iter().position(|column| column.name == name)
}

const fn required(name: &'static str, kind: Kind, cell: for<'a> fn(&Row<'a>) -> Cell<'a>) -> Column {
    Column { name, kind, required: true, cell }
}

const fn optional(name: &'static str, kind: Kind, cell: for<'a> fn(&Row<'a>) -> Cell<'a>) -> Column {
    Column { name, kind, required: false, cell }
}

fn text(text: &str) -> Cell<'_> {
    Cell::Text(Cow::Borrowed(text))
}

fn opt(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::Null, |text| Cell::Text(Cow::Borrowed(text)))
}

fn maybe(text: &Option<String>) -> Cell<'_> {
    opt(text.as_deref())
}

/// Entries hold integers within ±(2⁵³−1).
fn int(number: Option<u64>) -> Cell<'static> {
    number.map_or(Cell::Null, |number| Cell::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn time(text: Option<&str>) -> Cell<'static> {
    text.and_then(|text| text.parse::<Utc>().ok()).map_or(Cell::Null, |at| Cell::Int(at.0))
}

fn texts(list: &[String]) -> Cell<'_> {
    if list.is_empty() { Cell::Null } else { Cell::Texts(list) }
}

fn params(entry: &Entry) -> Cell<'static> {
    if entry.params.is_empty() {
        return Cell::Null;
    }
    json::<std::collections::BTreeMap<String, Param>>(&entry.params)
}

fn detail(entry: &Entry) -> Cell<'static> {
    entry.detail.as_ref().map_or(Cell::Null, json)
}

fn json<T: serde::Serialize>(value: &T) -> Cell<'static> {
    serde_json::to_string(value).map_or(Cell::Null, |text| Cell::Text(Cow::Owned(text)))
}

/// A decimal string as a whole number of 10^-[`MONEY_SCALE`]. Digits beyond the scale are cut off: the entry has
/// them all. What is no decimal, or too large, has no value in the column.
fn money(text: Option<&str>) -> Cell<'static> {
    text.and_then(parse_money).map_or(Cell::Null, Cell::Money)
}

fn parse_money(text: &str) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = MONEY_SCALE as usize;
    let mut units: i128 = 0;
    let padding = std::iter::repeat_n(b'0', scale.saturating_sub(fraction.len()));
    for digit in whole.bytes().chain(fraction.bytes().take(scale)).chain(padding) {
        units = units.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let limit = 10i128.pow(MONEY_PRECISION);
    (units < limit).then_some(if negative { -units } else { units })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_exact_bytes_come_last() {
        let mut names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.last(), Some(&ENTRY));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COLUMNS.len());
    }

    #[test]
    fn money_is_exact_to_the_scale() {
        assert_eq!(parse_money("0.000000075"), Some(75_000_000_000));
        assert_eq!(parse_money("12"), Some(12 * 10i128.pow(18)));
        assert_eq!(parse_money("-1.5"), Some(-15 * 10i128.pow(17)));
        assert_eq!(parse_money("0.0000000000000000019"), Some(1));
        for bad in ["", ".5", "1e5", "NaN", "1.2.3", &"9".repeat(40)] {
            assert_eq!(parse_money(bad), None, "{bad}");
        }
    }
}
