//! The verdict on an evidence bundle, for people and as JSON.

use crate::read;
use indelible_ledger::Policy;
use indelible_ledger::policy::POLICY_MAX_BYTES;
use indelible_verify::Verdict;
use indelible_verify::evidence::{self, Fault, Shown};
use serde_json::json;
use std::fs::File;

/// Checks a bundle and prints what came of it.
pub(crate) fn check(path: &str, policy: Option<&str>, as_json: bool) -> Result<Verdict, String> {
    let policy = policy
        .map(|path| Policy::parse(&read(path, POLICY_MAX_BYTES)?).map_err(|error| format!("{path}: {error}")))
        .transpose()?;
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let identity = if policy.is_some() { "checked" } else { "not checked" };
    match evidence::check(file, policy.as_ref()) {
        Ok(shown) => {
            if as_json {
                println!("{}", to_json(&shown, identity));
            } else {
                print!("{}", in_words(&shown));
            }
            Ok(Verdict::Holds)
        }
        Err(Fault::Broken(check, what)) => {
            if as_json {
                let broken = json!({
                    "check": check.as_str(), "completeness": null, "counts": null, "identity": identity,
                    "integrity": "broken", "time": null, "what": what,
                });
                println!("{broken}");
            } else {
                if policy.is_none() {
                    println!("IDENTITY NOT CHECKED: no policy was given");
                }
                println!("BROKEN at {}: {what}", check.as_str());
            }
            Ok(Verdict::Broken)
        }
        Err(Fault::Unreadable(error)) => Err(format!("{path}: {error}")),
    }
}

fn to_json(shown: &Shown, identity: &str) -> serde_json::Value {
    let (from, to) = shown.range.map_or((None, None), |(from, to)| (Some(from), Some(to)));
    json!({
        "check": null,
        "completeness": {
            "as_of": shown.as_of, "from": from, "gaps": shown.gaps, "proven": shown.range.is_some(),
            "size": shown.size, "to": to,
        },
        "counts": {
            "disclosed": shown.counts.disclosed, "entries": shown.counts.entries, "erased": shown.counts.erased,
            "withheld": shown.counts.withheld,
        },
        "identity": identity,
        "integrity": "holds",
        "time": { "cosigned": shown.cosigned.map(rfc3339), "tokens": shown.tokens },
        "what": null,
    })
}

fn in_words(shown: &Shown) -> String {
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if !shown.identity_checked {
        say("IDENTITY NOT CHECKED: no policy was given, so anybody can have made this bundle".to_owned());
    }
    let counts = shown.counts;
    say(format!("HOLDS: {} entries of {}, ledger {}", counts.entries, shown.tenant, shown.origin));
    say(format!(
        "integrity     unaltered; payloads: {} shown, {} withheld, {} ERASED",
        counts.disclosed, counts.withheld, counts.erased
    ));
    say(match shown.range {
        Some((from, to)) => format!(
            "completeness  complete from entry {from} to {}, up to size {} as of {}; {} gaps are stated in it",
            to - 1,
            shown.size,
            shown.as_of,
            shown.gaps
        ),
        None => format!(
            "completeness  not shown: that nothing else was found is the producer's claim (size {} as of {})",
            shown.size, shown.as_of
        ),
    });
    say(match shown.cosigned {
        Some(time) => {
            format!("time          existed before {}: a witness of the policy says so", rfc3339(time))
        }
        None => "time          the collector's clock alone".to_owned(),
    });
    for time in &shown.tokens {
        say(format!(
            "              timestamp of {time} over the checkpoint; check who signed it: openssl ts -verify (README.md)"
        ));
    }
    say(match shown.identity_checked {
        true => "identity      signed as the policy asks".to_owned(),
        false => "identity      not checked".to_owned(),
    });
    text
}

/// Seconds since 1970 as RFC 3339, proleptic Gregorian.
fn rfc3339(seconds: u64) -> String {
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
    use super::rfc3339;

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
