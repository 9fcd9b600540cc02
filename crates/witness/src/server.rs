//! The witness over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `POST /add-checkpoint` | signature lines, or why not, with the status that C2SP tlog-witness has for it |
//! | `GET /{SHA-256 of the origin, hex}/checkpoint` | the checkpoint of that log that was cosigned last |
//! | `GET /vkey` | the witness's public key |
//! | `GET /healthz` | 200 |

use crate::state::{NotCosigned, Witness};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use indelible_ledger::witness::{REQUEST_MAX_BYTES, Refusal, SIZE_CONTENT_TYPE};
use indelible_net::server::{self, Peer};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

const TEXT: &str = "text/plain; charset=utf-8";
const DRAIN: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A request must be here by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that are being read or wait: with [`REQUEST_MAX_BYTES`] it bounds memory. Others are told to come again.
const REQUESTS_MAX: usize = 128;
/// Requests that are decided at once. They were read before: nobody who is slow holds one of these.
const DECIDED_MAX: usize = 16;

#[derive(Clone)]
struct Shared {
    witness: Arc<Witness>,
    requests: Arc<Semaphore>,
    decided: Arc<Semaphore>,
}

/// Serves until `shutdown` is ready.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    witness: Arc<Witness>,
    shutdown: impl Future<Output = ()>,
) {
    let shared = Shared {
        witness,
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        decided: Arc::new(Semaphore::new(DECIDED_MAX)),
    };
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint).layer(DefaultBodyLimit::max(REQUEST_MAX_BYTES)))
        .route("/{origin}/checkpoint", get(checkpoint))
        .route("/vkey", get(vkey))
        .route("/healthz", get(async || "ok\n"))
        .with_state(shared);
    let handler = move |_: Peer, request: Request<Incoming>| {
        let router = router.clone();
        async move {
            match router.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    server::serve(listener, tls, handler, WRITE_TIMEOUT, shutdown, async { tokio::time::sleep(DRAIN).await })
        .await;
}

async fn add_checkpoint(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let Ok(_waits) = shared.requests.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once\n").into_response();
    };
    let body = axum::body::to_bytes(request.into_body(), REQUEST_MAX_BYTES);
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        Err(_) => {
            return (StatusCode::REQUEST_TIMEOUT, "the request did not come in time\n").into_response();
        }
    };
    let Ok(_permit) = shared.decided.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let witness = shared.witness.clone();
    let outcome = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
    match outcome {
        Ok(Ok(lines)) => ([(header::CONTENT_TYPE, TEXT)], lines).into_response(),
        Ok(Err(error)) => not_cosigned(&error),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn not_cosigned(error: &NotCosigned) -> Response {
    match error {
        NotCosigned::Refused(Refusal::Conflict { size }) => {
            let headers = [(header::CONTENT_TYPE, SIZE_CONTENT_TYPE)];
            (StatusCode::CONFLICT, headers, format!("{size}\n")).into_response()
        }
        NotCosigned::Refused(refusal) => {
            if *refusal == Refusal::Proof {
                tracing::warn!(%refusal, "a log asked for a second history to be cosigned");
            }
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, [(header::CONTENT_TYPE, TEXT)], format!("{refusal}\n")).into_response()
        }
        NotCosigned::Disk(_) | NotCosigned::Sign(_) => {
            tracing::error!(%error, "not cosigned");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

async fn checkpoint(State(shared): State<Shared>, Path(origin): Path<String>) -> Response {
    match shared.witness.cosigned(&origin) {
        Some(note) => ([(header::CONTENT_TYPE, TEXT)], Bytes::from(note)).into_response(),
        None => (StatusCode::NOT_FOUND, "nothing was cosigned of a log whose origin has this hash\n")
            .into_response(),
    }
}

async fn vkey(State(shared): State<Shared>) -> String {
    format!("{}\n", shared.witness.verifier_key())
}
