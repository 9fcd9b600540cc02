//! The verdict on an evidence bundle, for people and as JSON.

use crate::read;
use indelible_ledger::Policy;
use indelible_ledger::policy::POLICY_MAX_BYTES;
use indelible_verify::Verdict;
use indelible_verify::date::rfc3339;
use indelible_verify::evidence::{self, Fault, Shown};
use indelible_verify::text::shown;
use serde_json::json;
use std::fs::File;

/// Most characters of a text of the bundle that are printed.
const TEXT_MAX: usize = 300;

/// Checks a bundle and prints what came of it.
pub(crate) fn check(path: &str, policy: Option<&str>, as_json: bool) -> Result<Verdict, String> {
    let policy = policy
        .map(|path| Policy::parse(&read(path, POLICY_MAX_BYTES)?).map_err(|error| format!("{path}: {error}")))
        .transpose()?;
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let identity = if policy.is_some() { "checked" } else { "not checked" };
    match evidence::check(file, policy.as_ref()) {
        Ok(found) => {
            if as_json {
                println!("{}", found.to_json());
            } else {
                print!("{}", in_words(&found));
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
                println!("BROKEN at {}: {}", check.as_str(), brief(&what));
            }
            Ok(Verdict::Broken)
        }
        Err(Fault::Unreadable(error)) => Err(format!("{path}: {error}")),
    }
}

/// Text of a bundle, of a length that leaves room for the verdict.
fn brief(text: &str) -> String {
    shown(&text.chars().take(TEXT_MAX).collect::<String>())
}

fn in_words(found: &Shown) -> String {
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if !found.identity_checked {
        say("IDENTITY NOT CHECKED: no policy was given, so anybody can have made this bundle".to_owned());
    }
    let counts = found.counts;
    say(format!(
        "HOLDS: {} entries of {}, ledger {}",
        counts.entries,
        brief(&found.tenant),
        brief(&found.origin)
    ));
    say(format!(
        "integrity     unaltered; payloads: {} shown, {} withheld, {} ERASED",
        counts.disclosed, counts.withheld, counts.erased
    ));
    say(match found.range {
        Some((from, to)) => format!(
            "completeness  complete from entry {from} to {}, up to size {} as of {} by the collector's clock; {} gaps are stated in it",
            to - 1,
            found.size,
            brief(&found.as_of),
            found.gaps
        ),
        None => format!(
            "completeness  not shown: that nothing else was found is the producer's claim (size {} as of {} by the collector's clock)",
            found.size,
            brief(&found.as_of)
        ),
    });
    say(match found.cosigned {
        Some(time) => {
            format!(
                "time          existed before {}: a quorum of the policy's witnesses says so",
                rfc3339(time)
            )
        }
        None => "time          the collector's clock alone".to_owned(),
    });
    for time in found.tokens.iter().map(|time| brief(time)) {
        say(format!(
            "              timestamp of {time} over the checkpoint; check who signed it: openssl ts -verify (README.md)"
        ));
    }
    say(match found.identity_checked {
        true => "identity      signed as the policy asks".to_owned(),
        false => "identity      not checked".to_owned(),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::in_words;
    use indelible_verify::evidence::Shown;

    #[test]
    fn text_of_a_bundle_adds_no_line_and_moves_no_cursor() {
        let found = Shown {
            origin: "indelible/\u{202e}x".to_owned(),
            tenant: "acme\u{1b}[2K\u{1b}[1A\rHOLDS".to_owned(),
            size: 3,
            as_of: "2026-11-26T08:00:00Z\nidentity      signed as the policy asks\u{1b}[8m".to_owned(),
            range: None,
            gaps: 0,
            counts: indelible_verify::evidence::Counts::default(),
            identity_checked: false,
            cosigned: None,
            tokens: vec!["\u{9b}2J".to_owned()],
        };
        let honest = Shown {
            origin: "o".to_owned(),
            tenant: "t".to_owned(),
            as_of: "then".to_owned(),
            tokens: vec!["then".to_owned()],
            ..found.clone()
        };
        for range in [None, Some((0, 3))] {
            let said = in_words(&Shown { range, ..found.clone() });
            assert!(said.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')), "{said:?}");
            assert_eq!(said.lines().count(), in_words(&Shown { range, ..honest.clone() }).lines().count());
        }
    }
}
