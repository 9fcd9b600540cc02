//! Calling servers over HTTP/1.1, on connections that are driven by whoever uses them.
//!
//! An ordinary pooled client gives each connection a task of its own: every piece of an answer is then handed
//! from that task to the one that wanted it, with a wake-up each way, and a proxy does that for every frame
//! of every stream. Here a request holds its connection ([`Leased`]) and polls it itself. Everything that
//! one read of the socket brought is there at once, and goes on to the client in one write.
//!
//! What is left of a pool is a list: a connection goes back to it when its answer is whole, and is looked at
//! before it is used again. A request goes to a second connection only if no byte of it went to the first.

use crate::tls;
use crate::{NetError, chain};
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection that nobody used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Most idle connections to one server.
const IDLE_MAX_CONNECTIONS: usize = 256;

/// Most bytes that one connection holds on their way in, and on their way out: a client that is slow makes its
/// server wait. The head of an answer must fit in, too.
const WIRE_BUFFER_MAX_BYTES: usize = 64 << 10;

/// Why a server could not be called.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("cannot connect to {target}: {source}")]
    Connect {
        /// Host and port.
        target: String,
        /// The system's answer, or that of TLS.
        source: io::Error,
    },
    /// The exchange broke off before there was an answer.
    #[error("{}", chain(.0))]
    Http(#[from] hyper::Error),
    /// The same, of a client whose connections are driven by themselves.
    #[error("{0}")]
    BrokeOff(String),
}

impl CallError {
    /// Why a pooled client could not call `target`.
    pub fn of_client(error: &hyper_util::client::legacy::Error, target: String) -> Self {
        if !error.is_connect() {
            return Self::BrokeOff(chain(error));
        }
        let mut kind = io::ErrorKind::Other;
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            kind = inner.downcast_ref::<io::Error>().map_or(kind, io::Error::kind);
            source = inner.source();
        }
        Self::Connect { target, source: io::Error::new(kind, chain(error)) }
    }
}

/// A request body that can be sent.
pub trait Outgoing:
    Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static
{
}

impl<B> Outgoing for B where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static
{
}

type Driven<B> = Option<Pin<Box<Connection<TokioIo<Socket>, B>>>>;

/// Connections to servers; a lane has one for itself.
pub struct Upstreams<B: Outgoing> {
    tls: TlsConnector,
    connect_timeout: Duration,
    idle: Mutex<HashMap<Target, VecDeque<Idle<B>>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Target {
    scheme: Scheme,
    authority: Authority,
}

struct Idle<B: Outgoing> {
    wire: Wire<B>,
    since: Instant,
}

/// Both ends of one connection: what asks, and what moves the bytes.
struct Wire<B: Outgoing> {
    sender: SendRequest<B>,
    /// `None` once it is over.
    connection: Driven<B>,
}

/// A connection while one exchange uses it. Dropping it closes the connection.
pub struct Leased<B: Outgoing> {
    wire: Wire<B>,
    target: Target,
    home: Arc<Upstreams<B>>,
}

impl<B: Outgoing> Upstreams<B> {
    /// Trusts the system's roots.
    pub fn new(connect_timeout: Duration) -> Result<Arc<Self>, NetError> {
        let tls = TlsConnector::from(Arc::new(tls::client(None, None)?));
        Ok(Arc::new(Self { tls, connect_timeout, idle: Mutex::default() }))
    }

    /// Sends a request, whose URI is absolute, and waits for the head of its answer.
    pub async fn send(
        self: &Arc<Self>,
        mut request: Request<B>,
    ) -> Result<(Response<Incoming>, Leased<B>), CallError> {
        let target = address(&mut request)?;
        loop {
            let (wire, used) = match self.take_idle(&target) {
                Some(wire) => (wire, true),
                None => (self.connect(&target).await?, false),
            };
            let mut leased = Leased { wire, target: target.clone(), home: self.clone() };
            match leased.wire.call(request).await {
                Ok(answer) => return Ok((answer, leased)),
                // The server closed an idle connection just as it was taken up: nothing was sent.
                Err((_, Some(unsent))) if used => request = unsent,
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Closes what has been idle for too long.
    pub fn prune(&self) {
        self.idle().retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < IDLE_MAX);
            !idle.is_empty()
        });
    }

    fn take_idle(&self, target: &Target) -> Option<Wire<B>> {
        let mut all = self.idle();
        let idle = all.get_mut(target)?;
        // The one used last is the likeliest to be open.
        while let Some(Idle { mut wire, since }) = idle.pop_back() {
            if since.elapsed() < IDLE_MAX && wire.is_idle() {
                return Some(wire);
            }
        }
        None
    }

    async fn connect(&self, target: &Target) -> Result<Wire<B>, CallError> {
        let failed = |source| CallError::Connect { target: target.authority.to_string(), source };
        let opened = tokio::time::timeout(self.connect_timeout, self.open(target)).await;
        let socket = opened.unwrap_or_else(|_| Err(self.too_late())).map_err(failed)?;
        let (sender, connection) =
            http1::Builder::new().max_buf_size(WIRE_BUFFER_MAX_BYTES).handshake(TokioIo::new(socket)).await?;
        Ok(Wire { sender, connection: Some(Box::pin(connection)) })
    }

    async fn open(&self, target: &Target) -> io::Result<Socket> {
        let host = target.authority.host().trim_start_matches('[').trim_end_matches(']');
        let with_tls = target.scheme == Scheme::HTTPS;
        let port = target.authority.port_u16().unwrap_or(if with_tls { 443 } else { 80 });
        let tcp = self.reach(host, port).await?;
        // Requests must leave as they come; a socket that refuses is used all the same.
        let _ = tcp.set_nodelay(true);
        if !with_tls {
            return Ok(Socket::Plain(tcp));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a host name"))?;
        Ok(Socket::Tls(Box::new(self.tls.connect(name, tcp).await?)))
    }

    /// A connection to one of a host's addresses. Each gets its share of the time, so that one which swallows
    /// everything does not hide the others.
    async fn reach(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
        let share = self.connect_timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => last = error,
                Err(_) => last = self.too_late(),
            }
        }
        Err(last)
    }

    fn too_late(&self) -> io::Error {
        let what = format!("no connection within {:?}", self.connect_timeout);
        io::Error::new(io::ErrorKind::TimedOut, what)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Target, VecDeque<Idle<B>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Outgoing> Wire<B> {
    /// The answer's head; on an error the request, if no byte of it was sent.
    async fn call(
        &mut self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<B>>)> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            drive(connection, cx);
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(|mut error| {
            let unsent = error.take_message();
            (error.into_error(), unsent)
        })
    }

    /// Whether another request may be sent: nothing is under way, and the server has not closed it.
    fn is_idle(&mut self) -> bool {
        drive(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

impl<B: Outgoing> Leased<B> {
    /// The next frame of the answer's body, moving the connection along.
    pub fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let ready = Pin::new(&mut *body).poll_frame(cx);
        if ready.is_ready() {
            return ready;
        }
        drive(&mut self.wire.connection, cx);
        Pin::new(body).poll_frame(cx)
    }

    /// The answer is whole: the connection may serve another request, if it can.
    pub fn release(self) {
        let Self { mut wire, target, home } = self;
        if !wire.is_idle() {
            return;
        }
        let mut all = home.idle();
        let idle = all.entry(target).or_default();
        while idle.len() >= IDLE_MAX_CONNECTIONS {
            idle.pop_front();
        }
        idle.push_back(Idle { wire, since: Instant::now() });
    }
}

/// Moves the bytes of a connection as far as they go. How it ends is told to whoever waits for the answer.
fn drive<B: Outgoing>(connection: &mut Driven<B>, cx: &mut Context<'_>) {
    if let Some(open) = connection
        && open.as_mut().poll(cx).is_ready()
    {
        *connection = None;
    }
}

/// Puts the request into the form that a server takes (RFC 9112 §3.2.1), and says which server that is.
fn address<B>(request: &mut Request<B>) -> Result<Target, CallError> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme.take(), parts.authority.take()) else {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "the address has no host");
        return Err(CallError::Connect { target: String::new(), source });
    };
    *request.uri_mut() = parts.path_and_query.map_or_else(Uri::default, Uri::from);
    let default_port = if scheme == Scheme::HTTPS { 443 } else { 80 };
    let host = match authority.port_u16() {
        Some(port) if port == default_port => authority.host(),
        _ => authority.as_str(),
    };
    // An authority has no character that a header may not have.
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(Target { scheme, authority })
}

/// A connection's bytes, in clear or not.
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
