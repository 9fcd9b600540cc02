//! What a call costs, as an exact decimal, and the rule that says so.
//!
//! Two kinds of rule: the price table that travels with the release (the genai-prices v2 data, dated, in
//! [`builtin`]), and an operator's overrides for models that they serve themselves. An override beats the table.
//! A call that no rule fits has no cost: absent, never guessed. `docs/formats/prices.md` is the contract.
//!
//! * [`pricer`]: from a call to its cost, or to why it has none
//! * [`overrides`]: an operator's own prices
//! * [`table`], [`matching`], [`reading`]: the data: who has which price from when, and what usage objects mean
//! * [`rates`], [`unit`]: what is counted, and charging each count once
//! * [`decimal`]: the arithmetic
//!
//! No I/O, no clock: a caller hands in the moment, and the data if it is not the release's own.

#![forbid(unsafe_code)]

pub mod builtin;
pub mod decimal;
pub mod matching;
pub mod overrides;
pub mod pricer;
pub mod rates;
pub mod reading;
pub mod table;
pub mod unit;

mod when;

pub use decimal::Decimal;
pub use overrides::{OverrideSpec, Overrides};
pub use pricer::{Call, Cost, Pricer, Prices};
pub use rates::Line;
pub use table::{BadTable, Table};
pub use unit::{Unit, Usage};

/// Why a call has no cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCost {
    /// The answer does not say what was used, or broke off before it did.
    #[error("the answer does not say what was used")]
    NoUsage,
    /// Nobody said which model.
    #[error("the call names no model")]
    NoModel,
    /// The route does not say who serves the model, and no override fits.
    #[error("no override fits, and the route names no provider")]
    NoProvider,
    /// The table does not know the provider.
    #[error("no override fits, and the price table does not know the provider")]
    UnknownProvider,
    /// The table does not know the model.
    #[error("no override fits, and the price table does not know the model at this provider")]
    UnknownModel,
    /// The rule that fits has no price.
    #[error("the price table knows the model, but no price of it")]
    NotPriced,
    /// Something was used that the rule has no price for.
    #[error("{0} were counted, but the rule has no price for them")]
    NotCovered(&'static str),
    /// A price is for something that must have been used, but was not counted.
    #[error("{0} have a price and were used, but not counted")]
    NotCounted(&'static str),
    /// A part is larger than the whole.
    #[error("the parts of {0} add up to more than there are")]
    Contradiction(&'static str),
    /// The rule is a price for time, and the call took no time that can be charged.
    #[error("the rule is a price for time, and the model server gave no answer")]
    NoTime,
    /// A number is too large.
    #[error("a number is too large for exact arithmetic")]
    Overflow,
}

impl NoCost {
    /// Whether a rule is missing, rather than something in this one call.
    pub fn is_of_model(self) -> bool {
        matches!(self, Self::NoProvider | Self::UnknownProvider | Self::UnknownModel | Self::NotPriced)
    }
}
