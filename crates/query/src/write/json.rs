//! JSON: one object with all rows, or one object a line.

use super::Writer;
use super::cells::{Cells, quoted};
use crate::QueryError;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

pub(super) struct Json {
    /// `"name":` of each column.
    names: Vec<Vec<u8>>,
    /// One a line, and nothing around them.
    lines: bool,
    begun: bool,
}

impl Json {
    pub(super) fn whole(schema: &SchemaRef) -> Self {
        Self::new(schema, false)
    }

    pub(super) fn lines(schema: &SchemaRef) -> Self {
        Self::new(schema, true)
    }

    fn new(schema: &SchemaRef, lines: bool) -> Self {
        let names = schema.fields().iter().map(|field| {
            let mut name = Vec::new();
            quoted(field.name(), &mut name);
            name.push(b':');
            name
        });
        Self { names: names.collect(), lines, begun: false }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.lines && !self.begun {
            out.extend_from_slice(b"{\"rows\":[");
        }
    }
}

impl Writer for Json {
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            self.begin(out);
            if !self.lines {
                out.extend_from_slice(if self.begun { b",\n" } else { b"\n" });
            }
            self.begun = true;
            out.push(b'{');
            for (n, (name, column)) in self.names.iter().zip(&columns).enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name);
                column.json(row, out)?;
            }
            out.push(b'}');
            if self.lines {
                out.push(b'\n');
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.begin(out);
        if !self.lines {
            out.extend_from_slice(if self.begun { b"\n]}\n" } else { b"]}\n" });
        }
        Ok(())
    }
}
