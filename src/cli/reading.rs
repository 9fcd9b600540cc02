//! The command line of what reads sessions and runs, and of what takes records away.

use clap::{Args, ValueEnum};
use std::num::NonZeroU64;
use std::path::PathBuf;

/// How a transcript is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowFormat {
    /// For a terminal
    Text,
    /// For programs
    Json,
    /// One file without scripts, for a browser
    Html,
}

#[derive(Args)]
#[command(after_help = "\
Histories repeat in each request of a session; a turn shows only what no earlier one had. Streamed answers are put
together to what the client had in the end.

Examples:
  indelible conversation session-17
  indelible conversation session-17 --format html > session-17.html
  indelible conversation session-17 --purpose 'ticket 4711' --json")]
pub(crate) struct Conversation {
    /// The session's id, as the application sent it
    pub(crate) session: String,
    /// How it is shown [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<ShowFormat>,
}

#[derive(Args)]
#[command(after_help = "\
Of a record without a trace, its session is the run.

Examples:
  indelible trace 0af7651916cd43dd8448eb211c80319c
  indelible trace 019ab2c3-1111-7abc-8def-0123456789ab      the run that this event belongs to
  indelible trace req-42 --format html > run.html")]
pub(crate) struct Trace {
    /// Trace id, or the event or request id of a record of the run
    pub(crate) id: String,
    /// How it is shown [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<ShowFormat>,
}

/// Which records. Absent means any.
#[derive(Args, Clone, Default)]
pub(crate) struct Filters {
    /// Only this type of event, such as llm_request
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// Only this model, asked for or returned
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Only this user, as the application names them
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only this session
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// Only this trace
    #[arg(long, value_name = "ID")]
    pub(crate) trace: Option<String>,
    /// Only requests with this API key, by its id: k:…
    #[arg(long, value_name = "ID")]
    pub(crate) api_key: Option<String>,
    /// Only what was done with this, such as looks at record/req-42
    #[arg(long, value_name = "TYPE/ID")]
    pub(crate) resource: Option<String>,
    /// Not before: RFC 3339, or a date
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before: RFC 3339, or a date
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

impl Filters {
    /// Each by its name in the collector's interface.
    pub(crate) fn named(&self) -> [(&'static str, &Option<String>); 9] {
        [
            ("type", &self.event_type),
            ("model", &self.model),
            ("user", &self.user),
            ("session", &self.session),
            ("trace", &self.trace),
            ("api_key", &self.api_key),
            ("resource", &self.resource),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }
}

#[derive(Args)]
#[command(after_help = "\
Files are written in parts. After a crash the same command goes on behind the last whole part; in a directory
with another selection it is refused. What is exported, by whom and why is recorded.

Examples:
  indelible export -o november --since 2026-11-01 --until 2026-12-01
  indelible export -o ticket-4711 --user jane@example.com --payload --purpose 'ticket 4711'
  indelible export -o columns --format parquet --tenant default
  indelible export -o evals --format chat --model llama-3-8b-instruct

Payloads are decrypted: files are readable by you alone, and erasing a person does not reach them.")]
pub(crate) struct Export {
    /// Directory for the files; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// What the files are
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// With what was said, decrypted
    #[arg(long)]
    pub(crate) payload: bool,
    /// Records in a file at most
    #[arg(long, value_name = "N", default_value = "100000")]
    pub(crate) part_records: NonZeroU64,
}

/// What files an export makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Entries, exact, one a line; with --payload, entry and payload
    Jsonl,
    /// The columns of entries, as in segments
    Parquet,
    /// Conversations in OpenAI's form with their answers, for evaluation
    Chat,
}

impl ExportFormat {
    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Chat => "chat",
        }
    }
}
