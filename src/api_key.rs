//! `indelible key create`, `list`, `revoke`: the gateway's own API keys.
//!
//! They work on the file that the configuration names. A running gateway takes up what changed by itself.

use crate::cli::{Common, CreateKey};
use crate::config::{self, GatewaySection};
use crate::failure::{Failure, Outcome};
use crate::gateway::settings::read_id_key;
use indelible_gateway::access::keys::State;
use indelible_gateway::access::{ApiKey, ApiKeys};
use indelible_os::clock::{self, Utc};
use indelible_os::durable;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Makes a key, and prints it: the only time that anyone sees it.
pub(crate) fn create(common: &Common, arguments: &CreateKey) -> Outcome {
    let here = Here::find(common)?;
    let expires = arguments.expires.as_deref().map(|text| when(text, clock::now())).transpose()?;
    let (text, hash) = ApiKeys::generate(&here.id_key).map_err(Failure::new)?;
    let key = ApiKey {
        tenant: common.tenant.clone(),
        user: arguments.user.clone(),
        routes: arguments.route.clone(),
        requests_per_minute: arguments.requests_per_minute,
        concurrent_requests: arguments.concurrent_requests,
        expires,
        note: arguments.note.clone(),
        ..ApiKey::new(hash)
    };
    if let Some(name) = arguments.route.iter().find(|name| !here.routes.contains(name)) {
        let known = here.routes.join(", ");
        return Err(
            Failure::new(format!("there is no route {name:?}")).hint(format!("the routes are {known}"))
        );
    }
    let id = key.id();
    here.change(true, |keys| keys.add(key).map_err(Failure::new))?;
    if common.json {
        println!("{}", json!({ "id": id, "key": *text, "file": here.path }));
    } else {
        eprintln!("made API key {id} in {}; it is shown this once:", here.path.display());
        println!("{}", *text);
    }
    Ok(0)
}

/// Prints what is known of the keys. None of it is a key.
pub(crate) fn list(common: &Common) -> Outcome {
    let here = Here::find(common)?;
    let keys = here.read()?;
    let wanted = |key: &&ApiKey| common.tenant.is_none() || key.tenant == common.tenant;
    let rows: Vec<[String; 8]> = keys.iter().filter(wanted).map(row).collect();
    if common.json {
        let shown: Vec<Value> = keys.iter().filter(wanted).map(shown).collect();
        println!("{}", json!({ "keys": shown }));
        return Ok(0);
    }
    let head = ["ID", "STATE", "TENANT", "USER", "ROUTES", "LIMITS", "EXPIRES", "NOTE"].map(str::to_owned);
    let widths: Vec<usize> = (0..7)
        .map(|n| rows.iter().chain([&head]).map(|row| row[n].chars().count()).max().unwrap_or(0))
        .collect();
    for row in [&head].into_iter().chain(&rows) {
        let mut line = String::new();
        for (text, width) in row.iter().zip(widths.iter().chain([&0])) {
            line.push_str(&format!("{text:<width$}  "));
        }
        println!("{}", line.trim_end());
    }
    Ok(0)
}

/// Takes a key back.
pub(crate) fn revoke(common: &Common, wanted: &str) -> Outcome {
    let here = Here::find(common)?;
    let mut id = String::new();
    here.change(false, |keys| {
        id = find(keys, wanted, &here.id_key)?;
        keys.revoke(&id);
        Ok(())
    })?;
    if common.json {
        println!("{}", json!({ "id": id, "state": State::Revoked.as_str() }));
    } else {
        eprintln!("{id} is revoked; a running gateway refuses it within seconds");
    }
    Ok(0)
}

/// Where the keys of a deployment are.
struct Here {
    path: PathBuf,
    id_key: [u8; 32],
    routes: Vec<String>,
}

impl Here {
    fn find(common: &Common) -> Result<Self, Failure> {
        let section: GatewaySection = config::load(common)?.file.gateway.ok_or_else(|| {
            Failure::new("the configuration has no [gateway] section")
                .hint("indelible config prints a commented example")
        })?;
        let path = section.api_keys.clone().ok_or_else(|| {
            Failure::new("the configuration names no file for API keys")
                .hint("add to its section [gateway], for example: api_keys = \"api-keys.json\"")
        })?;
        let routes = section.routes.iter().map(|route| route.name.clone()).collect();
        Ok(Self { path, id_key: read_id_key(&section)?, routes })
    }

    fn read(&self) -> Result<ApiKeys, Failure> {
        let bytes = std::fs::read(&self.path).map_err(|error| self.failed(error))?;
        ApiKeys::parse(&bytes, &self.id_key).map_err(|error| self.failed(error))
    }

    /// Changes the file; with `make`, one that is not there yet. Two who do so at once take turns.
    fn change(
        &self,
        make: bool,
        change: impl FnOnce(&mut ApiKeys) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let turn = lock(&self.path, make).map_err(|error| self.failed(error))?;
        // What was just made to be locked has nothing in it.
        let fresh = make && turn.metadata().map_err(|error| self.failed(error))?.len() == 0;
        let mut keys = if fresh { ApiKeys::empty(&self.id_key) } else { self.read()? };
        change(&mut keys)?;
        durable::replace(&self.path, &keys.to_bytes(), durable::MODE_SECRET)
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: impl std::fmt::Display) -> Failure {
        Failure::new(format!("{}: {error}", self.path.display()))
            .hint("it is named by gateway.api_keys, and made by indelible key create")
    }
}

/// Locks a file that is replaced when it changes: who waited may hold one that is no longer the file.
fn lock(path: &Path, make: bool) -> std::io::Result<File> {
    loop {
        let file =
            OpenOptions::new().read(true).append(make).create(make).mode(durable::MODE_SECRET).open(path)?;
        file.lock()?;
        if std::fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|held| held.ino() == now.ino()))
        {
            return Ok(file);
        }
    }
}

/// The id of the one key that is meant: by its id, the beginning of that, or the key itself.
fn find(keys: &ApiKeys, wanted: &str, id_key: &[u8; 32]) -> Result<String, Failure> {
    let by_key = ApiKeys::hash(wanted, id_key).map(|hash| ApiKey::new(hash).id());
    let beginning = by_key.as_deref().unwrap_or(wanted);
    let digits = beginning.strip_prefix("k:").unwrap_or(beginning);
    let mut found: Vec<String> = Vec::new();
    if !digits.is_empty() {
        found = keys.iter().map(ApiKey::id).filter(|id| id["k:".len()..].starts_with(digits)).collect();
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        // What was asked for may be a key of somebody's: it is not repeated.
        0 => Err(Failure::new("there is no such API key").code(1).hint("indelible key list shows their ids")),
        count => Err(Failure::new(format!("{count} API keys have ids that begin so"))
            .code(3)
            .detail(found.join(" "))
            .hint("give more of the id")),
    }
}

fn row(key: &ApiKey) -> [String; 8] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let limits = [
        key.requests_per_minute.map(|most| format!("{most}/min")),
        key.concurrent_requests.map(|most| format!("{most} at once")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    [
        key.id(),
        key.state().as_str().to_owned(),
        or_dash(key.tenant.clone()),
        or_dash(key.user.clone()),
        or_dash((!key.routes.is_empty()).then(|| key.routes.join(","))),
        or_dash((!limits.is_empty()).then(|| limits.join(", "))),
        or_dash(key.expires.map(|time| time.to_string())),
        key.note.clone().unwrap_or_default(),
    ]
}

fn shown(key: &ApiKey) -> Value {
    let mut value = serde_json::to_value(key).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.remove("hmac");
        members.insert("id".to_owned(), key.id().into());
        members.insert("state".to_owned(), key.state().as_str().into());
    }
    value
}

/// A moment that is to come: RFC 3339, a date, or so many days or hours from now.
fn when(text: &str, now: Utc) -> Result<Utc, Failure> {
    const HOUR_US: i64 = 3_600_000_000;
    let bad =
        |what: String| Failure::new(what).hint("give a date, a moment as RFC 3339 has it, or 90d, or 12h");
    let unit = match text.as_bytes() {
        [.., b'd'] => Some(24 * HOUR_US),
        [.., b'h'] => Some(HOUR_US),
        _ => None,
    };
    let from_now =
        unit.and_then(|unit| text[..text.len() - 1].parse::<u16>().ok().map(|count| unit * i64::from(count)));
    let moment = match from_now {
        Some(later) => Utc(now.0 + later),
        None => text.parse().map_err(|error| bad(format!("{text:?}: {error}")))?,
    };
    if moment <= now {
        return Err(bad(format!("{text:?} is over")));
    }
    Ok(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_expires_when_it_says() {
        let now: Utc = "2026-11-22T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("90d", "2027-02-20T12:00:00.000000Z"),
            ("12h", "2026-11-23T00:00:00.000000Z"),
            ("2026-12-01", "2026-12-01T00:00:00.000000Z"),
            ("2026-11-22T12:00:01Z", "2026-11-22T12:00:01.000000Z"),
        ] {
            assert_eq!(when(text, now).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["0d", "-1d", "soon", "2026-11-22", "d", "", "1.5d", "99999d"] {
            assert!(when(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_meant_by_its_id_its_beginning_or_itself() {
        let id_key = [7; 32];
        let mut keys = ApiKeys::empty(&id_key);
        let made: Vec<_> = (0..40).map(|_| ApiKeys::generate(&id_key).unwrap()).collect();
        for (_, hash) in &made {
            keys.add(ApiKey::new(hash.clone())).unwrap();
        }
        let id = ApiKey::new(made[0].1.clone()).id();
        for wanted in [id.as_str(), &id[2..], &id[..20], &made[0].0] {
            assert_eq!(find(&keys, wanted, &id_key).unwrap(), id);
        }
        assert_eq!(find(&keys, "k:", &id_key).unwrap_err().code, 1);
        assert_eq!(find(&keys, "no-such", &id_key).unwrap_err().code, 1);
        let unknown = ApiKeys::generate(&id_key).unwrap().0;
        let failure = find(&keys, &unknown, &id_key).unwrap_err();
        assert!(failure.code == 1 && !format!("{failure:?}").contains(&unknown[4..]));
        // Of forty ids, some begin alike.
        let ambiguous = "0123456789abcdef"
            .chars()
            .any(|digit| find(&keys, &digit.to_string(), &id_key).is_err_and(|f| f.code == 3));
        assert!(ambiguous);
    }
}
