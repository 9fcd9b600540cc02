//! `indelible evidence`: a bundle of records with their proofs.
//!
//! It is written beside its place, checked as its auditor will, and then named: what has the name is whole. The policy for that is
//! the one that auditors are given (`indelible key policy`), where the configuration names witnesses, and none elsewhere.
//!
//! Records that no quorum of the witnesses has cosigned yet make a bundle all the same, with a warning: it shows everything else, and
//! whoever needs it cannot always wait for a witness to come back.

use crate::api;
use crate::cli::{Common, Evidence};
use crate::collector::failure;
use crate::failure::{Failure, Outcome};
use crate::key;
use crate::query;
use crate::records::with_collector;
use crate::run_dir;
use indelible_collector::proofs::NoProof;
use indelible_ledger::Policy;
use indelible_os::{clock, durable};
use indelible_report::evidence::{Bundle, NoBundle, RECORDS_MAX, Selection, Wish};
use indelible_verify::evidence::{Check, Fault, Shown, check};
use indelible_web::WITNESSED_HEADER;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Makes the bundle.
pub(crate) fn run(common: &Common, arguments: &Evidence) -> Outcome {
    let target = &arguments.output;
    if target.exists() && !arguments.force {
        return Err(Failure::new(format!("{} is there already", target.display()))
            .hint("name another file, or replace it with --force"));
    }
    let selection = selection(common, arguments)?;
    let staged = staged(target);
    let made = make(common, arguments, selection, &staged).and_then(|witnessed| {
        let shown = check_made(&staged, policy(common, witnessed)?.as_ref())?;
        Ok((shown, witnessed))
    });
    let (shown, witnessed) = made.inspect_err(|_| drop(std::fs::remove_file(&staged)))?;
    durable::publish_file(&staged, target)
        .map_err(|error| Failure::new(format!("{}: {error}", target.display())))?;
    report(common, target, &shown, witnessed);
    Ok(0)
}

fn selection(common: &Common, arguments: &Evidence) -> Result<Selection, Failure> {
    if let Some(range) = &arguments.range {
        let numbers =
            range.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        let (from, to) = numbers.ok_or_else(|| {
            Failure::new(format!("--range {range}: not two numbers")).hint("such as 1200..1400")
        })?;
        return Ok(Selection::Range(from, to));
    }
    match &arguments.query {
        Some(sql) => Ok(Selection::Query(sql.clone(), query::event_ids(common, sql, RECORDS_MAX)?)),
        None => Ok(Selection::Ids(arguments.id.clone())),
    }
}

/// Whether the checkpoint that a bundle leads to has the cosignatures that auditors ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Witnessed {
    AsConfigured,
    NoQuorum,
}

impl Witnessed {
    fn warning(self) -> Option<&'static str> {
        match self {
            Self::AsConfigured => None,
            Self::NoQuorum => Some(
                "no quorum of the witnesses has cosigned these records yet: an auditor whose policy asks for one will refuse \
                 this bundle at quorum; make it again once the witnesses are back",
            ),
        }
    }
}

fn make(
    common: &Common,
    arguments: &Evidence,
    selection: Selection,
    staged: &Path,
) -> Result<Witnessed, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", staged.display()));
    let mut out = BufWriter::new(File::create(staged).map_err(failed)?);
    let unwitnessed = match run_dir::find(&common.data())? {
        Some((address, token)) => {
            let (ids, range, query) = match selection {
                Selection::Ids(ids) => (Some(ids), None, None),
                Selection::Range(from, to) => (None, Some([from, to]), None),
                Selection::Query(text, ids) => (Some(ids), None, Some(text)),
            };
            let body = json!({
                "tenant": common.tenant, "ids": ids, "range": range, "query": query, "withhold": arguments.withhold,
            });
            let headers = api::post(&address, &token, &common.purpose, "/v1/evidence", &body, |piece| {
                out.write_all(piece).map_err(failed)?;
                Ok(true)
            })?;
            headers.get(WITNESSED_HEADER).is_some_and(|value| value == "no-quorum")
        }
        None => with_collector(common, async |collector| {
            let tenants = &collector.config().tenants;
            let tenant = match (&common.tenant, tenants.as_slice()) {
                (Some(tenant), _) => tenant.clone(),
                (None, [only]) => only.clone(),
                (None, _) => "default".to_owned(),
            };
            let asked = json!({ "evidence": format!("{selection:?}"), "purpose": common.purpose });
            let wish = Wish {
                tenant,
                selection,
                withhold: arguments.withhold,
                made_by: "operator".to_owned(),
                purpose: common.purpose.clone(),
            };
            let is_range = matches!(wish.selection, Selection::Range(..));
            let witnesses = witnesses(common)?;
            let bundle = Bundle::prepare(collector, wish, witnesses.as_ref())
                .map_err(|error| no_bundle(&error, is_range))?;
            let detail = serde_json::Map::from_iter([("records".to_owned(), bundle.entries().into())]);
            let recorded = collector.record_export("operator", "evidence", asked, detail).await;
            recorded.map_err(|error| failure(&error))?;
            bundle.write(clock::now(), &mut out).map_err(|error| no_bundle(&error, is_range))?;
            Ok(bundle.is_unwitnessed())
        })?,
    };
    out.flush().map_err(failed)?;
    durable::sync_file(out.get_ref()).map_err(failed)?;
    Ok(if unwitnessed { Witnessed::NoQuorum } else { Witnessed::AsConfigured })
}

/// The policy of the configuration that names witnesses.
fn witnesses(common: &Common) -> Result<Option<Policy>, Failure> {
    let lines = key::witness_lines(common)?;
    lines.map(|lines| Policy::parse(lines.as_bytes()).map_err(Failure::new)).transpose()
}

/// What auditors are given, if the configuration names witnesses; of a bundle without a quorum all but that.
fn policy(common: &Common, witnessed: Witnessed) -> Result<Option<Policy>, Failure> {
    let Some(witnesses) = key::witness_lines(common)? else { return Ok(None) };
    let witnesses = match witnessed {
        Witnessed::AsConfigured => witnesses.as_str(),
        Witnessed::NoQuorum => key::NO_WITNESSES,
    };
    let policy = key::log_lines(common)? + witnesses;
    Policy::parse(policy.as_bytes()).map(Some).map_err(Failure::new)
}

/// Checks what was made.
fn check_made(staged: &Path, policy: Option<&Policy>) -> Result<Shown, Failure> {
    let unreadable = |what: &dyn std::fmt::Display| {
        Failure::new("the bundle that was made does not hold")
            .detail(what)
            .hint("indelible verify checks the ledger")
    };
    let file = File::open(staged).map_err(|error| unreadable(&error))?;
    check(file, policy).map_err(|fault| match fault {
        Fault::Broken(check @ (Check::Signature | Check::Quorum), what) if policy.is_some() => {
            Failure::new("the bundle that was made would be refused by its auditor")
                .detail(format!("{}: {what}", check.as_str()))
                .hint("it was checked under what `indelible key policy` prints: are witness_policy and the key directory those of the collector?")
        }
        Fault::Broken(check, what) => unreadable(&format!("{}: {what}", check.as_str())),
        Fault::Unreadable(error) => unreadable(&error),
    })
}

fn report(common: &Common, target: &Path, shown: &Shown, witnessed: Witnessed) {
    let warning = witnessed.warning();
    if let Some(warning) = warning {
        eprintln!("warning: {warning}");
    }
    let bytes = std::fs::metadata(target).map_or(0, |meta| meta.len());
    if common.json {
        let report = json!({
            "file": target, "bytes": bytes, "entries": shown.counts.entries, "disclosed": shown.counts.disclosed,
            "withheld": shown.counts.withheld, "erased": shown.counts.erased, "size": shown.size, "origin": shown.origin,
            "warning": warning,
        });
        println!("{report}");
    } else {
        println!(
            "{}: {} entries, {} with what was said, under the tree of {} entries; {bytes} bytes",
            target.display(),
            shown.counts.entries,
            shown.counts.disclosed,
            shown.size
        );
    }
}

fn staged(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn no_bundle(error: &NoBundle, is_range: bool) -> Failure {
    match error {
        NoBundle::Proof(NoProof::Beyond { .. }) if is_range => {
            Failure::new(error).code(1).hint("end the range at the number of signed entries, or before")
        }
        NoBundle::Unknown(_) | NoBundle::Proof(NoProof::Unknown(_) | NoProof::Beyond { .. }) => {
            Failure::new(error).code(1)
        }
        NoBundle::Selection(_) => Failure::new(error).code(6),
        NoBundle::Collector(error) | NoBundle::Proof(NoProof::Collector(error)) => failure(error),
        NoBundle::OtherLedger(_) => Failure::new(error).hint("name the ledger with --tenant"),
        NoBundle::Write(_) => Failure::new(error),
    }
}
