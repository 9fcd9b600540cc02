//! What a collector sends of an export, line by line, into parts.

use super::part::Writing;
use super::state::State;
use super::unexpected;
use crate::failure::Failure;
use indelible_collector::export::{Counts, Cursor, Ledger};
use indelible_record::Entry;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A line, of which one member says what it is.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(skip)]
    pub(super) raw: &'a str,
    #[serde(borrow, default)]
    entry: Option<&'a RawValue>,
    #[serde(borrow, default)]
    chat: Option<&'a RawValue>,
    #[serde(default)]
    left_out: Option<String>,
    #[serde(default)]
    ledgers: Option<Vec<Ledger>>,
    #[serde(default)]
    at: Option<Cursor>,
    #[serde(default)]
    end: Option<Counts>,
    #[serde(default)]
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

/// Takes lines, and writes parts of them.
pub(super) struct Lines<'a> {
    state: &'a mut State,
    bar: &'a ProgressBar,
    writing: Option<Writing>,
    /// Entries of the ledgers before each.
    before: BTreeMap<String, u64>,
    ended: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(state: &'a mut State, bar: &'a ProgressBar) -> Self {
        Self { state, bar, writing: None, before: BTreeMap::new(), ended: false }
    }

    pub(super) fn state(&self) -> &State {
        self.state
    }

    /// Takes the next line.
    pub(super) fn take(&mut self, raw: &str) -> Result<(), Failure> {
        let mut line: Line<'_> = match serde_json::from_str(raw) {
            Ok(line) => line,
            Err(error) => {
                return Err(Failure::new(format!("the collector sent no line of an export: {error}")));
            }
        };
        line.raw = raw;
        if let Some(problem) = line.error {
            return Err(Failure::new(problem.message).hint("the same command goes on from here"));
        }
        if let Some(ledgers) = line.ledgers {
            let mut sum = 0;
            for ledger in &ledgers {
                self.before.insert(ledger.tenant.clone(), sum);
                sum += ledger.size;
            }
            self.bar.set_length(sum);
            return self.state.take_ledgers(ledgers);
        }
        if let Some(at) = line.at {
            self.progress(&at.tenant, at.seq);
            return Ok(());
        }
        if line.end.is_some() {
            self.ended = true;
            self.end_part()?;
            return self.state.finish();
        }
        self.record(&line)
    }

    fn record(&mut self, line: &Line<'_>) -> Result<(), Failure> {
        let bytes = line.entry.ok_or_else(|| unexpected(line, "it says nothing"))?.get();
        let entry: Entry = serde_json::from_str(bytes).map_err(|error| unexpected(line, error))?;
        if self.writing.as_ref().is_some_and(|writing| writing.tenant() != entry.tenant_id) {
            self.end_part()?;
        }
        let writing = match &mut self.writing {
            Some(writing) => writing,
            none => none.insert(Writing::begin(self.state, &entry.tenant_id, entry.seq)?),
        };
        match (self.state.format(), line.chat) {
            ("parquet", _) => writing.push_row(&entry, bytes)?,
            ("chat", Some(chat)) => writing.push_line(chat.get())?,
            ("chat", None) => {}
            _ if self.state.has_payloads() => writing.push_line(line.raw)?,
            _ => writing.push_line(bytes)?,
        }
        if let Some(why) = &line.left_out {
            writing.leave_out(&entry, why)?;
        }
        if writing.end_record(entry.seq, self.state.part_records()) {
            self.end_part()?;
        }
        self.progress(&entry.tenant_id, entry.seq);
        Ok(())
    }

    fn end_part(&mut self) -> Result<(), Failure> {
        match self.writing.take() {
            Some(writing) => writing.finish(self.state),
            None => Ok(()),
        }
    }

    fn progress(&self, tenant: &str, seq: u64) {
        self.bar.set_position(self.before.get(tenant).unwrap_or(&0) + seq);
        self.bar.set_message(format!("{} parts", self.state.parts()));
    }

    /// The stream ended: it must have said that it was all.
    pub(super) fn finish(self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        outcome?;
        if self.ended {
            return Ok(());
        }
        Err(Failure::new("the collector broke off in the middle of the export")
            .hint("the same command goes on from here"))
    }
}
