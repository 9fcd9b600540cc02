//! What an operator writes: the configuration, the file of API keys, patterns, addresses.
//!
//! Holds: a file of keys is written back so that it reads the same; the configuration is the same whether it is read
//! from its text or, where the environment changes it, from its table; what is refused is refused in words.

#![no_main]

use indelible_fuzz::Input;
use indelible_gateway::access::{ApiKeys, Credential, ModelPattern, key_text};
use indelible_gateway::config::Upstream;
use indelible_gateway::{Config, Route};
use indelible_os::clock::Utc;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize as _;
use std::path::{Path, PathBuf};

// Part of the program, which is no library: read where it stands, with as much around it as it needs.
#[allow(dead_code)]
#[path = "../../src/config.rs"]
mod file;

mod cli {
    #[allow(dead_code)]
    pub(crate) struct Common {
        pub(crate) config: Option<std::path::PathBuf>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub(crate) enum ModeArg {
        Durable,
        Receipt,
        Relaxed,
    }

    #[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub(crate) enum FailArg {
        Closed,
        Spool,
        Open,
    }
}

mod failure {
    use std::fmt::Display;

    pub(crate) type Outcome = Result<u8, Failure>;

    #[derive(Debug)]
    pub(crate) struct Failure(pub(crate) String);

    impl Failure {
        pub(crate) fn new(what: impl Display) -> Self {
            Self(what.to_string())
        }

        pub(crate) fn detail(mut self, detail: impl Display) -> Self {
            self.0 = format!("{}\n{detail}", self.0);
            self
        }

        pub(crate) fn hint(self, _: impl Display) -> Self {
            self
        }
    }
}

const ID_KEY: [u8; 32] = [9; 32];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 7 {
        0 => keys(input.rest()),
        1 => moment(input.rest()),
        2 => own_key(input.rest()),
        3 => routes(&mut input),
        4 => environment(&mut input),
        _ => configuration(input.rest()),
    }
});

fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match file::parse(Path::new("indelible.toml"), text, std::iter::empty()) {
        Ok((read, table)) => {
            let from_table = file::File::deserialize(table).unwrap();
            assert_eq!(format!("{read:?}"), format!("{from_table:?}"));
        }
        Err(words) => assert!(words.0.starts_with("indelible.toml is not a valid configuration\n")),
    }
}

/// Variables of lines `NAME=VALUE`, over the reference.
fn environment(input: &mut Input<'_>) {
    let lines = String::from_utf8_lossy(input.rest()).into_owned();
    let variables = lines.split('\0').filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (format!("INDELIBLE_{name}"), value.to_owned()));
    let before: toml::Table = file::REFERENCE.parse().unwrap();
    if let Ok((_, table)) = file::parse(Path::new("indelible.toml"), file::REFERENCE, variables) {
        // A variable changes the one key that it names.
        let named = lines.split('\0').filter(|line| line.contains('=')).count();
        let changed = before.iter().filter(|(name, value)| table.get(*name) != Some(*value)).count();
        assert!(changed <= named);
    }
}

fn keys(bytes: &[u8]) {
    // The check that ties a file to its deployment is made right, so that what is behind it is read.
    let empty = String::from_utf8(ApiKeys::empty(&ID_KEY).to_bytes()).unwrap();
    let check = empty.split('"').nth(5).unwrap().to_owned();
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text = text.replace("CHECK", &check);
    let Ok(keys) = ApiKeys::parse(text.as_bytes(), &ID_KEY) else { return };
    let written = keys.to_bytes();
    let again = ApiKeys::parse(&written, &ID_KEY).unwrap();
    assert!(again.changed_since(&keys).is_empty());
    assert_eq!(again.to_bytes(), written);
    let mut revoked = keys.clone();
    for id in keys.iter().map(|key| key.id()) {
        assert!(revoked.revoke(&id));
    }
    assert_eq!(revoked.iter().filter(|key| key.state().as_str() == "revoked").count(), keys.iter().count());
    let mut wrong = ID_KEY;
    wrong[0] ^= 1;
    assert!(ApiKeys::parse(&written, &wrong).is_err());
}

fn moment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(moment) = text.parse::<Utc>() {
        assert_eq!(moment.to_string().parse(), Ok(moment));
        let _ = (moment.day(), moment.month());
    }
}

fn own_key(bytes: &[u8]) {
    let is_whole = key_text::form_of(bytes) == key_text::Form::Whole;
    let hash = std::str::from_utf8(bytes).ok().and_then(|text| ApiKeys::hash(text, &ID_KEY));
    assert_eq!(is_whole, hash.is_some());
    if let Some(random) = bytes.first_chunk::<32>() {
        let key = key_text::of_bytes(random);
        assert_eq!(key_text::form_of(key.as_bytes()), key_text::Form::Whole);
    }
}

/// Routes of lines: a path, a model, an address each.
fn routes(input: &mut Input<'_>) {
    let mut routes = Vec::new();
    for number in 0..input.byte() % 5 {
        let [path, model, address] = [(); 3].map(|()| String::from_utf8_lossy(input.line()).into_owned());
        let Ok(upstream) = Upstream::parse(&address) else { return };
        let mut route = Route::new(&format!("r{number}"), upstream);
        route.path = path;
        match ModelPattern::parse(&model) {
            Ok(pattern) => route.models.push(pattern),
            Err(words) => assert!(words.contains("model")),
        }
        routes.push(route);
    }
    let source_id = String::from_utf8_lossy(input.line()).into_owned();
    let secret = String::from_utf8_lossy(input.line()).into_owned();
    if let Ok(credential) = Credential::new("x-api-key", &secret) {
        let other = Credential::new("x-api-key", "another secret").unwrap();
        assert_eq!(
            format!("{credential:?}"),
            format!("{other:?}"),
            "what is shown of a secret depends on it"
        );
    }
    let Ok(upstream) = Upstream::parse("http://127.0.0.1:1") else { return };
    let mut config = Config::new(&source_id, PathBuf::new(), upstream, ID_KEY);
    config.routes = routes;
    config.otlp_endpoint = Some(String::from_utf8_lossy(input.rest()).into_owned());
    if config.validate().is_ok() {
        assert!(config.routes.iter().all(|route| route.path.starts_with('/')));
        assert!(!config.routes.is_empty());
    }
}
