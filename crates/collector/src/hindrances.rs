//! What of the key directory keeps a collector from starting, seen without starting one.
//!
//! What is looked at, and what is said of it, is what a start looks at and says; but nothing is made, finished or
//! written, and what is wrong with one file does not hide the next.

use crate::CollectorError;
use crate::head::Head;
use crate::predecessors::Predecessors;
use crate::recover::{check_head, no_key};
use crate::sequencer::{check_headless, check_signer};
use indelible_ledger::KeyHistory;
use indelible_os::durable::FsDir;
use indelible_spool::Role;
use indelible_spool::reader::{self, FileReader};
use indelible_vault::{KeyStore, Vault, VaultError};
use std::io;
use std::path::{Path, PathBuf};

/// Something that keeps a collector from starting, or from recording once it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// Which file of the key directory, or that.
    pub file: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// It could not be looked at: then it may be as it should.
    pub unread: bool,
}

/// Looks at the key directory of a data directory. `with_entries`: the ledgers there that have some.
pub fn find(data: &Path, keys: &Path, with_entries: &[&str]) -> Vec<Hindrance> {
    if let Err(error) = std::fs::metadata(keys) {
        // A first start makes it.
        if is_missing(&error) && with_entries.is_empty() {
            return Vec::new();
        }
        return vec![of_file(keys.to_owned(), &error)];
    }
    let mut found = Vec::new();
    let (head_path, vault_path) = (KeyStore::head_path(keys), keys.join("vault.slots"));
    let store = match KeyStore::open(keys) {
        Ok(store) => Some(store),
        // A start makes one where nothing was kept under another.
        Err(VaultError::Io { source, .. })
            if is_missing(&source)
                && with_entries.is_empty()
                && !head_path.exists()
                && !vault_path.exists() =>
        {
            None
        }
        Err(error) => {
            found.push(of_error(error.into(), keys));
            None
        }
    };
    // Keys before the head: one that is made meanwhile has signed nothing yet, or has a head.
    let histories = KeyStore::key_histories(keys).unwrap_or_else(|error| {
        found.push(of_error(error.into(), keys));
        Vec::new()
    });
    let is_unused = |(tenant, history): (String, KeyHistory)| {
        let unused = store.as_ref().is_none_or(|store| store.is_unused(&tenant));
        (tenant, history, unused)
    };
    let histories: Vec<(String, KeyHistory, bool)> = histories.into_iter().map(is_unused).collect();
    let head = match Head::read(&head_path) {
        Ok(head) => head,
        Err(error) => {
            // Without it nothing more can be said of what it is about.
            found.push(of_error(error, &head_path));
            return found;
        }
    };
    if let Err(error) = check_head(&head, with_entries, log_of(data).as_deref()) {
        found.push(of_error(error, &head_path));
    }
    for tenant in head.notes().keys() {
        if !histories.iter().any(|(known, ..)| known == tenant) {
            found.push(of_error(no_key(tenant), &keys.join("ledgers").join(format!("{tenant}.vkey"))));
        }
    }
    if let Some(store) = &store {
        check_signers(store, &histories, &head, with_entries, &mut found);
        found.extend(store.spool_keys().err().map(|error| of_error(error.into(), keys)));
    }
    found.extend(Predecessors::read(keys).err().map(|error| of_error(error, keys)));
    if !head.notes().is_empty() || !with_entries.is_empty() {
        found.extend(check_vault(keys).err().map(|error| of_error(error, &vault_path)));
    }
    if let Some(store) = store.filter(|_| vault_path.exists()) {
        match Vault::check(&store) {
            Ok(()) => {}
            Err(VaultError::Sealed) => found.push(Hindrance {
                file: keys.join("master.key"),
                what: "is not the key that the keys in vault.slots are encrypted under".to_owned(),
                unread: false,
            }),
            Err(error) => found.push(of_error(error.into(), &vault_path)),
        }
    }
    found
}

/// Where something was signed there is a vault: an empty one in its place would hide what is lost.
pub(crate) fn check_vault(keys: &Path) -> Result<(), CollectorError> {
    if keys.join("vault.slots").exists() {
        return Ok(());
    }
    let what = "the vault is missing: without it no payload recorded so far can be read";
    Err(CollectorError::Refused(what.to_owned()))
}

/// `histories`: tenant, public keys, and whether the key is known to have signed nothing.
fn check_signers(
    store: &KeyStore,
    histories: &[(String, KeyHistory, bool)],
    head: &Head,
    with_entries: &[&str],
    found: &mut Vec<Hindrance>,
) {
    let path = |name: String| store.dir().join("ledgers").join(name);
    for (tenant, history, unused) in histories {
        let has_head = head.notes().contains_key(tenant);
        let has_entries = with_entries.contains(&tenant.as_str());
        // Of one with entries and no head that was said.
        if !has_head
            && !has_entries
            && let Err(error) = check_headless(tenant, *unused)
        {
            found.push(of_error(error, &KeyStore::head_path(store.dir())));
        }
        // In the middle of a change of keys, a start finishes it with the one that the public key has.
        match store.next_signer(tenant, history.origin()) {
            Ok(Some(next)) if next.verifier_key() == history.newest() => continue,
            Ok(_) => {}
            Err(error) => found.push(of_error(error.into(), &path(format!("{tenant}.next.seed")))),
        }
        let signer = store.signer(tenant, history.origin(), false);
        let unread = matches!(&signer, Err(VaultError::Io { source, .. }) if !is_missing(source));
        if let Err(error) = check_signer(tenant, signer, history, has_head || has_entries) {
            let hindrance = of_error(error, &path(format!("{tenant}.seed")));
            found.push(Hindrance { unread, ..hindrance });
        }
    }
}

/// The log that is here, if there is one.
fn log_of(data: &Path) -> Option<String> {
    let dir = FsDir::existing(&data.join("wal"));
    let files = reader::list(&dir, Role::Wal.extension()).ok()?;
    files.iter().find_map(|(_, name)| {
        let file = FileReader::open(&dir, name).ok().flatten()?;
        Some(file.header().log_id.to_string())
    })
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn of_file(file: PathBuf, error: &io::Error) -> Hindrance {
    match is_missing(error) {
        true => Hindrance { file, what: "is missing".to_owned(), unread: false },
        false => Hindrance { file, what: format!("cannot be read: {error}"), unread: true },
    }
}

/// What a start says; `file` is what it is about, where it names none.
fn of_error(error: CollectorError, file: &Path) -> Hindrance {
    let (file, what) = match error {
        CollectorError::Io { path, source } | CollectorError::Vault(VaultError::Io { path, source }) => {
            return of_file(path, &source);
        }
        CollectorError::Format { path, what } | CollectorError::Vault(VaultError::Damaged { path, what }) => {
            (path, what)
        }
        CollectorError::Refused(what) => (file.to_owned(), what),
        error => (file.to_owned(), error.to_string()),
    };
    Hindrance { file, what, unread: false }
}
