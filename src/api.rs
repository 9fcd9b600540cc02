//! Calling a running collector's interface.

use crate::failure::Failure;
use crate::run_dir::Address;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
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

/// Asks a collector to do what `path` names.
pub(crate) fn post_empty(
    address: &Address,
    token: &str,
    purpose: &str,
    path: &str,
) -> Result<Answer, Failure> {
    call(address, token, purpose, Request::post(format!("{}{path}", address.url)))
}

fn call(
    address: &Address,
    token: &str,
    purpose: &str,
    request: http::request::Builder,
) -> Result<Answer, Failure> {
    runtime()?.block_on(async {
        let answer = send(address, token, purpose, request, Bytes::new()).await?;
        let status = answer.status();
        let body =
            answer.into_body().collect().await.map_err(|error| unreachable(address, &error))?.to_bytes();
        Ok(Answer { status, body })
    })
}

/// Posts JSON to `path`, and hands the answer's body to `take`, piece by piece, until it says that it has enough.
/// Answers the headers, or the collector's own words on why there is nothing.
pub(crate) fn post(
    address: &Address,
    token: &str,
    purpose: &str,
    path: &str,
    body: &serde_json::Value,
    mut take: impl FnMut(&[u8]) -> Result<bool, Failure>,
) -> Result<HeaderMap, Failure> {
    runtime()?.block_on(async {
        let request =
            Request::post(format!("{}{path}", address.url)).header(header::CONTENT_TYPE, "application/json");
        let answer = send(address, token, purpose, request, body.to_string().into()).await?;
        let (head, mut body) = answer.into_parts();
        if !head.status.is_success() {
            let body = body.collect().await.map_err(|error| unreachable(address, &error))?.to_bytes();
            return Err(Answer { status: head.status, body }.into_failure());
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Failure::new("the answer broke off: what came of it is not all of it")
                    .detail(causes(&error))
                    .hint("the collector's log, and the operations ledger, say why")
            })?;
            if let Some(piece) = frame.data_ref()
                && !take(piece)?
            {
                break;
            }
        }
        Ok(head.headers)
    })
}

/// Gets `path`, whose answer has no end in sight, and hands each of its lines to `take`.
pub(crate) fn lines(
    address: &Address,
    token: &str,
    purpose: &str,
    path: &str,
    mut take: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let request = Request::get(format!("{}{path}", address.url));
        let answer = send(address, token, purpose, request, Bytes::new()).await?;
        let (head, mut body) = answer.into_parts();
        if !head.status.is_success() {
            let body = body.collect().await.map_err(|error| unreachable(address, &error))?.to_bytes();
            return Err(Answer { status: head.status, body }.into_failure());
        }
        let mut line: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Failure::new("the answer broke off: what came of it is not all of it")
                    .detail(causes(&error))
                    .hint("the same command goes on from here")
            })?;
            for piece in frame.data_ref().into_iter().flat_map(|data| data.split_inclusive(|b| *b == b'\n')) {
                line.extend_from_slice(piece);
                if let Some(text) = line.strip_suffix(b"\n") {
                    take(std::str::from_utf8(text).map_err(Failure::new)?)?;
                    line.clear();
                }
            }
        }
        Ok(())
    })
}

async fn send(
    address: &Address,
    token: &str,
    purpose: &str,
    request: http::request::Builder,
    body: Bytes,
) -> Result<http::Response<Incoming>, Failure> {
    let settings = Settings {
        ca: address.ca.as_deref(),
        identity: None,
        connect_timeout: Duration::from_secs(5),
        http2_only: false,
    };
    let client = client::build::<Full<Bytes>>(&settings).map_err(Failure::new)?;
    let mut request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    if let Ok(purpose) = http::HeaderValue::from_str(purpose) {
        request = request.header("x-indelible-purpose", purpose);
    }
    let request = request.body(Full::new(body)).map_err(Failure::new)?;
    client.request(request).await.map_err(|error| unreachable(address, &causes(&error)))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::new)
}

fn unreachable(address: &Address, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("the collector at {} does not answer", address.url))
        .detail(error)
        .hint("does its certificate hold this address? indelible key init --name adds one")
}

impl Answer {
    /// The body, or the collector's own words on why there is none.
    pub(crate) fn into_body(self) -> Result<Bytes, Failure> {
        if self.status.is_success() { Ok(self.body) } else { Err(self.into_failure()) }
    }

    fn into_failure(self) -> Failure {
        let said: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| said["error"][name].as_str().map(str::to_owned);
        let code = match self.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => 1,
            StatusCode::CONFLICT => 3,
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::SERVICE_UNAVAILABLE => 6,
            _ => 2,
        };
        let mut failure = Failure::new(text("message").unwrap_or_else(|| self.status.to_string())).code(code);
        failure.detail = text("detail");
        failure.hint = text("hint");
        failure
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
