//! The price table of this release.
//!
//! The data is that of the Python package genai-prices (MIT, its licence beside it), converted by
//! `data/update.py`. A newer table comes with a newer release, or from a file: see `collector.prices.table`.

use crate::Table;
use std::sync::LazyLock;

/// Version of the package that the data was taken from.
pub const VERSION: &str = "0.2.3";
/// SHA-256 of `data/genai-prices.json`; a test holds the file to it.
pub const SHA256: &str = "aeaabdf0460717e95273f7f5cfdb9c3c36c72d39d04719fdb9772c7dc3594270";
/// The data's licence.
pub const LICENSE: &str = include_str!("../data/LICENSE");

static DATA: &[u8] = include_bytes!("../data/genai-prices.json");

// The data was read in the tests of this crate: it cannot fail here.
#[allow(clippy::expect_used)]
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::parse(&format!("genai-prices:{VERSION}"), DATA).expect("the release's own price table is valid")
});

/// The table, read at the first call.
pub fn table() -> &'static Table {
    &TABLE
}

/// The data as it travels with the release.
pub fn data() -> &'static [u8] {
    DATA
}
