//! Who is let in, where to, and what goes on from one configuration to the next.

use super::*;
use crate::config::Upstream;
use http::{HeaderValue, Request};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

const ID_KEY: [u8; 32] = [7; 32];

fn hmac_key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &ID_KEY)
}

fn route(name: &str, models: &[&str]) -> Route {
    let models = models.iter().map(|text| ModelPattern::parse(text).unwrap()).collect();
    Route { models, ..Route::new(name, Upstream::parse("http://127.0.0.1:1").unwrap()) }
}

/// A key of its own, made by `adjust`.
fn key(adjust: impl FnOnce(&mut ApiKey)) -> (Zeroizing<String>, ApiKey) {
    let (text, hash) = ApiKeys::generate(&ID_KEY).unwrap();
    let mut key = ApiKey::new(hash);
    adjust(&mut key);
    (text, key)
}

fn file(keys: &[&ApiKey]) -> Option<ApiKeys> {
    let mut file = ApiKeys::empty(&ID_KEY);
    keys.iter().for_each(|key| file.add(ApiKey::clone(key)).unwrap());
    Some(file)
}

fn rules(keys: Option<ApiKeys>, old: Option<&Rules>) -> Rules {
    let routes = vec![route("default", &[]), route("llama", &["llama-*"])];
    Rules::new(hmac_key(), routes, keys, &Metrics::default(), old)
}

fn request(headers: &[(&'static str, &str)], target: &str) -> Parts {
    let mut parts = Request::post(target).body(()).unwrap().into_parts().0;
    for (name, value) in headers {
        parts.headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    parts
}

fn admit(rules: &Rules, head: &Parts, model: Option<&str>) -> (Admission, Ticket) {
    let caller = rules.identify(&head.headers, &head.uri);
    rules.admit(&Arc::default(), caller, head, model).unwrap()
}

fn denied(rules: &Rules, sent: &str) -> Option<Reason> {
    let head = request(&[("authorization", &format!("Bearer {sent}"))], "/v1/chat");
    admit(rules, &head, None).0.denied.map(|denied| denied.reason)
}

#[test]
fn without_keys_of_its_own_a_gateway_takes_any_key_as_an_id() {
    let rules = rules(None, None);
    assert_eq!(denied(&rules, "sk-anything"), None);
    let head = request(&[("api-key", "sk-1")], "/v1/chat");
    // Made with `openssl dgst -sha256 -mac HMAC`.
    assert_eq!(admit(&rules, &head, None).0.key_id(), Some("k:9bc709520f75b4adb70d04788657524e"));
    assert_eq!(admit(&rules, &request(&[], "/v1/chat"), None).0.key_id(), None);
    let mut headers = head.headers.clone();
    admit(&rules, &head, None).0.put_credential(&mut headers);
    assert_eq!(headers, head.headers, "and passes it on");
}

#[test]
fn with_keys_of_its_own_each_way_of_not_having_one_is_told_apart() {
    let (text, good) = key(|_| {});
    let (old_text, old) = key(|key| key.expires = Some(clock::now()));
    let (gone_text, gone) = key(|key| key.revoked = Some(clock::now()));
    let rules = rules(file(&[&good, &old, &gone]), None);
    assert_eq!(denied(&rules, &text), None);
    for (sent, reason) in [
        (old_text.as_str(), Reason::ExpiredApiKey),
        (gone_text.as_str(), Reason::RevokedApiKey),
        (key(|_| {}).0.as_str(), Reason::UnknownApiKey),
        (&text[..text.len() - 1], Reason::MalformedApiKey),
        ("sk-somebody-elses", Reason::MalformedApiKey),
        ("", Reason::NoApiKey),
    ] {
        assert_eq!(denied(&rules, sent), Some(reason), "{sent}");
        let head = request(&[("authorization", &format!("Bearer {sent}"))], "/v1/chat");
        let told = admit(&rules, &head, None).0.denied.unwrap().body();
        assert!(sent.is_empty() || !told.contains(sent), "an answer never repeats a key: {told}");
    }
    assert_eq!(
        denied(&self::rules(file(&[]), None), &text),
        Some(Reason::UnknownApiKey),
        "no keys let nobody in"
    );
}

#[test]
fn a_key_of_ours_is_found_beside_another_and_in_the_query() {
    let (text, good) = key(|_| {});
    let rules = rules(file(&[&good]), None);
    let beside = request(&[("authorization", "Bearer sk-theirs"), ("x-api-key", &text)], "/v1/chat");
    let (admission, _ticket) = admit(&rules, &beside, None);
    assert!(admission.denied.is_none());
    assert_eq!(admission.key_id(), Some(good.id().as_str()));
    let mut headers = beside.headers.clone();
    admission.put_credential(&mut headers);
    assert_eq!(headers.len(), 1, "{headers:?}");
    assert_eq!(headers["authorization"], "Bearer sk-theirs");
    let target = format!("/v1beta/models/m:generateContent?key={}&alt=sse", *text);
    let (admission, _ticket) = admit(&rules, &request(&[], &target), None);
    assert!(admission.denied.is_none());
    assert_eq!(admission.clean_target(&target), "/v1beta/models/m:generateContent?alt=sse");
}

#[test]
fn a_key_says_whose_ledger_whose_request_and_which_routes() {
    let (text, bound) = key(|key| {
        (key.tenant, key.user) = (Some("acme".to_owned()), Some("jane".to_owned()));
        key.routes = vec!["llama".to_owned()];
    });
    let rules = rules(file(&[&bound]), None);
    let head = request(&[("x-api-key", &text)], "/v1/chat");
    let (admission, _ticket) = admit(&rules, &head, Some("llama-3"));
    assert!(admission.denied.is_none());
    assert_eq!((admission.tenant(), admission.user()), ("acme", Some("jane")));
    assert_eq!(admission.route().name, "llama");
    let (admission, _ticket) = admit(&rules, &head, Some("qwen"));
    assert_eq!(admission.denied.map(|denied| denied.reason), Some(Reason::RouteNotAllowed));
}

#[test]
fn what_was_used_of_a_limit_outlives_the_configuration() {
    let (text, limited) = key(|key| key.requests_per_minute = NonZeroU32::new(3));
    let first = rules(file(&[&limited]), None);
    assert_eq!((denied(&first, &text), denied(&first, &text)), (None, None));
    let second = rules(file(&[&limited]), Some(&first));
    assert_eq!((denied(&second, &text), denied(&second, &text)), (None, Some(Reason::RateLimited)));
    assert_eq!(denied(&first, &text), Some(Reason::RateLimited), "and is the same for requests under way");
}

#[test]
fn a_place_is_held_until_the_request_has_ended() {
    let (text, limited) = key(|key| key.concurrent_requests = NonZeroU32::new(1));
    let rules = rules(file(&[&limited]), None);
    let head = request(&[("x-api-key", &text)], "/v1/chat");
    let (admission, ticket) = admit(&rules, &head, None);
    assert!(admission.denied.is_none());
    assert_eq!(denied(&rules, &text), Some(Reason::TooManyAtOnce));
    drop(admission);
    assert_eq!(denied(&rules, &text), Some(Reason::TooManyAtOnce));
    drop(ticket);
    assert_eq!(denied(&rules, &text), None);
}
