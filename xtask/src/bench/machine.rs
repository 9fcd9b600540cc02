//! The machine that was measured on: a number means nothing without it.

use super::Outcome;
use super::report::{Section, Table};
use indelible_os::durable::{Dir as _, FsDir};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Beyond this, latencies say more about the neighbours than about what was measured.
const DISTURBED_PERCENT: f64 = 10.0;
const DISTURBED: &str =
    " **The machine was not quiet: read ratios and CPU seconds, not latencies and absolute numbers.**";
const PROBE_SYNCS: usize = 400;
const PROBE_BYTES: usize = 4096;

/// What the machine is, and how fast its disk says "done".
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    memory_gib: f64,
    kernel: String,
    file_system: String,
    load_before: String,
    ticks_before: Ticks,
    /// Before anything else ran.
    pub(crate) quiet: Syncs,
}

/// CPU time in clock ticks, since the machine started: proc(5).
#[derive(Clone, Copy)]
struct Ticks {
    all: f64,
    /// In processes and their system calls. Interrupts are apart: those of our own traffic belong to nobody.
    processes: f64,
    interrupts: f64,
    stolen: f64,
    /// Of this process and of every process of ours that has ended.
    ours: f64,
}

/// How long an append of 4 KiB and `fdatasync` takes, in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Syncs {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Machine {
    /// Looks at the machine and at the disk that `dir` is on.
    pub(crate) fn look(dir: &Path) -> Outcome<Self> {
        let quiet = probe_disk(&dir.join("probe-before"))?;
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: field_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned()),
            memory_gib: memory_gib(),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            file_system: file_system(dir),
            load_before: load(),
            ticks_before: Ticks::now(),
            quiet,
        })
    }

    /// The machine as a section of the report. Probes the disk once more.
    pub(crate) fn section(&self, dir: &Path, command: &str, seconds: f64) -> Outcome<Section> {
        let after = probe_disk(&dir.join("probe-after"))?;
        let mut section = Section::new("Machine");
        section.note(format!("Measured with `{command}` in {seconds:.0} s, everything on loopback."));
        section.note(format!(
            "{} cores of {}, {:.0} GiB RAM, Linux {}, {}",
            self.cores, self.cpu, self.memory_gib, self.kernel, self.file_system
        ));
        section.note(format!("Load average (1, 5, 15 min) before {}, after {}", self.load_before, load()));
        let [others, interrupts, stolen] = self.ticks_before.others_since();
        section.note(format!(
            "Of the machine's CPU time, other processes took {others:.0} % meanwhile, interrupts (most of them our \
             own loopback traffic) {interrupts:.0} %, the hypervisor {stolen:.0} %.{}",
            if others + stolen > DISTURBED_PERCENT { DISTURBED } else { "" }
        ));
        if ["tmpfs", "ramfs"].iter().any(|kind| self.file_system.starts_with(kind)) {
            section.note("**The directory is in memory: nothing here says anything about durable writes.**");
        }
        let mut table = Table::new(&["append 4 KiB + fdatasync, ms", "p50", "p99"]);
        for (when, syncs) in [("before the run", self.quiet), ("after the run", after)] {
            let ms = |us: f64| format!("{:.3}", us / 1000.0);
            table.row(vec![when.to_owned(), ms(syncs.p50_us), ms(syncs.p99_us)]);
        }
        section.tables.push(table);
        Ok(section)
    }
}

impl Ticks {
    fn now() -> Self {
        let numbers = |line: &str, skip: usize| -> Vec<f64> {
            line.split_whitespace().skip(skip).filter_map(|number| number.parse().ok()).collect()
        };
        // cpu user nice system idle iowait irq softirq steal guest guest_nice; guests count in user too.
        let machine = numbers(&first_line("/proc/stat"), 1);
        let at = |field: usize| machine.get(field).copied().unwrap_or(0.0);
        let own = first_line("/proc/self/stat");
        let own = own.rsplit_once(')').map_or("", |(_, rest)| rest);
        // utime stime cutime cstime, the 14th to 17th field.
        let own: f64 = numbers(own, 11).into_iter().take(4).sum();
        Self {
            all: machine.iter().take(8).sum(),
            processes: at(0) + at(1) + at(2),
            interrupts: at(5) + at(6),
            stolen: at(7),
            ours: own,
        }
    }

    /// What other processes used, what interrupts took, and what the hypervisor kept, in percent of all
    /// CPU time since then. Every process of ours must have ended.
    fn others_since(self) -> [f64; 3] {
        let now = Self::now();
        let others = (now.processes - self.processes) - (now.ours - self.ours);
        let (interrupts, stolen) = (now.interrupts - self.interrupts, now.stolen - self.stolen);
        let all = (now.all - self.all).max(1.0);
        [others, interrupts, stolen].map(|ticks| (100.0 * ticks / all).max(0.0))
    }
}

fn probe_disk(dir: &Path) -> Outcome<Syncs> {
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    let file = FsDir::open(dir).and_then(|dir| dir.create("probe")).map_err(fail)?;
    file.allocate((PROBE_SYNCS * PROBE_BYTES) as u64).map_err(fail)?;
    let block = [7; PROBE_BYTES];
    let mut times = Vec::with_capacity(PROBE_SYNCS);
    for at in 0..PROBE_SYNCS {
        let started = Instant::now();
        file.write_at(&block, (at * PROBE_BYTES) as u64).map_err(fail)?;
        file.sync().map_err(fail)?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(Syncs { p50_us: times[PROBE_SYNCS / 2], p99_us: times[PROBE_SYNCS * 99 / 100] })
}

fn memory_gib() -> f64 {
    let text = field_of("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kib = text.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0);
    kib / f64::from(1 << 20)
}

fn load() -> String {
    first_line("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn file_system(dir: &Path) -> String {
    let mut df = Command::new("df");
    let asked = super::process::output("df", df.args(["--output=fstype,source"]).arg(dir));
    let line = asked.ok().and_then(|text| text.lines().nth(1).map(str::to_owned)).unwrap_or_default();
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some(kind), Some(device)) => format!("{kind} on {device}"),
        _ => "unknown file system".to_owned(),
    }
}

fn field_of(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn first_line(file: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
