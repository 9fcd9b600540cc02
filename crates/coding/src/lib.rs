//! Content codings (RFC 9110 §8.4.1) undone on a copy of the bytes, as they pass.
//!
//! Bodies go through as they were coded; readers of dialects want to see what is in them. Each coding is
//! undone piece by piece into a buffer of fixed size, codings that were applied one upon another included.
//! What is wrong with a coding ends the reading, not the body: what was decoded before stays read.
//!
//! **Invariant:** a body costs at most its window of memory (8 MiB for zstd as RFC 9659 bounds it, 16 MiB
//! for brotli, 32 KiB for the others), and the time of [`DECODED_MAX_BYTES`], however small it is.

#![forbid(unsafe_code)]

#[cfg(any(test, feature = "encode"))]
pub mod encode;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use std::io;
use zstd::stream::raw::{DParameter, Operation as _};

/// Most bytes that one body is decoded to, by all of its codings together…
const DECODED_MAX_BYTES: u64 = 256 << 20;
/// …of which so many may come out of nothing much: a model that says the same over and over makes a stream that
/// is coded 1000 to 1…
const DECODED_FREE_BYTES: u64 = 8 << 20;
/// …and beyond them so many for each byte received. Other texts are rarely coded better than 30 to 1.
const DECODED_RATIO_MAX: u64 = 128;
/// Most codings one upon another.
const CODINGS_MAX: usize = 4;
/// What is decoded in one step.
const STEP_BYTES: usize = 16 << 10;
/// Largest window of a zstd frame: 8 MiB (RFC 9659 §3).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why a body was not read, or not to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is in a coding that nothing here knows.
    UnknownCoding,
    /// It is not what its coding says.
    BrokenCoding,
    /// It decodes to more than is read.
    DecodedTooLarge,
}

impl Unread {
    /// The word that stands in entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownCoding => "unknown_coding",
            Self::BrokenCoding => "broken_coding",
            Self::DecodedTooLarge => "decoded_too_large",
        }
    }
}

/// Decodes one body.
pub struct Decoder {
    /// In the order in which they are undone: the last that was applied first.
    layers: Vec<Layer>,
    received: u64,
    decoded: u64,
    unread: Option<Unread>,
}

struct Layer {
    codec: Codec,
    buffer: Box<[u8]>,
    /// Nothing more is coded: what follows is no part of the body, wherever it is cut.
    ended: bool,
}

enum Codec {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Box<Brotli>),
    Zstd { decoder: zstd::stream::raw::Decoder<'static>, between_frames: bool },
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// What one step did.
#[derive(Clone, Copy, Default)]
struct Step {
    taken: usize,
    made: usize,
    outcome: Outcome,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Outcome {
    #[default]
    GoesOn,
    /// Nothing more is coded, whatever follows.
    Ended,
    Broken,
}

impl Decoder {
    /// A decoder for the value of `Content-Encoding`, lines joined by commas; `None` where nothing is coded.
    pub fn new(content_encoding: &str) -> Option<Self> {
        let codings = content_encoding.split(',').map(str::trim);
        let codings = codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
        let codings: Vec<&str> = codings.take(CODINGS_MAX + 1).collect();
        if codings.is_empty() {
            return None;
        }
        let known: Option<Vec<_>> = codings.iter().rev().map(|coding| Layer::new(coding)).collect();
        let known = known.filter(|layers| layers.len() <= CODINGS_MAX);
        let unread = known.is_none().then_some(Unread::UnknownCoding);
        Some(Self { layers: known.unwrap_or_default(), received: 0, decoded: 0, unread })
    }

    /// Decodes on, and gives what comes out.
    pub fn push(&mut self, piece: &[u8], give: &mut dyn FnMut(&[u8])) {
        if self.unread.is_some() {
            return;
        }
        self.received = self.received.saturating_add(piece.len() as u64);
        let earned = self.received.saturating_mul(DECODED_RATIO_MAX).saturating_add(DECODED_FREE_BYTES);
        let mut left = earned.min(DECODED_MAX_BYTES).saturating_sub(self.decoded);
        let had = left;
        let ran = run(&mut self.layers, &mut left, piece, give);
        self.decoded += had - left;
        if let Err(unread) = ran {
            self.unread = Some(unread);
            self.layers = Vec::new();
        }
    }

    /// Why the rest was not read, if it was not.
    pub fn unread(&self) -> Option<Unread> {
        self.unread
    }
}

/// A whole body with its codings undone, or as much of it as could be read, and then why no more.
pub fn decode(content_encoding: &str, body: &[u8]) -> Option<(Vec<u8>, Option<Unread>)> {
    let mut decoder = Decoder::new(content_encoding)?;
    let mut plain = Vec::new();
    decoder.push(body, &mut |piece| plain.extend_from_slice(piece));
    Some((plain, decoder.unread()))
}

/// Undoes all codings on one piece, each in steps that the next takes over at once.
fn run(
    layers: &mut [Layer],
    left: &mut u64,
    piece: &[u8],
    give: &mut dyn FnMut(&[u8]),
) -> Result<(), Unread> {
    let Some((layer, inner)) = layers.split_first_mut() else {
        give(piece);
        return Ok(());
    };
    let mut piece = piece;
    while !layer.ended {
        let step = layer.codec.step(piece, &mut layer.buffer);
        let Some(rest) = left.checked_sub(step.made as u64) else { return Err(Unread::DecodedTooLarge) };
        *left = rest;
        if step.made > 0 {
            run(inner, left, &layer.buffer[..step.made], give)?;
        }
        piece = &piece[step.taken..];
        match step.outcome {
            Outcome::Broken => return Err(Unread::BrokenCoding),
            Outcome::Ended => layer.ended = true,
            // What fills the buffer may have left something behind.
            Outcome::GoesOn if piece.is_empty() && step.made < layer.buffer.len() => return Ok(()),
            Outcome::GoesOn if step.taken == 0 && step.made == 0 => return Ok(()),
            Outcome::GoesOn => {}
        }
    }
    Ok(())
}

impl Layer {
    fn new(coding: &str) -> Option<Self> {
        let codec = match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Codec::Gzip(Gzip::new()),
            "deflate" => Codec::Deflate(Deflate::default()),
            // Not the "large window" of brotli, which is no content coding and takes up to 1 GiB.
            "br" => Codec::Brotli(Box::new(Brotli::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            "zstd" => Codec::Zstd { decoder: zstd_decoder().ok()?, between_frames: true },
            _ => return None,
        };
        Some(Self { codec, buffer: vec![0; STEP_BYTES].into_boxed_slice(), ended: false })
    }
}

fn zstd_decoder() -> io::Result<zstd::stream::raw::Decoder<'static>> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
    Ok(decoder)
}

impl Codec {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        match self {
            Self::Gzip(gzip) => gzip.step(input, output),
            Self::Deflate(deflate) => deflate.step(input, output),
            Self::Brotli(state) => brotli(state, input, output),
            Self::Zstd { decoder, between_frames } => {
                // The library decodes a frame that it has whole in another way than one that comes in pieces, and is
                // stricter then. With the first byte by itself no frame is whole: what is read does not depend on cuts.
                let input = if *between_frames { input.get(..1).unwrap_or_default() } else { input };
                match decoder.run_on_buffers(input, output) {
                    Ok(status) => {
                        *between_frames = status.remaining == 0;
                        Step {
                            taken: status.bytes_read,
                            made: status.bytes_written,
                            outcome: Outcome::GoesOn,
                        }
                    }
                    Err(_) => Step { outcome: Outcome::Broken, ..Step::default() },
                }
            }
        }
    }
}

fn brotli(state: &mut Brotli, input: &[u8], output: &mut [u8]) -> Step {
    let (mut in_left, mut taken) = (input.len(), 0);
    let (mut out_left, mut made, mut total) = (output.len(), 0, 0);
    let result = BrotliDecompressStream::<StandardAlloc, StandardAlloc, StandardAlloc>(
        &mut in_left,
        &mut taken,
        input,
        &mut out_left,
        &mut made,
        output,
        &mut total,
        state,
    );
    let outcome = match result {
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Outcome::GoesOn,
        BrotliResult::ResultSuccess => Outcome::Ended,
        BrotliResult::ResultFailure => Outcome::Broken,
    };
    Step { taken, made, outcome }
}

/// One step of inflating (RFC 1951).
fn inflate(inflate: &mut Decompress, input: &[u8], output: &mut [u8]) -> Step {
    let (was_in, was_out) = (inflate.total_in(), inflate.total_out());
    let result = inflate.decompress(input, output, FlushDecompress::None);
    let outcome = match result {
        Ok(Status::Ok | Status::BufError) => Outcome::GoesOn,
        Ok(Status::StreamEnd) => Outcome::Ended,
        Err(_) => Outcome::Broken,
    };
    let [taken, made] = [inflate.total_in() - was_in, inflate.total_out() - was_out];
    Step { taken: taken as usize, made: made as usize, outcome }
}

/// `deflate` is zlib (RFC 1950), but servers exist that send the bare stream (RFC 1951), and all clients take
/// it (RFC 9110 §8.4.1.2, note).
#[derive(Default)]
struct Deflate {
    first: Option<u8>,
    inflate: Option<Decompress>,
}

impl Deflate {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        if let Some(stream) = &mut self.inflate {
            return inflate(stream, input, output);
        }
        match (self.first, input) {
            (_, []) => Step::default(),
            (None, [first, ..]) => {
                self.first = Some(*first);
                Step { taken: 1, ..Step::default() }
            }
            (Some(first), [second, ..]) => {
                // Method 8, and a multiple of 31 (RFC 1950 §2.2).
                let is_zlib = first & 0x0F == 8 && u16::from_be_bytes([first, *second]) % 31 == 0;
                let stream = self.inflate.insert(Decompress::new(is_zlib));
                let begun = inflate(stream, &[first], output);
                if begun.outcome != Outcome::GoesOn {
                    return Step { taken: 0, ..begun };
                }
                let step = inflate(stream, input, &mut output[begun.made..]);
                Step { made: begun.made + step.made, ..step }
            }
        }
    }
}

/// The members of a gzip file (RFC 1952). Checksums are not compared: a body that came whole is recorded by
/// its hash, and of a damaged one as much as possible is to be read.
struct Gzip {
    part: Part,
    /// Flags of the header that are still to be followed.
    flags: u8,
    inflate: Decompress,
}

#[derive(Clone, Copy)]
enum Part {
    /// So many of the fixed bytes of the header were seen.
    Fixed(usize),
    /// So many bytes of the length of the extra field were seen, with its value so far.
    ExtraLength(usize, u16),
    Extra(u16),
    /// Name and comment, each up to a zero.
    Name,
    Comment,
    HeaderChecksum(usize),
    Deflated,
    /// So many bytes of checksum and length are still to come.
    Trailer(usize),
    /// Behind a member; another may follow.
    Between,
}

impl Gzip {
    const MAGIC: [u8; 3] = [0x1F, 0x8B, 8];
    const FIXED_BYTES: usize = 10;
    const FLAGS_AT: usize = 3;
    const HEADER_CHECKSUM: u8 = 1 << 1;
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    const TRAILER_BYTES: usize = 8;

    fn new() -> Self {
        Self { part: Part::Fixed(0), flags: 0, inflate: Decompress::new(false) }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let mut taken = 0;
        while !matches!(self.part, Part::Deflated) {
            let Some(byte) = input.get(taken) else { return Step { taken, ..Step::default() } };
            let outcome = self.around(*byte);
            if outcome != Outcome::GoesOn {
                return Step { taken, made: 0, outcome };
            }
            taken += 1;
        }
        let mut step = inflate(&mut self.inflate, &input[taken..], output);
        step.taken += taken;
        if step.outcome == Outcome::Ended {
            self.part = Part::Trailer(Self::TRAILER_BYTES);
            step.outcome = Outcome::GoesOn;
        }
        step
    }

    /// Takes one byte of what stands around the deflated data.
    fn around(&mut self, byte: u8) -> Outcome {
        self.part = match self.part {
            // Padding and whatever else stands behind the last member is no member.
            Part::Between if byte != Self::MAGIC[0] => return Outcome::Ended,
            Part::Between => {
                self.inflate.reset(false);
                Part::Fixed(1)
            }
            Part::Fixed(at) => {
                if Self::MAGIC.get(at).is_some_and(|magic| *magic != byte) {
                    return Outcome::Broken;
                }
                if at == Self::FLAGS_AT {
                    self.flags = byte;
                }
                if at + 1 == Self::FIXED_BYTES { self.next_part() } else { Part::Fixed(at + 1) }
            }
            Part::ExtraLength(0, _) => Part::ExtraLength(1, u16::from(byte)),
            Part::ExtraLength(_, low) => match low | u16::from(byte) << 8 {
                0 => self.next_part(),
                length => Part::Extra(length),
            },
            Part::Extra(1) => self.next_part(),
            Part::Extra(left) => Part::Extra(left - 1),
            Part::Name | Part::Comment if byte == 0 => self.next_part(),
            Part::HeaderChecksum(1) => self.next_part(),
            Part::HeaderChecksum(left) => Part::HeaderChecksum(left - 1),
            Part::Trailer(1) => Part::Between,
            Part::Trailer(left) => Part::Trailer(left - 1),
            part @ (Part::Name | Part::Comment | Part::Deflated) => part,
        };
        Outcome::GoesOn
    }

    /// What follows in the header, by the flags that were not followed yet.
    fn next_part(&mut self) -> Part {
        let parts = [
            (Self::EXTRA, Part::ExtraLength(0, 0)),
            (Self::NAME, Part::Name),
            (Self::COMMENT, Part::Comment),
            (Self::HEADER_CHECKSUM, Part::HeaderChecksum(2)),
        ];
        let next = parts.into_iter().find(|(flag, _)| self.flags & flag != 0);
        self.flags &= !next.map_or(0, |(flag, _)| flag);
        next.map_or(Part::Deflated, |(_, part)| part)
    }
}

#[cfg(test)]
mod tests;
