//! Evidence bundles put together from their parts: with the checksums, the manifest and the signatures that they need,
//! so that an input reaches the checks behind those.
//!
//! ```text
//! parts  = ( FF FE · letter · bytes ) *
//! letter = s scope · e entries · p proof · c text of the checkpoint · o openings · q payload (its name, a newline, its
//!          bytes) · t token · m completeness · u custody
//! ```

use indelible_ledger::{Cosigner, Ed25519Signer, Hash, Note, VerifierKey, leaf_hash, root_from_entries};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// What the log of the seeds is called (`crates/report/corpus`).
const ORIGIN: &str = "ledger.example/0198f3a2-6c1d-7e40-9b52-3f0a7d5c8e11";
const SEPARATOR: [u8; 2] = [0xff, 0xfe];
/// When the witness cosigned.
const COSIGNED_AT: u64 = 1_790_000_000;
/// What stands between signature and checksum of each header (docs/formats/evidence.md, Zip).
const FIXED: [u8; 10] = [20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];

static LOG: LazyLock<Ed25519Signer> = LazyLock::new(|| Ed25519Signer::from_seed(ORIGIN, &[7; 32]).unwrap());
static WITNESS: LazyLock<Cosigner> =
    LazyLock::new(|| Cosigner::from_seed("witness.example/fuzz", &[8; 32]).unwrap());

/// The parts of a bundle that anybody but the log's key chooses.
#[derive(Clone, Default)]
pub struct Parts {
    pub scope: Vec<u8>,
    pub entries: Vec<u8>,
    pub proof: Vec<u8>,
    /// Without signatures.
    pub checkpoint: Vec<u8>,
    pub openings: Vec<u8>,
    /// Name and bytes.
    pub payloads: Vec<(String, Vec<u8>)>,
    pub tokens: Vec<Vec<u8>>,
    pub completeness: Vec<u8>,
    pub custody: Vec<u8>,
}

impl Parts {
    /// Reads the parts, in any order.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut this = Self::default();
        while let Some(at) = bytes.windows(2).position(|two| two == SEPARATOR) {
            bytes = &bytes[at + SEPARATOR.len()..];
            let end = bytes.windows(2).position(|two| two == SEPARATOR).unwrap_or(bytes.len());
            let Some((letter, part)) = bytes[..end].split_first() else { continue };
            let place = match letter {
                b's' => &mut this.scope,
                b'e' => &mut this.entries,
                b'p' => &mut this.proof,
                b'c' => &mut this.checkpoint,
                b'o' => &mut this.openings,
                b'm' => &mut this.completeness,
                b'u' => &mut this.custody,
                b't' => {
                    this.tokens.push(part.to_vec());
                    continue;
                }
                b'q' => {
                    let name = part.iter().position(|byte| *byte == b'\n').unwrap_or(part.len());
                    let (name, behind) = part.split_at(name);
                    let body = behind.get(1..).unwrap_or_default().to_vec();
                    this.payloads.push((String::from_utf8_lossy(name).into_owned(), body));
                    continue;
                }
                _ => continue,
            };
            *place = part.to_vec();
        }
        this
    }

    /// Links neighbours among the entries, as a log would have.
    pub fn mend_chain(&mut self) {
        const MEMBER: &[u8] = b"\"prev_hash\":\"";
        let mut last: Option<(u64, Hash)> = None;
        let mut entries = Vec::new();
        for line in self.entries.split_inclusive(|byte| *byte == b'\n') {
            let mut line = line.to_vec();
            let seq = seq_of(&line);
            if let Some((_, leaf)) = last.filter(|(before, _)| seq.checked_sub(1) == Some(*before))
                && let Some(at) = line.windows(MEMBER.len()).position(|part| part == MEMBER)
            {
                let value = leaf.to_string();
                let place = line.get_mut(at + MEMBER.len()..at + MEMBER.len() + value.len());
                if let Some(place) = place {
                    place.copy_from_slice(value.as_bytes());
                }
            }
            last = Some((seq, leaf_hash(line.strip_suffix(b"\n").unwrap_or(&line))));
            entries.extend_from_slice(&line);
        }
        self.entries = entries;
    }

    /// Puts the root to which entries and proof lead into the checkpoint.
    pub fn mend_root(&mut self) {
        let text = String::from_utf8_lossy(&self.checkpoint).into_owned();
        let size = text.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(1);
        let lines = self.entries.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let leaves: Vec<(u64, Hash)> = lines.map(|line| (seq_of(line), leaf_hash(line))).collect();
        let proof = String::from_utf8_lossy(&self.proof).into_owned();
        let hashes: Option<Vec<Hash>> = proof.lines().map(|line| Hash::from_base64(line).ok()).collect();
        if let Ok(root) = root_from_entries(&hashes.unwrap_or_default(), &leaves, size) {
            self.checkpoint = format!("{ORIGIN}\n{size}\n{}\n", root.to_base64()).into_bytes();
        }
    }

    /// The checkpoint, signed by the log and, if asked for, by a witness; `None` if it cannot be signed.
    pub fn sign(&self, is_cosigned: bool) -> Option<Note> {
        let text = std::str::from_utf8(&self.checkpoint).ok()?;
        let note = Note::sign(text.to_owned(), &[&*LOG]).ok()?;
        let mut lines = note.signatures().to_vec();
        if is_cosigned {
            lines.push(WITNESS.cosign(text, COSIGNED_AT).ok()?);
        }
        Note::new(text.to_owned(), lines).ok()
    }

    /// Makes the tokens ones over the checkpoint.
    pub fn mend_tokens(&mut self, checkpoint: &Note) {
        let hash = Sha256::digest(checkpoint.to_string());
        self.tokens.iter_mut().for_each(|token| put_imprint(token, &hash.into()));
    }

    /// The bundle's bytes.
    pub fn pack(&self, checkpoint: &Note) -> Vec<u8> {
        let mut members: Vec<(String, &[u8])> = Vec::new();
        let note = checkpoint.to_string().into_bytes();
        let keys = format!("{}\n", log_key()).into_bytes();
        for (name, bytes) in [
            ("README.md", &b"read me\n"[..]),
            ("index.html", b"<html>\n"),
            ("verify.py", b"pass\n"),
            ("scope.json", &self.scope),
            ("entries.jsonl", &self.entries),
            ("proof.txt", &self.proof),
            ("checkpoint", &note),
            ("keys.txt", &keys),
            ("openings.jsonl", &self.openings),
        ] {
            members.push((name.to_owned(), bytes));
        }
        members.extend(self.payloads.iter().map(|(name, bytes)| (name.clone(), &bytes[..])));
        for (number, token) in self.tokens.iter().enumerate() {
            members.push((format!("timestamps/{number}.tsr"), token));
            members.push((format!("timestamps/{number}.pem"), b"pem\n"));
        }
        members.push(("completeness.json".to_owned(), &self.completeness));
        members.push(("custody.jsonl".to_owned(), &self.custody));
        members.push(("certificate.md".to_owned(), b"draft\n"));
        let line = |(name, bytes): &(String, &[u8])| {
            let hash = Hash(Sha256::digest(bytes).into()).to_hex();
            format!("{hash}  {name}\n")
        };
        let text: String = members.iter().map(line).collect();
        // Names with control characters cannot be signed; the archive is not one then, either.
        let manifest = Note::sign_list(text, &*LOG).map(|note| note.to_string()).unwrap_or_default();
        members.push(("MANIFEST.note".to_owned(), manifest.as_bytes()));
        zip(&members)
    }
}

/// The log's key.
pub fn log_key() -> VerifierKey {
    LOG.verifier_key().clone()
}

/// The witness's key.
pub fn witness_key() -> VerifierKey {
    WITNESS.verifier_key().clone()
}

/// Makes the first hash in a timestamp, an octet string of 32 bytes, this one.
pub fn put_imprint(token: &mut [u8], hash: &[u8; 32]) {
    if let Some(at) = token.windows(2).position(|two| two == [0x04, 0x20])
        && let Some(place) = token.get_mut(at + 2..at + 2 + hash.len())
    {
        place.copy_from_slice(hash);
    }
}

/// What a line says its number is; the first, where it says nothing.
fn seq_of(line: &[u8]) -> u64 {
    let value: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    value.and_then(|value| value.get("seq")?.as_u64()).unwrap_or_default()
}

/// The members, in the one form of zip that bundles have.
fn zip(members: &[(String, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let size = (bytes.len() as u32).to_le_bytes();
        let name_bytes = (name.len() as u16).to_le_bytes();
        let same =
            [&FIXED[..], &crc32fast::hash(bytes).to_le_bytes(), &size, &size, &name_bytes, &[0, 0]].concat();
        let at = (out.len() as u32).to_le_bytes();
        out.extend([b"PK\x03\x04", &same[..], name.as_bytes(), bytes].concat());
        directory.extend([b"PK\x01\x02\x14\0", &same[..], &[0; 10], &at, name.as_bytes()].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (size, at) = ((directory.len() as u32).to_le_bytes(), (out.len() as u32).to_le_bytes());
    out.append(&mut directory);
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &at, &[0, 0]].concat());
    out
}
