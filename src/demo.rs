//! `indelible demo`: the two-minute try. Everything in one process, sample traffic, and then the proof.

use crate::cli::{Common, Demo};
use crate::collector;
use crate::failure::{Failure, Outcome};
use crate::shutdown::Signals;
use crate::up::Both;
use crate::{records, verify};
use indelible_collector::{Query, view};
use indelible_standin::load::{self, Outcome as Sent, Plan};
use indelible_verify::Verdict;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const CONCURRENCY: usize = 8;
/// How long the last records may take to be signed.
const SIGNED_WITHIN: Duration = Duration::from_secs(10);

/// Runs the demonstration.
pub(crate) fn run(common: &Common, arguments: &Demo) -> Outcome {
    collector::runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let model_server = listen(0).await?;
        let upstream = format!("http://{}", model_server.local_addr().map_err(Failure::new)?);
        tokio::spawn(indelible_standin::serve(model_server, std::future::pending::<()>()));
        let both = Both::start(common, &upstream, listen(8089).await?, listen(8090).await?, |_| {}).await?;
        let (gateway_url, api_url) = (both.gateway_url.clone(), both.collector.url.clone());
        eprintln!("gateway {gateway_url}  collector {api_url}  stand-in model server {upstream}\n");

        let reader = both.collector.collector.clone();
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(both.serve(async {
            // A dropped sender means the same.
            let _ = told.await;
        }));
        let sent = send(arguments.requests, &gateway_url).await?;
        wait_until_signed(&reader, &sent).await?;
        summarise(&reader, &sent)?;
        println!("\n$ indelible verify --data {}", common.data().display());
        let verdict = verify::check_and_print(common)?;
        show_one(&reader, &sent).await?;
        drop(reader);
        next_steps(common, &gateway_url, arguments.stay);
        if arguments.stay {
            signals.asked().await;
        }
        // The server may have failed by itself: its outcome says so.
        let _ = tell.send(());
        serving.await.map_err(Failure::new)??;
        if verdict != Verdict::Holds {
            return Err(Failure::new("the ledger does not verify").code(verdict.exit_code()));
        }
        Ok(0)
    })
}

/// The usual port, or any other when something listens there.
async fn listen(port: u16) -> Result<TcpListener, Failure> {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    match TcpListener::bind(address(port)).await {
        Ok(listener) => Ok(listener),
        Err(error) => {
            eprintln!("port {port} is taken ({error}): using another");
            TcpListener::bind(address(0)).await.map_err(Failure::new)
        }
    }
}

async fn send(requests: u32, gateway_url: &str) -> Result<Sent, Failure> {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(requests.into())
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} requests") {
        bar.set_style(style);
    }
    let plan = Plan { requests: requests as usize, ..Plan::default() };
    let progress = bar.clone();
    let sent = load::run(plan, gateway_url, Some("sk-demo-not-a-real-key"), CONCURRENCY, move |done| {
        progress.set_position(done as u64);
    })
    .await;
    bar.finish_and_clear();
    if sent.event_ids.is_empty() {
        let why = sent
            .first_failure
            .map_or_else(|| "no answer came back".to_owned(), |failure| failure.to_string());
        return Err(Failure::new("the sample traffic failed").detail(why));
    }
    println!(
        "sent {} requests in {:.1} s: {} answered, {} failed",
        sent.completed + sent.failed,
        sent.elapsed.as_secs_f64(),
        sent.completed,
        sent.failed
    );
    Ok(sent)
}

async fn wait_until_signed(collector: &indelible_collector::Collector, sent: &Sent) -> Result<(), Failure> {
    let asked = Instant::now();
    let last = sent.event_ids.last().cloned().unwrap_or_default();
    while asked.elapsed() < SIGNED_WITHIN {
        let query = Query { id: Some(last.clone()), ..Query::default() };
        let found = collector.list(&query, 1).map_err(|error| collector::failure(&error))?;
        let signed: u64 =
            collector.signed_sizes().iter().filter(|(t, _)| t == "default").map(|(_, n)| n).sum();
        if found.first().is_some_and(|one| collector.level(&one.entry) == "signed")
            && signed > sent.event_ids.len() as u64
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::new(format!("the records were not signed within {SIGNED_WITHIN:?}")))
}

fn summarise(collector: &indelible_collector::Collector, sent: &Sent) -> Result<(), Failure> {
    let query = Query { tenant: Some("default".to_owned()), ..Query::default() };
    let found = collector.list(&query, sent.event_ids.len()).map_err(|error| collector::failure(&error))?;
    let mut by_kind: BTreeMap<(String, String, String), (u64, u64)> = BTreeMap::new();
    for one in &found {
        let entry = &one.entry;
        let model = entry.model.clone().unwrap_or_else(|| "-".to_owned());
        let status = entry.status.map_or("-", |status| status.as_str()).to_owned();
        let row = by_kind.entry((entry.event_type.clone(), model, status)).or_default();
        row.0 += 1;
        row.1 += entry.prompt_tokens.unwrap_or(0) + entry.completion_tokens.unwrap_or(0);
    }
    println!("\nrecorded:");
    println!("  {:<12} {:<24} {:<15} {:>7} {:>9}", "TYPE", "MODEL", "STATUS", "RECORDS", "TOKENS");
    for ((kind, model, status), (records, tokens)) in by_kind {
        println!("  {kind:<12} {model:<24} {status:<15} {records:>7} {tokens:>9}");
    }
    Ok(())
}

async fn show_one(collector: &indelible_collector::Collector, sent: &Sent) -> Result<(), Failure> {
    let id = &sent.event_ids[0];
    let query = Query { id: Some(id.clone()), ..Query::default() };
    let found = collector.list(&query, 1).map_err(|error| collector::failure(&error))?;
    let Some(one) = found.first() else { return Err(Failure::new(format!("record {id} was not found"))) };
    let asked = json!({ "id": id, "purpose": "demo" });
    let recorded = collector.record_access("operator", "show", Some(("record", id)), asked, 1).await;
    recorded.map_err(|error| collector::failure(&error))?;
    let payload = collector.payload(one).map_err(|error| error.to_string());
    let record = view::full(one, collector.level(&one.entry), payload.as_ref().map_err(Clone::clone));
    println!("\n$ indelible show {id}");
    print!("{}", records::readable(&record));
    Ok(())
}

fn next_steps(common: &Common, gateway_url: &str, stay: bool) {
    let data = common.data();
    let data = data.display();
    println!("\nnext:");
    println!("  indelible list --data {data}");
    println!("  indelible list --data {data} --user user-0003 --json");
    println!("  indelible verify --data {data}");
    println!("  indelible up --upstream http://127.0.0.1:8000     your own model server, recorded");
    if stay {
        println!("\nstill serving: OPENAI_BASE_URL={gateway_url}/v1   (Ctrl-C ends)");
    }
}
