//! `export.json`: what an export is of, and how far it came.

use super::{content, io};
use crate::cli::{Common, Export as Arguments};
use crate::failure::Failure;
use indelible_collector::export::{Content, Cursor, Ledger};
use indelible_os::durable::{self, MODE_SECRET};
use indelible_os::lock::DirLock;
use indelible_record::commitment::to_hex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

const FILE: &str = "export.json";
const VERSION: u32 = 1;
/// What is read at once when parts are checked.
const READ_BYTES: usize = 64 << 10;

/// The directory of an export, and its state.
pub(crate) struct State {
    dir: PathBuf,
    kept: Kept,
    _lock: DirLock,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    v: u32,
    selection: Selection,
    ledgers: Vec<Ledger>,
    parts: Vec<Part>,
    /// How many records were left out, by reason.
    left_out: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Cursor>,
    done: bool,
}

/// What was asked for. The user is only told apart: a file that lies about should not say who has which pseudonym.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    format: String,
    content: Content,
    part_records: u64,
    filters: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Salted>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Salted {
    salt: String,
    sha256: String,
}

/// A part that is whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) file: String,
    pub(super) tenant: String,
    pub(super) records: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left_out: Option<LeftOut>,
}

/// The records that a part lacks something of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftOut {
    pub(super) file: String,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl State {
    /// The export that is in the directory, if it is the one that is asked for; or a new one.
    pub(super) fn open_or_begin(common: &Common, arguments: &Arguments) -> Result<Self, Failure> {
        let dir = arguments.output.clone();
        durable::make_dir(&dir).map_err(io(&dir))?;
        let lock = DirLock::try_acquire(&dir).map_err(io(&dir))?.ok_or_else(|| {
            Failure::new(format!("another export is writing into {}", dir.display()))
                .hint("wait for it, or name another directory")
        })?;
        let path = dir.join(FILE);
        let salt = indelible_vault::random::<16>().map_err(Failure::new)?;
        let asked = Selection::of(common, arguments, &to_hex(&salt));
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // What a crash in the middle of the first write leaves is no file of others.
                let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".export.json");
                let mut names = std::fs::read_dir(&dir).map_err(io(&dir))?.flatten();
                if names.any(|entry| !ours(&entry.file_name())) {
                    return Err(Failure::new(format!("{} is not empty and holds no export", dir.display()))
                        .hint("name a new directory"));
                }
                let kept = Kept {
                    v: VERSION,
                    selection: asked,
                    ledgers: Vec::new(),
                    parts: Vec::new(),
                    left_out: BTreeMap::new(),
                    next: None,
                    done: false,
                };
                return Ok(Self { dir, kept, _lock: lock });
            }
            Err(error) => return Err(io(&path)(error)),
        };
        let bad = |error: &dyn std::fmt::Display| {
            Failure::new(format!("{}: {error}", path.display())).hint("export into a new directory")
        };
        let kept: Kept = serde_json::from_slice(&text).map_err(|error| bad(&error))?;
        if kept.v != VERSION {
            return Err(bad(&format!("version {}, but this program writes {VERSION}", kept.v)));
        }
        let salt = kept.selection.user.as_ref().map_or("", |user| &user.salt);
        if kept.selection != Selection::of(common, arguments, salt) {
            return Err(Failure::new(format!("{} holds an export of another selection", dir.display()))
                .detail(format!("that one: {}", json!(kept.selection)))
                .hint("repeat its command to go on with it, or name a new directory"));
        }
        let state = Self { dir, kept, _lock: lock };
        state.check_parts()?;
        Ok(state)
    }

    /// Parts that are whole are as they were written.
    fn check_parts(&self) -> Result<(), Failure> {
        for part in &self.kept.parts {
            let left_out = part.left_out.iter().map(|left| (&left.file, &left.sha256));
            for (file, sha256) in std::iter::once((&part.file, &part.sha256)).chain(left_out) {
                let path = self.dir.join(file);
                if hash_of(&path).map_err(io(&path))? != *sha256 {
                    return Err(Failure::new(format!("{} is not as it was written", path.display()))
                        .hint("export into a new directory")
                        .code(1));
                }
            }
        }
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn done(&self) -> bool {
        self.kept.done
    }

    pub(super) fn format(&self) -> &str {
        &self.kept.selection.format
    }

    pub(super) fn has_payloads(&self) -> bool {
        self.kept.selection.content == Content::Payloads
    }

    pub(super) fn part_records(&self) -> u64 {
        self.kept.selection.part_records
    }

    pub(super) fn sizes(&self) -> impl Iterator<Item = (String, u64)> {
        self.kept.ledgers.iter().map(|ledger| (ledger.tenant.clone(), ledger.size))
    }

    pub(super) fn next(&self) -> Option<&Cursor> {
        self.kept.next.as_ref()
    }

    pub(super) fn records(&self) -> u64 {
        self.kept.parts.iter().map(|part| part.records).sum()
    }

    pub(super) fn parts(&self) -> usize {
        self.kept.parts.len()
    }

    pub(super) fn left_out(&self) -> impl Iterator<Item = (&String, &u64)> {
        self.kept.left_out.iter()
    }

    /// The number that the next part of a ledger has in its name.
    pub(super) fn number(&self, tenant: &str) -> usize {
        self.kept.parts.iter().filter(|part| part.tenant == tenant).count() + 1
    }

    /// What programs are told at the end.
    pub(super) fn summary(&self) -> Value {
        json!({
            "records": self.records(),
            "parts": self.kept.parts,
            "left_out": self.kept.left_out,
            "ledgers": self.kept.ledgers,
            "done": self.kept.done,
        })
    }

    /// The ledgers that the selection is taken from: at the first start noted, later compared.
    pub(super) fn take_ledgers(&mut self, ledgers: Vec<Ledger>) -> Result<(), Failure> {
        if self.kept.ledgers.is_empty() {
            self.kept.ledgers = ledgers;
            return self.write();
        }
        if self.kept.ledgers != ledgers {
            return Err(Failure::new("the export in this directory is of other ledgers than these")
                .detail(format!("that one: {}", json!(self.kept.ledgers)))
                .hint("name the data directory that it was begun on, or a new directory"));
        }
        Ok(())
    }

    /// A part is on disk whole: it counts from now on.
    pub(super) fn add(&mut self, part: Part, left_out: &BTreeMap<String, u64>) -> Result<(), Failure> {
        self.kept.next = Some(Cursor { tenant: part.tenant.clone(), seq: part.last + 1 });
        self.kept.parts.push(part);
        for (why, count) in left_out {
            *self.kept.left_out.entry(why.clone()).or_default() += count;
        }
        self.write()
    }

    /// It was all of it.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        (self.kept.next, self.kept.done) = (None, true);
        self.write()
    }

    fn write(&self) -> Result<(), Failure> {
        let path = self.dir.join(FILE);
        let text = serde_json::to_string_pretty(&self.kept).map_err(Failure::new)?;
        durable::replace(&path, format!("{text}\n").as_bytes(), MODE_SECRET).map_err(io(&path))
    }
}

impl Selection {
    fn of(common: &Common, arguments: &Arguments, salt: &str) -> Self {
        let filters = &arguments.filters;
        // A user's name is kept as a hash alone.
        let named = filters.named().into_iter().filter(|(name, _)| *name != "user");
        let named = named.chain([("tenant", &common.tenant)]);
        let named = named.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        let user = filters.user.as_ref().map(|user| Salted {
            salt: salt.to_owned(),
            sha256: to_hex(&Sha256::digest(format!("{salt}{user}"))),
        });
        Self {
            format: arguments.format.name().to_owned(),
            content: content(arguments),
            part_records: arguments.part_records.get(),
            filters: named.collect(),
            user,
        }
    }
}

fn hash_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(to_hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}
