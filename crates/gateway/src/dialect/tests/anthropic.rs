//! Anthropic Messages.

use super::*;

fn messages() -> &'static Endpoint {
    post_to("/v1/messages")
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":100,"cache_read_input_tokens":2000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

/// Point 19, and envoyproxy/ai-gateway #2279, one-api-pro #13: `message_delta` was added to `message_start`.
#[test]
fn usage_is_a_running_total_and_cached_tokens_count_as_input() {
    let read = named_stream(
        messages(),
        &[
            START,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"get_weather","input":{}}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"name\":\"no\"}"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"text","text":"","name":"no"}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"citations_delta","citation":{"type":"x","name":"no"}}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":25,"cache_read_input_tokens":2000,"output_tokens":89,"server_tool_use":{"web_search_requests":1}}}"#,
            STOP,
        ],
    );
    let expected = Answer {
        model: some("claude-x"),
        finish_reason: some("tool_use"),
        prompt_tokens: Some(2125),
        completion_tokens: Some(89),
        cached_tokens: Some(2000),
        cache_creation_tokens: Some(100),
        tool_calls: ["web_search", "get_weather"].map(str::to_owned).into(),
        response_id: some("msg_1"),
        service_tier: some("standard"),
        ..Answer::default()
    };
    assert_eq!(read.said, expected);
    // What prices are made of stands partly in the first object, partly in the last.
    let usage: serde_json::Value = serde_json::from_str(&read.usage.unwrap()).unwrap();
    let expected = serde_json::json!({
        "input_tokens": 25, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 2000,
        "cache_creation": { "ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0 },
        "output_tokens": 89, "service_tier": "standard", "server_tool_use": { "web_search_requests": 1 },
    });
    assert_eq!(usage, expected);
    assert!(read.ended && read.began);
}

#[test]
fn a_total_that_only_counts_output_leaves_input_as_it_was() {
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;
    let read = named_stream(messages(), &[START, delta, STOP]);
    assert_eq!(tokens(&read.said), [Some(2125), Some(15), Some(2000), Some(100), None]);
    // vLLM: nothing is known at the start, and there are no cached tokens.
    let start = r#"{"type":"message_start","message":{"id":"c","model":"m","content":[],"usage":{"input_tokens":0,"output_tokens":0}}}"#;
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":11,"output_tokens":2}}"#;
    let read = named_stream(messages(), &[start, delta, STOP]);
    assert_eq!(tokens(&read.said), [Some(11), Some(2), None, None, None]);
}

#[test]
fn an_answer_in_one_piece() {
    let read = read(
        messages(),
        JSON,
        r#"{"id":"msg_2","type":"message","role":"assistant","model":"claude-x","content":[
            {"type":"text","text":"{\"type\":\"tool_use\",\"name\":\"no\"}"},
            {"type":"tool_use","id":"t","name":"f","input":{"name":"no","type":"tool_use"}},
            {"type":"mcp_tool_use","id":"u","name":"g","server_name":"s"}],
            "stop_reason":"tool_use","usage":{"input_tokens":4,"output_tokens":5}}"#,
    );
    assert_eq!(read.said.tool_calls, ["f", "g"]);
    assert_eq!(tokens(&read.said)[..2], [Some(4), Some(5)]);
    assert_eq!(read.usage.as_deref(), Some(r#"{"input_tokens":4,"output_tokens":5}"#));
    assert_eq!(read.said.finish_reason.as_deref(), Some("tool_use"));
}

/// rossoctl/cortex #656: without its `event:` lines a client decodes nothing; reading must not need them.
#[test]
fn events_are_read_with_and_without_their_names() {
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;
    let named = named_stream(messages(), &[START, delta, STOP]);
    assert_eq!(stream(messages(), &[START, delta, STOP]), named);
}

#[test]
fn an_error_in_the_middle_of_a_stream_ends_it_and_is_named() {
    let error =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let read = named_stream(messages(), &[START, error]);
    assert_eq!(read.said.error_type.as_deref(), Some("overloaded_error"));
    assert_eq!((read.ended, read.said.finish_reason), (true, None));
}

#[test]
fn a_count_of_tokens_is_no_usage() {
    let counted = read(post_to("/v1/messages/count_tokens"), JSON, r#"{"input_tokens":2095}"#);
    assert_eq!((tokens(&counted.said), counted.usage), ([None; 5], None));
}
