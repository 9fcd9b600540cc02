//! Writing `entries.parquet`, front to back, in memory that a row group bounds.

use super::{MONEY_BYTES, schema};
use crate::columns::{COLUMNS, Cell, ENTRY, Kind, Row};
use bytes::{Bytes, BytesMut};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::ColumnPath;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

const ROW_GROUP_MAX_ROWS: usize = 1 << 16;
/// Bytes of entries in a row group: with its columns, about three times this is in memory.
const ROW_GROUP_MAX_BYTES: usize = 48 << 20;
const PAGE_MAX_ROWS: usize = 8192;
/// What is read and unpacked to get at one entry.
const ENTRY_PAGE_MAX_BYTES: usize = 128 << 10;
/// Rows between two looks at a page's size.
const WRITE_BATCH_ROWS: usize = 64;
const ZSTD_LEVEL: i32 = 6;
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Writes rows into `W`.
pub struct EntriesWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Chunk>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> EntriesWriter<W> {
    /// Begins a file that will have `rows` rows. `about` goes into the file's footer, for people and tools.
    pub fn new(out: W, rows: u64, about: &[(&str, String)]) -> Result<Self, ParquetError> {
        let level = ZstdLevel::try_new(ZSTD_LEVEL)?;
        let about = about.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("indelible ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_data_page_row_count_limit(PAGE_MAX_ROWS)
            .set_write_batch_size(WRITE_BATCH_ROWS)
            .set_key_value_metadata(Some(about.collect()));
        for column in COLUMNS {
            let path = ColumnPath::new(vec![column.name.to_owned()]);
            match column.kind {
                Kind::Id => {
                    properties = properties
                        .set_column_dictionary_enabled(path.clone(), false)
                        .set_column_bloom_filter_enabled(path.clone(), true)
                        .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                        .set_column_bloom_filter_max_ndv(path, rows.clamp(1, ROW_GROUP_MAX_ROWS as u64));
                }
                Kind::UniqueText => {
                    properties = properties
                        .set_column_dictionary_enabled(path.clone(), false)
                        .set_column_statistics_enabled(path, EnabledStatistics::None);
                }
                _ => {}
            }
        }
        let properties = properties
            .set_column_data_page_size_limit(ColumnPath::new(vec![ENTRY.to_owned()]), ENTRY_PAGE_MAX_BYTES)
            .build();
        let file = SerializedFileWriter::new(out, schema()?, Arc::new(properties))?;
        let columns = COLUMNS.iter().map(|column| Chunk::new(column.kind)).collect();
        Ok(Self { file, columns, rows: 0, bytes: 0 })
    }

    /// Adds the next entry.
    pub fn push(&mut self, row: &Row<'_>) -> Result<(), ParquetError> {
        for (chunk, column) in self.columns.iter_mut().zip(COLUMNS) {
            chunk.push((column.cell)(row));
        }
        self.rows += 1;
        self.bytes += row.bytes.len();
        if self.rows >= ROW_GROUP_MAX_ROWS || self.bytes >= ROW_GROUP_MAX_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Ends the file and hands back what it was written into.
    pub fn finish(mut self) -> Result<W, ParquetError> {
        self.flush()?;
        self.file.into_inner()
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for (chunk, column) in self.columns.iter_mut().zip(COLUMNS) {
            let Some(mut writer) = group.next_column()? else {
                return Err(ParquetError::General("fewer columns than the schema has".to_owned()));
            };
            chunk.write(&mut writer, column.required)?;
            writer.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

/// The values of one column in one row group, and which rows have one.
struct Chunk {
    kind: Kind,
    values: Values,
    /// Definition levels: 0 for an absent value.
    defined: Vec<i16>,
    /// Repetition levels, lists only: 0 for the first element of a row.
    repeated: Vec<i16>,
}

enum Values {
    /// Spans of one buffer.
    Text(BytesMut, Vec<Range<usize>>),
    Int(Vec<i64>),
    Short(Vec<i32>),
    Flag(Vec<bool>),
    Money(Vec<FixedLenByteArray>),
}

impl Chunk {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text | Kind::UniqueText | Kind::Id | Kind::Texts => {
                Values::Text(BytesMut::new(), Vec::new())
            }
            Kind::Int | Kind::Time => Values::Int(Vec::new()),
            Kind::Short => Values::Short(Vec::new()),
            Kind::Flag => Values::Flag(Vec::new()),
            Kind::Money => Values::Money(Vec::new()),
        };
        Self { kind, values, defined: Vec::new(), repeated: Vec::new() }
    }

    fn push(&mut self, cell: Cell<'_>) {
        let list = self.kind == Kind::Texts;
        match (&mut self.values, cell) {
            (Values::Text(buffer, spans), Cell::Text(text)) => push_text(buffer, spans, &text),
            (Values::Text(buffer, spans), Cell::Texts(texts)) => {
                for (n, text) in texts.iter().enumerate() {
                    push_text(buffer, spans, text);
                    self.defined.push(2);
                    self.repeated.push(i16::from(n > 0));
                }
                return;
            }
            (Values::Int(values), Cell::Int(value)) => values.push(value),
            (Values::Short(values), Cell::Int(value)) => {
                values.push(i32::try_from(value).unwrap_or(i32::MAX))
            }
            (Values::Flag(values), Cell::Flag(value)) => values.push(value),
            (Values::Money(values), Cell::Money(units)) => {
                debug_assert_eq!(size_of_val(&units), MONEY_BYTES as usize);
                values.push(FixedLenByteArray::from(units.to_be_bytes().to_vec()));
            }
            // Absent, or of another type than its column, which `columns` does not do.
            (_, cell) => {
                debug_assert_eq!(cell, Cell::Null);
                self.defined.push(0);
                if list {
                    self.repeated.push(0);
                }
                return;
            }
        }
        self.defined.push(1);
    }

    fn write(&mut self, out: &mut SerializedColumnWriter<'_>, required: bool) -> Result<(), ParquetError> {
        let defined = (!required).then_some(self.defined.as_slice());
        let repeated = (self.kind == Kind::Texts).then_some(self.repeated.as_slice());
        match &mut self.values {
            Values::Text(buffer, spans) => {
                let whole: Bytes = buffer.split().freeze();
                let texts: Vec<ByteArray> =
                    spans.drain(..).map(|span| ByteArray::from(whole.slice(span))).collect();
                out.typed::<ByteArrayType>().write_batch(&texts, defined, repeated)?;
            }
            Values::Int(values) => {
                out.typed::<Int64Type>().write_batch(values, defined, None)?;
                values.clear();
            }
            Values::Short(values) => {
                out.typed::<Int32Type>().write_batch(values, defined, None)?;
                values.clear();
            }
            Values::Flag(values) => {
                out.typed::<BoolType>().write_batch(values, defined, None)?;
                values.clear();
            }
            Values::Money(values) => {
                out.typed::<FixedLenByteArrayType>().write_batch(values, defined, None)?;
                values.clear();
            }
        }
        self.defined.clear();
        self.repeated.clear();
        Ok(())
    }
}

fn push_text(buffer: &mut BytesMut, spans: &mut Vec<Range<usize>>, text: &str) {
    let start = buffer.len();
    buffer.extend_from_slice(text.as_bytes());
    spans.push(start..buffer.len());
}
