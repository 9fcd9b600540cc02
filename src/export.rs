//! `indelible export`: a selection of records as files, in parts that are whole or not there.
//!
//! ```text
//! DIR/export.json                        what is selected, from which ledgers, the parts that are whole, how far
//! DIR/default-00001.jsonl                a part: at most --part-records records of one ledger
//! DIR/default-00001.left-out.jsonl       records of which it lacks something, and why
//! DIR/default-00002.jsonl.partial        the part that is being written
//! ```
//!
//! A part gets its name once it is on disk whole, and then enters `export.json`: the commit point. After a crash the same
//! command goes on behind the last part that stands there. The selection is taken from the ledgers as they were signed
//! at the first start, so whenever it was interrupted, the parts are the same.

mod lines;
mod part;
mod state;

use crate::api;
use crate::cli::{Common, Export as Arguments, ExportFormat};
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::records::{query_of_filters, with_collector};
use crate::run_dir;
use indelible_collector::export::{self, Content, Export, Selection};
use indicatif::{ProgressBar, ProgressStyle};
use lines::{Line, Lines};
use serde_json::json;
use state::State;
use std::io::IsTerminal as _;
use std::ops::ControlFlow;

/// Exports.
pub(crate) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    if arguments.payload && arguments.format == ExportFormat::Parquet {
        return Err(Failure::new("Parquet files have the columns of entries, and no place for payloads")
            .hint("export payloads with --format jsonl, or conversations with --format chat"));
    }
    let mut state = State::open_or_begin(common, arguments)?;
    if !state.done() {
        let bar = progress(common);
        let mut lines = Lines::new(&mut state, &bar);
        let outcome = match run_dir::find(&common.data())? {
            Some((address, token)) => {
                let path = path(common, arguments, lines.state());
                api::lines(&address, &token, &common.purpose, &path, |line| lines.take(line))
            }
            None => direct(common, arguments, &mut lines),
        };
        // What was refused about a line says more than that the stream ended with it.
        lines.finish(outcome)?;
        bar.finish_and_clear();
    }
    report(common, arguments, &state);
    Ok(0)
}

fn content(arguments: &Arguments) -> Content {
    match (arguments.format, arguments.payload) {
        (ExportFormat::Chat, _) => Content::Chat,
        (_, true) => Content::Payloads,
        (_, false) => Content::Entries,
    }
}

/// On the directory itself.
fn direct(common: &Common, arguments: &Arguments, lines: &mut Lines<'_>) -> Result<(), Failure> {
    let query = query_of_filters(common, &arguments.filters)?;
    let asked = json!({ "export": format!("{query:?}"), "purpose": common.purpose });
    let selection = Selection {
        query,
        content: content(arguments),
        sizes: lines.state().sizes().collect(),
        from: lines.state().next().cloned(),
    };
    with_collector(common, async |collector| {
        let failed = |error| failure(&error);
        let export = Export::new(collector, selection).map_err(failed)?;
        export.record_begin(collector, &asked).await.map_err(failed)?;
        let mut refused = None;
        let outcome = export.run(collector, &mut |line| match lines.take(&line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                refused = Some(error);
                ControlFlow::Break(())
            }
        });
        let (counts, whole) = *outcome.as_ref().unwrap_or(&(export::Counts::default(), false));
        export.record_end(collector, &asked, counts, whole).await.map_err(failed)?;
        outcome.map_err(failed)?;
        match refused {
            Some(error) => Err(error),
            None => lines.take(&export::end_line(counts)),
        }
    })
}

/// Through a running collector.
fn path(common: &Common, arguments: &Arguments, state: &State) -> String {
    let content = match content(arguments) {
        Content::Entries => "entries",
        Content::Payloads => "payloads",
        Content::Chat => "chat",
    };
    let mut path = format!("/v1/export?content={content}");
    let sizes: Vec<String> = state.sizes().map(|(tenant, size)| format!("{tenant}:{size}")).collect();
    let sizes = (!sizes.is_empty()).then(|| sizes.join(","));
    let from = state.next().map(|next| format!("{}:{}", next.tenant, next.seq));
    let more = [("tenant", &common.tenant), ("sizes", &sizes), ("from", &from)];
    for (name, value) in arguments.filters.named().into_iter().chain(more) {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", api::encode(value)));
        }
    }
    path
}

fn progress(common: &Common) -> ProgressBar {
    if common.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = "{bar:40} {pos}/{len} entries looked at · {msg} · {eta} left";
    // The template is a constant that is known to be one.
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn report(common: &Common, arguments: &Arguments, state: &State) {
    if common.json {
        println!("{}", state.summary());
        return;
    }
    println!("{} records in {} parts in {}", state.records(), state.parts(), arguments.output.display());
    for (why, count) in state.left_out() {
        println!("{count} left out: {why}");
    }
    if state.left_out().next().is_some() {
        println!("which ones is in the files that end in .left-out.jsonl");
    }
}

fn io(path: &std::path::Path) -> impl Fn(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::new(format!("{path}: {error}")).hint("the same command goes on from here")
}

/// A line that is not what it should be.
fn unexpected(line: &Line<'_>, error: impl std::fmt::Display) -> Failure {
    let what = format!("the collector sent what is no line of an export: {error}");
    Failure::new(what).detail(line.raw.chars().take(200).collect::<String>())
}
