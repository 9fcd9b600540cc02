//! The way in for fuzz targets: readers that are nobody else's business, each fed pieces as the wire cuts them.
//! Only built for fuzzing.

use crate::access::Credential;
use crate::dialect::{AnswerReader, MessageReader, RequestReader, decoded, endpoint_of};
use crate::{access, headers, hop, usage};
use bytes::Bytes;
use http::HeaderMap;
use indelible_record::event::{Answer, Facts};

/// All that is read of a request body.
pub fn request<'a>(
    (method, path): (&str, &str),
    head: &HeaderMap,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Facts {
    let mut reader = RequestReader::new(endpoint_of(method, path), path, head);
    pieces.for_each(|piece| reader.push(piece));
    reader.facts().into()
}

/// All that is read of an answer: what it says, its usage, whether it ended, whether it began.
pub fn answer<'a>(
    (method, path): (&str, &str),
    head: &HeaderMap,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Answer, Option<String>, bool, bool) {
    let mut reader = AnswerReader::new(endpoint_of(method, path), head);
    pieces.for_each(|piece| reader.push(piece));
    let (ended, began) = (reader.saw_end(), reader.began());
    let (answer, usage) = reader.finish();
    (answer, usage, ended, began)
}

/// All that is read of a conversation in which the server sent these messages, and how many answers ended.
pub fn messages<'a, P: Iterator<Item = &'a [u8]>>(
    path: &str,
    messages: impl Iterator<Item = P>,
) -> (Answer, Option<String>, usize) {
    let mut reader = MessageReader::new(endpoint_of("GET", path));
    let mut ended = 0;
    for pieces in messages {
        pieces.for_each(|piece| reader.push(piece));
        ended += usize::from(reader.end_message());
    }
    let (answer, usage) = reader.finish();
    (answer, usage, ended)
}

/// What a body decodes to, and why not all of it.
pub fn content<'a>(coding: &str, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Option<&'static str>) {
    decoded(coding, pieces)
}

/// A request body that asks for usage, of one that leaves it open.
pub fn ask(body: &[u8]) -> Option<Vec<u8>> {
    usage::edited(body)
}

/// What goes to the client of a stream, and the stretches that were taken out.
pub fn strip<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<(u64, u64)>) {
    let (mut strip, mut passed) = (usage::Strip::default(), Vec::new());
    for piece in pieces {
        passed.extend_from_slice(&strip.pass(&Bytes::copy_from_slice(piece)).unwrap_or_default());
    }
    passed.extend_from_slice(&strip.rest().unwrap_or_default());
    (passed, strip.taken().to_vec())
}

/// What headers say of the caller, in the fields of a record, with the id of the provider.
pub fn identity(head: &HeaderMap) -> (Facts, Option<String>) {
    let said = headers::identity(head);
    let facts = Facts {
        user_id: said.user_id,
        session_id: said.session_id,
        request_id: said.request_id,
        trace_id: said.trace_id,
        span_id: said.span_id,
        app_version: said.app_version,
        environment: said.environment,
        attempt: said.attempt,
        tags: said.tags,
        ..Facts::default()
    };
    (facts, headers::provider_request_id(head))
}

/// The headers that a payload keeps, of a request and of an answer.
pub fn kept(head: &HeaderMap) -> [Vec<(String, String)>; 2] {
    [headers::kept_request_headers(head), headers::kept_response_headers(head)]
}

/// The credentials that a request shows.
pub fn credentials(head: &HeaderMap, query: Option<&str>) -> Vec<Vec<u8>> {
    headers::credentials(head, query).map(<[u8]>::to_vec).collect()
}

/// A target as it is recorded.
pub fn scrub_target(target: &str) -> String {
    headers::scrub_target(target)
}

/// The headers of a request as they go on.
pub fn hop(mut head: HeaderMap) -> HeaderMap {
    hop::strip_request(&mut head);
    head
}

/// Whether a key has the form of the gateway's own.
pub fn is_own_key(sent: &[u8]) -> bool {
    access::key_text::form_of(sent) == access::key_text::Form::Whole
}

/// A request's headers and target as they go to a model server, which gets `credential` instead of the
/// client's.
pub fn for_upstream(mut head: HeaderMap, target: &str, credential: &Credential) -> (HeaderMap, String) {
    access::put_in_place(&mut head, Some(credential), true);
    let target = access::clean_target(target, Some(credential), true);
    (head, target.into_owned())
}
