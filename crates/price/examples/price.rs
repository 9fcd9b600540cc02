//! Prices calls by the release's table: a JSON object a line on stdin, its cost or why not a line on stdout.
//! `data/compare.py` holds what comes out against the package that the data was taken from.

use indelible_price::pricer::Tokens;
use indelible_price::{Call, Pricer, Prices};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};

#[derive(Deserialize)]
struct Line {
    provider: Option<String>,
    model: String,
    at: i64,
    input: Option<u64>,
    output: Option<u64>,
    cached: Option<u64>,
    reasoning: Option<u64>,
    usage: Option<Value>,
    context: BTreeMap<String, String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider_from_model = std::env::args().any(|argument| argument == "--provider-from-model");
    let mut pricer = Pricer::new(Prices { provider_from_model, ..Prices::default() });
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line: Line = serde_json::from_str(&line?)?;
        let context: Vec<(&str, &str)> =
            line.context.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let usage = line.usage.as_ref().map(Value::to_string);
        let (input, output, cached, reasoning) = (line.input, line.output, line.cached, line.reasoning);
        let outcome = pricer.price(&Call {
            provider: line.provider.as_deref(),
            model: Some(&line.model),
            at: line.at,
            tokens: Some(Tokens { input, output, cached, reasoning }),
            usage: usage.as_deref(),
            context: &context,
            ..Call::default()
        });
        let told = match outcome {
            Ok(cost) => json!({ "usd": cost.usd.to_string(), "price_ref": cost.price_ref }),
            Err(why) => json!({ "none": format!("{why:?}") }),
        };
        writeln!(out, "{told}")?;
    }
    out.flush()?;
    Ok(())
}
