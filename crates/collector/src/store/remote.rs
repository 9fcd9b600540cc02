//! Segments in a bucket that speaks S3, and the local copies of the newest ones.
//!
//! ```text
//! BUCKET/PREFIX/tenant=T/date=D/FIRST/entries.parquet, payload.frames, ids.idx
//!                                     segment.json      last: a prefix without it is no segment
//! DIR/segments/…                      made here first; a copy may go once the bucket's was read back
//! DIR/cache/manifests/…               manifests of the bucket, so that a start need not fetch each
//! DIR/cache/segments/…                blocks that were read, by their hash, within a bound
//! ```
//!
//! What is where follows from the two listings alone; nothing else is kept about it. Everything under `cache` may be
//! deleted at any time, and everything that is read, from there or from the bucket, is held against the hashes of the
//! manifest. The bucket is trusted for nothing but keeping bytes: a manifest that comes from it must be the one that
//! the operations ledger has, and must fit the ledger's tree.

mod auditing;
pub(crate) mod bucket;
mod cache;
mod manifests;
mod prove;
pub(crate) mod tiered;

pub use auditing::{Auditing, Reading};
pub use bucket::{Bucket, Put};
pub(crate) use prove::prove;
pub use tiered::Tiered;
