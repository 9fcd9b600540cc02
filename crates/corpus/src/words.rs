//! Text that compresses as prose does, without being anybody's.
//!
//! Function words are English; the rest is made of syllables once and for all. Words follow Zipf's law, a topic
//! has words of its own, and some words have a usual neighbour. `zstd -3` makes about two and a half of it, as
//! of prose (a test holds it to that).

use crate::draw::Draw;
use std::sync::OnceLock;

const WORDS: usize = 16_000;
/// The vocabulary is the same for every corpus.
const VOCABULARY_SEED: u64 = 0x5eed_0f11;
/// Words that a topic has of its own.
const TOPIC_WORDS: usize = 600;
/// Quantiles of the ranks, so that a word costs no logarithm.
const QUANTILES: usize = 1 << 14;

const FUNCTION_WORDS: [&str; 112] = [
    "the", "of", "and", "to", "a", "in", "is", "that", "it", "for", "you", "with", "on", "as", "are", "be",
    "this", "was", "by", "or", "your", "not", "have", "from", "at", "can", "if", "will", "an", "we", "which",
    "but", "they", "has", "all", "when", "there", "what", "their", "one", "more", "so", "do", "been",
    "would", "about", "may", "out", "up", "no", "time", "its", "them", "some", "any", "than", "other",
    "these", "only", "into", "how", "my", "our", "two", "should", "then", "also", "because", "use", "could",
    "first", "each", "very", "just", "most", "like", "where", "after", "before", "between", "through",
    "over", "such", "both", "while", "must", "same", "still", "does", "did", "were", "had", "who", "his",
    "her", "without", "under", "however", "make", "need", "way", "see", "well", "even", "day", "work", "new",
    "good", "please", "every", "another", "again",
];

const ONSETS: [&str; 38] = [
    "b", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gr", "h", "j", "k", "l", "m", "n",
    "p", "pl", "pr", "qu", "r", "s", "sc", "sh", "sp", "st", "str", "t", "th", "tr", "v", "w", "", "", "y",
];
const VOWELS: [&str; 14] = ["a", "e", "i", "o", "u", "ai", "ea", "ee", "io", "ou", "a", "e", "i", "o"];
const CODAS: [&str; 24] = [
    "", "", "", "", "l", "n", "r", "s", "t", "nd", "nt", "st", "ck", "m", "rd", "ng", "ss", "x", "ll", "p",
    "rn", "ct", "d", "mp",
];
const ENDINGS: [&str; 16] =
    ["", "", "", "", "s", "ed", "ing", "er", "ly", "ion", "al", "ment", "ity", "able", "ness", "ive"];

struct Vocabulary {
    words: Vec<String>,
    /// Rank of a word by a draw of it. The first few are about as frequent as each other (Mandelbrot's form of
    /// Zipf's law).
    ranks: Vec<u16>,
    function_ranks: Vec<u8>,
}

fn vocabulary() -> &'static Vocabulary {
    static MADE: OnceLock<Vocabulary> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut draw = Draw::new(VOCABULARY_SEED, 0);
        let words = (0..WORDS).map(|_| word(&mut draw)).collect();
        let rank = |at: usize, count: usize, flat: f64| {
            let unit = (at as f64 + 0.5) / QUANTILES as f64;
            let rank = flat * ((count as f64 / flat + 1.0).powf(unit) - 1.0);
            (rank as usize).min(count - 1)
        };
        let ranks = (0..QUANTILES).map(|at| rank(at, WORDS, 60.0) as u16).collect();
        let function_ranks = (0..QUANTILES).map(|at| rank(at, FUNCTION_WORDS.len(), 6.0) as u8).collect();
        Vocabulary { words, ranks, function_ranks }
    })
}

fn word(draw: &mut Draw) -> String {
    let mut word = String::new();
    for _ in 0..=draw.below(3) {
        word.push_str(draw.pick(&ONSETS));
        word.push_str(draw.pick(&VOWELS));
    }
    word.push_str(draw.pick(&CODAS));
    word.push_str(draw.pick(&ENDINGS));
    word
}

/// Sentences about `topic`, of about `bytes`, without anything that JSON would escape but the line breaks, which
/// are escaped already.
pub(crate) fn prose(draw: &mut Draw, topic: u64, bytes: usize, out: &mut String) {
    let end = out.len() + bytes;
    let mut sentences = 0;
    loop {
        sentence(draw, topic, out);
        sentences += 1;
        if out.len() + 20 >= end {
            return;
        }
        out.push_str(if sentences % 5 == 0 { "\\n\\n" } else { " " });
    }
}

fn sentence(draw: &mut Draw, topic: u64, out: &mut String) {
    let count = 5 + draw.below(18);
    let start = out.len();
    let mut previous = None;
    for at in 0..count {
        if at > 0 {
            out.push_str(if at > 3 && at + 3 < count && draw.next() & 15 == 0 { ", " } else { " " });
        }
        previous = next_word(draw, topic, previous, out);
    }
    if let Some(first) = out.get(start..=start).map(str::to_ascii_uppercase) {
        out.replace_range(start..=start, &first);
    }
    out.push(if draw.next() & 15 == 0 { '?' } else { '.' });
}

/// Appends a word; says which, if it is one that may have a usual neighbour.
fn next_word(draw: &mut Draw, topic: u64, previous: Option<usize>, out: &mut String) -> Option<usize> {
    let words = vocabulary();
    let bits = draw.next();
    let quantile = (bits & (QUANTILES as u64 - 1)) as usize;
    let kind = (bits >> 32) & 0xff;
    if kind < 4 {
        out.push_str(&(bits >> 52).to_string());
        return None;
    }
    if kind < 100 {
        out.push_str(FUNCTION_WORDS[usize::from(words.function_ranks[quantile])]);
        return None;
    }
    let index = match previous {
        // A usual neighbour, of a few.
        Some(word) if kind < 128 => (word * 31 + 7 + (kind as usize & 1)) % WORDS,
        _ if kind < 180 => {
            let rank = (TOPIC_WORDS as f64).powf(quantile as f64 / QUANTILES as f64) as u64;
            (topic.wrapping_mul(0x9e37_79b9) as usize + rank as usize * 37) % WORDS
        }
        _ => usize::from(words.ranks[quantile]),
    };
    out.push_str(&words.words[index]);
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_compresses_as_prose_does() {
        let mut draw = Draw::new(1, 1);
        let mut text = String::new();
        for topic in 0..600 {
            prose(&mut draw, topic / 3, 1700, &mut text);
        }
        let ratio = text.len() as f64 / zstd::bulk::compress(text.as_bytes(), 3).unwrap().len() as f64;
        assert!((2.2..2.8).contains(&ratio), "{ratio:.2} of {} bytes", text.len());
    }

    #[test]
    fn text_needs_no_escaping_in_json() {
        let mut text = String::new();
        prose(&mut Draw::new(2, 1), 5, 20_000, &mut text);
        let read: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), format!("\"{text}\""));
        assert!(read.contains("\n\n"));
    }
}
