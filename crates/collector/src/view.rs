//! A record as people and programs are shown it: the same JSON from the API and from the command line.

mod spoken;
mod turn;

pub use turn::turn;

use crate::read::{Found, Payload};
use indelible_record::event::Private;
use serde_json::{Map, Value, json};

/// The record without its payload.
pub fn summary(found: &Found, level: &str) -> Value {
    json!({
        "entry": entry(found),
        "leaf_hash": found.leaf_hash().to_string(),
        "level": level,
    })
}

/// The record with its payload, or with the reason why there is none.
pub fn full(found: &Found, level: &str, payload: Result<&Payload, String>) -> Value {
    let mut record = summary(found, level);
    let shown = match payload {
        Err(why) => json!({ "unreadable": why }),
        Ok(payload) => {
            let mut request = body(&payload.request);
            request.insert("headers".to_owned(), headers(&payload.start));
            put(&mut request, "method", payload.start.method.clone());
            put(&mut request, "target", payload.start.target.clone());
            // A count of refusals has no start of its own.
            put(&mut request, "peer", payload.start.peer.clone().or_else(|| payload.end.peer.clone()));
            if let Some(sent) = payload.sent() {
                request.insert("sent".to_owned(), body(&sent).into());
            }
            let mut response = body(&payload.response);
            response.insert("headers".to_owned(), headers(&payload.end));
            put(&mut response, "error", payload.end.error.clone());
            let mut originals = payload.start.originals.clone();
            originals.extend(payload.end.originals.clone());
            let mut shown = json!({
                "request": request,
                "response": response,
                "originals": originals,
                "usage": payload.end.usage.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()),
                "input_commitment": payload.end.input.as_ref().or(payload.start.input.as_ref()),
                "output_commitment": payload.end.output,
                "matches_commitments": payload.matches(&found.entry),
            });
            if let Some(spoken) = spoken::shown(payload) {
                shown["websocket"] = spoken;
            }
            shown
        }
    };
    record["payload"] = shown;
    record
}

fn entry(found: &Found) -> Value {
    serde_json::from_slice(&found.bytes).unwrap_or(Value::Null)
}

fn headers(private: &Private) -> Value {
    private.headers.iter().map(|(name, value)| json!([name, value])).collect()
}

/// Bytes, and what they are.
fn body(bytes: &[u8]) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("bytes".to_owned(), bytes.len().into());
    put_bytes(&mut shown, bytes);
    shown
}

/// Text where it is text; base64 where it is not.
fn put_bytes(shown: &mut Map<String, Value>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => shown.insert("text".to_owned(), text.into()),
        Err(_) => {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            shown.insert("base64".to_owned(), text.into())
        }
    };
}

fn put(map: &mut Map<String, Value>, name: &str, text: Option<String>) {
    if let Some(text) = text {
        map.insert(name.to_owned(), text.into());
    }
}
