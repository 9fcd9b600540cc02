//! Credentials on the way to the model server: the client's gateway key goes no further, and the route's
//! own credential takes its place.

use super::key_text::{self, Form, KEY_BYTES, PREFIX};
use crate::headers::{CREDENTIAL_HEADERS as HEADERS, CREDENTIAL_PARAMETER};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;

/// Longest credential of a model server.
const SECRET_MAX_BYTES: usize = 8 << 10;

/// What a route shows to its model server. Its value is never printed, recorded or hashed.
#[derive(Clone)]
pub struct Credential {
    header: HeaderName,
    value: HeaderValue,
}

impl Credential {
    /// `secret` as the header wants it: bare, or behind `Bearer` in `authorization`. White space around it
    /// is the file's.
    pub fn new(header: &str, secret: &str) -> Result<Self, String> {
        let known = HEADERS.iter().find(|known| known.as_str() == header);
        let header = known.cloned().ok_or_else(|| {
            format!("a credential goes into one of {}", HEADERS.each_ref().map(HeaderName::as_str).join(", "))
        })?;
        let secret = secret.trim();
        if secret.is_empty() || secret.len() > SECRET_MAX_BYTES {
            return Err(format!("a credential is 1 to {SECRET_MAX_BYTES} bytes long"));
        }
        let text =
            if header == header::AUTHORIZATION { format!("Bearer {secret}") } else { secret.to_owned() };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| "a credential is one line of visible ASCII".to_owned())?;
        // Also keeps HTTP/2 from putting it into its compression table.
        value.set_sensitive(true);
        Ok(Self { header, value })
    }

    /// The header that a provider's clients send their key in.
    pub fn header_of(provider: Option<&str>) -> &'static str {
        match provider.unwrap_or_default() {
            "anthropic" => "x-api-key",
            "azure" | "azure.ai.openai" | "azure.ai.inference" => "api-key",
            "gemini" | "google" | "gcp.gemini" | "gcp.gen_ai" => "x-goog-api-key",
            _ => "authorization",
        }
    }

    /// Whether two routes show the same.
    pub fn is(&self, other: &Self) -> bool {
        self.header == other.header && self.value == other.value
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Makes the headers of a request fit for the model server. `keyed`: this gateway has keys of its own.
pub(crate) fn put_in_place(headers: &mut HeaderMap, credential: Option<&Credential>, keyed: bool) {
    if keyed {
        // Wherever a client put it: a key of ours is nobody else's business.
        let holding: Vec<HeaderName> = headers
            .iter()
            .filter(|(_, value)| holds_key(value.as_bytes()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in holding {
            headers.remove(name);
        }
    }
    if let Some(credential) = credential {
        for name in &HEADERS {
            headers.remove(name);
        }
        headers.insert(credential.header.clone(), credential.value.clone());
    }
}

/// The same for path and query: takes out parameters that hold a key of ours, and the one that another
/// credential takes the place of.
pub(crate) fn clean_target<'a>(
    target: &'a str,
    credential: Option<&Credential>,
    keyed: bool,
) -> Cow<'a, str> {
    let Some((path, query)) = target.split_once('?') else { return Cow::Borrowed(target) };
    let is_out = |pair: &str| {
        (keyed && holds_key(pair.as_bytes()))
            || (credential.is_some() && pair.split('=').next() == Some(CREDENTIAL_PARAMETER))
    };
    if !query.split('&').any(is_out) {
        return Cow::Borrowed(target);
    }
    let left: Vec<&str> = query.split('&').filter(|pair| !is_out(pair)).collect();
    if left.is_empty() {
        Cow::Owned(path.to_owned())
    } else {
        Cow::Owned(format!("{path}?{}", left.join("&")))
    }
}

fn holds_key(bytes: &[u8]) -> bool {
    let is_key =
        |window: &[u8]| window.starts_with(PREFIX.as_bytes()) && key_text::form_of(window) == Form::Whole;
    bytes.windows(KEY_BYTES).any(is_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn a_key_of_ours_goes_no_further_wherever_it_stands() {
        let key = key_text::of_bytes(&[1; 32]);
        let (bearer, custom) = (format!("Bearer {}", *key), format!("key={};", *key));
        let sent = [
            ("authorization", bearer.as_str()),
            ("x-api-key", "sk-theirs"),
            ("x-goog-api-key", "sk-a"),
            ("x-goog-api-key", &key),
            ("x-custom", &custom),
            ("user-agent", "idk_is_no_key/1.0"),
        ];
        let mut map = headers(&sent);
        put_in_place(&mut map, None, true);
        assert_eq!(map, headers(&[("x-api-key", "sk-theirs"), ("user-agent", "idk_is_no_key/1.0")]));
        let mut map = headers(&sent);
        put_in_place(&mut map, None, false);
        assert_eq!(map, headers(&sent), "without keys of its own the gateway touches nothing");
        let target = format!("/v1/m:go?alt=sse&key={}&y=1", *key);
        assert_eq!(clean_target(&target, None, true), "/v1/m:go?alt=sse&y=1");
        assert_eq!(clean_target(&target, None, false), target);
        assert_eq!(clean_target(&format!("/v1/m:go?key={}", *key), None, true), "/v1/m:go");
        assert_eq!(clean_target("/v1/m:go?key=AIza", None, true), "/v1/m:go?key=AIza");
    }

    #[test]
    fn the_routes_credential_takes_the_place_of_any_other() {
        let credential = Credential::new("x-api-key", " sk-route\n").unwrap();
        let mut map =
            headers(&[("authorization", "Bearer sk-client"), ("x-api-key", "sk-client"), ("accept", "*/*")]);
        put_in_place(&mut map, Some(&credential), false);
        assert_eq!(map, headers(&[("accept", "*/*"), ("x-api-key", "sk-route")]));
        assert_eq!(clean_target("/m?key=AIza&a=1", Some(&credential), false), "/m?a=1");
        let bearer = Credential::new("authorization", "sk-route").unwrap();
        let mut map = HeaderMap::new();
        put_in_place(&mut map, Some(&bearer), true);
        assert_eq!(map[header::AUTHORIZATION], "Bearer sk-route");
        assert!(map[header::AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn a_credential_is_one_line_and_never_printed() {
        for bad in ["", " \n", "two\nlines", "ümlaut\u{7f}"] {
            assert!(Credential::new("authorization", bad).is_err(), "{bad:?}");
        }
        assert!(Credential::new("cookie", "x").unwrap_err().contains("x-goog-api-key"));
        let credential = Credential::new("authorization", "sk-secret").unwrap();
        assert!(!format!("{credential:?}").contains("sk-secret"));
        assert_eq!(Credential::header_of(Some("anthropic")), "x-api-key");
        assert_eq!(Credential::header_of(Some("vllm")), "authorization");
    }
}
