//! A gateway as the rest of the program sees it: open its spool, serve, stop.

use crate::access::Access;
use crate::backlog::Backlog;
use crate::body::{RequestBody, ResponseBody};
use crate::config::{Config, Mode};
use crate::drain::Drains;
use crate::metrics::{self, Connections};
use crate::proxy::Proxy;
use crate::recorder::Recorder;
use crate::ship::{Link, Shipper, parse_acked};
use crate::traces::{self, Traces};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use indelible_net::client::{self, Settings};
use indelible_net::lanes::Lanes;
use indelible_net::server::{self, Peer};
use indelible_net::upstream::Upstreams;
use indelible_os::clock;
use indelible_os::durable::FsDir;
use indelible_os::lock::DirLock;
use indelible_spool::seal::SpoolPublicKey;
use indelible_spool::shared::SharedLog;
use indelible_spool::writer::{Claim, FILE_MAX_BYTES, LogWriter, Options, SealTo};
use indelible_spool::{Kind, LogError, Role};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An idle source says that it is alive this often.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// Idle connections to model servers are looked at this often.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);
/// Gaps that are owed are tried this often.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a stopping gateway tries to hand over what it still has.
const LAST_SHIPMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what was cut off may take to write its record.
const LAST_RECORDS_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] LogError),
    /// The network settings are unusable.
    #[error(transparent)]
    Net(#[from] indelible_net::NetError),
    /// Another process holds the spool.
    #[error("spool {} is in use by another process", .0.display())]
    Held(PathBuf),
    /// The spool's directory cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A running gateway.
pub struct Gateway {
    config: Arc<Config>,
    recorder: Arc<Recorder>,
    access: Arc<Access>,
    backlog: Arc<Backlog>,
    drains: Arc<Drains>,
    tasks: Vec<JoinHandle<()>>,
    _lock: DirLock,
}

impl Gateway {
    /// Opens the spool, recovers it, says `source_started`, and begins to ship.
    pub fn start(
        config: Config,
        link: Arc<dyn Link>,
        key: SpoolPublicKey,
        on_new_key: Box<dyn Fn(&SpoolPublicKey) + Send + Sync>,
    ) -> Result<Self, GatewayError> {
        config.validate().map_err(GatewayError::Config)?;
        let io = |source| GatewayError::Io { path: config.spool.clone(), source };
        let dir = Arc::new(FsDir::open(&config.spool).map_err(io)?);
        let lock = DirLock::try_acquire(&config.spool)
            .map_err(io)?
            .ok_or_else(|| GatewayError::Held(config.spool.clone()))?;
        let acknowledged = RefCell::new(None);
        let backlog = Arc::new(Backlog::default());
        let options = Options {
            role: Role::Spool,
            limit_bytes: Some(config.spool_max_bytes),
            // At least two files: only what is not the newest file can be removed once it was shipped.
            file_bytes: FILE_MAX_BYTES.min(config.spool_max_bytes / 2),
            seal: Some(SealTo { source_id: config.source_id.clone(), key: key.clone() }),
        };
        let (writer, recovered) = LogWriter::open(
            dir.clone(),
            options,
            |_, _, frame| {
                if frame.kind == Kind::Acked {
                    *acknowledged.borrow_mut() = parse_acked(frame.body);
                } else {
                    backlog.found(frame.seq, frame.body);
                }
                Ok(())
            },
            || acknowledged.borrow().as_ref().map_or(0, |told| told.seq),
        )?;
        if let Some((file, bytes)) = recovered.cut {
            tracing::warn!(file, bytes, "cut a torn tail: the process or the machine stopped while writing");
        }
        let recorder = Arc::new(Recorder::new(SharedLog::start(writer)?, &config, acknowledged.into_inner()));
        recorder.source_started(&config)?;
        let (traces, tracing) = start_traces(&config)?.unzip();
        let access = Arc::new(Access::new(&config, recorder.clone(), traces));
        let receipts = config.routes.iter().any(|route| route.mode == Mode::Receipt);
        let shipper = Shipper { recorder: recorder.clone(), link, dir, receipts, on_new_key, key };
        let house = keep_house(recorder.clone(), access.clone(), backlog.clone());
        let mut tasks = vec![tokio::spawn(shipper.run()), tokio::spawn(house)];
        tasks.extend(tracing);
        let drains = Arc::new(Drains::new(&config));
        Ok(Self { config: Arc::new(config), recorder, access, backlog, drains, tasks, _lock: lock })
    }

    /// The rules that requests are served by, to put others in force.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Serves until `shutdown` is ready; then what is under way has the drain timeout to end by itself, and
    /// is cut off, with its record, when it has not. Each lane has connections to the model servers of its own.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), GatewayError> {
        let started = Lanes::start(self.config.threads);
        let lanes = started.map_err(|source| GatewayError::Io { path: "threads".into(), source })?;
        let mut handlers = Vec::new();
        for lane in lanes.iter() {
            let proxy = Arc::new(self.proxy()?);
            lane.spawn(prune(Arc::downgrade(&proxy.upstreams)));
            let connections = Connections::of(self.access.metrics());
            let handler = move |peer: Peer, request: Request<Incoming>| {
                // Counts by being cloned and dropped with the handler.
                let _ = &connections;
                let proxy = proxy.clone();
                async move {
                    match request.uri().path() {
                        "/healthz" | "/readyz" | "/metrics" => proxy.about_itself(request.uri().path()),
                        _ => proxy.handle(peer, request).await,
                    }
                }
            };
            handlers.push((lane.clone(), handler));
        }
        let running = self.recorder.running();
        let (asked, drain) = (OnceLock::new(), self.config.drain_timeout);
        let shutdown = async {
            shutdown.await;
            // Set once: the future above ends once.
            let _ = asked.set(Instant::now());
        };
        let time_is_up = || async {
            let left = asked.get().map_or(drain, |asked| drain.saturating_sub(asked.elapsed()));
            tokio::time::sleep(left).await;
            running.cut();
        };
        server::serve_on(listener, tls, handlers, self.config.idle_timeout, shutdown, time_is_up()).await;
        // What has left HTTP behind, and what is drained for nobody, is no request of the server's any more.
        tokio::select! {
            () = running.idle() => {}
            () = time_is_up() => {
                tracing::warn!(count = running.count(), "still under way after {drain:?}, and cut off");
                if tokio::time::timeout(LAST_RECORDS_TIMEOUT, running.idle()).await.is_err() {
                    tracing::error!(count = running.count(), "not all of it could be recorded");
                }
            }
        }
        let _ = tokio::task::spawn_blocking(move || drop(lanes)).await;
        Ok(())
    }

    fn proxy(&self) -> Result<Proxy, GatewayError> {
        let upstreams = Upstreams::new(self.config.connect_timeout)?;
        // For what leaves HTTP behind: such a connection is driven by itself.
        let client = client::build(&Settings {
            ca: None,
            identity: None,
            connect_timeout: self.config.connect_timeout,
            http2_only: false,
        })?;
        Ok(Proxy {
            config: self.config.clone(),
            recorder: self.recorder.clone(),
            access: self.access.clone(),
            backlog: self.backlog.clone(),
            drains: self.drains.clone(),
            upstreams,
            client,
        })
    }

    /// Waits until the spool fails: the process has to end and recover.
    pub async fn failed(&self) -> String {
        let synced = self.recorder.log().synced();
        // Never reached: only the end of the log wakes this up.
        let _ = synced.wait(u64::MAX).await;
        synced.closed().unwrap_or_else(|| "the spool was closed".to_owned())
    }

    /// Says `source_stopped`, hands over what the collector will take, and closes the spool.
    pub async fn stop(mut self) -> Result<(), LogError> {
        let recorder = self.recorder.clone();
        recorder.settle_gaps(Claim::Settle);
        self.access.settle(Claim::Settle);
        let said = recorder.source_stopped();
        if let Ok(last) = said {
            let logged = recorder.logged().wait(last);
            if tokio::time::timeout(LAST_SHIPMENT_TIMEOUT, logged).await.is_err() {
                tracing::warn!(
                    "the collector did not take everything; the rest stays in the spool until the next start"
                );
            }
        }
        for task in self.tasks.drain(..) {
            task.abort();
        }
        // Whatever else failed, what was accepted is written.
        recorder.log().stop().and(said.map(|_| ()))
    }
}

impl Proxy {
    /// `/healthz`: this process serves. `/readyz`: it can record, too. `/metrics`: Prometheus text.
    fn about_itself(&self, path: &str) -> Response<ResponseBody> {
        let log = self.recorder.log();
        let poisoned = log.synced().closed();
        let (status, text) = match path {
            "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match poisoned {
                None => (StatusCode::OK, "ready\n".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
            },
            _ => (StatusCode::OK, self.metrics()),
        };
        let mut response = Response::new(ResponseBody::Own(Some(Bytes::from(text))));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    fn metrics(&self) -> String {
        let recorder = &self.recorder;
        let (synced, logged) = (recorder.log().synced().reached(), recorder.logged().reached());
        let oldest = self.backlog.oldest_us(logged, clock::now().0);
        let mut text = String::new();
        for (name, help, value) in [
            ("spool_bytes", "Bytes that the spool takes on disk", recorder.log().used_bytes()),
            ("spool_limit_bytes", "Bytes that it may take", self.config.spool_max_bytes),
            ("spooled_seq", "Last frame on this machine's disk", synced),
            ("logged_seq", "Last frame on the collector's disk", logged),
            (
                "unshipped_frames",
                "Frames that the collector does not have",
                recorder.log().appended().saturating_sub(logged),
            ),
            (
                "collector_behind_seconds",
                "Since the collector last took a frame",
                recorder.behind_for().as_secs(),
            ),
            (
                "spool_oldest_seconds",
                "Age of the oldest frame that the collector does not have",
                oldest.unsigned_abs() / 1_000_000,
            ),
            (
                "gaps_owed_requests",
                "Requests served without a record, not yet in a gap entry",
                recorder.gaps_owed(),
            ),
        ] {
            metrics::head(&mut text, name, "gauge", help);
            metrics::line(&mut text, name, "", value);
        }
        self.access.render(&mut text);
        text
    }
}

/// Closes connections to model servers that nobody has used for a while.
async fn prune(upstreams: Weak<Upstreams<RequestBody>>) {
    loop {
        tokio::time::sleep(PRUNE_INTERVAL).await;
        let Some(upstreams) = upstreams.upgrade() else { return };
        upstreams.prune();
    }
}

/// Spans go out through a client of their own: nothing of theirs stands in a request's way.
fn start_traces(config: &Config) -> Result<Option<(Traces, JoinHandle<()>)>, GatewayError> {
    let Some(base) = &config.otlp_endpoint else { return Ok(None) };
    let endpoint = traces::endpoint(base).map_err(GatewayError::Config)?;
    let client = client::build(&Settings {
        ca: None,
        identity: None,
        connect_timeout: config.connect_timeout,
        http2_only: false,
    })?;
    let (traces, sending) = Traces::start(client, endpoint, &config.source_id);
    Ok(Some((traces, tokio::spawn(sending))))
}

/// Heartbeats, and what is owed: gaps, and counts of refusals.
async fn keep_house(recorder: Arc<Recorder>, access: Arc<Access>, backlog: Arc<Backlog>) {
    let mut beaten = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(SETTLE_INTERVAL).await;
        access.settle(Claim::Admit);
        backlog.note(recorder.log().appended(), recorder.logged().reached(), clock::now().0);
        if recorder.gaps_owed() > 0 {
            recorder.settle_gaps(Claim::Admit);
        }
        if recorder.logged().reached() >= recorder.log().synced().reached() {
            recorder.caught_up();
        }
        if beaten.elapsed() >= HEARTBEAT_INTERVAL {
            beaten = tokio::time::Instant::now();
            if let Err(error) = recorder.heartbeat() {
                tracing::debug!(%error, "no heartbeat");
            }
        }
    }
}
