//! Style that a compiler does not check.

use crate::machine;
use std::path::Path;
use std::process::Command;

/// A file is one room; longer ones want a wall. Tests may run longer, as stories do.
const FILE_MAX_LINES: usize = 700;
/// The page that says which test remembers what.
const TESTS_NAMED: &str = "docs/gateway-correctness.md";
/// Words that promise work instead of doing it.
const PROMISES: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];

/// Checks every source file that git knows.
pub(crate) fn check() -> Result<(), String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(machine::root())
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    let mut problems = Vec::new();
    let mut sources = String::new();
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        if let Ok(text) = std::fs::read_to_string(machine::root().join(name)) {
            check_file(name, &text, &mut problems);
            if name.ends_with(".rs") {
                sources.push_str(&text);
            }
        }
    }
    check_tests_named(&sources, &mut problems)?;
    if problems.is_empty() { Ok(()) } else { Err(format!("not tidy:\n  {}", problems.join("\n  "))) }
}

fn check_file(name: &str, text: &str, problems: &mut Vec<String>) {
    let home = machine::root();
    if home.to_str().is_some_and(|home| home.len() > 4 && text.contains(home)) {
        problems.push(format!("{name} names a path of this machine"));
    }
    if Path::new(name).extension().is_none_or(|extension| extension != "rs") {
        return;
    }
    let lines = text.lines().count();
    let story = name.split('/').any(|part| part == "tests");
    if lines > FILE_MAX_LINES && !story {
        problems.push(format!("{name} has {lines} lines, more than {FILE_MAX_LINES}"));
    }
    if !text.starts_with("//!") {
        problems.push(format!("{name} does not open by saying what it is"));
    }
    if name != "xtask/src/tidy.rs" {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = PROMISES.iter().find(|word| line.contains(*word)) {
                problems.push(format!("{name}:{} says {word}", number + 1));
            }
        }
    }
}

/// A test that the page names exists. Names of tests have at least three words.
fn check_tests_named(sources: &str, problems: &mut Vec<String>) -> Result<(), String> {
    let page = std::fs::read_to_string(machine::root().join(TESTS_NAMED))
        .map_err(|error| format!("{TESTS_NAMED}: {error}"))?;
    for name in page.split('`').skip(1).step_by(2) {
        let is_name = name.split('_').count() > 2
            && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        if is_name && !sources.contains(&format!("fn {name}(")) {
            problems.push(format!("{TESTS_NAMED} names a test that does not exist: {name}"));
        }
    }
    Ok(())
}
