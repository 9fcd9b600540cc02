//! The SQL engine: DataFusion, narrowed to reading one tenant's records.

mod bind;
mod date_trunc;
mod engine;
mod functions;
mod guard;
mod percentile_cont;
mod rows;
mod segments;
mod session;
mod table;
mod tail;
mod trouble;
mod views;

#[cfg(test)]
mod tests;

pub use engine::{Answer, Engine};
