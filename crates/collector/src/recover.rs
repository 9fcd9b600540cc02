//! Recovery: the write-ahead log read back, and held against the head, what is published, and the segments.

use crate::CollectorError;
use crate::data_dir::DataDir;
use crate::head::Head;
use crate::sequencer::Recovered;
use crate::state::{Misfit, State};
use crate::store::segment::Segment;
use crate::store::tail::WalFile;
use crate::store::{Store, View};
use indelible_ledger::{Hash, Rotation};
use indelible_os::durable::{Dir, FsDir};
use indelible_record::entry::{Entry, event_type};
use indelible_spool::frame::{FileHeader, Frame, Role};
use indelible_spool::wal::{Base, Record, Ref};
use indelible_spool::writer::{FILE_MAX_BYTES, LogWriter, Options, Position};
use indelible_spool::{Kind, LogError};
use indelible_vault::KeyStore;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Reads the WAL back and holds it against the head and the segments.
pub(crate) fn recover(
    dir: &DataDir,
    keys: &KeyStore,
    head: &Head,
    store: Arc<Store>,
) -> Result<Recovered, CollectorError> {
    let public = KeyStore::key_histories(keys.dir())?;
    let mut state = State::default();
    let mut beyond_head = BTreeMap::new();
    for (tenant, note) in head.notes() {
        let keys = public.iter().find(|(name, _)| name == tenant).map(|(_, keys)| keys);
        let keys = keys.ok_or_else(|| no_key(tenant))?;
        let checkpoint = keys
            .open(note.as_bytes())
            .map_err(|error| CollectorError::Refused(format!("the head of ledger {tenant}: {error}")))?;
        let refused = |misfit: Misfit| CollectorError::Refused(misfit.0);
        state.await_signed(tenant, checkpoint.size(), checkpoint.root()).map_err(refused)?;
        // An older copy of the keys may have been put in place: the head is then older than what is published.
        let Some(published) = dir.published(tenant) else { continue };
        if let Ok(signed) = keys.open(&published) {
            state.await_signed(tenant, signed.size(), signed.root()).map_err(refused)?;
            if signed.size() > checkpoint.size() {
                beyond_head.insert(tenant.clone(), String::from_utf8_lossy(&published).into_owned());
            }
        }
    }
    let wal_path = dir.wal();
    let mut entered = HashSet::new();
    let mut begins: BTreeMap<String, u64> = BTreeMap::new();
    let mut rotated: BTreeMap<String, Rotation> = BTreeMap::new();
    let mut newest_file = 0;
    let mut first_file = None;
    let state = RefCell::new(state);
    let visit = |_: &FileHeader, at: Position, frame: Frame<'_>| {
        let damaged = |what: String| LogError::Damaged {
            file: indelible_spool::reader::file_name(at.file_no, "wal"),
            offset: at.offset,
            what,
        };
        if frame.kind == Kind::Acked {
            return Ok(());
        }
        let record = Record::parse(frame.kind, frame.body)
            .ok_or_else(|| damaged("a frame of no known form".to_owned()))?;
        let place = Ref { file_no: at.file_no, offset: at.offset };
        if at.file_no != newest_file {
            let name = indelible_spool::reader::file_name(at.file_no, "wal");
            let file = FsDir::existing(&wal_path).open(&name);
            store.add_file(WalFile::new(
                at.file_no,
                file.map_err(LogError::io(format!("cannot open {name}")))?,
            ));
            newest_file = at.file_no;
        }
        if first_file.is_none() {
            first_file = Some(at.file_no);
            if at.file_no > 1 && frame.kind != Kind::Base {
                return Err(damaged(
                    "the files before this one are missing, and it does not say what they held".to_owned(),
                ));
            }
        }
        check_unsigned(&state.borrow(), &record).map_err(damaged)?;
        if let Record::Base(base) = &record {
            check_base(&store.view(), base).map_err(damaged)?;
        }
        if let Record::Entry { tenant, entry, .. } = &record {
            let entry: Entry = serde_json::from_slice(entry).map_err(|error| damaged(error.to_string()))?;
            begins.entry((*tenant).to_owned()).or_insert(entry.seq);
            if entry.event_type == event_type::SEGMENT_SEALED {
                entered.extend(entry.resource.as_ref().map(|segment| segment.id.clone()));
            }
            if entry.event_type == event_type::KEY_ROTATED {
                let note = entry.detail.as_ref().and_then(|detail| detail.get("note")?.as_str());
                let rotation = Rotation::open(note.unwrap_or_default().as_bytes());
                rotated.insert((*tenant).to_owned(), rotation.map_err(|error| damaged(error.to_string()))?);
            }
            store.note_entry(place, &entry);
        }
        state.borrow_mut().apply(&record, place).map_err(|misfit| damaged(misfit.0))
    };
    // Nothing is cut when what would be left is less than what was signed.
    let floor = || if behind_head(&state.borrow()).is_some() { u64::MAX } else { 0 };
    let options = Options { role: Role::Wal, limit_bytes: None, file_bytes: FILE_MAX_BYTES, seal: None };
    let wal_dir = Arc::new(FsDir::open(&dir.wal()).map_err(CollectorError::io(&dir.wal()))?);
    let (wal, recovered) = LogWriter::open(wal_dir, options, visit, floor)
        .map_err(|error| refuse_when_behind(error, behind_head(&state.borrow())))?;
    let state = state.into_inner();
    if let Some(what) = behind_head(&state) {
        return Err(CollectorError::Refused(what));
    }
    let with_entries: Vec<&str> =
        state.ledgers().filter(|(_, ledger)| ledger.size() > 0).map(|(tenant, _)| tenant.as_str()).collect();
    check_head(head, &with_entries, Some(&wal.log_id().to_string()))?;
    if let Some((file, bytes)) = recovered.cut {
        tracing::warn!(file, bytes, "cut a torn tail: the process or the machine stopped while writing");
    }
    check_segments(&store.view(), &state, &begins)?;
    // Files go only after the manifests of what was in them were entered and signed.
    let first_file = first_file.unwrap_or(u64::MAX);
    let older = store.view();
    let older = older.all_segments().filter(|segment| segment.manifest().wal.to < first_file);
    entered.extend(older.map(|segment| segment.manifest().segment.clone()));
    Ok(Recovered { wal, state, entered, store, rotated, beyond_head })
}

/// A ledger that the head names has its public key beside it.
pub(crate) fn no_key(tenant: &str) -> CollectorError {
    CollectorError::Refused(format!("the head names ledger {tenant}, but its key is missing"))
}

/// The head has each ledger that has entries, and is about the log that is here, if there is one.
pub(crate) fn check_head(
    head: &Head,
    with_entries: &[&str],
    log: Option<&str>,
) -> Result<(), CollectorError> {
    if with_entries.is_empty() {
        return Ok(());
    }
    if head.notes().is_empty() {
        return Err(CollectorError::Refused("there are entries, but the head is missing".to_owned()));
    }
    if let Some(tenant) = with_entries.iter().find(|tenant| !head.notes().contains_key(**tenant)) {
        return Err(CollectorError::Refused(format!("ledger {tenant} has entries, but no head")));
    }
    if !head.log().is_empty() && log.is_some_and(|log| log != head.log()) {
        return Err(CollectorError::Refused("the head is about another log than the one here".to_owned()));
    }
    Ok(())
}

/// Segments that end where a file of the log begins have come to what that says, which was signed.
fn check_base(view: &View, base: &Base<'_>) -> Result<(), String> {
    for ledger in &base.ledgers {
        let ends_here = |one: &&Arc<Segment>| one.manifest().end() == Some(ledger.size);
        let Some(segment) = view.segments(ledger.tenant).iter().find(ends_here) else { continue };
        if !segment.manifest().after.iter().map(|hash| &hash.0).eq(&ledger.hashes) {
            return Err(format!("segment {} does not end as the log says that it did", segment.path()));
        }
    }
    Ok(())
}

/// Segments reach at least to where the log begins, and not beyond where it ends.
fn check_segments(view: &View, state: &State, begins: &BTreeMap<String, u64>) -> Result<(), CollectorError> {
    for (tenant, ledger) in state.ledgers() {
        let (sealed, size) = (view.sealed(tenant), ledger.size());
        let begin = begins.get(tenant).copied().unwrap_or(size);
        if sealed < begin {
            return Err(CollectorError::Refused(format!(
                "ledger {tenant}: entries {sealed} to {} were sealed, but no segment here has them; restore it from a copy",
                begin - 1
            )));
        }
        if sealed > size {
            return Err(CollectorError::Refused(format!(
                "ledger {tenant}: {sealed} entries stand in segments, but the log ends at {size}: an old copy of it was restored"
            )));
        }
    }
    let stranger = view.all_segments().find(|segment| state.ledger(&segment.manifest().tenant).is_none());
    match stranger {
        Some(segment) => Err(CollectorError::Refused(format!(
            "segment {} belongs to a ledger that is not in the log: an old copy of it was restored",
            segment.path()
        ))),
        None => Ok(()),
    }
}

/// An entry behind the head was never read back and signed. It must at least be one that this program
/// makes, in its place: what is signed once can never be taken back.
fn check_unsigned(state: &State, record: &Record<'_>) -> Result<(), String> {
    let Record::Entry { tenant, entry, .. } = record else { return Ok(()) };
    let (size, awaited, last_leaf) = state
        .ledger(tenant)
        .map_or((0, 0, Hash::ZERO), |ledger| (ledger.size(), ledger.awaited_size(), ledger.last_leaf()));
    if size < awaited {
        return Ok(());
    }
    let entry = Entry::parse(entry).map_err(|error| error.to_string())?;
    if entry.tenant_id != *tenant || entry.seq != size || entry.prev_hash != last_leaf.to_string() {
        return Err(format!(
            "an entry that does not follow entry {} of ledger {tenant}",
            size.saturating_sub(1)
        ));
    }
    Ok(())
}

/// What is wrong when a ledger is shorter than its head.
fn behind_head(state: &State) -> Option<String> {
    state.ledgers().find(|(_, ledger)| ledger.size() < ledger.awaited_size()).map(|(tenant, ledger)| {
        format!(
            "ledger {tenant}: {} entries were signed, but only {} are here: an old copy was restored, or records were lost",
            ledger.awaited_size(),
            ledger.size()
        )
    })
}

fn refuse_when_behind(error: LogError, behind: Option<String>) -> CollectorError {
    match (error, behind) {
        (LogError::Damaged { file, offset, what }, Some(behind)) => {
            CollectorError::Refused(format!("{file}: {what} at byte {offset}; {behind}"))
        }
        (error, _) => error.into(),
    }
}
