//! The arithmetic of the ledger: what makes a log of entries tamper-evident, and how anyone checks it.
//!
//! An entry is bytes here; nothing in this crate looks inside one. It holds hashes, the chain and the Merkle
//! tree over them, proofs, tiles, signed notes and checkpoints, in the formats of RFC 6962 / RFC 9162 and of
//! the C2SP pages `signed-note`, `tlog-checkpoint`, `tlog-tiles`, `tlog-cosignature`, `tlog-witness`, `tlog-proof` and
//! `tlog-policy`, so that existing clients, monitors and witnesses understand what we publish.
//!
//! There is no I/O, no clock and no randomness: the offline verifier is built from this crate and `record`
//! alone (invariant 10). Everything that parses outside bytes is bounded and returns an error instead of
//! panicking. The bytes are laid out in `docs/formats/checkpoint.md`, whose vectors are tested here.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod bundle;
pub mod chain;
pub mod checkpoint;
pub mod cosignature;
pub mod hash;
pub mod key;
pub mod multiproof;
pub mod note;
pub mod policy;
pub mod proof;
pub mod proof_file;
pub mod rotation;
pub mod tile;
pub mod tree;
pub mod witness;

mod text;

pub use text::{from_base64, to_base64 as base64};

pub use bundle::{BundleError, ENTRY_MAX_BYTES, decode_bundle, encode_bundle};
pub use chain::{Chain, ChainError};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use cosignature::Cosigner;
pub use hash::{Hash, HashError, leaf_hash, node_hash};
pub use key::{Ed25519Signer, KeyError, KeyId, KeyKind, SignError, Signer, VerifierKey};
pub use multiproof::{prove_entries, root_from_entries};
pub use note::{Note, NoteError, NoteSignature, VerifiedSignature};
pub use policy::{Policy, PolicyError};
pub use proof::{
    ProofError, ProveError, prove_consistency, prove_inclusion, root_from_inclusion, verify_consistency,
    verify_inclusion,
};
pub use proof_file::{ProofFile, ProofFileError};
pub use rotation::{KeyHistory, KeyHistoryError, Rotation, RotationError, Succession};
pub use tile::{Tile, TileError, TileKind};
pub use tree::{Frontier, TreeError, root_of};
