//! One column of a batch, cell by cell, as text or as JSON.

use crate::QueryError;
use crate::error::Kind;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Largest integer that every JSON reader keeps exactly (RFC 8259 §6).
const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;

const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.6f"))
    .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.6f%:z"));

/// A column of a batch.
pub(super) struct Cells<'a> {
    array: &'a ArrayRef,
    shape: Shape<'a>,
}

enum Shape<'a> {
    Text,
    Int,
    Unsigned,
    Decimal(ArrayFormatter<'a>),
    Float(ArrayFormatter<'a>),
    /// Written bare: true, false, and numbers that fit.
    Bare(ArrayFormatter<'a>),
    List(Box<Cells<'a>>),
    Struct(Vec<(String, Cells<'a>)>),
    /// Anything else, as Arrow shows it.
    Shown(ArrayFormatter<'a>),
}

/// Whether values of a type are numbers, which stand to the right in a table.
pub(super) fn is_number(of: &DataType) -> bool {
    of.is_numeric()
}

impl<'a> Cells<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Result<Self, QueryError> {
        Self::try_of(array).map_err(failed)
    }

    fn try_of(array: &'a ArrayRef) -> Result<Self, ArrowError> {
        let shown = || ArrayFormatter::try_new(array, &FORMAT);
        let shape = match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Shape::Text,
            DataType::Int64 => Shape::Int,
            DataType::UInt64 => Shape::Unsigned,
            of if of.is_decimal() => Shape::Decimal(shown()?),
            of if of.is_floating() => Shape::Float(shown()?),
            DataType::Boolean => Shape::Bare(shown()?),
            of if of.is_integer() => Shape::Bare(shown()?),
            DataType::List(_) => Shape::List(Box::new(Self::try_of(array.as_list::<i32>().values())?)),
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let columns =
                    columns.map(|(field, column)| Ok((field.name().clone(), Self::try_of(column)?)));
                Shape::Struct(columns.collect::<Result<_, ArrowError>>()?)
            }
            _ => Shape::Shown(shown()?),
        };
        Ok(Self { array, shape })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row) || self.array.data_type() == &DataType::Null
    }

    /// The cell as text; `None` for null. Lists and structures are JSON.
    pub(super) fn text(&self, row: usize) -> Result<Option<Cow<'a, str>>, QueryError> {
        if self.is_null(row) {
            return Ok(None);
        }
        let text = match &self.shape {
            Shape::Text => return Ok(Some(Cow::Borrowed(self.str(row)))),
            Shape::Int => self.array.as_primitive::<Int64Type>().value(row).to_string(),
            Shape::Unsigned => self.array.as_primitive::<UInt64Type>().value(row).to_string(),
            Shape::Decimal(formatter) => without_trailing_zeros(show(formatter, row)?),
            Shape::Float(formatter) | Shape::Bare(formatter) => show(formatter, row)?,
            Shape::Shown(formatter) => with_z(show(formatter, row)?),
            Shape::List(_) | Shape::Struct(_) => {
                let mut out = Vec::new();
                self.json(row, &mut out)?;
                String::from_utf8_lossy(&out).into_owned()
            }
        };
        Ok(Some(Cow::Owned(text)))
    }

    /// The cell as JSON.
    pub(super) fn json(&self, row: usize, out: &mut Vec<u8>) -> Result<(), QueryError> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.shape {
            Shape::Text => quoted(self.str(row), out),
            Shape::Int => {
                let number = self.array.as_primitive::<Int64Type>().value(row);
                integer(&number.to_string(), number.unsigned_abs(), out);
            }
            Shape::Unsigned => {
                let number = self.array.as_primitive::<UInt64Type>().value(row);
                integer(&number.to_string(), number, out);
            }
            Shape::Bare(formatter) => out.extend_from_slice(show(formatter, row)?.as_bytes()),
            Shape::Float(formatter) => {
                let text = show(formatter, row)?;
                // What is no number of JSON (infinite, not a number) is its name.
                match serde_json::from_str::<serde_json::Number>(&text) {
                    Ok(_) => out.extend_from_slice(text.as_bytes()),
                    Err(_) => quoted(&text, out),
                }
            }
            Shape::Decimal(_) | Shape::Shown(_) => quoted(&self.text(row)?.unwrap_or_default(), out),
            Shape::List(values) => {
                let offsets = self.array.as_list::<i32>().value_offsets();
                // Offsets of a list are never negative.
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                out.push(b'[');
                for item in start..end {
                    if item > start {
                        out.push(b',');
                    }
                    values.json(item, out)?;
                }
                out.push(b']');
            }
            Shape::Struct(columns) => {
                out.push(b'{');
                for (n, (name, column)) in columns.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    quoted(name, out);
                    out.push(b':');
                    column.json(row, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }

    fn str(&self, row: usize) -> &'a str {
        match self.array.data_type() {
            DataType::Utf8View => self.array.as_string_view().value(row),
            DataType::LargeUtf8 => self.array.as_string::<i64>().value(row),
            _ => self.array.as_string::<i32>().value(row),
        }
    }
}

/// A string of JSON.
pub(super) fn quoted(text: &str, out: &mut Vec<u8>) {
    // Writing a string to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn integer(text: &str, size: u64, out: &mut Vec<u8>) {
    if size <= JSON_INTEGER_MAX {
        out.extend_from_slice(text.as_bytes());
    } else {
        quoted(text, out);
    }
}

fn show(formatter: &ArrayFormatter<'_>, row: usize) -> Result<String, QueryError> {
    let mut text = String::new();
    // The error of a formatter says no more than that it failed.
    write!(text, "{}", formatter.value(row)).map_err(|_| {
        QueryError::new(Kind::Engine, "a value cannot be shown", "cast it to text in the query")
    })?;
    Ok(text)
}

fn without_trailing_zeros(mut text: String) -> String {
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text
}

/// UTC is written as entries write it.
fn with_z(mut text: String) -> String {
    if text.ends_with("+00:00") {
        text.truncate(text.len() - 6);
        text.push('Z');
    }
    text
}

fn failed(error: ArrowError) -> QueryError {
    QueryError::new(Kind::Engine, "a column cannot be written", "cast it to text in the query")
        .detail(error.to_string())
}
