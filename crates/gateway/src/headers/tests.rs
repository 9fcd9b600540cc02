//! What may be kept of headers and targets, and what must not: mostly leaks that other gateways had.

use super::identity::HeaderIdentity;
use super::*;
use proptest::prelude::*;

fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

#[test]
fn no_header_that_carries_a_credential_is_kept() {
    let names = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-amz-security-token",
        "helicone-auth",
        "x-portkey-api-key",
        "x-portkey-virtual-key",
        "x-litellm-api-key",
        "langfuse_secret_key",
        "x-header-of-tomorrow",
    ];
    let headers = map(&names.map(|name| (name, "sk-secret")));
    assert_eq!(kept_request_headers(&headers), []);
    assert_eq!(kept_response_headers(&headers), []);
}

/// A list of what is kept must not come to list a credential, nor one name twice.
#[test]
fn the_lists_are_sorted_and_hold_no_name_of_a_credential() {
    let requests: Vec<&str> = OF_REQUESTS.iter().map(|(name, _)| *name).collect();
    let responses: Vec<&str> = OF_RESPONSES.iter().map(|(name, _)| *name).collect();
    for names in [&requests, &responses] {
        assert!(names.is_sorted_by(|one, other| one < other));
        for name in names.iter().filter(|name| **name != "idempotency-key") {
            for word in [
                "auth",
                "cookie",
                "credential",
                "key",
                "password",
                "protocol",
                "secret",
                "signature",
                "token",
            ] {
                assert!(!name.replace("portkey", "").contains(word), "{name}");
            }
        }
    }
}

#[test]
fn provider_ids_and_limits_of_a_response_are_kept() {
    let kept = [
        ("openai-processing-ms", "12"),
        ("x-ratelimit-remaining-tokens", "9"),
        ("anthropic-ratelimit-requests-reset", "2026-11-22T00:00:00Z"),
        ("cf-ray", "8c-FRA"),
        ("apim-request-id", "a"),
        ("x-litellm-call-id", "b"),
    ];
    let expected: Vec<_> = kept.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    assert_eq!(kept_response_headers(&map(&kept)), expected);
    assert_eq!(kept_request_headers(&map(&kept)), []);
}

/// Point 29: several parts of the way give a request an id. The one of the model's provider is asked for first.
#[test]
fn of_several_ids_the_providers_own_counts() {
    let id = |headers: &[(&'static str, &str)]| provider_request_id(&map(headers));
    assert_eq!(id(&[("cf-ray", "c"), ("request-id", "r"), ("x-litellm-call-id", "l")]).as_deref(), Some("r"));
    assert_eq!(id(&[("cf-ray", "c"), ("x-request-id", "x")]).as_deref(), Some("x"));
    assert_eq!(id(&[("x-request-id", " "), ("cf-ray", "c")]).as_deref(), Some("c"));
    assert_eq!(id(&[("server", "uvicorn")]), None);
}

#[test]
fn values_are_bounded_and_not_cut_silently() {
    let long = "a".repeat(VALUE_MAX_BYTES + 1);
    let kept = kept_request_headers(&map(&[("user-agent", &long), ("via", "ü")]));
    assert_eq!(kept[0].1, "(left out: 4097 bytes)");
    assert_eq!(kept[1].1, "ü");
    let mut latin1 = HeaderMap::new();
    latin1.insert("via", HeaderValue::from_bytes(b"\xFC").unwrap());
    assert_eq!(kept_request_headers(&latin1)[0].1, "\u{FFFD}");
    assert_eq!(kept_request_headers(&map(&[("via", "a"); 100])).len(), HEADERS_MAX);
}

/// graniet/llm #115: Gemini's `?key=` showed up in logged URLs.
#[test]
fn a_key_in_the_query_is_not_recorded() {
    let target = "/v1beta/models/m:generateContent?alt=sse&key=AIzaSecret&%6Bey=x&API_Key=y&Sig=&tokens=1&x";
    let scrubbed = "/v1beta/models/m:generateContent?alt=sse&key=REDACTED&%6Bey=REDACTED&API_Key=REDACTED\
                    &Sig=REDACTED&tokens=1&x";
    assert_eq!(scrub_target(target), scrubbed);
    for name in [
        "x-goog-api-key",
        "X-Amz-Signature",
        "x_amz_security_token",
        "client_secret",
        "subscription-key",
        "jwt",
    ] {
        assert_eq!(scrub_target(&format!("/a?{name}=s3cr3t&b=1")), format!("/a?{name}=REDACTED&b=1"));
    }
    assert_eq!(scrub_target("/v1/models"), "/v1/models");
    assert_eq!(scrub_target("/a?"), "/a?");
    assert_eq!(scrub_target("/a?access_token=a=b?c&%zz=%"), "/a?access_token=REDACTED&%zz=%");
}

#[test]
fn the_first_valid_header_names_the_user() {
    let headers = map(&[("x-user-id", " "), ("helicone-user-id", "u-1"), ("langfuse_user_id", "u-2")]);
    assert_eq!(identity(&headers).user_id.as_deref(), Some("u-1"));
    let long = "u".repeat(ID_MAX_BYTES + 1);
    assert_eq!(identity(&map(&[("x-user-id", &long)])), HeaderIdentity::default());
    let portkey = map(&[("x-portkey-metadata", r#"{"_user":"u-3","team":"t"}"#)]);
    assert_eq!(identity(&portkey).user_id.as_deref(), Some("u-3"));
    let litellm = map(&[("x-litellm-end-user-id", "u-4"), ("x-litellm-session-id", "s-4")]);
    assert_eq!(identity(&litellm).user_id.as_deref(), Some("u-4"));
    assert_eq!(identity(&litellm).session_id.as_deref(), Some("s-4"));
    let openwebui = map(&[("x-openwebui-user-id", "u-5"), ("x-openwebui-chat-id", "c-5")]);
    assert_eq!(identity(&openwebui).user_id.as_deref(), Some("u-5"));
    assert_eq!(identity(&openwebui).session_id.as_deref(), Some("c-5"));
    // Whatever their order on the wire.
    let portkey_first = map(&[("x-portkey-metadata", r#"{"_user":"u-3"}"#), ("langfuse_user_id", "u-6")]);
    assert_eq!(identity(&portkey_first).user_id.as_deref(), Some("u-6"));
    let agent = map(&[("x-claude-code-session-id", "s-7"), ("x-session-id", "s-8")]);
    assert_eq!(identity(&agent).session_id.as_deref(), Some("s-8"));
}

/// Point 30: what clients of other gateways already send.
#[test]
fn tags_are_read_from_all_the_headers_that_carry_them() {
    let headers = map(&[
        ("helicone-property-app", "mobile"),
        ("x-litellm-tags", "prod, team:search,,"),
        ("x-portkey-metadata", r#"{"_user":"u","env":"eu","n":3,"deep":{"a":1},"list":[1],"none":null}"#),
        ("cf-aig-metadata", r#"{"trial":true}"#),
        ("x-litellm-spend-logs-metadata", "not JSON"),
        ("x-header-of-tomorrow", "no"),
    ]);
    let expected = ["app:mobile", "prod", "team:search", "_user:u", "env:eu", "n:3", "trial:true"];
    assert_eq!(identity(&headers).tags, expected);
    let kept: Vec<_> = kept_request_headers(&headers).into_iter().map(|(name, _)| name).collect();
    assert!(
        kept.contains(&"helicone-property-app".to_owned()) && kept.contains(&"cf-aig-metadata".to_owned())
    );
    let long = "t".repeat(200);
    let many = "a,".repeat(500);
    let headers =
        map(&[("helicone-property-x", &long), ("x-litellm-tags", &long), ("x-litellm-tags", &many)]);
    assert_eq!(identity(&headers).tags.len(), TAGS_MAX);
    assert!(identity(&headers).tags.iter().all(|tag| tag.len() <= 128));
}

#[test]
fn an_sdk_that_retries_says_which_attempt_this_is() {
    let attempt = |count| identity(&map(&[("x-stainless-retry-count", count)])).attempt;
    assert_eq!(attempt("0"), Some(1));
    assert_eq!(attempt("2"), Some(3));
    assert_eq!(attempt("4294967295"), None);
    assert_eq!(attempt("-1"), None);
    let envoy = identity(&map(&[("x-envoy-attempt-count", "2")])).attempt;
    assert_eq!(envoy, Some(2));
    let both = map(&[("x-stainless-retry-count", "0"), ("x-envoy-attempt-count", "2")]);
    assert_eq!(identity(&both).attempt, Some(1));
}

#[test]
fn the_codings_of_a_body_are_those_of_all_lines() {
    assert_eq!(
        content_encoding(&map(&[("content-encoding", "gzip"), ("content-encoding", "br")])),
        "gzip,br"
    );
    assert_eq!(content_encoding(&HeaderMap::new()), "");
}

#[test]
fn only_a_valid_traceparent_is_taken() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let read = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("traceparent", *value)).collect();
        identity(&map(&headers)).trace_id.zip(identity(&map(&headers)).span_id)
    };
    let ids = ("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), "00f067aa0ba902b7".to_owned());
    assert_eq!(read(&[good]), Some(ids));
    let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    let no_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
    let longer = format!("{good}-x");
    let later = good.replacen("00", "01", 1);
    for bad in [zeros, no_parent, &good.to_uppercase(), &longer, &later, &good[..54], ""] {
        assert_eq!(read(&[bad]), None, "{bad}");
    }
    assert_eq!(read(&[good, good]), None);
}

#[test]
fn a_key_is_found_whatever_header_carries_it() {
    for (name, value) in [
        ("authorization", "Bearer sk-1"),
        ("authorization", "bearer  sk-1 "),
        ("x-api-key", "sk-1"),
        ("api-key", "sk-1"),
        ("x-goog-api-key", "sk-1"),
        ("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-1, openai-beta.realtime-v1"),
    ] {
        assert_eq!(
            credentials(&map(&[(name, value)]), None).collect::<Vec<_>>(),
            [b"sk-1"],
            "{name}: {value}"
        );
    }
    assert_eq!(credentials(&map(&[]), Some("alt=sse&key=sk-1&monkey=x&key=")).collect::<Vec<_>>(), [b"sk-1"]);
    for (name, value) in [("authorization", "Basic dTpw"), ("authorization", "Bearer "), ("x-api-key", " ")] {
        assert_eq!(
            credentials(&map(&[(name, value)]), Some("monkey=x&key=")).next(),
            None,
            "{name}: {value}"
        );
    }
    let several =
        [("x-goog-api-key", "d"), ("x-api-key", "b"), ("authorization", "Bearer a"), ("x-api-key", "c")];
    let several = map(&several);
    let found: Vec<&[u8]> = credentials(&several, None).collect();
    assert_eq!(found, [b"a", b"b", b"c", b"d"]);
}

proptest! {
    #[test]
    fn no_scrubbed_target_holds_the_secret(
        before in "[a-z&=?]{0,8}",
        name in "([kK][eE][yY]|[aA]pi_?[kK]ey|Token|SIG|%73ig)",
    ) {
        let target = format!("/v1?{before}&{name}=s3cr3t&b=1");
        let scrubbed = scrub_target(&target);
        prop_assert!(!scrubbed.contains("s3cr3t"));
    }
}
