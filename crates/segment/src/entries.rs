//! `entries.parquet`: one row for each entry, in the order of the ledger.
//!
//! Row `n` is leaf `first + n`. Pages of the exact bytes are small, so that one entry is found by reading one page;
//! a row group is as large as an engine likes to scan and as memory allows to hold while it is written.

mod reader;
mod writer;

pub use reader::EntriesReader;
pub use writer::EntriesWriter;

use crate::columns::{COLUMNS, Column, Kind, MONEY_PRECISION, MONEY_SCALE};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};
use std::sync::Arc;

/// Bytes of a [`Kind::Money`] value in the file: big-endian two's complement.
const MONEY_BYTES: i32 = 16;

/// What the file says its columns are.
fn schema() -> Result<TypePtr, ParquetError> {
    let fields = COLUMNS.iter().map(|column| field(column).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Type::group_type_builder("entry").with_fields(fields).build()?))
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let repetition = if column.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let primitive = Type::primitive_type_builder;
    match column.kind {
        Kind::Text | Kind::UniqueText | Kind::Id => primitive(column.name, Physical::BYTE_ARRAY)
            .with_logical_type(Some(LogicalType::String))
            .with_repetition(repetition)
            .build(),
        Kind::Int => primitive(column.name, Physical::INT64).with_repetition(repetition).build(),
        Kind::Short => primitive(column.name, Physical::INT32).with_repetition(repetition).build(),
        Kind::Flag => primitive(column.name, Physical::BOOLEAN).with_repetition(repetition).build(),
        Kind::Time => primitive(column.name, Physical::INT64)
            .with_logical_type(Some(LogicalType::timestamp(true, TimeUnit::MICROS)))
            .with_repetition(repetition)
            .build(),
        Kind::Money => primitive(column.name, Physical::FIXED_LEN_BYTE_ARRAY)
            .with_logical_type(Some(LogicalType::decimal(MONEY_SCALE as i32, MONEY_PRECISION as i32)))
            .with_length(MONEY_BYTES)
            .with_precision(MONEY_PRECISION as i32)
            .with_scale(MONEY_SCALE as i32)
            .with_repetition(repetition)
            .build(),
        // The three-level list of the Parquet format's LogicalTypes page.
        Kind::Texts => {
            let element = primitive("element", Physical::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String))
                .with_repetition(Repetition::REQUIRED)
                .build()?;
            let list = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![Arc::new(element)])
                .build()?;
            Type::group_type_builder(column.name)
                .with_logical_type(Some(LogicalType::List))
                .with_repetition(repetition)
                .with_fields(vec![Arc::new(list)])
                .build()
        }
    }
}
