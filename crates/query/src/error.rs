//! Why a question has no answer: what, detail, hint.

/// What kind of failure it is; callers choose exit code and HTTP status by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The question itself: SQL that does not parse, names no such column, or is not a query.
    Question,
    /// It would have taken more time, memory or rows than it may.
    Limit,
    /// Too many others are being answered.
    Busy,
    /// Records could not be read.
    Records,
    /// This build has no SQL engine.
    NoEngine,
    /// A fault of the engine's own.
    Engine,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", detail.as_ref().map_or(String::new(), |detail| format!(": {detail}")))]
pub struct QueryError {
    /// Of which kind.
    pub kind: Kind,
    /// What went wrong.
    pub what: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: &'static str,
}

impl QueryError {
    /// An error without detail.
    pub fn new(kind: Kind, what: impl Into<String>, hint: &'static str) -> Self {
        Self { kind, what: what.into(), detail: None, hint }
    }

    /// The same with detail.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// This build has no SQL engine.
    pub fn no_engine() -> Self {
        Self::new(
            Kind::NoEngine,
            "this build of indelible has no SQL engine",
            "build it with the feature sql: cargo build --release; or ask a running collector that has it",
        )
    }
}
