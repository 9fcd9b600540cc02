//! Decimals, the price table, an operator's overrides, and usage objects.
//!
//! Holds: a decimal has one form and reads back; sums do not depend on their order; a call costs what its
//! explanation says; what was remembered of other calls changes no price.

#![no_main]

use indelible_fuzz::Input;
use indelible_price::pricer::{Source, Tokens};
use indelible_price::{Call, Decimal, OverrideSpec, Overrides, Pricer, Prices, Table};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => decimals(&mut input),
        1 => table(&mut input),
        2 => overrides(&mut input),
        _ => built_in(&mut input),
    }
});

fn text<'a>(bytes: &'a [u8]) -> &'a str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn decimals(input: &mut Input<'_>) {
    let count = u64::from(input.number()) << (input.byte() % 49);
    let (one, other, third) = (text(input.line()), text(input.line()), text(input.rest()));
    let [one, other, third] = [one, other, third].map(|text| Decimal::parse(text));
    let Ok(one) = one else { return };
    assert_eq!(Decimal::parse(&one.to_string()), Ok(one));
    assert_eq!(one.plus(Decimal::ZERO), Some(one));
    assert_eq!(one.times(1), Some(one));
    assert_eq!(one.times(0), Some(Decimal::ZERO));
    if let Some(many) = one.times(count) {
        assert_eq!(Decimal::parse(&many.to_string()), Ok(many));
    }
    for part in [one.per(count), one.per(1000), one.per(7)].into_iter().flatten() {
        assert_eq!(Decimal::parse(&part.to_string()), Ok(part));
    }
    if let Some(thousandth) = one.per(1000) {
        assert!(thousandth.times(1000).is_none_or(|same| same == one));
    }
    let Ok(other) = other else { return };
    assert_eq!(one.plus(other), other.plus(one));
    assert_eq!(one.times_decimal(other), other.times_decimal(one));
    let Ok(third) = third else { return };
    let left = one.plus(other).and_then(|sum| sum.plus(third));
    let right = other.plus(third).and_then(|sum| one.plus(sum));
    if left.is_some() && right.is_some() {
        assert_eq!(left, right);
    }
}

/// A call as the rest of the input says it: model asked for, model that answered, usage.
fn call<'a>(input: &mut Input<'a>, providers: &[&'a str]) -> Call<'a> {
    let provider = usize::from(input.byte());
    let given = input.byte();
    let mut count = |bit: u8| {
        let count = u64::from(input.number()) << (input.byte() % 49);
        (given & bit != 0).then_some(count)
    };
    let tokens = Tokens { input: count(1), output: count(2), cached: count(4), reasoning: count(8) };
    let answered_ms = count(16);
    let at = i64::from(input.number()) * 100_000_000_000;
    let (route, model, model_returned) = (input.line(), input.line(), input.line());
    let given_text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty());
    Call {
        provider: providers.get(provider % (providers.len() + 1)).copied(),
        route: given_text(route),
        model: given_text(model),
        model_returned: given_text(model_returned),
        at,
        tokens: (given & 32 != 0).then_some(tokens),
        usage: given_text(input.rest()),
        counts: &[],
        context: if given & 64 != 0 { &[("service_tier", "flex")] } else { &[] },
        answered_ms,
    }
}

/// Prices a call with and without a memory of the one before it.
fn price(prices: &Prices, call: &Call<'_>) {
    let mut pricer = Pricer::new(prices.clone());
    let swapped = Call { model: call.model_returned, model_returned: call.model, ..call.clone() };
    let _ = pricer.price(&swapped);
    // Names that are other ones put together.
    let [returned, asked] = [call.model_returned, call.model].map(Option::unwrap_or_default);
    for between in ["\0\u{1}", ":", "-", "1:"] {
        let (joined, longer) = (format!("{returned}{between}{asked}"), format!("{asked}{between}x"));
        let cut = Call { model_returned: Some(&joined), model: Some("x"), ..call.clone() };
        let _ = pricer.price(&cut);
        let alike = Call { model_returned: Some(returned), model: Some(&longer), ..call.clone() };
        assert_eq!(pricer.price(&alike), Pricer::new(prices.clone()).price(&alike));
    }
    let remembering = pricer.price(call);
    let fresh = Pricer::new(prices.clone()).price(call);
    assert_eq!(remembering, fresh);
    match (pricer.explain(call), fresh) {
        (Ok(explained), Ok(cost)) => {
            assert_eq!(explained.cost, Ok(cost.usd));
            assert_eq!(explained.price_ref, cost.price_ref);
        }
        (Ok(explained), Err(why)) => assert_eq!(explained.cost, Err(why)),
        (Err(one), Err(other)) => assert_eq!(one, other),
        (Err(why), Ok(cost)) => panic!("{why}, but {cost:?}"),
    }
}

fn table(input: &mut Input<'_>) {
    let len = usize::from(input.number()).min(input.rest().len());
    let (bytes, rest) = input.rest().split_at(len);
    let Ok(table) = Table::parse("fuzz", bytes) else { return };
    assert_eq!(table.name(), "fuzz");
    let names: Vec<String> = table.providers().map(|(name, _)| name.to_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(table.references().all(|reference| reference.starts_with(table.label())));
    let table = Arc::new(table);
    let prices =
        Prices { table: Source::Given(table.clone()), provider_from_model: true, ..Prices::default() };
    let mut rest = Input(rest);
    let call = call(&mut rest, &names);
    price(&prices, &call);
}

fn overrides(input: &mut Input<'_>) {
    let len = usize::from(input.number()).min(input.rest().len());
    let (bytes, rest) = input.rest().split_at(len);
    let Ok(specs) = serde_json::from_slice::<Vec<OverrideSpec>>(bytes) else { return };
    let Ok(overrides) = Overrides::new(specs.clone()) else { return };
    assert_eq!(overrides.names().count(), specs.len());
    assert_eq!(Overrides::new(specs).unwrap().sha256(), overrides.sha256());
    let prices = Prices { overrides: Arc::new(overrides), table: Source::None, ..Prices::default() };
    let mut rest = Input(rest);
    let call = call(&mut rest, &["vllm", "openai"]);
    price(&prices, &call);
}

fn built_in(input: &mut Input<'_>) {
    let prices = Prices { provider_from_model: input.byte() & 1 == 1, ..Prices::default() };
    let call = call(input, &["openai", "anthropic", "google", "azure", "aws", "deepseek"]);
    price(&prices, &call);
}
