//! Records, sessions and agent runs, as people read them. Each look is recorded before its answer goes out.

use crate::auth::Operator;
use crate::records::{blocking, failed};
use crate::{Problem, Shared};
use axum::extract::{Path, Query as QueryString, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, StatusCode, header};
use indelible_collector::reading::{self, Asked, Format};
use indelible_transcript::render::html;
use serde::Deserialize;
use serde_json::json;

/// How something is to be shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shown {
    pub(crate) tenant: Option<String>,
    pub(crate) format: Option<String>,
}

pub(crate) async fn session(
    State(shared): State<Shared>,
    operator: Operator,
    Path(id): Path<String>,
    QueryString(shown): QueryString<Shown>,
) -> Result<Response, Problem> {
    show(&shared, &operator, Asked::Session(id), shown).await
}

pub(crate) async fn trace(
    State(shared): State<Shared>,
    operator: Operator,
    Path(id): Path<String>,
    QueryString(shown): QueryString<Shown>,
) -> Result<Response, Problem> {
    show(&shared, &operator, Asked::Trace(id), shown).await
}

/// Finds, records the look, shows.
pub(crate) async fn show(
    shared: &Shared,
    operator: &Operator,
    asked: Asked,
    shown: Shown,
) -> Result<Response, Problem> {
    let name = shown.format.as_deref().unwrap_or("json");
    let format = Format::named(name).ok_or_else(|| {
        let what = format!("unknown format {name:?}");
        Problem::new(StatusCode::BAD_REQUEST, what, "format is text, json or html")
    })?;
    let (tenant, of) = (shown.tenant, asked.clone());
    let finds = blocking(shared, move |collector| reading::find(collector, &of, tenant.as_deref())).await?;
    let (action, kind) = asked.words();
    let question = json!({ "id": asked.id(), "format": name, "purpose": operator.purpose });
    let results = finds.found.len() as u64;
    let looked =
        shared.collector.record_access("operator", action, Some((kind, asked.id())), question, results).await;
    looked.map_err(|error| failed(&error))?;
    if finds.found.is_empty() {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            asked.unknown(),
            "a new record may take a second to arrive",
        ));
    }
    let tenants = finds.tenants();
    if tenants.len() > 1 {
        let tenants: Vec<&str> = tenants.into_iter().collect();
        let what = format!("{:?} has records of several tenants: {}", asked.id(), tenants.join(", "));
        return Err(Problem::new(StatusCode::CONFLICT, what, "name one with ?tenant="));
    }
    let page =
        blocking(shared, move |collector| Ok(reading::show(collector, &asked, &finds, format))).await?;
    let headers: [(HeaderName, String); 4] = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_SECURITY_POLICY, html::policy()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, page).into_response())
}
