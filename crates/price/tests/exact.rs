//! The arithmetic, held against integers of any size; and the counting, held against counting one by one.

use indelible_price::pricer::{Source, Tokens};
use indelible_price::rates::{Price, Rates};
use indelible_price::{Call, Decimal, NoCost, Pricer, Prices, Table, Unit, Usage};
use num_bigint::BigUint;
use proptest::prelude::*;
use std::sync::Arc;

/// A decimal as a whole number of 10⁻⁸⁰ths: more places than any number here has.
fn scaled(text: &str) -> BigUint {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 80, "{text}");
    format!("{whole}{fraction:0<80}").parse().expect("digits")
}

fn canonical(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "1"));
    (whole == "0" || !whole.starts_with('0'))
        && !fraction.ends_with('0')
        && !fraction.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Prices as data has them: up to 18 places.
fn price() -> impl Strategy<Value = String> {
    prop_oneof!["(0|[1-9][0-9]{0,2})(\\.[0-9]{1,18})?", "(0|[1-9][0-9]{0,3})", "0\\.0{0,15}[1-9]",]
}

fn rates(prices: &[(&str, &str)]) -> Rates {
    let unit = |name| Unit::named(name).expect("a unit");
    let flat = |price: &str| Price::Flat(price.parse().expect("a price"));
    Rates::new(prices.iter().map(|(name, price)| (unit(name), flat(price))))
}

fn usage(counts: &[(&str, u64)]) -> Usage {
    let mut usage = Usage::default();
    counts.iter().for_each(|(name, count)| usage.set(Unit::named(name).expect("a unit"), *count));
    usage
}

proptest! {
    #[test]
    fn a_number_is_written_as_it_was_read(text in price()) {
        let number: Decimal = text.parse().unwrap();
        let written = number.to_string();
        prop_assert!(canonical(&written), "{written}");
        prop_assert_eq!(scaled(&written), scaled(&text));
        prop_assert_eq!(written.parse::<Decimal>(), Ok(number));
    }

    #[test]
    fn an_exponent_only_moves_the_point(digits in 1u64..=u64::MAX, exponent in -15i32..=15) {
        let number: Decimal = format!("{digits}e{exponent}").parse().unwrap();
        let places = u32::try_from(80 + exponent).unwrap();
        prop_assert_eq!(scaled(&number.to_string()), BigUint::from(digits) * BigUint::from(10u8).pow(places));
    }

    #[test]
    fn no_text_panics(text in "[-+0-9.eE]{0,50}|.{0,20}") {
        if let Ok(number) = text.parse::<Decimal>() {
            prop_assert!(canonical(&number.to_string()));
        }
    }

    /// Each operation gives every digit, or says that it cannot.
    #[test]
    fn nothing_is_rounded(one in price(), other in price(), count: u64) {
        let (a, b): (Decimal, Decimal) = (one.parse().unwrap(), other.parse().unwrap());
        if let Some(sum) = a.plus(b) {
            prop_assert_eq!(scaled(&sum.to_string()), scaled(&one) + scaled(&other));
        }
        if let Some(product) = a.times(count) {
            prop_assert_eq!(scaled(&product.to_string()), scaled(&one) * count);
        }
        if let Some(share) = a.per(1_000_000) {
            prop_assert_eq!(scaled(&share.to_string()) * 1_000_000u32, scaled(&one));
        }
        let few = count % 1_000_000_000_000;
        prop_assert!(a.times(few).and_then(|all| all.per(1_000_000)).is_some(), "what calls use always fits");
    }

    /// Hours have no exact decimal: the 12 places are the nearest, halves upwards.
    #[test]
    fn a_share_is_rounded_at_twelve_places(price in "[0-9]{1,3}\\.[0-9]{1,4}", ms in 0u64..100_000_000) {
        let price = price.trim_start_matches('0');
        let price = if price.starts_with('.') { format!("0{price}") } else { price.to_owned() };
        let share = price.parse::<Decimal>().unwrap().times(ms).unwrap().per(3_600_000).unwrap();
        // round(x) = floor((2x + 1) / 2), in units of 10⁻¹².
        let exact = scaled(&price) * ms;
        let unit = BigUint::from(10u8).pow(68) * 3_600_000u32;
        let rounded = (exact * 2u8 + &unit) / (unit * 2u8);
        prop_assert_eq!(scaled(&share.to_string()), rounded * BigUint::from(10u8).pow(68));
    }

    /// A cost is the sum of what each token costs by itself: of the input, the uncached at the one price, the
    /// cached at the other; and so two calls cost what one call of both counts does.
    #[test]
    fn every_token_is_charged_once(
        prices in [price(), price(), price()],
        calls in prop::collection::vec((0u64..1_000_000, 0u64..1_000_000, 0u64..1_000_000), 1..4),
    ) {
        let [input, cached, output] = &prices;
        let rates = rates(&[("input_tokens", input), ("cache_read_tokens", cached), ("output_tokens", output)]);
        let charge = |(fresh, read, out): (u64, u64, u64)| {
            let usage = usage(&[
                ("input_tokens", fresh + read),
                ("cache_read_tokens", read),
                ("output_tokens", out),
                ("output_reasoning_tokens", out / 2),
            ]);
            let mut lines = Decimal::ZERO;
            let cost = rates.charge(&usage, |line| lines = lines.plus(line.amount).unwrap()).unwrap();
            assert_eq!(lines, cost, "the lines are the whole");
            cost
        };
        let mut sum = Decimal::ZERO;
        let (mut fresh, mut read, mut out) = (0, 0, 0);
        for call in &calls {
            sum = sum.plus(charge(*call)).unwrap();
            (fresh, read, out) = (fresh + call.0, read + call.1, out + call.2);
        }
        prop_assert_eq!(charge((fresh, read, out)), sum);
        let exact = scaled(input) * fresh + scaled(cached) * read + scaled(output) * out;
        prop_assert_eq!(scaled(&sum.to_string()) * 1_000_000u32, exact);
    }

    /// Whatever is counted, there is an exact cost or a reason: never a panic, never a wrapped number.
    #[test]
    fn any_counts_give_a_cost_or_a_reason(
        counts in prop::collection::vec((0usize..59, prop_oneof![Just(0), 0u64..10, any::<u64>()]), 0..12),
        prices in prop::collection::vec((0usize..59, price()), 0..12),
    ) {
        let all: Vec<Unit> = Unit::all().collect();
        let mut used = Usage::default();
        counts.iter().for_each(|(unit, count)| used.set(all[*unit], *count));
        let rates = Rates::new(prices.iter().map(|(unit, price)| (all[*unit], Price::Flat(price.parse().unwrap()))));
        let mut lines = Vec::new();
        match rates.charge(&used, |line| lines.push(line)) {
            Ok(cost) => {
                prop_assert!(canonical(&cost.to_string()));
                for line in lines.iter().filter(|line| line.unit != "requests") {
                    let counted = used.reported(Unit::named(line.unit).unwrap());
                    prop_assert!(counted.is_some_and(|count| line.count <= count), "{line:?} of {used:?}");
                }
            }
            Err(why) => prop_assert!(!why.to_string().is_empty()),
        }
    }

    /// A usage object is whatever the model server sent.
    #[test]
    fn any_usage_object_gives_a_cost_or_a_reason(text in any_usage(), tokens: [Option<u64>; 4]) {
        let [input, output, cached, reasoning] = tokens;
        let tokens = Some(Tokens { input, output, cached, reasoning });
        for provider in ["openai", "anthropic", "google", "aws", "x-ai"] {
            let call = Call { provider: Some(provider), model: Some("*"), usage: Some(&text), tokens, ..Call::default() };
            let mut pricer = Pricer::new(prices_of_everything());
            if let Ok(cost) = pricer.price(&call) {
                prop_assert!(canonical(&cost.usd.to_string()));
            }
        }
    }
}

fn any_usage() -> impl Strategy<Value = String> {
    let member = prop::sample::select(vec![
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "promptTokenCount",
        "thoughtsTokenCount",
        "inputTokens",
        "outputTokens",
        "service_tier",
        "prompt_tokens_details",
        "cacheTokensDetails",
    ]);
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        Just("1.5e300".to_owned()),
        Just("null".to_owned()),
        Just("\"flex\"".to_owned()),
        Just("{}".to_owned()),
        Just("{\"cached_tokens\":18446744073709551615,\"audio_tokens\":1}".to_owned()),
        Just("[{\"modality\":\"AUDIO\",\"tokenCount\":7},3,null]".to_owned()),
    ];
    let object = prop::collection::vec((member, value), 0..8).prop_map(|members| {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
        format!("{{{}}}", members.join(","))
    });
    prop_oneof![9 => object, 1 => any::<String>()]
}

/// The readings of the release's table, each before one model that has every price.
fn prices_of_everything() -> Prices {
    static TABLE: std::sync::OnceLock<Arc<Table>> = std::sync::OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut providers: Vec<serde_json::Value> =
            serde_json::from_slice(indelible_price::builtin::data()).expect("JSON");
        let prices: serde_json::Map<_, _> =
            Unit::all().map(|unit| (unit.price().to_owned(), serde_json::json!(3))).collect();
        for provider in &mut providers {
            provider["models"] =
                serde_json::json!([{ "id": "all", "match": { "contains": "" }, "prices": prices }]);
        }
        Arc::new(Table::parse("all", &serde_json::to_vec(&providers).expect("JSON")).expect("a table"))
    });
    Prices { table: Source::Given(table.clone()), ..Prices::default() }
}

/// At the edge of what the arithmetic holds, the answer is an error.
#[test]
fn too_large_is_an_error() {
    let rates = rates(&[("input_tokens", "600.000000000000000001"), ("output_tokens", "1")]);
    let most = usage(&[("input_tokens", u64::MAX), ("output_tokens", u64::MAX)]);
    assert_eq!(rates.charge(&most, |_| {}), Err(NoCost::Overflow));
    let largest = "9".repeat(38);
    let number: Decimal = largest.parse().unwrap();
    assert_eq!(number.plus(number), None);
    assert_eq!(number.times(10), None);
    assert_eq!(number.times_decimal(number), None);
    assert_eq!("1e-38".parse::<Decimal>().unwrap().per(10), None);
    assert_eq!(number.per(7), None);
}
