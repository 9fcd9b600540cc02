//! `indelible list` and `indelible show`: through a running collector, or on the directory itself.

use crate::api;
use crate::cli::{Common, Filters, List, Show, Side};
use crate::collector::{self, failure};
use crate::failure::{Failure, Outcome};
use crate::reading;
use crate::run_dir;
use crate::store;
use indelible_collector::data_dir::DataDir;
use indelible_collector::query::{self, NotAFilter};
use indelible_collector::reading::Asked;
use indelible_collector::{Collector, CollectorError, Config, Query, view};
use indelible_os::clock::Utc;
use indelible_vault::KeyStore;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

/// Lists records.
pub(crate) fn list(common: &Common, arguments: &List) -> Outcome {
    if arguments.entries {
        return entries(common);
    }
    let records = match run_dir::find(&common.data())? {
        Some((address, token)) => {
            let path = list_path(common, arguments);
            let body = api::get(&address, &token, &common.purpose, &path)?.into_body()?;
            let answer: Value = serde_json::from_slice(&body).map_err(Failure::new)?;
            answer["records"].as_array().cloned().unwrap_or_default()
        }
        None => {
            let query = query_of_filters(common, &arguments.filters)?;
            with_collector(common, async |collector| {
                let found =
                    collector.list(&query, arguments.limit as usize).map_err(|error| failure(&error))?;
                let asked = json!({ "filters": format!("{query:?}"), "purpose": common.purpose });
                let recorded =
                    collector.record_access("operator", "list", None, asked, found.len() as u64).await;
                recorded.map_err(|error| failure(&error))?;
                Ok(found.iter().map(|one| view::summary(one, collector.level(&one.entry))).collect())
            })?
        }
    };
    let text = if common.json { format!("{}\n", json!({ "records": records })) } else { table(&records) };
    print(text.as_bytes())?;
    Ok(0)
}

/// Shows one record, or everything that a request id names.
pub(crate) fn show(common: &Common, arguments: &Show) -> Outcome {
    if let Some(side) = arguments.raw {
        print(&raw(common, &arguments.id, side)?)?;
        return Ok(0);
    }
    if arguments.format.is_some() {
        return reading::show(common, Asked::Record(arguments.id.clone()), arguments.format);
    }
    let records = match run_dir::find(&common.data())? {
        Some((address, token)) => {
            let path = format!("/v1/records/{}{}", api::encode(&arguments.id), tenant_query(common, '?'));
            let body = api::get(&address, &token, &common.purpose, &path)?.into_body()?;
            let answer: Value = serde_json::from_slice(&body).map_err(Failure::new)?;
            answer["records"].as_array().cloned().unwrap_or_default()
        }
        None => with_collector(common, async |collector| {
            let found = find(common, collector, &arguments.id, None).await?;
            let shown = found.iter().map(|one| {
                let payload = collector.payload(one).map_err(|error| error.to_string());
                view::full(one, collector.level(&one.entry), payload.as_ref().map_err(Clone::clone))
            });
            Ok(shown.collect())
        })?,
    };
    let text = match common.json {
        true => format!("{}\n", json!({ "records": records })),
        false => records.iter().map(readable).collect::<Vec<_>>().join("\n"),
    };
    print(text.as_bytes())?;
    Ok(0)
}

fn raw(common: &Common, id: &str, side: Side) -> Result<Vec<u8>, Failure> {
    let name = if side == Side::Request { "request" } else { "response" };
    if let Some((address, token)) = run_dir::find(&common.data())? {
        let path = format!("/v1/records/{}/raw?side={name}{}", api::encode(id), tenant_query(common, '&'));
        return Ok(api::get(&address, &token, &common.purpose, &path)?.into_body()?.to_vec());
    }
    with_collector(common, async |collector| {
        let found = find(common, collector, id, Some(name)).await?;
        let [one] = found.as_slice() else {
            let ids: Vec<String> = found.iter().map(|one| one.event_id.to_string()).collect();
            return Err(Failure::new(format!("{id:?} names {} records", ids.len()))
                .detail(ids.join(", "))
                .hint("name one of them by its event id")
                .code(3));
        };
        let payload = collector.payload(one).map_err(|error| failure(&error).code(1))?;
        Ok(if side == Side::Request { payload.request } else { payload.response })
    })
}

/// Records that an id names, oldest first; the look is recorded before they are handed out.
async fn find(
    common: &Common,
    collector: &Collector,
    id: &str,
    raw: Option<&str>,
) -> Result<Vec<indelible_collector::read::Found>, Failure> {
    let query = Query { id: Some(id.to_owned()), tenant: common.tenant.clone(), ..Query::default() };
    let mut found = collector.list(&query, 100).map_err(|error| failure(&error))?;
    let asked = json!({ "id": id, "raw": raw, "purpose": common.purpose });
    let recorded =
        collector.record_access("operator", "show", Some(("record", id)), asked, found.len() as u64).await;
    recorded.map_err(|error| failure(&error))?;
    if found.is_empty() {
        return Err(Failure::new(format!("no record has the event id or request id {id:?}"))
            .hint("a new record may take a second to arrive")
            .code(1));
    }
    found.reverse();
    Ok(found)
}

/// The exact bytes of entries, oldest first. Entries hold nothing personal: this needs no key, and is not
/// a look at a payload.
fn entries(common: &Common) -> Outcome {
    let tenant = common.tenant.as_deref().unwrap_or("default");
    let wal = common.data().join("wal");
    if !wal.is_dir() {
        return Err(Failure::new(format!("{} is not a data directory", common.data().display()))
            .hint("name the data directory with --data"));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    let bucket = store::configured(common)?;
    let count = indelible_collector::entries::visit_with(&common.data(), bucket.as_ref(), tenant, |bytes| {
        let written = out.write_all(bytes).and_then(|()| out.write_all(b"\n"));
        failed = written.err();
        failed.is_none()
    })
    .map_err(|error| failure(&error))?;
    if count == 0 {
        // A ledger has its genesis at least.
        return Err(failure(&CollectorError::UnknownTenant(tenant.to_owned())));
    }
    match failed.or_else(|| out.flush().err()) {
        Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(0),
    }
}

/// Opens the data directory itself, as no collector runs on it.
pub(crate) fn with_collector<T>(
    common: &Common,
    work: impl AsyncFnOnce(&Arc<Collector>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let data = common.data();
    // Looking must never make a directory: check before opening.
    drop(DataDir::open(&data).map_err(|error| failure(&error))?);
    let mut config = Config::new(&data);
    config.keys = common.keys();
    config.bucket = store::configured(common)?;
    // A command does what it is told.
    config.seals_by_itself = false;
    config.tenants = KeyStore::verifier_keys(&config.keys)
        .map_err(Failure::new)?
        .into_iter()
        .map(|(tenant, _)| tenant)
        .filter(|tenant| tenant != indelible_verify::directory::OPERATIONS)
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::new)?;
    // Looking is recorded, and so signed: as by the collector, not on a copy that others show to be an old one.
    config.claims = runtime.block_on(collector::configured_claims(common, &config.keys))?;
    let collector = Arc::new(Collector::start(config).map_err(|error| failure(&error))?);
    let outcome = runtime.block_on(work(&collector));
    // A directory that does not answer holds up nobody.
    runtime.shutdown_background();
    collector.stop().map_err(|error| failure(&error))?;
    outcome
}

/// What filters ask for.
pub(crate) fn query_of_filters(common: &Common, filters: &Filters) -> Result<Query, Failure> {
    let time = |name: &str, text: &Option<String>| -> Result<Option<Utc>, Failure> {
        let parsed = text.as_deref().map(str::parse).transpose();
        parsed.map_err(|error: indelible_os::clock::NotATime| {
            Failure::new(format!("{name}: {error}")).hint("times are RFC 3339 or dates")
        })
    };
    let bad = |error: NotAFilter| Failure::new(error).hint(error.hint());
    Ok(Query {
        tenant: common.tenant.clone(),
        event_type: filters.event_type.clone(),
        model: filters.model.clone(),
        user: filters.user.clone(),
        session: filters.session.clone(),
        trace: filters.trace.clone(),
        api_key: filters.api_key.as_deref().map(query::api_key).transpose().map_err(bad)?,
        resource: filters.resource.as_deref().map(query::resource).transpose().map_err(bad)?,
        since: time("since", &filters.since)?,
        until: time("until", &filters.until)?,
        ..Query::default()
    })
}

fn list_path(common: &Common, arguments: &List) -> String {
    let mut path = format!("/v1/records?limit={}", arguments.limit);
    for (name, value) in arguments.filters.named().into_iter().chain([("tenant", &common.tenant)]) {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", api::encode(value)));
        }
    }
    path
}

pub(crate) fn tenant_query(common: &Common, before: char) -> String {
    common.tenant.as_ref().map_or(String::new(), |tenant| format!("{before}tenant={}", api::encode(tenant)))
}

/// One line a record.
pub(crate) fn table(records: &[Value]) -> String {
    let mut text = String::new();
    let head = ["TIME", "EVENT ID", "TYPE", "STATUS", "HTTP", "MODEL", "TOKENS", "MS"];
    let rows = records.iter().map(|record| {
        let entry = &record["entry"];
        let word = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        let number = |name: &str| entry[name].as_u64().map_or("-".to_owned(), |n| n.to_string());
        let time = word("timestamp");
        let tokens = match (entry["prompt_tokens"].as_u64(), entry["completion_tokens"].as_u64()) {
            (None, None) => "-".to_owned(),
            (input, output) => format!("{}+{}", input.unwrap_or(0), output.unwrap_or(0)),
        };
        [
            time.get(..23).unwrap_or(&time).to_owned(),
            word("event_id"),
            word("event_type"),
            word("status"),
            number("http_status"),
            word("model"),
            tokens,
            number("latency_ms"),
        ]
    });
    let rows: Vec<[String; 8]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// A record for people.
pub(crate) fn readable(record: &Value) -> String {
    let mut text = String::new();
    let entry = &record["entry"];
    let _ = writeln!(
        text,
        "event {}  ({})",
        entry["event_id"].as_str().unwrap_or("?"),
        record["level"].as_str().unwrap_or("?")
    );
    if let Some(members) = entry.as_object() {
        for (name, value) in members.iter().filter(|(name, _)| *name != "event_id") {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "  {name:<18} {shown}");
        }
    }
    let _ = writeln!(text, "  {:<18} {}", "leaf_hash", record["leaf_hash"].as_str().unwrap_or("?"));
    let payload = &record["payload"];
    if let Some(why) = payload["unreadable"].as_str() {
        let _ = writeln!(text, "payload: {why}");
        return text;
    }
    if let Some(messages) = payload["websocket"]["messages"].as_array() {
        spoken(&mut text, messages);
    }
    let bodies = [("request", &payload["request"]), ("response", &payload["response"])];
    // Of a conversation the bodies are frames, which are no text.
    for (title, side) in bodies.into_iter().filter(|_| payload["websocket"].is_null()) {
        let body = side["text"].as_str().or(side["base64"].as_str()).unwrap_or_default();
        let _ = writeln!(text, "{title} ({} bytes)\n{}", side["bytes"], body.trim_end());
    }
    if payload["websocket"]["readable"] == false {
        text.push_str(
            "not all of it could be read as WebSocket frames: see --raw request and --raw response\n",
        );
    }
    match payload["matches_commitments"].as_bool() {
        Some(true) => text.push_str("both bodies are what the entry commits to\n"),
        Some(false) => text.push_str("WARNING: the bodies are NOT what the entry commits to\n"),
        None => {}
    }
    text
}

/// A conversation, one message a line.
fn spoken(text: &mut String, messages: &[Value]) {
    for message in messages {
        let word = |name: &str| message[name].as_str().unwrap_or_default();
        let seconds = message["at_us"].as_u64().unwrap_or(0) as f64 / 1e6;
        let code = message["code"].as_u64().map_or(String::new(), |code| format!("{code} "));
        let broken = if message["partial"] == true { " (broken off)" } else { "" };
        let said = message["text"].as_str().or(message["base64"].as_str()).unwrap_or(word("left_out"));
        let _ = writeln!(
            text,
            "  {seconds:>10.6} s  {} {:<6} {:>7} bytes  {code}{}{broken}",
            word("from"),
            word("kind"),
            message["bytes"].as_u64().unwrap_or(0),
            said.trim_end()
        );
    }
}

pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(()),
    }
}
