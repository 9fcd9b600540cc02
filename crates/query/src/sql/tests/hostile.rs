//! What SQL must not be able to do, however it is put.

use super::*;
use crate::{Kind, Parameter};
use std::collections::BTreeMap;

fn refusal(sql: &str) -> QueryError {
    match try_ask(&engine(), &Arc::new(Store::of(calls(10), 5)), Question::new(sql, Format::Json)) {
        Err(error) => error,
        Ok(bytes) => panic!("{sql} was answered: {}", String::from_utf8_lossy(&bytes)),
    }
}

#[test]
fn sql_changes_nothing() {
    for sql in [
        "INSERT INTO events SELECT * FROM events",
        "INSERT INTO events VALUES (1)",
        "DELETE FROM events",
        "UPDATE events SET model = 'x'",
        "TRUNCATE TABLE events",
        "CREATE TABLE t AS SELECT * FROM events",
        "CREATE VIEW v AS SELECT 1",
        "CREATE OR REPLACE VIEW inferences AS SELECT 1",
        "CREATE DATABASE d",
        "CREATE SCHEMA s",
        "CREATE FUNCTION f(INT) RETURNS INT RETURN $1",
        "DROP TABLE events",
        "DROP VIEW inferences",
        "ALTER TABLE events ADD COLUMN x INT",
        "SELECT * INTO t FROM events",
        "WITH x AS (SELECT 1) INSERT INTO events SELECT * FROM x",
        "EXPLAIN ANALYZE INSERT INTO events SELECT * FROM events",
        "EXPLAIN DELETE FROM events",
        "EXPLAIN ANALYZE COPY events TO 'x.parquet'",
        "BEGIN",
        "COMMIT",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "ANALYZE TABLE events",
        "GRANT SELECT ON events TO x",
        "CALL f()",
        "SELECT 1; DROP TABLE events",
        "SELECT 1; SELECT 2",
        "",
    ] {
        assert_eq!(refusal(sql).kind, Kind::Question, "{sql}");
    }
}

#[test]
fn sql_reaches_no_file_and_no_address() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("secret.csv");
    std::fs::write(&csv, "a\nsecret\n").unwrap();
    let out = dir.path().join("out.csv");
    for sql in [
        format!("SELECT * FROM '{}'", csv.display()),
        format!("SELECT * FROM \"{}\"", csv.display()),
        format!("SELECT * FROM 'file://{}'", csv.display()),
        "SELECT * FROM 'http://127.0.0.1:1/x.csv'".to_owned(),
        "SELECT * FROM 's3://bucket/x.parquet'".to_owned(),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        format!("SELECT * FROM read_csv('{}')", csv.display()),
        format!("SELECT * FROM read_parquet('{}')", csv.display()),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{}'", csv.display()),
        format!("COPY events TO '{}'", out.display()),
        format!("COPY (SELECT 1) TO '{}' STORED AS CSV", out.display()),
        format!("LOAD DATA INPATH '{}' INTO TABLE events", csv.display()),
        format!("SELECT pg_read_file('{}')", csv.display()),
    ] {
        let error = refusal(&sql);
        assert_eq!(error.kind, Kind::Question, "{sql}: {error:?}");
        assert!(!error.to_string().contains("secret\n"), "{error}");
    }
    assert!(!out.exists());
}

#[test]
fn sql_sees_one_tenants_tables_and_no_others() {
    for sql in [
        "SELECT * FROM operations",
        "SELECT * FROM other.ledger.events",
        "SELECT * FROM indelible.other.events",
        "SELECT * FROM datafusion.public.events",
    ] {
        assert_eq!(refusal(sql).kind, Kind::Question, "{sql}");
    }
    let tables = rows(
        Store::default(),
        "SELECT table_catalog, table_schema, table_name FROM information_schema.tables",
    );
    let mut names: Vec<&str> = tables
        .iter()
        .filter(|row| row["table_schema"] != "information_schema")
        .map(|row| row["table_name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["costs", "events", "inferences", "sessions", "tool_calls"]);
    assert!(tables.iter().all(|row| row["table_catalog"] == "indelible"));
}

#[test]
fn a_value_is_never_sql() {
    let store = Arc::new(Store::of(calls(10), 5).with_subject("x') OR ('1'='1", "sub_2"));
    let ask = |sql: &str, parameters: &[(&str, Parameter)]| {
        let parameters: BTreeMap<String, Parameter> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let bytes = try_ask(&engine(), &store, Question { parameters, ..Question::new(sql, Format::Csv) });
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let text = |text: &str| Parameter::Text(Some(text.to_owned()));
    let hostile = [("m", text("x' OR '1'='1")), ("u", text("x') OR ('1'='1"))];
    assert_eq!(ask("SELECT count(*) AS n FROM events WHERE model = $m", &hostile).unwrap(), "n\n0\n");
    assert_eq!(
        ask("SELECT count(*) AS n FROM events WHERE subject_ref = subject($u)", &hostile).unwrap(),
        "n\n3\n"
    );
    assert_eq!(ask("SELECT $m AS m", &hostile).unwrap(), "m\nx' OR '1'='1\n");
    let typed = [
        ("t", Parameter::Time(Some(START_US + 3 * HOUR_US))),
        ("n", Parameter::Int(Some(2))),
        ("none", Parameter::Text(None)),
        ("f", Parameter::Flag(Some(true))),
    ];
    let sql = "SELECT seq FROM events WHERE timestamp >= $t AND ($none IS NULL OR model = $none) AND $f ORDER BY seq LIMIT $n";
    assert_eq!(ask(sql, &typed).unwrap(), "seq\n3\n4\n");
    let error = ask("SELECT $missing", &[]).unwrap_err();
    assert!(error.kind == Kind::Question && error.what.contains("$missing"), "{error:?}");
}
