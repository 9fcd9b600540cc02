//! Apache Parquet, a row group at a time.

use super::Writer;
use crate::{Kind, QueryError};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// A row group is written out at this size.
const ROW_GROUP_MAX_BYTES: usize = 8 << 20;

pub(super) struct Parquet {
    schema: SchemaRef,
    /// `None` once it has ended.
    writer: Option<ArrowWriter<Written>>,
    written: Written,
}

/// What was written and not taken yet.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Parquet {
    pub(super) fn new(schema: SchemaRef) -> Result<Self, QueryError> {
        let written = Written::default();
        let level = ZstdLevel::default();
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let writer =
            ArrowWriter::try_new(written.clone(), schema.clone(), Some(properties)).map_err(failed)?;
        Ok(Self { schema, writer: Some(writer), written })
    }

    fn take(&self, out: &mut Vec<u8>) {
        out.append(&mut self.written.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Writer for Parquet {
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        if let Some(writer) = &mut self.writer {
            let batch = batch.clone().with_schema(self.schema.clone());
            writer.write(&batch.map_err(|error| failed(error.into()))?).map_err(failed)?;
            if writer.in_progress_size() >= ROW_GROUP_MAX_BYTES {
                writer.flush().map_err(failed)?;
            }
        }
        self.take(out);
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(failed)?;
        }
        self.take(out);
        Ok(())
    }
}

fn failed(error: ParquetError) -> QueryError {
    let hint = "Parquet has no such type: cast it in the query, or choose another format";
    QueryError::new(Kind::Question, "the answer cannot be written as Parquet", hint).detail(error.to_string())
}
