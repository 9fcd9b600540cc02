//! `indelible anchor`, and the anchors that the configuration names.

use crate::api;
use crate::cli::{Anchor as Arguments, Common};
use crate::collector::failure;
use crate::config::{self, AnchorSection, CollectorSection};
use crate::failure::{Failure, Outcome};
use crate::records::{print, with_collector};
use crate::run_dir;
use http::StatusCode;
use indelible_anchor::anchors::{Anchor, Anchors, Place, Stamped, Taken, stamped};
use indelible_anchor::directory::Directory;
use indelible_anchor::http::Caller;
use indelible_anchor::syslog::Syslog;
use indelible_net::tls::Identity;
use indelible_os::durable;
use indelible_record::Entry;
use indelible_record::entry::event_type;
use indelible_verify::directory::OPERATIONS;
use indelible_verify::timestamp;
use indelible_web::taken_to_json;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Takes, lists or saves anchors.
pub(crate) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    match &arguments.save {
        Some(dir) => save(common, dir),
        None if arguments.list => list(common),
        None => take(common),
    }
}

/// The anchors of a section.
pub(crate) fn configured(section: &CollectorSection) -> Result<Option<Arc<Anchors>>, Failure> {
    if section.anchors.is_empty() {
        return Ok(None);
    }
    let mut names = BTreeSet::new();
    let mut anchors = Vec::new();
    for one in &section.anchors {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if one.name.is_empty() || one.name.len() > 64 || !one.name.bytes().all(plain) {
            return Err(Failure::new(format!("{:?} cannot be an anchor's name", one.name))
                .hint("use 1 to 64 of A-Z a-z 0-9 . _ -"));
        }
        if !names.insert(&one.name) {
            return Err(Failure::new(format!("there are two anchors {:?}", one.name)));
        }
        let interval = Duration::from_secs(one.interval_s.max(1));
        anchors.push(Anchor { name: one.name.clone(), place: place(one)?, interval });
    }
    Ok(Some(Arc::new(Anchors::new(anchors))))
}

fn place(section: &AnchorSection) -> Result<Place, Failure> {
    let ca = section.ca.as_deref();
    let identity = identity(section)?;
    let caller = || Caller::new(ca).map_err(Failure::new);
    let url = || match section.to.starts_with("http://") || section.to.starts_with("https://") {
        true => Ok(section.to.clone()),
        false => Err(Failure::new(format!("anchor {}: {:?} is no URL", section.name, section.to))),
    };
    Ok(match section.kind {
        config::AnchorKind::Rfc3161 => Place::Rfc3161(caller()?, url()?),
        config::AnchorKind::Http => Place::Http(caller()?, url()?),
        config::AnchorKind::Directory => Place::Directory(Directory::new(section.to.clone().into())),
        config::AnchorKind::Syslog => {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host = host.split_whitespace().next().unwrap_or("-").to_owned();
            let syslog = Syslog::new(&section.to, ca, identity.as_ref(), &host).map_err(Failure::new)?;
            Place::Syslog(syslog.map_err(|what| {
                Failure::new(format!("anchor {}: {what}", section.name)).hint("such as syslog.example:6514")
            })?)
        }
    })
}

/// What a syslog server is shown that asks who sends.
fn identity(section: &AnchorSection) -> Result<Option<Identity>, Failure> {
    let wrong = |what: &str| Failure::new(format!("anchor {}: {what}", section.name));
    match (&section.cert, &section.key) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) if section.kind != config::AnchorKind::Syslog => {
            Err(wrong("cert and key are for syslog alone"))
        }
        (Some(cert), Some(key)) => Ok(Some(Identity { cert: cert.clone(), key: key.clone() })),
        _ => Err(wrong("cert and key belong together")),
    }
}

fn take(common: &Common) -> Outcome {
    let taken: Vec<Value> = match run_dir::find(&common.data())? {
        Some((address, token)) => {
            let answer = api::post_empty(&address, &token, &common.purpose, "/v1/anchor")?;
            if answer.status == StatusCode::NOT_FOUND {
                return Err(Failure::new("the configuration of the running collector names no anchor")
                    .hint("docs/anchors.md has [[collector.anchors]]"));
            }
            let body = answer.into_body()?;
            let answer: Value = serde_json::from_slice(&body).map_err(Failure::new)?;
            answer["anchors"].as_array().cloned().unwrap_or_default()
        }
        None => {
            let section = config::load(common)?.file.collector;
            let anchors = section.as_ref().map_or(Ok(None), configured)?;
            let anchors = anchors.ok_or_else(|| {
                Failure::new("the configuration names no anchor")
                    .hint("docs/anchors.md has [[collector.anchors]]")
            })?;
            let taken: Vec<Taken> =
                with_collector(common, async |collector| Ok(anchors.take_all(collector).await))?;
            taken.iter().map(taken_to_json).collect()
        }
    };
    let failed = taken.iter().any(|one| one["error"].is_string());
    let text = match common.json {
        true => format!("{}\n", json!({ "anchors": taken })),
        false => taken.iter().map(line).collect(),
    };
    print(text.as_bytes())?;
    Ok(u8::from(failed))
}

fn line(taken: &Value) -> String {
    let text = |name: &str| taken[name].as_str().unwrap_or_default();
    match taken["error"].as_str() {
        Some(error) => format!("{}  {}  NOT ANCHORED: {error}\n", text("anchor"), text("ledger")),
        None => format!("{}  {}  {} entries\n", text("anchor"), text("ledger"), taken["size"]),
    }
}

fn list(common: &Common) -> Outcome {
    let mut text = String::new();
    for entry in taken(common)?.iter().rev() {
        let detail = entry.detail.clone().unwrap_or_default();
        let ledger = entry.resource.as_ref().map_or("", |ledger| ledger.id.as_str());
        let kind = entry.action.as_deref().unwrap_or_default();
        if common.json {
            let one = json!({
                "seq": entry.seq, "timestamp": entry.timestamp, "anchor": detail.get("anchor"), "kind": kind,
                "ledger": ledger, "size": detail.get("size"), "root": detail.get("root"),
                "stamped": stamped(&detail).is_some(), "stamp_verified": false,
            });
            text.push_str(&format!("{one}\n"));
        } else {
            let name = detail.get("anchor").and_then(Value::as_str).unwrap_or_default();
            let size = detail.get("size").and_then(Value::as_u64).unwrap_or(0);
            let stamp = if stamped(&detail).is_some() { "  timestamp unverified" } else { "" };
            text.push_str(&format!(
                "{}  {}  {name}  {kind}  {ledger}  {size} entries{stamp}\n",
                entry.seq, entry.timestamp
            ));
        }
    }
    print(text.as_bytes())?;
    Ok(0)
}

fn save(common: &Common, dir: &Path) -> Outcome {
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", dir.display()));
    durable::make_dir(dir).map_err(failed)?;
    let write = |name: String, bytes: &[u8]| {
        durable::replace(&dir.join(name), bytes, durable::MODE_SHARED).map_err(failed)
    };
    let entries = taken(common)?;
    for entry in &entries {
        let detail = entry.detail.clone().unwrap_or_default();
        let note = detail.get("checkpoint").and_then(Value::as_str).unwrap_or_default();
        write(format!("{}.note", entry.seq), note.as_bytes())?;
        if let Some(Stamped { token, .. }) = stamped(&detail) {
            write(format!("{}.tsr", entry.seq), &token)?;
            let chain = timestamp::certificates(&token).map_err(Failure::new)?;
            write(format!("{}.pem", entry.seq), indelible_report::pem(&chain).as_bytes())?;
        }
    }
    match common.json {
        true => println!("{}", json!({ "dir": dir, "saved": entries.len() })),
        false => println!("{} anchors in {}", entries.len(), dir.display()),
    }
    Ok(0)
}

/// Entries of anchors, oldest first. They are no payloads: this needs no key.
fn taken(common: &Common) -> Result<Vec<Entry>, Failure> {
    let data = common.data();
    if !data.is_dir() {
        return Err(Failure::new(format!("there is no data directory {}", data.display()))
            .hint("name the collector's with --data"));
    }
    let bucket = crate::store::configured(common)?;
    let mut found = Vec::new();
    let mut malformed = None;
    indelible_collector::entries::visit_with(&common.data(), bucket.as_ref(), OPERATIONS, |bytes| {
        match serde_json::from_slice::<Entry>(bytes) {
            Ok(entry) if entry.event_type == event_type::ANCHOR => found.push(entry),
            Ok(_) => {}
            Err(error) => malformed = Some(error),
        }
        malformed.is_none()
    })
    .map_err(|error| failure(&error))?;
    malformed.map_or(Ok(found), |error| Err(Failure::new(error)))
}
