//! The collector beside PostgreSQL with a hash-chain trigger, and beside a bare loop.
//!
//! An event is a request body and a response body of 512 bytes each, of one of 1,000 subjects. For the
//! collector they are made beforehand into a spool, by the crates that the gateway uses, and then posted
//! as the gateway posts: HTTP/2 over mutual TLS, batches of about 4 MiB, one under way at a time. The
//! clock runs from the first post to the last acknowledgement, which means: on the collector's disk.

use super::indelible::{SOURCE, Site, TENANT, stop_collector};
use super::peers::{Postgres, ROWS_PER_COMMIT};
use super::process::{self, Process};
use super::report::{Goal, Section, Table, grouped, mebibytes, median, ratio};
use super::{Bench, Outcome, say};
use indelible_gateway::ship::{HttpLink, Link as _, Shipment};
use indelible_net::client::{self, Settings};
use indelible_net::tls::Identity;
use indelible_os::clock;
use indelible_os::durable::{Dir, FsDir};
use indelible_record::Committer;
use indelible_record::commitment::from_hex;
use indelible_record::entry::Status;
use indelible_record::event::{Answer, End, Facts, Private, Start};
use indelible_record::payload;
use indelible_record::shipping::{Acknowledged, BATCH_MAX_BYTES};
use indelible_spool::seal::SpoolPublicKey;
use indelible_spool::shared::SyncedTo;
use indelible_spool::tail::{Batch, Tail};
use indelible_spool::writer::{Claim, FILE_MAX_BYTES, LogWriter, Options, SealTo};
use indelible_spool::{Kind, Role};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SUBJECTS: usize = 1000;
/// Bytes of one body; an event has two.
const BODY_BYTES: usize = 512;
const EVENT_BYTES: usize = 2 * BODY_BYTES;
/// About how large a batch gets, as the gateway makes them.
const BATCH_BYTES: usize = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the writer of a spool hands over what it gathered.
const FLUSH_EVENTS: usize = 1000;
/// The bare loop reserves space as the log does.
const ALLOCATE_STEP_BYTES: u64 = 16 << 20;

/// What one round of the collector came to.
struct Round {
    per_second: f64,
    /// Of the collector, per 1,000 events.
    cpu_s: f64,
    batches: usize,
    shipped_bytes: usize,
}

/// Measures, and hands over the collector's directory. Without `peers`, one round that only fills it.
pub(crate) fn measure(bench: &Bench, peers: bool) -> Outcome<(Section, Site)> {
    let events = bench.effort.events;
    let site = Site::create(bench, "collector")?;
    let collector = site.start_collector()?;
    let mut postgres = if peers { Postgres::start(bench)? } else { None };
    let (mut ours, mut inserted, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..if peers { bench.effort.rounds } else { 1 } {
        if round > 0 && !bench.has_time(bench.effort.until) {
            break;
        }
        say(&format!("collector, round {}", round + 1));
        let batches = fill_spool(&site, &bench.dir().join(format!("events-{round}")), round, events)?;
        let taken = ship(&site, &collector, &batches, events)?;
        if peers {
            bare.push(bare_loop(bench.dir(), round, events, taken.batches)?);
        }
        ours.push(taken);
        if let Some(postgres) = &postgres {
            inserted.push(postgres.insert(&rows(round, events))?);
        }
    }
    let rss = process::rss_bytes(collector.id());
    stop_collector(collector)?;
    let mut section = Section::new("Collector");
    describe(&mut section, &ours, events);
    match postgres.take() {
        Some(server) => describe_postgres(&mut section, server, inserted.len() * events)?,
        None => section.note("PostgreSQL: not found, skipped"),
    }
    let verdict = site.verify(&[])?;
    let made = ours.len() * events;
    section.note(format!(
        "`indelible verify`: **{}**, {} entries for {} events. Log on disk: {} bytes an event.",
        verdict.words,
        grouped(verdict.entries.saturating_sub(1) as f64),
        grouped(made as f64),
        grouped(verdict.bytes as f64 / made as f64)
    ));
    if !verdict.holds() || verdict.entries != made as u64 + 1 {
        section.note("**The ledger does not account for the events: the figures are not valid.**");
    }
    section.tables.push(table(&ours, &inserted, &bare));
    section.goals = goals(&ours, &inserted, &bare, rss);
    Ok((section, site))
}

/// Words that compress about as prose does; the same for the same seed.
pub(crate) fn prose(seed: u64, bytes: usize) -> String {
    const SYLLABLES: [&str; 32] = [
        "a", "ber", "con", "der", "e", "fer", "gra", "ho", "in", "ja", "kel", "la", "mon", "ne", "or", "per",
        "qua", "re", "sta", "ti", "un", "ver", "wa", "xen", "ya", "zo", "th", "ing", "ed", "tion", "al",
        "ly",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        // xorshift64* (Vigna 2016)
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let mut draw = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        for _ in 0..=draw >> 62 {
            text.push_str(SYLLABLES[(draw & 31) as usize]);
            draw >>= 5;
        }
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

/// Makes a spool of its own for `events` finished requests, and reads it as the gateway would ship it.
fn fill_spool(site: &Site, path: &Path, round: usize, events: usize) -> Outcome<Vec<Batch>> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let dir: Arc<dyn Dir> = Arc::new(FsDir::open(path).map_err(|error| fail(&error))?);
    let options = Options {
        role: Role::Spool,
        limit_bytes: None,
        file_bytes: FILE_MAX_BYTES,
        seal: Some(SealTo { source_id: SOURCE.to_owned(), key: spool_key(site)? }),
    };
    let (mut writer, _) =
        LogWriter::open(dir.clone(), options, |_, _, _| Ok(()), || 0).map_err(|error| fail(&error))?;
    for event in 0..events {
        append_event(&mut writer, round, event)?;
        if event % FLUSH_EVENTS == 0 {
            writer.flush().map_err(|error| fail(&error))?;
        }
    }
    writer.close().map_err(|error| fail(&error))?;
    let all = SyncedTo { file_no: u64::MAX, offset: u64::MAX, seq: u64::MAX };
    let mut tail = Tail::new(dir, Role::Spool.extension(), 0);
    let mut batches = Vec::new();
    while let Some(batch) = tail.next_batch(all, BATCH_BYTES).map_err(|error| fail(&error))? {
        if batch.header.len() + batch.frames.len() > BATCH_MAX_BYTES {
            return Err(fail(&"a batch is over the collector's limit"));
        }
        batches.push(batch);
    }
    std::fs::remove_dir_all(path).map_err(|error| fail(&error))?;
    Ok(batches)
}

fn spool_key(site: &Site) -> Outcome<SpoolPublicKey> {
    let path = site.handed_over("collector-spool.pub");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let key = from_hex(text.trim()).ok_or_else(|| format!("{}: not a key", path.display()))?;
    Ok(SpoolPublicKey::from_bytes(key))
}

/// A start frame and an end frame, as the gateway writes them for a chat that was answered.
fn append_event(writer: &mut LogWriter, round: usize, event: usize) -> Outcome<()> {
    let id: [u8; 16] = random()?;
    let (request, response) = bodies(round, event);
    let start = Start {
        tenant: TENANT.to_owned(),
        time: clock::now().0,
        facts: Facts {
            route: "default".to_owned(),
            operation: "chat".to_owned(),
            model: Some("llama-3-8b-instruct".to_owned()),
            user_id: Some(subject(round, event)),
            ..Facts::default()
        },
        private: Private {
            method: Some("POST".to_owned()),
            target: Some("/v1/chat/completions".to_owned()),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            peer: Some("127.0.0.1:50000".to_owned()),
            input: Some(commitment(&request)?),
            input_type: Some("application/json".to_owned()),
            ..Private::default()
        },
    };
    let meta = serde_json::to_vec(&start).map_err(|error| error.to_string())?;
    let start_seq = append(writer, Kind::Start, &id, &meta, &request)?;
    let end = End {
        start_seq,
        time: clock::now().0,
        status: Status::Completed,
        http_status: Some(200),
        error_type: None,
        latency_us: 250_000,
        ttft_us: Some(40_000),
        first_token_us: None,
        delivered_bytes: BODY_BYTES as u64,
        input_partial: false,
        output_partial: false,
        answer: Answer {
            model: Some("llama-3-8b-instruct".to_owned()),
            finish_reason: Some("stop".to_owned()),
            prompt_tokens: Some(128),
            completion_tokens: Some(128),
            ..Answer::default()
        },
        late: None,
        private: Private {
            output: Some(commitment(&response)?),
            output_type: Some("application/json".to_owned()),
            ..Private::default()
        },
    };
    let meta = serde_json::to_vec(&end).map_err(|error| error.to_string())?;
    append(writer, Kind::End, &id, &meta, &response).map(drop)
}

fn append(writer: &mut LogWriter, kind: Kind, id: &[u8; 16], meta: &[u8], piece: &str) -> Outcome<u64> {
    let body = payload::pack(meta, piece.as_bytes());
    let position = writer.append_sealed(kind, id, &[&body], Claim::Settle);
    position.map(|position| position.seq).map_err(|error| error.to_string())
}

fn commitment(body: &str) -> Outcome<indelible_record::Commitment> {
    let mut committer = Committer::new(random()?);
    committer.update(body.as_bytes());
    Ok(committer.finish())
}

/// Request and response of an event: different for each.
fn bodies(round: usize, event: usize) -> (String, String) {
    let seed = (round * 100_000_000 + event) as u64;
    let mut text = prose(seed, EVENT_BYTES);
    let response = text.split_off(BODY_BYTES);
    (text, response)
}

/// Each round has its own subjects, so that each makes as many keys.
fn subject(round: usize, event: usize) -> String {
    format!("user-{round}-{}", event % SUBJECTS)
}

fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no randomness".to_owned())?;
    Ok(bytes)
}

/// Posts all batches, one at a time, and waits for the last acknowledgement.
fn ship(site: &Site, collector: &Process, batches: &[Batch], events: usize) -> Outcome<Round> {
    let identity = Identity {
        cert: site.handed_over(&format!("{SOURCE}.pem")),
        key: site.handed_over(&format!("{SOURCE}.key")),
    };
    let ca = site.handed_over("ca.pem");
    let settings = Settings {
        ca: Some(&ca),
        identity: Some(&identity),
        connect_timeout: CONNECT_TIMEOUT,
        http2_only: true,
    };
    let client = client::build(&settings).map_err(|error| error.to_string())?;
    let link = HttpLink::new(client, &site.url())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let bodies: Vec<Vec<u8>> =
        batches.iter().map(|batch| [&batch.header[..], &batch.frames].concat()).collect();
    let shipped_bytes = bodies.iter().map(Vec::len).sum();
    let cpu = process::cpu_seconds(collector.id());
    let started = Instant::now();
    let mut acknowledged: Option<Acknowledged> = None;
    for (batch, body) in batches.iter().zip(bodies) {
        let shipment = Shipment { body: body.into(), acknowledged, receipts: false };
        let ack = runtime.block_on(link.send(shipment)).map_err(|error| error.to_string())?;
        if ack.seq != batch.last_seq {
            return Err(format!("frames up to {} were sent, {} acknowledged", batch.last_seq, ack.seq));
        }
        acknowledged = Some(Acknowledged { seq: ack.seq, token: ack.token });
    }
    let per_second = events as f64 / started.elapsed().as_secs_f64();
    let cpu_s = (process::cpu_seconds(collector.id()) - cpu) * 1000.0 / events as f64;
    Ok(Round { per_second, cpu_s, batches: batches.len(), shipped_bytes })
}

/// The least that any such store does: each event hashed onto the hash before it, appended, and
/// `fdatasync` after as many events as one of the collector's batches had.
fn bare_loop(dir: &Path, round: usize, events: usize, groups: usize) -> Outcome<f64> {
    let fail = |error: std::io::Error| format!("bare loop: {error}");
    let records: Vec<String> = (0..events).map(|event| bodies(round, event)).map(|(a, b)| a + &b).collect();
    let file = FsDir::open(dir).and_then(|dir| dir.create(&format!("bare-{round}"))).map_err(fail)?;
    let (mut chain, mut offset, mut reserved) = ([0; 32], 0, 0);
    let started = Instant::now();
    for group in records.chunks(events.div_ceil(groups.max(1))) {
        let mut bytes = Vec::with_capacity(group.len() * (EVENT_BYTES + chain.len()));
        for record in group {
            let mut context = Context::new(&SHA256);
            context.update(&chain);
            context.update(record.as_bytes());
            chain.copy_from_slice(context.finish().as_ref());
            bytes.extend_from_slice(record.as_bytes());
            bytes.extend_from_slice(&chain);
        }
        let end = offset + bytes.len() as u64;
        if end > reserved {
            reserved = end.next_multiple_of(ALLOCATE_STEP_BYTES);
            file.allocate(reserved).map_err(fail)?;
        }
        file.write_at(&bytes, offset).map_err(fail)?;
        file.sync().map_err(fail)?;
        offset = end;
    }
    Ok(events as f64 / started.elapsed().as_secs_f64())
}

fn rows(round: usize, events: usize) -> Vec<(String, String)> {
    (0..events)
        .map(|event| {
            let (request, response) = bodies(round, event);
            (subject(round, event), request + &response)
        })
        .collect()
}

fn describe(section: &mut Section, ours: &[Round], events: usize) {
    let batches = ours.last().map_or(1, |round| round.batches);
    let bytes = ours.last().map_or(0, |round| round.shipped_bytes);
    section.note(format!(
        "{} events a round, {} rounds in which the three take turns; medians. An event: request and response \
         of {BODY_BYTES} bytes, {SUBJECTS} subjects, each with a key of their own.",
        grouped(events as f64),
        ours.len()
    ));
    section.note(format!(
        "Indelible: one source, HTTP/2 over mutual TLS, one batch under way at a time; {} batches of {} events, \
         {} bytes shipped an event. Each event becomes an encrypted payload, a canonical entry in chain and \
         Merkle tree; checkpoints are signed every second. The client that posts shares the machine.",
        batches,
        grouped(events as f64 / batches as f64),
        grouped(bytes as f64 / events as f64)
    ));
    section.note(
        "Bare loop: in the bench's own process, no network and no TLS, no encryption: SHA-256 chained over each \
         KiB, append, `fdatasync` after as many events as one of those batches has.",
    );
}

fn describe_postgres(section: &mut Section, server: Postgres, expected: usize) -> Outcome<()> {
    let version = server.version.clone();
    let rows = server.finish()?;
    section.note(format!(
        "{version}, defaults (`fsync` and `synchronous_commit` on): `psql -f` over TCP without TLS, one \
         connection, INSERTs of {ROWS_PER_COMMIT} rows of 1 KiB, one commit each; a BEFORE INSERT trigger chains \
         `sha256()`, another refuses UPDATE and DELETE; nothing is encrypted. Afterwards: {} rows, chain whole{}.",
        grouped(rows as f64),
        if rows == expected { "" } else { ", **but not as many as were inserted**" }
    ));
    Ok(())
}

fn table(ours: &[Round], postgres: &[f64], bare: &[f64]) -> Table {
    let mut table = Table::new(&[
        "durable events of 1 KiB",
        "events/s",
        "min – max",
        "of PostgreSQL",
        "of bare loop",
        "CPU s per 1,000",
    ]);
    let cpu_s = median(ours.iter().map(|round| round.cpu_s));
    let rates: Vec<f64> = ours.iter().map(|round| round.per_second).collect();
    for (name, rates) in [
        ("bare loop", bare),
        ("PostgreSQL, hash-chain trigger", postgres),
        ("Indelible, collector", &rates[..]),
    ] {
        if rates.is_empty() {
            continue;
        }
        let middle = median(rates.iter().copied());
        let (least, most) =
            (rates.iter().copied().fold(f64::INFINITY, f64::min), rates.iter().copied().fold(0.0, f64::max));
        table.row(vec![
            name.to_owned(),
            grouped(middle),
            format!("{} – {}", grouped(least), grouped(most)),
            ratio(middle, median(postgres.iter().copied())),
            ratio(middle, median(bare.iter().copied())),
            if name.starts_with("Indelible") { format!("{cpu_s:.3}") } else { "–".to_owned() },
        ]);
    }
    table
}

fn goals(ours: &[Round], postgres: &[f64], bare: &[f64], rss: f64) -> Vec<Goal> {
    let rate = median(ours.iter().map(|round| round.per_second));
    let mut goals = Vec::new();
    for (peer, rates, least) in [("PostgreSQL", postgres, 3.0), ("bare loop", bare, 0.3)] {
        if rates.is_empty() {
            continue;
        }
        let theirs = median(rates.iter().copied());
        goals.push(Goal {
            what: format!("collector, durable 1 KiB events/s, beside {peer}"),
            wanted: format!("≥ {least} ×"),
            found: ratio(rate, theirs),
            met: rate >= least * theirs,
        });
    }
    goals.push(Goal {
        what: "collector, memory, after sustained ingest".to_owned(),
        wanted: "< 512 MiB".to_owned(),
        found: mebibytes(rss),
        met: rss < 512.0 * f64::from(1 << 20),
    });
    goals
}
