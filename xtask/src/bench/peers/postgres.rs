//! PostgreSQL: with an append-only table whose hash chain a trigger keeps, beside the collector; with plain tables,
//! beside the store.
//!
//! It runs from a private directory on loopback, with its defaults where nothing else is said here.

use super::is_root;
use crate::bench::process::{self, Process};
use crate::bench::{Bench, Outcome};
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Where Debian puts the server's own binaries, newest version last.
const POSTGRES_DIR: &str = "/usr/lib/postgresql";
/// Rows that one INSERT, and so one commit, brings.
pub(crate) const ROWS_PER_COMMIT: usize = 100;

/// A server of this run's own.
pub(crate) struct Postgres {
    process: Process,
    port: u16,
    psql: PathBuf,
    dir: PathBuf,
    pub(crate) version: String,
}

/// What keeps such a table append-only and chained: `sha256(hash of the row before ‖ this row)`.
pub(crate) const AUDIT_SCHEMA: &str = "
CREATE TABLE audit (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  event_id uuid NOT NULL,
  subject text NOT NULL,
  body text NOT NULL,
  prev bytea NOT NULL,
  hash bytea NOT NULL
);
CREATE FUNCTION audit_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1);
  NEW.prev := coalesce((SELECT hash FROM audit ORDER BY seq DESC LIMIT 1), '\\x00'::bytea);
  NEW.hash := sha256(NEW.prev || convert_to(
    NEW.seq::text || NEW.at::text || NEW.event_id::text || NEW.subject || NEW.body, 'UTF8'));
  RETURN NEW;
END $$;
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit is append-only';
END $$;
CREATE TRIGGER audit_chain BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_chain();
CREATE TRIGGER audit_refuse BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse();
";

/// Rows whose `prev` is not the `hash` of the row before them.
const BROKEN_LINKS: &str = "
SELECT count(*) FILTER (WHERE prev <> before) || ' ' || count(*)
FROM (SELECT prev, lag(hash, 1, '\\x00'::bytea) OVER (ORDER BY seq) AS before FROM audit) AS chain;
";

impl Postgres {
    /// A server whose one database has what `schema` says. `None`: there is no PostgreSQL server here.
    pub(crate) fn start(bench: &Bench, schema: &str) -> Outcome<Option<Self>> {
        let (Some(bin), Some(psql)) = (server_binaries(), process::find("psql")) else { return Ok(None) };
        let dir = bench.dir().join("postgres");
        let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
        std::fs::create_dir(&dir).map_err(fail)?;
        let account = account()?;
        if let Some((user, group)) = account {
            std::os::unix::fs::chown(&dir, Some(user), Some(group)).map_err(fail)?;
        }
        let data = dir.join("data");
        let mut initdb = server_command(&bin.join("initdb"), account, &dir);
        initdb
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data);
        process::output("initdb", &mut initdb)?;
        let port = process::free_port()?;
        let mut postgres = server_command(&bin.join("postgres"), account, &dir);
        postgres.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(&dir);
        let mut running = Process::start("postgres", &mut postgres, &bench.dir().join("postgres.log"))?;
        running.wait_until(START_TIMEOUT, || process::accepts(port))?;
        let version = process::output("postgres", Command::new(bin.join("postgres")).arg("--version"))?;
        let version = version.trim().replace("postgres (PostgreSQL)", "PostgreSQL");
        // The packager's own version stands behind it.
        let version = version.split(" (").next().unwrap_or_default().to_owned();
        let this = Self { process: running, port, psql, dir, version };
        // A server that accepts connections may still say that it is starting up.
        let started = Instant::now();
        while let Err(error) = this.ask("SELECT 1") {
            if started.elapsed() > START_TIMEOUT {
                return Err(error);
            }
        }
        this.ask(schema)?;
        Ok(Some(this))
    }

    fn psql(&self) -> Command {
        let mut command = Command::new(&self.psql);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        command.args(["-d", "postgres", "-p", &self.port.to_string()]);
        command
    }

    /// Runs statements; the rows of the last, a line each, columns separated by `|`.
    pub(crate) fn ask(&self, sql: &str) -> Outcome<String> {
        process::output("psql", self.psql().arg("-c").arg(sql))
    }

    /// The same, and the seconds that psql measured for it.
    pub(crate) fn timed(&self, sql: &str) -> Outcome<(String, f64)> {
        let said = process::output("psql", self.psql().args(["-c", "\\timing on", "-c", sql]))?;
        let (rows, time) = said.trim_end().rsplit_once("Time: ").ok_or("psql: no time was measured")?;
        let millis = time.split(' ').next().and_then(|millis| millis.parse::<f64>().ok());
        Ok((rows.to_owned(), millis.ok_or_else(|| format!("psql: Time: {time}"))? / 1e3))
    }

    /// Copies rows from a file, in the text format of COPY, into a table.
    pub(crate) fn copy(&self, table: &str, options: &str, file: &Path) -> Outcome<()> {
        let copy = format!("\\copy {table} from '{}' {options}", file.display());
        process::output("psql", self.psql().arg("-c").arg(copy)).map(drop)
    }

    /// Stops the server.
    pub(crate) fn stop(self) -> Outcome<()> {
        // SIGINT is PostgreSQL's fast shutdown.
        self.process.stop("INT", STOP_TIMEOUT)
    }

    /// Rows a second: INSERTs of [`ROWS_PER_COMMIT`] rows each, from a prepared file, one connection, TCP.
    pub(crate) fn insert(&self, rows: &[(String, String)]) -> Outcome<f64> {
        let file = self.dir.join("rows.sql");
        std::fs::write(&file, inserts(rows)).map_err(|error| format!("{}: {error}", file.display()))?;
        let started = Instant::now();
        process::output("psql", self.psql().arg("-f").arg(&file))?;
        Ok(rows.len() as f64 / started.elapsed().as_secs_f64())
    }

    /// Checks that the chain is one, stops the server, and gives the number of rows.
    pub(crate) fn finish(self) -> Outcome<usize> {
        let counts = self.ask(BROKEN_LINKS)?;
        let rows = counts.trim().strip_prefix("0 ").and_then(|rows| rows.parse().ok());
        let rows = rows.ok_or_else(|| format!("PostgreSQL: the chain is broken: {}", counts.trim()))?;
        self.stop()?;
        Ok(rows)
    }
}

fn inserts(rows: &[(String, String)]) -> String {
    let mut sql = String::new();
    for commit in rows.chunks(ROWS_PER_COMMIT) {
        sql.push_str("INSERT INTO audit (event_id, subject, body) VALUES\n");
        for (at, (subject, body)) in commit.iter().enumerate() {
            let comma = if at == 0 { "" } else { ",\n" };
            // Writing to a String cannot fail. Subjects and bodies are words without quotes.
            let _ = write!(sql, "{comma}(gen_random_uuid(), '{subject}', '{body}')");
        }
        sql.push_str(";\n");
    }
    sql
}

fn server_binaries() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(POSTGRES_DIR)
        .ok()?
        .flatten()
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// PostgreSQL refuses to run as root: user and group id of its own account then.
fn account() -> Outcome<Option<(u32, u32)>> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let mut ids = line.into_iter().flat_map(|line| line.split(':')).skip(2).map_while(|id| id.parse().ok());
    match (ids.next(), ids.next()) {
        (Some(user), Some(group)) => Ok(Some((user, group))),
        _ => Err("PostgreSQL does not run as root, and there is no user postgres".to_owned()),
    }
}

fn server_command(program: &Path, account: Option<(u32, u32)>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}
