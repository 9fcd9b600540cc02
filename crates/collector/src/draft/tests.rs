//! What of a call enters its entry, and above all what does not.

use super::*;
use indelible_record::entry::Status;
use indelible_vault::KeyStore;
use serde_json::json;

/// The entry of a call, and what its payload keeps of strings that the entry shows only as hashes.
fn entry_of(facts: Facts, end: impl FnOnce(&mut End)) -> (Entry, BTreeMap<String, String>) {
    let keys = tempfile::tempdir().unwrap();
    let mut vault = Vault::open(KeyStore::open_or_create(keys.path()).unwrap()).unwrap();
    let start = Start { tenant: "default".to_owned(), time: 0, facts, private: Private::default() };
    let subject = subject_of(&mut vault, &start, Utc(0)).unwrap();
    let mut private = Private::default();
    let mut entry = from_start(&mut vault, Uuid::nil(), &start, subject, &mut private);
    let mut ended = End {
        withheld: Vec::new(),
        hangup: None,
        websocket: None,
        start_seq: 1,
        time: 0,
        status: Status::Completed,
        http_status: Some(200),
        error_type: None,
        latency_us: 9000,
        ttft_us: Some(2000),
        first_token_us: None,
        delivered_bytes: 0,
        input_partial: false,
        output_partial: false,
        answer: Answer::default(),
        late: None,
        private: Private::default(),
    };
    end(&mut ended);
    apply_end(&mut vault, &mut entry, &ended, &mut private);
    assert!(Entry::parse(&entry.to_bytes().unwrap()).is_ok());
    (entry, private.originals)
}

fn chat() -> Facts {
    Facts { route: "default".to_owned(), operation: "chat".to_owned(), ..Facts::default() }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn detail(entry: &Entry) -> Value {
    Value::from(entry.detail.clone().unwrap_or_default())
}

#[test]
fn what_has_no_field_of_its_own_stands_in_detail() {
    let facts = Facts { previous_response_id: Some("resp_0".to_owned()), ..chat() };
    let (entry, _) = entry_of(facts, |end| {
        end.first_token_us = Some(5000);
        end.answer = Answer {
            response_id: Some("resp_1".to_owned()),
            provider_request_id: Some("req_011".to_owned()),
            service_tier: Some("default".to_owned()),
            cache_creation_tokens: Some(100),
            refused: true,
            error_type: Some("overloaded_error".to_owned()),
            error_code: Some("529".to_owned()),
            unread: Some("broken_coding".to_owned()),
            tool_calls: strings(&["get_weather"]),
            ..Answer::default()
        };
    });
    let expected = json!({
        "answer_unread": "broken_coding", "cache_creation_tokens": 100, "first_token_ms": 5,
        "previous_response_id": "resp_0", "provider_error": "overloaded_error", "provider_error_code": "529",
        "provider_request_id": "req_011", "refused": true, "response_id": "resp_1", "service_tier": "default",
        "tool_calls": ["get_weather"],
    });
    assert_eq!(detail(&entry), expected);
    assert_eq!(detail(&entry_of(chat(), |_| {}).0), json!({}));
}

/// Invariant 8, for all that a client or a server may choose freely.
#[test]
fn strings_of_strangers_are_hashed_where_they_could_name_somebody() {
    let facts = Facts {
        previous_response_id: Some("of jane doe".to_owned()),
        tools: strings(&["mail jane@example.com"]),
        ..chat()
    };
    let (entry, originals) = entry_of(facts, |end| {
        end.answer.response_id = Some("447911123456".to_owned());
        end.answer.error_type = Some("no account for jane@example.com".to_owned());
        end.answer.error_code = Some("jane doe".to_owned());
        end.answer.service_tier = Some("for Jane".to_owned());
        end.answer.provider_request_id = Some("192.168.17.4".to_owned());
    });
    let text = String::from_utf8(entry.to_bytes().unwrap()).unwrap();
    for name in ["jane", "Jane", "447911123456", "192.168"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    assert_eq!(originals["previous_response_id"], "of jane doe");
    assert_eq!(originals["provider_error"], "no account for jane@example.com");
}

#[test]
fn tags_stand_in_an_entry_only_where_they_name_nobody() {
    let tags =
        strings(&["prod", "team:search", "customer:jane", "ticket:17", "owner:u-1", "note:jane doe", "prod"]);
    let facts = Facts { user_id: Some("u-1".to_owned()), tags, ..chat() };
    let (entry, originals) = entry_of(facts, |_| {});
    assert_eq!(detail(&entry), json!({ "tags": ["prod", "team:search", "ticket:17"] }));
    assert_eq!(originals.into_keys().collect::<Vec<_>>(), ["user_id"]);
    let many = Facts { tags: (0..99).map(|n| format!("k{n}:v")).collect(), ..chat() };
    assert_eq!(detail(&entry_of(many, |_| {}).0)["tags"].as_array().map(Vec::len), Some(TAGS_MAX));
}

/// Clients of OpenAI send messages first: the model of a request with an image in it stands behind the image.
#[test]
fn what_stands_behind_a_large_body_completes_the_entry() {
    let early = Facts {
        session_id: Some("from-header".to_owned()),
        tags: strings(&["prod"]),
        params: [("n".to_owned(), Param::Integer(1))].into(),
        ..chat()
    };
    let late = Facts {
        model: Some("llama-3".to_owned()),
        session_id: Some("from-body".to_owned()),
        stream: Some(true),
        tools: strings(&["f"]),
        tags: strings(&["team:search"]),
        params: [("n".to_owned(), Param::Integer(1)), ("seed".to_owned(), Param::Integer(7))].into(),
        ..Facts::default()
    };
    let (entry, _) = entry_of(early, |end| end.late = Some(Box::new(late)));
    assert_eq!(entry.model.as_deref(), Some("llama-3"));
    assert_eq!((entry.stream, entry.session_id.as_deref()), (Some(true), Some("from-header")));
    assert_eq!((entry.tools, entry.params.len()), (strings(&["f"]), 2));
    assert_eq!(Value::from(entry.detail.unwrap())["tags"], json!(["prod", "team:search"]));
    assert_eq!((entry.operation.as_deref(), entry.route.as_deref()), (Some("chat"), Some("default")));
}

#[test]
fn each_operation_has_its_type_and_says_where_its_counts_come_from() {
    let of = |operation: &str, tokens| {
        let facts = Facts { operation: operation.to_owned(), ..chat() };
        let (entry, _) = entry_of(facts, |end| end.answer.prompt_tokens = tokens);
        (entry.event_type, entry.usage_source)
    };
    let said = Some("provider".to_owned());
    for operation in ["chat", "text_completion", "generate_content", "realtime"] {
        assert_eq!(of(operation, Some(1)), ("llm_request".to_owned(), said.clone()), "{operation}");
        assert_eq!(of(operation, None).1.as_deref(), Some("missing"));
    }
    assert_eq!(of("embeddings", Some(1)), ("embedding".to_owned(), said.clone()));
    assert_eq!(of("rerank", Some(1)), ("request".to_owned(), said));
    assert_eq!(of("tokenize", None), ("request".to_owned(), None));
}
