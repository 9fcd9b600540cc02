//! Conversations of any API as lines of a data set: in OpenAI's form, with everything that was said.

#![allow(clippy::unwrap_used, missing_docs)]

use indelible_transcript::openai::{self, NoChat};
use indelible_transcript::{Exchange, Side, Turn, read};
use serde_json::{Value, json};

fn line(target: &str, request: &Value, response: &Value) -> Result<Value, NoChat> {
    let (request, response) = (request.to_string(), response.to_string());
    let transcript = read(&Exchange {
        target: Some(target),
        request: Side { body: request.as_bytes(), ..Side::default() },
        response: Side { body: response.as_bytes(), ..Side::default() },
    });
    let turn = Turn {
        entry: json!({"event_id": "e", "seq": 7, "model": "m", "prev_hash": "not wanted"}),
        level: String::new(),
        leaf_hash: String::new(),
        user: None,
        matches: None,
        said: Ok(transcript.clone()),
        error: None,
    };
    openai::line(&turn, &transcript)
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn a_chat_comes_out_as_it_went_in() {
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        ]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"at\": 1}"}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    ]);
    let function = json!({"name": "look", "description": "d", "parameters": {"type": "object"}});
    let tools = json!([{"type": "function", "function": function}]);
    let answer = |content: &str| json!({"role": "assistant", "content": content});
    let request = json!({"messages": messages, "tools": tools});
    let choices = json!([{"index": 0, "message": answer("A cat.")}, {"index": 1, "message": answer("Cat.")}]);
    let line = line(CHAT, &request, &json!({ "choices": choices })).unwrap();
    assert_eq!(line["messages"], messages);
    assert_eq!(line["tools"], tools);
    assert_eq!(line["answer"], answer("A cat."));
    assert_eq!(line["alternatives"], json!([answer("Cat.")]));
    assert_eq!(line["metadata"], json!({"event_id": "e", "seq": 7, "model": "m", "dialect": "chat"}));
}

#[test]
fn anthropic_and_gemini_come_out_in_the_same_form() {
    let anthropic = line(
        "/v1/messages",
        &json!({"system": "Be brief.", "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c1", "name": "w", "input": {"city": "Graz"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "grey"},
                {"type": "text", "text": "And?"},
            ]},
        ], "tools": [{"name": "w", "input_schema": {"type": "object"}}]}),
        &json!({"type": "message", "role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm."},
            {"type": "text", "text": "Grey."},
        ]}),
    )
    .unwrap();
    let gemini = line(
        "/v1beta/models/g:generateContent",
        &json!({"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "w", "args": {"city": "Graz"}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "c1", "name": "w", "response": "grey"}},
                {"text": "And?"},
            ]},
        ], "tools": [{"functionDeclarations": [{"name": "w", "parameters": {"type": "object"}}]}]}),
        &json!({"candidates": [{"content": {"parts": [{"text": "Hm.", "thought": true}, {"text": "Grey."}]}}]}),
    )
    .unwrap();
    let call = json!({"name": "w", "arguments": "{\"city\":\"Graz\"}"});
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": call}]},
        {"role": "tool", "tool_call_id": "c1", "content": "grey"},
        {"role": "user", "content": "And?"},
    ]);
    let function = json!({"name": "w", "parameters": {"type": "object"}});
    for line in [&anthropic, &gemini] {
        assert_eq!(line["messages"], messages);
        let answer = json!({"role": "assistant", "content": "Grey.", "reasoning_content": "Hm."});
        assert_eq!(line["answer"], answer);
        assert_eq!(line["tools"], json!([{"type": "function", "function": function}]));
    }
}

#[test]
fn what_the_form_has_no_place_for_is_in_it_and_counted() {
    let request = json!({"messages": [{"role": "user", "content": [{"type": "hologram", "x": 1}]}]});
    let response = json!({"choices": [{"message": {"role": "assistant", "content": "?"}}]});
    let line = line(CHAT, &request, &response).unwrap();
    assert!(line["messages"][0]["content"][0]["text"].as_str().unwrap().contains("hologram"), "{line:#}");
    assert_eq!(line["metadata"]["unconverted_parts"], 1);
}

#[test]
fn what_is_no_conversation_says_why() {
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let error = json!({"error": {"message": "no"}});
    let (two, text) = (json!({"prompt": ["a", "b"]}), json!({"choices": [{"text": "c"}]}));
    for (target, request, response, why) in [
        (CHAT, &chat, &error, NoChat::NoAnswer),
        (CHAT, &json!("no request"), &error, NoChat::NoMessages),
        ("/v1/embeddings", &json!({"input": "a"}), &json!({"data": []}), NoChat::OtherKind),
        ("/v1/completions", &two, &text, NoChat::SeveralPrompts),
    ] {
        assert_eq!(line(target, request, response).unwrap_err(), why, "{target} {request}");
    }
}
