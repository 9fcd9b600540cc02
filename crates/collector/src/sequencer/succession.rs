//! What a successor says of what it does not have: which ledger it goes on from, which frames a predecessor
//! acknowledged that are not here, and which requests were begun with it.
//!
//! Frames belong to requests of whichever tenant: such gaps stand in the operations ledger.

use super::*;
use crate::predecessors::Before;
use indelible_record::canonical::INTEGER_MAX;

/// Frames of a source that are not here, and never will be.
pub(super) struct Missing {
    first: u64,
    last: u64,
    cause: &'static str,
    /// Origin of the operations ledger before.
    predecessor: String,
    /// How far the predecessor's log had the source when its successor was made.
    predecessor_has: Option<u64>,
}

impl Missing {
    fn new(first: u64, last: u64, cause: &'static str, before: &Before, incarnation: Uuid) -> Self {
        let has = before.sources.get(&incarnation).copied().filter(|has| *has >= first);
        Self {
            first,
            last,
            cause,
            predecessor: before.operations.clone(),
            predecessor_has: has.map(|has| has.min(last)),
        }
    }

    /// The last of them.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

impl Sequencer {
    /// What the first entry of a ledger holds that goes on from another one.
    pub(super) fn succession(&self, tenant: &str) -> Result<Option<String>, CollectorError> {
        let Some(before) = self.config.predecessors.get(tenant) else { return Ok(None) };
        before.state(self.signers.of(tenant)?).map(Some)
    }

    /// What a source shows to have been acknowledged by a predecessor, from `first` on.
    pub(super) fn acknowledged_before(
        &self,
        incarnation: Uuid,
        first: u64,
        told: &Acknowledged,
    ) -> Option<Missing> {
        let before = self.tokens.predecessor(incarnation, told)?;
        let cause = "acknowledged_by_predecessor";
        (told.seq <= INTEGER_MAX).then(|| Missing::new(first, told.seq, cause, before, incarnation))
    }

    /// What a source does not have any more that comes here for the first time. It removes frames only once they are
    /// acknowledged, but what shows that may have been lost with the machine.
    pub(super) fn not_offered(&self, incarnation: Uuid, first: u64, offered: u64) -> Option<Missing> {
        let before = self.tokens.newest_predecessor()?;
        let is_new = self.state.source(incarnation).is_none_or(|source| source.mark == 0);
        (is_new && offered <= INTEGER_MAX)
            .then(|| Missing::new(first, offered - 1, "not_offered", before, incarnation))
    }

    /// Enters a gap, and goes on behind it: one record says both.
    pub(super) fn state_gap(
        &mut self,
        source_id: &str,
        incarnation: Uuid,
        gap: &Missing,
    ) -> Result<(), CollectorError> {
        tracing::warn!(
            source_id,
            first = gap.first,
            last = gap.last,
            gap.cause,
            "frames that a predecessor had are not here: entered as a gap"
        );
        let mut detail = serde_json::Map::new();
        detail.insert("cause".to_owned(), gap.cause.into());
        detail.insert("count".to_owned(), (gap.last - gap.first).saturating_add(1).into());
        detail.insert("first".to_owned(), gap.first.into());
        detail.insert("last".to_owned(), gap.last.into());
        detail.insert("predecessor".to_owned(), gap.predecessor.as_str().into());
        if let Some(has) = gap.predecessor_has {
            detail.insert("predecessor_has".to_owned(), has.into());
        }
        let mut entry = self.own_entry(OPERATIONS, event_type::GAP, detail);
        entry.source = Some(draft::source(source_id, incarnation, gap.last, None, None));
        let origin = Origin { incarnation, seq: gap.last };
        self.append_entry(origin, Uuid::now_v7(), entry, Vec::new(), &[])?;
        // The hourly report counts what was taken in.
        self.reported_sources.entry(incarnation).or_default().0 += gap.last - gap.first + 1;
        Ok(())
    }

    /// Enters that a request ended whose beginning a predecessor took in, and with it whose it is.
    pub(super) fn state_begun_before(
        &mut self,
        source_id: &str,
        origin: Origin,
        event_id: Uuid,
        start_seq: u64,
    ) -> Result<Receipt, CollectorError> {
        let mut detail = serde_json::Map::new();
        detail.insert("cause".to_owned(), "begun_with_predecessor".into());
        detail.insert("count".to_owned(), 1.into());
        let mut entry = self.own_entry(OPERATIONS, event_type::GAP, detail);
        let start_seq = start_seq.min(INTEGER_MAX);
        entry.source = Some(draft::source(source_id, origin.incarnation, origin.seq, Some(start_seq), None));
        self.append_entry(origin, event_id, entry, Vec::new(), &[])
    }
}
