//! What `indelible drill` takes.

use clap::{Args, Subcommand};
use indelible_collector::drill::{Month, SEED_MAX};
use indelible_drill::Cheat;
use std::path::PathBuf;

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  indelible drill                                        a record of last month, picked at random
  indelible drill --month 2026-03 --purpose 'quarterly drill'
  indelible drill --month 2026-03 --seed 4711            the same record again
  indelible drill tamper                                 cheats on a copy, and what catches them

The drill does what an auditor's question would ask for: it picks an inference, finds it by its id, decrypts what was
said, proves that it is in the signed tree, and checks hash, proof, signature, commitments and chain. Each step is
timed. Look and outcome are entries of the operations ledger. docs/drill.md says more.

Exit codes: 0 passed · 1 failed, and which check · 2 could not tell (no inference in that month, unreadable)"
)]
pub(crate) struct Drill {
    #[command(subcommand)]
    pub(crate) command: Option<DrillCommand>,
    /// The month to pick from [default: the previous one, or that of the newest inference]
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) month: Option<Month>,
    /// What the pick is drawn from: the same seed picks the same record of a month [default: a random one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=SEED_MAX))]
    pub(crate) seed: Option<u64>,
}

#[derive(Subcommand)]
pub(crate) enum DrillCommand {
    /// Commit every kind of cheat on a copy of records and keys, and say which check catches it
    Tamper(Tamper),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible drill tamper                          all cheats, on a copy that is removed afterwards
  indelible drill tamper --only fork --only rollback
  indelible drill tamper --no-outside             what would go unnoticed if nobody outside kept anything?
  indelible drill tamper --temp /mnt/scratch      where there is room: about twice the records are needed

Cheats: edit, delete, reorder, insert, truncate, rollback, fork, new-key, backdate, swap-payloads, replay, forge-proof.
Most are done twice: by somebody who may write the files, and by somebody who has the keys as well. The original is
only read, and may be in use. The copy has all keys: it is in a directory that only its owner can open.
docs/drill.md says what each cheat shows, and what it cannot.

Exit codes: 0 each was caught · 1 one was not, and which · 2 could not tell")]
pub(crate) struct Tamper {
    /// Only this cheat; may be repeated
    #[arg(long, value_name = "CHEAT")]
    pub(crate) only: Vec<Cheat>,
    /// Where to cheat is drawn from it [default: a random one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=SEED_MAX))]
    pub(crate) seed: Option<u64>,
    /// As if nobody outside had kept a checkpoint, cosigned one, or been given the public key
    #[arg(long)]
    pub(crate) no_outside: bool,
    /// Where the copy is made [default: the system's place for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) temp: Option<PathBuf>,
    /// Keep the copy, as it was before the cheats, and what the last one made
    #[arg(long)]
    pub(crate) keep: bool,
}
