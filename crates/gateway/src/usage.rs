//! Token counts of streams whose client did not ask for them (`inject_usage = true` on a route).
//!
//! A streamed chat completion says what it used only if the request has `stream_options.include_usage`. Where a
//! client left that open, the request is sent on with it, and the event that answers it, which has no choices, is
//! taken out of what the client gets. This is the one place where a body is changed, so both sides are
//! recorded: the request as the client sent it with what was put in, and the answer as the model server
//! sent it with what was taken out. A client that said yes or no is taken at its word.
//!
//! * `ask`: where to put it into a request, byte by byte
//! * `strip`: taking the event out of a stream, event by event

mod ask;
mod strip;

pub(crate) use strip::Strip;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use indelible_record::Committer;
use indelible_record::event::Rewrite;

/// The name of the change in records.
const NAME: &str = "include_usage";

/// A request as it is sent on.
pub(crate) struct Asking {
    body: Bytes,
    /// What the record says of it.
    pub(crate) rewrite: Rewrite,
}

impl Asking {
    /// What to send instead of a request that leaves usage open; `None` for any other. `body` is all of it, and
    /// `salt` is random.
    pub(crate) fn instead_of(head: &http::request::Parts, body: &[u8], salt: [u8; 32]) -> Option<Self> {
        let path = head.uri.path().trim_end_matches('/');
        // Chat completions, and completions, which have the same option.
        if head.method != Method::POST || !path.ends_with("/completions") || !is_plain_json(&head.headers) {
            return None;
        }
        let edit = ask::edit(body)?;
        let sent = edit.apply(body);
        let mut committer = Committer::new(salt);
        committer.update(&sent);
        let rewrite = Rewrite {
            name: NAME.to_owned(),
            at: edit.at as u64,
            removed: edit.removed as u64,
            inserted: edit.inserted.to_owned(),
            sent: committer.finish(),
        };
        Some(Self { body: sent.into(), rewrite })
    }

    /// The body to send, and headers that fit it: its length, and an answer that can be read as it passes.
    pub(crate) fn send(self, headers: &mut HeaderMap) -> Bytes {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        self.body
    }
}

/// A request body that asks for usage, of one that leaves it open.
#[cfg(fuzzing)]
pub(crate) fn edited(body: &[u8]) -> Option<Vec<u8>> {
    ask::edit(body).map(|edit| edit.apply(body))
}

/// What takes the event out of an answer with this head, and a head that fits what is left.
pub(crate) fn strip(status: StatusCode, headers: &mut HeaderMap) -> Option<Box<Strip>> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    let plain = text(header::CONTENT_ENCODING).is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
    // Errors and whole answers pass as they are, and so does what was compressed all the same.
    if !status.is_success() || !kind.trim().eq_ignore_ascii_case("text/event-stream") || !plain {
        return None;
    }
    headers.remove(header::CONTENT_LENGTH);
    Some(Box::default())
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let media_type = kind.map(|value| value.split(';').next().unwrap_or_default().trim());
    media_type.is_none_or(|kind| kind.eq_ignore_ascii_case("application/json"))
        && !headers.contains_key(header::CONTENT_ENCODING)
}
