//! What `indelible witness` takes.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "\
A witness runs on a machine of its own, best somebody else's. It needs the ledgers' public keys and no access to the
ledgers; logs submit their checkpoints to it (C2SP tlog-witness).

Examples:
  indelible key policy > logs.policy                       on the collector's machine; hand it to the witness
  indelible witness --policy logs.policy --state /var/lib/witness --name witness.example/1 \\
      --listen 0.0.0.0:8091 --tls-cert cert.pem --tls-key key.pem
  curl https://witness.example:8091/vkey                   its key, for policies of collectors and auditors

Its directory is its memory. A witness that lost it must not be run again under its name: it would cosign a second history.

Exit codes: 0 stopped · 2 usage, or the directory is not whole")]
pub(crate) struct Witness {
    /// The logs that it cosigns for: C2SP tlog-policy, of which the lines of logs count
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Its key, and what it cosigned last of each log
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Its name, for ever: a URL without scheme
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8091")]
    pub(crate) listen: SocketAddr,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen off loopback without TLS
    #[arg(long)]
    pub(crate) insecure_listen: bool,
}
