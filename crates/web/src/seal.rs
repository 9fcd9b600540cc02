//! Sealing what is recorded, now rather than when it is due.

use crate::auth::Operator;
use crate::{Problem, Shared};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

pub(crate) async fn seal(State(shared): State<Shared>, _operator: Operator) -> Result<Json<Value>, Problem> {
    match shared.collector.seal().await {
        Ok(segments) => Ok(Json(json!({ "segments": segments }))),
        Err(error) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error.to_string(),
            "nothing is lost: the log keeps what is not sealed",
        )),
    }
}
