//! The bucket that the configuration names, and the keys to it.
//!
//! Keys come from the environment, by the names that AWS gave them, or from a file of such lines that its owner alone
//! can read. They are in no setting, no message and no log.

use crate::cli::Common;
use crate::config::{self, CollectorSection};
use crate::failure::Failure;
use indelible_collector::store::location::{Credentials, Location};
#[cfg(feature = "s3")]
use indelible_collector::store::remote::{Auditing, Bucket};
use indelible_verify::directory::Elsewhere;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// Permission bits that would let others than the owner read keys.
const OTHERS: u32 = 0o077;
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";
/// A file of keys is a few lines.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// The bucket of the configuration file, where there is such a file and it names one.
pub(crate) fn configured(common: &Common) -> Result<Option<Location>, Failure> {
    if common.config.is_none() && !Path::new(config::DEFAULT_PATH).exists() {
        return Ok(None);
    }
    let section = config::load(common)?.file.collector;
    section.as_ref().map_or(Ok(None), location)
}

/// The name of the configured bucket.
pub(crate) fn configured_name(common: &Common) -> Result<Option<String>, Failure> {
    if common.config.is_none() && !Path::new(config::DEFAULT_PATH).exists() {
        return Ok(None);
    }
    Ok(config::load(common)?.file.collector.and_then(|section| section.store_url))
}

/// Hands the bucket to whoever verifies.
#[cfg(feature = "s3")]
pub(crate) fn audit<T>(location: &Location, check: impl FnOnce(&dyn Elsewhere) -> T) -> Result<T, Failure> {
    let bucket = Bucket::open(location).map_err(|error| Failure::new(format!("{location}: {error}")))?;
    Ok(check(&Auditing::new(bucket)))
}

/// This program cannot.
#[cfg(not(feature = "s3"))]
pub(crate) fn audit<T>(location: &Location, _: impl FnOnce(&dyn Elsewhere) -> T) -> Result<T, Failure> {
    Err(Failure::new(format!("{location} cannot be read"))
        .hint("this program was built without the feature s3"))
}

/// The bucket of a section.
pub(crate) fn location(section: &CollectorSection) -> Result<Option<Location>, Failure> {
    let Some(url) = &section.store_url else { return Ok(None) };
    let (bucket, prefix) = Location::parse_url(url).map_err(|error| {
        Failure::new(format!("store_url {url:?} is {error}"))
            .hint("names are of A-Z a-z 0-9 - _ . =; another store than Amazon's is named by store_endpoint")
    })?;
    if let Some(endpoint) = &section.store_endpoint
        && !endpoint.starts_with("https://")
        && !endpoint.starts_with("http://")
    {
        return Err(Failure::new(format!("store_endpoint {endpoint:?} is no URL"))
            .hint("for example https://s3.example or http://127.0.0.1:7480"));
    }
    let credentials = match &section.store_credentials_file {
        Some(path) => read_file(path)?,
        None => credentials(|name| std::env::var(name).ok().filter(|value| !value.is_empty())).ok_or_else(
            || {
                Failure::new(format!("there are no keys to {url}"))
                    .hint(format!("set {KEY_ID} and {SECRET}, or store_credentials_file"))
            },
        )?,
    };
    Ok(Some(Location {
        bucket,
        prefix,
        endpoint: section.store_endpoint.clone(),
        region: section.store_region.clone(),
        credentials,
        keep_local: Duration::from_secs(section.store_keep_local_s),
        cache_bytes: section.store_cache_bytes,
    }))
}

fn credentials(value: impl Fn(&str) -> Option<String>) -> Option<Credentials> {
    Some(Credentials { key_id: value(KEY_ID)?, secret: value(SECRET)?, token: value(TOKEN) })
}

fn read_file(path: &Path) -> Result<Credentials, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    let meta = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if meta.mode() & OTHERS != 0 {
        return Err(Failure::new(format!("{} can be read by others than its owner", path.display()))
            .hint(format!("chmod 600 {}", path.display())));
    }
    let form = || failed(&"not a file of keys").hint(format!("lines {KEY_ID}=… and {SECRET}=…"));
    if meta.len() > FILE_MAX_BYTES {
        return Err(form());
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    credentials(|name| value_in(&text, name)).ok_or_else(form)
}

/// What a line `NAME=value` says; spaces, quotes and `export` before it may stand as in a shell.
fn value_in(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.trim();
        let (key, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        (key.trim() == name && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_read_from_a_file_of_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let text =
            "# of the audit bucket\nAWS_ACCESS_KEY_ID=AK\nexport AWS_SECRET_ACCESS_KEY = \"hush/+=\"\n";
        std::fs::write(&path, text).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert!(read_file(&path).unwrap_err().what.contains("can be read by others"));
        mode(0o600);
        let expected = Credentials { key_id: "AK".to_owned(), secret: "hush/+=".to_owned(), token: None };
        assert!(read_file(&path).unwrap() == expected);
        std::fs::write(&path, "AWS_ACCESS_KEY_ID=hush\n").unwrap();
        let failure = read_file(&path).unwrap_err();
        assert!(!format!("{failure:?}").contains("hush"), "{failure:?}");
    }
}
