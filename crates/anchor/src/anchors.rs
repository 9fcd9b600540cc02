//! Anchors: a checkpoint is taken to a place that whoever holds the collector cannot write to again, or is timestamped there.
//!
//! | kind | what goes out | what comes back |
//! |---|---|---|
//! | `rfc3161` | SHA-256 of the note's bytes, to a timestamp authority | a signed time over it; kept in the entry |
//! | `syslog` | the note, over TLS (RFC 5424, RFC 5425) | nothing: whoever keeps that log has it |
//! | `directory` | the note as a file of its own that is never written again | – |
//! | `http` | the note, posted | a status |
//!
//! What is anchored is the newest checkpoint that witnesses cosigned, if it is as new as the newest, and otherwise that one.
//! Each anchor that was taken is an entry of the operations ledger, with the note and what came back: it can be checked
//! later from entries alone.

use crate::http::Caller;
use crate::syslog::Syslog;
use indelible_collector::Collector;
use indelible_collector::Query;
use indelible_collector::proofs::Signed;
use indelible_ledger::Checkpoint;
use indelible_os::clock::{self, Utc};
use indelible_os::{durable, random};
use indelible_record::entry::event_type;
use indelible_verify::directory::OPERATIONS;
use indelible_verify::timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How often it is looked whether an anchor is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// An anchor that failed is tried again after this.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
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
    Directory(PathBuf),
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

/// All anchors of a collector.
pub struct Anchors {
    anchors: Vec<Anchor>,
    /// By anchor and ledger: when it was taken last, and at which size. One at a time is taken.
    last: Mutex<HashMap<(String, String), (Utc, u64)>>,
}

impl Anchors {
    /// Anchors that the configuration names.
    pub fn new(anchors: Vec<Anchor>) -> Self {
        Self { anchors, last: Mutex::default() }
    }

    /// Takes anchors when they are due, until the task is given up.
    pub async fn run(self: Arc<Self>, collector: Arc<Collector>) {
        self.recall(&collector).await;
        let mut failed: HashMap<(String, String), Utc> = HashMap::new();
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for anchor in &self.anchors {
                for (ledger, size) in collector.signed_sizes() {
                    let place = (anchor.name.clone(), ledger.clone());
                    let now = clock::now();
                    let last = self.last.lock().await.get(&place).copied();
                    let due = last.is_none_or(|(at, was)| was < size && since(at, now) >= anchor.interval);
                    let waits = failed.get(&place).is_some_and(|at| since(*at, now) < RETRY_INTERVAL);
                    if !due || waits {
                        continue;
                    }
                    match self.take(&collector, anchor, &ledger).await {
                        Ok(_) => drop(failed.remove(&place)),
                        Err(why) => {
                            tracing::warn!(anchor = anchor.name, ledger, why, "not anchored");
                            failed.insert(place, now);
                        }
                    }
                }
            }
        }
    }

    /// Takes every anchor of every ledger now.
    pub async fn take_all(&self, collector: &Arc<Collector>) -> Vec<Taken> {
        let mut taken = Vec::new();
        for anchor in &self.anchors {
            for (ledger, _) in collector.signed_sizes() {
                let outcome = self.take(collector, anchor, &ledger).await;
                taken.push(Taken { anchor: anchor.name.clone(), ledger, outcome });
            }
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
        let mut last = self.last.lock().await;
        // Oldest first, so that the newest stays.
        for entry in found.iter().rev().map(|one| &one.entry) {
            let detail = entry.detail.as_ref();
            let name = detail.and_then(|detail| detail.get("anchor")?.as_str());
            let size = detail.and_then(|detail| detail.get("size")?.as_u64());
            let ledger = entry.resource.as_ref().map(|ledger| ledger.id.clone());
            if let (Some(name), Some(size), Some(ledger), Ok(at)) =
                (name, size, ledger, entry.timestamp.parse())
            {
                last.insert((name.to_owned(), ledger), (at, size));
            }
        }
    }

    async fn take(&self, collector: &Arc<Collector>, anchor: &Anchor, ledger: &str) -> Result<u64, String> {
        // Held while it is taken: two at once would be two entries of one thing.
        let mut last = self.last.lock().await;
        let signed = newest(collector, ledger)?;
        let note = signed.note.to_string();
        let size = signed.checkpoint.size();
        let mut detail = Map::new();
        if let Some(token) = send(anchor, &signed.checkpoint, &note).await? {
            detail.insert("token".to_owned(), indelible_ledger::base64(&token).into());
        }
        detail.insert("anchor".to_owned(), anchor.name.clone().into());
        detail.insert("checkpoint".to_owned(), note.into());
        detail.insert("size".to_owned(), size.into());
        detail.insert("root".to_owned(), signed.checkpoint.root().to_string().into());
        let recorded = collector.record_anchor(ledger, anchor.place.kind(), detail).await;
        recorded.map_err(|error| format!("it was taken and could not be recorded: {error}"))?;
        last.insert((anchor.name.clone(), ledger.to_owned()), (clock::now(), size));
        Ok(size)
    }
}

/// The newest checkpoint; with cosignatures if witnesses have come as far.
fn newest(collector: &Arc<Collector>, ledger: &str) -> Result<Signed, String> {
    let signed = collector.signed(ledger).map_err(|error| error.to_string())?;
    let witnessed =
        collector.witnessed(ledger).filter(|one| one.checkpoint.size() >= signed.checkpoint.size());
    Ok(witnessed.unwrap_or(signed))
}

/// Takes the note there. Gives what came back, if that shows something.
async fn send(anchor: &Anchor, checkpoint: &Checkpoint, note: &str) -> Result<Option<Vec<u8>>, String> {
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
            if answer.body.len() > TOKEN_MAX_BYTES {
                return Err("its timestamp is too large for an entry".to_owned());
            }
            Ok(Some(answer.body.to_vec()))
        }
        Place::Syslog(syslog) => syslog.send(checkpoint, note).await.map(|()| None),
        Place::Directory(dir) => {
            let path = file_of(dir, checkpoint);
            let bytes = note.as_bytes().to_vec();
            let written = tokio::task::spawn_blocking(move || keep(&path, &bytes)).await;
            written.map_err(|error| error.to_string())?.map(|()| None)
        }
        Place::Http(caller, url) => {
            let answer = caller.post(url, "text/plain; charset=utf-8", note.to_owned()).await?;
            if answer.status.is_success() { Ok(None) } else { Err(format!("it answered {}", answer.status)) }
        }
    }
}

/// `DIR/<SHA-256 of the origin>/<size>.note`.
fn file_of(dir: &Path, checkpoint: &Checkpoint) -> PathBuf {
    let hash = Sha256::digest(checkpoint.origin()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    dir.join(hash).join(format!("{:020}.note", checkpoint.size()))
}

/// Writes a note that was not there. One that is there with the same text stays as it is; another text is an alarm.
fn keep(path: &Path, note: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(dir) = path.parent() {
        durable::make_dir(dir).map_err(failed)?;
    }
    match durable::create(path, note, durable::MODE_SHARED) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let there = std::fs::read(path).map_err(failed)?;
            // Cosignatures may differ, what was signed may not.
            if signed_text(&there) == signed_text(note) {
                Ok(())
            } else {
                Err(format!(
                    "{}: another checkpoint of this size is there: the ledger was forked",
                    path.display()
                ))
            }
        }
        outcome => outcome.map_err(failed),
    }
}

fn signed_text(note: &[u8]) -> Option<String> {
    indelible_ledger::Note::parse(note).ok().map(|note| note.text().to_owned())
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
