//! A question put to a ledger, and the record of it.
//!
//! Who asked what, how many rows came back and why is an entry of the operations ledger before the answer goes out
//! (invariant 11). Small answers are held until they are whole, so that entry has their number of rows. Of a larger one
//! it has the rows so far and says in its payload that more follow; a second entry, once the answer has ended or
//! broken off, has them all.

use crate::ledger::Ledger;
use bytes::Bytes;
use indelible_collector::{Collector, CollectorError};
use indelible_query::{Answer, Engine, QueryError, Question};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;

/// Answers up to this size are whole before they go out.
const HELD_MAX_BYTES: usize = 4 << 20;

const BROKEN_OFF: &str = "the answer was not taken to its end";

/// Who asks, and why.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whose ledger; `None` for the only one.
    pub tenant: Option<String>,
    /// The saved search behind the question, if it is one.
    pub search: Option<String>,
    /// The stated purpose.
    pub purpose: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The question, its cost, or the engine.
    Query(QueryError),
    /// The ledger, or the record of the look.
    Collector(CollectorError),
}

/// An answer whose look is on record.
pub struct Look {
    /// Bytes that were held.
    held: VecDeque<Bytes>,
    answer: Answer,
    note: Option<Note>,
}

/// What is still to be recorded of an answer that went out while it grew.
struct Note {
    collector: Arc<Collector>,
    action: &'static str,
    search: Option<String>,
    /// Number of the entry that recorded the beginning.
    begun_seq: u64,
}

impl Look {
    /// Asks, and records that it was asked.
    pub async fn at(
        collector: &Arc<Collector>,
        engine: &Engine,
        question: Question,
        asked: Asked,
    ) -> Result<Self, NoAnswer> {
        let (opened, tenant) = (collector.clone(), asked.tenant.clone());
        let ledger = tokio::task::spawn_blocking(move || Ledger::now(opened, tenant.as_deref())).await;
        let ledger = ledger.map_err(|error| CollectorError::Stopped(error.to_string()))?;
        let ledger = ledger.map_err(NoAnswer::Collector)?;
        let parameters: serde_json::Map<String, Value> =
            question.parameters.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        let mut text = json!({
            "ledger": ledger.tenant(), "sql": question.sql, "parameters": parameters, "purpose": asked.purpose,
        });
        let action = if asked.search.is_some() { "search" } else { "query" };
        let mut held = VecDeque::new();
        let mut held_bytes = 0;
        let begun = engine.ask(Arc::new(ledger), question).await;
        let (answer, rows, problem, whole) = match begun {
            Err(problem) => (None, 0, Some(problem), true),
            Ok(mut answer) => {
                let (problem, whole) = loop {
                    match answer.next().await {
                        None => break (None, true),
                        Some(Err(problem)) => break (Some(problem), true),
                        Some(Ok(bytes)) => {
                            held_bytes += bytes.len();
                            held.push_back(bytes);
                            if held_bytes > HELD_MAX_BYTES {
                                break (None, false);
                            }
                        }
                    }
                };
                let rows = if problem.is_some() { 0 } else { answer.rows() };
                (Some(answer), rows, problem, whole)
            }
        };
        text["more"] = (!whole).into();
        if let Some(problem) = &problem {
            text["failed"] = problem.to_string().into();
        }
        let begun_seq = record(collector, action, asked.search.as_deref(), text, rows).await?;
        match (answer, problem) {
            (_, Some(problem)) => Err(NoAnswer::Query(problem)),
            (None, None) => {
                Err(NoAnswer::Collector(CollectorError::Stopped("the engine is gone".to_owned())))
            }
            (Some(answer), None) => {
                let collector = collector.clone();
                let note = (!whole).then_some(Note { collector, action, search: asked.search, begun_seq });
                Ok(Self { held, answer, note })
            }
        }
    }

    /// The next bytes; `None` once the answer is whole and on record as such.
    pub async fn next(&mut self) -> Option<Result<Bytes, NoAnswer>> {
        if let Some(bytes) = self.held.pop_front() {
            return Some(Ok(bytes));
        }
        let next = if self.note.is_some() { self.answer.next().await } else { None };
        let problem = match next {
            Some(Ok(bytes)) => return Some(Ok(bytes)),
            Some(Err(problem)) => Some(problem),
            None => None,
        };
        match (self.end(problem.as_ref()).await, problem) {
            (Err(error), _) => Some(Err(NoAnswer::Collector(error))),
            (Ok(()), Some(problem)) => Some(Err(NoAnswer::Query(problem))),
            (Ok(()), None) => None,
        }
    }

    /// Rows, once they are known before the answer goes out.
    pub fn rows(&self) -> Option<u64> {
        self.note.is_none().then(|| self.answer.rows())
    }

    /// Whether the answer stopped at the number of rows that was asked for.
    pub fn cut(&self) -> bool {
        self.answer.cut()
    }

    /// Records what is still to be recorded of an answer that is not taken further.
    pub async fn close(mut self) -> Result<(), CollectorError> {
        let Some(note) = self.note.take() else { return Ok(()) };
        note.record(self.answer.rows(), Some(BROKEN_OFF.to_owned())).await
    }

    async fn end(&mut self, problem: Option<&QueryError>) -> Result<(), CollectorError> {
        let Some(note) = self.note.take() else { return Ok(()) };
        note.record(self.answer.rows(), problem.map(ToString::to_string)).await
    }
}

impl Note {
    async fn record(self, rows: u64, failed: Option<String>) -> Result<(), CollectorError> {
        let text = json!({ "begun_seq": self.begun_seq, "failed": failed });
        record(&self.collector, self.action, self.search.as_deref(), text, rows).await.map(|_| ())
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let (Some(note), rows) = (self.note.take(), self.answer.rows()) else { return };
        // Whoever asked went away: what they were sent is recorded by nobody else.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = note.record(rows, Some(BROKEN_OFF.to_owned())).await {
                    tracing::error!(%error, "a look at records could not be recorded to its end");
                }
            });
        }
    }
}

async fn record(
    collector: &Collector,
    action: &str,
    search: Option<&str>,
    text: Value,
    rows: u64,
) -> Result<u64, CollectorError> {
    let resource = search.map(|name| ("search", name));
    Ok(collector.record_access("operator", action, resource, text, rows).await?.seq)
}

impl From<CollectorError> for NoAnswer {
    fn from(error: CollectorError) -> Self {
        Self::Collector(error)
    }
}
