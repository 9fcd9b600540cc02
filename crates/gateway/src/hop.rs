//! Headers that belong to one connection alone (RFC 9110 §7.6.1): what comes in with them goes on without.

use http::HeaderName;
use http::header::{self, HeaderMap, HeaderValue};

/// Names that are of one connection even where `Connection` does not list them.
const NAMES: [HeaderName; 7] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Makes the headers of a request fit for the connection to the model server.
///
/// `Expect` was answered by whoever read the body. `TE` is of one connection, too, but what it asks for,
/// trailers, is passed on, and so is the question (RFC 9110 §10.1.4).
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let trailers = takes_trailers(headers);
    strip(headers);
    headers.remove(header::HOST);
    headers.remove(header::EXPECT);
    headers.remove(header::TE);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes what belongs to one connection alone.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&NAMES) {
        headers.remove(name);
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn headers_of_one_connection_do_not_go_on() {
        let mut passed = headers(&[
            ("connection", "x-hop, TE"),
            ("connection", "keep-alive"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eHg="),
            ("transfer-encoding", "chunked"),
            ("te", "gzip;q=0.5, Trailers"),
            ("host", "here"),
            ("expect", "100-continue"),
            ("trailer", "x-digest"),
            ("idempotency-key", "k-1"),
        ]);
        strip_request(&mut passed);
        let left = [("te", "trailers"), ("trailer", "x-digest"), ("idempotency-key", "k-1")];
        assert_eq!(passed, headers(&left));
    }

    #[test]
    fn nobody_asks_for_trailers_who_was_not_asked() {
        let mut passed = headers(&[("te", "gzip")]);
        strip_request(&mut passed);
        assert!(passed.is_empty());
    }
}
