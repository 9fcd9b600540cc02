//! The recorded exchanges that dialects are tested on: whole, and what their index says. See fixtures/README.md.

#![allow(clippy::unwrap_used)] // A test may panic.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Fixtures are read by people, too.
const DIRECTORY_MAX_BYTES: u64 = 300_000;

#[test]
fn an_answer_is_as_long_as_its_framing_said() {
    for (dir, exchange) in exchanges() {
        let answer = &exchange["answer"];
        let bytes = fs::read(dir.join(text(&answer["body"]))).unwrap().len() as u64;
        let length = header(answer, "content-length").map(|value| value.parse::<u64>().unwrap());
        let chunks = answer["chunk_bytes"].as_array().map(|sizes| sizes.iter().map(number).sum::<u64>());
        let chunked = header(answer, "transfer-encoding") == Some("chunked");
        assert_eq!((chunked, length.is_some()), (chunks.is_some(), !chunked), "{}", exchange["name"]);
        assert_eq!(length.or(chunks), Some(bytes), "{}", exchange["name"]);
    }
}

#[test]
fn a_body_is_of_the_kind_that_its_name_says() {
    for (dir, exchange) in exchanges() {
        let name = text(&exchange["answer"]["body"]);
        let bytes = fs::read(dir.join(name)).unwrap();
        let media_type = header(&exchange["answer"], "content-type").unwrap();
        let coding = header(&exchange["answer"], "content-encoding");
        let (kind, good) = match name.split_once(".answer.").unwrap().1 {
            "json" => ("application/json", serde_json::from_slice::<Value>(&bytes).is_ok()),
            "sse" => ("text/event-stream", bytes.ends_with(b"\n\n")),
            "json.gz" => ("application/json", coding == Some("gzip") && bytes.starts_with(&[0x1f, 0x8b])),
            other => panic!("{name}: an answer of kind {other}"),
        };
        assert!(good, "{name}");
        assert_eq!(media_type.split(';').next(), Some(kind), "{name}");
        assert_eq!(coding.is_some(), name.ends_with(".gz"), "{name}");
    }
}

#[test]
fn every_file_is_in_the_index_once_and_all_are_small() {
    for dir in directories() {
        let named: Vec<String> = exchanges_of(&dir)
            .iter()
            .flat_map(|exchange| [exchange["request"]["body"].clone(), exchange["answer"]["body"].clone()])
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        let files = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
        let (names, sizes): (BTreeSet<String>, Vec<u64>) = files
            .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()))
            .unzip();
        let mut expected: BTreeSet<String> = named.iter().cloned().collect();
        assert_eq!(expected.len(), named.len(), "a file stands for two bodies");
        expected.insert("index.json".to_owned());
        assert_eq!(names, expected);
        assert!(sizes.iter().sum::<u64>() <= DIRECTORY_MAX_BYTES, "{}", dir.display());
    }
}

fn exchanges() -> Vec<(PathBuf, Value)> {
    let all: Vec<_> = directories()
        .into_iter()
        .flat_map(|dir| exchanges_of(&dir).into_iter().map(move |exchange| (dir.clone(), exchange)))
        .collect();
    assert!(!all.is_empty());
    all
}

fn directories() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().path());
    // What was written from specifications was never on a wire.
    entries.filter(|path| path.is_dir() && !path.ends_with("specified")).collect()
}

fn exchanges_of(dir: &Path) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
    index["exchanges"].as_array().unwrap().clone()
}

fn header<'a>(message: &'a Value, name: &str) -> Option<&'a str> {
    let headers = message["headers"].as_array().unwrap();
    headers.iter().find(|pair| pair[0] == name).map(|pair| text(&pair[1]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}
