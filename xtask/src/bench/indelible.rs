//! Our own servers as processes: one collector's home, the gateways that ship to it, and its verdict.

use super::process::{self, Process};
use super::{Bench, Outcome};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The source that `indelible key init` makes certificates for.
pub(crate) const SOURCE: &str = "gateway-1";
/// The tenant that everything is recorded for.
pub(crate) const TENANT: &str = "default";

const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How long an answer may be held for its record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Durable,
    Relaxed,
    Receipt,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Relaxed => "relaxed",
            Self::Receipt => "receipt",
        }
    }
}

/// A collector's directories and certificates.
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) port: u16,
    dir: PathBuf,
    binary: PathBuf,
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) port: u16,
    spool: PathBuf,
}

/// How shipping caught up after a load.
pub(crate) struct Drained {
    /// Frames that the collector did not have when the load ended.
    pub(crate) behind: f64,
    /// Until it had them all.
    pub(crate) seconds: f64,
    /// Whether it had them all within the limit.
    pub(crate) whole: bool,
}

/// What `indelible verify` said.
pub(crate) struct Verdict {
    pub(crate) words: String,
    /// Entries in the tenant's ledger, genesis included.
    pub(crate) entries: u64,
    /// Bytes of log that were read.
    pub(crate) bytes: u64,
}

impl Site {
    /// Makes keys and certificates for a collector on a free port.
    pub(crate) fn create(bench: &Bench, name: &str) -> Outcome<Self> {
        let dir = bench.dir().join(name);
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let site =
            Self { name: name.to_owned(), port: process::free_port()?, dir, binary: bench.indelible.clone() };
        let mut init = site.command(&[]);
        init.args(["key", "init", "--name", "127.0.0.1", "--source", SOURCE, "--keys"]).arg(site.keys());
        process::output("indelible key init", &mut init)?;
        Ok(site)
    }

    /// `indelible`, under `wrapper` (such as `taskset -c 1`) if that holds anything, free of whatever
    /// configuration the caller's environment holds.
    fn command(&self, wrapper: &[String]) -> Command {
        let mut command = match wrapper {
            [] => Command::new(&self.binary),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).arg(&self.binary);
                command
            }
        };
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("INDELIBLE_"))
        {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where its sealed segments lie.
    pub(crate) fn segments(&self) -> PathBuf {
        self.data().join("segments")
    }

    /// The token that whoever may read the running collector's data directory calls it with.
    pub(crate) fn token(&self) -> Outcome<String> {
        let path = self.data().join("run/operator.token");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Seals everything that is recorded, through the collector if it runs.
    pub(crate) fn seal(&self) -> Outcome<()> {
        process::output("indelible seal", self.over_data("seal").arg("--json")).map(drop)
    }

    /// Writes the exact bytes of all entries to a file, one a line.
    pub(crate) fn export_entries(&self, to: &Path) -> Outcome<()> {
        let out = std::fs::File::create(to).map_err(|error| format!("{}: {error}", to.display()))?;
        let mut command = self.over_data("list");
        let status = command.args(["--entries", "--tenant", TENANT]).stdout(out).status();
        let status = status.map_err(|error| format!("cannot run indelible list: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("indelible list ended with {status}")) }
    }

    /// Makes an evidence bundle of the entries with these numbers, payloads and all.
    pub(crate) fn make_bundle(&self, entries: std::ops::Range<u64>, to: &Path) -> Outcome<()> {
        let range = format!("{}..{}", entries.start, entries.end);
        let mut command = self.over_data("evidence");
        command.args(["--tenant", TENANT, "--purpose", "bench", "--range", &range, "--output"]).arg(to);
        process::output("indelible evidence", &mut command).map(drop)
    }

    /// The newest signed tree head, as a file.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.data().join("ledgers").join(TENANT).join("checkpoint")
    }

    /// The public key of the ledger.
    pub(crate) fn verifier_key(&self) -> Outcome<String> {
        let path = self.keys().join("ledgers").join(format!("{TENANT}.vkey"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// A subcommand over its directories.
    fn over_data(&self, subcommand: &str) -> Command {
        let mut command = self.command(&[]);
        command.arg(subcommand).arg("--data").arg(self.data()).arg("--keys").arg(self.keys());
        command
    }

    fn keys(&self) -> PathBuf {
        self.dir.join("data.keys")
    }

    /// A file that the gateway's machine would be given.
    pub(crate) fn handed_over(&self, file: &str) -> PathBuf {
        self.keys().join(SOURCE).join(file)
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Starts the collector, under `wrapper`; ready when this returns.
    pub(crate) fn start_collector(&self, wrapper: &[String]) -> Outcome<Process> {
        self.start_collector_with(wrapper, "")
    }

    /// The same with more settings.
    pub(crate) fn start_collector_with(&self, wrapper: &[String], settings: &str) -> Outcome<Process> {
        let config = self.dir.join("collector.toml");
        write(&config, &(self.collector_config() + settings))?;
        let mut command = self.command(wrapper);
        command.arg("collector").arg("--config").arg(&config);
        let mut running =
            Process::start("indelible collector", &mut command, &self.dir.join("collector.log"))?;
        let announced = self.data().join("run/collector.json");
        running.wait_until(START_TIMEOUT, || announced.is_file())?;
        Ok(running)
    }

    fn collector_config(&self) -> String {
        let (data, keys) = (self.data(), self.keys());
        let (data, keys, port) = (data.display(), keys.display(), self.port);
        format!(
            "data = \"{data}\"\nkeys = \"{keys}\"\n\n[collector]\nlisten = \"127.0.0.1:{port}\"\n\
             tenants = [\"{TENANT}\"]\ntls_cert = \"{keys}/tls/collector.pem\"\n\
             tls_key = \"{keys}/tls/collector.key\"\nclient_ca = \"{keys}/tls/ca.pem\"\n"
        )
    }

    /// Starts a gateway with an empty spool of its own before the model server on `upstream`. Its process
    /// loads the library `preload` before all others, if one is given.
    pub(crate) fn start_gateway(
        &self,
        mode: Mode,
        upstream: u16,
        preload: Option<&Path>,
    ) -> Outcome<Gateway> {
        let port = process::free_port()?;
        let spool = self.dir.join(format!("spool-{port}"));
        let config = self.dir.join("gateway.toml");
        write(&config, &self.gateway_config(mode, port, upstream, &spool))?;
        let mut command = self.command(&[]);
        command.arg("gateway").arg("--config").arg(&config);
        if let Some(library) = preload {
            command.env("LD_PRELOAD", library);
        }
        let mut running = Process::start("indelible gateway", &mut command, &self.gateway_log())?;
        running.wait_until(START_TIMEOUT, || process::http_get(port, "/readyz").is_some())?;
        Ok(Gateway { process: running, port, spool })
    }

    fn gateway_log(&self) -> PathBuf {
        self.dir.join("gateway.log")
    }

    /// What the gateway that was started last printed.
    pub(crate) fn gateway_said(&self) -> String {
        // None is as good as nothing.
        std::fs::read_to_string(self.gateway_log()).unwrap_or_default()
    }

    fn gateway_config(&self, mode: Mode, port: u16, upstream: u16, spool: &Path) -> String {
        let (mode, spool, url) = (mode.as_str(), spool.display(), self.url());
        let file = |name: &str| self.handed_over(name).display().to_string();
        let (ca, spool_key, api_key) = (file("ca.pem"), file("collector-spool.pub"), file("api-key-id.key"));
        let (cert, key) = (file(&format!("{SOURCE}.pem")), file(&format!("{SOURCE}.key")));
        format!(
            "[gateway]\nlisten = \"127.0.0.1:{port}\"\nsource_id = \"{SOURCE}\"\nspool = \"{spool}\"\n\
             api_key_id_key = \"{api_key}\"\n\n[gateway.collector]\nurl = \"{url}\"\nca = \"{ca}\"\n\
             cert = \"{cert}\"\nkey = \"{key}\"\nspool_key = \"{spool_key}\"\n\n\
             [[gateway.routes]]\nname = \"default\"\npath = \"/\"\nupstream = \"http://127.0.0.1:{upstream}\"\n\
             tenant = \"{TENANT}\"\nmode = \"{mode}\"\n"
        )
    }

    /// Runs `indelible verify`, under `wrapper`.
    pub(crate) fn verify(&self, wrapper: &[String]) -> Outcome<Verdict> {
        let mut command = self.command(wrapper);
        command.args(["verify", "--json", "--data"]).arg(self.data());
        command.arg("--keys").arg(self.keys());
        // Its exit code is the verdict, which is part of the report and no failure of the bench.
        let done = command.output().map_err(|error| format!("cannot run indelible verify: {error}"))?;
        let report: Value = serde_json::from_slice(&done.stdout).map_err(|error| {
            format!("indelible verify: {error}: {}", String::from_utf8_lossy(&done.stderr))
        })?;
        let ledgers = report["ledgers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ledger = ledgers.iter().find(|ledger| ledger["tenant"] == TENANT);
        let mut words = report["verdict"].as_str().unwrap_or("no verdict").to_uppercase();
        if let Some(what) = report["findings"][0]["what"].as_str() {
            words = format!("{words}: {what}");
        }
        let entries = ledger.and_then(|ledger| ledger["entries"].as_u64()).unwrap_or(0);
        Ok(Verdict { words, entries, bytes: report["bytes"].as_u64().unwrap_or(0) })
    }
}

impl Verdict {
    pub(crate) fn holds(&self) -> bool {
        self.words == "HOLDS"
    }
}

impl Gateway {
    /// Waits until the collector has everything.
    pub(crate) fn drain(&self, limit: Duration) -> Drained {
        let started = Instant::now();
        let behind = self.metric("unshipped_frames");
        loop {
            // The last frames of a load may still be on their way to the disk: twice nothing is nothing.
            if self.metric("unshipped_frames") == 0.0 {
                let seconds = started.elapsed().as_secs_f64();
                std::thread::sleep(DRAIN_POLL);
                if self.metric("unshipped_frames") == 0.0 {
                    return Drained { behind, seconds, whole: true };
                }
            }
            if started.elapsed() > limit {
                return Drained { behind, seconds: started.elapsed().as_secs_f64(), whole: false };
            }
            std::thread::sleep(DRAIN_POLL);
        }
    }

    /// A number from `/metrics`; without an answer, one that is not zero.
    fn metric(&self, name: &str) -> f64 {
        let text = process::http_get(self.port, "/metrics").unwrap_or_default();
        let prefix = format!("indelible_gateway_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix)?.trim().parse().ok());
        value.unwrap_or(f64::NAN)
    }

    /// Stops it in good order and removes its spool, which the collector has as a whole if it drained.
    pub(crate) fn stop(self, drained: bool) -> Outcome<()> {
        self.process.stop("TERM", STOP_TIMEOUT)?;
        if drained {
            std::fs::remove_dir_all(&self.spool)
                .map_err(|error| format!("{}: {error}", self.spool.display()))?;
        }
        Ok(())
    }
}

/// Stops a collector in good order: everything is signed and the log is closed.
pub(crate) fn stop_collector(running: Process) -> Outcome<()> {
    running.stop("TERM", STOP_TIMEOUT)
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
