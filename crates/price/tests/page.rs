//! The vectors in `docs/formats/prices.md` are what this crate does: a fenced block whose info string is
//! `vector NAME` is checked here, and one that no test knows fails.

use indelible_price::pricer::{Source, Tokens};
use indelible_price::{
    Call, Cost, Decimal, NoCost, OverrideSpec, Overrides, Pricer, Prices, Table, Unit, builtin,
};
use serde_json::Value;
use std::sync::Arc;

const PAGE: &str = include_str!("../../../docs/formats/prices.md");

const NAMES: [&str; 7] = ["table", "units", "decimals", "table-file", "overrides", "names", "costs"];

/// The lines of the block called `name`, the last line end left out.
fn vector(name: &str) -> &'static str {
    let (_, after) = PAGE.split_once(&format!("\n```vector {name}\n")).expect("a block of that name");
    after.split_once("\n```").expect("an end of the block").0
}

fn prices(provider_from_model: bool) -> Prices {
    let table = Table::parse("example:1", vector("table-file").as_bytes()).expect("a table");
    Prices { table: Source::Given(Arc::new(table)), provider_from_model, ..Prices::default() }
}

fn overrides() -> Overrides {
    Overrides::new(specs(vector("overrides"))).expect("overrides")
}

fn specs(text: &str) -> Vec<OverrideSpec> {
    let json = text.lines().next().expect("a line");
    serde_json::from_str(json).expect("a list of overrides")
}

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A date, or an RFC 3339 moment, as microseconds since 1970.
fn moment(text: &str) -> i64 {
    let text = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    text.parse::<jiff::Timestamp>().expect("a moment").as_microsecond()
}

#[test]
fn every_vector_is_tested() {
    let named: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("```vector ")).collect();
    assert_eq!(named, NAMES);
}

#[test]
fn the_page_names_the_table_of_this_release() {
    let stated = format!("name genai-prices:{}\nsha256 {}", builtin::VERSION, builtin::SHA256);
    assert_eq!(vector("table"), stated);
}

#[test]
fn units() {
    let ours: Vec<String> = Unit::all()
        .map(|unit| {
            let properties = unit.properties().into_iter().filter(|property| !property.is_empty());
            let properties = properties.collect::<Vec<_>>().join(" ");
            format!("{} {} {} {properties}", unit.name(), unit.price(), unit.per())
        })
        .collect();
    assert_eq!(ours.join("\n"), vector("units"));
}

#[test]
fn decimals_have_one_form() {
    for line in vector("decimals").lines() {
        let (read, written) = line.split_once('\t').expect("two forms");
        match Decimal::parse(read) {
            Ok(number) => assert_eq!(number.to_string(), written, "{line}"),
            Err(_) => assert_eq!(written, "refused", "{line}"),
        }
    }
}

#[test]
fn overrides_have_a_hash() {
    let stated = vector("overrides").lines().nth(1).unwrap();
    assert_eq!(stated, format!("sha256 {}", hex(&overrides().sha256())));
}

/// Written otherwise, the same overrides have the same hash.
#[test]
fn the_hash_is_of_the_one_form() {
    let text = vector("overrides").lines().next().unwrap();
    let other = text.replace("\"0.2\"", "\"0.20\"").replace("T00:00:00.000000Z", "");
    assert_ne!(other, text);
    assert_eq!(Overrides::new(specs(&other)).unwrap().sha256(), overrides().sha256());
}

/// The example of the page is the first override of its set.
#[test]
fn the_configuration_example_is_what_is_hashed() {
    let (_, example) = PAGE.split_once("```toml\n[[collector.prices.overrides]]\n").unwrap();
    let example = example.split_once("```").unwrap().0;
    let json: Vec<String> = example
        .lines()
        .map(|line| line.split_once(" = ").unwrap())
        .map(|(key, value)| format!("\"{key}\":{value}"))
        .collect();
    let first: OverrideSpec = serde_json::from_str(&format!("{{{}}}", json.join(","))).unwrap();
    let mut specs = specs(vector("overrides"));
    specs[0] = first;
    assert_eq!(Overrides::new(specs).unwrap().sha256(), overrides().sha256());
}

#[test]
fn names_lead_to_rules() {
    for line in vector("names").lines() {
        let [provider, model, expected] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let provider = (provider != "-").then_some(provider);
        let mut pricer = Pricer::new(prices(provider.is_none()));
        let call = Call { provider, model: Some(model), ..Call::default() };
        let got = match pricer.explain(&call) {
            Ok(explained) => explained.rule.split(", ").next().unwrap().replace("example:1 ", ""),
            Err(NoCost::UnknownModel) => "unknown model".to_owned(),
            Err(NoCost::UnknownProvider) => "unknown provider".to_owned(),
            Err(other) => other.to_string(),
        };
        assert_eq!(got, expected, "{line}");
    }
}

#[test]
fn costs() {
    let lines: Vec<&str> = vector("costs").lines().collect();
    for three in lines.chunks(3) {
        let [call, _, outcome] = three else { panic!("three lines: call, arithmetic, outcome") };
        let call: Value = serde_json::from_str(call.strip_prefix("call ").expect("a call")).unwrap();
        assert_eq!(outcome_of(&call), *outcome, "{call}");
    }
}

fn outcome_of(call: &Value) -> String {
    let mut prices = prices(false);
    if call["overrides"] == true {
        prices.overrides = Arc::new(overrides());
    }
    let counts = ["input", "output", "cached", "reasoning"].map(|name| call[name].as_u64());
    let [input, output, cached, reasoning] = counts;
    let tokens = Tokens { input, output, cached, reasoning };
    let usage = call["usage"].is_object().then(|| call["usage"].to_string());
    let context: Vec<(&str, &str)> =
        call["service_tier"].as_str().map(|tier| ("service_tier", tier)).into_iter().collect();
    let call = Call {
        provider: call["provider"].as_str(),
        route: call["route"].as_str(),
        model: call["model"].as_str(),
        at: moment(call["at"].as_str().expect("a moment")),
        tokens: (counts != [None; 4]).then_some(tokens),
        usage: usage.as_deref(),
        context: &context,
        answered_ms: call["latency_ms"].as_u64(),
        ..Call::default()
    };
    let mut pricer = Pricer::new(prices);
    match pricer.price(&call) {
        Ok(Cost { usd, price_ref, counts }) => {
            let counts: String = counts.iter().map(|(unit, count)| format!(" {unit}={count}")).collect();
            assert_eq!(
                pricer.explain(&call).map(|explained| explained.cost),
                Ok(Ok(usd)),
                "explained as it is charged"
            );
            format!("cost {usd} {price_ref}{counts}")
        }
        Err(why) => format!("none {why}"),
    }
}
