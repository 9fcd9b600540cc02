//! What a run says: sections with notes and a table each, goals, and the page that they are written to.

use super::Outcome;
use std::fmt::Write as _;
use std::path::Path;

/// What stands between these in `docs/benchmarks.md` is replaced by `--write`: of the gateway and the collector, and of
/// the store and of verification, which are measured apart.
pub(crate) const MARKS: [&str; 2] = ["<!-- cargo xtask bench: begin -->", "<!-- cargo xtask bench: end -->"];
pub(crate) const STORE_MARKS: [&str; 2] =
    ["<!-- cargo xtask bench store: begin -->", "<!-- cargo xtask bench store: end -->"];
pub(crate) const VERIFY_MARKS: [&str; 2] =
    ["<!-- cargo xtask bench verify: begin -->", "<!-- cargo xtask bench verify: end -->"];

/// Everything that one run found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) sections: Vec<Section>,
}

/// One table, with what has to be known to read it.
#[derive(Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) notes: Vec<String>,
    pub(crate) tables: Vec<Table>,
    pub(crate) goals: Vec<Goal>,
}

/// A table; the first column is words, the others are numbers.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A number of DESIGN §8 beside the one that was measured.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) found: String,
    pub(crate) met: bool,
}

impl Section {
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn to_markdown(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.head.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
        };
        let rule = widths.iter().enumerate().map(|(column, width)| match column {
            0 => "-".repeat(width + 2),
            _ => format!("{}:", "-".repeat(width + 1)),
        });
        let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
        let rows = self.rows.iter().map(|row| line(row)).collect::<String>();
        line(&self.head) + &rule + &rows
    }
}

impl Report {
    /// The whole run as markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        for section in &self.sections {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "### {}\n", section.title);
            for note in &section.notes {
                let _ = writeln!(text, "* {note}");
            }
            for table in &section.tables {
                let _ = write!(text, "\n{}", table.to_markdown());
            }
            text.push('\n');
        }
        let goals = self.goals();
        if !goals.rows.is_empty() {
            let _ = write!(text, "### Against the goals\n\n{}", goals.to_markdown());
        }
        text
    }

    fn goals(&self) -> Table {
        let mut table = Table::new(&["what", "goal", "measured", "met"]);
        for goal in self.sections.iter().flat_map(|section| &section.goals) {
            let met = if goal.met { "yes" } else { "**no**" };
            table.row(vec![goal.what.clone(), goal.wanted.clone(), goal.found.clone(), met.to_owned()]);
        }
        table
    }

    /// Replaces what stands between the marks in `page`.
    pub(crate) fn write(&self, page: &Path, [begin, end]: [&str; 2]) -> Outcome<()> {
        let fail = |what: &dyn std::fmt::Display| format!("{}: {what}", page.display());
        let old = std::fs::read_to_string(page).map_err(|error| fail(&error))?;
        let (before, rest) = old.split_once(begin).ok_or_else(|| fail(&"the begin mark is missing"))?;
        let (_, after) = rest.split_once(end).ok_or_else(|| fail(&"the end mark is missing"))?;
        let new = format!("{before}{begin}\n\n{}\n{end}{after}", self.to_markdown());
        std::fs::write(page, new).map_err(|error| fail(&error))
    }
}

/// The middle one; of an even number, the lower of the two. 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// A share, to two digits behind the point or, if it is small, to four, such as `0.62 ×`.
pub(crate) fn ratio(value: f64, to: f64) -> String {
    let digits = if value < 0.01 * to { 4 } else { 2 };
    if to > 0.0 { format!("{:.digits$} ×", value / to) } else { "–".to_owned() }
}

/// A number with its thousands set apart.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let mut parts: Vec<&str> = if head.is_empty() { Vec::new() } else { vec![head] };
    parts.extend((0..tail.len() / 3).map(|at| &tail[at * 3..at * 3 + 3]));
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", parts.join(","))
}

/// Microseconds as milliseconds.
pub(crate) fn millis(us: f64) -> String {
    format!("{:.2}", us / 1000.0)
}

/// Bytes as MiB.
pub(crate) fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / f64::from(1 << 20))
}
