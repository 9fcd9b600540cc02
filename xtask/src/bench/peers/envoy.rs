//! Envoy as a plain reverse proxy: nothing is captured.

use super::{Peer, venv};
use crate::bench::process::{self, Process};
use crate::bench::{Bench, Outcome};
use std::process::Command;
use std::time::Duration;

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// As many as nginx has.
const WORKERS: usize = 2;

/// `None`: there is no Envoy here.
pub(crate) fn start(bench: &Bench, upstream: u16) -> Outcome<Option<Peer>> {
    let Some(binary) = process::find("envoy").or_else(|| venv::program(&bench.root, "envoy", "envoy")) else {
        return Ok(None);
    };
    let dir = bench.dir().join("envoy");
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    std::fs::create_dir(&dir).map_err(fail)?;
    let port = process::free_port()?;
    let file = dir.join("envoy.yaml");
    std::fs::write(&file, config(port, upstream)).map_err(fail)?;
    let mut command = Command::new(&binary);
    command.arg("-c").arg(&file).args(["--concurrency", &WORKERS.to_string()]);
    command.args(["--disable-hot-restart", "--log-level", "error"]).current_dir(&dir);
    let mut running = Process::start("envoy", &mut command, &dir.join("output.log"))?;
    running.wait_until(START_TIMEOUT, || process::accepts(port))?;
    let said = process::output("envoy", Command::new(&binary).arg("--version"))?;
    // `PROGRAM  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`
    let version = said.split("version:").nth(1).and_then(|words| words.split('/').nth(1));
    let version = version.unwrap_or("of unknown version");
    let words = format!("Envoy {version}: {WORKERS} workers, no access log; nothing is captured");
    Ok(Some(Peer { processes: vec![running], plain_port: port, stream_port: port, words }))
}

fn config(port: u16, upstream: u16) -> String {
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: model
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: model, timeout: 0s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: model
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: model
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}
"#
    )
}
