//! Answers made beforehand, for benches: the request is read to its end but not looked at.
//!
//! Each size is made once and kept; a bench uses one or two, so the shelf is small and what does not fit is
//! made anew each time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::answer::{self, Answer, Choice, Content, Seed};
use crate::reply;
use crate::stream::{self, Wish};

const SHELF_MAX: usize = 32;
const MODEL: &str = "llama-3-8b-instruct";
/// A stream's frames that carry no text: role, reason and `[DONE]`.
const FRAMES_AROUND: usize = 3;

/// Answers by size and streams by number of frames.
#[derive(Default)]
pub(crate) struct Shelf {
    bodies: Kept<Bytes>,
    streams: Kept<Arc<[Bytes]>>,
}

#[derive(Default)]
struct Kept<V>(RwLock<HashMap<usize, V>>);

impl Shelf {
    /// A chat completion of exactly `size` bytes, or of the smallest size that is valid.
    pub(crate) fn body(&self, size: usize) -> Bytes {
        self.bodies.get_or_make(size, sized)
    }

    /// A stream of exactly `frames` events, or of the fewest that are valid.
    pub(crate) fn stream(&self, frames: usize) -> Arc<[Bytes]> {
        self.streams.get_or_make(frames, framed)
    }
}

impl<V: Clone> Kept<V> {
    fn get_or_make(&self, key: usize, make: impl Fn(usize) -> V) -> V {
        if let Some(value) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return value.clone();
        }
        let value = make(key);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SHELF_MAX {
            kept.insert(key, value.clone());
        }
        value
    }
}

fn sized(size: usize) -> Bytes {
    let wanted = size.saturating_sub(render(0).len());
    // The counts of tokens grow with the text, so the text gives way by as many digits.
    let over = render(wanted).len().saturating_sub(size);
    let mut body = render(wanted.saturating_sub(over));
    // Fewer tokens may have fewer digits; white space after JSON is JSON.
    body.resize(body.len().max(size), b' ');
    body.into()
}

fn render(text_bytes: usize) -> Vec<u8> {
    let answer = answer(text_bytes);
    reply::chat_body(&id(&answer), MODEL, &answer, false)
}

fn framed(frames: usize) -> Arc<[Bytes]> {
    let chunks = frames.saturating_sub(FRAMES_AROUND).max(1);
    let answer = answer(chunks * 8);
    let wish = Wish { chunks, include_usage: false, logprobs: false };
    stream::chat(&id(&answer), MODEL, &answer, &wish).into()
}

fn id(answer: &Answer) -> String {
    format!("{}{}", reply::CHAT_ID, answer.seed.hex())
}

fn answer(text_bytes: usize) -> Answer {
    let seed = Seed::of(MODEL, std::iter::empty());
    let text = answer::text(seed, "", 0, Some(text_bytes));
    let choices = vec![Choice { content: Content::Text(text), finish: "stop" }];
    Answer { seed, choices, prompt_tokens: 1, cached_tokens: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn bodies_have_the_size_that_was_asked() {
        let shelf = Shelf::default();
        for size in [400, 401, 2048, 4096, 102_400] {
            let body = shelf.body(size);
            assert_eq!(body.len(), size);
            let value: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(value["object"], "chat.completion");
        }
        assert_eq!(shelf.body(1), shelf.body(0));
    }

    #[test]
    fn streams_have_as_many_frames_as_asked() {
        let shelf = Shelf::default();
        assert_eq!(shelf.stream(100).len(), 100);
        assert_eq!(shelf.stream(0).len(), 4);
        assert_eq!(shelf.stream(100).last().unwrap().as_ref(), stream::DONE);
    }
}
