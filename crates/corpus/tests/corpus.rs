//! What a corpus promises: the same again for the same seed, bodies that parse, and records of every kind.

#![allow(clippy::unwrap_used, missing_docs)]

use indelible_corpus::{CHAT_TURNS, Call, Corpus, Mix, Options};
use indelible_record::entry::Status;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn calls(options: Options) -> Vec<Call> {
    Corpus::new(options).collect()
}

fn everyday(count: u64) -> Vec<Call> {
    calls(Options::new(11, count))
}

#[test]
fn the_same_seed_gives_the_same_records_and_another_gives_others() {
    assert_eq!(everyday(400), everyday(400));
    let other = calls(Options::new(12, 400));
    assert!(everyday(400).iter().zip(&other).all(|(a, b)| a.event_id != b.event_id));
}

#[test]
fn there_are_as_many_records_as_were_asked_for_in_order_of_arrival() {
    for count in [0, 1, 60, 1000] {
        let calls = everyday(count);
        assert_eq!(calls.len() as u64, count);
        assert!(calls.is_sorted_by_key(|call| call.start.time));
        let ids: BTreeSet<_> = calls.iter().map(|call| call.event_id).collect();
        assert_eq!(ids.len(), calls.len());
    }
}

#[test]
fn bodies_are_json_or_streams_of_it_and_open_their_commitments() {
    for call in everyday(3000) {
        let request: Value = serde_json::from_str(&call.request).unwrap();
        assert_eq!(request["model"], call.start.facts.model.as_deref().unwrap());
        assert!(call.start.private.input.as_ref().unwrap().opens_to(call.request.as_bytes()));
        let Some(end) = &call.end else { continue };
        let response = call.response();
        assert!(end.private.output.as_ref().unwrap().opens_to(response.as_bytes()));
        assert_eq!(end.delivered_bytes, response.len() as u64);
        match end.private.output_type.as_deref() {
            _ if end.output_partial => {}
            Some("text/event-stream") => check_stream(&response, end.private.usage.as_deref().unwrap()),
            _ => {
                let answer: Value = serde_json::from_str(&response).unwrap();
                assert_eq!(answer.get("error").is_some(), end.status != Status::Completed);
            }
        }
    }
}

fn check_stream(body: &str, usage: &str) {
    let events: Vec<&str> =
        body.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(*done, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    let said = chunks.last().unwrap()["usage"].clone();
    assert_eq!(said, serde_json::from_str::<Value>(usage).unwrap());
}

#[test]
fn everyday_traffic_has_every_kind_of_record() {
    let calls = everyday(20_000);
    let mut by_status: BTreeMap<&str, u64> = BTreeMap::new();
    for call in &calls {
        let status = call.end.as_ref().map_or(Status::Interrupted, |end| end.status);
        *by_status.entry(status.as_str()).or_default() += 1;
    }
    let words: Vec<&str> = by_status.keys().copied().collect();
    assert_eq!(words, ["cancelled", "completed", "interrupted", "rejected", "timeout", "upstream_error"]);
    let completed = by_status["completed"] as f64 / calls.len() as f64;
    assert!((0.9..0.99).contains(&completed), "{by_status:?}");
    let some = |has: &dyn Fn(&Call) -> bool| calls.iter().filter(|call| has(call)).count();
    assert!(some(&|call| call.start.facts.stream == Some(true)) > 500);
    assert!(some(&|call| !call.pieces.is_empty()) > 100);
    assert!(some(&|call| call.start.facts.operation == "embeddings") > 5000);
    assert!(some(&|call| !call.start.facts.tools.is_empty()) > 200);
    assert!(some(&|call| call.start.facts.attempt.is_some()) > 50);
    assert!(some(&|call| call.end.as_ref().is_some_and(|end| !end.answer.tool_calls.is_empty())) > 150);
    assert!(some(&|call| call.end.as_ref().is_some_and(|end| end.answer.cached_tokens > Some(0))) > 50);
}

#[test]
fn the_mean_record_is_under_three_kilobytes() {
    let calls = everyday(60_000);
    let mean = calls.iter().map(Call::bytes).sum::<usize>() / calls.len();
    assert!((2400..3000).contains(&mean), "{mean} bytes");
}

#[test]
fn each_request_of_a_chat_begins_with_all_of_it_so_far() {
    let options = Options { mix: Mix::Chat, ..Options::new(5, 100) };
    let mut histories: BTreeMap<String, Vec<Vec<Value>>> = BTreeMap::new();
    for call in calls(options) {
        let request: Value = serde_json::from_str(&call.request).unwrap();
        let session = call.start.facts.session_id.clone().unwrap();
        histories.entry(session).or_default().push(request["messages"].as_array().unwrap().clone());
    }
    assert_eq!(histories.len() as u64, 100 / CHAT_TURNS);
    for turns in histories.values() {
        assert_eq!(turns.len() as u64, CHAT_TURNS);
        for (before, after) in turns.iter().zip(&turns[1..]) {
            assert_eq!(after[..before.len()], before[..]);
            assert_eq!(after.len(), before.len() + 2);
        }
    }
}

#[test]
fn slow_chats_are_spread_over_all_of_the_corpus() {
    let options = Options { mix: Mix::SlowChat, ..Options::new(5, 400) };
    let calls = calls(options);
    assert_eq!(calls.len(), 400);
    for quarter in calls.chunks(100) {
        let sessions: BTreeSet<_> = quarter.iter().map(|call| &call.start.facts.session_id).collect();
        assert_eq!(sessions.len(), 20, "each of twenty conversations has turns in each quarter");
    }
}

#[test]
fn sessions_overlap() {
    let calls = everyday(2000);
    let sessions: Vec<&str> =
        calls.iter().filter_map(|call| call.start.facts.session_id.as_deref()).collect();
    let changes = sessions.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let distinct: BTreeSet<_> = sessions.iter().collect();
    assert!(2 * changes > 3 * distinct.len(), "{changes} changes between {} sessions", distinct.len());
}

#[test]
fn tenants_share_the_applications() {
    let tenants = vec!["north".to_owned(), "south".to_owned()];
    let calls = calls(Options { tenants: tenants.clone(), ..Options::new(1, 500) });
    for tenant in &tenants {
        assert!(calls.iter().filter(|call| call.start.tenant == *tenant).count() > 50);
    }
}
