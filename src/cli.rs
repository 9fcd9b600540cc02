//! The command line: names, help and examples. No logic.

#[cfg(feature = "collector")]
mod anchor;
#[cfg(feature = "collector")]
mod drill;
#[cfg(feature = "collector")]
mod evidence;
#[cfg(feature = "collector")]
mod proof;
#[cfg(feature = "collector")]
mod reading;
#[cfg(feature = "collector")]
mod successor;
#[cfg(feature = "collector")]
mod witness;

#[cfg(feature = "collector")]
pub(crate) use anchor::Anchor;
#[cfg(feature = "collector")]
pub(crate) use drill::{Drill, DrillCommand, Tamper};
#[cfg(feature = "collector")]
pub(crate) use evidence::Evidence;
#[cfg(feature = "collector")]
pub(crate) use proof::Proof;
#[cfg(feature = "collector")]
pub(crate) use reading::{Conversation, Export, ExportFormat, Filters, ShowFormat, Trace};
#[cfg(feature = "collector")]
pub(crate) use successor::Successor;
#[cfg(feature = "collector")]
pub(crate) use witness::Witness;

use crate::failure::{Failure, Outcome};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
#[cfg(all(feature = "gateway", feature = "collector"))]
use std::net::SocketAddr;
use std::path::PathBuf;

/// The audit trail for AI inference: every prompt and answer recorded whole, tamper-evident, provable.
#[derive(Parser)]
#[command(
    name = "indelible",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  indelible demo                                   a first look, nothing to configure
  indelible up --upstream http://127.0.0.1:8000    record your own model server
  OPENAI_BASE_URL=http://127.0.0.1:8089/v1 …       and point clients at it
  indelible list                                   what was recorded, newest first
  indelible show ID                                one record, prompt and answer included
  indelible query 'SELECT model, count(*) FROM inferences GROUP BY model'
  indelible search --list                          questions that auditors and operators ask
  indelible conversation SESSION                   a session, turn by turn, to read
  indelible trace ID                               an agent run: calls, tools, results
  indelible export -o DIR                          records as files, to take away
  indelible verify                                 is it all as it was written?
  indelible drill                                  could we answer an auditor, and how fast?

Exit codes: 0 done · 1 no (unknown, broken) · 2 usage, unreadable, could not tell · 3 ambiguous ·
            4 the ledger is not what was signed · 5 storage failed while running · 6 a query went past a limit"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What means the same wherever it stands.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// Data directory
    #[arg(long, global = true, value_name = "DIR", env = "INDELIBLE_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Key directory [default: DIR.keys beside the data directory]
    #[arg(long, global = true, value_name = "DIR", env = "INDELIBLE_KEYS")]
    pub(crate) keys: Option<PathBuf>,
    /// Configuration file [default: indelible.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE", env = "INDELIBLE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Only this tenant
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) tenant: Option<String>,
    /// Output for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How logs are written to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto, env = "INDELIBLE_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Why records are looked at; recorded with the look
    #[arg(long, global = true, value_name = "TEXT", default_value = "local operator")]
    pub(crate) purpose: String,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// As text on a terminal, as JSON elsewhere
    Auto,
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Common {
    /// The data directory.
    #[cfg(feature = "collector")]
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| PathBuf::from("./indelible-data"))
    }

    /// The key directory.
    #[cfg(feature = "collector")]
    pub(crate) fn keys(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| indelible_collector::data_dir::default_keys(&self.data()))
    }

    /// The key directory.
    #[cfg(not(feature = "collector"))]
    pub(crate) fn keys(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| PathBuf::from("./indelible-data.keys"))
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Try it: gateway, collector and a stand-in model server, sample traffic, then verify and show
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Gateway and collector in one process
    #[cfg(all(feature = "gateway", feature = "collector"))]
    Up(Up),
    /// The gateway: stands before a model server and records what passes
    #[cfg(feature = "gateway")]
    Gateway(Serve),
    /// The collector: keeps the ledger, on a machine that the model server cannot write to
    #[cfg(feature = "collector")]
    Collector(Serve),
    /// Records, newest first
    #[cfg(feature = "collector")]
    List(List),
    /// A record with its prompt and answer, by event id or request id
    #[cfg(feature = "collector")]
    Show(Show),
    /// Ask with SQL: one query over the table events
    #[cfg(feature = "collector")]
    Query(Query),
    /// Ask a question that is ready-made
    #[cfg(feature = "collector")]
    Search(Search),
    /// The turns of a session in order, each with what is new in it
    #[cfg(feature = "collector")]
    Conversation(Conversation),
    /// An agent run as a tree: calls of the model, tools that it called, results that came back
    #[cfg(feature = "collector")]
    Trace(Trace),
    /// Records as files: entries, payloads, or conversations for evaluation
    #[cfg(feature = "collector")]
    Export(Export),
    /// Recompute every leaf, the chain, the tree and every signature of a data directory
    #[cfg(feature = "collector")]
    Verify(Verify),
    /// Records with what was said and what shows both to be what was recorded, in one file, for an auditor
    #[cfg(feature = "collector")]
    Evidence(Evidence),
    /// Prove that a record is in the ledger, and that the ledger only grew
    #[cfg(feature = "collector")]
    Proof(Proof),
    /// Take the ledgers' checkpoints to places outside: timestamp authorities, syslog, directories
    #[cfg(feature = "collector")]
    Anchor(Anchor),
    /// Answer an auditor's question that nobody asked: a past record, picked at random, rebuilt, proven and checked
    #[cfg(feature = "collector")]
    Drill(Drill),
    /// Cosign the checkpoints of other people's ledgers, as long as they only grow
    #[cfg(feature = "collector")]
    Witness(Witness),
    /// Make segments of what is recorded, now rather than when it is due
    ///
    /// Sealing happens by itself: after an hour, by size, at the end of a day. This is for backups and tests.
    #[cfg(feature = "collector")]
    Seal,
    /// What is wrong with a data directory and what can be done about it
    ///
    /// Names what `verify` finds, and what of the keys stands in the way of a start: head, signing keys, vault and master
    /// key. With --repair makes again what is made of other files: indexes of segments on this machine. Exit code 0:
    /// nothing is wrong, or all of it was repaired; 1: something is; 2: could not tell.
    #[cfg(feature = "collector")]
    Doctor(Doctor),
    /// What a call costs, by which rule, and how that comes about
    #[cfg(feature = "collector")]
    Price(Price),
    /// Keys and certificates; the gateway's API keys
    Key(Key),
    /// Print the configuration reference: every key with its default
    Config,
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
}

#[cfg(feature = "demo")]
#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible demo              300 requests, verify, show one record, done
  indelible demo --stay       the same, then keep serving until Ctrl-C")]
pub(crate) struct Demo {
    /// Keep running afterwards
    #[arg(long)]
    pub(crate) stay: bool,
    /// How many requests to send
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) requests: u32,
}

#[cfg(all(feature = "gateway", feature = "collector"))]
#[derive(Args)]
#[command(after_help = "\
Example:
  indelible up --upstream http://127.0.0.1:8000
  OPENAI_BASE_URL=http://127.0.0.1:8089/v1 python app.py")]
pub(crate) struct Up {
    /// The model server: http://HOST:PORT, with a path if it has one
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: String,
    /// Where clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8089")]
    pub(crate) listen: SocketAddr,
    /// Where the collector's interface listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub(crate) api_listen: SocketAddr,
    /// How long an answer may be held for its record
    #[arg(long, value_enum, default_value_t = ModeArg::Durable)]
    pub(crate) mode: ModeArg,
    /// What happens when the spool cannot take a record
    #[arg(long, value_enum, default_value_t = FailArg::Spool)]
    pub(crate) fail: FailArg,
    /// Listen off loopback without TLS: anyone on the network can then read what passes
    #[arg(long)]
    pub(crate) insecure_listen: bool,
}

/// How long an answer may be held for its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModeArg {
    /// Until the record is on this machine's disk
    Durable,
    /// Until the collector has it on its disk
    Receipt,
    /// Not at all
    Relaxed,
}

/// What happens when the spool cannot take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailArg {
    /// Refuse once the collector has been away for a minute, or the spool is full
    Closed,
    /// Spool while there is room, then refuse
    Spool,
    /// Serve all the same, and record the gap
    Open,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  indelible key init --name collector.example --keys ./collector.keys
  indelible collector --config indelible.toml      on the collector's machine
  indelible gateway --config indelible.toml        beside the model server

`indelible config` prints every key of the file.")]
pub(crate) struct Serve {
    /// Listen off loopback without TLS: anyone on the network can then read what passes
    #[arg(long)]
    pub(crate) insecure_listen: bool,
}

#[cfg(feature = "collector")]
#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible list --since 2026-11-01 --model llama-3-8b-instruct
  indelible list --user jane@example.com --limit 5
  indelible list --api-key k:9bc709520f75b4adb70d04788657524e    what a key was used for
  indelible list --resource record/req-42                        who looked at a record
  indelible list --entries --tenant default > entries.jsonl      for indelible-verify")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// The exact bytes of all entries of a ledger, oldest first, one a line
    #[arg(long, conflicts_with_all = ["Filters", "limit"])]
    pub(crate) entries: bool,
}

#[cfg(feature = "collector")]
#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible show 019ab2c3-1111-7abc-8def-0123456789ab
  indelible show req-42 --json
  indelible show req-42 --format text              the conversation in it, to read
  indelible show req-42 --format html > req-42.html
  indelible show req-42 --raw response > answer.json

The event id stands in the response header x-indelible-event-id.")]
pub(crate) struct Show {
    /// Event id, or request id
    pub(crate) id: String,
    /// Exactly the bytes that passed, nothing else
    #[arg(long, value_enum, value_name = "SIDE", conflicts_with = "format")]
    pub(crate) raw: Option<Side>,
    /// The conversation in it, whichever API it was: messages, tools, answers
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<ShowFormat>,
}

/// One side of an exchange.
#[cfg(feature = "collector")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// What the client sent
    Request,
    /// What the client was sent
    Response,
}

#[cfg(feature = "collector")]
#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible query 'SELECT model, p95(latency_ms), error_rate(status) FROM inferences GROUP BY model'
  indelible query \"SELECT * FROM inferences WHERE subject_ref = subject('jane@example.com')\" --format jsonl
  indelible query 'SELECT count(*) FROM events WHERE model = $m' --param m=llama-3-8b-instruct
  indelible query 'SELECT * FROM costs' --format parquet > costs.parquet
  indelible query 'DESCRIBE events'
  indelible query - < report.sql

docs/query.md has columns, views, functions and limits.

Exit codes: 0 done · 2 the query is wrong, or cannot be answered here · 6 it went past a limit")]
pub(crate) struct Query {
    /// The query; - reads it from stdin
    pub(crate) sql: String,
    /// Text for $name in the query; may be repeated
    #[arg(long, value_name = "NAME=TEXT")]
    pub(crate) param: Vec<String>,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

#[cfg(feature = "collector")]
#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible search --list
  indelible search --show errors-by-model
  indelible search errors-by-model --param since=-7d
  indelible search records-of-user --param user=jane@example.com --format csv > jane.csv
  indelible search unpriced-models --searches ./our-searches

A search is a file of SQL under a header: docs/searches.md has the form, and which questions of auditors
which search answers. One of yours goes before one of ours that has its name.

Exit codes: 0 done · 1 no such search · 2 usage, or cannot be answered here · 6 it went past a limit")]
pub(crate) struct Search {
    /// Its name
    #[arg(required_unless_present_any = ["list", "show"])]
    pub(crate) name: Option<String>,
    /// A value for a parameter; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
    /// What searches there are
    #[arg(long, conflicts_with_all = ["name", "show"])]
    pub(crate) list: bool,
    /// What a search answers, with which parameters and which SQL
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub(crate) show: Option<String>,
    /// A directory with searches of your own, *.sql
    #[arg(long, value_name = "DIR", env = "INDELIBLE_SEARCHES")]
    pub(crate) searches: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// How an answer is wanted.
#[cfg(feature = "collector")]
#[derive(Args)]
pub(crate) struct AnswerArgs {
    /// How it is written [default: table; with --json: json]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatArg>,
    /// Stop after so many rows [default: 1000 for a table, else none]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Give up after so many seconds; a running collector has a limit of its own
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) timeout: u32,
}

/// How an answer is written.
#[cfg(feature = "collector")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// For people
    Table,
    /// One object: {"rows":[…]}
    Json,
    /// One object a line
    Jsonl,
    /// RFC 4180, with a header
    Csv,
    /// Apache Parquet
    Parquet,
}

#[cfg(feature = "collector")]
#[derive(Args, Default)]
#[command(after_help = "\
Reads files alone: it takes no lock, writes nothing but the file of --resume, and may run beside a collector.

Examples:
  indelible verify
  indelible verify --data /srv/audit --keys /mnt/auditor/keys --json
  indelible verify --checkpoint yesterday.note      is what was signed then still there?
  indelible verify --predecessor ./old              do ledgers that go on from others deny nothing of them?
  indelible verify --resume /mnt/auditor/journal    for hours of it: may be broken off, and goes on

Exit codes: 0 holds · 1 broken, and where · 2 could not tell")]
pub(crate) struct Verify {
    /// A ledger's public key, instead of the key directory's; may be repeated
    #[arg(long, value_name = "TENANT=VKEY")]
    pub(crate) key: Vec<String>,
    /// A signed checkpoint that the ledger must still contain; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Vec<PathBuf>,
    /// The data directory whose ledgers these go on from, its keys in DIR.keys beside it; may be repeated. With --checkpoint
    /// also for theirs
    #[arg(long, value_name = "DIR")]
    pub(crate) predecessor: Vec<PathBuf>,
    /// Read the segments in the bucket of the configuration, too
    #[arg(long)]
    pub(crate) store: bool,
    /// Write down here which segments were read, and go on behind those if the last run was broken off; removed at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
}

#[cfg(feature = "collector")]
#[derive(Args)]
#[command(after_help = "\
Prices are those of the configuration file, if there is one, before those of this release.

Examples:
  indelible price gpt-4o --provider openai                          the rule, and its prices
  indelible price gpt-4o --provider openai --input 1000 --cached 800 --output 50
  indelible price o3 --provider openai --input 1000 --at 2025-06-01   what it cost then
  indelible price llama-3-70b --route gpu --latency-ms 1234 --config indelible.toml
  indelible price claude-sonnet-4-5 --provider anthropic --usage '{\"input_tokens\":10,…}'
  indelible price --list                                            the table, its hash, its providers
  indelible price --list --provider openai                          its models, and their prices today

Exit codes: 0 done · 1 no rule, or no cost by it · 2 usage or configuration")]
pub(crate) struct Price {
    /// The model's name, as the call had it
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    pub(crate) model: Option<String>,
    /// Who serves the model, as the route says
    #[arg(long, value_name = "P")]
    pub(crate) provider: Option<String>,
    /// The route's name
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
    /// When: RFC 3339, or a date [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Tokens in, cached ones included
    #[arg(long, value_name = "N")]
    pub(crate) input: Option<u64>,
    /// Tokens out
    #[arg(long, value_name = "N")]
    pub(crate) output: Option<u64>,
    /// Of the tokens in, those read from a cache
    #[arg(long, value_name = "N")]
    pub(crate) cached: Option<u64>,
    /// Of the tokens out, those spent on reasoning
    #[arg(long, value_name = "N")]
    pub(crate) reasoning: Option<u64>,
    /// Anything else that was counted, as in an entry's detail.usage; may be repeated
    #[arg(long, value_name = "UNIT=N")]
    pub(crate) count: Vec<String>,
    /// The usage object, as the model server sent it
    #[arg(long, value_name = "JSON")]
    pub(crate) usage: Option<String>,
    /// The tier of service: flex, priority
    #[arg(long, value_name = "TIER")]
    pub(crate) service_tier: Option<String>,
    /// How long the call took, for prices by time
    #[arg(long, value_name = "MS")]
    pub(crate) latency_ms: Option<u64>,
    /// What there are prices for; with --provider, the models
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Args)]
pub(crate) struct Doctor {
    /// Make again what can be made of other files
    #[arg(long)]
    pub(crate) repair: bool,
    /// Read the segments in the bucket of the configuration, too
    #[arg(long)]
    pub(crate) store: bool,
}

#[derive(Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a development CA, certificates for collector and gateway, and the collector's keys
    #[cfg(feature = "collector")]
    #[command(after_help = "\
Example:
  indelible key init --name collector.example --name 192.0.2.7 --source gateway-1

Everything goes into the key directory. What the gateway's machine needs, and nothing else, is put
into its folder gateway-1/: copy that folder there over a channel you trust, and delete it here.")]
    Init {
        /// Host names and addresses that sources reach the collector by
        #[arg(long, value_name = "HOST", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned()])]
        name: Vec<String>,
        /// The source's id
        #[arg(long, value_name = "ID", default_value = "gateway-1")]
        source: String,
    },
    /// Print the public keys of all ledgers
    Show,
    /// Print the policy that auditors are given beforehand: whose signatures they trust (C2SP tlog-policy)
    #[command(after_help = "\
Examples:
  indelible key policy > auditor.policy
  indelible key policy --tenant acme

Hand it over on a way that the collector's host has no part in. A verifier trusts nothing else.")]
    Policy,
    /// Let a new key sign a ledger from here on
    #[cfg(feature = "collector")]
    #[command(after_help = "\
Examples:
  indelible key rotate                    every ledger, that of operations too
  indelible key rotate --tenant acme

An entry that the old and the new key signed says so, and the first checkpoint behind it is signed by both.
Then the old key is destroyed. Auditors and witnesses need the new policy: indelible key policy.")]
    Rotate,
    /// Begin ledgers that go on where others were lost, in new directories: the last resort
    #[cfg(feature = "collector")]
    Successor(Successor),
    /// Make an API key of the gateway, and print it this once
    #[cfg(feature = "gateway")]
    Create(CreateKey),
    /// The gateway's API keys: who has them, what they may do, whether they still may
    #[cfg(feature = "gateway")]
    #[command(after_help = "\
Examples:
  indelible key list --config indelible.toml
  indelible key list --json | jq '.keys[] | select(.state == \"active\")'

The id is what entries name as api_key_id. No key can be printed again.")]
    List,
    /// Take an API key of the gateway back
    #[cfg(feature = "gateway")]
    #[command(after_help = "\
Examples:
  indelible key revoke k:9bc709520f75b4adb70d04788657524e
  indelible key revoke 9bc709                          its beginning, where that is unambiguous
  indelible key revoke idk_…                           the key itself, when it was found somewhere

Exit codes: 0 done · 1 there is no such key · 2 usage, unreadable · 3 ambiguous")]
    Revoke {
        /// The key's id, the beginning of it, or the key itself
        id: String,
    },
}

#[cfg(feature = "gateway")]
#[derive(Args)]
#[command(after_help = "\
Examples:
  indelible key create --note \"ticket 4711\"
  indelible key create --user jane --tenant acme --route llama --requests-per-minute 60 --expires 90d
  KEY=$(indelible key create --config indelible.toml)
  curl http://127.0.0.1:8089/v1/models -H \"Authorization: Bearer $KEY\"

The configuration's gateway.api_keys names the file, which holds no key, only a keyed hash of each. With --tenant
the key's requests are recorded in that tenant's ledger, whatever the route; the collector must know it.")]
pub(crate) struct CreateKey {
    /// Who uses it, as records shall name them; goes before what requests say
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    /// A route that it may use; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Vec<String>,
    /// Most requests a minute, at each gateway
    #[arg(long, value_name = "N")]
    pub(crate) requests_per_minute: Option<std::num::NonZeroU32>,
    /// Most requests at once, at each gateway
    #[arg(long, value_name = "N")]
    pub(crate) concurrent_requests: Option<std::num::NonZeroU32>,
    /// From when on it is refused: a date, a moment as RFC 3339 has it, 90d or 12h
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

/// Prints the man page, subcommands included.
pub(crate) fn print_man_page() -> Outcome {
    let mut out = Vec::new();
    let command = Cli::command();
    render_man_page(&command, &mut out)?;
    use std::io::Write as _;
    std::io::stdout().write_all(&out).map_err(Failure::new)?;
    Ok(0)
}

/// A command and all below it: `indelible`, `indelible-key`, `indelible-key-create`, …
fn render_man_page(command: &clap::Command, out: &mut Vec<u8>) -> Result<(), Failure> {
    clap_mangen::Man::new(command.clone()).render(out).map_err(Failure::new)?;
    for subcommand in command.get_subcommands() {
        let name = format!("{}-{}", command.get_name(), subcommand.get_name());
        render_man_page(&subcommand.clone().name(name), out)?;
    }
    Ok(())
}
