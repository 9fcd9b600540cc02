//! `indelible.toml`: what may stand in it, and what it becomes.
//!
//! An unknown key is an error, never ignored: a misspelt `fail` must not silently be the default. Each key
//! can be overridden from the environment: `INDELIBLE_GATEWAY_LISTEN`, `INDELIBLE_COLLECTOR_TENANTS`, …

use crate::cli::{Common, FailArg, ModeArg};
use crate::failure::{Failure, Outcome};
use serde::Deserialize;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

/// The reference, which is also a valid file: every key, its meaning, its default.
pub(crate) const REFERENCE: &str = include_str!("config.reference.toml");

/// Where the configuration is when nobody says.
pub(crate) const DEFAULT_PATH: &str = "indelible.toml";

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // Each key is described once, in config.reference.toml.
pub(crate) struct File {
    pub(crate) data: Option<PathBuf>,
    pub(crate) keys: Option<PathBuf>,
    pub(crate) gateway: Option<GatewaySection>,
    pub(crate) collector: Option<CollectorSection>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewaySection {
    #[serde(default = "gateway_listen")]
    pub(crate) listen: SocketAddr,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    #[serde(default = "source_id")]
    pub(crate) source_id: String,
    #[serde(default = "spool")]
    pub(crate) spool: PathBuf,
    #[serde(default = "spool_max_bytes")]
    pub(crate) spool_max_bytes: u64,
    pub(crate) api_key_id_key: PathBuf,
    pub(crate) api_keys: Option<PathBuf>,
    pub(crate) otlp_endpoint: Option<String>,
    #[serde(default = "request_max_bytes")]
    pub(crate) request_max_bytes: u64,
    #[serde(default = "connect_timeout_s")]
    pub(crate) connect_timeout_s: u64,
    #[serde(default = "head_timeout_s")]
    pub(crate) head_timeout_s: u64,
    #[serde(default = "idle_timeout_s")]
    pub(crate) idle_timeout_s: u64,
    #[serde(default = "websocket_idle_timeout_s")]
    pub(crate) websocket_idle_timeout_s: u64,
    #[serde(default = "total_timeout_s")]
    pub(crate) total_timeout_s: u64,
    #[serde(default = "receipt_timeout_s")]
    pub(crate) receipt_timeout_s: u64,
    #[serde(default = "closed_after_s")]
    pub(crate) closed_after_s: u64,
    #[serde(default = "drain_timeout_s")]
    pub(crate) drain_timeout_s: u64,
    pub(crate) threads: Option<NonZeroUsize>,
    #[serde(default = "hangup_drains_max")]
    pub(crate) hangup_drains_max: usize,
    #[serde(default = "hangup_drain_max_bytes")]
    pub(crate) hangup_drain_max_bytes: u64,
    #[serde(default = "hangup_drain_max_s")]
    pub(crate) hangup_drain_max_s: u64,
    pub(crate) collector: LinkSection,
    pub(crate) routes: Vec<RouteSection>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkSection {
    pub(crate) url: String,
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) spool_key: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteSection {
    pub(crate) name: String,
    #[serde(default = "root")]
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) models: Vec<String>,
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    pub(crate) upstream: String,
    #[serde(default = "default_tenant")]
    pub(crate) tenant: String,
    pub(crate) environment: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) retention_class: Option<String>,
    pub(crate) credential_file: Option<PathBuf>,
    pub(crate) credential_env: Option<String>,
    pub(crate) credential_header: Option<String>,
    pub(crate) requests_per_minute: Option<NonZeroU32>,
    pub(crate) concurrent_requests: Option<NonZeroU32>,
    #[serde(default = "durable")]
    pub(crate) mode: ModeArg,
    #[serde(default = "fail_spool")]
    pub(crate) fail: FailArg,
    #[serde(default = "hangup_cancel")]
    pub(crate) on_hangup: OnHangupArg,
    #[serde(default)]
    pub(crate) inject_usage: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnHangupArg {
    Cancel,
    Drain,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "collector"), allow(dead_code))] // One file may hold both sections.
pub(crate) struct CollectorSection {
    #[serde(default = "collector_listen")]
    pub(crate) listen: SocketAddr,
    #[serde(default = "default_tenants")]
    pub(crate) tenants: Vec<String>,
    pub(crate) tls_cert: PathBuf,
    pub(crate) tls_key: PathBuf,
    pub(crate) client_ca: PathBuf,
    #[serde(default = "seal_after_s")]
    pub(crate) seal_after_s: u64,
    #[serde(default = "seal_min_bytes")]
    pub(crate) seal_min_bytes: u64,
    #[serde(default = "seal_max_bytes")]
    pub(crate) seal_max_bytes: u64,
    pub(crate) store_url: Option<String>,
    pub(crate) store_endpoint: Option<String>,
    #[serde(default = "store_region")]
    pub(crate) store_region: String,
    pub(crate) store_credentials_file: Option<PathBuf>,
    #[serde(default = "store_keep_local_s")]
    pub(crate) store_keep_local_s: u64,
    #[serde(default = "store_cache_bytes")]
    pub(crate) store_cache_bytes: u64,
    pub(crate) witness_policy: Option<PathBuf>,
    #[serde(default = "witness_interval_s")]
    pub(crate) witness_interval_s: u64,
    pub(crate) witness_ca: Option<PathBuf>,
    #[serde(default)]
    pub(crate) anchors: Vec<AnchorSection>,
    #[serde(default)]
    pub(crate) prices: PricesSection,
    #[serde(default)]
    pub(crate) query: QuerySection,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "collector"), allow(dead_code))] // One file may hold both sections.
pub(crate) struct AnchorSection {
    pub(crate) name: String,
    pub(crate) kind: AnchorKind,
    pub(crate) to: String,
    #[serde(default = "anchor_interval_s")]
    pub(crate) interval_s: u64,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(not(feature = "collector"), allow(dead_code))] // One file may hold both sections.
pub(crate) enum AnchorKind {
    Rfc3161,
    Syslog,
    Directory,
    Http,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(feature = "collector"), allow(dead_code))] // One file may hold both sections.
pub(crate) struct QuerySection {
    pub(crate) memory_mib: NonZeroU32,
    pub(crate) timeout_s: NonZeroU32,
    pub(crate) rows_max: u64,
    pub(crate) at_once: NonZeroU32,
}

impl Default for QuerySection {
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { memory_mib: number(256), timeout_s: number(30), rows_max: 10_000_000, at_once: number(2) }
    }
}

#[cfg(feature = "collector")]
impl QuerySection {
    pub(crate) fn limits(&self) -> indelible_query::Limits {
        indelible_query::Limits {
            memory_bytes: (self.memory_mib.get() as usize) << 20,
            time: std::time::Duration::from_secs(self.timeout_s.get().into()),
            rows: self.rows_max,
            at_once: self.at_once.get() as usize,
            ..indelible_query::Limits::default()
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(feature = "collector"), allow(dead_code))] // One file may hold both sections.
pub(crate) struct PricesSection {
    pub(crate) table: String,
    pub(crate) provider_from_model: bool,
    pub(crate) overrides: Vec<PriceOverride>,
}

#[cfg(feature = "collector")]
pub(crate) type PriceOverride = indelible_price::OverrideSpec;
/// The gateway alone reads no prices, and does not check another machine's.
#[cfg(not(feature = "collector"))]
pub(crate) type PriceOverride = toml::Table;

impl Default for PricesSection {
    fn default() -> Self {
        Self { table: "builtin".to_owned(), provider_from_model: false, overrides: Vec::new() }
    }
}

fn gateway_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8089))
}
fn collector_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8090))
}
fn source_id() -> String {
    "gateway-1".to_owned()
}
fn spool() -> PathBuf {
    PathBuf::from("./indelible-spool")
}
fn spool_max_bytes() -> u64 {
    4 << 30
}
fn request_max_bytes() -> u64 {
    2 << 30
}
fn connect_timeout_s() -> u64 {
    10
}
fn head_timeout_s() -> u64 {
    600
}
fn idle_timeout_s() -> u64 {
    300
}
fn websocket_idle_timeout_s() -> u64 {
    3600
}
fn total_timeout_s() -> u64 {
    0
}
fn receipt_timeout_s() -> u64 {
    30
}
fn closed_after_s() -> u64 {
    60
}
fn drain_timeout_s() -> u64 {
    30
}
fn hangup_drains_max() -> usize {
    64
}
fn hangup_drain_max_bytes() -> u64 {
    64 << 20
}
fn hangup_drain_max_s() -> u64 {
    300
}
fn seal_after_s() -> u64 {
    3600
}
fn seal_min_bytes() -> u64 {
    16 << 20
}
fn seal_max_bytes() -> u64 {
    1 << 30
}
fn anchor_interval_s() -> u64 {
    86_400
}
fn witness_interval_s() -> u64 {
    10
}
fn store_region() -> String {
    "us-east-1".to_owned()
}
fn store_keep_local_s() -> u64 {
    7 * 86_400
}
fn store_cache_bytes() -> u64 {
    10 << 30
}
fn root() -> String {
    "/".to_owned()
}
fn default_tenant() -> String {
    "default".to_owned()
}
fn default_tenants() -> Vec<String> {
    vec![default_tenant()]
}
fn durable() -> ModeArg {
    ModeArg::Durable
}
fn fail_spool() -> FailArg {
    FailArg::Spool
}
fn hangup_cancel() -> OnHangupArg {
    OnHangupArg::Cancel
}

/// A configuration, and the file that it was read from.
pub(crate) struct Loaded {
    pub(crate) file: File,
    /// The same as it was written, overrides applied.
    #[cfg_attr(not(feature = "gateway"), allow(dead_code))] // Only a gateway reloads.
    pub(crate) table: toml::Table,
    #[cfg_attr(not(feature = "gateway"), allow(dead_code))]
    pub(crate) text: String,
}

/// The configuration file that `--config` names, or `indelible.toml`.
pub(crate) fn path(common: &Common) -> PathBuf {
    common.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH))
}

/// Reads the configuration file.
pub(crate) fn load(common: &Common) -> Result<Loaded, Failure> {
    let path = path(common);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::new(format!("cannot read the configuration {}", path.display()))
            .detail(error)
            .hint("indelible config prints a commented example")
    })?;
    let (file, table) = parse(&path, &text, std::env::vars())?;
    Ok(Loaded { file, table, text })
}

/// The same with the directories of the file, where there is one and neither arguments nor environment name others: as the
/// collector has them.
#[cfg(feature = "collector")]
pub(crate) fn with_places(common: &Common) -> Result<Common, Failure> {
    let mut common = common.clone();
    let named = common.data.is_some() && common.keys.is_some();
    if !named && (common.config.is_some() || Path::new(DEFAULT_PATH).exists()) {
        let file = load(&common)?.file;
        common.data = common.data.or(file.data);
        common.keys = common.keys.or(file.keys);
    }
    Ok(common)
}

/// Reads the file's text, with what the environment says instead.
pub(crate) fn parse(
    path: &Path,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(File, toml::Table), Failure> {
    let bad = |error: &dyn std::fmt::Display| {
        Failure::new(format!("{} is not a valid configuration", path.display()))
            .detail(error)
            .hint("indelible config prints every key with its meaning")
    };
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| bad(&error))?;
    let overridden = apply_overrides(&mut table, environment);
    if !overridden {
        // Read from the text itself, so that an error shows its line.
        return Ok((toml::from_str(text).map_err(|error| bad(&error))?, table));
    }
    Ok((File::deserialize(table.clone()).map_err(|error| bad(&error))?, table))
}

fn apply_overrides(table: &mut toml::Table, environment: impl Iterator<Item = (String, String)>) -> bool {
    let ours = environment.filter_map(|(name, value)| {
        name.strip_prefix("INDELIBLE_").map(|name| (name.to_ascii_lowercase(), value))
    });
    let ours: Vec<(String, String)> = ours.collect();
    let services: Vec<&str> =
        ours.iter().filter_map(|(name, _)| name.strip_suffix("_service_host")).collect();
    let mut any = false;
    for (name, value) in &ours {
        if is_of_a_service(name, &services) {
            continue;
        }
        let keys: Vec<&str> = match name.split_once('_') {
            Some(("gateway", rest)) => match rest.strip_prefix("collector_") {
                Some(rest) => vec!["gateway", "collector", rest],
                None => vec!["gateway", rest],
            },
            Some(("collector", rest)) => match (rest.strip_prefix("prices_"), rest.strip_prefix("query_")) {
                (Some(rest), _) => vec!["collector", "prices", rest],
                (_, Some(rest)) => vec!["collector", "query", rest],
                _ => vec!["collector", rest],
            },
            _ => continue,
        };
        // What reads as a TOML value is one; anything else is a string.
        let value = format!("v = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut table| table.remove("v"))
            .unwrap_or_else(|| toml::Value::String(value.clone()));
        any |= set(table, &keys, value);
    }
    any
}

/// Whether Kubernetes set it for one of these services, whose names begin with ours: `…_SERVICE_HOST`, which each has,
/// `…_SERVICE_PORT`, `…_SERVICE_PORT_NAME`, `…_PORT`, `…_PORT_443_TCP`, `…_PORT_443_TCP_ADDR` (its documentation of services,
/// "Environment variables").
fn is_of_a_service(name: &str, services: &[&str]) -> bool {
    let beginnings = ["_service_host", "_service_port", "_port"];
    services.iter().filter_map(|service| name.strip_prefix(service)).any(|rest| {
        let rest = beginnings.iter().find_map(|beginning| rest.strip_prefix(beginning));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

fn set(table: &mut toml::Table, keys: &[&str], value: toml::Value) -> bool {
    let Some((first, rest)) = keys.split_first() else { return false };
    if rest.is_empty() {
        table.insert((*first).to_owned(), value);
        return true;
    }
    let inner = table.entry((*first).to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    inner.as_table_mut().is_some_and(|inner| set(inner, rest, value))
}

/// Prints the reference.
pub(crate) fn print_reference() -> Outcome {
    print!("{REFERENCE}");
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<File, Failure> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse(Path::new("indelible.toml"), text, environment).map(|(file, _)| file)
    }

    #[test]
    fn the_reference_is_a_valid_file_and_says_the_defaults() {
        let file = load(REFERENCE, &[]).unwrap();
        let gateway = file.gateway.unwrap();
        assert_eq!(gateway.listen, gateway_listen());
        assert_eq!(gateway.spool_max_bytes, spool_max_bytes());
        assert_eq!(gateway.request_max_bytes, request_max_bytes());
        assert_eq!(
            (gateway.connect_timeout_s, gateway.head_timeout_s, gateway.idle_timeout_s),
            (connect_timeout_s(), head_timeout_s(), idle_timeout_s())
        );
        assert_eq!(
            (gateway.websocket_idle_timeout_s, gateway.total_timeout_s),
            (websocket_idle_timeout_s(), total_timeout_s())
        );
        assert_eq!(
            (gateway.receipt_timeout_s, gateway.closed_after_s, gateway.drain_timeout_s),
            (receipt_timeout_s(), closed_after_s(), drain_timeout_s())
        );
        assert_eq!(
            (gateway.hangup_drains_max, gateway.hangup_drain_max_bytes, gateway.hangup_drain_max_s),
            (hangup_drains_max(), hangup_drain_max_bytes(), hangup_drain_max_s())
        );
        assert_eq!(gateway.routes[0].on_hangup, hangup_cancel());
        assert!(!gateway.routes[0].inject_usage);
        assert_eq!(gateway.routes[0].mode, durable());
        assert_eq!(gateway.routes[0].fail, fail_spool());
        let collector = file.collector.unwrap();
        assert_eq!(collector.listen, collector_listen());
        assert_eq!(collector.seal_after_s, seal_after_s());
        assert_eq!(collector.seal_min_bytes, seal_min_bytes());
        assert_eq!(collector.seal_max_bytes, seal_max_bytes());
        assert_eq!(collector.store_url, None);
        assert_eq!(collector.store_region, store_region());
        assert_eq!(collector.store_keep_local_s, store_keep_local_s());
        assert_eq!(collector.store_cache_bytes, store_cache_bytes());
        let (prices, default) = (collector.prices, PricesSection::default());
        assert_eq!(prices.table, default.table);
        assert_eq!(prices.provider_from_model, default.provider_from_model);
        assert!(prices.overrides.is_empty());
    }

    /// What the reference shows of overrides as comments is a valid section, with every key that there is.
    #[cfg(feature = "collector")]
    #[test]
    fn the_overrides_of_the_reference_are_valid() {
        let (before, shown) = REFERENCE.split_once("# [[collector.prices.overrides]]").unwrap();
        let shown = shown.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        // Words of explanation stay comments.
        let keys = shown.filter(|line| line.starts_with("[[") || line.contains(" = "));
        let text =
            format!("{before}\n[[collector.prices.overrides]]\n{}", keys.collect::<Vec<_>>().join("\n"));
        let prices = load(&text, &[]).unwrap().collector.unwrap().prices;
        let all: std::collections::BTreeSet<String> = prices
            .overrides
            .iter()
            .flat_map(|one| {
                serde_json::to_value(one).unwrap().as_object().unwrap().keys().cloned().collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(all.len(), 11, "{all:?}");
        indelible_price::Overrides::new(prices.overrides).unwrap();
    }

    #[cfg(feature = "collector")]
    #[test]
    fn an_unknown_key_or_a_binary_fraction_in_a_price_is_refused() {
        let with = |line: &str| {
            let prices = format!("[[collector.prices.overrides]]\nname = \"a\"\nmodel = \"m\"\n{line}\n");
            load(&format!("{REFERENCE}\n{prices}"), &[])
        };
        assert!(with("input_usd_per_mtok = \"0.2\"").is_ok());
        for (line, expected) in [
            ("input_usd_per_mtok = 0.2", "invalid type: floating point"),
            ("imput_usd_per_mtok = \"0.2\"", "unknown field `imput_usd_per_mtok`"),
        ] {
            let detail = with(line).unwrap_err().detail.unwrap();
            assert!(detail.contains(expected), "{detail}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = REFERENCE.replace("source_id =", "sauce_id =");
        let failure = load(&text, &[]).unwrap_err();
        let detail = failure.detail.unwrap();
        assert!(detail.contains("sauce_id") && detail.contains("line"), "{detail}");
    }

    #[test]
    fn what_kubernetes_sets_for_services_of_our_names_is_no_setting() {
        let names = [
            ("INDELIBLE_COLLECTOR_SERVICE_HOST", "10.0.0.11"),
            ("INDELIBLE_COLLECTOR_SERVICE_PORT", "8443"),
            ("INDELIBLE_COLLECTOR_SERVICE_PORT_HTTPS", "8443"),
            ("INDELIBLE_COLLECTOR_PORT", "tcp://10.0.0.11:8443"),
            ("INDELIBLE_COLLECTOR_PORT_8443_TCP", "tcp://10.0.0.11:8443"),
            ("INDELIBLE_GATEWAY_PORT_4000_TCP_PROTO", "tcp"),
            ("INDELIBLE_GATEWAY_SERVICE_HOST", "10.0.0.12"),
            ("INDELIBLE_GATEWAY_INTERNAL_PORT_4000_TCP_ADDR", "10.0.0.13"),
            ("INDELIBLE_GATEWAY_INTERNAL_SERVICE_HOST", "10.0.0.13"),
        ];
        load(REFERENCE, &names).map_err(|failure| failure.detail).unwrap();
        // And none of ours is taken for one of those, commented out or not.
        let ours: Vec<&str> = REFERENCE
            .lines()
            .filter_map(|line| line.trim_start_matches("# ").split_once(" = ").map(|(name, _)| name))
            .collect();
        assert!(ours.len() > 50, "{}", ours.len());
        let services = ["gateway", "collector", "gateway_internal"];
        let taken =
            |key: &&&str| services.iter().any(|of| is_of_a_service(&format!("{of}_{key}"), &services));
        assert_eq!(ours.iter().find(taken), None);
        // Without such a service they are mistakes, and said to be.
        for name in [
            "INDELIBLE_COLLECTOR_PORT",
            "INDELIBLE_COLLECTOR_SERVICE_PORT",
            "INDELIBLE_GATEWAY_PORT_4000_TCP",
        ] {
            load(REFERENCE, &[(name, "1"), ("INDELIBLE_COLLECTOR_PORTS_SERVICE_HOST", "x")]).unwrap_err();
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let environment = [
            ("INDELIBLE_GATEWAY_LISTEN", "127.0.0.1:1"),
            ("INDELIBLE_GATEWAY_COLLECTOR_URL", "https://there:2"),
            ("INDELIBLE_GATEWAY_SPOOL_MAX_BYTES", "12345"),
            ("INDELIBLE_COLLECTOR_TENANTS", "[\"a\", \"b\"]"),
            ("INDELIBLE_COLLECTOR_PRICES_TABLE", "none"),
        ];
        let file = load(REFERENCE, &environment).unwrap();
        let gateway = file.gateway.unwrap();
        assert_eq!(gateway.listen.port(), 1);
        assert_eq!(gateway.collector.url, "https://there:2");
        assert_eq!(gateway.spool_max_bytes, 12345);
        let collector = file.collector.unwrap();
        assert_eq!(collector.tenants, ["a", "b"]);
        assert_eq!(collector.prices.table, "none");
    }
}
