//! The engine of a build without the feature `sql`: it says what is missing.

use crate::{Limits, QueryError, Question, Records};
use bytes::Bytes;
use std::sync::Arc;

/// Answers no question.
pub struct Engine(std::convert::Infallible);

/// An answer, of which there are none.
pub struct Answer(std::convert::Infallible);

impl Engine {
    /// There is none in this build.
    pub fn start(_: Limits) -> Result<Self, QueryError> {
        Err(QueryError::no_engine())
    }

    /// Answers a question.
    pub async fn ask(&self, _: Arc<dyn Records>, _: Question) -> Result<Answer, QueryError> {
        match self.0 {}
    }
}

impl Answer {
    /// The next bytes of the answer.
    pub async fn next(&mut self) -> Option<Result<Bytes, QueryError>> {
        match self.0 {}
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        match self.0 {}
    }

    /// Whether it stopped at the number of rows that was asked for.
    pub fn cut(&self) -> bool {
        match self.0 {}
    }
}
