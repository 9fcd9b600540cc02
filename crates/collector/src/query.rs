//! What records are asked for, and how each ledger shows it: a user by pseudonym, a string as clear or hashed.

use crate::{CollectorError, draft};
use indelible_os::clock::Utc;
use indelible_record::entry::{Entry, Resource};
use indelible_segment::ids::{self, IdKind};
use indelible_vault::subjects::Basis;
use indelible_vault::{KeyStore, Vault};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What records to look for. Absent means any.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Whose ledger.
    pub tenant: Option<String>,
    /// Event type.
    pub event_type: Option<String>,
    /// Model asked for or returned.
    pub model: Option<String>,
    /// The user, as the application names them.
    pub user: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// The trace.
    pub trace: Option<String>,
    /// The API key, by its id.
    pub api_key: Option<String>,
    /// What was acted upon: type and id.
    pub resource: Option<(String, String)>,
    /// Event id, or request id.
    pub id: Option<String>,
    /// Trace and session are given as entries show them, hashed ones as `h:…`.
    pub as_shown: bool,
    /// Not before.
    pub since: Option<Utc>,
    /// Before.
    pub until: Option<Utc>,
}

/// Why a filter can be that of no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAFilter {
    /// No id of an API key.
    #[error("api_key: not the id of an API key")]
    ApiKey,
    /// No resource.
    #[error("resource: not a type and an id")]
    Resource,
}

impl NotAFilter {
    /// What it should have been.
    pub fn hint(self) -> &'static str {
        match self {
            Self::ApiKey => {
                "it is k: and 32 hex digits: api_key_id of entries, and what indelible key list shows"
            }
            Self::Resource => "it is TYPE/ID, such as record/req-42 or search/errors-by-model",
        }
    }
}

/// The id of an API key: the key itself is in no entry.
pub fn api_key(text: &str) -> Result<String, NotAFilter> {
    if draft::is_key_id(text) { Ok(text.to_owned()) } else { Err(NotAFilter::ApiKey) }
}

/// A resource, given as `TYPE/ID`.
pub fn resource(text: &str) -> Result<(String, String), NotAFilter> {
    let parts = text.split_once('/').filter(|(kind, id)| !kind.is_empty() && !id.is_empty());
    parts.map(|(kind, id)| (kind.to_owned(), id.to_owned())).ok_or(NotAFilter::Resource)
}

/// A query, in the words that entries use.
pub(crate) struct Wanted {
    query: Query,
    /// Per tenant: how its ledger shows the model, the session, the trace, the resource, the id, the user.
    shown: BTreeMap<String, Shown>,
    event_id: Option<Uuid>,
}

#[derive(Default)]
struct Shown {
    model: Option<String>,
    session: Option<String>,
    trace: Option<String>,
    /// As a client's string, and as it was given: the collector's own names are not hashed.
    resource: Option<[Resource; 2]>,
    id: Option<String>,
    subject: Option<String>,
}

impl Wanted {
    /// `None`: nothing can match.
    pub(crate) fn resolve(query: &Query, vault: &mut Vault) -> Result<Option<Self>, CollectorError> {
        let keys = KeyStore::verifier_keys(vault.keys().dir())?;
        let mut tenants: Vec<String> = keys.into_iter().map(|(tenant, _)| tenant).collect();
        if let Some(only) = &query.tenant {
            tenants.retain(|tenant| tenant == only);
            if tenants.is_empty() {
                return Err(CollectorError::UnknownTenant(only.clone()));
            }
        }
        let mut shown = BTreeMap::new();
        for tenant in tenants {
            let mut as_shown = |text: &Option<String>| {
                text.as_ref().map(|text| draft::clear_or_hashed(vault, &tenant, text))
            };
            let of_entry = |text: &Option<String>| text.clone().filter(|_| query.as_shown);
            let mut here = Shown {
                model: as_shown(&query.model),
                session: of_entry(&query.session).or_else(|| as_shown(&query.session)),
                trace: of_entry(&query.trace).or_else(|| as_shown(&query.trace)),
                resource: None,
                id: as_shown(&query.id),
                subject: None,
            };
            here.resource = query.resource.as_ref().map(|(kind, id)| {
                let of = |id: String| Resource { id, kind: kind.clone() };
                [of(draft::clear_or_hashed(vault, &tenant, id)), of(id.clone())]
            });
            if let Some(user) = &query.user {
                let subject = vault.find_subject(&tenant, Basis::User, user)?;
                // A user whom a ledger does not know has no record there.
                let Some(subject) = subject else { continue };
                here.subject = Some(subject.to_string());
            }
            shown.insert(tenant, here);
        }
        let event_id = query.id.as_deref().and_then(|id| id.parse().ok());
        Ok((!shown.is_empty()).then(|| Self { query: query.clone(), shown, event_id }))
    }

    /// Ledgers to look into.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = &str> {
        self.shown.keys().map(String::as_str)
    }

    /// Hashes of the ids of which a record must have one; `None` when no id is asked for.
    pub(crate) fn hashes(&self, tenant: &str) -> Option<Vec<u64>> {
        let shown = self.shown.get(tenant)?;
        if let Some(id) = &shown.id {
            let event = self.event_id.map(|id| ids::hash(IdKind::Event, &id.to_string()));
            return Some(event.into_iter().chain([ids::hash(IdKind::Request, id)]).collect());
        }
        if let Some(trace) = &shown.trace {
            return Some(vec![ids::hash(IdKind::Trace, trace)]);
        }
        if let Some(resource) = &shown.resource {
            return Some(resource.iter().map(|one| ids::resource_hash(&one.kind, &one.id)).collect());
        }
        let session = shown.session.as_ref().map(|session| ids::hash(IdKind::Session, session));
        let subject = || shown.subject.as_ref().map(|subject| ids::hash(IdKind::Subject, subject));
        let api_key = || self.query.api_key.as_ref().map(|key| ids::hash(IdKind::ApiKey, key));
        session.or_else(subject).or_else(api_key).map(|hash| vec![hash])
    }

    /// Columns of which one must have a value, for each value that is asked for.
    pub(crate) fn columns(&self, tenant: &str) -> Vec<(&'static [&'static str], &str)> {
        let model = self.shown.get(tenant).and_then(|shown| shown.model.as_deref());
        let model = model.map(|model| (&["model", "model_returned"][..], model));
        model
            .into_iter()
            .chain(self.query.event_type.as_deref().map(|of| (&["event_type"][..], of)))
            .collect()
    }

    /// Whether a segment can have entries of the time that is asked for.
    pub(crate) fn overlaps(&self, manifest: &indelible_segment::Manifest) -> bool {
        let time = |text: &str| text.parse::<Utc>().ok();
        // The clock may have been set within a segment: its day is what holds of all its entries.
        let day = time(&manifest.date).map(|start| (start, Utc(start.0 + 86_400_000_000)));
        let Some((start, end)) = day else { return true };
        self.query.since.is_none_or(|since| end > since) && self.query.until.is_none_or(|until| start < until)
    }

    /// Whether the time is one that is asked for.
    pub(crate) fn accepts_time(&self, at_us: i64) -> bool {
        self.query.since.is_none_or(|since| at_us >= since.0)
            && self.query.until.is_none_or(|until| at_us < until.0)
    }

    pub(crate) fn accepts(&self, event_id: &Uuid, tenant: &str, entry: &Entry) -> bool {
        let Some(shown) = self.shown.get(tenant) else { return false };
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        is(&shown.session, &entry.session_id)
            && is(&shown.trace, &entry.trace_id)
            && is(&self.query.api_key, &entry.api_key_id)
            && shown.resource.as_ref().is_none_or(|either| {
                entry.resource.as_ref().is_some_and(|resource| either.contains(resource))
            })
            && (shown.model.is_none() || shown.model == entry.model || shown.model == entry.model_returned)
            && self.query.event_type.as_ref().is_none_or(|wanted| *wanted == entry.event_type)
            && is(&shown.subject, &entry.subject_ref)
            && (shown.id.is_none() || self.event_id == Some(*event_id) || shown.id == entry.request_id)
            && entry.timestamp.parse::<Utc>().is_ok_and(|at| self.accepts_time(at.0))
    }
}
