//! What real servers said, as a reader is shown it. The fixtures are those of the gateway's dialects.
//!
//! `INDELIBLE_GOLDEN=write` writes what is shown now; read the difference before keeping it.

#![allow(clippy::unwrap_used, missing_docs)]

use indelible_transcript::{Exchange, Side, Transcript, Turn, read, render};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/tests/fixtures")
}

/// A recorded exchange by its directory and name.
fn transcript(dir: &Path, exchange: &Value) -> Transcript {
    let body = |side: &str| {
        let file = exchange[side]["body"].as_str();
        file.map_or_else(Vec::new, |file| std::fs::read(dir.join(file)).unwrap())
    };
    let header = |side: &str, wanted: &str| {
        let headers = exchange[side]["headers"].as_array().into_iter().flatten();
        headers.filter(|pair| pair[0] == wanted).find_map(|pair| pair[1].as_str())
    };
    let (request, response) = (body("request"), body("answer"));
    let side = |name: &str| Side {
        body: &[],
        content_type: header(name, "content-type"),
        content_encoding: header(name, "content-encoding"),
    };
    read(&Exchange {
        target: exchange["request"]["target"].as_str(),
        request: Side { body: &request, ..side("request") },
        response: Side { body: &response, ..side("answer") },
    })
}

fn exchanges(name: &str) -> Vec<(String, Transcript)> {
    let dir = fixtures().join(name);
    let index: Value = serde_json::from_slice(&std::fs::read(dir.join("index.json")).unwrap()).unwrap();
    let exchanges = index["exchanges"].as_array().unwrap();
    exchanges.iter().map(|one| (one["name"].as_str().unwrap().to_owned(), transcript(&dir, one))).collect()
}

fn shown(transcript: &Transcript) -> String {
    let turn = Turn {
        entry: Value::Null,
        level: "signed".to_owned(),
        leaf_hash: String::new(),
        user: None,
        matches: None,
        said: Ok(transcript.clone()),
        error: None,
    };
    let text = render::text::record(&turn);
    // The heading is about the entry, which a fixture does not have.
    text.lines().skip(2).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_recorded_exchange_is_shown_as_it_was_read_before() {
    let write = std::env::var_os("INDELIBLE_GOLDEN").is_some_and(|word| word == "write");
    let mut wrong = Vec::new();
    for dir in ["vllm", "specified"] {
        let shown: String = exchanges(dir)
            .iter()
            .map(|(name, transcript)| format!("══ {name} · {:?}\n{}", transcript.dialect, shown(transcript)))
            .collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{dir}.txt"));
        if write {
            std::fs::write(&path, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (n, (is, was)) in shown.lines().zip(expected.lines()).enumerate() {
            if is != was {
                wrong.push(format!("{dir}.txt:{}: {is:?}, not {was:?}", n + 1));
            }
        }
        if shown.lines().count() != expected.lines().count() {
            wrong.push(format!("{dir}.txt: {} lines", shown.lines().count()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// vLLM was asked for the same twice with temperature 0: as a stream, and not. A client sees the same message.
#[test]
fn a_stream_is_put_together_to_what_comes_at_once() {
    let exchanges = exchanges("vllm");
    let find = |name: &str| &exchanges.iter().find(|(found, _)| found == name).unwrap().1;
    let mut compared = 0;
    for (name, streamed) in &exchanges {
        let Some(plain) = name.strip_suffix("-streamed") else { continue };
        if !exchanges.iter().any(|(found, _)| found == plain) {
            continue;
        }
        let whole = find(plain);
        // What the model says differs from run to run; what kinds of parts there are does not.
        let kinds = |transcript: &Transcript| -> Vec<Vec<String>> {
            let parts = |message: &indelible_transcript::model::Message| {
                let kind = |part| serde_json::to_value(part).unwrap()["type"].as_str().unwrap().to_owned();
                let mut kinds: Vec<String> = message.parts.iter().map(kind).collect();
                kinds.dedup();
                kinds
            };
            transcript.answers.iter().map(|answer| parts(&answer.message)).collect()
        };
        assert_eq!(streamed.error.is_some(), whole.error.is_some(), "{name}");
        assert_eq!(streamed.answers.len(), whole.answers.len(), "{name}");
        if kinds(streamed) == kinds(whole) {
            compared += 1;
        }
        assert_eq!(streamed.rest, whole.rest, "{name}");
    }
    assert!(compared >= 6, "only {compared} streams have the parts of their plain form");
}
