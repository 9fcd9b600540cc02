//! nginx as a plain reverse proxy: nothing is captured.

use super::{Peer, is_root};
use crate::bench::process::{self, Process};
use crate::bench::{Bench, Outcome};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// nginx, and the ports that it serves.
pub(crate) struct Nginx {
    pub(crate) peer: Peer,
    /// A way to the model server for gateways that pass no header of the client on: under `/plain/` and
    /// `/stream/` it asks for the answers that all others ask for themselves.
    pub(crate) asking_port: u16,
}

impl Nginx {
    /// `None`: there is no nginx here. `plain` and `stream` are what the model server is asked for.
    pub(crate) fn start(bench: &Bench, upstream: u16, plain: &str, stream: &str) -> Outcome<Option<Self>> {
        let Some(binary) = process::find("nginx") else { return Ok(None) };
        let dir = bench.dir().join("nginx");
        let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
        std::fs::create_dir(&dir).map_err(fail)?;
        let (plain_port, stream_port) = (process::free_port()?, process::free_port()?);
        let asking_port = process::free_port()?;
        let servers = [
            server(plain_port, &location("/", "http://model", "")),
            server(stream_port, &location("/", "http://model", "proxy_buffering off;")),
            server(
                asking_port,
                &[
                    location("/plain/", "http://model/", &format!("proxy_set_header x-standin \"{plain}\";")),
                    location(
                        "/stream/",
                        "http://model/",
                        &format!("proxy_buffering off; proxy_set_header x-standin \"{stream}\";"),
                    ),
                ]
                .concat(),
            ),
        ];
        std::fs::write(dir.join("nginx.conf"), config(&dir, upstream, &servers.concat())).map_err(fail)?;
        let mut command = Command::new(&binary);
        command.arg("-p").arg(&dir).arg("-e").arg(dir.join("error.log"));
        command.arg("-c").arg(dir.join("nginx.conf"));
        let mut running = Process::start("nginx", &mut command, &dir.join("output.log"))?;
        running.wait_until(START_TIMEOUT, || process::accepts(plain_port))?;
        let version = Command::new(&binary).arg("-v").output().map(|out| out.stderr).unwrap_or_default();
        let version = String::from_utf8_lossy(&version).trim().replace("nginx version: ", "");
        let words = format!(
            "{version}: 2 workers, `access_log off`, keep-alive to the upstream; `proxy_buffering off` for the \
             stream; nothing is captured"
        );
        let peer = Peer { processes: vec![running], plain_port, stream_port, words };
        Ok(Some(Self { peer, asking_port }))
    }
}

fn server(port: u16, locations: &str) -> String {
    format!("  server {{\n    listen 127.0.0.1:{port};\n{locations}  }}\n")
}

fn location(path: &str, to: &str, more: &str) -> String {
    format!(
        "    location {path} {{ proxy_pass {to}; proxy_http_version 1.1; proxy_set_header Connection \"\"; {more} }}\n"
    )
}

fn config(dir: &Path, upstream: u16, servers: &str) -> String {
    let dir = dir.display();
    // Workers of a master that is root are another user, who could not use the private directory.
    let user = if is_root() { "user root;\n" } else { "" };
    format!(
        "{user}worker_processes 2;\ndaemon off;\npid {dir}/nginx.pid;\nerror_log {dir}/error.log warn;\n\
         events {{ worker_connections 2048; }}\nhttp {{\n  access_log off;\n  keepalive_requests 100000000;\n  \
         client_max_body_size 64m;\n  client_body_buffer_size 256k;\n  client_body_temp_path {dir}/body;\n  \
         proxy_temp_path {dir}/proxy;\n  fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  \
         scgi_temp_path {dir}/scgi;\n  upstream model {{\n    server 127.0.0.1:{upstream};\n    keepalive 256;\n    \
         keepalive_requests 100000000;\n  }}\n{servers}}}\n"
    )
}
