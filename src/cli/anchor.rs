//! What `indelible anchor` takes.

use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible anchor --config indelible.toml              each ledger's checkpoint to each configured place, now
  indelible anchor --list                               what was taken where, newest first
  indelible anchor --save ./anchors                     the notes and timestamps as files, and then:
  openssl ts -verify -data 17.note -in 17.tsr -untrusted 17.pem -CAfile authority.pem

A running collector anchors by itself, each place as often as its interval_s says. Each anchor taken is an entry of the
operations ledger. docs/anchors.md has the kinds. A timestamp's signature and certificates are not verified here:
openssl ts -verify does that.

Exit codes: 0 done · 1 a place was not reached · 2 usage, nothing configured")]
pub(crate) struct Anchor {
    /// Anchors that were taken
    #[arg(long, conflicts_with = "save")]
    pub(crate) list: bool,
    /// Writes the notes of anchors that were taken, and what came back, as files
    #[arg(long, value_name = "DIR")]
    pub(crate) save: Option<PathBuf>,
}
