//! CSV as RFC 4180 has it, with a header, but lines end with a line feed alone. Null is nothing, empty text is `""`.

use super::Writer;
use super::cells::Cells;
use crate::QueryError;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

pub(super) struct Csv {
    header: Option<Vec<u8>>,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let mut header = Vec::new();
        for (n, field) in schema.fields().iter().enumerate() {
            if n > 0 {
                header.push(b',');
            }
            escaped(field.name(), &mut header);
        }
        header.push(b'\n');
        Self { header: Some(header) }
    }
}

impl Writer for Csv {
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        out.extend(self.header.take().unwrap_or_default());
        let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            for (n, column) in columns.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                if let Some(text) = column.text(row)? {
                    escaped(&text, out);
                }
            }
            out.push(b'\n');
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        out.extend(self.header.take().unwrap_or_default());
        Ok(())
    }
}

fn escaped(text: &str, out: &mut Vec<u8>) {
    let plain = !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if plain {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}
