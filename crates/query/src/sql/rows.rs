//! Entries as Arrow columns: the table `events`, and batches of entries that are in no segment yet.

use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Decimal128Builder, Int32Builder, Int64Builder, ListBuilder,
    RecordBatch, RecordBatchOptions, StringBuilder, StringViewBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use indelible_segment::columns::{COLUMNS, Cell, Kind, MONEY_PRECISION, MONEY_SCALE, Row};
use std::sync::{Arc, LazyLock};

/// Rows of a batch at most.
const BATCH_MAX_ROWS: usize = 8192;
/// Text of a batch at most, but for its last row: entries may have 60 KiB each.
const BATCH_MAX_BYTES: usize = 4 << 20;

/// The columns of `events`.
pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let field = |column: &indelible_segment::columns::Column| {
            Field::new(column.name, data_type(column.kind), !column.required)
        };
        Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
    });
    SCHEMA.clone()
}

/// A time zone that Arrow takes for UTC, as Parquet's readers name it.
pub(super) fn utc() -> Arc<str> {
    Arc::from("UTC")
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text | Kind::UniqueText | Kind::Id => DataType::Utf8View,
        Kind::Int => DataType::Int64,
        Kind::Short => DataType::Int32,
        Kind::Flag => DataType::Boolean,
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some(utc())),
        Kind::Money => DataType::Decimal128(MONEY_PRECISION as u8, MONEY_SCALE as i8),
        Kind::Texts => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
    }
}

/// Gathers rows into batches of the columns that are wanted.
pub(super) struct Batch {
    schema: SchemaRef,
    /// Number in [`COLUMNS`], and what becomes of it.
    columns: Vec<(usize, Builder)>,
    rows: usize,
    bytes: usize,
}

enum Builder {
    Text(StringViewBuilder),
    Int(Int64Builder),
    Short(Int32Builder),
    Flag(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Money(Decimal128Builder),
    Texts(ListBuilder<StringBuilder>),
}

impl Batch {
    /// Of the columns with these numbers; `None` for all.
    pub(super) fn new(projection: Option<&[usize]>) -> Result<Self, ArrowError> {
        let numbers: Vec<usize> = projection.map_or_else(|| (0..COLUMNS.len()).collect(), <[usize]>::to_vec);
        let schema = Arc::new(schema().project(&numbers)?);
        let columns = numbers.into_iter().map(|number| (number, Builder::of(COLUMNS[number].kind))).collect();
        Ok(Self { schema, columns, rows: 0, bytes: 0 })
    }

    /// The columns.
    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &Row<'_>) {
        for (number, builder) in &mut self.columns {
            self.bytes += builder.append((COLUMNS[*number].cell)(row));
        }
        self.rows += 1;
    }

    /// Whether it is time to take what is there.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= BATCH_MAX_ROWS || self.bytes >= BATCH_MAX_BYTES
    }

    /// The rows so far, if there are any; the next batch begins.
    pub(super) fn take(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        (rows > 0).then(|| {
            let arrays: Vec<ArrayRef> =
                self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
        })
    }
}

impl Builder {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::UniqueText | Kind::Id => Self::Text(StringViewBuilder::new()),
            Kind::Int => Self::Int(Int64Builder::new()),
            Kind::Short => Self::Short(Int32Builder::new()),
            Kind::Flag => Self::Flag(BooleanBuilder::new()),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone(utc())),
            Kind::Money => Self::Money(Decimal128Builder::new().with_data_type(data_type(Kind::Money))),
            Kind::Texts => Self::Texts(ListBuilder::new(StringBuilder::new())),
        }
    }

    /// Adds a value, and says how much text it brought. A cell of another kind than its column has does not occur:
    /// the table of columns says both.
    fn append(&mut self, cell: Cell<'_>) -> usize {
        match (self, cell) {
            (Self::Text(builder), Cell::Text(text)) => {
                builder.append_value(&text);
                return text.len();
            }
            (Self::Int(builder), Cell::Int(number)) => builder.append_value(number),
            (Self::Short(builder), Cell::Int(number)) => builder.append_option(i32::try_from(number).ok()),
            (Self::Time(builder), Cell::Int(at)) => builder.append_value(at),
            (Self::Flag(builder), Cell::Flag(flag)) => builder.append_value(flag),
            (Self::Money(builder), Cell::Money(units)) => builder.append_value(units),
            (Self::Texts(builder), Cell::Texts(texts)) => {
                texts.iter().for_each(|text| builder.values().append_value(text));
                builder.append(true);
                return texts.iter().map(String::len).sum();
            }
            (builder, _) => builder.append_null(),
        }
        0
    }

    fn append_null(&mut self) {
        match self {
            Self::Text(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Short(builder) => builder.append_null(),
            Self::Flag(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Money(builder) => builder.append_null(),
            Self::Texts(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => ArrayBuilder::finish(builder),
            Self::Int(builder) => ArrayBuilder::finish(builder),
            Self::Short(builder) => ArrayBuilder::finish(builder),
            Self::Flag(builder) => ArrayBuilder::finish(builder),
            Self::Time(builder) => ArrayBuilder::finish(builder),
            Self::Money(builder) => ArrayBuilder::finish(builder),
            Self::Texts(builder) => ArrayBuilder::finish(builder),
        }
    }
}
