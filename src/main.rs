//! `indelible`: a table of contents of the subcommands.

#[cfg(feature = "collector")]
mod anchors;
#[cfg(feature = "collector")]
mod api;
#[cfg(feature = "gateway")]
mod api_key;
mod cli;
#[cfg(feature = "collector")]
mod collector;
mod config;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "collector")]
mod doctor;
#[cfg(feature = "collector")]
mod drill;
#[cfg(feature = "collector")]
mod evidence;
#[cfg(feature = "collector")]
mod export;
mod failure;
#[cfg(feature = "gateway")]
mod gateway;
mod key;
mod logging;
#[cfg(feature = "collector")]
mod prices;
#[cfg(feature = "collector")]
mod proof;
#[cfg(feature = "collector")]
mod query;
#[cfg(feature = "collector")]
mod reading;
#[cfg(feature = "collector")]
mod records;
#[cfg(feature = "collector")]
mod run_dir;
#[cfg(feature = "collector")]
mod seal;
#[cfg(feature = "collector")]
mod searches;
mod shutdown;
#[cfg(feature = "collector")]
mod store;
#[cfg(all(feature = "gateway", feature = "collector"))]
mod up;
#[cfg(feature = "collector")]
mod verify;
#[cfg(feature = "collector")]
mod witness;
#[cfg(feature = "collector")]
mod witnesses;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use failure::Outcome;
#[cfg(feature = "collector")]
use indelible_collector::reading::Asked;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli);
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(cli.common.json);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: &Cli) -> Outcome {
    #[cfg(feature = "collector")]
    let places = || config::with_places(&cli.common);
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(ref arguments) => demo::run(&cli.common, arguments),
        #[cfg(all(feature = "gateway", feature = "collector"))]
        Command::Up(ref arguments) => up::run(&cli.common, arguments),
        #[cfg(feature = "gateway")]
        Command::Gateway(ref arguments) => gateway::run(&cli.common, arguments),
        #[cfg(feature = "collector")]
        Command::Collector(ref arguments) => collector::run(&cli.common, arguments),
        #[cfg(feature = "collector")]
        Command::List(ref arguments) => records::list(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Show(ref arguments) => records::show(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Query(ref arguments) => query::run(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Search(ref arguments) => query::search(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Conversation(ref arguments) => {
            let asked = Asked::Session(arguments.session.clone());
            reading::show(&places()?, asked, arguments.format)
        }
        #[cfg(feature = "collector")]
        Command::Trace(ref arguments) => {
            reading::show(&places()?, Asked::Trace(arguments.id.clone()), arguments.format)
        }
        #[cfg(feature = "collector")]
        Command::Export(ref arguments) => export::run(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Verify(ref arguments) => verify::run(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Evidence(ref arguments) => evidence::run(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Drill(ref arguments) => drill::run(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Witness(ref arguments) => witness::run(arguments),
        #[cfg(feature = "collector")]
        Command::Anchor(ref arguments) => anchors::run(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Proof(ref arguments) => proof::run(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Seal => seal::run(&places()?),
        #[cfg(feature = "collector")]
        Command::Doctor(ref arguments) => doctor::run(&places()?, arguments),
        #[cfg(feature = "collector")]
        Command::Price(ref arguments) => prices::run(&places()?, arguments),
        Command::Key(ref arguments) => key::run(&cli.common, arguments),
        Command::Config => config::print_reference(),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "indelible", &mut std::io::stdout());
            Ok(0)
        }
        Command::Man => cli::print_man_page(),
    }
}
