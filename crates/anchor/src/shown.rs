//! What a party outside shows of a ledger, held against the ledger as it runs here.
//!
//! Only what the ledger's own key signed is held against it: the caller has opened it with that key.

use indelible_collector::Collector;
use indelible_ledger::Checkpoint;
use std::sync::Arc;

/// What `who` shows that is not in the ledger: more, or another history. `None`: it is in it.
///
/// # Errors
/// Words on why that cannot be told.
pub(crate) async fn against(
    collector: &Arc<Collector>,
    tenant: &str,
    who: &str,
    shown: &Checkpoint,
) -> Result<Option<String>, String> {
    // What is here is looked at after what was shown: it can only have grown.
    let here = collector.signed(tenant).map_err(|error| error.to_string())?.checkpoint;
    if shown.size() > here.size() {
        return Ok(Some(words(who, shown, &here)));
    }
    let (collector, tenant, size) = (collector.clone(), tenant.to_owned(), shown.size());
    let proof = tokio::task::spawn_blocking(move || collector.prove_growth(&tenant, size)).await;
    let proof = proof.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok((proof.old_root != shown.root()).then(|| words(who, shown, &here)))
}

/// What was shown, and how that differs from what is here.
pub(crate) fn words(who: &str, shown: &Checkpoint, here: &Checkpoint) -> String {
    let what = if shown.size() > here.size() { "more" } else { "another history" };
    format!(
        "{who} has {what} of ledger {}: {} entries that this ledger's key signed, and {} are here",
        here.origin(),
        shown.size(),
        here.size()
    )
}
