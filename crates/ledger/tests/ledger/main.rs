//! What the ledger's public interface promises, tested from outside, by subject.

mod checkpoints;
mod multiproofs;
mod notes;
mod page;
mod policies;
mod proof_files;
mod proofs;
mod rotations;
mod tiles;
mod witnesses;
