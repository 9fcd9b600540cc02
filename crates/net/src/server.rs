//! Accepting connections, serving them, and draining in good order.

use crate::NetError;
use crate::lanes::Lane;
use crate::patient::Patient;
use crate::tls;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A client that has not finished the TLS handshake by then is let go.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that has not finished a request's head by then is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP/2 peer is asked this often whether it is there, and let go when it does not say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Who is calling.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Network address.
    pub address: SocketAddr,
    /// Name in the client's certificate, when it showed one that verifies.
    pub name: Option<String>,
}

/// Binds `address`. Off loopback, clear text is refused unless `insecure` forces it.
pub async fn bind(address: SocketAddr, with_tls: bool, insecure: bool) -> Result<TcpListener, NetError> {
    if !address.ip().is_loopback() && !with_tls && !insecure {
        return Err(NetError::Exposed(address));
    }
    TcpListener::bind(address).await.map_err(|source| NetError::Bind { address, source })
}

/// Serves on this runtime: see [`serve_on`].
pub async fn serve<H, F, B>(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    handler: H,
    write_timeout: Duration,
    shutdown: impl Future<Output = ()>,
    time_is_up: impl Future<Output = ()>,
) where
    H: Fn(Peer, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let lanes = vec![(Lane::here(), handler)];
    serve_on(listener, tls, lanes, write_timeout, shutdown, time_is_up).await;
}

/// Serves on lanes, each with a handler of its own, until `shutdown` is ready: a connection goes to the lane
/// that carries the fewest. Gives up on peers that take nothing for `write_timeout`. Running requests then have
/// until `time_is_up`, which is polled only then. When this returns, no connection is left but those that were
/// upgraded.
pub async fn serve_on<H, F, B>(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    lanes: Vec<(Lane, H)>,
    write_timeout: Duration,
    shutdown: impl Future<Output = ()>,
    time_is_up: impl Future<Output = ()>,
) where
    H: Fn(Peer, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut http = Builder::new(TokioExecutor::new());
    // No header is added to what a handler answers, not even a date.
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).auto_date_header(false);
    // Answers are many small frames: gathered by copying, all that is there goes out in one write.
    http.http1().writev(false);
    http.http2().timer(TokioTimer::new()).auto_date_header(false);
    // A peer that is gone without a word would otherwise hold on to what it asked for.
    http.http2().keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
    let http = Arc::new(http);
    let acceptor = tls.map(TlsAcceptor::from);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        // A stream belongs to the runtime that it is used on.
        let accepted = accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address)));
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: what is open must get a chance to end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Frames must leave as they come; a socket that refuses is served all the same.
        let _ = stream.set_nodelay(true);
        let Some((lane, handler)) = lanes.iter().min_by_key(|(lane, _)| lane.load()) else { break };
        let (http, handler, acceptor, watcher, carried) =
            (http.clone(), handler.clone(), acceptor.clone(), graceful.watcher(), lane.carry());
        let serve = async move {
            let _carried = carried;
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => Patient::new(stream, write_timeout),
                Err(error) => return tracing::warn!(%address, %error, "cannot serve a connection"),
            };
            let outcome = match acceptor {
                None => {
                    let peer = Peer { address, name: None };
                    let service = service_fn(move |request| answer(handler(peer.clone(), request)));
                    let connection =
                        http.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                    watcher.watch(connection).await
                }
                Some(acceptor) => {
                    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await
                    {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => return tracing::warn!(%address, %error, "TLS handshake failed"),
                        Err(_) => return tracing::warn!(%address, "TLS handshake took too long"),
                    };
                    let peer = Peer { address, name: tls::peer_name(stream.get_ref().1.peer_certificates()) };
                    let service = service_fn(move |request| answer(handler(peer.clone(), request)));
                    let connection =
                        http.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                    watcher.watch(connection).await
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%address, %error, "connection ended");
            }
        };
        connections.spawn_on(serve, lane.handle());
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = time_is_up => {
            tracing::warn!("requests were still running when time was up, and are cut off");
            connections.shutdown().await;
        }
    }
}

async fn answer<B>(response: impl Future<Output = Response<B>>) -> Result<Response<B>, Infallible> {
    Ok(response.await)
}
