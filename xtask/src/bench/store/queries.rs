//! Six questions to the same entries: Indelible's SQL, DuckDB and chdb on the same Parquet files, PostgreSQL on a
//! table of the columns that are asked about.
//!
//! Answers are compared before anything is timed. What day and hour a call belongs to is its source's: a corpus of
//! a month is ingested within minutes, and the ledger's own time says that.

use super::client::Client;
use super::engines::{Collector, Engine, Python};
use super::watch::Watch;
use crate::bench::indelible::{Site, TENANT};
use crate::bench::peers::{Postgres, store_python};
use crate::bench::process::{Process, rss_bytes};
use crate::bench::report::{Goal, Section, Table, grouped, mebibytes, median, ratio};
use crate::bench::{Bench, Outcome, say};

/// Each is geometric mean, and worst, of DuckDB's time.
const GOAL_MEAN: f64 = 1.5;
const GOAL_WORST: f64 = 3.0;
/// Rows that PostgreSQL is given at most.
const POSTGRES_ROWS: u64 = 2_000_000;

/// A question, as SQL that all understand, or as chdb spells it.
struct Question {
    what: &'static str,
    sql: &'static str,
    chdb: Option<&'static str>,
}

const QUESTIONS: [Question; 6] = [
    Question {
        what: "count by status and day",
        sql: "SELECT status, date_trunc('day', source_time) AS day, count(*) AS calls FROM events \
              WHERE event_type IN ('llm_request', 'embedding') GROUP BY 1, 2 ORDER BY 1, 2",
        chdb: None,
    },
    Question {
        what: "p95 latency by model",
        sql: "SELECT model, percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95 FROM events \
              WHERE status = 'completed' GROUP BY 1 ORDER BY 1",
        chdb: Some(
            "SELECT model, quantileExactInclusive(0.95)(latency_ms) AS p95 FROM events \
             WHERE status = 'completed' GROUP BY 1 ORDER BY 1",
        ),
    },
    Question {
        what: "tokens and cost by model and day",
        sql: "SELECT model, date_trunc('day', source_time) AS day, sum(prompt_tokens) AS tokens_in, \
              sum(completion_tokens) AS tokens_out, sum(cost_usd) AS cost FROM events \
              WHERE model IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
        chdb: None,
    },
    Question {
        what: "top 20 subjects by cost",
        sql: "SELECT subject_ref, sum(cost_usd) AS cost FROM events WHERE cost_usd IS NOT NULL \
              GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20",
        chdb: None,
    },
    Question {
        what: "error rate by route and hour",
        sql: "SELECT route, date_trunc('hour', source_time) AS hour, \
              avg(CASE WHEN status = 'completed' THEN 0 ELSE 1 END) AS errors, count(*) AS calls FROM events \
              WHERE route IS NOT NULL AND source_time IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
        chdb: None,
    },
    Question {
        what: "distinct sessions by model and day",
        sql: "SELECT model, date_trunc('day', source_time) AS day, count(DISTINCT session_id) AS sessions \
              FROM events WHERE session_id IS NOT NULL AND source_time IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
        chdb: None,
    },
];

/// What PostgreSQL is given: the columns that are asked about, and indexes that such questions get.
const SCHEMA: &str = "
ALTER DATABASE postgres SET timezone = 'UTC';
CREATE TABLE events (
  seq bigint PRIMARY KEY, source_time timestamptz, event_type text, model text, route text, status text,
  latency_ms bigint, prompt_tokens bigint, completion_tokens bigint, cost_usd numeric(38,18), subject_ref text,
  session_id text, request_id text
);
";
const INDEXES: &str = "
CREATE INDEX ON events (source_time);
CREATE INDEX ON events (model, source_time);
CREATE INDEX ON events (route, source_time);
CREATE INDEX ON events (subject_ref);
CREATE INDEX ON events (session_id);
CREATE INDEX ON events (request_id);
";
const COLUMNS: &str = "seq, source_time, event_type, model, route, status, latency_ms, prompt_tokens, \
                       completion_tokens, cost_usd, subject_ref, session_id, request_id";

/// One engine, and how long it took for each question.
struct Runner {
    name: String,
    engine: Box<dyn Engine>,
    chdb: bool,
    /// Has all rows, so that its answers have to be the same.
    whole: bool,
    /// Of each question; `None`: it was not answered.
    medians: Vec<Option<f64>>,
}

impl Runner {
    fn new(name: String, engine: Box<dyn Engine>) -> Self {
        Self { name, engine, chdb: false, whole: true, medians: Vec::new() }
    }

    fn sql(&self, question: &Question) -> &'static str {
        if self.chdb { question.chdb.unwrap_or(question.sql) } else { question.sql }
    }
}

pub(super) fn measure(bench: &Bench, site: &Site, collector: &Process) -> Outcome<Section> {
    say("store, queries");
    let mut section = Section::new("Store: six questions");
    let mut watches = Vec::new();
    let mut runners = runners(bench, site, &mut section, &mut watches)?;
    // Of the collector: before the first question, and while each is asked.
    let mut memory = vec![rss_bytes(collector.id())];
    for (number, question) in QUESTIONS.iter().enumerate() {
        let watch = Watch::start(collector.id());
        let answered = compare(&runners, question, &mut section);
        let mut times = vec![Vec::new(); runners.len()];
        for _ in 0..bench.effort.rounds {
            for at in (0..runners.len()).filter(|at| answered[*at]) {
                match runners[at].engine.ask(runners[at].sql(question)) {
                    Ok(answer) => times[at].push(answer.seconds),
                    Err(why) => {
                        section.note(format!("**{}, \"{}\"**: {why}", runners[at].name, question.what));
                    }
                }
            }
        }
        for (runner, times) in runners.iter_mut().zip(times) {
            runner.medians.push((!times.is_empty()).then(|| median(times)));
        }
        memory.push(watch.most());
        say(&format!("store, question {} of {}", number + 1, QUESTIONS.len()));
    }
    section.tables.push(table(&runners));
    section.goals = goals(&runners);
    let rss = memory.iter().copied().fold(0.0, f64::max);
    let mut most = vec![format!("the collector {}", mebibytes(rss))];
    most.extend(watches.into_iter().map(|(name, watch)| format!("{name} {}", mebibytes(watch.most()))));
    section.note(format!("Most resident memory meanwhile: {}.", most.join(", ")));
    let memory: Vec<String> = memory.into_iter().map(mebibytes).collect();
    section.note(format!(
        "The collector's before the first question, and while each was asked, in their order: {}.",
        memory.join(", ")
    ));
    section.note(format!(
        "Medians of {} rounds in which they take turns, after one that is not counted and in which answers were \
         compared. Each engine keeps running and may use all cores. Times are from asking to the last row: over TLS \
         for Indelible, where each question is recorded and synced first; in the process for DuckDB and chdb; as psql \
         measures for PostgreSQL. chdb spells percentiles in its own way; the SQL is otherwise the same for all.",
        bench.effort.rounds
    ));
    section.goals.push(super::memory_goal("collector, memory, most while querying", rss));
    Ok(section)
}

/// Those that are here. The reference comes first.
fn runners(
    bench: &Bench,
    site: &Site,
    section: &mut Section,
    watches: &mut Vec<(&'static str, Watch)>,
) -> Outcome<Vec<Runner>> {
    let mut runners = Vec::new();
    let pattern = format!("{}/tenant={TENANT}/date=*/*/entries.parquet", site.segments().display());
    match store_python(&bench.root) {
        Ok(python) => {
            let duckdb = Python::start(&python, "duckdb", &pattern)?;
            let chdb = Python::start(&python, "chdb", &pattern)?;
            watches.extend([("DuckDB", Watch::start(duckdb.id())), ("chdb", Watch::start(chdb.id()))]);
            let postgres = in_postgres(bench, &duckdb, section)?;
            runners.push(Runner::new(format!("DuckDB {}", duckdb.version), Box::new(duckdb)));
            let name = format!("chdb {}", chdb.version);
            runners.push(Runner { chdb: true, ..Runner::new(name, Box::new(chdb)) });
            runners.extend(postgres);
        }
        Err(why) => section.note(format!("DuckDB, chdb and PostgreSQL: skipped, since {why}")),
    }
    match Collector::connect(Client::connect(site)?)? {
        Some(ours) => runners.push(Runner::new("Indelible".to_owned(), Box::new(ours))),
        None => section.note("Indelible: skipped, since this build answers no SQL"),
    }
    Ok(runners)
}

/// PostgreSQL with the same rows, or as many of them as it is given.
fn in_postgres(bench: &Bench, duckdb: &Python, section: &mut Section) -> Outcome<Option<Runner>> {
    let Some(postgres) = Postgres::start(bench, SCHEMA)? else {
        section.note("PostgreSQL: not found, skipped");
        return Ok(None);
    };
    say("store, filling PostgreSQL");
    let file = bench.dir().join("events.csv");
    let wanted = format!("SELECT {COLUMNS} FROM events ORDER BY seq LIMIT {POSTGRES_ROWS}");
    duckdb.ask(&format!("COPY ({wanted}) TO '{}' (FORMAT csv, HEADER false)", file.display()))?;
    postgres.copy(&format!("events ({COLUMNS})"), "with (format csv)", &file)?;
    std::fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    postgres.ask(INDEXES)?;
    postgres.ask("VACUUM ANALYZE events")?;
    let count =
        |rows: Vec<Vec<String>>| rows.first().and_then(|row| row.first()?.parse::<f64>().ok()).unwrap_or(0.0);
    let has = postgres.ask("SELECT count(*) FROM events")?.trim().parse::<f64>().unwrap_or(0.0);
    let all = count(duckdb.ask("SELECT count(*) FROM events")?.rows);
    let bytes = postgres.ask("SELECT pg_total_relation_size('events')")?.trim().parse::<f64>().unwrap_or(0.0);
    section.note(format!(
        "{}, its defaults: a table of the {} columns that are asked about, with indexes on time, model and time, route \
         and time, subject, session, request id; {} of {} rows, {}, without payloads and without the exact entries{}.",
        postgres.version,
        COLUMNS.split(',').count(),
        grouped(has),
        grouped(all),
        mebibytes(bytes),
        if has < all { "; its times are for those rows and not compared" } else { "" }
    ));
    let name = postgres.version.clone();
    Ok(Some(Runner { whole: has == all, ..Runner::new(name, Box::new(postgres)) }))
}

/// Asks each once, holds the answers against the first one's, and says who answered.
fn compare(runners: &[Runner], question: &Question, section: &mut Section) -> Vec<bool> {
    let mut reference: Option<(&str, Vec<Vec<String>>)> = None;
    let mut answered = Vec::new();
    for runner in runners {
        let answer = runner.engine.ask(runner.sql(question));
        answered.push(answer.is_ok());
        match (answer, &reference) {
            (Err(why), _) => {
                section.note(format!("**{} does not answer \"{}\"**: {why}", runner.name, question.what));
            }
            (Ok(answer), None) => reference = Some((&runner.name, answer.rows)),
            (Ok(answer), Some((name, wanted))) if runner.whole && !same(wanted, &answer.rows) => {
                let rows = answer.rows;
                let at = wanted.iter().zip(&rows).position(|(wanted, found)| !same_row(wanted, found));
                let row = at.unwrap_or(wanted.len().min(rows.len()));
                section.note(format!(
                    "**{} answers \"{}\" otherwise than {name}**: row {row} of {} and {}, {:?} and {:?}.",
                    runner.name,
                    question.what,
                    rows.len(),
                    wanted.len(),
                    rows.get(row),
                    wanted.get(row)
                ));
            }
            (Ok(_), Some(_)) => {}
        }
    }
    answered
}

fn same(a: &[Vec<String>], b: &[Vec<String>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_row(a, b))
}

/// What is computed in floating point is not rounded alike by all.
fn same_row(a: &[String], b: &[String]) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    let same = |(a, b): (&String, &String)| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => near(a, b),
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

fn table(runners: &[Runner]) -> Table {
    let head: Vec<String> =
        std::iter::once("ms".to_owned()).chain(runners.iter().map(|runner| runner.name.clone())).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).chain(["Indelible of DuckDB"]).collect();
    let mut table = Table::new(&head);
    let shares = shares(runners);
    let shown =
        |seconds: Option<f64>| seconds.map_or("–".to_owned(), |seconds| format!("{:.1}", seconds * 1e3));
    let share = |share: Option<f64>| share.map_or("–".to_owned(), |share| ratio(share, 1.0));
    for (number, question) in QUESTIONS.iter().enumerate() {
        let times = runners.iter().map(|runner| shown(runner.medians[number]));
        table.row(
            std::iter::once(question.what.to_owned()).chain(times).chain([share(shares[number])]).collect(),
        );
    }
    let times = runners.iter().map(|runner| shown(mean(&runner.medians)));
    table.row(
        std::iter::once("geometric mean".to_owned()).chain(times).chain([share(mean(&shares))]).collect(),
    );
    table
}

/// The geometric mean, if there are all of them.
fn mean(values: &[Option<f64>]) -> Option<f64> {
    let sum = values.iter().try_fold(0.0, |sum, value| value.map(|value| sum + value.ln()));
    sum.filter(|_| !values.is_empty()).map(|sum| (sum / values.len() as f64).exp())
}

/// Our time for each question, as a share of DuckDB's.
fn shares(runners: &[Runner]) -> Vec<Option<f64>> {
    let by = |name: &str, number: usize| {
        runners.iter().find(|runner| runner.name.starts_with(name)).and_then(|runner| runner.medians[number])
    };
    (0..QUESTIONS.len()).map(|number| Some(by("Indelible", number)? / by("DuckDB", number)?)).collect()
}

fn goals(runners: &[Runner]) -> Vec<Goal> {
    let shares = shares(runners);
    let worst = shares.iter().try_fold(0.0, |worst: f64, share| share.map(|share| worst.max(share)));
    let found = [("geometric mean", mean(&shares), GOAL_MEAN), ("the slowest", worst, GOAL_WORST)];
    let goal = |(what, share, most): (&str, Option<f64>, f64)| {
        share.map(|share| Goal {
            what: format!("aggregates beside DuckDB on the same files, {what}"),
            wanted: format!("≤ {most} ×"),
            found: ratio(share, 1.0),
            met: share <= most,
        })
    };
    found.into_iter().filter_map(goal).collect()
}
