//! `indelible proof`: an entry's place in the signed tree, and that the tree only grew.

use crate::api;
use crate::cli::{Common, Proof};
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::records::{print, with_collector};
use crate::run_dir;
use indelible_collector::Query;
use indelible_collector::proofs::NoProof;
use indelible_ledger::note::NOTE_MAX_BYTES;
use indelible_ledger::{Checkpoint, Hash, Note, Policy, ProofFile, verify_consistency};
use indelible_vault::KeyStore;
use indelible_web::growth_to_json;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Longest proof file that is read.
const FILE_MAX_BYTES: u64 = 2 * NOTE_MAX_BYTES as u64;

/// Runs the command.
pub(crate) fn run(common: &Common, arguments: &Proof) -> Outcome {
    match arguments {
        Proof { check: Some(path), policy, .. } => check(common, path, policy.as_deref()),
        Proof { grew_from: Some(path), .. } => grew_from(common, path),
        Proof { id: Some(id), .. } => {
            print(of_record(common, id)?.as_bytes())?;
            Ok(0)
        }
        Proof { .. } => Err(Failure::new("a proof of which record?")),
    }
}

/// The inclusion proof of a record, as text.
fn of_record(common: &Common, id: &str) -> Result<String, Failure> {
    if let Some((address, token)) = run_dir::find(&common.data())? {
        let tenant = common.tenant.as_ref().map(|tenant| format!("?tenant={}", api::encode(tenant)));
        let path = format!("/v1/records/{}/proof{}", api::encode(id), tenant.unwrap_or_default());
        let body = api::get(&address, &token, &common.purpose, &path)?.into_body()?;
        return String::from_utf8(body.to_vec()).map_err(Failure::new);
    }
    with_collector(common, async |collector| {
        let query = Query { id: Some(id.to_owned()), tenant: common.tenant.clone(), ..Query::default() };
        let found = collector.list(&query, 2).map_err(|error| failure(&error))?;
        let asked = json!({ "id": id, "purpose": common.purpose });
        let recorded = collector
            .record_access("operator", "prove", Some(("record", id)), asked, found.len() as u64)
            .await;
        recorded.map_err(|error| failure(&error))?;
        match found.as_slice() {
            [one] => {
                let proof = collector.prove(&one.entry.tenant_id, one.entry.seq);
                proof.map(|proof| proof.to_string()).map_err(|error| no_proof(&error))
            }
            [] => Err(Failure::new(format!("no record has the event id or request id {id:?}")).code(1)),
            _ => Err(Failure::new(format!("{id:?} names more than one record"))
                .hint("name one of them by its event id: indelible show has them")
                .code(3)),
        }
    })
}

/// Shows that the ledger begins with the tree of an older checkpoint.
fn grew_from(common: &Common, path: &Path) -> Outcome {
    let note = Note::parse(&read(path)?).map_err(|error| unreadable(path, &error))?;
    let old = Checkpoint::parse_body(note.text()).map_err(|error| unreadable(path, &error))?;
    let tenant = match &common.tenant {
        Some(tenant) => tenant.clone(),
        None => tenant_of(common, old.origin()).unwrap_or_else(|| "default".to_owned()),
    };
    let proof = growth(common, &tenant, old.size())?;
    let shown = shown(&old, &proof);
    if common.json {
        let mut proof = proof;
        proof["shown"] = shown.is_ok().into();
        print(format!("{proof}\n").as_bytes())?;
    } else {
        let words = match &shown {
            Ok(size) => format!(
                "shown: the ledger of {tenant}, {size} entries, begins with the {} that were signed then\n",
                old.size()
            ),
            Err(what) => format!("NOT SHOWN: {what}\n"),
        };
        print(words.as_bytes())?;
    }
    Ok(u8::from(shown.is_err()))
}

/// Checks the proof that was given, and says how large the ledger is now.
fn shown(old: &Checkpoint, proof: &Value) -> Result<u64, String> {
    let note = proof["checkpoint"].as_str().unwrap_or_default();
    let note = Note::parse(note.as_bytes()).map_err(|error| error.to_string())?;
    let new = Checkpoint::parse_body(note.text()).map_err(|error| error.to_string())?;
    if new.origin() != old.origin() {
        return Err(format!("that is a checkpoint of {}, and this ledger is {}", old.origin(), new.origin()));
    }
    let hashes = proof["hashes"].as_array().map_or(&[][..], Vec::as_slice).iter();
    let hashes: Option<Vec<Hash>> = hashes.map(|hash| Hash::from_base64(hash.as_str()?).ok()).collect();
    let hashes = hashes.ok_or("the answer is no proof")?;
    verify_consistency(&hashes, old.size(), new.size(), &old.root(), &new.root())
        .map(|()| new.size())
        .map_err(|error| {
            format!("the {} entries signed then are not the beginning of this ledger: {error}", old.size())
        })
}

fn growth(common: &Common, tenant: &str, from: u64) -> Result<Value, Failure> {
    if let Some((address, token)) = run_dir::find(&common.data())? {
        let path = format!("/tenants/{}/consistency?from={from}", api::encode(tenant));
        let body = api::get(&address, &token, &common.purpose, &path)?.into_body()?;
        return serde_json::from_slice(&body).map_err(Failure::new);
    }
    with_collector(common, async |collector| {
        let proof = collector.prove_growth(tenant, from).map_err(|error| no_proof(&error))?;
        Ok(growth_to_json(from, &proof))
    })
}

fn check(common: &Common, path: &Path, policy: Option<&Path>) -> Outcome {
    let proof = ProofFile::parse(&read(path)?).map_err(|error| unreadable(path, &error))?;
    let policy = policy
        .map(|path| Policy::parse(&read(path)?).map_err(|error| unreadable(path, &error)))
        .transpose()?;
    let entry = proof.extra.clone().unwrap_or_default();
    let shown =
        proof.verify(&entry).map_err(|error| error.to_string()).and_then(|checkpoint| match &policy {
            None => Ok((checkpoint, Vec::new())),
            Some(policy) => {
                let accepted = policy.open(proof.checkpoint.to_string().as_bytes(), checkpoint.origin());
                let accepted = accepted.map_err(|error| error.to_string())?;
                Ok((accepted.checkpoint, accepted.cosigned))
            }
        });
    let identity = if policy.is_some() { "checked" } else { "not checked" };
    let text = match (&shown, common.json) {
        (Ok((checkpoint, cosigned)), true) => format!(
            "{}\n",
            json!({
                "shown": true, "identity": identity, "index": proof.index, "size": checkpoint.size(),
                "origin": checkpoint.origin(), "cosigned": cosigned.iter().map(|(name, at)| json!({ "witness": name, "time": at })).collect::<Vec<_>>(),
            })
        ),
        (Err(what), true) => format!("{}\n", json!({ "shown": false, "identity": identity, "what": what })),
        (Ok((checkpoint, cosigned)), false) => {
            let warning = if policy.is_some() { "" } else { "IDENTITY NOT CHECKED: no policy was given\n" };
            let witnesses = match cosigned.len() {
                0 => String::new(),
                count => format!(", cosigned by {count} witnesses of the policy"),
            };
            format!(
                "{warning}shown: entry {} is one of the first {} of {}{witnesses}\n{}\n",
                proof.index,
                checkpoint.size(),
                checkpoint.origin(),
                String::from_utf8_lossy(&entry)
            )
        }
        (Err(what), false) => format!("NOT SHOWN: {what}\n"),
    };
    print(text.as_bytes())?;
    Ok(u8::from(shown.is_err()))
}

/// Whose ledger an origin names, by the key directory.
fn tenant_of(common: &Common, origin: &str) -> Option<String> {
    let keys = KeyStore::verifier_keys(&common.keys()).ok()?;
    keys.into_iter().find(|(_, key)| key.name() == origin).map(|(tenant, _)| tenant)
}

fn no_proof(error: &NoProof) -> Failure {
    match error {
        NoProof::Collector(error) => failure(error),
        NoProof::Unknown(_) | NoProof::Beyond { .. } => Failure::new(error).code(1),
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(unreadable(path, &"too long"));
    }
    Ok(bytes)
}
