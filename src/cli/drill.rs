//! What `indelible drill` takes.

use clap::Args;
use indelible_collector::drill::{Month, SEED_MAX};

#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible drill                                        a record of last month, picked at random
  indelible drill --month 2026-03 --purpose 'quarterly drill'
  indelible drill --month 2026-03 --seed 4711            the same record again

The drill does what an auditor's question would ask for: it picks an inference, finds it by its id, decrypts what was
said, proves that it is in the signed tree, and checks hash, proof, signature, commitments and chain. Each step is
timed. Look and outcome are entries of the operations ledger. docs/drill.md says more.

Exit codes: 0 passed · 1 failed, and which check · 2 could not tell (no inference in that month, unreadable)")]
pub(crate) struct Drill {
    /// The month to pick from [default: the previous one, or that of the newest inference]
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) month: Option<Month>,
    /// What the pick is drawn from: the same seed picks the same record of a month [default: a random one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=SEED_MAX))]
    pub(crate) seed: Option<u64>,
}
