//! Answers that the gateway gives itself: what went wrong, and how the request ends that it went wrong with.

use crate::access::Denied;
use crate::body::ResponseBody;
use crate::exchange::Outcome;
use crate::limits::Late;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use indelible_net::upstream::CallError;
use indelible_record::entry::Status;
use std::io;
use uuid::Uuid;

/// Says which record a response belongs to.
pub(crate) const EVENT_ID_HEADER: HeaderName = HeaderName::from_static("x-indelible-event-id");

/// An answer that the gateway gives itself.
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) outcome: Outcome,
    pub(crate) hint: &'static str,
}

impl Problem {
    pub(crate) fn too_large(max: u64) -> Self {
        let error = format!("the request body is over the limit of {max} bytes");
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            outcome: Outcome::failed(Status::Rejected, "request_too_large", error),
            hint: "raise gateway.request_max_bytes if such requests are meant to pass",
        }
    }

    pub(crate) fn broken_request(error: &impl ToString) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            outcome: Outcome::failed(Status::Cancelled, "request_broke_off", error.to_string()),
            hint: "the client closed the connection before the end of its request",
        }
    }

    pub(crate) fn unreachable(error: &CallError) -> Self {
        let (code, status, word, hint) = match error {
            CallError::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut => (
                StatusCode::GATEWAY_TIMEOUT,
                Status::Timeout,
                "connect_timeout",
                "is the upstream address right? raise gateway.connect_timeout_s if connecting takes that long",
            ),
            CallError::Connect { .. } => (
                StatusCode::BAD_GATEWAY,
                Status::UpstreamError,
                "upstream_unreachable",
                "is the model server running, and is the upstream address right?",
            ),
            CallError::Http(_) | CallError::BrokeOff(_) => (
                StatusCode::BAD_GATEWAY,
                Status::UpstreamError,
                "upstream_no_answer",
                "the model server closed the connection or does not speak HTTP",
            ),
        };
        let error = format!("the model server gave no answer: {error}");
        Self { status: code, outcome: Outcome::failed(status, word, error), hint }
    }

    pub(crate) fn handshake_with_body() -> Self {
        let error = "a WebSocket handshake has no body of this size";
        Self {
            status: StatusCode::BAD_REQUEST,
            outcome: Outcome::failed(Status::Rejected, "handshake_with_body", error),
            hint: "send what is to be said once the handshake is answered",
        }
    }

    pub(crate) fn unasked_switch() -> Self {
        let error = "the model server switched to a protocol that it was not asked for";
        Self {
            status: StatusCode::BAD_GATEWAY,
            outcome: Outcome::failed(Status::UpstreamError, "unasked_upgrade", error),
            hint: "what is passed on is HTTP, and WebSockets that the client asks for",
        }
    }

    pub(crate) fn late(late: Late) -> Self {
        Self { status: late.http_status(), outcome: late.outcome(), hint: late.hint() }
    }

    pub(crate) fn not_durable() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            outcome: Outcome::failed(Status::Rejected, "not_durable", "the record could not be made durable"),
            hint: "restart the gateway: it reads its spool back and goes on",
        }
    }

    pub(crate) fn no_receipt(limit: std::time::Duration) -> Self {
        let error = format!("the record was not durable within {limit:?}");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            outcome: Outcome::failed(Status::Rejected, "not_durable", error),
            hint: "in mode \"receipt\" an answer waits for the collector: is it reachable?",
        }
    }

    /// The answer alone, for a request whose record has ended already.
    pub(crate) fn answer(self, event_id: Uuid) -> Response<ResponseBody> {
        own(self.status, event_id, &self.outcome.error.unwrap_or_default(), self.hint)
    }
}

/// An answer of the gateway itself, in the shape that clients of OpenAI's API read.
pub(crate) fn own(status: StatusCode, event_id: Uuid, what: &str, hint: &str) -> Response<ResponseBody> {
    let body = serde_json::json!({
        "error": { "message": what, "type": "indelible_gateway_error", "code": status.as_u16(), "hint": hint }
    });
    own_body(status, event_id, body.to_string())
}

/// The answer to a request that the gateway's rules turn away.
pub(crate) fn turned_away(denied: &Denied, event_id: Uuid) -> Response<ResponseBody> {
    let mut response = own_body(denied.status(), event_id, denied.body());
    denied.add_headers(response.headers_mut());
    response
}

pub(crate) fn own_body(status: StatusCode, event_id: Uuid, body: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Own(Some(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(EVENT_ID_HEADER, event_id_value(event_id));
    response
}

pub(crate) fn event_id_value(event_id: Uuid) -> HeaderValue {
    #[allow(clippy::unwrap_used)] // A UUID is hex digits and dashes.
    HeaderValue::from_str(event_id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).unwrap()
}
