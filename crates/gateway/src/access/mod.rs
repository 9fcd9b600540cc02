//! Who may call, where a request goes, and what is said when it may not: the gateway's rules.
//!
//! ```text
//! headers ─▶ identify ─▶ Caller ─┐
//! method, path, model ───────────┴▶ admit ─▶ Admission: route, ticket, or why it is turned away
//! ```
//!
//! * [`routes`]: which route takes a request
//! * [`keys`], [`key_text`]: the gateway's own API keys
//! * [`limits`]: how many requests a key or a route may make
//! * `credential`: what goes to the model server in place of the client's key
//! * `denied`, `floods`: what a client is told, and how refusals are recorded
//!
//! A request keeps the rules that it began under. [`Access::replace`] puts others in force at once for all
//! that begin later; what keys and routes have used goes on.

mod credential;
mod denied;
mod floods;
pub mod key_text;
pub mod keys;
pub mod limits;
pub mod routes;

pub use credential::Credential;
pub use denied::Reason;
pub use keys::{ApiKey, ApiKeys, KeyHash};
pub use limits::Limits;
pub use routes::{ModelPattern, RouteTable};

#[cfg(fuzzing)]
pub(crate) use credential::{clean_target, put_in_place};
pub(crate) use denied::Denied;

use crate::config::{Config, Route};
use crate::headers;
use crate::metrics::{self, Metrics, Ticket};
use crate::recorder::Recorder;
use crate::traces::Traces;
use arc_swap::ArcSwap;
use floods::{Floods, Told};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use indelible_os::clock;
use indelible_record::event::ConfigChange;
use indelible_record::payload;
use indelible_spool::writer::Claim;
use indelible_spool::{Kind, LogError};
use keys::State;
use limits::{Meter, Permit};
use ring::hmac;
use routes::Served;
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use uuid::Uuid;

/// What every request asks before it is served.
pub struct Access {
    rules: ArcSwap<Rules>,
    floods: Floods,
    metrics: Arc<Metrics>,
    traces: Option<Traces>,
    recorder: Arc<Recorder>,
}

/// The rules in force: the routes and keys of one configuration.
pub struct Rules {
    id_key: hmac::Key,
    routes: RouteTable,
    keys: Option<ApiKeys>,
    /// By id, of the keys that have limits.
    meters: HashMap<String, Arc<Meter>>,
}

/// Who sent a request, as far as its head tells.
pub(crate) struct Caller {
    /// Keyed id of what was sent as a key.
    pub(crate) key_id: Option<String>,
    key: Option<Arc<ApiKey>>,
    /// Why this caller is turned away whatever the request.
    pub(crate) denied: Option<Denied>,
}

/// What the rules say of one request.
pub(crate) struct Admission {
    served: Arc<Served>,
    caller: Caller,
    keyed: bool,
    /// Why it is turned away.
    pub(crate) denied: Option<Denied>,
}

impl Access {
    /// Puts a configuration in force.
    pub(crate) fn new(config: &Config, recorder: Arc<Recorder>, traces: Option<Traces>) -> Self {
        let metrics = Arc::new(Metrics::default());
        let id_key = hmac::Key::new(hmac::HMAC_SHA256, &config.api_key_id_key);
        let rules = Rules::new(id_key, config.routes.clone(), config.keys.clone(), &metrics, None);
        Self { rules: ArcSwap::from_pointee(rules), floods: Floods::default(), metrics, traces, recorder }
    }

    /// The rules for a request that begins now.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Where requests are traced, if they are.
    pub(crate) fn traces(&self) -> Option<&Traces> {
        self.traces.as_ref()
    }

    /// Puts other routes and keys in force, once the changes are recorded: a change that cannot be recorded
    /// is not made. The error of a bad route table is what [`Config::validate`] says.
    pub fn replace(
        &self,
        routes: Vec<Route>,
        keys: Option<ApiKeys>,
        changes: &[ConfigChange],
    ) -> Result<(), ReplaceError> {
        routes::check(&routes).map_err(ReplaceError::Routes)?;
        for change in changes {
            let body = payload::pack(&to_json(change), b"");
            self.recorder.log().append(
                Kind::ConfigChanged,
                Uuid::now_v7().as_bytes(),
                &[&body],
                Claim::Settle,
            )?;
        }
        let old = self.rules();
        self.rules.store(Arc::new(Rules::new(old.id_key.clone(), routes, keys, &self.metrics, Some(&old))));
        Ok(())
    }

    /// How a refusal is recorded. `Some`: it is counted, in the record of this event, and has none of its own.
    pub(crate) fn count(&self, peer: IpAddr, admission: &Admission, denied: &Denied) -> Option<Uuid> {
        self.metrics.on_rejected(denied.reason);
        self.told(peer, admission, denied, true)
    }

    /// Counts a refusal whose record could not be written.
    pub(crate) fn count_unrecorded(
        &self,
        peer: IpAddr,
        admission: &Admission,
        denied: &Denied,
    ) -> Option<Uuid> {
        self.told(peer, admission, denied, false)
    }

    fn told(&self, peer: IpAddr, admission: &Admission, denied: &Denied, alone: bool) -> Option<Uuid> {
        let (now, time) = (Instant::now(), clock::now().0);
        match self.floods.refused(peer, admission.tenant(), denied.reason, alone, now, time) {
            Told::Alone => None,
            Told::Counted(event_id) => Some(event_id),
        }
    }

    /// Appends what is counted, and how the keys stand, as Prometheus text.
    pub(crate) fn render(&self, text: &mut String) {
        self.metrics.render(text);
        if let Some(counts) = self.traces.as_ref().map(Traces::counts) {
            metrics::head(text, "spans_total", "counter", "Spans of requests, by what became of them");
            for (outcome, count) in
                [("sent", &counts.sent), ("dropped", &counts.dropped), ("failed", &counts.failed)]
            {
                let labels = format!("{{outcome=\"{outcome}\"}}");
                metrics::line(text, "spans_total", &labels, count.load(Ordering::Relaxed));
            }
        }
        let rules = self.rules();
        metrics::head(
            text,
            "api_keys_required",
            "gauge",
            "1 where only the gateway's own API keys are accepted",
        );
        metrics::line(text, "api_keys_required", "", u8::from(rules.keys.is_some()));
        metrics::head(text, "api_keys", "gauge", "API keys of the gateway by state");
        for state in [State::Active, State::Revoked, State::Expired] {
            let keys = rules.keys.iter().flat_map(ApiKeys::iter).filter(|key| key.state() == state).count();
            metrics::line(text, "api_keys", &format!("{{state=\"{}\"}}", state.as_str()), keys);
        }
    }

    /// Writes what was counted of refusals in minutes that are over; with [`Claim::Settle`], the last moment
    /// before the process ends, all of it.
    pub(crate) fn settle(&self, claim: Claim) {
        self.floods.settle(Instant::now(), claim == Claim::Settle, |event_id, counted| {
            let body = payload::pack(&to_json(counted), b"");
            self.recorder.log().append(Kind::Rejections, event_id.as_bytes(), &[&body], claim).is_ok()
        });
    }
}

/// Why other rules were not put in force.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The routes contradict each other.
    #[error("{0}")]
    Routes(String),
    /// The change could not be recorded.
    #[error("the change cannot be recorded: {0}")]
    Spool(#[from] LogError),
}

impl Rules {
    fn new(
        id_key: hmac::Key,
        routes: Vec<Route>,
        keys: Option<ApiKeys>,
        metrics: &Metrics,
        old: Option<&Self>,
    ) -> Self {
        let served = |route: Route| {
            let before = old.and_then(|old| old.routes.iter().find(|served| served.route.name == route.name));
            let meter = before.map(|served| served.meter.clone()).unwrap_or_default();
            let counters = metrics.route(&route.name);
            Served { route, meter, counters }
        };
        let limited = keys.iter().flat_map(ApiKeys::iter).filter(|key| key.limits() != Limits::default());
        let meters = limited
            .map(|key| {
                let before = old.and_then(|old| old.meters.get(&key.id()));
                (key.id(), before.cloned().unwrap_or_default())
            })
            .collect();
        Self { id_key, routes: RouteTable::new(routes.into_iter().map(served).collect()), keys, meters }
    }

    /// The routes.
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// The gateway's own keys, if it has any.
    pub fn keys(&self) -> Option<&ApiKeys> {
        self.keys.as_ref()
    }

    /// Who calls, by the head of a request alone: what is refused here is refused before its body is read.
    pub(crate) fn identify(&self, headers: &HeaderMap, uri: &Uri) -> Caller {
        let mut sent = headers::credentials(headers, uri.query());
        let Some(keys) = &self.keys else {
            let key_id = sent.next().map(|sent| KeyHash::of(sent, &self.id_key).id_text());
            return Caller { key_id, key: None, denied: None };
        };
        // A client may send the model server's key beside ours.
        let first = sent.next();
        let is_ours = |sent: &&[u8]| sent.starts_with(key_text::PREFIX.as_bytes());
        let Some(sent) = first.into_iter().chain(sent).find(is_ours).or(first) else {
            let denied = Denied::new(Reason::NoApiKey, "no API key was sent");
            return Caller { key_id: None, key: None, denied: Some(denied) };
        };
        let hash = KeyHash::of(sent, &self.id_key);
        let key = keys.find(&hash).cloned();
        let denied = match key.as_ref().map(|key| key.state()) {
            Some(State::Active) => None,
            Some(State::Revoked) => Some((Reason::RevokedApiKey, "this API key was revoked")),
            Some(State::Expired) => Some((Reason::ExpiredApiKey, "this API key has expired")),
            None => Some(match key_text::form_of(sent) {
                key_text::Form::Whole => (Reason::UnknownApiKey, "this API key is not known here"),
                key_text::Form::Broken => (Reason::MalformedApiKey, "this API key was mistyped or cut off"),
                key_text::Form::Foreign => {
                    (Reason::MalformedApiKey, "this is not an API key of this gateway")
                }
            }),
        };
        let denied = denied.map(|(reason, what)| Denied::new(reason, what));
        Caller { key_id: Some(hash.id_text()), key, denied }
    }

    /// Where a request goes, and whether it may. The ticket counts it, and holds what it takes of limits, until
    /// it is dropped. `None` only when no route takes it.
    pub(crate) fn admit(
        &self,
        metrics: &Arc<Metrics>,
        mut caller: Caller,
        head: &Parts,
        model: Option<&str>,
    ) -> Option<(Admission, Ticket)> {
        let served = self.pick(&head.method, head.uri.path(), model)?.clone();
        let allowed = caller.denied.take().map_or_else(|| self.allow(&caller, &served), Err);
        let (permit, denied) = match allowed {
            Ok(permit) => (permit, None),
            Err(denied) => (Permit::default(), Some(denied)),
        };
        let ticket = Ticket::new(metrics.clone(), served.counters.clone(), permit);
        Some((Admission { served, caller, keyed: self.keys.is_some(), denied }, ticket))
    }

    fn pick(&self, method: &Method, path: &str, model: Option<&str>) -> Option<&Arc<Served>> {
        // `OPTIONS *` names the server as a whole.
        self.routes.pick(method, if path.starts_with('/') { path } else { "/" }, model)
    }

    fn allow(&self, caller: &Caller, served: &Served) -> Result<Permit, Denied> {
        let route = &served.route;
        let key = caller.key.as_deref();
        if key.is_some_and(|key| !key.routes.is_empty() && !key.routes.contains(&route.name)) {
            let what = format!("this API key may not use the route {:?}", route.name);
            return Err(Denied::new(Reason::RouteNotAllowed, what));
        }
        let of_key = key.and_then(|key| Some((key.limits(), self.meters.get(caller.key_id.as_ref()?)?)));
        let of_route = (route.limits != Limits::default()).then_some((route.limits, &served.meter));
        if of_key.is_none() && of_route.is_none() {
            return Ok(Permit::default());
        }
        Permit::take([of_key, of_route], Instant::now())
            .map_err(|(index, limited)| Denied::limited(limited, ["this API key", "this route"][index]))
    }
}

impl Admission {
    /// The route.
    pub(crate) fn route(&self) -> &Route {
        &self.served.route
    }

    /// Whose ledger the request is recorded in: the key's, else the route's.
    pub(crate) fn tenant(&self) -> &str {
        let of_key = self.caller.key.as_ref().and_then(|key| key.tenant.as_deref());
        of_key.unwrap_or(&self.served.route.tenant)
    }

    /// Who the key says is calling.
    pub(crate) fn user(&self) -> Option<&str> {
        self.caller.key.as_ref()?.user.as_deref()
    }

    /// Keyed id of the key.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.caller.key_id.as_deref()
    }

    /// Puts the route's credential in the place of the client's key.
    pub(crate) fn put_credential(&self, headers: &mut HeaderMap) {
        credential::put_in_place(headers, self.route().credential.as_ref(), self.keyed);
    }

    /// Path and query without the client's key.
    pub(crate) fn clean_target<'a>(&self, target: &'a str) -> Cow<'a, str> {
        credential::clean_target(target, self.route().credential.as_ref(), self.keyed)
    }
}

/// Our own plain structs: they have no map keys that are not strings, the one thing that could fail.
fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    #[allow(clippy::unwrap_used)]
    serde_json::to_vec(value).unwrap()
}

#[cfg(test)]
mod tests;
