//! The texts that a body consists of: one JSON document, a list that grows, events (WHATWG HTML §9.2), lines.

use crate::model::Part;
use serde_json::Value;

/// A body taken apart.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// Each document that could be read, in order.
    pub(crate) documents: Vec<Value>,
    /// Whether they came as a stream.
    pub(crate) streamed: bool,
    /// What could not be read, where it is not nothing.
    pub(crate) unread: Vec<Part>,
}

const MARK: &str = "\u{feff}";

/// Takes a body apart. What it is shows in its first bytes, not in its media type, which servers get wrong.
pub(crate) fn texts(body: &[u8], media_type: Option<&str>) -> Texts {
    let lossy = String::from_utf8_lossy(body);
    let text = lossy.trim_start_matches(MARK);
    let begun = text.trim_start();
    if begun.is_empty() {
        return Texts::default();
    }
    match serde_json::from_str::<Value>(begun) {
        // Gemini's stream without `alt=sse`: a list that grew.
        Ok(Value::Array(items)) if items.iter().all(Value::is_object) && !items.is_empty() => {
            return Texts { documents: items, streamed: true, unread: Vec::new() };
        }
        Ok(value) => return Texts { documents: vec![value], ..Texts::default() },
        Err(_) => {}
    }
    let is_field = |line: &str| {
        ["data", "event", "id", "retry", ""].iter().any(|name| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':') || rest.trim_end().is_empty())
        })
    };
    if begun.lines().next().is_some_and(|line| is_field(line) && !line.trim().is_empty()) {
        return events(text, media_type);
    }
    if begun.starts_with('{') {
        let read = lines(begun, media_type);
        if !read.documents.is_empty() {
            return read;
        }
    }
    if let Some(list) = begun.strip_prefix('[') {
        let read = cut_list(list, media_type);
        if !read.documents.is_empty() {
            return read;
        }
    }
    let why = if begun.starts_with(['{', '[']) { "not JSON, or cut" } else { "not JSON" };
    Texts { unread: vec![Part::unread(why, media_type, body)], ..Texts::default() }
}

/// Server-sent events: the data of each is one document.
fn events(text: &str, media_type: Option<&str>) -> Texts {
    let mut out = Texts { streamed: true, ..Texts::default() };
    let mut data: Option<String> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = &rest[..end];
        let behind = &rest[end..];
        rest = behind.strip_prefix("\r\n").or_else(|| behind.get(1..)).unwrap_or_default();
        if line.is_empty() {
            out.document(data.take(), media_type);
        } else if let Some(value) = line.strip_prefix("data") {
            let value = value.strip_prefix(':').unwrap_or(value);
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            }
        } else if !["event", "id", "retry", ""].iter().any(|name| {
            line.strip_prefix(name).is_some_and(|value| value.is_empty() || value.starts_with(':'))
        }) {
            out.unread.push(Part::unread("a line that is no field of an event", media_type, line.as_bytes()));
        }
    }
    // Clients drop an event that no empty line ends; the record shows it.
    out.document(data, media_type);
    out
}

/// JSON documents, one a line.
fn lines(text: &str, media_type: Option<&str>) -> Texts {
    let mut out = Texts { streamed: true, ..Texts::default() };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        out.document(Some(line.to_owned()), media_type);
    }
    out
}

/// A list that broke off: its whole items, and the rest as it is.
fn cut_list(text: &str, media_type: Option<&str>) -> Texts {
    let mut out = Texts { streamed: true, ..Texts::default() };
    let mut rest = text;
    loop {
        rest = rest.trim_start().trim_start_matches(',').trim_start();
        let mut items = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match items.next() {
            Some(Ok(item)) => {
                rest = rest.get(items.byte_offset()..).unwrap_or_default();
                out.documents.push(item);
            }
            _ => break,
        }
    }
    if !matches!(rest.trim(), "" | "]") {
        out.unread.push(Part::unread("cut", media_type, rest.as_bytes()));
    }
    out
}

impl Texts {
    fn document(&mut self, data: Option<String>, media_type: Option<&str>) {
        let Some(data) = data else { return };
        match data.trim() {
            "" | "[DONE]" => {}
            text => match serde_json::from_str(text) {
                Ok(value) => self.documents.push(value),
                Err(_) => self.unread.push(Part::unread("not JSON, or cut", media_type, data.as_bytes())),
            },
        }
    }
}
