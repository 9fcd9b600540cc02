//! A table for people. The first rows decide how wide columns are; later rows that do not fit push theirs out.
//!
//! What a cell has of control characters is written as an escape: a terminal obeys them.

use super::Writer;
use super::cells::{Cells, is_number};
use crate::QueryError;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

/// Rows that decide how wide columns are.
const LOOKED_AT_ROWS: usize = 1000;
/// No column is made narrower than this, whatever the terminal.
const COLUMN_MIN_CHARS: usize = 8;
const BETWEEN: usize = 2;

pub(super) struct Table {
    titles: Vec<String>,
    numbers: Vec<bool>,
    terminal: Option<usize>,
    /// Rows until the columns are set.
    waiting: Vec<Vec<String>>,
    /// Of each column, once they are set.
    widths: Option<Vec<usize>>,
}

impl Table {
    pub(super) fn new(schema: &SchemaRef, terminal: Option<usize>) -> Self {
        let fields = schema.fields();
        Self {
            titles: fields.iter().map(|field| visible(field.name()).to_uppercase()).collect(),
            numbers: fields.iter().map(|field| is_number(field.data_type())).collect(),
            terminal,
            waiting: Vec::new(),
            widths: None,
        }
    }

    /// Sets the columns and writes what waited for that.
    fn set(&mut self, out: &mut Vec<u8>) {
        let mut widths: Vec<usize> = self.titles.iter().map(|title| title.chars().count()).collect();
        for row in &self.waiting {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if let Some(terminal) = self.terminal {
            narrow(&mut widths, terminal);
        }
        self.widths = Some(widths);
        self.line(&self.titles, out);
        for row in std::mem::take(&mut self.waiting) {
            self.line(&row, out);
        }
    }

    fn line(&self, row: &[String], out: &mut Vec<u8>) {
        let mut line = String::new();
        let widths = self.widths.iter().flatten();
        for ((cell, width), number) in row.iter().zip(widths).zip(&self.numbers) {
            let len = cell.chars().count();
            let space = width.saturating_sub(len);
            if *number {
                line.extend(std::iter::repeat_n(' ', space));
            }
            if self.terminal.is_some() && len > *width {
                line.extend(cell.chars().take(width.saturating_sub(1)));
                line.push('…');
            } else {
                line.push_str(cell);
            }
            if !number {
                line.extend(std::iter::repeat_n(' ', space));
            }
            line.extend(std::iter::repeat_n(' ', BETWEEN));
        }
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

impl Writer for Table {
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().zip(batch.columns()).map(|(column, array)| {
                let text = column.text(row)?.unwrap_or_default();
                Ok(if array.data_type().is_floating() { short(&text) } else { visible(&text) })
            });
            let cells = cells.collect::<Result<Vec<_>, QueryError>>()?;
            if self.widths.is_some() {
                self.line(&cells, out);
                continue;
            }
            self.waiting.push(cells);
            if self.waiting.len() >= LOOKED_AT_ROWS {
                self.set(out);
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        if self.widths.is_none() {
            self.set(out);
        }
        Ok(())
    }
}

/// Takes from the widest columns until all fit, or none can be made narrower.
fn narrow(widths: &mut [usize], terminal: usize) {
    let between = BETWEEN * widths.len().saturating_sub(1);
    loop {
        let too_much = (widths.iter().sum::<usize>() + between).saturating_sub(terminal);
        let widest = widths.iter().copied().max().unwrap_or(0);
        if too_much == 0 || widest <= COLUMN_MIN_CHARS {
            return;
        }
        let next = widths.iter().copied().filter(|width| *width < widest).max().unwrap_or(0);
        let at_widest = widths.iter().filter(|width| **width == widest).count();
        let down = (widest - next.max(COLUMN_MIN_CHARS)).min(too_much.div_ceil(at_widest)).max(1);
        widths.iter_mut().filter(|width| **width == widest).for_each(|width| *width -= down);
    }
}

/// A fraction to three digits: people read it, and other formats have all of it.
fn short(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if number.abs() >= 0.001 && number.abs() < 1e12 => {
            let rounded = format!("{number:.3}");
            rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => text.to_owned(),
    }
}

fn visible(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(
            |char| if char.is_control() { char.escape_default().collect::<Vec<_>>() } else { vec![char] },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_give_way_first() {
        let mut widths = [10, 80, 60, 4];
        narrow(&mut widths, 80);
        assert_eq!(widths.iter().sum::<usize>() + 6, 80);
        assert_eq!(widths, [10, 30, 30, 4]);
        let mut widths = [40, 40, 40];
        narrow(&mut widths, 10);
        assert_eq!(widths, [COLUMN_MIN_CHARS; 3], "no narrower than that");
    }

    #[test]
    fn fractions_are_short() {
        let shown = ["21.650000000000002", "0.1", "5.0", "-0.0004", "0.0", "NaN"].map(short);
        assert_eq!(shown, ["21.65", "0.1", "5", "-0.0004", "0.0", "NaN"]);
    }

    #[test]
    fn a_terminal_is_given_nothing_to_obey() {
        assert_eq!(visible("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\nc");
    }
}
