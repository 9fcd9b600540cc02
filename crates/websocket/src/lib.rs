//! WebSocket conversations, read from a copy of what passed (RFC 6455, RFC 7692). No I/O.
//!
//! A gateway passes a conversation on as bytes and never speaks in it. What is here only reads along: the
//! gateway to see where a frame ends and when the conversation is over, a look at a record to show it message
//! by message. Nothing is refused for breaking a rule that does not keep it from being read.
//!
//! * [`frame`]: where frames begin and end, and their masks
//! * [`deflate`]: `permessage-deflate`, undone
//! * [`message`]: messages of one side, put together from fragments
//! * [`conversation`]: both sides again in the order in which they spoke
//!
//! **Invariant:** reading takes constant memory, whatever is sent; only [`conversation`] holds messages, up
//! to a limit that its caller sets.

#![forbid(unsafe_code)]

pub mod conversation;
pub mod deflate;
pub mod frame;
pub mod message;

pub use conversation::{Mark, Message, Side, conversation};
pub use deflate::Extension;
pub use frame::{Close, Frames, Head, Item, Opcode};
pub use message::{Event, Kind, Messages};

/// From here on a stream cannot be read: it is no WebSocket, or not as it was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unreadable {}
