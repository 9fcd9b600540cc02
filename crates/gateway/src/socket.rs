//! WebSockets: a handshake that passes through, then bytes both ways, recorded as they were spoken.
//!
//! * `handshake`: which requests ask for one, and the answer that agrees
//! * `tunnel`: what either side sends goes to the other, and how it ends
//! * `closing`: the close frame, which is held back until the record is as far as it has to be
//! * `record`: what both said, with the time of each stretch, in pieces that a crash leaves readable
//!
//! Nothing is said in the conversation that was not said by one of its sides: no ping, no close, no mask is
//! made here. The bytes are recorded before they are passed on.
//!
//! The record is one event. Its request is what the client sent after the handshake, its response what the
//! server sent, both as on the wire; `docs/formats/websocket.md` has the format.

mod closing;
mod handshake;
mod record;
mod tunnel;

pub(crate) use handshake::Handshake;
