//! `segment.json`: what a segment is, and the hashes of its files.
//!
//! Canonical JSON, so that its own hash means something; that hash is an entry of the operations ledger. The hashes
//! of the tree before and after let a segment be checked alone: leaves from the rows, chained from `prev_hash`,
//! must lead from the one to the other.

use indelible_ledger::{Frontier, Hash};
use indelible_record::canonical;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Version of the segment format.
pub const VERSION: u32 = 1;
/// Bytes that one hash of [`FileFacts::blocks`] covers.
pub const BLOCK_BYTES: usize = 1 << 20;
/// What SHA-256 takes in at once (FIPS 180-4 §5.2.1).
const HASH_STEP_BYTES: usize = 64;
/// Largest manifest that is read.
pub const MANIFEST_MAX_BYTES: usize = 4 << 20;

/// File names in a segment's directory.
pub const ENTRIES: &str = "entries.parquet";
/// See [`crate::payload`].
pub const PAYLOAD: &str = "payload.frames";
/// See [`crate::ids`].
pub const IDS: &str = "ids.idx";
/// The manifest itself: written last, so that a directory without it is no segment.
pub const MANIFEST: &str = "segment.json";

/// One file of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// Hashes of its blocks of [`BLOCK_BYTES`]; the last one may be shorter.
    #[serde(with = "hashes")]
    pub blocks: Vec<Hash>,
    /// Its length.
    pub bytes: u64,
    /// Hash of the whole file, as `sha256sum` prints it.
    #[serde(with = "hash")]
    pub sha256: Hash,
}

/// What became of the payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadFacts {
    /// Records whose payload is not here because its key was destroyed before.
    pub erased: u64,
    /// Frames.
    pub frames: u32,
    /// Records with a payload here.
    pub records: u64,
}

/// Which of the log the segment was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalFacts {
    /// First file.
    pub from: u64,
    /// Identity of the log.
    pub log: String,
    /// Last file.
    pub to: u64,
}

/// The manifest. Members stand in canonical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The tree after the last entry.
    #[serde(with = "hashes")]
    pub after: Vec<Hash>,
    /// The tree before the first entry.
    #[serde(with = "hashes")]
    pub before: Vec<Hash>,
    /// How many entries.
    pub count: u64,
    /// Their UTC day, `2026-11-26`.
    pub date: String,
    /// The files.
    pub files: BTreeMap<String, FileFacts>,
    /// Number of the first entry.
    pub first: u64,
    /// Time of the first entry.
    pub from: String,
    /// Leaf hash of the last entry.
    #[serde(with = "hash")]
    pub last_leaf: Hash,
    /// The ledger's origin.
    pub origin: String,
    /// The payloads.
    pub payload: PayloadFacts,
    /// Leaf hash of the entry before the first.
    #[serde(with = "hash")]
    pub prev_hash: Hash,
    /// Root of the tree after the last entry.
    #[serde(with = "hash")]
    pub root: Hash,
    /// Random identity, which every frame of the payload is bound to.
    pub segment: String,
    /// Whose ledger.
    pub tenant: String,
    /// Time of the last entry.
    pub to: String,
    /// Version of the format.
    pub v: u32,
    /// Where it came from.
    pub wal: WalFacts,
    /// Which program wrote it.
    pub writer: String,
}

/// Why bytes are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAManifest {
    /// Malformed.
    #[error("not a segment manifest: {0}")]
    Form(String),
    /// Of a later format.
    #[error("segment format version {0}, but this program reads version {VERSION}")]
    Version(u64),
}

impl Manifest {
    /// Its bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NotAManifest> {
        serde_json::to_vec(self).map_err(|error| NotAManifest::Form(error.to_string()))
    }

    /// Reads a manifest, and only from its canonical bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAManifest> {
        let form = |error: &dyn std::fmt::Display| NotAManifest::Form(error.to_string());
        if bytes.len() > MANIFEST_MAX_BYTES {
            return Err(form(&"over the size limit"));
        }
        let value = canonical::parse(bytes).map_err(|error| form(&error))?;
        match value.get("v").and_then(serde_json::Value::as_u64) {
            Some(version) if version != u64::from(VERSION) => return Err(NotAManifest::Version(version)),
            _ => {}
        }
        let this: Self = serde_json::from_value(value).map_err(|error| form(&error))?;
        let end = this.end();
        let after = end.and_then(|end| Frontier::from_parts(end, this.after.clone()).ok());
        let before = Frontier::from_parts(this.first, this.before.clone()).ok();
        if this.count == 0 || before.is_none() || after.is_none_or(|after| after.root() != this.root) {
            return Err(form(&"its tree does not fit its numbers"));
        }
        if [ENTRIES, PAYLOAD, IDS].iter().any(|name| !this.files.contains_key(*name)) || this.files.len() != 3
        {
            return Err(form(&"other files than a segment has"));
        }
        for (name, facts) in &this.files {
            if facts.blocks.len() as u64 != facts.bytes.div_ceil(BLOCK_BYTES as u64) {
                return Err(form(&format!("{name} has another number of blocks than its length needs")));
            }
        }
        Ok(this)
    }

    /// Number behind the last entry.
    pub fn end(&self) -> Option<u64> {
        self.first.checked_add(self.count)
    }

    /// The tree before the first entry.
    pub fn tree_before(&self) -> Frontier {
        Frontier::from_parts(self.first, self.before.clone()).unwrap_or_default()
    }

    /// Its directory, relative to where segments lie.
    pub fn path(&self) -> String {
        format!("tenant={}/date={}/{:016}", self.tenant, self.date, self.first)
    }
}

/// Hash of a manifest's bytes, as the operations ledger has it.
pub fn hash_of(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// Hashes a file while it is written.
#[derive(Clone, Debug, Default)]
pub struct FileHasher {
    whole: Sha256,
    block: Sha256,
    in_block: usize,
    blocks: Vec<Hash>,
    bytes: u64,
}

impl FileHasher {
    /// Takes in what is written next.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.in_block));
            // A hash waits for itself, step by step: the two in turn take less time than one after the other.
            for piece in now.chunks(HASH_STEP_BYTES) {
                self.whole.update(piece);
                self.block.update(piece);
            }
            self.in_block += now.len();
            if self.in_block == BLOCK_BYTES {
                self.blocks.push(Hash(self.block.finalize_reset().into()));
                self.in_block = 0;
            }
            bytes = later;
        }
    }

    /// What the file is.
    pub fn finish(mut self) -> FileFacts {
        if self.in_block > 0 {
            self.blocks.push(Hash(self.block.finalize().into()));
        }
        FileFacts { blocks: self.blocks, bytes: self.bytes, sha256: Hash(self.whole.finalize().into()) }
    }
}

mod hash {
    use indelible_ledger::Hash;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &Hash, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(hash)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod hashes {
    use indelible_ledger::Hash;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hashes: &[Hash], out: S) -> Result<S::Ok, S::Error> {
        hashes.iter().map(Hash::to_string).collect::<Vec<_>>().serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Hash>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}
