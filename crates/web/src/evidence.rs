//! `POST /v1/evidence`: a bundle, as it is made. That it was asked for is on record before its first byte goes out.

use crate::auth::Operator;
use crate::records::failed;
use crate::{Problem, Shared};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use indelible_collector::proofs::NoProof;
use indelible_os::clock;
use indelible_report::evidence::{Bundle, NoBundle, Selection, Wish};
use serde::Deserialize;
use serde_json::json;
use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// Longest body: as many ids as a bundle holds.
pub(crate) const BODY_MAX_BYTES: usize = 4 << 20;
/// Says `no-quorum` if the collector has witnesses and the bundle leads to a checkpoint that no quorum of them cosigned.
pub const WITNESSED_HEADER: &str = "x-indelible-witnessed";
/// Bytes that are gathered before they are sent.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for the client: then the making waits, too.
const CHUNKS_MAX: usize = 4;

/// What is asked for, as JSON: `ids` or `range`; with `query` the ids are what that text found.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Request {
    tenant: Option<String>,
    ids: Option<Vec<String>>,
    range: Option<[u64; 2]>,
    query: Option<String>,
    withhold: bool,
}

impl Request {
    fn wish(self, shared: &Shared, purpose: Option<String>) -> Result<Wish, Problem> {
        let bad = |what: &str| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                what,
                "send ids, or range as [from, to]; docs/api.md has them",
            )
        };
        let selection = match (self.ids, self.range, self.query) {
            (Some(ids), None, None) => Selection::Ids(ids),
            (Some(ids), None, Some(query)) => Selection::Query(query, ids),
            (None, Some([from, to]), None) => Selection::Range(from, to),
            _ => return Err(bad("a bundle is of ids, of what a query found, or of a range")),
        };
        Ok(Wish {
            tenant: tenant_or_only(shared, self.tenant),
            selection,
            withhold: self.withhold,
            made_by: "operator".to_owned(),
            purpose: purpose.unwrap_or_default(),
        })
    }
}

fn tenant_or_only(shared: &Shared, tenant: Option<String>) -> String {
    match (tenant, shared.collector.config().tenants.as_slice()) {
        (Some(tenant), _) => tenant,
        (None, [only]) => only.clone(),
        (None, _) => "default".to_owned(),
    }
}

pub(crate) async fn make(
    State(shared): State<Shared>,
    operator: Operator,
    Json(request): Json<Request>,
) -> Result<Response, Problem> {
    let asked = json!({ "evidence": format!("{request:?}"), "purpose": operator.purpose });
    let wish = request.wish(&shared, operator.purpose)?;
    let is_range = matches!(wish.selection, Selection::Range(..));
    let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
    let (begun, begins) = oneshot::channel();
    let (recorded, may_go) = oneshot::channel();
    let (collector, witnesses) = (shared.collector.clone(), shared.witnesses.clone());
    tokio::task::spawn_blocking(move || {
        let bundle = match Bundle::prepare(&collector, wish, witnesses.as_deref()) {
            Ok(bundle) => bundle,
            Err(error) => return drop(begun.send(Err(problem(&error, is_range)))),
        };
        // Nobody reads an answer that was given up, and nothing goes out that is not on record.
        if begun.send(Ok((bundle.entries(), bundle.is_unwitnessed()))).is_err()
            || may_go.blocking_recv().is_err()
        {
            return;
        }
        let out = BufWriter::with_capacity(CHUNK_BYTES, Sender(chunks.clone()));
        if let Err(error) = bundle.write(clock::now(), out) {
            tracing::error!(%error, "a bundle broke off");
            let _ = chunks.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    let gone = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it broke off", "see the collector's log");
    let (entries, unwitnessed) = begins.await.map_err(|_| gone())??;
    let detail = serde_json::Map::from_iter([("records".to_owned(), entries.into())]);
    let noted = shared.collector.record_export("operator", "evidence", asked, detail).await;
    noted.map_err(|error| failed(&error))?;
    recorded.send(()).map_err(|()| gone())?;
    let witnessed = HeaderValue::from_static(if unwitnessed { "no-quorum" } else { "as-configured" });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static(WITNESSED_HEADER), witnessed),
    ];
    Ok((headers, Body::new(Chunks(receiver))).into_response())
}

fn problem(error: &NoBundle, is_range: bool) -> Problem {
    let (status, hint) = match error {
        NoBundle::Unknown(_) => (StatusCode::NOT_FOUND, "a new record may take a second to arrive"),
        NoBundle::OtherLedger(_) => {
            (StatusCode::BAD_REQUEST, "name the tenant, and ask for each ledger by itself")
        }
        NoBundle::Selection(_) => (StatusCode::UNPROCESSABLE_ENTITY, "select something else"),
        NoBundle::Proof(NoProof::Unknown(_)) => (StatusCode::NOT_FOUND, "check the tenant's id"),
        NoBundle::Proof(NoProof::Beyond { .. }) if is_range => {
            (StatusCode::NOT_FOUND, "end the range at the number of signed entries, or before")
        }
        NoBundle::Proof(NoProof::Beyond { .. }) => {
            (StatusCode::NOT_FOUND, "a new entry is signed within a second")
        }
        NoBundle::Proof(NoProof::Collector(error)) | NoBundle::Collector(error) => return failed(error),
        NoBundle::Write(_) => (StatusCode::INTERNAL_SERVER_ERROR, "see the collector's log"),
    };
    Problem::new(status, error.to_string(), hint)
}

/// Where the bundle is written to: the answer's body.
struct Sender(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Chunks as a body; an error breaks it off, so that nobody takes it for whole.
struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
