//! Exact decimal numbers: what money is counted in.
//!
//! A price is read digit for digit and multiplied by a count, so nothing here rounds but [`Decimal::per`], and
//! that only where no decimal could be exact. No step goes through a binary fraction. What does not fit is an
//! error, never a wrong digit.

use std::fmt;

/// Most digits, and most of them behind the point: so many always fit 128 bits.
const DIGITS_MAX: u32 = 38;
/// Digits behind the point that are kept where a quotient has no end.
const ROUNDED_SCALE: u32 = 12;

/// A decimal number that is not negative, in its one form: no zeros at the end of its fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// All digits, the point left out.
    digits: u128,
    /// How many of them stand behind the point.
    scale: u32,
}

/// The text is no such number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADecimal {
    /// Not a number as JSON writes it.
    #[error("not a decimal number")]
    Syntax,
    /// Below zero.
    #[error("a price is not negative")]
    Negative,
    /// More digits than this holds.
    #[error("more than 38 digits")]
    TooLong,
}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self { digits: 0, scale: 0 };

    /// Reads a number as JSON writes it (RFC 8259 §6), without a sign.
    pub fn parse(text: &str) -> Result<Self, NotADecimal> {
        if text.starts_with('-') {
            return Err(NotADecimal::Negative);
        }
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent_of(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return Err(NotADecimal::Syntax),
            Some(parts) => parts,
            None => (number, ""),
        };
        let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(NotADecimal::Syntax);
        }
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(NotADecimal::Syntax);
        }
        let all = whole.bytes().chain(fraction.trim_end_matches('0').bytes());
        let digits = all
            .map(|byte| u128::from(byte - b'0'))
            .try_fold(0u128, |sum, digit| sum.checked_mul(10)?.checked_add(digit))
            .ok_or(NotADecimal::TooLong)?;
        let places = i64::try_from(fraction.trim_end_matches('0').len()).map_err(|_| NotADecimal::TooLong)?;
        Self::shifted(digits, places - exponent).ok_or(NotADecimal::TooLong)
    }

    /// This many times over.
    pub fn times(self, count: u64) -> Option<Self> {
        Self::fit(self.digits.checked_mul(u128::from(count))?, self.scale)
    }

    /// The product of both.
    pub fn times_decimal(self, other: Self) -> Option<Self> {
        Self::fit(self.digits.checked_mul(other.digits)?, self.scale.checked_add(other.scale)?)
    }

    /// The sum of both.
    pub fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let aligned = |one: Self| one.digits.checked_mul(power_of_ten(scale - one.scale)?);
        Self::fit(aligned(self)?.checked_add(aligned(other)?)?, scale)
    }

    /// The share of one among `count`. Exact when `count` is a power of ten; else rounded to 12 places, half up,
    /// since the quotient may have no end.
    pub fn per(self, count: u64) -> Option<Self> {
        if let Some(zeros) = zeros_of_power(count) {
            return Self::fit(self.digits, self.scale.checked_add(zeros)?);
        }
        let whole = self.digits.checked_mul(power_of_ten(ROUNDED_SCALE)?)?;
        let among = u128::from(count).checked_mul(power_of_ten(self.scale)?)?;
        let half_up = whole.checked_mul(2)?.checked_add(among)?.checked_div(among.checked_mul(2)?)?;
        Self::fit(half_up, ROUNDED_SCALE)
    }

    /// `digits` with the point moved `places` to the left, or to the right when negative.
    fn shifted(digits: u128, places: i64) -> Option<Self> {
        if digits == 0 {
            return Some(Self::ZERO);
        }
        match u32::try_from(places) {
            Ok(scale) => Self::fit(digits, scale),
            Err(_) => {
                let zeros = u32::try_from(places.checked_neg()?).ok()?;
                Self::fit(digits.checked_mul(power_of_ten(zeros)?)?, 0)
            }
        }
    }

    /// The one form of a number; `None` if it has too many digits even so.
    fn fit(mut digits: u128, mut scale: u32) -> Option<Self> {
        // Most amounts fit 64 bits, where a division by ten is cheap.
        if let Ok(mut small) = u64::try_from(digits) {
            while scale > 0 && small.is_multiple_of(10) {
                small /= 10;
                scale -= 1;
            }
            digits = u128::from(small);
        } else {
            while scale > 0 && digits.is_multiple_of(10) {
                digits /= 10;
                scale -= 1;
            }
        }
        (scale <= DIGITS_MAX && digits < 10u128.pow(DIGITS_MAX)).then_some(Self { digits, scale })
    }
}

/// Without exponent, sign, or zeros at the end: `0`, `12`, `0.000415`.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.digits);
        }
        let one = 10u128.pow(self.scale);
        let (whole, fraction) = (self.digits / one, self.digits % one);
        write!(f, "{whole}.{fraction:0places$}", places = self.scale as usize)
    }
}

impl std::str::FromStr for Decimal {
    type Err = NotADecimal;

    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        Self::parse(text)
    }
}

fn exponent_of(text: &str) -> Result<i64, NotADecimal> {
    let (digits, sign) = match text.as_bytes().first() {
        Some(b'-') => (&text[1..], -1),
        Some(b'+') => (&text[1..], 1),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotADecimal::Syntax);
    }
    digits.parse::<i32>().map(|exponent| sign * i64::from(exponent)).map_err(|_| NotADecimal::TooLong)
}

fn power_of_ten(zeros: u32) -> Option<u128> {
    10u128.checked_pow(zeros)
}

/// How many zeros stand behind the one, if that is all there is.
fn zeros_of_power(count: u64) -> Option<u32> {
    let zeros = count.checked_ilog10()?;
    (10u64.pow(zeros) == count).then_some(zeros)
}
