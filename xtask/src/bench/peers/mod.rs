//! The peers: what else stands before a model server, or keeps a log that is to be believed.
//!
//! * `nginx`, `envoy`: reverse proxies; they capture nothing
//! * `litellm`, `aegis`: gateways in Python, from virtual environments that `cargo xtask bench peers` makes
//! * `postgres`: a table with a hash chain, beside the collector; plain tables, beside the store
//! * `store`, an environment with DuckDB and chdb, which read the store's own files
//!
//! Each runs from a private directory on loopback. One that is not on this machine is named and left out.

mod aegis;
mod envoy;
mod litellm;
mod nginx;
mod postgres;
mod venv;

pub(crate) use aegis::start as start_aegis;
pub(crate) use envoy::start as start_envoy;
pub(crate) use litellm::start as start_litellm;
pub(crate) use nginx::Nginx;
pub(crate) use postgres::{AUDIT_SCHEMA, Postgres, ROWS_PER_COMMIT};
pub(crate) use venv::{prepare, store_python};

use super::Outcome;
use super::process::{self, Process};

/// What every load sends as its API key. Only Aegis knows it; the others take any.
pub(crate) const API_KEY: &str = "bench-key";

/// A proxy before the model server.
pub(crate) struct Peer {
    processes: Vec<Process>,
    plain_port: u16,
    stream_port: u16,
    /// What runs, and how it was set up.
    pub(crate) words: String,
}

impl Peer {
    /// Where it takes requests for plain answers, or for streams.
    pub(crate) fn port(&self, stream: bool) -> u16 {
        if stream { self.stream_port } else { self.plain_port }
    }

    /// CPU seconds that it has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.processes.iter().map(|process| process::cpu_seconds(process.id())).sum()
    }

    /// Resident bytes.
    pub(crate) fn rss_bytes(&self) -> f64 {
        self.processes.iter().map(|process| process::rss_bytes(process.id())).sum()
    }

    /// Takes it off the cores while others have their turn.
    pub(crate) fn hold(&self) -> Outcome<()> {
        self.processes.iter().try_for_each(Process::hold)
    }

    /// Lets it go on.
    pub(crate) fn release(&self) -> Outcome<()> {
        self.processes.iter().try_for_each(Process::release)
    }
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}
