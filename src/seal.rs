//! `indelible seal`: makes segments of what is recorded, now.

use crate::api;
use crate::cli::Common;
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::records::with_collector;
use crate::run_dir;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(120);

/// Seals, through a running collector or on the directory itself.
pub(crate) fn run(common: &Common) -> Outcome {
    let quiet = common.json || !std::io::stderr().is_terminal();
    let spinner = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    spinner.set_message("sealing");
    spinner.enable_steady_tick(TICK);
    let made = match run_dir::find(&common.data())? {
        Some((address, token)) => {
            let body = api::post_empty(&address, &token, &common.purpose, "/v1/seal")?.into_body()?;
            let answer: Value = serde_json::from_slice(&body).map_err(Failure::new)?;
            answer["segments"].as_u64().unwrap_or(0)
        }
        None => with_collector(common, async |collector| {
            Ok(collector.seal().await.map_err(|error| failure(&error))? as u64)
        })?,
    };
    spinner.finish_and_clear();
    match common.json {
        true => println!("{}", json!({ "segments": made })),
        false if made == 1 => println!("1 segment was made"),
        false => println!("{made} segments were made"),
    }
    Ok(0)
}
