//! Recorded and specified exchanges in `tests/fixtures`: what holds of every one. A README there says how they
//! are laid out; a new one needs nothing but its line in an `index.json`.

use super::*;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Cuts that are tried of a large answer; of a small one all are.
const CUTS_MAX: usize = 2000;

#[derive(Deserialize)]
struct Index {
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    name: String,
    request: Asked,
    answer: Answered,
    expected: Option<Answer>,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Answered {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// Every exchange, with the directory that its files are in.
fn exchanges() -> Vec<(PathBuf, Exchange)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let indexes = folders.filter_map(|folder| Some((fs::read(folder.join("index.json")).ok()?, folder)));
    let all = indexes.flat_map(|(index, folder)| {
        let index: Index = serde_json::from_slice(&index).unwrap();
        index.exchanges.into_iter().map(move |exchange| (folder.clone(), exchange))
    });
    all.collect()
}

fn body(folder: &Path, file: Option<&String>) -> Vec<u8> {
    file.map_or_else(Vec::new, |file| fs::read(folder.join(file)).unwrap())
}

fn head(lines: &[(String, String)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect::<Vec<(HeaderName, HeaderValue)>>()
        .into_iter()
        .collect()
}

/// Where to cut a body: everywhere, or in so many places that nothing is far from a cut.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len / CUTS_MAX + 1)
}

#[test]
fn every_fixture_says_what_it_must_wherever_it_is_cut() {
    let exchanges = exchanges();
    assert!(exchanges.len() >= 7, "{} fixtures", exchanges.len());
    for (folder, Exchange { name, request, answer, expected }) in exchanges {
        let endpoint = endpoint_of(&request.method, &request.target);
        let (head, body) = (head(&answer.headers), body(&folder, answer.body.as_ref()));
        let read = read_pieces(endpoint, &head, [&*body]);
        for at in cuts(body.len()) {
            let (before, after) = body.split_at(at);
            assert_eq!(read_pieces(endpoint, &head, [before, after]), read, "{name} cut at {at}");
        }
        assert_eq!(read_pieces(endpoint, &head, body.chunks(1)), read, "{name} byte by byte");
        assert_eq!(read.said.unread, None, "{name}");
        if let Some(expected) = expected {
            assert_eq!(read.said, expected, "{name}");
        }
        if endpoint.operation() != "other" {
            let said = serde_json::from_slice::<serde_json::Value>(&body);
            let names_error = said.is_ok_and(|said| !said["error"].is_null());
            let failed =
                if answer.status >= 400 { Some(names_error) } else { name.contains("error").then_some(true) };
            check(&name, endpoint, failed, &head, &read);
        }
    }
}

/// What any answer of an API that is known must say. Of one that `failed`, it is known whether it says why.
fn check(name: &str, endpoint: &Endpoint, failed: Option<bool>, head: &HeaderMap, read: &Read) {
    let is = |word: &str| name.contains(word);
    assert_eq!(read.said.error_type.is_some(), failed == Some(true), "{name}: which error?");
    let media_type = head.get("content-type").unwrap().to_str().unwrap();
    let streamed = media_type.starts_with("text/event-stream") || media_type.contains("ndjson");
    assert_eq!(read.ended, streamed && !is("cut"), "{name}: the end of a stream");
    let makes_no_tokens = ["tokenize", "detokenize", "count_tokens", "response_cancel"];
    if failed.is_some() || makes_no_tokens.contains(&endpoint.operation()) {
        return;
    }
    assert!(read.said.model.is_some(), "{name}: the model that answered");
    let uncounted = is("without-usage") || is("cut") || is("background") || is("poll");
    if !uncounted {
        assert!(read.said.prompt_tokens.is_some(), "{name}: tokens in");
        assert!(read.usage.is_some() || endpoint.path.starts_with("/api/"), "{name}: usage as sent");
    }
}

#[test]
fn every_request_of_the_fixtures_says_the_same_wherever_it_is_cut() {
    for (folder, Exchange { name, request, answer, .. }) in exchanges() {
        let endpoint = endpoint_of(&request.method, &request.target);
        let (head, body) = (head(&request.headers), body(&folder, request.body.as_ref()));
        let read = |pieces: &[&[u8]]| {
            let mut reader = RequestReader::new(endpoint, &request.target, &head);
            pieces.iter().for_each(|piece| reader.push(piece));
            reader.facts()
        };
        let facts = read(&[&body]);
        for at in cuts(body.len()) {
            let (before, after) = body.split_at(at);
            assert_eq!(read(&[before, after]), facts, "{name} cut at {at}");
        }
        let generates = ["chat", "text_completion", "embeddings"].contains(&endpoint.operation());
        if generates && answer.status < 400 && !body.is_empty() {
            assert!(facts.model.is_some(), "{name}: the model asked for");
        }
    }
}
