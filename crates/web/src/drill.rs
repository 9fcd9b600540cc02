//! `POST /v1/drill`: the audit drill. The look is on record before the payload is opened, the outcome before it is told.

use crate::auth::Operator;
use crate::records::failed;
use crate::{Problem, Shared};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use indelible_collector::drill::{self, Month, Report, SEED_MAX, Wish};
use indelible_collector::{Collector, CollectorError};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Longest body.
pub(crate) const BODY_MAX_BYTES: usize = 4 << 10;

/// Why there was no drill.
#[derive(Debug, thiserror::Error)]
pub enum NoDrill {
    /// There is nothing to pick from.
    #[error("{}", nothing(.0.as_ref()))]
    Nothing(Option<Month>),
    /// The ledger could not be read, or the drill not recorded.
    #[error(transparent)]
    Collector(#[from] CollectorError),
}

fn nothing(month: Option<&Month>) -> String {
    match month {
        Some(month) => format!("there is no signed inference of {month}"),
        None => "there is no signed inference".to_owned(),
    }
}

/// Picks a record, puts it together again, checks it, and records both the look and the outcome.
pub async fn drill(collector: &Arc<Collector>, wish: Wish, purpose: Option<&str>) -> Result<Report, NoDrill> {
    let stopped = |error: tokio::task::JoinError| CollectorError::Stopped(error.to_string());
    let month = wish.month.map(|month| month.to_string());
    let asked = json!({ "month": month, "seed": wish.seed, "tenant": wish.tenant, "purpose": purpose });
    let (at, of) = (collector.clone(), wish.clone());
    let picked = tokio::task::spawn_blocking(move || drill::pick(&at, &of)).await.map_err(stopped)??;
    let id = picked.as_ref().map(|picked| picked.found.entry.event_id.clone());
    let resource = id.as_deref().map(|id| ("record", id));
    let results = u64::from(picked.is_some());
    collector.record_access("operator", "drill", resource, asked.clone(), results).await?;
    let (Some(picked), Some(id)) = (picked, id) else { return Err(NoDrill::Nothing(wish.month)) };
    let at = collector.clone();
    let rebuilt = tokio::task::spawn_blocking(move || drill::rebuild(&at, &wish, &picked)).await;
    let mut report = rebuilt.map_err(stopped)?;
    let receipt = collector.record_drill("operator", &id, asked, outcome(&report)).await?;
    report.recorded = Some(receipt.seq);
    Ok(report)
}

/// What an entry says of a drill: nothing that a client chose.
fn outcome(report: &Report) -> Map<String, Value> {
    let steps: Map<String, Value> =
        report.steps.iter().map(|step| (step.name.clone(), step.us.into())).collect();
    let mut detail = Map::from_iter([
        ("ledger".to_owned(), report.record.ledger.clone().into()),
        ("month".to_owned(), report.month.clone().into()),
        ("passed".to_owned(), report.passed.into()),
        ("payload".to_owned(), json!(report.payload)),
        ("seed".to_owned(), report.seed.into()),
        ("seq".to_owned(), report.record.seq.into()),
        ("steps_us".to_owned(), steps.into()),
        ("total_us".to_owned(), report.total_us.into()),
    ]);
    if let Some(failed) = &report.failed {
        detail.insert("failed".to_owned(), failed.clone().into());
    }
    detail
}

/// What is asked for. Absent members as on the command line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Request {
    month: Option<String>,
    seed: u64,
    tenant: Option<String>,
}

pub(crate) async fn run(
    State(shared): State<Shared>,
    operator: Operator,
    Json(request): Json<Request>,
) -> Result<Json<Report>, Problem> {
    let bad = |what: String| Problem::new(StatusCode::BAD_REQUEST, what, "docs/api.md has the members");
    let month = request.month.as_deref().map(str::parse).transpose();
    let month = month.map_err(|error: drill::month::NotAMonth| bad(format!("month: {error}")))?;
    if request.seed > SEED_MAX {
        return Err(bad(format!("seed: at most {SEED_MAX}")));
    }
    let wish = Wish { month, seed: request.seed, tenant: request.tenant };
    match drill(&shared.collector, wish, operator.purpose.as_deref()).await {
        Ok(report) => Ok(Json(report)),
        Err(NoDrill::Collector(error)) => Err(failed(&error)),
        Err(error) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            error.to_string(),
            "name another month, or another tenant",
        )),
    }
}
