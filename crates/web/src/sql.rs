//! `POST /v1/sql`: a query over one ledger, its answer in the format that is asked for, as it is computed.

use crate::auth::Operator;
use crate::look::{Asked, Look, NoAnswer};
use crate::records::failed;
use crate::{Problem, Shared};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use indelible_query::{Engine, Format, Kind, Parameter, QueryError, Question};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest body: SQL and parameters.
pub(crate) const BODY_MAX_BYTES: usize = 256 << 10;

/// What is asked, as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    sql: String,
    parameters: BTreeMap<String, Value>,
    format: Option<String>,
    tenant: Option<String>,
    limit: Option<u64>,
    timeout_s: Option<u32>,
    width: Option<usize>,
    search: Option<String>,
}

pub(crate) async fn ask(
    State(shared): State<Shared>,
    operator: Operator,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = parse(&headers, &body)?;
    let format = format(&request, &headers)?;
    let mut parameters = BTreeMap::new();
    for (name, value) in &request.parameters {
        let value = Parameter::from_json(value).ok_or_else(|| {
            bad(
                format!("parameter {name} is no value"),
                "text, an integer, true, false, null, or {\"time\": \"…\"}",
            )
        })?;
        parameters.insert(name.clone(), value);
    }
    let question = Question {
        parameters,
        rows: request.limit,
        time: request.timeout_s.map(|seconds| Duration::from_secs(seconds.into())),
        width: request.width,
        ..Question::new(request.sql, format)
    };
    let asked = Asked { tenant: request.tenant, search: request.search, purpose: operator.purpose };
    let engine = shared.engine().map_err(|error| problem(NoAnswer::Query(error)))?;
    let look = Look::at(&shared.collector, engine, question, asked).await.map_err(problem)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(format.media_type()));
    if let Some(rows) = look.rows() {
        headers.insert("x-indelible-rows", rows.into());
    }
    if look.cut() {
        headers.insert("x-indelible-more", header::HeaderValue::from_static("true"));
    }
    let pieces = futures_util::stream::unfold(look, async |mut look| {
        let next = look.next().await?;
        Some((next.map_err(|error| std::io::Error::other(problem(error).what)), look))
    });
    Ok((headers, Body::from_stream(Box::pin(pieces))).into_response())
}

/// A JSON object, or else the SQL itself.
fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Request, Problem> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if sent.split(';').next().is_some_and(|of| of.trim().eq_ignore_ascii_case("application/json")) {
        return serde_json::from_slice(body)
            .map_err(|error| bad(error.to_string(), "docs/query.md has the form"));
    }
    let sql = std::str::from_utf8(body).map_err(|error| bad(error.to_string(), "SQL is UTF-8"))?;
    Ok(Request { sql: sql.to_owned(), ..Request::default() })
}

fn format(request: &Request, headers: &HeaderMap) -> Result<Format, Problem> {
    let hint = "formats are table, json, jsonl, csv and parquet";
    match (&request.format, headers.get(header::ACCEPT)) {
        (Some(name), _) => {
            Format::named(name).ok_or_else(|| bad(format!("there is no format {name:?}"), hint))
        }
        (None, None) => Ok(Format::Json),
        (None, Some(accept)) => accept
            .to_str()
            .ok()
            .and_then(Format::accepted)
            .ok_or_else(|| Problem::new(StatusCode::NOT_ACCEPTABLE, "there is no such format", hint)),
    }
}

fn bad(what: String, hint: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, what, hint)
}

fn problem(error: NoAnswer) -> Problem {
    let error = match error {
        NoAnswer::Collector(error) => return failed(&error),
        NoAnswer::Query(error) => error,
    };
    let status = match error.kind {
        Kind::Question => StatusCode::BAD_REQUEST,
        Kind::Limit => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Kind::NoEngine => StatusCode::NOT_IMPLEMENTED,
        Kind::Records | Kind::Engine => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let QueryError { what, detail, hint, .. } = error;
    Problem { detail, ..Problem::new(status, what, hint) }
}

impl Shared {
    /// The engine; its threads start with the first question.
    fn engine(&self) -> Result<&Engine, QueryError> {
        self.engine.get_or_init(|| Engine::start(self.limits)).as_ref().map_err(Clone::clone)
    }
}
