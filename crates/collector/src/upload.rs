//! Uploading: segments go to the bucket, and the oldest local copies then may go.
//!
//! One thread beside the sealer. The order is the contract:
//!
//! ```text
//! 1. only a segment whose manifest is an entry under a signed head is uploaded
//! 2. entries, payload and ids, each only if there is no object of its name    a crash: no manifest, no segment
//! 3. the manifest                                                            a crash: found by the next listing
//! 4. every byte is read back from the bucket and hashed
//! 5. once the records are old enough, the local copy leaves its place         a crash: the bucket has it
//! 6. and is removed                                                           a crash: the next start removes it
//! ```
//!
//! What was read back is known to this process alone: another one reads it back again before 5. A bucket that does
//! not answer delays all of this, and nothing else: records are sealed here all the while.

use crate::CollectorError;
use crate::seal::Faults;
use crate::sequencer::random_id;
use crate::store::Store;
use crate::store::local::staging;
use crate::store::remote::Tiered;
use crate::store::remote::bucket::Put;
use crate::store::segment::Segment;
use indelible_os::clock::{self, Utc};
use indelible_os::durable;
use indelible_segment::manifest::MANIFEST;
use indelible_segment::manifest::{ENTRIES, IDS, MANIFEST_MAX_BYTES, PAYLOAD};
use indelible_verify::directory::CachedManifest;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often it is looked whether something is due, and whether the collector stops.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The first wait after a failure; each further one is twice as long.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Uploads segments.
pub(crate) struct Uploader {
    pub(crate) store: Arc<Store>,
    pub(crate) tiered: Arc<Tiered>,
    pub(crate) keep_local: Duration,
    pub(crate) faults: Faults,
    pub(crate) stopping: Arc<AtomicBool>,
}

impl Uploader {
    /// Uploads and lets go what is due until the collector stops.
    pub(crate) fn run(self) {
        let mut retry_at = Instant::now();
        let mut wait = RETRY_MIN;
        while self.go_on().is_ok() {
            if Instant::now() >= retry_at {
                match self.round() {
                    Ok(()) => wait = RETRY_MIN,
                    Err(_) if self.go_on().is_err() => return,
                    Err(error) => {
                        self.tiered.failures.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%error, retry_s = wait.as_secs(), "cannot upload: segments stay on this machine");
                        retry_at = Instant::now() + wait;
                        wait = (wait * 2).min(RETRY_MAX);
                    }
                }
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// One look at all segments. One that fails does not keep the others from their turn.
    fn round(&self) -> Result<(), CollectorError> {
        let mut outcome = Ok(());
        for segment in self.store.view().all_segments() {
            self.go_on()?;
            if let Err(error) = self.take(segment) {
                outcome = Err(error);
            }
        }
        outcome
    }

    fn take(&self, segment: &Segment) -> Result<(), CollectorError> {
        let path = segment.path();
        if !segment.is_signed() || !self.tiered.is_local(path) {
            return Ok(());
        }
        match self.tiered.remote(path) {
            Some(remote) if remote.is_whole() => {
                if remote.manifest_bytes() != self.manifest_bytes(segment)? {
                    return Err(failed(
                        segment,
                        "another segment of this name is in the bucket; nothing there is replaced",
                    ));
                }
            }
            // What is there of it was never whole, or is not any more.
            _ => self.upload(segment)?,
        }
        if self.is_due(segment) {
            self.let_go(segment)?;
        }
        Ok(())
    }

    fn upload(&self, segment: &Segment) -> Result<(), CollectorError> {
        self.faults.point("before the upload")?;
        for (file, step) in [
            (ENTRIES, "after the entries are uploaded"),
            (PAYLOAD, "after the payloads are uploaded"),
            (IDS, "after the ids are uploaded"),
        ] {
            self.upload_file(segment, file)?;
            self.faults.point(step)?;
        }
        let bytes = self.manifest_bytes(segment)?;
        let name = format!("{}/{MANIFEST}", segment.path());
        let bucket = self.tiered.bucket();
        let tag = match self.asked(segment, bucket.put_new(&name, bytes.clone().into()))? {
            Put::Made(tag) => tag,
            Put::Exists => {
                let there = self.asked(segment, bucket.read_whole(&name, MANIFEST_MAX_BYTES as u64))?;
                if there != bytes {
                    return Err(failed(
                        segment,
                        "another segment of this name is in the bucket; nothing there is replaced",
                    ));
                }
                self.asked(segment, bucket.head(&name))?.and_then(|object| object.tag)
            }
        };
        self.faults.point("after the manifest is uploaded")?;
        self.read_back(segment)?;
        self.faults.point("after the bucket is read back")?;
        self.asked(segment, self.tiered.add(segment.path(), CachedManifest { tag, bytes }))?;
        tracing::info!(segment = segment.path(), bytes = segment.bytes(), "uploaded and read back");
        Ok(())
    }

    fn upload_file(&self, segment: &Segment, file: &str) -> Result<(), CollectorError> {
        let name = format!("{}/{file}", segment.path());
        let path = self.tiered.root().join(&name);
        let bucket = self.tiered.bucket();
        let go_on = || self.go_on().map_err(io::Error::other);
        if self.asked(segment, bucket.put_new_file(&name, &path, go_on))? == Put::Exists {
            // Of an upload that did not get further, perhaps by this very request; or somebody else's.
            let there = self.asked(segment, bucket.hash(&name))?;
            if segment.manifest().files.get(file) != Some(&there) {
                tracing::warn!(object = name, "is not the segment's file, and no segment's: replaced");
                self.asked(segment, bucket.replace(&name, &path, go_on))?;
            }
        }
        Ok(())
    }

    /// Holds every byte that the bucket has of a segment against its manifest, and that against the one here.
    fn read_back(&self, segment: &Segment) -> Result<(), CollectorError> {
        let bucket = self.tiered.bucket();
        for (file, facts) in &segment.manifest().files {
            self.go_on()?;
            let name = format!("{}/{file}", segment.path());
            if self.asked(segment, bucket.hash(&name))? != *facts {
                return Err(failed(
                    segment,
                    &format!("{bucket}/{name} reads back differently from what was sealed"),
                ));
            }
        }
        let name = format!("{}/{MANIFEST}", segment.path());
        let manifest = self.asked(segment, bucket.read_whole(&name, MANIFEST_MAX_BYTES as u64))?;
        match manifest == self.manifest_bytes(segment)? {
            true => Ok(()),
            false => Err(failed(segment, &format!("{bucket}/{name} is another manifest"))),
        }
    }

    fn is_due(&self, segment: &Segment) -> bool {
        let newest = segment.manifest().to.parse::<Utc>();
        let age_us = newest.map_or(0, |newest| clock::now().0.saturating_sub(newest.0));
        u128::try_from(age_us).unwrap_or(0) >= self.keep_local.as_micros()
    }

    fn let_go(&self, segment: &Segment) -> Result<(), CollectorError> {
        let Some(remote) = self.tiered.remote(segment.path()) else { return Ok(()) };
        if !remote.read_back.load(Ordering::Relaxed) {
            self.read_back(segment)?;
            remote.read_back.store(true, Ordering::Relaxed);
        }
        // The next start must find the manifest here, not in the bucket.
        self.tiered.set_proven(segment.path(), &remote);
        self.faults.point("before the local copy goes")?;
        // In one step: a segment is here whole, or not at all. Open files read on from the bucket.
        let leaving = staging(self.tiered.root()).join(Uuid::from_bytes(random_id()?).to_string());
        let local = self.tiered.root().join(segment.path());
        let io = |error| CollectorError::io(&local)(error);
        durable::make_dir(&staging(self.tiered.root())).map_err(io)?;
        durable::publish_dir(&local, &leaving).map_err(io)?;
        if let Some(day) = local.parent() {
            durable::sync_dir(day).map_err(io)?;
        }
        self.faults.point("after the local copy left its place")?;
        // What fails here takes room until the next start, and nothing else.
        let _ = durable::remove_dir(&leaving);
        self.faults.point("after the local copy is removed")?;
        Ok(())
    }

    fn manifest_bytes(&self, segment: &Segment) -> Result<Vec<u8>, CollectorError> {
        segment.manifest().to_bytes().map_err(|error| failed(segment, &error.to_string()))
    }

    /// An answer of the bucket.
    fn asked<T>(&self, segment: &Segment, answer: io::Result<T>) -> Result<T, CollectorError> {
        self.tiered.reached.store(answer.is_ok(), Ordering::Relaxed);
        answer.map_err(|error| failed(segment, &error.to_string()))
    }

    fn go_on(&self) -> Result<(), CollectorError> {
        match self.stopping.load(Ordering::Relaxed) {
            true => Err(CollectorError::Stopped("it is stopping".to_owned())),
            false => Ok(()),
        }
    }
}

fn failed(segment: &Segment, what: &str) -> CollectorError {
    CollectorError::Segment { path: segment.path().to_owned(), what: what.to_owned() }
}
