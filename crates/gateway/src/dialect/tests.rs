//! Readers against every way that bodies are cut, malformed or odd; most tests remember a failure of some gateway.

use super::pick::Picker;
use super::plan::Plan;
use super::sse::{SseItem, SseParser};
use super::*;
use indelible_record::event::Answer;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

fn request_in(pieces: &[&[u8]]) -> RequestFacts {
    let mut reader = RequestReader::new();
    pieces.iter().for_each(|piece| reader.push(piece));
    reader.finish()
}

/// What a request says, which must not depend on where it was cut.
fn request(body: &str) -> RequestFacts {
    let facts = request_in(&[body.as_bytes()]);
    for at in 0..body.len().min(3000) {
        let (head, tail) = body.as_bytes().split_at(at);
        assert_eq!(request_in(&[head, tail]), facts, "cut at {at}");
    }
    facts
}

fn answer_in(pieces: &[&[u8]], content_type: &str) -> (Answer, Option<String>, bool) {
    let mut reader = AnswerReader::new(Some(content_type), None);
    pieces.iter().for_each(|piece| reader.push(piece));
    let ended = reader.saw_end();
    let (answer, usage) = reader.finish();
    (answer, usage, ended)
}

fn answer(body: &str, content_type: &str) -> (Answer, Option<String>, bool) {
    let whole = answer_in(&[body.as_bytes()], content_type);
    for at in 0..body.len().min(3000) {
        let (head, tail) = body.as_bytes().split_at(at);
        assert_eq!(answer_in(&[head, tail], content_type), whole, "cut at {at}");
    }
    let bytes: Vec<_> = body.as_bytes().chunks(1).collect();
    assert_eq!(answer_in(&bytes, content_type), whole, "byte by byte");
    whole
}

fn stream(chunks: &[&str]) -> (Answer, Option<String>, bool) {
    let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    answer(&body, "text/event-stream; charset=utf-8")
}

#[test]
fn a_request_says_who_what_and_how() {
    let facts = request(
        r#"{"messages":[{"role":"user","content":"Wie \"geht\" es? \\ ü [{"}],"model":"llama-3","user":"u-1",
        "safety_identifier":"s-1","metadata":{"session_id":"c-9","user_id":"m-1"},"stream":true,
        "temperature":0.70,"top_p":1,"n":-0,"seed":9007199254740992,"max_tokens":9007199254740991,
        "logprobs":true,"top_logprobs":2,"stop":["ssn 123"],"logit_bias":{"5":1},"tool_choice":"auto",
        "response_format":{"type":"json_schema","json_schema":{"name":"x"}},"encoding_format":"two words",
        "stream_options":{"include_usage":false},"presence_penalty":1e400,"top_k":"john.doe","min_p":null,
        "tools":[{"type":"function","function":{"name":"b","parameters":{"name":"not_a_tool"}}},
                 {"name":"a"},{"type":"custom","custom":{"name":"c"}}],"functions":[{"name":"old"}]}"#,
    );
    let text = |text: &str| Param::Text(text.to_owned());
    let params = [
        ("include_usage", Param::Bool(false)),
        ("logprobs", Param::Bool(true)),
        ("max_tokens", Param::Integer(9_007_199_254_740_991)),
        ("n", text("-0")),
        ("presence_penalty", text("1e400")),
        ("response_format", text("json_schema")),
        ("seed", text("9007199254740992")),
        ("temperature", text("0.70")),
        ("tool_choice", text("auto")),
        ("top_logprobs", Param::Integer(2)),
        ("top_p", Param::Integer(1)),
    ];
    let expected = RequestFacts {
        model: Some("llama-3".to_owned()),
        user_id: Some("u-1".to_owned()),
        session_id: Some("c-9".to_owned()),
        params: params.map(|(name, value)| (name.to_owned(), value)).into(),
        stream: Some(true),
        tools: ["b", "a", "c", "old"].map(str::to_owned).into(),
        metadata: Some(r#"{"session_id":"c-9","user_id":"m-1"}"#.to_owned()),
    };
    assert_eq!(facts, expected);
}

#[test]
fn the_person_is_found_under_the_newer_names_too() {
    assert_eq!(request(r#"{"user":"","safety_identifier":"s"}"#).user_id.as_deref(), Some("s"));
    assert_eq!(request(r#"{"user":null,"metadata":{"user_id":17}}"#).user_id.as_deref(), Some("17"));
}

/// A client that wants to hide the model from the record, but not from the server.
#[test]
fn what_the_server_reads_cannot_be_hidden_from_the_record() {
    let model = |body: &str| request(body).model;
    assert_eq!(model(r#"{"\u006dodel":"a"}"#).as_deref(), Some("a"));
    assert_eq!(model(r#"{"model":"decoy","model":"a"}"#).as_deref(), Some("a"));
    assert_eq!(model(r#"{"model":"decoy","model":null}"#), None);
    assert_eq!(model("\u{FEFF} {\"model\":\"a\"}").as_deref(), Some("a"));
    assert_eq!(model(r#"{"x":[NaN,-Infinity],"model":"a"}"#).as_deref(), Some("a"));
    assert_eq!(model(r#"{"messages":[{"model":"decoy"}],"model":"a"}"#).as_deref(), Some("a"));
    let deep = format!(r#"{{"x":{}{},"model":"a"}}"#, "[".repeat(900), "]".repeat(900));
    assert_eq!(model(&deep).as_deref(), Some("a"));
    let long_name = format!(r#"{{"{}":1,"model":"a"}}"#, "n".repeat(5000));
    assert_eq!(model(&long_name).as_deref(), Some("a"));
    assert_eq!(request(r#"{"metadata":{"user_id":"decoy"},"metadata":{}}"#).user_id, None);
}

#[test]
fn broken_bodies_keep_what_came_before_the_break() {
    for rest in [r#","stream":tru"#, r#","user":"u"#, ",,", "]", "\u{1}", r#","user":"\x""#, r#" "user":"u""#]
    {
        let facts = request(&format!(r#"{{"model":"a","n":1{rest}"#));
        assert_eq!(facts.model.as_deref(), Some("a"), "{rest}");
        assert_eq!(facts.params.get("n"), Some(&Param::Integer(1)), "{rest}");
        assert_eq!((facts.user_id, facts.stream), (None, None), "{rest}");
    }
    assert_eq!(request(""), RequestFacts::default());
    assert_eq!(request("--boundary\r\nContent-Disposition: form-data"), RequestFacts::default());
    assert_eq!(request(r#"{"user":"a\ud800"}"#).user_id.as_deref(), Some(r"a\ud800"));
}

/// A body cut inside `"max_tokens":128` once read as 12.
#[test]
fn a_cut_number_is_no_smaller_number() {
    assert_eq!(request(r#"{"max_tokens":12"#).params, BTreeMap::new());
}

#[test]
fn what_is_kept_of_any_body_is_bounded() {
    let long = "x".repeat(3000);
    let tools: Vec<_> = (0..500).map(|n| format!(r#"{{"name":"t{n}"}},{{"name":"{long}"}}"#)).collect();
    let body = format!(
        r#"{{"model":"{long}","metadata":{{"a":"{long}{long}{long}","user_id":"u"}},"temperature":0.{},"tools":[{}]}}"#,
        "1".repeat(100),
        tools.join(",")
    );
    let facts = request_in(&[body.as_bytes()]);
    assert_eq!((facts.model, facts.metadata, facts.params.len()), (None, None, 0));
    assert_eq!(facts.user_id.as_deref(), Some("u"));
    assert_eq!(facts.tools.len(), 64);
    assert!(facts.tools.iter().all(|name| name.len() < 10));
}

#[test]
fn an_answer_in_one_piece() {
    let (said, usage, ended) = answer(
        r#"{"id":"x","model":"llama-3","choices":[
        {"index":0,"message":{"role":"assistant","content":"}\"","tool_calls":[
            {"id":"1","function":{"name":"get","arguments":"{\"name\":\"no\"}"}},
            {"id":"2","custom":{"name":"run"}}]},"finish_reason":"tool_calls"},
        {"index":1,"message":{"function_call":{"name":"old"}},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,
            "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}},
        "system_fingerprint":"vllm-0.19-tp1-abc"}"#,
        "application/json",
    );
    let expected = Answer {
        model: Some("llama-3".to_owned()),
        system_fingerprint: Some("vllm-0.19-tp1-abc".to_owned()),
        finish_reason: Some("tool_calls".to_owned()),
        prompt_tokens: Some(9),
        completion_tokens: Some(12),
        cached_tokens: Some(4),
        reasoning_tokens: Some(3),
        tool_calls: ["get", "run", "old"].map(str::to_owned).into(),
    };
    assert_eq!(said, expected);
    assert!(usage.unwrap().starts_with(r#"{"prompt_tokens":9,"#));
    assert!(!ended);
}

#[test]
fn embeddings_report_what_they_used() {
    let body = r#"{"object":"list","data":[{"index":0,"embedding":[0.1,-2e-5]}],"model":"e5",
        "usage":{"prompt_tokens":7,"total_tokens":7}}"#;
    let (said, usage, _) = answer(body, "application/json");
    assert_eq!(
        (said.model.as_deref(), said.prompt_tokens, said.completion_tokens),
        (Some("e5"), Some(7), None)
    );
    assert_eq!(usage.as_deref(), Some(r#"{"prompt_tokens":7,"total_tokens":7}"#));
}

#[test]
fn a_stream_of_two_choices_with_tool_calls() {
    let (said, usage, ended) = stream(&[
        r#"{"model":"m","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}"#,
        r#"{"model":"m","choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"z","arguments":""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"name":"b"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"a"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":null,"arguments":"{"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"a"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        r#"{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#,
        "[DONE]",
    ]);
    assert_eq!(said.tool_calls, ["a", "b", "z"]);
    assert_eq!(said.finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!((said.prompt_tokens, said.completion_tokens), (Some(5), Some(6)));
    assert_eq!(usage.as_deref(), Some(r#"{"prompt_tokens":5,"completion_tokens":6}"#));
    assert!(ended);
}

/// envoyproxy/ai-gateway #2236, #2239: running totals were added up.
#[test]
fn usage_in_every_chunk_is_not_added_up() {
    let (said, usage, _) = stream(&[
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
        r#"{"choices":[],"usage":null}"#,
    ]);
    assert_eq!((said.prompt_tokens, said.completion_tokens, said.cached_tokens), (Some(5), Some(2), Some(2)));
    assert_eq!(usage.as_deref(), Some(r#"{"prompt_tokens":5,"completion_tokens":2}"#));
}

#[test]
fn an_empty_model_in_a_filter_chunk_does_not_win() {
    let (said, _, _) = stream(&[
        r#"{"model":"gpt","choices":[{"index":0,"delta":{}}]}"#,
        r#"{"model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
    ]);
    assert_eq!(said.model.as_deref(), Some("gpt"));
}

#[test]
fn parallel_calls_that_all_say_index_0_are_all_named() {
    let call = |name| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,"function":{{"name":"{name}"}}}}]}}}}]}}"#
        )
    };
    assert_eq!(stream(&[&call("b"), &call("a"), &call("b")]).0.tool_calls, ["b", "a"]);
}

#[test]
fn token_counts_that_no_entry_can_hold_are_left_to_the_payload() {
    let usage = r#"{"prompt_tokens":9007199254740992,"completion_tokens":-1}"#;
    let (said, raw, _) = stream(&[&format!(r#"{{"usage":{usage}}}"#)]);
    assert_eq!((said.prompt_tokens, said.completion_tokens), (None, None));
    assert_eq!(raw.as_deref(), Some(usage));
}

/// tensorzero #475, api7/aisix #177: an upstream that broke off left nothing.
#[test]
fn a_stream_that_breaks_off_keeps_what_was_read() {
    let body = "data: {\"model\":\"m\",\"usage\":{\"prompt_tokens\":3}}\r\n\r\ndata: {\"system_fingerprint\":\"f\",\"usage\":{\"prompt_tokens\":4";
    let (said, _, ended) = answer(body, "text/event-stream");
    assert_eq!((said.model.as_deref(), said.prompt_tokens), (Some("m"), Some(3)));
    assert_eq!(said.system_fingerprint.as_deref(), Some("f"));
    assert!(!ended);
}

#[test]
fn a_chunk_that_is_not_json_does_not_end_the_reading() {
    let (said, _, ended) = stream(&["{\"model\":\"a\",}", "not json", "", r#"{"model":"b"}"#, "[DONE]"]);
    assert_eq!(said.model.as_deref(), Some("b"));
    assert!(ended);
}

#[test]
fn only_the_mark_itself_ends_a_stream() {
    let ended = |body: &str| answer(body, "text/event-stream").2;
    assert!(ended("data:[DONE]"));
    assert!(ended("data: [DO\ndata: x\n\ndata: [DONE]\n\n"));
    for body in [
        "data: \"[DONE]\"\n\n",
        "data:  [DONE]\n\n",
        ": [DONE]\n\n",
        "data: [DO\ndata: NE]\n\n",
        "event: [DONE]\n\n",
    ] {
        assert!(!ended(body), "{body:?}");
    }
}

/// vm0 #8903: compressed SSE was parsed as if it were text.
#[test]
fn compressed_or_unknown_bodies_are_not_read() {
    let read = |content_type, coding| {
        let mut reader = AnswerReader::new(content_type, coding);
        reader.push(b"{\"model\":\"m\"}");
        reader.finish().0.model.is_some()
    };
    assert!(read(Some("Application/JSON; charset=utf-8"), Some(" Identity ")));
    assert!(read(Some("application/vnd.x+json"), None));
    assert!(!read(Some("application/json"), Some("gzip")));
    assert!(!read(Some("text/html"), None));
    assert!(!read(None, None));
}

#[test]
fn operations_are_told_by_the_end_of_the_path() {
    let of = |path| operation_of("POST", path).as_str();
    assert_eq!(of("/v1/chat/completions"), "chat");
    assert_eq!(of("/openai/deployments/d/chat/completions?api-version=1"), "chat");
    assert_eq!(of("/v1/completions/"), "text_completion");
    assert_eq!(of("/v1/embeddings?x=/v1/chat/completions"), "embeddings");
    assert_eq!(of("/v1/responses"), "other");
    assert_eq!(of("/x?y=/v1/chat/completions"), "other");
    assert_eq!(operation_of("GET", "/v1/chat/completions"), Operation::Other);
}

fn sse_in(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut events, mut event) = (Vec::new(), Vec::new());
    let mut take = |item: SseItem<'_>| match item {
        SseItem::Data(part) => event.extend_from_slice(part),
        SseItem::DataLineEnd => event.push(b'\n'),
        SseItem::EventEnd => events.push(std::mem::take(&mut event)),
    };
    let mut parser = SseParser::new();
    pieces.iter().for_each(|piece| parser.push(piece, &mut take));
    parser.finish(take);
    events
}

/// Facts from the standard's own examples, plus the ends of lines that proxies make of them.
#[test]
fn events_are_the_same_wherever_the_bytes_are_cut() {
    let cases: [(&str, &[&str]); 9] = [
        ("data: a\n\ndata: b\n\n", &["a\n", "b\n"]),
        ("data: a\r\rdata: b\r\r", &["a\n", "b\n"]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", &["a\n", "b\n"]),
        ("\u{FEFF}data:a\ndata:  b\n\n", &["a\n b\n"]),
        (": comment\n\nevent: x\nid: 1\nretry: 5\ndata: a\n\n", &["a\n"]),
        ("data\n\ndata\ndata\n\ndata:", &["\n", "\n\n", ""]),
        ("datax: no\ndat: no\n data: no\nevent: x\n\n", &[]),
        ("data: {\"ü\":\"🦀\"}", &["{\"ü\":\"🦀\"}"]),
        ("\u{FEFF}\u{FEFF}data: a\n\n\ndata: b", &["b"]),
    ];
    for (text, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|event| event.as_bytes().to_vec()).collect();
        assert_eq!(sse_in(&text.as_bytes().chunks(1).collect::<Vec<_>>()), expected, "{text:?}");
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(sse_in(&[head, tail]), expected, "{text:?} cut at {at}");
        }
    }
}

/// A base64 image in one event: the parser hands on slices of what it is given and keeps none.
#[test]
fn an_event_of_any_size_is_never_held() {
    let piece = vec![b'x'; 1 << 16];
    let mut parser = SseParser::new();
    parser.push(b"data: ", |_| {});
    let mut passed = 0;
    for _ in 0..800 {
        parser.push(&piece, |item| match item {
            SseItem::Data(part) => passed += usize::from(std::ptr::eq(part, piece.as_slice())),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(passed, 800);
}

static PLAN: LazyLock<Plan> =
    LazyLock::new(|| Plan::new(&["a", "b.a", "a[*].b", "b[*].a[*].c", "c.b.a"], &["b", "c[*].a"]));

type Picks = Vec<(String, [u32; 2], Value)>;

/// A JSON text with doubled members, escapes and spaces, as no serialiser would write it.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![Just("a"), Just("b"), Just("c"), Just("\\u0061"), Just("d"), Just("")];
    let string = prop_oneof![
        "[a-c{}\\[\\],:üé🦀 ]{0,12}",
        Just("\\\"\\\\".to_owned()),
        Just("\\ud83e\\udd80\\n".to_owned())
    ];
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i32>().prop_map(|n| n.to_string()),
        Just("-0.5e+3".to_owned()),
        string.prop_map(|s| format!("\"{s}\"")),
    ];
    let space = prop_oneof![Just(""), Just(" "), Just("\r\n\t")];
    scalar.prop_recursive(6, 60, 5, move |inner| {
        let item = (space.clone(), inner.clone()).prop_map(|(s, v)| format!("{s}{v}{s}"));
        let member =
            (space.clone(), word.clone(), inner).prop_map(|(s, k, v)| format!("{s}\"{k}\"{s}:{s}{v}{s}"));
        prop_oneof![
            prop::collection::vec(item, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// What serde_json reads at a path: every value there that the picker is to keep.
fn reference(root: &Value, path: &str, whole: bool) -> Picks {
    let mut at = vec![([0u32; 2], 0, root)];
    for part in path.split('.') {
        let (name, each) = part.strip_suffix("[*]").map_or((part, false), |name| (name, true));
        at = at.into_iter().filter_map(|(p, n, value)| Some((p, n, value.as_object()?.get(name)?))).collect();
        if each {
            at = at
                .into_iter()
                .flat_map(|(place, n, value)| {
                    value.as_array().into_iter().flatten().zip(0u32..).map(move |(item, index)| {
                        let mut place = place;
                        place[n] = index;
                        (place, n + 1, item)
                    })
                })
                .collect();
        }
    }
    let keep = |value: &Value| !value.is_null() && (whole || !(value.is_object() || value.is_array()));
    at.into_iter().filter(|(_, _, v)| keep(v)).map(|(p, _, v)| (path.to_owned(), p, v.clone())).collect()
}

fn picks(pieces: &[&[u8]]) -> (Picks, bool) {
    let mut picker = Picker::new(&PLAN);
    picker.push(b"{\"a\":\"of the text before\"");
    picker.reset();
    pieces.iter().for_each(|piece| picker.push(piece));
    let value = |raw: &[u8]| serde_json::from_slice(raw).unwrap_or(Value::from("not JSON"));
    let mut picks: Picks =
        picker.picked().map(|(path, pick)| (path.to_owned(), pick.at, value(&pick.raw))).collect();
    picks.sort_by(|one, other| one.0.cmp(&other.0));
    (picks, picker.complete())
}

proptest! {
    #[test]
    fn picks_what_serde_json_reads_however_it_is_cut(text in text()) {
        let root: Value = serde_json::from_str(&text).unwrap();
        let scalars = ["a", "b.a", "a[*].b", "b[*].a[*].c", "c.b.a"].map(|path| reference(&root, path, false));
        let wholes = ["b", "c[*].a"].map(|path| reference(&root, path, true));
        let mut expected: Picks = scalars.into_iter().chain(wholes).flatten().collect();
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        let is_container = root.is_object() || root.is_array();
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            let (found, complete) = picks(&[head, tail]);
            prop_assert_eq!(&found, &expected, "cut at {}", at);
            prop_assert!(complete || !is_container);
            prop_assert!(!is_container || at == text.len() || !picks(&[head]).1 || text[at..].trim().is_empty());
        }
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(picks(&bytes).0, expected);
    }

    #[test]
    fn any_bytes_read_the_same_however_they_are_cut(mut text in text().prop_map(String::into_bytes), at: prop::sample::Index, byte: u8) {
        let changed = at.index(text.len());
        text[changed] = byte;
        let expected = picks(&[&text]);
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            prop_assert_eq!(&picks(&[head, tail]), &expected);
        }
    }

    #[test]
    fn any_stream_reads_the_same_however_it_is_cut(text in "(data|event|: ?|\r|\n|\r\n|x|\u{FEFF}){0,24}", at: prop::sample::Index) {
        let (head, tail) = text.as_bytes().split_at(at.index(text.len() + 1));
        prop_assert_eq!(sse_in(&[head, tail]), sse_in(&[text.as_bytes()]));
    }
}
