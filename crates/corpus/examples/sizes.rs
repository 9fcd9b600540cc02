//! Prints what a corpus is made of: records and bytes by application.
use indelible_corpus::{Corpus, Options};
use std::collections::BTreeMap;
fn main() {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(60_000);
    let started = std::time::Instant::now();
    let mut by: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    for call in Corpus::new(Options::new(11, count)) {
        let entry = by.entry(call.start.facts.tags.join(" ")).or_default();
        *entry = (entry.0 + 1, entry.1 + call.bytes());
    }
    let total: usize = by.values().map(|of| of.1).sum();
    for (name, (records, bytes)) in by {
        println!(
            "{name:24} {:5.1} % {:7} bytes each, {:4.1} % of bytes",
            100.0 * records as f64 / count as f64,
            bytes / records as usize,
            100.0 * bytes as f64 / total as f64
        );
    }
    println!(
        "{} bytes each, {:.0} records/s",
        total as u64 / count,
        count as f64 / started.elapsed().as_secs_f64()
    );
}
