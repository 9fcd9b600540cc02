//! When a price holds: from a day on, or between two times of day. Always in UTC.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::Deserialize;

const SECOND_MICROS: i64 = 1_000_000;
const DAY_MICROS: i64 = 86_400 * SECOND_MICROS;

/// A constraint as the data has it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum RawWhen {
    From { start_date: String },
    Daily { start_time: String, end_time: String },
}

/// When a price holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// From this moment on, the first of a day.
    From {
        start: i64,
        label: String,
    },
    /// From one time of day until before another, both in microseconds; past midnight when the end is earlier.
    Daily {
        start: i64,
        end: i64,
        label: String,
    },
}

impl When {
    pub(crate) fn read(raw: Option<&RawWhen>) -> Result<Self, String> {
        Ok(match raw {
            None => Self::Always,
            Some(RawWhen::From { start_date }) => {
                Self::From { start: day(start_date)?, label: start_date.clone() }
            }
            Some(RawWhen::Daily { start_time, end_time }) => {
                let (start, end) = (time_of_day(start_time)?, time_of_day(end_time)?);
                Self::Daily { start, end, label: format!("{}-{}", clock(start), clock(end)) }
            }
        })
    }

    /// Whether it holds at a moment, in microseconds since 1970.
    pub(crate) fn holds(&self, at: i64) -> bool {
        match self {
            Self::Always => true,
            Self::From { start, .. } => at >= *start,
            Self::Daily { start, end, .. } => {
                let time = at.rem_euclid(DAY_MICROS);
                if end < start { time >= *start || time < *end } else { (*start..*end).contains(&time) }
            }
        }
    }

    /// The same for people, to follow a name.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Always => String::new(),
            Self::From { label, .. } => format!(", from {label}"),
            Self::Daily { start, end, .. } => {
                format!(", daily from {} until {} UTC", clock(*start), clock(*end))
            }
        }
    }

    /// How a rule's name says it: `2026-03-13`, `0030-1630`, `-`.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Always => "-",
            Self::From { label, .. } | Self::Daily { label, .. } => label,
        }
    }
}

/// The first moment of a day: `2026-03-13`.
pub(crate) fn day(text: &str) -> Result<i64, String> {
    let bad = |_| format!("{text:?} is not a date such as 2026-03-13");
    let date: Date = text.parse().map_err(bad)?;
    Ok(date.to_zoned(TimeZone::UTC).map_err(bad)?.timestamp().as_microsecond())
}

/// A time of day in UTC: `16:30:00Z`, `16:30`, or with another offset, such as `18:30:00+02:00`.
fn time_of_day(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is not a time of day such as 16:30:00Z");
    let (clock, offset) = match (text.strip_suffix('Z'), text.find(['+', '-'])) {
        (Some(clock), _) => (clock, 0),
        (None, Some(at)) => {
            let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
            (&text[..at], sign * micros(&text[at + 1..]).ok_or_else(bad)?)
        }
        (None, None) => (text, 0),
    };
    Ok((micros(clock).ok_or_else(bad)? - offset).rem_euclid(DAY_MICROS))
}

fn micros(clock: &str) -> Option<i64> {
    let time: Time = clock.parse().ok()?;
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some(seconds * SECOND_MICROS + i64::from(time.subsec_nanosecond()) / 1000)
}

/// `1630`, or `163015` where there are seconds.
fn clock(micros: i64) -> String {
    let seconds = micros / SECOND_MICROS;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if second == 0 { format!("{hour:02}{minute:02}") } else { format!("{hour:02}{minute:02}{second:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily(start: &str, end: &str) -> When {
        let raw = RawWhen::Daily { start_time: start.to_owned(), end_time: end.to_owned() };
        When::read(Some(&raw)).unwrap()
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let raw = RawWhen::From { start_date: "1970-01-02".to_owned() };
        let when = When::read(Some(&raw)).unwrap();
        assert!(!when.holds(DAY_MICROS - 1) && when.holds(DAY_MICROS) && when.holds(i64::MAX));
        assert!(!when.holds(i64::MIN));
        assert_eq!(day("2026-03-13"), Ok(1_773_360_000 * SECOND_MICROS));
        for bad in ["2026-3-13", "13.3.2026", "", "2026-02-29"] {
            assert!(day(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_of_day_may_go_past_midnight_and_have_offsets() {
        let at = |hour: i64, minute: i64| (hour * 3600 + minute * 60) * SECOND_MICROS;
        let day = daily("00:30:00Z", "16:30:00Z");
        assert!(day.holds(at(0, 30)) && !day.holds(at(0, 30) - 1) && !day.holds(at(16, 30)));
        // Before 1970, too, a day has 24 hours.
        assert!(day.holds(at(12, 0) - 5 * DAY_MICROS));
        let night = daily("16:30", "00:30:00Z");
        assert!(night.holds(at(23, 59)) && night.holds(at(0, 29)) && !night.holds(at(0, 30)));
        assert_eq!((night.label(), day.label()), ("1630-0030", "0030-1630"));
        assert_eq!(daily("00:30:00+02:00", "18:00:00-07:00"), daily("22:30:00Z", "01:00:00Z"));
        assert_eq!(daily("00:00:01Z", "00:00:01Z").label(), "000001-000001");
    }
}
