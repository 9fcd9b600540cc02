//! From a call to its cost.
//!
//! Finding a rule means trying patterns against names; which one it is depends on nothing but provider, route
//! and model, so it is remembered for these, in bounded room. What depends on the moment (dates, times of day)
//! is looked at anew for each call.

use crate::decimal::Decimal;
use crate::overrides::{Charge, Overrides};
use crate::rates::{Line, Rates};
use crate::reading::{self, Reading};
use crate::table::{Applied, Found, NAME_MAX_BYTES, Table};
use crate::unit::{Unit, Usage};
use crate::{NoCost, builtin};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

/// Most combinations of provider, route and model that are remembered; then all are found anew. Clients choose
/// names of models, so there may be any number.
const REMEMBERED_MAX: usize = 1024;

/// The rules that a deployment prices by.
#[derive(Clone, Default)]
pub struct Prices {
    /// An operator's own, which come first.
    pub overrides: Arc<Overrides>,
    /// The table behind them.
    pub table: Source,
    /// Whether a model's name may say who serves it, where the route does not. Off: a model that one serves
    /// oneself often has the name of a model that others sell.
    pub provider_from_model: bool,
}

/// Where the price table comes from.
#[derive(Clone, Default)]
pub enum Source {
    /// This release.
    #[default]
    BuiltIn,
    /// A file that the operator named.
    Given(Arc<Table>),
    /// There is none.
    None,
}

/// A call, as far as its cost depends on it.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    /// Who serves the model, as the route says.
    pub provider: Option<&'a str>,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The model that answered, as the answer says.
    pub model_returned: Option<&'a str>,
    /// The model asked for.
    pub model: Option<&'a str>,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// What was used, if the answer says so.
    pub tokens: Option<Tokens>,
    /// The usage object as the model server sent it.
    pub usage: Option<&'a str>,
    /// Counts that stand before all others: what an entry has in its `detail.usage`.
    pub counts: &'a [(Unit, u64)],
    /// What else prices may depend on: `("service_tier", "flex")`.
    pub context: &'a [(&'a str, &'a str)],
    /// How long it took in milliseconds, if the model server gave an answer.
    pub answered_ms: Option<u64>,
}

/// Counts as an entry has them: cached tokens are among the input, reasoning tokens among the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields of an entry.
pub struct Tokens {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cached: Option<u64>,
    pub reasoning: Option<u64>,
}

/// What a call costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// US dollars.
    pub usd: Decimal,
    /// The rule that says so, as an entry names it.
    pub price_ref: String,
    /// Counts that it rests on beside [`Call::tokens`], or against them, none of them zero unless it is against.
    pub counts: Vec<(&'static str, u64)>,
}

/// A rule, and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule, as an entry names it.
    pub price_ref: String,
    /// The rule in words.
    pub rule: String,
    /// Its prices: what for, and how much for how many.
    pub prices: Vec<(&'static str, String)>,
    /// The arithmetic.
    pub lines: Vec<Line>,
    /// US dollars, or why not.
    pub cost: Result<Decimal, NoCost>,
}

/// Prices calls, and remembers which rules were found.
pub struct Pricer {
    prices: Prices,
    remembered: HashMap<Box<str>, Resolved>,
    key: String,
}

/// Which rules fit a combination of provider, route and model.
struct Resolved {
    overrides: Box<[usize]>,
    table: Result<Found, NoCost>,
}

/// The rule for a call at its moment.
enum Rule<'a> {
    Override(usize),
    Table(&'a Table, Found),
}

impl Prices {
    /// The table, if there is one.
    pub fn table(&self) -> Option<&Table> {
        match &self.table {
            Source::BuiltIn => Some(builtin::table()),
            Source::Given(table) => Some(table),
            Source::None => None,
        }
    }
}

impl fmt::Debug for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match &self.table {
            Source::BuiltIn => "built in",
            Source::Given(table) => table.label(),
            Source::None => "none",
        };
        let overrides = self.overrides.names().count();
        f.debug_struct("Prices").field("table", &table).field("overrides", &overrides).finish_non_exhaustive()
    }
}

impl Tokens {
    fn usage(self) -> Usage {
        let mut usage = Usage::default();
        for (unit, count) in self.counts() {
            if let Some(count) = count {
                usage.set(unit, count);
            }
        }
        usage
    }

    fn counts(self) -> [(Unit, Option<u64>); 4] {
        [
            (Unit::INPUT, self.input),
            (Unit::OUTPUT, self.output),
            (Unit::CACHE_READ, self.cached),
            (Unit::REASONING, self.reasoning),
        ]
    }
}

impl Pricer {
    /// Prices by these rules.
    pub fn new(prices: Prices) -> Self {
        Self { prices, remembered: HashMap::new(), key: String::new() }
    }

    /// What a call costs.
    pub fn price(&mut self, call: &Call<'_>) -> Result<Cost, NoCost> {
        self.remember(call)?;
        let this = &*self;
        match this.rule(call)? {
            Rule::Override(place) => {
                let rule = this.prices.overrides.at(place);
                let usage = call.tokens.map(|tokens| counted(call, tokens, &[]).0);
                let usd = rule.charge.charge(usage.as_ref(), call.answered_ms, |_| {})?;
                Ok(Cost { usd, price_ref: rule.reference.clone(), counts: Vec::new() })
            }
            Rule::Table(table, found) => {
                let tokens = call.tokens.ok_or(NoCost::NoUsage)?;
                let (usage, applied) = read(table, found, call, tokens);
                let usd = applied.rates.charge(&usage, |_| {})?;
                let price_ref = table.reference(found, &applied);
                Ok(Cost { usd, price_ref, counts: beside(&usage, tokens) })
            }
        }
    }

    /// The rule for a call and its arithmetic, step by step, in the order of the units.
    pub fn explain(&mut self, call: &Call<'_>) -> Result<Explained, NoCost> {
        self.remember(call)?;
        let mut explained = self.explained(call)?;
        explained.prices.sort_by_key(|(unit, _)| Unit::named(unit));
        explained.lines.sort_by_key(|line| Unit::named(line.unit));
        Ok(explained)
    }

    fn explained(&self, call: &Call<'_>) -> Result<Explained, NoCost> {
        let mut lines = Vec::new();
        match self.rule(call)? {
            Rule::Override(place) => {
                let rule = self.prices.overrides.at(place);
                let usage = call.tokens.map(|tokens| counted(call, tokens, &[]).0);
                let cost = rule.charge.charge(usage.as_ref(), call.answered_ms, |line| lines.push(line));
                let prices = match &rule.charge {
                    Charge::Tokens(rates) => listed(rates),
                    Charge::Time(price) => vec![("gpu_hours", price.to_string())],
                };
                let rule_in_words = format!("override {}", rule.name);
                Ok(Explained { price_ref: rule.reference.clone(), rule: rule_in_words, prices, lines, cost })
            }
            Rule::Table(table, found) => {
                let (usage, applied) = read(table, found, call, call.tokens.unwrap_or_default());
                let cost = match call.tokens {
                    Some(_) => applied.rates.charge(&usage, |line| lines.push(line)),
                    None => Err(NoCost::NoUsage),
                };
                Ok(Explained {
                    price_ref: table.reference(found, &applied),
                    rule: table.in_words(found, &applied),
                    prices: listed(&applied.rates),
                    lines,
                    cost,
                })
            }
        }
    }

    /// Finds what rules fit, unless that is known already. Leaves the key of the combination behind.
    fn remember(&mut self, call: &Call<'_>) -> Result<(), NoCost> {
        let models = [call.model_returned, call.model].map(|name| name.filter(|name| !name.is_empty()));
        if models == [None, None] {
            return Err(NoCost::NoModel);
        }
        if models.iter().flatten().any(|name| name.len() > NAME_MAX_BYTES) {
            return Err(NoCost::UnknownModel);
        }
        self.key.clear();
        for part in [call.provider, call.route, models[0], models[1]] {
            // With its length, no part can pass for the end of another; an absent one differs from an empty one.
            // Writing to a string does not fail.
            let _ = match part {
                Some(part) => write!(self.key, "{}:{part}", part.len()),
                None => write!(self.key, "-"),
            };
        }
        if !self.remembered.contains_key(self.key.as_str()) {
            if self.remembered.len() >= REMEMBERED_MAX {
                self.remembered.clear();
            }
            let overrides = self.prices.overrides.fitting(call.provider, call.route, models).into();
            let resolved = Resolved { overrides, table: self.find(call.provider, models) };
            self.remembered.insert(self.key.as_str().into(), resolved);
        }
        Ok(())
    }

    /// The table's rule: for the model that answered, or else for the one that was asked for.
    fn find(&self, provider: Option<&str>, models: [Option<&str>; 2]) -> Result<Found, NoCost> {
        if provider.is_none() && !self.prices.provider_from_model {
            return Err(NoCost::NoProvider);
        }
        let table = self.prices.table().ok_or(NoCost::UnknownModel)?;
        let mut outcome = Err(NoCost::NoModel);
        for model in models.into_iter().flatten() {
            outcome = table.find(provider, model);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn rule(&self, call: &Call<'_>) -> Result<Rule<'_>, NoCost> {
        let resolved = self.remembered.get(self.key.as_str()).ok_or(NoCost::UnknownModel)?;
        let in_force = |place: &&usize| self.prices.overrides.at(**place).in_force(call.at);
        if let Some(place) = resolved.overrides.iter().find(in_force) {
            return Ok(Rule::Override(*place));
        }
        let found = resolved.table?;
        Ok(Rule::Table(self.prices.table().ok_or(NoCost::UnknownModel)?, found))
    }
}

/// What was used, and the prices for that kind of call at that moment.
fn read<'a>(table: &'a Table, found: Found, call: &Call<'_>, tokens: Tokens) -> (Usage, Applied<'a>) {
    let (usage, object) = counted(call, tokens, &table.provider_at(found).readings);
    // Some servers say there how they served the call, which counts for more than what was asked for.
    let said = |name: &str| object.as_ref().and_then(|object| object.get(name)?.as_str());
    let mut context: Vec<(&str, &str)> = Vec::new();
    for name in ["service_tier", "speed"] {
        let asked = call.context.iter().find(|(asked, _)| *asked == name).map(|(_, value)| *value);
        context.extend(said(name).or(asked).map(|value| (name, value)));
    }
    context.extend(call.context.iter().filter(|(name, _)| !["service_tier", "speed"].contains(name)));
    // Who serves another's model has tiers of its own: the owner's do not apply there.
    if !found.is_own() {
        context.clear();
    }
    (usage, table.model_at(found).applied(call.at, &context))
}

/// What was used, and the usage object. Where that can be read as the provider writes it, its counts stand before
/// those of the entry.
fn counted(call: &Call<'_>, tokens: Tokens, readings: &[Reading]) -> (Usage, Option<Value>) {
    let mut usage = tokens.usage();
    let object = call.usage.filter(|_| !readings.is_empty()).and_then(reading::parse);
    if let Some(found) = object.as_ref().and_then(|object| reading::read(readings, object)) {
        found.iter().for_each(|(unit, count)| usage.set(unit, count));
    }
    call.counts.iter().for_each(|(unit, count)| usage.set(*unit, *count));
    (usage, object)
}

/// What a cost rests on beside an entry's own fields.
fn beside(usage: &Usage, tokens: Tokens) -> Vec<(&'static str, u64)> {
    let field = |unit| tokens.counts().iter().find(|(known, _)| *known == unit).and_then(|(_, count)| *count);
    let differs = |(unit, count): &(Unit, u64)| *count != field(*unit).unwrap_or(0);
    usage.iter().filter(differs).map(|(unit, count)| (unit.name(), count)).collect()
}

fn listed(rates: &Rates) -> Vec<(&'static str, String)> {
    rates.iter().map(|(unit, price)| (unit.name(), price.in_words(unit.per()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 14: clients choose the names of models, and must not choose how much memory this takes.
    #[test]
    fn what_is_remembered_is_bounded() {
        let mut pricer = Pricer::new(Prices::default());
        for number in 0..3 * REMEMBERED_MAX {
            let model = format!("made-up-{number}");
            let call = Call { provider: Some("openai"), model: Some(&model), ..Call::default() };
            assert_eq!(pricer.price(&call), Err(NoCost::UnknownModel));
            assert!(pricer.remembered.len() <= REMEMBERED_MAX);
        }
        let long = "x".repeat(NAME_MAX_BYTES + 1);
        let call = Call { provider: Some("openai"), model: Some(&long), ..Call::default() };
        let before = pricer.remembered.len();
        assert_eq!(pricer.price(&call), Err(NoCost::UnknownModel));
        assert_eq!(pricer.remembered.len(), before);
    }

    /// What is remembered for one combination is not taken for another, however their parts are cut.
    #[test]
    fn combinations_are_told_apart() {
        let mut pricer = Pricer::new(Prices::default());
        let mut keys = std::collections::BTreeSet::new();
        for (provider, route, model) in [
            (None, None, "ab"),
            (Some(""), None, "ab"),
            (None, Some(""), "ab"),
            (Some("a"), None, "b"),
            (None, Some("a"), "b"),
        ] {
            for call in [
                Call { provider, route, model: Some(model), ..Call::default() },
                Call { provider, route, model_returned: Some(model), ..Call::default() },
            ] {
                pricer.remember(&call).unwrap();
                assert!(keys.insert(pricer.key.clone()), "{call:?}");
            }
        }
        assert_eq!(pricer.remember(&Call { model: Some(""), ..Call::default() }), Err(NoCost::NoModel));
    }
}
