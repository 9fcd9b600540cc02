//! The gateway: stands before a model server and records what passes, without touching it.
//!
//! * [`proxy`]: one request on its way: read, recorded, forwarded, answered
//! * [`exchange`]: the record of one request, from its start frame to its one terminal frame
//! * `body`: the response on its way to the client, and the request on its way to the model server
//! * [`access`]: who may call, and where a request goes
//! * [`recorder`]: the spool as a request sees it: modes, fail modes, gaps
//! * [`ship`]: sending the spool to the collector
//! * [`metrics`], `traces`: what is counted and told of requests, beside their records
//! * `dialect`, `headers`: reading captured bytes; they never touch the wire

#![forbid(unsafe_code)]

pub mod access;
mod backlog;
mod body;
pub mod config;
mod dialect;
pub mod exchange;
mod gateway;
mod headers;
pub mod metrics;
pub mod proxy;
pub mod recorder;
pub mod ship;
mod traces;

pub use access::Access;
pub use config::{Config, FailMode, Mode, Route};
pub use gateway::{Gateway, GatewayError};
