//! Chat completions, completions, embeddings.

use super::*;

fn embeddings() -> &'static Endpoint {
    post_to("/v1/embeddings")
}

#[test]
fn an_answer_in_one_piece() {
    let read = read(
        chat(),
        JSON,
        r#"{"id":"chatcmpl-1","model":"llama-3","service_tier":"default","choices":[
        {"index":0,"message":{"role":"assistant","content":"}\"","tool_calls":[
            {"id":"1","function":{"name":"get","arguments":"{\"name\":\"no\"}"}},
            {"id":"2","custom":{"name":"run"}}]},"finish_reason":"tool_calls"},
        {"index":1,"message":{"function_call":{"name":"old"}},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,
            "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}},
        "system_fingerprint":"vllm-0.19-tp1-abc"}"#,
    );
    let expected = Answer {
        model: some("llama-3"),
        system_fingerprint: some("vllm-0.19-tp1-abc"),
        finish_reason: some("tool_calls"),
        prompt_tokens: Some(9),
        completion_tokens: Some(12),
        cached_tokens: Some(4),
        reasoning_tokens: Some(3),
        tool_calls: ["get", "run", "old"].map(str::to_owned).into(),
        response_id: some("chatcmpl-1"),
        service_tier: some("default"),
        ..Answer::default()
    };
    assert_eq!(read.said, expected);
    assert!(read.usage.unwrap().starts_with(r#"{"prompt_tokens":9,"#));
    assert!(!read.ended);
}

/// Point 18, all at once: choices in turns, each field of a delta, log probabilities that look like the fields
/// that are read, usage in a chunk without choices.
#[test]
fn a_stream_with_everything_is_put_together_by_choice_and_index() {
    let logprobs = r#"{"content":[{"token":"model","logprob":-0.1,"bytes":null,"top_logprobs":[
        {"finish_reason":"no","name":"no","usage":{"prompt_tokens":99}}]}],"refusal":null}"#;
    let with_logprobs = format!(
        r#"{{"choices":[{{"index":0,"delta":{{"content":"{{\"model\":\"no\"}}"}},"logprobs":{}}}]}}"#,
        logprobs.replace('\n', "")
    );
    let read = stream(
        chat(),
        &[
            r#"{"id":"c-1","object":"chat.completion.chunk","model":"m","service_tier":"auto","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c-1","model":"m","choices":[{"index":1,"delta":{"reasoning_content":"hm"}}]}"#,
            &with_logprobs,
            r#"{"choices":[{"index":1,"delta":{"audio":{"id":"a","data":"AAAA","transcript":"x"}}}]}"#,
            r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"id":"c","type":"function","function":{"name":"z","arguments":""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"b"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"a"}},{"index":1,"function":{"arguments":"{\"name\":\"no\"}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":null,"arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"a"}}]}}]}"#,
            r#"{"choices":[{"index":2,"delta":{"function_call":{"name":"old","arguments":""}}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            r#"{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#,
            r#"{"id":"c-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#,
            "[DONE]",
        ],
    );
    assert_eq!(read.said.tool_calls, ["a", "b", "z", "old"]);
    let expected = Answer {
        model: some("m"),
        system_fingerprint: some("fp_1"),
        finish_reason: some("tool_calls"),
        prompt_tokens: Some(5),
        completion_tokens: Some(6),
        response_id: some("c-1"),
        service_tier: some("auto"),
        tool_calls: read.said.tool_calls.clone(),
        ..Answer::default()
    };
    assert_eq!(read.said, expected);
    assert_eq!(read.usage.as_deref(), Some(r#"{"prompt_tokens":5,"completion_tokens":6}"#));
    assert!(read.ended);
}

/// Point 26: the head of a stream, sent at once, was taken for its first token.
#[test]
fn a_role_without_content_is_no_first_token() {
    let head = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    assert!(!stream(chat(), &[head]).began);
    for delta in [
        r#"{"content":"a"}"#,
        r#"{"reasoning":"a"}"#,
        r#"{"reasoning_content":"a"}"#,
        r#"{"refusal":"a"}"#,
        r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}"#,
        r#"{"audio":{"data":"AA=="}}"#,
    ] {
        let chunk = format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
        assert!(stream(chat(), &[head, &chunk]).began, "{delta}");
    }
    let text = r#"{"choices":[{"index":0,"text":" a"}]}"#;
    assert!(stream(post_to("/v1/completions"), &[text]).began);
}

#[test]
fn a_refusal_is_told_apart_from_an_answer() {
    let plain =
        r#"{"choices":[{"index":0,"message":{"content":null,"refusal":"I cannot"},"finish_reason":"stop"}]}"#;
    assert!(read(chat(), JSON, plain).said.refused);
    assert!(stream(chat(), &[r#"{"choices":[{"delta":{"refusal":"I"}}]}"#]).said.refused);
    let not = r#"{"choices":[{"index":0,"message":{"content":"refusal","refusal":null}}]}"#;
    assert!(!read(chat(), JSON, not).said.refused);
}

/// envoyproxy/ai-gateway #2236, #2239: running totals were added up.
#[test]
fn usage_in_every_chunk_is_not_added_up() {
    let read = stream(
        chat(),
        &[
            r#"{"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}"#,
            r#"{"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
            r#"{"choices":[],"usage":null}"#,
        ],
    );
    assert_eq!(tokens(&read.said), [Some(5), Some(2), Some(2), None, None]);
    assert_eq!(read.usage.as_deref(), Some(r#"{"prompt_tokens":5,"completion_tokens":2}"#));
}

/// traceloop/openllmetry #4419: usage that Groq sends under its own name was missed.
#[test]
fn usage_under_names_of_single_providers_is_found() {
    let groq =
        stream(chat(), &[r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":6}}}"#]);
    assert_eq!(tokens(&groq.said)[..2], [Some(5), Some(6)]);
    let deepseek = r#"{"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_cache_hit_tokens":8}}"#;
    assert_eq!(tokens(&read(chat(), JSON, deepseek).said)[..3], [Some(9), Some(1), Some(8)]);
}

/// Points 23 and 24: what is not said is not made up.
#[test]
fn a_stream_without_usage_has_none() {
    let read = stream(chat(), &[r#"{"choices":[{"index":0,"delta":{"content":"a b c"}}]}"#, "[DONE]"]);
    assert_eq!((tokens(&read.said), read.usage), ([None; 5], None));
}

#[test]
fn an_empty_model_in_a_filter_chunk_does_not_win() {
    let read = stream(
        chat(),
        &[
            r#"{"model":"gpt","choices":[{"index":0,"delta":{}}]}"#,
            r#"{"model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
        ],
    );
    assert_eq!(read.said.model.as_deref(), Some("gpt"));
}

#[test]
fn parallel_calls_that_all_say_index_0_are_all_named() {
    let call = |name| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,"function":{{"name":"{name}"}}}}]}}}}]}}"#
        )
    };
    assert_eq!(stream(chat(), &[&call("b"), &call("a"), &call("b")]).said.tool_calls, ["b", "a"]);
}

#[test]
fn token_counts_that_no_entry_can_hold_are_left_to_the_payload() {
    let usage = r#"{"prompt_tokens":9007199254740992,"completion_tokens":-1}"#;
    let read = stream(chat(), &[&format!(r#"{{"usage":{usage}}}"#)]);
    assert_eq!(tokens(&read.said)[..2], [None, None]);
    assert_eq!(read.usage.as_deref(), Some(usage));
}

/// tensorzero #475, api7/aisix #177: an upstream that broke off left nothing.
#[test]
fn a_stream_that_breaks_off_keeps_what_was_read() {
    let whole = r#"{"model":"m","usage":{"prompt_tokens":3}}"#;
    let cut = r#"{"system_fingerprint":"f","usage":{"prompt_tokens":4"#;
    let read = read(chat(), EVENTS, &format!("data: {whole}\r\n\r\ndata: {cut}"));
    assert_eq!((read.said.model.as_deref(), read.said.prompt_tokens), (Some("m"), Some(3)));
    assert_eq!(read.said.system_fingerprint.as_deref(), Some("f"));
    assert!(!read.ended);
}

/// Point 14: the words of a provider for what went wrong, in a body and in the middle of a stream.
#[test]
fn an_error_says_of_what_kind_it_is() {
    let openai = r#"{"error":{"message":"too long","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}"#;
    let vllm = r#"{"error":{"message":"no such model","type":"NotFoundError","param":"model","code":404}}"#;
    let error = |read: Read| (read.said.error_type, read.said.error_code);
    let of_openai = (some("invalid_request_error"), some("context_length_exceeded"));
    assert_eq!(error(read(chat(), JSON, openai)), of_openai);
    assert_eq!(error(stream(chat(), &[r#"{"choices":[]}"#, openai])), of_openai);
    assert_eq!(error(read(chat(), JSON, vllm)), (some("NotFoundError"), some("404")));
    assert_eq!(error(read(chat(), JSON, r#"{"error":null,"choices":[]}"#)), (None, None));
}

#[test]
fn completions_say_why_each_ended() {
    let read = stream(
        post_to("/v1/completions"),
        &[
            r#"{"id":"cmpl-1","model":"base","choices":[{"index":1,"text":"b","finish_reason":"length"}]}"#,
            r#"{"id":"cmpl-1","model":"base","choices":[{"index":0,"text":"a","finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "[DONE]",
        ],
    );
    assert_eq!(read.said.finish_reason.as_deref(), Some("stop"));
    assert_eq!(tokens(&read.said)[..2], [Some(1), Some(2)]);
    assert!(read.ended && read.began);
}

/// Point 21: vectors as numbers and as base64; litellm #24928: they went past every limit.
#[test]
fn embeddings_report_what_they_used() {
    let numbers = format!("[{}]", vec!["-0.012345"; 300].join(","));
    for vector in [numbers.as_str(), r#""AACAPwAAAEA=""#] {
        let body = format!(
            r#"{{"object":"list","data":[{{"index":0,"embedding":{vector}}}],"model":"e5","usage":{{"prompt_tokens":7,"total_tokens":7}}}}"#
        );
        let read = read(embeddings(), JSON, &body);
        assert_eq!(read.said.model.as_deref(), Some("e5"));
        assert_eq!(tokens(&read.said)[..2], [Some(7), None]);
        assert_eq!(read.usage.as_deref(), Some(r#"{"prompt_tokens":7,"total_tokens":7}"#));
    }
}
