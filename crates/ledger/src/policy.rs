//! Whom an auditor trusts: keys of logs, keys of witnesses, and how many of these must agree (C2SP tlog-policy).
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <member>…
//! quorum <name>|none
//! ```
//!
//! Items are separated by spaces and tabs; lines that are empty or begin with `#` are passed over. A name is defined before it
//! is used, and is a member once at most, so that no witness counts twice.
//!
//! A log that changed keys has a line for each. `#sizes <from> <to>` before such a line, `-` for no end, says which tree sizes
//! the key may have signed, both included; to other programs it is a comment, and they accept the key for all sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature;
use crate::key::{KeyKind, VerifierKey};
use crate::note::{Note, NoteError};
use crate::text;

/// The longest policy that is read, in bytes.
pub const POLICY_MAX_BYTES: usize = 1 << 18;
/// Most logs, most witnesses and most groups (the specification asks for 32).
pub const POLICY_ITEMS_MAX: usize = 256;

/// A policy that was read and is well formed.
#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: BTreeMap<String, Group>,
    /// `None`: no cosignature is asked for.
    quorum: Option<String>,
}

/// A witness of a policy.
#[derive(Clone, Debug)]
pub struct Witness {
    /// What the policy calls it.
    pub name: String,
    /// Its key, of kind [`KeyKind::Cosignature`].
    pub key: VerifierKey,
    /// Where it is submitted to.
    pub url: Option<String>,
}

/// A key of a log.
#[derive(Clone, Debug)]
struct Log {
    key: VerifierKey,
    url: Option<String>,
    /// The sizes that it may sign.
    sizes: RangeInclusive<u64>,
}

#[derive(Clone, Debug)]
struct Group {
    needed: usize,
    members: Vec<String>,
}

/// A checkpoint that a policy accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The witnesses of the policy that cosigned it, and when (seconds since 1970), in the order of the lines.
    pub cosigned: Vec<(String, u64)>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`] with the line, counted from 1, that is wrong; 0 if it is the whole.
    pub fn parse(bytes: &[u8]) -> Result<Policy, PolicyError> {
        let whole = |what: &str| PolicyError { line: 0, what: what.to_owned() };
        if bytes.len() > POLICY_MAX_BYTES {
            return Err(whole("the policy is too long"));
        }
        if bytes.iter().any(|byte| matches!(byte, 0..=8 | 11..=31 | 127)) {
            return Err(whole("the policy holds a control character"));
        }
        // Names are octets to the specification. Keys and names that anybody has are UTF-8.
        let text = std::str::from_utf8(bytes).map_err(|_| whole("the policy is not UTF-8"))?;
        let mut builder = Builder::default();
        for (number, line) in text.lines().enumerate() {
            builder.take(line).map_err(|what| PolicyError { line: number + 1, what })?;
        }
        if builder.sizes.is_some() {
            return Err(whole("a #sizes line has no log line behind it"));
        }
        let quorum = builder.quorum.ok_or_else(|| whole("there is no quorum line"))?;
        Ok(Policy { logs: builder.logs, witnesses: builder.witnesses, groups: builder.groups, quorum })
    }

    /// The keys of the log with this origin that may sign a tree of this size.
    pub fn log_keys(&self, origin: &str, size: u64) -> Vec<VerifierKey> {
        let may = |log: &&Log| log.key.name() == origin && log.sizes.contains(&size);
        self.logs.iter().filter(may).map(|log| log.key.clone()).collect()
    }

    /// The keys of the log with this origin that may sign a list of files over a tree of this size: those that may sign it or a
    /// larger one. A key that came later may, because the one before it is destroyed; one that was retired before may not.
    pub fn manifest_keys(&self, origin: &str, size: u64) -> Vec<VerifierKey> {
        let may = |log: &&Log| log.key.name() == origin && size <= *log.sizes.end();
        self.logs.iter().filter(may).map(|log| log.key.clone()).collect()
    }

    /// The logs, and where they are.
    pub fn logs(&self) -> impl Iterator<Item = (&VerifierKey, Option<&str>)> {
        self.logs.iter().map(|log| (&log.key, log.url.as_deref()))
    }

    /// The witnesses, in the order of the policy.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Opens a checkpoint of the log `origin`: signed by a key that the policy has for it, and cosigned by a quorum.
    ///
    /// # Errors
    /// [`PolicyRefusal::Checkpoint`] if the log's signature or the form is wrong, [`PolicyRefusal::Cosignature`] if a line
    /// of a witness of the policy does not verify, [`PolicyRefusal::Quorum`] if not enough of them cosigned.
    pub fn open(&self, note: &[u8], origin: &str) -> Result<Accepted, PolicyRefusal> {
        let parsed = Note::parse(note).map_err(CheckpointError::Note)?;
        let size = Checkpoint::parse_body(parsed.text())?.size();
        let checkpoint = Checkpoint::open(note, origin, &self.log_keys(origin, size))?;
        let note = parsed;
        let cosigned = self.cosigned(&note).map_err(PolicyRefusal::Cosignature)?;
        if self.is_satisfied_by(&cosigned) {
            Ok(Accepted { checkpoint, cosigned })
        } else {
            Err(PolicyRefusal::Quorum {
                quorum: self.quorum.clone().unwrap_or_default(),
                cosigned: cosigned.len(),
            })
        }
    }

    /// The witnesses of the policy that cosigned, and when.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] if a line of one of them does not verify.
    pub fn cosigned(&self, note: &Note) -> Result<Vec<(String, u64)>, NoteError> {
        let keys: Vec<VerifierKey> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let verified = match note.verify(&keys) {
            Err(NoteError::NoKnownSignature) => return Ok(Vec::new()),
            outcome => outcome?,
        };
        let named = verified.iter().filter_map(|one| {
            let witness = self.witnesses.iter().find(|witness| witness.key == *one.key)?;
            Some((witness.name.clone(), cosignature::time_of(one.signature)?))
        });
        Ok(named.collect())
    }

    /// Whether these witnesses, by name, are a quorum.
    pub fn is_satisfied_by(&self, cosigned: &[(String, u64)]) -> bool {
        match &self.quorum {
            None => true,
            Some(name) => self.is_witnessed(name, &cosigned.iter().map(|(name, _)| name.as_str()).collect()),
        }
    }

    /// The earliest time up to which these witnesses, by name, were a quorum: from then on that many say that the checkpoint was.
    /// `None` if they are none, or the policy asks for none.
    pub fn time_of(&self, cosigned: &[(String, u64)]) -> Option<u64> {
        self.quorum.as_ref()?;
        let mut by_time = cosigned.to_vec();
        by_time.sort_by_key(|(_, time)| *time);
        let before = |at: &usize| by_time.get(..=*at).is_some_and(|until| self.is_satisfied_by(until));
        (0..by_time.len()).find(before).and_then(|at| by_time.get(at)).map(|(_, time)| *time)
    }

    /// Ends, because a group only has members that were defined before it.
    fn is_witnessed(&self, name: &str, cosigned: &BTreeSet<&str>) -> bool {
        match self.groups.get(name) {
            None => cosigned.contains(name),
            Some(group) => {
                let witnessed = group.members.iter().filter(|member| self.is_witnessed(member, cosigned));
                witnessed.count() >= group.needed
            }
        }
    }
}

#[derive(Default)]
struct Builder {
    logs: Vec<Log>,
    /// What the line before said of the next key.
    sizes: Option<RangeInclusive<u64>>,
    witnesses: Vec<Witness>,
    groups: BTreeMap<String, Group>,
    names: BTreeSet<String>,
    members: BTreeSet<String>,
    quorum: Option<Option<String>>,
}

impl Builder {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match items[..] {
            [] => Ok(()),
            ["#sizes", ref limits @ ..] => self.sizes(limits),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", vkey] => self.log(vkey, None),
            ["log", vkey, url] => self.log(vkey, Some(url)),
            ["witness", name, vkey] => self.witness(name, vkey, None),
            ["witness", name, vkey, url] => self.witness(name, vkey, Some(url)),
            ["group", name, needed, ref members @ ..] => self.group(name, needed, members),
            ["quorum", name] => self.quorum(name),
            [first, ..] => Err(format!("{first:?} is no line of a policy, or has other items")),
        }
    }

    fn log(&mut self, vkey: &str, url: Option<&str>) -> Result<(), String> {
        let key = key_of(vkey, KeyKind::Ed25519)?;
        if self.logs.len() == POLICY_ITEMS_MAX {
            return Err("too many logs".to_owned());
        }
        if self.logs.iter().any(|other| other.key.public_key() == key.public_key()) {
            return Err("a log with this key was named before".to_owned());
        }
        let sizes = self.sizes.take().unwrap_or(0..=u64::MAX);
        self.logs.push(Log { key, url: url.map(str::to_owned), sizes });
        Ok(())
    }

    fn sizes(&mut self, limits: &[&str]) -> Result<(), String> {
        let wrong = || "#sizes is followed by the first and the last size, or - for no last one".to_owned();
        let &[from, to] = limits else { return Err(wrong()) };
        let from = text::decimal(from).ok_or_else(wrong)?;
        let to = if to == "-" { u64::MAX } else { text::decimal(to).ok_or_else(wrong)? };
        if from > to || self.sizes.is_some() {
            return Err("a #sizes line with no size in it, or a second one before one log line".to_owned());
        }
        self.sizes = Some(from..=to);
        Ok(())
    }

    fn witness(&mut self, name: &str, vkey: &str, url: Option<&str>) -> Result<(), String> {
        let key = key_of(vkey, KeyKind::Cosignature)?;
        if self.witnesses.len() == POLICY_ITEMS_MAX {
            return Err("too many witnesses".to_owned());
        }
        if self.witnesses.iter().any(|other| other.key.public_key() == key.public_key()) {
            return Err("a witness with this key was named before".to_owned());
        }
        self.define(name)?;
        self.witnesses.push(Witness { name: name.to_owned(), key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn group(&mut self, name: &str, needed: &str, members: &[&str]) -> Result<(), String> {
        if self.groups.len() == POLICY_ITEMS_MAX {
            return Err("too many groups".to_owned());
        }
        for member in members {
            if !self.names.contains(*member) {
                return Err(format!("{member:?} was not defined before"));
            }
            if !self.members.insert((*member).to_owned()) {
                return Err(format!("{member:?} is a member already"));
            }
        }
        let needed = match needed {
            "all" => members.len(),
            "any" => 1,
            number => text::decimal(number).and_then(|number| usize::try_from(number).ok()).unwrap_or(0),
        };
        if !(1..=members.len()).contains(&needed) {
            return Err(
                "a group needs at least one member, and all, any, or a number from 1 to how many there are"
                    .to_owned(),
            );
        }
        self.define(name)?;
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.groups.insert(name.to_owned(), Group { needed, members });
        Ok(())
    }

    fn quorum(&mut self, name: &str) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("there is a quorum line already".to_owned());
        }
        if name != "none" && !self.names.contains(name) {
            return Err(format!("{name:?} was not defined before"));
        }
        self.quorum = Some((name != "none").then(|| name.to_owned()));
        Ok(())
    }

    fn define(&mut self, name: &str) -> Result<(), String> {
        if name == "none" || !self.names.insert(name.to_owned()) {
            return Err(format!("{name:?} is a name already"));
        }
        Ok(())
    }
}

fn key_of(vkey: &str, kind: KeyKind) -> Result<VerifierKey, String> {
    let key: VerifierKey = vkey.parse().map_err(|error| format!("{vkey:?}: {error}"))?;
    if key.kind() == kind { Ok(key) } else { Err(format!("{vkey:?} is the key of a {:?}", key.kind())) }
}

/// Bytes are not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy, line {line}: {what}")]
pub struct PolicyError {
    /// The line, counted from 1; 0 is the whole.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// A policy does not accept a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// Form or the log's signature.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A line of a witness of the policy is wrong.
    #[error(transparent)]
    Cosignature(NoteError),
    /// Not enough witnesses cosigned.
    #[error("{cosigned} witnesses of the policy cosigned: that is no quorum ({quorum})")]
    Quorum {
        /// The name of what would be one.
        quorum: String,
        /// How many did.
        cosigned: usize,
    },
}
