//! `cargo xtask auditors`: the programs that auditors are handed, each with one corpus of bundles: verify.py with Python, and the
//! page in a real browser without a network. The Rust verifier has the same corpus in its own tests.

use crate::machine;

const CORPUS: &str = "crates/report/corpus";
const PAGE: &str = "crates/report/assets/index.html";
/// Bytes that are changed one at a time in the browser, as the seed picks them.
const FLIPS: &str = "500";
const SEED: &str = "1";

/// Runs both.
pub(crate) fn run() -> Result<(), String> {
    machine::need("python3", "python3")?;
    machine::need("openssl", "openssl")?;
    machine::run(
        "python3",
        &["-m", "unittest", "discover", "-s", CORPUS],
        &[("PYTHONDONTWRITEBYTECODE", "1")],
    )?;
    machine::need("node", "nodejs")?;
    machine::need("chromium", "chromium")?;
    let driver = format!("{CORPUS}/browser.mjs");
    let arguments = [
        driver.as_str(),
        "--chromium",
        "chromium",
        "--html",
        PAGE,
        "--corpus",
        CORPUS,
        "--flips",
        FLIPS,
        "--seed",
        SEED,
    ];
    machine::run("node", &arguments, &[])
}
