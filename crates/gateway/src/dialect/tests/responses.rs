//! OpenAI Responses, streamed, polled, over WebSocket; and Realtime.

use super::*;

fn responses() -> &'static Endpoint {
    post_to("/v1/responses")
}

const CREATED: &str = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-x","output":[],"tools":[{"type":"function","name":"not_called","parameters":{}}],"usage":null,"error":null,"incomplete_details":null}}"#;
const ITEM: &str = r#"{"type":"response.output_item.added","sequence_number":1,"output_index":1,"item":{"id":"fc_1","type":"function_call","name":"get_weather","arguments":"","status":"in_progress"}}"#;
const DELTA: &str = r#"{"type":"response.function_call_arguments.delta","sequence_number":2,"output_index":1,"item_id":"fc_1","delta":"{\"name\":\"no\"}"}"#;
const ITEM_DONE: &str = r#"{"type":"response.output_item.done","sequence_number":3,"output_index":1,"item":{"id":"fc_1","type":"function_call","name":"get_weather","arguments":"{}","status":"completed"}}"#;

fn completed(output: &str) -> String {
    format!(
        r#"{{"type":"response.completed","sequence_number":9,"response":{{"id":"resp_1","status":"completed","model":"gpt-x-2026","service_tier":"default","output":[{output}],"usage":{{"input_tokens":30,"input_tokens_details":{{"cached_tokens":16}},"output_tokens":12,"output_tokens_details":{{"reasoning_tokens":8}},"total_tokens":42}},"error":null,"incomplete_details":null}}}}"#
    )
}

/// Point 20; agentgateway #1686: usage of streamed responses was lost.
#[test]
fn the_object_at_the_end_outranks_what_was_said_piece_by_piece() {
    let output = r#"{"type":"reasoning","summary":[]},{"type":"function_call","name":"get_weather","arguments":"{}"},
        {"type":"web_search_call","status":"completed"},{"type":"custom_tool_call","name":"run"},
        {"type":"mcp_call","name":"lookup","server_label":"s"},{"type":"message","content":[{"type":"output_text","text":"hi"}]}"#;
    let read =
        named_stream(responses(), &[CREATED, ITEM, DELTA, ITEM_DONE, &completed(&output.replace('\n', ""))]);
    let expected = Answer {
        model: some("gpt-x-2026"),
        finish_reason: some("completed"),
        prompt_tokens: Some(30),
        completion_tokens: Some(12),
        cached_tokens: Some(16),
        reasoning_tokens: Some(8),
        tool_calls: ["get_weather", "web_search", "run", "lookup"].map(str::to_owned).into(),
        response_id: some("resp_1"),
        service_tier: some("default"),
        ..Answer::default()
    };
    assert_eq!(read.said, expected);
    assert!(read.usage.unwrap().starts_with(r#"{"input_tokens":30,"#));
    assert!(read.ended && read.began);
}

#[test]
fn without_the_object_at_the_end_the_pieces_count() {
    let cut = named_stream(responses(), &[CREATED, ITEM, DELTA, ITEM_DONE]);
    assert_eq!(cut.said.tool_calls, ["get_weather"]);
    assert_eq!((cut.said.finish_reason.as_deref(), cut.ended), (None, false));
    // A server that leaves the output out of it.
    let bare = named_stream(responses(), &[CREATED, ITEM, &completed("")]);
    assert_eq!(bare.said.tool_calls, ["get_weather"]);
}

#[test]
fn a_response_says_in_which_of_four_ways_it_ended() {
    let end = |event: &str, rest: &str| {
        let body = format!(r#"{{"type":"{event}","response":{{"id":"resp_1",{rest}}}}}"#);
        let read = named_stream(responses(), &[CREATED, &body]);
        assert!(read.ended, "{event}");
        (read.said.finish_reason, read.said.error_code)
    };
    let incomplete = r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#;
    assert_eq!(end("response.incomplete", incomplete), (some("max_output_tokens"), None));
    let failed = r#""status":"failed","error":{"code":"server_error","message":"x"}"#;
    assert_eq!(end("response.failed", failed), (some("failed"), some("server_error")));
    assert_eq!(end("response.cancelled", r#""status":"cancelled""#), (some("cancelled"), None));
    assert_eq!(end("response.completed", r#""status":"completed""#), (some("completed"), None));
    let error = named_stream(
        responses(),
        &[CREATED, r#"{"type":"error","code":"rate_limit_exceeded","message":"x"}"#],
    );
    assert_eq!((error.said.error_code.as_deref(), error.ended), (Some("rate_limit_exceeded"), true));
}

#[test]
fn a_refusal_is_seen_in_either_form() {
    let event = r#"{"type":"response.refusal.done","output_index":0,"refusal":"I cannot"}"#;
    assert!(named_stream(responses(), &[CREATED, event]).said.refused);
    let plain = r#"{"id":"r","status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"I cannot"}]}]}"#;
    assert!(read(responses(), JSON, plain).said.refused);
}

/// Point 20: a response in the background is asked for until it is done; all looks belong together.
#[test]
fn polls_and_cancellations_name_the_response_they_ask_about() {
    let poll = endpoint_of("GET", "/v1/responses/resp_9?include[]=x");
    let facts = RequestReader::new(poll, "/v1/responses/resp_9", &HeaderMap::new()).facts();
    assert_eq!(facts.response_id.as_deref(), Some("resp_9"));
    let cancel = RequestReader::new(
        post_to("/v1/responses/resp_9/cancel"),
        "/v1/responses/resp_9/cancel",
        &HeaderMap::new(),
    );
    assert_eq!(cancel.facts().response_id.as_deref(), Some("resp_9"));
    let queued = read(poll, JSON, r#"{"id":"resp_9","status":"queued","output":[],"usage":null}"#);
    assert_eq!((queued.said.response_id, queued.said.finish_reason), (some("resp_9"), None));
    let done = r#"{"id":"resp_9","status":"completed","output":[{"type":"function_call","name":"f"}],"usage":{"input_tokens":3,"output_tokens":4}}"#;
    let done = read(poll, JSON, done);
    assert_eq!(tokens(&done.said)[..2], [Some(3), Some(4)]);
    assert_eq!(done.said.tool_calls, ["f"]);
    assert_eq!(done.said.finish_reason.as_deref(), Some("completed"));
}

/// Point 9: one connection, several responses. Their usage is their own and adds up; a total is not sent.
#[test]
fn a_connection_of_several_responses_says_what_all_used_together() {
    let done = |id: u8, tokens: u8, name: &str| {
        format!(
            r#"{{"type":"response.done","response":{{"id":"resp_{id}","status":"completed","output":[{{"type":"function_call","name":"{name}"}}],"usage":{{"input_tokens":{tokens},"output_tokens":{tokens},"input_token_details":{{"cached_tokens":1}}}}}}}}"#
        )
    };
    let messages = [
        r#"{"type":"session.created","session":{"id":"sess_1","model":"gpt-realtime"}}"#.to_owned(),
        r#"{"type":"response.output_audio.delta","delta":"AAAA"}"#.to_owned(),
        done(1, 10, "a"),
        r#"{"type":"error","error":{"type":"invalid_request_error","code":"x","message":"y"}}"#.to_owned(),
        done(2, 5, "b"),
    ];
    let read = |cut: usize| {
        let mut reader = MessageReader::new(endpoint_of("GET", "/v1/realtime?model=gpt-realtime"));
        let ended: Vec<bool> = messages
            .iter()
            .map(|message| {
                let (before, after) = message.as_bytes().split_at(cut.min(message.len()));
                reader.push(before);
                reader.push(after);
                reader.end_message()
            })
            .collect();
        (ended, reader.finish())
    };
    let (ended, (said, usage)) = read(0);
    assert_eq!(ended, [false, false, true, false, true]);
    assert_eq!(tokens(&said), [Some(15), Some(15), Some(2), None, None]);
    assert_eq!(said.tool_calls, ["a", "b"]);
    assert_eq!((said.model.as_deref(), said.response_id.as_deref()), (Some("gpt-realtime"), Some("resp_2")));
    assert_eq!(said.error_type.as_deref(), Some("invalid_request_error"));
    let usages: Vec<serde_json::Value> = serde_json::from_str(usage.as_deref().unwrap()).unwrap();
    assert_eq!(usages.len(), 2);
    for cut in 1..messages.iter().map(String::len).max().unwrap() {
        assert_eq!(read(cut).1, (said.clone(), usage.clone()), "cut at {cut}");
    }
}

#[test]
fn a_connection_that_breaks_off_in_a_response_keeps_the_ones_before() {
    let mut reader = MessageReader::new(endpoint_of("GET", "/v1/responses"));
    reader.push(completed(r#"{"type":"function_call","name":"f"}"#).as_bytes());
    assert!(reader.end_message());
    reader.push(CREATED.as_bytes());
    assert!(!reader.end_message());
    reader.push(&CREATED.as_bytes()[..40]);
    let (said, _) = reader.finish();
    assert_eq!(tokens(&said)[..2], [Some(30), Some(12)]);
    assert_eq!(said.tool_calls, ["f"]);
}
