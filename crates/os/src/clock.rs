//! The only reader of the wall clock.
//!
//! Time in the ledger is UTC with microseconds (RFC 3339), taken where a record is sequenced. It is
//! never used for order: order is the sequence number.

use std::fmt;
use std::str::FromStr;

/// A moment in UTC: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(pub i64);

/// The text is not an RFC 3339 moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATime;

/// Reads the wall clock.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Utc {
    Utc(jiff::Timestamp::now().as_microsecond())
}

impl Utc {
    /// Whole days since 1970-01-01, for keys that live one UTC day.
    pub fn day(self) -> i64 {
        self.0.div_euclid(86_400_000_000)
    }

    /// The calendar month as `year * 12 + month - 1`, for keys that live one month.
    pub fn month(self) -> u32 {
        let date = self.timestamp().to_zoned(jiff::tz::TimeZone::UTC).date();
        (i32::from(date.year()) * 12 + i32::from(date.month()) - 1).unsigned_abs()
    }

    fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// `2026-11-22T03:14:15.926535Z`: always six digits, always `Z`.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.timestamp())
    }
}

impl FromStr for Utc {
    type Err = NotATime;

    /// Takes any RFC 3339 moment; a bare date means its first instant in UTC.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(moment.as_microsecond()));
        }
        let date = text.parse::<jiff::civil::Date>().map_err(|_| NotATime)?;
        let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| NotATime)?;
        Ok(Self(zoned.timestamp().as_microsecond()))
    }
}

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a moment in time (RFC 3339, such as 2026-11-22T09:00:00Z, or a date)")
    }
}

impl std::error::Error for NotATime {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_six_digits_and_reads_back() {
        let moment = Utc(1_795_317_255_000_007);
        assert_eq!(moment.to_string().parse::<Utc>(), Ok(moment));
        assert_eq!(Utc(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!("1970-01-02".parse::<Utc>(), Ok(Utc(86_400_000_000)));
        assert!("yesterday".parse::<Utc>().is_err());
    }

    #[test]
    fn days_and_months_count_from_the_epoch() {
        assert_eq!(Utc(86_400_000_000).day(), 1);
        assert_eq!(Utc(0).month(), 1970 * 12);
    }
}
