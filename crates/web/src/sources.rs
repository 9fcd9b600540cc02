//! Taking frames from sources.

use crate::{Problem, Shared};
use axum::Extension;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use indelible_collector::BatchError;
use indelible_net::server::Peer;
use std::time::Duration;

use indelible_record::shipping::{ACKNOWLEDGED_HEADER, Ack, Acknowledged, BATCH_MAX_BYTES, RECEIPTS_HEADER};

/// A batch that has not arrived by then is given up; the source sends it again.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn take_frames(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Ack>, Problem> {
    let Some(name) = peer.name.as_deref() else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "a source has to show a client certificate that the collector's CA signed",
            "set gateway.collector.cert and .key; indelible key init makes development certificates",
        ));
    };
    let acknowledged = headers
        .get(ACKNOWLEDGED_HEADER)
        .map(|value| value.to_str().ok().and_then(parse_acknowledged).ok_or("malformed acknowledgement"))
        .transpose()
        .map_err(|what| Problem::new(StatusCode::BAD_REQUEST, what, "the header is: SEQ TOKEN"))?;
    let receipts = headers.get(RECEIPTS_HEADER).is_some_and(|value| value == "1");
    // Before it is read: what waits, waits at the source.
    shared.collector.wait_to_receive(name).await.map_err(|error| refused(name, &error))?;
    let slow = || Problem::new(StatusCode::REQUEST_TIMEOUT, "the batch came too slowly", "it is sent again");
    let reading = async {
        let permit = shared.uploads.acquire().await;
        (to_bytes(body, BATCH_MAX_BYTES).await, permit)
    };
    let (bytes, _permit) = tokio::time::timeout(UPLOAD_TIMEOUT, reading).await.map_err(|_| slow())?;
    let bytes = bytes.map_err(|error| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string(), "send smaller batches")
    })?;
    let outcome = shared.collector.receive(&bytes, Some(name), acknowledged, receipts).await;
    outcome.map(Json).map_err(|error| refused(name, &error))
}

fn refused(source: &str, error: &BatchError) -> Problem {
    // Who waits is said by who makes them wait, and not as often.
    if !matches!(error, BatchError::Busy(_)) {
        tracing::warn!(source, %error, "a batch was not taken");
    }
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let hint = match error {
        BatchError::Malformed(_) => "is the source of another version?",
        BatchError::Forbidden(_) => {
            "compare collector.tenants and the certificate with the source's configuration"
        }
        BatchError::UnknownKey(_) => "give the source the collector's current spool key",
        BatchError::OutOfOrder { .. } => "the source sends again from where the collector stands",
        BatchError::ForeignAck(_) => "is the source pointed at the collector that it belongs to?",
        BatchError::Full(_) => "free disk space at the collector",
        BatchError::Busy(_) => "the source keeps its records, and sends them again",
        BatchError::Unavailable(_) => "see the collector's log; the source keeps its records meanwhile",
    };
    Problem::new(status, error.to_string(), hint)
}

fn parse_acknowledged(text: &str) -> Option<Acknowledged> {
    let (seq, token) = text.split_once(' ')?;
    (token.len() <= 64).then_some(Acknowledged { seq: seq.parse().ok()?, token: token.to_owned() })
}
