//! How a gateway is set up, parsed and checked: no state in here can be wrong.

use http::Uri;
use http::uri::{Authority, Scheme};
use std::path::PathBuf;
use std::time::Duration;

/// Least that [`Config::spool_max_bytes`] may be.
const SPOOL_MIN_BYTES: u64 = 1 << 20;

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

/// Requests under one path prefix.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name in entries.
    pub name: String,
    /// Path prefix that it takes; the longest one wins.
    pub path: String,
    /// Where requests go.
    pub upstream: Upstream,
    /// Whose ledger they are recorded in.
    pub tenant: String,
    /// Deployment environment in entries, unless a request names its own.
    pub environment: Option<String>,
    /// Who serves the model, in entries.
    pub provider: Option<String>,
    /// How long an answer may be held.
    pub mode: Mode,
    /// What happens when the spool is full.
    pub fail: FailMode,
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
    /// Routes; at least one takes every path.
    pub routes: Vec<Route>,
    /// Largest request body; a larger one is refused with 413.
    pub request_max_bytes: u64,
    /// Until a connection to the upstream stands.
    pub connect_timeout: Duration,
    /// Until the upstream's answer begins.
    pub head_timeout: Duration,
    /// Between two pieces of the upstream's answer.
    pub idle_timeout: Duration,
    /// Until a `receipt` answer gives up waiting for the collector.
    pub receipt_timeout: Duration,
    /// How long the collector may be out of reach before [`FailMode::Closed`] refuses.
    pub closed_after: Duration,
    /// How long running requests may take to end at shutdown.
    pub drain_timeout: Duration,
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

/// A URL as words may show it: neither what stands before its host nor its query.
fn without_credentials(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, rest)| format!("…@{rest}"))
}

impl Config {
    /// One route to one upstream, everything else as it comes.
    pub fn new(source_id: &str, spool: PathBuf, upstream: Upstream, api_key_id_key: [u8; 32]) -> Self {
        Self {
            source_id: source_id.to_owned(),
            spool,
            spool_max_bytes: 4 << 30,
            api_key_id_key,
            routes: vec![Route {
                name: "default".to_owned(),
                path: "/".to_owned(),
                upstream,
                tenant: "default".to_owned(),
                environment: None,
                provider: None,
                mode: Mode::Durable,
                fail: FailMode::Spool,
            }],
            request_max_bytes: 2 << 30,
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(300),
            receipt_timeout: Duration::from_secs(30),
            closed_after: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
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
        if !self.routes.iter().any(|route| route.path == "/") {
            return Err("no route takes the path /: every request needs a route".to_owned());
        }
        Ok(())
    }

    /// The route for a path: the one with the longest prefix.
    pub fn route(&self, path: &str) -> Option<&Route> {
        self.routes
            .iter()
            .filter(|route| {
                path.strip_prefix(route.path.trim_end_matches('/'))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            })
            .max_by_key(|route| route.path.len())
    }
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

    #[test]
    fn the_longest_prefix_wins() {
        let upstream = Upstream::parse("http://127.0.0.1:1").unwrap();
        let mut config = Config::new("g", PathBuf::new(), upstream, [0; 32]);
        let mut other = config.routes[0].clone();
        other.name = "openai".to_owned();
        other.path = "/openai".to_owned();
        config.routes.push(other);
        assert_eq!(config.route("/openai/v1/chat").unwrap().name, "openai");
        assert_eq!(config.route("/openaix").unwrap().name, "default");
        assert_eq!(config.route("/v1/chat").unwrap().name, "default");
    }
}
