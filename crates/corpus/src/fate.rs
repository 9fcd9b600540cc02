//! What becomes of a call: most are answered, some are refused, fail, take too long, or lose their client.

use crate::body;
use crate::cast::App;
use crate::draw::Draw;
use indelible_record::entry::Status;

const HOUR_US: i64 = 3_600_000_000;
/// Of all calls of an application without trouble of its own.
const SHARES: [(Fate, f64); 8] = [
    (Fate::TooMany, 0.011),
    (Fate::ServerError, 0.004),
    (Fate::Overloaded, 0.003),
    (Fate::TooLong, 0.002),
    (Fate::Late, 0.003),
    (Fate::HungUp, 0.008),
    (Fate::Refused, 0.003),
    (Fate::Unreachable, 0.001),
];
/// One hour in this many, a model server has a bad one, and then errors are this many times as frequent.
const BAD_HOURS: u64 = 97;
const BAD_HOUR_FACTOR: f64 = 14.0;
/// More than this share never goes wrong.
const SHARE_MAX: f64 = 0.6;

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// 429 of the model server.
    TooMany,
    /// 500.
    ServerError,
    /// 503.
    Overloaded,
    /// 400: more tokens than the model takes.
    TooLong,
    /// The model server did not answer in time.
    Late,
    /// The client went away in the middle of the answer.
    HungUp,
    /// The gateway's own rules.
    Refused,
    /// No connection to the model server.
    Unreachable,
}

/// An answer that says what went wrong.
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) http_status: u16,
    pub(crate) error_type: &'static str,
    /// In words, where it was no answer of the model server.
    pub(crate) error: Option<&'static str>,
    /// The model server's own word and code.
    pub(crate) said: Option<(&'static str, &'static str)>,
    pub(crate) body: String,
    pub(crate) latency_us: u64,
}

/// What becomes of a call at `time`.
pub(crate) fn of(draw: &mut Draw, app: &App, provider: &str, seed: u64, time: i64) -> Fate {
    if app.trouble <= 0.0 {
        return Fate::Answered;
    }
    let mut unit = draw.unit();
    let hour = (time / HOUR_US) as u64 + provider.len() as u64 * 7919;
    let bad = Draw::new(seed ^ 0xbad, hour).next().is_multiple_of(BAD_HOURS);
    let factor = app.trouble * if bad { BAD_HOUR_FACTOR } else { 1.0 };
    let all: f64 = SHARES.iter().map(|(_, share)| share).sum();
    let factor = factor.min(SHARE_MAX / all);
    for (fate, share) in SHARES {
        unit -= share * factor;
        if unit < 0.0 {
            return fate;
        }
    }
    Fate::Answered
}

impl Fate {
    /// What the client got instead of an answer. `None`: it got one, or a part of one.
    pub(crate) fn failure(self, draw: &mut Draw) -> Option<Failure> {
        let quick = draw.skewed(60_000.0, 0.6) as u64;
        let by_server = |http_status, message: &str, kind: &'static str, code: &'static str| Failure {
            status: Status::UpstreamError,
            http_status,
            error_type: "http_error",
            error: None,
            said: Some((kind, code)),
            body: body::error(message, kind, Some(code)),
            latency_us: quick,
        };
        let by_gateway = |status, http_status, error_type, error: &'static str, latency_us| Failure {
            status,
            http_status,
            error_type,
            error: Some(error),
            said: None,
            body: body::own_error(error, http_status),
            latency_us,
        };
        Some(match self {
            Self::Answered | Self::HungUp => return None,
            Self::TooMany => by_server(
                429,
                "Rate limit reached on tokens per min (TPM). Please try again in 1.2s.",
                "tokens",
                "rate_limit_exceeded",
            ),
            Self::ServerError => by_server(
                500,
                "The server had an error while processing your request. Sorry about that!",
                "server_error",
                "internal_error",
            ),
            Self::Overloaded => by_server(
                503,
                "That model is currently overloaded with other requests.",
                "overloaded_error",
                "overloaded",
            ),
            Self::TooLong => by_server(
                400,
                "This model's maximum context length is 8192 tokens. Please reduce the length of the messages.",
                "invalid_request_error",
                "context_length_exceeded",
            ),
            Self::Late => by_gateway(
                Status::Timeout,
                504,
                "head_timeout",
                "the model server did not answer within 60s",
                60_000_000 + quick / 10,
            ),
            Self::Refused => by_gateway(
                Status::Rejected,
                429,
                "rate_limited",
                "this key has used up its requests for this minute",
                200 + quick / 1000,
            ),
            Self::Unreachable => by_gateway(
                Status::UpstreamError,
                502,
                "upstream_unreachable",
                "the model server gave no answer: connection refused",
                1_500 + quick / 100,
            ),
        })
    }

    /// Whether the application asks again.
    pub(crate) fn is_tried_again(self) -> bool {
        !matches!(self, Self::Answered | Self::HungUp | Self::TooLong)
    }
}
