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

/// What the rounds came to.
pub(super) struct Compared {
    bytes: f64,
    ours: Timed,
    hashers: [Timed; 2],
}

/// Seconds of one program over the same files; 0 where it did not run.
#[derive(Default)]
struct Timed {
    rounds: Vec<f64>,
    /// Of all rounds together: on a busy machine the clock also counts what the neighbours took.
    cpu: f64,
}

impl Timed {
    fn run(&mut self, run: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let (cpu, started) = (process::cpu_seconds_of_ended(), Instant::now());
        run()?;
        self.rounds.push(started.elapsed().as_secs_f64());
        self.cpu += process::cpu_seconds_of_ended() - cpu;
        Ok(())
    }

    fn seconds(&self) -> f64 {
        median(self.rounds.iter().copied())
    }
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
        let mut compared = Compared { bytes, ours: Timed::default(), hashers: Default::default() };
        for round in 0.. {
            if !goes_on(round) {
                break;
            }
            for ((timed, program), (name, arguments)) in
                compared.hashers.iter_mut().zip(&self.found).zip(HASHERS)
            {
                if let Some(program) = program {
                    let mut command = self.command(program);
                    command.args(arguments).args(files);
                    timed.run(|| process::output(name, &mut command).map(drop))?;
                }
            }
            compared.ours.run(&mut ours)?;
        }
        Ok(compared)
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
            "by CPU time",
            "seconds",
            "entries/s",
        ])
    }

    pub(super) fn row(&self, over: &str, entries: u64) -> Vec<String> {
        let rate = |timed: &Timed| match timed.rounds.is_empty() {
            true => "–".to_owned(),
            false => grouped(self.bytes / 1e6 / timed.seconds()),
        };
        let [sha256sum, openssl] = &self.hashers;
        let seconds = self.ours.seconds();
        vec![
            over.to_owned(),
            grouped(self.bytes),
            rate(&self.ours),
            rate(sha256sum),
            rate(openssl),
            self.ratio(),
            ratio(self.least(|timed| timed.cpu), self.ours.cpu),
            format!("{seconds:.2}"),
            grouped(entries as f64 / seconds),
        ]
    }

    /// Our speed, of the faster hasher's.
    fn ratio(&self) -> String {
        ratio(self.least(Timed::seconds), self.ours.seconds())
    }

    /// Of the hashers; 0 where there were none.
    fn least(&self, of: impl Fn(&Timed) -> f64) -> f64 {
        let ran = self.hashers.iter().filter(|timed| !timed.rounds.is_empty());
        ran.map(of).reduce(f64::min).unwrap_or(0.0)
    }

    /// What is asked of it; nothing, where no hasher was found.
    pub(super) fn goal(&self, what: String) -> Option<Goal> {
        let fastest = self.least(Timed::seconds);
        (fastest > 0.0).then(|| Goal {
            what,
            wanted: format!("≥ {GOAL} × the faster of sha256sum and openssl"),
            found: self.ratio(),
            met: fastest >= GOAL * self.ours.seconds(),
        })
    }
}

/// Its length.
fn read_once(file: &Path) -> Outcome<f64> {
    let copied =
        std::fs::File::open(file).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
    copied.map(|bytes| bytes as f64).map_err(|error| format!("{}: {error}", file.display()))
}
