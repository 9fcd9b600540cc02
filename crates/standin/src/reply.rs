//! From a request's bytes to the answer's: routing, errors and the plain bodies.
//!
//! A function of its arguments alone; [`server`](crate::server) adds what concerns the connection. Models
//! whose names begin with `missing` are unknown, and the model `broken` always fails.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::answer::{Answer, Seed};
use crate::controls::Controls;
use crate::request::{Chat, Completion, Embeddings, StreamOptions};
use crate::shape::{self, CREATED, ChatChoice, Envelope, FINGERPRINT, TextChoice, TextLogprobs, Usage};
use crate::stream::{self, Wish};

/// What a chat's id begins with.
pub(crate) const CHAT_ID: &str = "chatcmpl-";
const COMPLETION_ID: &str = "cmpl-";

/// The models that `GET /v1/models` names; any other name is answered all the same.
const MODELS: [&str; 3] = ["llama-3-8b-instruct", "qwen2.5-7b-instruct", "bge-small-en"];
const MODEL_DEFAULT: &str = "standin";
const MODEL_MISSING_PREFIX: &str = "missing";
const MODEL_BROKEN: &str = "broken";
const DIMENSIONS_DEFAULT: usize = 8;
const DIMENSIONS_MAX: usize = 4096;

/// A status and a body, or the events of a stream.
pub(crate) enum Reply {
    Json(StatusCode, Bytes),
    Stream(Vec<Bytes>),
}

/// An answer, or the error that stands in its place.
type Answered = Result<Reply, Reply>;

/// Answers one request.
pub(crate) fn reply(method: &Method, path: &str, body: &[u8], controls: &Controls) -> Reply {
    let answered = match (path, method) {
        ("/v1/chat/completions", &Method::POST) => chat(body, controls),
        ("/v1/completions", &Method::POST) => completion(body, controls),
        ("/v1/embeddings", &Method::POST) => embeddings(body),
        ("/v1/models", &Method::GET) => Ok(ok(&shape::models(&MODELS))),
        ("/health", &Method::GET) => Ok(Reply::Json(StatusCode::OK, Bytes::new())),
        _ => Err(nowhere(method, path)),
    };
    answered.unwrap_or_else(|error| error)
}

/// A 400 for what the stand-in itself was asked wrongly.
pub(crate) fn bad_request(message: &str) -> Reply {
    refuse(StatusCode::BAD_REQUEST, message, None, None)
}

/// The bytes of a plain chat completion.
pub(crate) fn chat_body(id: &str, model: &str, answer: &Answer, logprobs: bool) -> Vec<u8> {
    let choices = answer.choices.iter().enumerate();
    let choices = choices.map(|(index, choice)| ChatChoice::of(index, choice, logprobs)).collect();
    json_bytes(&envelope(id, "chat.completion", model, choices, answer))
}

fn chat(body: &[u8], controls: &Controls) -> Answered {
    let chat: Chat = parse(body)?;
    let model = known(chat.model.as_deref())?;
    let answer = Answer::chat(model, &chat, controls.bytes);
    let id = format!("{CHAT_ID}{}", answer.seed.hex());
    let logprobs = chat.logprobs.unwrap_or(false);
    if chat.stream.unwrap_or(false) {
        let wish = wish(controls, chat.stream_options.as_ref(), logprobs);
        return Ok(Reply::Stream(stream::chat(&id, model, &answer, &wish)));
    }
    Ok(Reply::Json(StatusCode::OK, chat_body(&id, model, &answer, logprobs).into()))
}

fn completion(body: &[u8], controls: &Controls) -> Answered {
    let asked: Completion = parse(body)?;
    let model = known(asked.model.as_deref())?;
    let answer = Answer::completion(model, &asked, controls.bytes);
    let id = format!("{COMPLETION_ID}{}", answer.seed.hex());
    let logprobs = asked.logprobs.is_some();
    if asked.stream.unwrap_or(false) {
        let wish = wish(controls, asked.stream_options.as_ref(), logprobs);
        return Ok(Reply::Stream(stream::completion(&id, model, &answer, &wish)));
    }
    let choice = |(index, text, finish)| TextChoice {
        index,
        text,
        logprobs: logprobs.then(|| TextLogprobs::of(text, 0)),
        finish_reason: Some(finish),
    };
    let texts = answer.choices.iter().map(|choice| (choice.content.text(), choice.finish));
    let choices = texts.enumerate().map(|(index, (text, finish))| choice((index, text, finish))).collect();
    Ok(ok(&envelope(&id, "text_completion", model, choices, &answer)))
}

fn embeddings(body: &[u8]) -> Answered {
    let asked: Embeddings = parse(body)?;
    let model = known(asked.model.as_deref())?;
    let dimensions = asked.dimensions.unwrap_or(DIMENSIONS_DEFAULT);
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        let message = format!("'dimensions' must be between 1 and {DIMENSIONS_MAX}.");
        return Err(refuse(StatusCode::BAD_REQUEST, &message, Some("dimensions"), None));
    }
    let packed = asked.encoding_format.as_deref() == Some("base64");
    let datum = |(index, input): (usize, &String)| {
        let vector = vector(Seed::of(model, std::iter::once(("input", input.as_str()))), dimensions);
        json!({"object": "embedding", "index": index, "embedding": written(&vector, packed)})
    };
    let data: Vec<Value> = asked.input.0.iter().enumerate().map(datum).collect();
    let usage = shape::embedding_usage(&asked.input.0);
    Ok(ok(&json!({"object": "list", "data": data, "model": model, "usage": usage})))
}

/// A vector of length 1.
fn vector(seed: Seed, dimensions: usize) -> Vec<f32> {
    let raw: Vec<f64> = (0..dimensions as u64).map(|lane| seed.number(lane) as i64 as f64).collect();
    let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    raw.iter().map(|x| (x / length) as f32).collect()
}

/// Numbers, or the base64 of little-endian floats that client libraries ask for.
fn written(vector: &[f32], packed: bool) -> Value {
    if !packed {
        return json!(vector);
    }
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    json!(BASE64_STANDARD.encode(bytes))
}

fn envelope<'a, C>(
    id: &'a str,
    object: &'static str,
    model: &'a str,
    choices: Vec<C>,
    answer: &Answer,
) -> Envelope<'a, C> {
    let usage = Some(Some(Usage::of(answer)));
    Envelope { id, object, created: CREATED, model, choices, usage, system_fingerprint: FINGERPRINT }
}

fn wish(controls: &Controls, options: Option<&StreamOptions>, logprobs: bool) -> Wish {
    let include_usage = options.and_then(|options| options.include_usage).unwrap_or(false);
    Wish { chunks: controls.chunks, include_usage, logprobs }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|error| {
        let message = if error.is_data() {
            format!("Invalid request: {error}")
        } else {
            format!("We could not parse the JSON body of your request: {error}")
        };
        bad_request(&message)
    })
}

fn known(model: Option<&str>) -> Result<&str, Reply> {
    match model.unwrap_or(MODEL_DEFAULT) {
        MODEL_BROKEN => {
            let message = "The server had an error while processing your request.";
            Err(error(StatusCode::INTERNAL_SERVER_ERROR, message, "server_error", None, None))
        }
        name if name.starts_with(MODEL_MISSING_PREFIX) => {
            let message = format!("The model `{name}` does not exist or you do not have access to it.");
            Err(refuse(StatusCode::NOT_FOUND, &message, None, Some("model_not_found")))
        }
        name => Ok(name),
    }
}

fn nowhere(method: &Method, path: &str) -> Reply {
    match path {
        "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings" | "/v1/models" | "/health" => {
            let message = format!("Not allowed to {method} on {path}.");
            refuse(StatusCode::METHOD_NOT_ALLOWED, &message, None, Some("method_not_supported"))
        }
        _ => refuse(
            StatusCode::NOT_FOUND,
            &format!("Invalid URL ({method} {path})"),
            None,
            Some("unknown_url"),
        ),
    }
}

fn refuse(status: StatusCode, message: &str, param: Option<&str>, code: Option<&str>) -> Reply {
    error(status, message, "invalid_request_error", param, code)
}

fn error(status: StatusCode, message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Reply {
    Reply::Json(status, json_bytes(&shape::error(message, kind, param, code)).into())
}

fn ok(value: &impl serde::Serialize) -> Reply {
    Reply::Json(StatusCode::OK, json_bytes(value).into())
}

/// The shapes here have string keys only, so writing them cannot fail.
fn json_bytes(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    if serde_json::to_writer(&mut bytes, value).is_err() {
        bytes = b"null".to_vec();
    }
    bytes
}
