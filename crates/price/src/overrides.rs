//! An operator's own prices, for models that they serve themselves or pay for otherwise than the table says.
//!
//! Overrides stand in an order. Of those that fit a call and are in force, the first is taken, and the table is
//! not asked. Each is either a price for tokens or a price for time on GPUs.

use crate::NoCost;
use crate::decimal::Decimal;
use crate::rates::{Line, Price, Rates};
use crate::table::{REF_MAX_BYTES, short_hash};
use crate::unit::{Unit, Usage};
use crate::when::day;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Most overrides of a set.
pub const OVERRIDES_MAX: usize = 4096;
/// Longest name of an override.
const NAME_MAX_BYTES: usize = 64;
const HOUR_MS: u64 = 3_600_000;

/// An override as an operator writes it. Amounts are decimals in US dollars, moments are dates or RFC 3339.
///
/// Members are declared in the order of their names: serialised, this is canonical JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // Each key is described once, in the configuration reference.
pub struct OverrideSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_usd_per_mtok: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_usd_per_hour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_usd_per_mtok: Option<String>,
    pub model: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_usd_per_mtok: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A set of overrides, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Overrides {
    overrides: Vec<Override>,
    sha256: [u8; 32],
}

/// One override, checked.
#[derive(Debug)]
pub(crate) struct Override {
    pub(crate) name: String,
    /// How an entry names it.
    pub(crate) reference: String,
    pub(crate) charge: Charge,
    model: Pattern,
    provider: Option<String>,
    route: Option<String>,
    from: Option<i64>,
    until: Option<i64>,
}

/// What an override charges for.
#[derive(Debug)]
pub(crate) enum Charge {
    /// Tokens.
    Tokens(Rates),
    /// Time: US dollars an hour for all GPUs that the call had.
    Time(Decimal),
}

/// Why a set of overrides cannot be used: which one, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("price override {name:?}: {what}")]
pub struct BadOverride {
    name: String,
    what: String,
}

impl Overrides {
    /// Checks a set. Its hash is that of the canonical JSON (RFC 8785) of the specs, amounts and moments written
    /// in one form, so that the same prices have the same hash however they were written.
    pub fn new(specs: Vec<OverrideSpec>) -> Result<Self, BadOverride> {
        let mut specs = specs;
        let mut overrides: Vec<Override> = Vec::new();
        for spec in &mut specs {
            let bad = |what: String| BadOverride { name: spec.name.clone(), what };
            let same = overrides.iter().any(|other| other.name == spec.name);
            if same || overrides.len() == OVERRIDES_MAX {
                let what =
                    if same { "the name is taken".to_owned() } else { format!("more than {OVERRIDES_MAX}") };
                return Err(bad(what));
            }
            *spec = normal(spec).map_err(bad)?;
            let bad = |what: String| BadOverride { name: spec.name.clone(), what };
            overrides.push(Override::read(spec).map_err(bad)?);
        }
        let json = serde_json::to_vec(&specs).unwrap_or_default();
        let sha256: [u8; 32] = Sha256::digest(&json).into();
        for one in &mut overrides {
            one.reference = format!("override:{}:{}", one.name, short_hash(&sha256));
            debug_assert!(one.reference.len() <= REF_MAX_BYTES, "a name is short");
        }
        Ok(Self { overrides, sha256 })
    }

    /// SHA-256 of the set.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.overrides.iter().map(|one| one.name.as_str())
    }

    /// Those that fit a call, whenever they are in force.
    pub(crate) fn fitting(
        &self,
        provider: Option<&str>,
        route: Option<&str>,
        models: [Option<&str>; 2],
    ) -> Vec<usize> {
        let models = models.map(|name| name.map(str::to_lowercase));
        let fits = |one: &Override| {
            one.provider.as_deref().is_none_or(|wanted| provider == Some(wanted))
                && one.route.as_deref().is_none_or(|wanted| route == Some(wanted))
                && models.iter().flatten().any(|name| one.model.fits(name))
        };
        (0..self.overrides.len()).filter(|at| fits(&self.overrides[*at])).collect()
    }

    pub(crate) fn at(&self, place: usize) -> &Override {
        &self.overrides[place]
    }
}

impl Override {
    fn read(spec: &OverrideSpec) -> Result<Self, String> {
        let charge = charge(spec)?;
        let moment = |text: &Option<String>| text.as_deref().map(moment).transpose();
        let (from, until) = (moment(&spec.from)?, moment(&spec.until)?);
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            return Err("from is not before until".to_owned());
        }
        Ok(Self {
            name: spec.name.clone(),
            reference: String::new(),
            charge,
            model: Pattern::new(&spec.model),
            provider: spec.provider.clone(),
            route: spec.route.clone(),
            from,
            until,
        })
    }

    /// Whether it holds at a moment, in microseconds since 1970.
    pub(crate) fn in_force(&self, at: i64) -> bool {
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }
}

impl Charge {
    /// What a call costs: by its tokens, or by the milliseconds that it took.
    pub(crate) fn charge(
        &self,
        usage: Option<&Usage>,
        answered_ms: Option<u64>,
        mut each: impl FnMut(Line),
    ) -> Result<Decimal, NoCost> {
        match self {
            Self::Tokens(rates) => rates.charge(usage.ok_or(NoCost::NoUsage)?, each),
            Self::Time(price) => {
                let count = answered_ms.ok_or(NoCost::NoTime)?;
                let amount = price.times(count).and_then(|all| all.per(HOUR_MS)).ok_or(NoCost::Overflow)?;
                each(Line { unit: "latency_ms", count, price: *price, per: HOUR_MS, amount });
                Ok(amount)
            }
        }
    }
}

/// The same override with amounts and moments in the one form that is hashed.
fn normal(spec: &OverrideSpec) -> Result<OverrideSpec, String> {
    let amount = |name: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(Decimal::parse).transpose();
        parsed
            .map(|amount| amount.map(|amount| amount.to_string()))
            .map_err(|error| format!("{name}: {error}"))
    };
    let time = |text: &Option<String>| -> Result<Option<String>, String> {
        let Some(text) = text else { return Ok(None) };
        let stamp = jiff::Timestamp::from_microsecond(moment(text)?).map_err(|error| error.to_string())?;
        Ok(Some(format!("{stamp:.6}")))
    };
    let is_name = |text: &str| {
        (1..=NAME_MAX_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if !is_name(&spec.name) {
        return Err(format!("a name is 1 to {NAME_MAX_BYTES} of A-Z a-z 0-9 . _ -"));
    }
    if spec.model.is_empty() || spec.model.len() > crate::table::NAME_MAX_BYTES {
        return Err("model: a name, with * for any part of it".to_owned());
    }
    Ok(OverrideSpec {
        cached_usd_per_mtok: amount("cached_usd_per_mtok", &spec.cached_usd_per_mtok)?,
        from: time(&spec.from)?,
        gpu_usd_per_hour: amount("gpu_usd_per_hour", &spec.gpu_usd_per_hour)?,
        gpus: amount("gpus", &spec.gpus)?,
        input_usd_per_mtok: amount("input_usd_per_mtok", &spec.input_usd_per_mtok)?,
        output_usd_per_mtok: amount("output_usd_per_mtok", &spec.output_usd_per_mtok)?,
        until: time(&spec.until)?,
        ..spec.clone()
    })
}

fn charge(spec: &OverrideSpec) -> Result<Charge, String> {
    let amount = |text: &Option<String>| {
        text.as_deref().map(Decimal::parse).transpose().map_err(|error| error.to_string())
    };
    let (input, output) = (amount(&spec.input_usd_per_mtok)?, amount(&spec.output_usd_per_mtok)?);
    let cached = amount(&spec.cached_usd_per_mtok)?;
    let (hour, gpus) = (amount(&spec.gpu_usd_per_hour)?, amount(&spec.gpus)?);
    if let Some(hour) = hour {
        if input.or(output).or(cached).is_some() {
            return Err("either prices for tokens or gpu_usd_per_hour, not both".to_owned());
        }
        let price = gpus.map_or(Some(hour), |gpus| hour.times_decimal(gpus));
        return price.map(Charge::Time).ok_or_else(|| "gpu_usd_per_hour times gpus is too large".to_owned());
    }
    if gpus.is_some() {
        return Err("gpus without gpu_usd_per_hour".to_owned());
    }
    let Some(input) = input else {
        return Err(
            "no price: set input_usd_per_mtok (and output_usd_per_mtok), or gpu_usd_per_hour".to_owned()
        );
    };
    let prices = [(Unit::INPUT, Some(input)), (Unit::OUTPUT, output), (Unit::CACHE_READ, cached)];
    let prices = prices.into_iter().filter_map(|(unit, price)| Some((unit, Price::Flat(price?))));
    Ok(Charge::Tokens(Rates::new(prices)))
}

/// A date, meaning its first moment in UTC, or any RFC 3339 moment.
fn moment(text: &str) -> Result<i64, String> {
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) => Ok(moment.as_microsecond()),
        Err(_) => day(text).map_err(|_| format!("{text:?} is neither a date nor an RFC 3339 moment")),
    }
}

/// A name in which `*` stands for any part, the empty one included. Case does not count.
#[derive(Debug)]
struct Pattern {
    /// What stands between the stars.
    parts: Vec<String>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self { parts: text.to_lowercase().split('*').map(str::to_owned).collect() }
    }

    /// Whether it fits the whole of `name`, which is in lower case.
    fn fits(&self, name: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|only| only == name);
        };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            // The earliest place leaves the most for what follows.
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_part_and_nothing_else_is_special() {
        for (pattern, name, fits) in [
            ("llama-3", "llama-3", true),
            ("llama-3", "llama-3-8b", false),
            ("llama-*", "llama-3-8b", true),
            ("llama-*", "llama-", true),
            ("*-8b", "llama-3-8b", true),
            ("*llama*8b*", "meta-llama/llama-3-8b-instruct", true),
            ("*llama*8b*", "meta-llama/llama-3-70b-instruct", false),
            ("a*a", "a", false),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("*", "", true),
            ("**", "x", true),
            ("Qwen/*", "qwen/qwen3", true),
            ("a.c", "abc", false),
            ("a?c", "abc", false),
            ("[ab]", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern} {name}");
        }
    }
}
