//! The driver against the stand-in: every request arrives once, and the statuses are the plan's own.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indelible_standin::load::{Plan, run};
use indelible_standin::{Log, serve_logged};
use serde_json::Value;
use tokio::net::TcpListener;

#[tokio::test]
async fn every_request_arrives_once_and_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let log = Arc::new(Log::default());
    let server = tokio::spawn(serve_logged(listener, Arc::clone(&log), std::future::pending()));
    let plan = Plan { requests: 600, ..Plan::default() };
    let most = Arc::new(AtomicUsize::new(0));
    let progress = Arc::clone(&most);
    let on_progress = move |done| {
        progress.fetch_max(done, Ordering::Relaxed);
    };
    let outcome = run(plan.clone(), &url, Some("a-key"), 8, on_progress).await;
    server.abort();

    assert_eq!((outcome.completed, outcome.failed), (600, 0), "{:?}", outcome.first_failure);
    assert_eq!(most.load(Ordering::Relaxed), 600);
    let ids: HashSet<String> = log.test_ids().into_iter().collect();
    assert_eq!((log.count(), ids), (600, (0..600).map(|i| plan.test_id(i)).collect()));
    assert!(outcome.event_ids.is_empty());
    for answer in &outcome.answers {
        let body = serde_json::from_slice::<Value>(&plan.request(answer.index).body);
        let expected = match body {
            Err(_) => 400,
            Ok(body) if body["model"].as_str().unwrap().starts_with("missing") => 404,
            Ok(_) => 200,
        };
        assert_eq!(answer.status, expected);
    }
}

#[tokio::test]
async fn a_base_url_that_leads_nowhere_is_a_failure_with_a_reason() {
    let plan = Plan { requests: 3, ..Plan::default() };
    let outcome = run(plan, "http://127.0.0.1:1", None, 2, |_| {}).await;
    assert_eq!((outcome.completed, outcome.failed), (0, 3));
    assert!(outcome.first_failure.unwrap().contains("refused"));
}
