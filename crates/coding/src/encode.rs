//! Coding bodies, for tests of what reads them.

#![allow(clippy::unwrap_used)] // Writing into memory cannot fail, and only tests do.

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::{self, Write};

/// How test bodies are coded.
#[derive(Clone, Copy, Debug)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Zlib,
    /// RFC 1951.
    RawDeflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// Codes a body.
pub fn coded(coding: Coding, body: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => written(GzEncoder::new(Vec::new(), Compression::best()), body, GzEncoder::finish),
        Coding::Zlib => written(ZlibEncoder::new(Vec::new(), Compression::best()), body, ZlibEncoder::finish),
        Coding::RawDeflate => {
            written(DeflateEncoder::new(Vec::new(), Compression::best()), body, DeflateEncoder::finish)
        }
        Coding::Brotli => {
            let mut coded = Vec::new();
            let params = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
            brotli::BrotliCompress(&mut &*body, &mut coded, &params).unwrap();
            coded
        }
        Coding::Zstd => zstd::stream::encode_all(body, 3).unwrap(),
    }
}

fn written<W: Write>(mut encoder: W, body: &[u8], finish: impl Fn(W) -> io::Result<Vec<u8>>) -> Vec<u8> {
    encoder.write_all(body).unwrap();
    finish(encoder).unwrap()
}
