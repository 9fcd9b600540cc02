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
use indelible_ledger::{Checkpoint, Hash, KeyHistory, Note, Policy, ProofFile, verify_consistency};
use indelible_record::Entry;
use indelible_vault::KeyStore;
use indelible_verify::text;
use indelible_web::growth_to_json;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Longest proof file that is read.
const FILE_MAX_BYTES: u64 = 2 * NOTE_MAX_BYTES as u64;

/// Runs the command.
pub(crate) fn run(common: &Common, arguments: &Proof) -> Outcome {
    match arguments {
        Proof { check: Some(path), policy, .. } => check(common, path, policy.as_deref()),
        Proof { grew_from: Some(path), policy, .. } => grew_from(common, path, policy.as_deref()),
        Proof { id: Some(id), .. } => {
            let proof = of_record(common, id)?;
            let text = if common.json { format!("{}\n", json!({ "id": id, "proof": proof })) } else { proof };
            print(text.as_bytes())?;
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

/// Whose signatures are asked for.
enum Trusted {
    /// Those of the auditor's policy.
    Policy(Policy),
    /// Those of the key directory, which has keys of the ledger.
    Keys(Box<KeyHistory>),
    /// Nobody's: nothing here knows the ledger's keys.
    Nobody,
}

impl Trusted {
    fn of(common: &Common, origin: &str, policy: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = policy {
            return read_policy(path).map(Self::Policy);
        }
        // Without a key directory nobody is trusted, and that is said.
        let keys = KeyStore::key_histories(&common.keys()).unwrap_or_default();
        let keys = keys.into_iter().map(|(_, keys)| keys).find(|keys| keys.origin() == origin);
        Ok(keys.map_or(Self::Nobody, |keys| Self::Keys(Box::new(keys))))
    }

    fn identity(&self) -> &'static str {
        if matches!(self, Self::Nobody) { "not checked" } else { "checked" }
    }

    /// Opens the older checkpoint: what the policy asks for holds of it as well.
    fn open_old(&self, note: &Note) -> Result<Checkpoint, String> {
        match self {
            Self::Policy(policy) => {
                let origin = Checkpoint::parse_body(note.text()).map_err(|error| error.to_string())?;
                let accepted = policy.open(note.to_string().as_bytes(), origin.origin());
                accepted.map(|accepted| accepted.checkpoint).map_err(|error| error.to_string())
            }
            Self::Keys(_) | Self::Nobody => self.open_new(note),
        }
    }

    /// Opens the newest checkpoint: witnesses have not come as far, so the log's signature is what is asked for.
    fn open_new(&self, note: &Note) -> Result<Checkpoint, String> {
        let claimed = Checkpoint::parse_body(note.text()).map_err(|error| error.to_string())?;
        let keys = match self {
            Self::Policy(policy) => policy.log_keys(claimed.origin(), claimed.size()),
            Self::Keys(keys) => keys.at(claimed.size()),
            Self::Nobody => return Ok(claimed),
        };
        Checkpoint::open(note.to_string().as_bytes(), claimed.origin(), &keys)
            .map_err(|error| error.to_string())
    }
}

/// Shows that the ledger begins with the tree of an older checkpoint.
fn grew_from(common: &Common, path: &Path, policy: Option<&Path>) -> Outcome {
    let note = Note::parse(&read(path)?).map_err(|error| unreadable(path, &error))?;
    let claimed = Checkpoint::parse_body(note.text()).map_err(|error| unreadable(path, &error))?;
    let trusted = Trusted::of(common, claimed.origin(), policy)?;
    let old = match trusted.open_old(&note) {
        Ok(old) => old,
        Err(what) => {
            let what = format!("the earlier checkpoint: {what}");
            return not_shown(common, trusted.identity(), &what);
        }
    };
    let tenant = match &common.tenant {
        Some(tenant) => tenant.clone(),
        None => tenant_of(common, old.origin()).unwrap_or_else(|| "default".to_owned()),
    };
    let mut proof = growth(common, &tenant, old.size())?;
    let size = match shown(&trusted, &old, &proof) {
        Ok(size) => size,
        Err(what) => return not_shown(common, trusted.identity(), &what),
    };
    if common.json {
        proof["shown"] = true.into();
        proof["identity"] = trusted.identity().into();
        print(format!("{proof}\n").as_bytes())?;
    } else {
        let whose = match &trusted {
            Trusted::Nobody => {
                "IDENTITY NOT CHECKED: no policy was given, and the key directory has no key of this ledger\n"
            }
            Trusted::Policy(_) | Trusted::Keys(_) => "",
        };
        let words = format!(
            "{whose}shown: the ledger of {}, {size} entries, begins with the {} that were signed then (log {})\n",
            text::shown(&tenant),
            old.size(),
            text::shown(old.origin())
        );
        print(words.as_bytes())?;
    }
    Ok(0)
}

fn not_shown(common: &Common, identity: &str, what: &str) -> Outcome {
    let text = match common.json {
        true => format!("{}\n", json!({ "shown": false, "identity": identity, "what": what })),
        false => format!("NOT SHOWN: {}\n", text::shown(what)),
    };
    print(text.as_bytes())?;
    Ok(1)
}

/// Checks the proof that was given, and says how large the ledger is now.
fn shown(trusted: &Trusted, old: &Checkpoint, proof: &Value) -> Result<u64, String> {
    let note = proof["checkpoint"].as_str().unwrap_or_default();
    let note = Note::parse(note.as_bytes()).map_err(|error| error.to_string())?;
    let new = trusted.open_new(&note).map_err(|what| format!("the newest checkpoint: {what}"))?;
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

/// Checks a proof, offline: that the entry in it has the number that it says, in a tree that was signed.
fn check(common: &Common, path: &Path, policy: Option<&Path>) -> Outcome {
    let proof = ProofFile::parse(&read(path)?).map_err(|error| unreadable(path, &error))?;
    let policy = policy.map(read_policy).transpose()?;
    let identity = if policy.is_some() { "checked" } else { "not checked" };
    let (entry, checkpoint, cosigned) = match open(&proof, policy.as_ref()) {
        Ok(shown) => shown,
        Err(what) => return not_shown(common, identity, &what),
    };
    let text = if common.json {
        let cosigned = cosigned.iter().map(|(name, at)| json!({ "witness": name, "time": at }));
        let shown = json!({
            "shown": true, "identity": identity, "index": proof.index, "size": checkpoint.size(),
            "origin": checkpoint.origin(), "tenant": entry.tenant_id, "cosigned": cosigned.collect::<Vec<_>>(),
        });
        format!("{shown}\n")
    } else {
        let origin = text::shown(checkpoint.origin());
        let whose = match &policy {
            None => "IDENTITY NOT CHECKED: no policy was given\n".to_owned(),
            Some(policy) => {
                let logs: BTreeSet<&str> = policy.logs().map(|(key, _)| key.name()).collect();
                format!(
                    "signed by the log {origin}, one of {} in the policy, and cosigned by {} of its witnesses\n",
                    logs.len(),
                    cosigned.len()
                )
            }
        };
        let (before, behind) = if policy.is_some() { ("", whose.as_str()) } else { (whose.as_str(), "") };
        let line = String::from_utf8_lossy(proof.extra.as_deref().unwrap_or_default()).into_owned();
        format!(
            "{before}shown: entry {} is one of the first {} of {origin}, tenant {}\n{behind}{}\n",
            proof.index,
            checkpoint.size(),
            text::shown(&entry.tenant_id),
            text::shown(&line)
        )
    };
    print(text.as_bytes())?;
    Ok(0)
}

/// Who cosigned, and when.
type Cosigned = Vec<(String, u64)>;

/// The entry that a proof shows, and the checkpoint that it leads to.
fn open(proof: &ProofFile, policy: Option<&Policy>) -> Result<(Entry, Checkpoint, Cosigned), String> {
    let bytes = proof.extra.as_deref().ok_or("the proof comes without the entry")?;
    let entry =
        Entry::parse(bytes).map_err(|error| format!("what comes with the proof is no entry: {error}"))?;
    if entry.seq != proof.index {
        return Err(format!("the proof is of number {}, and the entry says {}", proof.index, entry.seq));
    }
    let checkpoint = proof.verify(bytes).map_err(|error| error.to_string())?;
    let Some(policy) = policy else { return Ok((entry, checkpoint, Vec::new())) };
    let accepted = policy.open(proof.checkpoint.to_string().as_bytes(), checkpoint.origin());
    let accepted = accepted.map_err(|error| error.to_string())?;
    Ok((entry, accepted.checkpoint, accepted.cosigned))
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    Policy::parse(&read(path)?).map_err(|error| unreadable(path, &error))
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
    Failure::new(format!("{}: {}", path.display(), text::shown(&error.to_string())))
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
