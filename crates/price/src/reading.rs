//! What a usage object means.
//!
//! Model servers count alike and write it down differently: whether cached tokens are among the input tokens,
//! whether reasoning is among the output, what the members are called. The price data says for each provider
//! where its usage objects hold which count. Several readings may stand side by side, one for each kind of
//! interface. The one is taken that fits (all members are there that it requires), of those one that goes into a
//! nested object meant for billing, then the one that finds the most counts, then the first.

use crate::matching::{Clause, RawClause};
use crate::unit::{Unit, Usage};
use serde::Deserialize;
use serde_json::Value;

/// Largest usage object that is read. They are a few hundred bytes.
const USAGE_MAX_BYTES: usize = 16 << 10;

#[derive(Debug, Deserialize)]
pub(crate) struct RawReading {
    root: RawPath,
    mappings: Vec<RawMapping>,
}

#[derive(Debug, Deserialize)]
struct RawMapping {
    path: RawPath,
    dest: String,
    #[serde(default = "yes")]
    required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawPath {
    One(String),
    Many(Vec<RawStep>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawStep {
    Member(String),
    Item { field: String, r#match: RawClause },
}

fn yes() -> bool {
    true
}

/// One way to read a usage object.
#[derive(Debug)]
pub(crate) struct Reading {
    root: Vec<Step>,
    mappings: Vec<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    path: Vec<Step>,
    unit: Unit,
    required: bool,
}

#[derive(Debug)]
enum Step {
    Member(String),
    /// The first item of a list whose member fits.
    Item(String, Clause),
}

impl Reading {
    /// `None`: it reads something that is no usage object.
    pub(crate) fn compile(raw: RawReading) -> Result<Option<Self>, String> {
        let Some(root) = within_usage(steps(raw.root)?) else { return Ok(None) };
        let mut mappings = Vec::new();
        for RawMapping { path, dest, required } in raw.mappings {
            let unit = Unit::named(&dest).ok_or_else(|| format!("{dest:?} is not a unit that is known"))?;
            mappings.push(Mapping { path: steps(path)?, unit, required });
        }
        Ok(Some(Self { root, mappings }))
    }

    /// What it finds, and how many counts that is. `None`: it does not fit.
    fn read(&self, usage: &Value) -> Option<(Usage, usize)> {
        let root = walk(usage, &self.root)?;
        let mut found = Usage::default();
        let mut counts = 0;
        for mapping in &self.mappings {
            match walk(root, &mapping.path).and_then(Value::as_u64) {
                Some(count) => {
                    found.add(mapping.unit, count).ok()?;
                    counts += 1;
                }
                None if mapping.required => return None,
                None => {}
            }
        }
        (counts > 0).then_some((found, counts))
    }
}

/// A usage object as the model server sent it, read by whichever of the readings fits best.
pub(crate) fn read(readings: &[Reading], usage: &Value) -> Option<Usage> {
    let mut best: Option<((usize, usize), Usage)> = None;
    for reading in readings {
        if let Some((found, counts)) = reading.read(usage) {
            let rank = (reading.root.len(), counts);
            if best.as_ref().is_none_or(|(before, _)| rank > *before) {
                best = Some((rank, found));
            }
        }
    }
    best.map(|(_, found)| found)
}

/// A usage object, if it is one.
pub(crate) fn parse(text: &str) -> Option<Value> {
    if text.len() > USAGE_MAX_BYTES {
        return None;
    }
    serde_json::from_str(text).ok().filter(Value::is_object)
}

fn steps(path: RawPath) -> Result<Vec<Step>, String> {
    let raw = match path {
        RawPath::One(member) => vec![RawStep::Member(member)],
        RawPath::Many(steps) => steps,
    };
    raw.into_iter()
        .map(|step| match step {
            RawStep::Member(name) => Ok(Step::Member(name)),
            RawStep::Item { field, r#match } => Ok(Step::Item(field, Clause::compile(r#match)?)),
        })
        .collect()
}

/// The data's roots begin at the whole answer; what is at hand is the usage object in it.
fn within_usage(mut root: Vec<Step>) -> Option<Vec<Step>> {
    const NAMES: [&str; 4] = ["usage", "usageMetadata", "usage_info", "tokenUsage"];
    let at =
        root.iter().position(|step| matches!(step, Step::Member(name) if NAMES.contains(&name.as_str())))?;
    Some(root.split_off(at + 1))
}

fn walk<'a>(from: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(from, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Item(field, clause) => value.as_array()?.iter().find(|item| {
            item.get(field).and_then(Value::as_str).is_some_and(|name| clause.fits(&name.to_lowercase()))
        }),
    })
}
