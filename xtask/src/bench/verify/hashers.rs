//! What verification is measured beside: programs that hash the same bytes once, `sha256sum` and `openssl`.

use crate::bench::report::{Goal, Table, grouped, median, ratio};
use crate::bench::{Outcome, process};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The programs, and what makes each hash the files that follow.
const HASHERS: [(&str, &[&str]); 2] = [("sha256sum", &[]), ("openssl", &["dgst", "-sha256"])];
/// The least share of the faster one's speed that full verification is held to.
const GOAL: f64 = 0.4;

/// The programs that were found, and what keeps a command on one core.
pub(super) struct Hashers {
    pub(super) pinned: Vec<String>,
    found: [Option<PathBuf>; 2],
}

/// Seconds, medians of the rounds; 0 where there were none.
pub(super) struct Compared {
    bytes: f64,
    ours_s: f64,
    hashers_s: [f64; 2],
}

impl Hashers {
    pub(super) fn find() -> Self {
        Self { pinned: process::one_core(), found: HASHERS.map(|(name, _)| process::find(name)) }
    }

    /// How it was measured, in words.
    pub(super) fn describe(&self, rounds: usize) -> String {
        let core = match self.pinned.is_empty() {
            true => "not pinned (taskset: not found)",
            false => "each on one core (`taskset`)",
        };
        let missing: String = HASHERS
            .iter()
            .zip(&self.found)
            .filter(|(_, found)| found.is_none())
            .map(|((name, _), _)| format!(" {name}: not found, skipped."))
            .collect();
        format!("The same files in turn, at most {rounds} rounds, medians; {core}.{missing}")
    }

    /// Lets the programs and `ours` take turns over the same files, until `goes_on` says otherwise. The files are read
    /// once before, so that all find them in the page cache.
    pub(super) fn compare(
        &self,
        files: &[PathBuf],
        goes_on: impl Fn(usize) -> bool,
        mut ours: impl FnMut() -> Outcome<()>,
    ) -> Outcome<Compared> {
        let bytes = files.iter().try_fold(0.0, |sum, file| Ok::<_, String>(sum + read_once(file)?))?;
        let (mut ours_s, mut hashers_s) = (Vec::new(), [Vec::new(), Vec::new()]);
        for round in 0.. {
            if !goes_on(round) {
                break;
            }
            for ((seconds, program), (name, arguments)) in hashers_s.iter_mut().zip(&self.found).zip(HASHERS)
            {
                if let Some(program) = program {
                    let mut command = self.command(program);
                    command.args(arguments).args(files);
                    let started = Instant::now();
                    process::output(name, &mut command)?;
                    seconds.push(started.elapsed().as_secs_f64());
                }
            }
            let started = Instant::now();
            ours()?;
            ours_s.push(started.elapsed().as_secs_f64());
        }
        Ok(Compared { bytes, ours_s: median(ours_s), hashers_s: hashers_s.map(median) })
    }

    /// A program, on one core if that can be.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut words: Vec<OsString> = self.pinned.iter().map(Into::into).collect();
        words.push(program.into());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }
}

impl Compared {
    pub(super) fn table() -> Table {
        Table::new(&[
            "over",
            "bytes",
            "verify MB/s",
            "sha256sum MB/s",
            "openssl MB/s",
            "of the faster",
            "seconds",
            "entries/s",
        ])
    }

    pub(super) fn row(&self, over: &str, entries: u64) -> Vec<String> {
        let rate = |seconds: f64| match seconds > 0.0 {
            true => grouped(self.bytes / 1e6 / seconds),
            false => "–".to_owned(),
        };
        let [sha256sum, openssl] = self.hashers_s;
        vec![
            over.to_owned(),
            grouped(self.bytes),
            rate(self.ours_s),
            rate(sha256sum),
            rate(openssl),
            self.ratio(),
            format!("{:.2}", self.ours_s),
            grouped(entries as f64 / self.ours_s),
        ]
    }

    /// Our speed, of the faster hasher's.
    fn ratio(&self) -> String {
        ratio(self.fastest_s(), self.ours_s)
    }

    /// Of the hashers; 0 where there were none.
    fn fastest_s(&self) -> f64 {
        let measured = self.hashers_s.into_iter().filter(|seconds| *seconds > 0.0);
        measured.reduce(f64::min).unwrap_or(0.0)
    }

    /// What is asked of it; nothing, where no hasher was found.
    pub(super) fn goal(&self, what: String) -> Option<Goal> {
        (self.fastest_s() > 0.0).then(|| Goal {
            what,
            wanted: format!("≥ {GOAL} × the faster of sha256sum and openssl"),
            found: self.ratio(),
            met: self.fastest_s() >= GOAL * self.ours_s,
        })
    }
}

/// Its length.
fn read_once(file: &Path) -> Outcome<f64> {
    let copied =
        std::fs::File::open(file).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
    copied.map(|bytes| bytes as f64).map_err(|error| format!("{}: {error}", file.display()))
}
