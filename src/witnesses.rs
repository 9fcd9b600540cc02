//! The witnesses that the configuration names.

use crate::config::CollectorSection;
use crate::failure::Failure;
use indelible_anchor::http::Caller;
use indelible_anchor::witnesses::Witnesses;
use indelible_ledger::Policy;
use indelible_ledger::policy::POLICY_MAX_BYTES;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

/// The witnesses of a section, if it names a policy.
pub(crate) fn configured(section: &CollectorSection) -> Result<Option<Witnesses>, Failure> {
    let Some(path) = &section.witness_policy else { return Ok(None) };
    let policy = policy(path)?;
    if policy.witnesses().iter().all(|witness| witness.url.is_none()) {
        return Err(Failure::new(format!("{}: no witness has an address", path.display()))
            .hint("a line such as: witness NAME VKEY https://witness.example"));
    }
    let caller = Caller::new(section.witness_ca.as_deref()).map_err(Failure::new)?;
    let interval = Duration::from_secs(section.witness_interval_s.max(1));
    Ok(Some(Witnesses::new(policy, interval, caller)))
}

/// Reads a policy.
pub(crate) fn policy(path: &Path) -> Result<Policy, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::new(format!("{}: {error}", path.display())).hint("c2sp.org/tlog-policy has the form")
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(POLICY_MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unusable(&error))?;
    Policy::parse(&bytes).map_err(|error| unusable(&error))
}
