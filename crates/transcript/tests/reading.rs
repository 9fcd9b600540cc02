//! Reading bytes into conversations: each dialect with the parts it has, streams however they are cut, and anything.

#![allow(clippy::unwrap_used, missing_docs)]

use indelible_coding::encode::{Coding, coded};
use indelible_transcript::model::{Dialect, Part};
use indelible_transcript::{Exchange, Side, Transcript, read};
use proptest::prelude::*;
use serde_json::{Value, json};

fn side<'a>(body: &'a [u8], content_encoding: Option<&'a str>) -> Side<'a> {
    Side { body, content_type: Some("application/json"), content_encoding }
}

fn call(target: &str, request: &Value, response: &str) -> Transcript {
    let request = request.to_string();
    read(&Exchange {
        target: Some(target),
        request: side(request.as_bytes(), None),
        response: side(response.as_bytes(), None),
    })
}

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn parts(transcript: &Transcript) -> Vec<Part> {
    transcript.answers.iter().flat_map(|answer| answer.message.parts.clone()).collect()
}

fn said(transcript: &Transcript) -> Vec<(String, Value)> {
    transcript.request.iter().map(|message| (message.role.clone(), json!(message.parts))).collect()
}

const PNG: &str = "iVBORw0KGgo=";

#[test]
fn chat_with_everything_in_it() {
    let request = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "name": "jane", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "hologram", "x": 1},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"at\":1}"}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    });
    let answer = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {
        "role": "assistant", "content": "A cat.", "refusal": null, "reasoning_content": "Looks like a cat.",
    }}]});
    let transcript = call("/v1/chat/completions", &request, &answer.to_string());
    assert_eq!(transcript.dialect, Dialect::Chat);
    assert_eq!(transcript.tools[0].name, "look");
    let roles: Vec<&str> = transcript.request.iter().map(|message| message.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"]);
    let user = &said(&transcript)[1].1;
    assert_eq!(user[1]["bytes"], 8, "{user:#}");
    assert_eq!(user[1]["media_type"], "image/png");
    assert_eq!((&user[2]["kind"], &user[3]["name"]), (&json!("audio"), &json!("file-1")));
    assert_eq!(user[4], json!({"type": "other", "kind": "hologram", "json": {"type": "hologram", "x": 1}}));
    assert_eq!(
        said(&transcript)[3].1,
        json!([{"type": "tool_result", "id": "call_1", "parts": [{"type": "text", "text": "a cat"}]}])
    );
    assert_eq!(
        json!(parts(&transcript)),
        json!([{"type": "reasoning", "text": "Looks like a cat."}, {"type": "text", "text": "A cat."}])
    );
}

#[test]
fn anthropic_messages_whole_and_in_pieces() {
    let request = json!({
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "w", "input": {"city": "Graz"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [{"type": "text", "text": "no"}]},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ]},
        ],
        "tools": [{"name": "w", "description": "weather", "input_schema": {"type": "object"}}],
    });
    let whole = json!({"type": "message", "role": "assistant", "stop_reason": "tool_use", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t2", "name": "w", "input": {"city": "Wien"}},
    ]});
    let events = sse(&[
        json!({"type": "message_start", "message": {"role": "assistant", "content": []}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "."}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "I "}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "look."}}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t2", "name": "w", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"city\":"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "\"Wien\"}"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        json!({"type": "message_stop"}),
    ]);
    let transcript = call("/v1/messages", &request, &whole.to_string());
    let streamed = call("/v1/messages", &request, &events);
    assert_eq!(parts(&streamed), parts(&transcript));
    assert_eq!(streamed, transcript);
    assert_eq!(
        said(&transcript)[3].1[0],
        json!({"type": "tool_result", "id": "t1", "is_error": true, "parts": [{"type": "text", "text": "no"}]})
    );
    assert_eq!(said(&transcript)[0], ("system".to_owned(), json!([{"type": "text", "text": "Be brief."}])));
    // Overloaded in the middle.
    let cut = events.split("data: {\"delta\":{\"stop_reason\"").next().unwrap().to_owned()
        + &sse(&[json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})]);
    let transcript = call("/v1/messages", &request, &cut);
    assert_eq!(transcript.error.as_ref().unwrap().message, "Overloaded");
    assert_eq!(parts(&transcript), parts(&streamed), "what came before stays");
}

#[test]
fn responses_whole_in_pieces_and_cut() {
    let request = json!({
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Need a tool."}]},
            {"type": "function_call", "call_id": "c1", "name": "w", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        ],
        "previous_response_id": "resp_0",
    });
    let output = json!([
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Rain."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It rains.", "annotations": []}]},
    ]);
    let whole = json!({"object": "response", "status": "completed", "output": output});
    let events = [
        json!({"type": "response.created", "response": {"object": "response", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "Rain."}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "role": "assistant", "content": []}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "It "}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "rains."}),
        json!({"type": "response.completed", "response": whole}),
    ];
    let transcript = call("/v1/responses", &request, &whole.to_string());
    assert_eq!(call("/v1/responses", &request, &sse(&events)), transcript);
    assert_eq!(transcript.previous_response_id.as_deref(), Some("resp_0"));
    let roles: Vec<String> = said(&transcript).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"]);
    assert_eq!(transcript.request[2].parts.len(), 2, "what the model said at once is one message");
    // Without its end the stream has the same in pieces.
    let cut = call("/v1/responses", &request, &sse(&events[..6]));
    assert_eq!(parts(&cut), parts(&transcript));
}

#[test]
fn gemini_as_events_and_as_a_list_that_grows() {
    let request = json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "w", "args": {"city": "Graz"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": {"sky": "grey"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "w"}]}],
    });
    let pieces = [
        json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hm", "thought": true}]}}]}),
        json!({"candidates": [{"content": {"parts": [{"text": "It is "}]}}]}),
        json!({"candidates": [{"content": {"parts": [{"text": "grey."}]}, "finishReason": "STOP"}]}),
    ];
    let path = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse";
    let events = call(path, &request, &sse(&pieces));
    let list = call(path, &request, &json!(pieces).to_string());
    assert_eq!(events, list);
    assert_eq!(
        json!(parts(&events)),
        json!([{"type": "reasoning", "text": "Hm"}, {"type": "text", "text": "It is grey."}])
    );
    assert_eq!(events.request[2].role, "assistant");
    // Cut in the middle of the last piece: what came is read, what is left is shown as it is.
    let text = json!(pieces).to_string();
    let cut = call(path, &request, &text[..text.len() - 30]);
    assert_eq!(json!(parts(&cut))[1]["text"], "It is ");
    assert!(matches!(cut.rest[..], [Part::Unread { .. }]), "{:?}", cut.rest);
}

#[test]
fn ollama_whole_and_line_by_line() {
    let request = json!({"model": "m", "messages": [{"role": "user", "content": "Hi", "images": [PNG]}]});
    let lines = [
        json!({"message": {"role": "assistant", "content": "", "thinking": "Hm."}, "done": false}),
        json!({"message": {"role": "assistant", "content": "Hel"}, "done": false}),
        json!({"message": {"role": "assistant", "content": "lo"}, "done": false}),
        json!({"message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "w", "arguments": {"a": 1}}}]}, "done": true, "done_reason": "stop"}),
    ];
    let streamed: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let whole = json!({"message": {"role": "assistant", "content": "Hello", "thinking": "Hm.", "tool_calls": [{"function": {"name": "w", "arguments": {"a": 1}}}]}, "done": true, "done_reason": "stop"});
    let transcript = call("/api/chat", &request, &whole.to_string());
    assert_eq!(call("/api/chat", &request, &streamed), transcript);
    assert_eq!(
        json!(parts(&transcript)),
        json!([
            {"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Hello"},
            {"type": "tool_call", "name": "w", "arguments": "{\"a\":1}"},
        ])
    );
    let request = json!({"model": "m", "prompt": "Once", "system": "Be brief."});
    let transcript =
        call("/api/generate", &request, "{\"response\":\"upon\"}\n{\"response\":\" a\",\"done\":true}\n");
    assert_eq!(json!(parts(&transcript)), json!([{"type": "text", "text": "upon a"}]));
    assert_eq!(said(&transcript).len(), 2);
}

#[test]
fn what_cannot_be_read_is_there_as_bytes() {
    let transcript = read(&Exchange {
        target: Some("/v1/audio/transcriptions"),
        request: Side {
            body: b"\xff\xfe\x00binary",
            content_type: Some("audio/wav"),
            content_encoding: None,
        },
        response: Side { body: b"<html>bad gateway</html>", ..Side::default() },
    });
    let [Part::Unread { bytes, media_type, base64, .. }] = &transcript.request[0].parts[..] else {
        panic!("{:?}", transcript.request)
    };
    assert_eq!((*bytes, media_type.as_deref(), base64.is_some()), (9, Some("audio/wav"), true));
    let [Part::Unread { text, .. }] = &transcript.rest[..] else { panic!("{:?}", transcript.rest) };
    assert_eq!(text.as_deref(), Some("<html>bad gateway</html>"));
    // A request of a known API that is not what it should be.
    for body in [&b"{\"messages\":[{\"role\":"[..], b"[]", b"17", b"\"text\"", b"{\"model\":\"m\"}"] {
        let transcript = read(&Exchange {
            target: Some("/v1/chat/completions"),
            request: side(body, None),
            ..Exchange::default()
        });
        assert!(!transcript.request.is_empty(), "{:?} was left out", String::from_utf8_lossy(body));
    }
    // A coding that lies, and one that nobody knows.
    for coding in ["gzip", "snappy"] {
        let transcript =
            read(&Exchange { response: side(b"\x00\x01\x02", Some(coding)), ..Exchange::default() });
        assert!(matches!(transcript.rest[..], [Part::Unread { bytes: 3, .. }]), "{:?}", transcript.rest);
    }
}

#[test]
fn errors_of_every_server_are_read() {
    for (body, kind, message) in [
        (r#"{"error":{"message":"no","type":"invalid","code":404}}"#, Some("invalid"), "no"),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#,
            Some("overloaded_error"),
            "no",
        ),
        (r#"{"error":"model not found"}"#, None, "model not found"),
        (r#"{"object":"error","message":"no","type":"BadRequest"}"#, Some("BadRequest"), "no"),
        (r#"{"detail":"Not Found"}"#, None, "Not Found"),
    ] {
        for path in
            ["/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/responses", "/v1/embeddings", "/x"]
        {
            let transcript = call(path, &json!({}), body);
            let error = transcript.error.unwrap_or_else(|| panic!("{path}: {body}"));
            assert_eq!((error.kind.as_deref(), error.message.as_str()), (kind, message), "{path}");
        }
    }
}

#[test]
fn deep_nesting_ends_and_is_shown() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let transcript = call("/v1/chat/completions", &json!({}), &deep);
    assert!(matches!(transcript.rest[..], [Part::Unread { bytes: 200_001, .. }]));
}

const PATHS: [&str; 10] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1beta/models/m:generateContent",
    "/api/chat",
    "/api/generate",
    "/v1/embeddings",
    "/v1/responses/r/cancel",
    "/other",
];

/// JSON of any shape, with the names that readers look for.
fn any_json() -> impl Strategy<Value = Value> {
    let names = "messages|content|role|type|text|choices|delta|message|tool_calls|function|index|input|output|\
                 item|contents|parts|candidates|error|response|id|name|arguments|data|system|object|content_block";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "tool_use|tool_result|text|thinking|response.output_item.added|response.output_text.delta|content_block_start|content_block_delta|message_start|image|function_call|.{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

/// Bytes, some of which look like what is read.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let looks = "(data|event|:|id)?:? ?[\\[{\"]?[a-z]{0,5}[\\]}\"]?\n{0,2}";
    prop_oneof![any::<Vec<u8>>(), looks.prop_map(String::into_bytes)]
}

/// Cuts a text at places that are between characters.
fn pieces(text: &str, cuts: &[prop::sample::Index]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
    ends.extend([0, chars.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|pair| chars[pair[0]..pair[1]].iter().collect()).collect()
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_transcript(request in any_body(), response in any_body(), path in 0..PATHS.len(), coding in "gzip|br|zstd|deflate|x|") {
        let transcript = read(&Exchange {
            target: Some(PATHS[path]),
            request: side(&request, Some(&coding)),
            response: side(&response, Some(&coding)),
        });
        // A body that is there is in the transcript, in whatever form.
        let something = |body: &[u8]| !body.iter().all(u8::is_ascii_whitespace);
        prop_assert!(!something(&request) || !transcript.request.is_empty());
        let answered = !transcript.answers.is_empty() || transcript.error.is_some() || !transcript.rest.is_empty();
        prop_assert!(!something(&response) || answered);
    }

    #[test]
    fn any_json_ends_in_a_transcript_that_can_be_shown(request in any_json(), response in any_json(), path in 0..PATHS.len(), streamed: bool) {
        let body = if streamed { sse(&[response.clone(), response]) } else { response.to_string() };
        let transcript = call(PATHS[path], &request, &body);
        let turn = indelible_transcript::Turn {
            entry: json!({"event_id": "e", "session_id": "<b>"}),
            level: "logged".to_owned(),
            leaf_hash: String::new(),
            user: Some("<script>".to_owned()),
            matches: None,
            said: Ok(transcript),
            error: None,
        };
        let html = indelible_transcript::render::html::record(&turn);
        prop_assert!(!html.contains("<script"));
        let text = indelible_transcript::render::text::record(&turn);
        let escape = char::from(0x1b);
        prop_assert!(!text.contains(escape));
        indelible_transcript::trace::tree(&[turn.clone(), turn]);
    }

    #[test]
    fn an_answer_is_the_same_in_however_many_pieces(
        reasoning in ".{0,20}", content in ".{0,40}", arguments in "\\{\"[a-z]{1,5}\":[0-9]{1,3}\\}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8), coding in 0usize..3,
    ) {
        let whole = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "reasoning_content": reasoning, "content": content,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}],
        }}]});
        let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
        let mut events = vec![delta(json!({"role": "assistant", "content": ""}))];
        events.extend(pieces(&reasoning, &cuts).into_iter().map(|piece| delta(json!({"reasoning_content": piece}))));
        events.extend(pieces(&content, &cuts).into_iter().map(|piece| delta(json!({"content": piece}))));
        events.push(delta(json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]})));
        events.extend(pieces(&arguments, &cuts).into_iter().map(|piece| delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))));
        events.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
        let (coding, name) = [(Coding::Gzip, "gzip"), (Coding::Brotli, "br"), (Coding::Zstd, "zstd")][coding];
        let body = coded(coding, format!("{}data: [DONE]\n\n", sse(&events)).as_bytes());
        let streamed = read(&Exchange {
            target: Some("/v1/chat/completions"),
            response: side(&body, Some(name)),
            ..Exchange::default()
        });
        let whole = whole.to_string();
        let whole = read(&Exchange {
            target: Some("/v1/chat/completions"),
            response: side(whole.as_bytes(), None),
            ..Exchange::default()
        });
        prop_assert_eq!(streamed, whole);
    }
}
