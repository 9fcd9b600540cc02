//! The durable frame log: a source's spool and the collector's WAL are one format and this one crate.
//!
//! # Constraints
//!
//! * A frame that was acknowledged is never lost and never changes; one that was not may vanish whole.
//! * Nothing but the files says where the log stands. There is no side file to disagree with.
//! * A restart never appends to an encrypted file: a file has one key context, and a nonce is used once.
//! * A damaged log stops start-up with file and offset. Only the unsynced tail of the newest file is cut.
//! * A failed `fdatasync` ends the process ([`LogError::Poisoned`]). It is never tried again.
//!
//! # On disk
//!
//! ```text
//! DIR/00000001.spool  DIR/00000002.spool …            (.wal for the collector), each ≤ 128 MiB
//!
//! file    = header · frame* · close?  · zeros up to the allocated length while open
//! header  = "INDELOG\0" · version u16 · role u8 · 0 u8 · header_len u32 · file_no u64
//!           · file_id 16 · log_id 16 · first_seq u64 · ext · crc32c u32
//! frame   = len u32 · kind u8 · seq u64 · hcrc u32 · body[len] · bcrc u32      (little endian)
//! hcrc    = crc32c(len · kind · seq · file_id)        bcrc = crc32c(body)
//! ```
//!
//! Data frames count `seq` up by one across files. Control frames (`mark`, `close`, `acked`) repeat the
//! last data frame's. After every successful `fdatasync` a `mark` with the sequence number that it
//! covered follows, which is what lets recovery tell a torn tail from rot in what was acknowledged.
//!
//! `docs/formats/spool.md` has the page for other implementations.

#![forbid(unsafe_code)]

mod error;
pub mod frame;
pub mod reader;
pub mod seal;
pub mod shared;
pub mod tail;
pub mod wal;
mod watermark;
pub mod writer;

pub use error::LogError;
pub use frame::{FileHeader, Frame, Kind, Role};
pub use watermark::Watermark;
