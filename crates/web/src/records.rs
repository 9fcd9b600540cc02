//! Looking at records. Each look is an entry of the operations ledger before its answer goes out.

use crate::auth::Operator;
use crate::reading::{self, Shown};
use crate::{Problem, Shared};
use axum::Json;
use axum::extract::{Path, Query as QueryString, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use indelible_collector::query::{self, NotAFilter};
use indelible_collector::read::{Found, Payload};
use indelible_collector::reading::Asked;
use indelible_collector::{Collector, CollectorError, Query, view};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most records in one answer.
const LIMIT_MAX: usize = 1000;
const LIMIT_DEFAULT: usize = 50;
/// By request id all of it, but not without end.
const SHOW_MAX: usize = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filters {
    pub(crate) tenant: Option<String>,
    #[serde(rename = "type")]
    pub(crate) event_type: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) api_key: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Side {
    side: Option<String>,
    tenant: Option<String>,
}

impl Filters {
    /// What they ask for.
    pub(crate) fn query(&self) -> Result<Query, Problem> {
        let time = |name: &str, text: &Option<String>| {
            text.as_deref().map(str::parse).transpose().map_err(|error: indelible_os::clock::NotATime| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    format!("{name}: {error}"),
                    "times are RFC 3339 or dates",
                )
            })
        };
        let bad = |error: NotAFilter| Problem::new(StatusCode::BAD_REQUEST, error.to_string(), error.hint());
        Ok(Query {
            tenant: self.tenant.clone(),
            event_type: self.event_type.clone(),
            model: self.model.clone(),
            user: self.user.clone(),
            session: self.session.clone(),
            trace: self.trace.clone(),
            api_key: self.api_key.as_deref().map(query::api_key).transpose().map_err(bad)?,
            resource: self.resource.as_deref().map(query::resource).transpose().map_err(bad)?,
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            ..Query::default()
        })
    }
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    operator: Operator,
    QueryString(filters): QueryString<Filters>,
) -> Result<Json<Value>, Problem> {
    let query = filters.query()?;
    let limit = filters.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let found = blocking(&shared, move |collector| collector.list(&query, limit)).await?;
    let asked = json!({ "filters": format!("{filters:?}"), "purpose": operator.purpose });
    record(&shared, "list", None, asked, found.len()).await?;
    let records: Vec<Value> =
        found.iter().map(|one| view::summary(one, shared.collector.level(&one.entry))).collect();
    Ok(Json(json!({ "records": records })))
}

pub(crate) async fn show(
    State(shared): State<Shared>,
    operator: Operator,
    Path(id): Path<String>,
    QueryString(shown): QueryString<Shown>,
) -> Result<Response, Problem> {
    if shown.format.is_some() {
        return reading::show(&shared, &operator, Asked::Record(id), shown).await;
    }
    let found = find(&shared, &id, shown.tenant).await?;
    record(&shared, "show", Some(&id), json!({ "id": id, "purpose": operator.purpose }), found.len()).await?;
    some(&id, &found)?;
    let mut records = Vec::new();
    for one in found {
        let level = shared.collector.level(&one.entry);
        let (one, payload) = open(&shared, one).await?;
        records.push(view::full(&one, level, payload.as_ref().map_err(Clone::clone)));
    }
    Ok(Json(json!({ "records": records })).into_response())
}

pub(crate) async fn raw(
    State(shared): State<Shared>,
    operator: Operator,
    Path(id): Path<String>,
    QueryString(side): QueryString<Side>,
) -> Result<Response, Problem> {
    let wants_request = match side.side.as_deref() {
        None | Some("response") => false,
        Some("request") => true,
        Some(_) => {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown side", "side is request or response"));
        }
    };
    let mut found = find(&shared, &id, side.tenant).await?;
    let asked = json!({ "id": id, "raw": side.side, "purpose": operator.purpose });
    record(&shared, "show", Some(&id), asked, found.len()).await?;
    some(&id, &found)?;
    if found.len() > 1 {
        let ids: Vec<String> = found.iter().map(|one| one.event_id.to_string()).collect();
        let what = format!("{id:?} names {} records: {}", ids.len(), ids.join(", "));
        return Err(Problem::new(StatusCode::CONFLICT, what, "name one of them by its event id"));
    }
    let (_, payload) = open(&shared, found.remove(0)).await?;
    let payload =
        payload.map_err(|why| Problem::new(StatusCode::GONE, why, "the payload cannot be read any more"))?;
    let bytes = if wants_request { payload.request } else { payload.response };
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// All records that an id names, oldest first.
async fn find(shared: &Shared, id: &str, tenant: Option<String>) -> Result<Vec<Found>, Problem> {
    let query = Query { id: Some(id.to_owned()), tenant, ..Query::default() };
    let mut found = blocking(shared, move |collector| collector.list(&query, SHOW_MAX)).await?;
    found.reverse();
    Ok(found)
}

/// Finding nothing was a look like any other: it is an error only after it was recorded.
pub(crate) fn some(id: &str, found: &[Found]) -> Result<(), Problem> {
    if !found.is_empty() {
        return Ok(());
    }
    let what = format!("no record has the event id or request id {id:?}");
    Err(Problem::new(StatusCode::NOT_FOUND, what, "a new record may take a second to arrive"))
}

/// The payload, or why it cannot be read: that is an answer, not a failure.
async fn open(shared: &Shared, found: Found) -> Result<(Found, Result<Payload, String>), Problem> {
    blocking(shared, move |collector| {
        let payload = collector.payload(&found).map_err(|error| error.to_string());
        Ok((found, payload))
    })
    .await
}

pub(crate) async fn record(
    shared: &Shared,
    action: &str,
    id: Option<&str>,
    asked: Value,
    results: usize,
) -> Result<(), Problem> {
    let resource = id.map(|id| ("record", id));
    shared
        .collector
        .record_access("operator", action, resource, asked, results as u64)
        .await
        .map(|_| ())
        .map_err(|error| failed(&error))
}

pub(crate) async fn blocking<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Collector) -> Result<T, CollectorError> + Send + 'static,
) -> Result<T, Problem> {
    let collector: Arc<Collector> = shared.collector.clone();
    match tokio::task::spawn_blocking(move || work(&collector)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "see the collector's log"))
        }
    }
}

pub(crate) fn failed(error: &CollectorError) -> Problem {
    if let CollectorError::UnknownTenant(_) = error {
        return Problem::new(StatusCode::NOT_FOUND, error.to_string(), "check the tenant's id");
    }
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "see the collector's log")
}
