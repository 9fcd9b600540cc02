//! An evidence bundle: chosen records of one ledger, their payloads, and what shows both to be the recorded ones.
//!
//! Written front to back in one pass, a payload at a time. That it was asked for is on record before its first byte
//! goes out: that is the caller's to see to (invariant 11).

use crate::archive::{Archive, MEMBERS_MAX};
use indelible_anchor::anchors::{self, Stamped};
use indelible_collector::proofs::{Entries, NoProof, Signed};
use indelible_collector::read::{Found, Payload};
use indelible_collector::{Collector, CollectorError, Query};
use indelible_ledger::{Checkpoint, Note, Policy};
use indelible_os::clock::Utc;
use indelible_record::Entry;
use indelible_record::commitment::{Commitment, SALT_BYTES, to_hex};
use indelible_record::entry::{Side, event_type};
use indelible_verify::directory::OPERATIONS;
use indelible_verify::evidence::FORMAT;
use indelible_verify::timestamp;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::ops::ControlFlow;

const README: &str = include_str!("../assets/README.md");
const INDEX: &str = include_str!("../assets/index.html");
const VERIFY: &str = include_str!("../assets/verify.py");
const CERTIFICATE: &str = include_str!("../assets/certificate.md");

/// Most records in a bundle: each may have two payloads, and there are a few files besides.
pub const RECORDS_MAX: usize = (MEMBERS_MAX - 256) / 2;

/// Anchors that are looked through for a timestamp.
const ANCHORS_MAX: usize = 200;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Records by event id or request id.
    Ids(Vec<String>),
    /// All entries from a number up to another, without it.
    Range(u64, u64),
    /// What a query found: its text, and the event ids.
    Query(String, Vec<String>),
}

/// A bundle that is to be made.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Whose ledger.
    pub tenant: String,
    /// Which records.
    pub selection: Selection,
    /// Without payloads.
    pub withhold: bool,
    /// Who makes it.
    pub made_by: String,
    /// Why.
    pub purpose: String,
}

/// What a bundle came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Entries in it.
    pub entries: u64,
    /// Entries with their payload.
    pub disclosed: u64,
    /// Entries whose payload is not shown.
    pub withheld: u64,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum NoBundle {
    /// Nothing has this id.
    #[error("no record has the event id or request id {0:?}")]
    Unknown(String),
    /// Nothing of this ledger has this id; something of another has.
    #[error("the record {0:?} stands in another ledger: a bundle is of one")]
    OtherLedger(String),
    /// The selection is empty, or larger than a bundle.
    #[error("{0}")]
    Selection(String),
    /// The ledger cannot show it.
    #[error(transparent)]
    Proof(#[from] NoProof),
    /// The ledger could not be read.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// It could not be written.
    #[error("the bundle cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// A bundle whose records were found and proven; nothing of it was written.
pub struct Bundle<'a> {
    collector: &'a Collector,
    wish: Wish,
    proven: Entries,
    /// The timestamp over the checkpoint that the proof leads to, if there is one.
    token: Option<Vec<u8>>,
    /// The collector's clock when the last entry that the checkpoint covers got its place.
    as_of: String,
    /// There are witnesses, and no quorum of them cosigned a checkpoint that covers the records.
    unwitnessed: bool,
}

impl<'a> Bundle<'a> {
    /// Finds and proves the records. With the policy that names the collector's witnesses they lead to a checkpoint that a quorum
    /// of those cosigned, if one covers them: the newest of these with a timestamp, or else the newest. Without a policy, or
    /// without such a checkpoint, they lead to the newest with a timestamp, or else the newest. Blocks.
    ///
    /// # Errors
    /// [`NoBundle`] if one is unknown or not signed yet, or if they are none or too many.
    pub fn prepare(
        collector: &'a Collector,
        wish: Wish,
        witnesses: Option<&Policy>,
    ) -> Result<Self, NoBundle> {
        let numbers = match &wish.selection {
            Selection::Range(from, to) if from < to => {
                let count = usize::try_from(to - from).unwrap_or(usize::MAX);
                check_count(count)?;
                (*from..*to).collect()
            }
            Selection::Range(..) => {
                return Err(NoBundle::Selection("a range from a number up to a smaller one".to_owned()));
            }
            Selection::Ids(ids) | Selection::Query(_, ids) => {
                check_count(ids.len())?;
                numbers_of(collector, &wish.tenant, ids)?
            }
        };
        check_count(numbers.len())?;
        let last = numbers.last().copied().unwrap_or(0);
        let suffices = |note: &Note| witnesses.is_none_or(|policy| is_cosigned(policy, note));
        let stamped = match stamped_with(collector, &wish.tenant, last, &suffices)? {
            None if !is_witnessed(collector, &wish.tenant, last, &suffices) => {
                stamped_with(collector, &wish.tenant, last, &|_| true)?
            }
            found => found,
        };
        let proven = match &stamped {
            Some((signed, _)) => collector.prove_entries_under(&wish.tenant, &numbers, signed)?,
            None => collector.prove_entries(&wish.tenant, &numbers)?,
        };
        let newest = collector.last_entry(&wish.tenant, &proven.signed)?;
        let newest = Entry::parse(&newest).map_err(|error| {
            CollectorError::Refused(format!("the last entry under the checkpoint: {error}"))
        })?;
        Ok(Self {
            collector,
            as_of: newest.timestamp,
            unwitnessed: !suffices(&proven.signed.note),
            token: stamped.map(|(_, token)| token),
            wish,
            proven,
        })
    }

    /// Whether the collector has witnesses and no quorum of them cosigned the checkpoint that this leads to: an auditor whose
    /// policy asks for one refuses it.
    pub fn is_unwitnessed(&self) -> bool {
        self.unwitnessed
    }

    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.proven.entries.len()
    }

    /// Writes it. Blocks.
    ///
    /// # Errors
    /// [`NoBundle`] if a payload or the disk fails, or `out` takes no more: what was written is then no bundle.
    pub fn write<W: Write>(&self, made_at: Utc, out: W) -> Result<(Made, W), NoBundle> {
        let entries = self.parsed()?;
        let salts = self.read_salts(&entries)?;
        let withheld = salts.iter().filter(|salts| salts.is_none()).count() as u64;
        let made = Made { entries: entries.len() as u64, disclosed: salts.len() as u64 - withheld, withheld };
        let origin = self.proven.signed.checkpoint.origin();
        let mut archive = Archive::new(out);
        archive.add("README.md", README.as_bytes())?;
        archive.add("index.html", INDEX.as_bytes())?;
        archive.add("verify.py", VERIFY.as_bytes())?;
        archive.add("scope.json", &line(&self.scope(made, made_at)))?;
        let lines = self.proven.entries.iter().flat_map(|(_, bytes)| [&bytes[..], b"\n"]);
        archive.add("entries.jsonl", &lines.collect::<Vec<_>>().concat())?;
        let proof: String = self.proven.hashes.iter().map(|hash| hash.to_base64() + "\n").collect();
        archive.add("proof.txt", proof.as_bytes())?;
        let note = self.proven.signed.note.to_string();
        archive.add("checkpoint", note.as_bytes())?;
        let keys = self.collector.ledger_keys(&self.wish.tenant)?;
        let keys = keys
            .filter(|keys| keys.origin() == origin)
            .ok_or_else(|| CollectorError::Refused(format!("the key directory has no key of {origin}")))?;
        let keys: String = keys.keys().map(|key| format!("{key}\n")).collect();
        archive.add("keys.txt", keys.as_bytes())?;
        archive.add("openings.jsonl", &Self::openings(&entries, &salts))?;
        self.add_payloads(&entries, &salts, &mut archive)?;
        if let Some(token) = &self.token {
            archive.add("timestamps/0.tsr", token)?;
            let chain = timestamp::certificates(token).unwrap_or_default();
            archive.add("timestamps/0.pem", crate::pem(&chain).as_bytes())?;
        }
        archive.add("completeness.json", &line(&self.completeness(&entries)))?;
        let custody = json!({
            "at": made_at.to_string(), "by": self.wish.made_by,
            "what": format!("made from the ledger, {} entries, {} with their payload: {}", made.entries, made.disclosed, self.wish.purpose),
        });
        archive.add("custody.jsonl", &line(&custody))?;
        archive.add("certificate.md", self.certificate(made, made_at).as_bytes())?;
        let manifest = self.collector.sign_list(&self.wish.tenant, archive.sums().to_owned())?;
        archive.add("MANIFEST.note", manifest.as_bytes())?;
        Ok((made, archive.finish()?))
    }

    fn parsed(&self) -> Result<Vec<Entry>, NoBundle> {
        let parse = |(seq, bytes): &(u64, Vec<u8>)| {
            Entry::parse(bytes)
                .map_err(|error| CollectorError::Refused(format!("entry {seq}: {error}")).into())
        };
        self.proven.entries.iter().map(parse).collect()
    }

    /// For each entry with a commitment what opens it, if it is here and shall be shown. Payloads are read once for that and
    /// once to be written: their salts stand before them in the file.
    fn read_salts(&self, entries: &[Entry]) -> Result<Vec<Option<Salts>>, NoBundle> {
        if self.wish.withhold {
            return Ok(entries.iter().filter(|entry| has_sides(entry)).map(|_| None).collect());
        }
        let mut salts = Vec::new();
        self.visit(entries, &mut |entry, payload| {
            let opened = payload.and_then(|payload| sides(entry, payload));
            salts.push(opened.map(|sides| sides.map(|side| side.map(|(commitment, _)| commitment.salt))));
            Ok(())
        })?;
        Ok(salts)
    }

    fn openings(entries: &[Entry], salts: &[Option<Salts>]) -> Vec<u8> {
        let mut lines = Vec::new();
        for (entry, salts) in entries.iter().filter(|entry| has_sides(entry)).zip(salts) {
            let mut opening = json!({ "seq": entry.seq, "state": "withheld" });
            if let Some(salts) = salts {
                opening["state"] = "disclosed".into();
                for ((member, name), salt) in [("input", "request"), ("output", "response")].iter().zip(salts)
                {
                    if let Some(salt) = salt {
                        let file = format!("payloads/{}.{name}", entry.seq);
                        opening[*member] = json!({ "file": file, "salt": to_hex(salt) });
                    }
                }
            }
            lines.extend(line(&opening));
        }
        lines
    }

    fn add_payloads<W: Write>(
        &self,
        entries: &[Entry],
        salts: &[Option<Salts>],
        archive: &mut Archive<W>,
    ) -> Result<(), NoBundle> {
        if salts.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut salts = salts.iter();
        self.visit(entries, &mut |entry, payload| {
            if salts.next().is_none_or(Option::is_none) {
                return Ok(());
            }
            // It opened before: that it does not now is a fault, and not to be passed over.
            let opened = payload.and_then(|payload| sides(entry, payload));
            let opened = opened.ok_or_else(|| {
                CollectorError::Refused(format!("the payload of entry {} reads back differently", entry.seq))
            })?;
            for (name, side) in ["request", "response"].iter().zip(opened) {
                if let Some((_, bytes)) = side {
                    archive.add(&format!("payloads/{}.{name}", entry.seq), bytes)?;
                }
            }
            Ok(())
        })
    }

    /// Hands each entry with a commitment to `visit`, and its payload if it can be read.
    fn visit(&self, entries: &[Entry], visit: &mut Visit<'_>) -> Result<(), NoBundle> {
        let numbers: Vec<u64> =
            entries.iter().filter(|entry| has_sides(entry)).map(|entry| entry.seq).collect();
        let mut failed = None;
        let mut seen = 0;
        self.collector.visit_payloads(&self.wish.tenant, &numbers, &mut |found: &Found, payload| {
            seen += 1;
            match visit(&found.entry, payload.as_ref().ok()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None if seen == numbers.len() => Ok(()),
            None => {
                Err(CollectorError::Refused("records went missing while they were read".to_owned()).into())
            }
        }
    }

    fn scope(&self, made: Made, made_at: Utc) -> Value {
        let selection = match &self.wish.selection {
            Selection::Range(from, to) => json!({ "kind": "range", "from": from, "to": to }),
            Selection::Ids(ids) => json!({ "kind": "ids", "text": ids.join(" ") }),
            Selection::Query(text, _) => json!({ "kind": "query", "text": text }),
        };
        json!({
            "counts": { "erased": 0, "matched": made.entries, "produced": made.entries, "withheld": made.withheld },
            "format": FORMAT,
            "ledger": { "origin": self.proven.signed.checkpoint.origin(), "tenant": self.wish.tenant },
            "made_at": made_at.to_string(),
            "made_by": self.wish.made_by,
            "purpose": self.wish.purpose,
            "selection": selection,
        })
    }

    fn completeness(&self, entries: &[Entry]) -> Value {
        let gaps = entries.iter().filter(|entry| entry.event_type == event_type::GAP).map(|entry| {
            let count = entry.detail.as_ref().and_then(|detail| detail.get("count")?.as_u64());
            json!({ "count": count.unwrap_or(0), "seq": entry.seq })
        });
        json!({
            "as_of": self.as_of, "gaps": gaps.collect::<Vec<_>>(), "size": self.proven.signed.checkpoint.size(),
        })
    }

    fn certificate(&self, made: Made, made_at: Utc) -> String {
        let checkpoint = &self.proven.signed.checkpoint;
        let fill = [
            ("{tenant}", self.wish.tenant.clone()),
            ("{origin}", checkpoint.origin().to_owned()),
            ("{size}", checkpoint.size().to_string()),
            ("{root}", checkpoint.root().to_base64()),
            ("{entries}", made.entries.to_string()),
            ("{disclosed}", made.disclosed.to_string()),
            ("{made_at}", made_at.to_string()),
            ("{made_by}", self.wish.made_by.clone()),
        ];
        fill.iter().fold(CERTIFICATE.to_owned(), |text, (mark, value)| text.replace(mark, value))
    }
}

/// Whether a quorum of a policy's witnesses cosigned, and every line of one of them verifies.
fn is_cosigned(policy: &Policy, note: &Note) -> bool {
    policy.cosigned(note).is_ok_and(|cosigned| policy.is_satisfied_by(&cosigned))
}

/// Whether the witnessed checkpoint covers an entry, and is as it must be.
fn is_witnessed(collector: &Collector, tenant: &str, seq: u64, suffices: &dyn Fn(&Note) -> bool) -> bool {
    let witnessed = collector.witnessed(tenant);
    witnessed.is_some_and(|signed| signed.checkpoint.size() > seq && suffices(&signed.note))
}

/// The newest checkpoint with a timestamp that covers an entry and is as it must be, and the timestamp.
fn stamped_with(
    collector: &Collector,
    tenant: &str,
    seq: u64,
    suffices: &dyn Fn(&Note) -> bool,
) -> Result<Option<(Signed, Vec<u8>)>, NoBundle> {
    let query = Query {
        tenant: Some(OPERATIONS.to_owned()),
        event_type: Some(event_type::ANCHOR.to_owned()),
        ..Query::default()
    };
    for one in collector.list(&query, ANCHORS_MAX)? {
        let of_ledger = one.entry.resource.as_ref().is_some_and(|ledger| ledger.id == tenant);
        let stamped = one.entry.detail.as_ref().filter(|_| of_ledger).and_then(anchors::stamped);
        let Some(Stamped { note, token }) = stamped else { continue };
        let Ok(note) = Note::parse(note.as_bytes()) else { continue };
        let Ok(checkpoint) = Checkpoint::parse_body(note.text()) else { continue };
        if checkpoint.size() > seq && suffices(&note) {
            return Ok(Some((Signed { note, checkpoint }, token)));
        }
    }
    Ok(None)
}

fn check_count(count: usize) -> Result<(), NoBundle> {
    match count {
        0 => Err(NoBundle::Selection("nothing is selected".to_owned())),
        1..=RECORDS_MAX => Ok(()),
        _ => Err(NoBundle::Selection(format!(
            "{count} records, and a bundle holds at most {RECORDS_MAX}: make several"
        ))),
    }
}

/// Numbers of the records of the ledger that ids name, ascending, each once. Ledgers may use the same request ids.
fn numbers_of(collector: &Collector, tenant: &str, ids: &[String]) -> Result<Vec<u64>, NoBundle> {
    let mut numbers = Vec::new();
    for id in ids {
        let query = |tenant| Query { id: Some(id.clone()), tenant, ..Query::default() };
        let found = collector.list(&query(Some(tenant.to_owned())), RECORDS_MAX)?;
        if found.is_empty() {
            let elsewhere = !collector.list(&query(None), 1)?.is_empty();
            let id = id.clone();
            return Err(if elsewhere { NoBundle::OtherLedger(id) } else { NoBundle::Unknown(id) });
        }
        numbers.extend(found.iter().map(|one| one.entry.seq));
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

fn has_sides(entry: &Entry) -> bool {
    entry.input.is_some() || entry.output.is_some()
}

/// Takes an entry, and its payload if that can be read.
type Visit<'v> = dyn FnMut(&Entry, Option<&Payload>) -> Result<(), NoBundle> + 'v;

/// What opens a commitment: the commitment with its salt, and the bytes.
type Opened<'p> = (&'p Commitment, &'p [u8]);

/// Salts of the request's commitment and of the response's.
type Salts = [Option<[u8; SALT_BYTES]>; 2];

/// What opens the commitments of an entry, request and response; `None` unless all that it has open.
fn sides<'p>(entry: &Entry, payload: &'p Payload) -> Option<[Option<Opened<'p>>; 2]> {
    let opens = |side: &Option<Side>, held: Option<&'p Commitment>, bytes: &'p [u8]| match side {
        None => Some(None),
        Some(side) => {
            let held = held.filter(|held| held.to_text() == side.commitment && held.opens_to(bytes))?;
            Some(Some((held, bytes)))
        }
    };
    let input = payload.end.input.as_ref().or(payload.start.input.as_ref());
    Some([
        opens(&entry.input, input, &payload.request)?,
        opens(&entry.output, payload.end.output.as_ref(), &payload.response)?,
    ])
}

/// A line of JSON in canonical form: all names here are ASCII, and serde_json's maps are sorted.
fn line(value: &Value) -> Vec<u8> {
    let mut bytes = indelible_record::canonical::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
