//! `kill -9` of gateway, collector and both, at random points, under load.
//!
//! After each kill the ledger verifies. At the end: every answer that a client had whole has exactly one
//! entry, which says so; every request that the model server saw has exactly one terminal entry; no event
//! stands twice. `INDELIBLE_KILLS` sets how often (15 by default, 200 for the long form), and
//! `INDELIBLE_KILL_SEED` repeats a run.

use crate::common::{ModelServer, Process, Site, free_address};
use indelible_standin::load::{self, Plan};
use indelible_vault::{KeyStore, Vault};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

const REQUESTS_PER_LIFE: usize = 400;
const CONCURRENCY: usize = 16;

/// Gateway and collector as two processes that speak mutual TLS.
pub struct TwoMachines {
    pub site: Site,
    pub gateway: SocketAddr,
    pub collector: SocketAddr,
    pub config: String,
}

impl TwoMachines {
    pub fn new(upstream: &str) -> Self {
        Self::with(upstream, "", "")
    }

    /// `gateway` and `route` are further lines of those sections.
    pub fn with(upstream: &str, gateway: &str, route: &str) -> Self {
        let site = Site::new();
        let made = site.run(&["key", "init"]);
        assert!(made.status.success(), "{}", crate::common::text(&made.stderr));
        let (listen, there) = (free_address(), free_address());
        let keys = site.keys.display();
        let path = site.dir.path().join("indelible.toml");
        let file = format!(
            r#"
            [gateway]
            listen = "{listen}"
            spool = "spool"
            api_key_id_key = "{keys}/gateway-1/api-key-id.key"
            {gateway}
            [gateway.collector]
            url = "https://localhost:{port}"
            ca = "{keys}/gateway-1/ca.pem"
            cert = "{keys}/gateway-1/gateway-1.pem"
            key = "{keys}/gateway-1/gateway-1.key"
            spool_key = "{keys}/gateway-1/collector-spool.pub"
            [[gateway.routes]]
            name = "default"
            upstream = "{upstream}"
            {route}
            [collector]
            listen = "{there}"
            tls_cert = "{keys}/tls/collector.pem"
            tls_key = "{keys}/tls/collector.key"
            client_ca = "{keys}/tls/ca.pem"
            "#,
            port = there.port()
        );
        std::fs::write(&path, file).unwrap();
        Self { site, gateway: listen, collector: there, config: path.display().to_string() }
    }

    pub fn start_gateway(&self) -> Process {
        self.site.serve(&["gateway", "--config", &self.config], self.gateway)
    }

    pub fn start_collector(&self) -> Process {
        let announced = self.site.data.join("run/collector.json");
        // What one that was killed left says nothing of the next.
        let _ = std::fs::remove_file(&announced);
        let process = self.site.serve(&["collector", "--config", &self.config], self.collector);
        // It listens before commands find it. One that ends before it serves is for the test to find out.
        let begun = std::time::Instant::now();
        while !announced.exists() && begun.elapsed() < std::time::Duration::from_secs(5) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        process
    }
}

#[test]
fn no_kill_loses_or_doubles_a_record() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let kills = number("INDELIBLE_KILLS", 15);
    let mut seed = number("INDELIBLE_KILL_SEED", 20_261_122);
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    // Segments are made as often as can be: kills meet every step of that, too.
    let config = std::fs::read_to_string(&machines.config).unwrap();
    let sealing = "[collector]\nseal_after_s = 0\nseal_min_bytes = 0";
    std::fs::write(&machines.config, config.replace("[collector]", sealing)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut collector = machines.start_collector();
    let mut gateway = machines.start_gateway();
    // Event id to what the client was told, and request id to how many entries it must have.
    let mut acknowledged: HashMap<String, u16> = HashMap::new();
    let mut lives = Vec::new();
    for life in 0..kills {
        let plan = Plan {
            seed: seed ^ life,
            requests: REQUESTS_PER_LIFE,
            controls: Some("pace=1".to_owned()),
            ..Plan::default()
        };
        lives.push(plan.clone());
        let url = gateway.url();
        let sending =
            runtime.spawn(async move { load::run(plan, &url, Some("sk-test"), CONCURRENCY, |_| {}).await });
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(20 + (seed >> 33) % 400));
        let victims = (seed >> 20) % 3;
        if victims != 1 {
            gateway.kill();
        }
        if victims != 0 {
            collector.kill();
            let (code, report) = machines.site.verify();
            assert_ne!(code, 1, "life {life}: {report:#}");
            collector = machines.start_collector();
        }
        let outcome = runtime.block_on(sending).unwrap();
        acknowledged
            .extend(outcome.answers.into_iter().filter_map(|answer| Some((answer.event_id?, answer.status))));
        if victims != 1 {
            gateway = machines.start_gateway();
        }
        let (code, report) = machines.site.verify();
        assert_eq!(code, 0, "life {life}: {report:#}");
    }
    assert!(acknowledged.len() > kills as usize * 20, "there was load: {} answers", acknowledged.len());

    gateway.wait_shipped();
    // Lives are short: on a quick machine there may have been no time to seal.
    machines.site.json(&["seal", "--json"]);
    assert_eq!(gateway.stop(), 0, "{}", gateway.log());
    assert_eq!(collector.stop(), 0, "{}", collector.log());
    let (code, report) = machines.site.verify();
    assert_eq!(code, 0, "{report:#}");

    let entries = machines.site.entries();
    let mut by_event: HashMap<&str, &serde_json::Value> = HashMap::new();
    let mut by_request: HashMap<&str, usize> = HashMap::new();
    for entry in &entries {
        let event_id = entry["event_id"].as_str().unwrap();
        assert!(by_event.insert(event_id, entry).is_none(), "event {event_id} stands twice");
        if let Some(request_id) = entry["request_id"].as_str() {
            assert!(entry["status"].is_string(), "every entry of a request is terminal: {entry}");
            *by_request.entry(request_id).or_default() += 1;
        }
    }
    for (event_id, status) in &acknowledged {
        let entry = by_event
            .get(event_id.as_str())
            .unwrap_or_else(|| panic!("acknowledged event {event_id} is lost"));
        assert_eq!(entry["http_status"], *status, "{entry}");
        let expected = if *status < 400 { "completed" } else { "upstream_error" };
        assert_eq!(entry["status"], expected, "{entry}");
    }
    let mut vault = Vault::open(KeyStore::open(&machines.site.keys).unwrap()).unwrap();
    for test_id in model.log.test_ids() {
        let (life, index) = lives
            .iter()
            .find_map(|plan| {
                Some((plan, test_id.strip_prefix(&format!("load-{}-", plan.seed))?.parse().ok()?))
            })
            .unwrap();
        let request = life.request(index);
        let request_id =
            request.headers.iter().find(|(name, _)| *name == "x-request-id").map(|(_, id)| id).unwrap();
        // An id of digits alone looks like a person's number and stands in the entry as a keyed hash.
        let hashed = vault.hashed("default", request_id);
        let count = by_request.get(request_id.as_str()).or_else(|| by_request.get(hashed.as_str()));
        assert_eq!(count, Some(&1), "the model server saw request {request_id} ({test_id})");
    }
    let segments = std::fs::read_dir(machines.site.data.join("segments/tenant=default")).unwrap();
    let segments: usize = segments.map(|day| std::fs::read_dir(day.unwrap().path()).unwrap().count()).sum();
    assert!(segments > 0, "something was sealed");
    println!(
        "{kills} kills: {} answers acknowledged, {} entries, {segments} segments",
        acknowledged.len(),
        entries.len()
    );
}
