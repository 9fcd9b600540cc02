//! Token counts, brought under one meaning.
//!
//! OpenTelemetry's: input tokens include those read from a cache and those written to one, output tokens
//! include those spent on reasoning (GenAI conventions, `gen_ai.usage.input_tokens` and
//! `gen_ai.usage.reasoning.output_tokens`). OpenAI counts so; Anthropic counts cached tokens beside its input
//! tokens, Gemini thoughts beside its output. What was said stays as it was said, in the usage object.

use super::value;
use indelible_record::canonical::INTEGER_MAX;
use indelible_record::event::Answer;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What a count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tokens {
    /// Tokens in.
    Input,
    /// Tokens in that [`Tokens::Input`] leaves out.
    InputBeside,
    /// Of the tokens in, those read from a cache.
    CacheRead,
    /// Those read from a cache, which [`Tokens::Input`] leaves out.
    CacheReadBeside,
    /// Of the tokens in, those written to a cache.
    CacheWrite,
    /// Those written to a cache, which [`Tokens::Input`] leaves out.
    CacheWriteBeside,
    /// Tokens out.
    Output,
    /// Of the tokens out, those spent on reasoning.
    Reasoning,
    /// Those spent on reasoning, which [`Tokens::Output`] leaves out.
    ReasoningBeside,
}

const KINDS: usize = Tokens::ReasoningBeside as usize + 1;

/// What an answer says of its usage so far.
#[derive(Default)]
pub(super) struct Usage {
    counts: [Option<u64>; KINDS],
    /// The usage objects: of the event at the start that has what later ones leave out, and the last one.
    raw: [Option<String>; 2],
}

impl Usage {
    /// A count, as it stood. One that no entry can hold is left to the payload.
    pub(super) fn count(&mut self, which: Tokens, raw: &[u8]) {
        let field = &mut self.counts[which as usize];
        *field = value::count(raw).or(*field);
    }

    /// The usage object of the first event, as it stood.
    pub(super) fn first(&mut self, raw: &[u8]) {
        keep(&mut self.raw[0], raw);
    }

    /// The last usage object so far, as it stood.
    pub(super) fn last(&mut self, raw: &[u8]) {
        keep(&mut self.raw[1], raw);
    }

    /// Puts the counts into the answer; gives the usage object as it was sent.
    pub(super) fn finish(self, answer: &mut Answer) -> Option<String> {
        let said = |which: Tokens| self.counts[which as usize];
        let sum = |kinds: &[Tokens]| {
            // Each is at most 2^53, so that their sum is none that wraps.
            kinds
                .iter()
                .filter_map(|kind| said(*kind))
                .reduce(|sum, count| sum + count)
                .filter(|sum| *sum <= INTEGER_MAX)
        };
        use Tokens as T;
        answer.prompt_tokens = sum(&[T::Input, T::InputBeside, T::CacheReadBeside, T::CacheWriteBeside]);
        answer.completion_tokens = sum(&[T::Output, T::ReasoningBeside]);
        answer.cached_tokens = said(T::CacheRead).or(said(T::CacheReadBeside));
        answer.cache_creation_tokens = said(T::CacheWrite).or(said(T::CacheWriteBeside));
        answer.reasoning_tokens = said(T::Reasoning).or(said(T::ReasoningBeside));
        match self.raw {
            [Some(first), Some(last)] => Some(together(&first, last)),
            [first, last] => first.or(last),
        }
    }
}

/// The members of both, each as it was sent; of those that both have, the last.
fn together(first: &str, last: String) -> String {
    let members = |text: &str| serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text).ok();
    let (Some(mut all), Some(more)) = (members(first), members(&last)) else { return last };
    all.extend(more.into_iter().filter(|(_, value)| value.get() != "null"));
    serde_json::to_string(&all).unwrap_or(last)
}

/// Takes an object over; anything else says nothing.
fn keep(field: &mut Option<String>, raw: &[u8]) {
    if raw.starts_with(b"{") {
        let text = field.get_or_insert_default();
        text.clear();
        text.push_str(&String::from_utf8_lossy(raw));
    }
}
