//! `indelible gateway`: the proxy by itself, shipping to a collector elsewhere.

use crate::cli::{Common, FailArg, ModeArg, Serve};
use crate::config::{self, GatewaySection, OnHangupArg};
use crate::failure::{Failure, Outcome};
use crate::shutdown::Signals;
use indelible_gateway::config::Upstream;
use indelible_gateway::ship::HttpLink;
use indelible_gateway::{Config, FailMode, Gateway, GatewayError, Mode, OnHangup, Route};
use indelible_net::client::{self, Settings};
use indelible_net::server;
use indelible_net::tls::{self, Identity};
use indelible_os::durable;
use indelible_record::commitment::{from_hex, to_hex};
use indelible_spool::LogError;
use indelible_spool::seal::SpoolPublicKey;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const UPSTREAM_HINT: &str = "for a vLLM on its default port: http://127.0.0.1:8000";

/// Runs the gateway by itself.
pub(crate) fn run(common: &Common, arguments: &Serve) -> Outcome {
    let file = config::load(common)?;
    let section = file.gateway.ok_or_else(|| {
        Failure::new("the configuration has no [gateway] section")
            .hint("indelible config prints a commented example")
    })?;
    let config = from_section(&section)?;
    let link = link(&section)?;
    let key_path = section.collector.spool_key.clone();
    let key = read_spool_key(&key_path)?;
    let tls = match (&section.tls_cert, &section.tls_key) {
        (Some(cert), Some(key)) => {
            let identity = Identity { cert: cert.clone(), key: key.clone() };
            Some(tls::server(&identity, None).map_err(Failure::new)?)
        }
        (None, None) => None,
        _ => {
            return Err(
                Failure::new("gateway.tls_cert and gateway.tls_key go together").hint("set both or neither")
            );
        }
    };
    let remember = move |key: &SpoolPublicKey| {
        let text = format!("{}\n", to_hex(key.as_bytes()));
        if let Err(error) = durable::replace(&key_path, text.as_bytes(), durable::MODE_SHARED) {
            tracing::warn!(path = %key_path.display(), %error, "the collector's new spool key could not be kept");
        }
    };
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let listener = server::bind(section.listen, tls.is_some(), arguments.insecure_listen)
            .await
            .map_err(|error| Failure::listening(&error))?;
        let gateway =
            Gateway::start(config, Arc::new(link), key, Box::new(remember)).map_err(|e| failure(&e))?;
        tracing::info!(listen = %section.listen, source = section.source_id, "gateway is ready");
        let mut failed = None;
        let shutdown = async {
            tokio::select! {
                () = signals.asked() => {}
                why = gateway.failed() => failed = Some(why),
            }
        };
        gateway.serve(listener, tls, shutdown).await;
        finish(gateway, failed).await
    })
}

/// Closes the spool; a failed one is left as it is for the next start to judge.
pub(crate) async fn finish(gateway: Gateway, failed: Option<String>) -> Outcome {
    match failed {
        Some(why) => Err(Failure::new("the spool failed")
            .detail(why)
            .code(5)
            .hint("start again: recovery reads what is there")),
        None => gateway.stop().await.map(|()| 0).map_err(|error| failure(&GatewayError::Spool(error))),
    }
}

fn from_section(section: &GatewaySection) -> Result<Config, Failure> {
    let secret = indelible_vault::keystore::read_secret(&section.api_key_id_key)
        .map_err(|error| Failure::new(error).hint("indelible key init makes this file"))?;
    let routes: Vec<Route> = section
        .routes
        .iter()
        .map(|route| {
            Ok(Route {
                name: route.name.clone(),
                path: route.path.clone(),
                upstream: Upstream::parse(&route.upstream).map_err(|error| {
                    Failure::new(format!("route {:?}: {error}", route.name)).hint(UPSTREAM_HINT)
                })?,
                tenant: route.tenant.clone(),
                environment: route.environment.clone(),
                provider: route.provider.clone(),
                mode: mode(route.mode),
                fail: fail(route.fail),
                on_hangup: match route.on_hangup {
                    OnHangupArg::Cancel => OnHangup::Cancel,
                    OnHangupArg::Drain => OnHangup::Drain,
                },
                inject_usage: route.inject_usage,
            })
        })
        .collect::<Result<_, Failure>>()?;
    let first = routes.first().ok_or_else(|| {
        Failure::new("the configuration has no [[gateway.routes]]")
            .hint("indelible config prints a commented example")
    })?;
    let mut config = Config::new(&section.source_id, section.spool.clone(), first.upstream.clone(), secret);
    config.routes = routes;
    config.spool_max_bytes = section.spool_max_bytes;
    config.request_max_bytes = section.request_max_bytes;
    config.connect_timeout = Duration::from_secs(section.connect_timeout_s);
    config.head_timeout = Duration::from_secs(section.head_timeout_s);
    config.idle_timeout = Duration::from_secs(section.idle_timeout_s);
    config.websocket_idle_timeout = Duration::from_secs(section.websocket_idle_timeout_s);
    config.total_timeout =
        (section.total_timeout_s > 0).then(|| Duration::from_secs(section.total_timeout_s));
    config.receipt_timeout = Duration::from_secs(section.receipt_timeout_s);
    config.closed_after = Duration::from_secs(section.closed_after_s);
    config.drain_timeout = Duration::from_secs(section.drain_timeout_s);
    config.hangup_drains_max = section.hangup_drains_max;
    config.hangup_drain_max_bytes = section.hangup_drain_max_bytes;
    config.hangup_drain_max_time = Duration::from_secs(section.hangup_drain_max_s);
    Ok(config)
}

fn link(section: &GatewaySection) -> Result<HttpLink, Failure> {
    let there = &section.collector;
    let identity = Identity { cert: there.cert.clone(), key: there.key.clone() };
    let settings = Settings {
        ca: Some(&there.ca),
        identity: Some(&identity),
        connect_timeout: Duration::from_secs(section.connect_timeout_s),
        http2_only: true,
    };
    let client = client::build(&settings)
        .map_err(|error| Failure::new(error).hint("indelible key init makes development certificates"))?;
    if !there.url.starts_with("https://") {
        return Err(Failure::new(format!("collector address {:?}: expected https://host:port", there.url))
            .hint("set gateway.collector.url"));
    }
    HttpLink::new(client, &there.url).map_err(Failure::new)
}

fn read_spool_key(path: &Path) -> Result<SpoolPublicKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display())).hint("indelible key init makes this file")
    })?;
    from_hex(text.trim()).map(SpoolPublicKey::from_bytes).ok_or_else(|| {
        Failure::new(format!("{}: expected 64 hex digits", path.display()))
            .hint("it is the file collector-spool.pub that indelible key init made for this gateway")
    })
}

/// The mode that the command line or the file names.
pub(crate) fn mode(mode: ModeArg) -> Mode {
    match mode {
        ModeArg::Durable => Mode::Durable,
        ModeArg::Receipt => Mode::Receipt,
        ModeArg::Relaxed => Mode::Relaxed,
    }
}

/// The fail mode that the command line or the file names.
pub(crate) fn fail(fail: FailArg) -> FailMode {
    match fail {
        FailArg::Closed => FailMode::Closed,
        FailArg::Spool => FailMode::Spool,
        FailArg::Open => FailMode::Open,
    }
}

/// A gateway's error, in the words of the command line.
pub(crate) fn failure(error: &GatewayError) -> Failure {
    let shown = Failure::new(error);
    match error {
        GatewayError::Config(_) => shown.hint("indelible config prints every key with its meaning"),
        GatewayError::Spool(LogError::Damaged { .. }) => {
            shown.hint("the spool was altered; move the file away to go on without what it held, and keep it as evidence")
        }
        GatewayError::Spool(LogError::Version { .. }) => shown.hint("ship the spool with the version that wrote it"),
        GatewayError::Spool(_) => shown.code(5),
        GatewayError::Held(_) => shown.hint("another gateway is running on it; give each its own gateway.spool"),
        _ => shown,
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::new)
}
