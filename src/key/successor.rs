//! `indelible key successor`: ledgers that go on where others were lost.

use crate::cli::{Common, Successor};
use crate::collector;
use crate::failure::{Failure, Outcome};
use indelible_collector::data_dir::default_keys;
use indelible_collector::seal::Faults;
use indelible_collector::successor::{self, Founded, Made, Place, Plan, SuccessorError};
use serde_json::json;

pub(super) fn run(common: &Common, arguments: &Successor) -> Outcome {
    if common.tenant.is_some() {
        return Err(Failure::new("the ledgers of a directory share one log: they get successors together")
            .hint("leave out --tenant; --after says by itself which ledger it is of"));
    }
    let plan = Plan {
        data: common.data(),
        data_lost: arguments.data_lost,
        keys: common.keys(),
        to: arguments.to.clone(),
        to_keys: arguments.to_keys.clone().unwrap_or_else(|| default_keys(&arguments.to)),
        after: arguments.after.clone(),
        unknown: arguments.unknown.clone(),
        old_keys_compromised: arguments.old_key_compromised,
        faults: Faults::default(),
    };
    let made = successor::make(&plan).map_err(|error| failure(&error))?;
    for remark in &made.remarks {
        eprintln!("passed over: {remark}");
    }
    if common.json {
        println!("{}", as_json(&plan, &made));
        return Ok(0);
    }
    if made.finished {
        println!("an attempt before had made all of it: its last step was done, and nothing else");
    }
    made.ledgers.iter().for_each(print);
    eprintln!("the successor is in {}, its keys in {}", plan.to.display(), plan.to_keys.display());
    eprintln!("  keep           {} and {}: they are evidence", plan.data.display(), plan.keys.display());
    eprintln!(
        "  check it       indelible verify --data {} --keys {}",
        plan.to.display(),
        plan.to_keys.display()
    );
    eprintln!("  start it       name both in the collector's configuration; gateways go on as they are");
    eprintln!("  tell others    auditors and witnesses need the new policy: indelible key policy");
    Ok(0)
}

fn print(ledger: &Founded) {
    let Founded { tenant, key, before, size, known_from, by_old } = ledger;
    println!("{tenant}={key}");
    match known_from {
        Some(Place::Given(path)) => println!("  after {size} entries of {before}: {}", path.display()),
        Some(Place::Found(path)) => println!(
            "  after {size} entries of {before}: the newest known in the old directories, {}; no other was named",
            path.display()
        ),
        None => println!("  after {before}, of which nothing is known"),
    }
    match by_old {
        Ok(()) => println!("  stated by the old key and the new one"),
        Err(why) => println!("  stated by the new key alone, since the old one cannot: {why}"),
    }
}

fn as_json(plan: &Plan, made: &Made) -> serde_json::Value {
    let ledger = |ledger: &Founded| {
        json!({
            "tenant": ledger.tenant,
            "key": ledger.key.to_string(),
            "predecessor": {
                "origin": ledger.before,
                "size": ledger.size,
                "known_from": ledger.known_from.as_ref().map(Place::path),
                "named": matches!(ledger.known_from, Some(Place::Given(_))),
                "signed": ledger.by_old.is_ok(),
            },
        })
    };
    json!({
        "data": plan.to,
        "keys": plan.to_keys,
        "finished_earlier_attempt": made.finished,
        "ledgers": made.ledgers.iter().map(ledger).collect::<Vec<_>>(),
        "passed_over": made.remarks,
    })
}

fn failure(error: &SuccessorError) -> Failure {
    let shown = Failure::new(error);
    match error {
        SuccessorError::Checkpoint { .. } => {
            shown.hint("name checkpoints as witnesses, anchors or DIR/ledgers/TENANT/checkpoint have them, whole")
        }
        SuccessorError::Smaller { .. } => {
            shown.hint("leave this file out: what is known to have been signed is never denied")
        }
        SuccessorError::Forked { .. } => shown.hint(
            "keep both, they are evidence; if the key was stolen, say which one is yours: --after FILE --old-key-compromised",
        ),
        SuccessorError::Unknown(tenants) => shown
            .detail("neither the old directories nor --after have a checkpoint of them")
            .hint(format!(
                "look for checkpoints outside, and name them with --after; only if there is none: --unknown {}",
                tenants.join(" --unknown ")
            )),
        SuccessorError::Keyless(tenants) => shown.detail("a ledger that follows nothing would begin in their place").hint(format!(
            "name a key directory that has them with --keys; only if there is none: --unknown {}",
            tenants.join(" --unknown ")
        )),
        SuccessorError::NotUnknown(_) => shown.hint("leave out --unknown for it"),
        SuccessorError::Target { .. } => shown.hint(
            "name other directories with --to, --to-keys, --data and --keys; if nothing is left of the records: --data-lost",
        ),
        SuccessorError::Collector(error) => collector::failure(error),
    }
}
