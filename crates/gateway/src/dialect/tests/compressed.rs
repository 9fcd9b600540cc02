//! Compressed bodies: a copy is decoded, whatever its coding, wherever it is cut.

use super::*;
use indelible_coding::encode::{Coding, coded};

const BODY: &str = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello hello hello\"}}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\ndata: [DONE]\n\n";

fn head(content_encoding: &str) -> HeaderMap {
    headers(&[("content-type", EVENTS), ("content-encoding", content_encoding)])
}

/// vm0 #8903: a compressed stream was parsed as if it were text. Kong #14893: one that was gzipped came out
/// empty.
#[test]
fn compressed_streams_are_read_as_plain_ones_are() {
    let expected = read(chat(), EVENTS, BODY);
    assert_eq!((expected.said.prompt_tokens, expected.ended), (Some(5), true));
    for (name, coding) in [
        ("gzip", Coding::Gzip),
        ("X-GZIP", Coding::Gzip),
        ("deflate", Coding::Zlib),
        ("deflate", Coding::RawDeflate),
        ("br", Coding::Brotli),
        (" zstd ", Coding::Zstd),
        ("identity, gzip", Coding::Gzip),
    ] {
        assert_eq!(read_with(chat(), &head(name), &coded(coding, BODY.as_bytes())), expected, "{name}");
    }
}

#[test]
fn codings_one_upon_another_are_undone_from_the_last() {
    let expected = read(chat(), EVENTS, BODY);
    let body = coded(Coding::Brotli, &coded(Coding::Gzip, BODY.as_bytes()));
    assert_eq!(read_with(chat(), &head("gzip, br"), &body), expected);
    let mut on_two_lines = head("gzip");
    on_two_lines.append("content-encoding", HeaderValue::from_static("br"));
    assert_eq!(read_with(chat(), &on_two_lines, &body), expected);
    let body = coded(Coding::Zstd, &coded(Coding::Zlib, &body));
    assert_eq!(read_with(chat(), &head("gzip,br,deflate,zstd"), &body), expected);
}

#[test]
fn a_broken_coding_yields_what_could_be_read_and_says_so() {
    let mut body = coded(Coding::Gzip, BODY.as_bytes());
    let cut = body.len() - 20;
    // What breaks off is not broken.
    let broken_off = read_pieces(chat(), &head("gzip"), [&body[..cut]]);
    assert_eq!((broken_off.said.model.as_deref(), broken_off.said.unread), (Some("m"), None));
    assert!(!broken_off.ended);
    body[cut] ^= 0xFF;
    body[cut + 1] ^= 0xFF;
    let broken = read_with(chat(), &head("gzip"), &body);
    assert_eq!(broken.said.model.as_deref(), Some("m"));
    let not_at_all = read_with(chat(), &head("br"), BODY.as_bytes());
    assert_eq!(not_at_all.said.unread.as_deref(), Some("broken_coding"));
    let plain = read_with(chat(), &head("gzip"), BODY.as_bytes());
    assert_eq!((plain.said.unread.as_deref(), plain.said.model), (Some("broken_coding"), None));
}

#[test]
fn an_unknown_coding_is_left_alone_and_said() {
    for coding in ["compress", "aes128gcm", "gzip, dcb", "gzip,gzip,gzip,gzip,gzip"] {
        let read = read_with(chat(), &head(coding), BODY.as_bytes());
        assert_eq!(
            read,
            Read { said: Answer { unread: some("unknown_coding"), ..Answer::default() }, ..Read::default() }
        );
    }
}

/// Point 2 from the other side: a client may compress, too.
#[test]
fn compressed_requests_are_read() {
    let body = br#"{"model":"m","user":"u","stream":true}"#;
    for (name, coding) in [("gzip", Coding::Gzip), ("zstd", Coding::Zstd), ("br", Coding::Brotli)] {
        let mut reader = RequestReader::new(chat(), "/", &headers(&[("content-encoding", name)]));
        for byte in coded(coding, body).chunks(1) {
            reader.push(byte);
        }
        let facts = reader.facts();
        assert_eq!(
            (facts.model.as_deref(), facts.user_id.as_deref(), facts.stream),
            (Some("m"), Some("u"), Some(true))
        );
        assert_eq!(facts.unread, None);
    }
    let mut reader = RequestReader::new(chat(), "/", &headers(&[("content-encoding", "zstd")]));
    reader.push(body);
    assert_eq!(reader.facts().unread.as_deref(), Some("broken_coding"));
}
