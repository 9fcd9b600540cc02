//! What the gateway counts of requests: atomics and fixed buckets, nothing allocated for a request.
//!
//! `added` is how long the gateway itself kept a request: from having read it to sending it on, from the
//! model server's head to its release, and from the last byte in to the last byte out. What the model server
//! and the client take is in none of it. A [`Ticket`] measures that as it rides along.

use crate::access::Reason;
use crate::access::limits::Permit;
use crate::traces::{Span, Traces};
use indelible_record::entry::Status;
use indelible_record::event::Start;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Upper bounds of the histogram's buckets, in microseconds. Above the last one is one more bucket.
const BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];
/// How a request may end; only the collector writes `interrupted`.
const ENDS: [Status; 5] =
    [Status::Completed, Status::UpstreamError, Status::Timeout, Status::Cancelled, Status::Rejected];

/// What is counted, of all requests.
#[derive(Debug, Default)]
pub struct Metrics {
    in_flight: AtomicU64,
    connections: AtomicU64,
    added: Histogram,
    rejected: [AtomicU64; Reason::ALL.len()],
    routes: Mutex<BTreeMap<String, Arc<RouteCounters>>>,
    reloads_applied: AtomicU64,
    reloads_refused: AtomicU64,
    refused: AtomicU64,
    pending: AtomicU64,
}

/// What is counted for one route, under whichever configuration.
#[derive(Debug, Default)]
pub struct RouteCounters {
    ends: [AtomicU64; ENDS.len()],
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// How the last reload went, for `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// What is on disk is in force; whether some of it waits for a restart.
    Applied {
        /// Keys changed that need one.
        pending: bool,
    },
    /// What is on disk cannot be used; what was in force before still is.
    Refused,
}

impl Metrics {
    /// The counters of a route. They stay when the route goes: a counter never goes down.
    pub fn route(&self, name: &str) -> Arc<RouteCounters> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.entry(name.to_owned()).or_default().clone()
    }

    /// A request was read and has a route.
    pub fn on_request(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// It ended. `added` is `None` where it never went to the model server.
    pub fn on_end(&self, route: &RouteCounters, status: Status, added: Option<Duration>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(index) = ENDS.iter().position(|end| *end == status) {
            route.ends[index].fetch_add(1, Ordering::Relaxed);
        }
        if let Some(added) = added {
            self.added.observe(added);
        }
    }

    /// A request was turned away by the gateway's rules.
    pub fn on_rejected(&self, reason: Reason) {
        self.rejected[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A reload was tried.
    pub fn on_reload(&self, reload: Reload) {
        let counter = if reload == Reload::Refused { &self.reloads_refused } else { &self.reloads_applied };
        counter.fetch_add(1, Ordering::Relaxed);
        self.refused.store((reload == Reload::Refused).into(), Ordering::Relaxed);
        if let Reload::Applied { pending } = reload {
            self.pending.store(pending.into(), Ordering::Relaxed);
        }
    }

    /// Appends all of it as Prometheus text (exposition format 0.0.4), names behind `indelible_gateway_`.
    pub fn render(&self, text: &mut String) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        head(text, "requests_total", "counter", "Requests by route and how they ended");
        for (name, route) in self.routes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (end, count) in ENDS.iter().zip(&route.ends) {
                let labels = format!("{{route=\"{name}\",status=\"{}\"}}", end.as_str());
                line(text, "requests_total", &labels, read(count));
            }
        }
        head(text, "rejected_total", "counter", "Requests turned away by keys, routes and limits");
        for (reason, count) in Reason::ALL.iter().zip(&self.rejected) {
            line(text, "rejected_total", &format!("{{reason=\"{}\"}}", reason.as_str()), read(count));
        }
        for (name, help, value) in [
            ("in_flight_requests", "Requests that have a route and have not ended", &self.in_flight),
            ("connections", "Connections of clients", &self.connections),
            ("reload_refused", "1 while the configuration on disk cannot be used", &self.refused),
            ("reload_pending", "1 while keys changed that need a restart", &self.pending),
        ] {
            head(text, name, "gauge", help);
            line(text, name, "", read(value));
        }
        head(text, "reloads_total", "counter", "Configurations and key files read anew, by outcome");
        line(text, "reloads_total", "{outcome=\"applied\"}", read(&self.reloads_applied));
        line(text, "reloads_total", "{outcome=\"refused\"}", read(&self.reloads_refused));
        self.added.render(
            text,
            "added_seconds",
            "How long the gateway itself kept requests that it forwarded",
        );
    }
}

/// The two lines above a metric.
pub(crate) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, "# HELP indelible_gateway_{name} {help}\n# TYPE indelible_gateway_{name} {kind}\n");
}

/// One value of a metric.
pub(crate) fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "indelible_gateway_{name}{labels} {value}");
}

impl Histogram {
    fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn render(&self, text: &mut String, name: &str, help: &str) {
        head(text, name, "histogram", help);
        let mut count = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_US.get(index).map_or("+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
            line(text, name, &format!("_bucket{{le=\"{bound}\"}}"), count);
        }
        line(text, name, "_sum", self.sum_us.load(Ordering::Relaxed) as f64 / 1e6);
        line(text, name, "_count", count);
    }
}

/// Rides along with a request from its admission to its end, which is when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    metrics: Arc<Metrics>,
    route: Arc<RouteCounters>,
    _permit: Permit,
    status: Status,
    forwarded: bool,
    added: Duration,
    /// Since when the gateway has it in its hands.
    since: Option<Instant>,
    /// Where requests are traced. Ends with this.
    span: Option<Box<Span>>,
}

impl Ticket {
    /// A request was read, and has a route. One that ends without another word was turned away.
    pub(crate) fn new(metrics: Arc<Metrics>, route: Arc<RouteCounters>, permit: Permit) -> Self {
        metrics.on_request();
        let (status, since) = (Status::Rejected, Some(Instant::now()));
        Self {
            metrics,
            route,
            _permit: permit,
            status,
            forwarded: false,
            added: Duration::ZERO,
            since,
            span: None,
        }
    }

    /// Traces it, where requests are traced.
    pub(crate) fn trace(&mut self, traces: Option<&Traces>, event_id: Uuid, start: &Start) {
        self.span = traces.map(|traces| Box::new(traces.begin(event_id, start)));
    }

    /// The gateway has it in its hands.
    pub(crate) fn hold(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// It is with the model server or the client.
    pub(crate) fn release(&mut self) {
        self.forwarded = true;
        if let Some(since) = self.since.take() {
            self.added += since.elapsed();
        }
    }

    /// How it ends; what is left is to let the last byte go.
    pub(crate) fn ending(&mut self, status: Status, http_status: Option<u16>) {
        self.status = status;
        if let Some(span) = &mut self.span {
            span.ending(status, http_status);
        }
        self.hold();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let held = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        let added = self.forwarded.then_some(self.added + held);
        self.metrics.on_end(&self.route, self.status, added);
    }
}

/// Counts a connection for as long as it lives. A server clones its handler once for each connection, so a
/// handler that holds one of these is counted with its clones; the original is not.
#[derive(Debug)]
pub(crate) struct Connections {
    metrics: Arc<Metrics>,
    counted: bool,
}

impl Connections {
    pub(crate) fn of(metrics: &Arc<Metrics>) -> Self {
        Self { metrics: metrics.clone(), counted: false }
    }
}

impl Clone for Connections {
    fn clone(&self) -> Self {
        self.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self { metrics: self.metrics.clone(), counted: true }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        if self.counted {
            self.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(metrics: &Metrics) -> String {
        let mut text = String::new();
        metrics.render(&mut text);
        text
    }

    #[test]
    fn requests_are_counted_by_route_and_end_and_in_flight_until_then() {
        let metrics = Arc::new(Metrics::default());
        let mut ticket = Ticket::new(metrics.clone(), metrics.route("a"), Permit::default());
        let refused = Ticket::new(metrics.clone(), metrics.route("b"), Permit::default());
        assert!(shown(&metrics).contains("in_flight_requests 2\n"));
        ticket.release();
        ticket.ending(Status::Completed, None);
        drop(ticket);
        drop(refused);
        let text = shown(&metrics);
        for expected in [
            "in_flight_requests 0\n",
            "requests_total{route=\"a\",status=\"completed\"} 1\n",
            "requests_total{route=\"b\",status=\"rejected\"} 1\n",
            "added_seconds_count 1\n",
        ] {
            assert!(text.contains(expected), "no {expected} in {text}");
        }
    }

    #[test]
    fn time_at_the_model_server_is_not_added() {
        let metrics = Arc::new(Metrics::default());
        let mut ticket = Ticket::new(metrics.clone(), metrics.route("a"), Permit::default());
        ticket.release();
        std::thread::sleep(Duration::from_millis(60));
        ticket.ending(Status::Completed, None);
        drop(ticket);
        assert!(shown(&metrics).contains("added_seconds_bucket{le=\"0.05\"} 1\n"), "{}", shown(&metrics));
        let mut slow = Ticket::new(metrics.clone(), metrics.route("a"), Permit::default());
        slow.release();
        slow.ending(Status::Completed, None);
        std::thread::sleep(Duration::from_millis(60));
        drop(slow);
        assert!(shown(&metrics).contains("added_seconds_bucket{le=\"0.05\"} 1\n"), "{}", shown(&metrics));
        assert!(shown(&metrics).contains("added_seconds_count 2\n"));
    }

    #[test]
    fn buckets_are_cumulative_and_hold_their_bounds() {
        let metrics = Metrics::default();
        let route = metrics.route("a");
        for us in [0, 50, 51, 1_000_000, 1_000_001] {
            metrics.on_request();
            metrics.on_end(&route, Status::Completed, Some(Duration::from_micros(us)));
        }
        let text = shown(&metrics);
        for (bound, count) in [("0.00005", 2), ("0.0001", 3), ("1", 4), ("+Inf", 5)] {
            let expected = format!("added_seconds_bucket{{le=\"{bound}\"}} {count}\n");
            assert!(text.contains(&expected), "no {expected} in {text}");
        }
        assert!(text.contains("added_seconds_sum 2.000102\n"), "{text}");
    }

    #[test]
    fn every_metric_has_help_and_type_once() {
        let text = shown(&Metrics::default());
        let mut named = std::collections::BTreeSet::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE indelible_gateway_").and_then(|rest| rest.split_once(' ')) {
                Some((name, _)) => assert!(named.insert(name), "{name} twice"),
                None if line.starts_with('#') => {}
                None => {
                    let name = line.strip_prefix("indelible_gateway_").unwrap();
                    assert!(named.iter().any(|known| name.starts_with(known)), "{line} has no type");
                }
            }
        }
        assert_eq!(text.matches("# HELP").count(), named.len());
    }

    #[test]
    fn connections_are_counted_by_the_clones_of_a_handler() {
        let metrics = Arc::new(Metrics::default());
        let original = Connections::of(&metrics);
        let (one, two) = (original.clone(), original.clone());
        assert!(shown(&metrics).contains("connections 2\n"));
        drop((one, two, original));
        assert!(shown(&metrics).contains("connections 0\n"));
    }
}
