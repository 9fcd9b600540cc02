//! What Indelible asks of the machine it runs on: durable files, locks and the wall clock.
//!
//! Everything that decides whether bytes survive a crash is in this crate and nowhere else, so that
//! the rules can be read in one sitting and replaced by a simulation in tests. No other crate calls
//! `fsync`, `rename` or reads the clock; `.clippy.toml` holds them to it.
//!
//! * [`durable`]: atomic files, and the [`durable::Dir`]/[`durable::LogFile`] pair that logs are written through
//! * [`sim`]: the same pair in memory, which can lose power
//! * [`lock`]: one writer for a directory, and telling from outside whether there is one
//! * [`clock`]: the only reader of wall-clock time
//! * [`random`]: the only source of salts, ids and keys

#![forbid(unsafe_code)]

pub mod clock;
pub mod durable;
pub mod lock;
pub mod random;
pub mod sim;
