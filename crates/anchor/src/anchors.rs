//! Anchors: a checkpoint is taken to a place that whoever holds the collector cannot write to again, or is timestamped there.
//!
//! | kind | what goes out | what comes back |
//! |---|---|---|
//! | `rfc3161` | SHA-256 of the note's bytes, to a timestamp authority | a signed time over it; kept in the entry |
//! | `syslog` | the note, over TLS (RFC 5424, RFC 5425) | nothing: whoever keeps that log has it |
//! | `directory` | the note as a file of its own that is never written again | – |
//! | `http` | the note, posted | a status; 409 with another note, if it has one |
//!
//! What is anchored is the newest checkpoint that witnesses cosigned, if it is as new as the newest, and otherwise that one.
//! A directory has a note of each size once. One that is there already with another root, signed by the ledger's own key,
//! stops the collector, and so does one that a server answers.
//!
//! Each anchor that was taken is an entry of the operations ledger, with the note and what came back: it can be checked
//! later from entries alone.

use crate::directory::{self, Directory};
use crate::http::Caller;
use crate::shown;
use crate::syslog::Syslog;
use ::http::StatusCode;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use indelible_collector::Collector;
use indelible_collector::Query;
use indelible_collector::claim::Claim;
use indelible_collector::proofs::Signed;
use indelible_ledger::{Checkpoint, KeyHistory};
use indelible_os::clock::{self, Utc};
use indelible_os::random;
use indelible_record::entry::event_type;
use indelible_verify::directory::OPERATIONS;
use indelible_verify::timestamp;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How often it is looked whether an anchor is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// An anchor that failed is tried again after this.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// Taking all of them at once begins with none after this.
const ALL_TIMEOUT: Duration = Duration::from_secs(60);
const MICROSECONDS: i64 = 1_000_000;
/// Entries of anchors that are looked through for those taken last.
const KNOWN_MAX: usize = 1000;
/// The largest timestamp that fits into an entry beside the note.
const TOKEN_MAX_BYTES: usize = 24 << 10;

/// A place outside.
pub struct Anchor {
    /// What entries call it.
    pub name: String,
    /// Where and how.
    pub place: Place,
    /// How often each ledger is anchored there, if it grew.
    pub interval: Duration,
}

/// Where an anchor is.
pub enum Place {
    /// A timestamp authority, by HTTP (RFC 3161 §3.4).
    Rfc3161(Caller, String),
    /// A syslog server, by TLS.
    Syslog(Syslog),
    /// A directory, best on another machine.
    Directory(Directory),
    /// A server that takes notes.
    Http(Caller, String),
}

impl Place {
    /// The word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rfc3161(..) => "rfc3161",
            Self::Syslog(_) => "syslog",
            Self::Directory(_) => "directory",
            Self::Http(..) => "http",
        }
    }
}

/// An anchor that was taken, or why it was not.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Which anchor.
    pub anchor: String,
    /// Which ledger.
    pub ledger: String,
    /// Size of the checkpoint; or what went wrong.
    pub outcome: Result<u64, String>,
}

/// All anchors of a collector. Each is taken by itself: one that hangs holds up no other.
pub struct Anchors {
    anchors: Vec<Arc<Kept>>,
}

/// An anchor, and what was taken of it last.
struct Kept {
    anchor: Anchor,
    /// By ledger: when it was taken last, and at which size. One at a time is taken.
    last: Mutex<HashMap<String, (Utc, u64)>>,
}

impl Anchors {
    /// Anchors that the configuration names.
    pub fn new(anchors: Vec<Anchor>) -> Self {
        let kept = anchors.into_iter().map(|anchor| Arc::new(Kept { anchor, last: Mutex::default() }));
        Self { anchors: kept.collect() }
    }

    /// Before a collector starts: the newest checkpoint of each ledger, by tenant, that a directory has and the ledger's keys signed.
    /// A directory that does not answer is passed over.
    pub async fn claims(&self, ledgers: &[(String, KeyHistory)]) -> Vec<Claim> {
        let asked = self.anchors.iter().map(|kept| async move {
            let anchor = &kept.anchor;
            let Place::Directory(directory) = &anchor.place else { return Vec::new() };
            let newest = match directory.newest(ledgers.iter().map(|(_, keys)| keys.clone()).collect()).await
            {
                Ok(newest) => newest,
                Err(why) => {
                    tracing::warn!(anchor = anchor.name, why, "nothing is known of what it has");
                    return Vec::new();
                }
            };
            let shown = ledgers.iter().zip(newest).filter_map(|((tenant, _), checkpoint)| {
                let who = format!("anchor {}", anchor.name);
                Some(Claim { tenant: tenant.clone(), who, checkpoint: checkpoint? })
            });
            shown.collect()
        });
        let asked: FuturesUnordered<_> = asked.collect();
        asked.collect::<Vec<Vec<Claim>>>().await.concat()
    }

    /// Takes anchors when they are due, until the task is given up.
    pub async fn run(self: Arc<Self>, collector: Arc<Collector>) {
        self.recall(&collector).await;
        // Given up with this one.
        let mut running = JoinSet::new();
        for kept in &self.anchors {
            running.spawn(kept.clone().run(collector.clone()));
        }
        while running.join_next().await.is_some() {}
    }

    /// Takes every anchor of every ledger now, as far as that comes within [`ALL_TIMEOUT`].
    pub async fn take_all(&self, collector: &Arc<Collector>) -> Vec<Taken> {
        let by = Instant::now() + ALL_TIMEOUT;
        let mut running: Vec<_> = self
            .anchors
            .iter()
            .map(|kept| AbortOnDrop(tokio::spawn(kept.clone().take_ledgers(collector.clone(), by))))
            .collect();
        let mut taken = Vec::new();
        for one in &mut running {
            // One that panicked was taken of nothing.
            taken.extend((&mut one.0).await.unwrap_or_default());
        }
        taken
    }

    /// What was taken before this process began.
    async fn recall(&self, collector: &Arc<Collector>) {
        let query = Query {
            tenant: Some(OPERATIONS.to_owned()),
            event_type: Some(event_type::ANCHOR.to_owned()),
            ..Query::default()
        };
        let reading = collector.clone();
        let found = tokio::task::spawn_blocking(move || reading.list(&query, KNOWN_MAX)).await;
        let Ok(Ok(found)) = found else { return };
        // Oldest first, so that the newest stays.
        for entry in found.iter().rev().map(|one| &one.entry) {
            let detail = entry.detail.as_ref();
            let name = detail.and_then(|detail| detail.get("anchor")?.as_str());
            let size = detail.and_then(|detail| detail.get("size")?.as_u64());
            let ledger = entry.resource.as_ref().map(|ledger| ledger.id.clone());
            if let (Some(name), Some(size), Some(ledger), Ok(at)) =
                (name, size, ledger, entry.timestamp.parse())
            {
                for kept in self.anchors.iter().filter(|kept| kept.anchor.name == name) {
                    kept.last.lock().await.insert(ledger.clone(), (at, size));
                }
            }
        }
    }
}

impl Kept {
    async fn run(self: Arc<Self>, collector: Arc<Collector>) {
        let anchor = &self.anchor;
        let mut failed: HashMap<String, Utc> = HashMap::new();
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for (ledger, size) in collector.signed_sizes() {
                let now = clock::now();
                let mut last = self.last.lock().await;
                let due = last
                    .get(&ledger)
                    .is_none_or(|(at, was)| *was < size && since(*at, now) >= anchor.interval);
                let waits = failed.get(&ledger).is_some_and(|at| since(*at, now) < RETRY_INTERVAL);
                if !due || waits {
                    continue;
                }
                match take(&collector, anchor, &ledger, &mut last).await {
                    Ok(_) => drop(failed.remove(&ledger)),
                    Err(why) => {
                        tracing::warn!(anchor = anchor.name, ledger, why, "not anchored");
                        failed.insert(ledger, now);
                    }
                }
            }
        }
    }

    /// Takes it of every ledger now. None is begun after `by`.
    async fn take_ledgers(self: Arc<Self>, collector: Arc<Collector>, by: Instant) -> Vec<Taken> {
        let mut taken = Vec::new();
        for (ledger, _) in collector.signed_sizes() {
            let outcome = match tokio::time::timeout_at(by, self.last.lock()).await {
                Ok(mut last) if Instant::now() < by => {
                    take(&collector, &self.anchor, &ledger, &mut last).await
                }
                _ => Err("there was no time for it: those before it took too long".to_owned()),
            };
            taken.push(Taken { anchor: self.anchor.name.clone(), ledger, outcome });
        }
        taken
    }
}

/// Takes an anchor of one ledger. Who has `last` is the only one: two at once would be two entries of one thing.
async fn take(
    collector: &Arc<Collector>,
    anchor: &Anchor,
    ledger: &str,
    last: &mut HashMap<String, (Utc, u64)>,
) -> Result<u64, String> {
    let signed = newest(collector, ledger)?;
    let note = signed.note.to_string();
    let size = signed.checkpoint.size();
    let mut detail = Map::new();
    match send(anchor, &signed.checkpoint, &note).await? {
        Sent::Taken(token) => {
            let token = token.map(|token| indelible_ledger::base64(&token).into());
            detail.extend(token.map(|token| ("token".to_owned(), token)));
        }
        Sent::Shown(bytes, why) => return Err(hold_against(collector, anchor, ledger, &bytes, why).await),
    }
    detail.insert("anchor".to_owned(), anchor.name.clone().into());
    detail.insert("checkpoint".to_owned(), note.into());
    detail.insert("size".to_owned(), size.into());
    detail.insert("root".to_owned(), signed.checkpoint.root().to_string().into());
    let recorded = collector.record_anchor(ledger, anchor.place.kind(), detail).await;
    recorded.map_err(|error| format!("it was taken and could not be recorded: {error}"))?;
    last.insert(ledger.to_owned(), (clock::now(), size));
    Ok(size)
}

/// What a place shows in answer. If this ledger's own key signed it and it is not in the ledger, an old copy was restored
/// or the ledger was forked, and the collector sequences no more; a mere claim stops nothing. Gives the words on it.
async fn hold_against(
    collector: &Arc<Collector>,
    anchor: &Anchor,
    ledger: &str,
    bytes: &[u8],
    why: String,
) -> String {
    let keys = match collector.ledger_keys(ledger) {
        Ok(Some(keys)) => keys,
        Ok(None) => return why,
        Err(error) => return format!("{why}: {error}"),
    };
    let Ok(shown) = keys.open(bytes) else {
        return format!("{why}, which this ledger's key did not sign");
    };
    let claim =
        Claim { tenant: ledger.to_owned(), who: format!("anchor {}", anchor.name), checkpoint: shown };
    match shown::against(collector, &claim).await {
        Ok(Some(shown)) => {
            collector.refuse(&shown).await;
            shown
        }
        Ok(None) => why,
        Err(error) => format!("{why}: {error}"),
    }
}

/// The newest checkpoint; with cosignatures if witnesses have come as far.
fn newest(collector: &Arc<Collector>, ledger: &str) -> Result<Signed, String> {
    let signed = collector.signed(ledger).map_err(|error| error.to_string())?;
    let witnessed =
        collector.witnessed(ledger).filter(|one| one.checkpoint.size() >= signed.checkpoint.size());
    Ok(witnessed.unwrap_or(signed))
}

/// What came of sending.
enum Sent {
    /// It was taken; what came back, if that shows something.
    Taken(Option<Vec<u8>>),
    /// It was not: another note is there already. Its bytes, and words.
    Shown(Vec<u8>, String),
}

/// Takes the note there.
async fn send(anchor: &Anchor, checkpoint: &Checkpoint, note: &str) -> Result<Sent, String> {
    match &anchor.place {
        Place::Rfc3161(caller, url) => {
            let nonce = random::bytes::<8>().map_err(|error| error.to_string())?;
            let request = timestamp::request(note.as_bytes(), nonce);
            let answer = caller.post(url, "application/timestamp-query", request).await?;
            if !answer.status.is_success() {
                return Err(format!("it answered {}", answer.status));
            }
            timestamp::time_over(&answer.body, note.as_bytes())?;
            if !timestamp::answers(&answer.body, nonce)? {
                return Err("it answered another request".to_owned());
            }
            if !timestamp::names_signer(&answer.body)? {
                return Err("nobody signed its timestamp".to_owned());
            }
            if answer.body.len() > TOKEN_MAX_BYTES {
                return Err("its timestamp is too large for an entry".to_owned());
            }
            Ok(Sent::Taken(Some(answer.body.to_vec())))
        }
        Place::Syslog(syslog) => syslog.send(checkpoint, note).await.map(|()| Sent::Taken(None)),
        Place::Directory(directory) => Ok(match directory.keep(checkpoint, note).await? {
            directory::Kept::Here => Sent::Taken(None),
            directory::Kept::Other { path, bytes } => {
                Sent::Shown(bytes, format!("{}: another checkpoint of this size is there", path.display()))
            }
        }),
        Place::Http(caller, url) => {
            let answer = caller.post(url, "text/plain; charset=utf-8", note.to_owned()).await?;
            match answer.status {
                status if status.is_success() => Ok(Sent::Taken(None)),
                StatusCode::CONFLICT => {
                    Ok(Sent::Shown(answer.body.to_vec(), "it answered with another checkpoint".to_owned()))
                }
                status => Err(format!("it answered {status}")),
            }
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn since(at: Utc, now: Utc) -> Duration {
    // A clock that was set back makes nothing due earlier.
    Duration::from_secs(u64::try_from((now.0 - at.0) / MICROSECONDS).unwrap_or(0))
}

/// An anchor that has a timestamp, as its entry has it.
#[derive(Clone, Debug)]
pub struct Stamped {
    /// The checkpoint.
    pub note: String,
    /// The authority's response.
    pub token: Vec<u8>,
}

/// What an entry of an anchor has of a timestamp.
pub fn stamped(detail: &Map<String, Value>) -> Option<Stamped> {
    let text = |name: &str| detail.get(name).and_then(Value::as_str);
    let token = indelible_ledger::from_base64(text("token")?)?;
    Some(Stamped { note: text("checkpoint")?.to_owned(), token })
}
