//! Writing answers: batches of rows in, bytes of a format out.
//!
//! Nothing is held but what the format needs: a table looks at its first rows to set its columns, Parquet gathers a
//! row group. A value that JSON's readers would round (an integer beyond 2⁵³, a decimal) is written as a string.

mod cells;
mod csv;
mod json;
mod parquet;
mod table;

use crate::{Format, QueryError};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use std::collections::HashSet;
use std::sync::Arc;

/// Writes one answer.
pub(crate) trait Writer: Send {
    /// Adds rows; what can be written by now is appended to `out`.
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError>;
    /// Ends the answer.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError>;
}

/// A writer for rows of these columns. `width` is the terminal's, for a table.
pub(crate) fn writer(
    format: Format,
    schema: &SchemaRef,
    width: Option<usize>,
) -> Result<Box<dyn Writer>, QueryError> {
    let schema = with_unique_names(schema);
    Ok(match format {
        Format::Table => Box::new(table::Table::new(&schema, width)),
        Format::Json => Box::new(json::Json::whole(&schema)),
        Format::Jsonl => Box::new(json::Json::lines(&schema)),
        Format::Csv => Box::new(csv::Csv::new(&schema)),
        Format::Parquet => Box::new(parquet::Parquet::new(schema)?),
    })
}

/// `SELECT a.x, b.x` has two columns `x`: the second is written as `x_2`.
fn with_unique_names(schema: &SchemaRef) -> SchemaRef {
    let mut taken = HashSet::new();
    let fields = schema.fields().iter().map(|field| {
        let mut name = field.name().clone();
        let mut n = 2;
        while !taken.insert(name.clone()) {
            name = format!("{}_{n}", field.name());
            n += 1;
        }
        Field::clone(field).with_name(name)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
