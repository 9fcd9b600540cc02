//! What the ledger's public interface promises, tested from outside, by subject.

mod checkpoints;
mod notes;
mod page;
mod proofs;
mod tiles;
