//! Readers against every way that bodies are cut, malformed or odd; most tests remember a failure of some
//! gateway.

use super::*;
use indelible_record::event::Answer;

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
    let (tools, digits) = (tools.join(","), "1".repeat(100));
    let metadata = format!(r#"{{"a":"{long}{long}{long}","user_id":"u"}}"#);
    let body =
        format!(r#"{{"model":"{long}","metadata":{metadata},"temperature":0.{digits},"tools":[{tools}]}}"#);
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
        r#"{"model":"m","choices":[{"index":1,"delta":{"tool_calls":[{"id":"c","function":{"name":"z","arguments":""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"name":"b"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"a"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":null}}]}}]}"#,
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
        r#"{"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}"#,
        r#"{"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
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
    let whole = r#"{"model":"m","usage":{"prompt_tokens":3}}"#;
    let cut = r#"{"system_fingerprint":"f","usage":{"prompt_tokens":4"#;
    let (said, _, ended) = answer(&format!("data: {whole}\r\n\r\ndata: {cut}"), "text/event-stream");
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
