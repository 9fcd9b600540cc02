//! The ledger for those who check it: checkpoints, tiles (C2SP tlog-tiles), proofs.
//!
//! Hashes are open: they say nothing of what was recorded. Entries are for the operator.

use crate::auth::Operator;
use crate::records;
use crate::{Problem, Shared};
use axum::Json;
use axum::extract::{FromRequestParts as _, Path, Query as QueryString, State};
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode, header};
use indelible_collector::proofs::NoProof;
use indelible_collector::{Collector, Query};
use indelible_ledger::{Tile, TileKind};
use serde::Deserialize;
use serde_json::{Value, json};

const NOTE: &str = "text/plain; charset=utf-8";
/// A tile of a given width never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// The newest checkpoint is asked for again and again.
const BRIEFLY: &str = "no-cache";

pub(crate) async fn checkpoint(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let note = shared.collector.checkpoint(&tenant).ok_or_else(|| unknown(&tenant))?;
    Ok(([(header::CONTENT_TYPE, NOTE), (header::CACHE_CONTROL, BRIEFLY)], note).into_response())
}

/// The newest checkpoint that a quorum of witnesses cosigned.
pub(crate) async fn witnessed(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let signed = shared.collector.witnessed(&tenant).ok_or_else(|| {
        let what = format!("no checkpoint of tenant {tenant:?} was cosigned by a quorum of witnesses");
        Problem::new(StatusCode::NOT_FOUND, what, "docs/witnesses.md says how to have witnesses")
    })?;
    let headers = [(header::CONTENT_TYPE, NOTE), (header::CACHE_CONTROL, BRIEFLY)];
    Ok((headers, signed.note.to_string()).into_response())
}

pub(crate) async fn tile(
    State(shared): State<Shared>,
    Path((tenant, path)): Path<(String, String)>,
    request: Request<axum::body::Body>,
) -> Result<Response, Problem> {
    let no_such = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "the ledger has no such tile",
            "docs/formats/checkpoint.md has the paths",
        )
    };
    let tile: Tile = format!("tile/{path}").parse().map_err(|_| no_such())?;
    if tile.kind() == TileKind::Entries {
        let (mut parts, _) = request.into_parts();
        Operator::from_request_parts(&mut parts, &shared).await?;
    }
    let bytes = blocking(&shared, move |collector| collector.tile(&tenant, &tile)).await?;
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, IMMUTABLE)];
    Ok((headers, bytes.ok_or_else(no_such)?).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct From {
    from: u64,
}

/// That the newest signed tree begins with an older one.
pub(crate) async fn growth(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
    QueryString(From { from }): QueryString<From>,
) -> Result<Json<Value>, Problem> {
    let proof = blocking(&shared, move |collector| collector.prove_growth(&tenant, from)).await?;
    Ok(Json(growth_to_json(from, &proof)))
}

/// The one form of a consistency proof.
pub fn growth_to_json(from: u64, proof: &indelible_collector::proofs::Consistency) -> Value {
    json!({
        "from": from,
        "from_root": proof.old_root.to_base64(),
        "to": proof.signed.checkpoint.size(),
        "to_root": proof.signed.checkpoint.root().to_base64(),
        "hashes": proof.hashes.iter().map(|hash| hash.to_base64()).collect::<Vec<_>>(),
        "checkpoint": proof.signed.note.to_string(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    tenant: Option<String>,
}

/// The inclusion proof of one record, with its entry.
pub(crate) async fn record(
    State(shared): State<Shared>,
    operator: Operator,
    Path(id): Path<String>,
    QueryString(whose): QueryString<Whose>,
) -> Result<Response, Problem> {
    let query = Query { id: Some(id.clone()), tenant: whose.tenant, ..Query::default() };
    let found = records::blocking(&shared, move |collector| collector.list(&query, 2)).await?;
    let asked = json!({ "id": id, "purpose": operator.purpose });
    records::record(&shared, "prove", Some(&id), asked, found.len()).await?;
    records::some(&id, &found)?;
    let [one] = found.as_slice() else {
        let what = format!("{id:?} names more than one record");
        return Err(Problem::new(StatusCode::CONFLICT, what, "name one of them by its event id"));
    };
    let (tenant, seq) = (one.entry.tenant_id.clone(), one.entry.seq);
    let proof = blocking(&shared, move |collector| collector.prove(&tenant, seq)).await?;
    Ok(([(header::CONTENT_TYPE, NOTE)], proof.to_string()).into_response())
}

async fn blocking<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Collector) -> Result<T, NoProof> + Send + 'static,
) -> Result<T, Problem> {
    let collector = shared.collector.clone();
    match tokio::task::spawn_blocking(move || work(&collector)).await {
        Ok(outcome) => outcome.map_err(|error| why(&error)),
        Err(error) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "see the collector's log"))
        }
    }
}

fn why(error: &NoProof) -> Problem {
    match error {
        NoProof::Unknown(tenant) => unknown(tenant),
        NoProof::Beyond { .. } => {
            Problem::new(StatusCode::NOT_FOUND, error.to_string(), "a new entry is signed within a second")
        }
        NoProof::Collector(error) => records::failed(error),
    }
}

fn unknown(tenant: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is no ledger of tenant {tenant:?}"),
        "check the tenant's id",
    )
}
