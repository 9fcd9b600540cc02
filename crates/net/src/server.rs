//! Accepting connections, serving them, and draining in good order.

use crate::NetError;
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
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A client that has not finished the TLS handshake by then is let go.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that has not finished a request's head by then is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Serves until `shutdown` is ready, and gives up on peers that take nothing for `write_timeout`; then lets running requests end until `time_is_up`, which is polled
/// only then. When this returns, no connection is left but those that were upgraded.
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
    let mut http = Builder::new(TokioExecutor::new());
    // No header is added to what a handler answers, not even a date.
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).auto_date_header(false);
    http.http2().timer(TokioTimer::new()).auto_date_header(false);
    let http = Arc::new(http);
    let acceptor = tls.map(TlsAcceptor::from);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: what is open must get a chance to end.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        // Frames must leave as they come; a socket that refuses is served all the same.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, write_timeout);
        let (http, handler, acceptor, watcher) =
            (http.clone(), handler.clone(), acceptor.clone(), graceful.watcher());
        connections.spawn(async move {
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
        });
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
