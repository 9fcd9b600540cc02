//! An operator's own prices: which one is taken for which call, and that it stands before the table.

use indelible_price::pricer::Tokens;
use indelible_price::{Call, NoCost, OverrideSpec, Overrides, Pricer, Prices};
use std::sync::Arc;

const DAY: i64 = 86_400_000_000;

fn spec(name: &str, model: &str, input: &str) -> OverrideSpec {
    OverrideSpec {
        name: name.to_owned(),
        model: model.to_owned(),
        input_usd_per_mtok: Some(input.to_owned()),
        output_usd_per_mtok: Some("0".to_owned()),
        ..OverrideSpec::default()
    }
}

fn pricer(specs: Vec<OverrideSpec>) -> Pricer {
    let overrides = Arc::new(Overrides::new(specs).expect("valid overrides"));
    Pricer::new(Prices { overrides, ..Prices::default() })
}

fn million<'a>() -> Call<'a> {
    let tokens = Tokens { input: Some(1_000_000), output: Some(0), ..Tokens::default() };
    Call { tokens: Some(tokens), ..Call::default() }
}

/// The name of the override that a call is priced by.
fn taken(pricer: &mut Pricer, call: &Call<'_>) -> Result<String, NoCost> {
    let rule = pricer.price(call)?.price_ref;
    Ok(rule.split(':').nth(1).expect("a name").to_owned())
}

#[test]
fn provider_and_route_narrow_an_override() {
    let both = OverrideSpec {
        provider: Some("vllm".to_owned()),
        route: Some("gpu".to_owned()),
        ..spec("both", "llama-*", "1")
    };
    let route = OverrideSpec { route: Some("gpu".to_owned()), ..spec("route", "llama-*", "2") };
    let mut pricer = pricer(vec![both, route, spec("any", "llama-*", "3")]);
    let mut of = |provider, route| {
        taken(&mut pricer, &Call { provider, route, model: Some("llama-3"), ..million() }).unwrap()
    };
    assert_eq!(of(Some("vllm"), Some("gpu")), "both");
    assert_eq!(of(Some("openai"), Some("gpu")), "route");
    assert_eq!(of(None, Some("gpu")), "route");
    assert_eq!(of(Some("vllm"), Some("cpu")), "any");
    assert_eq!(of(None, None), "any");
}

/// Clients choose names of models, and may put any character into them.
#[test]
fn what_is_remembered_of_one_call_prices_no_other() {
    let mut pricer = pricer(vec![spec("ours", "c", "1")]);
    let mut of = |returned: &str, asked: &str| {
        taken(&mut pricer, &Call { model_returned: Some(returned), model: Some(asked), ..million() })
    };
    for between in ["\0\u{1}", "\0", ":", "1:"] {
        assert_eq!(of(&format!("a{between}b"), "c"), Ok("ours".to_owned()));
        assert_eq!(of("a", &format!("b{between}c")), Err(NoCost::NoProvider));
    }
}

#[test]
fn the_first_in_force_is_taken() {
    let dated = |name, from: Option<&str>, until: Option<&str>| OverrideSpec {
        from: from.map(str::to_owned),
        until: until.map(str::to_owned),
        ..spec(name, "m", "1")
    };
    let mut pricer = pricer(vec![
        dated("second", Some("1970-01-02"), Some("1970-01-03T12:00:00Z")),
        dated("third", Some("1970-01-03"), None),
        dated("first", None, Some("1970-01-02")),
    ]);
    let mut at = |at| taken(&mut pricer, &Call { at, model: Some("m"), provider: Some("x"), ..million() });
    assert_eq!(at(0), Ok("first".to_owned()));
    assert_eq!(at(DAY - 1), Ok("first".to_owned()));
    assert_eq!(at(DAY), Ok("second".to_owned()));
    assert_eq!(at(DAY * 5 / 2 - 1), Ok("second".to_owned()));
    assert_eq!(at(DAY * 5 / 2), Ok("third".to_owned()));
    assert_eq!(at(i64::MAX), Ok("third".to_owned()));
}

#[test]
fn an_override_beats_the_table_and_fits_either_name() {
    let call = |returned, asked| Call {
        provider: Some("openai"),
        model_returned: returned,
        model: asked,
        ..million()
    };
    let mut pricer = pricer(vec![spec("ours", "gpt-4o", "7"), spec("snapshot", "gpt-4o-2024-*", "8")]);
    assert_eq!(taken(&mut pricer, &call(Some("gpt-4o-mini"), Some("gpt-4o"))), Ok("ours".to_owned()));
    assert_eq!(taken(&mut pricer, &call(Some("gpt-4o-2024-08-06"), None)), Ok("snapshot".to_owned()));
    // No override fits: the table's price of the model that answered, $0.15 for a million.
    let table = pricer.price(&call(Some("gpt-4o-mini"), Some("gpt-4.1"))).unwrap();
    assert_eq!(table.usd.to_string(), "0.15");
    assert!(table.price_ref.contains("openai/gpt-4o-mini:"));
    // What answered is no name of the table: the one asked for, $2.
    let table = pricer.price(&call(Some("model-of-the-day"), Some("gpt-4.1"))).unwrap();
    assert_eq!(table.usd.to_string(), "2");
    // An override that fits and gives no cost leaves it at that: the table is not asked.
    let silent = Call { tokens: None, ..call(Some("gpt-4o"), None) };
    assert_eq!(pricer.price(&silent), Err(NoCost::NoUsage));
}

/// 3,600,000 ms at $2.49 on a quarter of a GPU: 2.49 × 0.25. Half a millisecond's worth is rounded up.
#[test]
fn time_is_priced_by_the_share_of_the_gpus() {
    let gpu = |gpus: &str| OverrideSpec {
        input_usd_per_mtok: None,
        output_usd_per_mtok: None,
        gpu_usd_per_hour: Some("2.49".to_owned()),
        gpus: Some(gpus.to_owned()),
        ..spec("gpu", "*", "0")
    };
    let cost = |gpus, ms| {
        let call = Call { model: Some("m"), answered_ms: Some(ms), ..Call::default() };
        pricer(vec![gpu(gpus)]).price(&call).unwrap().usd.to_string()
    };
    assert_eq!(cost("0.25", 3_600_000), "0.6225");
    assert_eq!(cost("1", 0), "0");
    // 2.49/3600000 = 0.000000691666…
    assert_eq!(cost("1", 1), "0.000000691667");
}

/// Counts that an entry's `detail.usage` holds are charged as they were when the entry was made.
#[test]
fn an_entry_alone_gives_the_cost_again() {
    let usage = r#"{"input_tokens":10,"cache_creation_input_tokens":300,"cache_read_input_tokens":4000,"output_tokens":20}"#;
    let tokens = Tokens { input: Some(10), output: Some(20), ..Tokens::default() };
    let first = Call {
        provider: Some("anthropic"),
        model: Some("claude-sonnet-4-5"),
        at: 1_795_317_255_000_000,
        tokens: Some(tokens),
        usage: Some(usage),
        ..Call::default()
    };
    let mut pricer = Pricer::new(Prices::default());
    let cost = pricer.price(&first).unwrap();
    let counts: Vec<_> = cost
        .counts
        .iter()
        .map(|(unit, count)| (indelible_price::Unit::named(unit).unwrap(), *count))
        .collect();
    assert_eq!(counts.len(), 3, "{counts:?}");
    let again = pricer.price(&Call { usage: None, counts: &counts, ..first.clone() }).unwrap();
    assert_eq!((again.usd, again.price_ref, again.counts), (cost.usd, cost.price_ref, cost.counts));
}
