//! The machine that tests run on: what is there, installing what is not, running programs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The repository.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// Sees to it that `program` can be run; installs Debian's `package` when this is root on such a machine.
pub(crate) fn need(program: &str, package: &str) -> Result<(), String> {
    if is_there(program) {
        return Ok(());
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root || !is_there("apt-get") {
        return Err(format!("{program} is missing: install the package {package}"));
    }
    eprintln!("installing {package} for {program}");
    let installed = Command::new("sh")
        .arg("-c")
        .arg(format!("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq {package}"))
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if installed && is_there(program) { Ok(()) } else { Err(format!("{package} could not be installed")) }
}

/// Whether `program` is on the path.
pub(crate) fn is_there(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a program in the repository and shows what it prints.
pub(crate) fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    let shown = format!("{program} {}", arguments.join(" "));
    eprintln!("\n$ {shown}");
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

/// Runs a command of this program in a release build of it: what is measured, or makes gigabytes, is in here.
pub(crate) fn again_optimised(command: &str, arguments: &[String]) -> Result<(), String> {
    let status = Command::new("cargo")
        .args(["run", "--release", "--quiet", "--package", "xtask", "--", command])
        .args(arguments)
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command} failed")) }
}
