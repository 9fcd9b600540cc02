//! `POST /v1/keys/rotate`: a ledger gets a new key.

use crate::auth::Operator;
use crate::{Problem, Shared};
use axum::Json;
use axum::extract::{Query, State};
use http::StatusCode;
use indelible_collector::{CollectorError, Rotated};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    tenant: String,
}

pub(crate) async fn rotate(
    State(shared): State<Shared>,
    _operator: Operator,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    match shared.collector.rotate_key(&asked.tenant, "operator").await {
        Ok(rotated) => Ok(Json(rotated_to_json(&asked.tenant, &rotated))),
        Err(error @ CollectorError::KeyKept(_)) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            error.to_string(),
            "nothing was changed; `indelible key show` names the ledgers",
        )),
        Err(error) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error.to_string(),
            "a change of keys that was entered is finished at the next start",
        )),
    }
}

/// The one form of a change of keys.
pub fn rotated_to_json(tenant: &str, rotated: &Rotated) -> Value {
    json!({ "key": rotated.key.to_string(), "size": rotated.size, "tenant": tenant })
}
