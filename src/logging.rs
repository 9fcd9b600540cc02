//! Logs: words on stderr. Text on a terminal, JSON lines elsewhere, or as `--log-format` says.
//! `INDELIBLE_LOG=debug` says more.

use crate::cli::{Cli, Command, LogFormat};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging. A server says what it does; a command only what goes wrong.
pub(crate) fn start(cli: &Cli) {
    let default = match cli.command {
        #[cfg(feature = "gateway")]
        Command::Gateway(_) => "info",
        #[cfg(feature = "collector")]
        Command::Collector(_) => "info",
        #[cfg(all(feature = "gateway", feature = "collector"))]
        Command::Up(_) => "info",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_env("INDELIBLE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = std::io::stderr().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let text = match cli.common.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if text {
        builder.with_target(false).init();
    } else {
        builder.json().init();
    }
}
