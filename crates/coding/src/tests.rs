//! Decoding against what encoders make, cut everywhere; and against what is made to do harm.

use super::encode::{Coding, coded};
use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;

const ALL: [(Coding, &str); 5] = [
    (Coding::Gzip, "gzip"),
    (Coding::Zlib, "deflate"),
    (Coding::RawDeflate, "deflate"),
    (Coding::Brotli, "br"),
    (Coding::Zstd, "zstd"),
];

fn decoded<'a>(
    content_encoding: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Option<Unread>) {
    let mut decoder = Decoder::new(content_encoding).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut |part| out.extend_from_slice(part));
    }
    (out, decoder.unread())
}

#[test]
fn nothing_coded_needs_no_decoder() {
    for plain in ["", "identity", " Identity , identity", ","] {
        assert!(Decoder::new(plain).is_none(), "{plain:?}");
    }
}

/// RFC 1952 §2.3: all that a header may have, which no encoder here writes; and two members, the second after a
/// flush, with padding behind.
#[test]
fn gzip_with_every_field_of_the_header_and_several_members() {
    let member = |text: &[u8]| coded(Coding::Gzip, text)[10..].to_vec();
    let flags = Gzip::EXTRA | Gzip::NAME | Gzip::COMMENT | Gzip::HEADER_CHECKSUM;
    let mut body = vec![0x1F, 0x8B, 8, flags, 0, 0, 0, 0, 0, 3];
    body.extend([3, 0, b'a', 0, b'b']);
    body.extend(b"name\0comment\0\x12\x34");
    body.extend(member(b"one, "));
    body.extend([0x1F, 0x8B, 8, Gzip::EXTRA, 0, 0, 0, 0, 0, 3, 0, 0]);
    body.extend(member(b"two"));
    body.extend([0; 7]);
    for at in 0..=body.len() {
        let (head, tail) = body.split_at(at);
        assert_eq!(decoded("gzip", [head, tail]), (b"one, two".to_vec(), None), "cut at {at}");
    }
    assert_eq!(decoded("gzip", body.chunks(1)).0, b"one, two");
}

/// The library is stricter with a frame that it has whole: whether a damaged body was called broken depended on cuts.
#[test]
fn a_damaged_frame_of_zstd_is_read_the_same_wherever_it_is_cut() {
    for text in [&b""[..], b"a body"] {
        let body = coded(Coding::Zstd, text);
        for at in 0..body.len() {
            for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut damaged = body.clone();
                damaged[at] ^= flip;
                let whole = decoded("zstd", [&*damaged]);
                for cut in 1..damaged.len() {
                    let (head, tail) = damaged.split_at(cut);
                    assert_eq!(decoded("zstd", [head, tail]), whole, "byte {at} ^ {flip:#x}, cut at {cut}");
                }
            }
        }
    }
}

/// A piece that began within the padding was taken for another member, and the body for a broken one.
#[test]
fn what_stands_behind_the_end_is_no_part_of_the_body_wherever_it_is_cut() {
    for (coding, name) in ALL {
        if matches!(coding, Coding::Zstd) {
            continue; // A zstd body is frames to its end: there is nothing behind.
        }
        let body = [&coded(coding, b"all of it")[..], &[0, 0x1F, 0x8B, 9, 0x78, 0xFF, 0xFF]].concat();
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert_eq!(decoded(name, [head, tail]), (b"all of it".to_vec(), None), "{name} cut at {at}");
        }
        assert_eq!(decoded(name, body.chunks(1)), (b"all of it".to_vec(), None), "{name}");
    }
}

/// A stream is flushed after each event, and must be read then, not when it ends.
#[test]
fn what_was_flushed_is_given_at_once() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut decoder = Decoder::new("gzip").unwrap();
    let (mut sent, mut out) = (0, Vec::new());
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        encoder.write_all(event.as_bytes()).unwrap();
        encoder.flush().unwrap();
        let piece = encoder.get_ref()[sent..].to_vec();
        sent += piece.len();
        decoder.push(&piece, &mut |part| out.extend_from_slice(part));
        assert!(out.ends_with(event.as_bytes()), "{event:?}");
    }
}

/// 1000 to 1 and worse. What is decoded stays within the bound, and so does the time.
#[test]
fn a_bomb_is_not_decoded_and_says_so() {
    let zeros = vec![0; 64 << 20];
    for (coding, name) in ALL {
        let bomb = coded(coding, &zeros);
        let (mut given, mut largest) = (0, 0);
        let mut decoder = Decoder::new(name).unwrap();
        decoder.push(&bomb, &mut |part| {
            given += part.len() as u64;
            largest = largest.max(part.len());
        });
        assert_eq!(decoder.unread(), Some(Unread::DecodedTooLarge), "{name}");
        assert!(given <= DECODED_FREE_BYTES + DECODED_RATIO_MAX * bomb.len() as u64, "{name}: {given}");
        assert!(largest <= STEP_BYTES);
        decoder.push(&bomb, &mut |_| panic!("{name}: went on"));
    }
}

/// A small bomb in a small bomb.
#[test]
fn a_bomb_in_a_bomb_is_bounded_by_what_all_codings_make() {
    let bomb = coded(Coding::Gzip, &coded(Coding::Gzip, &vec![0; 256 << 20]));
    let mut given = 0u64;
    let mut decoder = Decoder::new("gzip, gzip").unwrap();
    decoder.push(&bomb, &mut |part| given += part.len() as u64);
    assert_eq!(decoder.unread(), Some(Unread::DecodedTooLarge));
    assert!(given <= DECODED_FREE_BYTES + DECODED_RATIO_MAX * bomb.len() as u64, "{given}");
}

/// A zstd frame that asks for a window of 64 MiB, and a brotli stream with the "large window" extension.
#[test]
fn windows_that_would_take_more_memory_are_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(26).unwrap();
    encoder.write_all(&vec![7; 9 << 20]).unwrap();
    let wide = encoder.finish().unwrap();
    assert_eq!(decoded("zstd", [&*wide]).1, Some(Unread::BrokenCoding));
    let mut wide = Vec::new();
    let params = brotli::enc::BrotliEncoderParams { large_window: true, lgwin: 28, ..Default::default() };
    brotli::BrotliCompress(&mut &b"hello"[..], &mut wide, &params).unwrap();
    assert_eq!(decoded("br", [&*wide]).1, Some(Unread::BrokenCoding));
}

#[test]
fn text_that_repeats_itself_is_no_bomb() {
    let frame =
        "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n";
    let body = frame.repeat(90_000);
    for (coding, name) in ALL {
        let (out, unread) = decoded(name, [&*coded(coding, body.as_bytes())]);
        assert_eq!((out.len(), unread), (body.len(), None), "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_coded_is_decoded_however_it_is_cut(
        words in prop::collection::vec("[a-z]{1,8}|.{0,8}", 0..200),
        coding in 0usize..5,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (coding, name) = ALL[coding];
        let plain = words.join(" ").into_bytes();
        let body = coded(coding, &plain);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        ends.extend([0, body.len()]);
        ends.sort_unstable();
        let pieces = ends.windows(2).map(|pair| &body[pair[0]..pair[1]]);
        prop_assert_eq!(decoded(name, pieces), (plain.clone(), None));
        prop_assert_eq!(decoded(name, body.chunks(1)), (plain, None));
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes: Vec<u8>, coding in 0usize..5, flip: prop::sample::Index) {
        let (coding, name) = ALL[coding];
        let _ = decoded(name, [&*bytes]);
        let mut body = coded(coding, b"some text that is long enough to be coded, coded, coded");
        let at = flip.index(body.len());
        body[at] ^= 0x55;
        let whole = decoded(name, [&*body]);
        prop_assert!(whole.0.len() as u64 <= DECODED_FREE_BYTES);
    }
}
