//! Transcripts: from the bytes of a request and its answer to the conversation that they carry.
//!
//! ```text
//! request bytes ─▶ coding undone ─▶ JSON                    ─▶ messages, tools   ─┐
//! answer bytes  ─▶ coding undone ─▶ JSON, SSE, or lines     ─▶ answers, error    ─┴▶ Transcript
//!
//! Transcripts of a session ─▶ thread: what is new in each    ─▶ render: text, JSON, HTML
//! Transcripts of a trace   ─▶ trace: who called whom         ─▶ render: text, JSON, HTML
//! ```
//!
//! * [`model`]: the types; [`read`] makes one of bytes
//! * [`thread`]: histories repeat; which messages of a turn were not there before
//! * [`trace`]: calls, the tools they called, and where the results came back
//! * [`openai`]: the same conversation in the form of OpenAI's chat API, for data sets
//! * [`render`]: for people
//!
//! An answer that was streamed becomes the message that the client put together of it. No I/O, no clock, no keys.
//!
//! **Invariant:** whatever the bytes are, reading ends, and what could not be understood is in the transcript as
//! [`model::Part::Unread`] or [`model::Part::Other`]: it is shown, not left out. Only parameters, counts, ids and
//! log probabilities, and what repeats the same (a stream's final object after its pieces), stay in the bodies.

#![forbid(unsafe_code)]

mod anthropic;
mod body;
mod chat;
mod dialect;
mod gemini;
mod json;
pub mod model;
mod ollama;
pub mod openai;
mod other;
pub mod render;
mod responses;
mod sse;
pub mod thread;
pub mod trace;
pub mod turn;

pub use dialect::{Exchange, Side, read};
pub use model::Transcript;
pub use turn::Turn;
