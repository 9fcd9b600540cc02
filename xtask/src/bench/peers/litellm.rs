//! LiteLLM's proxy: one worker, no database, no callbacks, nothing is captured.

use super::{Peer, venv};
use crate::bench::process::{self, Process};
use crate::bench::{Bench, Outcome};
use std::process::Command;
use std::time::Duration;

/// It imports for half a minute on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// `None`: there is no LiteLLM here. It does not pass the client's headers on: `models` says by name what it is
/// to ask the model server for.
pub(crate) fn start(bench: &Bench, upstream: u16, models: &[(&str, String)]) -> Outcome<Option<Peer>> {
    let Some(binary) = venv::program(&bench.root, "litellm", "litellm") else { return Ok(None) };
    let dir = bench.dir().join("litellm");
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    std::fs::create_dir(&dir).map_err(fail)?;
    let port = process::free_port()?;
    let file = dir.join("config.yaml");
    let model = |(name, controls): &(&str, String)| {
        format!(
            "- model_name: {name}\n  litellm_params:\n    model: openai/{name}\n    \
             api_base: http://127.0.0.1:{upstream}/v1\n    api_key: none\n    \
             extra_headers: {{x-standin: \"{controls}\"}}\n"
        )
    };
    let text = format!(
        "model_list:\n{}litellm_settings:\n  num_retries: 0\n  telemetry: false\n  \
         disable_hf_tokenizer_download: true\n",
        models.iter().map(model).collect::<String>()
    );
    std::fs::write(&file, text).map_err(fail)?;
    let mut command = Command::new(&binary);
    command.arg("--config").arg(&file).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.current_dir(&dir).envs([
        // It would look for a price list on the network at each start.
        ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        // Keys of its own would only be more work for it.
        ("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true"),
        ("LITELLM_LOG", "ERROR"),
    ]);
    let mut running = Process::start("litellm", &mut command, &dir.join("output.log"))?;
    running.wait_until(START_TIMEOUT, || process::http_get(port, "/health/readiness").is_some())?;
    let version = venv::version(&bench.root, "litellm", "litellm")?;
    let words = format!("LiteLLM {version}: its proxy, one worker, no database; nothing is captured");
    Ok(Some(Peer { processes: vec![running], plain_port: port, stream_port: port, words }))
}
