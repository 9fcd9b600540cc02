//! A development CA: one command, and two machines speak mutual TLS.
//!
//! For production, certificates come from the organisation's own CA; nothing here is needed then. A
//! source's certificate carries the source's id as its DNS name, and the collector takes frames of that
//! source from that certificate alone.

use crate::NetError;
use indelible_os::durable;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use std::path::Path;

/// A development CA, open for issuing.
pub struct DevCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A server.
    Server,
    /// A source.
    Client,
}

impl DevCa {
    /// Makes a CA and writes `ca.pem` and `ca.key` into `dir`.
    pub fn create(dir: &Path) -> Result<Self, NetError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Indelible development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(|error| NetError::file(dir, error))?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(|error| NetError::file(dir, error))?;
        write(&dir.join("ca.pem"), issuer.pem().as_bytes(), durable::MODE_SHARED)?;
        write(&dir.join("ca.key"), issuer.key().serialize_pem().as_bytes(), durable::MODE_SECRET)?;
        Ok(Self { issuer })
    }

    /// Issues a certificate for `names` and writes `NAME.pem` and `NAME.key` into `dir`.
    pub fn issue(&self, dir: &Path, file: &str, names: &[String], purpose: Use) -> Result<(), NetError> {
        let mut params =
            CertificateParams::new(names.to_vec()).map_err(|error| NetError::file(dir, error))?;
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Use::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let key = KeyPair::generate().map_err(|error| NetError::file(dir, error))?;
        let cert = params.signed_by(&key, &self.issuer).map_err(|error| NetError::file(dir, error))?;
        write(&dir.join(format!("{file}.pem")), cert.pem().as_bytes(), durable::MODE_SHARED)?;
        write(&dir.join(format!("{file}.key")), key.serialize_pem().as_bytes(), durable::MODE_SECRET)
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), NetError> {
    durable::create(path, bytes, mode).map_err(|error| NetError::file(path, error))
}
