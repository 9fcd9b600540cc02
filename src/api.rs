//! Calling a running collector's interface.

use crate::failure::Failure;
use crate::run_dir::Address;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use indelible_net::client::{self, Settings};
use std::time::Duration;

/// An answer: status and body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Gets `path` (query included) from a collector.
pub(crate) fn get(address: &Address, token: &str, purpose: &str, path: &str) -> Result<Answer, Failure> {
    call(address, token, purpose, Request::get(format!("{}{path}", address.url)))
}

/// Asks a collector to do something.
pub(crate) fn post(address: &Address, token: &str, purpose: &str, path: &str) -> Result<Answer, Failure> {
    call(address, token, purpose, Request::post(format!("{}{path}", address.url)))
}

/// Gets `path`, an answer without an end in sight, and hands each of its lines to `take`.
pub(crate) fn lines(
    address: &Address,
    token: &str,
    purpose: &str,
    path: &str,
    mut take: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let request = Request::get(format!("{}{path}", address.url));
    with_answer(address, token, purpose, request, async |answer| {
        let status = answer.status();
        let mut body = answer.into_body();
        if !status.is_success() {
            let body = body.collect().await.map_err(|error| unreachable(address, &error))?.to_bytes();
            return Answer { status, body }.into_body().map(drop);
        }
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreachable(address, &error))?;
            let Ok(data) = frame.into_data() else { continue };
            for piece in data.split_inclusive(|byte| *byte == b'\n') {
                rest.extend_from_slice(piece);
                if let Some(line) = rest.strip_suffix(b"\n") {
                    take(std::str::from_utf8(line).map_err(Failure::new)?)?;
                    rest.clear();
                }
            }
        }
        Ok(())
    })
}

fn call(
    address: &Address,
    token: &str,
    purpose: &str,
    request: http::request::Builder,
) -> Result<Answer, Failure> {
    with_answer(address, token, purpose, request, async |answer| {
        let status = answer.status();
        let body = answer.into_body().collect().await;
        Ok(Answer { status, body: body.map_err(|error| unreachable(address, &error))?.to_bytes() })
    })
}

fn with_answer<T>(
    address: &Address,
    token: &str,
    purpose: &str,
    request: http::request::Builder,
    work: impl AsyncFnOnce(http::Response<Incoming>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::new)?;
    runtime.block_on(async {
        let settings = Settings {
            ca: address.ca.as_deref(),
            identity: None,
            connect_timeout: Duration::from_secs(5),
            http2_only: false,
        };
        let client = client::build::<Empty<Bytes>>(&settings).map_err(Failure::new)?;
        let mut request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        if let Ok(purpose) = http::HeaderValue::from_str(purpose) {
            request = request.header("x-indelible-purpose", purpose);
        }
        let request = request.body(Empty::new()).map_err(Failure::new)?;
        let answer = client.request(request).await.map_err(|error| unreachable(address, &causes(&error)))?;
        work(answer).await
    })
}

fn unreachable(address: &Address, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("the collector at {} does not answer", address.url))
        .detail(error)
        .hint("does its certificate hold this address? indelible key init --name adds one")
}

impl Answer {
    /// The body, or the collector's own words on why there is none.
    pub(crate) fn into_body(self) -> Result<Bytes, Failure> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let said: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| said["error"][name].as_str().map(str::to_owned);
        let code = match self.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => 1,
            StatusCode::CONFLICT => 3,
            _ => 2,
        };
        let mut failure = Failure::new(text("message").unwrap_or_else(|| self.status.to_string())).code(code);
        failure.hint = text("hint");
        Err(failure)
    }
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Percent-encodes a query value or path segment (RFC 3986 §2.3: unreserved characters stay).
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
