//! Every saved search runs, and the important ones answer what a hand computes.

use super::*;
use crate::search::{self, Search};
use serde_json::json;

/// Three days: calls as in [`calls`], a gap, counted refusals, a refused call, a call of tools, one without a price.
fn tenant() -> Store {
    let mut entries = calls(72);
    let detail = |text: &str| Some(serde_json::from_str(text).unwrap());
    entries[9].error_type = Some("http_error".to_owned());
    entries[20].event_type = "gap".to_owned();
    entries[20].model = None;
    entries[20].status = None;
    entries[20].detail = detail(
        r#"{"cause":"spool_full","count":17,"from":"2026-11-01T19:00:00.000000Z","to":"2026-11-01T19:05:00.000000Z"}"#,
    );
    entries[21].event_type = "rejections".to_owned();
    entries[21].model = None;
    entries[21].status = None;
    entries[21].detail = detail(r#"{"count":40,"reasons":{"no_api_key":40},"from":"a","to":"b"}"#);
    entries[22].status = Some(Status::Rejected);
    entries[22].error_type = Some("no_api_key".to_owned());
    entries[30].detail = detail(r#"{"tool_calls":["search","sum"],"refused":true}"#);
    entries[40].cost_usd = None;
    for entry in &mut entries[41..44] {
        entry.session_id = Some("h:14".to_owned());
    }
    Store::of(entries, 30).with_subject("jane", "sub_1")
}

fn operations() -> Store {
    let mut entries = calls(8);
    let kinds = [
        "source_started",
        "access",
        "access",
        "source_report",
        "config_changed",
        "source_stopped",
        "export",
        "drill",
    ];
    let details = [
        r#"{"configuration":"sha256:aa"}"#,
        r#"{"results":3}"#,
        r#"{"results":1}"#,
        r#"{"frames":12,"entries":6}"#,
        r#"{"file":"configuration","before":"sha256:aa","after":"sha256:bb","changed":["routes"]}"#,
        "{}",
        r#"{"records":12}"#,
        "{}",
    ];
    for ((entry, kind), detail) in entries.iter_mut().zip(kinds).zip(details) {
        entry.event_type = kind.to_owned();
        entry.detail = Some(serde_json::from_str(detail).unwrap());
        (entry.model, entry.status) = (None, None);
    }
    for (entry, action) in entries[1..3].iter_mut().zip(["list", "show"]) {
        entry.actor =
            Some(indelible_record::entry::Actor { id: "operator".to_owned(), kind: "operator".to_owned() });
        entry.action = Some(action.to_owned());
    }
    entries[2].resource =
        Some(indelible_record::entry::Resource { id: "event-5".to_owned(), kind: "record".to_owned() });
    Store::of(entries, 100)
}

fn named(name: &str) -> Search {
    let all = search::built_in().unwrap();
    all.into_iter().find(|search| search.name == name).unwrap_or_else(|| panic!("no search {name}"))
}

/// The rows of a search, as of two days after the last entry, with these values.
fn found(name: &str, given: &[(&str, &str)]) -> Vec<Value> {
    let store = if named(name).of_operations { operations() } else { tenant() };
    found_in(store, name, given, 120)
}

/// The same in another ledger, as of so many hours after the first entry.
fn found_in(store: Store, name: &str, given: &[(&str, &str)], hours: i64) -> Vec<Value> {
    let search = named(name);
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let parameters = search.bind(&given, Utc(START_US + hours * HOUR_US)).unwrap();
    let store = Arc::new(store);
    let question = Question { parameters, ..Question::new(search.sql, Format::Json) };
    let bytes = try_ask(&engine(), &store, question).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    answer["rows"].as_array().unwrap().clone()
}

fn column(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}

#[test]
fn every_file_is_built_in_and_named_as_its_file() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../searches");
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let built_in: Vec<String> =
        search::built_in().unwrap().iter().map(|search| format!("{}.sql", search.name)).collect();
    assert_eq!(files, built_in);
}

#[test]
fn every_search_runs_and_finds_something() {
    for search in search::built_in().unwrap() {
        let given: Vec<(&str, &str)> = search
            .parameters
            .iter()
            .filter(|parameter| parameter.default.is_none())
            .map(|parameter| match parameter.name.as_str() {
                "user" => ("user", "jane"),
                "id" => ("id", "event-7"),
                "session" => ("session", "session-1"),
                "seed" => ("seed", "7"),
                "since" => ("since", "2026-11-01"),
                "until" => ("until", "2026-12-01"),
                other => panic!("{} needs {other}", search.name),
            })
            .collect();
        let rows = found(&search.name, &given);
        let finds_none = ["interrupted", "key-changes", "source-delays"].contains(&search.name.as_str());
        assert_eq!(rows.is_empty(), finds_none, "{}", search.name);
    }
}

#[test]
fn one_person_and_one_request_are_found() {
    // Every third call is of sub_1, from 1 on: 24 of 72; 22 of them is no gap and no count, as 20 and 21 are not of it.
    let jane = found("records-of-user", &[("user", "jane")]);
    let expected: Vec<Value> = (0..72).filter(|seq| seq % 3 == 1).map(|seq| json!(seq)).collect();
    assert_eq!(column(&jane, "seq"), expected);
    assert!(found("records-of-user", &[("user", "nobody")]).is_empty());
    let models = found("user-by-model", &[("user", "jane")]);
    assert_eq!(
        (column(&models, "model"), column(&models, "requests")),
        (vec![json!("llama"), json!("qwen")], vec![json!(12); 2])
    );
    assert!(found("user-by-model", &[("user", "jane"), ("model", "mistral")]).is_empty());
    let one = found("record", &[("id", "event-9")]);
    assert_eq!((&one[0]["seq"], &one[0]["error_type"], one.len()), (&json!(9), &json!("http_error"), 1));
    let session = found("session", &[("session", "jane@a.example")]);
    assert_eq!(
        column(&session, "seq"),
        [json!(41), json!(42), json!(43)],
        "what entries show hashed is found by its text"
    );
}

/// Whoever asks for all of a person, or whether there is any, does not mean the last month.
#[test]
fn what_is_asked_of_a_person_goes_back_to_the_beginning() {
    let years = 3 * 365 * 24;
    assert_eq!(found_in(tenant(), "records-of-user", &[("user", "jane")], years).len(), 24);
    assert_eq!(found_in(tenant(), "user-by-model", &[("user", "jane")], years).len(), 2);
}

#[test]
fn changes_of_keys_are_told() {
    let mut entries = calls(3);
    entries[1].event_type = "key_rotated".to_owned();
    entries[1].detail = Some(serde_json::from_str(r#"{"note":"default"}"#).unwrap());
    entries[1].actor =
        Some(indelible_record::entry::Actor { id: "operator".to_owned(), kind: "operator".to_owned() });
    let changes = found_in(Store::of(entries, 2), "key-changes", &[], 120);
    assert_eq!(changes.len(), 1);
    assert_eq!((&changes[0]["seq"], &changes[0]["note"]), (&json!(1), &json!("default")));
}

#[test]
fn gaps_looks_and_changes_are_told() {
    let gaps = found("gaps", &[]);
    assert_eq!((gaps.len(), &gaps[0]["requests"], &gaps[0]["cause"]), (1, &json!(17), &json!("spool_full")));
    assert_eq!(found("refusals-counted", &[])[0]["requests"], 40);
    let refused = found("refused-requests", &[]);
    assert_eq!((&refused[0]["error_type"], &refused[0]["requests"]), (&json!("no_api_key"), &json!(1)));
    let looks = found("access-log", &[]);
    assert_eq!(column(&looks, "results"), [json!(3), json!(1), json!(12), Value::Null]);
    assert_eq!(column(&looks, "event_type"), ["access", "access", "export", "drill"].map(|kind| json!(kind)));
    assert_eq!(found("access-log", &[("resource", "event-5")]).len(), 1);
    assert_eq!(found("config-changes", &[])[0]["changed"], json!(["routes"]));
    let reports = found("source-reports", &[]);
    assert_eq!((&reports[0]["frames"], &reports[0]["entries"]), (&json!(12), &json!(6)));
    let days = found("continuity", &[]);
    assert_eq!(
        (column(&days, "entries"), column(&days, "not_of_this_day")),
        (vec![json!(24); 3], vec![json!(0); 3])
    );
    let timeline = column(&found("incident-timeline", &[]), "seq");
    assert_eq!(timeline, [9, 19, 20, 21, 22, 29, 39, 49, 59, 69].map(|seq| json!(seq)));
}

#[test]
fn statistics_add_up() {
    // 20 and 21 are no calls. llama has the even numbers: 36 less one; qwen the odd ones, with the 7 failures.
    let errors = found("errors-by-model", &[]);
    assert_eq!(
        (column(&errors, "model"), column(&errors, "requests")),
        (vec![json!("llama"), json!("qwen")], vec![json!(35); 2])
    );
    assert_eq!(errors[0]["error_rate"], 0.0);
    assert!((errors[1]["error_rate"].as_f64().unwrap() - 7.0 / 35.0).abs() < 1e-12, "{errors:?}");
    assert!((errors[0]["p50_ms"].as_f64().unwrap() - 36.0).abs() <= 2.0, "{errors:?}");
    let by_user = found("errors-by-user", &[]);
    assert_eq!(column(&by_user, "requests"), [24, 23, 23].map(|n| json!(n)));
    assert_eq!(found("errors-by-key", &[]).len(), 1);
    let by_day = found("errors-by-day", &[]);
    assert_eq!(column(&by_day, "requests"), [22, 24, 24].map(|n| json!(n)));
    // Of the second day, 29 and 39 failed.
    assert!((by_day[1]["error_rate"].as_f64().unwrap() - 2.0 / 24.0).abs() < 1e-12, "{by_day:?}");
    let days = found("cost-by-day", &[]);
    assert_eq!(column(&days, "requests"), [11, 11, 12, 12, 12, 12].map(|n| json!(n)));
    assert_eq!(days[0]["cost_usd"], "0.000000000000000011");
    assert_eq!(column(&days, "without_cost"), [0, 0, 1, 0, 0, 0].map(|n| json!(n)));
    // Completion tokens are the number of the call: 0, 2, …, 18 and 22.
    assert_eq!((&days[0]["prompt_tokens"], &days[0]["completion_tokens"]), (&json!(110), &json!(112)));
    let users = found("cost-by-user", &[]);
    assert_eq!(column(&users, "requests").iter().map(|n| n.as_u64().unwrap()).sum::<u64>(), 70);
    let unpriced = found("unpriced-models", &[]);
    assert_eq!(
        (unpriced.len(), &unpriced[0]["model"], &unpriced[0]["requests"]),
        (1, &json!("llama"), &json!(1))
    );
    let tools = found("tool-calls", &[("tool", "sum")]);
    assert_eq!((tools.len(), &tools[0]["seq"]), (1, &json!(30)));
    assert_eq!(found("slowest-requests", &[("size", "2")])[1]["seq"], 70);
}

#[test]
fn the_same_question_has_the_same_answer() {
    let of = |seed: &str| {
        let given = [("size", "10"), ("seed", seed), ("since", "2026-11-01"), ("until", "2026-11-04")];
        column(&found("random-sample", &given), "seq")
    };
    let (one, two) = (of("1"), of("2"));
    assert_eq!((one.len(), &one), (10, &of("1")));
    assert_ne!(one, two);
    assert_ne!(of("-9223372036854775807"), one);
    let population = found("population", &[("since", "2026-11-02"), ("until", "2026-11-03")]);
    assert_eq!(column(&population, "seq"), (24..48).map(|seq| json!(seq)).collect::<Vec<_>>());
}

/// `docs/searches.md` lists every search, with its line, and says of every question who answers it.
#[test]
fn the_page_lists_every_search() {
    let page = include_str!("../../../../../docs/searches.md");
    for search in search::built_in().unwrap() {
        let answers = search.answers.join(", ");
        let line = format!("| `{}` | {} | {answers} |", search.name, search.title);
        assert!(page.contains(&line), "docs/searches.md lacks: {line}");
        for question in &search.answers {
            let row = page.lines().find(|line| line.starts_with(&format!("| {question} |")));
            let row = row.unwrap_or_else(|| panic!("docs/searches.md has no {question}"));
            assert!(row.contains(&format!("`{}`", search.name)), "{question} does not name {}", search.name);
        }
    }
}
