//! The same look-ups once segments are in a bucket alone: a Ceph with its S3 gateway, on the same machine and disk.

use super::client::Client;
use super::{bytes_below, lookups, segments_in_words, segments_of};
use crate::bench::indelible::{Site, TENANT, stop_collector};
use crate::bench::process::{self, Process};
use crate::bench::report::{Section, Table, grouped};
use crate::bench::{Bench, Outcome, say};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the server is started by, on free ports; the tests start theirs with it as well.
const SCRIPT: &str = "tests/it/store_s3/radosgw.sh";
const PROGRAMS: [&str; 6] = ["ceph-mon", "ceph-osd", "ceph-mgr", "radosgw", "radosgw-admin", "ceph-authtool"];
/// The bucket that it makes, and the keys to it.
const BUCKET: &str = "audit";
const KEYS: &str = "AWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY=SKSKSKSK\n";
/// What looks are recorded in.
const OPERATIONS: &str = "operations";
/// Its disk: so much more than all segments, in a file that takes what is written.
const DISK_SHARE: f64 = 1.5;
const DISK_MORE: f64 = 4.0 * 1024.0 * 1024.0 * 1024.0;
const LOOK_UPS: usize = 400;
/// A minute, and one more for so many bytes.
const BYTES_A_MINUTE: f64 = 1.8e9;
const GOAL_MS: f64 = 1000.0;

pub(super) fn measure(bench: &Bench, site: &Site, ids: &[String], records: u64) -> Outcome<Section> {
    let mut section = Section::new("Store: one record from a bucket");
    let missing: Vec<_> =
        PROGRAMS.iter().copied().filter(|program| process::find(program).is_none()).collect();
    if !missing.is_empty() {
        section.note(format!("Not measured: {} are not installed", missing.join(", ")));
        return Ok(section);
    }
    let (bytes, segments) = (bytes_below(&site.segments(), None), segments_in_words(site, TENANT));
    say("store, starting an S3 server");
    let server = Server::start(bench, bytes)?;
    let settings = server.settings(bench.dir())?;
    say("store, uploading");
    let mut collector = site.start_collector_with(&[], &settings)?;
    let seconds = uploaded(site, &mut collector, bytes)?;
    section.note(format!(
        "{segments}, {} MB with those of the operations ledger, uploaded, read back and removed here in {seconds:.0} s, by the collector. \
         Ceph's S3 gateway with one disk, which is a file on the same file system, and with its own memory of what it was given last \
         (0.9 GiB); no network between them but loopback, so that each request's way there and back is what a real bucket adds.",
        grouped(bytes / 1e6)
    ));
    stop_collector(collector)?;
    let cache = site.data().join("cache/segments");
    if cache.is_dir() {
        std::fs::remove_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    }
    let page_cache = if lookups::drop_caches() { "so is the page cache" } else { "the page cache is not" };
    section.note(format!(
        "As above, of ids that were not asked for before. Cold: the cache of the bucket is empty when the first is asked for, {page_cache}, \
         and every segment's index is still to be fetched; filters and manifests are here."
    ));
    let collector = site.start_collector_with(&[], &settings)?;
    let mut asked = ids.to_vec();
    asked.sort();
    // Those before are asked for where segments are in a directory.
    let asked = &asked[asked.len() - LOOK_UPS.min(asked.len() / 4)..];
    say("store, look-ups from the bucket");
    let mut table = Table::new(&lookups::COLUMNS);
    let client = Client::connect(site)?;
    let cold = lookups::look_up(&client, asked)?;
    table.row(lookups::row("cold", &cold));
    table.row(lookups::row("the same once more", &lookups::look_up(&client, asked)?));
    section.tables.push(table);
    section.note(format!(
        "Cached after the first round: {} MB of {} MB.",
        grouped(bytes_below(&cache, None) / 1e6),
        grouped(bytes / 1e6)
    ));
    stop_collector(collector)?;
    section.goals.push(lookups::goal("from S3", &cold, GOAL_MS, records));
    Ok(section)
}

/// Waits until no segment is left here. Answers how many seconds that took.
fn uploaded(site: &Site, collector: &mut Process, bytes: f64) -> Outcome<f64> {
    let began = Instant::now();
    let limit = Duration::from_secs_f64(60.0 * (1.0 + bytes / BYTES_A_MINUTE));
    collector.wait_until(limit, || segments_of(site, TENANT) + segments_of(site, OPERATIONS) == 0)?;
    Ok(began.elapsed().as_secs_f64())
}

/// The server. It ends when its standard input does, and removes its directory.
struct Server {
    port: u16,
    child: Child,
}

impl Server {
    fn start(bench: &Bench, bytes: f64) -> Outcome<Self> {
        // Short: the names of its sockets have few characters.
        let dir = std::env::temp_dir().join(format!("rgw{}", std::process::id()));
        let (port, mon, mon_v1) = (process::free_port()?, process::free_port()?, process::free_port()?);
        let mut command = Command::new("bash");
        command.arg(bench.root.join(SCRIPT)).arg(&dir);
        command.args([mon, mon_v1, port].map(|port| port.to_string()));
        command.arg(format!("{:.0}", bytes * DISK_SHARE + DISK_MORE));
        let said = bench.dir().join("radosgw.log");
        let log = std::fs::File::create(&said).map_err(|error| format!("{}: {error}", said.display()))?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut server =
            Self { port, child: child.map_err(|error| format!("cannot start the S3 server: {error}"))? };
        let mut line = String::new();
        let heard = server.child.stdout.as_mut().map(|out| BufReader::new(out).read_line(&mut line));
        if !matches!(heard, Some(Ok(_))) || line != "ready\n" {
            return Err("the S3 server does not start".to_owned());
        }
        Ok(server)
    }

    /// The collector's settings for its bucket; nothing stays where it was made.
    fn settings(&self, dir: &Path) -> Outcome<String> {
        let keys: PathBuf = dir.join("bucket.keys");
        let fail = |error: std::io::Error| format!("{}: {error}", keys.display());
        std::fs::write(&keys, KEYS).map_err(fail)?;
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
        Ok(format!(
            "store_url = \"s3://{BUCKET}/bench\"\nstore_endpoint = \"http://127.0.0.1:{}\"\n\
             store_credentials_file = \"{}\"\nstore_keep_local_s = 0\n",
            self.port,
            keys.display()
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It has nobody to tell how it ended.
        let _ = self.child.wait();
    }
}
