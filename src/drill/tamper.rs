//! `indelible drill tamper`: cheats on a copy, and which check catches each.

use crate::cli::{Common, Tamper};
use crate::failure::{Failure, Outcome};
use crate::records::print;
use crate::store;
use indelible_drill::{Caught, Report, Row, Trouble, Wish, copy, run as cheat};
use indelible_os::random;
use indelible_record::commitment::to_hex;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Room beside the copy: for what is changed, and for histories made of the entries alone.
const ROOM_BYTES: u64 = 256 << 20;

/// Runs the drill.
pub(crate) fn run(common: &Common, arguments: &Tamper, seed: u64) -> Outcome {
    let (data, keys) = (common.data(), common.keys());
    if !data.join("FORMAT").is_file() {
        return Err(Failure::new(format!("{} is not a data directory", data.display()))
            .hint("name the data directory with --data"));
    }
    if let Some(bucket) = store::configured_name(common)? {
        return Err(Failure::new(format!("segments are in {bucket}: a copy would not have them all"))
            .hint("run it on a restored copy that has all segments, without a configuration"));
    }
    let space = Space::make(arguments, &data, &keys)?;
    let needed =
        copy::bytes_of(&data, &keys).map_err(Failure::new)?.saturating_mul(2).saturating_add(ROOM_BYTES);
    let free = copy::bytes_free(&space.dir).map_err(Failure::new)?;
    eprintln!("cheating on a copy in {}: {needed} bytes are needed, {free} are free", space.dir.display());
    if free < needed {
        return Err(Failure::new("there is no room for the copy").hint("name a larger place with --temp"));
    }
    let wish = Wish {
        data,
        keys,
        dir: space.dir.clone(),
        tenant: common.tenant.clone(),
        seed,
        outside: !arguments.no_outside,
    };
    if !common.json {
        print(row("CHEAT", "BY", "WHAT WAS DONE", "ALONE", "CAUGHT BY", "MS").as_bytes())?;
    }
    let mut shown = Ok(());
    let mut show = |row: &Row| {
        if !common.json && shown.is_ok() {
            shown = print(line(row).as_bytes());
        }
    };
    let report = cheat(&wish, &arguments.only, &mut show).map_err(|trouble| failure(&trouble))?;
    shown?;
    let text = if common.json {
        format!("{}\n", serde_json::to_string(&report).map_err(Failure::new)?)
    } else {
        summary(&report)
    };
    print(text.as_bytes())?;
    if report.rows.is_empty() {
        return Err(Failure::new("no cheat could be done here").detail(report.left_out.join("; ")));
    }
    Ok(report.exit_code())
}

fn failure(trouble: &Trouble) -> Failure {
    let failure = Failure::new(trouble);
    match trouble {
        Trouble::Broken(_) | Trouble::Collector(_) | Trouble::Log(_) => {
            failure.hint("see what indelible verify says of the original")
        }
        Trouble::Short { .. } | Trouble::NoLedger => failure.hint("name another ledger with --tenant"),
        _ => failure,
    }
}

/// Where the copy is; gone with it, unless it shall be kept.
struct Space {
    dir: PathBuf,
    keep: bool,
}

impl Space {
    fn make(arguments: &Tamper, data: &Path, keys: &Path) -> Result<Self, Failure> {
        let parent = arguments.temp.clone().unwrap_or_else(std::env::temp_dir);
        let whole = |path: &Path| {
            path.canonicalize().map_err(|error| Failure::new(format!("{}: {error}", path.display())))
        };
        let parent = whole(&parent)?;
        for original in [data, keys] {
            if parent.starts_with(whole(original)?) {
                let what =
                    format!("{} is in {}: nothing is written there", parent.display(), original.display());
                return Err(Failure::new(what).hint("name another place with --temp"));
            }
        }
        let name = to_hex(&random::bytes::<8>().map_err(Failure::new)?);
        let dir = parent.join(format!("indelible-drill-{name}"));
        copy::make_private(&dir).map_err(|error| Failure::new(format!("{}: {error}", dir.display())))?;
        Ok(Self { dir, keep: arguments.keep })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("the copy is kept in {}: it has all keys", self.dir.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("{} could not be removed, and has all keys: {error}", self.dir.display());
        }
    }
}

/// A cheat in one line. Rows are printed as they come: columns have a width beforehand.
fn row(cheat: &str, who: &str, done: &str, alone: &str, by: &str, ms: &str) -> String {
    format!("{cheat:<14} {who:<8} {done:<68} {alone:<6} {by:<34} {ms:>8}\n")
}

fn line(one: &Row) -> String {
    let alone = match one.holds_by_itself {
        Some(true) => "holds",
        Some(false) => "broken",
        None => "-",
    };
    let by = |caught: &Caught| format!("{}{}", caught.by, if caught.outside { " *" } else { "" });
    let ms = |caught: &Caught| format!("{}.{:03}", caught.us / 1000, caught.us % 1000);
    let (cheat, who) = (one.cheat, one.who.as_str());
    match one.caught.split_first() {
        None => row(cheat, who, &one.done, alone, "NOT CAUGHT", "-"),
        Some((first, more)) => {
            let first = row(cheat, who, &one.done, alone, &by(first), &ms(first));
            let more = more.iter().map(|caught| row("", "", "", "", &by(caught), &ms(caught)));
            std::iter::once(first).chain(more).collect()
        }
    }
}

fn summary(report: &Report) -> String {
    let mut text = String::new();
    for left_out in &report.left_out {
        let _ = writeln!(text, "left out: {left_out}");
    }
    let uncaught: Vec<String> =
        report.uncaught().map(|row| format!("{} ({})", row.cheat, row.who.as_str())).collect();
    let outside = report.rows.iter().filter(|row| row.needs_outside()).count();
    if outside > 0 {
        let _ = writeln!(
            text,
            "* {outside} of them are caught only by whoever holds something from before, out of the operator's reach: a checkpoint, \
             a witness's memory, the public key. The directory holds by itself."
        );
    }
    let _ = writeln!(
        text,
        "ledger {}, {} entries, {} of them sealed; seed {}",
        report.ledger, report.entries, report.sealed, report.seed
    );
    let count = report.rows.len();
    let _ = match uncaught.len() {
        0 => writeln!(text, "CAUGHT: all {count} cheats"),
        not => writeln!(text, "NOT CAUGHT: {not} of {count} cheats: {}", uncaught.join(", ")),
    };
    text
}
