//! The price table that travels with the release: what it says it is, usable whole, and dated.

use indelible_price::pricer::{Source, Tokens};
use indelible_price::{Call, Pricer, Prices, Table, builtin};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

fn moment(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect("a moment").as_microsecond()
}

/// What a thousand tokens in and a hundred out cost, and by which rule.
fn cost(provider: &str, model: &str, at: &str) -> (String, String) {
    let tokens = Tokens { input: Some(1000), output: Some(100), ..Tokens::default() };
    let call = Call {
        provider: Some(provider),
        model: Some(model),
        at: moment(at),
        tokens: Some(tokens),
        ..Call::default()
    };
    let cost = Pricer::new(Prices::default()).price(&call).expect("a cost");
    let (_, rule) = cost.price_ref.rsplit_once(&format!("{provider}/")).expect("that provider's rule");
    (cost.usd.to_string(), rule.to_owned())
}

#[test]
fn the_file_has_the_hash_that_is_stated() {
    let hash: String = Sha256::digest(builtin::data()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, builtin::SHA256);
    let label = format!("genai-prices:{}:{}", builtin::VERSION, &hash[..16]);
    assert_eq!(builtin::table().label(), label);
    assert!(builtin::LICENSE.contains("MIT License"));
}

#[test]
fn every_rule_has_a_name_of_its_own_that_fits_an_entry() {
    let mut seen = BTreeSet::new();
    for name in builtin::table().references() {
        let clear = |b: u8| b.is_ascii_alphanumeric() || b"._:/-".contains(&b);
        assert!(name.len() <= 128 && name.bytes().all(clear), "{name}");
        assert!(seen.insert(name.clone()), "twice: {name}");
    }
    assert!(seen.len() > 2000, "{} rules", seen.len());
}

/// o3: $10 and $40 until 2025-06-10, $2 and $8 from then on.
/// 1000 × 10/10⁶ + 100 × 40/10⁶ = 0.014, and 1000 × 2/10⁶ + 100 × 8/10⁶ = 0.0028.
#[test]
fn an_old_date_has_the_old_price() {
    assert_eq!(cost("openai", "o3", "2025-06-09T23:59:59Z"), ("0.014".to_owned(), "o3:-".to_owned()));
    assert_eq!(
        cost("openai", "o3", "2025-06-10T00:00:00Z"),
        ("0.0028".to_owned(), "o3:2025-06-10".to_owned())
    );
}

/// deepseek-chat: $0.27 and $1.10 from 00:30 until 16:30, half of it else.
/// 1000 × 0.27/10⁶ + 100 × 1.1/10⁶ = 0.00038, and 1000 × 0.135/10⁶ + 100 × 0.55/10⁶ = 0.00019.
#[test]
fn a_time_of_day_has_its_price() {
    let day = ("0.00038".to_owned(), "deepseek-chat:0030-1630".to_owned());
    let night = ("0.00019".to_owned(), "deepseek-chat:-".to_owned());
    assert_eq!(cost("deepseek", "deepseek-chat", "2025-05-01T00:30:00Z"), day);
    assert_eq!(cost("deepseek", "deepseek-chat", "2025-05-01T16:29:59.999999Z"), day);
    assert_eq!(cost("deepseek", "deepseek-chat", "2025-05-01T16:30:00Z"), night);
    assert_eq!(cost("deepseek", "deepseek-chat", "2025-05-01T00:29:59.999999Z"), night);
}

/// The rule that ships is the rule that a file of the same bytes gives, whatever that file is called.
#[test]
fn a_file_is_read_as_the_release_reads_its_own() {
    let table = Table::parse("genai-prices:file", builtin::data()).unwrap();
    assert_eq!(table.sha256(), builtin::table().sha256());
    let prices = Prices { table: Source::Given(std::sync::Arc::new(table)), ..Prices::default() };
    let tokens = Tokens { input: Some(7), output: Some(9), ..Tokens::default() };
    let call = Call {
        provider: Some("mistral"),
        model: Some("ministral-8b-latest"),
        tokens: Some(tokens),
        ..Call::default()
    };
    let (ours, theirs) = (Pricer::new(Prices::default()).price(&call), Pricer::new(prices).price(&call));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    assert_eq!(ours.usd, theirs.usd);
    assert_eq!(theirs.price_ref, ours.price_ref.replace(builtin::VERSION, "file"));
}
