//! What somebody outside kept before the cheat, and the checks that cheats are held against.
//!
//! The outsider has the ledger's public key, the checkpoint that was signed last, and a witness that cosigned it. All of
//! them are made before the first cheat, from the copy.

use crate::Trouble;
use crate::copy::Copy;
use crate::report::Caught;
use indelible_collector::head::Head;
use indelible_ledger::witness::AddCheckpoint;
use indelible_ledger::{Checkpoint, KeyHistory, Note, Policy};
use indelible_vault::KeyStore;
use indelible_verify::Verdict;
use indelible_verify::directory::{self, Finding, Trust};
use indelible_witness::Witness;
use indelible_witness::state::NotCosigned;
use std::path::Path;
use std::time::Instant;

/// What was kept.
pub struct Outside {
    tenant: String,
    keys: Vec<(String, KeyHistory)>,
    note: String,
    origin: String,
    size: u64,
    witness: Witness,
    policy: Policy,
}

impl Outside {
    /// Keeps the public keys and the signed checkpoint of a ledger, and lets a witness cosign it.
    pub fn keep(dir: &Path, copy: &Copy, tenant: &str) -> Result<Self, Trouble> {
        let form = |error: &dyn std::fmt::Display| Trouble::Form(error.to_string());
        let keys = KeyStore::key_histories(&copy.keys)?;
        let history = keys.iter().find(|(name, _)| name == tenant).map(|(_, history)| history);
        let history = history.ok_or(Trouble::NoLedger)?;
        let note = published(copy, tenant)?;
        let checkpoint = history.open(note.as_bytes()).map_err(|error| form(&error))?;
        let logs: String =
            history.periods().map(|(key, from, to)| log_lines(&key.to_string(), from, to)).collect();
        let known = Policy::parse(format!("{logs}quorum none\n").as_bytes()).map_err(|error| form(&error))?;
        let witness =
            Witness::open(&dir.join("witness"), "witness.drill/1", known).map_err(|error| form(&error))?;
        let quorum = format!("{logs}witness w {}\nquorum w\n", witness.verifier_key());
        let policy = Policy::parse(quorum.as_bytes()).map_err(|error| form(&error))?;
        let parsed = Note::parse(note.as_bytes()).map_err(|error| form(&error))?;
        let submitted = AddCheckpoint { old_size: 0, proof: Vec::new(), checkpoint: parsed };
        witness.add_checkpoint(submitted.to_string().as_bytes()).map_err(|error| form(&error))?;
        let (origin, size) = (checkpoint.origin().to_owned(), checkpoint.size());
        Ok(Self { tenant: tenant.to_owned(), keys, note, origin, size, witness, policy })
    }

    /// Entries that the kept checkpoint covers.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The ledger's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// `verify --checkpoint`: is what was signed then still there?
    pub fn checkpoint(&self, at: &Copy) -> Result<Option<Caught>, Trouble> {
        let mut trust = trust_of(at)?;
        trust.head.push((self.tenant.clone(), self.note.clone()));
        Ok(caught("verify --checkpoint", true, at, &trust))
    }

    /// `verify --key`: is it signed by the key that an auditor was given?
    pub fn public_key(&self, at: &Copy) -> Result<Option<Caught>, Trouble> {
        let trust = Trust { keys: self.keys.clone(), ..trust_of(at)? };
        Ok(caught("verify --key", true, at, &trust))
    }

    /// Whether the witness cosigns a checkpoint: a log cannot show it one that does not extend what it saw.
    pub fn witness(&self, note: &str) -> Result<Option<Caught>, Trouble> {
        let note = Note::parse(note.as_bytes()).map_err(|error| Trouble::Form(error.to_string()))?;
        let shown = Checkpoint::parse_body(note.text()).map_err(|error| Trouble::Form(error.to_string()))?;
        let old_size = self.size.min(shown.size());
        let body = AddCheckpoint { old_size, proof: Vec::new(), checkpoint: note }.to_string();
        let begun = Instant::now();
        match self.witness.add_checkpoint(body.as_bytes()) {
            Ok(_) => Ok(None),
            Err(NotCosigned::Refused(refusal)) => {
                let what = format!("{} {refusal}", refusal.status());
                Ok(Some(Caught { by: "witness".to_owned(), outside: true, us: us(begun), what }))
            }
            Err(error) => Err(Trouble::Form(error.to_string())),
        }
    }

    /// The auditor's policy: the ledger's key, and a quorum of one witness.
    pub fn policy(&self, note: &str) -> Option<Caught> {
        let begun = Instant::now();
        let refused = self.policy.open(note.as_bytes(), &self.origin).err()?;
        let what = refused.to_string();
        Some(Caught { by: "proof --check --policy".to_owned(), outside: true, us: us(begun), what })
    }
}

/// A key in a policy, with the sizes that it signs.
fn log_lines(key: &str, from: u64, to: Option<u64>) -> String {
    let to = to.map_or("-".to_owned(), |to| to.to_string());
    format!("#sizes {from} {to}\nlog {key}\n")
}

/// The checkpoint that a directory publishes.
pub fn published(at: &Copy, tenant: &str) -> Result<String, Trouble> {
    let path = at.data.join("ledgers").join(tenant).join("checkpoint");
    std::fs::read_to_string(&path).map_err(|error| Trouble::Io(path, error))
}

/// `verify` with what is in the directories, and nothing else.
pub fn verify(at: &Copy) -> Result<Option<Caught>, Trouble> {
    Ok(caught("verify", false, at, &trust_of(at)?))
}

/// What lies in a key directory: public keys and the head.
pub fn trust_of(at: &Copy) -> Result<Trust, Trouble> {
    let head = Head::read(&KeyStore::head_path(&at.keys))?;
    let head = head.notes().iter().map(|(tenant, note)| (tenant.clone(), note.clone())).collect();
    Ok(Trust { keys: KeyStore::key_histories(&at.keys)?, head })
}

fn caught(by: &str, outside: bool, at: &Copy, trust: &Trust) -> Option<Caught> {
    let begun = Instant::now();
    let report = directory::check(&at.data, trust, |_, _| {});
    let us = us(begun);
    // The worst comes first. What could not be told is no catch.
    let finding = report.findings.first().filter(|finding| finding.verdict == Verdict::Broken)?;
    Some(Caught { by: by.to_owned(), outside, us, what: words(finding, &at.data) })
}

/// A finding in one line.
pub fn words(finding: &Finding, data: &Path) -> String {
    let mut text = String::new();
    if let Some(ledger) = &finding.ledger {
        text.push_str(&format!("ledger {ledger}: "));
    }
    if let Some(seq) = finding.seq {
        text.push_str(&format!("entry {seq}: "));
    }
    let file = finding.file.strip_prefix(data).unwrap_or(&finding.file);
    format!("{text}{}: {}", file.display(), finding.what)
}

/// Microseconds since.
pub fn us(begun: Instant) -> u64 {
    begun.elapsed().as_micros() as u64
}
