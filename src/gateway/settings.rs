//! A gateway's part of the configuration, with the files that it names: what it becomes.
//!
//! The same way leads here at start and at a reload, so that what a running gateway takes up is what a
//! restart would.

use super::{fail, mode};
use crate::cli::Common;
use crate::config::{self, GatewaySection, OnHangupArg, RouteSection};
use crate::failure::Failure;
use indelible_gateway::access::keys::digest_text;
use indelible_gateway::access::{ApiKeys, Credential, Limits, ModelPattern};
use indelible_gateway::config::{Upstream, default_threads};
use indelible_gateway::ship::HttpLink;
use indelible_gateway::{Config, OnHangup, Route};
use indelible_net::client;
use indelible_net::tls::Identity;
use indelible_record::commitment::from_hex;
use indelible_spool::seal::SpoolPublicKey;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

const UPSTREAM_HINT: &str = "for a vLLM on its default port: http://127.0.0.1:8000";
/// Permission bits that would let others than the owner read a credential.
const OTHERS: u32 = 0o077;

/// A configuration, read and checked.
pub(crate) struct Settings {
    pub(crate) section: GatewaySection,
    pub(crate) config: Config,
    /// The section as it was written.
    pub(crate) table: toml::Table,
    /// The files that it was read from.
    pub(crate) files: Files,
}

/// Files, and the hashes of what was read in them.
#[derive(Clone, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<PathBuf, String>);

impl Files {
    fn read(&mut self, path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
        let bytes = Zeroizing::new(std::fs::read(path)?);
        self.0.insert(path.to_owned(), digest_text(&bytes));
        Ok(bytes)
    }
}

impl Settings {
    /// Reads the configuration and the files that it names. A running gateway says under which key its API keys
    /// have their ids: that one changes with a restart alone.
    pub(crate) fn load(common: &Common, id_key: Option<[u8; 32]>) -> Result<Self, Failure> {
        let loaded = config::load(common)?;
        let section = loaded.file.gateway.ok_or_else(|| {
            Failure::new("the configuration has no [gateway] section")
                .hint("indelible config prints a commented example")
        })?;
        let table = loaded.table.get("gateway").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let digest = digest_text(loaded.text.as_bytes());
        let mut files = Files([(config::path(common), digest.clone())].into());
        let mut config = from_section(&section, id_key, &mut files)?;
        config.digest = Some(digest);
        config.validate().map_err(|error| {
            Failure::new(error).hint("indelible config prints every key with its meaning")
        })?;
        Ok(Self { section, config, table, files })
    }
}

fn from_section(
    section: &GatewaySection,
    id_key: Option<[u8; 32]>,
    files: &mut Files,
) -> Result<Config, Failure> {
    let id_key = match id_key {
        Some(key) => key,
        None => read_id_key(section)?,
    };
    let routes: Vec<Route> =
        section.routes.iter().map(|section| route(section, files)).collect::<Result<_, Failure>>()?;
    let first = routes.first().ok_or_else(|| {
        Failure::new("the configuration has no [[gateway.routes]]")
            .hint("indelible config prints a commented example")
    })?;
    let mut config = Config::new(&section.source_id, section.spool.clone(), first.upstream.clone(), id_key);
    config.keys = section.api_keys.as_deref().map(|path| read_api_keys(path, &id_key, files)).transpose()?;
    config.routes = routes;
    config.otlp_endpoint = section.otlp_endpoint.clone();
    config.spool_max_bytes = section.spool_max_bytes;
    config.request_max_bytes = section.request_max_bytes;
    config.connect_timeout = Duration::from_secs(section.connect_timeout_s);
    config.head_timeout = Duration::from_secs(section.head_timeout_s);
    config.idle_timeout = Duration::from_secs(section.idle_timeout_s);
    config.websocket_idle_timeout = Duration::from_secs(section.websocket_idle_timeout_s);
    config.total_timeout =
        (section.total_timeout_s > 0).then(|| Duration::from_secs(section.total_timeout_s));
    config.receipt_timeout = Duration::from_secs(section.receipt_timeout_s);
    config.closed_after = Duration::from_secs(section.closed_after_s);
    config.drain_timeout = Duration::from_secs(section.drain_timeout_s);
    config.hangup_drains_max = section.hangup_drains_max;
    config.hangup_drain_max_bytes = section.hangup_drain_max_bytes;
    config.hangup_drain_max_time = Duration::from_secs(section.hangup_drain_max_s);
    config.threads = section.threads.map_or_else(default_threads, NonZeroUsize::get);
    Ok(config)
}

fn route(section: &RouteSection, files: &mut Files) -> Result<Route, Failure> {
    let bad = |error: String| Failure::new(format!("route {:?}: {error}", section.name));
    let upstream = Upstream::parse(&section.upstream).map_err(|error| bad(error).hint(UPSTREAM_HINT))?;
    let models = section.models.iter().map(|text| ModelPattern::parse(text)).collect::<Result<_, String>>();
    let methods = section.methods.iter().map(|text| text.parse()).collect::<Result<_, _>>();
    Ok(Route {
        path: section.path.clone(),
        models: models.map_err(bad)?,
        methods: methods.map_err(|_| bad("methods are words such as POST".to_owned()))?,
        tenant: section.tenant.clone(),
        environment: section.environment.clone(),
        provider: section.provider.clone(),
        retention_class: section.retention_class.clone(),
        credential: credential(section, files).map_err(|failure| Failure {
            what: format!("route {:?}: {}", section.name, failure.what),
            ..failure
        })?,
        limits: Limits {
            requests_per_minute: section.requests_per_minute,
            concurrent_requests: section.concurrent_requests,
        },
        mode: mode(section.mode),
        fail: fail(section.fail),
        on_hangup: match section.on_hangup {
            OnHangupArg::Cancel => OnHangup::Cancel,
            OnHangupArg::Drain => OnHangup::Drain,
        },
        inject_usage: section.inject_usage,
        ..Route::new(&section.name, upstream)
    })
}

/// What a route shows to its model server. No message repeats any of it.
fn credential(section: &RouteSection, files: &mut Files) -> Result<Option<Credential>, Failure> {
    let secret = match (&section.credential_file, &section.credential_env) {
        (None, None) if section.credential_header.is_some() => {
            return Err(Failure::new("credential_header stands alone")
                .hint("set credential_file or credential_env, too"));
        }
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(
                Failure::new("credential_file and credential_env are both set").hint("set one of them")
            );
        }
        (Some(path), None) => read_credential(path, files)?,
        (None, Some(name)) => std::env::var(name).map(Zeroizing::new).map_err(|_| {
            Failure::new(format!("the environment variable {name} is not set, or is no text"))
                .hint("it is named by credential_env")
        })?,
    };
    let header = section.credential_header.as_deref();
    let header = header.unwrap_or_else(|| Credential::header_of(section.provider.as_deref()));
    Credential::new(header, &secret).map(Some).map_err(Failure::new)
}

fn read_credential(path: &Path, files: &mut Files) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    if std::fs::metadata(path).map_err(|error| failed(&error))?.mode() & OTHERS != 0 {
        return Err(Failure::new(format!("{} can be read by others than its owner", path.display()))
            .hint(format!("chmod 600 {}", path.display())));
    }
    let bytes = files.read(path).map_err(|error| failed(&error))?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| failed(&"a credential is one line of visible ASCII"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The key that API keys have their ids under.
pub(crate) fn read_id_key(section: &GatewaySection) -> Result<[u8; 32], Failure> {
    indelible_vault::keystore::read_secret(&section.api_key_id_key)
        .map_err(|error| Failure::new(error).hint("indelible key init makes this file"))
}

fn read_api_keys(path: &Path, id_key: &[u8; 32], files: &mut Files) -> Result<ApiKeys, Failure> {
    let bytes = files.read(path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()))
            .hint("indelible key create makes this file; without gateway.api_keys any key is accepted")
    })?;
    ApiKeys::parse(&bytes, id_key).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()))
            .hint("put back a copy, or move it away and make keys anew: indelible key create")
    })
}

/// The way to the collector.
pub(crate) fn link(section: &GatewaySection) -> Result<HttpLink, Failure> {
    let there = &section.collector;
    let identity = Identity { cert: there.cert.clone(), key: there.key.clone() };
    let settings = client::Settings {
        ca: Some(&there.ca),
        identity: Some(&identity),
        connect_timeout: Duration::from_secs(section.connect_timeout_s),
        http2_only: true,
    };
    let client = client::build(&settings)
        .map_err(|error| Failure::new(error).hint("indelible key init makes development certificates"))?;
    if !there.url.starts_with("https://") {
        return Err(Failure::new(format!("collector address {:?}: expected https://host:port", there.url))
            .hint("set gateway.collector.url"));
    }
    HttpLink::new(client, &there.url).map_err(Failure::new)
}

/// The key that the spool is encrypted to.
pub(crate) fn read_spool_key(path: &Path) -> Result<SpoolPublicKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display())).hint("indelible key init makes this file")
    })?;
    from_hex(text.trim()).map(SpoolPublicKey::from_bytes).ok_or_else(|| {
        Failure::new(format!("{}: expected 64 hex digits", path.display()))
            .hint("it is the file collector-spool.pub that indelible key init made for this gateway")
    })
}
