//! A running gateway takes up a changed configuration: on SIGHUP, and when one of its files has changed.
//!
//! The files are looked at every two seconds, by hash: no file system that a configuration may lie on has to
//! notify anyone. What was read is checked as at start; a file that does not
//! hold changes nothing, and the log says what is wrong. What changed is recorded before it is in force, by
//! name and never by value.

use super::settings::{self, Settings};
use crate::cli::Common;
use crate::failure::Failure;
use indelible_gateway::Access;
use indelible_gateway::access::ApiKeys;
use indelible_gateway::access::keys::digest_text;
use indelible_gateway::metrics;
use indelible_os::clock;
use indelible_record::event::ConfigChange;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::Signal;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A file that someone is still writing is another one so much later.
const STILL_FOR: Duration = Duration::from_millis(200);

/// A larger file is read again only when its time or length has changed. Smaller ones always are: two changes
/// within a tick of the file system's clock look alike.
const ALWAYS_READ_MAX_BYTES: u64 = 1 << 20;

/// What is in force without a restart.
const LIVE: [&str; 2] = ["gateway.routes", "gateway.api_keys"];

/// Watches the files of a running gateway.
pub(crate) struct Reload {
    common: Common,
    access: Arc<Access>,
    /// What requests are served by.
    current: Settings,
    /// What the process came up with: what it still needs a restart for is measured against that.
    started: toml::Table,
    seen: BTreeMap<PathBuf, Seen>,
    /// Why what is on disk is not in force.
    refused: Option<String>,
}

/// A file, as it was when last looked at.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    /// Modification time and length.
    stat: Option<(SystemTime, u64)>,
    digest: Option<String>,
}

impl Reload {
    /// Begins with what the gateway was started with.
    pub(crate) fn new(common: &Common, settings: Settings, access: Arc<Access>) -> Self {
        let started = settings.table.clone();
        let seen = as_read(&settings);
        warn_of_unknown_routes(&settings);
        Self { common: common.clone(), access, current: settings, started, seen, refused: None }
    }

    /// Watches until dropped.
    pub(crate) async fn run(mut self, mut hangups: Signal) {
        loop {
            tokio::select! {
                _ = hangups.recv() => {}
                // What was refused is tried again: what was amiss may be in no file, such as its mode.
                () = tokio::time::sleep(LOOK_INTERVAL) => if !self.changed().await && self.refused.is_none() { continue },
            }
            // Reading may wait for a file system that is away; requests do not.
            self = match tokio::task::spawn_blocking(move || self.reload()).await {
                Ok(this) => this,
                Err(error) => return tracing::error!(%error, "the configuration is not watched any more"),
            };
        }
    }

    /// Whether one of the files has changed, and nobody is still writing it.
    async fn changed(&mut self) -> bool {
        let mut now = self.look().await;
        while now != self.seen {
            tokio::time::sleep(STILL_FOR).await;
            let later = self.look().await;
            if later == now {
                break;
            }
            now = later;
        }
        let before = std::mem::replace(&mut self.seen, now);
        self.seen.iter().any(|(path, seen)| before.get(path).is_none_or(|old| old.digest != seen.digest))
    }

    async fn look(&self) -> BTreeMap<PathBuf, Seen> {
        let known = self.seen.clone();
        // It does not panic; if it did, nothing changed.
        tokio::task::spawn_blocking(move || look(&known)).await.unwrap_or_else(|_| self.seen.clone())
    }

    /// Reads the files, and puts what they say in force.
    fn reload(mut self) -> Self {
        match self.take_up() {
            Ok(()) => {
                self.refused = None;
                self.seen = as_read(&self.current);
            }
            Err(failure) => {
                let said = format!("{} {:?}", failure.what, failure.detail);
                if self.refused.as_ref() != Some(&said) {
                    self.access.metrics().on_reload(metrics::Reload::Refused);
                    tracing::error!(
                        what = failure.what,
                        detail = failure.detail,
                        hint = failure.hint,
                        "the configuration on disk was not taken up; the one before stays in force"
                    );
                }
                self.refused = Some(said);
            }
        }
        self
    }

    fn take_up(&mut self) -> Result<(), Failure> {
        let running = self.current.config.api_key_id_key;
        let next = Settings::load(&self.common, Some(running))?;
        let mut pending: Vec<String> =
            differing(&self.started, &next.table).into_iter().filter(|name| !is_live(name)).collect();
        if settings::read_id_key(&next.section)? != running
            && !pending.iter().any(|n| n == "gateway.api_key_id_key")
        {
            pending.push("gateway.api_key_id_key".to_owned());
        }
        let mut changed: BTreeSet<String> =
            differing(&self.current.table, &next.table).into_iter().filter(|name| is_live(name)).collect();
        changed.extend(other_credentials(&self.current, &next));
        let changed: Vec<String> = changed.into_iter().collect();
        let keys = changed_keys(self.current.config.keys.as_ref(), next.config.keys.as_ref());
        let mut changes = Vec::new();
        let time = clock::now().0;
        if !changed.is_empty() {
            let (before, after) = (self.current.config.digest.clone(), next.config.digest.clone());
            let (file, changed, pending) = ("configuration".to_owned(), changed.clone(), pending.clone());
            changes.push(ConfigChange { time, file, before, after, changed, pending });
        }
        if !keys.is_empty() {
            let digest = |settings: &Settings| Some(settings.config.keys.as_ref()?.digest()?.to_owned());
            let (before, after, changed) = (digest(&self.current), digest(&next), keys.clone());
            let file = "api_keys".to_owned();
            changes.push(ConfigChange { time, file, before, after, changed, pending: Vec::new() });
        }
        self.access
            .replace(next.config.routes.clone(), next.config.keys.clone(), &changes)
            .map_err(|error| Failure::new(error).hint("it is tried again every few seconds"))?;
        self.access.metrics().on_reload(metrics::Reload::Applied { pending: !pending.is_empty() });
        warn_of_unknown_routes(&next);
        self.current = next;
        let (changed, keys) = (changed.join(" "), keys.join(" "));
        tracing::info!(changed, keys, "the configuration was read anew");
        if !pending.is_empty() {
            tracing::warn!(pending = pending.join(" "), "these changes need a restart of the gateway");
        }
        Ok(())
    }
}

/// The files as they were read. Their times were not noted then: the next look reads them once more.
fn as_read(settings: &Settings) -> BTreeMap<PathBuf, Seen> {
    let seen = |digest: &String| Seen { stat: None, digest: Some(digest.clone()) };
    settings.files.0.iter().map(|(path, digest)| (path.clone(), seen(digest))).collect()
}

/// What the files are now.
fn look(known: &BTreeMap<PathBuf, Seen>) -> BTreeMap<PathBuf, Seen> {
    let one = |(path, old): (&PathBuf, &Seen)| {
        let stat = stat(path);
        let large = stat.is_some_and(|(_, bytes)| bytes > ALWAYS_READ_MAX_BYTES);
        let seen = if large && old.stat == stat {
            old.clone()
        } else {
            Seen { stat, digest: std::fs::read(path).ok().map(|bytes| digest_text(&bytes)) }
        };
        (path.clone(), seen)
    };
    known.iter().map(one).collect()
}

fn stat(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn is_live(name: &str) -> bool {
    LIVE.iter()
        .any(|live| name.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Names of the keys that differ. Routes go by their names; one that is only on one side is one name.
fn differing(one: &toml::Table, other: &toml::Table) -> BTreeSet<String> {
    let (one, other) = (flat(one), flat(other));
    let differs = |name: &&String| one.get(*name) != other.get(*name);
    let mut names: BTreeSet<String> = one.keys().chain(other.keys()).filter(differs).cloned().collect();
    let routes = |side: &BTreeMap<String, String>| -> BTreeSet<String> {
        side.keys().filter_map(|name| route_of(name).map(str::to_owned)).collect()
    };
    let alone: BTreeSet<String> = routes(&one).symmetric_difference(&routes(&other)).cloned().collect();
    names.retain(|name| route_of(name).is_none_or(|route| !alone.contains(route)));
    names.extend(alone);
    names
}

/// `gateway.routes.NAME`, of a key below it. Names of routes may hold dots; names of keys do not.
fn route_of(name: &str) -> Option<&str> {
    name.starts_with("gateway.routes.").then(|| name.rsplit_once('.').map_or(name, |(route, _)| route))
}

/// Each key with its value as text.
fn flat(gateway: &toml::Table) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for (name, value) in gateway {
        match value {
            toml::Value::Array(routes) if name == "routes" => {
                for route in routes.iter().filter_map(toml::Value::as_table) {
                    let route_name = route.get("name").and_then(toml::Value::as_str).unwrap_or_default();
                    put(&mut keys, &format!("gateway.routes.{route_name}"), route);
                }
            }
            toml::Value::Table(inner) => put(&mut keys, &format!("gateway.{name}"), inner),
            value => drop(keys.insert(format!("gateway.{name}"), format!("{value:?}"))),
        }
    }
    keys
}

fn put(keys: &mut BTreeMap<String, String>, below: &str, table: &toml::Table) {
    keys.extend(table.iter().map(|(name, value)| (format!("{below}.{name}"), format!("{value:?}"))));
}

/// Routes whose credential is another one, though the configuration names the same file or variable.
fn other_credentials(before: &Settings, after: &Settings) -> Vec<String> {
    let same = |route: &&indelible_gateway::Route| {
        let old = before.config.routes.iter().find(|old| old.name == route.name);
        match old.map(|old| (&old.credential, &route.credential)) {
            Some((Some(old), Some(new))) => old.is(new),
            // Where there was none or is none now, the configuration says so.
            _ => true,
        }
    };
    let others = after.config.routes.iter().filter(|route| !same(route));
    others.map(|route| format!("gateway.routes.{}.credential", route.name)).collect()
}

/// Names of the API keys that differ.
fn changed_keys(before: Option<&ApiKeys>, after: Option<&ApiKeys>) -> Vec<String> {
    let none = ApiKeys::empty(&[0; 32]);
    let changed = after.unwrap_or(&none).changed_since(before.unwrap_or(&none));
    changed.into_iter().map(|id| format!("api_keys.{id}")).collect()
}

/// A key may be limited to routes that are yet to come; more likely the name is misspelt.
fn warn_of_unknown_routes(settings: &Settings) {
    for key in settings.config.keys.iter().flat_map(ApiKeys::iter) {
        let known = |name: &&String| settings.config.routes.iter().any(|route| route.name == **name);
        for name in key.routes.iter().filter(|name| !known(name)) {
            tracing::warn!(
                key = key.id(),
                route = name,
                "an API key is limited to a route that does not exist"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
        listen = "127.0.0.1:1"
        [collector]
        url = "https://a:1"
        [[routes]]
        name = "default"
        upstream = "http://a"
        [[routes]]
        name = "v1.old"
        path = "/old"
        upstream = "http://a"
    "#;

    fn names(after: &str) -> Vec<String> {
        differing(&BEFORE.parse().unwrap(), &after.parse().unwrap()).into_iter().collect()
    }

    #[test]
    fn what_differs_is_named_and_its_value_is_not() {
        assert!(names(BEFORE).is_empty());
        let order = BEFORE
            .replace("\"v1.old\"", "\"x\"")
            .replace("\"default\"", "\"v1.old\"")
            .replace("\"x\"", "\"default\"");
        assert_eq!(names(&order), ["gateway.routes.default.path", "gateway.routes.v1.old.path"]);
        let after = BEFORE
            .replace("127.0.0.1:1", "127.0.0.1:2")
            .replace("https://a:1", "https://b:1")
            .replacen("http://a", "http://secret", 1)
            .replace("v1.old", "v1.new");
        let expected = [
            "gateway.collector.url",
            "gateway.listen",
            "gateway.routes.default.upstream",
            "gateway.routes.v1.new",
            "gateway.routes.v1.old",
        ];
        assert_eq!(names(&after), expected);
        let live: Vec<bool> = expected.iter().map(|name| is_live(name)).collect();
        assert_eq!(live, [false, false, true, true, true]);
        assert!(
            is_live("gateway.api_keys") && !is_live("gateway.api_key_id_key") && !is_live("gateway.routes_x")
        );
    }
}
