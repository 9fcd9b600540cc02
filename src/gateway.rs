//! `indelible gateway`: the proxy by itself, shipping to a collector elsewhere.

mod reload;
pub(crate) mod settings;

use crate::cli::{Common, FailArg, ModeArg, Serve};
use crate::failure::{Failure, Outcome};
use crate::shutdown::Signals;
use indelible_gateway::{FailMode, Gateway, GatewayError, Mode};
use indelible_net::server;
use indelible_net::tls::{self, Identity};
use indelible_os::durable;
use indelible_record::commitment::to_hex;
use indelible_spool::LogError;
use indelible_spool::seal::SpoolPublicKey;
use reload::Reload;
use settings::Settings;
use std::sync::Arc;

/// Runs the gateway by itself.
pub(crate) fn run(common: &Common, arguments: &Serve) -> Outcome {
    let settings = Settings::load(common, None)?;
    let section = settings.section.clone();
    let config = settings.config.clone();
    let link = settings::link(&section)?;
    let key_path = section.collector.spool_key.clone();
    let key = settings::read_spool_key(&key_path)?;
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
        let hangups = Signals::hangups()?;
        let listener = server::bind(section.listen, tls.is_some(), arguments.insecure_listen)
            .await
            .map_err(|error| Failure::listening(&error))?;
        let gateway =
            Gateway::start(config, Arc::new(link), key, Box::new(remember)).map_err(|e| failure(&e))?;
        tracing::info!(listen = %section.listen, source = section.source_id, "gateway is ready");
        let reloading = tokio::spawn(Reload::new(common, settings, gateway.access().clone()).run(hangups));
        let mut failed = None;
        let shutdown = async {
            tokio::select! {
                () = signals.asked() => {}
                why = gateway.failed() => failed = Some(why),
            }
        };
        let served = gateway.serve(listener, tls, shutdown).await;
        reloading.abort();
        served.map_err(|error| failure(&error))?;
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
