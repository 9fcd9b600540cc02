//! From a request to all that a gateway records of its call.

use super::{Session, TRIES_MAX, tools};
use crate::body::{self, Completion, Usage};
use crate::cast::Kind;
use crate::draw::Draw;
use crate::fate::{self, Fate};
use crate::{Call, Piece};
use indelible_record::Committer;
use indelible_record::entry::{Param, Status};
use indelible_record::event::{Answer, End, Facts, Private, Start};
use uuid::Uuid;

/// Bytes of text for each token, about.
const TOKEN_BYTES: f64 = 4.4;
/// A gateway writes what passed of a stream at this age.
const FLUSH_US: u64 = 1_000_000;
/// Model servers keep prompts of this length in blocks of that one.
const CACHED_MIN_TOKENS: u64 = 1024;
const CACHED_BLOCK_TOKENS: u64 = 128;
/// A gateway that dies does so this long after its last request came.
const DIES_AFTER_US: u64 = 1_500_000;

/// When a call comes, and what is known of it beforehand.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// Microseconds since 1970.
    pub(crate) time: i64,
    /// The gateway dies while this call is open.
    pub(crate) last: bool,
}

/// What the model server answered, and what it says of itself.
struct Reply {
    body: String,
    answer: Answer,
    usage: Option<String>,
    /// What the conversation goes on with.
    then: Vec<String>,
    ttft_us: u64,
    latency_us: u64,
    content_type: &'static str,
}

/// Parameters of a session's calls, as JSON values.
pub(super) fn params(session: &Session) -> Vec<(&'static str, String)> {
    let limit = |tokens: u32| ("max_tokens", tokens.to_string());
    let temperature = ["0", "0.2", "0.7", "1"][(session.app_seed % 4) as usize];
    match session.app.kind {
        Kind::Embedding => Vec::new(),
        Kind::Single => vec![("temperature", "0".to_owned()), limit(200)],
        Kind::Agent => vec![("parallel_tool_calls", "false".to_owned()), ("temperature", "0".to_owned())],
        Kind::Chat | Kind::Retrieval => vec![("temperature", temperature.to_owned()), limit(1024)],
    }
}

pub(super) fn make(session: &mut Session, moment: Moment, request: String) -> Call {
    let event_id = event_id(&mut session.draw, moment.time);
    let start = start(session, moment.time, &request);
    let mut call = Call { event_id, start, request, pieces: Vec::new(), rest: String::new(), end: None };
    if moment.last {
        let reply = reply(session, moment.time, &call.request);
        interrupt(session, &mut call, &reply);
        return call;
    }
    let fate = fate::of(&mut session.draw, session.app, session.model.provider, session.seed, moment.time);
    let failure = fate.failure(&mut session.draw);
    if let Some(failure) = failure {
        let mut end = end(session, moment.time, failure.status, failure.latency_us, &failure.body);
        end.http_status = Some(failure.http_status);
        end.error_type = Some(failure.error_type.to_owned());
        end.ttft_us = Some(failure.latency_us);
        end.private.error = failure.error.map(str::to_owned);
        if let Some((kind, code)) = failure.said {
            end.answer.error_type = Some(kind.to_owned());
            end.answer.error_code = Some(code.to_owned());
        }
        call.rest = failure.body;
        call.end = Some(end);
    } else {
        let reply = reply(session, moment.time, &call.request);
        answer(session, &mut call, reply, fate);
    }
    settle(session, fate);
    call
}

/// What the session does after a call that went this way.
fn settle(session: &mut Session, fate: Fate) {
    if fate.is_tried_again() && session.attempt < TRIES_MAX {
        session.attempt += 1;
        return;
    }
    if fate != Fate::Answered {
        // Who got no answer, or did not wait for it, does not go on from it.
        session.left = 0;
        return;
    }
    session.attempt = 1;
    session.asked = false;
    session.left -= 1;
}

fn start(session: &mut Session, time: i64, request: &str) -> Start {
    let draw = &mut session.draw;
    let request_id = Uuid::from_bytes(draw.bytes()).hyphenated().to_string();
    let trace_id = session.trace_id.clone().or_else(|| draw.chance(0.7).then(|| draw.hex::<16>()));
    let span_id = trace_id.as_ref().map(|_| draw.hex::<8>());
    let mut committer = Committer::new(draw.bytes());
    committer.update(request.as_bytes());
    let embedding = session.app.kind == Kind::Embedding;
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("user-agent".to_owned(), format!("{}/{}", session.app.name, session.app.version)),
        ("x-request-id".to_owned(), request_id.clone()),
    ];
    if let Some(id) = &session.id {
        headers.push(("x-session-id".to_owned(), id.clone()));
    }
    if let (Some(trace), Some(span)) = (&trace_id, &span_id) {
        headers.push(("traceparent".to_owned(), format!("00-{trace}-{span}-01")));
    }
    Start {
        tenant: session.tenant.clone(),
        time,
        facts: Facts {
            route: session.app.route.to_owned(),
            environment: Some(session.app.environment.to_owned()),
            app_version: Some(session.app.version.to_owned()),
            operation: if embedding { "embeddings" } else { "chat" }.to_owned(),
            provider: Some(session.model.provider.to_owned()),
            model: Some(session.model.name.to_owned()),
            params: facts_params(session),
            stream: (!embedding).then_some(session.stream),
            user_id: session.user.clone(),
            session_id: session.id.clone(),
            request_id: Some(request_id),
            api_key_id: Some(session.key_id.clone()),
            trace_id,
            span_id,
            tools: match session.app.kind {
                Kind::Agent => tools::offered(session.app_seed).map(|(name, _)| (*name).to_owned()).collect(),
                _ => Vec::new(),
            },
            attempt: (session.attempt > 1).then_some(session.attempt),
            retention_class: session.app.retention.map(str::to_owned),
            tags: vec![format!("app:{}", session.app.name)],
            ..Facts::default()
        },
        private: Private {
            method: Some("POST".to_owned()),
            target: Some(if embedding { "/v1/embeddings" } else { "/v1/chat/completions" }.to_owned()),
            headers,
            peer: Some(session.peer.clone()),
            input: Some(committer.finish()),
            input_type: Some("application/json".to_owned()),
            ..Private::default()
        },
    }
}

fn facts_params(session: &Session) -> std::collections::BTreeMap<String, Param> {
    let read = |value: String| match value.parse::<i64>() {
        Ok(number) => Param::Integer(number),
        Err(_) => value.parse::<bool>().map_or(Param::Text(value), Param::Bool),
    };
    params(session).into_iter().map(|(name, value)| (name.to_owned(), read(value))).collect()
}

/// What the model server answers where nothing goes wrong.
fn reply(session: &mut Session, time: i64, request: &str) -> Reply {
    let prompt = (request.len() as f64 / TOKEN_BYTES) as u64;
    let (model, kind) = (session.model, session.app.kind);
    let draw = &mut session.draw;
    let ttft_us = (draw.skewed(model.ttft_ms, 0.5) * 1e3) as u64;
    if kind == Kind::Embedding {
        let body = body::embedding(draw, model.returned, prompt);
        let usage = format!("{{\"prompt_tokens\":{prompt},\"total_tokens\":{prompt}}}");
        let answer = Answer {
            model: Some(model.returned.to_owned()),
            prompt_tokens: Some(prompt),
            ..Answer::default()
        };
        let content_type = "application/json";
        let (usage, latency_us, then) = (Some(usage), ttft_us + 2_000, Vec::new());
        return Reply { body, answer, usage, then, ttft_us, latency_us, content_type };
    }
    let calls_tool = kind == Kind::Agent && session.left > 1;
    let (mut content, mut tool) = (String::new(), None);
    match kind {
        _ if calls_tool => tool = Some(tools::call(draw, session.app_seed, session.topic)),
        Kind::Single => judgement(draw, session.topic, &mut content),
        _ => {
            let bytes = draw.skewed(1300.0, 0.55).clamp(300.0, 2500.0) as usize;
            crate::words::prose(draw, session.topic, bytes, &mut content);
        }
    }
    let written = content.len() + tool.as_ref().map_or(0, |(_, _, call)| call.len());
    let completion = (written as f64 / TOKEN_BYTES) as u64 + 3;
    let reasoning = if model.name == "gpt-5-mini" { draw.between(1, 12) as u64 * 64 } else { 0 };
    let warm = session.warm_tokens.min(prompt) / CACHED_BLOCK_TOKENS * CACHED_BLOCK_TOKENS;
    let cached = if warm >= CACHED_MIN_TOKENS && model.provider == "openai" { warm } else { 0 };
    session.warm_tokens = prompt + completion;
    let usage = Usage { prompt, completion: completion + reasoning, cached, reasoning };
    let finish = match tool {
        Some(_) => "tool_calls",
        None if kind != Kind::Single && draw.chance(0.02) => "length",
        None => "stop",
    };
    let id = format!("chatcmpl-{}", draw.hex::<15>());
    let completed = Completion {
        id: &id,
        model: model.returned,
        created_s: time / 1_000_000,
        fingerprint: model.fingerprint,
        content: &content,
        tool_calls: tool.as_ref().map(|(_, _, call)| call.as_str()),
        finish,
        usage,
    };
    let body = if session.stream { completed.stream(draw) } else { completed.plain() };
    let mut then = vec![completed.message()];
    let tool_calls = tool.as_ref().map(|(_, name, _)| (*name).to_owned());
    if let Some((id, _, _)) = &tool {
        then.push(tools::result(draw, id, session.topic));
    }
    let seconds = usage.completion as f64 / draw.skewed(model.tokens_per_s, 0.25);
    let latency_us = ttft_us + (seconds * 1e6) as u64;
    let answer = Answer {
        model: Some(model.returned.to_owned()),
        system_fingerprint: model.fingerprint.map(str::to_owned),
        finish_reason: Some(finish.to_owned()),
        prompt_tokens: Some(prompt),
        completion_tokens: Some(usage.completion),
        cached_tokens: Some(cached),
        reasoning_tokens: Some(reasoning),
        tool_calls: tool_calls.into_iter().collect(),
        response_id: Some(id.clone()),
        service_tier: Some("default".to_owned()),
        ..Answer::default()
    };
    let usage = Some(usage.json());
    if session.stream {
        Reply { body, answer, usage, then, ttft_us, latency_us, content_type: "text/event-stream" }
    } else {
        // What is sent at once begins when it is whole.
        Reply { body, answer, usage, then, ttft_us: latency_us, latency_us, content_type: "application/json" }
    }
}

/// A short answer in JSON, as classifiers give: escaped for the string that it stands in.
fn judgement(draw: &mut Draw, topic: u64, out: &mut String) {
    const LABELS: [&str; 7] =
        ["billing", "delivery", "complaint", "contract", "technical", "praise", "nothing of these"];
    let (label, sure) = (draw.pick(&LABELS), draw.between(51, 99));
    out.push_str(&format!("{{\\\"label\\\":\\\"{label}\\\",\\\"confidence\\\":0.{sure},\\\"reason\\\":\\\""));
    let mut reason = String::new();
    let bytes = draw.between(30, 120);
    crate::words::prose(draw, topic, bytes, &mut reason);
    out.push_str(&reason.replace("\\n", "\\\\n"));
    out.push_str("\\\"}");
}

fn answer(session: &mut Session, call: &mut Call, reply: Reply, fate: Fate) {
    let time = call.start.time;
    let mut latency_us = reply.latency_us;
    let mut body = reply.body;
    if fate == Fate::HungUp {
        // Anywhere in the answer; of one that is sent at once the client gets nothing.
        let share = session.draw.unit();
        latency_us = reply.ttft_us + (share * (reply.latency_us - reply.ttft_us) as f64) as u64;
        let kept = if session.stream { (share * body.len() as f64) as usize } else { 0 };
        body.truncate(floor_char(&body, kept));
    }
    let status = if fate == Fate::HungUp { Status::Cancelled } else { Status::Completed };
    let mut end = end(session, time, status, latency_us, &body);
    end.http_status = Some(200);
    end.private.output_type = Some(reply.content_type.to_owned());
    end.ttft_us = (!body.is_empty()).then_some(reply.ttft_us.min(latency_us));
    if fate == Fate::HungUp {
        end.error_type = Some("client_gone".to_owned());
        end.output_partial = true;
        end.answer = Answer { model: reply.answer.model, ..Answer::default() };
    } else {
        end.first_token_us = end.ttft_us;
        end.answer = reply.answer;
        end.private.usage = reply.usage;
        if session.app.kind != Kind::Embedding {
            for message in reply.then {
                session.history.push(',');
                session.history.push_str(&message);
            }
        }
    }
    call.pieces = pieces(time, reply.ttft_us, latency_us, &body);
    let passed: usize = call.pieces.iter().map(|piece| piece.body.len()).sum();
    call.rest = body.split_off(passed);
    call.end = Some(end);
}

/// The gateway dies in the middle of the answer: what passed until then is all that there is.
fn interrupt(session: &mut Session, call: &mut Call, reply: &Reply) {
    session.left = 0;
    let passed = reply.body.len() as u64 * DIES_AFTER_US / (reply.latency_us.max(DIES_AFTER_US) * 2);
    let body = reply.body[..floor_char(&reply.body, passed as usize)].to_owned();
    if !body.is_empty() {
        call.pieces.push(Piece { time: call.start.time + FLUSH_US as i64, body });
    }
}

fn end(session: &mut Session, time: i64, status: Status, latency_us: u64, body: &str) -> End {
    let mut committer = Committer::new(session.draw.bytes());
    committer.update(body.as_bytes());
    End {
        start_seq: 0,
        time: time + latency_us as i64,
        status,
        http_status: None,
        error_type: None,
        latency_us,
        ttft_us: None,
        first_token_us: None,
        delivered_bytes: body.len() as u64,
        input_partial: false,
        output_partial: false,
        answer: Answer::default(),
        withheld: Vec::new(),
        hangup: None,
        websocket: None,
        late: None,
        private: Private {
            output: Some(committer.finish()),
            output_type: Some("application/json".to_owned()),
            ..Private::default()
        },
    }
}

/// What a gateway has written of an answer before its end: a piece a second.
fn pieces(time: i64, ttft_us: u64, latency_us: u64, body: &str) -> Vec<Piece> {
    let span = latency_us.saturating_sub(ttft_us).max(1);
    let mut pieces = Vec::new();
    let (mut at, mut passed) = (ttft_us + FLUSH_US, 0);
    while at < latency_us {
        let reached = (body.len() as u64 * (at - ttft_us) / span) as usize;
        let reached = floor_char(body, reached).max(passed);
        if reached > passed {
            pieces.push(Piece { time: time + at as i64, body: body[passed..reached].to_owned() });
        }
        (passed, at) = (reached, at + FLUSH_US);
    }
    pieces
}

/// The last boundary between characters at `at` or before it.
fn floor_char(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

/// A UUID of version 7 (RFC 9562 §5.7).
fn event_id(draw: &mut Draw, time: i64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis((time / 1000) as u64, &draw.bytes()).into_uuid()
}
