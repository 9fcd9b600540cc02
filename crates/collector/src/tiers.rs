//! Where a collector's segments lie: on this machine, and in a bucket where one is configured.

use crate::data_dir::DataDir;
use crate::store::Storage;
use crate::store::local::LocalStorage;
use crate::store::location::Location;
use crate::{CollectorError, Config};
use std::sync::Arc;

#[cfg(feature = "s3")]
pub(crate) use with_bucket::Tiers;
#[cfg(not(feature = "s3"))]
pub(crate) use without_bucket::Tiers;

fn local(dir: &DataDir) -> Result<LocalStorage, CollectorError> {
    LocalStorage::open_or_create(&dir.segments()).map_err(CollectorError::io(&dir.segments()))
}

#[cfg(feature = "s3")]
mod with_bucket {
    use super::{Arc, CollectorError, Config, DataDir, Location, Storage, local};
    use crate::store::Store;
    use crate::store::remote::{Tiered, prove};
    use crate::upload::Uploader;
    use indelible_vault::Vault;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Mutex, PoisonError};
    use std::thread::JoinHandle;

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
    use super::{Arc, CollectorError, Config, DataDir, Location, Storage, local};
    use crate::store::Store;
    use indelible_vault::Vault;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    pub(crate) struct Tiers {
        pub(crate) storage: Arc<dyn Storage>,
    }

    impl Tiers {
        pub(crate) fn open(dir: &DataDir, bucket: Option<&Location>) -> Result<Self, CollectorError> {
            if let Some(bucket) = bucket {
                let what = "this program was built without the feature s3".to_owned();
                return Err(CollectorError::Format { path: bucket.to_string().into(), what });
            }
            Ok(Self { storage: Arc::new(local(dir)?) })
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
