//! Content codings, undone as they pass.
//!
//! Holds: what an encoder makes is decoded to what it was, wherever it was cut and whatever stands behind it;
//! what nobody made is decoded the same however it is cut, brotli excepted, and to no more than is allowed for its size.

#![no_main]

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use indelible_fuzz::{Input, pieces};
use indelible_gateway::fuzzing;
use libfuzzer_sys::fuzz_target;
use std::io::Write as _;

const CODINGS: [&str; 12] = [
    "gzip",
    "deflate",
    "br",
    "zstd",
    "x-gzip",
    "gzip, zstd",
    "deflate, br",
    "identity, gzip",
    "zstd,zstd,zstd,zstd",
    "gzip,gzip,gzip,gzip,gzip",
    "compress",
    "",
];
/// What a body may decode to whatever its size, and beyond it for each byte.
const FREE_BYTES: usize = 8 << 20;
const RATIO_MAX: usize = 128;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (what, coding, seed) = (input.byte(), usize::from(input.byte()), input.number());
    match what % 3 {
        0 => made(coding, input.byte(), input.rest(), seed),
        1 => damaged(coding, &mut input, seed),
        _ => any(CODINGS[coding % CODINGS.len()], input.rest(), seed),
    }
});

/// The name of a coding, and a body in it.
fn coded(which: usize, repeat: u8, body: &[u8]) -> (&'static str, Vec<u8>, Vec<u8>) {
    let body = body.repeat(usize::from(repeat) + 1);
    let level = Compression::fast();
    let written = |done: std::io::Result<Vec<u8>>| done.unwrap();
    let (name, coded) = match which % 5 {
        0 => ("gzip", {
            let mut to = GzEncoder::new(Vec::new(), level);
            to.write_all(&body).unwrap();
            written(to.finish())
        }),
        1 => ("deflate", {
            let mut to = ZlibEncoder::new(Vec::new(), level);
            to.write_all(&body).unwrap();
            written(to.finish())
        }),
        2 => ("deflate", {
            let mut to = DeflateEncoder::new(Vec::new(), level);
            to.write_all(&body).unwrap();
            written(to.finish())
        }),
        3 => ("br", {
            let mut to = Vec::new();
            let parameters = brotli::enc::BrotliEncoderParams { quality: 2, lgwin: 16, ..Default::default() };
            brotli::BrotliCompress(&mut &*body, &mut to, &parameters).unwrap();
            to
        }),
        _ => ("zstd", zstd::stream::encode_all(&*body, 1).unwrap()),
    };
    (name, coded, body)
}

fn made(which: usize, repeat: u8, body: &[u8], seed: u16) {
    let (name, coded, body) = coded(which, repeat, body);
    assert_eq!(fuzzing::content(name, [&*coded].into_iter()), (body.clone(), None));
    assert_eq!(fuzzing::content(name, pieces(&coded, seed)), (body.clone(), None));
    let half = &coded[..usize::from(seed) % (coded.len() + 1)];
    let (begun, unread) = fuzzing::content(name, pieces(half, seed));
    assert!(unread.is_none() && body.starts_with(&begun), "a body that is cut off is read as far as it goes");
}

fn damaged(which: usize, input: &mut Input<'_>, seed: u16) {
    let (at, flip, repeat) = (usize::from(input.number()), input.byte(), input.byte() % 8);
    let (name, mut coded, _) = coded(which, repeat, input.rest());
    let at = at % coded.len();
    coded[at] ^= flip;
    any(name, &coded, seed);
}

fn any(coding: &str, body: &[u8], seed: u16) {
    let (whole, why) = fuzzing::content(coding, [body].into_iter());
    assert!(whole.len() <= FREE_BYTES + RATIO_MAX * body.len());
    let (cut, why_cut) = fuzzing::content(coding, pieces(body, seed));
    // The brotli decoder notices a stream that nobody made in some cuts, and in others takes it for one that goes on.
    if coding.contains("br") && (why.is_some() || why_cut.is_some()) {
        return;
    }
    match why {
        None if why_cut.is_none() => assert!(cut == whole),
        // How much a body has earned depends on how much of it has come.
        _ if why_cut == Some("decoded_too_large") => {}
        _ => assert_eq!(why_cut, why),
    }
    // What goes wrong within a piece may take the last step with it.
    assert!(whole.starts_with(&cut) || cut.starts_with(&whole));
}
