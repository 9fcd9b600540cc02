//! Images of records and keys, taken at each step of one run: what a crash there would leave, of the program or of the
//! machine.

use crate::common::*;
use crate::power::Disk;
use indelible_collector::seal::Faults;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Takes images, and keeps them.
#[derive(Clone)]
pub struct Images {
    data: PathBuf,
    keys: PathBuf,
    dir: PathBuf,
    /// Those of records and keys, when the machine crashes.
    disks: Option<[Arc<Disk>; 2]>,
    taken: Arc<Mutex<Vec<(&'static str, PathBuf)>>>,
}

impl Images {
    pub fn of(site: &Site) -> Self {
        let (data, keys, dir) = (site.data.clone(), site.keys.clone(), site.dir.path().to_owned());
        Self { data, keys, dir, disks: None, taken: Arc::default() }
    }

    /// Of a machine that loses what was not synced from now on.
    pub fn of_power_cuts(site: &Site) -> Self {
        let disks = [&site.data, &site.keys].map(|dir| Disk::under(dir));
        Self { disks: Some(disks), ..Self::of(site) }
    }

    /// Takes one, and says which it is.
    pub fn take(&self, step: &'static str) -> usize {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let image = self.dir.join(format!("image-{}", taken.len()));
        for (n, (from, to)) in [(&self.data, "data"), (&self.keys, "data.keys")].into_iter().enumerate() {
            match &self.disks {
                Some(disks) => disks[n].survivors(&image.join(to)),
                None => copy_dir(from, &image.join(to)),
            }
        }
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
