//! The stand-in over a real socket: shapes, streams, controls and the log.
//!
//! Faults are looked at as bytes on a bare connection, since a client library would hide what they are.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use indelible_standin::{Log, serve_logged};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

struct Standin {
    address: SocketAddr,
    log: Arc<Log>,
    task: JoinHandle<std::io::Result<()>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

async fn standin() -> Standin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Arc::new(Log::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = serve_logged(listener, Arc::clone(&log), async {
        let _ = stopped.await;
    });
    Standin { address, log, task: tokio::spawn(serve), stop }
}

impl Standin {
    async fn send(&self, method: &str, path: &str, controls: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("x-standin", controls)
            .header("x-test-id", "a-test")
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    async fn post(&self, path: &str, controls: &str, body: &Value) -> Value {
        let (status, answer) = self.send("POST", path, controls, body.to_string().as_bytes()).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap()
    }

    async fn stream(&self, path: &str, controls: &str, body: &Value) -> Vec<Value> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let (status, answer) = self.send("POST", path, controls, body.to_string().as_bytes()).await;
        assert_eq!(status, 200);
        let mut events = events(&answer);
        assert_eq!(events.pop().as_deref(), Some("[DONE]"));
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// All bytes that come back to a chat until the connection closes.
    async fn raw(&self, controls: &str, stream: bool) -> Vec<u8> {
        let mut body = chat();
        body["stream"] = json!(stream);
        let body = body.to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-standin: {controls}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await.expect("closes").unwrap();
        answer
    }
}

fn events(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    let events = text.split_terminator("\n\n");
    events.map(|event| event.strip_prefix("data: ").expect("an event").to_owned()).collect()
}

fn chat() -> Value {
    json!({"model": "llama-3-8b-instruct", "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is my parcel?"}]})
}

fn joined(events: &[Value], index: usize, pointer: &str) -> String {
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    let own = choices.filter(|choice| choice["index"] == index);
    own.filter_map(|choice| choice.pointer(pointer)?.as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_chat_has_the_shape_of_a_chat() {
    let standin = standin().await;
    let answer = standin.post("/v1/chat/completions", "", &chat()).await;
    assert_eq!(answer["object"], "chat.completion");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(answer["created"], 1_700_000_000);
    assert_eq!(answer["model"], "llama-3-8b-instruct");
    assert_eq!(answer["system_fingerprint"], "standin-0.1");
    let choice = &answer["choices"][0];
    assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(0), &json!("stop")));
    assert_eq!(choice["message"]["role"], "assistant");
    let words = choice["message"]["content"].as_str().unwrap().split(' ').count();
    assert!((30..=60).contains(&words), "{words}");
    assert_eq!(answer["usage"]["prompt_tokens"], 6);
    assert_eq!(answer["usage"]["completion_tokens"], words);
    assert_eq!(answer["usage"]["total_tokens"], words + 6);
    assert_eq!(answer, standin.post("/v1/chat/completions", "", &chat()).await);
}

#[tokio::test]
async fn a_streamed_chat_joins_to_the_plain_one() {
    let standin = standin().await;
    let mut body = chat();
    body["n"] = json!(3);
    body["stream_options"] = json!({"include_usage": true});
    let plain = standin.post("/v1/chat/completions", "", &body).await;
    let events = standin.stream("/v1/chat/completions", "", &body).await;
    assert_eq!(events.len(), 3 + 3 * 12 + 3 + 1);
    for index in 0..3 {
        let text = joined(&events, index, "/delta/content");
        assert_eq!(plain["choices"][index]["message"]["content"], text);
        assert_eq!(joined(&events, index, "/finish_reason"), "stop");
        assert_eq!(joined(&events, index, "/delta/role"), "assistant");
    }
    assert!(
        events.iter().all(|event| event["object"] == "chat.completion.chunk" && event["id"] == plain["id"])
    );
    let last = events.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &plain["usage"]));
    assert!(events[0]["usage"].is_null());
}

#[tokio::test]
async fn a_streamed_completion_joins_to_the_plain_one() {
    let standin = standin().await;
    let body = json!({"model": "m", "prompt": ["Once upon", "a deploy"], "logprobs": 1, "max_tokens": 20});
    let plain = standin.post("/v1/completions", "", &body).await;
    assert_eq!(plain["object"], "text_completion");
    assert_eq!(plain["choices"][0]["finish_reason"], "length");
    assert_eq!(
        plain["usage"],
        json!({"prompt_tokens": 4, "completion_tokens": 40, "total_tokens": 44,
        "prompt_tokens_details": {"cached_tokens": 0}})
    );
    let events = standin.stream("/v1/completions", "chunks=5", &body).await;
    for index in 0..2 {
        assert_eq!(plain["choices"][index]["text"], joined(&events, index, "/text"));
    }
    let logprobs = &plain["choices"][0]["logprobs"];
    assert_eq!(
        logprobs["tokens"].as_array().unwrap().len(),
        logprobs["text_offset"].as_array().unwrap().len()
    );
    assert!(events.iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test]
async fn tools_are_called_when_named_or_asked_for() {
    let standin = standin().await;
    let mut body = chat();
    body["tools"] = json!([{"type": "function", "function": {"name": "look_up", "parameters":
        {"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}}}}}]);
    let plain = standin.post("/v1/chat/completions", "", &body).await;
    assert!(plain["choices"][0]["message"]["content"].is_string());

    body["messages"][1]["content"] = json!("Please Use a Tool for my parcel.");
    let asked = standin.post("/v1/chat/completions", "", &body).await;
    let choice = &asked["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert!(choice["message"]["content"].is_null());
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("look_up")));
    assert_eq!(call["function"]["arguments"], r#"{"order":"example order"}"#);

    let events = standin.stream("/v1/chat/completions", "chunks=3", &body).await;
    assert_eq!(joined(&events, 0, "/delta/tool_calls/0/id"), call["id"].as_str().unwrap());
    let arguments = joined(&events, 0, "/delta/tool_calls/0/function/arguments");
    assert_eq!(call["function"]["arguments"], arguments);

    body["messages"][1]["content"] = json!("Hello");
    body["tool_choice"] = json!({"type": "function", "function": {"name": "look_up"}});
    let named = standin.post("/v1/chat/completions", "", &body).await;
    assert_eq!(named["choices"][0]["finish_reason"], "stop");
    assert_eq!(named["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "look_up");
}

#[tokio::test]
async fn logprobs_spell_the_text() {
    let standin = standin().await;
    let mut body = chat();
    body["logprobs"] = json!(true);
    let choice = &standin.post("/v1/chat/completions", "", &body).await["choices"][0];
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    let spelt: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(choice["message"]["content"], spelt);
    assert!(tokens.iter().all(|token| token["logprob"].as_f64().unwrap() < 0.0));
}

#[tokio::test]
async fn embeddings_are_unit_vectors_and_the_same_for_the_same_text() {
    let standin = standin().await;
    let body = json!({"model": "bge-small-en", "input": ["one text", "another", "one text"]});
    let answer = standin.post("/v1/embeddings", "", &body).await;
    let data = answer["data"].as_array().unwrap();
    let numbers: Vec<f64> =
        data[0]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(numbers.len(), 8);
    assert!((numbers.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
    assert_eq!(data[0]["embedding"], data[2]["embedding"]);
    assert_ne!(data[0]["embedding"], data[1]["embedding"]);
    assert_eq!(answer["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    let packed = json!({"model": "m", "input": "a", "dimensions": 3, "encoding_format": "base64"});
    let packed = standin.post("/v1/embeddings", "", &packed).await;
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 16);
}

#[tokio::test]
async fn models_health_and_errors() {
    let standin = standin().await;
    let (status, models) = standin.send("GET", "/v1/models", "", b"").await;
    let models: Value = serde_json::from_slice(&models).unwrap();
    assert_eq!(
        (status, &models["object"], &models["data"][0]["object"]),
        (200, &json!("list"), &json!("model"))
    );
    assert_eq!(standin.send("GET", "/health", "", b"").await, (200, Vec::new()));
    let cases: [(&str, &str, &[u8], u16, &str); 7] = [
        ("POST", "/v1/chat/completions", b"{\"model\"", 400, "invalid_request_error"),
        ("POST", "/v1/chat/completions", b"{\"model\":\"m\"}", 400, "invalid_request_error"),
        (
            "POST",
            "/v1/completions",
            b"{\"model\":\"missing-1\",\"prompt\":\"\"}",
            404,
            "invalid_request_error",
        ),
        ("POST", "/v1/embeddings", b"{\"model\":\"broken\",\"input\":\"\"}", 500, "server_error"),
        ("POST", "/v1/nothing", b"{}", 404, "invalid_request_error"),
        ("GET", "/v1/completions", b"", 405, "invalid_request_error"),
        ("POST", "/v1/embeddings", b"{\"input\":\"\",\"dimensions\":0}", 400, "invalid_request_error"),
    ];
    for (method, path, body, status, kind) in cases {
        let (got, answer) = standin.send(method, path, "", body).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((got, &answer["error"]["type"]), (status, &json!(kind)), "{method} {path}");
        assert!(answer["error"]["message"].is_string());
    }
    assert_eq!(standin.send("GET", "/health", "byte=1", b"").await.0, 400);
}

#[tokio::test]
async fn sizes_are_the_ones_asked_for() {
    let standin = standin().await;
    let sized = standin.post("/v1/chat/completions", "bytes=70000", &chat()).await;
    assert_eq!(sized["choices"][0]["message"]["content"].as_str().unwrap().len(), 70_000);
    let chunks = standin.stream("/v1/chat/completions", "bytes=10,chunks=40", &chat()).await;
    assert_eq!(chunks.len(), 42);
    assert_eq!(joined(&chunks, 0, "/delta/content").len(), 10);
    let (_, fixed) = standin.send("POST", "/v1/chat/completions", "fixed=2048", b"not looked at").await;
    assert_eq!(fixed.len(), 2048);
    let (_, frames) =
        standin.send("POST", "/v1/chat/completions", "fixed-stream=100", b"not looked at").await;
    assert_eq!(events(&frames).len(), 100);
}

#[tokio::test]
async fn pauses_are_kept() {
    let standin = standin().await;
    let started = Instant::now();
    standin.post("/v1/chat/completions", "delay=30", &chat()).await;
    assert!(started.elapsed() >= Duration::from_millis(30));
    let started = Instant::now();
    standin.stream("/v1/chat/completions", "pace=3,chunks=10", &chat()).await;
    assert!(started.elapsed() >= Duration::from_millis(36));
}

#[tokio::test]
async fn a_cut_stream_has_exactly_the_frames_asked_for_and_no_end() {
    let standin = standin().await;
    for stop in [0, 1, 5] {
        let answer = standin.raw(&format!("stop={stop}"), true).await;
        let text = String::from_utf8(answer).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert_eq!(text.matches("data: ").count(), stop);
        assert!(!text.ends_with("0\r\n\r\n"));
    }
}

#[tokio::test]
async fn faults_of_the_connection() {
    let standin = standin().await;
    assert_eq!(standin.raw("close", false).await, b"");
    let answer = standin.raw("nohttp", false).await;
    assert!(!answer.is_empty() && !answer.starts_with(b"HTTP/"));
    let (status, answer) =
        standin.send("POST", "/v1/chat/completions", "garbage", chat().to_string().as_bytes()).await;
    assert_eq!(status, 200);
    assert!(serde_json::from_slice::<Value>(&answer).is_err());
    let body = chat().to_string();
    let hang = standin.send("POST", "/v1/chat/completions", "hang", body.as_bytes());
    assert!(timeout(Duration::from_millis(50), hang).await.is_err());
}

#[tokio::test]
async fn the_log_has_what_arrived_whole() {
    let standin = standin().await;
    standin.send("POST", "/v1/chat/completions", "", b"broken json").await;
    standin.send("POST", "/v1/chat/completions", "fixed=500", b"fixed").await;
    let mut socket = TcpStream::connect(standin.address).await.unwrap();
    socket.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
    drop(socket);
    let seen = standin.log.seen();
    assert_eq!((standin.log.count(), seen.len()), (2, 2));
    assert_eq!(standin.log.test_ids(), ["a-test", "a-test"]);
    assert_eq!(seen[0].body_sha256, <[u8; 32]>::from(Sha256::digest(b"broken json")));
}

#[tokio::test]
async fn a_shutdown_ends_the_server_although_a_request_hangs() {
    let standin = standin().await;
    let mut socket = TcpStream::connect(standin.address).await.unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\nx-standin: hang\r\n\r\n").await.unwrap();
    while standin.log.count() == 0 {
        tokio::task::yield_now().await;
    }
    standin.stop.send(()).unwrap();
    timeout(Duration::from_secs(5), standin.task).await.expect("ends").unwrap().unwrap();
}
