//! A corpus through a real collector: every call has its entry, and the entries say what was made.

#![allow(clippy::unwrap_used, missing_docs)]

use indelible_collector::{Collector, Config, Query};
use indelible_corpus::spool::Spool;
use indelible_corpus::{Corpus, Options};
use indelible_record::entry::Status;
use indelible_record::shipping::Acknowledged;
use std::collections::BTreeMap;

const RECORDS: u64 = 300;

#[tokio::test]
async fn every_call_has_its_entry_and_the_entries_say_what_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(Config::new(&dir.path().join("data"))).unwrap();
    let key = collector.spool_key().unwrap().public().clone();
    let options = Options::new(3, RECORDS);
    let mut spool = Spool::new(Corpus::new(options.clone()), "corpus", key).unwrap();
    let mut acknowledged = None;
    while let Some(batch) = spool.next_batch().unwrap() {
        let body = [&batch.header[..], &batch.frames].concat();
        let ack = collector.receive(&body, None, acknowledged, false).await.unwrap();
        assert_eq!(ack.seq, batch.last_seq);
        acknowledged = Some(Acknowledged { seq: ack.seq, token: ack.token });
    }
    let counts = spool.counts();
    assert_eq!((counts.calls, counts.starts), (RECORDS, 2));
    assert!(counts.interrupted >= 1);
    let query = Query { tenant: Some("default".to_owned()), ..Query::default() };
    let found = collector.list(&query, 2 * RECORDS as usize).unwrap();
    let entries: BTreeMap<&str, _> =
        found.iter().map(|found| (found.entry.event_id.as_str(), found)).collect();
    let mut interrupted = 0;
    for call in Corpus::new(options) {
        let found = entries[call.event_id.to_string().as_str()];
        let entry = &found.entry;
        assert_eq!(entry.model, call.start.facts.model);
        assert_eq!(entry.session_id, call.start.facts.session_id, "no session id looks like a person's");
        assert_eq!(entry.request_id, call.start.facts.request_id, "and no request id");
        let payload = collector.payload(found).unwrap();
        assert_eq!(payload.request, call.request.as_bytes());
        if entry.status == Some(Status::Interrupted) {
            interrupted += 1;
            continue;
        }
        let end = call.end.as_ref().unwrap();
        assert_eq!(payload.response, call.response().as_bytes());
        assert_eq!(entry.status, Some(end.status));
        let priced = end.status == Status::Completed && entry.provider.as_deref() == Some("openai");
        assert_eq!(entry.cost_usd.is_some(), priced, "{entry:?}");
    }
    assert_eq!(interrupted, counts.interrupted);
    collector.stop().unwrap();
}
