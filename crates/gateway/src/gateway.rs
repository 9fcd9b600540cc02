//! A gateway as the rest of the program sees it: open its spool, serve, stop.

use crate::Mode;
use crate::body::ResponseBody;
use crate::config::Config;
use crate::drain::Drains;
use crate::proxy::Proxy;
use crate::recorder::Recorder;
use crate::ship::{Link, Shipper, parse_acked};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use indelible_net::client::{self, Settings};
use indelible_net::server::{self, Peer};
use indelible_os::durable::FsDir;
use indelible_os::lock::DirLock;
use indelible_spool::seal::SpoolPublicKey;
use indelible_spool::shared::SharedLog;
use indelible_spool::writer::{Claim, FILE_MAX_BYTES, LogWriter, Options, SealTo};
use indelible_spool::{Kind, LogError, Role};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An idle source says that it is alive this often.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
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
    proxy: Arc<Proxy>,
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
                }
                Ok(())
            },
            || acknowledged.borrow().as_ref().map_or(0, |told| told.seq),
        )?;
        if let Some((file, bytes)) = recovered.cut {
            tracing::warn!(file, bytes, "cut a torn tail: the process or the machine stopped while writing");
        }
        let recorder = Arc::new(Recorder::new(SharedLog::start(writer)?, &config, acknowledged.into_inner()));
        recorder.source_started()?;
        let receipts = config.routes.iter().any(|route| route.mode == Mode::Receipt);
        let shipper = Shipper { recorder: recorder.clone(), link, dir, receipts, on_new_key, key };
        let client = client::build(&Settings {
            ca: None,
            identity: None,
            connect_timeout: config.connect_timeout,
            http2_only: false,
        })?;
        let tasks = vec![tokio::spawn(shipper.run()), tokio::spawn(keep_house(recorder.clone()))];
        let drains = Arc::new(Drains::new(&config));
        Ok(Self { proxy: Arc::new(Proxy { config, recorder, client, drains }), tasks, _lock: lock })
    }

    /// Serves until `shutdown` is ready; then what is under way has the drain timeout to end by itself, and
    /// is cut off, with its record, when it has not.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: impl Future<Output = ()>,
    ) {
        let proxy = self.proxy.clone();
        let handler = move |peer: Peer, request: Request<Incoming>| {
            let proxy = proxy.clone();
            async move {
                match request.uri().path() {
                    "/healthz" | "/readyz" | "/metrics" => proxy.about_itself(request.uri().path()),
                    _ => proxy.handle(peer, request).await,
                }
            }
        };
        let running = self.proxy.recorder.running();
        let (asked, drain) = (OnceLock::new(), self.proxy.config.drain_timeout);
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
        let write_timeout = self.proxy.config.idle_timeout;
        server::serve(listener, tls, handler, write_timeout, shutdown, time_is_up()).await;
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
    }

    /// Waits until the spool fails: the process has to end and recover.
    pub async fn failed(&self) -> String {
        let synced = self.proxy.recorder.log().synced();
        // Never reached: only the end of the log wakes this up.
        let _ = synced.wait(u64::MAX).await;
        synced.closed().unwrap_or_else(|| "the spool was closed".to_owned())
    }

    /// Says `source_stopped`, hands over what the collector will take, and closes the spool.
    pub async fn stop(mut self) -> Result<(), LogError> {
        let recorder = self.proxy.recorder.clone();
        recorder.settle_gaps(Claim::Settle);
        let last = recorder.source_stopped()?;
        let logged = recorder.logged().wait(last);
        if tokio::time::timeout(LAST_SHIPMENT_TIMEOUT, logged).await.is_err() {
            tracing::warn!(
                "the collector did not take everything; the rest stays in the spool until the next start"
            );
        }
        for task in self.tasks.drain(..) {
            task.abort();
        }
        recorder.log().stop()
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
                "gaps_owed_requests",
                "Requests served without a record, not yet in a gap entry",
                recorder.gaps_owed(),
            ),
        ] {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "# HELP indelible_gateway_{name} {help}\n# TYPE indelible_gateway_{name} gauge"
            );
            let _ = writeln!(text, "indelible_gateway_{name} {value}");
        }
        text
    }
}

/// Heartbeats, and gaps that are owed.
async fn keep_house(recorder: Arc<Recorder>) {
    let mut beaten = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(SETTLE_INTERVAL).await;
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
