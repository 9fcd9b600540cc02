//! Who is asking.

use crate::{Problem, Shared};
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{StatusCode, header};
use sha2::{Digest, Sha256};

/// The operator's bearer token, kept as its hash so that comparing takes the same time for every guess.
pub struct OperatorToken {
    hash: [u8; 32],
}

impl OperatorToken {
    /// Accepts this token.
    pub fn new(token: &str) -> Self {
        Self { hash: Sha256::digest(token).into() }
    }

    fn accepts(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token).into();
        // What a timing difference could tell is about the hash, which does not help in guessing.
        hash == self.hash
    }
}

/// The operator, and why they ask.
pub(crate) struct Operator {
    pub(crate) purpose: Option<String>,
}

/// Longest purpose that is kept.
const PURPOSE_MAX_BYTES: usize = 1024;

impl FromRequestParts<Shared> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        if shared.loopback_only && !text(header::HOST.as_str()).is_some_and(is_loopback_name) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "the Host header is not loopback",
                "use 127.0.0.1",
            ));
        }
        let token = text(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        if !token.is_some_and(|token| shared.token.accepts(token)) {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "reading records needs the operator's token",
                "send Authorization: Bearer with the content of DIR/run/operator.token",
            ));
        }
        let purpose = text("x-indelible-purpose").map(|text| text.chars().take(PURPOSE_MAX_BYTES).collect());
        Ok(Self { purpose })
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_taken() {
        for name in ["127.0.0.1:8090", "localhost", "localhost:1", "[::1]:8090", "127.0.0.2"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in ["evil.example:8090", "127.0.0.1.evil.example", "10.0.0.1", ""] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn a_token_is_accepted_by_its_whole_text() {
        let token = OperatorToken::new("abc");
        assert!(token.accepts("abc"));
        assert!(!token.accepts("ab") && !token.accepts("abcd") && !token.accepts(""));
    }
}
