//! Prices from the configuration, and `indelible price`: which rule a call is priced by, and the arithmetic.

use crate::cli::{Common, Price};
use crate::config::{self, PricesSection};
use crate::failure::{Failure, Outcome};
use indelible_os::clock::{self, NotATime, Utc};
use indelible_price::pricer::{Explained, Source, Tokens};
use indelible_price::{Call, Decimal, NoCost, Overrides, Pricer, Prices, Table, Unit};
use indelible_record::commitment::to_hex;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// What a file's table is called in references.
const FILE_NAME: &str = "genai-prices:file";

/// The prices that a configuration names.
pub(crate) fn load(section: PricesSection) -> Result<Prices, Failure> {
    let overrides = Overrides::new(section.overrides).map_err(|error| {
        Failure::new("the configuration's prices cannot be used")
            .detail(error)
            .hint("indelible config prints every key of an override with its meaning")
    })?;
    let table = match section.table.as_str() {
        "builtin" => Source::BuiltIn,
        "none" => Source::None,
        path => Source::Given(Arc::new(read_table(Path::new(path))?)),
    };
    Ok(Prices { overrides: Arc::new(overrides), table, provider_from_model: section.provider_from_model })
}

/// Explains the price of a call, or lists what there are prices for.
pub(crate) fn run(common: &Common, arguments: &Price) -> Outcome {
    let prices = load(section(common)?)?;
    let at = match &arguments.at {
        Some(text) => text.parse().map_err(|error: NotATime| Failure::new(format!("at: {error}")))?,
        None => clock::now(),
    };
    match &arguments.model {
        Some(model) => explain(common, arguments, prices, model, at),
        None => list(common, arguments, &prices, at),
    }
}

/// The prices of the configuration file, if there is one or one is named.
fn section(common: &Common) -> Result<PricesSection, Failure> {
    if common.config.is_none() && !Path::new(config::DEFAULT_PATH).exists() {
        return Ok(PricesSection::default());
    }
    Ok(config::load(common)?.file.collector.map(|section| section.prices).unwrap_or_default())
}

fn read_table(path: &Path) -> Result<Table, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::new(format!("the price table {} cannot be used", path.display()))
            .detail(error)
            .hint("collector.prices.table is \"builtin\", \"none\", or a file of genai-prices v2 data")
    };
    let bytes = std::fs::read(path).map_err(|error| unusable(&error))?;
    Table::parse(FILE_NAME, &bytes).map_err(|error| unusable(&error))
}

fn explain(common: &Common, arguments: &Price, prices: Prices, model: &str, at: Utc) -> Outcome {
    let counts = arguments.count.iter().map(|text| count(text)).collect::<Result<Vec<_>, _>>()?;
    let named = [arguments.input, arguments.output, arguments.cached, arguments.reasoning];
    let [input, output, cached, reasoning] = named;
    let counted = named != [None; 4] || !counts.is_empty() || arguments.usage.is_some();
    let context: Vec<(&str, &str)> =
        arguments.service_tier.as_deref().map(|tier| ("service_tier", tier)).into_iter().collect();
    let call = Call {
        provider: arguments.provider.as_deref(),
        route: arguments.route.as_deref(),
        model: Some(model),
        at: at.0,
        tokens: counted.then_some(Tokens { input, output, cached, reasoning }),
        usage: arguments.usage.as_deref(),
        counts: &counts,
        context: &context,
        answered_ms: arguments.latency_ms,
        ..Call::default()
    };
    let explained = Pricer::new(prices).explain(&call).map_err(|why| no_price(model, why))?;
    // Without counts the rule alone is asked for.
    let cost = (counted || arguments.latency_ms.is_some()).then_some(explained.cost);
    match common.json {
        true => println!("{}", as_json(&explained, at, cost)),
        false => print!("{}", in_words(&explained, at, cost)),
    }
    match cost {
        Some(Err(why)) => Err(no_price(model, why)),
        _ => Ok(0),
    }
}

/// `UNIT=N`, as an entry has it in `detail.usage`.
fn count(text: &str) -> Result<(Unit, u64), Failure> {
    let parsed =
        text.split_once('=').and_then(|(unit, count)| Some((Unit::named(unit)?, count.parse().ok()?)));
    parsed.ok_or_else(|| {
        Failure::new(format!("{text:?} is not UNIT=N"))
            .hint("docs/formats/prices.md names the units, such as cache_write_tokens=100")
    })
}

fn no_price(model: &str, why: NoCost) -> Failure {
    let failure = Failure::new(format!("no cost for {model}")).detail(why).code(1);
    match why {
        NoCost::NoProvider | NoCost::UnknownProvider => {
            failure.hint("name one with --provider; indelible price --list names those of the table")
        }
        NoCost::UnknownModel => {
            failure.hint("indelible price --list --provider P names the models; your own prices go into [[collector.prices.overrides]]")
        }
        NoCost::NoTime => failure.hint("this price is for time: add --latency-ms"),
        NoCost::NoUsage => failure.hint("this price is for tokens: add --input and --output"),
        _ => failure,
    }
}

fn in_words(explained: &Explained, at: Utc, cost: Option<Result<Decimal, NoCost>>) -> String {
    let mut text =
        format!("rule       {}\nprice_ref  {}\nat         {at}\n", explained.rule, explained.price_ref);
    let width = explained.prices.iter().map(|(unit, _)| unit.len()).max().unwrap_or(0);
    text.push_str("prices\n");
    for (unit, price) in &explained.prices {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {unit:<width$}  ${price}");
    }
    if let Some(Ok(usd)) = cost {
        text.push_str("cost\n");
        for line in &explained.lines {
            let (unit, count) = (line.unit, line.count);
            let _ =
                writeln!(text, "  {unit:<width$}  {count} × {} ÷ {} = {}", line.price, line.per, line.amount);
        }
        let _ = writeln!(text, "cost_usd   {usd}");
    }
    text
}

fn as_json(explained: &Explained, at: Utc, cost: Option<Result<Decimal, NoCost>>) -> Value {
    let lines: Vec<Value> = explained
        .lines
        .iter()
        .map(|line| {
            json!({
                "unit": line.unit,
                "count": line.count,
                "price": line.price.to_string(),
                "per": line.per,
                "amount": line.amount.to_string(),
            })
        })
        .collect();
    let prices: Map<String, Value> =
        explained.prices.iter().map(|(unit, price)| ((*unit).to_owned(), price.clone().into())).collect();
    json!({
        "rule": explained.rule,
        "price_ref": explained.price_ref,
        "at": at.to_string(),
        "prices": prices,
        "lines": lines,
        "cost_usd": cost.and_then(Result::ok).map(|usd| usd.to_string()),
    })
}

fn list(common: &Common, arguments: &Price, prices: &Prices, at: Utc) -> Outcome {
    let models = match (&arguments.provider, prices.table()) {
        (Some(provider), Some(table)) => {
            let models = table.models(provider, at.0).ok_or_else(|| {
                Failure::new(format!("the price table does not know the provider {provider:?}"))
                    .hint("indelible price --list names those that it knows")
                    .code(1)
            })?;
            Some(models.map(|(id, rates)| (id, rates.in_words())).collect::<Vec<_>>())
        }
        _ => None,
    };
    let overrides: Vec<&str> = prices.overrides.names().collect();
    let hash = to_hex(&prices.overrides.sha256());
    if common.json {
        let table = prices.table().map(|table| {
            let providers: Map<String, Value> =
                table.providers().map(|(id, models)| (id.to_owned(), models.into())).collect();
            json!({ "name": table.name(), "sha256": to_hex(&table.sha256()), "providers": providers })
        });
        let models: Option<Map<String, Value>> = models
            .map(|models| models.into_iter().map(|(id, words)| (id.to_owned(), words.into())).collect());
        let all =
            json!({ "overrides": overrides, "overrides_sha256": hash, "table": table, "models": models });
        println!("{all}");
        return Ok(0);
    }
    if let Some(models) = models {
        let width = models.iter().map(|(id, _)| id.len()).max().unwrap_or(0);
        for (id, words) in models {
            println!("{id:<width$}  {words}");
        }
        return Ok(0);
    }
    if !overrides.is_empty() {
        println!("overrides sha256:{hash}");
        overrides.iter().for_each(|name| println!("  {name}"));
    }
    let Some(table) = prices.table() else {
        println!("no table");
        return Ok(0);
    };
    println!("table {} sha256:{}", table.name(), to_hex(&table.sha256()));
    for (id, models) in table.providers() {
        println!("  {id:<28} {models:>4} models");
    }
    Ok(0)
}
