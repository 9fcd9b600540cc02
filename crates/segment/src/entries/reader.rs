//! Reading `entries.parquet` again: one row by its number, or the exact bytes of all of them in order.

use crate::ReadAt;
use crate::columns::{COLUMNS, ENTRY, Kind, Place, index_of};
use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use std::io;
use std::sync::Arc;

/// Rows decoded at once when all are read.
const BATCH_ROWS: usize = 512;
/// What is fetched at once where the library reads on from a place: the headers of pages.
const READ_ON_BYTES: usize = 64 << 10;

/// An open `entries.parquet`: its footer and page index are in memory, nothing else.
pub struct EntriesReader {
    file: SerializedFileReader<Chunks>,
    /// First row of each row group, and behind the last one the number of rows.
    starts: Vec<u64>,
}

impl EntriesReader {
    /// Reads the footer. Nothing of the rest is believed before it is read.
    pub fn open(file: Arc<dyn ReadAt>) -> Result<Self, ParquetError> {
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let file = SerializedFileReader::new_with_options(Chunks(file), options)?;
        let found = file.metadata().file_metadata().schema_descr();
        let leaves: Vec<&str> = found.columns().iter().map(|leaf| leaf.path().parts()[0].as_str()).collect();
        if !leaves.iter().eq(COLUMNS.iter().map(|column| &column.name)) {
            return Err(ParquetError::General("other columns than those of a segment".to_owned()));
        }
        let mut starts = vec![0];
        for group in file.metadata().row_groups() {
            starts.push(starts.last().unwrap_or(&0) + u64::try_from(group.num_rows()).unwrap_or(0));
        }
        Ok(Self { file, starts })
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The exact bytes of the entry in row `row`.
    pub fn entry(&self, row: u64) -> Result<Bytes, ParquetError> {
        let (group, within) = self.group_of(row)?;
        let mut column = text_column(&*group, column(ENTRY))?;
        column.skip_records(within)?;
        let mut values: Vec<ByteArray> = Vec::with_capacity(1);
        column.read_records(1, None, None, &mut values)?;
        values.pop().map(|value| Bytes::copy_from_slice(value.data())).ok_or_else(|| missing(row))
    }

    /// Where the payload of the entry in row `row` stands, if it has one.
    pub fn place(&self, row: u64) -> Result<Option<Place>, ParquetError> {
        let number = |name: &str| -> Result<Option<i64>, ParquetError> {
            let (group, within) = self.group_of(row)?;
            let mut column = int_column(&*group, column(name))?;
            column.skip_records(within)?;
            let (mut values, mut defined) = (Vec::new(), Vec::new());
            column.read_records(1, Some(&mut defined), None, &mut values)?;
            Ok(values.pop())
        };
        let Some(frame) = number("payload_frame")? else { return Ok(None) };
        let (Some(at), Some(len)) = (number("payload_at")?, number("payload_len")?) else { return Ok(None) };
        place_of(frame, at, len).map(Some).ok_or_else(|| missing(row))
    }

    /// Hands the rows from `from` on to `visit`, in order, until it answers `false`.
    pub fn visit_from<E: From<ParquetError>>(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let first_group = self.starts.iter().rposition(|start| *start <= from).unwrap_or(0);
        for number in first_group..self.file.num_row_groups() {
            let group = self.file.get_row_group(number)?;
            let mut column = text_column(&*group, column(ENTRY))?;
            let mut row = self.starts[number];
            if from > row {
                column.skip_records(usize::try_from(from - row).unwrap_or(usize::MAX))?;
                row = from;
            }
            let mut values: Vec<ByteArray> = Vec::with_capacity(BATCH_ROWS);
            loop {
                values.clear();
                let (read, _, _) = column.read_records(BATCH_ROWS, None, None, &mut values)?;
                if read == 0 {
                    break;
                }
                for value in &values {
                    if !visit(row, value.data())? {
                        return Ok(());
                    }
                    row += 1;
                }
            }
            if row != self.starts[number + 1] {
                return Err(missing(row).into());
            }
        }
        Ok(())
    }

    /// The values of a text column in a row group, absent ones as `None`. For filters that skip most rows.
    pub fn texts(&self, group: usize, name: &str) -> Result<Vec<Option<ByteArray>>, ParquetError> {
        let number = column(name);
        let rows = usize::try_from(self.starts[group + 1] - self.starts[group]).unwrap_or(0);
        let reader = self.file.get_row_group(group)?;
        let mut column = text_column(&*reader, number)?;
        let mut values: Vec<ByteArray> = Vec::with_capacity(rows);
        if COLUMNS[number].required {
            column.read_records(rows, None, None, &mut values)?;
            return Ok(values.into_iter().map(Some).collect());
        }
        let mut defined = Vec::with_capacity(rows);
        column.read_records(rows, Some(&mut defined), None, &mut values)?;
        let mut values = values.into_iter();
        Ok(defined.into_iter().map(|level| if level == 1 { values.next() } else { None }).collect())
    }

    /// Where the payloads of a row group's entries stand, for who goes through all of them.
    pub fn places(&self, group: usize) -> Result<Vec<Option<Place>>, ParquetError> {
        let rows = usize::try_from(self.starts[group + 1] - self.starts[group]).unwrap_or(0);
        let numbers = |name: &str| -> Result<Vec<Option<i64>>, ParquetError> {
            let reader = self.file.get_row_group(group)?;
            let mut column = int_column(&*reader, column(name))?;
            let (mut values, mut defined) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
            column.read_records(rows, Some(&mut defined), None, &mut values)?;
            let mut values = values.into_iter();
            Ok(defined.into_iter().map(|level| if level == 1 { values.next() } else { None }).collect())
        };
        let [frames, starts, lens] =
            [numbers("payload_frame")?, numbers("payload_at")?, numbers("payload_len")?];
        let mut places = Vec::with_capacity(rows);
        for (row, ((frame, at), len)) in (self.starts[group]..).zip(frames.into_iter().zip(starts).zip(lens))
        {
            let place = match (frame, at, len) {
                (Some(frame), Some(at), Some(len)) => {
                    Some(place_of(frame, at, len).ok_or_else(|| missing(row))?)
                }
                _ => None,
            };
            places.push(place);
        }
        Ok(places)
    }

    /// The rows of each row group.
    pub fn groups(&self) -> impl DoubleEndedIterator<Item = (usize, std::ops::Range<u64>)> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1]).enumerate().collect::<Vec<_>>().into_iter()
    }

    fn group_of(&self, row: u64) -> Result<(Box<dyn RowGroupReader + '_>, usize), ParquetError> {
        if row >= self.rows() {
            return Err(missing(row));
        }
        let number = self.starts.partition_point(|start| *start <= row) - 1;
        let within = usize::try_from(row - self.starts[number]).unwrap_or(usize::MAX);
        Ok((self.file.get_row_group(number)?, within))
    }
}

fn column(name: &str) -> usize {
    index_of(name).unwrap_or(COLUMNS.len())
}

fn text_column(
    group: &dyn RowGroupReader,
    number: usize,
) -> Result<ColumnReaderImpl<ByteArrayType>, ParquetError> {
    debug_assert!(matches!(COLUMNS[number].kind, Kind::Text | Kind::UniqueText | Kind::Id));
    match group.get_column_reader(number)? {
        ColumnReader::ByteArrayColumnReader(reader) => Ok(reader),
        _ => Err(ParquetError::General(format!("{} is no text column", COLUMNS[number].name))),
    }
}

fn int_column(
    group: &dyn RowGroupReader,
    number: usize,
) -> Result<ColumnReaderImpl<Int64Type>, ParquetError> {
    match group.get_column_reader(number)? {
        ColumnReader::Int64ColumnReader(reader) => Ok(reader),
        _ => Err(ParquetError::General(format!("{} is no integer column", COLUMNS[number].name))),
    }
}

fn place_of(frame: i64, at: i64, len: i64) -> Option<Place> {
    Some(Place { frame: frame.try_into().ok()?, at: at.try_into().ok()?, len: len.try_into().ok()? })
}

fn missing(row: u64) -> ParquetError {
    ParquetError::General(format!("row {row} is missing or malformed"))
}

/// The file as the library wants to read it.
struct Chunks(Arc<dyn ReadAt>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.size()
    }
}

impl ChunkReader for Chunks {
    type T = ReadOn;

    fn get_read(&self, start: u64) -> Result<ReadOn, ParquetError> {
        Ok(ReadOn { file: self.0.clone(), at: start, buffer: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.0.read_at(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads on from a place, a span at a time.
struct ReadOn {
    file: Arc<dyn ReadAt>,
    at: u64,
    buffer: Bytes,
}

impl io::Read for ReadOn {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            let left = self.file.size().saturating_sub(self.at);
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(READ_ON_BYTES);
            self.buffer = self.file.read_at(self.at, take)?;
            self.at += take as u64;
        }
        let take = buf.len().min(self.buffer.len());
        buf[..take].copy_from_slice(&self.buffer.split_to(take));
        Ok(take)
    }
}
