//! vLLM as a process, serving the tiny model on a free loopback port.

use super::install;
use super::{MODEL, Runner, Trouble};
use crate::bench::process::{self, Process};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Two to three minutes on two quiet cores, most of them spent on imports.
const READY_WITHIN: Duration = Duration::from_secs(900);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// Offline, talking to nobody, and small. Responses are stored so that they can be polled and continued.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("DO_NOT_TRACK", "1"),
    ("HF_HUB_OFFLINE", "1"),
    ("VLLM_CPU_KVCACHE_SPACE", "1"),
    ("VLLM_ENABLE_RESPONSES_API_STORE", "1"),
    ("VLLM_HOST_IP", "127.0.0.1"),
    ("VLLM_NO_USAGE_STATS", "1"),
];
const SMALL: &str =
    "--load-format dummy --dtype bfloat16 --max-model-len 2048 --max-num-seqs 16 --enforce-eager";
/// Tool calls and JSON schemas are decoded under a grammar, white space left out; requests choose whether to
/// reason; answers say how much of the prompt was cached, and are compressed for who asks for it.
const GENERATING: &str = "--enable-auto-tool-choice --tool-call-parser hermes --reasoning-parser deepseek_v3 \
    --enable-prompt-tokens-details --middleware vllm_gzip.GzipOnRequest --structured-outputs-config \
    {\"backend\":\"xgrammar\",\"disable_any_whitespace\":true}";
const POOLING: &str = "--runner pooling";

/// A running vLLM.
pub(crate) struct Server {
    process: Process,
    port: u16,
}

impl Server {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(runner: Runner, python: &Path, cache: &Path) -> Result<Self, Trouble> {
        let (name, more) = match runner {
            Runner::Generate => ("vllm-generate", GENERATING),
            Runner::Pooling => ("vllm-pooling", POOLING),
        };
        let port = process::free_port().map_err(Trouble::Failed)?;
        let mut command = Command::new(python);
        command.args(["-m", "vllm.entrypoints.openai.api_server", "--served-model-name", MODEL, "--model"]);
        // Named as what lies in the current directory, since answers tell the path that was given.
        command.arg(install::MODEL).current_dir(cache);
        command.args(SMALL.split_whitespace()).args(more.split_whitespace());
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.envs(ENVIRONMENT).env("PYTHONPATH", install::source("server"));
        // Compiled modules make the next start quicker, and must not lie about in the repository.
        command.env("PYTHONPYCACHEPREFIX", cache.join("pycache"));
        let log = cache.join(format!("{name}.log"));
        let mut process = Process::start(name, &mut command, &log).map_err(Trouble::Failed)?;
        eprintln!("\n{name} starts, which takes minutes; its log is {}", log.display());
        let asked = Instant::now();
        let ready = || process::http_get(port, "/health").is_some();
        process.wait_until(READY_WITHIN, ready).map_err(Trouble::Failed)?;
        eprintln!("{name} is ready after {} s", asked.elapsed().as_secs());
        Ok(Self { process, port })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it, and with it the processes that it started.
    pub(crate) fn stop(self) {
        // With which code it ends is its own affair.
        let _ = self.process.stop("TERM", STOPPED_WITHIN);
    }

    /// Leaves it running.
    pub(crate) fn keep(self) {
        eprintln!("vLLM keeps running: {}, to be ended with `kill {}`", self.url(), self.process.id());
        std::mem::forget(self.process);
    }
}
