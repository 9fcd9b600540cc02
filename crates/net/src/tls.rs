//! TLS settings from PEM files.

use crate::NetError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// A certificate chain and its key, in PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Certificates, own one first.
    pub cert: std::path::PathBuf,
    /// Private key.
    pub key: std::path::PathBuf,
}

/// Server settings. With `client_ca`, clients may show a certificate of that CA; whether one is needed
/// is decided per request, by what [`peer_name`] says.
pub fn server(identity: &Identity, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, NetError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| NetError::file(ca, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(certs(&identity.cert)?, key(&identity.key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Client settings: trusts `ca`, or the system's roots, and shows `identity` when asked.
pub fn client(ca: Option<&Path>, identity: Option<&Identity>) -> Result<ClientConfig, NetError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match ca {
        Some(ca) => roots(ca)?,
        None => {
            let mut store = RootCertStore::empty();
            // A system without roots can still call plain HTTP; an HTTPS call then fails by name.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            store
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match identity {
        Some(identity) => builder.with_client_auth_cert(certs(&identity.cert)?, key(&identity.key)?)?,
        None => builder.with_no_client_auth(),
    })
}

/// The name in a verified client certificate: its first DNS subject alternative name.
pub fn peer_name(certs: Option<&[CertificateDer<'_>]>) -> Option<String> {
    // rustls checks names and does not list them, so the name is read from the DER.
    dns_name(certs?.first()?.as_ref())
}

/// Finds the first dNSName (RFC 5280 §4.2.1.6) of the subjectAltName extension, OID 2.5.29.17, in a
/// certificate whose signature was verified before.
fn dns_name(der: &[u8]) -> Option<String> {
    const SUBJECT_ALT_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];
    const DNS_NAME_TAG: u8 = 0x82;
    let at = der.windows(SUBJECT_ALT_NAME.len()).position(|window| window == SUBJECT_ALT_NAME)?;
    let mut rest = &der[at + SUBJECT_ALT_NAME.len()..];
    // extnValue OCTET STRING { SEQUENCE { GeneralName* } }
    rest = contents(rest, 0x04)?;
    rest = contents(rest, 0x30)?;
    while !rest.is_empty() {
        let (tag, value, after) = element(rest)?;
        if tag == DNS_NAME_TAG {
            return std::str::from_utf8(value).ok().map(str::to_owned);
        }
        rest = after;
    }
    None
}

fn contents(der: &[u8], wanted: u8) -> Option<&[u8]> {
    element(der).filter(|(tag, _, _)| *tag == wanted).map(|(_, value, _)| value)
}

/// One DER element: tag, contents, what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), &rest[2..]),
        _ => return None,
    };
    let (value, after) = rest.split_at_checked(len)?;
    Some((tag, value, after))
}

fn roots(ca: &Path) -> Result<RootCertStore, NetError> {
    let mut store = RootCertStore::empty();
    for cert in certs(ca)? {
        store.add(cert).map_err(|error| NetError::file(ca, error))?;
    }
    Ok(store)
}

fn certs(path: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| NetError::file(path, error))?.collect();
    let found = found.map_err(|error| NetError::file(path, error))?;
    if found.is_empty() {
        return Err(NetError::file(path, "holds no certificate"));
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, NetError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| NetError::file(path, error))
}
