//! What is asked, in which format the answer shall come, and how much it may cost.

use indelible_os::clock::Utc;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest SQL text.
pub const SQL_MAX_BYTES: usize = 32 << 10;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: columns in line, no wider than the terminal.
    Table,
    /// One object: `{"rows":[{…},…]}`.
    Json,
    /// One object a line.
    Jsonl,
    /// RFC 4180, with a header line.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Table, Self::Json, Self::Jsonl, Self::Csv, Self::Parquet];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Jsonl => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The first format that an `Accept` header names (RFC 9110 §12.5.1; weights are not looked at, only a weight of
    /// zero). `None`: it names none that there is.
    pub fn accepted(header: &str) -> Option<Self> {
        header.split(',').find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            let format = match media.as_str() {
                "*/*" | "application/*" => Some(Self::Json),
                "text/*" => Some(Self::Table),
                "application/jsonl" => Some(Self::Jsonl),
                media => {
                    Self::ALL.into_iter().find(|format| format.media_type().split(';').next() == Some(media))
                }
            };
            format.filter(|_| !refused)
        })
    }
}

/// A value for a parameter: `$name` in the SQL. It is bound as a value of its type and never becomes SQL. `None` is
/// SQL's NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// Text.
    Text(Option<String>),
    /// An integer.
    Int(Option<i64>),
    /// A moment, in microseconds since 1970-01-01 UTC.
    Time(Option<i64>),
    /// True or false.
    Flag(Option<bool>),
}

impl Parameter {
    /// As JSON: text, an integer or a flag as they are; a moment as `{"time": "RFC 3339"}`; no value as null.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Int(number) => json!(number),
            Self::Flag(flag) => json!(flag),
            Self::Time(None) => Value::Null,
            Self::Time(Some(at)) => json!({ "time": Utc(*at).to_string() }),
        }
    }

    /// From JSON; null is text without a value. `None`: it is none of these.
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Text(None)),
            Value::Bool(flag) => Some(Self::Flag(Some(*flag))),
            Value::Number(number) => number.as_i64().map(|number| Self::Int(Some(number))),
            Value::String(text) => Some(Self::Text(Some(text.clone()))),
            Value::Object(members) if members.len() == 1 => {
                members.get("time")?.as_str()?.parse::<Utc>().ok().map(|at| Self::Time(Some(at.0)))
            }
            _ => None,
        }
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    /// One SQL query.
    pub sql: String,
    /// Values for its parameters.
    pub parameters: BTreeMap<String, Parameter>,
    /// How the answer is written.
    pub format: Format,
    /// Most rows that are wanted: the answer stops there, and says that it did.
    pub rows: Option<u64>,
    /// How long it may take, if less than the engine allows.
    pub time: Option<Duration>,
    /// Columns of the terminal, for [`Format::Table`].
    pub width: Option<usize>,
}

impl Question {
    /// A question without parameters.
    pub fn new(sql: impl Into<String>, format: Format) -> Self {
        Self { sql: sql.into(), parameters: BTreeMap::new(), format, rows: None, time: None, width: None }
    }
}

/// What answers may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory of all running queries together, in bytes.
    pub memory_bytes: usize,
    /// Time for one.
    pub time: Duration,
    /// Rows of one answer.
    pub rows: u64,
    /// Answered at once; others wait.
    pub at_once: usize,
    /// Threads that compute.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            time: Duration::from_secs(30),
            rows: 10_000_000,
            at_once: 2,
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_the_format() {
        assert_eq!(Format::accepted("text/csv"), Some(Format::Csv));
        assert_eq!(Format::accepted("text/html, application/x-ndjson;q=0.9"), Some(Format::Jsonl));
        assert_eq!(Format::accepted("application/json;q=0, text/plain"), Some(Format::Table));
        assert_eq!(Format::accepted("*/*"), Some(Format::Json));
        assert_eq!(Format::accepted("Application/Vnd.Apache.Parquet"), Some(Format::Parquet));
        assert_eq!(Format::accepted("image/png"), None);
    }
}
