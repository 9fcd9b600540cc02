//! The audit drill: one inference of a month, picked at random, found, read, proven and checked as if somebody had asked
//! for it.
//!
//! * [`month`]: calendar months in UTC
//! * [`draw`]: numbers from a seed
//! * [`pick`]: which record
//! * [`rebuild`]: all of it, and what shows that it is what was recorded
//!
//! Picking and rebuilding are two steps, so that the look is on record before a payload is opened (invariant 11): the
//! caller records it in between, and the outcome afterwards. Both block.

pub mod draw;
pub mod month;
pub mod pick;
pub mod rebuild;

pub use month::Month;
pub use pick::{Picked, pick};
pub use rebuild::{Check, Report, rebuild};

use crate::{Collector, CollectorError};
use indelible_record::entry::event_type;

/// Event types that a drill picks from.
pub const INFERENCES: [&str; 2] = [event_type::LLM_REQUEST, event_type::EMBEDDING];
/// Largest seed: it stands in an entry, whose numbers end there.
pub const SEED_MAX: u64 = (1 << 53) - 1;

/// What is asked of a drill.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The month to pick from; `None`: the previous one if it has an inference, or else that of the newest.
    pub month: Option<Month>,
    /// What the pick is drawn from, at most [`SEED_MAX`].
    pub seed: u64,
    /// Whose ledger; `None`: any but the operations ledger.
    pub tenant: Option<String>,
}

/// Ledgers to pick from.
fn tenants(collector: &Collector, wish: &Wish) -> Result<Vec<String>, CollectorError> {
    let known = &collector.config().tenants;
    match &wish.tenant {
        None => Ok(known.clone()),
        Some(tenant) if known.contains(tenant) => Ok(vec![tenant.clone()]),
        Some(tenant) => Err(CollectorError::UnknownTenant(tenant.clone())),
    }
}
