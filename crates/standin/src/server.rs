//! The server: connections, and the faults that a connection can be asked for.
//!
//! HTTP/1.1 with keep-alive, as model servers speak it. Endpoints: `POST /v1/chat/completions`,
//! `POST /v1/completions`, `POST /v1/embeddings`, `GET /v1/models`, `GET /health`.
//!
//! The header `x-standin` takes controls, separated by commas:
//!
//! | control | does |
//! |---|---|
//! | `bytes=N` | the answer's text has N bytes |
//! | `chunks=N` | a stream cuts the text into N pieces (12 unless told) |
//! | `delay=MS` | pause before the head |
//! | `pace=MS` | pause between the frames of a stream |
//! | `stop=K` | cut a stream after K frames; the opening frame with the role counts |
//! | `garbage` | a good head and a body that is not JSON |
//! | `nohttp` | bytes that are not HTTP |
//! | `hang` | no answer; the request stays open |
//! | `close` | the connection closes before the head |
//! | `fixed=N`, or `x-standin-fixed: N` | a chat completion of N bytes, made beforehand; the request is not parsed |
//! | `fixed-stream=N` | a stream of N frames, made beforehand |

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::body::{Body, Broken, Frames};
use crate::controls::{Controls, Fault, Fixed};
use crate::fixed::Shelf;
use crate::log::Log;
use crate::reply::{Reply, bad_request, reply};

/// How long running requests may take to end once the server shuts down.
const GRACE: Duration = Duration::from_millis(500);
/// Pause after an accept that failed for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(20);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

const GARBAGE_JSON: &[u8] = b"{\"id\": \"chatcmpl-, <html>this is not JSON";
const GARBAGE_EVENT: &[u8] = b"data: {\"id\": <this is not JSON\n\n";
const NOT_HTTP: &[u8] = b"\x00\x01\x02 this is not HTTP \xff\xfe\r\n\r\n";

/// Serves until `shutdown` is done; running requests then have half a second to end.
///
/// # Errors
/// When the listener itself fails; a single connection never ends the server.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    run(listener, Server::default(), shutdown).await
}

/// As [`serve`], and keeps account of the requests that arrive whole.
///
/// # Errors
/// As [`serve`].
pub async fn serve_logged(
    listener: TcpListener,
    log: Arc<Log>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    run(listener, Server { log: Some(log), ..Server::default() }, shutdown).await
}

/// What all connections share.
#[derive(Default)]
struct Server {
    shelf: Shelf,
    log: Option<Arc<Log>>,
}

async fn run(listener: TcpListener, server: Server, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let server = Arc::new(server);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let ended = loop {
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(connection(socket, Arc::clone(&server), stopped.clone()));
                }
                Err(error) if is_fatal(&error) => break Err(error),
                Err(_) => sleep(ACCEPT_RETRY).await,
            },
        }
    };
    drop((listener, stop));
    // Whoever has not ended by then is dropped with the set.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    ended
}

/// A peer that went away or a lack of descriptors passes; anything else does not.
fn is_fatal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

async fn connection(socket: TcpStream, server: Arc<Server>, mut stopped: watch::Receiver<()>) {
    // Without it, answers are only later, not wrong.
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| Box::pin(handle(request, &server)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let ended = {
        let mut running = pin!(poll_fn(|cx| connection.poll_without_shutdown(cx)));
        tokio::select! {
            ended = &mut running => Some(ended),
            _ = stopped.changed() => None,
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let mut socket = connection.into_parts().io.into_inner();
    if ended.is_err_and(|error| is_not_http(&error)) {
        let _ = socket.write_all(NOT_HTTP).await;
    }
    let _ = socket.shutdown().await;
}

fn is_not_http(error: &hyper::Error) -> bool {
    error.source().and_then(|source| source.downcast_ref::<Broken>()) == Some(&Broken::NoHttp)
}

async fn handle(request: Request<Incoming>, server: &Server) -> Result<Response<Body>, Broken> {
    let controls = match Controls::of(request.headers()) {
        Ok(controls) => controls,
        Err(message) => return Ok(response(bad_request(&message), &Controls::default())),
    };
    if let (Some(fixed), None) = (controls.fixed, &server.log) {
        drain(request.into_body()).await?;
        pause(controls.delay).await;
        return Ok(prebuilt(&server.shelf, fixed, &controls));
    }
    let (head, body) = request.into_parts();
    let body = read(body).await?;
    if let Some(log) = &server.log {
        log.record(&head.headers, Sha256::digest(&body).into());
    }
    pause(controls.delay).await;
    let sound = match (controls.fault, controls.fixed) {
        (Some(Fault::Hang), _) => match std::future::pending::<Infallible>().await {},
        (Some(Fault::Close), _) => return Err(Broken::Closed),
        (Some(Fault::NoHttp), _) => return Err(Broken::NoHttp),
        (_, Some(fixed)) => return Ok(prebuilt(&server.shelf, fixed, &controls)),
        (_, None) => reply(&head.method, head.uri.path(), &body, &controls),
    };
    Ok(response(if controls.fault == Some(Fault::Garbage) { garbled(sound) } else { sound }, &controls))
}

/// Reads a body to its end and forgets it.
async fn drain(mut body: Incoming) -> Result<(), Broken> {
    while !body.is_end_stream() {
        match body.frame().await {
            Some(frame) => drop(frame.map_err(|_| Broken::Request)?),
            None => break,
        }
    }
    Ok(())
}

async fn read(body: Incoming) -> Result<Bytes, Broken> {
    Ok(body.collect().await.map_err(|_| Broken::Request)?.to_bytes())
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

/// The same head with a body that nobody can parse.
fn garbled(sound: Reply) -> Reply {
    match sound {
        Reply::Json(status, _) => Reply::Json(status, Bytes::from_static(GARBAGE_JSON)),
        Reply::Stream(_) => Reply::Stream(vec![Bytes::from_static(GARBAGE_EVENT)]),
    }
}

fn prebuilt(shelf: &Shelf, fixed: Fixed, controls: &Controls) -> Response<Body> {
    match fixed {
        Fixed::Body(size) => whole(StatusCode::OK, shelf.body(size)),
        Fixed::Stream(frames) => streamed(shelf.stream(frames), controls),
    }
}

fn response(reply: Reply, controls: &Controls) -> Response<Body> {
    match reply {
        Reply::Json(status, body) => whole(status, body),
        Reply::Stream(frames) => streamed(frames.into(), controls),
    }
}

fn whole(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn streamed(frames: Arc<[Bytes]>, controls: &Controls) -> Response<Body> {
    let mut response = Response::new(Body::Frames(Frames::new(frames, controls.pace, controls.stop)));
    response.headers_mut().insert(CONTENT_TYPE, EVENTS);
    response.headers_mut().insert(CACHE_CONTROL, NO_CACHE);
    response
}
