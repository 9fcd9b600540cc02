//! What answers SQL: the collector, DuckDB, chdb and PostgreSQL, each asked the same way.

use super::client::Client;
use crate::bench::Outcome;
use crate::bench::indelible::TENANT;
use crate::bench::peers::Postgres;
use http::StatusCode;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

const SCRIPT: &str = include_str!("engines.py");
/// Longer than any of the questions takes.
const TIMEOUT_S: u32 = 600;

/// An answer: its rows, cell by cell in one spelling for all engines, and how long it took.
pub(super) struct Answered {
    pub(super) rows: Vec<Vec<String>>,
    pub(super) seconds: f64,
}

/// Something that is asked.
pub(super) trait Engine {
    fn ask(&self, sql: &str) -> Outcome<Answered>;
}

/// A collector's `POST /v1/sql`.
pub(super) struct Collector(Client);

impl Collector {
    /// `None`: it was built without SQL.
    pub(super) fn connect(client: Client) -> Outcome<Option<Self>> {
        let (status, body) = client.post("/v1/sql", &question("SELECT count(*) FROM events"))?;
        match status {
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => Ok(None),
            status if status.is_success() => Ok(Some(Self(client))),
            status => Err(format!("POST /v1/sql: {status}: {}", String::from_utf8_lossy(&body))),
        }
    }
}

fn question(sql: &str) -> Value {
    json!({ "sql": sql, "format": "csv", "tenant": TENANT, "timeout_s": TIMEOUT_S })
}

impl Engine for Collector {
    fn ask(&self, sql: &str) -> Outcome<Answered> {
        let started = Instant::now();
        let (status, body) = self.0.post("/v1/sql", &question(sql))?;
        let seconds = started.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(&body);
        if !status.is_success() {
            return Err(format!("POST /v1/sql: {status}: {text}"));
        }
        // No value of the answers has a comma or a quotation mark.
        let rows = text.lines().skip(1).map(|line| line.split(',').map(spelled).collect());
        Ok(Answered { rows: rows.collect(), seconds })
    }
}

/// DuckDB or chdb, in a process of its own.
pub(super) struct Python {
    child: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    pub(super) version: String,
}

impl Python {
    pub(super) fn start(python: &Path, engine: &str, pattern: &str) -> Outcome<Self> {
        let fail = |error: std::io::Error| format!("{engine}: {error}");
        let mut command = Command::new(python);
        command.args(["-B", "-c", SCRIPT, engine, pattern]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(fail)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{engine}: no pipes"));
        };
        let mut this =
            Self { child, pipes: RefCell::new((stdin, BufReader::new(stdout))), version: String::new() };
        let version = this.line()?["version"].as_str().unwrap_or("of unknown version").to_owned();
        this.version = version;
        Ok(this)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn line(&self) -> Outcome<Value> {
        let mut line = String::new();
        self.pipes.borrow_mut().1.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("an engine said {line:?}: {error}"))
    }
}

impl Engine for Python {
    fn ask(&self, sql: &str) -> Outcome<Answered> {
        let question = json!({ "sql": sql });
        writeln!(self.pipes.borrow_mut().0, "{question}").map_err(|error| error.to_string())?;
        let answer = self.line()?;
        if let Some(error) = answer["error"].as_str() {
            return Err(format!("{sql}: {error}"));
        }
        let rows = answer["rows"].as_array().into_iter().flatten();
        let cells = |row: &Value| {
            row.as_array()
                .into_iter()
                .flatten()
                .map(|cell| spelled(cell.as_str().unwrap_or_default()))
                .collect()
        };
        Ok(Answered {
            rows: rows.map(cells).collect(),
            seconds: answer["seconds"].as_f64().unwrap_or(f64::NAN),
        })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It waits for a question, and has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine for Postgres {
    fn ask(&self, sql: &str) -> Outcome<Answered> {
        let (text, seconds) = self.timed(sql)?;
        // The first line is what psql says to `\timing on`.
        let lines = text.lines().filter(|line| line.contains('|'));
        Ok(Answered { rows: lines.map(|line| line.split('|').map(spelled).collect()).collect(), seconds })
    }
}

/// Numbers to nine digits, times to the second, absent values as nothing: engines spell all three in ways of their
/// own.
fn spelled(cell: &str) -> String {
    let cell = cell.trim_matches('"');
    if matches!(cell, "ᴺᵁᴸᴸ" | "NULL" | "\\N") {
        return String::new();
    }
    let is_time = cell.len() >= 10 && cell.as_bytes()[4] == b'-' && cell.as_bytes()[7] == b'-';
    if is_time && cell.is_ascii() {
        let second = if cell.len() >= 19 { &cell[..19] } else { cell };
        let second = second.replace(' ', "T");
        return second.strip_suffix("T00:00:00").unwrap_or(&second).to_owned();
    }
    cell.parse::<f64>().map_or_else(|_| cell.to_owned(), |number| format!("{number:.8e}"))
}
