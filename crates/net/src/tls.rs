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
    let cert = webpki::EndEntityCert::try_from(certs?.first()?).ok()?;
    cert.valid_dns_names().next().map(str::to_owned)
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
