//! Manifests that came from the bucket are held against the operations ledger, which has the hash of each.

use super::Tiered;
use crate::CollectorError;
use crate::parts::Parts;
use crate::store::View;
use indelible_record::Entry;
use indelible_record::entry::event_type;
use indelible_segment::ids;
use indelible_spool::wal::{Record, Ref};
use indelible_vault::Vault;
use indelible_verify::directory::OPERATIONS;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Looks the manifests up that were fetched at this start. One that is not the ledger's is an error; what cannot be
/// read now is looked up at the next start.
pub(crate) fn prove(tiered: &Tiered, view: &Arc<View>, vault: &Mutex<Vault>) -> Result<(), CollectorError> {
    // Of those that are here, too, what is here counts; the bucket's is compared with it before it may be the only one.
    let mut unproven = tiered.unproven();
    unproven.retain(|(path, _)| !tiered.is_local(path));
    if unproven.is_empty() {
        return Ok(());
    }
    let ids: BTreeMap<&str, &str> =
        view.all_segments().map(|segment| (segment.path(), segment.manifest().segment.as_str())).collect();
    let hashes: Vec<u64> = unproven
        .iter()
        .filter_map(|(path, _)| ids.get(path.as_str()))
        .map(|id| ids::resource_hash("segment", id))
        .collect();
    let entered = match entered(view, vault, &hashes) {
        Ok(entered) => entered,
        Err(error) => {
            tracing::warn!(%error, "manifests of the bucket cannot be held against the ledger: tried again at the next start");
            return Ok(());
        }
    };
    for (path, segment) in &unproven {
        let Some(id) = ids.get(path.as_str()) else { continue };
        if entered.get(*id) != Some(&segment.hash().to_string()) {
            return Err(CollectorError::Refused(format!(
                "segment {path}: the manifest in {} is not the one that the operations ledger has",
                tiered.bucket()
            )));
        }
        tiered.set_proven(path, segment);
    }
    Ok(())
}

/// Hashes of manifests that were entered, by segment.
fn entered(
    view: &Arc<View>,
    vault: &Mutex<Vault>,
    hashes: &[u64],
) -> Result<BTreeMap<String, String>, CollectorError> {
    let mut entered = BTreeMap::new();
    let mut note = |bytes: &[u8]| {
        let Ok(entry) = serde_json::from_slice::<Entry>(bytes) else { return };
        let (Some(segment), Some(detail)) = (entry.resource, entry.detail) else { return };
        if let Some(manifest) = detail.get("manifest").and_then(serde_json::Value::as_str)
            && entry.event_type == event_type::SEGMENT_SEALED
        {
            entered.insert(segment.id, manifest.to_owned());
        }
    };
    for segment in view.segments(OPERATIONS) {
        for row in segment.rows_with(hashes)? {
            note(&segment.entry(row)?);
        }
    }
    let mut log = Parts::new(view.clone(), vault);
    for file in view.files() {
        for found in file.entries_with(hashes, Some(OPERATIONS), |_| 0) {
            let at = Ref { file_no: file.number(), offset: found.offset.into() };
            if let Some(Record::Entry { entry, .. }) = log.record(at)? {
                note(entry);
            }
        }
    }
    Ok(entered)
}
