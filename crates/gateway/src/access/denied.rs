//! Requests that the gateway turns away by its rules: why, and what the client is told.
//!
//! The answer has the shape of OpenAI's errors, with the status, code and headers that its clients act on
//! (401 to stop, 429 with `Retry-After` to wait). No answer and no record repeats what was sent as a key.

use super::limits::Limited;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use indelible_record::entry::Status;
use std::time::Duration;

use crate::exchange::Outcome;

/// Why a request is turned away. The words stand in entries as `error_type`, and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No key was sent.
    NoApiKey,
    /// What was sent is no key of this gateway's form, or was mistyped.
    MalformedApiKey,
    /// A key of its form that it does not know.
    UnknownApiKey,
    /// A key that was taken back.
    RevokedApiKey,
    /// A key whose time is over.
    ExpiredApiKey,
    /// A key that may not use this route.
    RouteNotAllowed,
    /// The minute's requests are used up.
    RateLimited,
    /// As many run as may at once.
    TooManyAtOnce,
}

impl Reason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::NoApiKey,
        Self::MalformedApiKey,
        Self::UnknownApiKey,
        Self::RevokedApiKey,
        Self::ExpiredApiKey,
        Self::RouteNotAllowed,
        Self::RateLimited,
        Self::TooManyAtOnce,
    ];

    /// The word that stands in entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoApiKey => "no_api_key",
            Self::MalformedApiKey => "malformed_api_key",
            Self::UnknownApiKey => "unknown_api_key",
            Self::RevokedApiKey => "revoked_api_key",
            Self::ExpiredApiKey => "expired_api_key",
            Self::RouteNotAllowed => "route_not_allowed",
            Self::RateLimited => "rate_limited",
            Self::TooManyAtOnce => "too_many_at_once",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NoApiKey
            | Self::MalformedApiKey
            | Self::UnknownApiKey
            | Self::RevokedApiKey
            | Self::ExpiredApiKey => StatusCode::UNAUTHORIZED,
            Self::RouteNotAllowed => StatusCode::FORBIDDEN,
            Self::RateLimited | Self::TooManyAtOnce => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// `error.type` and `error.code`, as OpenAI's API has them.
    fn kind(self) -> (&'static str, &'static str) {
        match self.status() {
            StatusCode::UNAUTHORIZED => ("invalid_request_error", "invalid_api_key"),
            StatusCode::FORBIDDEN => ("invalid_request_error", "route_not_allowed"),
            _ => ("rate_limit_error", "rate_limit_exceeded"),
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::NoApiKey => "send a key of this gateway: Authorization: Bearer idk_…",
            Self::MalformedApiKey => {
                "a key is idk_ and 49 letters and digits: was it cut, or is it another service's?"
            }
            Self::UnknownApiKey => "ask whoever runs this gateway for a key",
            Self::RevokedApiKey | Self::ExpiredApiKey => "ask whoever runs this gateway for a new key",
            Self::RouteNotAllowed => "ask whoever runs this gateway to allow the route for this key",
            Self::RateLimited => "wait as long as Retry-After says",
            Self::TooManyAtOnce => "wait until one of the running requests has ended",
        }
    }
}

/// A request that is turned away.
#[derive(Clone, Debug)]
pub(crate) struct Denied {
    pub(crate) reason: Reason,
    what: String,
    retry_after: Option<u64>,
}

impl Denied {
    pub(crate) fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), retry_after: None }
    }

    /// `whose` is the key or the route that has the limit.
    pub(crate) fn limited(limited: Limited, whose: &str) -> Self {
        match limited {
            Limited::PerMinute(wait) => Self {
                reason: Reason::RateLimited,
                what: format!("the requests per minute of {whose} are used up"),
                retry_after: Some(whole_seconds(wait)),
            },
            Limited::AtOnce => Self {
                reason: Reason::TooManyAtOnce,
                what: format!("as many requests of {whose} run as may at once"),
                retry_after: Some(1),
            },
        }
    }

    /// The status that the client gets.
    pub(crate) fn status(&self) -> StatusCode {
        self.reason.status()
    }

    /// How its record ends.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::failed(Status::Rejected, self.reason.as_str(), &self.what)
    }

    /// The body that the client gets.
    pub(crate) fn body(&self) -> String {
        let (kind, code) = self.reason.kind();
        let error = serde_json::json!({
            "message": self.what, "type": kind, "param": null, "code": code, "hint": self.reason.hint()
        });
        serde_json::json!({ "error": error }).to_string()
    }

    /// Adds the headers that clients act on.
    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) {
        if self.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 names a scheme.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

/// At least a second, and never less than the wait.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_in_the_shape_that_they_read() {
        let denied = Denied::limited(Limited::PerMinute(Duration::from_millis(1200)), "this key");
        let body: serde_json::Value = serde_json::from_str(&denied.body()).unwrap();
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        assert!(body["error"]["param"].is_null() && body["error"]["message"].is_string());
        let mut headers = HeaderMap::new();
        denied.add_headers(&mut headers);
        assert_eq!(headers[header::RETRY_AFTER], "2", "never before there is room");
        let mut headers = HeaderMap::new();
        Denied::new(Reason::NoApiKey, "no key").add_headers(&mut headers);
        assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn reasons_are_counted_in_the_order_of_their_declaration() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
