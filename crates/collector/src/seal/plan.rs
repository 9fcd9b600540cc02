//! What is to be sealed, and as which segments.

use super::Sealing;
use crate::CollectorError;
use crate::store::View;
use indelible_os::clock::Utc;
use indelible_record::Entry;
use indelible_segment::ids::{IdKind, hash};
use indelible_spool::frame::Kind;
use indelible_spool::reader::{FileReader, file_name};
use indelible_spool::wal::{Record, Ref};
use indelible_vault::{SubjectRef, seal};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is due.
pub(super) struct Due {
    /// Files before this one are to be sealed…
    pub(super) before: u64,
    /// …and the newest, too: it is to be closed first.
    pub(super) rotate: bool,
}

/// Whether something is to be sealed now. `all`: whatever stands in no segment.
pub(super) fn due(
    view: &View,
    sealing: &Sealing,
    now: Utc,
    all: bool,
) -> Result<Option<Due>, CollectorError> {
    let sealed = |tenant: &str| view.sealed(tenant);
    let Some((newest, closed)) = view.files().split_last() else { return Ok(None) };
    let mut closed_bytes = 0;
    for file in closed {
        if !file.is_sealed(sealed) {
            closed_bytes += file.file().len().map_err(|error| CollectorError::io("wal".as_ref())(error))?;
        }
    }
    let all_bytes = closed_bytes + newest.written();
    let oldest = view.files().iter().find_map(|file| file.oldest_unsealed(sealed)).map(Utc);
    let Some(oldest) = oldest else { return Ok(None) };
    let old = now.0 - oldest.0 >= i64::try_from(sealing.after.as_micros()).unwrap_or(i64::MAX);
    // A clock that is set may make the oldest entry one of tomorrow: then it waits.
    let of_another_day = oldest.day() < now.day();
    if all || of_another_day || (old && all_bytes >= sealing.min_bytes) {
        return Ok(Some(Due { before: newest.number() + 1, rotate: true }));
    }
    let full = closed_bytes >= sealing.max_bytes;
    Ok(full.then_some(Due { before: newest.number(), rotate: false }))
}

/// A segment to be made.
pub(super) struct Planned {
    pub(super) tenant: String,
    /// UTC day since 1970.
    pub(super) day: i64,
    pub(super) rows: Vec<RowPlan>,
}

/// One of its entries.
pub(super) struct RowPlan {
    pub(super) seq: u64,
    /// Its frame.
    pub(super) at: Ref,
    /// Frames with the rest of its payload.
    pub(super) refs: Box<[Ref]>,
    pub(super) event_id: Uuid,
    /// Whose payload it is, if it has one.
    pub(super) owner: Option<PayloadOwner>,
}

/// Payloads of one owner share frames. Ordered so that a person's stand together, and a conversation's in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PayloadOwner {
    pub(super) subject: [u8; 16],
    pub(super) month: u32,
    session: u64,
}

impl PayloadOwner {
    /// Whether its records belong to a session, and so repeat each other.
    pub(super) fn is_conversation(self) -> bool {
        self.session != 0
    }

    pub(super) fn subject(self) -> SubjectRef {
        SubjectRef(self.subject)
    }
}

/// The next segments that the entries of the files before `before` make: those that are known to be whole as soon as there is one, so
/// that what waits to be sealed is not in memory all at once. None: all stand in segments.
pub(super) fn segments(view: &View, before: u64, max_rows: usize) -> Result<Vec<Planned>, CollectorError> {
    let mut open: BTreeMap<String, Planned> = BTreeMap::new();
    let mut planned = Vec::new();
    for file in view.files().iter().filter(|file| file.number() < before) {
        if file.is_sealed(|tenant| view.sealed(tenant)) {
            continue;
        }
        let name = file_name(file.number(), "wal");
        let Some(mut reader) = FileReader::over(file.file().clone(), &name)? else { continue };
        let mut offset = reader.offset();
        while let Some(frame) = reader.next_frame()? {
            let at = Ref { file_no: file.number(), offset };
            if frame.kind == Kind::Entry
                && let Some(Record::Entry { event_id, tenant, refs, entry, part, .. }) =
                    Record::parse(frame.kind, frame.body)
            {
                let entry: Entry = serde_json::from_slice(entry)
                    .map_err(|error| CollectorError::Refused(format!("a malformed entry: {error}")))?;
                if entry.seq >= view.sealed(tenant) {
                    let row = row_of(&entry, event_id, at, refs, part);
                    let day = entry.timestamp.parse::<Utc>().map_or(0, Utc::day);
                    put(&mut open, &mut planned, max_rows, (tenant, day), row);
                    if !planned.is_empty() {
                        return Ok(planned);
                    }
                }
            }
            offset = reader.offset();
        }
    }
    planned.extend(open.into_values());
    Ok(planned)
}

/// A segment has the entries of one day. Where the clock was set back, a day may have several.
fn put(
    open: &mut BTreeMap<String, Planned>,
    planned: &mut Vec<Planned>,
    max_rows: usize,
    (tenant, day): (&str, i64),
    row: RowPlan,
) {
    let begun = open.get(tenant).is_some_and(|begun| begun.day == day && begun.rows.len() < max_rows);
    if !begun {
        let next = Planned { tenant: tenant.to_owned(), day, rows: Vec::new() };
        planned.extend(open.insert(tenant.to_owned(), next));
    }
    if let Some(begun) = open.get_mut(tenant) {
        begun.rows.push(row);
    }
}

fn row_of(entry: &Entry, event_id: Uuid, at: Ref, refs: Vec<Ref>, part: &[u8]) -> RowPlan {
    let owner = seal::owner(part).map(|(subject, month)| PayloadOwner {
        subject: subject.0,
        month,
        session: entry.session_id.as_ref().map_or(0, |session| hash(IdKind::Session, session)),
    });
    RowPlan { seq: entry.seq, at, refs: refs.into_boxed_slice(), event_id, owner }
}
