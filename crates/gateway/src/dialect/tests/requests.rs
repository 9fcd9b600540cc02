//! What requests say.

use super::*;
use indelible_record::entry::Param;
use std::collections::BTreeMap;

fn request_in<'a>(endpoint: &'static Endpoint, pieces: impl IntoIterator<Item = &'a [u8]>) -> RequestFacts {
    let mut reader = RequestReader::new(endpoint, "/v1/chat/completions", &HeaderMap::new());
    for piece in pieces {
        reader.push(piece);
    }
    reader.facts()
}

/// What a request says, which must not depend on where it was cut.
fn request_to(path: &str, body: &str) -> RequestFacts {
    let endpoint = post_to(path);
    let facts = request_in(endpoint, [body.as_bytes()]);
    for at in 0..body.len().min(CUT_MAX_BYTES) {
        let (head, tail) = body.as_bytes().split_at(at);
        assert_eq!(request_in(endpoint, [head, tail]), facts, "cut at {at}");
    }
    assert_eq!(request_in(endpoint, body.as_bytes().chunks(1)), facts, "byte by byte");
    facts
}

fn request(body: &str) -> RequestFacts {
    request_to("/v1/chat/completions", body)
}

fn text(text: &str) -> Param {
    Param::Text(text.to_owned())
}

fn params<const N: usize>(params: [(&str, Param); N]) -> BTreeMap<String, Param> {
    params.map(|(name, value)| (name.to_owned(), value)).into()
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

#[test]
fn a_request_says_who_what_and_how() {
    let facts = request(
        r#"{"messages":[{"role":"user","content":"Wie \"geht\" es? \\ ü [{"}],"model":"llama-3","user":"u-1",
        "safety_identifier":"s-1","metadata":{"session_id":"c-9","user_id":"m-1","team":"search"},"stream":true,
        "temperature":0.70,"top_p":1,"n":-0,"seed":9007199254740992,"max_tokens":9007199254740991,
        "logprobs":true,"top_logprobs":2,"stop":["ssn 123"],"logit_bias":{"5":1},"tool_choice":"auto",
        "response_format":{"type":"json_schema","json_schema":{"name":"x"}},"service_tier":"two words",
        "stream_options":{"include_usage":false},"presence_penalty":1e400,"top_k":"john.doe","min_p":null,
        "tools":[{"type":"function","function":{"name":"b","parameters":{"name":"not_a_tool"}}},
                 {"name":"a"},{"type":"custom","custom":{"name":"c"}}],"functions":[{"name":"old"}]}"#,
    );
    let expected = RequestFacts {
        model: some("llama-3"),
        user_id: some("u-1"),
        session_id: some("c-9"),
        params: params([
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
        ]),
        stream: Some(true),
        tools: names(["b", "a", "c", "old"]),
        tags: names(["session_id:c-9", "team:search", "user_id:m-1"]),
        ..RequestFacts::default()
    };
    assert_eq!(facts, expected);
}

#[test]
fn numbers_are_json_numbers_or_nothing() {
    let of = |raw: &str| request(&format!(r#"{{"seed":{raw}}}"#)).params.remove("seed");
    assert_eq!(of("0"), Some(Param::Integer(0)));
    assert_eq!(of("-12"), Some(Param::Integer(-12)));
    for number in ["0.5", "-0.0", "1e9", "1E+9", "10.25e-3"] {
        assert_eq!(of(number), Some(text(number)), "{number}");
    }
    for other in
        ["01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1", "1-2", "NaN", "-Infinity", "\"7\"", "[1]", "{}"]
    {
        assert_eq!(of(other), None, "{other}");
    }
}

/// Point 30.
#[test]
fn the_person_is_found_under_all_the_names_that_clients_use() {
    let user = |body: &str| request(body).user_id;
    assert_eq!(user(r#"{"user":"","safety_identifier":"s"}"#), some("s"));
    assert_eq!(user(r#"{"user":null,"metadata":{"user_id":17}}"#), some("17"));
    assert_eq!(user(r#"{"metadata":{"trace_user_id":"t"}}"#), some("t"));
    assert_eq!(user(r#"{"metadata":{"langfuse_user_id":"l"},"safety_identifier":"s"}"#), some("s"));
    let session = |body: &str| request(body).session_id;
    assert_eq!(session(r#"{"litellm_session_id":"l","metadata":{"session_id":"m"}}"#), some("l"));
    assert_eq!(session(r#"{"metadata":{"langfuse_session_id":"f"}}"#), some("f"));
    let anthropic = |body: &str| request_to("/v1/messages", body);
    assert_eq!(anthropic(r#"{"metadata":{"user_id":"u-7"},"user":"no"}"#).user_id, some("u-7"));
}

/// coder/aibridge #241: the user id of Anthropic's command-line agent holds the session, in two formats. Taken
/// as it stands, each session is another person.
#[test]
fn a_session_within_the_user_id_is_taken_out_of_it() {
    let who = |user_id: &str| {
        let body = serde_json::json!({ "metadata": { "user_id": user_id } }).to_string();
        let facts = request_to("/v1/messages", &body);
        (facts.user_id, facts.session_id)
    };
    let person = some("user_3f2a_account_11-22");
    assert_eq!(who("user_3f2a_account_11-22_session_57a1-21ec"), (person.clone(), some("57a1-21ec")));
    assert_eq!(who("user_3f2a_account_11-22_session_ffff"), (person, some("ffff")));
    let as_json = r#"{"device_id":"d","account_uuid":"","session_id":"54c1"}"#;
    assert_eq!(who(as_json), (some(r#"{"account_uuid":"","device_id":"d"}"#), some("54c1")));
    assert_eq!(who(r#"{"session_id":"54c1"}"#), (None, some("54c1")));
    for other in ["alice", "a_session_b", "user_x_session_", "{not json", r#"{"device_id":"d"}"#] {
        assert_eq!(who(other), (some(other), None));
    }
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
    let tools: Vec<_> = (0..2000).map(|n| format!(r#"{{"name":"t{n}"}}"#)).collect();
    let body = format!(r#"{{"tools":[{}],"model":"a","user":"u"}}"#, tools.join(","));
    let facts = request_in(chat(), [body.as_bytes()]);
    assert_eq!((facts.model.as_deref(), facts.user_id.as_deref()), (Some("a"), Some("u")));
}

/// Point 10, deltallm #51: requests that are malformed went unrecorded.
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
    let facts = request_in(chat(), [body.as_bytes()]);
    assert_eq!((facts.model, facts.tags.len(), facts.params.len()), (None, 0, 0));
    assert_eq!(facts.user_id.as_deref(), Some("u"));
    assert_eq!(facts.tools.len(), 64);
    assert!(facts.tools.iter().all(|name| name.len() < 10));
    let tags: Vec<_> = (0..500).map(|n| format!(r#""k{n}":"v""#)).collect();
    let facts = request_in(chat(), [format!(r#"{{"metadata":{{{}}}}}"#, tags.join(",")).as_bytes()]);
    assert_eq!(facts.tags.len(), 32);
}

/// Point 20: what a response goes on from may be all that says what was asked.
#[test]
fn a_response_request_names_what_it_goes_on_from() {
    let facts = request_to(
        "/v1/responses",
        r#"{"model":"gpt-x","input":[{"type":"item_reference","id":"msg_1"}],"previous_response_id":"resp_0",
        "conversation":{"id":"conv_1"},"background":true,"store":false,"max_output_tokens":100,
        "reasoning":{"effort":"low","summary":"auto"},"text":{"format":{"type":"json_schema","name":"no"},"verbosity":"low"},
        "tools":[{"type":"web_search"},{"type":"function","name":"f","parameters":{"type":"object"}},
                 {"type":"mcp","server_label":"s"}],
        "tool_choice":{"type":"function","name":"f"},"safety_identifier":"s-1","truncation":"auto"}"#,
    );
    let expected = RequestFacts {
        model: some("gpt-x"),
        user_id: some("s-1"),
        session_id: some("conv_1"),
        previous_response_id: some("resp_0"),
        params: params([
            ("background", Param::Bool(true)),
            ("max_output_tokens", Param::Integer(100)),
            ("reasoning_effort", text("low")),
            ("response_format", text("json_schema")),
            ("store", Param::Bool(false)),
            ("tool_choice", text("function")),
            ("truncation", text("auto")),
            ("verbosity", text("low")),
        ]),
        tools: names(["web_search", "f", "mcp"]),
        ..RequestFacts::default()
    };
    assert_eq!(facts, expected);
    let bare = request_to("/v1/responses", r#"{"conversation":"conv_2"}"#);
    assert_eq!(bare.session_id.as_deref(), Some("conv_2"));
}

#[test]
fn a_messages_request_says_how() {
    let facts = request_to(
        "/v1/messages",
        r#"{"model":"claude-x","max_tokens":1024,"stream":true,"system":[{"type":"text","text":"x"}],
        "thinking":{"type":"enabled","budget_tokens":2048},"tool_choice":{"type":"any"},"temperature":1.0,
        "tools":[{"name":"f","input_schema":{"name":"no"}},{"type":"web_search_20250305","name":"web_search"}],
        "output_config":{"effort":"high"},"messages":[]}"#,
    );
    let expected = params([
        ("max_tokens", Param::Integer(1024)),
        ("reasoning_effort", text("high")),
        ("temperature", text("1.0")),
        ("thinking", text("enabled")),
        ("thinking_budget_tokens", Param::Integer(2048)),
        ("tool_choice", text("any")),
    ]);
    assert_eq!(facts.params, expected);
    assert_eq!((facts.model, facts.stream), (some("claude-x"), Some(true)));
    assert_eq!(facts.tools, ["f", "web_search"]);
}

#[test]
fn gemini_requests_are_read_in_both_spellings() {
    let path = "/v1beta/models/g:generateContent";
    let camel = request_to(
        path,
        r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"temperature":0.5,"topK":40,
        "maxOutputTokens":100,"thinkingConfig":{"thinkingBudget":-1}},"labels":{"team":"search"},
        "tools":[{"functionDeclarations":[{"name":"b"},{"name":"a"}]},{"googleSearch":{}}]}"#,
    );
    let expected = params([
        ("max_output_tokens", Param::Integer(100)),
        ("temperature", text("0.5")),
        ("thinking_budget_tokens", Param::Integer(-1)),
        ("top_k", Param::Integer(40)),
    ]);
    assert_eq!((camel.params, camel.tools), (expected, names(["b", "a"])));
    assert_eq!(camel.tags, ["team:search"]);
    let snake = request_to(
        path,
        r#"{"generation_config":{"top_p":1,"max_output_tokens":5},"tools":[{"function_declarations":[{"name":"c"}]}]}"#,
    );
    let expected = params([("max_output_tokens", Param::Integer(5)), ("top_p", Param::Integer(1))]);
    assert_eq!((snake.params, snake.tools), (expected, names(["c"])));
}

#[test]
fn ollama_requests_say_how() {
    let facts = request_to(
        "/api/chat",
        r#"{"model":"llama3","stream":false,"think":"high","format":"json","options":{"num_ctx":4096,"temperature":0},
        "tools":[{"type":"function","function":{"name":"f"}}]}"#,
    );
    let expected = params([
        ("num_ctx", Param::Integer(4096)),
        ("response_format", text("json")),
        ("temperature", Param::Integer(0)),
        ("think", text("high")),
    ]);
    assert_eq!((facts.params, facts.stream, facts.tools), (expected, Some(false), names(["f"])));
}

#[test]
fn embeddings_and_the_apis_of_vllm_say_how() {
    let facts = request_to(
        "/v1/embeddings",
        r#"{"input":["a"],"model":"e5","dimensions":256,"encoding_format":"base64"}"#,
    );
    let expected = params([("dimensions", Param::Integer(256)), ("encoding_format", text("base64"))]);
    assert_eq!((facts.model, facts.params), (some("e5"), expected));
    let facts = request_to("/v1/rerank", r#"{"query":"q","documents":["d"],"model":"bge","top_n":3}"#);
    assert_eq!(facts.params, params([("top_n", Param::Integer(3))]));
}

#[test]
fn a_deployment_in_the_path_stands_for_a_model_that_the_body_leaves_out() {
    let path = "/openai/deployments/gpt-4o-eu/chat/completions?api-version=1";
    let mut reader = RequestReader::new(post_to(path), path, &HeaderMap::new());
    assert_eq!(reader.facts().model.as_deref(), Some("gpt-4o-eu"));
    reader.push(br#"{"model":"gpt-4o"}"#);
    assert_eq!(reader.facts().model.as_deref(), Some("gpt-4o"));
}
