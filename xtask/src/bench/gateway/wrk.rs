//! `wrk`, which asks as fast as it is answered.

use super::stage::{Quantiles, Sample};
use super::target::{PATH, Shape};
use crate::bench::peers::API_KEY;
use crate::bench::{Outcome, process};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One load of `wrk` on a loopback port.
pub(super) fn load(
    wrk: &Path,
    dir: &Path,
    port: u16,
    shape: Shape,
    connections: usize,
    seconds: u64,
) -> Outcome<Sample> {
    let script = script(dir, shape)?;
    let mut command = Command::new(wrk);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "10s"]);
    command.arg("-s").arg(&script).arg(format!("http://127.0.0.1:{port}{PATH}"));
    let said = process::output("wrk", &mut command)?;
    let line = said.lines().find_map(|line| line.strip_prefix("bench: "));
    let line = line.ok_or_else(|| format!("wrk said nothing that can be read: {said}"))?;
    let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [requests, duration_us, p50_us, p99_us, errors] = numbers[..] else {
        return Err(format!("wrk said nothing that can be read: {line}"));
    };
    Ok(Sample {
        requests,
        errors,
        per_second: requests / (duration_us / 1e6),
        first: None,
        last: Quantiles { p50_us, p99_us },
        cut_off: connections,
    })
}

/// Writes the request's body and the script that sends it; wrk reports through `done`.
fn script(dir: &Path, shape: Shape) -> Outcome<PathBuf> {
    let (body, script) = (dir.join("request.json"), dir.join("load.lua"));
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    std::fs::write(&body, shape.request()).map_err(fail)?;
    let text = format!(
        "wrk.method = 'POST'\n\
         wrk.headers['content-type'] = 'application/json'\n\
         wrk.headers['authorization'] = 'Bearer {API_KEY}'\n\
         wrk.headers['x-standin'] = '{}'\n\
         local file = io.open('{}', 'rb')\n\
         wrk.body = file:read('*a')\n\
         file:close()\n\
         done = function(summary, latency)\n\
         \x20 local e = summary.errors\n\
         \x20 local errors = e.connect + e.read + e.write + e.status + e.timeout\n\
         \x20 io.write(string.format('bench: %d %d %d %d %d\\n', summary.requests, summary.duration,\n\
         \x20   latency:percentile(50), latency:percentile(99), errors))\n\
         end\n",
        shape.controls(),
        body.display()
    );
    std::fs::write(&script, text).map_err(fail)?;
    Ok(script)
}
