//! The gateway's own keys: the file that they are kept in, and looking one up.
//!
//! The file holds no key, only HMAC-SHA-256 of each under the deployment's key for API key ids; its first
//! half, as `k:…`, is the id that entries name. `docs/formats/api-keys.md` describes it.

use super::key_text::{self, Form};
use super::limits::Limits;
use indelible_os::clock::{self, Utc};
use indelible_os::random;
use indelible_record::commitment::{from_hex, to_hex};
use ring::digest::{SHA256, digest};
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Version of the file that this program writes and reads.
const VERSION: u32 = 1;
/// What is authenticated to tell that a file and a key for API key ids belong together.
const CHECK: &[u8] = b"indelible api keys v1";
/// Bytes of a hash that make an id.
const ID_BYTES: usize = 16;
/// Longest note, and longest user id.
const TEXT_MAX_BYTES: usize = 256;

/// A keyed hash of an API key. It has no `==`: comparing two takes the same time wherever they differ.
///
/// ```compile_fail,E0369
/// fn same(one: &indelible_gateway::access::KeyHash, other: &indelible_gateway::access::KeyHash) -> bool {
///     one == other
/// }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

/// The id that a hash begins with.
type Id = [u8; ID_BYTES];

impl KeyHash {
    /// The hash of what a client sent.
    pub(crate) fn of(sent: &[u8], key: &hmac::Key) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(key, sent).as_ref());
        Self(hash)
    }

    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    fn id(&self) -> Id {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&self.0[..ID_BYTES]);
        id
    }

    /// The id as entries name it.
    pub(crate) fn id_text(&self) -> String {
        format!("k:{}", to_hex(&self.id()))
    }
}

impl TryFrom<String> for KeyHash {
    type Error = &'static str;

    fn try_from(hex: String) -> Result<Self, Self::Error> {
        from_hex(&hex).map(Self).ok_or("expected 64 lower-case hex digits")
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        to_hex(&hash.0)
    }
}

/// One key, as the file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// What the key hashes to.
    pub hmac: KeyHash,
    /// When it was made.
    #[serde(with = "time")]
    pub created: Utc,
    /// Whose ledger its requests are recorded in; the route's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Who uses it. Outranks what a request says of its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Names of the routes that it may use; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Most requests a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Most requests at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<NonZeroU32>,
    /// From when on it is refused.
    #[serde(default, with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub expires: Option<Utc>,
    /// Since when it is refused.
    #[serde(default, with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Utc>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may.
    Active,
    /// It was taken back.
    Revoked,
    /// Its time is over.
    Expired,
}

impl State {
    /// The word that people are shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl ApiKey {
    /// A key that may be used for everything, for ever, and the hash that it is known by.
    pub fn new(hmac: KeyHash) -> Self {
        Self {
            hmac,
            created: clock::now(),
            tenant: None,
            user: None,
            routes: Vec::new(),
            requests_per_minute: None,
            concurrent_requests: None,
            expires: None,
            revoked: None,
            note: None,
        }
    }

    /// The id that entries name.
    pub fn id(&self) -> String {
        self.hmac.id_text()
    }

    /// Whether it may be used.
    pub fn state(&self) -> State {
        match (self.revoked, self.expires) {
            (Some(_), _) => State::Revoked,
            // The clock is read for those keys alone that ask for it.
            (None, Some(expires)) if expires <= clock::now() => State::Expired,
            _ => State::Active,
        }
    }

    /// What it may have.
    pub fn limits(&self) -> Limits {
        Limits {
            requests_per_minute: self.requests_per_minute,
            concurrent_requests: self.concurrent_requests,
        }
    }

    fn check(&self) -> Result<(), String> {
        let id = self.id();
        if let Some(tenant) = self.tenant.as_deref().filter(|tenant| !crate::config::is_tenant_id(tenant)) {
            return Err(format!("key {id}: tenant {tenant:?}: use [a-z0-9][a-z0-9_-]{{0,63}}"));
        }
        let fits =
            |text: &String| (1..=TEXT_MAX_BYTES).contains(&text.len()) && !text.contains(char::is_control);
        if !self.user.iter().chain(&self.note).all(fits) {
            return Err(format!("key {id}: user and note are 1 to {TEXT_MAX_BYTES} bytes on one line"));
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    /// Tells that the file belongs to the key for API key ids at hand.
    check: String,
    keys: Vec<ApiKey>,
}

/// All keys of a file.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    keys: Vec<Arc<ApiKey>>,
    by_id: HashMap<Id, usize>,
    check: String,
    digest: Option<String>,
}

impl ApiKeys {
    /// No keys yet, for the deployment with this key for API key ids.
    pub fn empty(id_key: &[u8; 32]) -> Self {
        Self { keys: Vec::new(), by_id: HashMap::new(), check: check(id_key), digest: None }
    }

    /// Reads a file.
    pub fn parse(bytes: &[u8], id_key: &[u8; 32]) -> Result<Self, String> {
        // The version first: a later one may have members that this program does not know.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                return Err(format!(
                    "API keys of format version {version}, but this program reads version {VERSION}"
                ));
            }
            None => return Err("not a file of API keys".to_owned()),
        }
        let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let mut keys = Self::empty(id_key);
        if file.check != keys.check {
            return Err(
                "made with another gateway.api_key_id_key: no key in it would be recognised".to_owned()
            );
        }
        keys.digest = Some(digest_text(bytes));
        for key in file.keys {
            key.check()?;
            keys.add(key)?;
        }
        Ok(keys)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let keys = self.keys.iter().map(|key| ApiKey::clone(key)).collect();
        let file = File { version: VERSION, check: self.check.clone(), keys };
        #[allow(clippy::unwrap_used)] // Plain structs: no map keys that are not strings.
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap();
        bytes.push(b'\n');
        bytes
    }

    /// Makes a key: what its holder is told once, and what is kept of it.
    pub fn generate(id_key: &[u8; 32]) -> Result<(Zeroizing<String>, KeyHash), String> {
        let random =
            Zeroizing::new(random::bytes::<32>().map_err(|error| format!("no randomness: {error}"))?);
        let text = key_text::of_bytes(&random);
        let hash = Self::hash(&text, id_key).ok_or("a key that was just made is none")?;
        Ok((text, hash))
    }

    /// The hash of a whole key, if it is one.
    pub fn hash(text: &str, id_key: &[u8; 32]) -> Option<KeyHash> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, id_key);
        (key_text::form_of(text.as_bytes()) == Form::Whole).then(|| KeyHash::of(text.as_bytes(), &key))
    }

    /// Adds a key.
    pub fn add(&mut self, key: ApiKey) -> Result<(), String> {
        key.check()?;
        let id = key.hmac.id();
        if self.by_id.insert(id, self.keys.len()).is_some() {
            return Err(format!("key {} stands twice", key.id()));
        }
        self.keys.push(Arc::new(key));
        Ok(())
    }

    /// Takes a key back; one that was taken back stays so. `false`: there is no such key.
    pub fn revoke(&mut self, id: &str) -> bool {
        let Some(key) = self.keys.iter_mut().find(|key| key.id() == id) else { return false };
        Arc::make_mut(key).revoked.get_or_insert_with(clock::now);
        true
    }

    /// The key with this hash, whatever its state.
    pub(crate) fn find(&self, hash: &KeyHash) -> Option<&Arc<ApiKey>> {
        // Finding by id compares in no constant time. It is the half of a keyed hash that nobody without the
        // key can steer, and it stands in entries; what decides is the comparison of the whole.
        let key = &self.keys[*self.by_id.get(&hash.id())?];
        key.hmac.is(hash).then_some(key)
    }

    /// All keys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.keys.iter().map(|key| &**key)
    }

    /// `sha256:<hex>` of the file that they were read from.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Ids of the keys that differ: added, removed or changed.
    pub fn changed_since(&self, before: &Self) -> Vec<String> {
        let shown = |keys: &Self| -> HashMap<Id, Option<serde_json::Value>> {
            keys.keys.iter().map(|key| (key.hmac.id(), serde_json::to_value(&**key).ok())).collect()
        };
        let (here, there) = (shown(self), shown(before));
        let mut ids: Vec<&Id> =
            here.keys().chain(there.keys()).filter(|id| here.get(*id) != there.get(*id)).collect();
        ids.sort();
        ids.dedup();
        ids.into_iter().map(|id| format!("k:{}", to_hex(id))).collect()
    }
}

/// `sha256:<hex>` of a file.
pub fn digest_text(bytes: &[u8]) -> String {
    format!("sha256:{}", to_hex(digest(&SHA256, bytes).as_ref()))
}

fn check(id_key: &[u8; 32]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, id_key), CHECK);
    to_hex(&tag.as_ref()[..8])
}

mod time {
    use indelible_os::clock::Utc;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Utc, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Utc, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

mod optional_time {
    use indelible_os::clock::Utc;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Option<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::time::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Utc>, D::Error> {
        super::time::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID_KEY: [u8; 32] = [7; 32];

    fn made() -> (Zeroizing<String>, ApiKeys) {
        let mut keys = ApiKeys::empty(&ID_KEY);
        let (text, hash) = ApiKeys::generate(&ID_KEY).unwrap();
        keys.add(ApiKey {
            user: Some("jane".to_owned()),
            note: Some("laptop".to_owned()),
            ..ApiKey::new(hash)
        })
        .unwrap();
        (text, keys)
    }

    fn found(keys: &ApiKeys, text: &str) -> Option<String> {
        keys.find(&ApiKeys::hash(text, &ID_KEY)?).map(|key| key.id())
    }

    #[test]
    fn the_file_reads_back_and_holds_no_key() {
        let (text, keys) = made();
        let bytes = keys.to_bytes();
        assert!(!String::from_utf8(bytes.clone()).unwrap().contains(&text[4..]));
        let again = ApiKeys::parse(&bytes, &ID_KEY).unwrap();
        assert_eq!(again.to_bytes(), bytes);
        assert!(found(&again, &text).is_some());
        assert!(found(&again, &ApiKeys::generate(&ID_KEY).unwrap().0).is_none());
    }

    #[test]
    fn a_hash_that_shares_only_the_id_is_not_taken() {
        let (text, keys) = made();
        let mut hash = ApiKeys::hash(&text, &ID_KEY).unwrap();
        hash.0[31] ^= 1;
        assert!(keys.find(&hash).is_none());
    }

    #[test]
    fn a_key_that_was_taken_back_stays_so_and_one_expires() {
        let (_, mut keys) = made();
        let id = keys.iter().next().unwrap().id();
        assert!(!keys.revoke("k:unknown"));
        assert!(keys.revoke(&id));
        let first = keys.iter().next().unwrap().revoked;
        assert!(keys.revoke(&id));
        let key = keys.iter().next().unwrap().clone();
        assert_eq!((key.state(), key.revoked), (State::Revoked, first));
        let key = |expires| ApiKey { expires: Some(expires), revoked: None, ..key.clone() };
        assert_eq!(key(Utc(clock::now().0 - 1)).state(), State::Expired);
        assert_eq!(key(Utc(clock::now().0 + 60_000_000)).state(), State::Active);
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused_by_name() {
        let (_, keys) = made();
        let text = String::from_utf8(keys.to_bytes()).unwrap();
        let refused = |text: &str, id_key: &[u8; 32]| ApiKeys::parse(text.as_bytes(), id_key).unwrap_err();
        assert!(refused(&text, &[8; 32]).contains("api_key_id_key"));
        assert!(refused(&text.replace("\"version\": 1", "\"version\": 2"), &ID_KEY).contains("version 2"));
        assert!(refused(&text.replace("\"user\"", "\"usr\""), &ID_KEY).contains("usr"));
        assert!(refused(&text.replace("\"jane\"", "\"\""), &ID_KEY).contains("user and note"));
        assert!(refused("{}", &ID_KEY).contains("not a file of API keys"));
        let one = &text[text.find("    {").unwrap()..text.rfind("\n  ]").unwrap()];
        assert!(refused(&text.replace(one, &format!("{one},{one}")), &ID_KEY).contains("stands twice"));
    }

    #[test]
    fn what_changed_is_named_by_id() {
        let (_, before) = made();
        let mut after = before.clone();
        assert!(after.changed_since(&before).is_empty());
        after.add(ApiKey::new(ApiKeys::generate(&ID_KEY).unwrap().1)).unwrap();
        let old = before.iter().next().unwrap().id();
        after.revoke(&old);
        assert_eq!(after.changed_since(&before).len(), 2);
        assert!(after.changed_since(&before).contains(&old));
        assert_eq!(before.changed_since(&after), after.changed_since(&before));
    }
}
