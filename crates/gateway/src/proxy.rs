//! One request on its way: read, recorded, forwarded, answered.

use crate::access::{Access, Admission, Denied};
use crate::backlog::Backlog;
use crate::body::{FlowingRequest, Limits, Relay, RequestBody, ResponseBody, Shut};
use crate::config::{Config, Mode};
use crate::dialect::{self, RequestFacts, RequestReader};
use crate::exchange::{Exchange, InputFailed, Outcome, Recording};
use crate::headers;
use crate::recorder::{Recorder, Refused, Wait};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use indelible_net::server::Peer;
use indelible_net::upstream::{CallError, Leased, Upstreams};
use indelible_os::{clock, random};
use indelible_record::Committer;
use indelible_record::entry::Status;
use indelible_record::event::{Facts, Private, Start};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A request body up to this size is read whole before it is forwarded; a larger one flows through.
const REQUEST_WHOLE_MAX_BYTES: usize = 512 << 10;
/// Of a body that is not read, so much is taken from the connection, for so long.
const UNREAD_MAX_BYTES: usize = 1 << 20;
const UNREAD_TIMEOUT: Duration = Duration::from_secs(1);
/// Says which record a response belongs to.
const EVENT_ID_HEADER: HeaderName = HeaderName::from_static("x-indelible-event-id");

/// What every request needs.
pub struct Proxy {
    pub(crate) config: Arc<Config>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) access: Arc<Access>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) upstreams: Arc<Upstreams<RequestBody>>,
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
    /// It had a body that was not read.
    unread: bool,
    problem: Option<Problem>,
}

/// What is random about a request.
struct Drawn {
    event_id: Uuid,
    input_salt: [u8; 32],
    output_salt: [u8; 32],
}

impl Drawn {
    fn draw() -> io::Result<Self> {
        Ok(Self {
            event_id: Uuid::from_bytes(random::uuid_v7()?),
            input_salt: random::bytes()?,
            output_salt: random::bytes()?,
        })
    }
}

impl Proxy {
    /// Serves one request. Whatever happens, it has a response, and a record that says how it ended.
    pub(crate) async fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let accepted = Instant::now();
        let drawn = match Drawn::draw() {
            Ok(drawn) => drawn,
            Err(error) => {
                let hint = "this is a fault of the machine";
                return own(StatusCode::INTERNAL_SERVER_ERROR, Uuid::nil(), &error.to_string(), hint);
            }
        };
        let event_id = drawn.event_id;
        let rules = self.access.rules();
        let caller = rules.identify(request.headers(), request.uri());
        let inbound = match caller.denied {
            None => self.read_request(request).await,
            Some(_) => Inbound::unread(request).await,
        };
        let said = read_facts(&inbound.read);
        let admitted = rules.admit(self.access.metrics(), caller, &inbound.head, said.model.as_deref());
        let Some((admission, mut ticket)) = admitted else {
            // Unreachable by Config::validate, which wants a route for every request.
            return own(
                StatusCode::NOT_FOUND,
                event_id,
                "no route takes this path",
                "check the request path",
            );
        };
        if let Some(denied) = &admission.denied
            && let Some(event_id) = self.access.count(peer.address.ip(), &admission, denied)
        {
            return turned_away(denied, event_id);
        }
        let operation = dialect::operation_of(inbound.head.method.as_str(), inbound.head.uri.path());
        let (start, committer) =
            self.describe(&admission, &peer, &inbound, operation, said, drawn.input_salt);
        ticket.trace(self.access.traces(), event_id, &start);
        let start_seq = match self.recorder.start(admission.route(), event_id, &start, &inbound.read) {
            Ok(seq) => seq,
            Err(refused) => {
                if let Some(denied) = &admission.denied {
                    let counted = self.access.count_unrecorded(peer.address.ip(), &admission, denied);
                    return turned_away(denied, counted.unwrap_or(event_id));
                }
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
        let (recorder, route) = (self.recorder.clone(), admission.route());
        let salt = drawn.output_salt;
        let exchange = Exchange::new(recorder, route, event_id, start_seq, accepted, salt, ticket);
        self.forward(&admission, inbound, committer, Recording::new(exchange)).await
    }

    /// Reads a request up to the size that is handled whole.
    async fn read_request(&self, request: Request<Incoming>) -> Inbound {
        let (head, mut body) = request.into_parts();
        let max = self.config.request_max_bytes;
        if body.size_hint().lower() > max {
            let problem = Problem::too_large(max);
            return Inbound { head, read: Bytes::new(), rest: None, unread: true, problem: Some(problem) };
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
        Inbound { head, read, rest: (!ended).then_some(body), unread: false, problem }
    }

    /// What the start record says. The committer is for a body that was not read whole.
    fn describe(
        &self,
        admission: &Admission,
        peer: &Peer,
        inbound: &Inbound,
        operation: dialect::Operation,
        said: RequestFacts,
        salt: [u8; 32],
    ) -> (Start, Option<Committer>) {
        let (head, route) = (&inbound.head, admission.route());
        let from_headers = headers::identity(&head.headers);
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut committer = Committer::new(salt);
        committer.update(&inbound.read);
        let (input, rest) = match (&inbound.rest, &inbound.problem) {
            (None, None) if !inbound.unread => (Some(committer.finish()), None),
            _ => (None, Some(committer)),
        };
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let start = Start {
            tenant: admission.tenant().to_owned(),
            time: clock::now().0,
            facts: Facts {
                route: route.name.clone(),
                environment: from_headers.environment.or_else(|| route.environment.clone()),
                app_version: from_headers.app_version,
                operation: operation.as_str().to_owned(),
                provider: route.provider.clone(),
                model: said.model,
                params: said.params,
                stream: said.stream,
                // Whose key it is outranks what a request says; what the application's own infrastructure
                // says in a header outranks a body field.
                user_id: admission.user().map(str::to_owned).or(from_headers.user_id).or(said.user_id),
                session_id: from_headers.session_id.or(said.session_id),
                request_id: from_headers.request_id,
                api_key_id: admission.key_id().map(str::to_owned),
                trace_id: from_headers.trace_id,
                span_id: from_headers.span_id,
                tools: said.tools,
                attempt: from_headers.attempt,
                retention_class: route.retention_class.clone(),
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
        (start, rest)
    }

    /// Sends the request to the model server and its answer to the client.
    async fn forward(
        &self,
        admission: &Admission,
        inbound: Inbound,
        committer: Option<Committer>,
        recording: Recording,
    ) -> Response<ResponseBody> {
        if let Some(committer) = committer {
            let content_type =
                inbound.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            recording.lock().expect_input(committer, content_type.map(str::to_owned));
        }
        if let Some(denied) = &admission.denied {
            let answer = turned_away(denied, recording.lock().event_id());
            return self.end_with(recording, answer, denied.outcome()).await;
        }
        if let Some(problem) = inbound.problem {
            return self.refuse(recording, problem).await;
        }
        let target = inbound.head.uri.path_and_query().map_or("/", |target| target.as_str());
        let uri = match admission.route().upstream.uri(&admission.clean_target(target)) {
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
        outbound.headers_mut().remove(header::EXPECT);
        admission.put_credential(outbound.headers_mut());
        recording.lock().ticket.release();
        let sent = tokio::time::timeout(self.config.head_timeout, self.upstreams.send(outbound)).await;
        let (answer, upstream) = match sent {
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
        self.relay(answer, upstream, recording).await
    }

    /// Passes the model server's answer on.
    async fn relay(
        &self,
        answer: Response<Incoming>,
        upstream: Leased<RequestBody>,
        recording: Recording,
    ) -> Response<ResponseBody> {
        let (mut head, body) = answer.into_parts();
        let event_id = recording.lock().event_id();
        recording.lock().head(head.status.as_u16(), &head.headers);
        strip_hop_by_hop(&mut head.headers);
        head.headers.insert(EVENT_ID_HEADER, event_id_value(event_id));
        head.extensions.clear();
        head.version = http::Version::default();
        if body.is_end_stream() {
            upstream.release();
            // The end stands behind the start in the same log: one wait serves for both.
            let finished = recording.lock().finish(Outcome::passed(Some(head.status.as_u16())));
            return match self.settle(finished).await {
                Ok(()) => Response::from_parts(head, ResponseBody::Own(None)),
                Err(problem) => problem.answer(event_id),
            };
        }
        let (mode, gate) = {
            let exchange = recording.lock();
            (exchange.mode(), exchange.wait_for_start())
        };
        let limits = Limits {
            idle: self.config.idle_timeout,
            settle: self.config.receipt_timeout,
            one_wait: mode == Mode::Durable,
        };
        let mut relay = Box::new(Relay::new(body, upstream, recording, gate, limits));
        match std::future::poll_fn(|cx| relay.poll_open(cx)).await {
            Ok(()) => {
                relay.release();
                Response::from_parts(head, ResponseBody::Relayed(relay))
            }
            Err(shut) => {
                let problem = match shut {
                    Shut::Failed => Problem::not_durable(),
                    Shut::Late => Problem::no_receipt(self.config.receipt_timeout),
                };
                self.refuse(relay.into_recording(), problem).await
            }
        }
    }

    async fn refuse(&self, recording: Recording, problem: Problem) -> Response<ResponseBody> {
        let event_id = recording.lock().event_id();
        let what = problem.outcome.error.clone().unwrap_or_default();
        let response = own(problem.status, event_id, &what, problem.hint);
        self.end_with(recording, response, problem.outcome).await
    }

    /// Gives an answer of the gateway's own, recorded like any other.
    async fn end_with(
        &self,
        recording: Recording,
        response: Response<ResponseBody>,
        outcome: Outcome,
    ) -> Response<ResponseBody> {
        let event_id = recording.lock().event_id();
        let finished = {
            let mut exchange = recording.lock();
            exchange.own_head(response.status().as_u16(), response.headers());
            if let ResponseBody::Own(Some(bytes)) = response.body() {
                // An output that cannot be recorded fails again in finish(), where it counts.
                let _ = exchange.output(bytes, Instant::now());
                exchange.delivered(bytes.len() as u64);
            }
            exchange.finish(outcome)
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

impl Inbound {
    /// A request that is turned away by its head. Its body is taken from the connection, for a moment and up to
    /// a limit, so that a client that is still sending gets the answer; nothing of it is kept.
    async fn unread(request: Request<Incoming>) -> Self {
        let (head, mut body) = request.into_parts();
        let unread = !body.is_end_stream();
        let drain = async {
            let mut left = UNREAD_MAX_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
                left = less;
            }
        };
        // Asking a client that waits for 100 Continue (RFC 9110 §10.1.1) would make it send what nobody wants.
        if !head.headers.contains_key(header::EXPECT) {
            // A client that takes its time has had its chance.
            let _ = tokio::time::timeout(UNREAD_TIMEOUT, drain).await;
        }
        Self { head, read: Bytes::new(), rest: None, unread, problem: None }
    }
}

/// What the beginning of a request body says.
fn read_facts(read: &[u8]) -> RequestFacts {
    let mut reader = RequestReader::new();
    reader.push(read);
    reader.finish()
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

    fn unreachable(error: &CallError) -> Self {
        let (error_type, hint) = match error {
            CallError::Connect { .. } => {
                ("upstream_unreachable", "is the model server running, and is the upstream address right?")
            }
            CallError::Http(_) => {
                ("upstream_no_answer", "the model server closed the connection or does not speak HTTP")
            }
        };
        let words = format!("the model server gave no answer: {error}");
        let outcome = Outcome::failed(Status::UpstreamError, error_type, words);
        Self { status: StatusCode::BAD_GATEWAY, outcome, hint }
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
    own_body(status, event_id, body.to_string())
}

/// The answer to a request that the gateway's rules turn away.
fn turned_away(denied: &Denied, event_id: Uuid) -> Response<ResponseBody> {
    let mut response = own_body(denied.status(), event_id, denied.body());
    denied.add_headers(response.headers_mut());
    response
}

fn own_body(status: StatusCode, event_id: Uuid, body: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Own(Some(body.into())));
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
