//! What a source and the collector say to each other besides frames.
//!
//! A source posts batches: one spool file's header, then frames of that file exactly as they stand
//! there. The collector answers with an [`Ack`] once they are on its own disk. `docs/formats/spool.md`
//! has the exchange.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where batches are posted.
pub const FRAMES_PATH: &str = "/v1/source/frames";
/// Media type of a batch.
pub const FRAMES_MEDIA_TYPE: &str = "application/vnd.indelible.frames";
/// Request header: what the source was told last, as `SEQ TOKEN`.
pub const ACKNOWLEDGED_HEADER: &str = "x-indelible-acknowledged";
/// Request header: `1` asks for receipts.
pub const RECEIPTS_HEADER: &str = "x-indelible-receipts";
/// Largest batch that a collector takes.
pub const BATCH_MAX_BYTES: usize = 16 << 20;

/// What a source says it was told before: proof that the collector once had more than it has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Sequence number.
    pub seq: u64,
    /// The token that came with it.
    pub token: String,
}

/// What a source is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// All frames up to this one are on the collector's disk.
    pub seq: u64,
    /// Shows that this collector said so.
    pub token: String,
    /// Always `logged`.
    pub level: String,
    /// The key that the next spool file shall be encrypted to, hex.
    pub spool_key: String,
    /// Receipts for the entries that the batch led to, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Receipt>,
}

/// What a writer gets back for an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The event.
    pub event_id: Uuid,
    /// Sequence number in its ledger.
    pub seq: u64,
    /// Leaf hash, `sha256:<hex>`.
    pub leaf_hash: String,
    /// How durable: `logged` or `signed`.
    pub level: String,
}
