//! What an RFC 3161 response says: granted or not, over which hash, when.
//!
//! Its signature and certificates are not checked here: `openssl ts -verify` does that, and a report says which of the
//! two was done. Only the definite, shortest form of DER is read.

use crate::date::is_time;
use sha2::{Digest as _, Sha256};

const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const TIME: u8 = 0x18;
const SET: u8 = 0x31;
const EXPLICIT: u8 = 0xa0;

/// 1.2.840.113549.1.7.2, `id-signedData`.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.9.16.1.4, `id-ct-TSTInfo`.
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
/// 2.16.840.1.101.3.4.2.1, `id-sha256`.
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// The request for a timestamp over SHA-256 of `bytes` (RFC 3161 §2.4.1), with the certificates asked for.
pub fn request(bytes: &[u8], nonce: [u8; 8]) -> Vec<u8> {
    let value = |tag: u8, contents: &[u8]| {
        // Nothing here is longer than the short form of a length says.
        [&[tag, contents.len() as u8][..], contents].concat()
    };
    let algorithm = value(SEQUENCE, &[value(OID, SHA256), vec![NULL, 0]].concat());
    let imprint = value(SEQUENCE, &[algorithm, value(OCTETS, &Sha256::digest(bytes))].concat());
    // Positive, and in the shortest form.
    let mut nonce = nonce;
    nonce[0] = nonce[0] & 0x7f | 0x40;
    let parts = [value(INTEGER, &[1]), imprint, value(INTEGER, &nonce), value(BOOLEAN, &[0xff])];
    value(SEQUENCE, &parts.concat())
}

/// Whether a response answers the request with this nonce.
///
/// # Errors
/// Words on what is not in the form of a response.
pub fn answers(response: &[u8], nonce: [u8; 8]) -> Result<bool, &'static str> {
    let mut wanted = nonce;
    wanted[0] = wanted[0] & 0x7f | 0x40;
    let (info, _) = token(response)?;
    let mut info = Der(info);
    for tag in [INTEGER, OID, SEQUENCE, INTEGER, TIME] {
        info.take(tag)?;
    }
    // Accuracy and ordering may stand before it.
    while let Some(tag) = info.0.first().copied() {
        let contents = info.take(tag)?;
        if tag == INTEGER {
            return Ok(contents == wanted);
        }
    }
    Ok(false)
}

/// The certificates in a response, DER, as they stand there.
///
/// # Errors
/// Words on what is not in the form of a response.
pub fn certificates(response: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let (_, rest) = token(response)?;
    let mut rest = Der(rest);
    let mut found = Vec::new();
    if rest.0.first() == Some(&EXPLICIT) {
        let mut all = Der(rest.take(EXPLICIT)?);
        while !all.0.is_empty() {
            let before = all.0;
            all.take(SEQUENCE)?;
            let (one, _) = before.split_at_checked(before.len() - all.0.len()).unwrap_or_default();
            found.push(one);
        }
    }
    Ok(found)
}

/// Whether anybody claims to have signed a response: it has a `SignerInfo` (RFC 5652 §5.1). Who, and rightly, is not said.
///
/// # Errors
/// Words on what is not in the form of a response.
pub fn names_signer(response: &[u8]) -> Result<bool, &'static str> {
    let (_, rest) = token(response)?;
    let mut rest = Der(rest);
    // Certificates and revocation lists may stand before it.
    for tag in [EXPLICIT, EXPLICIT + 1] {
        if rest.0.first() == Some(&tag) {
            rest.take(tag)?;
        }
    }
    let mut signers = Der(rest.take(SET)?);
    rest.end()?;
    Ok(signers.take(SEQUENCE).is_ok_and(|signer| !signer.is_empty()))
}

/// The contents of `TSTInfo`, and what follows it within the signed data.
fn token(response: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let mut outer = Der(response);
    let mut response = Der(outer.take(SEQUENCE)?);
    outer.end()?;
    let mut status = Der(response.take(SEQUENCE)?);
    if !matches!(status.take(INTEGER)?, [0 | 1]) {
        return Err("not granted");
    }
    let mut token = Der(response.take(SEQUENCE)?);
    response.end()?;
    if token.take(OID)? != SIGNED_DATA {
        return Err("no signed data");
    }
    let mut explicit = Der(token.take(EXPLICIT)?);
    token.end()?;
    let mut signed = Der(explicit.take(SEQUENCE)?);
    explicit.end()?;
    signed.take(INTEGER)?;
    signed.take(SET)?;
    let mut content = Der(signed.take(SEQUENCE)?);
    if content.take(OID)? != TST_INFO {
        return Err("no timestamp");
    }
    let mut explicit = Der(content.take(EXPLICIT)?);
    content.end()?;
    let mut octets = Der(explicit.take(OCTETS)?);
    explicit.end()?;
    let info = octets.take(SEQUENCE)?;
    octets.end()?;
    Ok((info, signed.0))
}

/// The time of a granted response over SHA-256 of `bytes`, as RFC 3339.
///
/// # Errors
/// Words on what is not as it must be: the form, the status, the hash, the time.
pub fn time_over(response: &[u8], bytes: &[u8]) -> Result<String, &'static str> {
    let (info, _) = token(response)?;
    let mut info = Der(info);
    if info.take(INTEGER)? != [1] {
        return Err("a timestamp of another version");
    }
    info.take(OID)?;
    let mut imprint = Der(info.take(SEQUENCE)?);
    let mut algorithm = Der(imprint.take(SEQUENCE)?);
    if algorithm.take(OID)? != SHA256 {
        return Err("over another hash than SHA-256");
    }
    let hash = imprint.take(OCTETS)?;
    imprint.end()?;
    if *hash != *Sha256::digest(bytes) {
        return Err("over something else");
    }
    info.take(INTEGER)?;
    rfc3339(info.take(TIME)?).ok_or("no time")
}

/// `YYYYMMDDHHMMSS[.f…]Z` as `YYYY-MM-DDTHH:MM:SS[.f…]Z` (RFC 3161 §2.4.2).
fn rfc3339(time: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && !fraction.ends_with('0') => {
            (whole, format!(".{fraction}"))
        }
        Some(_) => return None,
        None => (text, String::new()),
    };
    if !is_time(whole.as_bytes()) || !fraction.bytes().skip(1).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to);
    Some(format!(
        "{}-{}-{}T{}:{}:{}{fraction}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    ))
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Result<&'a [u8], &'static str> {
        const BROKEN: &str = "not DER";
        let (found, rest) = self.0.split_first().ok_or(BROKEN)?;
        let (first, mut rest) = rest.split_first().ok_or(BROKEN)?;
        let mut length = usize::from(*first);
        if *first >= 0x80 {
            let count = usize::from(*first & 0x7f);
            let (bytes, behind) = rest.split_at_checked(count).ok_or(BROKEN)?;
            // The shortest form: no leading zero, and nothing that fits into one byte.
            if !(1..=3).contains(&count) || bytes.first() == Some(&0) {
                return Err(BROKEN);
            }
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            if length < 0x80 {
                return Err(BROKEN);
            }
            rest = behind;
        }
        let (contents, behind) = rest.split_at_checked(length).ok_or(BROKEN)?;
        if *found != tag {
            return Err("not in the form of a timestamp");
        }
        self.0 = behind;
        Ok(contents)
    }

    fn end(&self) -> Result<(), &'static str> {
        if self.0.is_empty() { Ok(()) } else { Err("more than a timestamp") }
    }
}
