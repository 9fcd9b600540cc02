//! One message to a syslog server over TLS (RFC 5424, RFC 5425): a checkpoint in structured data.
//!
//! ```text
//! <110>1 2026-11-26T08:00:00.000000Z HOST indelible - checkpoint [checkpoint@32473 origin="…" size="…" root="…" note="BASE64"]
//! ```
//!
//! Facility 13 (log audit), severity 6. Syslog acknowledges nothing: what is known is that the server took the bytes and
//! closed the connection in good order. That is waited for: in TLS 1.3 a client has long written everything when a server
//! says that it does not want the client's certificate, or its lack of one.

use indelible_ledger::Checkpoint;
use indelible_net::tls::{self, Identity};
use indelible_net::{NetError, chain};
use indelible_os::clock;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const TIMEOUT: Duration = Duration::from_secs(20);
/// Most that a server says before it closes: syslog has no answers.
const ANSWER_MAX_BYTES: u64 = 4 << 10;
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
    /// A server at `host:port`, whose certificate `ca` vouches for, or the system's roots. `identity` is shown to a server
    /// that asks who sends (RFC 5425 §4.2.1). `host` is what messages say of this machine.
    ///
    /// # Errors
    /// [`NetError`] if CA or identity cannot be used; words for an address that is none are in the second.
    pub fn new(
        address: &str,
        ca: Option<&Path>,
        identity: Option<&Identity>,
        host: &str,
    ) -> Result<Result<Self, String>, NetError> {
        let mut config = tls::client(ca, identity)?;
        // Who sends is judged each time. And rsyslog, which asks for certificates and never says what its sessions are for,
        // answers a session that is taken up again with an alert.
        config.resumption = Resumption::disabled();
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

    /// Sends a checkpoint, and waits until the server has closed the connection.
    ///
    /// # Errors
    /// Words on why it was not sent, or was refused.
    pub async fn send(&self, checkpoint: &Checkpoint, note: &str) -> Result<(), String> {
        let message = self.message(checkpoint, note);
        // RFC 5425 §4.3: the length in octets, a space, the message.
        let framed = format!("{} {message}", message.len());
        let sent = async {
            let stream = TcpStream::connect(&self.address).await?;
            let mut stream = self.connector.connect(self.server.clone(), stream).await?;
            stream.write_all(framed.as_bytes()).await?;
            stream.flush().await?;
            stream.shutdown().await?;
            closed(&mut stream).await
        };
        match tokio::time::timeout(TIMEOUT, sent).await {
            Ok(outcome) => outcome.map_err(|error| format!("{}: {}", self.address, chain(&error))),
            Err(_) => Err(format!("{}: not sent, or the connection not closed, in time", self.address)),
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

/// Reads to the end that the other side makes. An alert or a reset is an error; an end without `close_notify` is none,
/// some servers know no other.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut rest = stream.take(ANSWER_MAX_BYTES);
    match tokio::io::copy(&mut rest, &mut tokio::io::sink()).await {
        Ok(ANSWER_MAX_BYTES..) => Err(io::Error::new(ErrorKind::InvalidData, "the server talks without end")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
    }
}
