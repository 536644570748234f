//! A command that runs elsewhere, as if it ran here: in the testbed, or in a VM.
//!
//! ```text
//!   the caller's machine                      │ where the command runs
//!                                             │
//!   standard streams ┐                        │                 ┌ pipes or a pseudo-terminal
//!   signals          ├ host::Relay ◄── a byte channel ──► guest::Relay
//!   window size      ┘                        │                 └ the command, its orphans
//! ```
//!
//! The channel is whatever carries bytes both ways and can be polled: a virtio-serial port, a
//! vsock connection. On it travel frames ([`wire`]) with data and messages ([`protocol`]). Neither
//! side holds more than some hundred KiB of what the other has not taken: what the command reads is
//! sent by credit, what it writes stays in its pipe while the channel is full.
//!
//! What differs between the users of this layer is a type parameter or a trait of theirs: what
//! else a start says, and what else they tell each other.

pub(crate) mod children;
pub(crate) mod guest;
pub(crate) mod host;
pub(crate) mod outbox;
pub(crate) mod poll;
pub(crate) mod protocol;
pub(crate) mod wire;
