//! Saved searches: one SQL query in a file, under a header that says what it answers.
//!
//! ```sql
//! -- name: records-of-user
//! -- title: Everything recorded of one user
//! -- answers: Q03
//! -- ledger: tenant
//! -- clause: GDPR Art. 15(1)
//! -- param: user text           The user, as the application names them
//! -- param: since time = -30d   Not before
//! SELECT … WHERE subject_ref = subject($user) AND timestamp >= $since
//! ```
//!
//! `name` and `title` are there once; `answers` names an auditor's question of docs/searches.md; `ledger` is `tenant`
//! (the default) or `operations`; `clause` and `param` may be repeated. A parameter has a name, a type (`text`, `int`,
//! `time`, `flag`), a default unless it must be given, and, behind two spaces, a description. The default `null` means
//! no value. A time is RFC 3339, a date, `now`, or so far before now: `-30d`, `-12h`, `-15m`. Values are bound as
//! values of their type; they never become SQL.

use crate::{Kind, Parameter, QueryError};
use indelible_os::clock::Utc;
use std::collections::BTreeMap;

/// Searches that come with the program.
const BUILT_IN: &[&str] = &[
    include_str!("../../../searches/access-log.sql"),
    include_str!("../../../searches/blast-radius.sql"),
    include_str!("../../../searches/config-changes.sql"),
    include_str!("../../../searches/continuity.sql"),
    include_str!("../../../searches/cost-by-day.sql"),
    include_str!("../../../searches/cost-by-key.sql"),
    include_str!("../../../searches/cost-by-model.sql"),
    include_str!("../../../searches/cost-by-user.sql"),
    include_str!("../../../searches/errors-by-day.sql"),
    include_str!("../../../searches/errors-by-key.sql"),
    include_str!("../../../searches/errors-by-model.sql"),
    include_str!("../../../searches/errors-by-type.sql"),
    include_str!("../../../searches/errors-by-user.sql"),
    include_str!("../../../searches/gaps.sql"),
    include_str!("../../../searches/incident-timeline.sql"),
    include_str!("../../../searches/interrupted.sql"),
    include_str!("../../../searches/key-changes.sql"),
    include_str!("../../../searches/largest-sessions.sql"),
    include_str!("../../../searches/latency-by-hour.sql"),
    include_str!("../../../searches/model-declined.sql"),
    include_str!("../../../searches/model-versions.sql"),
    include_str!("../../../searches/population.sql"),
    include_str!("../../../searches/providers.sql"),
    include_str!("../../../searches/random-sample.sql"),
    include_str!("../../../searches/record.sql"),
    include_str!("../../../searches/records-of-user.sql"),
    include_str!("../../../searches/refusals-counted.sql"),
    include_str!("../../../searches/refused-requests.sql"),
    include_str!("../../../searches/session.sql"),
    include_str!("../../../searches/slowest-requests.sql"),
    include_str!("../../../searches/source-delays.sql"),
    include_str!("../../../searches/source-reports.sql"),
    include_str!("../../../searches/sources.sql"),
    include_str!("../../../searches/tool-calls.sql"),
    include_str!("../../../searches/unpriced-models.sql"),
    include_str!("../../../searches/usage-by-key-and-route.sql"),
    include_str!("../../../searches/user-by-model.sql"),
];

/// A saved search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// What it is called by: lower-case letters, digits and hyphens.
    pub name: String,
    /// What it shows, in a line.
    pub title: String,
    /// The auditor's questions that it answers, or helps to.
    pub answers: Vec<String>,
    /// Whether it is about the operations ledger.
    pub of_operations: bool,
    /// Clauses of laws and standards that ask for it.
    pub clauses: Vec<String>,
    /// What can be given to it.
    pub parameters: Vec<Declared>,
    /// The query.
    pub sql: String,
}

/// A parameter, as a header declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name, without the `$`.
    pub name: String,
    /// Its type.
    pub of: Type,
    /// What it is when it is not given. `None`: it must be given.
    pub default: Option<String>,
    /// What it means.
    pub about: String,
}

/// Type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// An integer.
    Int,
    /// A moment.
    Time,
    /// True or false.
    Flag,
}

impl Type {
    /// The word for it in a header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "int",
            Self::Time => "time",
            Self::Flag => "flag",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Text, Self::Int, Self::Time, Self::Flag].into_iter().find(|of| of.name() == name)
    }
}

/// The searches that come with the program, by name.
pub fn built_in() -> Result<Vec<Search>, QueryError> {
    BUILT_IN.iter().map(|text| Search::parse(text)).collect()
}

impl Search {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut search = Self {
            name: String::new(),
            title: String::new(),
            answers: Vec::new(),
            of_operations: false,
            clauses: Vec::new(),
            parameters: Vec::new(),
            sql: String::new(),
        };
        let mut rest = text;
        while let Some((key, value, behind)) = header_line(rest) {
            search.take(key, value)?;
            rest = behind;
        }
        search.sql = rest.trim().trim_end_matches(';').trim_end().to_owned();
        let named = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if !named(&search.name) {
            return Err(malformed("it has no name of lower-case letters, digits and hyphens"));
        }
        if search.title.is_empty() || search.sql.is_empty() {
            return Err(malformed(&format!("{} lacks a title or a query", search.name)));
        }
        Ok(search)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), QueryError> {
        match key {
            "name" => value.clone_into(&mut self.name),
            "title" => value.clone_into(&mut self.title),
            "answers" => self.answers = value.split(',').map(|one| one.trim().to_owned()).collect(),
            "clause" => self.clauses.push(value.to_owned()),
            "ledger" => match value {
                "tenant" => self.of_operations = false,
                "operations" => self.of_operations = true,
                _ => return Err(malformed(&format!("ledger is tenant or operations, not {value:?}"))),
            },
            "param" => {
                let parameter = Declared::parse(value).ok_or_else(|| {
                    malformed(&format!("a parameter is NAME TYPE [= DEFAULT]  DESCRIPTION, not {value:?}"))
                })?;
                if let Some(default) = &parameter.default {
                    parameter.read(default, Utc(0)).map_err(|what| malformed(&what))?;
                }
                self.parameters.push(parameter);
            }
            _ => return Err(malformed(&format!("its header has no {key:?}"))),
        }
        Ok(())
    }

    /// Values for all parameters, from what was given.
    pub fn bind(
        &self,
        given: &BTreeMap<String, String>,
        now: Utc,
    ) -> Result<BTreeMap<String, Parameter>, QueryError> {
        let wrong =
            |what: String| QueryError::new(Kind::Question, what, "indelible search --show NAME lists them");
        if let Some(unknown) =
            given.keys().find(|name| self.parameters.iter().all(|known| known.name != **name))
        {
            return Err(wrong(format!("the search {} has no parameter {unknown:?}", self.name)));
        }
        let values = self.parameters.iter().map(|parameter| {
            let text = given.get(&parameter.name).or(parameter.default.as_ref()).ok_or_else(|| {
                wrong(format!("the search {} needs a value for {}", self.name, parameter.name))
            })?;
            Ok((parameter.name.clone(), parameter.read(text, now).map_err(wrong)?))
        });
        values.collect()
    }
}

impl Declared {
    fn parse(text: &str) -> Option<Self> {
        let (declared, about) = text.split_once("  ").unwrap_or((text, ""));
        let (head, default) = match declared.split_once('=') {
            Some((head, default)) => (head, Some(default.trim().to_owned())),
            None => (declared, None),
        };
        let mut words = head.split_whitespace();
        let (name, of) = (words.next()?, Type::named(words.next()?)?);
        let is_name = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        (is_name && words.next().is_none()).then(|| Self {
            name: name.to_owned(),
            of,
            default,
            about: about.trim().to_owned(),
        })
    }

    fn read(&self, text: &str, now: Utc) -> Result<Parameter, String> {
        let is_null = text == "null" && self.default.as_deref() == Some("null");
        let value = match self.of {
            Type::Text => Some(Parameter::Text((!is_null).then(|| text.to_owned()))),
            Type::Int if is_null => Some(Parameter::Int(None)),
            Type::Int => text.parse().ok().map(|number| Parameter::Int(Some(number))),
            Type::Time if is_null => Some(Parameter::Time(None)),
            Type::Time => moment(text, now).map(|at| Parameter::Time(Some(at))),
            Type::Flag if is_null => Some(Parameter::Flag(None)),
            Type::Flag => text.parse().ok().map(|flag| Parameter::Flag(Some(flag))),
        };
        value.ok_or_else(|| format!("{} is of type {}, and {text:?} is not", self.name, self.of.name()))
    }
}

/// A moment in microseconds: RFC 3339, a date, `now`, or so far before it.
fn moment(text: &str, now: Utc) -> Option<i64> {
    if text == "now" {
        return Some(now.0);
    }
    let Some(back) = text.strip_prefix('-') else { return text.parse::<Utc>().ok().map(|at| at.0) };
    let unit = back.chars().last()?;
    let amount: i64 = back[..back.len() - unit.len_utf8()].parse().ok().filter(|amount| *amount >= 0)?;
    let seconds: i64 = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return None,
    };
    now.0.checked_sub(amount.checked_mul(seconds)?.checked_mul(1_000_000)?)
}

/// `-- key: value` at the beginning of a text, and what comes behind that line.
fn header_line(text: &str) -> Option<(&str, &str, &str)> {
    let (line, behind) = text.split_once('\n').unwrap_or((text, ""));
    let (key, value) = line.strip_prefix("-- ")?.split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase());
    is_key.then(|| (key, value.trim(), behind))
}

fn malformed(what: &str) -> QueryError {
    QueryError::new(Kind::Question, "a saved search cannot be read", "docs/searches.md shows the form")
        .detail(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
-- name: of-user
-- title: Of one user
-- answers: Q03, Q26
-- clause: GDPR Art. 15
-- param: user text  Who
-- param: since time = -2d  Not before
-- param: model text = null
-- A remark that is no header.
SELECT 1;
";

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_header_says_what_a_search_is() {
        let search = Search::parse(TEXT).unwrap();
        assert_eq!((search.name.as_str(), search.title.as_str()), ("of-user", "Of one user"));
        assert_eq!(search.answers, ["Q03", "Q26"]);
        assert_eq!(search.parameters[0].about, "Who");
        assert!(search.sql.starts_with("-- A remark") && search.sql.ends_with("SELECT 1"));
    }

    #[test]
    fn parameters_are_values_of_their_type() {
        let search = Search::parse(TEXT).unwrap();
        let now = Utc(1_000_000_000_000_000);
        let bound = search.bind(&given(&[("user", "x' OR 1=1 --")]), now).unwrap();
        assert_eq!(bound["user"], Parameter::Text(Some("x' OR 1=1 --".to_owned())));
        assert_eq!(bound["since"], Parameter::Time(Some(now.0 - 2 * 86_400 * 1_000_000)));
        assert_eq!(bound["model"], Parameter::Text(None));
        assert!(search.bind(&given(&[]), now).unwrap_err().what.contains("user"));
        assert!(search.bind(&given(&[("user", "a"), ("sinse", "now")]), now).is_err());
        for bad in ["yesterday", "-d", "-5x", "--5d", "-ü", "-9223372036854775807d"] {
            assert!(search.bind(&given(&[("user", "a"), ("since", bad)]), now).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_search_is_refused() {
        for bad in [
            "SELECT 1",
            "-- name: x\nSELECT 1",
            "-- name: X Y\n-- title: t\nSELECT 1",
            "-- name: x\n-- title: t\n",
            "-- name: x\n-- title: t\n-- parma: a text\nSELECT 1",
            "-- name: x\n-- title: t\n-- param: a number\nSELECT 1",
            "-- name: x\n-- title: t\n-- param: a int = b\nSELECT 1",
            "-- name: x\n-- title: t\n-- ledger: all\nSELECT 1",
        ] {
            assert!(Search::parse(bad).is_err(), "{bad}");
        }
    }
}
