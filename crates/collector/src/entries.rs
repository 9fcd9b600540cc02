//! The exact bytes of a ledger's entries in order, from the directory itself: segments, then the log.
//!
//! Needs no key and takes no lock; a collector may be writing. What it seals meanwhile moves from the log into a
//! segment: then the segments are read again, from where reading was. Segments that are in a bucket are read there.

use crate::seal::segments_dir;
use crate::store::Store;
use crate::store::location::Location;
use crate::{CollectorError, tiers};
use indelible_os::durable::FsDir;
use indelible_record::Entry;
use indelible_spool::frame::Kind;
use indelible_spool::reader::{self, FileReader};
use indelible_spool::wal::Record;
use indelible_spool::{LogError, Role};
use std::io;
use std::path::Path;

/// Hands the entries of `tenant` to `visit`, oldest first, until it answers `false`. Says how many there were.
pub fn visit(data: &Path, tenant: &str, visit: impl FnMut(&[u8]) -> bool) -> Result<u64, CollectorError> {
    visit_with(data, None, tenant, visit)
}

/// The same where segments may be in a bucket.
pub fn visit_with(
    data: &Path,
    bucket: Option<&Location>,
    tenant: &str,
    mut visit: impl FnMut(&[u8]) -> bool,
) -> Result<u64, CollectorError> {
    let mut next = 0u64;
    let mut last_try = false;
    loop {
        let begun = next;
        let store = Store::open(tiers::reading(&segments_dir(data), bucket)?)?;
        let view = store.view();
        for segment in view.segments(tenant) {
            let manifest = segment.manifest();
            let Some(from) = next.checked_sub(manifest.first).filter(|from| *from < manifest.count) else {
                continue;
            };
            let mut wanted = true;
            segment.visit_from(from, |_, bytes| {
                wanted = visit(bytes);
                next += 1;
                Ok(wanted)
            })?;
            if !wanted {
                return Ok(next);
            }
        }
        match log(&data.join("wal"), tenant, &mut next, &mut visit)? {
            // Sealed and removed since the segments were listed.
            Logged::Hole if next > begun || !last_try => last_try = next == begun,
            Logged::Hole => {
                let what = format!("ledger {tenant}: entry {next} is in no segment here and not in the log");
                let hint = "name the configuration if it is in a bucket, or run indelible verify";
                return Err(CollectorError::Refused(format!("{what}: {hint}")));
            }
            Logged::End => return Ok(next),
        }
    }
}

enum Logged {
    /// Everything was read, or nobody wants more.
    End,
    /// Entries before those of the log are missing.
    Hole,
}

fn log(
    path: &Path,
    tenant: &str,
    next: &mut u64,
    visit: &mut impl FnMut(&[u8]) -> bool,
) -> Result<Logged, CollectorError> {
    let dir = FsDir::existing(path);
    let files = reader::list(&dir, Role::Wal.extension())?;
    for (index, (_, name)) in files.iter().enumerate() {
        let mut file = match FileReader::open(&dir, name) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Logged::Hole);
            }
            Err(error) => return Err(error.into()),
        };
        let mut closed = false;
        while let Some(frame) = file.next_frame()? {
            closed |= frame.kind == Kind::Close;
            let (owner, bytes) = match Record::parse(frame.kind, frame.body) {
                Some(Record::Entry { tenant, entry, .. }) => (tenant, entry),
                // What went before the oldest file must have been read.
                Some(Record::Base(base)) => {
                    if base.ledgers.iter().any(|ledger| ledger.tenant == tenant && ledger.size > *next) {
                        return Ok(Logged::Hole);
                    }
                    continue;
                }
                _ => continue,
            };
            if owner != tenant {
                continue;
            }
            let entry: Entry = serde_json::from_slice(bytes)
                .map_err(|error| CollectorError::Refused(format!("a malformed entry in {name}: {error}")))?;
            if entry.seq > *next {
                return Ok(Logged::Hole);
            }
            if entry.seq == *next {
                *next += 1;
                if !visit(bytes) {
                    return Ok(Logged::End);
                }
            }
        }
        check_whole(&file, closed, index + 2 >= files.len())?;
    }
    Ok(Logged::End)
}

/// A file that is not written to any more has to end with its close frame: one that does not would leave
/// records out without a word. The newest one may be open, and the one before it about to be closed.
fn check_whole(file: &FileReader, closed: bool, newest: bool) -> Result<(), CollectorError> {
    if closed || newest {
        return Ok(());
    }
    let what = format!("{} cannot be read behind byte {}: run indelible verify", file.name(), file.offset());
    Err(CollectorError::Refused(what))
}
