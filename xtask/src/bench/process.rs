//! Processes that a bench starts: ports, readiness, what they cost, and their end.
//!
//! A process is ended by its own id, never by its name: others on the machine may run the same program.

use super::Outcome;
use std::cell::Cell;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
const POLL: Duration = Duration::from_millis(20);
const HTTP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a process that nobody stopped has to end.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// Where system daemons lie that are not in every user's PATH.
const MORE_BIN_DIRS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A process of ours; dropped, it is asked to end, and killed if it does not.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    /// Stopped, as by `kill -STOP`: it keeps what it has and does nothing.
    held: Cell<bool>,
}

impl Process {
    /// Starts `command`; what it prints goes to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Outcome<Self> {
        let fail = |error: std::io::Error| format!("cannot start {name}: {error}");
        let out = File::create(log).map_err(fail)?;
        let err = out.try_clone().map_err(fail)?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(fail)?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned(), held: Cell::new(false) })
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so; a process that ended before is an error with its last words.
    pub(crate) fn wait_until(&mut self, limit: Duration, ready: impl Fn() -> bool) -> Outcome<()> {
        let started = Instant::now();
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at once ({status}): {}", self.name, self.last_words()));
            }
            if started.elapsed() > limit {
                return Err(format!("{} was not ready after {limit:?}: {}", self.name, self.last_words()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Takes it off the cores until [`Process::release`].
    pub(crate) fn hold(&self) -> Outcome<()> {
        send_signal(self.id(), "STOP")?;
        self.held.set(true);
        Ok(())
    }

    /// Lets it go on; of one that was not held, nothing changes.
    pub(crate) fn release(&self) -> Outcome<()> {
        if self.held.replace(false) { send_signal(self.id(), "CONT") } else { Ok(()) }
    }

    /// Asks it to end with `signal` and waits; anything but exit code 0 is an error.
    pub(crate) fn stop(mut self, signal: &str, limit: Duration) -> Outcome<()> {
        self.release()?;
        send_signal(self.id(), signal)?;
        let started = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return self.judge(status),
                Ok(None) if started.elapsed() < limit => std::thread::sleep(POLL),
                Ok(None) => return Err(format!("{} did not end within {limit:?}", self.name)),
                Err(error) => return Err(format!("{}: {error}", self.name)),
            }
        }
    }

    fn judge(&self, status: ExitStatus) -> Outcome<()> {
        if status.success() {
            return Ok(());
        }
        Err(format!("{} ended with {status}: {}", self.name, self.last_words()))
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // Asked first: a master that is killed leaves its workers behind. One that is held hears nothing.
        let asked = self.release().and_then(|()| send_signal(self.id(), "TERM")).map(|()| Instant::now());
        while asked.as_ref().is_ok_and(|at| at.elapsed() < LAST_WAIT) {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(POLL);
        }
        // It may have ended by now; both calls then do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end and gives its standard output; anything but exit code 0 is an error.
pub(crate) fn output(name: &str, command: &mut Command) -> Outcome<String> {
    let done =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {name}: {error}"))?;
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() {
        return Ok(out);
    }
    let words = String::from_utf8_lossy(&done.stderr);
    Err(format!("{name} ended with {}: {} {}", done.status, words.trim(), out.trim()))
}

fn send_signal(id: u32, signal: &str) -> Outcome<()> {
    output("kill", Command::new("kill").arg(format!("-{signal}")).arg(id.to_string())).map(drop)
}

/// Finds a program in PATH and where daemons lie.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(MORE_BIN_DIRS.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// What keeps a command on one core, if that can be done here: a wrapper.
pub(crate) fn one_core() -> Vec<String> {
    let several = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    if find("taskset").is_none() {
        return Vec::new();
    }
    ["taskset", "-c", if several { "1" } else { "0" }].map(str::to_owned).to_vec()
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> Outcome<u16> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("no port on loopback: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| format!("no port: {error}"))
}

/// Whether something accepts connections on a loopback port.
pub(crate) fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The body that `GET path` on a loopback port is answered with, if the status is 200.
pub(crate) fn http_get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(HTTP_TIMEOUT)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// CPU seconds, user and system, that a process and its children that still run have used.
pub(crate) fn cpu_seconds(id: u32) -> f64 {
    family(id).into_iter().map(own_cpu_seconds).sum()
}

/// Resident bytes of a process and its children that still run.
pub(crate) fn rss_bytes(id: u32) -> f64 {
    family(id).into_iter().map(own_rss_bytes).sum()
}

/// CPU seconds, user and system, of all processes that were started here and have ended: proc(5), cutime and cstime, the
/// 16th and 17th field.
pub(crate) fn cpu_seconds_of_ended() -> f64 {
    own_fields("self", 13)
}

fn family(id: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    std::iter::once(id).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// utime and stime, the 14th and 15th field.
fn own_cpu_seconds(id: u32) -> f64 {
    own_fields(&id.to_string(), 11)
}

/// Two fields of `/proc/PROCESS/stat` together, in seconds, from the one that is so many behind the name: that is the 2nd,
/// may hold spaces, and ends with the last `)`.
fn own_fields(process: &str, behind_name: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_whitespace().skip(behind_name).take(2);
    let ticks = fields.filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

fn own_rss_bytes(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}
