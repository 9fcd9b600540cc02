//! What is handed to those who ask: evidence bundles.
//!
//! * [`evidence`]: records with everything that shows them to be the recorded ones, as one file
//! * `archive`: the form of zip that such a file has
//!
//! `docs/formats/evidence.md` is the format; `indelible-verify`, `verify.py` and `index.html` read it.

#![forbid(unsafe_code)]

mod archive;
pub mod evidence;

/// Certificates, DER, as PEM (RFC 7468).
pub fn pem(certificates: &[&[u8]]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in indelible_ledger::base64(certificate).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
