//! What came of the cheats.

use serde::Serialize;

/// Who cheats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Somebody who may write the files, and has no key.
    Writer,
    /// Somebody who has the keys and this program.
    Insider,
}

impl Who {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Insider => "insider",
        }
    }
}

/// A check that caught a cheat.
#[derive(Clone, Debug, Serialize)]
pub struct Caught {
    /// Which check.
    pub by: String,
    /// Whether it needs something that was kept outside before the cheat.
    pub outside: bool,
    /// Microseconds that it took.
    pub us: u64,
    /// What it said.
    pub what: String,
}

/// A cheat.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub cheat: &'static str,
    /// Who did it.
    pub who: Who,
    /// What was done, and where.
    pub done: String,
    /// Whether the directory verifies by itself afterwards; absent where that is no question.
    pub holds_by_itself: Option<bool>,
    /// The checks that caught it; empty: it was not caught.
    pub caught: Vec<Caught>,
}

impl Row {
    /// Whether only something that was kept outside caught it.
    pub fn needs_outside(&self) -> bool {
        !self.caught.is_empty() && self.caught.iter().all(|caught| caught.outside)
    }
}

/// What came of all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whose ledger was cheated in.
    pub ledger: String,
    /// Its entries.
    pub entries: u64,
    /// How many of them stand in segments.
    pub sealed: u64,
    /// What places were drawn from.
    pub seed: u64,
    /// Whether the checks had what an outsider kept.
    pub outside: bool,
    /// Bytes that were copied.
    pub bytes: u64,
    /// The cheats.
    pub rows: Vec<Row>,
    /// Cheats that could not be done here, and why.
    pub left_out: Vec<String>,
}

impl Report {
    /// Cheats that nothing caught.
    pub fn uncaught(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.caught.is_empty())
    }

    /// 0: each was caught; 1: one was not; 2: none was done.
    pub fn exit_code(&self) -> u8 {
        if self.rows.is_empty() {
            return 2;
        }
        u8::from(self.uncaught().next().is_some())
    }
}
