//! Which strings may stand in an entry as they are.
//!
//! An entry can never be deleted, so it must hold no personal data. A string that a client chose enters
//! it only when it looks like an identifier and like nothing personal or secret; otherwise the entry
//! holds `h:` and a keyed hash, and the original goes into the payload. Look-ups apply the same rule.
//! These detectors err on the side of hashing: a model name hashed by mistake can still be looked up.

/// Longest string that may stand in an entry as a client chose it.
pub const CLEAR_MAX_BYTES: usize = 128;

/// Whether `text` may stand in an entry: it matches `[A-Za-z0-9._:/-]{1,128}` and no detector fires.
pub fn may_stand_clear(text: &str) -> bool {
    (1..=CLEAR_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-'))
        && !is_of_our_own_form(text)
        && !looks_like_secret(text)
        && !holds_personal_number(text)
        && !is_ip_address(text)
}

/// Whether an entry's string is in one of the two forms it may have.
pub fn is_clear_or_hashed(text: &str) -> bool {
    match text.strip_prefix("h:") {
        Some(hash) => {
            hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        }
        None => may_stand_clear(text),
    }
}

/// Whether a tag, `name:value` or a bare word, may stand in an entry. Beside the rule for all strings, nothing
/// may whose name speaks of a person: `customer:jane` looks like an identifier, and is one, of Jane.
pub fn tag_may_stand_clear(tag: &str) -> bool {
    const PERSONAL: [&str; 14] = [
        "account", "address", "author", "birth", "client", "customer", "employee", "mail", "name", "patient",
        "person", "phone", "session", "user",
    ];
    let name = tag.split_once(':').map_or("", |(name, _)| name).to_ascii_lowercase();
    may_stand_clear(tag) && !PERSONAL.iter().any(|word| name.contains(word))
}

/// What entries themselves mark a string with: a client's own must not be taken for one of ours.
fn is_of_our_own_form(text: &str) -> bool {
    ["h:", "k:", "sub_"].iter().any(|prefix| text.starts_with(prefix))
}

/// Keys and tokens by the shape that their issuers gave them, also behind a prefix such as `key:`.
fn looks_like_secret(text: &str) -> bool {
    const PREFIXES: [&str; 18] = [
        "sk-",
        "sk_",
        "pk_",
        "rk_",
        "ghp_",
        "gho_",
        "github_pat_",
        "xoxb-",
        "xoxp-",
        "AKIA",
        "AIza",
        "glpat-",
        "hf_",
        "idk_",
        "gsk_",
        "xai-",
        "nvapi-",
        "ya29.",
    ];
    text.split([':', '/']).any(|part| {
        // A JSON web token: three base64url parts, the first of which begins `{"`.
        let is_jwt = part.starts_with("eyJ") && part.matches('.').count() == 2;
        is_jwt || PREFIXES.iter().any(|prefix| part.starts_with(prefix))
    })
}

/// Phone, card, account and social-security numbers: nine digits or more in a row, where separators
/// that people write into such numbers do not break the row. Hex identifiers (UUIDs, digests) are not
/// numbers of a person, and neither is the date that a model was released on.
fn holds_personal_number(text: &str) -> bool {
    text.split([':', '/', '_']).any(|part| !is_hex_identifier(part) && has_long_row(part.as_bytes()))
}

fn has_long_row(part: &[u8]) -> bool {
    let (mut at, mut digits) = (0, 0);
    while let Some(byte) = part.get(at) {
        let begins = at == 0 || part[at - 1] == b'-';
        if let Some(len) = begins.then(|| release_date(&part[at..])).flatten() {
            (at, digits) = (at + len, 0);
            continue;
        }
        digits = match byte {
            b'0'..=b'9' => digits + 1,
            b'-' | b'.' => digits,
            _ => 0,
        };
        if digits >= 9 {
            return true;
        }
        at += 1;
    }
    false
}

/// The length of a date at the beginning, as model names have it (`claude-haiku-4-5-20251001`,
/// `gpt-4.1-2025-04-14`): of this century's second quarter or a little before, so that no birthday of anyone
/// who signs for themselves is one.
fn release_date(text: &[u8]) -> Option<usize> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u32>().ok();
    let plain = |at: usize, len: usize| {
        text.get(at..at + len).filter(|digits| digits.iter().all(u8::is_ascii_digit)).and_then(number)
    };
    let dashed = text.get(4) == Some(&b'-') && text.get(7) == Some(&b'-');
    let (month, day, len) = if dashed { (5, 8, 10) } else { (4, 6, 8) };
    let fits = (2020..2050).contains(&plain(0, 4)?)
        && (1..=12).contains(&plain(month, 2)?)
        && (1..=31).contains(&plain(day, 2)?);
    (fits && !text.get(len).is_some_and(u8::is_ascii_digit)).then_some(len)
}

/// Sixteen hex digits or more, letters well among them: chance makes few letters rare, and a person's number
/// with a letter behind it is no identifier.
fn is_hex_identifier(part: &str) -> bool {
    const LETTERS_MIN: usize = 3;
    // `chatcmpl-<uuid>`, `req-<hex>`: what stands behind the prefix decides.
    let hex = match part.split_once('-') {
        Some((prefix, rest)) if !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_lowercase()) => rest,
        _ => part,
    };
    let digits: Vec<u8> = hex.bytes().filter(|b| *b != b'-').collect();
    digits.len() >= 16
        && digits.iter().all(u8::is_ascii_hexdigit)
        && digits.iter().filter(|b| !b.is_ascii_digit()).count() >= LETTERS_MIN
}

fn is_ip_address(text: &str) -> bool {
    let is = |part: &str| part.parse::<std::net::IpAddr>().is_ok();
    is(text) || text.parse::<std::net::SocketAddr>().is_ok() || text.split([':', '/', '_']).any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_stand_clear() {
        for text in [
            "llama-3-8b-instruct-v2.1",
            "meta-llama/Llama-3.1-8B-Instruct",
            "gpt-4o-2024-08-06",
            "req_12345",
            "019ab2c3-1111-7abc-8def-0123456789ab",
            "chatcmpl-0192f0c1d2e3f405",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "session:42",
            "2026-11-22",
            "claude-haiku-4-5-20251001",
            "anthropic/claude-3-5-sonnet-20241022",
            "gpt-4.1-2025-04-14",
            "gpt-4.1-mini-2025-04-14",
        ] {
            assert!(may_stand_clear(text), "{text}");
        }
    }

    #[test]
    fn people_and_secrets_do_not() {
        for text in [
            "",
            "jane doe",
            "jane@example.com",
            "Zoë",
            "+44 20 7946 0958",
            "078-05-1120",
            "4111111111111111",
            "4111-1111-1111-1111",
            "user/447911123456",
            "192.168.17.4",
            "user:10.0.0.1",
            "key:sk-proj-abcdefgh",
            "hf_abcdefghijklmnop",
            "idk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM",
            "447911123456:4bf92f3577b34da6",
            "4111111111111111a",
            "jane-1980-04-14-12",
            "202510011234",
            "4111-1111-2025-1001",
            "20251001-447911123",
            "2001:db8::1",
            "sk-proj-abcdefghijklmnop",
            "h:0123456789abcdef0123456789abcdef",
            "k:jane",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2ln",
            &"a".repeat(129),
        ] {
            assert!(!may_stand_clear(text), "{text}");
        }
    }

    #[test]
    fn a_tag_that_speaks_of_a_person_does_not_stand_clear() {
        for tag in
            ["prod", "team:search", "feature:summary-v2", "ticket:T-1042", "env:eu-west-1", "eval:true"]
        {
            assert!(tag_may_stand_clear(tag), "{tag}");
        }
        for tag in [
            "customer:jane",
            "userId:17",
            "UserName:jane",
            "contact_email:x",
            "session:9",
            "phone:12",
            "team:jane doe",
            "ticket:447911123456",
            "key:sk-proj-abcdefgh",
            "",
        ] {
            assert!(!tag_may_stand_clear(tag), "{tag}");
        }
    }

    #[test]
    fn a_hashed_string_is_recognised_and_nothing_else_with_that_prefix() {
        assert!(is_clear_or_hashed("h:0123456789abcdef0123456789abcdef"));
        assert!(!is_clear_or_hashed("h:0123"));
        assert!(!is_clear_or_hashed("h:0123456789ABCDEF0123456789ABCDEF"));
    }
}
