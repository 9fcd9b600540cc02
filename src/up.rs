//! `indelible up`: gateway and collector in one process, over the same code path as on two machines.
//!
//! The one difference is the link: batches are handed over in memory instead of over mutual TLS. They
//! are spooled, encrypted, acknowledged and recovered all the same.

use crate::cli::{Common, Up};
use crate::collector::{self, Outside, Running};
use crate::failure::{Failure, Outcome};
use crate::gateway;
use crate::shutdown::Signals;
use crate::store;
use indelible_collector::{BatchError, Collector, Config as CollectorConfig};
use indelible_gateway::config::Upstream;
use indelible_gateway::ship::{Link, LinkError, Shipment};
use indelible_gateway::{Config, Gateway};
use indelible_net::server;
use indelible_query::Limits;
use indelible_record::shipping::Ack;
use indelible_vault::KeyStore;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Hands batches to a collector in the same process.
struct LocalLink {
    collector: Arc<Collector>,
}

impl Link for LocalLink {
    fn send(&self, shipment: Shipment) -> Pin<Box<dyn Future<Output = Result<Ack, LinkError>> + Send + '_>> {
        Box::pin(async move {
            let busy = |error: BatchError| LinkError(error.to_string());
            self.collector.wait_to_receive("up").await.map_err(busy)?;
            self.collector
                .receive(&shipment.body, None, shipment.acknowledged, shipment.receipts)
                .await
                .map_err(busy)
        })
    }
}

/// What one process runs.
pub(crate) struct Both {
    pub(crate) collector: Running,
    pub(crate) gateway: Gateway,
    pub(crate) gateway_url: String,
    listener: TcpListener,
}

impl Both {
    /// Starts a collector on `common`'s data directory and a gateway before `upstream`.
    pub(crate) async fn start(
        common: &Common,
        upstream: &str,
        listener: TcpListener,
        api_listener: TcpListener,
        adjust: impl FnOnce(&mut Config),
    ) -> Result<Self, Failure> {
        let upstream = Upstream::parse(upstream).map_err(|error| {
            Failure::new(error).hint("for a vLLM on its default port: --upstream http://127.0.0.1:8000")
        })?;
        let mut config = CollectorConfig::new(&common.data());
        config.keys = common.keys();
        config.bucket = store::configured(common)?;
        let keys = config.keys.clone();
        let running =
            Running::start(config, api_listener, None, None, Limits::default(), Outside::default()).await?;
        let secret = KeyStore::open(&keys).map_err(Failure::new)?.derive("api-key-id", "");
        let key =
            running.collector.spool_key().ok_or_else(|| Failure::new("the collector has no spool key"))?;
        let mut config = Config::new("local", common.data().join("spool"), upstream, *secret);
        adjust(&mut config);
        let link = Arc::new(LocalLink { collector: running.collector.clone() });
        let gateway = Gateway::start(config, link, key.public().clone(), Box::new(|_| {}));
        let gateway = match gateway {
            Ok(gateway) => gateway,
            Err(error) => {
                running.stop().await?;
                return Err(gateway::failure(&error));
            }
        };
        let address = listener.local_addr().map_err(Failure::new)?;
        Ok(Self { collector: running, gateway, gateway_url: format!("http://{address}"), listener })
    }

    /// Serves until `shutdown` is ready or something fails, then ends in good order.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()>) -> Outcome {
        let mut spool_failed = None;
        let mut collector_failed = None;
        let until = async {
            tokio::select! {
                () = shutdown => {}
                why = self.gateway.failed() => spool_failed = Some(why),
                error = self.collector.collector.failed() => collector_failed = Some(error),
            }
        };
        let served = self.gateway.serve(self.listener, None, until).await;
        let gateway = gateway::finish(self.gateway, spool_failed).await;
        let stopped = self.collector.stop().await;
        if let Some(error) = collector_failed {
            return Err(collector::failure(&error));
        }
        served.map_err(|error| gateway::failure(&error))?;
        gateway?;
        stopped.map(|()| 0)
    }
}

/// Runs both until asked to stop.
pub(crate) fn run(common: &Common, arguments: &Up) -> Outcome {
    collector::runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let bind = |address| async move {
            server::bind(address, false, arguments.insecure_listen)
                .await
                .map_err(|error| Failure::listening(&error))
        };
        let (listener, api_listener) = (bind(arguments.listen).await?, bind(arguments.api_listen).await?);
        let both = Both::start(common, &arguments.upstream, listener, api_listener, |config| {
            for route in &mut config.routes {
                route.mode = gateway::mode(arguments.mode);
                route.fail = gateway::fail(arguments.fail);
            }
        })
        .await?;
        eprintln!("recording {} → {}", both.gateway_url, arguments.upstream);
        eprintln!("  point clients at it    OPENAI_BASE_URL={}/v1", both.gateway_url);
        eprintln!("  look at records        indelible list --data {}", common.data().display());
        eprintln!("  check them             indelible verify --data {}", common.data().display());
        both.serve(signals.asked()).await
    })
}
