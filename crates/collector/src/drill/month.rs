//! Calendar months in UTC.

use indelible_os::clock::Utc;
use std::fmt;
use std::str::FromStr;

/// A month, as `year * 12 + month - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(u32);

/// The text is not `YYYY-MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a month (YYYY-MM, such as 2026-03)")]
pub struct NotAMonth;

impl Month {
    /// The month of a moment.
    pub fn of(at: Utc) -> Self {
        Self(at.month())
    }

    /// The one before.
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Whether a moment is in it.
    pub fn has(self, at: Utc) -> bool {
        at.month() == self.0
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

impl FromStr for Month {
    type Err = NotAMonth;

    fn from_str(text: &str) -> Result<Self, NotAMonth> {
        // As a date of that month it has one spelling: the one that is printed.
        let first: Utc = format!("{text}-01").parse().map_err(|_| NotAMonth)?;
        let month = Self::of(first);
        if month.to_string() == text { Ok(month) } else { Err(NotAMonth) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_reads_back_and_ends_where_the_next_begins() {
        let month: Month = "2026-01".parse().unwrap();
        assert_eq!((month.to_string(), month.previous().to_string()), ("2026-01".into(), "2025-12".into()));
        let at = |text: &str| text.parse::<Utc>().unwrap();
        assert!(month.has(at("2026-01-31T23:59:59.999999Z")) && !month.has(at("2026-02-01")));
        for bad in ["2026", "2026-13", "2026-1", "26-01", "2026-01-01", "", "january", "2026-01T"] {
            assert!(bad.parse::<Month>().is_err(), "{bad}");
        }
    }
}
