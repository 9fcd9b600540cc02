//! Signed notes: a text and signature lines below it (C2SP signed-note).
//!
//! ```text
//! text, ends in a newline
//! (empty line; the last one in the note)
//! — <key name> <base64 of key id u32 BE ‖ signature>
//! — …
//! ```
//!
//! A note proves nothing until [`Note::verify`] has found a signature of a key that the caller trusts. Lines of
//! other keys are ignored, which is what lets witnesses add theirs and keys rotate; a line of a trusted key
//! that does not verify spoils the whole note.

use std::fmt;
use std::str::FromStr;

use crate::key::{KeyId, SignError, Signer, VerifierKey};
use crate::text;

/// The longest note that is read, in bytes.
pub const NOTE_MAX_BYTES: usize = 1 << 20;
/// The longest note where the text is a list of files.
pub const LIST_MAX_BYTES: usize = 8 << 20;
/// The most signature lines that are read (the specification asks for at least 16).
pub const NOTE_SIGNATURES_MAX: usize = 64;

/// What a signature line begins with: an em dash and a space.
const LINE_PREFIX: &str = "\u{2014} ";

/// A note whose form has been checked, and nothing else. `Display` gives back the bytes that were parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Puts a note together from its text and its signatures, unverified: how a collected signature is added.
    ///
    /// # Errors
    /// [`NoteError`] if `Display` would give something that [`Note::parse`] refuses.
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Note, NoteError> {
        Note::assemble(text, signatures, NOTE_MAX_BYTES)
    }

    fn assemble(text: String, signatures: Vec<NoteSignature>, max_bytes: usize) -> Result<Note, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::UnfinishedText);
        }
        check_characters(&text)?;
        if signatures.is_empty() {
            return Err(NoteError::NoSignature);
        }
        if signatures.len() > NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        let note = Note { text, signatures };
        if note.to_string().len() > max_bytes { Err(NoteError::TooLong) } else { Ok(note) }
    }

    /// Signs `text` with each of `signers`.
    ///
    /// # Errors
    /// [`NoteError::Sign`] if a signer fails, and as for [`Note::new`].
    pub fn sign(text: String, signers: &[&dyn Signer]) -> Result<Note, NoteError> {
        let signatures = Note::signatures_of(&text, signers)?;
        Note::new(text, signatures)
    }

    /// The same for a list of files, of at most [`LIST_MAX_BYTES`].
    ///
    /// # Errors
    /// As for [`sign`](Note::sign).
    pub fn sign_list(text: String, signer: &dyn Signer) -> Result<Note, NoteError> {
        let signatures = Note::signatures_of(&text, &[signer])?;
        Note::assemble(text, signatures, LIST_MAX_BYTES)
    }

    fn signatures_of(text: &str, signers: &[&dyn Signer]) -> Result<Vec<NoteSignature>, NoteError> {
        let sign_one = |signer: &&dyn Signer| {
            let name = signer.name();
            let signed = signer.sign(text.as_bytes());
            let bytes = signed.map_err(|source| NoteError::Sign { name: name.to_owned(), source })?;
            NoteSignature::new(name, signer.key_id(), bytes)
        };
        signers.iter().map(sign_one).collect()
    }

    /// Parses a note, of at most [`NOTE_MAX_BYTES`] and [`NOTE_SIGNATURES_MAX`]. Signatures are not checked.
    ///
    /// # Errors
    /// [`NoteError`] that names the first rule that the bytes break.
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        if bytes.len() > NOTE_MAX_BYTES { Err(NoteError::TooLong) } else { Note::parse_list(bytes) }
    }

    /// The same, of at most [`LIST_MAX_BYTES`]: for a signed list of files.
    ///
    /// # Errors
    /// As for [`parse`](Note::parse).
    pub fn parse_list(bytes: &[u8]) -> Result<Note, NoteError> {
        if bytes.len() > LIST_MAX_BYTES {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        check_characters(note)?;
        let before_empty_line = note.rfind("\n\n").ok_or(NoteError::NoEmptyLine)?;
        // The first newline ends the text, the second is the empty line.
        let (text, rest) = note.split_at(before_empty_line + 1);
        let lines = &rest[1..];
        if lines.is_empty() {
            return Err(NoteError::NoSignature);
        }
        let unfinished = || NoteError::SignatureLine { line: lines.matches('\n').count() };
        let lines = lines.strip_suffix('\n').ok_or_else(unfinished)?;

        let mut signatures = Vec::new();
        for (line, signature) in lines.split('\n').enumerate() {
            if line == NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(signature.parse().map_err(|_| NoteError::SignatureLine { line })?);
        }
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// The text, final newline included. Nobody vouches for it until [`verify`](Note::verify) succeeded.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order, verified or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Checks the signatures of the keys given, the only ones trusted; lines of other keys are ignored.
    /// Returns what verified, one for each key, in the order of the lines; never empty.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] if a line names a given key and does not verify, whatever other lines do;
    /// [`NoteError::NoKnownSignature`] if no line names a given key; [`NoteError::AmbiguousKey`] if a line names
    /// two different given keys.
    pub fn verify<'a>(&'a self, keys: &'a [VerifierKey]) -> Result<Vec<VerifiedSignature<'a>>, NoteError> {
        let mut verified: Vec<VerifiedSignature<'a>> = Vec::new();
        for signature in &self.signatures {
            let Some(key) = signature.key_among(keys)? else { continue };
            if !key.verify(self.text.as_bytes(), &signature.bytes) {
                return Err(NoteError::BadSignature { name: key.name().to_owned(), id: key.key_id() });
            }
            // A line repeated must not count twice towards a quorum.
            if verified.iter().all(|other| other.key != key) {
                verified.push(VerifiedSignature { key, signature });
            }
        }
        if verified.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// A signature that verified, with the key that it verified under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedSignature<'a> {
    /// The trusted key.
    pub key: &'a VerifierKey,
    /// The line of the note.
    pub signature: &'a NoteSignature,
}

/// One signature line. `Display` and `FromStr` are the line without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: KeyId,
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// A signature line from its parts; `bytes` is what follows the key id.
    ///
    /// # Errors
    /// [`NoteError::SignatureParts`] if the name cannot stand on a line or `bytes` is empty.
    pub fn new(name: &str, key_id: KeyId, bytes: Vec<u8>) -> Result<NoteSignature, NoteError> {
        if text::is_key_name(name) && !bytes.is_empty() {
            Ok(NoteSignature { name: name.to_owned(), key_id, bytes })
        } else {
            Err(NoteError::SignatureParts)
        }
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// What follows the key id: 64 bytes where the key is Ed25519.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn key_among<'k>(&self, keys: &'k [VerifierKey]) -> Result<Option<&'k VerifierKey>, NoteError> {
        let mut named = keys.iter().filter(|key| key.name() == self.name && key.key_id() == self.key_id);
        let Some(key) = named.next() else { return Ok(None) };
        if named.all(|other| other == key) {
            Ok(Some(key))
        } else {
            Err(NoteError::AmbiguousKey { name: self.name.clone(), id: self.key_id })
        }
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.0.to_be_bytes(), &self.bytes[..]].concat();
        write!(f, "{LINE_PREFIX}{} {}", self.name, text::to_base64(&bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<NoteSignature, NoteError> {
        let parts = line.strip_prefix(LINE_PREFIX).and_then(|rest| rest.split_once(' '));
        let (name, encoded) = parts.ok_or(NoteError::SignatureParts)?;
        let decoded = text::from_base64(encoded).ok_or(NoteError::SignatureParts)?;
        let (id, bytes) = decoded.split_first_chunk().ok_or(NoteError::SignatureParts)?;
        NoteSignature::new(name, KeyId(u32::from_be_bytes(*id)), bytes.to_vec())
    }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    if text.bytes().any(|b| b < b' ' && b != b'\n') { Err(NoteError::ControlCharacter) } else { Ok(()) }
}

/// Bytes are not a note, a note cannot be made, or its signatures do not satisfy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`NOTE_MAX_BYTES`], or than [`LIST_MAX_BYTES`].
    #[error("the note is too long")]
    TooLong,
    /// The bytes are not UTF-8.
    #[error("the note is not UTF-8")]
    NotUtf8,
    /// A control character other than newline.
    #[error("the note holds a control character")]
    ControlCharacter,
    /// Nothing separates text and signatures.
    #[error("no empty line separates the text of the note from its signatures")]
    NoEmptyLine,
    /// The text to be signed does not end in a newline.
    #[error("the text of the note does not end in a newline")]
    UnfinishedText,
    /// There is no signature line.
    #[error("the note has no signature")]
    NoSignature,
    /// More than [`NOTE_SIGNATURES_MAX`] lines.
    #[error("the note has more than {NOTE_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A line below the empty line is not a signature line.
    #[error("line {line} below the text of the note, counted from 0, is not a signature")]
    SignatureLine {
        /// Which line, counted from 0.
        line: usize,
    },
    /// Name or bytes cannot stand on a signature line.
    #[error("not a signature line")]
    SignatureParts,
    /// Two trusted keys share name and id.
    #[error("two different keys are called {name}+{id}")]
    AmbiguousKey {
        /// The name of the keys.
        name: String,
        /// The id of the keys.
        id: KeyId,
    },
    /// The signature of a trusted key does not verify.
    #[error("the signature of {name}+{id} does not verify")]
    BadSignature {
        /// The name of the key.
        name: String,
        /// The id of the key.
        id: KeyId,
    },
    /// No line is of a trusted key.
    #[error("the note carries no signature of a known key")]
    NoKnownSignature,
    /// A signer failed.
    #[error("{name} could not sign")]
    Sign {
        /// The name of the signer.
        name: String,
        /// Why it failed.
        source: SignError,
    },
}
