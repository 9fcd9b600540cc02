//! How texts lie in a body: lines, ends of lines, comments, pieces, garbage, sizes.

use super::*;
use proptest::prelude::*;

const CHUNK: &str = r#"{"model":"m","choices":[{"index":0,"delta":{"content":"ü🦀\u00fc\ud83e\udd80"}}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#;

fn plain() -> Read {
    stream(chat(), &[CHUNK, USAGE, "[DONE]"])
}

/// Point 4, and rossoctl/cortex #656: whatever a proxy makes of the ends of lines, and whatever stands between
/// the data.
#[test]
fn a_stream_reads_the_same_in_all_its_spellings() {
    let expected = plain();
    assert_eq!((expected.said.prompt_tokens, expected.ended), (Some(5), true));
    for end in ["\n", "\r", "\r\n"] {
        let spellings = [
            format!("data: {CHUNK}\n\ndata: {USAGE}\n\ndata: [DONE]\n\n"),
            format!("data:{CHUNK}\n\ndata:{USAGE}\n\ndata:[DONE]\n\n"),
            format!(
                ": keep-alive\n\nevent: x\nid: 1\nretry: 5\ndata: {CHUNK}\n\n: \n\ndata: {USAGE}\n\ndata: [DONE]\n\n"
            ),
            format!("\u{FEFF}data: {CHUNK}\n\n\n\ndata: {USAGE}\nevent: y\n\ndata: [DONE]\n\n"),
            // Data that the stream leaves without a blank line, and without a line's end.
            format!("data: {CHUNK}\n\ndata: {USAGE}\n\ndata: [DONE]"),
            format!("data: {CHUNK}\n\ndata: {USAGE}\n\ndata: [DONE]\n"),
        ];
        for spelling in spellings {
            assert_eq!(read(chat(), EVENTS, &spelling.replace('\n', end)), expected, "{spelling:?} {end:?}");
        }
    }
    // One event on two lines of data.
    let (before, after) = USAGE.split_at(13);
    let body = format!("data: {CHUNK}\n\ndata: {before}\ndata: {after}\n\ndata: [DONE]\n\n");
    assert_eq!(read(chat(), EVENTS, &body), expected);
}

#[test]
fn only_the_mark_itself_ends_a_stream() {
    let ended = |body: &str| read(chat(), EVENTS, body).ended;
    assert!(ended("data:[DONE]"));
    assert!(ended("data: [DO\ndata: x\n\ndata: [DONE]\n\n"));
    for body in [
        "data: \"[DONE]\"\n\n",
        "data:  [DONE]\n\n",
        ": [DONE]\n\n",
        "data: [DO\ndata: NE]\n\n",
        "event: [DONE]\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"[DONE]\"}}]}\n\n",
    ] {
        assert!(!ended(body), "{body:?}");
    }
}

/// Point 4: a base64 image in one event. What is kept of it must not grow with it, and what stands around it
/// must be found.
#[test]
fn a_single_event_of_50_mb_is_read_through_and_not_kept() {
    let piece = vec![b'x'; 1 << 16];
    let mut reader = AnswerReader::new(chat(), &headers(&[("content-type", EVENTS)]));
    reader.push(b"data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
    for _ in 0..800 {
        reader.push(&piece);
    }
    reader.push(b"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7}}\n\ndata: [DONE]\n\n");
    assert!(reader.saw_end());
    let (said, _) = reader.finish();
    assert_eq!((said.model.as_deref(), said.finish_reason.as_deref()), (Some("m"), Some("stop")));
    assert_eq!(said.prompt_tokens, Some(7));
}

#[test]
fn a_chunk_that_is_not_json_does_not_end_the_reading() {
    let read = stream(chat(), &["{\"model\":\"a\",}", "not json", "", r#"{"model":"b"}"#, "[DONE]"]);
    assert_eq!((read.said.model.as_deref(), read.ended), (Some("b"), true));
}

#[test]
fn a_plain_answer_that_breaks_off_keeps_what_came_before() {
    let whole = r#"{"id":"c","model":"m","usage":{"prompt_tokens":12},"choices":[]}"#;
    for at in 0..whole.len() {
        let read = read_pieces(chat(), &headers(&[("content-type", JSON)]), [&whole.as_bytes()[..at]]);
        assert_eq!(read.said.model.is_some(), at >= r#"{"id":"c","model":"m""#.len(), "cut at {at}");
        // No number is taken before its end was seen: 1 is not 12.
        assert!(matches!(read.said.prompt_tokens, None | Some(12)), "cut at {at}");
        assert!(!read.ended);
    }
}

#[test]
fn what_is_behind_an_answer_is_no_part_of_it() {
    let read = read(chat(), JSON, "\u{FEFF}  {\"model\":\"m\"}\n{\"model\":\"decoy\"} x");
    assert_eq!(read.said.model.as_deref(), Some("m"));
}

#[test]
fn only_types_that_are_known_are_read() {
    let is_read = |content_type: Option<&'static str>| {
        let head = content_type.map_or_else(HeaderMap::new, |value| headers(&[("content-type", value)]));
        read_with(chat(), &head, b"{\"model\":\"m\"}").said.model.is_some()
    };
    assert!(is_read(Some("Application/JSON; charset=utf-8")));
    assert!(is_read(Some("application/vnd.x+json")));
    assert!(!is_read(Some("text/html")));
    assert!(!is_read(None));
}

proptest! {
    #[test]
    fn any_bytes_read_the_same_however_they_are_cut(
        parts in prop::collection::vec(
            prop_oneof![
                Just("data: ".to_owned()), Just("data:".to_owned()), Just("\n\n".to_owned()), Just("\r\n".to_owned()),
                Just("event: x\n".to_owned()), Just(CHUNK.to_owned()), Just(USAGE.to_owned()), Just("[DONE]".to_owned()),
                Just("{".to_owned()), Just("}".to_owned()), Just("\"".to_owned()), Just("\\".to_owned()), ".{0,4}",
            ],
            0..14,
        ),
        kind in 0usize..3,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let body = parts.concat().into_bytes();
        let head = headers(&[("content-type", [EVENTS, JSON, LINES][kind])]);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        ends.extend([0, body.len()]);
        ends.sort_unstable();
        let pieces = ends.windows(2).map(|pair| &body[pair[0]..pair[1]]);
        for endpoint in [chat(), post_to("/v1/models/g:streamGenerateContent")] {
            prop_assert_eq!(read_pieces(endpoint, &head, pieces.clone()), read_pieces(endpoint, &head, [&*body]));
        }
    }
}
