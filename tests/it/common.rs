//! A place to run the program in, the program running, and talking to it.

use indelible_standin::Log;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(90);

/// Directories of one test, gone when dropped.
pub struct Site {
    pub dir: tempfile::TempDir,
    pub data: PathBuf,
    pub keys: PathBuf,
}

/// A running `indelible` server. Killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    pub listen: SocketAddr,
}

/// A stand-in model server on its own runtime.
pub struct ModelServer {
    pub url: String,
    pub log: Arc<Log>,
    _runtime: tokio::runtime::Runtime,
}

/// A model server that says exactly what a test tells it to, byte for byte.
pub struct RawServer {
    pub url: String,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// An HTTP answer, its body taken out of any transfer coding.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection ended before the body was whole.
    pub broke_off: bool,
}

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let keys = dir.path().join("data.keys");
        Self { dir, data, keys }
    }

    /// The command with this site's data directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_indelible"));
        command.args(arguments).env("INDELIBLE_DATA", &self.data).current_dir(self.dir.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and print JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Exit code and report of `verify`.
    pub fn verify(&self) -> (i32, Value) {
        let output = self.run(&["verify", "--json"]);
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("verify printed no report: {}", text(&output.stderr)));
        (output.status.code().unwrap(), report)
    }

    /// Gateway and collector in one process before `upstream`.
    pub fn up(&self, upstream: &str, more: &[&str]) -> Process {
        let (listen, api) = (free_address(), free_address());
        let (listen_text, api_text) = (listen.to_string(), api.to_string());
        let mut arguments =
            vec!["up", "--upstream", upstream, "--listen", &listen_text, "--api-listen", &api_text];
        arguments.extend_from_slice(more);
        self.serve(&arguments, listen)
    }

    /// Starts a server that answers `/readyz` on `listen`; `https` servers are only waited for to listen.
    pub fn serve(&self, arguments: &[&str], listen: SocketAddr) -> Process {
        let process = self.spawn(arguments, listen);
        process.wait_ready();
        process
    }

    /// Starts a server and does not wait.
    pub fn spawn(&self, arguments: &[&str], listen: SocketAddr) -> Process {
        let log = self.dir.path().join(format!("{}-{}.log", arguments[0], listen.port()));
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let child = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Process { child, log, listen }
    }

    /// All entries of the default ledger, oldest first.
    pub fn entries(&self) -> Vec<Value> {
        let output = self.run(&["list", "--entries"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output
            .stdout
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// The record of an event, once it has arrived.
    pub fn record(&self, event_id: &str) -> Value {
        let asked = Instant::now();
        loop {
            let output = self.run(&["show", event_id, "--json"]);
            if output.status.success() {
                let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(shown["records"].as_array().unwrap().len(), 1);
                return shown["records"][0].clone();
            }
            assert!(asked.elapsed() < READY_WITHIN, "no record of {event_id}: {}", text(&output.stderr));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// All records that an id names, oldest first, once there is one.
    pub fn shown(&self, id: &str) -> Vec<Value> {
        let mut records = Vec::new();
        wait_until(&format!("a record of {id}"), || {
            let output = self.run(&["show", id, "--json"]);
            if output.status.success() {
                let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
                records.clone_from(shown["records"].as_array().unwrap());
            }
            output.status.success()
        });
        records
    }

    /// All entries of a ledger, oldest first.
    pub fn entries_of(&self, tenant: &str) -> Vec<Value> {
        let output = self.run(&["list", "--entries", "--tenant", tenant]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = output.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// Exactly the bytes of one side of an exchange.
    pub fn raw(&self, event_id: &str, side: &str) -> Vec<u8> {
        let output = self.run(&["show", event_id, "--raw", side]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    }
}

impl Process {
    /// Waits until the server takes connections; panics with its log when it ends before.
    pub fn wait_ready(&self) {
        let asked = Instant::now();
        while TcpStream::connect(self.listen).is_err() {
            assert!(asked.elapsed() < READY_WITHIN, "not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the server wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal("TERM");
        self.wait()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The exit code of a server that ends by itself.
    pub fn wait(&mut self) -> i32 {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(asked.elapsed() < READY_WITHIN, "does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// The most memory that the process ever had in use, but for pages of files: those of the program itself are more in a
    /// build with more in it, and the kernel takes them back when it wants.
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        bytes("VmHWM:") - bytes("RssFile:")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// A value of the gateway's `/metrics`.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let answer =
            request(self.listen, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".as_bytes());
        let body = String::from_utf8(answer.body).ok()?;
        body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Waits until the collector has everything that the gateway spooled.
    pub fn wait_shipped(&self) {
        let asked = Instant::now();
        while self.metric("indelible_gateway_unshipped_frames") != Some(0) {
            assert!(asked.elapsed() < READY_WITHIN, "records are not taken: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ModelServer {
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Log::default());
        let for_server = log.clone();
        runtime.spawn(indelible_standin::serve_logged(listener, for_server, std::future::pending::<()>()));
        Self { url, log, _runtime: runtime }
    }
}

impl RawServer {
    /// Hands each connection to `answer` once its request was read whole.
    pub fn start(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, seen, answer) = (stream.unwrap(), seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    // A caller that hung up has no request to answer.
                    let Some(request) = read_request(&mut stream) else { return };
                    seen.lock().unwrap().push(request);
                    answer(&mut stream);
                });
            }
        });
        Self { url, requests }
    }

    /// Always gives the same answer, and closes the connection.
    pub fn answering(answer: Vec<u8>) -> Self {
        Self::start(move |stream| drop(stream.write_all(&answer)))
    }

    /// The requests so far, each as its bytes came.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn event_id(&self) -> &str {
        self.header("x-indelible-event-id").expect("every answer names its record")
    }
}

/// An address on loopback where nothing listened a moment ago.
pub fn free_address() -> SocketAddr {
    // Below what the system itself hands out (32768 and up): between this and the server that is told it, nobody else gets it.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id() % 100 * 200;
    loop {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + u16::try_from((begin + step) % 20_000).unwrap();
        if let Ok(free) = TcpListener::bind(("127.0.0.1", port)) {
            return free.local_addr().unwrap();
        }
    }
}

/// The address in an `http://` URL.
pub fn address_of(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Waits until something holds; panics when it does not within half a minute.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !holds() {
        assert!(asked.elapsed() < READY_WITHIN, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Files below `dir` that hold `needle`. The tool of that name is many times faster than a debug build.
pub fn grep(dir: &Path, needle: &str) -> Vec<PathBuf> {
    let found = Command::new("grep").args(["-rsalF", "-e", needle]).arg(dir).output().unwrap();
    text(&found.stdout).lines().map(PathBuf::from).collect()
}

/// All files below `dir`, in order. One that goes away meanwhile is passed over.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files_below(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}

/// Makes `to` the same as `from`, whatever it was before.
pub fn copy_dir(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &there);
        } else {
            std::fs::copy(entry.path(), there).unwrap();
        }
    }
}

/// The bytes of a request whose connection ends with it.
pub fn message(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// The same, its body in chunks of `size`.
pub fn chunked_message(path: &str, headers: &[(&str, &str)], body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = message("POST", path, &[headers, &[("Transfer-Encoding", "chunked")]].concat(), b"");
    for chunk in body.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Sends a request and leaves the connection open.
pub fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(READY_WITHIN)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Reads until `needle` has come; panics when the stream ends before.
pub fn read_until(stream: &mut TcpStream, needle: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !got.windows(needle.len()).any(|window| window == needle) {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "ended without {:?}: {}", text(needle), text(&got));
        got.extend_from_slice(&buffer[..read]);
    }
    got
}

/// Closes a connection with a reset instead of an end.
pub fn reset(stream: &TcpStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = stream.try_clone().unwrap();
        stream.set_nonblocking(true).unwrap();
        tokio::net::TcpStream::from_std(stream).unwrap().set_zero_linger().unwrap();
    });
    stream.shutdown(std::net::Shutdown::Both).unwrap();
}

/// Reads one request, its body by length or in chunks; `None` when it does not come whole.
pub fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut got = Vec::new();
    let mut buffer = [0; 64 << 10];
    while !is_whole_request(&got) {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => got.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
    Some(got)
}

fn is_whole_request(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = text(&bytes[..end]).to_ascii_lowercase();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    match (len, head.contains("transfer-encoding: chunked")) {
        (Some(len), _) => bytes.len() - end - 4 >= len,
        (None, true) => bytes.ends_with(b"0\r\n\r\n"),
        (None, false) => true,
    }
}

/// Posts JSON and reads the whole answer.
pub fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    request(address, &[head.as_bytes(), body].concat())
}

/// Sends bytes as they are and reads until the server closes the connection.
pub fn request(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(READY_WITHIN)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut got = Vec::new();
    // A reset connection is an answer that broke off.
    let _ = stream.read_to_end(&mut got);
    parse_answer(&got)
}

/// Takes an HTTP/1.1 answer apart.
pub fn parse_answer(bytes: &[u8]) -> Answer {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Answer { status: 0, headers: Vec::new(), body: bytes.to_vec(), broke_off: true };
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let find =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let rest = &bytes[end + 4..];
    let (body, whole) = match (find("content-length"), find("transfer-encoding")) {
        (Some(len), _) => {
            let len: usize = len.parse().unwrap();
            (rest[..len.min(rest.len())].to_vec(), rest.len() >= len)
        }
        (None, Some("chunked")) => unchunk(rest),
        _ => (rest.to_vec(), true),
    };
    Answer { status, headers, body, broke_off: !whole }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let size =
            std::str::from_utf8(&rest[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size else { return (body, false) };
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..size.min(rest.len())]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
