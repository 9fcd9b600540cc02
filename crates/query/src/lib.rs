//! Asking the ledger: SQL over one tenant's entries, and saved searches.
//!
//! No I/O happens here. Whoever asks brings the records: [`Records`] is one tenant's ledger at one moment, and a
//! query sees nothing else, so no SQL reaches a file, an address or another tenant.
//!
//! * [`question`]: what is asked, in which format the answer shall come, and how much it may cost
//! * [`search`]: saved searches: SQL in files, with a header that says what they answer
//! * [`Engine`]: answers questions. Without the feature `sql` there is none, and it says so
//!
//! Only this crate knows the SQL engine (DataFusion): it is most of a cold build and most of the binary.

#![forbid(unsafe_code)]

pub mod error;
pub mod question;
pub mod search;

#[cfg(not(feature = "sql"))]
mod absent;
#[cfg(feature = "sql")]
mod sql;
#[cfg(feature = "sql")]
mod write;

#[cfg(not(feature = "sql"))]
pub use absent::{Answer, Engine};
pub use error::{Kind, QueryError};
pub use question::{Format, Limits, Parameter, Question};
#[cfg(feature = "sql")]
pub use sql::{Answer, Engine};

use indelible_segment::ReadAt;
use indelible_segment::columns::Row;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// One tenant's ledger at one moment: asked twice, it says the same.
pub trait Records: Send + Sync {
    /// The sealed segments.
    fn segments(&self) -> Vec<Segment>;

    /// For each of these segments, whether it may have an entry with one of the ids, by their hashes
    /// ([`indelible_segment::ids`]). What cannot be told is `true`. May block.
    fn may_have(&self, segments: &[Segment], _hashes: &[u64]) -> Vec<bool> {
        vec![true; segments.len()]
    }

    /// Hands over every entry that is in no segment, oldest first, until told to stop. May block. An entry stands
    /// in a segment or here, never in both.
    fn tail(&self, row: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>) -> io::Result<()>;

    /// The pseudonym of a user, as the application names them. `None`: nobody of that name was ever recorded.
    fn subject(&self, user: &str) -> io::Result<Option<String>>;

    /// A string that a client chose, as entries show it: as it is, or hashed if it could name a person.
    fn shown(&self, text: &str) -> io::Result<String>;
}

/// A sealed segment, as far as queries need it.
#[derive(Clone)]
pub struct Segment {
    /// Its name: no two segments of a store share one.
    pub name: String,
    /// Number of its first entry.
    pub first_seq: u64,
    /// How many entries it has; their numbers have no holes.
    pub count: u64,
    /// The earliest time of an entry in it, in microseconds since 1970-01-01 UTC.
    pub first_time_us: i64,
    /// The latest.
    pub last_time_us: i64,
    /// Its `entries.parquet`.
    pub entries: Arc<dyn ReadAt>,
}
