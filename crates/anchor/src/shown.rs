//! What a party outside shows of a ledger, held against the ledger as it runs here.
//!
//! Only what the ledger's own key signed is held against it: the caller has opened it with that key.

use indelible_collector::Collector;
use indelible_collector::claim::Claim;
use std::sync::Arc;

/// What somebody shows that is not in the ledger: more, or another history. `None`: it is in it.
///
/// # Errors
/// Words on why that cannot be told.
pub(crate) async fn against(collector: &Arc<Collector>, claim: &Claim) -> Result<Option<String>, String> {
    // What is here is looked at after what was shown: it can only have grown.
    let here = collector.signed(&claim.tenant).map_err(|error| error.to_string())?.checkpoint.size();
    let shown = &claim.checkpoint;
    if shown.size() > here {
        return Ok(Some(claim.words(here)));
    }
    let (collector, tenant, size) = (collector.clone(), claim.tenant.clone(), shown.size());
    let proof = tokio::task::spawn_blocking(move || collector.prove_growth(&tenant, size)).await;
    let proof = proof.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok((proof.old_root != shown.root()).then(|| claim.words(here)))
}
