//! One request on its way: read, recorded, forwarded, answered.

use crate::body::{FlowingRequest, Limits, Relay, RequestBody, ResponseBody};
use crate::config::{Config, Route};
use crate::dialect::{self, Endpoint, RequestReader};
use crate::exchange::{Exchange, InputFailed, Outcome, Recording};
use crate::headers;
use crate::recorder::{Recorder, Refused, Wait};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use indelible_net::client::HttpClient;
use indelible_net::server::Peer;
use indelible_os::clock;
use indelible_record::Committer;
use indelible_record::entry::Status;
use indelible_record::event::{Facts, Private, Start};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// A request body up to this size is read whole before it is forwarded; a larger one flows through.
const REQUEST_WHOLE_MAX_BYTES: usize = 512 << 10;
/// Says which record a response belongs to.
const EVENT_ID_HEADER: HeaderName = HeaderName::from_static("x-indelible-event-id");

/// What every request needs.
pub struct Proxy {
    pub(crate) config: Config,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) client: HttpClient<RequestBody>,
}

/// An answer that the gateway gives itself.
struct Problem {
    status: StatusCode,
    outcome: Outcome,
    hint: &'static str,
}

/// A request, as far as it was read before it is recorded.
struct Inbound {
    head: http::request::Parts,
    read: Bytes,
    /// `None`: all of it was read.
    rest: Option<Incoming>,
    problem: Option<Problem>,
}

impl Proxy {
    /// Serves one request. Whatever happens, it has a response, and a record that says how it ended.
    pub(crate) async fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let accepted = Instant::now();
        let event_id = Uuid::now_v7();
        // `OPTIONS *` names the server as a whole.
        let path = request.uri().path();
        let Some(route) = self.config.route(if path.starts_with('/') { path } else { "/" }) else {
            // Unreachable by Config::validate, which wants a route for "/"; `*` and authority forms remain.
            return own(
                StatusCode::NOT_FOUND,
                event_id,
                "no route takes this path",
                "check the request path",
            );
        };
        let inbound = self.read_request(request).await;
        let endpoint = dialect::endpoint_of(inbound.head.method.as_str(), inbound.head.uri.path());
        let (start, rest) = match self.describe(route, &peer, &inbound, endpoint) {
            Ok(described) => described,
            Err(error) => {
                return own(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    event_id,
                    &error,
                    "this is a fault of the gateway",
                );
            }
        };
        let start_seq = match self.recorder.start(route, event_id, &start, &inbound.read) {
            Ok(seq) => seq,
            Err(refused) => {
                tracing::warn!(%refused, "a request was refused");
                let hint = match refused {
                    Refused::Full(_) => {
                        "free disk space or raise gateway.spool_max_bytes; the collector may be out of reach"
                    }
                    Refused::CollectorAway(_) => {
                        "bring the collector back, or use fail = \"spool\" on this route"
                    }
                    Refused::Failed(_) => "restart the gateway: it reads its spool back and goes on",
                };
                return own(StatusCode::SERVICE_UNAVAILABLE, event_id, &refused.to_string(), hint);
            }
        };
        let salt = match random() {
            Ok(salt) => salt,
            Err(error) => {
                return own(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    event_id,
                    &error,
                    "this is a fault of the machine",
                );
            }
        };
        let exchange =
            Exchange::new(self.recorder.clone(), route, event_id, start_seq, accepted, salt, endpoint);
        let recording = Recording::new(exchange);
        self.forward(route, inbound, rest, recording).await
    }

    /// Reads a request up to the size that is handled whole.
    async fn read_request(&self, request: Request<Incoming>) -> Inbound {
        let (head, mut body) = request.into_parts();
        let max = self.config.request_max_bytes;
        if body.size_hint().lower() > max {
            let problem = Problem::too_large(max);
            return Inbound { head, read: Bytes::new(), rest: None, problem: Some(problem) };
        }
        // The common case: the whole body in one frame, which is then not copied.
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        let mut problem = None;
        let mut ended = body.is_end_stream();
        while !ended && first.len() + more.len() < REQUEST_WHOLE_MAX_BYTES {
            match body.frame().await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if first.is_empty() && more.is_empty() {
                        first = data;
                    } else {
                        if more.is_empty() {
                            more.reserve(first.len() + data.len());
                            more.extend_from_slice(&std::mem::take(&mut first));
                        }
                        more.extend_from_slice(&data);
                    }
                    ended = body.is_end_stream();
                }
                Some(Err(error)) => {
                    problem = Some(Problem::broken_request(&error));
                    ended = true;
                }
                None => ended = true,
            }
        }
        let read = if more.is_empty() { first } else { more.freeze() };
        if read.len() as u64 > max {
            problem = Some(Problem::too_large(max));
            ended = true;
        }
        Inbound { head, read, rest: (!ended).then_some(body), problem }
    }

    /// What the start record says. Committer and reader are for a body that was not read whole.
    fn describe(
        &self,
        route: &Route,
        peer: &Peer,
        inbound: &Inbound,
        endpoint: &'static Endpoint,
    ) -> Result<(Start, Option<(Committer, RequestReader)>), String> {
        let head = &inbound.head;
        let from_headers = headers::identity(&head.headers);
        let mut reader = RequestReader::new(endpoint, head.uri.path(), &head.headers);
        reader.push(&inbound.read);
        let mut said = reader.facts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut committer = Committer::new(random()?);
        committer.update(&inbound.read);
        let (input, rest) = match (&inbound.rest, &inbound.problem) {
            (None, None) => (Some(committer.finish()), None),
            _ => (None, Some((committer, reader))),
        };
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let start = Start {
            tenant: route.tenant.clone(),
            time: clock::now().0,
            facts: Facts {
                route: route.name.clone(),
                environment: from_headers.environment.or_else(|| route.environment.clone()),
                app_version: from_headers.app_version,
                operation: endpoint.operation().to_owned(),
                provider: route.provider.clone(),
                // What the application's own infrastructure says in a header outranks a body field.
                user_id: from_headers.user_id.or_else(|| said.user_id.take()),
                session_id: from_headers.session_id.or_else(|| said.session_id.take()),
                request_id: from_headers.request_id,
                api_key_id: headers::api_key_id(&head.headers, &self.config.api_key_id_key),
                trace_id: from_headers.trace_id,
                span_id: from_headers.span_id,
                attempt: from_headers.attempt,
                tags: [from_headers.tags, std::mem::take(&mut said.tags)].concat(),
                ..said.into()
            },
            private: Private {
                method: Some(head.method.to_string()),
                target: Some(headers::scrub_target(target)),
                headers: headers::kept_request_headers(&head.headers),
                peer: Some(peer.address.to_string()),
                input,
                input_type: content_type.map(str::to_owned),
                ..Private::default()
            },
        };
        Ok((start, rest))
    }

    /// Sends the request to the model server and its answer to the client.
    async fn forward(
        &self,
        route: &Route,
        inbound: Inbound,
        rest: Option<(Committer, RequestReader)>,
        recording: Recording,
    ) -> Response<ResponseBody> {
        if let Some((committer, reader)) = rest {
            let content_type =
                inbound.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            recording.lock().expect_input(committer, reader, content_type.map(str::to_owned));
        }
        if let Some(problem) = inbound.problem {
            return self.refuse(recording, problem).await;
        }
        let target = inbound.head.uri.path_and_query().map_or("/", |target| target.as_str());
        let uri = match route.upstream.uri(target) {
            Ok(uri) => uri,
            Err(error) => {
                let outcome = Outcome::failed(Status::Rejected, "bad_target", error);
                let hint = "check the request path";
                return self
                    .refuse(recording, Problem { status: StatusCode::BAD_REQUEST, outcome, hint })
                    .await;
            }
        };
        let body = match inbound.rest {
            Some(rest) => {
                let left = self.config.request_max_bytes.saturating_sub(inbound.read.len() as u64);
                RequestBody::Flowing(FlowingRequest::new(inbound.read, rest, recording.share(), left))
            }
            None => RequestBody::Whole((!inbound.read.is_empty()).then_some(inbound.read)),
        };
        let mut outbound = Request::new(body);
        *outbound.method_mut() = inbound.head.method;
        *outbound.uri_mut() = uri;
        *outbound.headers_mut() = inbound.head.headers;
        strip_hop_by_hop(outbound.headers_mut());
        outbound.headers_mut().remove(header::HOST);
        outbound.headers_mut().remove(header::EXPECT);
        let answer = match tokio::time::timeout(self.config.head_timeout, self.client.request(outbound)).await
        {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let input_failed = recording.lock().input_failed();
                let problem = match input_failed {
                    Some(InputFailed::TooLarge) => Problem::too_large(self.config.request_max_bytes),
                    Some(InputFailed::BrokeOff(why)) => Problem::broken_request(&why),
                    None => Problem::unreachable(&error),
                };
                return self.refuse(recording, problem).await;
            }
            Err(_) => return self.refuse(recording, Problem::no_head(self.config.head_timeout)).await,
        };
        self.relay(answer, recording).await
    }

    /// Passes the model server's answer on.
    async fn relay(&self, answer: Response<Incoming>, recording: Recording) -> Response<ResponseBody> {
        let (mut head, body) = answer.into_parts();
        let event_id = recording.lock().event_id();
        recording.lock().head(head.status.as_u16(), &head.headers);
        strip_hop_by_hop(&mut head.headers);
        head.headers.insert(EVENT_ID_HEADER, event_id_value(event_id));
        head.extensions.clear();
        head.version = http::Version::default();
        let started = recording.lock().wait_for_start();
        if let Err(problem) = settled(started).await {
            return self.refuse(recording, problem).await;
        }
        let body = if body.is_end_stream() {
            let finished = recording.lock().finish(Outcome::passed(Some(head.status.as_u16())));
            if let Err(problem) = self.settle(finished).await {
                return problem.answer(event_id);
            }
            ResponseBody::Own(None)
        } else {
            let limits = Limits { idle: self.config.idle_timeout, settle: self.config.receipt_timeout };
            ResponseBody::Relayed(Box::new(Relay::new(body, recording, limits)))
        };
        Response::from_parts(head, body)
    }

    /// Gives an answer of the gateway's own, recorded like any other.
    async fn refuse(&self, recording: Recording, problem: Problem) -> Response<ResponseBody> {
        let event_id = recording.lock().event_id();
        let what = problem.outcome.error.clone().unwrap_or_default();
        let response = own(problem.status, event_id, &what, problem.hint);
        let finished = {
            let mut exchange = recording.lock();
            exchange.own_head(problem.status.as_u16(), response.headers());
            if let ResponseBody::Own(Some(bytes)) = response.body() {
                // An output that cannot be recorded fails again in finish(), where it counts.
                let _ = exchange.output(bytes);
                exchange.delivered(bytes.len() as u64);
            }
            exchange.finish(problem.outcome)
        };
        match self.settle(finished).await {
            Ok(()) => response,
            Err(problem) => problem.answer(event_id),
        }
    }

    /// Holds an answer without a body to hold back until its record is what the route's mode promises.
    async fn settle(&self, finished: Result<Wait, indelible_spool::LogError>) -> Result<(), Problem> {
        match finished {
            Ok(wait) => tokio::time::timeout(self.config.receipt_timeout, settled(wait))
                .await
                .unwrap_or_else(|_| Err(Problem::no_receipt(self.config.receipt_timeout))),
            Err(error) => {
                tracing::error!(%error, "the end of a request could not be recorded");
                Err(Problem::not_durable())
            }
        }
    }
}

impl Problem {
    fn too_large(max: u64) -> Self {
        let error = format!("the request body is over the limit of {max} bytes");
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            outcome: Outcome::failed(Status::Rejected, "request_too_large", error),
            hint: "raise gateway.request_max_bytes if such requests are meant to pass",
        }
    }

    fn broken_request(error: &impl ToString) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            outcome: Outcome::failed(Status::Cancelled, "request_broke_off", error.to_string()),
            hint: "the client closed the connection before the end of its request",
        }
    }

    fn unreachable(error: &hyper_util::client::legacy::Error) -> Self {
        let connecting = error.is_connect();
        let mut words = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            words = format!("{words}: {inner}");
            source = inner.source();
        }
        Self {
            status: StatusCode::BAD_GATEWAY,
            outcome: Outcome::failed(
                Status::UpstreamError,
                if connecting { "upstream_unreachable" } else { "upstream_no_answer" },
                format!("the model server gave no answer: {words}"),
            ),
            hint: if connecting {
                "is the model server running, and is the upstream address right?"
            } else {
                "the model server closed the connection or does not speak HTTP"
            },
        }
    }

    fn no_head(limit: std::time::Duration) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            outcome: Outcome::failed(
                Status::Timeout,
                "head_timeout",
                format!("the model server did not answer within {limit:?}"),
            ),
            hint: "raise gateway.head_timeout_s if answers take that long",
        }
    }

    fn not_durable() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            outcome: Outcome::failed(Status::Rejected, "not_durable", "the record could not be made durable"),
            hint: "restart the gateway: it reads its spool back and goes on",
        }
    }

    fn no_receipt(limit: std::time::Duration) -> Self {
        let error = format!("the record was not durable within {limit:?}");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            outcome: Outcome::failed(Status::Rejected, "not_durable", error),
            hint: "in mode \"receipt\" an answer waits for the collector: is it reachable?",
        }
    }

    /// The answer alone, for a request whose record has ended already.
    fn answer(self, event_id: Uuid) -> Response<ResponseBody> {
        own(self.status, event_id, &self.outcome.error.unwrap_or_default(), self.hint)
    }
}

async fn settled(wait: Wait) -> Result<(), Problem> {
    match wait {
        Wait::Ready => Ok(()),
        Wait::For(durable) => durable.await.map_err(|_| Problem::not_durable()),
    }
}

/// An answer of the gateway itself, in the shape that clients of OpenAI's API read.
fn own(status: StatusCode, event_id: Uuid, what: &str, hint: &str) -> Response<ResponseBody> {
    let body = serde_json::json!({
        "error": { "message": what, "type": "indelible_gateway_error", "code": status.as_u16(), "hint": hint }
    });
    let body = Bytes::from(body.to_string());
    let mut response = Response::new(ResponseBody::Own(Some(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(EVENT_ID_HEADER, event_id_value(event_id));
    response
}

fn event_id_value(event_id: Uuid) -> HeaderValue {
    #[allow(clippy::unwrap_used)] // A UUID is hex digits and dashes.
    HeaderValue::from_str(event_id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).unwrap()
}

/// Removes what belongs to one connection alone (RFC 9110 §7.6.1).
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
}

fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(bytes)
}
