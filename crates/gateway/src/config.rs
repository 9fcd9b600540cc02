//! How a gateway is set up, parsed and checked: no state in here can be wrong.

use crate::access::routes::check as check_routes;
use crate::access::{ApiKeys, Credential, Limits, ModelPattern};
use http::uri::{Authority, Scheme};
use http::{Method, Uri};
use std::path::PathBuf;
use std::time::Duration;

/// Least that [`Config::spool_max_bytes`] may be.
const SPOOL_MIN_BYTES: u64 = 1 << 20;
/// Most threads that are started unless told otherwise.
const THREADS_DEFAULT_MAX: usize = 8;

/// How long an answer may be held for its record (invariant 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The last byte waits until the record is on this machine's disk. The default.
    Durable,
    /// It waits until the collector has the record on its disk.
    Receipt,
    /// It waits for nothing: the record is written, not synced.
    Relaxed,
}

/// What happens when the spool cannot take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailMode {
    /// Refuse as soon as the collector has been out of reach for [`Config::closed_after`], and when the
    /// spool is full.
    Closed,
    /// Spool while there is room, then refuse. The default.
    Spool,
    /// Serve all the same, and write a gap entry once there is room again.
    Open,
}

/// What becomes of an answer whose client hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHangup {
    /// The model server is hung up on, too, and stops generating. The default.
    Cancel,
    /// The rest is read and recorded, so that the record has the true usage. Within bounds:
    /// [`Config::hangup_drains_max`] and those behind it.
    Drain,
}

/// Where a model server is.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// Path before the request's own, without a trailing slash.
    pub prefix: String,
}

/// Requests that are treated alike: see [`crate::access::routes`] for which route takes one.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name in entries.
    pub name: String,
    /// Path prefix that it takes.
    pub path: String,
    /// Models that it takes; any, and requests that name none, when empty.
    pub models: Vec<ModelPattern>,
    /// Methods that it takes; any when empty.
    pub methods: Vec<Method>,
    /// Where requests go.
    pub upstream: Upstream,
    /// Whose ledger they are recorded in.
    pub tenant: String,
    /// Deployment environment in entries, unless a request names its own.
    pub environment: Option<String>,
    /// Who serves the model, in entries.
    pub provider: Option<String>,
    /// How long payloads are kept: a class that the collector knows, in entries.
    pub retention_class: Option<String>,
    /// What goes to the model server in place of the client's key.
    pub credential: Option<Credential>,
    /// Most requests that it serves.
    pub limits: Limits,
    /// How long an answer may be held.
    pub mode: Mode,
    /// What happens when the spool is full.
    pub fail: FailMode,
    /// What happens when a client hangs up.
    pub on_hangup: OnHangup,
    /// Ask for the usage of streams where the client left it open. Off by default: it changes requests.
    pub inject_usage: bool,
}

/// How a gateway is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// This source's id.
    pub source_id: String,
    /// Where the spool lies.
    pub spool: PathBuf,
    /// Most bytes that the spool may take.
    pub spool_max_bytes: u64,
    /// Key for API key ids.
    pub api_key_id_key: [u8; 32],
    /// Routes; one takes every request.
    pub routes: Vec<Route>,
    /// The gateway's own API keys. `None`: any key or none is accepted, as an identity only.
    pub keys: Option<ApiKeys>,
    /// Where spans of requests go: base URL of an OTLP/HTTP receiver. `None`: nowhere.
    pub otlp_endpoint: Option<String>,
    /// `sha256:<hex>` of the file that this was read from, if it was.
    pub digest: Option<String>,
    /// Largest request body; a larger one is refused with 413.
    pub request_max_bytes: u64,
    /// Until a connection to the upstream stands.
    pub connect_timeout: Duration,
    /// Until the upstream's answer begins.
    pub head_timeout: Duration,
    /// Between two pieces of the upstream's answer, or of a request.
    pub idle_timeout: Duration,
    /// Between two messages of a WebSocket, from whichever side.
    pub websocket_idle_timeout: Duration,
    /// From accepting a request to the last byte of its answer; `None`: as long as it takes.
    pub total_timeout: Option<Duration>,
    /// Until a `receipt` answer gives up waiting for the collector.
    pub receipt_timeout: Duration,
    /// How long the collector may be out of reach before [`FailMode::Closed`] refuses.
    pub closed_after: Duration,
    /// How long running requests may take to end at shutdown.
    pub drain_timeout: Duration,
    /// Threads that serve requests.
    pub threads: usize,
    /// Most answers that are drained at once for clients that hung up.
    pub hangup_drains_max: usize,
    /// Most bytes that are read of each.
    pub hangup_drain_max_bytes: u64,
    /// Longest time that each may take.
    pub hangup_drain_max_time: Duration,
}

impl Upstream {
    /// Reads `http://host:port/prefix`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = without_credentials(text);
        let uri: Uri = text.parse().map_err(|error| format!("{shown:?} is not a URL: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(format!("{shown:?} is not a URL: expected http://host:port"));
        };
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(format!("{shown:?}: only http and https are spoken"));
        }
        if authority.as_str().contains('@') {
            return Err(format!("{shown:?}: credentials do not belong into a URL"));
        }
        Ok(Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The address that a request for `path_and_query` goes to.
    pub fn uri(&self, path_and_query: &str) -> Result<Uri, http::Error> {
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        if self.prefix.is_empty() {
            return builder.path_and_query(path_and_query).build();
        }
        // A client whose base URL ends in the prefix already sends it.
        let same = path_and_query.starts_with(&self.prefix)
            && matches!(path_and_query.as_bytes().get(self.prefix.len()), None | Some(b'/' | b'?'));
        let prefix = if same { "" } else { &self.prefix };
        builder.path_and_query(format!("{prefix}{path_and_query}")).build()
    }
}

impl Route {
    /// Every path and model, everything else as it comes.
    pub fn new(name: &str, upstream: Upstream) -> Self {
        Self {
            name: name.to_owned(),
            path: "/".to_owned(),
            models: Vec::new(),
            methods: Vec::new(),
            upstream,
            tenant: "default".to_owned(),
            environment: None,
            provider: None,
            retention_class: None,
            credential: None,
            limits: Limits::default(),
            mode: Mode::Durable,
            fail: FailMode::Spool,
            on_hangup: OnHangup::Cancel,
            inject_usage: false,
        }
    }
}

/// A URL as words may show it: neither what stands before its host nor its query.
fn without_credentials(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, rest)| format!("…@{rest}"))
}

/// Whether this can name a tenant: `[a-z0-9][a-z0-9_-]{0,63}`, but not the collector's own ledger.
pub(crate) fn is_tenant_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        && !text.starts_with(['-', '_'])
        && text != "operations"
}

impl Config {
    /// One route to one upstream, everything else as it comes.
    pub fn new(source_id: &str, spool: PathBuf, upstream: Upstream, api_key_id_key: [u8; 32]) -> Self {
        Self {
            source_id: source_id.to_owned(),
            spool,
            spool_max_bytes: 4 << 30,
            api_key_id_key,
            routes: vec![Route::new("default", upstream)],
            keys: None,
            otlp_endpoint: None,
            digest: None,
            request_max_bytes: 2 << 30,
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(300),
            websocket_idle_timeout: Duration::from_secs(3600),
            total_timeout: None,
            receipt_timeout: Duration::from_secs(30),
            closed_after: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            threads: default_threads(),
            hangup_drains_max: 64,
            hangup_drain_max_bytes: 64 << 20,
            hangup_drain_max_time: Duration::from_secs(300),
        }
    }

    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<(), String> {
        if !indelible_record::identity::may_stand_clear(&self.source_id) {
            return Err(format!("source id {:?}: use 1 to 128 of A-Z a-z 0-9 . _ : / -", self.source_id));
        }
        if self.spool_max_bytes < SPOOL_MIN_BYTES {
            let bytes = self.spool_max_bytes;
            return Err(format!("spool_max_bytes = {bytes} is too small: at least {SPOOL_MIN_BYTES}"));
        }
        if let Some(base) = &self.otlp_endpoint {
            crate::traces::endpoint(base)?;
        }
        check_routes(&self.routes)
    }
}

/// One thread a core serves most; a gateway shares its machine with what feeds the GPUs.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_DEFAULT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_prefixes_are_joined_once() {
        let plain = Upstream::parse("http://127.0.0.1:8000").unwrap();
        assert_eq!(plain.uri("/v1/models?x=1").unwrap(), "http://127.0.0.1:8000/v1/models?x=1");
        let prefixed = Upstream::parse("https://models.example/openai/v1/").unwrap();
        assert_eq!(prefixed.uri("/chat").unwrap(), "https://models.example/openai/v1/chat");
        assert_eq!(prefixed.uri("/openai/v1/chat").unwrap(), "https://models.example/openai/v1/chat");
        for bad in ["127.0.0.1:8000", "ftp://x", "http://user:secret@host", "", "/v1"] {
            assert!(Upstream::parse(bad).is_err(), "{bad}");
        }
    }

    /// graniet/llm #115: a key in a URL leaked through the words of an error.
    #[test]
    fn no_error_shows_the_credentials_of_a_url() {
        for bad in [
            "http://user:s3cret@host",
            "ftp://user:s3cret@host",
            "user:s3cret@host/ x",
            "host?key=s3cret",
            "http://?key=s3cret",
        ] {
            let error = Upstream::parse(bad).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
