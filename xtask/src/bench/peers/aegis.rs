//! Aegis Latent Core's gateway: signed evidence of each call, hashes and sizes only, synced before the answer.
//!
//! It runs in its development mode, without a rate limiter service and kernel confinement: less work than its
//! strict mode does. Previews of bodies are off, so that a record is what it can be least.

use super::{API_KEY, Nginx, Peer, venv};
use crate::bench::process::{self, Process};
use crate::bench::{Bench, Outcome};
use std::process::Command;
use std::time::Duration;

const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Any key will do; it signs with HMAC.
const SIGNING_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// The most that it can be set to: it must not be its rate limiter that is measured.
const REQUESTS_PER_MINUTE: &str = "10000";
const BURST: &str = "100";
const TOKENS: &str = "1000000000";

/// `None`: there is no Aegis here. It passes no header of the client on, so `nginx` asks the model server.
pub(crate) fn start(bench: &Bench, nginx: &Nginx) -> Outcome<Option<Peer>> {
    let Some(binary) = venv::program(&bench.root, "aegis", "aegis-server") else { return Ok(None) };
    let (mut processes, mut ports) = (Vec::new(), [0; 2]);
    for (port, answers) in ports.iter_mut().zip(["plain", "stream"]) {
        *port = process::free_port()?;
        let dir = bench.dir().join(format!("aegis-{answers}"));
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut command = Command::new(&binary);
        command.current_dir(&dir).envs([
            ("AEGIS_SECURITY_ENFORCEMENT_MODE", "development"),
            ("AEGIS_API_KEYS", API_KEY),
            ("AEGIS_ALLOW_LEGACY_UNMAPPED_API_KEY_PRINCIPALS", "true"),
            ("AEGIS_SIGNING_KEY", SIGNING_KEY),
            ("AEGIS_MAX_FORENSIC_BYTES", "0"),
            ("AEGIS_RATE_LIMIT_REQUESTS_PER_MINUTE", REQUESTS_PER_MINUTE),
            ("AEGIS_RATE_LIMIT_THRESHOLD", REQUESTS_PER_MINUTE),
            ("AEGIS_RATE_LIMIT_BURST", BURST),
            ("AEGIS_RATE_LIMIT_TOKEN_CAPACITY", TOKENS),
            ("AEGIS_RATE_LIMIT_TOKENS_PER_MINUTE", TOKENS),
            ("AEGIS_LOG_LEVEL", "ERROR"),
            ("AEGIS_HOST", "127.0.0.1"),
        ]);
        let model = format!("http://127.0.0.1:{}/{answers}/v1", nginx.asking_port);
        command.env("AEGIS_API_KEY_SCOPES", format!("{API_KEY}:proxy:completions"));
        command.env("AEGIS_BACKEND_URL", model).env("AEGIS_PORT", port.to_string());
        let mut running = Process::start("aegis-server", &mut command, &dir.join("output.log"))?;
        running.wait_until(START_TIMEOUT, || process::accepts(*port))?;
        processes.push(running);
    }
    let version = venv::version(&bench.root, "aegis", "aegis-latent-core")?;
    let words = format!(
        "Aegis Latent Core {version}: one worker, development mode, its log synced for each call, hashes and sizes only (`AEGIS_MAX_FORENSIC_BYTES=0`); as it passes no client's header on, nginx \
         stands behind it and asks the model server for the same answers"
    );
    Ok(Some(Peer { processes, plain_port: ports[0], stream_port: ports[1], words }))
}
