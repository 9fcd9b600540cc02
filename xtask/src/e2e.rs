//! Official clients against a real model server, through `indelible up`. See tests/e2e/README.md.

use crate::machine;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "\
cargo xtask e2e --python PYTHON --upstream URL [--model NAME]

  --python PYTHON   an interpreter that has the packages openai and httpx
  --upstream URL    a running OpenAI-compatible server, such as http://127.0.0.1:8000
  --model NAME      the model that it serves (tiny)
";
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Runs the clients.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let (Some(python), Some(upstream)) = (value("--python"), value("--upstream")) else {
        return Err(format!("what to run with?\n{USAGE}"));
    };
    let model = value("--model").unwrap_or_else(|| "tiny".to_owned());
    machine::run("cargo", &["build", "--release", "-p", "indelible"], &[])?;
    let binary = machine::root().join("target/release/indelible");
    let binary = binary.to_str().ok_or("the repository's path is not UTF-8")?;
    let data = std::env::temp_dir().join(format!("indelible-e2e-{}", std::process::id()));
    let data = data.to_str().ok_or("the temporary directory's path is not UTF-8")?;
    let (listen, api) = (free()?, free()?);
    let (listen_text, api_text) = (listen.to_string(), api.to_string());
    let arguments =
        ["up", "--upstream", &upstream, "--data", data, "--listen", &listen_text, "--api-listen", &api_text];
    let child = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("{binary}: {error}"))?;
    let _running = Running(child);
    let asked = Instant::now();
    while TcpStream::connect(listen).is_err() {
        if asked.elapsed() > READY_WITHIN {
            return Err("the gateway does not come up".to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let gateway = format!("http://{listen}");
    let script = ["tests/e2e/vllm_openai.py", "--gateway", &gateway, "--indelible", binary, "--data", data];
    let more = ["--upstream", &upstream, "--model", &model];
    machine::run(&python, &[&script[..], &more[..]].concat(), &[])
}

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| error.to_string())
}
