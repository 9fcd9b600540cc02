//! `indelible-standin`: the stand-in as a process of its own, for benches and for trying a gateway by hand.
//!
//! It prints one line, `listening on ADDR`, once it accepts connections, so that a script which asked for
//! port 0 can read the port. It ends on SIGINT or SIGTERM with exit code 0; a wrong call ends in 2.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: indelible-standin [--listen ADDR:PORT]   (default 127.0.0.1:8000)";
const LISTEN_DEFAULT: &str = "127.0.0.1:8000";

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let listen = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => LISTEN_DEFAULT,
        ["--listen", address] => address,
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(listen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "cannot serve on {listen}: {error}\nhint: pass --listen 127.0.0.1:0 to take any free port"
            );
            ExitCode::FAILURE
        }
    }
}

async fn run(listen: &str) -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    indelible_standin::serve(listener, async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
    .await
}
