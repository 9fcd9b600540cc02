//! What may be kept of headers and targets, and what must not: mostly leaks that other gateways had.

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

#[test]
fn provider_ids_and_limits_of_a_response_are_kept() {
    let kept = [("openai-processing-ms", "12"), ("x-ratelimit-remaining-tokens", "9"), ("cf-ray", "8c-FRA")];
    let expected: Vec<_> = kept.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    assert_eq!(kept_response_headers(&map(&kept)), expected);
    assert_eq!(kept_request_headers(&map(&kept)), []);
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
}

#[test]
fn an_sdk_that_retries_says_which_attempt_this_is() {
    let attempt = |count| identity(&map(&[("x-stainless-retry-count", count)])).attempt;
    assert_eq!(attempt("0"), Some(1));
    assert_eq!(attempt("2"), Some(3));
    assert_eq!(attempt("4294967295"), None);
    assert_eq!(attempt("-1"), None);
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
