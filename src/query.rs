//! `indelible query` and `indelible search`: through a running collector, or on the directory itself.

use crate::api;
use crate::cli::{AnswerArgs, Common, FormatArg, Query, Search};
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::records::with_collector;
use crate::run_dir;
use crate::searches;
use indelible_os::clock;
use indelible_query::{Engine, Format, Kind, Limits, Parameter, QueryError, Question};
use indelible_verify::directory::OPERATIONS;
use indelible_web::{Asked, Look, NoAnswer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

/// Rows of a table when nobody says: it is for reading.
const TABLE_ROWS: u64 = 1000;

/// Answers a query.
pub(crate) fn run(common: &Common, arguments: &Query) -> Outcome {
    let mut sql = arguments.sql.clone();
    if sql == "-" {
        sql.clear();
        std::io::stdin().lock().read_to_string(&mut sql).map_err(Failure::new)?;
    }
    let parameters =
        pairs(&arguments.param)?.into_iter().map(|(name, text)| (name, Parameter::Text(Some(text))));
    let question = Question { parameters: parameters.collect(), ..question(common, &arguments.answer, sql) };
    answer(common, question, common.tenant.clone(), None)
}

/// Runs, lists or shows a saved search.
pub(crate) fn search(common: &Common, arguments: &Search) -> Outcome {
    let known = searches::load(arguments.searches.as_deref())?;
    if arguments.list {
        return print(searches::list(&known, common.json).as_bytes());
    }
    let name = arguments.show.as_ref().or(arguments.name.as_ref()).map_or("", String::as_str);
    let found = known.iter().find(|search| search.name == name).ok_or_else(|| {
        Failure::new(format!("there is no search {name:?}"))
            .hint("indelible search --list names them")
            .code(1)
    })?;
    if arguments.show.is_some() {
        return print(searches::show(found, common.json).as_bytes());
    }
    let parameters = found.bind(&pairs(&arguments.param)?, clock::now()).map_err(|error| refused(&error))?;
    let question = Question { parameters, ..question(common, &arguments.answer, found.sql.clone()) };
    let tenant = if found.of_operations { Some(OPERATIONS.to_owned()) } else { common.tenant.clone() };
    answer(common, question, tenant, Some(found.name.clone()))
}

fn question(common: &Common, wanted: &AnswerArgs, sql: String) -> Question {
    let format = match wanted.format {
        None if common.json => Format::Json,
        None | Some(FormatArg::Table) => Format::Table,
        Some(FormatArg::Json) => Format::Json,
        Some(FormatArg::Jsonl) => Format::Jsonl,
        Some(FormatArg::Csv) => Format::Csv,
        Some(FormatArg::Parquet) => Format::Parquet,
    };
    Question {
        rows: wanted.limit.or((format == Format::Table).then_some(TABLE_ROWS)),
        time: Some(Duration::from_secs(wanted.timeout.into())),
        width: terminal_width(),
        ..Question::new(sql, format)
    }
}

fn answer(common: &Common, question: Question, tenant: Option<String>, search: Option<String>) -> Outcome {
    if question.format == Format::Parquet && std::io::stdout().is_terminal() {
        return Err(Failure::new("Parquet is no text for a terminal").hint("redirect it: > answer.parquet"));
    }
    let rows = question.rows;
    let cut = match run_dir::find(&common.data())? {
        Some((address, token)) => {
            let parameters: serde_json::Map<String, Value> =
                question.parameters.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
            let body = json!({
                "sql": question.sql, "parameters": parameters, "format": question.format.name(), "tenant": tenant,
                "limit": question.rows, "timeout_s": question.time.map(|time| time.as_secs()),
                "width": question.width, "search": search,
            });
            let head = api::post(&address, &token, &common.purpose, "/v1/sql", &body, write)?;
            head.contains_key("x-indelible-more")
        }
        None => {
            let asked = Asked { tenant, search, purpose: Some(common.purpose.clone()) };
            on_directory(common, question, asked, &mut write)?
        }
    };
    if let (true, Some(rows)) = (cut, rows) {
        eprintln!("there are more than these {rows} rows: --limit shows more");
    }
    Ok(0)
}

/// The event ids that a query finds, at most so many: its column `event_id`.
pub(crate) fn event_ids(common: &Common, sql: &str, most: usize) -> Result<Vec<String>, Failure> {
    let question = Question { rows: Some(most as u64), ..Question::new(sql.to_owned(), Format::Jsonl) };
    let mut lines = Vec::new();
    let mut take = |piece: &[u8]| {
        lines.extend_from_slice(piece);
        Ok(true)
    };
    let cut = match run_dir::find(&common.data())? {
        Some((address, token)) => {
            let body =
                json!({ "sql": sql, "format": Format::Jsonl.name(), "tenant": common.tenant, "limit": most });
            let head = api::post(&address, &token, &common.purpose, "/v1/sql", &body, take)?;
            head.contains_key("x-indelible-more")
        }
        None => {
            let purpose = Some(common.purpose.clone());
            let asked = Asked { tenant: common.tenant.clone(), search: None, purpose };
            on_directory(common, question, asked, &mut take)?
        }
    };
    if cut {
        return Err(Failure::new(format!("the query finds more than {most} records"))
            .hint("one bundle holds no more: ask for less at a time")
            .code(6));
    }
    let ids = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
        let row: Value = serde_json::from_slice(line).map_err(Failure::new)?;
        row["event_id"].as_str().map(str::to_owned).ok_or_else(|| {
            Failure::new("the query has no column event_id").hint("SELECT event_id FROM events WHERE …")
        })
    });
    ids.collect()
}

/// Answers from the data directory itself, as no collector runs on it. Says whether there are more rows.
fn on_directory(
    common: &Common,
    question: Question,
    asked: Asked,
    take: &mut dyn FnMut(&[u8]) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let time = question.time.unwrap_or_default();
    let engine = Engine::start(Limits { time, ..Limits::default() }).map_err(|error| refused(&error))?;
    with_collector(common, async |collector| {
        let no_answer = |error: NoAnswer| match error {
            NoAnswer::Query(error) => refused(&error),
            NoAnswer::Collector(error) => failure(&error),
        };
        let mut look = Look::at(collector, &engine, question, asked).await.map_err(no_answer)?;
        while let Some(piece) = look.next().await {
            if !take(&piece.map_err(no_answer)?)? {
                break;
            }
        }
        let cut = look.cut();
        look.close().await.map_err(|error| failure(&error))?;
        Ok(cut)
    })
}

/// A query's error, in the words of the command line.
pub(crate) fn refused(error: &QueryError) -> Failure {
    let code = match error.kind {
        Kind::Limit | Kind::Busy => 6,
        Kind::Question | Kind::Records | Kind::NoEngine | Kind::Engine => 2,
    };
    let mut shown = Failure::new(&error.what).hint(error.hint).code(code);
    shown.detail.clone_from(&error.detail);
    shown
}

/// `NAME=VALUE`, several times.
fn pairs(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pairs = given.iter().map(|pair| {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Failure::new(format!("--param {pair}: that has no =")).hint("write --param NAME=VALUE")
        })?;
        Ok((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// Columns of the terminal, if stdout is one.
fn terminal_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.or_else(|| rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col.into()))
        .filter(|columns| *columns > 0)
}

/// Writes to stdout; `false` once nobody reads it.
fn write(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(error)),
        Ok(()) => Ok(true),
    }
}

fn print(bytes: &[u8]) -> Outcome {
    write(bytes).map(|_| 0)
}
