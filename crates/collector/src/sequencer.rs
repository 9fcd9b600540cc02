//! The one thread that gives every event its place.
//!
//! It takes whatever commands have gathered, appends what they lead to, and makes all of it durable at
//! once: first the vault (a record whose key is lost is lost), then the WAL. Only then does anybody hear
//! "logged". At least once a second, when something is new, it signs: see [`Sequencer::checkpoint`],
//! the commit point, a straight line that says at each step what a crash there means.
//!
//! Any error that leaves the outcome of a write unknown ends the thread, and the process with it. A
//! restart reads what is there and goes on from that.

mod intake;
mod keys;
mod notices;
mod sealed;
mod succession;

use crate::checkpoint::ReadBack;
use crate::data_dir::DataDir;
use crate::draft;
use crate::head::Head;
use crate::parts::Parts;
use crate::predecessors::Tokens;
use crate::pricing::Pricing;
use crate::receive::{Batch, BatchError, Content, Opened};
use crate::seal::Faults;
use crate::state::{Open, State};
use crate::store::Store;
use crate::store::segment::Segment;
use crate::store::tail::WalFile;
use crate::tiles::Tiles;
use crate::{CollectorError, Config};
use indelible_ledger::{Checkpoint, Ed25519Signer, Hash, Note, Rotation, Signer, leaf_hash};
use indelible_os::clock::{self, Utc};
use indelible_record::commitment::to_hex;
use indelible_record::entry::{self, Entry, Status, event_type};
use indelible_record::event::{ConfigChange, End, Gap, PieceMeta, Private, Rejections, SourceNotice, Start};
use indelible_record::shipping::{Ack, Acknowledged, Receipt};
use indelible_record::{Committer, payload};
use indelible_spool::wal::{Origin, Record, Ref, Stream};
use indelible_spool::writer::{Claim, LogWriter};
use indelible_spool::{Kind, LogError};
use indelible_vault::subjects::Basis;
use indelible_vault::{SubjectRef, Vault, VaultError, random, seal};
use indelible_verify::directory::{OPERATIONS, digest_text};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

pub use keys::Rotated;
use keys::Signers;
pub(crate) use keys::{check_headless, check_signer};

/// How long something new may stand unsigned.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// An idle ledger says so this often, and a source is summed up this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(3600);
/// Most commands in one group commit.
const GROUP_MAX_COMMANDS: usize = 256;
/// Most frames of one payload: their places have to fit into the frame of its entry.
const REFS_MAX: usize = 100_000;
/// A WAL file is closed at the first checkpoint behind this size; a group never grows it past the limit.
const WAL_ROTATE_BYTES: u64 = 96 << 20;

/// What the sequencer is asked to do.
pub enum Command {
    /// Take in a batch of a source.
    Batch {
        /// The batch.
        batch: Batch,
        /// What the source says it was told before.
        acknowledged: Option<Acknowledged>,
        /// Whether it wants receipts.
        receipts: bool,
        /// Who waits for the outcome.
        reply: oneshot::Sender<Result<Ack, BatchError>>,
    },
    /// Record something that the collector itself saw, in the operations ledger.
    Record {
        /// The entry; place and time are filled in.
        entry: Box<Entry>,
        /// What may only be in the payload, as JSON.
        private: Vec<u8>,
        /// Who waits for the outcome.
        reply: oneshot::Sender<Result<Receipt, String>>,
    },
    /// Begin a new file; everything so far is then in files that are not written to any more. Answers its number.
    Rotate {
        /// Who waits for the outcome.
        reply: oneshot::Sender<Result<u64, String>>,
    },
    /// Enter the manifests of segments that have no entry yet, sign, and let go of the log that they replace.
    Sealed {
        /// All segments.
        segments: Vec<Arc<Segment>>,
        /// All entries in files before this one stand in segments.
        before: u64,
        /// Who waits for the outcome.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Give a ledger a new key.
    RotateKey {
        /// Whose ledger.
        tenant: String,
        /// Who asked.
        actor: String,
        /// Who waits for the outcome.
        reply: oneshot::Sender<Result<Rotated, String>>,
    },
    /// Sequence no more, as after a start that finds other records than were signed.
    Refuse {
        /// What was found.
        why: String,
    },
    /// Sign what is there and end in good order.
    Stop,
}

/// Owns everything that writes.
pub struct Sequencer {
    config: Config,
    dir: DataDir,
    wal: LogWriter,
    state: State,
    vault: Arc<Mutex<Vault>>,
    head: Head,
    pricing: Pricing,
    signers: Signers,
    read_back: Option<ReadBack>,
    tokens: Tokens,
    spool_key: String,
    last_checkpoint: Instant,
    /// The next frame when something was signed last: all before it is.
    signed_to: u64,
    /// There was no room for the next file of the log.
    cramped: bool,
    last_report: Instant,
    /// Entries per ledger at the last report, to tell which were idle.
    reported: BTreeMap<String, u64>,
    /// Frames and entries per incarnation at the last report.
    reported_sources: BTreeMap<Uuid, (u64, u64)>,
    store: Arc<Store>,
    tiles: Arc<Tiles>,
    faults: Faults,
    /// Segments whose manifest has an entry.
    entered: HashSet<String>,
    unfinished: Arc<AtomicBool>,
}

/// What recovery hands to the sequencer.
pub struct Recovered {
    /// The log.
    pub wal: LogWriter,
    /// What it adds up to.
    pub state: State,
    /// Segments whose manifest has an entry.
    pub entered: HashSet<String>,
    /// Segments, and the files of the log.
    pub store: Arc<Store>,
    /// The last change of keys of each ledger that the log has.
    pub rotated: BTreeMap<String, Rotation>,
    /// What is published beyond the head, and was found in the records: the head is an older copy.
    pub beyond_head: BTreeMap<String, String>,
}

/// What a group owes its callers once it is durable.
enum Owed {
    Ack(oneshot::Sender<Result<Ack, BatchError>>, Result<Ack, BatchError>),
    Receipt(oneshot::Sender<Result<Receipt, String>>, Result<Receipt, String>),
    Rotated(oneshot::Sender<Result<u64, String>>, Result<u64, String>),
    Sealed(oneshot::Sender<Result<(), String>>, Result<(), String>),
    KeyRotated(oneshot::Sender<Result<Rotated, String>>, Result<Rotated, String>),
}

impl Sequencer {
    /// Puts the recovered parts together, signs what a crash left unsigned and begins a new WAL file.
    pub fn start(
        config: Config,
        dir: DataDir,
        recovered: Recovered,
        vault: Arc<Mutex<Vault>>,
        head: Head,
        pricing: Pricing,
        tiles: Arc<Tiles>,
    ) -> Result<Self, CollectorError> {
        let Recovered { wal, state, entered, store, rotated, .. } = recovered;
        let faults = config.faults.clone();
        let (tokens, spool_key) = {
            let vault = lock(&vault);
            let keys = vault.keys().spool_keys()?;
            let newest = keys.last().map(|key| to_hex(key.public().as_bytes())).unwrap_or_default();
            (Tokens::of(vault.keys())?, newest)
        };
        let mut this = Self {
            config,
            dir,
            wal,
            state,
            vault,
            head,
            pricing,
            signers: Signers::default(),
            read_back: None,
            tokens,
            spool_key,
            last_checkpoint: Instant::now(),
            signed_to: 0,
            cramped: false,
            last_report: Instant::now(),
            reported: BTreeMap::new(),
            reported_sources: BTreeMap::new(),
            store,
            tiles,
            faults,
            entered,
            unfinished: Arc::default(),
        };
        this.load_signers(&rotated)?;
        if this.wal.current().is_some() {
            // The file that a crash left open: sign its end, so that it can be closed.
            this.sign()?;
        }
        this.finish_rotations()?;
        this.begin_file()?;
        this.ensure_ledger(OPERATIONS)?;
        for tenant in this.config.tenants.clone() {
            this.ensure_ledger(&tenant)?;
        }
        this.commit()?;
        this.checkpoint()?;
        for (tenant, note) in this.head.notes() {
            this.dir.publish(tenant, note)?;
        }
        this.finish_sealing()?;
        this.note_reported();
        Ok(this)
    }

    /// Whether what follows the making of segments is still to be done: it was begun, and there was no room.
    pub(crate) fn unfinished(&self) -> Arc<AtomicBool> {
        self.unfinished.clone()
    }

    /// Serves commands until told to stop, or until something fails that only a restart can judge.
    pub fn run(mut self, commands: &mpsc::Receiver<Command>) -> Result<(), CollectorError> {
        loop {
            let wait = match self.unsigned() {
                true => CHECKPOINT_INTERVAL.saturating_sub(self.last_checkpoint.elapsed()),
                false => REPORT_INTERVAL.saturating_sub(self.last_report.elapsed()),
            };
            let first = match commands.recv_timeout(wait) {
                Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return self.stop(),
                Ok(command) => Some(command),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
            };
            let mut stop = false;
            let mut owed = Vec::new();
            let mut next = first;
            while let Some(command) = next.take() {
                match command {
                    Command::Stop => stop = true,
                    other => owed.push(self.serve(other)?),
                }
                if !stop && owed.len() < GROUP_MAX_COMMANDS {
                    next = commands.try_recv().ok();
                }
            }
            match self.report_if_due() {
                Err(CollectorError::Log(LogError::Full(why))) => {
                    tracing::warn!(why, "no room for the hourly report")
                }
                outcome => outcome?,
            }
            self.commit()?;
            for answer in owed {
                match answer {
                    // A source that hung up sends again and is told then.
                    Owed::Ack(reply, ack) => drop(reply.send(ack)),
                    Owed::Receipt(reply, receipt) => drop(reply.send(receipt)),
                    Owed::Rotated(reply, outcome) => drop(reply.send(outcome)),
                    Owed::Sealed(reply, outcome) => drop(reply.send(outcome)),
                    Owed::KeyRotated(reply, outcome) => drop(reply.send(outcome)),
                }
            }
            if stop {
                return self.stop();
            }
            let due = self.unsigned() && self.last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL;
            if due || (self.is_file_long() && !self.cramped) {
                self.checkpoint()?;
            }
        }
    }

    fn stop(mut self) -> Result<(), CollectorError> {
        self.finish_sealing()?;
        self.sign()?;
        self.wal.close()?;
        Ok(())
    }

    /// Makes everything appended durable. A failure here ends the process: see [`LogError::Poisoned`].
    fn commit(&mut self) -> Result<(), CollectorError> {
        // Keys first: a record must never be durable before the key that opens it.
        lock(&self.vault).sync()?;
        self.wal.sync()?;
        Ok(())
    }

    fn unsigned(&self) -> bool {
        self.state.ledgers().any(|(_, ledger)| !ledger.unsigned().is_empty())
    }

    /// Signs what is durable, and begins the next file once this one is long enough.
    fn checkpoint(&mut self) -> Result<(), CollectorError> {
        self.sign()?;
        if self.is_file_long() { self.begin_next() } else { Ok(()) }
    }

    /// Signs what is durable. The order is the contract.
    fn sign(&mut self) -> Result<(), CollectorError> {
        self.last_checkpoint = Instant::now();
        // 1. Everything to be signed is on the disk. A crash from here on loses nothing: the entries are
        //    found again and signed then.
        self.commit()?;
        let Some((file_no, file, written)) = self.wal.current().map(|(n, file, at)| (n, file.clone(), at))
        else {
            return Ok(());
        };
        // 2. Read back what the disk will give, and compare with what the tree was built from.
        if self.read_back.as_ref().is_none_or(|read_back| read_back.file_no() != file_no) {
            let header = self.wal.current_header().cloned();
            self.read_back = header.map(|header| ReadBack::new(file, &header));
        }
        let Some(read_back) = &mut self.read_back else { return Ok(()) };
        let digest = read_back.reach(written)?;
        let leaves = read_back.take_leaves();
        let mut notes = BTreeMap::new();
        for (tenant, ledger) in self.state.ledgers() {
            let read = leaves.get(tenant).map_or(&[][..], Vec::as_slice);
            // In a recovered file older, signed leaves stand before the unsigned ones.
            if !read.ends_with(ledger.unsigned()) {
                return Err(CollectorError::Refused(format!(
                    "ledger {tenant}: the entries on disk are not the ones that were hashed"
                )));
            }
            // 3. Sign. A signature that nobody has seen yet binds nobody.
            if !ledger.unsigned().is_empty() {
                notes.insert(tenant.clone(), self.sign_head(tenant, ledger.size(), ledger.root())?);
            }
        }
        let digest = self.sign_digest(file_no, written, &digest)?;
        // 4. The commit point. Before it the old heads stand, after it the new ones. An error leaves it
        //    open which: the process ends, and the next start reads the head.
        if !notes.is_empty() {
            self.head.swap(&self.wal.log_id().to_string(), &notes)?;
        }
        // 5. Publish. All of this is derived: after a crash here the next start does it again, and so it does
        //    after an error, which must not be taken for one that can be waited out.
        self.publish(&digest, &notes).map_err(|error| CollectorError::Stopped(error.to_string()))?;
        self.signed_to = self.wal.next_seq();
        Ok(())
    }

    /// Whether the file of the log changes hands at the next checkpoint.
    fn is_file_long(&self) -> bool {
        self.wal.current_len() >= WAL_ROTATE_BYTES
    }

    /// Begins the next file, or goes on with this one where there is no room for it.
    fn begin_next(&mut self) -> Result<(), CollectorError> {
        let number = |this: &Self| this.wal.current().map(|(number, _, _)| number);
        let before = number(self);
        match self.faults.point("before the next file is begun").and_then(|()| self.begin_file()) {
            Err(CollectorError::Log(LogError::Full(why))) if number(self) == before => {
                tracing::error!(why, "no room for the next file of the log: nothing is taken until there is");
                self.cramped = true;
                Ok(())
            }
            outcome => {
                self.cramped = false;
                outcome
            }
        }
    }

    /// Has a file that is long enough change hands before more is taken, at a checkpoint, so that the end of each is
    /// signed. Where there is no room for the next one, nothing is taken.
    fn change_files(&mut self) -> Result<(), CollectorError> {
        if !self.is_file_long() {
            return Ok(());
        }
        if !self.cramped {
            self.checkpoint()?;
        } else if self.last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL {
            self.last_checkpoint = Instant::now();
            self.begin_next()?;
        }
        match self.cramped {
            true => Err(LogError::Full("the next file of the log has none".to_owned()).into()),
            false => Ok(()),
        }
    }

    /// Begins a file, which says first what the files before it add up to: then those can go. The end of the one before
    /// is signed, whatever it is: some frames make no entry.
    fn begin_file(&mut self) -> Result<(), CollectorError> {
        if self.wal.next_seq() != self.signed_to {
            self.sign()?;
        }
        self.wal.begin_file()?;
        if let Some((number, file, _)) = self.wal.current() {
            self.store.add_file(WalFile::new(number, file.clone()));
        }
        let record = Record::Base(self.state.base());
        let position = self.wal.append(record.kind(), &[&record.encode()], Claim::Settle)?;
        let at = Ref { file_no: position.file_no, offset: position.offset };
        let body = record.encode();
        let record = Record::parse(Kind::Base, &body)
            .ok_or_else(|| CollectorError::Refused("the state makes no frame".to_owned()))?;
        self.state.apply(&record, at).map_err(|misfit| CollectorError::Refused(misfit.0))
    }

    fn publish(&mut self, digest: &str, notes: &BTreeMap<String, String>) -> Result<(), CollectorError> {
        let mut frame: Vec<&[u8]> = vec![digest.as_bytes()];
        frame.extend(notes.values().map(String::as_bytes));
        let record = Record::Checkpoint { notes: frame };
        self.wal.append(record.kind(), &[&record.encode()], Claim::Settle)?;
        self.wal.flush()?;
        for (tenant, note) in notes {
            let ledger = self.state.ledger_mut(tenant);
            let signed_before = ledger.size() - ledger.unsigned().len() as u64;
            self.tiles.extend(tenant, signed_before, ledger.unsigned());
            ledger.set_signed();
            self.dir.publish(tenant, note)?;
        }
        Ok(())
    }

    fn sign_head(&self, tenant: &str, size: u64, root: Hash) -> Result<String, CollectorError> {
        let origin = self.signers.of(tenant)?.name();
        let checkpoint = Checkpoint::new(origin, size, root);
        let checkpoint = checkpoint.map_err(|error| CollectorError::Sign(error.to_string()))?;
        self.signers.sign(tenant, checkpoint.body())
    }

    fn sign_digest(&self, file_no: u64, bytes: u64, hash: &[u8; 32]) -> Result<String, CollectorError> {
        self.signers.sign(OPERATIONS, digest_text(file_no, bytes, hash))
    }

    /// Makes a tenant's ledger if there is none: its key, then the empty head, then genesis. In this
    /// order, entries without a head are always a sign of loss.
    fn ensure_ledger(&mut self, tenant: &str) -> Result<(), CollectorError> {
        if self.signers.of(tenant).is_err() {
            let origin = format!("indelible/{}", Uuid::from_bytes(random()?));
            let signer = lock(&self.vault).keys().signer(tenant, &origin, true)?;
            self.signers.add(tenant, signer);
        }
        if self.state.ledger(tenant).is_some_and(|ledger| ledger.size() > 0) {
            return Ok(());
        }
        if !self.head.notes().contains_key(tenant) {
            let note = self.sign_head(tenant, 0, Hash::EMPTY_ROOT)?;
            let notes = BTreeMap::from([(tenant.to_owned(), note)]);
            self.head.swap(&self.wal.log_id().to_string(), &notes)?;
            lock(&self.vault).keys().set_used(tenant)?;
        }
        let key = self.signers.of(tenant)?.verifier_key().clone();
        let mut detail = serde_json::Map::new();
        detail.insert("format".to_owned(), entry::VERSION.into());
        detail.insert("keys".to_owned(), vec![key.to_string()].into());
        detail.insert("origin".to_owned(), key.name().into());
        if let Some(statement) = self.succession(tenant)? {
            detail.insert("succession".to_owned(), statement.into());
        }
        let entry = self.own_entry(tenant, event_type::GENESIS, detail);
        self.append_entry(Origin::default(), Uuid::now_v7(), entry, Vec::new(), &[])?;
        Ok(())
    }

    fn serve(&mut self, command: Command) -> Result<Owed, CollectorError> {
        match command {
            Command::Batch { batch, acknowledged, receipts, reply } => {
                let outcome = self.take_batch(batch, acknowledged.as_ref(), receipts)?;
                Ok(Owed::Ack(reply, outcome))
            }
            Command::Record { entry, private, reply } => {
                let receipt = match self.record_own(*entry, &private) {
                    Ok(receipt) => Ok(receipt),
                    // Whoever asked is refused: what cannot be recorded is not shown.
                    Err(CollectorError::Log(LogError::Full(why))) => Err(format!("no room: {why}")),
                    Err(error) => return Err(error),
                };
                Ok(Owed::Receipt(reply, receipt))
            }
            Command::Rotate { reply } => Ok(Owed::Rotated(reply, self.rotate()?)),
            Command::Sealed { segments, before, reply } => {
                Ok(Owed::Sealed(reply, self.take_sealed(&segments, before)?))
            }
            Command::RotateKey { tenant, actor, reply } => {
                Ok(Owed::KeyRotated(reply, self.rotate_key(&tenant, &actor)?))
            }
            Command::Refuse { why } => Err(CollectorError::Refused(why)),
            Command::Stop => Err(CollectorError::Stopped("asked to".to_owned())),
        }
    }

    /// Hourly: a ledger in which nothing happened says so, and sources that sent something are summed up.
    fn report_if_due(&mut self) -> Result<(), CollectorError> {
        if self.last_report.elapsed() < REPORT_INTERVAL {
            return Ok(());
        }
        self.last_report = Instant::now();
        let idle: Vec<String> = self
            .state
            .ledgers()
            .filter(|(tenant, ledger)| self.reported.get(*tenant).is_some_and(|size| *size == ledger.size()))
            .map(|(tenant, _)| tenant.clone())
            .collect();
        let sources = std::mem::take(&mut self.reported_sources);
        let moved: Vec<_> = self
            .state
            .sources()
            .map(|(incarnation, source)| (*incarnation, source.id.clone(), source.mark, source.entries))
            .filter(|(incarnation, _, mark, _)| {
                sources.get(incarnation).is_none_or(|(before, _)| before != mark)
            })
            .collect();
        for (incarnation, id, mark, entries) in moved {
            let (mark_before, entries_before) = sources.get(&incarnation).copied().unwrap_or_default();
            let mut detail = serde_json::Map::new();
            detail.insert("entries".to_owned(), (entries - entries_before).into());
            detail.insert("frames".to_owned(), (mark - mark_before).into());
            let mut entry = self.own_entry(OPERATIONS, event_type::SOURCE_REPORT, detail);
            entry.source = Some(draft::source(&id, incarnation, mark, None, None));
            self.append_entry(Origin::default(), Uuid::now_v7(), entry, Vec::new(), &[])?;
        }
        for tenant in idle {
            let entry = self.own_entry(&tenant, event_type::HEARTBEAT, serde_json::Map::new());
            self.append_entry(Origin::default(), Uuid::now_v7(), entry, Vec::new(), &[])?;
        }
        self.note_reported();
        Ok(())
    }

    /// What the next report is held against.
    fn note_reported(&mut self) {
        self.reported =
            self.state.ledgers().map(|(tenant, ledger)| (tenant.clone(), ledger.size())).collect();
        self.reported_sources = self
            .state
            .sources()
            .map(|(incarnation, source)| (*incarnation, (source.mark, source.entries)))
            .collect();
    }

    fn own_entry(
        &self,
        tenant: &str,
        event: &str,
        detail: serde_json::Map<String, serde_json::Value>,
    ) -> Entry {
        Entry {
            event_type: event.to_owned(),
            tenant_id: tenant.to_owned(),
            detail: (!detail.is_empty()).then_some(detail),
            v: entry::VERSION,
            ..Entry::default()
        }
    }

    /// Gives an entry its place now.
    fn append_entry(
        &mut self,
        origin: Origin,
        event_id: Uuid,
        entry: Entry,
        refs: Vec<Ref>,
        part: &[u8],
    ) -> Result<Receipt, CollectorError> {
        self.append_entry_at(clock::now(), origin, event_id, entry, refs, part)
    }

    /// Gives an entry its place: number, previous hash, time. From here on only its bytes count. `now` was read
    /// from the clock for this entry.
    fn append_entry_at(
        &mut self,
        now: Utc,
        origin: Origin,
        event_id: Uuid,
        mut entry: Entry,
        refs: Vec<Ref>,
        part: &[u8],
    ) -> Result<Receipt, CollectorError> {
        let tenant = entry.tenant_id.clone();
        let ledger = self.state.ledger_mut(&tenant);
        entry.seq = ledger.size();
        entry.prev_hash = ledger.last_leaf().to_string();
        entry.timestamp = now.to_string();
        entry.event_id = event_id.to_string();
        let bytes = entry.to_bytes().map_err(|error| CollectorError::Unfit(error.to_string()))?;
        let leaf = leaf_hash(&bytes);
        let at =
            self.append(&Record::Entry { origin, event_id, tenant: &tenant, refs, entry: &bytes, part })?;
        self.store.note_entry(at, &entry);
        Ok(Receipt { event_id, seq: entry.seq, leaf_hash: leaf.to_string(), level: "logged".to_owned() })
    }

    fn append(&mut self, record: &Record<'_>) -> Result<Ref, CollectorError> {
        let position = self.wal.append(record.kind(), &[&record.encode()], Claim::Admit)?;
        let at = Ref { file_no: position.file_no, offset: position.offset };
        self.state.apply(record, at).map_err(|misfit| CollectorError::Refused(misfit.0))?;
        Ok(at)
    }
}

/// What a payload part is bound to besides its subject and month.
pub fn part_context(tenant: &str, event_id: Uuid, origin: Origin) -> Vec<u8> {
    let mut context = tenant.as_bytes().to_vec();
    context.push(0);
    context.extend_from_slice(event_id.as_bytes());
    context.extend_from_slice(origin.incarnation.as_bytes());
    context.extend_from_slice(&origin.seq.to_le_bytes());
    context
}

fn seal_part(
    vault: &mut Vault,
    tenant: &str,
    subject: SubjectRef,
    month: u32,
    context: &[u8],
    private: &[u8],
    piece: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let key = vault.data_key(tenant, subject, month)?;
    seal::seal(&key, context, &payload::join(private, piece))
}

fn owner_of(open: &Open) -> (String, SubjectRef) {
    let subject = open.draft.subject_ref.as_deref().and_then(|text| text.parse().ok());
    (open.tenant.clone(), subject.unwrap_or(SubjectRef([0; 16])))
}

fn to_json(meta: &impl serde::Serialize) -> Result<Vec<u8>, CollectorError> {
    serde_json::to_vec(meta).map_err(|error| CollectorError::Sign(error.to_string()))
}

/// Sixteen random bytes, for an identity.
pub(crate) fn random_id() -> Result<[u8; 16], VaultError> {
    random()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
