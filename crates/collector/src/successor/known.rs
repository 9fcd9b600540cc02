//! What is known of the ledgers before: the newest checkpoint of each that its key signed, and how far each source was
//! taken in. Reads files alone; what cannot be read or is not signed counts as nothing, and is said.

use super::{CollectorError, Place, SuccessorError};
use crate::data_dir::is_tenant_id;
use crate::head::Head;
use indelible_ledger::note::NOTE_MAX_BYTES;
use indelible_ledger::{Checkpoint, KeyHistory, Note};
use indelible_os::durable::FsDir;
use indelible_spool::reader::{self, FileReader};
use indelible_spool::wal::Record;
use indelible_spool::{LogError, Role};
use indelible_vault::KeyStore;
use indelible_verify::directory::OPERATIONS;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use uuid::Uuid;

/// Files of a ledger in a data directory.
const PUBLISHED: [&str; 2] = ["checkpoint", "checkpoint.witnessed"];

pub(super) struct Known {
    /// By tenant; those whose key has signed something.
    pub(super) ledgers: BTreeMap<String, Ledger>,
    /// The last frame of each incarnation in the log.
    pub(super) sources: BTreeMap<Uuid, u64>,
    pub(super) remarks: Vec<String>,
    /// Tenants that have records, and no key here that says which ledger they are of.
    pub(super) keyless: BTreeSet<String>,
}

pub(super) struct Ledger {
    pub(super) keys: KeyHistory,
    pub(super) newest: Option<(Checkpoint, Place)>,
    /// Two histories that its key signed.
    pub(super) forked: Option<SuccessorError>,
}

impl Known {
    pub(super) fn read(data: &Path, keys: &Path) -> Result<Self, SuccessorError> {
        let store = KeyStore::open(keys)?;
        let histories = KeyStore::key_histories(keys)?;
        let ledgers =
            histories.into_iter().map(|(tenant, keys)| (tenant, Ledger { keys, newest: None, forked: None }));
        let mut this = Self {
            ledgers: ledgers.collect(),
            sources: BTreeMap::new(),
            remarks: Vec::new(),
            keyless: BTreeSet::new(),
        };
        if !this.ledgers.contains_key(OPERATIONS) {
            return Err(SuccessorError::Target {
                path: keys.to_owned(),
                what: "there are no keys of a collector's ledgers".to_owned(),
            });
        }
        this.read_head(&KeyStore::head_path(keys));
        let tenants: Vec<String> = this.ledgers.keys().cloned().collect();
        for tenant in &tenants {
            for name in PUBLISHED {
                let path = data.join("ledgers").join(tenant).join(name);
                match read_note(&path) {
                    Ok(note) => this.found(tenant, &note, &path),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => this.remark(&path, &error),
                }
            }
        }
        this.read_log(&data.join("wal"))?;
        for (dir, prefix) in [(data.join("ledgers"), ""), (crate::seal::segments_dir(data), "tenant=")] {
            let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let names = names.filter_map(|entry| entry.file_name().into_string().ok());
            let tenants: Vec<String> =
                names.filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).collect();
            tenants.iter().filter(|tenant| is_tenant_id(tenant)).for_each(|tenant| this.has_records(tenant));
        }
        // A key that has signed nothing has nobody to follow: its ledger begins with the first record for it.
        this.ledgers.retain(|tenant, ledger| ledger.newest.is_some() || !store.is_unused(tenant));
        Ok(this)
    }

    fn read_head(&mut self, path: &Path) {
        match Head::read(path) {
            Ok(head) => {
                for (tenant, note) in head.notes() {
                    match self.ledgers.contains_key(tenant) {
                        true => self.found(tenant, note.as_bytes(), path),
                        false => self.has_records(tenant),
                    }
                }
            }
            Err(error) => self.remarks.push(error.to_string()),
        }
    }

    /// Checkpoints that stand in the log, and the numbers of frames. Behind damage the file is not read on.
    fn read_log(&mut self, path: &Path) -> Result<(), SuccessorError> {
        if !path.is_dir() {
            return Ok(());
        }
        let dir = FsDir::existing(path);
        let files = reader::list(&dir, Role::Wal.extension()).map_err(CollectorError::from)?;
        for (_, name) in files {
            let at = path.join(&name);
            if let Err(error) = self.read_file(&dir, &name, &at) {
                self.remark(&at, &error);
            }
        }
        Ok(())
    }

    fn read_file(&mut self, dir: &FsDir, name: &str, at: &Path) -> Result<(), LogError> {
        let Some(mut file) = FileReader::open(dir, name)? else { return Ok(()) };
        let mut newest: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        while let Some(frame) = file.next_frame()? {
            let Some(record) = Record::parse(frame.kind, frame.body) else { continue };
            match &record {
                Record::Checkpoint { notes } => {
                    let heads =
                        notes.iter().skip(1).filter_map(|note| Some((self.owner(note)?, note.to_vec())));
                    newest.extend(heads);
                }
                Record::Base(base) => {
                    for source in &base.sources {
                        self.reached(source.incarnation, source.mark);
                    }
                }
                record => {
                    if let Record::Entry { tenant, .. } = record {
                        self.has_records(tenant);
                    }
                    if let Some(origin) = record.origin() {
                        self.reached(origin.incarnation, origin.seq);
                    }
                }
            }
        }
        for (tenant, note) in newest {
            self.found(&tenant, &note, at);
        }
        Ok(())
    }

    fn has_records(&mut self, tenant: &str) {
        if !self.ledgers.contains_key(tenant) && !self.keyless.contains(tenant) {
            self.keyless.insert(tenant.to_owned());
        }
    }

    fn reached(&mut self, incarnation: Uuid, seq: u64) {
        let mark = self.sources.entry(incarnation).or_default();
        *mark = (*mark).max(seq);
    }

    fn owner(&self, note: &[u8]) -> Option<String> {
        let note = Note::parse(note).ok()?;
        let origin = note.text().lines().next()?;
        let owner = self.ledgers.iter().find(|(_, ledger)| ledger.keys.origin() == origin);
        owner.map(|(tenant, _)| tenant.clone())
    }

    /// Takes a checkpoint of a ledger that there is, if its key signed it.
    fn found(&mut self, tenant: &str, note: &[u8], path: &Path) {
        let Some(ledger) = self.ledgers.get_mut(tenant) else { return };
        let checkpoint = match ledger.keys.open(note) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                self.remark(path, &format!("counts as nothing for ledger {tenant}: {error}"));
                return;
            }
        };
        match &ledger.newest {
            Some((newest, place))
                if newest.size() == checkpoint.size() && newest.root() != checkpoint.root() =>
            {
                ledger.forked = Some(SuccessorError::Forked {
                    tenant: tenant.to_owned(),
                    size: newest.size(),
                    one: place.path().to_owned(),
                    other: path.to_owned(),
                });
            }
            Some((newest, _)) if newest.size() >= checkpoint.size() => {}
            _ => ledger.newest = Some((checkpoint, Place::Found(path.to_owned()))),
        }
    }

    fn remark(&mut self, path: &Path, what: &dyn std::fmt::Display) {
        self.remarks.push(format!("{}: {what}", path.display()));
    }
}

/// Reads a file that should be a note; one byte more than a note may have tells that it is none.
pub(super) fn read_note(path: &Path) -> std::io::Result<Vec<u8>> {
    // A pipe would hold up whoever opens it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(NOTE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
