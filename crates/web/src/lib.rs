//! The collector's HTTP interface.
//!
//! | path | who may |
//! |---|---|
//! | `POST /v1/source/frames` | a source, by its client certificate |
//! | `GET /v1/records`, `GET /v1/records/{id}`, `GET /v1/records/{id}/raw` | the operator, by the token in `DIR/run` |
//! | `GET /v1/sessions/{id}`, `GET /v1/traces/{id}`, `GET /v1/export` | the operator |
//! | `POST /v1/seal`, `POST /v1/anchor`, `POST /v1/keys/rotate` | the operator |
//! | `POST /v1/sql`, `POST /v1/evidence`, `POST /v1/drill` | the operator |
//! | `GET /v1/records/{id}/proof` | the operator |
//! | `GET /tenants/{tenant}/checkpoint`, `/checkpoint.witnessed`, `/consistency`, `/tile/{level}/…` | anyone: signed, or hashes |
//! | `GET /tenants/{tenant}/tile/entries/…` | the operator |
//! | `/healthz`, `/readyz`, `/metrics` | anyone |
//!
//! Every look at records is recorded in the operations ledger before the answer goes out (invariant 11).

#![forbid(unsafe_code)]

mod anchor;
mod auth;
mod drill;
mod evidence;
mod export;
mod keys;
mod ledger;
mod look;
mod proofs;
mod reading;
mod records;
mod seal;
mod sources;
mod sql;

pub use anchor::taken_to_json;
pub use auth::OperatorToken;
pub use drill::{NoDrill, drill};
pub use evidence::WITNESSED_HEADER;
pub use keys::rotated_to_json;
pub use look::{Asked, Look, NoAnswer};
pub use proofs::growth_to_json;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::Request;
use hyper::body::Incoming;
use indelible_anchor::anchors::Anchors;
use indelible_collector::Collector;
use indelible_collector::witnessed::Witnessing;
use indelible_ledger::Policy;
use indelible_net::server::{self, Peer};
use indelible_query::{Engine, Limits, QueryError};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

/// How long running requests may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a peer may take nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);

/// What every handler needs.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) collector: Arc<Collector>,
    pub(crate) token: Arc<OperatorToken>,
    /// Names that a request's `Host` may have: guards a loopback listener against web pages that
    /// rebind their own name to it.
    pub(crate) loopback_only: bool,
    /// Batches being read at once: bounds memory at this many times their largest size.
    pub(crate) uploads: Arc<Semaphore>,
    /// What queries may cost.
    pub(crate) limits: Limits,
    /// Places outside that checkpoints are taken to.
    pub(crate) anchors: Option<Arc<Anchors>>,
    /// The policy that names the witnesses.
    pub(crate) witnesses: Option<Arc<Policy>>,
    /// Started by the first query.
    pub(crate) engine: Arc<OnceLock<Result<Engine, QueryError>>>,
}

/// Parties outside that what was signed goes to.
#[derive(Default)]
pub struct Outside {
    /// Places that checkpoints are taken to.
    pub anchors: Option<Arc<Anchors>>,
    /// The policy that names the witnesses.
    pub witnesses: Option<Policy>,
}

/// Batches being read at once.
const UPLOADS_MAX: usize = 4;

/// Serves the collector until `shutdown` is ready.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    collector: Arc<Collector>,
    token: OperatorToken,
    limits: Limits,
    outside: Outside,
    shutdown: impl Future<Output = ()>,
) {
    let loopback_only = tls.is_none();
    let uploads = Arc::new(Semaphore::new(UPLOADS_MAX));
    let (token, engine) = (Arc::new(token), Arc::default());
    let Outside { anchors, witnesses } = outside;
    let witnesses = witnesses.map(Arc::new);
    let shared = Shared { collector, token, loopback_only, uploads, limits, anchors, witnesses, engine };
    let router = Router::new()
        .route(indelible_record::shipping::FRAMES_PATH, post(sources::take_frames))
        .route("/v1/records", get(records::list))
        .route("/v1/records/{id}", get(records::show))
        .route("/v1/records/{id}/raw", get(records::raw))
        .route("/v1/records/{id}/proof", get(proofs::record))
        .route("/v1/sessions/{id}", get(reading::session))
        .route("/v1/traces/{id}", get(reading::trace))
        .route("/v1/export", get(export::export))
        .route("/v1/seal", post(seal::seal))
        .route("/v1/anchor", post(anchor::take))
        .route("/v1/keys/rotate", post(keys::rotate))
        .route("/v1/sql", post(sql::ask).layer(DefaultBodyLimit::max(sql::BODY_MAX_BYTES)))
        .route("/v1/evidence", post(evidence::make).layer(DefaultBodyLimit::max(evidence::BODY_MAX_BYTES)))
        .route("/v1/drill", post(drill::run).layer(DefaultBodyLimit::max(drill::BODY_MAX_BYTES)))
        .route("/tenants/{tenant}/checkpoint", get(proofs::checkpoint))
        .route("/tenants/{tenant}/checkpoint.witnessed", get(proofs::witnessed))
        .route("/tenants/{tenant}/consistency", get(proofs::growth))
        .route("/tenants/{tenant}/tile/{*path}", get(proofs::tile))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path", "see docs/api.md")
        })
        .with_state(shared);
    let handler = move |peer: Peer, request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    server::serve(listener, tls, handler, WRITE_TIMEOUT, shutdown, async { tokio::time::sleep(DRAIN).await })
        .await;
}

async fn ready(State(shared): State<Shared>) -> Result<&'static str, Problem> {
    match shared.collector.failure() {
        None => Ok("ready\n"),
        Some(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why, "restart the collector")),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    text.push_str(
        "# HELP indelible_collector_ledger_signed_entries Entries that the published checkpoint covers\n",
    );
    text.push_str("# TYPE indelible_collector_ledger_signed_entries gauge\n");
    for (tenant, size) in shared.collector.signed_sizes() {
        text.push_str(&format!("indelible_collector_ledger_signed_entries{{tenant=\"{tenant}\"}} {size}\n"));
    }
    text.push_str(
        "# HELP indelible_collector_costs_total Calls that name a model, by whether they have a cost\n",
    );
    text.push_str("# TYPE indelible_collector_costs_total counter\n");
    for (outcome, calls) in shared.collector.cost_outcomes().counts() {
        text.push_str(&format!("indelible_collector_costs_total{{outcome=\"{outcome}\"}} {calls}\n"));
    }
    backlog_metrics(&shared, &mut text);
    witness_metrics(&shared, &mut text);
    #[cfg(feature = "s3")]
    bucket_metrics(&shared, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// What waits for being sealed.
fn backlog_metrics(shared: &Shared, text: &mut String) {
    let (logged, slowed) = shared.collector.backlog();
    for (name, kind, help, value) in [
        (
            "indelible_collector_log_entries",
            "gauge",
            "Entries in the log, most of them in no segment yet",
            logged,
        ),
        (
            "indelible_collector_batches_slowed_total",
            "counter",
            "Batches that waited since sealing did not keep up",
            slowed,
        ),
    ] {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
    }
}

/// Of ledgers that witnesses cosigned.
fn witness_metrics(shared: &Shared, text: &mut String) {
    let ledgers = shared.collector.witnessing_of();
    let mut put = |name: &str, help: &str, value: &dyn Fn(&Witnessing) -> String| {
        if ledgers.is_empty() {
            return;
        }
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (tenant, one) in &ledgers {
            text.push_str(&format!("{name}{{tenant=\"{tenant}\"}} {}\n", value(one)));
        }
    };
    put("indelible_collector_witnessed_entries", "Entries that a quorum of witnesses cosigned", &|one| {
        one.entries.to_string()
    });
    put("indelible_collector_unwitnessed_entries", "Signed entries that it does not cover", &|one| {
        one.behind.to_string()
    });
    put(
        "indelible_collector_unwitnessed_longest_seconds",
        "The longest time that signed entries waited for a quorum, since the start",
        &|one| format!("{:.3}", one.longest_us as f64 / 1e6),
    );
}

#[cfg(feature = "s3")]
fn bucket_metrics(shared: &Shared, text: &mut String) {
    let Some(status) = shared.collector.bucket_status() else { return };
    let segments = status.segments;
    let mut put = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        values.iter().for_each(|(labels, value)| text.push_str(&format!("{name}{labels} {value}\n")));
    };
    let places = [
        ("{place=\"local\"}", segments.local),
        ("{place=\"both\"}", segments.both),
        ("{place=\"bucket\"}", segments.remote),
    ];
    put(
        "indelible_collector_segments",
        "gauge",
        "Segments, by whether this machine, the bucket or both have them",
        &places,
    );
    let cached = [("", status.cache_bytes)];
    put(
        "indelible_collector_bucket_cache_bytes",
        "gauge",
        "Bytes of remote segments on this machine",
        &cached,
    );
    let failures = [("", status.failures)];
    put(
        "indelible_collector_bucket_failures_total",
        "counter",
        "Attempts to upload segments that failed",
        &failures,
    );
    let reached = [("", u64::from(status.reached))];
    put(
        "indelible_collector_bucket_reached",
        "gauge",
        "Whether the bucket answered when it was asked last",
        &reached,
    );
}

/// An error as a caller gets it: what, more about it, and how to mend it.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    what: String,
    detail: Option<String>,
    hint: &'static str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, what: impl Into<String>, hint: &'static str) -> Self {
        Self { status, what: what.into(), detail: None, hint }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = serde_json::json!({ "error": { "message": self.what, "hint": self.hint } });
        if let Some(detail) = self.detail {
            body["error"]["detail"] = detail.into();
        }
        (self.status, axum::Json(body)).into_response()
    }
}
