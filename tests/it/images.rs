//! Images of records and keys, taken at each step of one run: what a crash there would leave.

use crate::common::*;
use indelible_collector::seal::Faults;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Takes images, and keeps them.
#[derive(Clone)]
pub struct Images {
    data: PathBuf,
    keys: PathBuf,
    dir: PathBuf,
    taken: Arc<Mutex<Vec<(&'static str, PathBuf)>>>,
}

impl Images {
    pub fn of(site: &Site) -> Self {
        let (data, keys, dir) = (site.data.clone(), site.keys.clone(), site.dir.path().to_owned());
        Self { data, keys, dir, taken: Arc::default() }
    }

    /// Takes one, and says which it is.
    pub fn take(&self, step: &'static str) -> usize {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let image = self.dir.join(format!("image-{}", taken.len()));
        copy_dir(&self.data, &image.join("data"));
        copy_dir(&self.keys, &image.join("data.keys"));
        taken.push((step, image));
        taken.len() - 1
    }

    /// Takes one at each step that a collector names.
    pub fn faults(&self) -> Faults {
        let images = self.clone();
        Faults::at(move |step| {
            images.take(step);
            Ok(())
        })
    }

    /// Each step, and its image as a place to run the program in.
    pub fn taken(&self) -> Vec<(&'static str, Site)> {
        let site = |(step, image): &(&'static str, PathBuf)| {
            let (data, keys) = (image.join("data"), image.join("data.keys"));
            (*step, Site { dir: tempfile::tempdir().unwrap(), data, keys })
        };
        self.taken.lock().unwrap().iter().map(site).collect()
    }
}
