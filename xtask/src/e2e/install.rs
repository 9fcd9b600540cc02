//! What the end-to-end tests need from package indexes: clients for Python and Node, vLLM, and a model made here.
//!
//! Each part lies in a directory of its own with a note of what it was made from; it is made again when that
//! changes. Versions stand beside the tests, not here.

use super::Trouble;
use crate::machine;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory of the model.
pub(crate) const MODEL: &str = "model";
/// The note in each directory.
const NOTE: &str = "made-from";
const UNFINISHED: &str = "unfinished";

/// What the scripts run with.
pub(crate) struct Installed {
    /// An interpreter that has the clients.
    pub(crate) python: PathBuf,
    /// The directory that Node finds its client in.
    pub(crate) node_modules: PathBuf,
}

/// The clients.
pub(crate) fn clients(cache: &Path) -> Result<Installed, Trouble> {
    need("python3", "python3-venv")?;
    need("node", "nodejs")?;
    need("npm", "npm")?;
    let python = make(cache, "python-clients", &["requirements.txt"], |dir| {
        environment(dir)?;
        step(Command::new(dir.join("bin/pip")).args(["install", "-q", "-r"]).arg(source("requirements.txt")))
    })?;
    let node = make(cache, "node-clients", &["package.json"], |dir| {
        std::fs::copy(source("package.json"), dir.join("package.json"))
            .map_err(|error| Trouble::Failed(format!("{}: {error}", dir.display())))?;
        let quiet = ["install", "--no-audit", "--no-fund", "--no-package-lock"];
        step(Command::new("npm").args(quiet).current_dir(dir))
    })?;
    Ok(Installed { python: python.join("bin/python"), node_modules: node.join("node_modules") })
}

/// vLLM and a model; gives an interpreter that has vLLM.
pub(crate) fn vllm(cache: &Path) -> Result<PathBuf, Trouble> {
    let pins = ["server/requirements.txt", "server/overrides.txt"];
    let dir = make(cache, "vllm", &pins, |dir| {
        eprintln!("installing vLLM: 6 GB, several minutes");
        environment(dir)?;
        step(Command::new(dir.join("bin/pip")).args(["install", "-q", "uv"]))?;
        // pip cannot override what a package asks for.
        let mut install = Command::new(dir.join("bin/uv"));
        install.args(["pip", "install", "-q", "--python"]).arg(dir.join("bin/python"));
        step(install.arg("-r").arg(source(pins[0])).arg("--override").arg(source(pins[1])))
    })?;
    let python = dir.join("bin/python");
    let maker = "server/tiny_model.py";
    make(cache, MODEL, &[maker], |dir| step(Command::new(&python).arg("-B").arg(source(maker)).arg(dir)))?;
    Ok(python)
}

/// A file of the tests.
pub(crate) fn source(name: &str) -> PathBuf {
    machine::root().join("tests/e2e").join(name)
}

/// Sees to it that `cache/name` was made from the present content of `sources`.
fn make(
    cache: &Path,
    name: &str,
    sources: &[&str],
    steps: impl FnOnce(&Path) -> Result<(), Trouble>,
) -> Result<PathBuf, Trouble> {
    let dir = cache.join(name);
    let failed = |error: std::io::Error| Trouble::Failed(format!("{}: {error}", dir.display()));
    let mut content = String::new();
    for source_name in sources {
        content += &std::fs::read_to_string(source(source_name)).map_err(failed)?;
    }
    let note = std::fs::read_to_string(dir.join(NOTE));
    if note.as_ref().is_ok_and(|note| *note == content) {
        return Ok(dir);
    }
    if dir.exists() {
        if note.is_err() {
            let problem = "is something else's; remove it, or name another directory with --cache";
            return Err(Trouble::Failed(format!("{} {problem}", dir.display())));
        }
        std::fs::remove_dir_all(&dir).map_err(failed)?;
    }
    // An installation that breaks off is still known as ours, and made again.
    std::fs::create_dir_all(&dir).map_err(failed)?;
    std::fs::write(dir.join(NOTE), UNFINISHED).map_err(failed)?;
    steps(&dir)?;
    std::fs::write(dir.join(NOTE), content).map_err(failed)?;
    Ok(dir)
}

fn environment(dir: &Path) -> Result<(), Trouble> {
    step(Command::new("python3").args(["-m", "venv"]).arg(dir))
}

fn need(program: &str, package: &str) -> Result<(), Trouble> {
    machine::need(program, package).map_err(Trouble::Missing)
}

/// One command of an installation. That it fails says nothing about Indelible.
fn step(command: &mut Command) -> Result<(), Trouble> {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Trouble::Missing(format!(
            "{shown}: {status}\n  is the package index within reach, and the disk not full?"
        ))),
        Err(error) => Err(Trouble::Missing(format!("{shown}: {error}"))),
    }
}
