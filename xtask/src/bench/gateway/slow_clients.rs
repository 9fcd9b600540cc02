//! Memory while clients read slowly: 256 of them, a stream of more than 1 MiB each.
//!
//! The model server sends as fast as it is read. Each client takes 8 KiB every 80 ms into a small socket
//! buffer, so that what it has not read waits in the kernel, or in front of the gateway. If the gateway kept it,
//! its memory would grow by more than 256 MiB.

use super::http::Answer;
use super::paced::request;
use super::stage::{Front, Quantiles, Run, Sample, Stage};
use super::target::{Shape, Target};
use crate::bench::report::{Table, grouped, mebibytes};
use crate::bench::{Outcome, say};
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

const CLIENTS: usize = 256;
/// Of about 218 bytes each.
const FRAMES: usize = 5000;
const READ_BYTES: usize = 8 << 10;
const READ_INTERVAL: Duration = Duration::from_millis(80);
const SOCKET_BUFFER_BYTES: u32 = 16 << 10;
/// A client that has not got everything by then is given up.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How often memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// After the last client went.
const REST: Duration = Duration::from_secs(1);
const TARGETS: [Target; 2] = [Target::Nginx, Target::DURABLE_BESIDE];

/// What one proxy came to.
pub(super) struct Slow {
    target: Target,
    run: Run,
    seen: Seen,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    before: f64,
    most: f64,
    after: f64,
    /// Bytes of answers that the clients got.
    bytes: usize,
    seconds: f64,
}

pub(super) fn measure(stage: &Stage<'_>) -> Outcome<Vec<Slow>> {
    let mut all = Vec::new();
    for target in TARGETS {
        say(&format!("gateway, slow clients, {}", target.name()));
        let seen = RefCell::default();
        let run = stage.run(target, Shape::Stream, |front| load(front, &seen))?;
        all.extend(run.map(|run| Slow { target, run, seen: seen.take() }));
    }
    Ok(all)
}

fn load(front: &Front<'_>, seen: &RefCell<Seen>) -> Outcome<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let request = request(front.port, &format!("fixed-stream={FRAMES}"), &Shape::Stream.request());
    let before = (front.rss)();
    let (outcomes, most, seconds) = runtime.block_on(async {
        let started = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let (port, request) = (front.port, request.clone());
            clients.spawn(async move { timeout(CLIENT_TIMEOUT, client(port, &request)).await });
        }
        let (mut outcomes, mut most) = (Vec::new(), before);
        while outcomes.len() < CLIENTS {
            tokio::select! {
                Some(outcome) = clients.join_next() => outcomes.push(outcome),
                () = sleep(LOOK_INTERVAL) => most = most.max((front.rss)()),
            }
        }
        (outcomes, most, started.elapsed().as_secs_f64())
    });
    std::thread::sleep(REST);
    let whole: Vec<usize> = outcomes.into_iter().filter_map(|outcome| outcome.ok()?.ok()?.ok()).collect();
    *seen.borrow_mut() = Seen { before, most, after: (front.rss)(), bytes: whole.iter().sum(), seconds };
    let errors = CLIENTS - whole.len();
    Ok(Sample {
        requests: whole.len() as f64,
        errors: errors as f64,
        per_second: whole.len() as f64 / seconds,
        first: None,
        last: Quantiles::default(),
        cut_off: errors,
    })
}

/// Asks once and reads slowly: how many bytes the whole answer had.
async fn client(port: u16, request: &[u8]) -> std::io::Result<usize> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    let mut stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.write_all(request).await?;
    let mut answer = Answer::default();
    let mut buffer = [0; READ_BYTES];
    let mut ticks = interval(READ_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !answer.is_whole() {
        ticks.tick().await;
        let read = stream.read(&mut buffer).await?;
        answer.take(&buffer[..read])?;
    }
    Ok(answer.body_bytes())
}

pub(super) fn table(all: &[Slow]) -> Table {
    let what = format!("{CLIENTS} clients that read slowly");
    let mut table =
        Table::new(&[&what, "whole answers", "passed", "seconds", "memory before", "most", "after"]);
    for slow in all {
        table.row(vec![
            slow.target.name(),
            grouped(slow.run.sample.requests),
            mebibytes(slow.seen.bytes as f64),
            format!("{:.1}", slow.seen.seconds),
            mebibytes(slow.seen.before),
            mebibytes(slow.seen.most),
            mebibytes(slow.seen.after),
        ]);
    }
    table
}

pub(super) fn runs(all: &[Slow]) -> impl Iterator<Item = (Target, &Run)> {
    all.iter().map(|slow| (slow.target, &slow.run))
}
