//! Where a command finds records and keys: arguments and environment first, then the configuration, then `./indelible-data`.

use crate::common::*;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a command without anything in its environment that says where records are.
fn run_in(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_indelible"));
    command.args(arguments).current_dir(dir);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("INDELIBLE_"))
    {
        command.env_remove(name);
    }
    command.output().unwrap()
}

#[test]
fn the_configuration_says_where_records_and_keys_are() {
    let model = ModelServer::start();
    let site = Site::new();
    let mut up = site.up(&model.url, &[]);
    let id = post(up.listen, "/v1/chat/completions", &[], br#"{"model":"m"}"#).event_id().to_owned();
    up.wait_shipped();
    assert_eq!(up.stop(), 0, "{}", up.log());
    // Keys that are not where they are looked for without being told.
    let keys = site.dir.path().join("elsewhere");
    indelible_os::durable::publish_dir(&site.keys, &keys).unwrap();
    let config = |name: &str| {
        let path = site.dir.path().join(name);
        let text = format!("data = {:?}\nkeys = {keys:?}\n", site.data);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let named = config("collector.toml");
    let empty = tempfile::tempdir().unwrap();
    let missing = run_in(empty.path(), &["verify"]);
    assert_ne!(missing.status.code(), Some(0), "nothing says where records are");
    for arguments in [
        vec!["verify", "--config", &named],
        vec!["show", &id, "--config", &named],
        vec!["seal", "--config", &named],
        vec!["doctor", "--config", &named],
        vec!["key", "show", "--config", &named],
    ] {
        let output = run_in(empty.path(), &arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }
    // Where the command is run, the file needs no name; and an argument says otherwise.
    config("indelible.toml");
    let output = run_in(site.dir.path(), &["list", "--json"]);
    assert!(text(&output.stdout).contains(&id), "{}", text(&output.stderr));
    let output = run_in(site.dir.path(), &["verify", "--data", "nowhere"]);
    assert!(text(&output.stderr).contains("nowhere"), "{}", text(&output.stderr));
    let output = run_in(site.dir.path(), &["verify", "--keys", "nowhere"]);
    assert_ne!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // One that cannot be read is said, not passed over.
    let output = run_in(empty.path(), &["list", "--config", "missing.toml"]);
    assert!(text(&output.stderr).contains("missing.toml"), "{}", text(&output.stderr));
}
