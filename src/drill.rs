//! `indelible drill`: the audit drill, through a running collector or on the directory itself.

mod tamper;

use crate::api;
use crate::cli::{Common, Drill, DrillCommand};
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::records::{print, with_collector};
use crate::run_dir;
use indelible_collector::drill::pick::MonthTaken;
use indelible_collector::drill::rebuild::{Report, Said};
use indelible_collector::drill::{Month, Wish};
use indelible_os::random;
use indelible_web::NoDrill;
use serde_json::json;
use std::fmt::Write as _;

/// Runs the drill, and prints what came of it.
pub(crate) fn run(common: &Common, arguments: &Drill) -> Outcome {
    if let Some(DrillCommand::Tamper(arguments)) = &arguments.command {
        return tamper::run(common, arguments, seed(arguments.seed)?);
    }
    let seed = seed(arguments.seed)?;
    let report = drill(common, arguments.month, seed)?;
    let text = if common.json {
        format!("{}\n", serde_json::to_string(&report).map_err(Failure::new)?)
    } else {
        readable(&report)
    };
    print(text.as_bytes())?;
    Ok(u8::from(!report.passed))
}

/// The seed that was given, or a random one that is short enough to be typed again.
fn seed(given: Option<u64>) -> Result<u64, Failure> {
    match given {
        Some(seed) => Ok(seed),
        None => Ok(u32::from_le_bytes(random::bytes().map_err(Failure::new)?).into()),
    }
}

fn drill(common: &Common, month: Option<Month>, seed: u64) -> Result<Report, Failure> {
    if let Some((address, token)) = run_dir::find(&common.data())? {
        let month = month.map(|month| month.to_string());
        let body = json!({ "month": month, "seed": seed, "tenant": common.tenant });
        let mut answer = Vec::new();
        let sent = api::post(&address, &token, &common.purpose, "/v1/drill", &body, |piece| {
            answer.extend_from_slice(piece);
            Ok(true)
        });
        // A drill that fails is an answer: this one was not run.
        sent.map_err(|failure| failure.code(2))?;
        return serde_json::from_slice(&answer).map_err(Failure::new);
    }
    with_collector(common, async |collector| {
        let wish = Wish { month, seed, tenant: common.tenant.clone() };
        indelible_web::drill(collector, wish, Some(&common.purpose)).await.map_err(|error| match error {
            NoDrill::Nothing(_) => Failure::new(error).hint("name another month, or another tenant"),
            NoDrill::Collector(error) => failure(&error).code(2),
        })
    })
}

/// A drill for people.
fn readable(report: &Report) -> String {
    let mut text = String::new();
    let why = match report.month_taken {
        MonthTaken::Asked => "as asked",
        MonthTaken::Previous => "the previous month",
        MonthTaken::Newest => "the month of the newest inference: the previous one has none",
    };
    let record = &report.record;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "month {} ({why}), seed {}", report.month, report.seed);
    let drawn = match report.draws {
        Some(1) => "drawn".to_owned(),
        Some(draws) => format!("the first inference in {draws} draws"),
        None => "drawn from all inferences: they are rare".to_owned(),
    };
    let _ = writeln!(
        text,
        "picked entry {} of ledger {}, {drawn} of {} entries",
        record.seq, record.ledger, report.month_entries
    );
    let _ = writeln!(text, "  event      {}  {}  {}", record.event_id, record.event_type, record.timestamp);
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
    let _ = writeln!(text, "  model      {}, {}", word(&record.model), word(&record.status));
    if let Some(turn) = &report.turn {
        let more = if turn.more { " or more" } else { "" };
        let _ = writeln!(text, "  turn       {} of {}{more}", turn.number, turn.of);
    }
    let _ = writeln!(text, "  stands in  {}", record.place);
    let said = match (report.payload, record.request_bytes, record.response_bytes) {
        (Said::Erased, ..) => "ERASED".to_owned(),
        (Said::Read, Some(request), Some(response)) => format!("{request} bytes in, {response} bytes out"),
        _ => "UNREADABLE".to_owned(),
    };
    let _ = writeln!(text, "  payload    {said}");
    if let Some(tree) = &report.tree {
        let _ = writeln!(text, "  tree       {} entries of {}", tree.size, tree.origin);
    }
    for check in &report.checks {
        let mark = match check.holds {
            Some(true) => "ok",
            Some(false) => "FAILED",
            None => "-",
        };
        let _ = writeln!(text, "{mark:<6} {:<12} {}", check.name, check.what);
    }
    let steps: Vec<String> =
        report.steps.iter().map(|step| format!("{} {}", step.name, ms(step.us))).collect();
    let _ = writeln!(text, "time   {} ms: {}", ms(report.total_us), steps.join(", "));
    let recorded = report.recorded.map_or(String::new(), |seq| format!("; entry {seq} of operations has it"));
    let verdict = match &report.failed {
        None => "PASSED".to_owned(),
        Some(check) => format!("FAILED: {check}"),
    };
    let _ = writeln!(text, "{verdict}{recorded}");
    text
}

fn ms(us: u64) -> String {
    format!("{}.{:03}", us / 1000, us % 1000)
}
