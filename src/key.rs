//! `indelible key`: keys and certificates.

#[cfg(feature = "collector")]
mod successor;

#[cfg(feature = "gateway")]
use crate::api_key;
use crate::cli::{Common, Key, KeyCommand};
use crate::failure::{Failure, Outcome};
use indelible_vault::KeyStore;
use serde_json::json;

/// Runs a key command.
pub(crate) fn run(common: &Common, arguments: &Key) -> Outcome {
    match &arguments.command {
        #[cfg(feature = "collector")]
        KeyCommand::Init { name, source } => init::run(common, name, source),
        KeyCommand::Show => show(&places(common)?),
        KeyCommand::Policy => policy(&places(common)?),
        #[cfg(feature = "collector")]
        KeyCommand::Rotate => rotate::run(&places(common)?),
        #[cfg(feature = "collector")]
        KeyCommand::Successor(arguments) => successor::run(&places(common)?, arguments),
        #[cfg(feature = "gateway")]
        KeyCommand::Create(arguments) => api_key::create(common, arguments),
        #[cfg(feature = "gateway")]
        KeyCommand::List => api_key::list(common),
        #[cfg(feature = "gateway")]
        KeyCommand::Revoke { id } => api_key::revoke(common, id),
    }
}

/// Where keys are; those that are made go where they are asked to go.
fn places(common: &Common) -> Result<Common, Failure> {
    #[cfg(feature = "collector")]
    return crate::config::with_places(common);
    #[cfg(not(feature = "collector"))]
    Ok(common.clone())
}

fn show(common: &Common) -> Outcome {
    let keys = KeyStore::key_histories(&common.keys()).map_err(Failure::new)?;
    if keys.is_empty() {
        return Err(Failure::new(format!("there are no ledger keys in {}", common.keys().display()))
            .hint("a ledger's key is made when its collector first starts"));
    }
    for (tenant, keys) in
        keys.iter().filter(|(tenant, _)| common.tenant.as_ref().is_none_or(|only| only == tenant))
    {
        let newest = keys.newest().to_string();
        if common.json {
            let all: Vec<_> = keys
                .periods()
                .map(|(key, from, to)| json!({ "key": key.to_string(), "from": from, "to": to }))
                .collect();
            println!("{}", json!({ "tenant": tenant, "key": newest, "keys": all }));
        } else {
            println!("{tenant}={newest}");
        }
    }
    Ok(0)
}

fn policy(common: &Common) -> Outcome {
    let witnesses = witness_lines(common)?;
    let text = log_lines(common)? + witnesses.as_deref().unwrap_or(NO_WITNESSES);
    match common.json {
        true => println!("{}", json!({ "policy": text })),
        false => print!("{text}"),
    }
    Ok(0)
}

/// The last line of a policy that asks for no cosignature.
pub(crate) const NO_WITNESSES: &str = "quorum none\n";

/// The lines of a policy that name the ledgers' keys.
pub(crate) fn log_lines(common: &Common) -> Result<String, Failure> {
    let keys = KeyStore::key_histories(&common.keys()).map_err(Failure::new)?;
    let mut lines = String::new();
    for (tenant, keys) in keys {
        if common.tenant.as_ref().is_some_and(|only| *only != tenant) {
            continue;
        }
        lines.push_str(&format!("# the ledger of {tenant}\n"));
        for (key, from, to) in keys.periods() {
            if (from, to) != (0, None) {
                let to = to.map_or("-".to_owned(), |to| to.to_string());
                lines.push_str(&format!("#sizes {from} {to}\n"));
            }
            lines.push_str(&format!("log {key}\n"));
        }
    }
    if lines.is_empty() {
        return Err(Failure::new(format!("there are no such ledger keys in {}", common.keys().display()))
            .hint("a ledger's key is made when its collector first starts"));
    }
    Ok(lines)
}

/// What the collector's policy says of witnesses, if its configuration names one.
#[cfg(feature = "collector")]
pub(crate) fn witness_lines(common: &Common) -> Result<Option<String>, Failure> {
    if common.config.is_none() && !std::path::Path::new(crate::config::DEFAULT_PATH).exists() {
        return Ok(None);
    }
    let section = crate::config::load(common)?.file.collector;
    let Some(path) = section.and_then(|section| section.witness_policy) else { return Ok(None) };
    crate::witnesses::policy(&path)?;
    let text = std::fs::read_to_string(&path).map_err(Failure::new)?;
    let of_log = |line: &&str| matches!(line.split_whitespace().next(), Some("log" | "#sizes"));
    let others = text.lines().filter(|line| !of_log(line));
    Ok(Some(others.fold(String::new(), |text, line| text + line + "\n")))
}

#[cfg(not(feature = "collector"))]
pub(crate) fn witness_lines(_: &Common) -> Result<Option<String>, Failure> {
    Ok(None)
}

#[cfg(feature = "collector")]
mod rotate {
    use super::{Common, Failure, KeyStore, Outcome};
    use crate::api;
    use crate::collector::failure;
    use crate::records::with_collector;
    use crate::run_dir;
    use indelible_web::rotated_to_json;
    use serde_json::Value;

    /// Through a running collector or on the directory itself; one ledger, or all.
    pub(super) fn run(common: &Common) -> Outcome {
        let known = KeyStore::verifier_keys(&common.keys()).map_err(Failure::new)?;
        let ledgers: Vec<String> = match &common.tenant {
            Some(only) => vec![only.clone()],
            None => known.into_iter().map(|(tenant, _)| tenant).collect(),
        };
        if ledgers.is_empty() {
            return Err(Failure::new(format!("there are no ledger keys in {}", common.keys().display()))
                .hint("a ledger's key is made when its collector first starts"));
        }
        match run_dir::find(&common.data())? {
            Some((address, token)) => {
                for ledger in &ledgers {
                    let path = format!("/v1/keys/rotate?tenant={ledger}");
                    let body = api::post_empty(&address, &token, &common.purpose, &path)?.into_body()?;
                    say(common, &serde_json::from_slice(&body).map_err(Failure::new)?);
                }
            }
            None => with_collector(common, async |collector| {
                for ledger in &ledgers {
                    let rotated = collector.rotate_key(ledger, "operator").await;
                    say(common, &rotated_to_json(ledger, &rotated.map_err(|error| failure(&error))?));
                }
                Ok(())
            })?,
        }
        if !common.json {
            eprintln!("give auditors and witnesses the new policy: indelible key policy");
        }
        Ok(0)
    }

    /// Each at once: what was changed stays changed if the next one fails.
    fn say(common: &Common, rotated: &Value) {
        match common.json {
            true => println!("{rotated}"),
            false => println!(
                "{}={}\n  signs from size {} on; that checkpoint is signed by both keys",
                rotated["tenant"].as_str().unwrap_or_default(),
                rotated["key"].as_str().unwrap_or_default(),
                rotated["size"],
            ),
        }
    }
}

#[cfg(feature = "collector")]
mod init {
    use super::{Common, Failure, KeyStore, Outcome};
    use indelible_net::pki::{DevCa, Use};
    use indelible_os::{clock, durable};
    use indelible_record::commitment::to_hex;
    use indelible_record::identity::may_stand_clear;

    pub(super) fn run(common: &Common, names: &[String], source: &str) -> Outcome {
        if !may_stand_clear(source) || source.contains(['/', ':']) {
            return Err(
                Failure::new(format!("{source:?} cannot be a source id")).hint("use A-Z a-z 0-9 . _ -")
            );
        }
        let dir = common.keys();
        let tls = dir.join("tls");
        if tls.join("ca.pem").exists() {
            return Err(Failure::new(format!("{} has certificates already", tls.display()))
                .hint("name another directory with --keys, or keep using these"));
        }
        let keys = KeyStore::open_or_create(&dir).map_err(Failure::new)?;
        let io = |error: std::io::Error| Failure::new(format!("{}: {error}", dir.display()));
        durable::make_dir(&tls).map_err(io)?;
        let ca = DevCa::create(&tls).map_err(Failure::new)?;
        ca.issue(&tls, "collector", names, Use::Server).map_err(Failure::new)?;
        let spool_key = match keys.spool_keys().map_err(Failure::new)?.pop() {
            Some(key) => key,
            None => keys.create_spool_key(clock::now().day()).map_err(Failure::new)?,
        };

        let handover = dir.join(source);
        durable::make_dir(&handover).map_err(io)?;
        ca.issue(&handover, source, &[source.to_owned()], Use::Client).map_err(Failure::new)?;
        let copy = std::fs::read(tls.join("ca.pem")).map_err(io)?;
        durable::create(&handover.join("ca.pem"), &copy, durable::MODE_SHARED).map_err(io)?;
        let public = format!("{}\n", to_hex(spool_key.public().as_bytes()));
        durable::create(&handover.join("collector-spool.pub"), public.as_bytes(), durable::MODE_SHARED)
            .map_err(io)?;
        let secret = format!("{}\n", to_hex(&*keys.derive("api-key-id", "")));
        durable::create(&handover.join("api-key-id.key"), secret.as_bytes(), durable::MODE_SECRET)
            .map_err(io)?;

        eprintln!("made a development CA, the collector's certificate ({}) and its keys", names.join(", "));
        eprintln!("  collector     {}", tls.display());
        eprintln!(
            "  for {source:<9} {}: copy it to the gateway's machine, then delete it here",
            handover.display()
        );
        println!("{}", handover.display());
        Ok(0)
    }
}
