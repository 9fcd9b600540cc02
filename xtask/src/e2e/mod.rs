//! `cargo xtask e2e`: official clients against a real vLLM, through `indelible up`. See tests/e2e/README.md.
//!
//! * `install`: clients, vLLM and a model, in a directory of their own
//! * `server`: vLLM as a process
//!
//! The calls and what must hold of them are in tests/e2e; this brings up what they need, in any clean checkout.

mod install;
mod server;

use crate::machine;
use install::Installed;
use server::Server;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask e2e [record] [options]

  record         write what vLLM answers to crates/gateway/tests/fixtures, instead of running the cases
  --only TEXT    only the cases whose name holds this
  --vllm URL     use this running vLLM, which generates text
  --pooling URL  use this running vLLM, which makes vectors (--runner pooling)
  --model NAME   what the running ones serve (tiny)
  --keep         leave a vLLM that this started running, and say where
  --cache DIR    where what is needed is installed: 6 GB, several minutes (target/e2e)

Given neither URL, both kinds of vLLM are started, one after the other.
Exit code: 0 all passed · 1 something failed · 3 something that this needs cannot be installed";
/// What the model is called where this starts the server.
const MODEL: &str = "tiny";
const FIXTURES: &str = "crates/gateway/tests/fixtures/vllm";

/// Why there is no verdict, or a bad one.
pub(crate) enum Trouble {
    /// A case failed, or a program did not do what it does elsewhere.
    Failed(String),
    /// Something that the run needs is not here and cannot be installed: nothing was found out.
    Missing(String),
}

/// What one vLLM serves: it does either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    Generate,
    Pooling,
}

/// What was asked for.
struct Options {
    record: bool,
    only: Option<String>,
    generating: Option<String>,
    pooling: Option<String>,
    model: String,
    keep: bool,
    cache: PathBuf,
}

/// Runs the cases, or records.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let outcome = match Options::parse(arguments) {
        Ok(Some(options)) => everything(&options),
        Ok(None) => {
            println!("{USAGE}");
            Ok(())
        }
        Err(problem) => Err(Trouble::Failed(format!("{problem}\n{USAGE}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Failed(problem)) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
        Err(Trouble::Missing(what)) => {
            eprintln!("xtask: not run: {what}");
            ExitCode::from(3)
        }
    }
}

fn everything(options: &Options) -> Result<(), Trouble> {
    let binary = build()?;
    let installed = install::clients(&options.cache)?;
    let mut failed = Vec::new();
    for runner in options.runners() {
        let (url, started) = match options.url(runner) {
            Some(url) => (url.to_owned(), None),
            None => {
                let server = Server::start(runner, &install::vllm(&options.cache)?, &options.cache)?;
                (server.url(), Some(server))
            }
        };
        let outcome = script(options, runner, &installed, &binary, &url);
        if let Some(server) = started {
            if options.keep { server.keep() } else { server.stop() }
        }
        if let Err(problem) = outcome {
            failed.push(problem);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Trouble::Failed(failed.join("; "))) }
}

fn build() -> Result<PathBuf, Trouble> {
    machine::run("cargo", &["build", "-p", "indelible", "--no-default-features", "--features", "demo"], &[])
        .map_err(Trouble::Failed)?;
    Ok(machine::root().join("target/debug/indelible"))
}

/// Runs what makes the calls. It prints its cases itself.
fn script(
    options: &Options,
    runner: Runner,
    installed: &Installed,
    binary: &Path,
    url: &str,
) -> Result<(), String> {
    let mut command = Command::new(&installed.python);
    // Compiled modules would lie about in the repository.
    command.arg("-B").current_dir(machine::root());
    if options.record {
        command.args(["tests/e2e/fixtures.py", "--into", FIXTURES]);
    } else {
        command.args(["tests/e2e/run.py", "--indelible"]).arg(binary);
        command.arg("--node-modules").arg(&installed.node_modules);
        command.args(options.only.iter().flat_map(|text| ["--only", text]));
    }
    command.args(["--upstream", url, "--model", &options.model]);
    if runner == Runner::Pooling {
        command.arg("--pooling");
    }
    let name = if options.record { "recording" } else { "the cases" };
    eprintln!("\n{name} against a vLLM that {}, {url}", runner.does());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} against a vLLM that {}: {status}", runner.does())),
        Err(error) => Err(format!("{}: {error}", installed.python.display())),
    }
}

impl Runner {
    fn does(self) -> &'static str {
        match self {
            Self::Generate => "generates text",
            Self::Pooling => "makes vectors",
        }
    }
}

impl Options {
    /// `None`: only help was asked for.
    fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self {
            record: false,
            only: None,
            generating: None,
            pooling: None,
            model: MODEL.to_owned(),
            keep: false,
            cache: machine::root().join("target/e2e"),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().cloned().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "record" => options.record = true,
                "--only" => options.only = Some(value()?),
                "--vllm" => options.generating = Some(value()?),
                "--pooling" => options.pooling = Some(value()?),
                "--model" => options.model = value()?,
                "--keep" => options.keep = true,
                "--cache" => {
                    let dir = std::path::absolute(value()?).map_err(|error| format!("--cache: {error}"))?;
                    options.cache = dir;
                }
                "--help" | "-h" | "help" => return Ok(None),
                other => return Err(format!("unknown argument {other}")),
            }
        }
        if options.record && options.only.is_some() {
            return Err("record takes no --only: fixtures are recorded together".to_owned());
        }
        Ok(Some(options))
    }

    /// Where servers were named, only those are used.
    fn runners(&self) -> Vec<Runner> {
        let all = [Runner::Generate, Runner::Pooling];
        let named: Vec<Runner> = all.into_iter().filter(|runner| self.url(*runner).is_some()).collect();
        if named.is_empty() { all.to_vec() } else { named }
    }

    fn url(&self, runner: Runner) -> Option<&str> {
        match runner {
            Runner::Generate => self.generating.as_deref(),
            Runner::Pooling => self.pooling.as_deref(),
        }
    }
}
