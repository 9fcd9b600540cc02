//! One message to a syslog server over TLS (RFC 5424, RFC 5425): a checkpoint in structured data.
//!
//! ```text
//! <110>1 2026-11-26T08:00:00.000000Z HOST indelible - checkpoint [checkpoint@32473 origin="…" size="…" root="…" note="BASE64"]
//! ```
//!
//! Facility 13 (log audit), severity 6. Syslog acknowledges nothing: what is known is that the server took the bytes and
//! that the TLS connection was closed in good order.

use indelible_ledger::Checkpoint;
use indelible_net::{NetError, tls};
use indelible_os::clock;
use rustls::pki_types::ServerName;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const TIMEOUT: Duration = Duration::from_secs(20);
/// Facility 13, severity 6.
const PRIORITY: u8 = 13 * 8 + 6;
/// The enterprise number that RFC 5612 sets aside for documents: the data is ours, its name is nobody's.
const DATA_ID: &str = "checkpoint@32473";

/// A syslog server.
pub struct Syslog {
    address: String,
    server: ServerName<'static>,
    connector: TlsConnector,
    host: String,
}

impl Syslog {
    /// A server at `host:port`, whose certificate `ca` vouches for, or the system's roots. `host` is what messages say of
    /// this machine.
    ///
    /// # Errors
    /// [`NetError`] if the CA cannot be used; words for an address that is none are in the second.
    pub fn new(address: &str, ca: Option<&Path>, host: &str) -> Result<Result<Self, String>, NetError> {
        let config = tls::client(ca, None)?;
        let Some((name, port)) = address.rsplit_once(':') else {
            return Ok(Err(format!("{address:?} is not host:port")));
        };
        let server = ServerName::try_from(name.trim_matches(['[', ']']).to_owned());
        Ok(match (server, port.parse::<u16>()) {
            (Ok(server), Ok(_)) => Ok(Self {
                address: address.to_owned(),
                server,
                connector: TlsConnector::from(Arc::new(config)),
                host: host.to_owned(),
            }),
            _ => Err(format!("{address:?} is not host:port")),
        })
    }

    /// Sends a checkpoint.
    ///
    /// # Errors
    /// Words on why it was not sent.
    pub async fn send(&self, checkpoint: &Checkpoint, note: &str) -> Result<(), String> {
        let message = self.message(checkpoint, note);
        // RFC 5425 §4.3: the length in octets, a space, the message.
        let framed = format!("{} {message}", message.len());
        let sent = async {
            let stream = TcpStream::connect(&self.address).await?;
            let mut stream = self.connector.connect(self.server.clone(), stream).await?;
            stream.write_all(framed.as_bytes()).await?;
            stream.flush().await?;
            stream.shutdown().await
        };
        match tokio::time::timeout(TIMEOUT, sent).await {
            Ok(outcome) => outcome.map_err(|error| format!("{}: {error}", self.address)),
            Err(_) => Err(format!("{}: not sent in time", self.address)),
        }
    }

    fn message(&self, checkpoint: &Checkpoint, note: &str) -> String {
        // RFC 5424 §6.3.3: these three are escaped. What is in here has none of them, whoever made it.
        let value = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
        format!(
            "<{PRIORITY}>1 {} {} indelible - checkpoint [{DATA_ID} origin=\"{}\" size=\"{}\" root=\"{}\" note=\"{}\"]",
            clock::now(),
            self.host,
            value(checkpoint.origin()),
            checkpoint.size(),
            checkpoint.root().to_base64(),
            indelible_ledger::base64(note.as_bytes())
        )
    }
}
