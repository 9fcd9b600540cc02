//! Sends a plan and counts what came back.
//!
//! As many workers as asked for take the next request each, so requests start in the plan's order. An
//! answer counts as completed once its body was read to the end, whatever its status; anything else failed
//! and is not sent again, because a second sending would be a second request to whoever records them. Only
//! a request of which no byte had left, on a connection found closed, takes another connection.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::plan::{LoadRequest, Plan};

/// An answer that takes longer has failed.
const ANSWER_MAX: Duration = Duration::from_secs(120);
const EVENT_ID: &str = "x-indelible-event-id";

type Failure = Box<dyn Error + Send + Sync>;

/// One answer that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request's index in the plan.
    pub index: usize,
    /// The HTTP status.
    pub status: u16,
    /// The header `x-indelible-event-id`, if it was there.
    pub event_id: Option<String>,
    /// Bytes in the body.
    pub bytes: u64,
}

/// What became of a plan.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests whose answer was read to its end.
    pub completed: usize,
    /// Requests without an answer, or whose answer broke off.
    pub failed: usize,
    /// Completed requests by HTTP status.
    pub by_status: BTreeMap<u16, usize>,
    /// The event ids of all completed answers, in the plan's order.
    pub event_ids: Vec<String>,
    /// All completed answers, in the plan's order.
    pub answers: Vec<Answer>,
    /// Why the first request that failed did.
    pub first_failure: Option<String>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

/// What the workers share.
struct Run<P> {
    plan: Plan,
    base_url: String,
    authorization: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
    next: AtomicUsize,
    outcome: Mutex<Outcome>,
    on_progress: P,
}

/// Sends all requests of `plan` to `base_url` (`http://host:port`), up to `concurrency` at a time.
///
/// `on_progress` is called after each request with the number of requests that are over; calls may
/// overlap. A base URL that leads nowhere shows as requests that failed.
pub async fn run(
    plan: Plan,
    base_url: &str,
    api_key: Option<&str>,
    concurrency: usize,
    on_progress: impl Fn(usize) + Send + Sync + 'static,
) -> Outcome {
    let started = Instant::now();
    let run = Arc::new(Run {
        plan,
        base_url: base_url.trim_end_matches('/').to_owned(),
        authorization: api_key.map(|key| format!("Bearer {key}")),
        client: client(),
        next: AtomicUsize::new(0),
        outcome: Mutex::default(),
        on_progress,
    });
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.clamp(1, run.plan.requests.max(1)) {
        workers.spawn(Arc::clone(&run).work());
    }
    while workers.join_next().await.is_some() {}
    let mut outcome = std::mem::take(&mut *run.outcome.lock().unwrap_or_else(PoisonError::into_inner));
    outcome.answers.sort_by_key(|answer| answer.index);
    outcome.event_ids = outcome.answers.iter().filter_map(|answer| answer.event_id.clone()).collect();
    outcome.elapsed = started.elapsed();
    outcome
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

impl<P: Fn(usize)> Run<P> {
    async fn work(self: Arc<Self>) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.plan.requests {
                return;
            }
            let answer = timeout(ANSWER_MAX, self.send(index)).await.unwrap_or_else(|late| Err(late.into()));
            (self.on_progress)(self.note(answer));
        }
    }

    async fn send(&self, index: usize) -> Result<Answer, Failure> {
        let request = self.plan.request(index);
        let response = self.client.request(self.request(request)?).await?;
        let status = response.status().as_u16();
        let event_id = response.headers().get(EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        Ok(Answer { index, status, event_id, bytes: read(response).await? })
    }

    fn request(&self, load: LoadRequest) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::post(format!("{}{}", self.base_url, load.path));
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in load.headers {
            request = request.header(name, value);
        }
        Ok(request.body(Full::from(load.body))?)
    }

    /// Counts what came of one request and answers how many are over.
    fn note(&self, answer: Result<Answer, Failure>) -> usize {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) => {
                outcome.completed += 1;
                *outcome.by_status.entry(answer.status).or_default() += 1;
                outcome.answers.push(answer);
            }
            Err(failure) => {
                outcome.failed += 1;
                outcome.first_failure.get_or_insert_with(|| explain(failure.as_ref()));
            }
        }
        outcome.completed + outcome.failed
    }
}

async fn read(response: Response<Incoming>) -> Result<u64, Failure> {
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

/// An error with its causes.
fn explain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
