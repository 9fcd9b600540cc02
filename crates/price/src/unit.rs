//! What can be counted and priced, and how one count lies within another.
//!
//! Tokens read from a cache are tokens in; audio tokens read from a cache are both audio tokens in and tokens
//! read from a cache. A unit is a set of properties, and lies within every unit whose properties it has: that is
//! all that pricing needs to know to count no token twice. Names, properties and amounts are those of the
//! genai-prices v2 data.

use crate::NoCost;
use std::fmt;
use std::sync::LazyLock;

/// How many units there are; a set of units fits 64 bits.
const UNITS: usize = 59;

/// A unit, by its place in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit(u8);

/// A set of units, one bit each.
pub(crate) type Set = u64;

struct Row {
    name: &'static str,
    price: &'static str,
    per: u64,
    /// Family, direction, modality, token type, lifetime in the cache, kind of tool or page; empty means any.
    is: [&'static str; 6],
}

/// How a unit lies among the others.
struct Links {
    /// Those that lie within it, itself left out.
    within: Set,
    /// Pairs that overlap in exactly this unit.
    overlaps: Vec<Set>,
}

const M: u64 = 1_000_000;

const fn tokens(
    name: &'static str,
    price: &'static str,
    direction: &'static str,
    modality: &'static str,
    kind: &'static str,
    lifetime: &'static str,
) -> Row {
    Row { name, price, per: M, is: ["tokens", direction, modality, kind, lifetime, ""] }
}

#[rustfmt::skip]
static ROWS: [Row; UNITS] = [
    tokens("input_tokens", "input_mtok", "input", "", "", ""),
    tokens("output_tokens", "output_mtok", "output", "", "", ""),
    tokens("cache_read_tokens", "cache_read_mtok", "input", "", "cache_read", ""),
    tokens("cache_write_tokens", "cache_write_mtok", "input", "", "cache_write", ""),
    tokens("cache_write_5m_tokens", "cache_write_5m_mtok", "input", "", "cache_write", "5m"),
    tokens("cache_write_1h_tokens", "cache_write_1h_mtok", "input", "", "cache_write", "1h"),
    tokens("input_text_tokens", "input_text_mtok", "input", "text", "", ""),
    tokens("output_text_tokens", "output_text_mtok", "output", "text", "", ""),
    tokens("cache_text_read_tokens", "cache_text_read_mtok", "input", "text", "cache_read", ""),
    tokens("cache_text_write_tokens", "cache_text_write_mtok", "input", "text", "cache_write", ""),
    tokens("cache_text_write_5m_tokens", "cache_text_write_5m_mtok", "input", "text", "cache_write", "5m"),
    tokens("cache_text_write_1h_tokens", "cache_text_write_1h_mtok", "input", "text", "cache_write", "1h"),
    tokens("input_audio_tokens", "input_audio_mtok", "input", "audio", "", ""),
    tokens("output_audio_tokens", "output_audio_mtok", "output", "audio", "", ""),
    tokens("cache_audio_read_tokens", "cache_audio_read_mtok", "input", "audio", "cache_read", ""),
    tokens("cache_audio_write_tokens", "cache_audio_write_mtok", "input", "audio", "cache_write", ""),
    tokens("cache_audio_write_5m_tokens", "cache_audio_write_5m_mtok", "input", "audio", "cache_write", "5m"),
    tokens("cache_audio_write_1h_tokens", "cache_audio_write_1h_mtok", "input", "audio", "cache_write", "1h"),
    tokens("input_image_tokens", "input_image_mtok", "input", "image", "", ""),
    tokens("output_image_tokens", "output_image_mtok", "output", "image", "", ""),
    tokens("cache_image_read_tokens", "cache_image_read_mtok", "input", "image", "cache_read", ""),
    tokens("cache_image_write_tokens", "cache_image_write_mtok", "input", "image", "cache_write", ""),
    tokens("cache_image_write_5m_tokens", "cache_image_write_5m_mtok", "input", "image", "cache_write", "5m"),
    tokens("cache_image_write_1h_tokens", "cache_image_write_1h_mtok", "input", "image", "cache_write", "1h"),
    tokens("input_video_tokens", "input_video_mtok", "input", "video", "", ""),
    tokens("output_video_tokens", "output_video_mtok", "output", "video", "", ""),
    tokens("cache_video_read_tokens", "cache_video_read_mtok", "input", "video", "cache_read", ""),
    tokens("cache_video_write_tokens", "cache_video_write_mtok", "input", "video", "cache_write", ""),
    tokens("cache_video_write_5m_tokens", "cache_video_write_5m_mtok", "input", "video", "cache_write", "5m"),
    tokens("cache_video_write_1h_tokens", "cache_video_write_1h_mtok", "input", "video", "cache_write", "1h"),
    tokens("input_tool_tokens", "input_tool_mtok", "input", "", "tool", ""),
    tokens("input_text_tool_tokens", "input_text_tool_mtok", "input", "text", "tool", ""),
    tokens("input_audio_tool_tokens", "input_audio_tool_mtok", "input", "audio", "tool", ""),
    tokens("input_image_tool_tokens", "input_image_tool_mtok", "input", "image", "tool", ""),
    tokens("input_video_tool_tokens", "input_video_tool_mtok", "input", "video", "tool", ""),
    tokens("output_reasoning_tokens", "output_reasoning_mtok", "output", "", "reasoning", ""),
    tokens("output_text_reasoning_tokens", "output_text_reasoning_mtok", "output", "text", "reasoning", ""),
    tokens("output_audio_reasoning_tokens", "output_audio_reasoning_mtok", "output", "audio", "reasoning", ""),
    tokens("output_image_reasoning_tokens", "output_image_reasoning_mtok", "output", "image", "reasoning", ""),
    tokens("output_video_reasoning_tokens", "output_video_reasoning_mtok", "output", "video", "reasoning", ""),
    tokens("output_citation_tokens", "output_citation_mtok", "output", "", "citation", ""),
    tokens("output_text_citation_tokens", "output_text_citation_mtok", "output", "text", "citation", ""),
    tokens("output_audio_citation_tokens", "output_audio_citation_mtok", "output", "audio", "citation", ""),
    tokens("output_image_citation_tokens", "output_image_citation_mtok", "output", "image", "citation", ""),
    tokens("output_video_citation_tokens", "output_video_citation_mtok", "output", "video", "citation", ""),
    Row { name: "input_characters", price: "input_mchars", per: M, is: ["characters", "input", "", "", "", ""] },
    Row { name: "input_text_messages", price: "input_text_messages_kcount", per: 1000, is: ["messages", "input", "text", "", "", ""] },
    Row { name: "audio_seconds", price: "audio_hours", per: 3600, is: ["durations", "", "audio", "", "", ""] },
    Row { name: "input_audio_seconds", price: "input_audio_hours", per: 3600, is: ["durations", "input", "audio", "", "", ""] },
    Row { name: "output_audio_seconds", price: "output_audio_hours", per: 3600, is: ["durations", "output", "audio", "", "", ""] },
    Row { name: "input_pixels", price: "input_gpixels", per: 1000 * M, is: ["pixels", "input", "", "", "", ""] },
    Row { name: "input_document_pages", price: "input_document_kpages", per: 1000, is: ["document_pages", "input", "", "", "", ""] },
    Row { name: "input_annotated_document_pages", price: "input_annotated_document_kpages", per: 1000, is: ["document_pages", "input", "", "", "", "annotated"] },
    Row { name: "rerank_searches", price: "rerank_searches_kcount", per: 1000, is: ["rerank", "", "", "", "", ""] },
    Row { name: "web_searches", price: "web_searches_kcount", per: 1000, is: ["tool_calls", "", "", "", "", "web_search"] },
    Row { name: "social_searches", price: "social_searches_kcount", per: 1000, is: ["tool_calls", "", "", "", "", "social_search"] },
    Row { name: "storage_searches", price: "storage_searches_kcount", per: 1000, is: ["tool_calls", "", "", "", "", "storage_search"] },
    Row { name: "code_executions", price: "code_executions_kcount", per: 1000, is: ["tool_calls", "", "", "", "", "code_execution"] },
    Row { name: "requests", price: "requests_kcount", per: 1000, is: ["requests", "", "", "", "", ""] },
];

static LINKS: LazyLock<Vec<Links>> = LazyLock::new(|| Unit::all().map(Links::of).collect());

impl Unit {
    /// Tokens in, of every kind.
    pub const INPUT: Self = Self(0);
    /// Tokens out, of every kind.
    pub const OUTPUT: Self = Self(1);
    /// Of the tokens in, those read from a cache.
    pub const CACHE_READ: Self = Self(2);
    /// Of the tokens out, those spent on reasoning.
    pub const REASONING: Self = Self(35);
    /// The call itself.
    pub const REQUESTS: Self = Self(58);

    /// All of them, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0u8..).take(UNITS).map(Self)
    }

    /// The members of a set, in the order of the table.
    pub(crate) fn all_of(mut set: Set) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let first = u8::try_from(set.trailing_zeros()).ok().filter(|_| set != 0)?;
            set &= set - 1;
            Some(Self(first))
        })
    }

    /// The unit of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|unit| unit.name() == name)
    }

    /// The unit that a price of this name is about.
    pub(crate) fn priced_by(price: &str) -> Option<Self> {
        Self::all().find(|unit| unit.row().price == price)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The name of its price.
    pub fn price(self) -> &'static str {
        self.row().price
    }

    /// Its properties: family, direction, modality, token type, lifetime in the cache, kind of tool or page.
    /// An empty one means any.
    pub fn properties(self) -> [&'static str; 6] {
        self.row().is
    }

    /// How many of it a price is for.
    pub fn per(self) -> u64 {
        self.row().per
    }

    /// How many properties it is described by: one that lies within another has more.
    pub(crate) fn depth(self) -> usize {
        self.row().is.iter().filter(|property| !property.is_empty()).count()
    }

    /// Whether it counts what a model server does beside the model: a fee for it is charged where usage counts
    /// it and the data has a price, and is otherwise no reason to doubt the price of tokens.
    pub(crate) fn is_tool_call(self) -> bool {
        self.row().is[0] == "tool_calls"
    }

    pub(crate) fn bit(self) -> Set {
        1 << self.0
    }

    /// Those that lie within it, itself left out.
    pub(crate) fn within(self) -> Set {
        LINKS[usize::from(self.0)].within
    }

    fn lies_within(self, outer: Self) -> bool {
        self != outer
            && outer.row().is.iter().zip(self.row().is).all(|(want, have)| want.is_empty() || *want == have)
    }

    fn row(self) -> &'static Row {
        &ROWS[usize::from(self.0)]
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Links {
    fn of(unit: Unit) -> Self {
        let within = Unit::all().filter(|inner| inner.lies_within(unit)).map(Unit::bit).sum();
        let outer: Vec<Unit> = Unit::all().filter(|outer| unit.lies_within(*outer)).collect();
        let mut overlaps = Vec::new();
        for (n, one) in outer.iter().enumerate() {
            let others = outer[n + 1..].iter().filter(|other| joined(*one, **other) == unit.row().is);
            overlaps.extend(others.map(|other| one.bit() | other.bit()));
        }
        Self { within, overlaps }
    }
}

/// The properties of what is both.
fn joined(one: Unit, other: Unit) -> [&'static str; 6] {
    let mut both = one.row().is;
    for (mine, theirs) in both.iter_mut().zip(other.row().is) {
        if mine.is_empty() {
            *mine = theirs;
        }
    }
    both
}

/// What a call used: a count for each unit that was reported.
#[derive(Clone, PartialEq, Eq)]
pub struct Usage {
    counts: [u64; UNITS],
    reported: Set,
    positive: Set,
}

impl Default for Usage {
    fn default() -> Self {
        Self { counts: [0; UNITS], reported: 0, positive: 0 }
    }
}

impl Usage {
    /// Sets a count.
    pub fn set(&mut self, unit: Unit, count: u64) {
        self.counts[usize::from(unit.0)] = count;
        self.reported |= unit.bit();
        self.positive &= !unit.bit();
        if count > 0 {
            self.positive |= unit.bit();
        }
    }

    /// Adds to a count; an error when the sum does not fit.
    pub fn add(&mut self, unit: Unit, count: u64) -> Result<(), NoCost> {
        let sum = self.counts[usize::from(unit.0)].checked_add(count).ok_or(NoCost::Overflow)?;
        self.set(unit, sum);
        Ok(())
    }

    /// The count, if it was reported.
    pub fn reported(&self, unit: Unit) -> Option<u64> {
        (self.reported & unit.bit() != 0).then_some(self.counts[usize::from(unit.0)])
    }

    /// Whether nothing was reported.
    pub fn is_empty(&self) -> bool {
        self.reported == 0
    }

    /// What was reported, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        Unit::all_of(self.reported).map(|unit| (unit, self.counts[usize::from(unit.0)]))
    }

    /// What was reported and is more than none.
    pub(crate) fn positive(&self) -> Set {
        self.positive
    }

    /// The count to charge by. What was not reported is none, unless something else that was reported shows
    /// that there must be some: then it is unknown.
    pub(crate) fn count(&self, unit: Unit) -> Result<u64, NoCost> {
        if let Some(count) = self.reported(unit) {
            return Ok(count);
        }
        let links = &LINKS[usize::from(unit.0)];
        let is_unknown = self.positive & links.within != 0
            || links.overlaps.iter().any(|pair| self.positive & pair == *pair);
        if is_unknown { Err(NoCost::NotCounted(unit.name())) } else { Ok(0) }
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
