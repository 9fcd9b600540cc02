//! The price table: which provider has which model at which price, from when.
//!
//! It is read from a file in the shape of the genai-prices v2 data: a list of providers, each with its models in
//! the order in which they are tried. Members that pricing does not need are passed over; a price or a clause
//! that this program does not know is an error that names its place, since leaving it out would make a wrong
//! price of a right one.

use crate::NoCost;
use crate::decimal::Decimal;
use crate::matching::{Clause, RawClause};
use crate::rates::{Price, Rates};
use crate::reading::{RawReading, Reading};
use crate::unit::Unit;
use crate::when::{RawWhen, When};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A longer name is no model's.
pub(crate) const NAME_MAX_BYTES: usize = 256;
/// Longest reference to a rule, as an entry may hold it.
pub(crate) const REF_MAX_BYTES: usize = 128;

/// Why a file is no price table: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a price table: {0}")]
pub struct BadTable(String);

/// Prices of many providers.
pub struct Table {
    label: String,
    sha256: [u8; 32],
    providers: Vec<Provider>,
}

pub(crate) struct Provider {
    pub(crate) id: String,
    model_match: Option<Clause>,
    provider_match: Option<Clause>,
    fallbacks: Vec<usize>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) models: Vec<Model>,
}

pub(crate) struct Model {
    pub(crate) id: String,
    fits: Clause,
    prices: Vec<Dated>,
    variants: Vec<Variant>,
}

struct Dated {
    when: When,
    rates: Rates,
}

/// Prices that replace others for calls of one kind.
struct Variant {
    kind: BTreeMap<String, String>,
    when: When,
    prices: Vec<(Unit, Price)>,
}

/// A model of the table, and whose readings of usage apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub(crate) served_by: usize,
    pub(crate) owner: usize,
    pub(crate) model: usize,
}

impl Found {
    /// Whether the provider that serves the model is the one whose prices these are.
    pub(crate) fn is_own(self) -> bool {
        self.served_by == self.owner
    }
}

/// The prices of a model at a moment.
pub(crate) struct Applied<'a> {
    pub(crate) rates: Cow<'a, Rates>,
    when: &'a When,
    /// What kind of call they are for, where it is not the usual one: `service_tier.flex`.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RawProvider {
    id: String,
    model_match: Option<RawClause>,
    provider_match: Option<RawClause>,
    #[serde(default)]
    fallback_model_providers: Option<Vec<String>>,
    #[serde(default)]
    extractors: Option<Vec<RawReading>>,
    #[serde(default)]
    models: Vec<RawModel>,
}

#[derive(Deserialize)]
struct RawModel {
    id: String,
    r#match: RawClause,
    prices: Box<RawValue>,
    #[serde(default)]
    price_variants: Option<Vec<RawVariant>>,
}

#[derive(Deserialize)]
struct RawDated {
    constraint: Option<RawWhen>,
    prices: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct RawVariant {
    when: BTreeMap<String, String>,
    constraint: Option<RawWhen>,
    prices: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct RawStepped {
    base: Box<RawValue>,
    tiers: Vec<RawStep>,
}

#[derive(Deserialize)]
struct RawStep {
    start: u64,
    price: Box<RawValue>,
}

impl Table {
    /// Reads a table. `name` and the file's SHA-256 stand at the beginning of every reference to its rules.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, BadTable> {
        let raw: Vec<RawProvider> =
            serde_json::from_slice(bytes).map_err(|error| BadTable(error.to_string()))?;
        let ids: Vec<String> = raw.iter().map(|provider| provider.id.clone()).collect();
        let providers =
            raw.into_iter().map(|provider| Provider::read(provider, &ids)).collect::<Result<_, _>>()?;
        let sha256: [u8; 32] = Sha256::digest(bytes).into();
        let table = Self { label: format!("{name}:{}", short_hash(&sha256)), sha256, providers };
        table.check_references()?;
        Ok(table)
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.label.rsplit_once(':').map_or("", |(name, _)| name)
    }

    /// What every reference to its rules begins with: its name, and its hash in short.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Ids of providers, and how many models of each it knows.
    pub fn providers(&self) -> impl Iterator<Item = (&str, usize)> {
        self.providers.iter().map(|provider| (provider.id.as_str(), provider.models.len()))
    }

    /// The models of a provider, and the prices of each at a moment, in microseconds since 1970.
    pub fn models(&self, provider: &str, at: i64) -> Option<impl Iterator<Item = (&str, &Rates)>> {
        let provider = self.providers.get(self.provider(provider)?)?;
        Some(provider.models.iter().map(move |model| (model.id.as_str(), &model.dated(at).rates)))
    }

    /// The model that a name means at a provider, or at whichever provider the name points to.
    pub fn find(&self, provider: Option<&str>, model: &str) -> Result<Found, NoCost> {
        if model.len() > NAME_MAX_BYTES {
            return Err(NoCost::UnknownModel);
        }
        let name = model.to_lowercase();
        let (served_by, name) = match provider {
            Some(provider) => self.served_by(provider, &name).ok_or(NoCost::UnknownProvider)?,
            None => (self.provider_of_model(&name).ok_or(NoCost::UnknownProvider)?, name.as_str()),
        };
        let found = self.find_at(served_by, name);
        // Some routers write the date of a model's name together.
        let found = found.or_else(|| self.find_at(served_by, &spread_date(name)?));
        let (owner, model) = found.ok_or(NoCost::UnknownModel)?;
        Ok(Found { served_by, owner, model })
    }

    pub(crate) fn provider_at(&self, found: Found) -> &Provider {
        &self.providers[found.served_by]
    }

    pub(crate) fn model_at(&self, found: Found) -> &Model {
        &self.providers[found.owner].models[found.model]
    }

    /// How an entry names a rule of this table: see `docs/formats/prices.md`.
    pub(crate) fn reference(&self, found: Found, applied: &Applied<'_>) -> String {
        let owner = &self.providers[found.owner];
        let (model, when) = (&owner.models[found.model].id, applied.when.label());
        reference(&self.label, &owner.id, model, when, applied.kind.as_deref())
    }

    pub(crate) fn in_words(&self, found: Found, applied: &Applied<'_>) -> String {
        let owner = &self.providers[found.owner];
        let mut text = format!("{} {}/{}", self.name(), owner.id, owner.models[found.model].id);
        text.push_str(&applied.when.in_words());
        if let Some(kind) = &applied.kind {
            text.push_str(&format!(", {kind}"));
        }
        text
    }

    /// The provider, and the model's name there: LiteLLM writes both into the name.
    fn served_by<'a>(&self, provider: &str, name: &'a str) -> Option<(usize, &'a str)> {
        if provider.eq_ignore_ascii_case("litellm") {
            let within = name.split_once('/').and_then(|(id, rest)| Some((self.provider(id)?, rest)));
            let known = || self.provider(provider).or_else(|| self.provider_of_model(name));
            return within.or_else(|| Some((known()?, name)));
        }
        Some((self.provider(provider)?, name))
    }

    fn provider(&self, id: &str) -> Option<usize> {
        let id = id.trim().to_lowercase();
        let by_id = self.providers.iter().position(|provider| provider.id == id);
        by_id.or_else(|| self.providers.iter().position(|one| fits(one.provider_match.as_ref(), &id)))
    }

    fn provider_of_model(&self, name: &str) -> Option<usize> {
        self.providers.iter().position(|provider| fits(provider.model_match.as_ref(), name))
    }

    /// A provider's own models come first, then those of providers whose models it serves as well.
    fn find_at(&self, served_by: usize, name: &str) -> Option<(usize, usize)> {
        let own = std::iter::once(served_by);
        own.chain(self.providers[served_by].fallbacks.iter().copied()).find_map(|provider| {
            let models = &self.providers[provider].models;
            Some((provider, models.iter().position(|model| model.fits.fits(name))?))
        })
    }

    /// The names of all rules for usual calls: one for each set of prices of each model.
    pub fn references(&self) -> impl Iterator<Item = String> {
        self.providers.iter().flat_map(|provider| {
            provider.models.iter().flat_map(|model| {
                let whens = model.prices.iter().map(|dated| dated.when.label());
                whens.map(|when| reference(&self.label, &provider.id, &model.id, when, None))
            })
        })
    }

    /// A reference fits into an entry, and names one rule.
    fn check_references(&self) -> Result<(), BadTable> {
        for provider in &self.providers {
            for model in &provider.models {
                let (when, kind) = model.longest_labels();
                let text = reference(&self.label, &provider.id, &model.id, when, kind.as_deref());
                if text.len() > REF_MAX_BYTES {
                    let (bytes, provider, model) = (text.len(), &provider.id, &model.id);
                    let what = format!("a reference to it has {bytes} bytes, more than {REF_MAX_BYTES}");
                    return Err(BadTable(format!("provider {provider}, model {model}: {what}")));
                }
            }
        }
        let mut seen = BTreeSet::new();
        match self.references().find(|name| !seen.insert(name.clone())) {
            Some(twice) => Err(BadTable(format!("two rules would be named {twice}"))),
            None => Ok(()),
        }
    }
}

impl Provider {
    fn read(raw: RawProvider, ids: &[String]) -> Result<Self, BadTable> {
        let bad = |what: String| BadTable(format!("provider {}: {what}", raw.id));
        let clause = |raw: Option<RawClause>| raw.map(Clause::compile).transpose().map_err(bad);
        let (model_match, provider_match) = (clause(raw.model_match)?, clause(raw.provider_match)?);
        let mut fallbacks = Vec::new();
        for id in raw.fallback_model_providers.unwrap_or_default() {
            let place = ids.iter().position(|known| *known == id);
            fallbacks.push(place.ok_or_else(|| bad(format!("there is no provider {id:?} to fall back to")))?);
        }
        let mut readings = Vec::new();
        for reading in raw.extractors.unwrap_or_default() {
            readings.extend(Reading::compile(reading).map_err(bad)?);
        }
        let mut models = Vec::with_capacity(raw.models.len());
        for model in raw.models {
            let place = format!("model {}: ", model.id);
            models.push(Model::read(model).map_err(|what| bad(place + &what))?);
        }
        Ok(Self { id: raw.id, model_match, provider_match, fallbacks, readings, models })
    }
}

impl Model {
    fn read(raw: RawModel) -> Result<Self, String> {
        let text = raw.prices.get();
        let dated: Vec<RawDated> = if text.starts_with('[') {
            serde_json::from_str(text).map_err(|error| format!("prices: {error}"))?
        } else {
            let prices = serde_json::from_str(text).map_err(|error| format!("prices: {error}"))?;
            vec![RawDated { constraint: None, prices }]
        };
        let mut prices = Vec::new();
        for RawDated { constraint, prices: by_name } in dated {
            let rates = Rates::new(prices_of(by_name)?);
            prices.push(Dated { when: When::read(constraint.as_ref())?, rates });
        }
        if prices.is_empty() {
            return Err("an empty list of prices".to_owned());
        }
        let mut variants = Vec::new();
        for variant in raw.price_variants.unwrap_or_default() {
            if variant.when.is_empty() {
                return Err("a price variant that says nothing of when".to_owned());
            }
            let when = When::read(variant.constraint.as_ref())?;
            variants.push(Variant { kind: variant.when, when, prices: prices_of(variant.prices)? });
        }
        Ok(Self { id: raw.id, fits: Clause::compile(raw.r#match)?, prices, variants })
    }

    /// The prices at a moment for a call of a kind: of the model's prices the last that holds, or else the
    /// first; then, price by price, those of the first variant that fits the call.
    pub(crate) fn applied(&self, at: i64, context: &[(&str, &str)]) -> Applied<'_> {
        let dated = self.dated(at);
        let fitting = |variant: &&Variant| {
            variant.when.holds(at) && !variant.prices.is_empty() && variant.fits(context)
        };
        let variants: Vec<&Variant> = match context.is_empty() {
            true => Vec::new(),
            false => self.variants.iter().filter(fitting).collect(),
        };
        let when = &dated.when;
        if variants.is_empty() {
            return Applied { rates: Cow::Borrowed(&dated.rates), when, kind: None };
        }
        let replaced = variants.iter().flat_map(|variant| variant.prices.iter().cloned());
        let usual = dated.rates.iter().map(|(unit, price)| (unit, price.clone()));
        let rates = Rates::new(replaced.chain(usual));
        let kinds: BTreeSet<String> = variants.iter().map(|variant| variant.label()).collect();
        let kind = kinds.into_iter().collect::<Vec<_>>().join("/");
        Applied { rates: Cow::Owned(rates), when, kind: Some(kind) }
    }

    fn dated(&self, at: i64) -> &Dated {
        // A model has at least one set of prices.
        self.prices.iter().rev().find(|dated| dated.when.holds(at)).unwrap_or(&self.prices[0])
    }

    /// The longest that a rule's name may say of when and of what kind. Variants that tell calls apart by the
    /// same properties exclude each other; others may hold at once.
    fn longest_labels(&self) -> (&str, Option<String>) {
        let when = self.prices.iter().map(|dated| dated.when.label()).max_by_key(|label| label.len());
        let mut kinds: BTreeMap<Vec<&String>, String> = BTreeMap::new();
        for variant in &self.variants {
            let longest = kinds.entry(variant.kind.keys().collect()).or_default();
            let label = variant.label();
            if label.len() > longest.len() {
                *longest = label;
            }
        }
        let kind = kinds.into_values().collect::<Vec<_>>().join("/");
        (when.unwrap_or_default(), (!kind.is_empty()).then_some(kind))
    }
}

impl Variant {
    fn fits(&self, context: &[(&str, &str)]) -> bool {
        self.kind.iter().all(|(name, value)| context.contains(&(name.as_str(), value.as_str())))
    }

    fn label(&self) -> String {
        let parts: Vec<String> = self.kind.iter().map(|(name, value)| format!("{name}.{value}")).collect();
        parts.join("/")
    }
}

fn fits(clause: Option<&Clause>, name: &str) -> bool {
    clause.is_some_and(|clause| clause.fits(name))
}

fn prices_of(by_name: BTreeMap<String, Box<RawValue>>) -> Result<Vec<(Unit, Price)>, String> {
    let mut prices = Vec::new();
    for (name, raw) in by_name {
        let unit = Unit::priced_by(&name).ok_or_else(|| format!("{name:?} is not a price that is known"))?;
        let price = price_of(raw.get()).map_err(|what| format!("{name}: {what}"))?;
        prices.extend(price.map(|price| (unit, price)));
    }
    Ok(prices)
}

fn price_of(text: &str) -> Result<Option<Price>, String> {
    let number = |text: &str| Decimal::parse(text).map_err(|error| format!("{text}: {error}"));
    if text == "null" {
        return Ok(None);
    }
    if !text.starts_with('{') {
        return Ok(Some(Price::Flat(number(text)?)));
    }
    let raw: RawStepped = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut steps = Vec::new();
    for step in &raw.tiers {
        steps.push((step.start, number(step.price.get())?));
    }
    steps.sort_by_key(|(start, _)| *start);
    Ok(Some(Price::Stepped { base: number(raw.base.get())?, steps }))
}

fn reference(label: &str, provider: &str, model: &str, when: &str, kind: Option<&str>) -> String {
    let mut text = String::with_capacity(REF_MAX_BYTES);
    text.push_str(label);
    text.push(':');
    // What an entry's string may not hold is written `_`.
    let clear = |c: char| if c.is_ascii_alphanumeric() || "._:/-".contains(c) { c } else { '_' };
    text.extend(provider.chars().chain(['/']).chain(model.chars()).map(clear));
    text.push(':');
    text.push_str(when);
    if let Some(kind) = kind {
        text.push(':');
        text.extend(kind.chars().map(clear));
    }
    text
}

/// The first 16 hex digits of a hash: enough that nobody finds other prices with the same ones.
pub(crate) fn short_hash(hash: &[u8; 32]) -> String {
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `gpt-5.2-20251211` as `gpt-5.2-2025-12-11`, wherever such a date ends a part of a name. `None`: nothing to do.
fn spread_date(name: &str) -> Option<String> {
    let mut spread = String::with_capacity(name.len() + 2);
    let mut rest = name;
    while let Some(at) = rest.find('-') {
        let (before, after) = rest.split_at(at + 1);
        spread.push_str(before);
        rest = after;
        if let Some(date) = compact_date(rest) {
            spread.push_str(&date);
            rest = &rest[8..];
        }
    }
    spread.push_str(rest);
    (spread != name).then_some(spread)
}

fn compact_date(text: &str) -> Option<String> {
    let digits = text.get(..8).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let ends = matches!(text.as_bytes().get(8), None | Some(b'-' | b':'));
    let date = format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]);
    (ends && digits.starts_with("20") && date.parse::<jiff::civil::Date>().is_ok()).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_written_together_are_spread_where_a_part_of_a_name_ends() {
        for (name, spread) in [
            ("gpt-5.2-20251211", Some("gpt-5.2-2025-12-11")),
            ("gpt-5.2-20251211-high:free", Some("gpt-5.2-2025-12-11-high:free")),
            ("a-20240229:x-20230101", Some("a-2024-02-29:x-2023-01-01")),
            ("a-20230229", None),
            ("a-20251311", None),
            ("a-19991211", None),
            ("a-202512110", None),
            ("a-20251211x", None),
            ("20251211", None),
            ("a-2025-12-11", None),
            ("-", None),
            ("a-ääää", None),
        ] {
            assert_eq!(spread_date(name).as_deref(), spread, "{name}");
        }
    }
}
