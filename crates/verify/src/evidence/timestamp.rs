//! What an RFC 3161 response says: granted or not, over which hash, when.
//!
//! Its signature and certificates are not checked here: `openssl ts -verify` does that, and a report says which of the
//! two was done. Only the definite, shortest form of DER is read.

use sha2::{Digest as _, Sha256};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
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

/// The time of a granted response over SHA-256 of `bytes`, as RFC 3339.
pub(super) fn time_over(response: &[u8], bytes: &[u8]) -> Result<String, &'static str> {
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
    let mut info = Der(octets.take(SEQUENCE)?);
    octets.end()?;
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
    let digits = whole.bytes().chain(fraction.bytes().skip(1)).all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits {
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
