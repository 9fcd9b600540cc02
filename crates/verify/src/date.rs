//! Times as text.

/// Days of the months in a year that is no leap year.
const DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/// `YYYY-MM-DDThh:mm:ss`, a digit where a 0 stands.
const FORM: &[u8; 19] = b"0000-00-00T00:00:00";
const FRACTION_MAX_DIGITS: usize = 9;

/// Whether this is `YYYY-MM-DDThh:mm:ss[.f]Z` with at most nine digits in the fraction, and there is such a time.
pub(crate) fn is_date(text: &str) -> bool {
    let Some((whole, rest)) = text.as_bytes().split_first_chunk::<19>() else { return false };
    let is_formed = whole.iter().zip(FORM).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let fraction = match rest {
        [b'Z'] => &b"0"[..],
        [b'.', digits @ .., b'Z'] => digits,
        _ => return false,
    };
    let digits: Vec<u8> = whole.iter().copied().filter(u8::is_ascii_digit).collect();
    is_formed
        && (1..=FRACTION_MAX_DIGITS).contains(&fraction.len())
        && fraction.iter().all(u8::is_ascii_digit)
        && is_time(&digits)
}

/// Whether `YYYYMMDDhhmmss` is a time of the proleptic Gregorian calendar. There are no leap seconds.
pub(crate) fn is_time(digits: &[u8]) -> bool {
    let Ok(digits) = <&[u8; 14]>::try_from(digits) else { return false };
    if !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let pairs: Vec<u32> =
        digits.chunks(2).map(|two| two.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'))).collect();
    let [century, of_century, month, day, hour, minute, second] = pairs[..] else { return false };
    let is_leap = of_century % 4 == 0 && (of_century != 0 || century % 4 == 0);
    let days = (month as usize).checked_sub(1).and_then(|at| DAYS.get(at)).copied().unwrap_or(0);
    let days = days + u32::from(is_leap && month == 2);
    (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60
}

/// Seconds since 1970 as RFC 3339, proleptic Gregorian.
pub fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March 0000, in eras of 400 years, with the leap day at the end of the year.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::{is_date, is_time, rfc3339};

    #[test]
    fn every_day_that_there_is_and_no_other() {
        let mut days = 0;
        for year in 1999..=2000 {
            for month in 0..=99 {
                for day in 0..=99 {
                    days += u32::from(is_time(format!("{year}{month:02}{day:02}000000").as_bytes()));
                }
            }
        }
        assert_eq!(days, 365 + 366);
        assert!(!is_time(b"19000229000000") && is_time(b"20240229235959") && is_time(b"00000229000000"));
        assert!(!is_time(b"20240101240000") && !is_time(b"20240101006000") && !is_time(b"20240101000060"));
    }

    #[test]
    fn one_form() {
        assert!(is_date("2026-11-26T08:00:00Z") && is_date("2026-11-26T08:00:00.123456789Z"));
        for bad in [
            "",
            "Z",
            "2026-11-26T08:00:00",
            "2026-11-26T08:00:00.Z",
            "2026-11-26T08:00:00.0123456789Z",
            "2026-11-26T08:00:00+Z",
            "2026-11-26T08:00:00.1aZ",
            "2026-11-26 08:00:00Z",
            "2026-1-026T08:00:00Z",
            "2026-11-26T08:00:00.1ZZ",
            "２026-11-26T08:00Z",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }

    #[test]
    fn dates_are_right() {
        for (seconds, text) in [
            (1, "1970-01-01T00:00:01Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_790_000_000, "2026-09-21T14:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
