//! One request on its way: read, recorded, forwarded, answered.

use crate::access::{Access, Admission};
use crate::backlog::Backlog;
use crate::body::{FlowingRequest, Relay, RequestBody, ResponseBody, Shut};
use crate::config::{Config, Mode, OnHangup};
use crate::dialect::{self, Endpoint, RequestFacts, RequestReader};
use crate::drain::{self, Answer, Call, Drains};
use crate::exchange::{Begun, Exchange, InputFailed, Outcome, Recording};
use crate::headers;
use crate::hop;
use crate::limits::Limits;
use crate::problem::{EVENT_ID_HEADER, Problem, event_id_value, own, turned_away};
use crate::recorder::{Recorder, Refused, Wait};
use crate::socket::Handshake;
use crate::usage::{self, Asking};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use indelible_net::client::HttpClient;
use indelible_net::server::Peer;
use indelible_net::upstream::{CallError, Upstreams};
use indelible_os::{clock, random};
use indelible_record::entry::Status;
use indelible_record::event::{Facts, Private, Start};
use indelible_record::{Commitment, Committer};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A request body up to this size is read whole before it is forwarded; a larger one flows through.
const REQUEST_WHOLE_MAX_BYTES: usize = 512 << 10;
/// Of a body that is not read, so much is taken from the connection, for so long.
const UNREAD_MAX_BYTES: usize = 1 << 20;
const UNREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// What every request needs.
pub struct Proxy {
    pub(crate) config: Arc<Config>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) access: Arc<Access>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) drains: Arc<Drains>,
    pub(crate) upstreams: Arc<Upstreams<RequestBody>>,
    /// For what is not driven by its request: what leaves HTTP behind, and large requests.
    pub(crate) client: HttpClient<RequestBody>,
}

/// A request, as far as it was read before it is recorded.
struct Inbound {
    head: http::request::Parts,
    read: Bytes,
    /// What stood behind a body that was read whole.
    trailers: Option<HeaderMap>,
    /// `None`: all of it was read.
    rest: Option<Incoming>,
    /// It had a body that was not read.
    unread: bool,
    problem: Option<Problem>,
    /// It asks for a WebSocket.
    handshake: Option<Handshake>,
    /// It is sent on with a change.
    asking: Option<Asking>,
}

/// What happens to an answer besides passing.
struct After {
    /// The rest of it is read when the client hangs up.
    drains: Option<Arc<Drains>>,
    /// What the client did not ask for is taken out.
    strips: bool,
}

/// What is random about a request.
struct Drawn {
    event_id: Uuid,
    input_salt: [u8; 32],
    output_salt: [u8; 32],
    /// For what is sent instead of a request that is changed.
    sent_salt: [u8; 32],
}

impl Drawn {
    fn draw() -> io::Result<Self> {
        Ok(Self {
            event_id: Uuid::from_bytes(random::uuid_v7()?),
            input_salt: random::bytes()?,
            output_salt: random::bytes()?,
            sent_salt: random::bytes()?,
        })
    }
}

impl Proxy {
    /// Serves one request. Whatever happens, it has a response, and a record that says how it ended.
    pub(crate) async fn handle(
        self: Arc<Self>,
        peer: Peer,
        mut request: Request<Incoming>,
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
        let limits = Limits::new(&self.config, accepted);
        let handshake = Handshake::of(&mut request);
        let inbound = match caller.denied {
            None => self.read_request(request, &limits).await,
            Some(_) => Inbound::unread(request).await,
        };
        let mut inbound = Inbound { handshake, ..inbound };
        if inbound.handshake.is_some() && inbound.rest.is_some() {
            inbound.problem = Some(Problem::handshake_with_body());
        }
        let endpoint = dialect::endpoint_of(inbound.head.method.as_str(), inbound.head.uri.path());
        let mut reader = RequestReader::new(endpoint, inbound.head.uri.path(), &inbound.head.headers);
        reader.push(&inbound.read);
        let said = reader.facts();
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
        if admission.route().inject_usage {
            inbound.asking = inbound.asking(drawn.sent_salt);
        }
        let mut committer = Committer::new(drawn.input_salt);
        committer.update(&inbound.read);
        // What was not read whole is read and committed to as it passes.
        let (input, rest) = match inbound.is_whole() {
            true => (Some(committer.finish()), None),
            false => (None, Some((committer, reader))),
        };
        let start = describe(&admission, &peer, &inbound, endpoint, said, input);
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
        let begun = Begun { event_id, start_seq, accepted, salt: drawn.output_salt };
        let exchange = Exchange::new(self.recorder.clone(), admission.route(), begun, endpoint, ticket);
        self.forward(&admission, inbound, rest, Recording::new(exchange), &limits).await
    }

    /// Reads a request up to the size that is handled whole.
    async fn read_request(&self, request: Request<Incoming>, limits: &Limits) -> Inbound {
        let (head, mut body) = request.into_parts();
        let max = self.config.request_max_bytes;
        if body.size_hint().lower() > max {
            let problem = Problem::too_large(max);
            return Inbound { unread: true, problem: Some(problem), ..Inbound::of(head) };
        }
        // The common case: the whole body in one frame, which is then not copied.
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        let mut trailers = None;
        let mut problem = None;
        let mut ended = body.is_end_stream();
        while !ended && first.len() + more.len() < REQUEST_WHOLE_MAX_BYTES {
            match limits.request(body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(other) => {
                            trailers = other.into_trailers().ok();
                            continue;
                        }
                    };
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
                Ok(Some(Err(error))) => {
                    problem = Some(Problem::broken_request(&error));
                    ended = true;
                }
                Ok(None) => ended = true,
                Err(late) => {
                    problem = Some(Problem::late(late));
                    ended = true;
                }
            }
        }
        let read = if more.is_empty() { first } else { more.freeze() };
        if read.len() as u64 > max {
            problem = Some(Problem::too_large(max));
            ended = true;
        }
        Inbound { read, trailers, rest: (!ended).then_some(body), problem, ..Inbound::of(head) }
    }

    /// Sends the request to the model server and its answer to the client.
    async fn forward(
        &self,
        admission: &Admission,
        inbound: Inbound,
        rest: Option<(Committer, RequestReader)>,
        recording: Recording,
        limits: &Limits,
    ) -> Response<ResponseBody> {
        if let Some((committer, reader)) = rest {
            let content_type =
                inbound.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            recording.lock().expect_input(committer, reader, content_type.map(str::to_owned));
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
        let mut headers = inbound.head.headers;
        hop::strip_request(&mut headers);
        if let Some(handshake) = &inbound.handshake {
            handshake.ask(&mut headers);
            // Nothing follows, unless it is agreed to; then what follows is recorded until it ends.
            if inbound.rest.is_none() {
                recording.lock().input_ended();
            }
        }
        let strips = inbound.asking.is_some();
        let read = match inbound.asking {
            Some(asking) => asking.send(&mut headers),
            None => inbound.read,
        };
        let body = match inbound.rest {
            Some(rest) => {
                let left = self.config.request_max_bytes.saturating_sub(read.len() as u64);
                RequestBody::Flowing(FlowingRequest::new(read, rest, recording.share(), left))
            }
            None => {
                // Trailers stand behind chunks only, and only those that were announced.
                let trailers = inbound.trailers.filter(|_| headers.contains_key(header::TRAILER));
                if trailers.is_some() {
                    headers.remove(header::CONTENT_LENGTH);
                }
                RequestBody::Whole((!read.is_empty()).then_some(read), trailers)
            }
        };
        let mut outbound = Request::new(body);
        *outbound.method_mut() = inbound.head.method;
        *outbound.uri_mut() = uri;
        admission.put_credential(&mut headers);
        *outbound.headers_mut() = headers;
        recording.lock().release();
        let drains = (admission.route().on_hangup == OnHangup::Drain && inbound.handshake.is_none())
            .then(|| self.drains.clone());
        // A body that flows must go on flowing while nobody takes the answer.
        let by_itself = inbound.handshake.is_some() || matches!(outbound.body(), RequestBody::Flowing(_));
        let call = self.call(outbound, by_itself);
        let (answer, recording) = drain::head(call, recording, drains.clone(), limits).await;
        let (answer, upstream) = match answer {
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
            Err(late) => return self.refuse(recording, Problem::late(late)).await,
        };
        match inbound.handshake {
            _ if answer.status() != StatusCode::SWITCHING_PROTOCOLS => {
                self.relay((answer, upstream), recording, limits, After { drains, strips }).await
            }
            Some(handshake) if Handshake::is_agreed(&answer) => {
                self.switch(handshake, answer, recording, limits).await
            }
            _ => self.refuse(recording, Problem::unasked_switch()).await,
        }
    }

    /// Calls the model server, on a connection that is driven by the request or by itself.
    fn call(&self, outbound: Request<RequestBody>, by_itself: bool) -> Call {
        if by_itself {
            let target = outbound.uri().authority().map(ToString::to_string).unwrap_or_default();
            let call = self.client.request(outbound);
            return Box::pin(async move {
                let answer = call.await.map_err(|error| CallError::of_client(&error, target))?;
                Ok((answer, None))
            });
        }
        let upstreams = self.upstreams.clone();
        Box::pin(async move {
            let (answer, upstream) = upstreams.send(outbound).await?;
            Ok((answer, Some(upstream)))
        })
    }

    /// Answers a handshake that the model server agreed to. What both say from then on passes by itself.
    async fn switch(
        &self,
        handshake: Handshake,
        answer: Response<Incoming>,
        recording: Recording,
        limits: &Limits,
    ) -> Response<ResponseBody> {
        let event_id = recording.lock().event_id();
        recording.lock().head(answer.status().as_u16(), answer.headers());
        let started = recording.lock().wait_for_start();
        if let Err(problem) = settled(started).await {
            return self.refuse(recording, problem).await;
        }
        let mut response = Response::new(ResponseBody::Own(None));
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        hop::strip(response.headers_mut());
        response.headers_mut().insert(EVENT_ID_HEADER, event_id_value(event_id));
        let handed = recording.lock().hand_over();
        let idle = self.config.websocket_idle_timeout;
        handshake.follow(answer, response.headers_mut(), handed, *limits, idle);
        response
    }

    /// Passes the model server's answer on.
    async fn relay(
        &self,
        (answer, upstream): Answer,
        recording: Recording,
        limits: &Limits,
        after: After,
    ) -> Response<ResponseBody> {
        let (mut head, body) = answer.into_parts();
        let event_id = recording.lock().event_id();
        recording.lock().head(head.status.as_u16(), &head.headers);
        hop::strip(&mut head.headers);
        head.headers.insert(EVENT_ID_HEADER, event_id_value(event_id));
        head.extensions.clear();
        head.version = http::Version::default();
        if body.is_end_stream() {
            if let Some(upstream) = upstream {
                upstream.release();
            }
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
        let limits = limits.with_one_wait(mode == Mode::Durable);
        let mut relay = Box::new(Relay::new(body, upstream, recording, gate, limits));
        relay.drained_by(after.drains);
        relay.stripped_by(after.strips.then(|| usage::strip(head.status, &mut head.headers)).flatten());
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
    /// A request without a body.
    fn of(head: http::request::Parts) -> Self {
        Self {
            head,
            read: Bytes::new(),
            trailers: None,
            rest: None,
            unread: false,
            problem: None,
            handshake: None,
            asking: None,
        }
    }

    /// Whether all of its body was read, and nothing else is to follow.
    fn is_whole(&self) -> bool {
        self.rest.is_none() && self.problem.is_none() && !self.unread && self.handshake.is_none()
    }

    /// The change that asks for usage, where the client left it open. Only a request that was read whole can be
    /// changed.
    fn asking(&self, salt: [u8; 32]) -> Option<Asking> {
        let whole = self.rest.is_none() && self.problem.is_none() && self.trailers.is_none() && !self.unread;
        whole.then(|| Asking::instead_of(&self.head, &self.read, salt)).flatten()
    }

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
        Self { unread, ..Self::of(head) }
    }
}

/// What the start record says.
fn describe(
    admission: &Admission,
    peer: &Peer,
    inbound: &Inbound,
    endpoint: &'static Endpoint,
    mut said: RequestFacts,
    input: Option<Commitment>,
) -> Start {
    let (head, route) = (&inbound.head, admission.route());
    let from_headers = headers::identity(&head.headers);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut start = Start {
        tenant: admission.tenant().to_owned(),
        time: clock::now().0,
        facts: Facts {
            route: route.name.clone(),
            environment: from_headers.environment.or_else(|| route.environment.clone()),
            app_version: from_headers.app_version,
            operation: endpoint.operation().to_owned(),
            provider: route.provider.clone(),
            // Whose key it is outranks what a request says; what the application's own infrastructure
            // says in a header outranks a body field.
            user_id: admission
                .user()
                .map(str::to_owned)
                .or(from_headers.user_id)
                .or_else(|| said.user_id.take()),
            session_id: from_headers.session_id.or_else(|| said.session_id.take()),
            request_id: from_headers.request_id,
            api_key_id: admission.key_id().map(str::to_owned),
            trace_id: from_headers.trace_id,
            span_id: from_headers.span_id,
            attempt: from_headers.attempt,
            retention_class: route.retention_class.clone(),
            tags: [from_headers.tags, std::mem::take(&mut said.tags)].concat(),
            ..said.into()
        },
        private: Private {
            method: Some(head.method.to_string()),
            target: Some(headers::scrub_target(target)),
            headers: headers::kept_request_headers(&head.headers),
            peer: Some(peer.address.to_string()),
            input,
            rewrite: inbound.asking.as_ref().map(|asking| asking.rewrite.clone()),
            input_type: content_type.map(str::to_owned),
            ..Private::default()
        },
    };
    if let Some(handshake) = &inbound.handshake {
        handshake.describe(&mut start, head.uri.query());
    }
    start
}

async fn settled(wait: Wait) -> Result<(), Problem> {
    match wait {
        Wait::Ready => Ok(()),
        Wait::For(durable) => durable.await.map_err(|_| Problem::not_durable()),
    }
}
