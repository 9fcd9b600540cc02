//! Records are read as what they were: conversations and runs, whole, with nothing that runs and nothing left out.

use crate::common::*;
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A model server that gives these answers one after the other: media type and body.
fn answers(bodies: Vec<(&'static str, Vec<u8>)>) -> RawServer {
    let next = AtomicUsize::new(0);
    RawServer::start(move |stream| {
        let (of, body) = &bodies[next.fetch_add(1, Ordering::SeqCst).min(bodies.len() - 1)];
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {of}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // The gateway may have gone away.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    })
}

fn chunks(deltas: &[Value]) -> Vec<u8> {
    let mut body = String::new();
    for delta in deltas {
        let finish = delta.as_object().is_some_and(serde_json::Map::is_empty).then_some("stop");
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        body += &format!("data: {}\n\n", json!({"model": "m-1", "choices": [choice]}));
    }
    (body + "data: [DONE]\n\n").into_bytes()
}

fn whole(message: Value) -> Vec<u8> {
    json!({"model": "m-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    .to_string()
    .into_bytes()
}

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A weather agent asks the model twice within one trace, and the user asks on: three turns of a session.
fn weather(site: &Site) -> (Process, Vec<String>) {
    let upstream = answers(vec![
        (
            EVENTS,
            chunks(&[
                json!({"role": "assistant", "content": ""}),
                json!({"reasoning_content": "I need "}),
                json!({"reasoning_content": "a tool."}),
                json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}]}),
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":"}}]}),
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"Graz\"}"}}]}),
                json!({}),
            ]),
        ),
        (
            EVENTS,
            chunks(&[
                json!({"role": "assistant", "content": "It is "}),
                json!({"content": "grey."}),
                json!({}),
            ]),
        ),
        (JSON, whole(json!({"role": "assistant", "content": "Take an umbrella."}))),
    ]);
    let up = site.up(&upstream.url, &[]);
    let system = json!({"role": "system", "content": "Be brief."});
    let asked = json!({"role": "user", "content": "What is the weather in Graz?"});
    let called = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
        "function": {"name": "get_weather", "arguments": "{\"city\":\"Graz\"}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "call_1", "content": "8 °C, overcast"});
    let said = json!({"role": "assistant", "content": "It is grey."});
    let on = json!({"role": "user", "content": "What should I take along?"});
    let turns = [
        vec![system.clone(), asked.clone()],
        vec![system.clone(), asked.clone(), called.clone(), result.clone()],
        vec![system, asked, called, result, said, on],
    ];
    let mut ids = Vec::new();
    for (n, messages) in turns.iter().enumerate() {
        let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]);
        let body = json!({"model": "m-1", "user": "jane@example.com", "messages": messages, "tools": tools, "stream": n < 2});
        let parent = format!("00-{TRACE}-b7ad6b716920333{}-01", n / 2);
        let request_id = format!("req-{}", 41 + n);
        let headers = [
            ("Content-Type", JSON),
            ("x-session-id", "session-17"),
            ("x-request-id", request_id.as_str()),
            ("traceparent", parent.as_str()),
        ];
        let got = request(
            up.listen,
            &message("POST", "/v1/chat/completions", &headers, body.to_string().as_bytes()),
        );
        assert_eq!(got.status, 200, "{}", text(&got.body));
        ids.push(got.event_id().to_owned());
    }
    ids.iter().for_each(|id| drop(site.record(id)));
    (up, ids)
}

/// What a command prints.
fn said(site: &Site, arguments: &[&str]) -> String {
    let output = site.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_session_reads_as_one_conversation_with_nothing_twice() {
    let site = Site::new();
    let (mut up, ids) = weather(&site);
    let through = said(&site, &["conversation", "session-17"]);
    for once in [
        "Be brief.",
        "What is the weather in Graz?",
        "I need a tool.",
        "assistant calls get_weather call_1",
        r#"{"city":"Graz"}"#,
        "8 °C, overcast",
        "It is grey.",
        "What should I take along?",
        "Take an umbrella.",
    ] {
        assert_eq!(through.matches(once).count(), 1, "{once:?} in\n{through}");
    }
    assert_eq!(through.matches("jane@example.com").count(), 3, "each turn says who asked\n{through}");
    assert!(through.contains("7+3 tokens"), "{through}");
    let at = |what: &str| through.find(what).unwrap();
    assert!(at("turn 1") < at("calls get_weather") && at("calls get_weather") < at("8 °C"), "{through}");

    let turns = site.json(&["conversation", "session-17", "--json"]);
    let turns = turns["turns"].as_array().unwrap().clone();
    let new: Vec<usize> =
        turns.iter().map(|turn| turn["transcript"]["request"].as_array().unwrap().len()).collect();
    assert_eq!(new, [2, 1, 1], "system and question, the tool's result, the next question");
    assert_eq!(turns[2]["repeated_messages"], 5);
    assert_eq!(turns[2]["continues_turn"], 2);
    assert_eq!(turns[0]["entry"]["event_id"], ids[0].as_str());
    assert_eq!(
        turns[1]["transcript"]["answers"][0]["message"]["parts"],
        json!([{"type": "text", "text": "It is grey."}])
    );
    assert_eq!(turns[0]["matches_commitments"], true);

    // The same without a collector running, and from a segment.
    assert_eq!(up.stop(), 0);
    let level = |text: &str| text.replace("(logged)", "(signed)");
    assert_eq!(level(&said(&site, &["conversation", "session-17"])), level(&through));
    site.json(&["seal", "--json"]);
    assert_eq!(level(&said(&site, &["conversation", "session-17"])), level(&through));
    let unknown = site.run(&["conversation", "session-18"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", text(&unknown.stderr));
}

#[test]
fn each_look_is_recorded_with_what_was_looked_at() {
    let site = Site::new();
    let (up, ids) = weather(&site);
    let before = site.entries_of("operations").len();
    for arguments in [
        ["conversation", "session-17", "--purpose", "ticket 4711", "--format", "html"],
        ["trace", TRACE, "--purpose", "ticket 4711", "--format", "text"],
        ["show", ids[0].as_str(), "--purpose", "ticket 4711", "--format", "json"],
        ["conversation", "nobody's", "--purpose", "ticket 4711", "--format", "text"],
    ] {
        site.run(&arguments);
    }
    let looks = &site.entries_of("operations")[before..];
    let seen: Vec<(&Value, &Value, &Value)> = looks
        .iter()
        .filter(|entry| entry["event_type"] == "access")
        .map(|entry| (&entry["action"], &entry["resource"]["type"], &entry["detail"]["results"]))
        .collect();
    let expected = [
        ("conversation", "session", 3),
        ("trace", "trace", 3),
        ("show", "record", 1),
        ("conversation", "session", 0),
    ];
    assert_eq!(json!(seen), json!(expected));
    assert!(!json!(looks).to_string().contains("4711"), "the purpose is encrypted");
    drop(up);
}

#[test]
fn a_run_is_a_tree_of_calls_and_what_came_back() {
    let site = Site::new();
    let (_up, ids) = weather(&site);
    let tree = said(&site, &["trace", TRACE]);
    let at = |what: &str| tree.find(what).unwrap_or_else(|| panic!("no {what:?} in\n{tree}"));
    assert!(at("span b7ad6b7169203330") < at(&ids[0]) && at(&ids[1]) < at("span b7ad6b7169203331"), "{tree}");
    assert!(
        at("calls get_weather {\"city\":\"Graz\"}") < at(&format!("result: 8 °C, overcast (in {})", ids[1]))
    );
    assert!(at("span b7ad6b7169203331") < at(&ids[2]), "{tree}");
    // Any record of the run leads to it.
    assert_eq!(said(&site, &["trace", &ids[2]]), tree);
    assert_eq!(said(&site, &["trace", "req-42"]), tree);
    let steps = site.json(&["trace", TRACE, "--json"]);
    let call = steps["steps"].as_array().unwrap().iter().find(|step| step["tool_call"].is_object()).unwrap();
    assert_eq!((&call["result_in"], &call["tool_call"]["id"]), (&json!(ids[1]), &json!("call_1")));
    let page = said(&site, &["trace", TRACE, "--format", "html"]);
    assert!(page.contains("8 °C, overcast") && page.ends_with("</html>\n"));
}

#[test]
fn a_hostile_prompt_does_nothing_but_be_shown() {
    const HOSTILE: &str = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'><style>*{display:none}</style>\u{1b}]0;owned\u{7}\u{202e}";
    let site = Site::new();
    let upstream = answers(vec![(JSON, whole(json!({"role": "assistant", "content": HOSTILE})))]);
    let up = site.up(&upstream.url, &[]);
    let body = json!({"model": HOSTILE, "user": HOSTILE, "messages": [{"role": HOSTILE, "content": HOSTILE}], "metadata": {"session_id": HOSTILE}});
    let got = request(
        up.listen,
        &message("POST", "/v1/chat/completions", &[("Content-Type", JSON)], body.to_string().as_bytes()),
    );
    let id = got.event_id().to_owned();
    site.record(&id);
    for arguments in [
        ["show", id.as_str(), "--format", "html"],
        ["conversation", HOSTILE, "--format", "html"],
        ["trace", id.as_str(), "--format", "html"],
    ] {
        let page = said(&site, &arguments);
        let lower = page.to_lowercase();
        for tag in ["<script", "<img", "<style>*", "</pre><s"] {
            assert!(!lower.contains(tag), "{tag} in {page}");
        }
        assert_eq!(lower.matches("<style").count(), 1);
        assert!(page.contains("alert(1)"), "it is shown all the same");
        assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"));
        assert!(!page.contains("http://") && !page.contains("https://"), "it needs nothing from elsewhere");
        for text in [page, said(&site, &[arguments[0], arguments[1], "--format", "text"])] {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "a command to the terminal in {text:?}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_shown_as_bytes_with_type_and_size() {
    let site = Site::new();
    let upstream = answers(vec![("audio/mpeg", vec![0xff, 0xfb, 0x90, 0x00, 0x01])]);
    let up = site.up(&upstream.url, &[]);
    let got = request(
        up.listen,
        &message("POST", "/v1/audio/speech", &[("Content-Type", "text/plain")], b"not JSON"),
    );
    let id = got.event_id().to_owned();
    site.record(&id);
    let shown = said(&site, &["show", &id, "--format", "text"]);
    assert!(shown.contains("5 bytes of audio/mpeg that could not be read"), "{shown}");
    assert!(shown.contains("ff fb 90 00 01"), "{shown}");
    assert!(shown.contains("8 bytes of text/plain") && shown.contains("not JSON"), "{shown}");
}

/// The commands of the page, run as they stand there.
#[test]
fn the_examples_of_the_page_work() {
    let site = Site::new();
    let (_up, ids) = weather(&site);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reading.md")).unwrap();
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_indelible")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut ran = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("    ")) {
        if !line.starts_with("indelible ") {
            continue;
        }
        let line = line.replace("019ab2c3-1111-7abc-8def-0123456789ab", &ids[0]);
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .env("PATH", &path)
            .env("INDELIBLE_DATA", &site.data)
            .current_dir(site.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        ran += 1;
    }
    assert!(ran >= 10, "only {ran} examples");
    // What the page says that a conversation looks like, but for times and ids.
    let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let real = said(&site, &["conversation", "session-17"]);
    let plain = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with("──") && !line.starts_with("  event"));
        lines.map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    assert_eq!(plain(&real), plain(shown), "the page shows another than\n{real}");
}
