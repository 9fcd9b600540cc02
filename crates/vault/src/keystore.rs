//! The key directory: master key, signing keys, spool keys, and the head.

use crate::{VaultError, random};
use indelible_ledger::{Ed25519Signer, KeyHistory, VerifierKey};
use indelible_os::durable;
use indelible_record::commitment::{from_hex, to_hex};
use indelible_spool::seal::SpoolPrivateKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a wrapped 32-byte key: nonce, ciphertext, tag.
pub const WRAPPED_BYTES: usize = 12 + 32 + 16;

/// An open key directory.
pub struct KeyStore {
    dir: PathBuf,
    master: Zeroizing<[u8; 32]>,
}

impl KeyStore {
    /// Opens the directory, making it and its master key when there is none. An existing directory
    /// without a master key is an error, never a reason to make a new one.
    pub fn open_or_create(dir: &Path) -> Result<Self, VaultError> {
        let fresh = !dir.exists() || std::fs::read_dir(dir).map_err(VaultError::io(dir))?.next().is_none();
        durable::make_dir(dir).map_err(VaultError::io(dir))?;
        let path = dir.join("master.key");
        if fresh || (!path.exists() && !dir.join("head").exists() && !dir.join("vault.slots").exists()) {
            let key = Zeroizing::new(random::<32>()?);
            durable::create(&path, &*key, durable::MODE_SECRET).map_err(VaultError::io(&path))?;
        }
        Self::open(dir)
    }

    /// Opens an existing directory.
    pub fn open(dir: &Path) -> Result<Self, VaultError> {
        let path = dir.join("master.key");
        let master = Zeroizing::new(read_secret(&path)?);
        Ok(Self { dir: dir.to_owned(), master })
    }

    /// Where the keys lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A key for one purpose, derived from the master key (HKDF-SHA-256, RFC 5869).
    pub fn derive(&self, purpose: &str, context: &str) -> Zeroizing<[u8; 32]> {
        struct Bytes32;
        impl KeyType for Bytes32 {
            fn len(&self) -> usize {
                32
            }
        }
        let extracted = Salt::new(HKDF_SHA256, b"indelible derive v1").extract(&*self.master);
        let mut out = Zeroizing::new([0; 32]);
        #[allow(clippy::unwrap_used)] // 32 bytes is one block of HKDF-SHA-256, far below its limit.
        extracted
            .expand(&[purpose.as_bytes(), b"\0", context.as_bytes()], Bytes32)
            .and_then(|okm| okm.fill(&mut *out))
            .unwrap();
        out
    }

    /// The signer of a tenant's ledger; made when `create` and there is none.
    pub fn signer(&self, tenant: &str, origin: &str, create: bool) -> Result<Ed25519Signer, VaultError> {
        let dir = self.dir.join("ledgers");
        let path = dir.join(format!("{tenant}.seed"));
        if create && !path.exists() {
            durable::make_dir(&dir).map_err(VaultError::io(&dir))?;
            let seed = Zeroizing::new(random::<32>()?);
            let signer = signer_of(&path, origin, &seed)?;
            // First of all, that it has signed nothing yet: a key without this and without a head has lost what it signed.
            let unused = self.unused_path(tenant);
            durable::replace(&unused, b"", durable::MODE_SECRET).map_err(VaultError::io(&unused))?;
            // The public half before the seed: that alone would sign what nobody can check.
            self.write_keys(tenant, &KeyHistory::new(signer.verifier_key().clone()))?;
            durable::create(&path, &*seed, durable::MODE_SECRET).map_err(VaultError::io(&path))?;
        }
        signer_of(&path, origin, &Zeroizing::new(read_secret(&path)?))
    }

    /// Whether the key of a tenant's ledger was made, and has signed nothing since.
    pub fn is_unused(&self, tenant: &str) -> bool {
        self.unused_path(tenant).exists()
    }

    /// What the key of a tenant's ledger signed is under the head.
    pub fn set_used(&self, tenant: &str) -> Result<(), VaultError> {
        let path = self.unused_path(tenant);
        if !path.exists() {
            return Ok(());
        }
        durable::remove(&path).map_err(VaultError::io(&path))
    }

    fn unused_path(&self, tenant: &str) -> PathBuf {
        self.dir.join("ledgers").join(format!("{tenant}.unused"))
    }

    /// Writes the public keys of a tenant's ledger.
    pub fn write_keys(&self, tenant: &str, keys: &KeyHistory) -> Result<(), VaultError> {
        let path = self.dir.join("ledgers").join(format!("{tenant}.vkey"));
        durable::replace(&path, keys.to_string().as_bytes(), durable::MODE_SHARED)
            .map_err(VaultError::io(&path))
    }

    /// Makes the key that is to follow the one that signs a tenant's ledger. One that an attempt before left is replaced.
    pub fn create_next_signer(&self, tenant: &str, origin: &str) -> Result<Ed25519Signer, VaultError> {
        let path = self.next_path(tenant);
        let seed = Zeroizing::new(random::<32>()?);
        durable::replace(&path, &*seed, durable::MODE_SECRET).map_err(VaultError::io(&path))?;
        signer_of(&path, origin, &seed)
    }

    /// The key that is to follow, if one was made.
    pub fn next_signer(&self, tenant: &str, origin: &str) -> Result<Option<Ed25519Signer>, VaultError> {
        let path = self.next_path(tenant);
        if !path.exists() {
            return Ok(None);
        }
        signer_of(&path, origin, &Zeroizing::new(read_secret(&path)?)).map(Some)
    }

    /// Gives up a key that nothing says anything of.
    pub fn discard_next_signer(&self, tenant: &str) -> Result<(), VaultError> {
        destroy(&self.next_path(tenant))?;
        durable::remove(&self.next_path(tenant)).map_err(VaultError::io(&self.next_path(tenant)))
    }

    /// Puts the next key in the place of the one that signed until now, which is destroyed.
    pub fn promote_next_signer(&self, tenant: &str) -> Result<(), VaultError> {
        let path = self.dir.join("ledgers").join(format!("{tenant}.seed"));
        destroy(&path)?;
        durable::publish_file(&self.next_path(tenant), &path).map_err(VaultError::io(&path))
    }

    fn next_path(&self, tenant: &str) -> PathBuf {
        self.dir.join("ledgers").join(format!("{tenant}.next.seed"))
    }

    /// The newest public key of each ledger: tenant and key. Reads public files alone.
    pub fn verifier_keys(dir: &Path) -> Result<Vec<(String, VerifierKey)>, VaultError> {
        let newest = |(tenant, keys): (String, KeyHistory)| (tenant, keys.newest().clone());
        Ok(Self::key_histories(dir)?.into_iter().map(newest).collect())
    }

    /// The public keys of all ledgers: tenant and keys. Reads public files alone.
    pub fn key_histories(dir: &Path) -> Result<Vec<(String, KeyHistory)>, VaultError> {
        let dir = dir.join("ledgers");
        let mut keys = Vec::new();
        let names = match std::fs::read_dir(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(keys),
            Err(error) => return Err(VaultError::io(&dir)(error)),
        };
        for name in names {
            let path = name.map_err(VaultError::io(&dir))?.path();
            let Some(tenant) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".vkey")) else {
                continue;
            };
            let text = std::fs::read_to_string(&path).map_err(VaultError::io(&path))?;
            let history =
                text.trim_end().parse().map_err(|error| VaultError::damaged(&path, format!("{error}")))?;
            keys.push((tenant.to_owned(), history));
        }
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(keys)
    }

    /// All spool keys, oldest first. The last one is what new spool files are encrypted to.
    pub fn spool_keys(&self) -> Result<Vec<SpoolPrivateKey>, VaultError> {
        let dir = self.dir.join("spool");
        let mut found = Vec::new();
        if dir.is_dir() {
            for name in std::fs::read_dir(&dir).map_err(VaultError::io(&dir))? {
                let path = name.map_err(VaultError::io(&dir))?.path();
                if path.extension().is_some_and(|extension| extension == "key") {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
            .iter()
            .map(|path| {
                SpoolPrivateKey::from_bytes(read_secret(path)?)
                    .map_err(|error| VaultError::damaged(path, error.to_string()))
            })
            .collect()
    }

    /// Makes a new spool key. `day` (since 1970) orders the names.
    pub fn create_spool_key(&self, day: i64) -> Result<SpoolPrivateKey, VaultError> {
        let dir = self.dir.join("spool");
        durable::make_dir(&dir).map_err(VaultError::io(&dir))?;
        let secret = Zeroizing::new(random::<32>()?);
        let key = SpoolPrivateKey::from_bytes(*secret)
            .map_err(|error| VaultError::damaged(&dir, error.to_string()))?;
        let path = dir.join(format!("{day:06}-{}.key", to_hex(&key.public().id())));
        durable::create(&path, &*secret, durable::MODE_SECRET).map_err(VaultError::io(&path))?;
        Ok(key)
    }

    /// The day (since 1970) of the newest spool key.
    pub fn newest_spool_key_day(&self) -> Option<i64> {
        let names = std::fs::read_dir(self.dir.join("spool")).ok()?;
        names.filter_map(|name| name.ok()?.file_name().to_str()?.split_once('-')?.0.parse().ok()).max()
    }

    /// Where the head lies.
    pub fn head_path(dir: &Path) -> PathBuf {
        dir.join("head")
    }

    /// Encrypts a 32-byte key under `with`, bound to `context`.
    pub(crate) fn wrap(
        with: &[u8; 32],
        context: &[u8],
        key: &[u8; 32],
    ) -> Result<[u8; WRAPPED_BYTES], VaultError> {
        let nonce: [u8; 12] = random()?;
        let mut out = [0; WRAPPED_BYTES];
        out[..12].copy_from_slice(&nonce);
        out[12..44].copy_from_slice(key);
        let tag = wrapping_key(with)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut out[12..44],
            )
            .map_err(|_| VaultError::Sealed)?;
        out[44..].copy_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens what [`KeyStore::wrap`] made.
    pub(crate) fn unwrap(
        with: &[u8; 32],
        context: &[u8],
        wrapped: &[u8; WRAPPED_BYTES],
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&wrapped[..12]);
        let mut bytes = Zeroizing::new(wrapped[12..].to_vec());
        wrapping_key(with)
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut bytes)
            .map_err(|_| VaultError::Sealed)?;
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&bytes[..32]);
        Ok(key)
    }
}

/// Reads 32 secret bytes: raw, or as 64 hex digits with a line end for files that people copy around.
pub fn read_secret(path: &Path) -> Result<[u8; 32], VaultError> {
    let bytes = Zeroizing::new(std::fs::read(path).map_err(VaultError::io(path))?);
    if let Ok(raw) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(raw);
    }
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| from_hex::<32>(text.trim_end()))
        .ok_or_else(|| VaultError::damaged(path, "expected a key of 32 bytes"))
}

/// Overwrites a secret in place, so that the file system holds no copy of it.
fn destroy(path: &Path) -> Result<(), VaultError> {
    let file = std::fs::OpenOptions::new().write(true).open(path).map_err(VaultError::io(path))?;
    durable::overwrite(&file, &[0; 32], 0).map_err(VaultError::io(path))
}

fn signer_of(path: &Path, origin: &str, seed: &[u8; 32]) -> Result<Ed25519Signer, VaultError> {
    Ed25519Signer::from_seed(origin, seed).map_err(|error| VaultError::damaged(path, error.to_string()))
}

fn wrapping_key(key: &[u8; 32]) -> LessSafeKey {
    #[allow(clippy::unwrap_used)] // 32 bytes is the length of an AES-256 key.
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap())
}
