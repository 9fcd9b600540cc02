//! Saved searches, as the command line finds and shows them.

use crate::failure::Failure;
use crate::query::refused;
use indelible_query::search::{self, Search};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// Longest file of a search.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// The searches of this release and those in a directory, by name. A directory's go before.
pub(crate) fn load(dir: Option<&Path>) -> Result<Vec<Search>, Failure> {
    let mut all = search::built_in().map_err(|error| refused(&error))?;
    for path in dir.map(files).transpose()?.unwrap_or_default() {
        let failed = |what: &dyn std::fmt::Display| Failure::new(format!("{}: {what}", path.display()));
        let size = std::fs::metadata(&path).map_err(|error| failed(&error))?.len();
        if size > FILE_MAX_BYTES {
            return Err(failed(&format!("a search has at most {FILE_MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
        let own = Search::parse(&text).map_err(|error| {
            let shown = refused(&error);
            Failure { what: format!("{}: {}", path.display(), shown.what), ..shown }
        })?;
        all.retain(|other| other.name != own.name);
        all.push(own);
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

fn files(dir: &Path) -> Result<Vec<std::path::PathBuf>, Failure> {
    let failed =
        |error| Failure::new(format!("{}: {error}", dir.display())).hint("name a directory with --searches");
    let mut files = Vec::new();
    for file in std::fs::read_dir(dir).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// One line a search.
pub(crate) fn list(searches: &[Search], as_json: bool) -> String {
    if as_json {
        let all: Vec<Value> = searches.iter().map(described).collect();
        return format!("{}\n", json!({ "searches": all }));
    }
    let width = searches.iter().map(|search| search.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for search in searches {
        let answers = search.answers.join(" ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<width$}  {:<8} {}", search.name, answers, search.title);
    }
    text
}

/// All about one search.
pub(crate) fn show(search: &Search, as_json: bool) -> String {
    if as_json {
        return format!("{}\n", described(search));
    }
    let mut text = format!("{}: {}\n", search.name, search.title);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    if !search.answers.is_empty() {
        line("answers", &search.answers.join(", "));
    }
    line("ledger", if search.of_operations { "operations" } else { "the tenant's" });
    for clause in &search.clauses {
        line("asked by", clause);
    }
    for parameter in &search.parameters {
        let default =
            parameter.default.as_ref().map_or("must be given".to_owned(), |value| format!("default {value}"));
        line(
            "parameter",
            &format!("{} ({}, {default})  {}", parameter.name, parameter.of.name(), parameter.about),
        );
    }
    let _ = write!(text, "\n{}\n", search.sql);
    text
}

fn described(search: &Search) -> Value {
    let parameters: Vec<Value> = search
        .parameters
        .iter()
        .map(|one| json!({ "name": one.name, "type": one.of.name(), "default": one.default, "about": one.about }))
        .collect();
    json!({
        "name": search.name, "title": search.title, "answers": search.answers,
        "ledger": if search.of_operations { "operations" } else { "tenant" },
        "clauses": search.clauses, "parameters": parameters, "sql": search.sql,
    })
}
