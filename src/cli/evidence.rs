//! What `indelible evidence` takes.

use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible evidence req-42 -o complaint-4711.zip --purpose 'complaint 4711'
  indelible evidence --range 1200..1400 -o march.zip           all of them: nothing between is left out
  indelible evidence --query \"SELECT event_id FROM events WHERE model = 'm-1'\" -o m-1.zip
  indelible evidence req-42 --withhold -o without-what-was-said.zip
  indelible-verify complaint-4711.zip --policy auditor.policy

A bundle has the records, what was said, and what shows both to be what was recorded; it is checked offline, by
indelible-verify, by the page and the script in it, or by hand. docs/formats/evidence.md is the format.

Exit codes: 0 made · 1 no such record · 2 usage, cannot be made · 6 too many records for one bundle")]
pub(crate) struct Evidence {
    /// Records, by event id or request id
    #[arg(required_unless_present_any = ["range", "query"])]
    pub(crate) id: Vec<String>,
    /// All entries from number FROM up to TO, without it
    #[arg(long, value_name = "FROM..TO", conflicts_with_all = ["id", "query"])]
    pub(crate) range: Option<String>,
    /// The records whose event_id this query finds
    #[arg(long, value_name = "SQL", conflicts_with = "id")]
    pub(crate) query: Option<String>,
    /// The file to make
    #[arg(short, long, value_name = "FILE.zip")]
    pub(crate) output: PathBuf,
    /// Without what was said: the records alone
    #[arg(long)]
    pub(crate) withhold: bool,
    /// Replace the file if it is there
    #[arg(long)]
    pub(crate) force: bool,
}
