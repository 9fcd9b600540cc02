//! `POST /v1/anchor`: every anchor of every ledger, now.

use crate::auth::Operator;
use crate::{Problem, Shared};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use indelible_anchor::anchors::Taken;
use serde_json::{Value, json};

pub(crate) async fn take(State(shared): State<Shared>, _operator: Operator) -> Result<Json<Value>, Problem> {
    let anchors = shared.anchors.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "the configuration names no anchor",
            "docs/anchors.md has [[collector.anchors]]",
        )
    })?;
    let taken = anchors.take_all(&shared.collector).await;
    Ok(Json(json!({ "anchors": taken.iter().map(taken_to_json).collect::<Vec<_>>() })))
}

/// The one form of an anchor that was taken, or not.
pub fn taken_to_json(taken: &Taken) -> Value {
    match &taken.outcome {
        Ok(size) => json!({ "anchor": taken.anchor, "ledger": taken.ledger, "size": size }),
        Err(error) => json!({ "anchor": taken.anchor, "ledger": taken.ledger, "error": error }),
    }
}
