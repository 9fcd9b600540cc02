//! A copy of records and keys that is one moment of them, also while a collector writes them.
//!
//! Log, segments and head fit if no head was signed while it was looked what there is: a log file is closed, and a segment
//! made known, under a new head only. Then it is copied, which takes longer: log files are held open, segments stay as they
//! are. Of the newest log file the whole frames are taken, as after a crash at that moment: the collector that is started
//! on the copy recovers it as it would then. Keys come last: a key is made before the record that needs it. The original
//! is only read.

use crate::Trouble;
use indelible_os::durable::{Dir, FsDir, LogFile};
use indelible_spool::Role;
use indelible_spool::reader::{self, FileReader};
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is not part of the records: what may be deleted, what belongs to a gateway, what is being made.
const LEFT_OUT: [&str; 3] = ["cache", "run", "spool"];
/// Certificates have no part in a ledger; the head is copied first.
const KEYS_LEFT_OUT: [&str; 2] = ["tls", "head"];
const BLOCK_BYTES: usize = 1 << 20;
/// How often it is looked again when a head was signed meanwhile.
const TRIES: usize = 100;

/// A copy.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The records.
    pub data: PathBuf,
    /// The keys.
    pub keys: PathBuf,
}

impl Copy {
    /// Where a copy lies in a directory.
    pub fn at(dir: &Path) -> Self {
        Self { data: dir.join("data"), keys: dir.join("data.keys") }
    }
}

/// Bytes of all that would be copied.
pub fn bytes_of(data: &Path, keys: &Path) -> io::Result<u64> {
    Ok(bytes_below(data, &LEFT_OUT)? + bytes_below(keys, &KEYS_LEFT_OUT)?)
}

/// Bytes that are free where `dir` is.
pub fn bytes_free(dir: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(dir)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

fn bytes_below(dir: &Path, left_out: &[&str]) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if left_out.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            bytes += bytes_below(&entry.path(), &[])?;
        } else {
            bytes += entry.metadata().map_or(0, |meta| meta.len());
        }
    }
    Ok(bytes)
}

/// Makes a directory that nobody else can look into.
pub fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Copies records and keys into a directory that is empty.
pub fn take(data: &Path, keys: &Path, into: &Path) -> Result<Copy, Trouble> {
    let copy = Copy::at(into);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| Trouble::Io(path, error)
    };
    for dir in [&copy.data, &copy.keys, &copy.data.join("wal")] {
        make_private(dir).map_err(failed(dir))?;
    }
    let format = data.join("FORMAT");
    std::fs::copy(&format, copy.data.join("FORMAT")).map_err(failed(&format))?;
    let ledgers = data.join("ledgers");
    copy_below(&ledgers, &copy.data.join("ledgers"), &[]).map_err(failed(&ledgers))?;
    let moment = Moment::of(data, keys)?;
    let head = copy.keys.join("head");
    std::fs::write(&head, &moment.head).map_err(failed(&head))?;
    for path in &moment.segments {
        copy_file(&data.join(path), &copy.data.join(path)).map_err(failed(path))?;
    }
    for (name, file, end) in &moment.log {
        let path = copy.data.join("wal").join(name);
        copy_log(&**file, *end, &path).map_err(failed(&path))?;
    }
    copy_below(keys, &copy.keys, &KEYS_LEFT_OUT).map_err(failed(keys))?;
    Ok(copy)
}

/// What there is to copy, all of one moment.
struct Moment {
    head: Vec<u8>,
    /// Files of the log, oldest first, and where what is taken of each ends.
    log: Vec<(String, Arc<dyn LogFile>, u64)>,
    /// Files of segments, by their path in the data directory.
    segments: Vec<PathBuf>,
}

impl Moment {
    fn of(data: &Path, keys: &Path) -> Result<Self, Trouble> {
        let (wal, path) = (data.join("wal"), keys.join("head"));
        let read = || std::fs::read(&path).map_err(|error| Trouble::Io(path.clone(), error));
        for _ in 0..TRIES {
            let head = read()?;
            let files = open_log(&wal)?;
            let mut segments = Vec::new();
            list_segments(data, Path::new("segments"), &mut segments)?;
            let newest = files.len().saturating_sub(1);
            let mut log = Vec::new();
            for (index, (name, file)) in files.into_iter().enumerate() {
                let end = match index == newest {
                    true => end_of_frames(&file, &name)?,
                    false => file.len().map_err(|error| Trouble::Io(wal.join(&name), error))?,
                };
                log.push((name, file, end));
            }
            if read()? == head {
                return Ok(Self { head, log, segments });
            }
        }
        Err(Trouble::Form(format!("{}: it changes faster than it can be looked at", path.display())))
    }
}

/// The files of segments that have their place, below a directory of the data directory.
fn list_segments(data: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), Trouble> {
    let failed = |error| Trouble::Io(data.join(below), error);
    let names = match std::fs::read_dir(data.join(below)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(failed)?,
    };
    for entry in names {
        let entry = entry.map_err(failed)?;
        let path = below.join(entry.file_name());
        if !entry.file_type().map_err(failed)?.is_dir() {
            found.push(path);
        } else if entry.file_name() != "staging" {
            list_segments(data, &path, found)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    to.parent().map_or(Ok(()), make_private)?;
    std::fs::copy(from, to).map(drop)
}

type OpenFile = (String, Arc<dyn LogFile>);

/// The files of the log that have begun, oldest first.
fn open_log(wal: &Path) -> Result<Vec<OpenFile>, Trouble> {
    let dir = FsDir::existing(wal);
    let mut files: Vec<OpenFile> = Vec::new();
    for (_, name) in reader::list(&dir, Role::Wal.extension())? {
        match dir.open(&name) {
            // The next file is made before this one is closed, and gets its header after that.
            Ok(file) if FileReader::over(file.clone(), &name)?.is_some() => files.push((name, file)),
            Ok(_) => {}
            // Removed since it was listed: its entries stand in segments, and so do those of the files before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.clear(),
            Err(error) => return Err(Trouble::Io(wal.join(name), error)),
        }
    }
    Ok(files)
}

/// Where the last whole frame of a file ends.
fn end_of_frames(file: &Arc<dyn LogFile>, name: &str) -> Result<u64, Trouble> {
    let Some(mut reader) = FileReader::over(file.clone(), name)? else { return Ok(0) };
    while reader.next_frame()?.is_some() {}
    Ok(reader.offset())
}

fn copy_log(file: &dyn LogFile, end: u64, to: &Path) -> io::Result<()> {
    let mut out = File::create_new(to)?;
    each_block(file, end, |block| out.write_all(block))
}

/// The bytes of a file of the log up to `end`, a piece at a time.
pub(crate) fn each_block(
    file: &dyn LogFile,
    end: u64,
    mut visit: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut at = 0;
    while at < end {
        let take = usize::try_from(end - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        let read = file.read_at(&mut buffer[..take], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        visit(&buffer[..read])?;
        at += read as u64;
    }
    Ok(())
}

/// Copies a directory. What goes away meanwhile is passed over.
pub(crate) fn copy_below(from: &Path, to: &Path, left_out: &[&str]) -> io::Result<()> {
    make_private(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if left_out.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_below(&entry.path(), &target, &[])?;
        } else if let Err(error) = std::fs::copy(entry.path(), &target)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}
