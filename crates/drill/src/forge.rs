//! Another history, signed: what somebody can make who has the keys and this program.
//!
//! Chain, tree, file digests, heads and published checkpoints all fit. Payloads are left out but for those that are
//! handed over: nothing that checks a history reads them. Such a directory holds by itself; only what somebody else
//! kept tells it from the true one.

use crate::Trouble;
use crate::copy::{Copy, copy_below, each_block, make_private};
use indelible_collector::head::Head;
use indelible_collector::read::Payload;
use indelible_collector::sequencer::part_context;
use indelible_ledger::{Checkpoint, Ed25519Signer, Frontier, Hash, Note, Signer as _, leaf_hash};
use indelible_os::clock::Utc;
use indelible_os::durable::{FsDir, LogFile};
use indelible_record::entry::{Entry, event_type};
use indelible_record::event::Private;
use indelible_record::payload;
use indelible_spool::frame::{Kind, Role};
use indelible_spool::wal::{Origin, Record, Ref};
use indelible_spool::writer::{Claim, FILE_MAX_BYTES, LogWriter, Options};
use indelible_vault::subjects::SubjectRef;
use indelible_vault::{KeyStore, Vault, seal};
use indelible_verify::directory::{FORMAT_LINE, OPERATIONS, digest_text};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// A file of the log is signed and closed at this size.
const ROTATE_BYTES: u64 = 64 << 20;
/// What is appended is handed to the system in pieces of this size.
const FLUSH_BYTES: u64 = 4 << 20;

/// Whose keys sign it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The real ones.
    Real,
    /// New ones under the old name.
    New,
}

struct Ledger {
    signer: Ed25519Signer,
    tree: Frontier,
    last_leaf: Hash,
    signed: u64,
    /// An entry is not the one that stood here: those behind it are numbered and chained again.
    moved: bool,
}

/// A history that is being written.
pub struct Forge {
    at: Copy,
    writer: LogWriter,
    vault: Vault,
    ledgers: BTreeMap<String, Ledger>,
    notes: BTreeMap<String, String>,
    flushed: u64,
}

impl Forge {
    /// Begins a directory for the ledgers of a copy.
    pub fn begin(copy: &Copy, into: &Path, keys: Keys) -> Result<Self, Trouble> {
        let at = Copy::at(into);
        let wal = at.data.join("wal");
        make_private(&wal).map_err(|error| Trouble::Io(wal.clone(), error))?;
        let format = at.data.join("FORMAT");
        std::fs::write(&format, FORMAT_LINE).map_err(|error| Trouble::Io(format, error))?;
        let store = match keys {
            Keys::Real => {
                copy_below(&copy.keys, &at.keys, &["head"])
                    .map_err(|error| Trouble::Io(at.keys.clone(), error))?;
                KeyStore::open(&at.keys)?
            }
            Keys::New => KeyStore::open_or_create(&at.keys)?,
        };
        let mut ledgers = BTreeMap::new();
        for (tenant, key) in KeyStore::verifier_keys(&copy.keys)? {
            let signer = store.signer(&tenant, key.name(), keys == Keys::New)?;
            let (tree, last_leaf) = (Frontier::new(), Hash::ZERO);
            ledgers.insert(tenant, Ledger { signer, tree, last_leaf, signed: 0, moved: keys == Keys::New });
        }
        let options = Options { role: Role::Wal, limit_bytes: None, file_bytes: FILE_MAX_BYTES, seal: None };
        let dir = Arc::new(FsDir::open(&wal).map_err(|error| Trouble::Io(wal, error))?);
        let (writer, _) = LogWriter::open(dir, options, |_, _, _| Ok(()), || 0)?;
        Ok(Self { at, writer, vault: Vault::open(store)?, ledgers, notes: BTreeMap::new(), flushed: 0 })
    }

    /// From here on entries of a ledger are numbered and chained again.
    pub fn moved(&mut self, tenant: &str) {
        if let Some(ledger) = self.ledgers.get_mut(tenant) {
            ledger.moved = true;
        }
    }

    /// Appends an entry, if need be with another number and another hash of the one before.
    pub fn entry(&mut self, tenant: &str, bytes: Vec<u8>, said: Option<&Payload>) -> Result<(), Trouble> {
        let ledger = self.ledgers.get_mut(tenant).ok_or_else(|| no_ledger(tenant))?;
        let form = |error: &dyn std::fmt::Display| Trouble::Form(error.to_string());
        let mut bytes = bytes;
        if ledger.moved {
            let mut entry = Entry::parse(&bytes).map_err(|error| form(&error))?;
            entry.seq = ledger.tree.size();
            entry.prev_hash = ledger.last_leaf.to_string();
            if entry.event_type == event_type::GENESIS
                && let Some(detail) = &mut entry.detail
            {
                detail.insert("keys".to_owned(), vec![ledger.signer.verifier_key().to_string()].into());
            }
            bytes = entry.to_bytes().map_err(|error| form(&error))?;
        }
        ledger.last_leaf = leaf_hash(&bytes);
        ledger.tree.append(ledger.last_leaf).map_err(|error| form(&error))?;
        let (event_id, refs, part) = match said {
            None => (event_id(&bytes)?, Vec::new(), Vec::new()),
            Some(said) => self.said(tenant, &bytes, said)?,
        };
        let origin = Origin::default();
        let record = Record::Entry { origin, event_id, tenant, refs, entry: &bytes, part: &part };
        self.append(&record)?;
        Ok(())
    }

    fn append(&mut self, record: &Record<'_>) -> Result<Ref, Trouble> {
        if self.writer.current_len() > ROTATE_BYTES {
            self.sign()?;
            self.writer.begin_file()?;
            self.flushed = 0;
        }
        let position = self.writer.append(record.kind(), &[&record.encode()], Claim::Settle)?;
        if self.writer.current_len() > self.flushed + FLUSH_BYTES {
            self.writer.flush()?;
            self.flushed = self.writer.current_len();
        }
        Ok(Ref { file_no: position.file_no, offset: position.offset })
    }

    /// Encrypts what was said for an entry, as the collector would have.
    fn said(
        &mut self,
        tenant: &str,
        bytes: &[u8],
        said: &Payload,
    ) -> Result<(Uuid, Vec<Ref>, Vec<u8>), Trouble> {
        let entry = Entry::parse(bytes).map_err(|error| Trouble::Form(error.to_string()))?;
        let event_id = event_id(bytes)?;
        let subject = entry.subject_ref.as_deref().and_then(|text| text.parse().ok());
        let subject = subject.unwrap_or(SubjectRef([0; 16]));
        let month = entry.timestamp.parse::<Utc>().map_or(0, Utc::month);
        let key = self.vault.data_key(tenant, subject, month)?;
        let origin = Origin::default();
        let context = part_context(tenant, event_id, origin);
        let encrypt = |private: &Private, body: &[u8]| -> Result<Vec<u8>, Trouble> {
            let meta = serde_json::to_vec(private).map_err(|error| Trouble::Form(error.to_string()))?;
            Ok(seal::seal(&key, &context, &payload::pack(&meta, body))?)
        };
        let (start, end) = (encrypt(&said.start, &said.request)?, encrypt(&said.end, &said.response)?);
        let open = Record::Open { origin, event_id, tenant, draft: bytes, part: &start };
        let at = self.append(&open)?;
        Ok((event_id, vec![at], end))
    }

    /// Signs a digest of the file, and a head of each ledger that grew.
    fn sign(&mut self) -> Result<(), Trouble> {
        self.writer.flush()?;
        let Some((file_no, file, len)) = self.writer.current() else { return Ok(()) };
        let hash = hash_of(&**file, len).map_err(|error| Trouble::Io(self.at.data.join("wal"), error))?;
        let operations = self.ledgers.get(OPERATIONS).ok_or_else(|| no_ledger(OPERATIONS))?;
        let digest = Note::sign(digest_text(file_no, len, &hash), &[&operations.signer])
            .map_err(|error| Trouble::Form(error.to_string()))?
            .to_string();
        let mut frame = vec![digest];
        for (tenant, ledger) in &mut self.ledgers {
            if ledger.tree.size() > ledger.signed {
                let note = Checkpoint::new(ledger.signer.name(), ledger.tree.size(), ledger.tree.root())
                    .and_then(|checkpoint| checkpoint.sign(&ledger.signer))
                    .map_err(|error| Trouble::Form(error.to_string()))?;
                ledger.signed = ledger.tree.size();
                frame.push(note.clone());
                self.notes.insert(tenant.clone(), note);
            }
        }
        let record = Record::Checkpoint { notes: frame.iter().map(String::as_bytes).collect() };
        self.writer.append(Kind::Checkpoint, &[&record.encode()], Claim::Settle)?;
        self.writer.flush()?;
        Ok(())
    }

    /// Signs, closes and publishes it.
    pub fn finish(mut self) -> Result<Copy, Trouble> {
        self.sign()?;
        self.vault.sync()?;
        let log = self.writer.log_id().to_string();
        Head::read(&KeyStore::head_path(&self.at.keys))?.swap(&log, &self.notes)?;
        for (tenant, note) in &self.notes {
            let dir = self.at.data.join("ledgers").join(tenant);
            let path = dir.join("checkpoint");
            let written = make_private(&dir).and_then(|()| std::fs::write(&path, note));
            written.map_err(|error| Trouble::Io(path, error))?;
        }
        self.writer.close()?;
        Ok(self.at)
    }
}

fn no_ledger(tenant: &str) -> Trouble {
    Trouble::Form(format!("there is no key of ledger {tenant}"))
}

fn event_id(bytes: &[u8]) -> Result<Uuid, Trouble> {
    #[derive(serde::Deserialize)]
    struct Named {
        event_id: Uuid,
    }
    let named: Named = serde_json::from_slice(bytes).map_err(|error| Trouble::Form(error.to_string()))?;
    Ok(named.event_id)
}

fn hash_of(file: &dyn LogFile, len: u64) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    each_block(file, len, |block| {
        hash.update(block);
        Ok(())
    })?;
    Ok(hash.finalize().into())
}
