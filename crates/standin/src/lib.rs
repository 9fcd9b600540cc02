//! A model server that costs nothing: a stand-in for an OpenAI-compatible server.
//!
//! `indelible demo`, the tests and the benches need an upstream that answers like one, quickly and always
//! in the same way. This one speaks chat completions, completions, embeddings and models, plain and
//! streamed; every answer is derived from its request, so the same request gets the same bytes on any
//! machine. The header `x-standin` asks for sizes, pauses and faults ([`server`] lists them).
//!
//! [`load`] is the other side: a driver whose traffic is a function of a seed. No clock is read for an
//! answer and no randomness is drawn anywhere.

#![forbid(unsafe_code)]

mod answer;
mod body;
mod controls;
mod fixed;
pub mod load;
pub mod log;
mod reply;
mod request;
pub mod server;
mod shape;
mod stream;
mod topic;

pub use log::{Log, Seen};
pub use server::{serve, serve_logged};
