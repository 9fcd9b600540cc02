//! What a conversation of twenty turns takes on disk, each request of which repeats all before it.
//!
//! Everybody keeps the same: the bodies and all that a gateway knows of the call. Indelible's bytes are those of its
//! segments, entries, indexes and encryption included; the others' have no index but PostgreSQL's primary key, and
//! nothing is encrypted.

use super::{SEED, bytes_below, ingest, segments_of};
use crate::bench::indelible::{Site, TENANT, stop_collector};
use crate::bench::peers::Postgres;
use crate::bench::process;
use crate::bench::report::{Goal, Section, Table, grouped};
use crate::bench::{Bench, Outcome, say};
use indelible_corpus::{CHAT_TURNS, Call, Corpus, Mix, Options};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const CONVERSATIONS: u64 = 200;
const CONVERSATIONS_QUICK: u64 = 20;
const LEVEL: i32 = 3;
/// Segments that slow conversations are spread over.
const SPREAD: usize = 4;

const SCHEMA: &str =
    "CREATE TABLE records (event_id uuid PRIMARY KEY, record jsonb COMPRESSION lz4 NOT NULL)";

/// One way to keep the conversations: what it is, and bytes for each of them.
struct Kept {
    what: String,
    bytes: f64,
}

pub(super) fn measure(bench: &Bench) -> Outcome<Section> {
    let count = if bench.effort.rounds > 1 { CONVERSATIONS } else { CONVERSATIONS_QUICK };
    let mut section = Section::new("Store: bytes for each conversation");
    let options = Options { mix: Mix::Chat, ..Options::new(SEED, count * CHAT_TURNS) };
    let calls: Vec<Call> = Corpus::new(options.clone()).collect();
    let slow: Vec<Call> = Corpus::new(Options { mix: Mix::SlowChat, ..options }).collect();
    let each = |bytes: f64| bytes / count as f64;
    let plain: usize = calls.iter().map(Call::bytes).sum();
    section.note(format!(
        "{count} conversations of {CHAT_TURNS} turns, {} KB of bodies each, {:.1} KB a record; interleaved in order of \
         arrival. All keep the bodies and what the gateway knows of a call; Indelible's bytes are those of all four \
         files of its segments, encrypted.",
        grouped(each(plain as f64) / 1e3),
        plain as f64 / calls.len() as f64 / 1e3
    ));
    let mut kept = peers(bench, &calls, &mut section)?;
    for kept in &mut kept {
        kept.bytes = each(kept.bytes);
    }
    let records = kept.first().map_or(0.0, |first| first.bytes);
    for (calls, seals, goal) in [(calls, 1, 8.0), (slow, SPREAD, 4.0)] {
        let ledger = sealed(bench, calls, seals)?;
        let bytes = each(bytes_below(&ledger, None));
        let part = |name: &str| grouped(each(bytes_below(&ledger, Some(name))));
        section.note(format!(
            "Of them in {seals} segment{}: `entries.parquet` {} bytes for each conversation, `payload.frames` {}, \
             `ids.idx` {}.",
            if seals == 1 { "" } else { "s" },
            part("entries.parquet"),
            part("payload.frames"),
            part("ids.idx")
        ));
        let what = match seals {
            1 => "Indelible, within one segment".to_owned(),
            _ => format!("Indelible, spread over {seals} segments"),
        };
        section.goals.push(Goal {
            what: format!(
                "bytes for each {CHAT_TURNS}-turn conversation, {}",
                what.replace("Indelible, ", "")
            ),
            wanted: format!("≤ 1/{goal} of zstd -{LEVEL} for each record"),
            found: format!("1/{:.1}", records / bytes),
            met: bytes * goal <= records,
        });
        kept.push(Kept { what, bytes });
    }
    section.tables.push(table(&kept, each(plain as f64)));
    Ok(section)
}

fn table(kept: &[Kept], plain: f64) -> Table {
    let records = kept.first().map_or(0.0, |first| first.bytes);
    let mut table = Table::new(&[
        "for each conversation",
        "bytes",
        "bodies are so many times that",
        "of zstd for each record",
    ]);
    for one in kept {
        table.row(vec![
            one.what.clone(),
            grouped(one.bytes),
            format!("{:.1} ×", plain / one.bytes),
            format!("1/{:.1}", records / one.bytes),
        ]);
    }
    table
}

/// How others keep them. The first one is what the goals are about.
fn peers(bench: &Bench, calls: &[Call], section: &mut Section) -> Outcome<Vec<Kept>> {
    say("store, conversations as others keep them");
    let lines = calls.iter().map(line).collect::<Outcome<Vec<String>>>()?;
    let mut frames = 0;
    for line in &lines {
        frames +=
            zstd::bulk::compress(line.as_bytes(), LEVEL).map_err(|error| format!("zstd: {error}"))?.len();
    }
    let mut kept =
        vec![Kept { what: format!("zstd -{LEVEL}, a frame for each record"), bytes: frames as f64 }];
    let jsonl = bench.dir().join("conversations.jsonl");
    std::fs::write(&jsonl, lines.join("\n")).map_err(|error| format!("{}: {error}", jsonl.display()))?;
    if process::find("gzip").is_some() {
        process::output("gzip", Command::new("gzip").args(["-6", "--keep"]).arg(&jsonl))?;
        let bytes = bytes_below(bench.dir(), Some("conversations.jsonl.gz"));
        kept.push(Kept { what: "gzip -6 of JSONL, one stream".to_owned(), bytes });
    }
    match Postgres::start(bench, SCHEMA)? {
        Some(postgres) => {
            let bytes = in_postgres(&postgres, bench.dir(), calls, &lines)?;
            kept.push(Kept { what: format!("{}, JSONB, lz4", postgres.version), bytes });
            postgres.stop()?;
            let dir = bench.dir().join("postgres");
            std::fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        None => section.note("PostgreSQL: not found, skipped"),
    }
    Ok(kept)
}

/// A record as a line of JSON.
fn line(call: &Call) -> Outcome<String> {
    let about = json!({ "event_id": call.event_id, "start": call.start, "end": call.end });
    let mut line = about.to_string();
    line.pop();
    // Neither body is a stream: both are JSON. Writing to a String cannot fail.
    let _ = write!(line, ",\"request\":{},\"response\":{}}}", call.request, call.response());
    if line.contains('\n') { Err("a body with a line break of its own".to_owned()) } else { Ok(line) }
}

/// Bytes of the table, its index and what it keeps apart.
fn in_postgres(postgres: &Postgres, dir: &Path, calls: &[Call], lines: &[String]) -> Outcome<f64> {
    let file = dir.join("conversations.copy");
    // COPY's text format: a backslash stands for itself twice.
    let rows = calls
        .iter()
        .zip(lines)
        .map(|(call, line)| format!("{}\t{}", call.event_id, line.replace('\\', "\\\\")));
    std::fs::write(&file, rows.collect::<Vec<_>>().join("\n"))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    postgres.copy("records", "", &file)?;
    postgres.ask("VACUUM ANALYZE records")?;
    let bytes = postgres.ask("SELECT pg_total_relation_size('records')")?;
    bytes.trim().parse().map_err(|_| format!("PostgreSQL: {bytes} bytes"))
}

/// The segments that a collector makes of them, sealed so many times on the way.
fn sealed(bench: &Bench, calls: Vec<Call>, seals: usize) -> Outcome<PathBuf> {
    say(&format!("store, conversations in {seals} segments"));
    let site = Site::create(bench, &format!("conversations-{seals}"))?;
    let collector = site.start_collector(&[])?;
    let each = calls.len().div_ceil(seals);
    let mut rest = calls;
    while !rest.is_empty() {
        let later = rest.split_off(each.min(rest.len()));
        ingest::post(&site, rest.into_iter())?;
        site.seal()?;
        rest = later;
    }
    stop_collector(collector)?;
    let found = segments_of(&site, TENANT);
    if found != seals {
        return Err(format!("{seals} segments were to be made, but there are {found}"));
    }
    Ok(site.segments().join(format!("tenant={TENANT}")))
}
