//! A table or a set of overrides that is wrong is refused, and the refusal says what and where.

use indelible_price::{OverrideSpec, Overrides, Table};
use proptest::prelude::*;

fn refusal(text: &str) -> String {
    match Table::parse("t", text.as_bytes()) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

fn with_model(model: &str) -> String {
    format!(r#"[{{"id":"p","models":[{model}]}}]"#)
}

#[test]
fn a_bad_table_is_named_by_its_place() {
    let fine = r#"{"id":"m","match":{"equals":"m"},"prices":{"input_mtok":1}}"#;
    assert!(
        Table::parse("t", with_model(fine).as_bytes()).is_ok(),
        "each case below differs from this one in one thing"
    );
    for (from, to, expected) in [
        (
            "\"input_mtok\":1",
            "\"input_mtok\":-1",
            "provider p: model m: input_mtok: -1: a price is not negative",
        ),
        (
            "\"input_mtok\":1",
            "\"input_mtok\":\"1\"",
            "provider p: model m: input_mtok: \"1\": not a decimal number",
        ),
        (
            "\"input_mtok\":1",
            "\"input_mtok\":[]",
            "provider p: model m: input_mtok: []: not a decimal number",
        ),
        (
            "\"input_mtok\":1",
            "\"input_mtok\":1e99",
            "provider p: model m: input_mtok: 1e99: more than 38 digits",
        ),
        (
            "\"input_mtok\":1",
            "\"input_mtok\":{\"base\":1}",
            "provider p: model m: input_mtok: missing field `tiers`",
        ),
        (
            "\"input_mtok\":1",
            "\"inptu_mtok\":1",
            "provider p: model m: \"inptu_mtok\" is not a price that is known",
        ),
        ("{\"input_mtok\":1}", "[]", "provider p: model m: an empty list of prices"),
        ("{\"input_mtok\":1}", "7", "provider p: model m: prices: "),
        (
            "{\"input_mtok\":1}",
            r#"[{"constraint":{"start_date":"2026-02-30"},"prices":{}}]"#,
            "provider p: model m: \"2026-02-30\" is not a date",
        ),
        (
            "{\"input_mtok\":1}",
            r#"[{"constraint":{"start_time":"25:00","end_time":"01:00"},"prices":{}}]"#,
            "provider p: model m: \"25:00\" is not a time of day",
        ),
        (
            "{\"input_mtok\":1}",
            r#"[{"constraint":{"until":"2026-02-20"},"prices":{}}]"#,
            "provider p: model m: prices: ",
        ),
        ("{\"equals\":\"m\"}", "{\"regex\":\"(\"}", "provider p: model m: regex \"(\": "),
        (
            "{\"equals\":\"m\"}",
            "{\"regex\":\"a(?=b)\"}",
            "provider p: model m: regex \"a(?=b)\": look-around",
        ),
        ("{\"equals\":\"m\"}", "{\"regex\":\"^(?!a)b|c\"}", "before alternatives"),
        ("{\"equals\":\"m\"}", "{\"sounds_like\":\"m\"}", "unknown variant `sounds_like`"),
        ("\"match\"", "\"mismatch\"", "missing field `match`"),
    ] {
        let got = refusal(&with_model(&fine.replace(from, to)));
        assert!(
            got.starts_with("not a price table: ") && got.contains(expected),
            "{got}\nexpected {expected}"
        );
    }
}

#[test]
fn what_belongs_to_no_model_is_refused_as_well() {
    assert!(refusal("").contains("EOF"));
    assert!(refusal("{}").contains("expected a sequence"));
    assert!(refusal(r#"[{"id":"p","fallback_model_providers":["q"]}]"#).contains("no provider \"q\""));
    let reading = r#"[{"id":"p","extractors":[{"root":"usage","mappings":[{"path":"n","dest":"apples"}]}]}]"#;
    assert!(refusal(reading).contains("\"apples\" is not a unit"));
    let twice = r#"{"id":"m","match":{"equals":"m"},"prices":{}}"#;
    assert!(refusal(&with_model(&format!("{twice},{twice}"))).contains("two rules would be named t:"));
    let long = twice.replace("\"id\":\"m\"", &format!("\"id\":\"{}\"", "m".repeat(128)));
    assert!(refusal(&with_model(&long)).contains("more than 128"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Table::parse("t", &bytes);
    }

    /// One byte changed anywhere in a good table: read or refused.
    #[test]
    fn no_change_of_a_good_table_panics(at in 0usize..1000, byte: u8) {
        let text = include_str!("../../../docs/formats/prices.md");
        let (_, rest) = text.split_once("```vector table-file\n").unwrap();
        let mut bytes = rest.split_once("\n```").unwrap().0.as_bytes().to_vec();
        let at = at * bytes.len() / 1000;
        bytes[at] = byte;
        let _ = Table::parse("t", &bytes);
    }
}

fn spec() -> OverrideSpec {
    OverrideSpec {
        name: "a".to_owned(),
        model: "m".to_owned(),
        input_usd_per_mtok: Some("1".to_owned()),
        ..OverrideSpec::default()
    }
}

#[test]
fn a_bad_override_is_named() {
    let some = |text: &str| Some(text.to_owned());
    assert!(Overrides::new(vec![spec()]).is_ok(), "each case below differs from this one");
    let cases: [(OverrideSpec, &str); 12] = [
        (OverrideSpec { name: "a b".to_owned(), ..spec() }, "\"a b\": a name is 1 to 64"),
        (OverrideSpec { name: "x".repeat(65), ..spec() }, "a name is 1 to 64"),
        (OverrideSpec { model: String::new(), ..spec() }, "\"a\": model: "),
        (
            OverrideSpec { input_usd_per_mtok: some("0,5"), ..spec() },
            "input_usd_per_mtok: not a decimal number",
        ),
        (
            OverrideSpec { output_usd_per_mtok: some("-2"), ..spec() },
            "output_usd_per_mtok: a price is not negative",
        ),
        (OverrideSpec { input_usd_per_mtok: None, ..spec() }, "no price"),
        (OverrideSpec { input_usd_per_mtok: None, cached_usd_per_mtok: some("1"), ..spec() }, "no price"),
        (OverrideSpec { gpu_usd_per_hour: some("2"), ..spec() }, "not both"),
        (OverrideSpec { gpus: some("2"), ..spec() }, "gpus without gpu_usd_per_hour"),
        (OverrideSpec { from: some("tomorrow"), ..spec() }, "neither a date nor"),
        (
            OverrideSpec { from: some("2026-01-02"), until: some("2026-01-02"), ..spec() },
            "from is not before until",
        ),
        (
            OverrideSpec {
                input_usd_per_mtok: None,
                gpu_usd_per_hour: some("99999999999999999999"),
                gpus: some("99999999999999999999"),
                ..spec()
            },
            "too large",
        ),
    ];
    for (bad, expected) in cases {
        let got = Overrides::new(vec![bad]).unwrap_err().to_string();
        assert!(got.starts_with("price override ") && got.contains(expected), "{got}");
    }
    let got = Overrides::new(vec![spec(), spec()]).unwrap_err().to_string();
    assert!(got.contains("the name is taken"), "{got}");
}
