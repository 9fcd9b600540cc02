//! Manifests of the bucket's segments, kept on this machine so that a start need not fetch each again.
//!
//! One that is not whole, or that belongs to another object than the listing shows, counts as absent.

use indelible_os::durable::{self, MODE_SHARED};
use indelible_verify::directory::{CachedManifest, manifests_dir};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) struct Manifests {
    root: PathBuf,
}

impl Manifests {
    pub(super) fn open(data: &Path) -> (Self, BTreeMap<String, CachedManifest>) {
        (Self { root: manifests_dir(data) }, CachedManifest::read_all(data).into_iter().collect())
    }

    /// Keeps a manifest. Without it the next start fetches it again.
    pub(super) fn keep(&self, segment: &str, cached: &CachedManifest) {
        let path = self.root.join(segment);
        let made = path.parent().map_or(Ok(()), durable::make_dir);
        if let Err(error) = made.and_then(|()| durable::replace(&path, &cached.to_bytes(), MODE_SHARED)) {
            tracing::warn!(path = %path.display(), %error, "a manifest cannot be cached");
        }
    }

    /// Forgets what the bucket does not have any more.
    pub(super) fn forget(&self, segment: &str) {
        let _ = std::fs::remove_file(self.root.join(segment));
    }
}
