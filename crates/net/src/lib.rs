//! Connections: TLS, listening, draining, calling.
//!
//! What gateway, collector and command line have in common on the network. TLS is rustls with ring.
//!
//! * [`tls`]: reading certificates, and the server and client settings made of them
//! * [`pki`]: a development CA, so that a first try over mutual TLS needs no other tool
//! * [`lanes`]: threads that serve, each with a runtime of its own
//! * [`server`]: accepting, serving, and draining in good order
//! * [`client`]: one pooled HTTP client for whatever is called now and then
//! * [`upstream`]: calling servers on behalf of a client that waits, frame by frame

#![forbid(unsafe_code)]

pub mod client;
pub mod lanes;
mod patient;
pub mod pki;
pub mod server;
pub mod tls;
pub mod upstream;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why a connection could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A certificate or key file.
    #[error("{}: {what}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// TLS settings that do not fit together.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Clear text would be served off loopback.
    #[error("{0} is not loopback, and there is no TLS certificate to listen with")]
    Exposed(SocketAddr),
    /// An address that cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

impl NetError {
    pub(crate) fn file(path: &Path, what: impl ToString) -> Self {
        Self::File { path: path.to_owned(), what: what.to_string() }
    }
}

/// An error in words, with what caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        words = format!("{words}: {inner}");
        source = inner.source();
    }
    words
}
