//! What `indelible key successor` takes.

use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "\
A collector that finds fewer records than its key has signed sequences nothing (exit code 4). First look for the newest
copy of the data directory, and put that in place. Only where none is left: what remains stays as it is, as evidence, and
new ledgers in new directories go on. Their first entry states which ledger went before, and its newest known checkpoint.

Look for checkpoints at all places outside before: witnesses, anchors, timestamps, auditors. Of ledgers that none is named
of, the newest signed one in the old directories counts. What was recorded behind it cannot be missed later.

Examples:
  indelible key successor --data ./old --after default.note --after operations.note --to ./new
  curl https://witness.example/HASH/checkpoint > default.note       HASH: SHA-256 of the ledger's origin, hex
  indelible key successor --data ./old --to ./new                   what the old directory has is the newest there is
  indelible key successor --data ./old --to ./new --old-key-compromised

Then name the new directories in the collector's configuration and start it; gateways go on as they are. Auditors and
witnesses need the new policy: indelible key policy.

Exit codes: 0 done · 2 usage, or a checkpoint that cannot be gone on from; nothing was made")]
pub(crate) struct Successor {
    /// The new data directory; it must not be there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// The new key directory; it must not be there yet [default: DIR.keys beside the new data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) to_keys: Option<PathBuf>,
    /// A checkpoint of one of the old ledgers, signed by its key; may be repeated
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) after: Vec<PathBuf>,
    /// A tenant whose old ledger has left no checkpoint anywhere: stated as of no known entries. One that has left no key either
    /// gets a ledger that states nothing, once something is recorded for it. May be repeated
    #[arg(long, value_name = "TENANT")]
    pub(crate) unknown: Vec<String>,
    /// Nothing is left of the old data directory: what the keys and --after say is all that is known
    #[arg(long)]
    pub(crate) data_lost: bool,
    /// Let the old keys sign nothing any more: others may have them
    #[arg(long)]
    pub(crate) old_key_compromised: bool,
}
