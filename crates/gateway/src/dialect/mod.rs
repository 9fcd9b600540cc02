//! Dialects: from the bytes of a call to the fields that an entry names.
//!
//! The gateway passes and captures bytes; nothing here touches the wire. A reader is fed a copy of each
//! piece of a body as it passes, whatever its size, and keeps only what it was asked for. A body that is
//! broken or of an unknown kind yields what could be read, and is recorded whole all the same.
//!
//! ```text
//! method, path   ─▶ ENDPOINTS                                        ─▶ operation, dialect
//! request bytes  ─▶ coding ─▶ pick                     ─▶ asks       ─▶ RequestFacts
//! response bytes ─▶ coding ─▶ sse or texts, then pick  ─▶ says       ─▶ Answer, usage as sent
//! ```
//!
//! A dialect is two tables: which value of a request, and of an answer, means what. It adds no code.
//!
//! **Invariant:** memory per body is a constant: no event, string or nesting is buffered to be understood.

mod answer;
mod kept;
mod pick;
mod plan;
mod repeat;
mod request;
mod scan;
mod sse;
mod texts;
mod usage;
mod value;

mod chat;
mod completions;
mod embeddings;
mod gemini;
mod messages;
mod ollama;
mod openai;
mod other;
mod realtime;
mod responses;
mod vllm;

#[cfg(test)]
mod tests;

pub(crate) use answer::AnswerReader;
pub(crate) use realtime::MessageReader;
pub(crate) use request::{RequestFacts, RequestReader};

use answer::Says;
use plan::{Meaning, Plan, Rows};
use request::Asks;
use std::sync::OnceLock;

/// U+FEFF in UTF-8. Servers written in Python skip it before JSON, and every reader of SSE must.
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// All that is read, by the end of the path. Only the end counts, because what stands before it is the
/// provider's: `/v1`, Azure's `/openai/deployments/{name}`, Gemini's `/v1beta/openai`. The first row that fits
/// counts; `{…}` is one part of a path.
///
/// Operations are OpenTelemetry's `gen_ai.operation.name` where it has one.
static ENDPOINTS: [Endpoint; 25] = [
    post("/chat/completions", "chat", &chat::DIALECT),
    post("/completions", "text_completion", &completions::DIALECT),
    post("/embeddings", "embeddings", &embeddings::DIALECT),
    post("/responses", "chat", &responses::DIALECT),
    get("/responses/{response}", "response_poll", &responses::DIALECT),
    post("/responses/{response}/cancel", "response_cancel", &responses::DIALECT),
    // Upgraded to WebSocket, as a GET always is.
    get("/responses", "chat", &realtime::DIALECT),
    get("/realtime", "realtime", &realtime::DIALECT),
    post("/v1/messages", "chat", &messages::DIALECT),
    post("/v1/messages/count_tokens", "count_tokens", &messages::DIALECT),
    post("/{model}:generateContent", "generate_content", &gemini::DIALECT),
    post("/{model}:streamGenerateContent", "generate_content", &gemini::DIALECT).streaming(),
    post("/{model}:embedContent", "embeddings", &gemini::DIALECT),
    post("/{model}:batchEmbedContents", "embeddings", &gemini::DIALECT),
    post("/{model}:countTokens", "count_tokens", &gemini::DIALECT),
    post("/api/chat", "chat", &ollama::DIALECT),
    post("/api/generate", "text_completion", &ollama::DIALECT),
    post("/api/embed", "embeddings", &ollama::DIALECT),
    post("/api/embeddings", "embeddings", &ollama::DIALECT),
    post("/tokenize", "tokenize", &vllm::DIALECT),
    post("/detokenize", "detokenize", &vllm::DIALECT),
    post("/score", "score", &vllm::DIALECT),
    post("/rerank", "rerank", &vllm::DIALECT),
    post("/pooling", "pooling", &vllm::DIALECT),
    post("/classify", "classify", &vllm::DIALECT),
];

/// Everything else, which is recorded whole and of which little is read.
static OTHER: Endpoint = post("", "other", &other::DIALECT);

/// The endpoint that a request is for.
pub(crate) fn endpoint_of(method: &str, path: &str) -> &'static Endpoint {
    let path = plain(path);
    let fits = |endpoint: &&Endpoint| endpoint.method == method && endpoint.fit(path).is_some();
    ENDPOINTS.iter().find(fits).unwrap_or(&OTHER)
}

/// A path without what may follow it.
fn plain(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or_default();
    path.strip_suffix('/').unwrap_or(path)
}

/// What a body in `coding` decodes to, in pieces as they come, and why not all of it.
#[cfg(fuzzing)]
pub(crate) fn decoded<'a>(
    coding: &str,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Option<&'static str>) {
    let Some(mut decoder) = indelible_coding::Decoder::new(coding) else {
        return (pieces.flatten().copied().collect(), None);
    };
    let mut decoded = Vec::new();
    pieces.for_each(|piece| decoder.push(piece, &mut |part| decoded.extend_from_slice(part)));
    (decoded, decoder.unread().map(indelible_coding::Unread::as_str))
}

/// One kind of call: where it is made, what it is, how it is read.
pub(crate) struct Endpoint {
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    /// The path alone says that the answer is a stream: as events, or as a list that grows.
    streams: bool,
    dialect: &'static Dialect,
}

const fn post(path: &'static str, operation: &'static str, dialect: &'static Dialect) -> Endpoint {
    Endpoint { method: "POST", path, operation, streams: false, dialect }
}

const fn get(path: &'static str, operation: &'static str, dialect: &'static Dialect) -> Endpoint {
    Endpoint { method: "GET", ..post(path, operation, dialect) }
}

impl Endpoint {
    const fn streaming(self) -> Self {
        Self { streams: true, ..self }
    }

    /// The word for what kind of call it is, as it stands in entries.
    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    /// Whether the answer is made for the call. That of a poll is about another call, whatever it says of it.
    pub(crate) fn generates(&self) -> bool {
        !self.path.contains("{response}")
    }

    /// Whether a path is the endpoint's, and the part of it that has a name.
    fn fit<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Some((before, rest)) = self.path.split_once('{') else {
            return path.ends_with(self.path).then_some("");
        };
        let (_, after) = rest.split_once('}')?;
        let begin = path.strip_suffix(after)?.rfind('/')? + 1;
        let part = &path[begin..path.len() - after.len()];
        (path[..begin].ends_with(before) && !part.is_empty()).then_some(part)
    }

    /// What the path says of the call.
    fn facts_of_path(&self, path: &str) -> RequestFacts {
        let path = plain(path);
        let part = self.fit(path).filter(|part| !part.is_empty()).map(str::to_owned);
        let mut facts = RequestFacts { stream: self.streams.then_some(true), ..RequestFacts::default() };
        match part {
            Some(response) if self.path.contains("{response}") => facts.response_id = Some(response),
            Some(model) => facts.model = Some(model),
            // Azure: the deployment is the model, and the body need not name it.
            None => {
                let deployment =
                    path.split_once("/deployments/").and_then(|(_, rest)| rest.split('/').next());
                facts.model = deployment.filter(|name| !name.is_empty()).map(str::to_owned);
            }
        }
        facts
    }
}

/// How requests and answers of one API are read.
struct Dialect {
    asks: Table<Asks>,
    says: Table<Says>,
    /// The kinds of events that nothing follows.
    ends: &'static [&'static str],
    /// A stream is over once the first choice says why it stopped.
    finish_ends: bool,
}

impl Dialect {
    const fn new(asks: &'static [Rows<Asks>], says: &'static [Rows<Says>]) -> Self {
        Self { asks: Table::new(asks), says: Table::new(says), ends: &[], finish_ends: false }
    }

    const fn ending_with(mut self, ends: &'static [&'static str]) -> Self {
        self.ends = ends;
        self
    }

    const fn ending_with_finish(mut self) -> Self {
        self.finish_ends = true;
        self
    }
}

/// What stands where. The tree is made of it at the first use.
struct Table<M: 'static> {
    rows: &'static [Rows<M>],
    plan: OnceLock<Plan<M>>,
}

impl<M: Meaning> Table<M> {
    const fn new(rows: &'static [Rows<M>]) -> Self {
        Self { rows, plan: OnceLock::new() }
    }

    fn plan(&'static self) -> &'static Plan<M> {
        self.plan.get_or_init(|| Plan::new(self.rows))
    }
}
