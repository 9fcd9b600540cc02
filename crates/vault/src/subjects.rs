//! Subjects and their data keys, in one file of fixed slots.
//!
//! A subject is whoever a payload belongs to: the user, failing that the session, failing that a day of
//! a route. The ledger knows a subject by a random pseudonym alone. Each subject has a data key per
//! calendar month; destroying those keys is what erasure will be.
//!
//! ```text
//! vault.slots = slot*        slot = 128 bytes, little endian
//!   kind u8 (1 tenant key, 2 subject, 3 data key) · 0 ×3 · month u32 · tag 32 · value 60 · 0 ×24 · crc32c u32
//!   tenant key   tag = SHA-256(tenant)               value = key wrapped by the master key
//!   subject      tag = HMAC(lookup key, basis · id)  value = pseudonym 16 · 0
//!   data key     tag = pseudonym 16 · tenant hash 16 value = key wrapped by the tenant key
//! ```
//!
//! Slots have a fixed size so that a key can be destroyed where it stands. Memory holds where they are, by a few
//! bits of their tags, never all keys. New slots are durable once [`Vault::sync`] returns.

use crate::index::{Index, Key};
use crate::keystore::{KeyStore, WRAPPED_BYTES};
use crate::{VaultError, random};
use indelible_os::durable;
use indelible_record::commitment::{from_hex, to_hex};
use ring::{digest, hmac};
use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const SLOT_BYTES: usize = 128;
/// Half a terabyte of them.
const SLOTS_MAX: u64 = u32::MAX as u64;
const CACHED_KEYS_MAX: usize = 4096;

/// A subject's pseudonym: 16 random bytes, `sub_<hex>` in entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubjectRef(pub [u8; 16]);

/// What makes two payloads belong to the same subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// The user that the application named.
    User,
    /// The conversation, where no user is known.
    Session,
    /// A day of a route, where neither is known. Such payloads cannot be erased for one person.
    RouteDay,
}

/// The key of one subject's payloads of one month.
#[derive(Clone)]
pub struct DataKey {
    subject: SubjectRef,
    month: u32,
    secret: Zeroizing<[u8; 32]>,
}

/// The open vault. One writer at a time: the holder of the data directory's lock.
pub struct Vault {
    path: PathBuf,
    file: File,
    master: Zeroizing<[u8; 32]>,
    lookup: HashMap<String, Zeroizing<[u8; 32]>>,
    index: Index,
    slots: u32,
    dirty: bool,
    cache: HashMap<([u8; 32], u32), DataKey>,
    keys: KeyStore,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    TenantKey = 1,
    Subject = 2,
    DataKey = 3,
}

struct Slot {
    kind: u8,
    month: u32,
    tag: [u8; 32],
    value: [u8; WRAPPED_BYTES],
}

impl Vault {
    /// Opens the vault of a key directory, making an empty one when there is none.
    pub fn open(keys: KeyStore) -> Result<Self, VaultError> {
        let path = keys.dir().join("vault.slots");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(durable::MODE_SECRET)
            .open(&path)
            .map_err(VaultError::io(&path))?;
        durable::sync_dir(keys.dir()).map_err(VaultError::io(&path))?;
        let master = keys.derive("vault", "");
        let mut vault = Self {
            path,
            file,
            master,
            lookup: HashMap::new(),
            index: Index::default(),
            slots: 0,
            dirty: false,
            cache: HashMap::new(),
            keys,
        };
        vault.load()?;
        Ok(vault)
    }

    /// Reads the vault of a key directory and holds it against the master key. Makes and changes nothing.
    pub fn check(keys: &KeyStore) -> Result<(), VaultError> {
        let path = keys.dir().join("vault.slots");
        let file = File::open(&path).map_err(VaultError::io(&path))?;
        let len = file.metadata().map_err(VaultError::io(&path))?.len();
        let master = keys.derive("vault", "");
        read_slots(&file, &path, whole_slots(len), |_, slot| {
            if slot.kind == Kind::TenantKey as u8 {
                KeyStore::unwrap(&master, &wrap_context(slot), &slot.value)?;
            }
            Ok(())
        })
    }

    /// The key directory that the vault is part of.
    pub fn keys(&self) -> &KeyStore {
        &self.keys
    }

    /// The subject that `id` belongs to, if it is known.
    pub fn find_subject(
        &mut self,
        tenant: &str,
        basis: Basis,
        id: &str,
    ) -> Result<Option<SubjectRef>, VaultError> {
        let tag = self.subject_tag(tenant, basis, id);
        Ok(self.find(Kind::Subject, 0, tag)?.map(|slot| {
            let mut subject = [0; 16];
            subject.copy_from_slice(&slot.value[..16]);
            SubjectRef(subject)
        }))
    }

    /// The subject that `id` belongs to; made when it is new.
    pub fn subject(&mut self, tenant: &str, basis: Basis, id: &str) -> Result<SubjectRef, VaultError> {
        if let Some(subject) = self.find_subject(tenant, basis, id)? {
            return Ok(subject);
        }
        let subject = SubjectRef(random()?);
        let mut value = [0; WRAPPED_BYTES];
        value[..16].copy_from_slice(&subject.0);
        let tag = self.subject_tag(tenant, basis, id);
        self.append(Slot { kind: Kind::Subject as u8, month: 0, tag, value })?;
        Ok(subject)
    }

    /// The data key of a subject's month, if there is one.
    pub fn find_data_key(
        &mut self,
        tenant: &str,
        subject: SubjectRef,
        month: u32,
    ) -> Result<Option<DataKey>, VaultError> {
        let tag = data_key_tag(tenant, subject);
        if let Some(key) = self.cache.get(&(tag, month)) {
            return Ok(Some(key.clone()));
        }
        let Some(slot) = self.find(Kind::DataKey, month, tag)? else { return Ok(None) };
        let Some(tenant_key) = self.find_tenant_key(tenant)? else {
            return Err(VaultError::NoKey(format!("the key of tenant {tenant} is gone")));
        };
        let secret = KeyStore::unwrap(&tenant_key, &wrap_context(&slot), &slot.value)?;
        Ok(Some(self.remember(tag, DataKey { subject, month, secret })))
    }

    /// The data key of a subject's month; made when it is new.
    pub fn data_key(&mut self, tenant: &str, subject: SubjectRef, month: u32) -> Result<DataKey, VaultError> {
        if let Some(key) = self.find_data_key(tenant, subject, month)? {
            return Ok(key);
        }
        let tenant_key = match self.find_tenant_key(tenant)? {
            Some(key) => key,
            None => self.create_tenant_key(tenant)?,
        };
        let secret = Zeroizing::new(random::<32>()?);
        let mut slot = Slot {
            kind: Kind::DataKey as u8,
            month,
            tag: data_key_tag(tenant, subject),
            value: [0; WRAPPED_BYTES],
        };
        slot.value = KeyStore::wrap(&tenant_key, &wrap_context(&slot), &secret)?;
        let tag = slot.tag;
        self.append(slot)?;
        Ok(self.remember(tag, DataKey { subject, month, secret }))
    }

    /// `h:` and a keyed hash, for a string that may not stand in an entry as it is.
    pub fn hashed(&mut self, tenant: &str, text: &str) -> String {
        let tag = self.keyed_hash(tenant, &[b"text\0", text.as_bytes()]);
        format!("h:{}", to_hex(&tag[..16]))
    }

    /// Waits until everything made so far survives power loss. A failure must end the process.
    pub fn sync(&mut self) -> Result<(), VaultError> {
        if self.dirty {
            durable::sync_file(&self.file).map_err(VaultError::io(&self.path))?;
            self.dirty = false;
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(), VaultError> {
        let len = self.file.metadata().map_err(VaultError::io(&self.path))?.len();
        // A slot that was being written when the machine stopped: no receipt stood on it.
        let whole = whole_slots(len);
        self.file.set_len(whole).map_err(VaultError::io(&self.path))?;
        let slots = whole / SLOT_BYTES as u64;
        if slots > SLOTS_MAX {
            return Err(VaultError::damaged(&self.path, format!("it has more than {SLOTS_MAX} slots")));
        }
        self.index.reserve(slots as usize);
        read_slots(&self.file, &self.path, whole, |number, slot| {
            self.index.insert(&slot.key(), number);
            Ok(())
        })?;
        self.slots = slots as u32;
        Ok(())
    }

    fn find_tenant_key(&mut self, tenant: &str) -> Result<Option<Zeroizing<[u8; 32]>>, VaultError> {
        let tag = sha256(tenant.as_bytes());
        let Some(slot) = self.find(Kind::TenantKey, 0, tag)? else { return Ok(None) };
        Ok(Some(KeyStore::unwrap(&self.master, &wrap_context(&slot), &slot.value)?))
    }

    fn create_tenant_key(&mut self, tenant: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let key = Zeroizing::new(random::<32>()?);
        let mut slot = Slot {
            kind: Kind::TenantKey as u8,
            month: 0,
            tag: sha256(tenant.as_bytes()),
            value: [0; WRAPPED_BYTES],
        };
        slot.value = KeyStore::wrap(&self.master, &wrap_context(&slot), &key)?;
        self.append(slot)?;
        Ok(key)
    }

    fn append(&mut self, slot: Slot) -> Result<(), VaultError> {
        let number = self.slots;
        let next = number
            .checked_add(1)
            .ok_or_else(|| VaultError::NoKey(format!("the vault has {SLOTS_MAX} slots: it is full")))?;
        self.file
            .write_all_at(&slot.encode(), u64::from(number) * SLOT_BYTES as u64)
            .map_err(VaultError::io(&self.path))?;
        self.slots = next;
        self.dirty = true;
        self.index.insert(&slot.key(), number);
        Ok(())
    }

    fn find(&self, kind: Kind, month: u32, tag: [u8; 32]) -> Result<Option<Slot>, VaultError> {
        let key = (kind as u8, month, tag);
        let mut unreadable = None;
        for number in self.index.of(&key) {
            match self.read_slot(number) {
                // The index knows a part of the key: another's slot must never pass for this one.
                Ok(slot) if slot.key() == key => return Ok(Some(slot)),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    fn read_slot(&self, number: u32) -> Result<Slot, VaultError> {
        let mut bytes = [0; SLOT_BYTES];
        self.file
            .read_exact_at(&mut bytes, u64::from(number) * SLOT_BYTES as u64)
            .map_err(VaultError::io(&self.path))?;
        Slot::decode(&bytes)
            .ok_or_else(|| VaultError::damaged(&self.path, format!("slot {number} is damaged")))
    }

    fn remember(&mut self, tag: [u8; 32], key: DataKey) -> DataKey {
        if self.cache.len() >= CACHED_KEYS_MAX {
            self.cache.clear();
        }
        self.cache.insert((tag, key.month), key.clone());
        key
    }

    fn subject_tag(&mut self, tenant: &str, basis: Basis, id: &str) -> [u8; 32] {
        let basis: &[u8] = match basis {
            Basis::User => b"user\0",
            Basis::Session => b"session\0",
            Basis::RouteDay => b"route-day\0",
        };
        self.keyed_hash(tenant, &[basis, id.as_bytes()])
    }

    fn keyed_hash(&mut self, tenant: &str, parts: &[&[u8]]) -> [u8; 32] {
        if !self.lookup.contains_key(tenant) {
            self.lookup.insert(tenant.to_owned(), self.keys.derive("lookup", tenant));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.lookup[tenant]);
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

impl Slot {
    fn key(&self) -> Key {
        (self.kind, self.month, self.tag)
    }

    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut out = [0; SLOT_BYTES];
        out[0] = self.kind;
        out[4..8].copy_from_slice(&self.month.to_le_bytes());
        out[8..40].copy_from_slice(&self.tag);
        out[40..100].copy_from_slice(&self.value);
        let crc = checksum(&out[..124]);
        out[124..].copy_from_slice(&crc);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != SLOT_BYTES || bytes[0] == 0 || checksum(&bytes[..124]) != bytes[124..] {
            return None;
        }
        let mut slot = Self { kind: bytes[0], month: 0, tag: [0; 32], value: [0; WRAPPED_BYTES] };
        slot.month = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        slot.tag.copy_from_slice(&bytes[8..40]);
        slot.value.copy_from_slice(&bytes[40..100]);
        Some(slot)
    }
}

impl DataKey {
    /// Whose payloads it encrypts.
    pub fn subject(&self) -> SubjectRef {
        self.subject
    }

    /// Of which month: `year * 12 + month - 1`.
    pub fn month(&self) -> u32 {
        self.month
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Display for SubjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sub_{}", to_hex(&self.0))
    }
}

impl std::str::FromStr for SubjectRef {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix("sub_").and_then(from_hex::<16>).map(Self).ok_or(())
    }
}

/// Of a file's length, what whole slots take.
fn whole_slots(len: u64) -> u64 {
    len - len % SLOT_BYTES as u64
}

/// Hands the slots in the first `whole` bytes to `visit`, each with its number.
fn read_slots(
    file: &File,
    path: &Path,
    whole: u64,
    mut visit: impl FnMut(u32, &Slot) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    let mut bytes = vec![0; SLOT_BYTES * 1024];
    let mut at = 0;
    while at < whole {
        let take = bytes.len().min((whole - at) as usize);
        file.read_exact_at(&mut bytes[..take], at).map_err(VaultError::io(path))?;
        for (n, slot) in bytes[..take].chunks(SLOT_BYTES).enumerate() {
            let number = (at / SLOT_BYTES as u64) as u32 + n as u32;
            match Slot::decode(slot) {
                Some(slot) => visit(number, &slot)?,
                // A sector holds whole slots. One that power loss kept from the disk reads as zeros,
                // and nothing was promised on it; anything else was written once and has changed.
                None if slot.iter().all(|byte| *byte == 0) => {}
                None => return Err(VaultError::damaged(path, format!("slot {number} is damaged"))),
            }
        }
        at += take as u64;
    }
    Ok(())
}

fn wrap_context(slot: &Slot) -> Vec<u8> {
    let mut context = vec![slot.kind];
    context.extend_from_slice(&slot.month.to_le_bytes());
    context.extend_from_slice(&slot.tag);
    context
}

fn data_key_tag(tenant: &str, subject: SubjectRef) -> [u8; 32] {
    let mut tag = [0; 32];
    tag[..16].copy_from_slice(&subject.0);
    tag[16..].copy_from_slice(&sha256(tenant.as_bytes())[..16]);
    tag
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// First four bytes of SHA-256: slots are few and small, and a torn one must not look whole.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut out = [0; 4];
    out.copy_from_slice(&sha256(bytes)[..4]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal;

    fn open(dir: &Path) -> Vault {
        Vault::open(KeyStore::open_or_create(dir).unwrap()).unwrap()
    }

    #[test]
    fn keys_and_subjects_are_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        let mut vault = open(&dir);
        let jane = vault.subject("bank", Basis::User, "jane@example.com").unwrap();
        assert_eq!(vault.subject("bank", Basis::User, "jane@example.com").unwrap(), jane);
        assert_ne!(vault.subject("clinic", Basis::User, "jane@example.com").unwrap(), jane);
        assert_ne!(vault.subject("bank", Basis::Session, "jane@example.com").unwrap(), jane);
        let key = vault.data_key("bank", jane, 24322).unwrap();
        let sealed = seal::seal(&key, b"context", b"a prompt").unwrap();
        vault.sync().unwrap();
        drop(vault);

        let mut vault = open(&dir);
        assert_eq!(vault.find_subject("bank", Basis::User, "jane@example.com").unwrap(), Some(jane));
        let (subject, month) = seal::owner(&sealed).unwrap();
        let key = vault.find_data_key("bank", subject, month).unwrap().expect("kept");
        assert_eq!(seal::open(&key, b"context", &sealed).unwrap(), b"a prompt");
        assert!(seal::open(&key, b"another record", &sealed).is_err());
        assert!(vault.find_data_key("clinic", subject, month).unwrap().is_none());
        let raw = std::fs::read(dir.join("vault.slots")).unwrap();
        assert!(!raw.windows(4).any(|window| window == b"jane"), "no personal data in the clear");
    }

    #[test]
    fn a_torn_last_slot_goes_a_lost_one_is_passed_over_and_a_damaged_one_stops() {
        let temp = tempfile::tempdir().unwrap();
        let mut vault = open(temp.path());
        let a = vault.subject("t", Basis::User, "a").unwrap();
        vault.subject("t", Basis::User, "b").unwrap();
        vault.sync().unwrap();
        drop(vault);
        let path = temp.path().join("vault.slots");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..SLOT_BYTES + 50]).unwrap();
        let mut vault = open(temp.path());
        assert_eq!(vault.find_subject("t", Basis::User, "a").unwrap(), Some(a));
        assert_eq!(vault.find_subject("t", Basis::User, "b").unwrap(), None);
        drop(vault);
        for at in [20, SLOT_BYTES + 20] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(Vault::open(KeyStore::open(temp.path()).unwrap()).is_err(), "byte {at}");
        }
        // A power cut that kept the second sector from the disk and not what came after it.
        let mut lost = whole.clone();
        lost[..SLOT_BYTES].fill(0);
        std::fs::write(&path, lost).unwrap();
        let mut vault = open(temp.path());
        assert_eq!(vault.find_subject("t", Basis::User, "a").unwrap(), None);
        assert!(vault.find_subject("t", Basis::User, "b").unwrap().is_some());
    }

    #[test]
    fn a_look_at_a_vault_tells_its_master_key_from_another_and_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let mut vault = open(temp.path());
        let jane = vault.subject("bank", Basis::User, "jane@example.com").unwrap();
        vault.data_key("bank", jane, 24322).unwrap();
        vault.sync().unwrap();
        drop(vault);
        let look = || Vault::check(&KeyStore::open(temp.path()).unwrap());
        look().unwrap();
        let path = temp.path().join("vault.slots");
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(&[1; 50]);
        std::fs::write(&path, &torn).unwrap();
        look().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), torn);
        std::fs::write(temp.path().join("master.key"), [7; 32]).unwrap();
        assert!(matches!(look(), Err(VaultError::Sealed)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(look(), Err(VaultError::Io { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn keys_that_the_index_cannot_tell_apart_stay_apart() {
        let temp = tempfile::tempdir().unwrap();
        let mut vault = open(temp.path());
        // The index knows four bytes of each.
        let subjects: Vec<SubjectRef> =
            (0..3u8).map(|n| SubjectRef(std::array::from_fn(|at| if at < 4 { 7 } else { n }))).collect();
        let sealed: Vec<Vec<u8>> = subjects[..2]
            .iter()
            .map(|subject| {
                seal::seal(&vault.data_key("bank", *subject, 24322).unwrap(), b"context", b"a prompt")
                    .unwrap()
            })
            .collect();
        vault.sync().unwrap();
        drop(vault);
        for order in [[0, 1], [1, 0]] {
            let mut vault = open(temp.path());
            for n in order {
                let key = vault.find_data_key("bank", subjects[n], 24322).unwrap().expect("kept");
                assert_eq!(key.subject(), subjects[n]);
                assert_eq!(seal::open(&key, b"context", &sealed[n]).unwrap(), b"a prompt");
                assert!(seal::open(&key, b"context", &sealed[1 - n]).is_err());
            }
            assert!(vault.find_data_key("bank", subjects[2], 24322).unwrap().is_none(), "not another's");
        }
        // One that has changed since it was opened answers for nobody, and hides nobody else's.
        let vault = Vault::open(KeyStore::open(temp.path()).unwrap()).unwrap();
        let path = temp.path().join("vault.slots");
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - SLOT_BYTES;
        bytes[last + 20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let mut vault = vault;
        assert!(vault.find_data_key("bank", subjects[0], 24322).unwrap().is_some());
        assert!(vault.find_data_key("bank", subjects[1], 24322).is_err());
        assert!(vault.find_data_key("bank", subjects[2], 24322).is_err(), "it may have been this one");
    }

    #[test]
    fn a_lost_master_key_is_never_replaced() {
        let temp = tempfile::tempdir().unwrap();
        drop(open(temp.path()));
        std::fs::remove_file(temp.path().join("master.key")).unwrap();
        assert!(KeyStore::open_or_create(temp.path()).is_err());
    }
}
