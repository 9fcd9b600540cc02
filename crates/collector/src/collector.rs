//! The collector as the rest of the program sees it: open, receive, look up, stop.

use crate::claim::{self, Claim};
use crate::data_dir::{DataDir, default_keys};
use crate::head::Head;
use crate::hindrances::check_vault;
use crate::pace::Pace;
use crate::pricing::{Outcomes, Pricing};
use crate::query::{Query, Wanted};
use crate::read::{Found, Payload, Reader};
use crate::receive::{self, BatchError};
use crate::recover::recover;
use crate::seal::{self, Faults, Sealer, Sealing};
use crate::sequencer::{Command, Rotated, Sequencer, lock};
use crate::store::filters::Filters;
use crate::store::location::Location;
#[cfg(feature = "s3")]
use crate::store::remote::tiered::Status;
use crate::store::{Store, View};
use crate::successor::{self, Predecessor};
use crate::tiers::Tiers;
use crate::tiles::Tiles;
use crate::witnessed::Witnessed;
use crate::{CollectorError, draft};
use indelible_os::clock;
use indelible_price::Prices;
use indelible_record::entry::{Actor, Entry, Resource, VERSION, event_type};
use indelible_record::payload::META_MAX_BYTES;
use indelible_record::shipping::{Ack, Acknowledged, Receipt};
use indelible_spool::seal::SpoolPrivateKey;
use indelible_vault::subjects::Basis;
use indelible_vault::{KeyStore, Vault};
use indelible_verify::directory::OPERATIONS;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, oneshot, watch};

/// Batches being opened or waiting to be sequenced at once: bounds memory at this many times
/// [`indelible_record::shipping::BATCH_MAX_BYTES`].
const BATCHES_IN_FLIGHT_MAX: usize = 4;
const COMMANDS_QUEUED_MAX: usize = 64;
const SEAL_REQUESTS_MAX: usize = 1;

/// How a collector is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// The key directory.
    pub keys: PathBuf,
    /// Tenants that it keeps ledgers for.
    pub tenants: Vec<String>,
    /// What calls cost.
    pub prices: Prices,
    /// When entries are sealed into segments.
    pub sealing: Sealing,
    /// Whether they are sealed without being asked to.
    pub seals_by_itself: bool,
    /// The bucket that segments go to, if there is one.
    pub bucket: Option<Location>,
    /// What others show that was signed: held against what is here before more is.
    pub claims: Vec<Claim>,
    /// Ledgers that new ones go on from, by tenant: only while a successor is made.
    pub predecessors: BTreeMap<String, Predecessor>,
    /// For tests alone.
    pub faults: Faults,
}

impl Config {
    /// One tenant, `default`, the keys beside the data, and the prices of this release.
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            keys: default_keys(data),
            tenants: vec!["default".to_owned()],
            prices: Prices::default(),
            sealing: Sealing::default(),
            seals_by_itself: true,
            bucket: None,
            claims: Vec::new(),
            predecessors: BTreeMap::new(),
            faults: Faults::default(),
        }
    }
}

/// A running collector.
pub struct Collector {
    config: Config,
    commands: mpsc::SyncSender<Command>,
    thread: Mutex<Option<JoinHandle<Result<(), CollectorError>>>>,
    ended: watch::Receiver<Option<Arc<CollectorError>>>,
    vault: Arc<Mutex<Vault>>,
    spool_keys: Vec<SpoolPrivateKey>,
    in_flight: Semaphore,
    /// `None`: it seals when it is asked to, and nobody waits for that.
    pace: Option<Pace>,
    cost_outcomes: Arc<Outcomes>,
    store: Arc<Store>,
    tiles: Arc<Tiles>,
    witnessed: Witnessed,
    /// Gone once it stops: the sealer ends at once.
    seal: Mutex<Option<mpsc::SyncSender<seal::Request>>>,
    sealer: Mutex<Option<JoinHandle<()>>>,
    tiers: Tiers,
    stopping: Arc<AtomicBool>,
}

impl Collector {
    /// Opens or makes the data directory, recovers it, and starts sequencing. When this returns, what
    /// was found agrees with the head and is signed.
    pub fn start(config: Config) -> Result<Self, CollectorError> {
        let dir = DataDir::open_or_create(&config.data)?;
        let keys = KeyStore::open_or_create(&config.keys)?;
        let today = clock::now().day();
        if keys.newest_spool_key_day().is_none_or(|day| day < today) {
            keys.create_spool_key(today)?;
        }
        let spool_keys = keys.spool_keys()?;
        let mut head = Head::read(&KeyStore::head_path(keys.dir()))?;
        if !head.notes().is_empty() {
            check_vault(keys.dir())?;
        }
        let mut tiers = Tiers::open(&dir, config.bucket.as_ref())?;
        let explain = |error| tiers.explain(&config.data, error);
        let filters = Arc::new(Filters::new(&config.data));
        let store = Store::with_filters(tiers.storage.clone(), filters.clone()).map_err(explain)?;
        let store = Arc::new(store);
        successor::check_own(&store.view(), &keys)?;
        let recovered = recover(&dir, &keys, &head, store.clone()).map_err(explain)?;
        let log_id = recovered.wal.log_id().to_string();
        let vault = Arc::new(Mutex::new(Vault::open(keys)?));
        tiers.prove(&store, &vault)?;
        let cost_outcomes = Arc::new(Outcomes::default());
        let pricing = Pricing::new(config.prices.clone(), cost_outcomes.clone());
        let tiles = Arc::new(Tiles::new(&config.data));
        claim::hold_all(&config.claims, &recovered.state, &tiles, &store.view())?;
        if !recovered.beyond_head.is_empty() {
            tracing::warn!(
                "the key directory is older than the records: payloads recorded since that copy was made cannot be read, and keys \
                 destroyed since may be in it again; put the newest copy in place"
            );
            // What is published never becomes less, nor does the mark that it leaves.
            head.swap(&log_id, &recovered.beyond_head)?;
        }
        let sequencer =
            Sequencer::start(config.clone(), dir, recovered, vault.clone(), head, pricing, tiles.clone())?;
        let unfinished = sequencer.unfinished();
        let (commands, queue) = mpsc::sync_channel(COMMANDS_QUEUED_MAX);
        let (ended_sender, ended) = watch::channel(None);
        let thread = std::thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(move || {
                let outcome = sequencer.run(&queue);
                // Whoever still waits in the queue learns by its reply channel being dropped.
                drop(queue);
                if let Err(error) = &outcome {
                    let copy = CollectorError::Stopped(error.to_string());
                    let shown = match error {
                        CollectorError::Refused(why) => CollectorError::Refused(why.clone()),
                        _ => copy,
                    };
                    ended_sender.send_replace(Some(Arc::new(shown)));
                }
                outcome
            })
            .map_err(CollectorError::io(&config.data))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (seal, requests) = mpsc::sync_channel(SEAL_REQUESTS_MAX);
        let sealer = Sealer {
            data: config.data.clone(),
            log_id,
            store: store.clone(),
            filters,
            vault: vault.clone(),
            sealing: config.sealing,
            by_itself: config.seals_by_itself,
            faults: config.faults.clone(),
            sequencer: commands.clone(),
            unfinished,
            stopping: stopping.clone(),
        };
        let sealer = std::thread::Builder::new()
            .name("sealer".to_owned())
            .spawn(move || sealer.run(&requests))
            .map_err(CollectorError::io(&config.data))?;
        tiers.start(&config, &store, &stopping)?;
        let in_flight = Semaphore::new(BATCHES_IN_FLIGHT_MAX);
        let thread = Mutex::new(Some(thread));
        let sealer = Mutex::new(Some(sealer));
        let pace = config.seals_by_itself.then(|| Pace::new(&config.sealing));
        Ok(Self {
            config,
            commands,
            thread,
            ended,
            vault,
            spool_keys,
            in_flight,
            pace,
            cost_outcomes,
            store,
            tiles,
            witnessed: Witnessed::default(),
            seal: Mutex::new(Some(seal)),
            sealer,
            tiers,
            stopping,
        })
    }

    /// Waits until a source may send a batch, for some seconds at most: where sealing does not keep up, sources are slowed.
    pub async fn wait_to_receive(&self, source: &str) -> Result<(), BatchError> {
        match &self.pace {
            Some(pace) => pace.wait(&self.store, source).await,
            None => Ok(()),
        }
    }

    /// Takes a batch from a source. When this returns `Ok`, all frames up to [`Ack::seq`] are durable.
    /// `peer` is who the connection proved to be, where it proves anything.
    pub async fn receive(
        &self,
        bytes: &[u8],
        peer: Option<&str>,
        acknowledged: Option<Acknowledged>,
        receipts: bool,
    ) -> Result<Ack, BatchError> {
        let stopped = || BatchError::Unavailable("it is stopping".to_owned());
        let _permit = self.in_flight.acquire().await.map_err(|_| stopped())?;
        let batch = receive::open_batch(bytes, &self.spool_keys, peer)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Batch { batch, acknowledged, receipts, reply };
        // The queue holds more than there are permits: it is never full for long.
        self.send(command).await.map_err(|()| stopped())?;
        answer.await.map_err(|_| self.failure().map_or_else(stopped, BatchError::Unavailable))?
    }

    /// Entries that are in the log, and how many batches had to wait for their being sealed.
    pub fn backlog(&self) -> (u64, u64) {
        (self.store.view().logged().0, self.pace.as_ref().map_or(0, Pace::slowed))
    }

    /// Records that someone looked at records: who, what was asked, how many came back, and why.
    pub async fn record_access(
        &self,
        actor: &str,
        action: &str,
        resource: Option<(&str, &str)>,
        asked: serde_json::Value,
        results: u64,
    ) -> Result<Receipt, CollectorError> {
        let detail = serde_json::Map::from_iter([("results".to_owned(), results.into())]);
        self.record_look(event_type::ACCESS, actor, action, resource, asked, detail).await
    }

    /// Records in the operations ledger that a ledger's checkpoint was taken to a place outside. `detail` has what shows it.
    pub async fn record_anchor(
        &self,
        ledger: &str,
        kind: &str,
        detail: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Receipt, CollectorError> {
        let entry = Entry {
            event_type: event_type::ANCHOR.to_owned(),
            actor: Some(Actor { id: "collector".to_owned(), kind: "service".to_owned() }),
            action: Some(kind.to_owned()),
            resource: Some(Resource { id: ledger.to_owned(), kind: "ledger".to_owned() }),
            detail: Some(detail),
            v: VERSION,
            ..Entry::default()
        };
        self.record_own(entry, indelible_record::event::Private::default()).await
    }

    /// Records that someone takes records away: who, what was asked, why, and in `detail` how far it came.
    pub async fn record_export(
        &self,
        actor: &str,
        action: &str,
        asked: serde_json::Value,
        detail: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Receipt, CollectorError> {
        self.record_look(event_type::EXPORT, actor, action, None, asked, detail).await
    }

    /// Records what came of a drill: on which record, what was asked, why, and in `detail` the outcome.
    pub async fn record_drill(
        &self,
        actor: &str,
        event_id: &str,
        asked: serde_json::Value,
        detail: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Receipt, CollectorError> {
        let resource = Some(("record", event_id));
        self.record_look(event_type::DRILL, actor, "drill", resource, asked, detail).await
    }

    async fn record_look(
        &self,
        event_type: &str,
        actor: &str,
        action: &str,
        resource: Option<(&str, &str)>,
        asked: serde_json::Value,
        detail: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Receipt, CollectorError> {
        let clear = |text: &str| draft::clear_or_hashed(&mut lock(&self.vault), OPERATIONS, text);
        let entry = Entry {
            event_type: event_type.to_owned(),
            actor: Some(Actor { id: clear(actor), kind: "operator".to_owned() }),
            action: Some(clear(action)),
            resource: resource.map(|(kind, id)| Resource { id: clear(id), kind: clear(kind) }),
            detail: Some(detail),
            v: VERSION,
            ..Entry::default()
        };
        // The question itself may name a person: it goes into the encrypted payload.
        let mut originals = std::collections::BTreeMap::new();
        originals.insert("asked".to_owned(), asked.to_string());
        let private = indelible_record::event::Private { originals, ..Default::default() };
        self.record_own(entry, private).await
    }

    async fn record_own(
        &self,
        entry: Entry,
        private: indelible_record::event::Private,
    ) -> Result<Receipt, CollectorError> {
        let private =
            serde_json::to_vec(&private).map_err(|error| CollectorError::Sign(error.to_string()))?;
        if private.len() > META_MAX_BYTES {
            let what =
                format!("what was asked takes {} bytes, over the limit of {META_MAX_BYTES}", private.len());
            return Err(CollectorError::Unfit(what));
        }
        let (reply, answer) = oneshot::channel();
        let stopped = || CollectorError::Stopped("it is stopping".to_owned());
        self.send(Command::Record { entry: Box::new(entry), private, reply })
            .await
            .map_err(|()| stopped())?;
        answer.await.map_err(|_| stopped())?.map_err(CollectorError::Stopped)
    }

    async fn send(&self, mut command: Command) -> Result<(), ()> {
        loop {
            match self.commands.try_send(command) {
                Ok(()) => return Ok(()),
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(()),
                Err(mpsc::TrySendError::Full(back)) => {
                    command = back;
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// The newest records that a query finds, newest first.
    pub fn list(&self, query: &Query, limit: usize) -> Result<Vec<Found>, CollectorError> {
        let wanted = Wanted::resolve(query, &mut lock(&self.vault))?;
        let Some(wanted) = wanted else { return Ok(Vec::new()) };
        self.reader().newest(limit, &wanted)
    }

    /// The payload of a record. Recording that it was looked at is the caller's duty, beforehand.
    pub fn payload(&self, found: &Found) -> Result<Payload, CollectorError> {
        self.reader().payload(found)
    }

    /// Whether a signature covers the entry already: `signed`, or else `logged`.
    pub fn level(&self, entry: &Entry) -> &'static str {
        let signed = self.checkpoint(&entry.tenant_id).and_then(|note| signed_size(&note));
        if signed.is_some_and(|size| entry.seq < size) { "signed" } else { "logged" }
    }

    /// The newest published checkpoint of a ledger.
    pub fn checkpoint(&self, tenant: &str) -> Option<String> {
        let known = tenant == OPERATIONS || self.config.tenants.iter().any(|known| known == tenant);
        known.then(|| {
            std::fs::read_to_string(self.config.data.join("ledgers").join(tenant).join("checkpoint")).ok()
        })?
    }

    /// The records at this moment.
    pub fn view(&self) -> Arc<View> {
        self.store.view()
    }

    pub(crate) fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    pub(crate) fn witnessing(&self) -> &Witnessed {
        &self.witnessed
    }

    /// Gives a ledger a new key. `actor` is who asked.
    pub async fn rotate_key(&self, tenant: &str, actor: &str) -> Result<Rotated, CollectorError> {
        let (reply, outcome) = oneshot::channel();
        let tenant = tenant.to_owned();
        let actor = draft::clear_or_hashed(&mut lock(&self.vault), OPERATIONS, actor);
        let gone = || CollectorError::Stopped("it stopped before the key was changed".to_owned());
        self.send(Command::RotateKey { tenant, actor, reply }).await.map_err(|()| gone())?;
        outcome.await.map_err(|_| gone())?.map_err(CollectorError::KeyKept)
    }

    /// Sequences no more: somebody showed a history that this ledger does not have.
    pub async fn refuse(&self, why: &str) {
        // It may have stopped already.
        let _ = self.send(Command::Refuse { why: why.to_owned() }).await;
    }

    pub(crate) fn vault(&self) -> &Mutex<Vault> {
        &self.vault
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(self.view(), &self.vault)
    }

    /// How many calls had a cost, and why others had none.
    pub fn cost_outcomes(&self) -> &Outcomes {
        &self.cost_outcomes
    }

    /// The key that new spools shall be encrypted to.
    pub fn spool_key(&self) -> Option<&SpoolPrivateKey> {
        self.spool_keys.last()
    }

    /// The pseudonym that a ledger has for a user, as the application names them.
    pub fn subject(&self, tenant: &str, user: &str) -> Result<Option<String>, CollectorError> {
        let found = lock(&self.vault).find_subject(tenant, Basis::User, user)?;
        Ok(found.map(|subject| subject.to_string()))
    }

    /// A string that a client chose, as a ledger shows it: as it is, or hashed.
    pub fn shown(&self, tenant: &str, text: &str) -> String {
        draft::clear_or_hashed(&mut lock(&self.vault), tenant, text)
    }

    /// How it was set up.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Seals everything that is recorded now. Answers how many segments that made.
    pub async fn seal(&self) -> Result<usize, CollectorError> {
        let stopped = || CollectorError::Stopped("it is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        let requests =
            self.seal.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(stopped)?;
        requests.try_send(reply).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => CollectorError::Unfit("sealing was asked for already".to_owned()),
            mpsc::TrySendError::Disconnected(_) => stopped(),
        })?;
        drop(requests);
        answer.await.map_err(|_| stopped())?
    }

    /// Waits until the collector fails. Never returns while it runs or when it is stopped in good order.
    pub async fn failed(&self) -> Arc<CollectorError> {
        let mut ended = self.ended.clone();
        loop {
            if let Some(error) = ended.borrow().clone() {
                return error;
            }
            if ended.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Why the collector does not sequence any more, if it does not.
    pub fn failure(&self) -> Option<String> {
        self.ended.borrow().as_ref().map(|error| error.to_string())
    }

    /// Entries that the published checkpoint of each ledger covers.
    pub fn signed_sizes(&self) -> Vec<(String, u64)> {
        let tenants = self.config.tenants.iter().map(String::as_str).chain([OPERATIONS]);
        tenants
            .filter_map(|tenant| Some((tenant.to_owned(), signed_size(&self.checkpoint(tenant)?)?)))
            .collect()
    }

    /// Signs what is there and closes the log. Blocks until done.
    pub fn stop(&self) -> Result<(), CollectorError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        self.stopping.store(true, Ordering::Relaxed);
        self.seal.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sealer = self.sealer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A full queue is being served: wait for a place in it.
        let _ = self.commands.send(Command::Stop);
        let outcome = thread.join().map_err(|_| CollectorError::Stopped("the sequencer panicked".to_owned()));
        // It finds nobody to ask, and ends.
        let sealed = sealer.map(JoinHandle::join).transpose();
        sealed.map_err(|_| CollectorError::Stopped("the sealer panicked".to_owned()))?;
        self.tiers.stop()?;
        outcome?
    }

    /// How many segments are on this machine and in the bucket; `None`: there is no bucket.
    #[cfg(feature = "s3")]
    pub fn bucket_status(&self) -> Option<Status> {
        let view = self.view();
        let tiered = self.tiers.tiered.as_ref()?;
        Some(tiered.status(view.all_segments().map(|segment| segment.path())))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Best effort: whoever cares for the outcome calls stop() first.
        let _ = self.stop();
    }
}

fn signed_size(note: &str) -> Option<u64> {
    note.lines().nth(1)?.parse().ok()
}
