//! A successor: ledgers that go on where others were lost.
//!
//! A collector whose key signed more than its records have signs nothing any more. What is left of it stays as it is, as
//! evidence; beside it a new data directory and a new key directory are made, whose ledgers have new origins and new keys.
//! The first entry of each states which ledger went before and how far that one is known to have come.
//!
//! | of the old key directory | in the new one |
//! |---|---|
//! | `master.key`, `spool/`, `tls/`, all that is not named below | copied: sources go on with what they have |
//! | `ledgers/` | made anew: no key signs two histories |
//! | `head`, `vault.slots` | made anew: later payloads have keys of their own |
//! | `predecessors` | one longer: whose acknowledgements are known |
//!
//! Of the old data directory `spool/` is copied, where a gateway of the same process has what it did not ship yet.
//!
//! Both are made under other names and renamed at the end, keys first: what a crash leaves is no directory that a collector
//! starts on, and the next run makes it again or, behind the first rename, ends it.

mod known;
mod stage;

use crate::seal::Faults;
use crate::store::View;
use crate::{Collector, CollectorError, Config};
use indelible_ledger::{Checkpoint, Ed25519Signer, Hash, Note, Signer, Succession, VerifierKey};
use indelible_os::lock::DirLock;
use indelible_vault::{KeyStore, VaultError};
use indelible_verify::directory::OPERATIONS;
use known::{Known, Ledger};
use stage::Stage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The old data directory.
    pub data: PathBuf,
    /// Whether nothing is left of it.
    pub data_lost: bool,
    /// The old key directory.
    pub keys: PathBuf,
    /// The new data directory, which is not there yet.
    pub to: PathBuf,
    /// The new key directory, which is not there yet.
    pub to_keys: PathBuf,
    /// Files with signed checkpoints of the old ledgers.
    pub after: Vec<PathBuf>,
    /// Tenants of ledgers of which nothing is known.
    pub unknown: Vec<String>,
    /// Whether the old keys shall sign nothing any more.
    pub old_keys_compromised: bool,
    /// For tests alone.
    pub faults: Faults,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The new ledgers, by tenant.
    pub ledgers: Vec<Founded>,
    /// What of the old directories could not be read or counts as nothing.
    pub remarks: Vec<String>,
    /// Whether an attempt before had made it, and the last step alone was done now: then nothing is said of ledgers.
    pub finished: bool,
}

/// One new ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founded {
    /// Whose it is.
    pub tenant: String,
    /// Its key; the name is its origin.
    pub key: VerifierKey,
    /// Origin of the ledger before.
    pub before: String,
    /// How many entries of that one are known to have existed.
    pub size: u64,
    /// Where that is known from; `None`: nothing is known.
    pub known_from: Option<Place>,
    /// Whether the old key signed the statement, too; else why not.
    pub by_old: Result<(), String>,
}

/// Where a checkpoint was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It was named.
    Given(PathBuf),
    /// In the old directories.
    Found(PathBuf),
}

impl Place {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Given(path) | Self::Found(path) => path,
        }
    }
}

/// A ledger that a new one goes on from.
#[derive(Clone, Debug)]
pub struct Predecessor {
    /// Its origin.
    pub origin: String,
    /// How many entries of it are known to have existed.
    pub size: u64,
    /// Its root at that size.
    pub root: Hash,
    /// Its key, where that may sign.
    pub signer: Option<Arc<Ed25519Signer>>,
}

impl Predecessor {
    /// The statement that `new` goes on from it, signed by both keys, or by the new one.
    pub(crate) fn state(&self, new: &Ed25519Signer) -> Result<String, CollectorError> {
        let statement = Succession {
            origin: self.origin.clone(),
            size: self.size,
            root: self.root,
            new: new.verifier_key().clone(),
        };
        let old = self.signer.as_deref().map(|signer| signer as &dyn Signer);
        statement.sign(old, new).map_err(|error| CollectorError::Sign(error.to_string()))
    }
}

/// Why no successor was made. Nothing of the old directories was changed.
#[derive(Debug, thiserror::Error)]
pub enum SuccessorError {
    /// A file that was named is no checkpoint of one of the old ledgers.
    #[error("{}: {what}", path.display())]
    Checkpoint {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A named checkpoint would deny what is known to have been signed.
    #[error("{}: {given} entries of ledger {tenant}, but {known} are known to have been signed: {}", path.display(), known_from.display())]
    Smaller {
        /// The file that was named.
        path: PathBuf,
        /// Whose ledger.
        tenant: String,
        /// Its size there.
        given: u64,
        /// Its size elsewhere.
        known: u64,
        /// Where that is known from.
        known_from: PathBuf,
    },
    /// The old key signed two histories.
    #[error("ledger {tenant}: two histories of {size} entries were signed: {} and {}", one.display(), other.display())]
    Forked {
        /// Whose ledger.
        tenant: String,
        /// The size that has two roots.
        size: u64,
        /// Where one was found.
        one: PathBuf,
        /// Where the other was.
        other: PathBuf,
    },
    /// There is no checkpoint of some ledgers.
    #[error("nothing is known of the ledgers of {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// There are records of some ledgers, and no key that says which ledgers they are.
    #[error("the key directory has no key of the ledgers of {}, of which there are records", .0.join(", "))]
    Keyless(Vec<String>),
    /// Something is known of a ledger that was said to be unknown, or there is no such ledger.
    #[error("{0}")]
    NotUnknown(String),
    /// The new directories cannot be made there.
    #[error("{}: {what}", path.display())]
    Target {
        /// Which directory.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// Anything else.
    #[error(transparent)]
    Collector(#[from] CollectorError),
}

impl From<VaultError> for SuccessorError {
    fn from(error: VaultError) -> Self {
        Self::Collector(error.into())
    }
}

/// Makes a successor. No server may run on the old directory.
pub fn make(plan: &Plan) -> Result<Made, SuccessorError> {
    // A name that was mistyped must not make a successor of ledgers that are alive.
    if plan.data.is_dir() == plan.data_lost {
        let what = if plan.data_lost { "it is there" } else { "there is no such directory" };
        return Err(SuccessorError::Target { path: plan.data.clone(), what: what.to_owned() });
    }
    let _held = hold(&plan.data)?;
    let _spool = hold(&plan.data.join("spool"))?;
    let stage = Stage::new(plan)?;
    if stage.finish()? {
        return Ok(Made { ledgers: Vec::new(), remarks: Vec::new(), finished: true });
    }
    let mut known = Known::read(&plan.data, &plan.keys)?;
    for path in &plan.after {
        take_given(&mut known, path, plan.old_keys_compromised)?;
    }
    if let Some(forked) = known.ledgers.values_mut().find_map(|ledger| ledger.forked.take()) {
        return Err(forked);
    }
    check_unknown(&known, &plan.unknown)?;
    let old = KeyStore::open(&plan.keys)?;
    let mut predecessors = BTreeMap::new();
    let mut founded = Vec::new();
    for (tenant, ledger) in &known.ledgers {
        let by_old = old_signer(&old, tenant, ledger, plan.old_keys_compromised);
        let (checkpoint, known_from) = match &ledger.newest {
            Some((checkpoint, place)) => ((checkpoint.size(), checkpoint.root()), Some(place.clone())),
            None => ((0, Hash::EMPTY_ROOT), None),
        };
        let origin = ledger.keys.origin().to_owned();
        let (by_old, signer) = match by_old {
            Ok(signer) => (Ok(()), Some(Arc::new(signer))),
            Err(why) => (Err(why), None),
        };
        let (size, root) = checkpoint;
        founded.push((tenant.clone(), origin.clone(), size, known_from, by_old));
        predecessors.insert(tenant.clone(), Predecessor { origin, size, root, signer });
    }
    stage.begin(&known)?;
    plan.faults.point("after the keys are copied")?;
    let mut config = Config::new(&stage.data);
    config.keys.clone_from(&stage.keys);
    config.tenants = known.ledgers.keys().filter(|tenant| *tenant != OPERATIONS).cloned().collect();
    config.predecessors = predecessors;
    config.seals_by_itself = false;
    Collector::start(config)?.stop()?;
    plan.faults.point("after the ledgers are begun")?;
    let keys: BTreeMap<_, _> = KeyStore::verifier_keys(&stage.keys)?.into_iter().collect();
    stage.publish(&plan.faults)?;
    let with_key = |(tenant, before, size, known_from, by_old): (String, _, _, _, _)| {
        let key = keys.get(&tenant)?.clone();
        Some(Founded { tenant, key, before, size, known_from, by_old })
    };
    let ledgers = founded.into_iter().filter_map(with_key).collect();
    Ok(Made { ledgers, remarks: known.remarks, finished: false })
}

/// Segments are of the ledgers here: a successor that looks where its predecessor has them finds others.
pub(crate) fn check_own(view: &View, keys: &KeyStore) -> Result<(), CollectorError> {
    let origins: BTreeMap<_, _> = KeyStore::verifier_keys(keys.dir())?.into_iter().collect();
    let strange = view.all_segments().find(|segment| {
        let own = origins.get(&segment.manifest().tenant);
        own.is_some_and(|own| own.name() != segment.manifest().origin)
    });
    match strange {
        None => Ok(()),
        Some(segment) => Err(CollectorError::Refused(format!(
            "segment {} is of another ledger, {}: each collector needs a place of its own for segments, a successor too",
            segment.path(),
            segment.manifest().origin
        ))),
    }
}

/// Holds a directory that there is.
fn hold(path: &Path) -> Result<Option<DirLock>, SuccessorError> {
    if !path.is_dir() {
        return Ok(None);
    }
    let lock = DirLock::try_acquire(path).map_err(CollectorError::io(path))?;
    lock.map(Some).ok_or_else(|| CollectorError::Held(path.to_owned()).into())
}

/// Takes a checkpoint that was named: signed by a key of an old ledger, and denying nothing that is known.
fn take_given(known: &mut Known, path: &Path, old_keys_compromised: bool) -> Result<(), SuccessorError> {
    let wrong = |what: String| SuccessorError::Checkpoint { path: path.to_owned(), what };
    let bytes = known::read_note(path).map_err(CollectorError::io(path))?;
    let note = Note::parse(&bytes).map_err(|error| wrong(format!("not a signed checkpoint: {error}")))?;
    let claimed = Checkpoint::parse_body(note.text())
        .map_err(|error| wrong(format!("not a signed checkpoint: {error}")))?;
    let origin = claimed.origin();
    let found = known.ledgers.iter_mut().find(|(_, ledger)| ledger.keys.origin() == origin);
    let (tenant, ledger) =
        found.ok_or_else(|| wrong(format!("of {origin}, which is no ledger of this key directory")))?;
    let given = ledger
        .keys
        .open(&bytes)
        .map_err(|error| wrong(format!("not signed by the key of ledger {tenant}: {error}")))?;
    match &ledger.newest {
        Some((newest, place)) if newest.size() > given.size() => {
            // Of two that are named the larger one counts.
            if let Place::Given(_) = place {
                return Ok(());
            }
            return Err(SuccessorError::Smaller {
                path: path.to_owned(),
                tenant: tenant.clone(),
                given: given.size(),
                known: newest.size(),
                known_from: place.path().to_owned(),
            });
        }
        // Whose key is stolen says which of two is theirs.
        Some((newest, place))
            if newest.size() == given.size()
                && newest.root() != given.root()
                && (!old_keys_compromised || matches!(place, Place::Given(_))) =>
        {
            return Err(SuccessorError::Forked {
                tenant: tenant.clone(),
                size: given.size(),
                one: place.path().to_owned(),
                other: path.to_owned(),
            });
        }
        _ => {}
    }
    ledger.newest = Some((given, Place::Given(path.to_owned())));
    if old_keys_compromised {
        ledger.forked = None;
    }
    Ok(())
}

/// Nothing is known of exactly the ledgers of which that is said.
fn check_unknown(known: &Known, said: &[String]) -> Result<(), SuccessorError> {
    for tenant in said {
        match known.ledgers.get(tenant).map(|ledger| &ledger.newest) {
            Some(None) => {}
            Some(Some((checkpoint, place))) => {
                return Err(SuccessorError::NotUnknown(format!(
                    "{} entries of ledger {tenant} are known to have been signed: {}",
                    checkpoint.size(),
                    place.path().display()
                )));
            }
            None if known.keyless.contains(tenant) => {}
            None => {
                return Err(SuccessorError::NotUnknown(format!("there is no ledger of tenant {tenant:?}")));
            }
        }
    }
    let unknown = known.ledgers.iter().filter(|(_, ledger)| ledger.newest.is_none());
    let unsaid: Vec<_> =
        unknown.map(|(tenant, _)| tenant).filter(|tenant| !said.contains(tenant)).cloned().collect();
    let keyless: Vec<_> = known.keyless.iter().filter(|tenant| !said.contains(tenant)).cloned().collect();
    match (unsaid.is_empty(), keyless.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(SuccessorError::Keyless(keyless)),
        (false, _) => Err(SuccessorError::Unknown(unsaid)),
    }
}

/// The old key of a ledger, or why it does not sign.
fn old_signer(
    old: &KeyStore,
    tenant: &str,
    ledger: &Ledger,
    compromised: bool,
) -> Result<Ed25519Signer, String> {
    if compromised {
        return Err("it is said to be compromised".to_owned());
    }
    let signer = old.signer(tenant, ledger.keys.origin(), false).map_err(|error| error.to_string())?;
    match signer.verifier_key() == ledger.keys.newest() {
        true => Ok(signer),
        false => Err("the seed in the key directory is not that of the ledger's newest key".to_owned()),
    }
}
