//! Which names a rule of the price data fits.
//!
//! A clause is `{"starts_with": …}`, `{"ends_with": …}`, `{"contains": …}`, `{"equals": …}`, `{"regex": …}`,
//! `{"or": […]}` or `{"and": […]}`. Case does not count: names are compared in lower case, and a regular
//! expression sees the name in lower case.
//!
//! The data's expressions are Python's. The one thing in them that a linear-time engine does not have is a
//! negative look-ahead at the very beginning, `^(?!A)B`; that is: `^B` fits and `^A` does not. Any other
//! look-around is refused when the data is read. `\d` is `0` to `9`, and `$` the end of the name.

use regex_lite::Regex;
use serde::Deserialize;

/// A clause as the data has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawClause {
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Equals(String),
    Regex(String),
    Or(Vec<RawClause>),
    And(Vec<RawClause>),
}

/// A clause, ready to be held against names.
#[derive(Debug)]
pub enum Clause {
    /// The name begins with this.
    StartsWith(String),
    /// The name ends with this.
    EndsWith(String),
    /// This is part of the name.
    Contains(String),
    /// The name is this.
    Equals(String),
    /// The first expression is found in the name, and the second is not.
    Regex(Box<Regex>, Option<Box<Regex>>),
    /// One of these fits.
    Or(Vec<Clause>),
    /// All of these fit.
    And(Vec<Clause>),
}

impl Clause {
    pub(crate) fn compile(raw: RawClause) -> Result<Self, String> {
        let all =
            |clauses: Vec<RawClause>| clauses.into_iter().map(Self::compile).collect::<Result<Vec<_>, _>>();
        Ok(match raw {
            RawClause::StartsWith(text) => Self::StartsWith(text.to_lowercase()),
            RawClause::EndsWith(text) => Self::EndsWith(text.to_lowercase()),
            RawClause::Contains(text) => Self::Contains(text.to_lowercase()),
            RawClause::Equals(text) => Self::Equals(text.to_lowercase()),
            RawClause::Regex(pattern) => {
                let (wanted, unwanted) = split_look_ahead(&pattern)?;
                let compiled = |pattern: String| {
                    Regex::new(&pattern).map(Box::new).map_err(|error| format!("regex {pattern:?}: {error}"))
                };
                Self::Regex(compiled(wanted)?, unwanted.map(compiled).transpose()?)
            }
            RawClause::Or(clauses) => Self::Or(all(clauses)?),
            RawClause::And(clauses) => Self::And(all(clauses)?),
        })
    }

    /// Whether it fits `name`, which is in lower case.
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Self::StartsWith(text) => name.starts_with(text),
            Self::EndsWith(text) => name.ends_with(text),
            Self::Contains(text) => name.contains(text),
            Self::Equals(text) => name == text,
            Self::Regex(wanted, unwanted) => {
                wanted.is_match(name) && !unwanted.as_ref().is_some_and(|unwanted| unwanted.is_match(name))
            }
            Self::Or(clauses) => clauses.iter().any(|clause| clause.fits(name)),
            Self::And(clauses) => clauses.iter().all(|clause| clause.fits(name)),
        }
    }
}

/// `^(?!A)B` as what must fit, `^(?:B)`, and what must not, `^(?:A)`; anything else as it is.
fn split_look_ahead(pattern: &str) -> Result<(String, Option<String>), String> {
    let is_look_around = |part: &str| ["(?!", "(?=", "(?<!", "(?<="].iter().any(|mark| part.contains(mark));
    let Some(inside) = pattern.strip_prefix("^(?!") else {
        return match is_look_around(pattern) {
            true => Err(format!("regex {pattern:?}: look-around other than ^(?!…) is not supported")),
            false => Ok((pattern.to_owned(), None)),
        };
    };
    let end = closing(inside).ok_or_else(|| format!("regex {pattern:?}: a group is not closed"))?;
    let (unwanted, rest) = (&inside[..end], &inside[end + 1..]);
    if is_look_around(unwanted) || is_look_around(rest) {
        return Err(format!("regex {pattern:?}: look-around other than one ^(?!…) is not supported"));
    }
    // An alternative at the top level would have the look-ahead in its first branch only.
    if has_top_level_bar(rest) {
        return Err(format!("regex {pattern:?}: ^(?!…) before alternatives is not supported"));
    }
    Ok((format!("^(?:{rest})"), Some(format!("^(?:{unwanted})"))))
}

/// Where the group ends that `text` is the inside of.
fn closing(text: &str) -> Option<usize> {
    scan(text, |byte, depth| byte == b')' && depth == 0)
}

fn has_top_level_bar(text: &str) -> bool {
    scan(text, |byte, depth| byte == b'|' && depth == 0).is_some()
}

/// The first byte outside of escapes and classes for which `is_it` holds, given how many groups are open.
fn scan(text: &str, is_it: impl Fn(u8, u32) -> bool) -> Option<usize> {
    let (mut depth, mut in_class, mut escaped) = (0u32, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        if byte == b'\\' {
            escaped = true;
            continue;
        }
        if in_class {
            in_class = byte != b']';
            continue;
        }
        if is_it(byte, depth) {
            return Some(at);
        }
        match byte {
            b'[' => in_class = true,
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(json: &str, name: &str) -> bool {
        Clause::compile(serde_json::from_str(json).unwrap()).unwrap().fits(name)
    }

    #[test]
    fn clauses_compare_in_lower_case() {
        assert!(fits(r#"{"equals":"GLM-4"}"#, "glm-4") && !fits(r#"{"equals":"glm-4"}"#, "glm-4.5"));
        assert!(fits(r#"{"starts_with":"GPT-"}"#, "gpt-5") && !fits(r#"{"starts_with":"gpt-"}"#, "my-gpt-5"));
        assert!(fits(r#"{"ends_with":"-V2"}"#, "a-v2") && !fits(r#"{"ends_with":"-v2"}"#, "a-v2:0"));
        assert!(
            fits(r#"{"contains":"Claude"}"#, "us.claude-x") && !fits(r#"{"contains":"claude"}"#, "clau-de")
        );
        let both = r#"{"and":[{"contains":"a"},{"or":[{"equals":"ab"},{"equals":"ac"}]}]}"#;
        assert!(fits(both, "ab") && fits(both, "ac") && !fits(both, "a") && !fits(both, "xb"));
        assert!(fits(r#"{"and":[]}"#, "x") && !fits(r#"{"or":[]}"#, "x"));
    }

    /// A pattern is searched for, and sees lower case: Python's `re.search` over the lowered name.
    #[test]
    fn patterns_are_searched_for() {
        assert!(fits(r#"{"regex":"^o[134]"}"#, "o3-mini") && !fits(r#"{"regex":"^o[134]"}"#, "o2"));
        assert!(fits(r#"{"regex":"v\\d"}"#, "a-v2-b") && !fits(r#"{"regex":"V2"}"#, "a-v2"));
        let fast = r#"{"regex":"^grok-4\\.5\\[fast=true\\]$"}"#;
        assert!(fits(fast, "grok-4.5[fast=true]") && !fits(fast, "grok-4x5[fast=true]"));
    }

    /// The two look-aheads of the release's data, and what they are for.
    #[test]
    fn a_look_ahead_at_the_beginning_excludes() {
        let no_speech = r#"{"regex":"^(?!.*-[tT][tT][sS](?:$|-))"}"#;
        assert!(fits(no_speech, "gemini-2.5-flash") && fits(no_speech, "gemini-ttsx"));
        assert!(!fits(no_speech, "gemini-2.5-flash-tts") && !fits(no_speech, "gemini-tts-preview"));
        let no_slash = r#"{"regex":"^(?![^/]+/)(?:labs-)?(?:mi|code)stral"}"#;
        assert!(fits(no_slash, "mistral-large") && fits(no_slash, "labs-codestral"));
        assert!(!fits(no_slash, "mistralai/mistral-large") && !fits(no_slash, "x-mistral"));
    }

    #[test]
    fn brackets_inside_classes_and_escapes_close_nothing() {
        let (wanted, unwanted) = split_look_ahead(r"^(?!a[)(|]b\)(c|d))(e|f)").unwrap();
        assert_eq!((wanted.as_str(), unwanted.as_deref()), ("^(?:(e|f))", Some(r"^(?:a[)(|]b\)(c|d))")));
        assert!(split_look_ahead(r"^(?!a").is_err());
    }
}
