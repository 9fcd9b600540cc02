//! One span of the gateway's own for each request, to an OpenTelemetry collector: OTLP over HTTP, as JSON
//! (opentelemetry-proto, "OTLP/HTTP"; lowerCamelCase names, ids in hex, 64-bit numbers as strings).
//!
//! Off unless an endpoint is configured. Nothing waits for it: a queue of fixed length stands between requests
//! and the sender, and what does not fit or cannot be delivered is counted and gone. A span says how a request
//! went, never what was said in it or by whom; a model's name is left out where an entry would hash it.

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use indelible_net::client::HttpClient;
use indelible_os::clock;
use indelible_record::commitment::to_hex;
use indelible_record::entry::Status;
use indelible_record::event::Start;
use indelible_record::identity::may_stand_clear;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Spans that may wait.
const QUEUE_MAX: usize = 4096;
/// Spans sent at once.
const BATCH_MAX: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// How long a batch may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer is far smaller.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// OTLP's numbers: SPAN_KIND_SERVER, STATUS_CODE_OK, STATUS_CODE_ERROR.
const KIND_SERVER: u8 = 2;
const CODE_OK: u8 = 1;
const CODE_ERROR: u8 = 2;

/// Where spans go.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    queue: mpsc::Sender<Value>,
    counts: Arc<Counts>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// The address that spans are posted to: `/v1/traces` below what the configuration names.
pub(crate) fn endpoint(base: &str) -> Result<Uri, String> {
    let uri: Uri = format!("{}/v1/traces", base.trim_end_matches('/'))
        .parse()
        .map_err(|error| format!("otlp_endpoint {base:?}: {error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        _ => Err(format!("otlp_endpoint {base:?}: expected http://host:4318")),
    }
}

impl Traces {
    /// A queue, and what sends from it until it is dropped.
    pub(crate) fn start(
        client: HttpClient<Full<Bytes>>,
        endpoint: Uri,
        source_id: &str,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, spans) = mpsc::channel(QUEUE_MAX);
        let counts = Arc::new(Counts::default());
        let sending = send(spans, client, endpoint, source_id.to_owned(), counts.clone());
        (Self { queue, counts }, sending)
    }

    /// Begins the span of a request.
    pub(crate) fn begin(&self, event_id: Uuid, start: &Start) -> Span {
        let facts = &start.facts;
        let id = event_id.as_bytes();
        let model = facts.model.as_deref().filter(|model| may_stand_clear(model));
        let mut attributes = vec![
            text("gen_ai.operation.name", &facts.operation),
            text("indelible.event_id", &event_id.to_string()),
            text("indelible.route", &facts.route),
        ];
        attributes.extend(model.map(|model| text("gen_ai.request.model", model)));
        attributes.extend(facts.provider.as_deref().map(|provider| text("gen_ai.provider.name", provider)));
        Span {
            traces: self.clone(),
            trace_id: facts.trace_id.clone().unwrap_or_else(|| to_hex(id)),
            // The random half of the event's id.
            span_id: to_hex(&id[8..]),
            parent_id: facts.span_id.clone(),
            name: model
                .map_or_else(|| facts.operation.clone(), |model| format!("{} {model}", facts.operation)),
            began_us: start.time,
            attributes,
            failed: true,
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// The span of a request. It ends, and is queued, when it is dropped.
#[derive(Debug)]
pub(crate) struct Span {
    traces: Traces,
    trace_id: String,
    span_id: String,
    parent_id: Option<String>,
    name: String,
    began_us: i64,
    attributes: Vec<Value>,
    failed: bool,
}

impl Span {
    /// How the request ends.
    pub(crate) fn ending(&mut self, status: Status, http_status: Option<u16>) {
        self.failed = status != Status::Completed;
        self.attributes.push(text("indelible.status", status.as_str()));
        if let Some(code) = http_status {
            self.attributes.push(
                json!({ "key": "http.response.status_code", "value": { "intValue": code.to_string() } }),
            );
        }
        if self.failed {
            self.attributes.push(text("error.type", status.as_str()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let nanos = |us: i64| format!("{us}000");
        let mut span = json!({
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "name": self.name,
            "kind": KIND_SERVER,
            "startTimeUnixNano": nanos(self.began_us),
            "endTimeUnixNano": nanos(clock::now().0.max(self.began_us)),
            "attributes": std::mem::take(&mut self.attributes),
            "status": { "code": if self.failed { CODE_ERROR } else { CODE_OK } },
        });
        if let Some(parent) = self.parent_id.take() {
            span["parentSpanId"] = parent.into();
        }
        if self.traces.queue.try_send(span).is_err() {
            self.traces.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

async fn send(
    mut spans: mpsc::Receiver<Value>,
    client: HttpClient<Full<Bytes>>,
    endpoint: Uri,
    source_id: String,
    counts: Arc<Counts>,
) {
    let mut complained = false;
    loop {
        let mut batch = Vec::new();
        if spans.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        tokio::time::sleep(GATHER).await;
        while batch.len() < BATCH_MAX
            && let Ok(span) = spans.try_recv()
        {
            batch.push(span);
        }
        let count = batch.len() as u64;
        let body = request_body(&source_id, batch);
        let outcome = tokio::time::timeout(SEND_TIMEOUT, post(&client, &endpoint, body)).await;
        match outcome.unwrap_or_else(|_| Err(format!("no answer within {SEND_TIMEOUT:?}"))) {
            Ok(()) => {
                complained = false;
                counts.sent.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(%endpoint, error, "spans cannot be delivered, and are counted alone");
                }
                counts.failed.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

fn request_body(source_id: &str, spans: Vec<Value>) -> Bytes {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [
        text("service.name", "indelible-gateway"),
        text("service.instance.id", source_id),
        text("service.version", version),
    ];
    let scope = json!({ "name": "indelible-gateway", "version": version });
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] });
    body.to_string().into()
}

async fn post(client: &HttpClient<Full<Bytes>>, endpoint: &Uri, body: Bytes) -> Result<(), String> {
    let request = Request::post(endpoint.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let answer = client.request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    // Read to its end, so that the connection can be used again.
    let _ = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
    if status.is_success() { Ok(()) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indelible_record::event::{Facts, Private};

    fn started(model: &str) -> Start {
        let facts = Facts {
            route: "default".to_owned(),
            operation: "chat".to_owned(),
            model: Some(model.to_owned()),
            user_id: Some("jane@example.com".to_owned()),
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
            span_id: Some("b7ad6b7169203331".to_owned()),
            ..Facts::default()
        };
        Start {
            tenant: "default".to_owned(),
            time: 1_795_317_255_000_007,
            facts,
            private: Private::default(),
        }
    }

    fn traces() -> (Traces, mpsc::Receiver<Value>) {
        let (queue, spans) = mpsc::channel(2);
        (Traces { queue, counts: Arc::default() }, spans)
    }

    #[test]
    fn a_span_is_a_child_of_the_clients_and_says_nothing_of_a_person() {
        let (traces, mut spans) = traces();
        let event_id = Uuid::from_u128(0x019a_b2c3_1111_7abc_8def_0123_4567_89ab);
        let mut span = traces.begin(event_id, &started("llama-3"));
        span.ending(Status::UpstreamError, Some(500));
        drop(span);
        let sent = spans.try_recv().unwrap();
        assert_eq!(sent["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(
            (&sent["parentSpanId"], &sent["spanId"]),
            (&json!("b7ad6b7169203331"), &json!("8def0123456789ab"))
        );
        assert_eq!((&sent["name"], &sent["status"]["code"]), (&json!("chat llama-3"), &json!(2)));
        assert_eq!(sent["startTimeUnixNano"], "1795317255000007000");
        assert!(
            sent.to_string().contains(r#"{"key":"http.response.status_code","value":{"intValue":"500"}}"#)
        );
        drop(traces.begin(event_id, &started("Jane's model")));
        let sent = spans.try_recv().unwrap();
        assert_eq!(sent["name"], "chat");
        assert!(!sent.to_string().contains("ane"), "{sent}");
    }

    #[test]
    fn a_full_queue_keeps_nobody_waiting_and_is_counted() {
        let (traces, _spans) = traces();
        for _ in 0..5 {
            drop(traces.begin(Uuid::now_v7(), &started("m")));
        }
        assert_eq!(traces.counts().dropped.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn an_endpoint_is_a_base_url() {
        assert_eq!(endpoint("http://127.0.0.1:4318/").unwrap(), "http://127.0.0.1:4318/v1/traces");
        for bad in ["127.0.0.1:4318", "grpc://x", ""] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
