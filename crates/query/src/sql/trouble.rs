//! DataFusion's errors in this crate's words: whose fault it is, and what to do.

use crate::{Kind, Limits, QueryError};
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

const HINT_SQL: &str = "DESCRIBE events lists the columns; docs/query.md has functions, views and examples";
const HINT_RECORDS: &str = "run indelible verify: it names what is damaged";

/// An error of planning or computing.
pub(super) fn explain(error: &DataFusionError, limits: &Limits) -> QueryError {
    let root = error.find_root();
    let said = root.strip_backtrace();
    let said = said.trim();
    match root {
        DataFusionError::ResourcesExhausted(_) => out_of_memory(said, limits),
        DataFusionError::ParquetError(_) | DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => {
            unreadable(said)
        }
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::ParquetError(_) | ArrowError::IoError(..) => unreadable(said),
            ArrowError::ExternalError(source) => match source.downcast_ref::<DataFusionError>() {
                Some(source) => explain(source, limits),
                None => unreadable(said),
            },
            _ => cannot_be_answered(said),
        },
        DataFusionError::External(source) => match source.downcast_ref::<DataFusionError>() {
            Some(source) => explain(source, limits),
            None => unreadable(said),
        },
        DataFusionError::Internal(_) | DataFusionError::ExecutionJoin(_) => broke(said),
        _ => cannot_be_answered(said),
    }
}

/// An error of the question's own.
pub(super) fn cannot_be_answered(said: &str) -> QueryError {
    QueryError::new(Kind::Question, "the query cannot be answered", HINT_SQL).detail(said)
}

/// Records that cannot be read.
pub(super) fn unreadable(said: &str) -> QueryError {
    QueryError::new(Kind::Records, "records cannot be read", HINT_RECORDS).detail(said)
}

/// A fault of the engine's.
pub(super) fn broke(said: &str) -> QueryError {
    let hint = "please report it, with the query; another form of the query may work";
    QueryError::new(Kind::Engine, "the SQL engine failed", hint).detail(said)
}

/// It took too long.
pub(super) fn too_slow(limits: &Limits) -> QueryError {
    QueryError::new(
        Kind::Limit,
        format!("the query was stopped after {} s", limits.time.as_secs_f64()),
        "narrow it by timestamp or by an id, and join on an equality; a higher limit may be allowed",
    )
}

/// It has more rows than an answer may have.
pub(super) fn too_many_rows(limits: &Limits) -> QueryError {
    let what = format!("the answer has more than {} rows", limits.rows);
    QueryError::new(Kind::Limit, what, "aggregate, or ask for parts of it by timestamp")
}

fn out_of_memory(said: &str, limits: &Limits) -> QueryError {
    let what = format!(
        "the query needs more than the {} MiB of memory that queries may take",
        limits.memory_bytes >> 20
    );
    QueryError::new(
        Kind::Limit,
        what,
        "narrow it by timestamp, select fewer columns, or group by fewer values",
    )
    .detail(said)
}
