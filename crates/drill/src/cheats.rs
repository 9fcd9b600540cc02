//! The cheats, one by one: done, held against a check, and put back.

mod insider;
mod writer;

use crate::Trouble;
use crate::report::{Caught, Report, Row, Who};
use crate::stage::{Stage, Wish};
use indelible_ledger::leaf_hash;
use indelible_os::clock::Utc;
use indelible_os::random;
use indelible_record::Entry;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// By how much an entry is dated back: thirty days.
const BACK_US: i64 = 30 * 86_400_000_000;

/// A cheat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cheat {
    /// An entry says something else.
    Edit,
    /// An entry is gone.
    Delete,
    /// Two entries have changed places.
    Reorder,
    /// There is an entry that never was.
    Insert,
    /// The newest entries are gone.
    Truncate,
    /// An older copy was put in place.
    Rollback,
    /// There are two histories of one length.
    Fork,
    /// Everything was signed again with another key.
    NewKey,
    /// An entry says that it is older.
    Backdate,
    /// Two records have each other's payload.
    SwapPayloads,
    /// An old checkpoint is shown as the newest.
    Replay,
    /// An inclusion proof is made up.
    ForgeProof,
}

impl Cheat {
    /// All of them, in the order in which they are done.
    pub const ALL: [Self; 12] = [
        Self::Edit,
        Self::Delete,
        Self::Reorder,
        Self::Insert,
        Self::Truncate,
        Self::Rollback,
        Self::Fork,
        Self::NewKey,
        Self::Backdate,
        Self::SwapPayloads,
        Self::Replay,
        Self::ForgeProof,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Reorder => "reorder",
            Self::Insert => "insert",
            Self::Truncate => "truncate",
            Self::Rollback => "rollback",
            Self::Fork => "fork",
            Self::NewKey => "new-key",
            Self::Backdate => "backdate",
            Self::SwapPayloads => "swap-payloads",
            Self::Replay => "replay",
            Self::ForgeProof => "forge-proof",
        }
    }
}

impl fmt::Display for Cheat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no cheat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such cheat: edit, delete, reorder, insert, truncate, rollback, fork, new-key, backdate, swap-payloads, replay, forge-proof"
)]
pub struct NoCheat;

impl FromStr for Cheat {
    type Err = NoCheat;

    fn from_str(text: &str) -> Result<Self, NoCheat> {
        Self::ALL.into_iter().find(|cheat| cheat.name() == text).ok_or(NoCheat)
    }
}

/// Does the cheats on a copy. `done` is told of each. Blocks.
///
/// # Errors
/// [`Trouble`] if the copy cannot be made or does not verify before, or a cheat cannot be done.
pub fn run(wish: &Wish, only: &[Cheat], done: &mut dyn FnMut(&Row)) -> Result<Report, Trouble> {
    let mut stage = Stage::set(wish)?;
    let mut report = Report {
        ledger: stage.tenant.clone(),
        entries: stage.size,
        sealed: stage.sealed_entries(),
        seed: wish.seed,
        outside: wish.outside,
        bytes: stage.bytes,
        rows: Vec::new(),
        left_out: Vec::new(),
    };
    for cheat in Cheat::ALL.into_iter().filter(|cheat| only.is_empty() || only.contains(cheat)) {
        let mut here = Here { stage: &mut stage, cheat, rows: Vec::new(), left_out: Vec::new() };
        here.by_writer()?;
        here.by_insider()?;
        let Here { rows, left_out, .. } = here;
        for mut row in rows {
            if !wish.outside {
                row.caught.retain(|caught| !caught.outside);
            }
            done(&row);
            report.rows.push(row);
        }
        report.left_out.extend(left_out);
    }
    Ok(report)
}

/// A cheat on a stage.
struct Here<'a> {
    stage: &'a mut Stage,
    cheat: Cheat,
    rows: Vec<Row>,
    left_out: Vec<String>,
}

impl Here<'_> {
    fn row(&mut self, who: Who, done: String, holds: Option<bool>, caught: Vec<Caught>) {
        self.rows.push(Row { cheat: self.cheat.name(), who, done, holds_by_itself: holds, caught });
    }

    fn leave_out(&mut self, who: Who, why: &str) {
        self.left_out.push(format!("{} ({}): {why}", self.cheat, who.as_str()));
    }
}

/// The entry with another outcome.
fn edited(bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
    altered(bytes, |entry| {
        entry.http_status = Some(if entry.http_status == Some(500) { 200 } else { 500 });
    })
}

/// The entry with an older time.
fn dated_back(bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
    altered(bytes, |entry| {
        if let Ok(at) = entry.timestamp.parse::<Utc>() {
            entry.timestamp = Utc(at.0.saturating_sub(BACK_US)).to_string();
        }
    })
}

/// An entry that never was, chained to the one that it is made after.
fn made_up(bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
    let id = random::uuid_v7().map_err(|error| Trouble::Form(error.to_string()))?;
    altered(bytes, |entry| {
        entry.seq += 1;
        entry.prev_hash = leaf_hash(bytes).to_string();
        entry.event_id = Uuid::from_bytes(id).to_string();
        entry.request_id = None;
    })
}

fn altered(bytes: &[u8], alter: impl FnOnce(&mut Entry)) -> Result<Vec<u8>, Trouble> {
    let form = |error: &dyn fmt::Display| Trouble::Form(error.to_string());
    let mut entry = Entry::parse(bytes).map_err(|error| form(&error))?;
    alter(&mut entry);
    entry.to_bytes().map_err(|error| form(&error))
}
