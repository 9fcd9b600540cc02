//! The load driver: traffic that is a function of a seed.
//!
//! [`Plan`] says what the `i`th request is, [`run`] sends all of them and says what came of it. Whoever
//! holds the plan knows every byte that was sent, so a recording can be held against it after a crash.

mod driver;
mod plan;

pub use driver::{Answer, Outcome, run};
pub use plan::{LoadRequest, Plan};
