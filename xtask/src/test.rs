//! Everything that must pass before a change lands, in the order in which it fails fastest.

use crate::{auditors, interop, machine, tidy};
use std::process::Command;

/// `cargo xtask test`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if let Some(unknown) = arguments.first() {
        return Err(format!("test takes no arguments, such as {unknown}"));
    }
    // The tests send signals and talk to sockets; everything else they bring along.
    machine::need("cc", "gcc")?;
    machine::need("kill", "procps")?;
    for (program, package) in
        [("python3", "python3"), ("openssl", "openssl"), ("jq", "jq"), ("unzip", "unzip"), ("xxd", "xxd")]
    {
        machine::need(program, package)?;
    }
    machine::need("rsyslogd", "rsyslog rsyslog-openssl")?;
    // Large, and only for segments in a bucket: without them those tests are passed over.
    let mut environment = vec![("REQUIRE_S3_TESTS", "required")];
    for (program, package) in [
        ("curl", "curl"),
        ("ceph-mon", "ceph-mon"),
        ("ceph-osd", "ceph-osd"),
        ("ceph-mgr", "ceph-mgr"),
        ("radosgw", "radosgw"),
        ("ceph-authtool", "ceph-common"),
    ] {
        if let Err(why) = machine::need(program, package) {
            eprintln!("\nskipped: tests of segments in a bucket, because {why}");
            environment.clear();
            break;
        }
    }
    tidy::check()?;
    if component("rustfmt") {
        machine::run("cargo", &["fmt", "--all", "--check"], &[])?;
    }
    if component("clippy") {
        machine::run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    }
    // The gateway builds alone: it runs beside GPUs.
    machine::run("cargo", &["check", "--no-default-features", "--features", "gateway"], &[])?;
    offline_verifier_is_small()?;
    machine::run("cargo", &["test", "--workspace"], &environment)?;
    auditors::run()?;
    interop::run()?;
    fuzz_targets_build()?;
    dependencies()
}

/// Licences, bans and sources, and known weaknesses where their database can be had.
fn dependencies() -> Result<(), String> {
    if !machine::is_there("cargo-deny") {
        eprintln!(
            "\nskipped: cargo deny, because cargo-deny is not installed (cargo install cargo-deny --locked)"
        );
        return Ok(());
    }
    machine::run("cargo", &["deny", "check", "bans", "licenses", "sources"], &[])?;
    if machine::run("cargo", &["deny", "fetch", "db"], &[]).is_err() {
        eprintln!("\nskipped: cargo deny check advisories, because their database cannot be fetched");
        return Ok(());
    }
    machine::run("cargo", &["deny", "check", "advisories"], &[])
}

/// Fuzz targets are built by a nightly compiler when they are run; that they still fit is known before.
fn fuzz_targets_build() -> Result<(), String> {
    machine::need("c++", "g++")?;
    if component("rustfmt") {
        machine::run("cargo", &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"], &[])?;
    }
    let check =
        ["check", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--target-dir", "target/fuzz/check"];
    machine::run("cargo", &check, &[("RUSTFLAGS", "--cfg fuzzing -D warnings")])
}

/// `cargo xtask kill [N]`: the long form of the kill test.
pub(crate) fn kill(arguments: &[String]) -> Result<(), String> {
    let times = arguments.first().map_or("200", String::as_str);
    // Without SQL, which is most of a release build and no part of this.
    let test = [
        "test",
        "--release",
        "--no-default-features",
        "--features",
        "demo",
        "--test",
        "it",
        "kill::",
        "--",
        "--nocapture",
    ];
    machine::run("cargo", &test, &[("INDELIBLE_KILLS", times)])
}

/// An auditor reads all of the verifier: it builds from the record and ledger crates and nothing of ours else.
fn offline_verifier_is_small() -> Result<(), String> {
    let output = Command::new("cargo")
        .args(["tree", "-p", "indelible-verify", "--no-default-features", "-e", "normal", "--prefix", "none"])
        .current_dir(machine::root())
        .output()
        .map_err(|error| format!("cargo tree: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let ours: std::collections::BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("indelible"))
        .collect();
    let expected = ["indelible-ledger", "indelible-record", "indelible-verify"].into();
    if ours == expected {
        Ok(())
    } else {
        Err(format!("indelible-verify builds from {ours:?}, not from {expected:?}"))
    }
}

/// A toolchain may lack a component; CI must not, so this says so.
fn component(name: &str) -> bool {
    let program = if name == "clippy" { "cargo-clippy" } else { "cargo-fmt" };
    let there = machine::is_there(program);
    if !there {
        eprintln!("\nskipped: {name}, because this toolchain does not have it");
    }
    there
}
