//! `indelible collector`, and running a collector inside `up` and `demo`.

use crate::anchors;
use crate::cli::{Common, Serve};
use crate::config;
use crate::failure::{Failure, Outcome};
use crate::prices;
use crate::run_dir::{self, Address};
use crate::shutdown::Signals;
use crate::store;
use crate::witnesses;
use indelible_anchor::anchors::Anchors;
use indelible_anchor::witnesses::Witnesses;
use indelible_collector::claim::Claim;
use indelible_collector::data_dir::is_tenant_id;
use indelible_collector::seal::{Faults, Sealing};
use indelible_collector::{Collector, CollectorError, Config};
use indelible_ledger::Policy;
use indelible_net::server;
use indelible_net::tls::{self, Identity};
use indelible_query::Limits;
use indelible_vault::KeyStore;
use indelible_web::OperatorToken;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Runs the collector by itself.
pub(crate) fn run(common: &Common, arguments: &Serve) -> Outcome {
    let file = config::load(common)?.file;
    let section = file.collector.ok_or_else(|| {
        Failure::new("the configuration has no [collector] section")
            .hint("indelible config prints a commented example")
    })?;
    if let Some(bad) = section.tenants.iter().find(|tenant| !is_tenant_id(tenant) || *tenant == "operations")
    {
        return Err(Failure::new(format!("{bad:?} cannot be a tenant's id"))
            .hint("use 1 to 64 of a-z 0-9 _ -, beginning with a letter or digit; \"operations\" is taken"));
    }
    let data = common.data.clone().or(file.data).unwrap_or_else(|| common.data());
    let keys = common.keys.clone().or(file.keys);
    let bucket = store::location(&section)?;
    let outside = Outside {
        policy: section.witness_policy.as_deref().map(witnesses::policy).transpose()?,
        witnesses: witnesses::configured(&section)?,
        anchors: anchors::configured(&section)?,
    };
    let config = Config {
        claims: Vec::new(),
        keys: keys.unwrap_or_else(|| indelible_collector::data_dir::default_keys(&data)),
        data,
        tenants: section.tenants,
        prices: prices::load(section.prices)?,
        sealing: Sealing {
            after: Duration::from_secs(section.seal_after_s),
            min_bytes: section.seal_min_bytes,
            max_bytes: section.seal_max_bytes,
            ..Sealing::default()
        },
        seals_by_itself: true,
        bucket,
        predecessors: BTreeMap::new(),
        faults: Faults::default(),
    };
    let limits = section.query.limits();
    // The table is read once, here, and not while calls wait for their places.
    let _ = config.prices.table();
    let identity = Identity { cert: section.tls_cert, key: section.tls_key };
    let tls = tls::server(&identity, Some(&section.client_ca))
        .map_err(|error| Failure::new(error).hint("indelible key init makes development certificates"))?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let listener = server::bind(section.listen, true, arguments.insecure_listen)
            .await
            .map_err(|error| Failure::listening(&error))?;
        let running =
            Running::start(config, listener, Some(tls), Some(section.client_ca), limits, outside).await?;
        let outcome = tokio::select! {
            () = signals.asked() => None,
            error = running.collector.failed() => Some(error),
        };
        let stopped = running.stop().await;
        match outcome {
            Some(error) => Err(failure(&error)),
            None => stopped.map(|()| 0),
        }
    });
    // A directory that does not answer has a thread of its own, which holds up nobody.
    runtime.shutdown_background();
    outcome
}

/// A collector and its interface.
pub(crate) struct Running {
    pub(crate) collector: Arc<Collector>,
    pub(crate) url: String,
    data: PathBuf,
    stop_serving: oneshot::Sender<()>,
    served: JoinHandle<()>,
    /// What goes outside.
    tasks: Vec<JoinHandle<()>>,
}

/// Parties outside that what was signed goes to.
#[derive(Default)]
pub(crate) struct Outside {
    /// The policy that names the witnesses.
    pub(crate) policy: Option<Policy>,
    pub(crate) witnesses: Option<Witnesses>,
    pub(crate) anchors: Option<Arc<Anchors>>,
}

impl Running {
    /// Starts a collector, serves its interface on `listener`, and announces both in `DIR/run`.
    pub(crate) async fn start(
        mut config: Config,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        ca: Option<PathBuf>,
        limits: Limits,
        outside: Outside,
    ) -> Result<Self, Failure> {
        let data = config.data.clone();
        let Outside { policy, witnesses, anchors } = outside;
        config.claims.extend(claims(&config.keys, witnesses.as_ref(), anchors.as_deref()).await?);
        let opened =
            tokio::task::spawn_blocking(move || Collector::start(config)).await.map_err(Failure::new)?;
        let collector = Arc::new(opened.map_err(|error| failure(&error))?);
        if let Some(witnesses) = &witnesses {
            collector.expect_witnesses(witnesses.policy().clone());
        }
        let address = listener.local_addr().map_err(Failure::new)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        // The operator calls from this machine, whatever else it listens on.
        let host =
            if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
        let url = format!("{scheme}://{host}:{}", address.port());
        let ca = ca.map(|path| path.canonicalize().unwrap_or(path));
        let token = run_dir::announce(&data, &Address { url: url.clone(), ca })?;
        let mut tasks = Vec::new();
        tasks.extend(witnesses.map(|witnesses| tokio::spawn(witnesses.run(collector.clone()))));
        tasks.extend(anchors.clone().map(|anchors| tokio::spawn(anchors.run(collector.clone()))));
        let (stop_serving, stop) = oneshot::channel::<()>();
        let for_web = collector.clone();
        let served = tokio::spawn(async move {
            let stop = async {
                // A dropped sender means the same.
                let _ = stop.await;
            };
            let outside = indelible_web::Outside { anchors, witnesses: policy };
            indelible_web::serve(listener, tls, for_web, OperatorToken::new(&token), limits, outside, stop)
                .await;
        });
        tracing::info!(url, data = %data.display(), "collector is ready");
        Ok(Self { collector, url, data, stop_serving, served, tasks })
    }

    /// Stops serving, signs what is there, closes the log.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        // The server may be gone already.
        let _ = self.stop_serving.send(());
        let _ = self.served.await;
        for task in self.tasks {
            task.abort();
            // It ends where it waits; what it was about to send is not sent.
            let _ = task.await;
        }
        run_dir::withdraw(&self.data);
        let collector = self.collector;
        tokio::task::spawn_blocking(move || collector.stop())
            .await
            .map_err(Failure::new)?
            .map_err(|error| failure(&error))
    }
}

/// What parties outside can show of the ledgers before they are opened.
async fn claims(
    keys: &Path,
    witnesses: Option<&Witnesses>,
    anchors: Option<&Anchors>,
) -> Result<Vec<Claim>, Failure> {
    // Where nothing was ever signed there is nothing to show.
    if !keys.exists() {
        return Ok(Vec::new());
    }
    let ledgers = KeyStore::key_histories(keys).map_err(Failure::new)?;
    let mut claims = Vec::new();
    if let Some(witnesses) = witnesses {
        claims.extend(witnesses.claims(&ledgers).await);
    }
    if let Some(anchors) = anchors {
        claims.extend(anchors.claims(&ledgers).await);
    }
    Ok(claims)
}

/// The same, of those parties that the configuration names, if there is one.
pub(crate) async fn configured_claims(common: &Common, keys: &Path) -> Result<Vec<Claim>, Failure> {
    if common.config.is_none() && !Path::new(config::DEFAULT_PATH).exists() {
        return Ok(Vec::new());
    }
    let Some(section) = config::load(common)?.file.collector else { return Ok(Vec::new()) };
    let (witnesses, anchors) = (witnesses::configured(&section)?, anchors::configured(&section)?);
    claims(keys, witnesses.as_ref(), anchors.as_deref()).await
}

/// The runtime of a server.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::new)
}

/// A collector's error, in the words of the command line.
pub(crate) fn failure(error: &CollectorError) -> Failure {
    let shown = Failure::new(error).code(error.exit_code());
    match error {
        CollectorError::Refused(_) => shown
            .detail("no second history is ever signed; the gateways keep their records meanwhile")
            .hint("put the newest copy of the data directory in place and start again; `indelible verify` names what is wrong. Only if no newer copy is left anywhere: indelible key successor --after CHECKPOINT --to NEWDIR"),
        CollectorError::Held(_) => shown.hint("a collector is running on it; commands that read reach it by themselves"),
        CollectorError::Segment { .. } => shown.hint("`indelible verify` checks the whole directory; restore this segment from a copy"),
        CollectorError::UnknownTenant(_) => shown.hint("check the tenant's id: indelible key show names the ledgers"),
        CollectorError::Format { .. } => shown.hint("name another directory with --data"),
        CollectorError::Log(indelible_spool::LogError::Damaged { .. }) => {
            shown.hint("`indelible verify` checks the whole directory; restore this file from a copy")
        }
        CollectorError::Log(indelible_spool::LogError::Version { .. }) => {
            shown.hint("open the directory with the version that wrote it")
        }
        CollectorError::Io { .. } | CollectorError::Log(_) => {
            shown.hint("is the directory there, readable, writable and with room? then start again: recovery reads what is there")
        }
        CollectorError::Vault(_) => shown.hint("name the key directory that belongs to these records with --keys"),
        CollectorError::KeyKept(_) => shown.hint("indelible key show names the ledgers"),
        CollectorError::Sign(_) | CollectorError::Unfit(_) | CollectorError::Stopped(_) => shown.hint("start again: recovery reads what is there"),
    }
}
