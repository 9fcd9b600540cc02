//! Ledgers that this one goes on from, and telling who acknowledged what.
//!
//! A source shows the token of what it was told last. One of this collector's own, for more than it has, proves that
//! records were lost. One of a predecessor proves that the predecessor had them: a successor states that as a gap and
//! goes on. So each collector has an acknowledgement key of its own, derived under a context of its own, and a successor
//! knows the contexts of those before it.
//!
//! ```text
//! DIR.keys/predecessors    {"v":1,"acknowledgement":"…","before":[{"operations":"…","acknowledgement":"","sources":{…}}]}
//! ```
//!
//! The file is made with a successor, and never changes. The first collector has none, and the empty context.

use crate::CollectorError;
use indelible_os::durable::{self, MODE_SECRET};
use indelible_record::commitment::to_hex;
use indelible_record::shipping::Acknowledged;
use indelible_vault::KeyStore;
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

/// Bytes of a token, in hex twice as many digits.
const TOKEN_BYTES: usize = 16;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Predecessors {
    v: u32,
    /// Context of the key that this collector acknowledges with.
    pub(crate) acknowledgement: String,
    /// Oldest first.
    pub(crate) before: Vec<Before>,
}

/// One that this one goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Before {
    /// Origin of its operations ledger.
    pub(crate) operations: String,
    /// Context of the key that it acknowledged with.
    pub(crate) acknowledgement: String,
    /// The last frame of each incarnation that was found in its log when its successor was made. That log is what may
    /// have been altered: this is said of a gap, and nothing is decided by it.
    pub(crate) sources: BTreeMap<Uuid, u64>,
}

impl Predecessors {
    /// Who went before in a key directory, and one more.
    pub(crate) fn after(
        dir: &Path,
        operations: &str,
        sources: BTreeMap<Uuid, u64>,
    ) -> Result<Self, CollectorError> {
        let old = Self::read(dir)?;
        let last =
            Before { operations: operations.to_owned(), acknowledgement: old.acknowledgement, sources };
        let before = old.before.into_iter().chain([last]).collect();
        let acknowledgement = to_hex(&crate::sequencer::random_id()?);
        Ok(Self { v: 1, acknowledgement, before })
    }

    /// Reads a key directory's file; without one there was nobody before.
    pub(crate) fn read(dir: &Path) -> Result<Self, CollectorError> {
        let path = path_in(dir);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { v: 1, acknowledgement: String::new(), before: Vec::new() });
            }
            Err(error) => return Err(CollectorError::io(&path)(error)),
        };
        let format = |what: String| CollectorError::Format { path: path.clone(), what };
        let this: Self = serde_json::from_slice(&bytes)
            .map_err(|error| format(format!("not a list of predecessors: {error}")))?;
        match this.v {
            1 => Ok(this),
            v => Err(format(format!("version {v}, but this program reads version 1"))),
        }
    }

    /// Writes the file of a new key directory.
    pub(crate) fn create(&self, dir: &Path) -> Result<(), CollectorError> {
        let path = path_in(dir);
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|error| CollectorError::Sign(error.to_string()))?;
        bytes.push(b'\n');
        durable::create(&path, &bytes, MODE_SECRET).map_err(CollectorError::io(&path))
    }
}

/// The file in a key directory.
fn path_in(keys: &Path) -> PathBuf {
    keys.join("predecessors")
}

/// Makes tokens, and knows those of predecessors.
pub(crate) struct Tokens {
    own: hmac::Key,
    before: Vec<(hmac::Key, Before)>,
}

impl Tokens {
    /// Those of a key directory.
    pub(crate) fn of(keys: &KeyStore) -> Result<Self, CollectorError> {
        let key = |context: &str| hmac::Key::new(hmac::HMAC_SHA256, &*keys.derive("ack", context));
        let Predecessors { acknowledgement, before, .. } = Predecessors::read(keys.dir())?;
        let before = before.into_iter().map(|before| (key(&before.acknowledgement), before)).collect();
        Ok(Self { own: key(&acknowledgement), before })
    }

    /// Shows a source later that it was this collector that acknowledged a frame.
    pub(crate) fn make(&self, incarnation: Uuid, seq: u64) -> String {
        token(&self.own, incarnation, seq)
    }

    /// Whether it was this collector that acknowledged this.
    pub(crate) fn is_own(&self, incarnation: Uuid, told: &Acknowledged) -> bool {
        is_made_with(&self.own, incarnation, told)
    }

    /// Which predecessor acknowledged this, if one did.
    pub(crate) fn predecessor(&self, incarnation: Uuid, told: &Acknowledged) -> Option<&Before> {
        let made = |(key, _): &&(hmac::Key, Before)| is_made_with(key, incarnation, told);
        self.before.iter().rev().find(made).map(|(_, before)| before)
    }

    /// The one right before this one.
    pub(crate) fn newest_predecessor(&self) -> Option<&Before> {
        self.before.last().map(|(_, before)| before)
    }
}

/// Takes as long for a token that is nearly right as for another.
fn is_made_with(key: &hmac::Key, incarnation: Uuid, told: &Acknowledged) -> bool {
    token(key, incarnation, told.seq).as_bytes().ct_eq(told.token.as_bytes()).into()
}

fn token(key: &hmac::Key, incarnation: Uuid, seq: u64) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(incarnation.as_bytes());
    context.update(&seq.to_le_bytes());
    let sign = context.sign();
    to_hex(sign.as_ref().get(..TOKEN_BYTES).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_tokens_of_its_own_and_knows_those_before_it() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = |name: &str| {
            let dir = temp.path().join(name);
            std::fs::create_dir(&dir).expect("made");
            std::fs::write(dir.join("master.key"), [7; 32]).expect("written");
            dir
        };
        let tokens = |dir: &Path| Tokens::of(&KeyStore::open(dir).expect("keys")).expect("tokens");
        let (first, second, third) = (dir("1"), dir("2"), dir("3"));
        let (source, mark) = (Uuid::from_u128(5), BTreeMap::from([(Uuid::from_u128(5), 3)]));
        Predecessors::after(&first, "o/1", mark).and_then(|made| made.create(&second)).expect("made");
        Predecessors::after(&second, "o/2", BTreeMap::new())
            .and_then(|made| made.create(&third))
            .expect("made");

        let told = |dir: &Path| Acknowledged { seq: 9, token: tokens(dir).make(source, 9) };
        let (by_first, by_second, by_third) = (told(&first), told(&second), told(&third));
        assert_ne!(by_first, by_second);
        assert_ne!(by_second, by_third);
        let named = |dir: &Path, told: &Acknowledged| {
            tokens(dir).predecessor(source, told).map(|before| before.operations.clone())
        };
        assert_eq!(named(&third, &by_first).as_deref(), Some("o/1"));
        assert_eq!(named(&third, &by_second).as_deref(), Some("o/2"));
        assert_eq!(named(&third, &by_third), None, "its own is no predecessor's");
        assert_eq!(named(&second, &by_third), None);
        assert_eq!(named(&first, &by_first), None);
        let own = |dir: &Path, told: &Acknowledged| tokens(dir).is_own(source, told);
        assert!(own(&first, &by_first) && own(&third, &by_third));
        assert!(!own(&second, &by_first) && !own(&first, &by_second) && !own(&third, &by_second));
        let other = Acknowledged { seq: 10, ..by_first };
        assert_eq!(named(&third, &other), None);
        assert_eq!(tokens(&second).newest_predecessor().map(|before| before.sources[&source]), Some(3));
    }
}
