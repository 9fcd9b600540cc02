//! `cargo xtask corpus`: a data directory full of records that a seed makes.
//!
//! They take the way of all records but for the network: a spool's frames, packed and encrypted to the collector,
//! in batches of about 4 MiB, one under way at a time, into a collector in this process. One thread makes the next
//! batches meanwhile.

use crate::bench::report::grouped;
use indelible_collector::{Collector, Config};
use indelible_corpus::spool::{Counts, Spool};
use indelible_corpus::{Call, Corpus, Mix, Options};
use indelible_record::shipping::Acknowledged;
use indelible_spool::tail::Batch;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: cargo xtask corpus --data DIR [--records N] [--seed S] [--mix everyday|chat|slow-chat] [--tenants A,B]
                    [--seal-mb N]

  --records N   how many (100000)
  --seed S      any number (1): the same seed and number of records give the same records
  --mix MIX     everyday: everything. chat: conversations of 20 turns. slow-chat: the same, each spread over
                all of the corpus
  --tenants     applications are spread over these (default)
  --seal-mb N   make segments whenever so many megabytes of frames are recorded, and not when they are due

A million everyday records are about 3 GB of bodies. The keys go to DIR.keys.";

/// The source that the records come from.
pub(crate) const SOURCE: &str = "corpus";
/// Batches made ahead.
const AHEAD: usize = 2;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Runs what `arguments` ask for.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let Some(Asked { options, data, seal_bytes }) = parse(arguments)? else {
        println!("{USAGE}");
        return Ok(());
    };
    if cfg!(debug_assertions) {
        return crate::machine::again_optimised("corpus", arguments);
    }
    let mut config = Config::new(&data);
    config.tenants.clone_from(&options.tenants);
    config.seals_by_itself = seal_bytes.is_none();
    let collector = Collector::start(config).map_err(|error| error.to_string())?;
    let key = collector.spool_key().ok_or("the collector has no spool key")?.public().clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let started = Instant::now();
    let spool = Spool::new(Corpus::new(options), SOURCE, key).map_err(|error| error.to_string())?;
    let mut unsealed = 0;
    let counts = ship(spool, |batch, acknowledged| {
        let body = [&batch.header[..], &batch.frames].concat();
        let ack = runtime.block_on(collector.receive(&body, None, acknowledged, false));
        let ack = ack.map_err(|error| error.to_string())?;
        unsealed += batch.frames.len() as u64;
        if seal_bytes.is_some_and(|most| unsealed >= most) {
            runtime.block_on(collector.seal()).map_err(|error| error.to_string())?;
            unsealed = 0;
        }
        Ok(Acknowledged { seq: ack.seq, token: ack.token })
    })?;
    collector.stop().map_err(|error| error.to_string())?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} records, {} MB of bodies, {} left open by {} restarts, in {seconds:.1} s: {} records/s, {} MB/s",
        grouped(counts.calls as f64),
        grouped(counts.body_bytes as f64 / 1e6),
        counts.interrupted,
        counts.starts - 1,
        grouped(counts.calls as f64 / seconds),
        grouped(counts.body_bytes as f64 / 1e6 / seconds)
    );
    Ok(())
}

/// Hands the batches of `spool` to `send`, one after the other, while the next are being made. `send` gives what
/// the collector acknowledged, which has to be all of the batch.
pub(crate) fn ship<C: Iterator<Item = Call> + Send + 'static>(
    mut spool: Spool<C>,
    mut send: impl FnMut(&Batch, Option<Acknowledged>) -> Result<Acknowledged, String>,
) -> Result<Counts, String> {
    let (made, batches) = mpsc::sync_channel::<Batch>(AHEAD);
    let (sender, progress) = mpsc::sync_channel(1);
    let maker = std::thread::spawn(move || {
        while let Some(batch) = spool.next_batch().map_err(|error| error.to_string())? {
            // Nobody has to look at the progress; without a receiver there is nothing more to make.
            let _ = sender.try_send(spool.counts());
            if made.send(batch).is_err() {
                break;
            }
        }
        Ok(spool.counts())
    });
    let mut acknowledged: Option<Acknowledged> = None;
    let started = Instant::now();
    let mut said = Instant::now();
    for batch in batches {
        let ack = send(&batch, acknowledged)?;
        if ack.seq != batch.last_seq {
            return Err(format!("frames up to {} were sent, {} acknowledged", batch.last_seq, ack.seq));
        }
        acknowledged = Some(ack);
        if let Ok(counts) = progress.try_recv()
            && said.elapsed() >= PROGRESS_INTERVAL
        {
            said = Instant::now();
            let rate = counts.calls as f64 / started.elapsed().as_secs_f64();
            eprintln!("corpus: {} records made, {} a second", grouped(counts.calls as f64), grouped(rate));
        }
    }
    maker.join().map_err(|_| "making the corpus panicked".to_owned())?
}

struct Asked {
    options: Options,
    data: PathBuf,
    /// Segments are made whenever there are so many bytes of frames, and not when they are due.
    seal_bytes: Option<u64>,
}

/// `None`: help was asked for.
fn parse(arguments: &[String]) -> Result<Option<Asked>, String> {
    let (mut options, mut data, mut seal_bytes) = (Options::new(1, 100_000), None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--help" || argument == "-h" {
            return Ok(None);
        }
        let value = rest.next().ok_or_else(|| format!("{argument} needs a value\n\n{USAGE}"))?;
        let bad = || format!("{argument} {value}: not understood\n\n{USAGE}");
        match argument.as_str() {
            "--records" => options.count = value.parse().map_err(|_| bad())?,
            "--seed" => options.seed = value.parse().map_err(|_| bad())?,
            "--mix" => options.mix = Mix::parse(value).ok_or_else(bad)?,
            "--tenants" => {
                options.tenants = value.split(',').map(str::to_owned).collect();
                if options.tenants.iter().any(String::is_empty) {
                    return Err(bad());
                }
            }
            "--seal-mb" => {
                let megabytes = value.parse::<u64>().ok().filter(|megabytes| *megabytes > 0);
                seal_bytes = Some(megabytes.and_then(|all| all.checked_mul(1_000_000)).ok_or_else(bad)?);
            }
            "--data" => data = Some(PathBuf::from(value)),
            _ => return Err(bad()),
        }
    }
    let data = data.ok_or_else(|| format!("where to? name a directory with --data\n\n{USAGE}"))?;
    Ok(Some(Asked { options, data, seal_bytes }))
}
