//! Checkpoints: signed tree heads (C2SP tlog-checkpoint).
//!
//! The text of the note is three lines: the origin, which names the log for ever; the size; the root. There is
//! no time in it, because nobody needs to believe the log's clock: witnesses and timestamps say when a
//! checkpoint existed. Further lines ("extension lines") are kept when read and never written, since not every
//! cosignature covers them.

use crate::hash::Hash;
use crate::key::{KeyKind, Signer, VerifierKey};
use crate::note::{Note, NoteError};
use crate::text;

/// What a log commits to: this many entries, under this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint to be signed.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`] if `origin` cannot also be a key name (empty, or with a space, a `+` or a
    /// control character); [`CheckpointError::EmptyRoot`] if `size` is 0 and `root` not [`Hash::EMPTY_ROOT`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Checkpoint, CheckpointError> {
        if !text::is_key_name(origin) {
            return Err(CheckpointError::Origin);
        }
        check_root(size, &root)?;
        Ok(Checkpoint { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// Parses the text of a note. Nothing is verified by this; [`Checkpoint::open`] does both.
    ///
    /// The origin of someone else's log may be any line that is not empty.
    ///
    /// # Errors
    /// [`CheckpointError`] that names the first line that is wrong.
    pub fn parse_body(body: &str) -> Result<Checkpoint, CheckpointError> {
        let lines = body.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if origin.is_empty() || body.bytes().any(|b| b < b' ' && b != b'\n') {
            return Err(CheckpointError::Origin);
        }
        if extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Lines);
        }
        let size = text::decimal(size).ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(root).map_err(|_| CheckpointError::Root)?;
        check_root(size, &root)?;
        Ok(Checkpoint { origin: origin.to_owned(), size, root, extensions })
    }

    /// The text of the note: origin, size, root in base64, and the extension lines that were parsed.
    pub fn body(&self) -> String {
        let mut body = format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64());
        for line in &self.extensions {
            body.push_str(line);
            body.push('\n');
        }
        body
    }

    /// Signs the checkpoint; returns the note as it is published.
    ///
    /// The caller must have made sure that everything below this head is on disk and that no other history was
    /// ever signed.
    ///
    /// # Errors
    /// [`CheckpointError::SignerName`] if the signer is not called as the origin, [`CheckpointError::Extensions`]
    /// if there are extension lines, [`CheckpointError::Note`] if signing fails.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, CheckpointError> {
        if signer.name() != self.origin {
            return Err(CheckpointError::SignerName { name: signer.name().to_owned() });
        }
        if !self.extensions.is_empty() {
            return Err(CheckpointError::Extensions);
        }
        Ok(Note::sign(self.body(), &[signer])?.to_string())
    }

    /// Opens a published checkpoint of the log `origin`, trusting `keys` and nothing that the note says of itself.
    ///
    /// At least one verified signature must be of a key called `origin`: a witness alone does not speak for the
    /// log. For the signatures of others use [`Note::verify`] on the same bytes.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] if form or signatures fail, [`CheckpointError::NotTheLog`] if only other keys
    /// signed, [`CheckpointError::WrongOrigin`] for another log's checkpoint, and as for
    /// [`parse_body`](Checkpoint::parse_body).
    pub fn open(note: &[u8], origin: &str, keys: &[VerifierKey]) -> Result<Checkpoint, CheckpointError> {
        let note = Note::parse(note)?;
        let verified = note.verify(keys)?;
        let of_the_log = |key: &VerifierKey| key.kind() == KeyKind::Ed25519 && key.name() == origin;
        if !verified.iter().any(|signature| of_the_log(signature.key)) {
            return Err(CheckpointError::NotTheLog);
        }
        let checkpoint = Checkpoint::parse_body(note.text())?;
        if checkpoint.origin == origin {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::WrongOrigin { found: checkpoint.origin })
        }
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries the log has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree of that size.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The lines after the third, without newlines.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

fn check_root(size: u64, root: &Hash) -> Result<(), CheckpointError> {
    if size == 0 && *root != Hash::EMPTY_ROOT { Err(CheckpointError::EmptyRoot) } else { Ok(()) }
}

/// A checkpoint cannot be made, signed, parsed or trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text has fewer than three lines, an empty one, or no newline at its end.
    #[error("a checkpoint is three or more lines, none of them empty, each ended by a newline")]
    Lines,
    /// The origin is not usable.
    #[error("the origin of the checkpoint is not usable")]
    Origin,
    /// The size is not a decimal number below 2⁶⁴ without leading zeros.
    #[error("the size of the checkpoint is not a decimal number in its one spelling")]
    Size,
    /// The root is not canonical base64 of 32 bytes.
    #[error("the root of the checkpoint is not base64 of 32 bytes")]
    Root,
    /// Size 0 with a root that is not that of the empty tree.
    #[error("the checkpoint of an empty log has a root other than SHA-256 of nothing")]
    EmptyRoot,
    /// The signer has another name than the log.
    #[error("a key called {name} cannot sign for a log of another name")]
    SignerName {
        /// The name of the signer.
        name: String,
    },
    /// A checkpoint with extension lines is not signed here.
    #[error("a checkpoint with extension lines is read but never signed")]
    Extensions,
    /// Signatures verified, none of them the log's own.
    #[error("the checkpoint carries no signature of the log itself")]
    NotTheLog,
    /// The checkpoint is of another log.
    #[error("the checkpoint is of another log, {found}")]
    WrongOrigin {
        /// The origin that it states.
        found: String,
    },
    /// The note around the checkpoint fails.
    #[error(transparent)]
    Note(#[from] NoteError),
}
