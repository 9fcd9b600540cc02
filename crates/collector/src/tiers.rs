//! Where a collector's segments lie: on this machine, and in a bucket where one is configured.

use crate::data_dir::DataDir;
use crate::store::Storage;
use crate::store::local::LocalStorage;
use crate::store::location::Location;
use crate::{CollectorError, Config};
use indelible_verify::directory::CachedManifest;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "s3")]
pub(crate) use with_bucket::{Tiers, reading};
#[cfg(not(feature = "s3"))]
pub(crate) use without_bucket::{Tiers, reading};

fn local(dir: &DataDir) -> Result<LocalStorage, CollectorError> {
    LocalStorage::open_or_create(&dir.segments()).map_err(CollectorError::io(&dir.segments()))
}

/// Segments that are missed were in a bucket once, and none is configured.
fn no_bucket(dir: &Path, error: CollectorError) -> CollectorError {
    match error {
        CollectorError::Refused(what) if !CachedManifest::read_all(dir).is_empty() => {
            let why = "segments were moved to a bucket: name it in the configuration, collector.store_url";
            CollectorError::Refused(format!("{what}; {why}"))
        }
        error => error,
    }
}

#[cfg(feature = "s3")]
mod with_bucket {
    use super::{
        Arc, CollectorError, Config, DataDir, LocalStorage, Location, Path, Storage, local, no_bucket,
    };
    use crate::store::Store;
    use crate::store::remote::{Auditing, Bucket, Reading, Tiered, prove};
    use crate::upload::Uploader;
    use indelible_vault::Vault;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};
    use std::thread::JoinHandle;

    /// Segments for a reader that takes no lock and keeps nothing.
    pub(crate) fn reading(
        root: &Path,
        bucket: Option<&Location>,
    ) -> Result<Arc<dyn Storage>, CollectorError> {
        let local = LocalStorage::existing(root);
        let Some(bucket) = bucket else { return Ok(Arc::new(local)) };
        let opened = Bucket::open(bucket)
            .map_err(|source| CollectorError::Io { path: bucket.to_string().into(), source })?;
        Ok(Arc::new(Reading::new(local, Auditing::new(opened))))
    }

    pub(crate) struct Tiers {
        pub(crate) storage: Arc<dyn Storage>,
        pub(crate) tiered: Option<Arc<Tiered>>,
        uploader: Mutex<Option<JoinHandle<()>>>,
    }

    impl Tiers {
        pub(crate) fn open(dir: &DataDir, bucket: Option<&Location>) -> Result<Self, CollectorError> {
            let local = local(dir)?;
            let Some(bucket) = bucket else {
                return Ok(Self { storage: Arc::new(local), tiered: None, uploader: Mutex::default() });
            };
            let tiered = Tiered::open(dir.path(), local, bucket)
                .map_err(|source| CollectorError::Io { path: bucket.to_string().into(), source })?;
            let tiered = Arc::new(tiered);
            Ok(Self { storage: tiered.clone(), tiered: Some(tiered), uploader: Mutex::default() })
        }

        /// Why segments may be missed: the bucket did not answer.
        pub(crate) fn explain(&self, dir: &Path, error: CollectorError) -> CollectorError {
            match (error, &self.tiered) {
                (CollectorError::Refused(what), Some(tiered)) if !tiered.reached.load(Ordering::Relaxed) => {
                    let bucket = tiered.bucket();
                    CollectorError::Refused(format!("{what}; {bucket} does not answer, and may have it"))
                }
                (error, Some(_)) => error,
                (error, None) => no_bucket(dir, error),
            }
        }

        /// Holds what came from the bucket against the ledger.
        pub(crate) fn prove(&self, store: &Store, vault: &Mutex<Vault>) -> Result<(), CollectorError> {
            self.tiered.as_ref().map_or(Ok(()), |tiered| prove(tiered, &store.view(), vault))
        }

        /// Begins to upload.
        pub(crate) fn start(
            &mut self,
            config: &Config,
            store: &Arc<Store>,
            stopping: &Arc<AtomicBool>,
        ) -> Result<(), CollectorError> {
            let (Some(tiered), Some(bucket)) = (&self.tiered, &config.bucket) else { return Ok(()) };
            let uploader = Uploader {
                store: store.clone(),
                tiered: tiered.clone(),
                keep_local: bucket.keep_local,
                faults: config.faults.clone(),
                stopping: stopping.clone(),
            };
            let thread = std::thread::Builder::new()
                .name("uploader".to_owned())
                .spawn(move || uploader.run())
                .map_err(CollectorError::io(&config.data))?;
            self.uploader = Mutex::new(Some(thread));
            Ok(())
        }

        pub(crate) fn stop(&self) -> Result<(), CollectorError> {
            let thread = self.uploader.lock().unwrap_or_else(PoisonError::into_inner).take();
            let ended = thread.map(JoinHandle::join).transpose();
            ended.map(drop).map_err(|_| CollectorError::Stopped("the uploader panicked".to_owned()))
        }
    }
}

#[cfg(not(feature = "s3"))]
mod without_bucket {
    use super::{
        Arc, CollectorError, Config, DataDir, LocalStorage, Location, Path, Storage, local, no_bucket,
    };
    use crate::store::Store;
    use indelible_vault::Vault;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    pub(crate) fn reading(
        root: &Path,
        bucket: Option<&Location>,
    ) -> Result<Arc<dyn Storage>, CollectorError> {
        match bucket {
            Some(bucket) => Err(not_built(bucket)),
            None => Ok(Arc::new(LocalStorage::existing(root))),
        }
    }

    fn not_built(bucket: &Location) -> CollectorError {
        let what = "this program was built without the feature s3".to_owned();
        CollectorError::Format { path: bucket.to_string().into(), what }
    }

    pub(crate) struct Tiers {
        pub(crate) storage: Arc<dyn Storage>,
    }

    impl Tiers {
        pub(crate) fn open(dir: &DataDir, bucket: Option<&Location>) -> Result<Self, CollectorError> {
            match bucket {
                Some(bucket) => Err(not_built(bucket)),
                None => Ok(Self { storage: Arc::new(local(dir)?) }),
            }
        }

        pub(crate) fn explain(&self, dir: &Path, error: CollectorError) -> CollectorError {
            no_bucket(dir, error)
        }

        pub(crate) fn prove(&self, _: &Store, _: &Mutex<Vault>) -> Result<(), CollectorError> {
            Ok(())
        }

        pub(crate) fn start(
            &mut self,
            _: &Config,
            _: &Arc<Store>,
            _: &Arc<AtomicBool>,
        ) -> Result<(), CollectorError> {
            Ok(())
        }

        pub(crate) fn stop(&self) -> Result<(), CollectorError> {
            Ok(())
        }
    }
}
