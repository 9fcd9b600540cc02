//! A bucket to test against: a radosgw, started once for all tests, each of which has a prefix of its own, behind a
//! switch that can be off, slow, and tells what was read.

use crate::common::{Site, free_address};
use futures_util::TryStreamExt as _;
use indelible_collector::store::location::{Credentials, Location};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const PROGRAMS: [&str; 8] =
    ["ceph-mon", "ceph-osd", "ceph-mgr", "radosgw", "radosgw-admin", "ceph-authtool", "curl", "openssl"];
/// These tests may not be passed over.
const REQUIRED: &str = "REQUIRE_S3_TESTS";
const BUCKET: &str = "audit";
const KEY_ID: &str = "AK";
const SECRET: &str = "SKSKSKSK";

/// The server. It ends when this process does, however it does: its script waits for the end of its standard input.
struct Server {
    address: SocketAddr,
    _child: Child,
}

static SERVER: OnceLock<Option<Server>> = OnceLock::new();

fn server() -> Option<SocketAddr> {
    let start = || {
        let path = std::env::var("PATH").unwrap_or_default();
        let found = |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
        let missing: Vec<_> = PROGRAMS.iter().filter(|program| !found(program)).collect();
        if !missing.is_empty() {
            // Set where they were found, or installed, beforehand.
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{missing:?} are not installed, and {REQUIRED} is set"
            );
            eprintln!("passed over, there is no S3 server here: {missing:?} are not installed");
            return None;
        }
        // Short: the names of its sockets have few characters.
        let dir = tempfile::Builder::new().prefix("rgw").tempdir().unwrap().keep();
        let address = free_address();
        let ports =
            [free_address().port(), free_address().port(), address.port()].map(|port| port.to_string());
        let mut child = Command::new("bash")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/store_s3/radosgw.sh"))
            .arg(&dir)
            .args(ports)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the S3 server does not start");
        Some(Server { address, _child: child })
    };
    SERVER.get_or_init(start).as_ref().map(|server| server.address)
}

/// A prefix in the bucket, and the switch before it.
#[derive(Clone)]
pub(super) struct Place {
    prefix: String,
    /// Around the switch: what a test does itself is neither counted nor delayed.
    direct: Arc<AmazonS3>,
    switch: Arc<Switch>,
    runtime: Arc<tokio::runtime::Runtime>,
}

/// A place of this name; `None`: there is no server, which was said.
pub(super) fn place(name: &str) -> Option<Place> {
    let server = server()?;
    let direct = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_endpoint(format!("http://{server}"))
        .with_allow_http(true)
        .with_access_key_id(KEY_ID)
        .with_secret_access_key(SECRET)
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    Some(Place {
        prefix: format!("of/{name}"),
        direct: Arc::new(direct),
        switch: Switch::before(server),
        runtime: Arc::new(runtime),
    })
}

impl Place {
    pub(super) fn location(&self, keep_local: Duration, cache_bytes: u64) -> Location {
        Location {
            bucket: BUCKET.to_owned(),
            prefix: self.prefix.clone(),
            endpoint: Some(format!("http://{}", self.switch.address)),
            region: "us-east-1".to_owned(),
            credentials: Credentials { key_id: KEY_ID.to_owned(), secret: SECRET.to_owned(), token: None },
            keep_local,
            cache_bytes,
        }
    }

    /// Writes the configuration that the program finds in a site's directory.
    pub(super) fn configure(&self, site: &Site, keep_local_s: u64, cache_bytes: u64) {
        let dir = site.dir.path();
        let keys = dir.join("bucket.keys");
        std::fs::write(&keys, format!("AWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n"))
            .unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "[collector]\ntls_cert = \"none\"\ntls_key = \"none\"\nclient_ca = \"none\"\n\
             store_url = \"s3://{BUCKET}/{}\"\nstore_endpoint = \"http://{}\"\nstore_credentials_file = \"bucket.keys\"\n\
             store_keep_local_s = {keep_local_s}\nstore_cache_bytes = {cache_bytes}\n",
            self.prefix, self.switch.address
        );
        std::fs::write(dir.join("indelible.toml"), text).unwrap();
    }

    /// Names of all objects here.
    pub(super) fn names(&self) -> Vec<String> {
        let prefix = Key::from(self.prefix.as_str());
        let found: Vec<_> = self.runtime.block_on(self.direct.list(Some(&prefix)).try_collect()).unwrap();
        let name = |meta: object_store::ObjectMeta| {
            meta.location.as_ref().strip_prefix(&self.prefix).unwrap().trim_start_matches('/').to_owned()
        };
        let mut names: Vec<String> = found.into_iter().map(name).collect();
        names.sort();
        names
    }

    pub(super) fn get(&self, name: &str) -> Vec<u8> {
        let key = self.key(name);
        self.runtime.block_on(async { self.direct.get(&key).await.unwrap().bytes().await.unwrap() }).to_vec()
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        self.runtime.block_on(self.direct.put(&self.key(name), bytes.to_vec().into())).unwrap();
    }

    pub(super) fn delete(&self, name: &str) {
        self.runtime.block_on(self.direct.delete(&self.key(name))).unwrap();
    }

    /// A copy of all objects, under another name.
    pub(super) fn copied(&self, name: &str) -> Place {
        let copy = Place { prefix: format!("of/{name}"), ..self.clone() };
        self.names().iter().for_each(|name| copy.put(name, &self.get(name)));
        copy
    }

    /// While it is away, connections end before they begin.
    pub(super) fn away(&self, away: bool) {
        let mut state = self.switch.state.lock().unwrap();
        state.away = away;
        if away {
            state.open.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
    }

    /// How long each request waits.
    pub(super) fn delay(&self, delay: Duration) {
        self.switch.state.lock().unwrap().delay = delay;
    }

    /// What is asked for by GET while `work` goes on.
    pub(super) fn reads_while(&self, work: impl FnOnce()) -> Vec<String> {
        self.switch.state.lock().unwrap().reads.clear();
        work();
        std::mem::take(&mut self.switch.state.lock().unwrap().reads)
    }

    fn key(&self, name: &str) -> Key {
        Key::from(format!("{}/{name}", self.prefix))
    }
}

struct Switch {
    address: SocketAddr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    away: bool,
    delay: Duration,
    reads: Vec<String>,
    open: Vec<TcpStream>,
}

impl Switch {
    fn before(server: SocketAddr) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Arc::new(Self { address: listener.local_addr().unwrap(), state: Mutex::default() });
        let switch = this.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut state = switch.state.lock().unwrap();
                let Ok(there) = TcpStream::connect(server) else { continue };
                if state.away {
                    continue;
                }
                state.open.extend([client.try_clone().unwrap(), there.try_clone().unwrap()]);
                drop(state);
                let (back_from, back_to) = (there.try_clone().unwrap(), client.try_clone().unwrap());
                let switch = switch.clone();
                std::thread::spawn(move || switch.pass_on(client, there));
                std::thread::spawn(move || answer(back_from, back_to));
            }
        });
        this
    }

    /// Passes requests on. Each begins with a read of its own: clients wait for the answer before they ask again.
    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let begins = |method: &[u8]| buffer[..read].starts_with(method);
            let delay = {
                let mut state = self.state.lock().unwrap();
                if begins(b"GET /") {
                    let line = String::from_utf8_lossy(&buffer[..read]);
                    state.reads.extend(line.split(' ').nth(1).map(str::to_owned));
                }
                state.delay
            };
            if begins(b"GET /") || begins(b"PUT /") || begins(b"HEAD /") {
                std::thread::sleep(delay);
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

fn answer(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
