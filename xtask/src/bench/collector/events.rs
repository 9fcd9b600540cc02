//! Events as a gateway's spool has them, made beforehand, and their way to a collector.
//!
//! They are made by the crates that the gateway uses, and posted as it posts: HTTP/2 over mutual TLS, batches
//! of about 4 MiB, one under way at a time.

use crate::bench::Outcome;
use crate::bench::indelible::{SOURCE, Site, TENANT};
use crate::bench::process::{self, Process};
use indelible_gateway::ship::{HttpLink, Link as _, Shipment};
use indelible_net::client::{self, Settings};
use indelible_net::tls::Identity;
use indelible_os::clock;
use indelible_os::durable::{Dir, FsDir};
use indelible_record::Committer;
use indelible_record::commitment::from_hex;
use indelible_record::entry::Status;
use indelible_record::event::{Answer, End, Facts, Private, Start};
use indelible_record::payload;
use indelible_record::shipping::{Acknowledged, BATCH_MAX_BYTES};
use indelible_spool::seal::SpoolPublicKey;
use indelible_spool::shared::SyncedTo;
use indelible_spool::tail::{Batch, Tail};
use indelible_spool::writer::{Claim, FILE_MAX_BYTES, LogWriter, Options, SealTo};
use indelible_spool::{Kind, Role};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const SUBJECTS: usize = 1000;
/// About how large a batch gets, as the gateway makes them.
const BATCH_BYTES: usize = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the writer of a spool hands over what it gathered.
const FLUSH_EVENTS: usize = 1000;

/// The events of one round: each round and each event has texts of its own.
#[derive(Clone, Copy)]
pub(super) struct Events {
    pub(super) round: usize,
    pub(super) count: usize,
    pub(super) request_bytes: usize,
    pub(super) response_bytes: usize,
}

/// What shipping them came to.
pub(super) struct Shipped {
    pub(super) seconds: f64,
    /// Of the collector.
    pub(super) cpu_s: f64,
    pub(super) batches: usize,
    pub(super) bytes: usize,
}

impl Events {
    /// Request and response of an event.
    pub(super) fn bodies(&self, event: usize) -> (String, String) {
        let seed = (self.round * 100_000_000 + event) as u64;
        let mut text = prose(seed, self.request_bytes + self.response_bytes);
        let response = text.split_off(self.request_bytes);
        (text, response)
    }

    /// Each round has its own subjects, so that each makes as many keys.
    pub(super) fn subject(&self, event: usize) -> String {
        format!("user-{}-{}", self.round, event % SUBJECTS)
    }
}

/// Words that compress about as prose does; the same for the same seed.
pub(crate) fn prose(seed: u64, bytes: usize) -> String {
    const SYLLABLES: [&str; 32] = [
        "a", "ber", "con", "der", "e", "fer", "gra", "ho", "in", "ja", "kel", "la", "mon", "ne", "or", "per",
        "qua", "re", "sta", "ti", "un", "ver", "wa", "xen", "ya", "zo", "th", "ing", "ed", "tion", "al",
        "ly",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        // xorshift64* (Vigna 2016)
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let mut draw = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        for _ in 0..=draw >> 62 {
            text.push_str(SYLLABLES[(draw & 31) as usize]);
            draw >>= 5;
        }
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

/// Makes a spool of its own in `path`, and reads it as the gateway would ship it.
pub(super) fn fill_spool(site: &Site, path: &Path, events: &Events) -> Outcome<Vec<Batch>> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let dir: Arc<dyn Dir> = Arc::new(FsDir::open(path).map_err(|error| fail(&error))?);
    let options = Options {
        role: Role::Spool,
        limit_bytes: None,
        file_bytes: FILE_MAX_BYTES,
        seal: Some(SealTo { source_id: SOURCE.to_owned(), key: spool_key(site)? }),
    };
    let (mut writer, _) =
        LogWriter::open(dir.clone(), options, |_, _, _| Ok(()), || 0).map_err(|error| fail(&error))?;
    for event in 0..events.count {
        append_event(&mut writer, events, event)?;
        if event % FLUSH_EVENTS == 0 {
            writer.flush().map_err(|error| fail(&error))?;
        }
    }
    writer.close().map_err(|error| fail(&error))?;
    let all = SyncedTo { file_no: u64::MAX, offset: u64::MAX, seq: u64::MAX };
    let mut tail = Tail::new(dir, Role::Spool.extension(), 0);
    let mut batches = Vec::new();
    while let Some(batch) = tail.next_batch(all, BATCH_BYTES).map_err(|error| fail(&error))? {
        if batch.header.len() + batch.frames.len() > BATCH_MAX_BYTES {
            return Err(fail(&"a batch is over the collector's limit"));
        }
        batches.push(batch);
    }
    std::fs::remove_dir_all(path).map_err(|error| fail(&error))?;
    Ok(batches)
}

/// The key that the collector gave its source.
pub(crate) fn spool_key(site: &Site) -> Outcome<SpoolPublicKey> {
    let path = site.handed_over("collector-spool.pub");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let key = from_hex(text.trim()).ok_or_else(|| format!("{}: not a key", path.display()))?;
    Ok(SpoolPublicKey::from_bytes(key))
}

/// A start frame and an end frame, as the gateway writes them for a chat that was answered.
fn append_event(writer: &mut LogWriter, events: &Events, event: usize) -> Outcome<()> {
    let id: [u8; 16] = random()?;
    let (request, response) = events.bodies(event);
    let start = Start {
        tenant: TENANT.to_owned(),
        time: clock::now().0,
        facts: Facts {
            route: "default".to_owned(),
            operation: "chat".to_owned(),
            model: Some("llama-3-8b-instruct".to_owned()),
            user_id: Some(events.subject(event)),
            ..Facts::default()
        },
        private: Private {
            method: Some("POST".to_owned()),
            target: Some("/v1/chat/completions".to_owned()),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            peer: Some("127.0.0.1:50000".to_owned()),
            input: Some(commitment(&request)?),
            input_type: Some("application/json".to_owned()),
            ..Private::default()
        },
    };
    let meta = serde_json::to_vec(&start).map_err(|error| error.to_string())?;
    let start_seq = append(writer, Kind::Start, &id, &meta, &request)?;
    let end = End {
        withheld: Vec::new(),
        hangup: None,
        websocket: None,
        first_token_us: None,
        late: None,
        start_seq,
        time: clock::now().0,
        status: Status::Completed,
        http_status: Some(200),
        error_type: None,
        latency_us: 250_000,
        ttft_us: Some(40_000),
        delivered_bytes: events.response_bytes as u64,
        input_partial: false,
        output_partial: false,
        answer: Answer {
            model: Some("llama-3-8b-instruct".to_owned()),
            finish_reason: Some("stop".to_owned()),
            prompt_tokens: Some(128),
            completion_tokens: Some(128),
            ..Answer::default()
        },
        private: Private {
            output: Some(commitment(&response)?),
            output_type: Some("application/json".to_owned()),
            ..Private::default()
        },
    };
    let meta = serde_json::to_vec(&end).map_err(|error| error.to_string())?;
    append(writer, Kind::End, &id, &meta, &response).map(drop)
}

fn append(writer: &mut LogWriter, kind: Kind, id: &[u8; 16], meta: &[u8], piece: &str) -> Outcome<u64> {
    let body = payload::pack(meta, piece.as_bytes());
    let position = writer.append_sealed(kind, id, &[&body], Claim::Settle);
    position.map(|position| position.seq).map_err(|error| error.to_string())
}

fn commitment(body: &str) -> Outcome<indelible_record::Commitment> {
    let mut committer = Committer::new(random()?);
    committer.update(body.as_bytes());
    Ok(committer.finish())
}

fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no randomness".to_owned())?;
    Ok(bytes)
}

/// The way that a gateway's batches take: HTTP/2 over mutual TLS.
pub(crate) fn link(site: &Site) -> Outcome<HttpLink> {
    let identity = Identity {
        cert: site.handed_over(&format!("{SOURCE}.pem")),
        key: site.handed_over(&format!("{SOURCE}.key")),
    };
    let ca = site.handed_over("ca.pem");
    let settings = Settings {
        ca: Some(&ca),
        identity: Some(&identity),
        connect_timeout: CONNECT_TIMEOUT,
        http2_only: true,
    };
    let client = client::build(&settings).map_err(|error| error.to_string())?;
    HttpLink::new(client, &site.url())
}

/// Posts all batches, one at a time, and waits for the last acknowledgement.
pub(super) fn ship(site: &Site, collector: &Process, batches: &[Batch]) -> Outcome<Shipped> {
    let link = link(site)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let bodies: Vec<Vec<u8>> =
        batches.iter().map(|batch| [&batch.header[..], &batch.frames].concat()).collect();
    let bytes = bodies.iter().map(Vec::len).sum();
    let cpu = process::cpu_seconds(collector.id());
    let started = Instant::now();
    let mut acknowledged: Option<Acknowledged> = None;
    for (batch, body) in batches.iter().zip(bodies) {
        let shipment = Shipment { body: body.into(), acknowledged, receipts: false };
        let ack = runtime.block_on(link.send(shipment)).map_err(|error| error.to_string())?;
        if ack.seq != batch.last_seq {
            return Err(format!("frames up to {} were sent, {} acknowledged", batch.last_seq, ack.seq));
        }
        acknowledged = Some(Acknowledged { seq: ack.seq, token: ack.token });
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu_s = process::cpu_seconds(collector.id()) - cpu;
    Ok(Shipped { seconds, cpu_s, batches: batches.len(), bytes })
}
