//! Gemini, Ollama, and what vLLM has of its own.

use super::*;

const GEMINI_STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";

fn gemini_stream() -> &'static Endpoint {
    post_to(GEMINI_STREAM)
}

const CHUNKS: [&str; 3] = [
    r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"A ] , { \" "}]},"index":0}],"usageMetadata":{"promptTokenCount":264,"cachedContentTokenCount":200,"totalTokenCount":264},"modelVersion":"gemini-2.5-flash-001","responseId":"r-1"}"#,
    r#"{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"f","args":{"name":"no"}}},{"functionCall":{"name":"f","args":{}}}]},"index":0}],"usageMetadata":{"promptTokenCount":264,"candidatesTokenCount":3,"totalTokenCount":267}}"#,
    r#"{"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":264,"candidatesTokenCount":9,"thoughtsTokenCount":32,"toolUsePromptTokenCount":6,"cachedContentTokenCount":200,"totalTokenCount":311}}"#,
];

fn expected_of_gemini() -> Answer {
    Answer {
        model: some("gemini-2.5-flash-001"),
        finish_reason: some("STOP"),
        prompt_tokens: Some(270),
        completion_tokens: Some(41),
        cached_tokens: Some(200),
        reasoning_tokens: Some(32),
        tool_calls: ["f", "f"].map(str::to_owned).into(),
        response_id: some("r-1"),
        ..Answer::default()
    }
}

/// Point 21: thoughts and tool results stand beside the counts that seem to include them.
#[test]
fn gemini_is_read_alike_as_events_and_as_a_list_that_grows() {
    let events: String = CHUNKS.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
    let of_events = read(gemini_stream(), EVENTS, &events);
    assert_eq!(of_events.said, expected_of_gemini());
    assert!(of_events.ended && of_events.began);
    // As the API sends it, and tersely.
    for (open, between, close) in [("[", "\r\n,\r\n", "\n]\n"), ("[", ",", "]"), (" [ ", " , ", " ] ")] {
        let list = format!("{open}{}{close}", CHUNKS.join(between));
        assert_eq!(read(gemini_stream(), "application/json; charset=UTF-8", &list), of_events);
    }
    assert!(of_events.usage.unwrap().contains(r#""thoughtsTokenCount":32"#));
}

#[test]
fn a_list_that_breaks_off_has_not_ended() {
    let list = format!("[{},\r\n{}", CHUNKS[0], &CHUNKS[1][..60]);
    let cut = read(gemini_stream(), JSON, &list);
    assert_eq!((cut.said.prompt_tokens, cut.ended), (Some(264), false));
    // One that says nothing of why it stopped ends where the list does.
    assert!(read(gemini_stream(), JSON, &format!("[{}]", CHUNKS[0])).ended);
}

#[test]
fn gemini_in_one_piece_with_two_candidates() {
    let body = r#"{"candidates":[
        {"content":{"parts":[{"functionCall":{"name":"b"}}]},"finishReason":"MAX_TOKENS","index":1},
        {"content":{"parts":[{"functionCall":{"name":"a"}}]},"finishReason":"STOP","index":0}],
        "usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}"#;
    let read = read(post_to("/v1beta/models/g:generateContent"), JSON, body);
    assert_eq!(read.said.tool_calls, ["a", "b"]);
    assert_eq!((read.said.finish_reason.as_deref(), read.ended), (Some("STOP"), false));
}

#[test]
fn gemini_says_what_went_wrong_and_what_it_turned_away() {
    let error = r#"{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT"}}"#;
    for body in [error.to_owned(), format!("[{error}\n]")] {
        let read = read(gemini_stream(), JSON, &body);
        assert_eq!(
            (read.said.error_type.as_deref(), read.said.error_code.as_deref()),
            (Some("INVALID_ARGUMENT"), Some("400"))
        );
    }
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":9}}"#;
    let blocked = stream(gemini_stream(), &[blocked]);
    assert_eq!((blocked.said.finish_reason.as_deref(), blocked.ended), (Some("SAFETY"), true));
}

#[test]
fn the_model_of_gemini_is_in_the_path() {
    let facts = |path: &str| RequestReader::new(post_to(path), path, &HeaderMap::new()).facts();
    let read = facts(GEMINI_STREAM);
    assert_eq!((read.model.as_deref(), read.stream), (Some("gemini-2.5-flash"), Some(true)));
    let vertex = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent";
    let read = facts(vertex);
    assert_eq!((read.model.as_deref(), read.stream), (Some("gemini-2.5-pro"), None));
}

/// Point 21.
#[test]
fn ollama_lines_end_where_one_says_done() {
    let lines = [
        r#"{"model":"llama3","created_at":"t","message":{"role":"assistant","content":""},"done":false}"#,
        r#"{"model":"llama3","created_at":"t","message":{"role":"assistant","content":"","tool_calls":[{"function":{"index":0,"name":"f","arguments":{"name":"no"}}}]},"done":false}"#,
        r#"{"model":"llama3","created_at":"t","message":{"role":"assistant","content":"","tool_calls":[{"function":{"index":0,"name":"f","arguments":{}}}]},"done":false}"#,
        r#"{"model":"llama3","created_at":"t","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":5,"prompt_eval_count":26,"eval_count":290}"#,
    ];
    let expected = Answer {
        model: some("llama3"),
        finish_reason: some("stop"),
        prompt_tokens: Some(26),
        completion_tokens: Some(290),
        tool_calls: ["f", "f"].map(str::to_owned).into(),
        ..Answer::default()
    };
    for end in ["\n", "\r\n"] {
        let body = lines.join(end) + end;
        let read = read(post_to("/api/chat"), LINES, &body);
        assert_eq!((read.said, read.ended, read.began), (expected.clone(), true, true));
    }
    let cut = read(post_to("/api/chat"), LINES, &lines[..3].join("\n"));
    assert!(!cut.ended);
    let last = read(post_to("/api/chat"), LINES, &lines.join("\n"));
    assert!(last.ended, "without a line's end behind it");
}

#[test]
fn ollama_in_one_piece_and_its_errors() {
    let one = r#"{"model":"llama3","response":"hi","done":true,"done_reason":"length","prompt_eval_count":3,"eval_count":4}"#;
    let one = read(post_to("/api/generate"), JSON, one);
    assert_eq!((tokens(&one.said)[..2].to_vec(), one.ended), (vec![Some(3), Some(4)], false));
    let body =
        "{\"model\":\"m\",\"response\":\"a\",\"done\":false}\n{\"error\":\"an error was encountered\"}\n";
    let read = read(post_to("/api/generate"), LINES, body);
    assert_eq!((read.said.error_type.as_deref(), read.ended), (Some("error"), false));
    let embed = r#"{"model":"all-minilm","embeddings":[[0.1,-0.2]],"prompt_eval_count":8}"#;
    let embed = super::read(post_to("/api/embed"), JSON, embed);
    assert_eq!(embed.said.prompt_tokens, Some(8));
}

#[test]
fn a_line_that_is_not_json_does_not_end_the_reading() {
    let body = "{\"model\":\"a\",}\nnot json\n\n{\"done\":tru\n{\"model\":\"b\",\"done\":true}\n";
    let read = read(post_to("/api/chat"), LINES, body);
    assert_eq!((read.said.model.as_deref(), read.ended), (Some("b"), true));
    // Two on one line.
    let body = "{\"model\":\"a\"} {\"model\":\"b\"}\n";
    let read = super::read(post_to("/api/chat"), LINES, body);
    assert_eq!(read.said.model.as_deref(), Some("b"));
}

#[test]
fn what_vllm_has_of_its_own_is_read_where_it_counts() {
    let rerank = r#"{"id":"rerank-1","model":"bge","usage":{"prompt_tokens":56,"total_tokens":56},"results":[{"index":0,"document":{"text":"x"},"relevance_score":0.9}]}"#;
    let rerank = read(post_to("/v1/rerank"), JSON, rerank);
    assert_eq!((rerank.said.model.as_deref(), rerank.said.prompt_tokens), (Some("bge"), Some(56)));
    let score = r#"{"id":"score-1","object":"list","model":"bge","data":[{"index":0,"object":"score","score":1}],"usage":{"prompt_tokens":7,"total_tokens":7,"completion_tokens":0}}"#;
    assert_eq!(tokens(&read(post_to("/score"), JSON, score).said)[..2], [Some(7), Some(0)]);
    let tokenize = r#"{"count":4,"max_model_len":8192,"tokens":[1,2,3,4]}"#;
    assert_eq!(tokens(&read(post_to("/tokenize"), JSON, tokenize).said), [None; 5]);
}
