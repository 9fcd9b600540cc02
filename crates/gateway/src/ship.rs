//! Sending the spool to the collector.
//!
//! One batch is under way at a time; while it is, the next one gathers, so that load makes batches larger
//! and not more. What the collector acknowledged is noted in the spool, and files that it has as a whole
//! are removed. When it is out of reach, requests go on and the spool grows; when it is back, shipping
//! resumes behind the last acknowledged frame.

use crate::recorder::Recorder;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use indelible_net::chain;
use indelible_net::client::HttpClient;
use indelible_os::durable::Dir;
use indelible_record::commitment::from_hex;
use indelible_record::shipping::{
    ACKNOWLEDGED_HEADER, Ack, Acknowledged, FRAMES_MEDIA_TYPE, FRAMES_PATH, RECEIPTS_HEADER,
};
use indelible_spool::seal::SpoolPublicKey;
use indelible_spool::tail::{Batch, Tail};
use indelible_spool::{Kind, Role};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// About how large a batch gets.
const BATCH_BYTES: usize = 4 << 20;
/// A batch follows the one before it at this distance, unless a route waits for receipts: under load it then
/// holds hundreds of frames, and what a batch costs on both sides is shared by them.
const BATCH_INTERVAL: Duration = Duration::from_millis(20);
/// How long a batch may take before it is sent again.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often an acknowledgement is noted in the spool, and a repeated problem logged.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
const COMPLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// An acknowledgement is far smaller.
const ACK_MAX_BYTES: usize = 16 << 20;

/// What goes to the collector.
pub struct Shipment {
    /// File header and frames.
    pub body: Bytes,
    /// What the collector said last.
    pub acknowledged: Option<Acknowledged>,
    /// Whether receipts are wanted.
    pub receipts: bool,
}

/// Why a shipment was not taken. It is always sent again: nothing is ever dropped here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LinkError(pub String);

/// The way to the collector: over the network, or within one process.
pub trait Link: Send + Sync + 'static {
    /// Hands a shipment over. `Ok` means that the collector has it on its disk up to [`Ack::seq`].
    fn send(&self, shipment: Shipment) -> Pin<Box<dyn Future<Output = Result<Ack, LinkError>> + Send + '_>>;
}

/// The collector across the network: HTTP/2 over mutual TLS.
pub struct HttpLink {
    client: HttpClient<Full<Bytes>>,
    uri: Uri,
}

impl HttpLink {
    /// A link to the collector at `base`, such as `https://collector.example:8090`.
    pub fn new(client: HttpClient<Full<Bytes>>, base: &str) -> Result<Self, String> {
        let uri = format!("{}{FRAMES_PATH}", base.trim_end_matches('/'));
        let uri: Uri = uri.parse().map_err(|error| format!("collector address {base:?}: {error}"))?;
        match uri.scheme_str() {
            Some("https" | "http") => Ok(Self { client, uri }),
            _ => Err(format!("collector address {base:?}: expected https://host:port")),
        }
    }

    async fn post(&self, shipment: Shipment) -> Result<Ack, LinkError> {
        let mut request = Request::post(self.uri.clone()).header(header::CONTENT_TYPE, FRAMES_MEDIA_TYPE);
        if let Some(told) = &shipment.acknowledged {
            request = request.header(ACKNOWLEDGED_HEADER, format!("{} {}", told.seq, told.token));
        }
        if shipment.receipts {
            request = request.header(RECEIPTS_HEADER, "1");
        }
        let request = request.body(Full::new(shipment.body)).map_err(|error| LinkError(error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| LinkError(chain(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ACK_MAX_BYTES)
            .collect()
            .await
            .map_err(|error| LinkError(error.to_string()))?
            .to_bytes();
        if !status.is_success() {
            return Err(LinkError(format!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|error| LinkError(format!("not an acknowledgement: {error}")))
    }
}

impl Link for HttpLink {
    fn send(&self, shipment: Shipment) -> Pin<Box<dyn Future<Output = Result<Ack, LinkError>> + Send + '_>> {
        Box::pin(async move {
            tokio::time::timeout(SEND_TIMEOUT, self.post(shipment))
                .await
                .map_err(|_| LinkError(format!("no answer within {SEND_TIMEOUT:?}")))?
        })
    }
}

/// Ships a spool.
pub struct Shipper {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) dir: Arc<dyn Dir>,
    pub(crate) receipts: bool,
    /// Told when the collector wants later files encrypted to another key.
    pub(crate) on_new_key: Box<dyn Fn(&SpoolPublicKey) + Send + Sync>,
    pub(crate) key: SpoolPublicKey,
}

impl Shipper {
    /// Ships until dropped.
    pub(crate) async fn run(mut self) {
        let shipped = self.recorder.last_acknowledged().map_or(0, |told| told.seq);
        let mut tail = Some(Tail::new(self.dir.clone(), Role::Spool.extension(), shipped));
        let mut pause = BACKOFF.0;
        let mut complained: Option<Instant> = None;
        let mut noted = Instant::now();
        let mut acked = shipped;
        let mut sent: Option<tokio::time::Instant> = None;
        loop {
            // Only what is on this machine's disk is shipped: see `tail`.
            let synced = self.recorder.log().synced().wait(acked + 1);
            if synced.await.is_err() && self.recorder.log().synced().reached() <= acked {
                return;
            }
            if let Some(sent) = sent.filter(|_| !self.receipts) {
                tokio::time::sleep_until(sent + BATCH_INTERVAL).await;
            }
            let batch = match self.next_batch(&mut tail).await {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    tokio::time::sleep(BACKOFF.0).await;
                    continue;
                }
                Err(error) => {
                    tracing::error!(error, "the spool cannot be read for shipping");
                    tokio::time::sleep(BACKOFF.1).await;
                    continue;
                }
            };
            // A full batch is followed at once: there is more.
            sent = (batch.frames.len() < BATCH_BYTES / 2).then(tokio::time::Instant::now);
            match self.send(&batch).await {
                Ok(ack) => {
                    if complained.take().is_some() {
                        tracing::info!(seq = ack.seq, "the collector takes records again");
                    }
                    pause = BACKOFF.0;
                    acked = acked.max(ack.seq);
                    if ack.seq < batch.last_seq
                        && let Some(tail) = &mut tail
                    {
                        tail.rewind(ack.seq);
                    }
                    let idle = ack.seq >= self.recorder.log().synced().reached();
                    self.settle(&batch, ack, idle || noted.elapsed() >= NOTE_INTERVAL, &mut noted);
                }
                Err(error) => {
                    if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_INTERVAL) {
                        tracing::warn!(%error, "the collector does not take records; they stay in the spool");
                        complained = Some(Instant::now());
                    }
                    if let Some(tail) = &mut tail {
                        tail.rewind(acked);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Reads off the runtime's threads: a spool that waited for days is not in memory any more.
    async fn next_batch(&self, slot: &mut Option<Tail>) -> Result<Option<Batch>, String> {
        let Some(mut tail) = slot.take() else { return Err("the reader is lost".to_owned()) };
        let limit = self.recorder.log().synced_to();
        let (tail, batch) = tokio::task::spawn_blocking(move || {
            let batch = tail.next_batch(limit, BATCH_BYTES);
            (tail, batch)
        })
        .await
        .map_err(|error| error.to_string())?;
        *slot = Some(tail);
        batch.map_err(|error| error.to_string())
    }

    async fn send(&self, batch: &Batch) -> Result<Ack, LinkError> {
        let mut body = Vec::with_capacity(batch.header.len() + batch.frames.len());
        body.extend_from_slice(&batch.header);
        body.extend_from_slice(&batch.frames);
        let acknowledged = self.recorder.last_acknowledged();
        self.link.send(Shipment { body: body.into(), acknowledged, receipts: self.receipts }).await
    }

    fn settle(&mut self, batch: &Batch, ack: Ack, note: bool, noted: &mut Instant) {
        for receipt in &ack.receipts {
            tracing::debug!(event_id = %receipt.event_id, seq = receipt.seq, leaf = receipt.leaf_hash, "logged");
        }
        let told = Acknowledged { seq: ack.seq, token: ack.token };
        if note {
            *noted = Instant::now();
            let mut body = told.seq.to_le_bytes().to_vec();
            body.extend_from_slice(told.token.as_bytes());
            if let Err(error) = self.recorder.log().note(Kind::Acked, &body) {
                // Worth nothing but time: after a restart the collector says it again.
                tracing::debug!(%error, "an acknowledgement could not be noted");
            }
        }
        self.recorder.acknowledged(told);
        // Frames are read in order: the files before this one have been acknowledged as a whole.
        if let Err(error) = self.recorder.log().remove_before(batch.file_no) {
            tracing::warn!(%error, "a shipped spool file could not be removed");
        }
        if let Some(key) = from_hex(&ack.spool_key).map(SpoolPublicKey::from_bytes)
            && key != self.key
        {
            self.recorder.log().set_seal_key(key.clone());
            (self.on_new_key)(&key);
            self.key = key;
        }
    }
}

/// Reads the body of an `acked` frame.
pub(crate) fn parse_acked(body: &[u8]) -> Option<Acknowledged> {
    let (seq, token) = body.split_first_chunk::<8>()?;
    Some(Acknowledged { seq: u64::from_le_bytes(*seq), token: std::str::from_utf8(token).ok()?.to_owned() })
}
