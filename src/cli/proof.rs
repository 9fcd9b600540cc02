//! What `indelible proof` takes.

use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible proof req-42 > req-42.tlog-proof             its entry, and the way from there to the signed root
  indelible proof --grew-from yesterday.note             is everything that was signed then still there?
  indelible proof --check req-42.tlog-proof --policy auditor.policy
  indelible key policy > auditor.policy                  what auditors are given beforehand

A proof is a C2SP tlog-proof; other tools for transparency logs read it. It has the entry, not the payload.

Exit codes: 0 shown · 1 not shown, no such record · 2 usage, unreadable · 3 ambiguous")]
pub(crate) struct Proof {
    /// Event id, or request id, of the record
    #[arg(required_unless_present_any = ["grew_from", "check"])]
    pub(crate) id: Option<String>,
    /// Shows that the ledger begins with what this signed checkpoint covers
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    pub(crate) grew_from: Option<PathBuf>,
    /// Checks a proof, offline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "grew_from"])]
    pub(crate) check: Option<PathBuf>,
    /// Whom to trust: C2SP tlog-policy. Without it --check checks the proof alone, and --grew-from goes by the key directory
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    pub(crate) policy: Option<PathBuf>,
}
