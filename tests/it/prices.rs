//! What calls cost, from the model server's answer to the entry: `cost_usd`, `price_ref`, and the counts behind
//! them. A call that no rule fits has none of these.

use crate::common::*;
use crate::kill::TwoMachines;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// A model server that always says this, as `model`.
fn saying(model: &str, usage: &Value) -> RawServer {
    let choices =
        json!([{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "" } }]);
    let body = json!({ "id": "1", "model": model, "choices": choices, "usage": usage }).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    RawServer::answering([head.as_bytes(), body.as_bytes()].concat())
}

fn ask(gateway: &Process, path: &str, body: &Value) -> String {
    let answer = post(gateway.listen, path, &[], body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", text(&answer.body));
    answer.event_id().to_owned()
}

fn entry(machines: &TwoMachines, event_id: &str) -> Value {
    machines.site.record(event_id)["entry"].clone()
}

/// Appends to the configuration, whose last section is the collector's.
fn add(machines: &TwoMachines, lines: &str) {
    let whole = std::fs::read_to_string(&machines.config).unwrap();
    std::fs::write(&machines.config, format!("{whole}\n{lines}\n")).unwrap();
}

#[test]
fn the_release_prices_what_its_table_knows_and_nothing_else() {
    let usage = json!({
        "prompt_tokens": 1200, "completion_tokens": 50, "total_tokens": 1250,
        "prompt_tokens_details": { "cached_tokens": 1000, "audio_tokens": 0 },
    });
    let (known, unknown) = (saying("gpt-4o-2024-08-06", &usage), saying("house-model", &usage));
    let second = format!("[[gateway.routes]]\nname = \"own\"\npath = \"/own\"\nupstream = \"{}\"", known.url);
    let third =
        format!("[[gateway.routes]]\nname = \"new\"\npath = \"/new\"\nupstream = \"{}\"", unknown.url);
    let routes = format!("provider = \"openai\"\n{second}\n{third}\nprovider = \"openai\"");
    let machines = TwoMachines::with(&known.url, "", &routes);
    let collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let body = json!({ "model": "gpt-4o", "messages": [] });
    let priced = ask(&gateway, CHAT, &body);
    let nobody_s = ask(&gateway, "/own/v1/chat/completions", &body);
    let new = ask(&gateway, "/new/v1/chat/completions", &json!({ "model": "house-model", "messages": [] }));
    // 200 × 2.5/10⁶ + 1000 × 1.25/10⁶ + 50 × 10/10⁶ = 0.0005 + 0.00125 + 0.0005
    let entry_of_priced = entry(&machines, &priced);
    assert_eq!(entry_of_priced["cost_usd"], "0.00225", "{entry_of_priced:#}");
    let reference = entry_of_priced["price_ref"].as_str().unwrap();
    assert!(reference.starts_with("genai-prices:") && reference.contains(":openai/gpt-4o:"), "{reference}");
    assert_eq!(entry_of_priced["detail"]["usage"], Value::Null, "the entry's own fields say it all");
    // The same model, served by nobody knows whom; and a model that nobody knows.
    for id in [&nobody_s, &new] {
        let entry = entry(&machines, id);
        assert_eq!((&entry["prompt_tokens"], &entry["usage_source"]), (&json!(1200), &json!("provider")));
        assert_eq!((&entry["cost_usd"], &entry["price_ref"]), (&Value::Null, &Value::Null), "{entry:#}");
    }
    wait_until("both models in the log", || {
        let log = collector.log();
        let named = |model: &str| {
            log.lines().filter(|line| line.contains("have no cost") && line.contains(model)).count() == 1
        };
        named("gpt-4o-2024-08-06") && named("house-model")
    });
    // What the command explains is what the entry says.
    let at = entry_of_priced["timestamp"].as_str().unwrap();
    let explained = machines.site.json(&[
        "price",
        "gpt-4o-2024-08-06",
        "--provider",
        "openai",
        "--at",
        at,
        "--json",
        "--input",
        "1200",
        "--cached",
        "1000",
        "--output",
        "50",
    ]);
    assert_eq!(explained["cost_usd"], entry_of_priced["cost_usd"]);
    assert_eq!(explained["price_ref"], entry_of_priced["price_ref"]);
    assert_eq!(machines.site.verify().0, 0);
}

#[test]
fn an_operator_s_table_and_overrides_are_used() {
    let usage = json!({ "input_tokens": 10, "output_tokens": 20, "cache_creation_input_tokens": 300,
                        "prompt_tokens": 310, "completion_tokens": 20 });
    let server = saying("m-1", &usage);
    let more = format!(
        "provider = \"example\"\n[[gateway.routes]]\nname = \"gpu\"\npath = \"/gpu\"\nupstream = \"{}\"",
        server.url
    );
    let machines = TwoMachines::with(&server.url, "", &more);
    let mapping = |path: &str, dest: &str| json!({ "path": path, "dest": dest });
    let table = json!([{ "id": "example", "models": [{
            "id": "m-1", "match": { "equals": "m-1" },
            "prices": { "input_mtok": 3, "cache_write_mtok": 3.75, "output_mtok": 15 },
            "price_variants": [{ "when": { "service_tier": "flex" }, "prices": { "output_mtok": 1 } }],
        }],
        "extractors": [{ "root": "usage", "mappings": [
            mapping("input_tokens", "input_tokens"), mapping("cache_creation_input_tokens", "input_tokens"),
            mapping("cache_creation_input_tokens", "cache_write_tokens"), mapping("output_tokens", "output_tokens"),
        ]}],
    }]);
    std::fs::write(machines.site.dir.path().join("table.json"), table.to_string()).unwrap();
    let gpu =
        "name = \"h100\"\nmodel = \"m-*\"\nroute = \"gpu\"\ngpu_usd_per_hour = \"3600000\"\ngpus = \"2\"";
    add(
        &machines,
        &format!("[collector.prices]\ntable = \"table.json\"\n[[collector.prices.overrides]]\n{gpu}"),
    );
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let usual = ask(&gateway, CHAT, &json!({ "model": "m-1", "messages": [] }));
    let flex = ask(&gateway, CHAT, &json!({ "model": "m-1", "messages": [], "service_tier": "flex" }));
    let timed = ask(&gateway, "/gpu/v1/chat/completions", &json!({ "model": "m-1", "messages": [] }));
    // 10 × 3/10⁶ + 300 × 3.75/10⁶ + 20 × 15/10⁶ = 0.00003 + 0.001125 + 0.0003
    let entry_of_usual = entry(&machines, &usual);
    assert_eq!(entry_of_usual["cost_usd"], "0.001455", "{entry_of_usual:#}");
    assert_eq!(entry_of_usual["detail"]["usage"], json!({ "cache_write_tokens": 300 }));
    let reference = entry_of_usual["price_ref"].as_str().unwrap();
    assert!(
        reference.starts_with("genai-prices:file:") && reference.ends_with(":example/m-1:-"),
        "{reference}"
    );
    // 0.00003 + 0.001125 + 20 × 1/10⁶
    let entry_of_flex = entry(&machines, &flex);
    assert_eq!(entry_of_flex["cost_usd"], "0.001175", "{entry_of_flex:#}");
    assert_eq!(entry_of_flex["price_ref"], format!("{reference}:service_tier.flex"));
    // $3,600,000 an hour on two GPUs: $2 a millisecond.
    let entry_of_timed = entry(&machines, &timed);
    let ms = entry_of_timed["latency_ms"].as_u64().unwrap();
    assert_eq!(entry_of_timed["cost_usd"], (ms * 2).to_string(), "{entry_of_timed:#}");
    assert!(entry_of_timed["price_ref"].as_str().unwrap().starts_with("override:h100:"));
    assert_eq!(machines.site.verify().0, 0);
}

#[test]
fn a_price_that_cannot_be_used_stops_the_start() {
    for (lines, words) in [
        ("[collector.prices]\ntable = \"nowhere.json\"", "the price table nowhere.json cannot be used"),
        ("[collector.prices]\ntable = \"indelible.toml\"", "not a price table"),
        ("[[collector.prices.overrides]]\nname = \"a\"\nmodel = \"m\"", "price override \\\"a\\\": no price"),
        ("[collector.prices]\ntabel = \"none\"", "unknown field `tabel`"),
    ] {
        let machines = TwoMachines::new("http://127.0.0.1:1");
        add(&machines, lines);
        for command in ["collector", "price"] {
            let mut arguments = vec![command, "--json", "--config", &machines.config];
            arguments.extend(["m"].into_iter().filter(|_| command == "price"));
            let output = machines.site.run(&arguments);
            assert_eq!(output.status.code(), Some(2), "{command} {lines}");
            assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn the_collector_counts_calls_by_whether_they_have_a_cost() {
    let server = saying("house-model", &json!({ "prompt_tokens": 1, "completion_tokens": 1 }));
    let site = Site::new();
    let gateway = site.up(&server.url, &[]);
    let id = ask(&gateway, CHAT, &json!({ "model": "house-model", "messages": [] }));
    site.record(&id);
    let announced = std::fs::read(site.data.join("run/collector.json")).unwrap();
    let announced: Value = serde_json::from_slice(&announced).unwrap();
    let metrics =
        request(address_of(announced["url"].as_str().unwrap()), &message("GET", "/metrics", &[], b""));
    let metrics = text(&metrics.body);
    for (outcome, calls) in [("priced", 0), ("no_rule", 1), ("no_usage", 0), ("unclear", 0)] {
        let line = format!("indelible_collector_costs_total{{outcome=\"{outcome}\"}} {calls}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}
