//! A whole data directory: every file, every byte outside `cache/` and `run/`.
//!
//! ```text
//! DIR/FORMAT                      one fixed line
//! DIR/wal/*.wal                   frames; signed digests of the file stand between them
//! DIR/segments/tenant=T/…         entries that were sealed; the hash of each manifest is an entry
//! DIR/ledgers/TENANT/checkpoint   the newest signed tree head of each ledger
//!                    checkpoint.witnessed  the newest that witnesses cosigned
//! DIR/spool/*.spool               where gateway and collector share a directory
//! ```
//!
//! Trust comes from the public keys that the caller brings. What the last signature covers is judged
//! against it; what stands behind it is what was on its way when the collector stopped, or stops now:
//! while it runs that is in order, and otherwise the answer is "could not tell".
//!
//! Reads only. It takes no lock, so it may look at a directory that is being written: claims (head,
//! checkpoints) are read before the entries that they are about, which can only have grown since.

mod beyond;
mod claims;
mod elsewhere;
mod journal;
mod predecessor;
mod segments;

pub use beyond::Beyond;
pub use elsewhere::{CachedManifest, Elsewhere, manifests_dir};
pub use journal::Journal;
pub use predecessor::Predecessor;

use crate::Verdict;
use crate::ledger::LedgerCheck;
use crate::succession::Succeeded;
use base64::Engine as _;
use indelible_ledger::{Checkpoint, Frontier, Hash, KeyHistory, Note, VerifierKey};
use indelible_os::durable::{Dir, FsDir, LogFile};
use indelible_os::lock;
use indelible_spool::frame::Kind;
use indelible_spool::reader::{self, End, FileReader};
use indelible_spool::wal::Record;
use indelible_spool::{LogError, Role};
use segments::Sealed;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The one line of `DIR/FORMAT`.
pub const FORMAT_LINE: &str = "indelible data directory, format 1\n";
/// Tenant of the operations ledger, whose key signs file digests.
pub const OPERATIONS: &str = "operations";
/// First line of a file digest.
pub const DIGEST_LINE: &str = "indelible wal digest v1";

/// Identity of a log, as its file headers have it.
type LogId = [u8; 16];

/// What to check a directory against.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Each ledger's public keys.
    pub keys: Vec<(String, KeyHistory)>,
    /// The head, if it can be read: tenant and signed note.
    pub head: Vec<(String, String)>,
}

/// Something that is wrong, or that could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub verdict: Verdict,
    /// Which ledger, where one can be named.
    pub ledger: Option<String>,
    /// Sequence number of the first entry concerned, where one can be named.
    pub seq: Option<u64>,
    /// Which file.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What it comes of.
    pub cause: Cause,
}

/// What a finding comes of, where what to do about it follows from that rather than from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Of what its file is.
    File,
    /// What would tell is in another store, which was not read.
    Unread,
    /// Another store has files of a segment, and not its manifest.
    Half,
    /// There is no public key of a ledger.
    NoKey,
}

/// What was found of one ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerReport {
    /// Whose it is.
    pub tenant: String,
    /// Entries read.
    pub entries: u64,
    /// Entries that a verified signature covers.
    pub signed: u64,
    /// Root over the entries read.
    pub root: Hash,
    /// Time of the first and the last entry, by the collector's clock.
    pub span: Option<(String, String)>,
    /// What it says of the ledger that it goes on from, if it goes on from one.
    pub succeeded: Option<Succeeded>,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// What was found, worst first.
    pub findings: Vec<Finding>,
    /// The ledgers.
    pub ledgers: Vec<LedgerReport>,
    /// Bytes of log read.
    pub bytes: u64,
    /// Whether a collector holds the directory now.
    pub running: bool,
    /// Whether the keys came from outside the directory.
    pub identity_checked: bool,
    /// Segments that an earlier run has read, by its journal, and this one has not.
    pub resumed: u64,
}

/// Checks the directory. `progress` is told bytes done and bytes in all.
pub fn check(dir: &Path, trust: &Trust, progress: impl FnMut(u64, u64)) -> Report {
    check_beyond(dir, trust, Beyond::Unknown, progress)
}

/// Checks the directory, and what of its segments lies elsewhere.
pub fn check_beyond(dir: &Path, trust: &Trust, beyond: Beyond<'_>, progress: impl FnMut(u64, u64)) -> Report {
    check_on(dir, trust, beyond, None, progress)
}

/// The same, going on where an earlier run ended, by its journal. Of segments that it has read, manifests alone are read; those that
/// more depends on are read whole all the same.
pub fn check_on(
    dir: &Path,
    trust: &Trust,
    beyond: Beyond<'_>,
    journal: Option<&mut Journal>,
    mut progress: impl FnMut(u64, u64),
) -> Report {
    let mut checker = Checker {
        dir,
        trust,
        running: lock::is_held(dir).unwrap_or(false),
        ledgers: BTreeMap::new(),
        claims: Vec::new(),
        findings: Vec::new(),
        bytes: 0,
        operations_logged: 0,
        sealed: Sealed::default(),
        beyond,
        beyond_listed: false,
        journal,
    };
    checker.check_layout();
    checker.read_claims();
    // Files of the log are opened before segments are listed: what is sealed and removed meanwhile is then seen in
    // both, never in neither.
    let log = checker.open_wal();
    checker.check_segments(&log, &mut progress);
    checker.check_wal(log, &mut progress);
    checker.check_entered();
    checker.check_claims();
    checker.check_spool();
    checker.report()
}

struct Checker<'a> {
    dir: &'a Path,
    trust: &'a Trust,
    running: bool,
    ledgers: BTreeMap<String, State>,
    /// Tenant, where the claim stands, the note.
    claims: Vec<(String, PathBuf, Vec<u8>)>,
    findings: Vec<Finding>,
    bytes: u64,
    /// Entries of the operations ledger up to this place in the log.
    operations_logged: u64,
    sealed: Sealed,
    beyond: Beyond<'a>,
    /// Whether all that is beyond is known.
    beyond_listed: bool,
    journal: Option<&'a mut Journal>,
}

/// A file of the log, opened.
struct OpenLog {
    number: u64,
    name: String,
    file: Arc<dyn LogFile>,
}

struct State {
    check: LedgerCheck,
    signed: u64,
    /// Once an entry is wrong, those behind it cannot be judged.
    broken: bool,
    /// Leaves of segments whose entries may also stand in the log, from number `first` on.
    overlap: Overlap,
    /// Entries of segments that were not read.
    unread: Vec<Range<u64>>,
}

/// Leaf hashes of entries from a number on, and the tree as far as a checkpoint among them was compared with it.
#[derive(Default)]
struct Overlap {
    first: u64,
    leaves: Vec<Hash>,
    tree: Frontier,
}

impl Overlap {
    fn leaf(&self, seq: u64) -> Option<Hash> {
        let n = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.leaves.get(n).copied()
    }

    /// The root at `size`. Sizes are asked for in the order in which they were signed.
    fn root_at(&mut self, size: u64) -> Option<Hash> {
        while self.tree.size() < size {
            let leaf = self.leaf(self.tree.size())?;
            self.tree.append(leaf).ok()?;
        }
        (self.tree.size() == size).then(|| self.tree.root())
    }
}

impl State {
    /// Whether an entry of the log may stand in a segment, too.
    fn has_segments(&self) -> bool {
        !self.overlap.leaves.is_empty() || !self.unread.is_empty()
    }

    /// Checks a signed checkpoint that stands among the entries that it is about.
    fn check_note(&mut self, note: &[u8]) -> Result<Checkpoint, String> {
        let keys = self.check.keys().ok_or("there is no public key to check this ledger with")?;
        let checkpoint = keys.open(note).map_err(|error| format!("checkpoint: {error}"))?;
        if !self.can_tell(checkpoint.size()) {
            return Ok(checkpoint);
        }
        // Its entries stand in segments, too, which were read as a whole before.
        if checkpoint.size() < self.check.size()
            && let Some(root) = self.overlap.root_at(checkpoint.size())
        {
            let same = root == checkpoint.root();
            let what =
                format!("the tree of the first {} entries is not the one that was signed", checkpoint.size());
            return if same { Ok(checkpoint) } else { Err(what) };
        }
        self.check.check_claim(&checkpoint)?;
        Ok(checkpoint)
    }
}

impl Checker<'_> {
    fn check_layout(&mut self) {
        let path = self.dir.join("FORMAT");
        match std::fs::read(&path) {
            Ok(bytes) if bytes == FORMAT_LINE.as_bytes() => {}
            Ok(_) => self.broken(&path, None, "not the line of a data directory of this format"),
            Err(error) => self.unsure(&path, None, format!("cannot be read: {error}")),
        }
        let known = ["FORMAT", "wal", "ledgers", "segments", "spool", "cache", "run"];
        let Ok(names) = std::fs::read_dir(self.dir) else { return };
        for name in names.flatten() {
            if !known.iter().any(|known| name.file_name() == *known) {
                self.broken(&name.path(), None, "does not belong into a data directory");
            }
        }
    }

    fn open_wal(&mut self) -> Vec<OpenLog> {
        let path = self.dir.join("wal");
        let dir = FsDir::existing(&path);
        let files = match reader::list(&dir, Role::Wal.extension()) {
            Ok(files) => files,
            Err(error) => {
                self.unsure(&path, None, error.to_string());
                return Vec::new();
            }
        };
        self.check_no_strangers(&dir, &path, files.len());
        let mut opened = Vec::new();
        for (number, name) in files {
            match dir.open(&name) {
                Ok(file) => opened.push(OpenLog { number, name, file }),
                // Removed since it was listed: its entries stand in segments.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.running => opened.clear(),
                Err(error) => self.unsure(&path.join(&name), None, format!("cannot be opened: {error}")),
            }
        }
        opened
    }

    fn check_wal(&mut self, files: Vec<OpenLog>, progress: &mut dyn FnMut(u64, u64)) {
        let path = self.dir.join("wal");
        let len = |file: &OpenLog| file.file.len().unwrap_or(0);
        let total = self.bytes + files.iter().map(len).sum::<u64>();
        let mut next: Option<(u64, u64, LogId)> = None;
        for (index, file) in files.iter().enumerate() {
            let last = is_newest(&files[index + 1..]);
            let file_path = path.join(&file.name);
            let outcome = self.check_wal_file(file, &file_path, last, &mut next);
            if let Err(error) = outcome {
                self.log_error(&file_path, error);
                // Behind damage nothing can be placed: numbers and chain are unknown from here on.
                return;
            }
            self.bytes += len(file);
            progress(self.bytes, total);
        }
    }

    fn check_wal_file(
        &mut self,
        log: &OpenLog,
        path: &Path,
        last: bool,
        next: &mut Option<(u64, u64, LogId)>,
    ) -> Result<(), LogError> {
        let number = log.number;
        let Some(mut file) = FileReader::over(log.file.clone(), &log.name)? else {
            if !(last && self.running) {
                self.unsure(path, None, "the file was begun and nothing was written to it");
            }
            return Ok(());
        };
        let header = file.header().clone();
        let log_id = *header.log_id.as_bytes();
        let misplaced = match next {
            _ if header.role != Role::Wal || header.file_no != number => {
                Some("a file of another log or name")
            }
            None if number == 1 && header.first_seq != 1 => Some("the files before this one are missing"),
            Some((file_no, _, _)) if *file_no != number => Some("the file before this one is missing"),
            Some((_, _, log)) if *log != log_id => Some("a file of another log"),
            Some((_, seq, _)) if *seq != header.first_seq => Some("frames before this file are missing"),
            _ => None,
        };
        if let Some(what) = misplaced {
            self.broken(path, None, what);
        }
        let mut digest = RunningDigest::new(file.header_bytes());
        let mut closed = false;
        let mut covered = true;
        let mut offset = file.offset();
        // The oldest file says first what went before it, and segments must have that.
        let mut first = next.is_none() && number != 1;
        while let Some(frame) = file.next_frame()? {
            if std::mem::take(&mut first) {
                self.check_base(path, offset, frame.kind, frame.body);
            }
            match frame.kind {
                Kind::Mark => {}
                Kind::Close => closed = true,
                Kind::Checkpoint => {
                    let hash = digest.reach(log, offset)?;
                    self.check_notes(path, offset, number, hash, frame.kind, frame.body);
                    covered = true;
                }
                kind => {
                    covered = false;
                    self.check_record(path, offset, kind, frame.body);
                }
            }
            offset = file.offset();
            if closed {
                break;
            }
        }
        *next = Some((number + 1, file.next_seq(), log_id));
        let torn = "the end is torn: the machine stopped while writing; start the collector again";
        let open = "the file was not closed: the collector was killed; start it again";
        match file.judge_end(closed, last)? {
            End::Closed if !covered => {
                self.broken(path, None, "the file was closed, but its end is not covered by a signature");
            }
            End::Closed => {}
            End::Open | End::Torn | End::Untrimmed | End::Growing if self.running => {}
            End::Growing => self.unsure(path, None, "the file changes while it is being read"),
            End::Untrimmed => {
                self.unsure(path, None, "stopped while closing the file; start the collector again")
            }
            End::Torn if file.ends_in_damaged_close()? => {
                self.broken_at(path, offset, "the close frame is damaged")
            }
            // A killed process leaves frames, perhaps a piece of one, then zeros.
            End::Torn if file.stands_at_padding()? => {
                self.broken_at(path, offset, "bytes in the zero padding")
            }
            End::Open => self.unsure(path, None, open),
            End::Torn => self.unsure(path, None, torn),
        }
        Ok(())
    }

    fn check_record(&mut self, path: &Path, offset: u64, kind: Kind, body: &[u8]) {
        match Record::parse(kind, body) {
            None => self.broken_at(path, offset, "a frame of no known form"),
            Some(Record::Entry { tenant, entry, .. }) => {
                self.operations_logged += u64::from(tenant == OPERATIONS);
                self.check_entry(path, offset, tenant, entry);
            }
            Some(Record::Base(base)) => {
                let operations = base.ledgers.iter().find(|ledger| ledger.tenant == OPERATIONS);
                self.operations_logged = operations.map_or(0, |ledger| ledger.size);
            }
            Some(_) => {}
        }
    }

    /// A checkpoint frame: the digest of the file so far, then a tree head of each ledger that grew.
    fn check_notes(
        &mut self,
        path: &Path,
        offset: u64,
        file_no: u64,
        hash: [u8; 32],
        kind: Kind,
        body: &[u8],
    ) {
        let Some(Record::Checkpoint { notes }) = Record::parse(kind, body) else {
            return self.broken_at(path, offset, "malformed checkpoint");
        };
        let Some((digest, heads)) = notes.split_first() else {
            return self.broken_at(path, offset, "empty checkpoint");
        };
        let size = self.operations_logged;
        match self.ledger(OPERATIONS).check.keys().map(|keys| keys.at(size)) {
            None => {
                self.unsure(path, Some(OPERATIONS), "there is no public key to check file digests with");
                self.because(Cause::NoKey);
            }
            Some(keys) => {
                if let Err(what) = check_digest(digest, &keys, file_no, offset, &hash) {
                    self.broken_at(path, offset, what);
                }
            }
        }
        for note in heads {
            let named = Note::parse(note).ok().and_then(|note| note.text().lines().next().map(str::to_owned));
            let owner = self.trust.keys.iter().find(|(_, keys)| Some(keys.origin()) == named.as_deref());
            let Some(tenant) = owner.map(|(tenant, _)| tenant.clone()) else {
                self.add(
                    Verdict::Unsure,
                    None,
                    None,
                    path,
                    Some(offset),
                    format!(
                        "there is no public key for {}",
                        named.unwrap_or_else(|| "a malformed note".to_owned())
                    ),
                );
                self.because(Cause::NoKey);
                continue;
            };
            let state = self.ledger(&tenant);
            if state.broken {
                continue;
            }
            match state.check_note(note) {
                Ok(checkpoint) => state.signed = state.signed.max(checkpoint.size()),
                Err(what) => {
                    let seq = state.signed;
                    self.add(Verdict::Broken, Some(&tenant), Some(seq), path, Some(offset), what);
                }
            }
        }
    }

    /// A spool has no signatures: its frames are encrypted to the collector. Checksums are checked.
    fn check_spool(&mut self) {
        let path = self.dir.join("spool");
        if !path.is_dir() {
            return;
        }
        let dir = FsDir::existing(&path);
        let files = match reader::list(&dir, Role::Spool.extension()) {
            Ok(files) => files,
            Err(error) => return self.unsure(&path, None, error.to_string()),
        };
        self.check_no_strangers(&dir, &path, files.len());
        for (index, (_, name)) in files.iter().enumerate() {
            let later: Vec<OpenLog> = files[index + 1..]
                .iter()
                .filter_map(|(number, name)| {
                    Some(OpenLog { number: *number, name: name.clone(), file: dir.open(name).ok()? })
                })
                .collect();
            let last = is_newest(&later);
            let file_path = path.join(name);
            match check_spool_file(&dir, name, last) {
                Ok(None) => {}
                Ok(Some(_)) if self.running => {}
                Ok(Some((verdict, what))) => self.add(verdict, None, None, &file_path, None, what.to_owned()),
                // A running gateway removes files that the collector has.
                Err(_) if self.running && !file_path.exists() => {}
                Err(error) => self.log_error(&file_path, error),
            }
            self.bytes += file_path.metadata().map_or(0, |meta| meta.len());
        }
    }

    fn check_no_strangers(&mut self, dir: &FsDir, path: &Path, logs: usize) {
        if dir.list().is_ok_and(|names| names.len() > logs) && !self.running {
            self.broken(path, None, "holds a file that is not of the log");
        }
    }

    fn log_error(&mut self, path: &Path, error: LogError) {
        match error {
            LogError::Damaged { offset, what, .. } => {
                self.broken_at(path, offset, what);
            }
            LogError::Version { found, expected, .. } => {
                self.broken(path, None, format!("format version {found}, but this program reads {expected}"));
            }
            other => self.unsure(path, None, other.to_string()),
        }
    }

    fn ledger(&mut self, tenant: &str) -> &mut State {
        let keys = &self.trust.keys;
        self.ledgers.entry(tenant.to_owned()).or_insert_with(|| State {
            check: LedgerCheck::new(
                tenant,
                keys.iter().find(|(name, _)| name == tenant).map(|(_, keys)| keys.clone()),
            ),
            signed: 0,
            broken: false,
            overlap: Overlap::default(),
            unread: Vec::new(),
        })
    }

    fn broken(&mut self, path: &Path, ledger: Option<&str>, what: impl Into<String>) {
        self.add(Verdict::Broken, ledger, None, path, None, what.into());
    }

    fn broken_at(&mut self, path: &Path, offset: u64, what: impl Into<String>) {
        self.add(Verdict::Broken, None, None, path, Some(offset), what.into());
    }

    fn unsure(&mut self, path: &Path, ledger: Option<&str>, what: impl Into<String>) {
        self.add(Verdict::Unsure, ledger, None, path, None, what.into());
    }

    fn add(
        &mut self,
        verdict: Verdict,
        ledger: Option<&str>,
        seq: Option<u64>,
        file: &Path,
        offset: Option<u64>,
        what: String,
    ) {
        let ledger = ledger.map(str::to_owned);
        let (file, cause) = (file.to_owned(), Cause::File);
        self.findings.push(Finding { verdict, ledger, seq, file, offset, what, cause });
    }

    /// What the last finding comes of.
    fn because(&mut self, cause: Cause) {
        if let Some(last) = self.findings.last_mut() {
            last.cause = cause;
        }
    }

    fn report(mut self) -> Report {
        // Stable: within a verdict, in the order found.
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        Report {
            verdict: self.findings.first().map_or(Verdict::Holds, |finding| finding.verdict),
            findings: self.findings,
            ledgers: self
                .ledgers
                .into_iter()
                .map(|(tenant, state)| LedgerReport {
                    tenant,
                    entries: state.check.size(),
                    signed: state.signed,
                    root: state.check.root(),
                    succeeded: state.check.succeeded().cloned(),
                    span: state.check.span().map(|(a, b)| (a.to_owned(), b.to_owned())),
                })
                .collect(),
            bytes: self.bytes,
            running: self.running,
            identity_checked: !self.trust.keys.is_empty(),
            resumed: self.journal.map_or(0, |journal| journal.passed),
        }
    }
}

/// The text of a file digest note: what the collector signs at each checkpoint.
pub fn digest_text(file_no: u64, bytes: u64, hash: &[u8; 32]) -> String {
    let hash = base64::engine::general_purpose::STANDARD.encode(hash);
    format!("{DIGEST_LINE}\n{file_no} {bytes}\n{hash}\n")
}

fn check_digest(
    note: &[u8],
    keys: &[VerifierKey],
    file_no: u64,
    offset: u64,
    hash: &[u8; 32],
) -> Result<(), String> {
    let note = Note::parse(note).map_err(|error| format!("file digest: {error}"))?;
    note.verify(keys).map_err(|error| format!("file digest: {error}"))?;
    if note.text() == digest_text(file_no, offset, hash) {
        return Ok(());
    }
    Err("the bytes of this file up to here are not the ones that were signed".to_owned())
}

/// Whether frames go to the file before `later`: the next one is made before this one is closed, and gets
/// its header after that.
fn is_newest(later: &[OpenLog]) -> bool {
    match later {
        [] => true,
        [next] => matches!(FileReader::over(next.file.clone(), &next.name), Ok(None)),
        _ => false,
    }
}

/// What is wrong with the end of a spool file while no gateway runs on it.
fn check_spool_file(
    dir: &FsDir,
    name: &str,
    last: bool,
) -> Result<Option<(Verdict, &'static str)>, LogError> {
    let Some(mut file) = FileReader::open(dir, name)? else {
        return Ok(Some((Verdict::Unsure, "the file was begun and nothing was written to it")));
    };
    let mut closed = false;
    while let Some(frame) = file.next_frame()? {
        if frame.kind == Kind::Close {
            closed = true;
            break;
        }
    }
    Ok(match file.judge_end(closed, last)? {
        End::Closed => None,
        End::Untrimmed => Some((Verdict::Unsure, "stopped while closing the file; start the gateway again")),
        End::Torn if file.ends_in_damaged_close()? => Some((Verdict::Broken, "the close frame is damaged")),
        End::Torn if file.stands_at_padding()? => Some((Verdict::Broken, "bytes in the zero padding")),
        End::Open => {
            Some((Verdict::Unsure, "the file was not closed: the gateway was killed; start it again"))
        }
        End::Torn => Some((Verdict::Unsure, "the end is torn: the machine stopped while writing")),
        End::Growing => Some((Verdict::Unsure, "the file changes while it is being read")),
    })
}

/// SHA-256 over a file's bytes from its start, extended as the reader goes.
struct RunningDigest {
    hash: Sha256,
    reached: u64,
}

impl RunningDigest {
    fn new(header: &[u8]) -> Self {
        Self { hash: Sha256::new_with_prefix(header), reached: header.len() as u64 }
    }

    fn reach(&mut self, log: &OpenLog, offset: u64) -> Result<[u8; 32], LogError> {
        let read = |error| LogError::Io { context: format!("cannot read {}", log.name), source: error };
        let file = &log.file;
        let mut buffer = vec![0; 256 << 10];
        while self.reached < offset {
            let take = buffer.len().min((offset - self.reached) as usize);
            let got = file.read_at(&mut buffer[..take], self.reached).map_err(read)?;
            if got == 0 {
                return Err(read(std::io::ErrorKind::UnexpectedEof.into()));
            }
            self.hash.update(&buffer[..got]);
            self.reached += got as u64;
        }
        Ok(self.hash.clone().finalize().into())
    }
}
