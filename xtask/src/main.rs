//! What a developer runs: `cargo xtask test`, `bench`, `corpus`, `e2e`, `fuzz`, `kill`.

mod auditors;
mod bench;
mod corpus;
mod e2e;
mod fuzz;
mod interop;
mod machine;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test                 everything that must pass before a change lands; installs what it needs
cargo xtask bench [WHAT]         tables of docs/benchmarks.md: gateway, collector, verify or all; store
cargo xtask corpus --data DIR    a data directory full of records that a seed makes
cargo xtask auditors             of the tests: verify.py, and the page in a browser, with good and broken bundles
cargo xtask interop              of the tests: segments read in place by other engines
cargo xtask fuzz [TARGET…]       fuzz targets for --seconds of CPU time each (600); --list lists them
cargo xtask kill [N]             the kill -9 test, N times (200)
cargo xtask e2e [record]         official clients against a real vLLM; installs what it needs
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, rest)) => match command.as_str() {
            "test" => test::run(rest),
            "bench" => bench::run(rest),
            "corpus" => corpus::run(rest),
            "auditors" => auditors::run(),
            "interop" => interop::run(),
            "e2e" => return e2e::run(rest),
            "fuzz" => fuzz::run(rest),
            "kill" => test::kill(rest),
            "help" | "--help" | "-h" => {
                print!("{USAGE}");
                Ok(())
            }
            other => Err(format!("unknown command {other}\n{USAGE}")),
        },
        None => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
