//! Which route takes a request: by path, model and method, the most specific first.
//!
//! Of the routes that match, the one with the longest path wins; among those of one path the one with the
//! most specific model pattern (a name, then the longest prefix, then none); among those the one that names
//! the method. Two routes that this cannot tell apart are refused when the configuration is read, so the
//! order in which routes are written never counts.

use super::limits::Meter;
use crate::config::{Route, is_tenant_id};
use crate::metrics::RouteCounters;
use http::Method;
use indelible_record::identity::may_stand_clear;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which models a route takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelPattern {
    /// `llama-*`: every name that begins so. `*` alone is any request that names a model.
    Prefix(String),
    /// One name.
    Exact(String),
}

impl ModelPattern {
    /// Reads a name, or a prefix that ends in `*`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (prefix, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        if prefix.contains('*') || text.is_empty() {
            return Err(format!("model {text:?}: a name, or the beginning of one with a * at its end"));
        }
        Ok(if is_prefix { Self::Prefix(prefix.to_owned()) } else { Self::Exact(text.to_owned()) })
    }

    fn matches(&self, model: &str) -> bool {
        match self {
            Self::Exact(name) => model == name,
            Self::Prefix(prefix) => model.starts_with(prefix),
        }
    }

    /// More is more specific; two patterns of the same rank that take one model are equal.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Prefix(prefix) => (1, prefix.len()),
            Self::Exact(_) => (2, 0),
        }
    }
}

/// A route and what goes on from one configuration to the next.
#[derive(Debug)]
pub struct Served {
    /// The route.
    pub route: Route,
    pub(crate) meter: Arc<Meter>,
    pub(crate) counters: Arc<RouteCounters>,
}

/// The routes in force.
#[derive(Debug)]
pub struct RouteTable {
    served: Vec<Arc<Served>>,
}

impl RouteTable {
    /// Takes routes that [`check`] holds for.
    pub(crate) fn new(served: Vec<Served>) -> Self {
        Self { served: served.into_iter().map(Arc::new).collect() }
    }

    /// The route of a request. `model` is the one that its body names, as far as that was read. `None` only
    /// for a path that does not begin with a slash.
    pub fn pick(&self, method: &Method, path: &str, model: Option<&str>) -> Option<&Arc<Served>> {
        let ranked =
            self.served.iter().filter_map(|served| Some((rank(&served.route, method, path, model)?, served)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, served)| served)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.served.iter()
    }
}

/// How specific a match is: length of the path, rank of the model pattern, whether the method is named.
type Rank = (usize, (u8, usize), bool);

fn rank(route: &Route, method: &Method, path: &str, model: Option<&str>) -> Option<Rank> {
    let prefix = trimmed(&route.path);
    let rest = path.strip_prefix(prefix)?;
    if !(rest.is_empty() || rest.starts_with(['/', '?'])) {
        return None;
    }
    let by_method = !route.methods.is_empty();
    if by_method && !route.methods.contains(method) {
        return None;
    }
    let by_model = if route.models.is_empty() {
        (0, 0)
    } else {
        let model = model?;
        let matching = route.models.iter().filter(|pattern| pattern.matches(model));
        matching.map(ModelPattern::rank).max()?
    };
    Some((prefix.len(), by_model, by_method))
}

/// Checks what the types cannot: every request has one route, and never two.
pub(crate) fn check(routes: &[Route]) -> Result<(), String> {
    let whole = |route: &&Route| {
        trimmed(&route.path).is_empty() && route.models.is_empty() && route.methods.is_empty()
    };
    if !routes.iter().any(|route| whole(&route)) {
        return Err(
            "no route takes the path / whatever the model and the method: every request needs a route"
                .to_owned(),
        );
    }
    let (mut names, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for route in routes {
        let name = &route.name;
        // The name stands in entries, metrics and limits of keys.
        if !may_stand_clear(name) {
            return Err(format!("route {name:?}: use 1 to 128 of A-Z a-z 0-9 . _ : / - for its name"));
        }
        if !names.insert(name) {
            return Err(format!("route {name:?} stands twice"));
        }
        if !route.path.starts_with('/') {
            return Err(format!("route {name:?}: its path {:?} does not begin with /", route.path));
        }
        if !is_tenant_id(&route.tenant) {
            return Err(format!(
                "route {name:?}: tenant {:?}: use [a-z0-9][a-z0-9_-]{{0,63}}, and not operations",
                route.tenant
            ));
        }
        if let Some(class) = route.retention_class.as_deref().filter(|class| !may_stand_clear(class)) {
            return Err(format!(
                "route {name:?}: retention_class {class:?}: use 1 to 128 of A-Z a-z 0-9 . _ : / -"
            ));
        }
        for place in places(route) {
            if !taken.insert(place) {
                return Err(format!(
                    "route {name:?} takes the same requests as another: path, models and methods are the same"
                ));
            }
        }
    }
    Ok(())
}

/// Each combination of path, pattern and method that a route stands for.
fn places(route: &Route) -> Vec<(&str, Option<&ModelPattern>, Option<&str>)> {
    let models: Vec<_> = match route.models.as_slice() {
        [] => vec![None],
        models => models.iter().map(Some).collect(),
    };
    let methods: Vec<_> = match route.methods.as_slice() {
        [] => vec![None],
        methods => methods.iter().map(|method| Some(method.as_str())).collect(),
    };
    let path = trimmed(&route.path);
    models.into_iter().flat_map(|model| methods.iter().map(move |method| (path, model, *method))).collect()
}

fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Upstream;

    fn route(name: &str, path: &str, models: &[&str], methods: &[Method]) -> Route {
        let upstream = Upstream::parse("http://127.0.0.1:1").unwrap();
        let models = models.iter().map(|text| ModelPattern::parse(text).unwrap()).collect();
        Route { path: path.to_owned(), models, methods: methods.to_vec(), ..Route::new(name, upstream) }
    }

    fn routes() -> Vec<Route> {
        vec![
            route("default", "/", &[], &[]),
            route("any-model", "/", &["*"], &[]),
            route("llama", "/", &["llama-*"], &[]),
            route("llama-3", "/", &["llama-3-*"], &[]),
            route("one", "/", &["llama-3-8b", "qwen"], &[]),
            route("listing", "/", &[], &[Method::GET]),
            route("openai", "/openai/", &[], &[]),
            route("openai-llama", "/openai", &["llama-*"], &[]),
            route("openai-v1", "/openai/v1", &[], &[]),
        ]
    }

    fn served(routes: Vec<Route>) -> RouteTable {
        check(&routes).unwrap();
        let alone = |route| Served { route, meter: Arc::default(), counters: Arc::default() };
        RouteTable::new(routes.into_iter().map(alone).collect())
    }

    #[test]
    fn the_most_specific_route_wins_in_any_order() {
        let cases: [(Method, &str, Option<&str>, &str); 13] = [
            (Method::POST, "/v1/chat", None, "default"),
            (Method::POST, "/v1/chat", Some("gpt"), "any-model"),
            (Method::POST, "/v1/chat", Some("llama-2"), "llama"),
            (Method::POST, "/v1/chat", Some("llama-3-70b"), "llama-3"),
            (Method::POST, "/v1/chat", Some("llama-3-8b"), "one"),
            (Method::POST, "/v1/chat", Some("qwen"), "one"),
            (Method::POST, "/v1/chat", Some("qwen2"), "any-model"),
            (Method::GET, "/v1/models", None, "listing"),
            (Method::GET, "/v1/models", Some("qwen"), "one"),
            (Method::POST, "/openai/chat?x=1", Some("llama-3-8b"), "openai-llama"),
            (Method::POST, "/openai/v1/chat", Some("llama-3-8b"), "openai-v1"),
            (Method::POST, "/openai", None, "openai"),
            (Method::POST, "/openaix", None, "default"),
        ];
        let mut turned = routes();
        for _ in 0..turned.len() {
            turned.rotate_left(1);
            let table = served(turned.clone());
            for (method, path, model, expected) in &cases {
                let picked = table.pick(method, path, *model).unwrap();
                assert_eq!(picked.route.name, *expected, "{method} {path} {model:?}");
            }
        }
    }

    #[test]
    fn routes_that_take_the_same_requests_are_refused() {
        let clash = |more: Route| check(&[routes(), vec![more]].concat()).unwrap_err();
        assert!(clash(route("again", "/", &["x", "llama-*"], &[])).contains("takes the same requests"));
        assert!(clash(route("again", "/openai", &[], &[])).contains("takes the same requests"));
        assert!(
            clash(route("again", "/", &[], &[Method::POST, Method::GET])).contains("takes the same requests")
        );
        assert!(clash(route("default", "/else", &[], &[])).contains("stands twice"));
        assert!(clash(route("slashless", "else", &[], &[])).contains("does not begin with /"));
        assert!(clash(route("jane doe", "/else", &[], &[])).contains("for its name"));
        assert!(check(&[route("only", "/", &["*"], &[])]).unwrap_err().contains("no route takes the path /"));
    }

    #[test]
    fn a_pattern_is_a_name_or_a_prefix() {
        assert_eq!(ModelPattern::parse("a-*"), Ok(ModelPattern::Prefix("a-".to_owned())));
        assert_eq!(ModelPattern::parse("a"), Ok(ModelPattern::Exact("a".to_owned())));
        for bad in ["", "*-instruct", "a*b", "**"] {
            assert!(ModelPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
