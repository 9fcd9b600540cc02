//! Encryption of a spool to the collector: HPKE (RFC 9180), one context per file.
//!
//! An inference host that is taken over must not be able to read back what it recorded. It holds only
//! the collector's public key; each spool file begins with a fresh encapsulated key, and the process
//! that wrote the file is the only one on that host that ever knew the file's secret.
//!
//! ```text
//! suite    DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, export-only AEAD (RFC 9180 §7, §5.3)
//! info     "indelible spool v1" · key_id 8 · file_id 16 · log_id 16 · file_no u64 · source id
//! key      Export("key", 32)        base    Export("nonce", 12)
//! frame    AES-256-GCM(key, base XOR seq, aad = frame header · clear, plaintext)
//! body     clear 16 · ciphertext · tag 16           (clear: the event id)
//! ext      key_id 8 · enc 32 · source id
//! ```
//!
//! The context exports a key instead of sealing by itself because a collector must be able to start in
//! the middle of a file, and an RFC 9180 context only counts up from zero.

use crate::error::LogError;
use crate::frame::{FRAME_HEADER_BYTES, FileHeader, array_at};
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a frame body that stay readable: the event id.
pub const CLEAR_BYTES: usize = 16;
/// Bytes that sealing adds to a body.
pub const SEAL_OVERHEAD_BYTES: usize = CLEAR_BYTES + TAG_BYTES;

const TAG_BYTES: usize = 16;

const EXT_FIXED_BYTES: usize = 8 + 32;
const SOURCE_ID_MAX_BYTES: usize = 128;

/// The collector's public key for spools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolPublicKey {
    bytes: [u8; 32],
}

/// The collector's private key for spools. Wiped from memory on drop.
pub struct SpoolPrivateKey {
    secret: Zeroizing<[u8; 32]>,
    public: SpoolPublicKey,
}

/// The source and key that a spool file's header names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBy {
    /// Which collector key the file is encrypted to.
    pub key_id: [u8; 8],
    /// The encapsulated key.
    pub enc: [u8; 32],
    /// Who wrote the file.
    pub source_id: String,
}

/// Seals or opens the frames of one file.
pub struct FileCipher {
    key: LessSafeKey,
    base: [u8; 12],
}

impl SpoolPublicKey {
    /// Takes 32 bytes of X25519 public key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self { bytes }
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// First eight bytes of the key's SHA-256.
    pub fn id(&self) -> [u8; 8] {
        array_at(&Sha256::digest(self.bytes), 0)
    }

    /// A context for a new file: what goes into the header, and the cipher for its frames.
    pub fn seal_file(&self, header: &FileHeader, source_id: &str) -> Result<(Vec<u8>, FileCipher), LogError> {
        let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.bytes)
            .map_err(|_| seal_error("the collector's spool key is not an X25519 key"))?;
        let info = info(header, &self.id(), source_id);
        let (enc, context) = hpke::setup_sender::<ExportOnlyAead, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            &info,
        )
        .map_err(|_| seal_error("cannot make an encryption context for a spool file"))?;
        let mut key = Zeroizing::new([0; 32]);
        let mut base = [0; 12];
        context
            .export(b"key", &mut *key)
            .and_then(|()| context.export(b"nonce", &mut base))
            .map_err(|_| seal_error("cannot derive the key of a spool file"))?;
        let mut ext = self.id().to_vec();
        ext.extend_from_slice(&enc.to_bytes());
        ext.extend_from_slice(source_id.as_bytes());
        Ok((ext, FileCipher::new(&key, base)))
    }
}

impl SpoolPrivateKey {
    /// The key pair of 32 secret bytes.
    pub fn from_bytes(secret: [u8; 32]) -> Result<Self, LogError> {
        let secret = Zeroizing::new(secret);
        let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&*secret)
            .map_err(|_| seal_error("not an X25519 private key"))?;
        let public = X25519HkdfSha256::sk_to_pk(&private).to_bytes();
        Ok(Self { secret, public: SpoolPublicKey { bytes: array_at(&public, 0) } })
    }

    /// The public half.
    pub fn public(&self) -> &SpoolPublicKey {
        &self.public
    }

    /// The cipher of the file with this header, which must be encrypted to this key.
    pub fn open_file(&self, header: &FileHeader, sealed: &SealedBy) -> Result<FileCipher, LogError> {
        let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&*self.secret)
            .map_err(|_| seal_error("not an X25519 private key"))?;
        let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&sealed.enc)
            .map_err(|_| seal_error("the file's encapsulated key is malformed"))?;
        let info = info(header, &sealed.key_id, &sealed.source_id);
        let context = hpke::setup_receiver::<ExportOnlyAead, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &enc,
            &info,
        )
        .map_err(|_| seal_error("the spool file is not encrypted to this key"))?;
        let mut key = Zeroizing::new([0; 32]);
        let mut base = [0; 12];
        context
            .export(b"key", &mut *key)
            .and_then(|()| context.export(b"nonce", &mut base))
            .map_err(|_| seal_error("cannot derive the key of a spool file"))?;
        Ok(FileCipher::new(&key, base))
    }
}

impl SealedBy {
    /// Reads a spool file header's extension.
    pub fn parse(ext: &[u8]) -> Result<Self, LogError> {
        let source = ext.get(EXT_FIXED_BYTES..).filter(|id| (1..=SOURCE_ID_MAX_BYTES).contains(&id.len()));
        let source_id = source.and_then(|id| std::str::from_utf8(id).ok());
        match source_id {
            Some(id) => {
                Ok(Self { key_id: array_at(ext, 0), enc: array_at(ext, 8), source_id: id.to_owned() })
            }
            None => Err(seal_error("malformed spool file header")),
        }
    }
}

impl FileCipher {
    fn new(key: &[u8; 32], base: [u8; 12]) -> Self {
        #[allow(clippy::unwrap_used)] // 32 bytes is the length of an AES-256 key.
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        Self { key, base }
    }

    /// Encrypts `body` (the clear bytes followed by the plaintext) in place, and gives the tag to go behind it.
    pub(crate) fn seal(
        &self,
        seq: u64,
        header: &[u8; FRAME_HEADER_BYTES],
        body: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], LogError> {
        let aad = aad(header, body);
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(seq), Aad::from(aad), &mut body[CLEAR_BYTES..])
            .map_err(|_| seal_error("cannot encrypt a spool frame"))?;
        Ok(array_at(tag.as_ref(), 0))
    }

    /// A whole frame of the file, as a source writes it: for fuzz targets, which send what no source would.
    #[cfg(fuzzing)]
    pub fn sealed_frame(
        &self,
        kind: crate::frame::Kind,
        seq: u64,
        file_id: &[u8; 16],
        event_id: [u8; CLEAR_BYTES],
        plain: &[u8],
    ) -> Result<Vec<u8>, LogError> {
        let header = crate::frame::encode_header(kind, seq, plain.len() + SEAL_OVERHEAD_BYTES, file_id);
        let mut body = [&event_id, plain].concat();
        let tag = self.seal(seq, &header, &mut body)?;
        body.extend_from_slice(&tag);
        Ok([&header[..], &body, &crc32c::crc32c(&body).to_le_bytes()].concat())
    }

    /// Decrypts a frame body: the event id and the plaintext.
    pub fn open(
        &self,
        seq: u64,
        header: &[u8],
        body: &[u8],
    ) -> Result<([u8; CLEAR_BYTES], Vec<u8>), LogError> {
        if body.len() < SEAL_OVERHEAD_BYTES || header.len() != FRAME_HEADER_BYTES {
            return Err(seal_error("spool frame is too short to be encrypted"));
        }
        let header: [u8; FRAME_HEADER_BYTES] = array_at(header, 0);
        let mut plain = body[CLEAR_BYTES..].to_vec();
        let len = self
            .key
            .open_in_place(self.nonce(seq), Aad::from(aad(&header, body)), &mut plain)
            .map_err(|_| seal_error("spool frame does not decrypt: altered, or of another file"))?
            .len();
        plain.truncate(len);
        Ok((array_at(body, 0), plain))
    }

    fn nonce(&self, seq: u64) -> Nonce {
        let mut nonce = self.base;
        for (byte, seq) in nonce[4..].iter_mut().zip(seq.to_be_bytes()) {
            *byte ^= seq;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

fn aad(header: &[u8; FRAME_HEADER_BYTES], body: &[u8]) -> [u8; FRAME_HEADER_BYTES + CLEAR_BYTES] {
    let mut aad = [0; FRAME_HEADER_BYTES + CLEAR_BYTES];
    aad[..FRAME_HEADER_BYTES].copy_from_slice(header);
    aad[FRAME_HEADER_BYTES..].copy_from_slice(&body[..CLEAR_BYTES]);
    aad
}

fn info(header: &FileHeader, key_id: &[u8; 8], source_id: &str) -> Vec<u8> {
    let mut info = b"indelible spool v1".to_vec();
    info.extend_from_slice(key_id);
    info.extend_from_slice(&header.file_id);
    info.extend_from_slice(header.log_id.as_bytes());
    info.extend_from_slice(&header.file_no.to_le_bytes());
    info.extend_from_slice(source_id.as_bytes());
    info
}

fn seal_error(what: &str) -> LogError {
    LogError::Io { context: what.to_owned(), source: std::io::ErrorKind::InvalidData.into() }
}
