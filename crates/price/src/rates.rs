//! A set of prices, and what a call costs by it.
//!
//! Each price is for one unit. Counts lie within one another (tokens read from a cache are tokens in), so each
//! price is charged for what no narrower price covers: the uncached tokens are those in, less those read from
//! the cache. That leaves every token charged once. A count that no price covers, or counts that contradict
//! each other, give no cost rather than a wrong one.

use crate::NoCost;
use crate::decimal::Decimal;
use crate::unit::{Set, Unit, Usage};

/// What one of a unit costs, in US dollars for [`Unit::per`] of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Price {
    /// Always the same.
    Flat(Decimal),
    /// By the number of tokens in: the last step whose start they exceed, for all of them.
    Stepped {
        /// Below every step.
        base: Decimal,
        /// Starts, ascending, and the price beyond each.
        steps: Vec<(u64, Decimal)>,
    },
}

/// One line of the arithmetic behind a cost: `count × price ÷ per = amount`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What was counted.
    pub unit: &'static str,
    /// How many: what no other line covers.
    pub count: u64,
    /// US dollars for `per` of them.
    pub price: Decimal,
    /// How many the price is for.
    pub per: u64,
    /// US dollars.
    pub amount: Decimal,
}

/// Prices that hold together, narrowest unit first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    rates: Vec<Rate>,
    priced: Set,
    /// What has a price, and all that lies within.
    covered: Set,
    stepped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rate {
    unit: Unit,
    price: Price,
}

impl Price {
    /// `2.5 per 1000000`, and its steps.
    pub(crate) fn in_words(&self, per: u64) -> String {
        match self {
            Self::Flat(price) => format!("{price} per {per}"),
            Self::Stepped { base, steps } => {
                let steps = steps.iter().map(|(start, price)| format!("{price} beyond {start} tokens in"));
                format!("{base} per {per}; {}", steps.collect::<Vec<_>>().join("; "))
            }
        }
    }

    fn at(&self, context: u64) -> Decimal {
        match self {
            Self::Flat(price) => *price,
            Self::Stepped { base, steps } => {
                steps.iter().rev().find(|(start, _)| context > *start).map_or(*base, |(_, price)| *price)
            }
        }
    }
}

impl Rates {
    /// From prices by unit; of two for one unit the first counts.
    pub fn new(prices: impl IntoIterator<Item = (Unit, Price)>) -> Self {
        let mut this = Self::default();
        for (unit, price) in prices {
            if this.priced & unit.bit() == 0 {
                this.priced |= unit.bit();
                this.covered |= unit.bit() | unit.within();
                this.stepped |= matches!(price, Price::Stepped { .. });
                this.rates.push(Rate { unit, price });
            }
        }
        this.rates.sort_by_key(|rate| (std::cmp::Reverse(rate.unit.depth()), rate.unit.name()));
        this
    }

    /// Whether there is no price at all.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    /// The prices, narrowest unit first.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, &Price)> {
        self.rates.iter().map(|rate| (rate.unit, &rate.price))
    }

    /// All of them in one line, in the order of the units: `input_tokens 2.5 per 1000000, …`.
    pub fn in_words(&self) -> String {
        let mut rates: Vec<&Rate> = self.rates.iter().collect();
        rates.sort_by_key(|rate| rate.unit);
        let each = rates
            .iter()
            .map(|Rate { unit, price }| format!("{} {}", unit.name(), price.in_words(unit.per())));
        each.collect::<Vec<_>>().join(", ")
    }

    /// What a call costs; `each` is shown every line that is more than nothing.
    pub fn charge(&self, usage: &Usage, mut each: impl FnMut(Line)) -> Result<Decimal, NoCost> {
        if self.is_empty() {
            return Err(NoCost::NotPriced);
        }
        self.covers(usage)?;
        // Only a stepped price depends on it; without one it may be unknown.
        let context = if self.stepped { usage.count(Unit::INPUT)? } else { 0 };
        let mut total = Decimal::ZERO;
        let mut charged = Usage::default();
        for Rate { unit, price } in &self.rates {
            let count = match *unit {
                Unit::REQUESTS => 1,
                unit => self.remainder(unit, usage.count(unit)?, &charged)?,
            };
            charged.set(*unit, count);
            if count == 0 {
                continue;
            }
            let (price, per) = (price.at(context), unit.per());
            let amount = price.times(count).and_then(|product| product.per(per)).ok_or(NoCost::Overflow)?;
            total = total.plus(amount).ok_or(NoCost::Overflow)?;
            each(Line { unit: unit.name(), count, price, per, amount });
        }
        Ok(total)
    }

    /// Every count that was reported lies within something that has a price.
    fn covers(&self, usage: &Usage) -> Result<(), NoCost> {
        let bare = usage.positive() & !self.covered;
        if bare == 0 {
            return Ok(());
        }
        let unit = Unit::all_of(bare).find(|unit| !unit.is_tool_call());
        unit.map_or(Ok(()), |unit| Err(NoCost::NotCovered(unit.name())))
    }

    /// Of a count, what the narrower ones leave, which were charged before it.
    fn remainder(&self, unit: Unit, count: u64, charged: &Usage) -> Result<u64, NoCost> {
        let narrower = Unit::all_of(self.priced & unit.within());
        narrower
            .filter_map(|inner| charged.reported(inner))
            .try_fold(count, u64::checked_sub)
            .ok_or(NoCost::Contradiction(unit.name()))
    }
}
