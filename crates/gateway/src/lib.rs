//! The gateway: stands before a model server and records what passes, without touching it.
//!
//! * [`proxy`]: one request on its way: read, recorded, forwarded, answered
//! * [`exchange`]: the record of one request, from its start frame to its one terminal frame
//! * `problem`: answers that the gateway gives itself
//! * `body`: the response on its way to the client, and the request on its way to the model server
//! * [`access`]: who may call, and where a request goes
//! * `socket`: WebSockets, from the handshake on
//! * [`recorder`]: the spool as a request sees it: modes, fail modes, gaps
//! * `hop`: headers of one connection; `limits`: how long a request may take
//! * `drain`: answers whose client hung up; `running`: what is under way, waited for at shutdown
//! * [`ship`]: sending the spool to the collector
//! * [`metrics`], `traces`: what is counted and told of requests, beside their records
//! * `usage`: asking for token counts that the client left open, and taking them out again
//! * `dialect`, `headers`: reading captured bytes; they never touch the wire

#![forbid(unsafe_code)]

pub mod access;
mod backlog;
mod body;
pub mod config;
mod dialect;
mod drain;
pub mod exchange;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod headers;
mod hop;
mod limits;
pub mod metrics;
mod problem;
pub mod proxy;
pub mod recorder;
mod running;
pub mod ship;
mod socket;
mod traces;
mod usage;

pub use access::Access;
pub use config::{Config, FailMode, Mode, OnHangup, Route};
pub use gateway::{Gateway, GatewayError};
